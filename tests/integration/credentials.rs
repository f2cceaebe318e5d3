//! Where a key may stand, what happens when it is wrong, missing or there twice, and that it ends at the gateway.

use super::support::{Caller, Gateway, Origin, Report, get, keys, request, wait};

const GOOD: &str = "kg_live_0123456789abcdefghijABCDEFGHIJ";
const OTHER: &str = "kg_live_another6789abcdefghijABCDEFGHI";
const IMPORTED: &str = "5f0c1e9a7d3b48e2a6c4f8b0d2e4a6c8f0b1d3e5a7c9e1f3";
/// Looks like the token of an end user: nobody's key, and no prefix of ours.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJl";

const CONFIG: &str = r#"
environment: live
upstreams: { api: { url: "{{origin}}" } }
key_prefixes: [ { prefix: kg_live_, type: secret, environment: live } ]
clients:
  - id: shop
    client_type: cms
    keys:
      - { id: key_good, name: good, digest: "{{digest:kg_live_0123456789abcdefghijABCDEFGHIJ}}" }
      - { id: key_other, name: other, digest: "{{digest:kg_live_another6789abcdefghijABCDEFGHI}}" }
      - { id: key_imported, name: imported, digest: "{{sha256:5f0c1e9a7d3b48e2a6c4f8b0d2e4a6c8f0b1d3e5a7c9e1f3}}" }
      - { id: key_disabled, name: disabled, active: false, digest: "{{digest:kg_live_disabled}}" }
      - { id: key_expired, name: expired, expires_at: "2020-01-01T00:00:00Z", digest: "{{digest:kg_live_expired}}" }
      - { id: key_early, name: early, not_before: "2999-01-01T00:00:00Z", digest: "{{digest:kg_live_early}}" }
      - { id: key_staging, name: staging, environment: staging, digest: "{{digest:kg_live_staging}}" }
      - id: key_rotated
        name: rotated
        secrets:
          - { digest: "{{digest:kg_live_rotated_new}}" }
          - { digest: "{{digest:kg_live_rotated_overlap}}", valid_until: "2999-01-01T00:00:00Z" }
          - { digest: "{{digest:kg_live_rotated_old}}", valid_until: "2020-01-01T00:00:00Z" }
  - id: gone
    client_type: cms
    active: false
    keys: [ { id: key_gone, name: gone, digest: "{{digest:kg_live_gone}}" } ]
endpoints:
  - { name: closed, path: /closed, upstream: api, api_key: required }
  - { name: open, path: /open, upstream: api, public: true }
  - { name: own, path: /own, upstream: api, api_key: required, credentials: [ { header: x-partner-key } ] }
  - { name: keeps, path: /keeps, upstream: api, api_key: required, forward_credential: true }
  - { name: full, path: /full, upstream: api, public: true, errors: { detail: full } }
"#;

/// Fields of a request, the verdict on the endpoint that needs a key, and the one on the open endpoint.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

const MISSING: &str = "401 credential_missing";
const REJECTED: &str = "401 credential_rejected";
const AMBIGUOUS: &str = "400 credential_ambiguous";
const MALFORMED: &str = "400 credential_malformed";

fn check(rows: &[Row<'_>]) {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (name, headers, closed, open) in rows {
        for (path, expected) in [("/closed", closed), ("/open", open)] {
            let row = format!("{name} on {path}");
            let response = get(gateway.address(), path, headers);
            report.equal(&row, response.verdict(), expected.to_string());
            let seen = origin.take().len();
            report.equal(format!("{row}: requests upstream"), seen, usize::from(*expected == "200"));
        }
    }
    let raw = origin.raw_text();
    for secret in [GOOD, OTHER, IMPORTED, "kg_live_rotated_new", "kg_live_disabled"] {
        report.holds(secret, "the secret reached the upstream", !raw.contains(secret));
    }
}

