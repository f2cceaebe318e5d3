//! The holder of a key asks about it, replaces it and revokes it, with the key itself; nothing of that reaches an upstream.

use serde_json::{Value, json};

use super::lifecycle::verdict;
use super::support::{Admin, Gateway, Origin, Report, Response, request};

const CONFIG: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
keys: { store: keys.db }
key_prefixes: [ { prefix: kg_test_ } ]
self_service: on
endpoints:
  - { name: all, path: /, upstream: api, api_key: required }
"#;

const REFUSED: &str = "401 credential_rejected";

fn ask(gateway: &Gateway, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Response {
    request(gateway.address(), method, target, fields, body.as_bytes())
}

#[test]
fn a_holder_learns_what_the_key_is_and_never_the_key() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    let body = json!({
        "name": "shop website",
        "client": { "id": "shop", "client_type": "partner", "tenant": "acme", "permissions": ["orders.*", "stock.read"] },
        "permissions": ["orders.read", "users.read"],
        "expires_at": "2100-01-01T00:00:00Z",
    });
    let made = admin.post("/v1/keys", &body);
    let (id, secret) = (made["key"]["id"].as_str().expect("an id"), made["secret"].as_str().expect("shown once"));
    let answer = ask(&gateway, "GET", "/-/whoami", &[("x-api-key", secret)], "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json(),
        json!({
            "id": id,
            "name": "shop website",
            "type": "secret",
            "client": { "id": "shop", "name": "shop", "type": "partner" },
            "tenant": "acme",
            "environment": null,
            "permissions": ["orders.read"],
            "expires_at": "2100-01-01T00:00:00Z",
            "secret": { "superseded": false, "valid_until": null },
        })
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!answer.text().contains(secret));
    let mut report = Report::new();
    for (row, method, target, fields, expected) in [
        ("without a key", "GET", "/-/whoami", vec![], "401 credential_missing"),
        ("with a wrong one", "GET", "/-/whoami", vec![("x-api-key", "nobody")], REFUSED),
        ("another method", "POST", "/-/whoami", vec![("x-api-key", secret)], "405 method_not_allowed"),
        ("another path", "GET", "/-/other", vec![("x-api-key", secret)], "404 endpoint_not_found"),
        ("the prefix itself", "GET", "/-", vec![("x-api-key", secret)], "404 endpoint_not_found"),
        ("a neighbour of the prefix", "GET", "/-x", vec![("x-api-key", secret)], "200"),
        ("to rotate by asking", "GET", "/-/rotate", vec![("x-api-key", secret)], "404 endpoint_not_found"),
    ] {
        report.equal(row, ask(&gateway, method, target, &fields, "").verdict(), expected.to_owned());
    }
    assert_eq!(origin.take().len(), 1, "the neighbour alone");
}

