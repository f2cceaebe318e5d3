//! Who is calling is told to upstreams by the gateway alone: forged names are removed in every spelling, true ones set.

use super::support::http2::{ByHand, block_of, frame, greeting};
use super::support::{Gateway, Origin, Recorded, Report, exchange, get, wait};

const CONFIG: &str = r#"
environment: live
upstreams: { api: { url: "{{origin}}" } }
clients:
  - id: shop
    name: The Shop
    client_type: cms
    tenant: acme
    groups: [admins, staff]
    permissions: [orders.read, orders.write]
    keys:
      - { id: key_1, name: website, environment: live, digest: "{{digest:shop-key}}" }
      - { id: key_2, name: cut, permissions: [orders.read], digest: "{{digest:cut-key}}" }
  - id: plain
    client_type: app
    keys: [ { id: key_3, name: plain, digest: "{{digest:plain-key}}" } ]
endpoints:
  - { name: closed, path: /closed, upstream: api, api_key: required }
  - { name: open, path: /open, upstream: api, public: true }
  - { name: trailing, path: /trailing, upstream: api, public: true, request_trailers: true }
"#;

/// The names that stand for who is calling.
const NAMES: [&str; 18] = [
    "client-type",
    "x-client-id",
    "x-client-key-id",
    "x-client-tenant",
    "x-client-environment",
    "x-client-permissions",
    "x-client-groups",
    "miauserid",
    "miausergroups",
    "miauserproperties",
    "isbackoffice",
    "mia-allowed",
    "mia-userid",
    "mia-groups",
    "mia-userproperties",
    "mia_userid",
    "acl_rows",
    "acl_read_columns",
];

/// As a server that makes variables of header names would read it.
fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// The fields of a recorded request that speak of who is calling.
fn identity_of(seen: &Recorded) -> Vec<(String, String)> {
    let is_one = |name: &str| NAMES.iter().any(|known| folded(known) == folded(name));
    let mut fields: Vec<_> =
        seen.headers.iter().chain(&seen.trailers).filter(|(name, _)| is_one(name)).cloned().collect();
    fields.sort();
    fields
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn what_is_known_is_told_and_what_is_not_known_is_absent() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    let shop = [
        ("client-type", "cms"),
        ("x-client-environment", "live"),
        ("x-client-groups", "admins,staff"),
        ("x-client-id", "shop"),
        ("x-client-key-id", "key_1"),
        ("x-client-permissions", "orders.read,orders.write"),
        ("x-client-tenant", "acme"),
    ];
    for path in ["/closed", "/open"] {
        assert_eq!(get(gateway.address(), path, &[("x-api-key", "shop-key")]).status, 200);
        report.equal(path, lower_case(identity_of(&origin.take_one())), pairs(&shop));
        assert_eq!(get(gateway.address(), path, &[("x-api-key", "plain-key")]).status, 200);
        let told = lower_case(identity_of(&origin.take_one()));
        let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
        for known in ["client-type", "x-client-id", "x-client-key-id"] {
            report.holds(path, format!("{known} is told: {told:?}"), names.contains(&known));
        }
        for unknown in ["x-client-tenant", "x-client-permissions", "x-client-groups", "miauserid", "isbackoffice"] {
            report.holds(path, format!("{unknown} is absent: {told:?}"), !names.contains(&unknown));
        }
        report.holds(path, "nothing is empty", told.iter().all(|(_, value)| !value.is_empty()));
    }
    get(gateway.address(), "/closed", &[("x-api-key", "cut-key")]);
    report.equal(
        "what both the client and the key have",
        origin.take_one().header("x-client-permissions"),
        Some("orders.read"),
    );
    get(gateway.address(), "/open", &[]);
    report.equal("nobody", identity_of(&origin.take_one()), Vec::new());
}

fn lower_case(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    fields.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
    fields.sort();
    fields
}

#[test]
fn forged_names_are_removed_in_every_spelling_on_every_endpoint() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for name in NAMES {
        let title: String =
            name.split('-').map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect::<Vec<_>>().join("-");
        let mut spellings = vec![name.to_string(), name.to_ascii_uppercase(), title];
        for sign in ["_", ".", "!", "#", "$", "%", "&", "'", "*", "+", "^", "`", "|", "~"] {
            spellings.push(name.replace(['-', '_'], sign));
        }
        spellings.push(name.replacen('-', "_", 1));
        for spelling in spellings {
            for (path, key) in [("/open", ""), ("/closed", "plain-key"), ("/open", "plain-key")] {
                let mut fields = vec![(spelling.as_str(), "forged")];
                if !key.is_empty() {
                    fields.push(("x-api-key", key));
                }
                let status = get(gateway.address(), path, &fields).status;
                let seen = origin.take();
                let row = format!("{spelling} on {path} with key {key:?}");
                report.equal(&row, status, 200);
                report.holds(&row, "forged value upstream", seen.iter().all(|seen| !seen.head().contains("forged")));
            }
        }
    }
}