#[test]
fn a_good_key_is_found_in_each_of_the_five_places() {
    let cookie = format!("mia_client_key={GOOD}");
    let among = format!("a=1; mia_client_key={GOOD}; b=2");
    let bearer = |scheme: &str| format!("{scheme} {GOOD}");
    let schemes = ["Bearer", "bearer", "BEARER", "bEaReR"].map(bearer);
    check(&[
        ("no key", &[], MISSING, "200"),
        ("client-key", &[("client-key", GOOD)], "200", "200"),
        ("secret", &[("secret", GOOD)], "200", "200"),
        ("x-api-key", &[("x-api-key", GOOD)], "200", "200"),
        ("X-API-KEY in capitals", &[("X-API-KEY", GOOD)], "200", "200"),
        ("Client-Key in capitals", &[("CLIENT-KEY", GOOD)], "200", "200"),
        ("blanks around", &[("x-api-key", &format!("  {GOOD} \t "))], "200", "200"),
        ("Bearer", &[("authorization", &schemes[0])], "200", "200"),
        ("bearer", &[("Authorization", &schemes[1])], "200", "200"),
        ("BEARER", &[("AUTHORIZATION", &schemes[2])], "200", "200"),
        ("bEaReR", &[("authorization", &schemes[3])], "200", "200"),
        ("cookie", &[("cookie", &cookie)], "200", "200"),
        ("cookie among others", &[("cookie", &among)], "200", "200"),
        ("cookie in a second field", &[("cookie", "a=1"), ("cookie", &cookie)], "200", "200"),
        ("imported, without a prefix", &[("x-api-key", IMPORTED)], "200", "200"),
        ("imported, as Bearer", &[("authorization", &format!("Bearer {IMPORTED}"))], "200", "200"),
        ("new secret of a rotated key", &[("x-api-key", "kg_live_rotated_new")], "200", "200"),
        ("old secret in the overlap", &[("x-api-key", "kg_live_rotated_overlap")], "200", "200"),
    ]);
}

#[test]
fn a_key_that_is_not_good_is_refused_everywhere_open_endpoints_too() {
    let long = format!("kg_live_{}", "x".repeat(5000));
    let flipped = GOOD.to_ascii_uppercase();
    check(&[
        ("unknown client-key", &[("client-key", "nobody")], REJECTED, REJECTED),
        ("unknown secret", &[("secret", "nobody")], REJECTED, REJECTED),
        ("unknown x-api-key", &[("x-api-key", "nobody")], REJECTED, REJECTED),
        ("unknown cookie", &[("cookie", "mia_client_key=nobody")], REJECTED, REJECTED),
        ("unknown Bearer with our prefix", &[("authorization", "Bearer kg_live_nobody")], REJECTED, REJECTED),
        ("other letter case", &[("x-api-key", &flipped)], REJECTED, REJECTED),
        ("one letter short", &[("x-api-key", &GOOD[..GOOD.len() - 1])], REJECTED, REJECTED),
        ("one letter more", &[("x-api-key", &format!("{GOOD}x"))], REJECTED, REJECTED),
        ("disabled", &[("x-api-key", "kg_live_disabled")], REJECTED, REJECTED),
        ("disabled, as Bearer", &[("authorization", "Bearer kg_live_disabled")], REJECTED, REJECTED),
        ("expired", &[("client-key", "kg_live_expired")], REJECTED, REJECTED),
        ("not yet valid", &[("x-api-key", "kg_live_early")], REJECTED, REJECTED),
        ("other environment", &[("x-api-key", "kg_live_staging")], REJECTED, REJECTED),
        ("client disabled", &[("x-api-key", "kg_live_gone")], REJECTED, REJECTED),
        ("superseded", &[("x-api-key", "kg_live_rotated_old")], REJECTED, REJECTED),
        ("empty client-key", &[("client-key", "")], REJECTED, REJECTED),
        ("empty secret", &[("secret", "")], REJECTED, REJECTED),
        ("empty x-api-key", &[("x-api-key", "")], REJECTED, REJECTED),
        ("blank x-api-key", &[("x-api-key", "   ")], REJECTED, REJECTED),
        ("empty cookie", &[("cookie", "mia_client_key=")], REJECTED, REJECTED),
        ("too long x-api-key", &[("x-api-key", &long)], REJECTED, REJECTED),
        ("too long cookie", &[("cookie", &format!("mia_client_key={long}"))], REJECTED, REJECTED),
        ("too long Bearer with our prefix", &[("authorization", &format!("Bearer {long}"))], REJECTED, REJECTED),
        ("not ASCII x-api-key", &[("x-api-key", "caf\u{e9}")], MALFORMED, MALFORMED),
        ("not ASCII cookie", &[("cookie", "mia_client_key=caf\u{e9}")], MALFORMED, MALFORMED),
        ("our key without Bearer", &[("authorization", GOOD)], MALFORMED, MALFORMED),
        ("our prefix without Bearer", &[("authorization", "kg_live_nobody")], MALFORMED, MALFORMED),
    ]);
}

