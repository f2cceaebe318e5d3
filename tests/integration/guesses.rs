//! Guessing keys neither succeeds nor costs, and locks nobody else out.

use super::support::{Gateway, Origin, Report, get};

/// Callers say in `X-Forwarded-For` where they come from.
const CONFIG: &str = r#"
trusted_proxies: [127.0.0.1/32]
limits: { rejected_keys: 20 }
upstreams: { api: { url: "{{origin}}" } }
clients:
  - { id: shop, client_type: cms, keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" }, { id: key_2, name: k2, digest: "{{digest:second-key}}" } ] }
endpoints:
  - { name: all, path: /, upstream: api, api_key: required }
  - { name: open, path: /open, upstream: api, public: true }
"#;

fn ask(gateway: &Gateway, path: &str, from: &str, key: &str) -> String {
    let mut fields = vec![("x-forwarded-for", from)];
    if !key.is_empty() {
        fields.push(("x-api-key", key));
    }
    get(gateway.address(), path, &fields).verdict()
}

/// Spends the budget of an address, and gives what the last guess was answered.
fn guess(gateway: &Gateway, from: &str) -> String {
    for number in 0..39 {
        ask(gateway, "/x", from, &format!("guess-{number}"));
    }
    ask(gateway, "/x", from, "guess-39")
}

const BLOCKED: &str = "429 too_many_failures";

#[test]
fn an_address_that_guesses_is_not_looked_up_any_more() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    report.equal("a first guess", ask(&gateway, "/x", "192.0.2.1", "guess"), "401 credential_rejected".to_owned());
    report.equal("many guesses", guess(&gateway, "192.0.2.1"), BLOCKED.to_owned());
    report.equal("the right one at last", ask(&gateway, "/x", "192.0.2.1", "shop-key"), BLOCKED.to_owned());
    report.equal("on an open endpoint too", ask(&gateway, "/open", "192.0.2.1", "guess"), BLOCKED.to_owned());
    report.equal("without a key", ask(&gateway, "/x", "192.0.2.1", ""), "401 credential_missing".to_owned());
    report.equal("without a key where none is needed", ask(&gateway, "/open", "192.0.2.1", ""), "200".to_owned());
    report.equal("another address", ask(&gateway, "/x", "192.0.2.2", "shop-key"), "200".to_owned());
    report.equal("an IPv6 network", guess(&gateway, "2001:db8::1"), BLOCKED.to_owned());
    report.equal("its neighbour", ask(&gateway, "/x", "2001:db8::ffff", "shop-key"), BLOCKED.to_owned());
    report.equal("another network", ask(&gateway, "/x", "2001:db8:0:1::1", "shop-key"), "200".to_owned());
    let answer = get(gateway.address(), "/x", &[("x-forwarded-for", "192.0.2.1"), ("x-api-key", "guess")]);
    report.equal("when to come back", answer.header("retry-after"), Some("1"));
    report.holds(
        "the metric",
        "counts",
        gateway.metric("keygate_limit_hits_total", &[("limit", "rejected_keys")]) > 10.0,
    );
    let seen = origin.requests().iter().filter(|request| request.has("x-client-id")).count();
    report.equal("what the upstream saw", seen, 2);
}

#[test]
fn a_good_key_is_not_locked_out_by_its_neighbour() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let from = "192.0.2.1";
    assert_eq!(ask(&gateway, "/x", from, "old-key"), "401 credential_rejected");
    assert_eq!(ask(&gateway, "/x", from, "shop-key"), "200");
    assert_eq!(guess(&gateway, from), BLOCKED);
    for _ in 0..5 {
        assert_eq!(ask(&gateway, "/x", from, "shop-key"), "200", "it was good from there meanwhile");
        assert_eq!(ask(&gateway, "/x", from, "old-key"), BLOCKED);
    }
    assert_eq!(ask(&gateway, "/x", from, "second-key"), BLOCKED, "nobody has seen this one there");
}

#[test]
fn the_bound_can_be_taken_away() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &CONFIG.replace("rejected_keys: 20", "rejected_keys: none"));
    assert_eq!(guess(&gateway, "192.0.2.1"), "401 credential_rejected");
    assert_eq!(ask(&gateway, "/x", "192.0.2.1", "shop-key"), "200");
}
