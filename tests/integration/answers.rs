//! How the gateway itself answers: status by meaning, one stable code, four shapes of body, and the fields around them.

use super::support::{Gateway, Origin, Report, Response, get, request};

const CONFIG: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
clients:
  - id: shop
    client_type: cms
    permissions: [orders.read]
    keys:
      - { id: key_1, name: k, digest: "{{digest:shop-key}}" }
      - { id: key_2, name: d, active: false, digest: "{{digest:disabled-key}}" }
endpoints:
  - { name: orders, path: /orders, upstream: api, permissions: { GET: [orders.read], POST: [orders.write, stock.write] } }
  - { name: envelope, path: /envelope, upstream: api, permissions: [orders.write], errors: { format: envelope } }
  - { name: bkend, path: /bkend, upstream: api, permissions: [orders.write], errors: { format: bkend } }
  - { name: billabear, path: /billabear, upstream: api, permissions: [orders.write], errors: { format: billabear } }
  - { name: bearer-only, path: /bearer, upstream: api, api_key: required, credentials: [bearer] }
  - { name: header-only, path: /header, upstream: api, api_key: required, credentials: [ { header: X-Api-Key } ] }
  - name: browser
    path: /browser
    upstream: api
    api_key: required
    cors:
      origins: ["https://shop.example"]
      methods: [GET, POST]
      headers: [x-api-key, content-type]
      expose: [x-total]
      max_age: 10m
  - { name: any-browser, path: /any-browser, upstream: api, api_key: required, cors: { origins: any, methods: [GET] } }
  - { name: with-cookies, path: /with-cookies, upstream: api, api_key: required, cors: { origins: ["https://shop.example"], methods: [GET], credentials: true } }
"#;

/// The members that the system itself has, sorted; an id for support may stand beside them.
fn own_keys_of(value: &serde_json::Value) -> Vec<String> {
    let keys = value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default();
    let mut keys: Vec<String> = keys;
    keys.retain(|key| key != "request_id" && key != "requestId");
    keys.sort();
    keys
}

fn is_our_problem(report: &mut Report, row: &str, response: &Response, status: u16, code: &str) {
    report.equal(format!("{row}: status"), response.status, status);
    report.equal(format!("{row}: type"), response.header("content-type"), Some("application/problem+json"));
    let json = response.json();
    for name in ["type", "title", "status", "detail", "code", "request_id"] {
        report.holds(row, format!("{name} is missing in {json}"), json.get(name).is_some());
    }
    report.equal(format!("{row}: status in the body"), json["status"].as_u64(), Some(u64::from(status)));
    report.equal(format!("{row}: code"), json["code"].as_str(), Some(code));
    report.equal(format!("{row}: request id"), json["request_id"].as_str(), response.header("x-request-id"));
    report.holds(row, "an id", response.header("x-request-id").is_some_and(|id| !id.is_empty()));
    report.equal(format!("{row}: required"), json.get("required").is_some(), status == 403);
}

#[test]
fn a_refusal_is_a_problem_document() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (method, target, key, status, code) in [
        ("GET", "/orders", "", 401, "credential_missing"),
        ("GET", "/orders", "nobody", 401, "credential_rejected"),
        ("GET", "/orders", "disabled-key", 401, "credential_rejected"),
        ("POST", "/orders", "shop-key", 403, "permission_missing"),
        ("GET", "/nowhere", "", 404, "endpoint_not_found"),
        ("PUT", "/orders", "shop-key", 405, "method_not_allowed"),
        ("GET", "/orders/%2e%2e/x", "shop-key", 400, "path_ambiguous"),
        ("GET", "/orders", "caf\u{e9}", 400, "credential_malformed"),
    ] {
        let fields = [("x-api-key", key)];
        let response = request(gateway.address(), method, target, if key.is_empty() { &[] } else { &fields }, b"");
        is_our_problem(&mut report, &format!("{method} {target} {key}"), &response, status, code);
    }
}

#[test]
fn what_is_missing_is_named_in_full() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let json = request(gateway.address(), "POST", "/orders", &[("x-api-key", "shop-key")], b"").json();
    let text = json["required"].to_string();
    assert!(text.contains("orders.write") && text.contains("stock.write"), "{json}");
    assert!(!text.contains("orders.read"), "{json}");
}