#[test]
fn two_keys_that_agree_are_one_and_two_that_differ_are_refused() {
    let cookie = |key: &str| format!("mia_client_key={key}");
    let bearer = |key: &str| format!("Bearer {key}");
    let (good_cookie, other_cookie) = (cookie(GOOD), cookie(OTHER));
    let (good_bearer, other_bearer) = (bearer(GOOD), bearer(OTHER));
    let token = bearer(TOKEN);
    let long_token = bearer(&"eyJ".repeat(1500));
    let twice = format!("mia_client_key={GOOD}; mia_client_key={OTHER}");
    check(&[
        ("two headers, same key", &[("client-key", GOOD), ("x-api-key", GOOD)], "200", "200"),
        ("three headers, same key", &[("client-key", GOOD), ("secret", GOOD), ("x-api-key", GOOD)], "200", "200"),
        ("two headers, other keys", &[("client-key", GOOD), ("x-api-key", OTHER)], AMBIGUOUS, AMBIGUOUS),
        ("secret and client-key differ", &[("secret", OTHER), ("client-key", GOOD)], AMBIGUOUS, AMBIGUOUS),
        ("good and unknown", &[("client-key", GOOD), ("x-api-key", "nobody")], AMBIGUOUS, AMBIGUOUS),
        ("repeated, same key", &[("x-api-key", GOOD), ("x-api-key", GOOD)], "200", "200"),
        ("repeated, other keys", &[("x-api-key", GOOD), ("x-api-key", OTHER)], AMBIGUOUS, AMBIGUOUS),
        ("repeated in two cases", &[("x-api-key", GOOD), ("X-Api-Key", OTHER)], AMBIGUOUS, AMBIGUOUS),
        (
            "Authorization repeated",
            &[("authorization", &good_bearer), ("authorization", &other_bearer)],
            AMBIGUOUS,
            AMBIGUOUS,
        ),
        ("cookie twice, other keys", &[("cookie", &twice)], AMBIGUOUS, AMBIGUOUS),
        ("cookie beside a header is ignored", &[("x-api-key", GOOD), ("cookie", &other_cookie)], "200", "200"),
        ("a stale cookie too", &[("x-api-key", GOOD), ("cookie", "mia_client_key=stale")], "200", "200"),
        ("a good cookie saves no bad header", &[("x-api-key", "nobody"), ("cookie", &good_cookie)], REJECTED, REJECTED),
        ("same key as Bearer", &[("x-api-key", GOOD), ("authorization", &good_bearer)], "200", "200"),
        ("other known key as Bearer", &[("x-api-key", GOOD), ("authorization", &other_bearer)], AMBIGUOUS, AMBIGUOUS),
        ("our prefix as Bearer", &[("x-api-key", GOOD), ("authorization", "Bearer kg_live_x")], AMBIGUOUS, AMBIGUOUS),
        ("a user's token as Bearer", &[("x-api-key", GOOD), ("authorization", &token)], "200", "200"),
        ("a user's long token", &[("x-api-key", GOOD), ("authorization", &long_token)], "200", "200"),
        ("a user's token beside the cookie", &[("cookie", &good_cookie), ("authorization", &token)], "200", "200"),
        ("Basic beside the key", &[("x-api-key", GOOD), ("authorization", "Basic dTpw")], "200", "200"),
        ("a token saves no bad key", &[("x-api-key", "nobody"), ("authorization", &token)], REJECTED, REJECTED),
    ]);
}

