//! What the gateway counts is what happened: after known traffic the numbers say exactly that, and name no secret.

use super::support::{Gateway, Origin, Play, Report, get, request, wait};

const CONFIG: &str = r#"
upstreams:
  api: { url: "{{origin}}" }
  gone: { url: "http://127.0.0.1:1" }
clients:
  - id: shop
    client_type: cms
    keys:
      - { id: key_marked, name: k, digest: "{{digest:marked-secret-0123456789}}" }
      - { id: key_off, name: off, active: false, digest: "{{digest:marked-disabled-0123456789}}" }
endpoints:
  - { name: orders, path: /orders, upstream: api, client_types: [cms] }
  - { name: partners, path: /partners, upstream: api, client_types: [partner] }
  - { name: open, path: /open, upstream: api, public: true }
  - { name: gone, path: /gone, upstream: gone, public: true }
"#;

const KEY: [(&str, &str); 1] = [("x-api-key", "marked-secret-0123456789")];

fn start(origin: &Origin) -> Gateway {
    Gateway::before(origin, CONFIG)
}

#[test]
fn after_known_traffic_the_counters_say_exactly_that() {
    let origin = Origin::directed(|request| {
        if request.target().ends_with("/teapot") { Play::answer("418 Teapot", &[], "") } else { Play::Echo }
    });
    let gateway = start(&origin);
    for _ in 0..7 {
        get(gateway.address(), "/orders/path-of-a-request", &KEY);
    }
    for _ in 0..3 {
        request(gateway.address(), "POST", "/orders", &KEY, b"x");
    }
    get(gateway.address(), "/orders/teapot", &KEY);
    for _ in 0..5 {
        get(gateway.address(), "/orders", &[]);
    }
    for _ in 0..4 {
        get(gateway.address(), "/orders", &[("x-api-key", "nobody")]);
    }
    for _ in 0..2 {
        get(gateway.address(), "/orders", &[("x-api-key", "marked-disabled-0123456789")]);
    }
    for _ in 0..6 {
        get(gateway.address(), "/partners", &KEY);
    }
    for _ in 0..8 {
        get(gateway.address(), "/open", &[]);
    }
    for _ in 0..3 {
        get(gateway.address(), "/nowhere-at-all", &[]);
    }
    request(gateway.address(), "PROPFIND", "/open", &[], b"");
    get(gateway.address(), "/orders", &[("secret", KEY[0].1)]);
    get(gateway.address(), "/gone", &[]);

    let total = 7 + 3 + 1 + 5 + 4 + 2 + 6 + 8 + 3 + 1 + 1 + 1;
    wait::until("all requests to be counted", || {
        (gateway.metric("keygate_requests_total", &[]) >= f64::from(total)).then_some(())
    });
    let metrics = gateway.metrics();
    let mut report = Report::new();
    let mut is = |name: &str, labels: &[(&str, &str)], expected: i32| {
        let got = super::support::gateway::sum_of(&metrics, name, labels);
        report.holds(
            format!("{name} {labels:?}"),
            format!("expected {expected}, got {got}"),
            (got - f64::from(expected)).abs() < 0.5,
        );
    };
    is("keygate_requests_total", &[], total);
    is(
        "keygate_requests_total",
        &[("endpoint", "orders"), ("code", "200"), ("method", "GET"), ("client_type", "cms")],
        8,
    );
    is("keygate_requests_total", &[("endpoint", "orders"), ("code", "200"), ("method", "POST")], 3);
    is("keygate_requests_total", &[("endpoint", "orders"), ("code", "418")], 1);
    is("keygate_requests_total", &[("endpoint", "orders"), ("code", "401")], 11);
    is("keygate_requests_total", &[("endpoint", "partners"), ("code", "403")], 6);
    is("keygate_requests_total", &[("endpoint", "open"), ("code", "200")], 8);
    is("keygate_requests_total", &[("code", "404")], 3);
    is("keygate_requests_total", &[("code", "502")], 1);
    is("keygate_requests_total", &[("method", "_OTHER")], 1);
    is("keygate_decisions_total", &[("outcome", "refused"), ("reason", "credential_missing")], 5);
    is("keygate_decisions_total", &[("outcome", "refused"), ("reason", "key_unknown")], 4);
    is("keygate_decisions_total", &[("outcome", "refused"), ("reason", "key_disabled")], 2);
    is("keygate_decisions_total", &[("outcome", "refused"), ("reason", "client_type_not_allowed")], 6);
    is("keygate_decisions_total", &[("outcome", "refused"), ("reason", "endpoint_not_found")], 3);
    is("keygate_decisions_total", &[("outcome", "admitted"), ("reason", "ok")], 12);
    is("keygate_deprecated_credentials_total", &[("source", "secret"), ("client_type", "cms")], 1);
    is("keygate_upstream_failures_total", &[("upstream", "gone")], 1);
    is("keygate_config_generation", &[], 1);
    is("keygate_config_last_reload_successful", &[], 1);
    is("keygate_endpoints", &[], 4);
    is("keygate_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    is("keygate_request_duration_seconds_count", &[("endpoint", "partners")], 6);
    is("keygate_panics_total", &[], 0);
    for secret in ["marked-", "key_marked", "key_off", "path-of-a-request", "nowhere-at-all", "PROPFIND"] {
        report.holds(secret, "it stands in the metrics", !metrics.contains(secret));
    }
}

#[test]
fn the_text_is_what_prometheus_reads() {
    let origin = Origin::start();
    let gateway = start(&origin);
    get(gateway.address(), "/open", &[]);
    let answer = gateway.admin_get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut report = Report::new();
    let mut typed = Vec::new();
    for line in answer.text().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap_or_default().to_string();
            report.holds(line, "typed twice", !typed.contains(&name));
            typed.push(name);
        } else if !line.starts_with('#') && !line.is_empty() {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let is_typed = typed.iter().any(|known| known == name || known == base);
            report.holds(line, "no type stands before it", is_typed);
            let value = line.rsplit(' ').next().unwrap_or_default();
            report.holds(line, "no number", value.parse::<f64>().is_ok());
        }
    }
}