#[test]
fn other_shapes_are_those_of_the_systems_they_come_from() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (path, status, keys) in [
        ("/envelope", 401, vec!["error"]),
        ("/envelope", 403, vec!["error"]),
        ("/bkend", 401, vec!["error", "message", "statusCode"]),
        ("/bkend", 403, vec!["error", "message", "required", "statusCode"]),
        ("/billabear", 401, vec![]),
        ("/billabear", 403, vec!["errors"]),
    ] {
        let fields = [("x-api-key", "shop-key")];
        let response = get(gateway.address(), path, if status == 401 { &[] } else { &fields });
        let row = format!("{path} {status}");
        report.equal(&row, response.status, status);
        report.holds(
            &row,
            &response.head,
            response.header("content-type").is_some_and(|t| t.starts_with("application/json")),
        );
        report.holds(&row, "an id", response.header("x-request-id").is_some());
        let json = response.json();
        report.equal(&row, own_keys_of(&json), keys.iter().map(ToString::to_string).collect());
        match path {
            "/billabear" if status == 401 => report.equal(&row, response.text(), "[]".to_string()),
            "/bkend" => report.equal(&row, json["statusCode"].as_u64(), Some(u64::from(status))),
            "/envelope" => {
                let inner = own_keys_of(&json["error"]);
                let expected: &[&str] =
                    if status == 403 { &["code", "message", "required"] } else { &["code", "message"] };
                report.equal(&row, inner, expected.iter().map(ToString::to_string).collect());
            }
            _ => {}
        }
    }
    let named = get(gateway.address(), "/envelope", &[("x-api-key", "shop-key")]).json();
    report.holds("envelope", &named, named["error"]["required"].to_string().contains("orders.write"));
}

#[test]
fn a_401_says_how_to_authenticate_and_nothing_else_does() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    let challenges =
        |response: &Response| response.values("www-authenticate").map(str::to_string).collect::<Vec<_>>().join(", ");
    let missing = challenges(&get(gateway.address(), "/orders", &[]));
    report.holds("missing", &missing, missing.contains("Bearer realm=\"keygate\"") && !missing.contains("error="));
    report.holds(
        "missing",
        &missing,
        missing.contains("ApiKey realm=\"keygate\", header=\"") && missing.to_lowercase().contains("x-api-key"),
    );
    let rejected = challenges(&get(gateway.address(), "/orders", &[("x-api-key", "nobody")]));
    report.holds("rejected", &rejected, rejected.contains("error=\"invalid_token\""));
    let twice = challenges(&get(gateway.address(), "/orders", &[("x-api-key", "a"), ("client-key", "b")]));
    report.holds("ambiguous", &twice, twice.contains("error=\"invalid_request\""));
    let denied = challenges(&request(gateway.address(), "POST", "/orders", &[("x-api-key", "shop-key")], b""));
    report.holds("denied", &denied, denied.contains("error=\"insufficient_scope\""));
    let bearer = challenges(&get(gateway.address(), "/bearer", &[]));
    report.holds("bearer only", &bearer, bearer.contains("Bearer") && !bearer.contains("ApiKey"));
    let header = challenges(&get(gateway.address(), "/header", &[]));
    report.holds("header only", &header, header.contains("ApiKey") && header.to_lowercase().contains("x-api-key"));
    for path in ["/nowhere", "/orders/%2e"] {
        report.equal(path, challenges(&get(gateway.address(), path, &[])), String::new());
    }
    // A client that was admitted is told nothing of ours.
    report.equal("200", challenges(&get(gateway.address(), "/orders", &[("x-api-key", "shop-key")])), String::new());
}

#[test]
fn a_405_lists_what_is_admitted() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let response = request(gateway.address(), "DELETE", "/orders", &[("x-api-key", "shop-key")], b"");
    let mut allowed: Vec<_> = response.header("allow").expect("Allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[test]
fn a_refused_head_has_no_body() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = super::support::Caller::connect(gateway.address());
    assert_eq!(caller.call("HEAD", "/orders", &[], b"").status, 401);
    assert_eq!(
        caller.call("GET", "/orders", &[("x-api-key", "shop-key")], b"").status,
        200,
        "the connection is in step"
    );
}