#[test]
fn what_is_not_ours_in_authorization_passes_open_endpoints_and_opens_no_closed_one() {
    let token = format!("Bearer {TOKEN}");
    check(&[
        ("a Bearer that is nobody's", &[("authorization", &token)], REJECTED, "200"),
        ("Basic", &[("authorization", "Basic dTpw")], MISSING, "200"),
        ("an unknown scheme", &[("authorization", "Digest username=\"u\"")], MISSING, "200"),
    ]);
}

#[test]
fn a_key_anywhere_else_is_no_key() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for parameter in ["api_key", "apikey", "key", "access_token", "x-api-key", "client-key", "secret", "token"] {
        let target = format!("/closed?{parameter}={GOOD}");
        report.equal(&target, get(gateway.address(), &target, &[]).verdict(), MISSING.to_string());
    }
    for name in ["x-apikey", "x_api_key", "client_key", "api-key", "proxy-authorization", "x-forwarded-authorization"] {
        report.equal(name, get(gateway.address(), "/closed", &[(name, GOOD)]).verdict(), MISSING.to_string());
    }
    for cookie in ["MIA_CLIENT_KEY", "mia_client_key2", "xmia_client_key", "client-key"] {
        let verdict = get(gateway.address(), "/closed", &[("cookie", &format!("{cookie}={GOOD}"))]).verdict();
        report.equal(cookie, verdict, MISSING.to_string());
    }
    let form = format!("x-api-key={GOOD}");
    let fields = [("content-type", "application/x-www-form-urlencoded")];
    let verdict = request(gateway.address(), "POST", "/closed", &fields, form.as_bytes()).verdict();
    report.equal("in the body", verdict, MISSING.to_string());
    let protocol = [("sec-websocket-protocol", GOOD)];
    report.equal("as a subprotocol", get(gateway.address(), "/closed", &protocol).verdict(), MISSING.to_string());
    report.equal("requests upstream", origin.take().len(), 0);
}

#[test]
fn authorization_that_is_not_ours_reaches_the_upstream_byte_for_byte() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    let cookie = format!("mia_client_key={GOOD}");
    for value in
        [&format!("Bearer {TOKEN}"), "Basic dTpw", "bearer  two-blanks", "Digest a=\"b\", c=d", "Negotiate x=="]
    {
        for (place, key) in [("x-api-key", GOOD), ("client-key", GOOD), ("secret", GOOD), ("cookie", cookie.as_str())] {
            let response = get(gateway.address(), "/closed", &[(place, key), ("authorization", value)]);
            report.equal(format!("{value} beside {place}"), response.verdict(), "200".to_string());
            for seen in origin.take() {
                report.equal(format!("{value} beside {place}"), seen.header("authorization"), Some(value.trim()));
                report.holds(place, "the key is gone", !seen.has(place) && !seen.head().contains(GOOD));
            }
        }
    }
    let alone = get(gateway.address(), "/open", &[("authorization", &format!("Bearer {TOKEN}"))]);
    report.equal("alone on an open endpoint", alone.status, 200);
    let seen = origin.take_one();
    report.equal("alone", seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    report.holds("alone", "it makes nobody a client", !seen.has("client-type") && !seen.has("x-client-id"));
}

#[test]
fn the_same_key_shown_twice_is_removed_from_both_places() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let bearer = format!("Bearer {GOOD}");
    let cookie = format!("a=1; mia_client_key={GOOD}");
    let fields = [("x-api-key", GOOD), ("client-key", GOOD), ("authorization", &bearer), ("cookie", &cookie)];
    assert_eq!(get(gateway.address(), "/closed", &fields).verdict(), "200");
    let seen = origin.take_one();
    for name in ["x-api-key", "client-key", "authorization"] {
        assert!(!seen.has(name), "{name} is still there: {}", seen.head());
    }
    assert_eq!(seen.header("cookie"), Some("a=1"));
}

