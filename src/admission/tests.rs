//! The decision as a table: what is shown, where it goes, and what comes out.

use std::net::IpAddr;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::config::{self, Source};
use crate::credential::{KeyDigest, Secret};
use crate::keys::Timestamp;

fn digest(key: &str) -> String {
    KeyDigest::blake3(&Secret::borrowed(key.as_bytes())).to_string()
}

/// Rules and keys for the tables below.
fn rules() -> (Arc<Snapshot>, KeyTable) {
    let text = format!(
        r#"
environment: live
key_prefixes: [{{ prefix: kg_ }}]
trusted_identity: [192.0.2.0/24]
upstreams: {{ echo: {{ echo: true }} }}
clients:
  - id: shop
    client_type: cms
    tenant: acme
    permissions: [orders.write]
    keys:
      - {{ id: good, name: good, digest: "{good}" }}
      - {{ id: other, name: other, digest: "{other}" }}
      - {{ id: imported, name: imported, digest: "{imported}" }}
      - {{ id: off, name: off, active: false, digest: "{off}" }}
      - {{ id: past, name: past, expires_at: 2024-01-01T00:00:00Z, digest: "{past}" }}
      - {{ id: next, name: next, not_before: 2030-01-01T00:00:00Z, digest: "{next}" }}
      - {{ id: test, name: test, environment: test, digest: "{test}" }}
      - {{ id: rotated, name: rotated, secrets: [{{ digest: "{old}", valid_until: 2024-01-01T00:00:00Z }}, {{ digest: "{new}" }}] }}
  - id: closed
    client_type: cms
    active: false
    keys: [{{ id: closed, name: closed, digest: "{closed}" }}]
  - id: reader
    client_type: partner
    permissions: read_only
    keys: [{{ id: reader, name: reader, digest: "{reader}" }}]
endpoints:
  - {{ name: open, path: /open, public: true }}
  - {{ name: kept, path: /kept, api_key: required }}
  - {{ name: orders, path: /orders, client_types: [cms], permissions: {{ GET: [orders.read], DELETE: [orders.delete] }} }}
  - {{ name: tenants, path: "/tenants/:tenant", tenant: {{ path: tenant }} }}
  - {{ name: users, path: /users, api_key: required, require_user: true }}
  - {{ name: mixed, path: /mixed, public: true, allow: "groups.staff || clientType == 'cms'" }}
  - {{ name: browsers, path: /browsers, api_key: required, cors: {{ origins: ["https://a.example"] }} }}
"#,
        good = digest("kg_good"),
        other = digest("kg_other"),
        imported = digest("imported-without-prefix"),
        off = digest("kg_off"),
        past = digest("kg_past"),
        next = digest("kg_next"),
        test = digest("kg_test"),
        old = digest("kg_old"),
        new = digest("kg_new"),
        closed = digest("kg_closed"),
        reader = digest("kg_reader"),
    );
    let source = Source::Text { name: "rules.yaml".into(), text, directory: PathBuf::new() };
    let loaded = config::load(&source, 1).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.table.set_loaded();
    (Arc::new(loaded.snapshot), loaded.table)
}

/// Decides one request; `admitted` with who calls and what becomes of `Authorization`, or the code.
fn decide(rules: &(Arc<Snapshot>, KeyTable), call: &str, fields: &[(&str, &str)], from: &str) -> String {
    let (method, path) = call.split_once(' ').expect("a method and a path");
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            name.parse::<HeaderName>().expect("a header name"),
            HeaderValue::from_bytes(value.as_bytes()).expect("a header value"),
        );
    }
    let address: IpAddr = from.parse().expect("an address");
    let head = RequestHead {
        method: &method.parse().expect("a method"),
        path,
        host: "api.example.com",
        headers: &headers,
        listener: "127.0.0.1:8080",
        is_backoffice: false,
        peer_address: address,
        client_address: address,
        is_secure: false,
        gate: None,
    };
    // 2026-01-01T00:00:00Z
    let now = Timestamp::from_millis(1_767_225_600_000);
    match admit(&head, &rules.0, &rules.1, now, &mut ()) {
        Ok(Admitted::Forward(permit)) => {
            let who = permit.key().map_or("anonymous", |key| key.id.as_str());
            let passes = headers.contains_key("authorization")
                && permit.credential_use() == CredentialUse::AuthorizationIsNotOurs;
            format!("{who}{}", if passes { ", authorization passes" } else { "" })
        }
        Ok(Admitted::Preflight(preflight)) => format!("preflight of {}", preflight.endpoint().name),
        Err(refused) => refused.rejection.code().to_owned(),
    }
}