#[test]
fn refusals_do_not_stay_in_caches() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    for (path, key) in [("/orders", "nobody"), ("/envelope", "shop-key")] {
        let response = get(gateway.address(), path, &[("x-api-key", key)]);
        let cache = response.header("cache-control").unwrap_or_default().to_string();
        assert!(cache.contains("no-store"), "{path}: {}", response.head);
    }
}

const PREFLIGHT: [(&str, &str); 2] = [("origin", "https://shop.example"), ("access-control-request-method", "POST")];

#[test]
fn a_preflight_needs_no_key_and_goes_no_further() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut fields = PREFLIGHT.to_vec();
    fields.push(("access-control-request-headers", "x-api-key"));
    let response = request(gateway.address(), "OPTIONS", "/browser/x", &fields, b"");
    assert!(matches!(response.status, 200 | 204), "{}", response.head);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://shop.example"));
    let methods = response.header("access-control-allow-methods").unwrap_or_default().to_string();
    assert!(methods.contains("GET") && methods.contains("POST"), "{methods}");
    let headers = response.header("access-control-allow-headers").unwrap_or_default().to_lowercase();
    assert!(headers.contains("x-api-key") && headers.contains("content-type"), "{headers}");
    assert_eq!(response.header("access-control-max-age"), Some("600"));
    assert_eq!(response.header("access-control-allow-credentials"), None);
    assert!(response.values("vary").any(|value| value.to_lowercase().contains("origin")), "{}", response.head);
    assert_eq!(origin.take().len(), 0);
}

#[test]
fn a_preflight_from_elsewhere_or_without_cors_is_told_nothing() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (path, from) in [
        ("/browser", "https://evil.example"),
        ("/browser", "https://shop.example.evil"),
        ("/browser", "http://shop.example"),
        ("/browser", "null"),
        ("/orders", "https://shop.example"),
    ] {
        let fields = [("origin", from), PREFLIGHT[1]];
        let response = request(gateway.address(), "OPTIONS", path, &fields, b"");
        report.equal(format!("{path} from {from}"), response.header("access-control-allow-origin"), None);
    }
    report.equal("requests upstream", origin.take().len(), 0);
}

#[test]
fn answers_to_browsers_carry_the_fields_that_let_scripts_read_them_refusals_too() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (path, key, status, allow) in [
        ("/browser", "shop-key", 200, Some("https://shop.example")),
        ("/browser", "nobody", 401, Some("https://shop.example")),
        ("/any-browser", "shop-key", 200, Some("*")),
        ("/orders", "shop-key", 200, None),
    ] {
        let response = get(gateway.address(), path, &[("x-api-key", key), ("origin", "https://shop.example")]);
        let row = format!("{path} by {key}");
        report.equal(&row, response.status, status);
        report.equal(&row, response.header("access-control-allow-origin"), allow);
    }
    let elsewhere =
        get(gateway.address(), "/browser", &[("x-api-key", "shop-key"), ("origin", "https://evil.example")]);
    report.equal("from elsewhere", elsewhere.header("access-control-allow-origin"), None);
    let exposed = get(gateway.address(), "/browser", &[("x-api-key", "shop-key"), PREFLIGHT[0]]);
    report.equal("exposed", exposed.header("access-control-expose-headers"), Some("x-total"));
    let cookies = get(gateway.address(), "/with-cookies", &[("x-api-key", "shop-key"), PREFLIGHT[0]]);
    report.equal("credentials", cookies.header("access-control-allow-credentials"), Some("true"));
}

#[test]
fn an_options_request_that_is_no_preflight_needs_a_key() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let plain = request(gateway.address(), "OPTIONS", "/browser", &[], b"");
    assert!(matches!(plain.status, 401 | 405), "{}", plain.head);
    let get_with_fields = get(gateway.address(), "/browser", &PREFLIGHT);
    assert_eq!(get_with_fields.status, 401);
    assert_eq!(origin.take().len(), 0);
}