#[test]
fn a_holder_replaces_the_key() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    let (id, first) = admin.key("rotated by its holder");
    let answer = ask(&gateway, "POST", "/-/rotate", &[("x-api-key", &first)], r#"{"grace_seconds": 3600}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let second = answer.json()["secret"].as_str().expect("shown once").to_owned();
    assert_eq!(answer.json()["id"], id.as_str());
    assert_eq!((verdict(&gateway, &first), verdict(&gateway, &second)), ("200".into(), "200".into()));
    let shown = ask(&gateway, "GET", "/-/whoami", &[("x-api-key", &first)], "").json();
    assert_eq!(shown["secret"]["superseded"], true);

    let mut report = Report::new();
    for (row, fields, body, expected) in [
        ("with the old one", vec![("x-api-key", first.as_str())], "", "403 secret_superseded"),
        ("with the key in a cookie", vec![("cookie", "mia_client_key={}")], "", "403 cookie_not_accepted"),
        ("what is no JSON", vec![("x-api-key", &second)], "grace", "400 invalid_request"),
        ("an unknown field", vec![("x-api-key", &second)], r#"{"secret":"x"}"#, "400 invalid_request"),
        ("too long a grace", vec![("x-api-key", &second)], r#"{"grace_seconds":604801}"#, "400 invalid_request"),
    ] {
        let filled: Vec<(&str, String)> =
            fields.iter().map(|(name, value)| (*name, value.replace("{}", &second))).collect();
        let fields: Vec<(&str, &str)> = filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
        report.equal(row, ask(&gateway, "POST", "/-/rotate", &fields, body).verdict(), expected.to_owned());
    }
    let large = "x".repeat(5_000);
    let answer = ask(&gateway, "POST", "/-/rotate", &[("x-api-key", &second)], &large);
    report.equal("a large body", answer.verdict(), "413 body_too_large".to_owned());
    report.equal(
        "nothing of it happened",
        admin.get(&format!("/v1/keys/{id}"))["secrets"].as_array().map(Vec::len),
        Some(2),
    );

    let third = ask(&gateway, "POST", "/-/rotate", &[("x-api-key", &second)], "").json();
    report.equal("without a word a day is given", &third["old_secret"]["grace_seconds"], &json!(86_400));
    report.equal("still good", verdict(&gateway, &second), "200".to_owned());
    let audit = admin.get(&format!("/v1/audit?target={id}&action=key.rotated"));
    report.equal("who did it", &audit["items"][0]["actor"], &Value::from(format!("key:{id}")));
    report.equal("how", &audit["items"][0]["via"], &json!("key"));
}

#[test]
fn a_holder_revokes_the_key_and_hears_that_it_is_done() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    let (id, secret) = admin.key("revoked by its holder");
    let (_, other) = admin.key("another");
    let answer = ask(&gateway, "POST", "/-/revoke", &[("authorization", &format!("Bearer {secret}"))], "");
    assert_eq!((answer.status, answer.json()), (200, json!({ "id": id, "revoked": true })));
    assert_eq!((verdict(&gateway, &secret), verdict(&gateway, &other)), (REFUSED.into(), "200".into()));
    let again = ask(&gateway, "POST", "/-/revoke", &[("x-api-key", &secret)], "");
    assert_eq!(again.verdict(), REFUSED);
}

#[test]
fn publishable_keys_and_keys_of_files_may_ask_and_no_more_and_off_means_off() {
    let origin = Origin::start();
    let yaml = format!(
        "{}\nclients: [ {{ id: filed, client_type: cms, keys: [ {{ id: key_filed, name: filed key, digest: \"{{{{digest:filed-key}}}}\" }} ] }} ]\n",
        CONFIG.replace("self_service: on", "self_service: { path: /me, actions: [whoami, rotate], max_grace: 1h }")
    );
    let gateway = Gateway::before(&origin, &yaml);
    let admin = Admin::of(&gateway);
    let body =
        json!({ "name": "shown to browsers", "type": "publishable", "client": { "id": "web", "client_type": "app" } });
    let made = admin.post("/v1/keys", &body);
    let publishable = made["secret"].as_str().expect("shown once");
    let mut report = Report::new();
    for (row, key, method, target, expected) in [
        ("publishable asks", publishable, "GET", "/me/whoami", "200"),
        ("publishable rotates", publishable, "POST", "/me/rotate", "403 key_type_not_allowed"),
        ("of a file asks", "filed-key", "GET", "/me/whoami", "200"),
        ("of a file rotates", "filed-key", "POST", "/me/rotate", "409 key_of_file"),
        ("revoking is not offered", "filed-key", "POST", "/me/revoke", "405 method_not_allowed"),
    ] {
        report.equal(row, ask(&gateway, method, target, &[("x-api-key", key)], "").verdict(), expected.to_owned());
    }
    gateway.reload(&CONFIG.replace("self_service: on", "self_service: off"));
    origin.take();
    let (_, secret) = admin.key("plain");
    let answer = ask(&gateway, "GET", "/-/whoami", &[("x-api-key", &secret)], "");
    report.equal("off", answer.status, 200);
    report.equal("it is the upstream's path then", origin.take_one().target().to_owned(), "/-/whoami".to_owned());
}