#[test]
fn what_is_shown_decides_who_calls() {
    const KEY: (&str, &str) = ("x-api-key", "kg_good");
    const TOKEN: (&str, &str) = ("authorization", "Bearer eyJ.user.token");
    /// Fields, then the outcome on an open and on a protected endpoint.
    type Row = (&'static [(&'static str, &'static str)], &'static str, &'static str);
    let rows: &[Row] = &[
        (&[], "anonymous", "credential_missing"),
        (&[KEY], "good", "good"),
        (&[("authorization", "Bearer kg_good")], "good", "good"),
        (&[("authorization", "bearer kg_good")], "good", "good"),
        (&[("client-key", "kg_good")], "good", "good"),
        (&[("secret", "kg_good")], "good", "good"),
        (&[("cookie", "a=1; mia_client_key=kg_good; b=2")], "good", "good"),
        (&[("x-api-key", "imported-without-prefix")], "imported", "imported"),
        // Present but not good is refused everywhere.
        (&[("x-api-key", "kg_unknown")], "key_unknown", "key_unknown"),
        (&[("authorization", "Bearer kg_unknown")], "key_unknown", "key_unknown"),
        (&[("cookie", "mia_client_key=kg_unknown")], "key_unknown", "key_unknown"),
        (&[("x-api-key", "kg_off")], "key_disabled", "key_disabled"),
        (&[("x-api-key", "kg_closed")], "client_disabled", "client_disabled"),
        (&[("x-api-key", "kg_past")], "key_expired", "key_expired"),
        (&[("x-api-key", "kg_next")], "key_not_yet_valid", "key_not_yet_valid"),
        (&[("x-api-key", "kg_test")], "key_wrong_environment", "key_wrong_environment"),
        (&[("x-api-key", "kg_old")], "key_superseded", "key_superseded"),
        (&[("x-api-key", "kg_new")], "rotated", "rotated"),
        (&[("x-api-key", "")], "credential_empty", "credential_empty"),
        // A Bearer that is nobody's key of ours.
        (&[TOKEN], "anonymous, authorization passes", "key_unknown"),
        (&[KEY, TOKEN], "good, authorization passes", "good, authorization passes"),
        (&[("authorization", "Basic dTpw")], "anonymous, authorization passes", "credential_missing"),
        (&[KEY, ("authorization", "Basic dTpw")], "good, authorization passes", "good, authorization passes"),
        // Several at once.
        (&[KEY, ("authorization", "Bearer kg_good")], "good", "good"),
        (&[KEY, ("client-key", "kg_good")], "good", "good"),
        (&[KEY, ("client-key", "kg_other")], "credential_ambiguous", "credential_ambiguous"),
        (&[KEY, ("x-api-key", "kg_other")], "credential_ambiguous", "credential_ambiguous"),
        (&[KEY, ("authorization", "Bearer kg_other")], "credential_ambiguous", "credential_ambiguous"),
        (&[KEY, ("authorization", "Bearer kg_unknown")], "credential_ambiguous", "credential_ambiguous"),
        (&[KEY, ("authorization", "Bearer imported-without-prefix")], "credential_ambiguous", "credential_ambiguous"),
        (&[KEY, ("cookie", "mia_client_key=kg_other")], "good", "good"),
        (&[KEY, ("cookie", "mia_client_key=kg_unknown")], "good", "good"),
        (&[("authorization", "Bearer kg_good"), ("cookie", "mia_client_key=kg_other")], "good", "good"),
        // The header carries an imported key, the cookie is stale.
        (
            &[("authorization", "Bearer imported-without-prefix"), ("cookie", "mia_client_key=kg_unknown")],
            "imported",
            "imported",
        ),
        (&[TOKEN, ("cookie", "mia_client_key=kg_good")], "good, authorization passes", "good, authorization passes"),
        // Ours, but not as it should be.
        (&[("authorization", "kg_good")], "credential_malformed", "credential_malformed"),
        (&[("x-api-key", "kg_g\u{f6}\u{f6}d")], "credential_malformed", "credential_malformed"),
        // Never a key: other places.
        (&[("x_api_key", "kg_good")], "anonymous", "credential_missing"),
    ];
    let rules = rules();
    for (fields, open, kept) in rows {
        assert_eq!(decide(&rules, "GET /open", fields, "127.0.0.1"), *open, "open, {fields:?}");
        assert_eq!(decide(&rules, "GET /kept", fields, "127.0.0.1"), *kept, "protected, {fields:?}");
        assert_eq!(decide(&rules, "GET /nowhere", fields, "127.0.0.1"), "endpoint_not_found", "{fields:?}");
    }
}

#[test]
fn the_endpoint_decides_whether_the_caller_may() {
    let rules = rules();
    let shop: &[(&str, &str)] = &[("x-api-key", "kg_good")];
    let reader: &[(&str, &str)] = &[("x-api-key", "kg_reader")];
    for (call, fields, outcome) in [
        ("GET /orders/7", shop, "good"),
        ("HEAD /orders/7", shop, "good"),
        ("DELETE /orders/7", shop, "permission_missing"),
        ("POST /orders/7", shop, "method_not_allowed"),
        ("POST /orders/7", &[("x-api-key", "kg_unknown")], "key_unknown"),
        ("POST /orders/7", &[], "method_not_allowed"),
        ("TRACE /open", &[], "method_not_allowed"),
        ("GET /orders/7", reader, "client_type_not_allowed"),
        ("GET /kept", reader, "reader"),
        ("POST /kept", reader, "read_only_key"),
        ("GET /tenants/acme/x", shop, "good"),
        ("GET /tenants/other/x", shop, "tenant_mismatch"),
        ("GET /tenants/acme/x", reader, "tenant_mismatch"),
        ("GET /orders/../kept", shop, "path_ambiguous"),
        ("GET /%6Fpen", &[], "path_ambiguous"),
        ("GET /OPEN/../kept", shop, "path_ambiguous"),
        ("GET /open;x", &[], "path_ambiguous"),
        ("GET /mixed", &[], "credential_missing"),
        ("GET /mixed", shop, "good"),
        ("GET /mixed", reader, "rule_not_satisfied"),
        (
            "OPTIONS /browsers",
            &[("origin", "https://a.example"), ("access-control-request-method", "GET")],
            "preflight of browsers",
        ),
        ("OPTIONS /browsers", &[("origin", "https://a.example")], "credential_missing"),
        (
            "OPTIONS /kept",
            &[("origin", "https://a.example"), ("access-control-request-method", "GET")],
            "credential_missing",
        ),
    ] {
        assert_eq!(decide(&rules, call, fields, "127.0.0.1"), outcome, "{call} {fields:?}");
    }
}

#[test]
fn users_come_only_from_trusted_peers() {
    let rules = rules();
    let user: &[(&str, &str)] = &[("x-api-key", "kg_good"), ("miauserid", "u1"), ("miausergroups", "staff")];
    assert_eq!(decide(&rules, "GET /users", user, "192.0.2.7"), "good");
    assert_eq!(decide(&rules, "GET /users", user, "203.0.113.7"), "user_required");
    assert_eq!(decide(&rules, "GET /mixed", &user[1..], "192.0.2.7"), "anonymous");
    assert_eq!(decide(&rules, "GET /mixed", &user[1..], "203.0.113.7"), "credential_missing");
    let twice: &[(&str, &str)] = &[("x-api-key", "kg_good"), ("miauserid", "u1"), ("miauserid", "u2")];
    assert_eq!(decide(&rules, "GET /users", twice, "192.0.2.7"), "identity_malformed");
}

#[test]
fn without_a_set_of_keys_nobody_is_judged() {
    let (snapshot, _) = rules();
    let empty = (snapshot, KeyTable::new());
    assert_eq!(decide(&empty, "GET /open", &[], "127.0.0.1"), "keys_not_loaded");
}
