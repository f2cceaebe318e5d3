//! Who is calling is told to upstreams by the gateway alone: forged names are removed in every spelling, true ones set.

use super::support::{Gateway, Origin, Recorded, Report, exchange, get};

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