#[test]
fn names_that_only_look_alike_pass() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let names = ["clienttype", "x-client-ids", "x-client", "client-types", "xx-client-id", "miauser", "x-backoffice"];
    let fields: Vec<_> = names.iter().map(|name| (*name, "kept")).collect();
    assert_eq!(get(gateway.address(), "/open", &fields).status, 200);
    let seen = origin.take_one();
    for name in names {
        assert_eq!(seen.header(name), Some("kept"), "{}", seen.head());
    }
}

#[test]
fn connection_neither_removes_what_is_told_nor_travels_on() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let names = "x-client-id, client-type, x-client-tenant, x-forwarded-for, x-request-id, x-mine";
    let fields = [("x-api-key", "shop-key"), ("connection", names), ("x-mine", "1"), ("x-other", "2")];
    assert_eq!(get(gateway.address(), "/closed", &fields).status, 200);
    let seen = origin.take_one();
    assert_eq!(seen.header("x-client-id"), Some("shop"));
    assert_eq!(seen.header("client-type"), Some("cms"));
    assert_eq!(seen.header("x-client-tenant"), Some("acme"));
    assert!(seen.has("x-forwarded-for"), "{}", seen.head());
    assert!(!seen.has("x-mine"), "what Connection names ends here: {}", seen.head());
    assert_eq!(seen.header("x-other"), Some("2"));
    let forwarded: Vec<_> = seen.values("connection").collect();
    assert!(forwarded.iter().all(|value| !value.contains("client")), "{forwarded:?}");
}

#[test]
fn the_credential_is_not_kept_by_naming_it_in_connection() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    // Whether the field is judged or gone, the key must not be taken for somebody else's or reach the upstream.
    let response = get(gateway.address(), "/closed", &[("x-api-key", "shop-key"), ("connection", "x-api-key")]);
    assert!(response.status == 200 || response.status == 401, "{}", response.verdict());
    assert!(!origin.raw_text().contains("shop-key"));
}

#[test]
fn trailers_carry_no_identity() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (path, keeps_others) in [("/open", false), ("/trailing", true)] {
        let raw = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-client-id, x-sum\r\n\r\n\
             2\r\nhi\r\n0\r\nx-client-id: forged\r\nX_Client_Id: forged\r\nclient.type: forged\r\nx-sum: 7\r\n\r\n"
        );
        report.equal(path, exchange(gateway.address(), raw).status, 200);
        let seen = origin.take_one();
        report.equal(path, seen.body.clone(), b"hi".to_vec());
        report.holds(path, format!("{:?}", seen.trailers), !seen.trailers.iter().any(|(_, value)| value == "forged"));
        let sum = seen.trailers.iter().any(|(name, value)| name.eq_ignore_ascii_case("x-sum") && value == "7");
        report.equal(format!("{path}: other trailers"), sum, keeps_others);
    }
    report.holds("raw", "forged bytes upstream", !origin.raw_text().contains("forged"));
}

/// What a trailer must not carry to an upstream that was promised trailers: who is calling, with what key, from where,
/// and where the message ends.
const NOT_AS_TRAILERS: [&str; 20] = [
    "x-client-id",
    "x_client_id",
    "client.type",
    "miauserid",
    "mia_userid",
    "isbackoffice",
    "acl_rows",
    "x-api-key",
    "x_api_key",
    "client-key",
    "secret",
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "forwarded",
    "x-real-ip",
    "x-original-url",
];

#[test]
fn trailers_carry_neither_identity_nor_key_nor_origin_in_either_version_of_http() {
    let origin = Origin::start();
    let h2c = format!("listen: [ {{ address: 127.0.0.1:0, protocol: h2c }} ]\n{CONFIG}");
    let gateway = Gateway::before(&origin, &h2c);
    let mut report = Report::new();
    for name in NOT_AS_TRAILERS {
        let value = if name == "cookie" { "mia_client_key=forged" } else { "forged" };
        let raw = format!(
            "POST /trailing HTTP/1.1\r\nhost: a\r\nx-api-key: shop-key\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
             2\r\nhi\r\n0\r\n{name}: {value}\r\nx-sum: 7\r\n\r\n"
        );
        exchange(gateway.address(), raw);
        let mut caller = ByHand::connect(gateway.address());
        let pseudo = [(":method", "POST"), (":scheme", "http"), (":path", "/trailing"), (":authority", "a")];
        let head = block_of(&[&pseudo[..], &[("x-api-key", "shop-key")]].concat());
        let trailers = block_of(&[(name, value), ("x-sum", "7")]);
        let frames = [frame(1, 4, 1, &head), frame(0, 0, 1, b"hi"), frame(1, 5, 1, &trailers)].concat();
        caller.send([greeting(), frames].concat());
        let seen =
            wait::within(std::time::Duration::from_secs(3), || Some(origin.requests()).filter(|seen| seen.len() >= 2));
        drop(caller);
        origin.take();
        let seen = seen.unwrap_or_default();
        report.equal(format!("{name}: requests upstream"), seen.len(), 2);
        for (version, seen) in seen.iter().enumerate() {
            let row = format!("{name} over HTTP/{}", version + 1);
            report.equal(&row, seen.header("x-client-id"), Some("shop"));
            report.holds(
                &row,
                format!("{:?}", seen.trailers),
                !seen.trailers.iter().any(|(_, value)| value.contains("forged")),
            );
            report.holds(&row, format!("{:?}", seen.trailers), seen.trailers.iter().any(|(name, _)| name == "x-sum"));
        }
    }
    let raw = origin.raw_text();
    report.holds("raw", "forged bytes upstream", !raw.contains("forged") && !raw.contains("shop-key"));
}