#[test]
fn other_cookies_stay_as_they_are_when_ours_is_taken_out() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (sent, left) in [
        ("mia_client_key=K", None),
        ("mia_client_key=K; a=1", Some("a=1")),
        ("a=1; mia_client_key=K", Some("a=1")),
        ("a=1; mia_client_key=K; b=2", Some("a=1; b=2")),
        ("a=\"x y\"; mia_client_key=K; b=%3B", Some("a=\"x y\"; b=%3B")),
        ("amia_client_key=1; mia_client_key=K; mia_client_keyb=2", Some("amia_client_key=1; mia_client_keyb=2")),
        ("a=mia_client_key=x; mia_client_key=K", Some("a=mia_client_key=x")),
        ("a=; b; mia_client_key=K; c==", Some("a=; b; c==")),
    ] {
        let cookie = sent.replace("=K", &format!("={GOOD}"));
        report.equal(sent, get(gateway.address(), "/closed", &[("cookie", &cookie)]).verdict(), "200".to_string());
        for seen in origin.take() {
            report.equal(sent, seen.header("cookie"), left);
        }
    }
    let untouched = "a=1;b=2;  c=3;";
    report.equal(
        untouched,
        get(gateway.address(), "/closed", &[("cookie", untouched), ("x-api-key", GOOD)]).status,
        200,
    );
    report.equal(untouched, origin.take_one().header("cookie"), Some(untouched));
}

#[test]
fn an_endpoint_may_have_places_of_its_own_and_may_pass_the_credential_on() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    assert_eq!(get(gateway.address(), "/own", &[("x-partner-key", GOOD)]).verdict(), "200");
    assert!(!origin.take_one().has("x-partner-key"));
    assert_eq!(get(gateway.address(), "/own", &[("x-api-key", GOOD)]).verdict(), MISSING);
    assert_eq!(get(gateway.address(), "/closed", &[("x-partner-key", GOOD)]).verdict(), MISSING);
    assert_eq!(get(gateway.address(), "/keeps", &[("x-api-key", GOOD)]).verdict(), "200");
    assert_eq!(origin.take_one().header("x-api-key"), Some(GOOD));
}

#[test]
fn the_exact_reason_is_told_only_where_the_operator_asks_for_it() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let long = format!("kg_live_{}", "x".repeat(5000));
    let mut report = Report::new();
    let mut generic = Vec::new();
    for (key, code) in [
        ("kg_live_nobody", "key_unknown"),
        ("kg_live_disabled", "key_disabled"),
        ("kg_live_gone", "client_disabled"),
        ("kg_live_early", "key_not_yet_valid"),
        ("kg_live_expired", "key_expired"),
        ("kg_live_rotated_old", "key_superseded"),
        ("kg_live_staging", "key_wrong_environment"),
        ("", "credential_empty"),
        (&long, "credential_too_long"),
    ] {
        let full = get(gateway.address(), "/full", &[("x-api-key", key)]);
        report.equal(code, full.verdict(), format!("401 {code}"));
        let mut short = get(gateway.address(), "/open", &[("x-api-key", key)]).json();
        short["request_id"] = "the same".into();
        generic.push(short.to_string());
    }
    generic.dedup();
    report.equal("bodies of the generic refusal", generic.len(), 1);
    let mut reasons: Vec<String> = Vec::new();
    for line in gateway.wait_for_access_lines(18) {
        reasons.push(line.to_string());
    }
    for code in ["key_disabled", "key_expired", "key_superseded", "client_disabled", "credential_empty"] {
        let told = reasons.iter().filter(|line| line.contains(code)).count();
        report.equal(format!("lines of the access log with {code}"), told, 2);
    }
}