#[test]
fn connections_are_counted_up_and_down() {
    let origin = Origin::start();
    let gateway = start(&origin);
    let mut callers: Vec<_> = (0..5).map(|_| super::support::Caller::connect(gateway.address())).collect();
    for caller in &mut callers {
        assert_eq!(caller.call("GET", "/open", &[], b"").status, 200);
    }
    let open = || gateway.metric("keygate_connections", &[]);
    wait::until("five connections", || ((open() - 5.0).abs() < 0.5).then_some(()));
    drop(callers);
    wait::until("no connection", || (open() < 0.5).then_some(()));
    assert!((gateway.metric("keygate_connections_total", &[]) - 5.0).abs() < 0.5);
}

#[test]
fn the_admin_listener_is_not_reached_through_the_data_listener() {
    let origin = Origin::start();
    let gateway = start(&origin);
    for path in ["/metrics", "/livez", "/readyz", "/healthz", "/reload"] {
        assert_eq!(get(gateway.address(), path, &[]).verdict(), "404 endpoint_not_found", "{path}");
    }
    assert_eq!(gateway.admin_get("/livez").status, 200);
    assert_eq!(get(gateway.admin(), "/metrics", &[("host", "evil.example")]).status / 100, 4, "a rebound name");
}

#[test]
fn an_observe_address_shows_health_and_metrics_and_changes_nothing() {
    let origin = Origin::start();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let yaml = format!("observe: {{ address: \"{port}\" }}\n{}", CONFIG);
    let gateway = Gateway::before(&origin, &yaml);
    assert_eq!(get(port, "/livez", &[]).status, 200);
    assert_eq!(get(port, "/readyz", &[]).status, 200);
    assert!(get(port, "/metrics", &[]).text().contains("keygate_build_info"));
    assert!(request(port, "POST", "/reload", &[], b"").status >= 400);
    assert_eq!(gateway.generation(), 1);
}