#[test]
fn connection_takes_no_key_out_of_sight() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for named in
        ["x-api-key", "authorization", "cookie", "x-api-key, client-key, secret", "X-API-KEY", "close, x-api-key"]
    {
        // A bad key that is named as one of the hop's is still a bad key, a good one still goes no further.
        let bad = get(gateway.address(), "/open", &[("x-api-key", "nobody"), ("connection", named)]).verdict();
        let hides_it = named.to_ascii_lowercase().contains("x-api-key");
        report.holds(format!("bad, {named}"), &bad, bad == "401 credential_rejected" || (hides_it && bad == "200"));
        for seen in origin.take() {
            report.holds(
                format!("bad, {named}"),
                seen.head(),
                !seen.has("x-client-id") && !seen.head().contains("nobody"),
            );
        }
        let good = get(gateway.address(), "/closed", &[("x-api-key", "shop-key"), ("connection", named)]).verdict();
        report.holds(format!("good, {named}"), &good, good == "200" || good == "401 credential_missing");
        for seen in origin.take() {
            report.equal(format!("good, {named}"), seen.header("x-client-id"), Some("shop"));
        }
    }
    report.holds("raw", "the key reached the upstream", !origin.raw_text().contains("shop-key"));
}

#[test]
fn a_trailer_is_no_place_for_a_key() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let raw = "POST /closed HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-api-key\r\n\r\n\
               2\r\nhi\r\n0\r\nx-api-key: shop-key\r\n\r\n";
    assert_eq!(exchange(gateway.address(), raw).verdict(), "401 credential_missing");
    assert_eq!(origin.take().len(), 0);
}

#[test]
fn users_are_believed_from_trusted_peers_only() {
    let told =
        [("miauserid", "u1"), ("miausergroups", "ops,dev"), ("miauserproperties", "{\"a\":1}"), ("isbackoffice", "1")];
    let mut report = Report::new();
    for (trust, is_believed) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let origin = Origin::start();
        let yaml = format!(
            "trusted_identity: [{trust}]\n{CONFIG}  - {{ name: user, path: /user, upstream: api, api_key: required, require_user: true }}\n"
        );
        let gateway = Gateway::before(&origin, &yaml);
        let mut fields = told.to_vec();
        fields.push(("x-api-key", "shop-key"));
        fields.push(("x-client-id", "forged"));
        let status = get(gateway.address(), "/user", &fields).status;
        report.equal(format!("trust in {trust}"), status, if is_believed { 200 } else { 401 });
        report.equal(format!("trust in {trust}"), get(gateway.address(), "/closed", &fields).status, 200);
        let seen = origin.take().pop().expect("one at least");
        for (name, value) in told {
            report.equal(format!("{name}, trust in {trust}"), seen.header(name), is_believed.then_some(value));
        }
        report.equal("clients are never believed", seen.header("x-client-id"), Some("shop"));
        get(gateway.address(), "/closed", &[("x-api-key", "shop-key"), ("isbackoffice", "0")]);
        let zero = origin.take_one();
        report.holds("a false isbackoffice", zero.head(), zero.header("isbackoffice").is_none_or(|value| value == "1"));
    }
}

#[test]
fn names_are_configuration_and_the_usual_ones_stay_protected() {
    let origin = Origin::start();
    let yaml = format!(
        "identity_headers: {{ client_id: x-caller, client_type: x-caller-type, reserved: [x-internal] }}\n{CONFIG}"
    );
    let gateway = Gateway::before(&origin, &yaml);
    let fields = [
        ("x-api-key", "shop-key"),
        ("x-caller", "forged"),
        ("X_Caller_Type", "forged"),
        ("x.internal", "forged"),
        ("X-Internal", "forged"),
        ("x-mine", "kept"),
    ];
    assert_eq!(get(gateway.address(), "/closed", &fields).status, 200);
    let seen = origin.take_one();
    assert_eq!((seen.header("x-caller"), seen.header("x-caller-type")), (Some("shop"), Some("cms")));
    assert_eq!(seen.header("x-mine"), Some("kept"));
    assert!(!seen.head().contains("forged"), "{}", seen.head());
}