#[test]
fn a_key_expires_and_becomes_valid_by_the_clock_alone() {
    let origin = Origin::start();
    // A whole second: what is finer than the verdict's clock is not what this is about.
    let turn = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 5).expect("a time");
    let yaml = format!(
        r#"
upstreams: {{ api: {{ url: "{{{{origin}}}}" }} }}
clients:
  - id: shop
    client_type: cms
    keys:
      - {{ id: key_ends, name: ends, expires_at: "{turn}", digest: "{{{{digest:ends-soon}}}}" }}
      - {{ id: key_begins, name: begins, not_before: "{turn}", digest: "{{{{digest:begins-soon}}}}" }}
endpoints: [ {{ name: all, path: /, upstream: api, api_key: required }} ]
"#
    );
    let gateway = Gateway::before(&origin, &yaml);
    let mut caller = Caller::connect(gateway.address());
    let mut verdict_of = |key: &str| caller.call("GET", "/", &[("x-api-key", key)], b"").verdict();
    assert_eq!((verdict_of("ends-soon"), verdict_of("begins-soon")), ("200".into(), REJECTED.into()));
    wait::until("the turn", || {
        let (ends, begins) = (verdict_of("ends-soon"), verdict_of("begins-soon"));
        (ends == REJECTED && begins == "200").then_some(())
    });
    let now = jiff::Timestamp::now();
    assert!(now >= turn, "the verdict changed at {now}, before {turn}");
}

#[test]
fn every_request_of_a_connection_is_judged_by_itself() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    let mut report = Report::new();
    for (round, (headers, expected)) in [
        (&[("x-api-key", GOOD)][..], "200"),
        (&[][..], MISSING),
        (&[("x-api-key", "nobody")][..], REJECTED),
        (&[][..], MISSING),
        (&[("client-key", OTHER)][..], "200"),
        (&[][..], MISSING),
    ]
    .into_iter()
    .enumerate()
    {
        report.equal(round, caller.call("GET", "/closed", headers, b"").verdict(), expected.to_string());
    }
    report.equal("requests upstream", origin.take().len(), 2);
}

#[test]
fn a_deprecated_place_is_named_in_the_log_once_for_each_client_type() {
    let origin = Origin::start();
    let gateway = Gateway::before(
        &origin,
        r#"
upstreams: { api: { url: "{{origin}}" } }
clients:
  - { id: a, client_type: cms, keys: [ { id: key_a, name: a, digest: "{{digest:key-of-a}}" } ] }
  - { id: b, client_type: app, keys: [ { id: key_b, name: b, digest: "{{digest:key-of-b}}" } ] }
endpoints: [ { name: all, path: /, upstream: api, api_key: required } ]
"#,
    );
    let lines = || gateway.stderr().lines().filter(|line| line.contains("deprecated")).count();
    for key in ["key-of-a", "key-of-a", "key-of-a", "key-of-b"] {
        assert_eq!(get(gateway.address(), "/", &[("secret", key)]).status, 200);
    }
    wait::until("a line for each client type", || (lines() >= 2).then_some(()));
    assert_eq!(get(gateway.address(), "/", &[("client-key", "key-of-b")]).status, 200);
    assert_eq!(get(gateway.address(), "/", &[("secret", "key-of-b")]).status, 200);
    gateway.wait_for_access_lines(6);
    assert_eq!(lines(), 2, "{}", gateway.stderr());
}

#[test]
fn a_keyed_digest_is_found_by_the_pepper_and_by_no_other() {
    let pepper = [7_u8; 32];
    let text: String = pepper.iter().map(|byte| format!("{byte:02x}")).collect();
    for (digest, expected) in
        [(keys::blake3_keyed("keyed-key", &pepper), "200"), (keys::blake3_keyed("keyed-key", &[8; 32]), REJECTED)]
    {
        let origin = Origin::start();
        let yaml = format!(
            r#"
keys: {{ pepper_file: pepper.key }}
upstreams: {{ api: {{ url: "{{{{origin}}}}" }} }}
clients: [ {{ id: a, client_type: x, keys: [ {{ id: k, name: k, digest: "{digest}" }}, {{ id: l, name: l, digest: "{{{{digest:plain-digest}}}}" }} ] }} ]
endpoints: [ {{ name: all, path: /, upstream: api, api_key: required }} ]
"#
        );
        let gateway = Gateway::with(&yaml).origin(&origin).file("pepper.key", &text).start();
        assert_eq!(get(gateway.address(), "/", &[("x-api-key", "keyed-key")]).verdict(), expected);
        assert_eq!(get(gateway.address(), "/", &[("x-api-key", "plain-digest")]).verdict(), "200");
    }
}
