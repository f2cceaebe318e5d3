//! The path that is judged is the path that is forwarded; what can be read in two ways is refused.

use super::support::{Gateway, Origin, Report, exchange, get};

const CONFIG: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
clients: [ { id: shop, client_type: cms, keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" } ] } ]
endpoints:
  - { name: root, path: /, upstream: api, public: true }
  - { name: admin, path: /admin, upstream: api, api_key: required }
  - { name: public, path: /public, upstream: api, public: true }
  - { name: files, path: /files, upstream: api, public: true, admit: [encoded_slash, semicolon, encoded_unreserved] }
  - { name: secret-files, path: /files/secret, upstream: api, api_key: required }
  - { name: distinct, path: /distinct, upstream: api, public: true, case: distinct }
  - { name: distinct-secret, path: /distinct/Secret, upstream: api, api_key: required }
  - { name: old, path: /old, upstream: api, public: true, rewrite: /v2/new }
  - { name: bare, path: /bare, upstream: api, public: true, rewrite: / }
"#;

fn origin_and_gateway() -> (Origin, Gateway) {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    (origin, gateway)
}

fn raw(target: &str) -> Vec<u8> {
    let mut bytes = b"GET ".to_vec();
    bytes.extend_from_slice(target.as_bytes());
    bytes.extend_from_slice(b" HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\n\r\n");
    bytes
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let (origin, gateway) = origin_and_gateway();
    let mut report = Report::new();
    for target in [
        "/public/../admin",
        "/public/./admin",
        "/..",
        "/.",
        "/public/..",
        "/public/.",
        "/../admin",
        "/public/...",
        "/public/%2e%2e/admin",
        "/public/%2E%2E/admin",
        "/public/.%2e/admin",
        "/public/%2e./admin",
        "/public/%2e/x",
        "/public/..%2fadmin",
        "/public/..%5cadmin",
        "/public/..\\admin",
        "/public\\..\\admin",
        "/public%2fadmin",
        "/public%2Fadmin",
        "/public%5cadmin",
        "/%2fadmin",
        "/%2e%2e%2fadmin",
        "/public/%252e%252e/admin",
        "/public%252fadmin",
        "/public/%25%32%65/admin",
        "/public/..;/admin",
        "/public;/admin",
        "/public;x=1/admin",
        "/admin;",
        "/admin;jsessionid=1",
        "/public/.;/admin",
        "/%61dmin",
        "/%41DMIN",
        "/adm%69n",
        "/public/%7Euser",
        "/public/%00",
        "/public/%0a",
        "/public/%0d%0aX-Api-Key:%20x",
        "/public/%09",
        "/public/%1f",
        "/public/%7f",
        "/public/%",
        "/public/%2",
        "/public/%zz",
        "/public/%2g",
        "/public/%u002e%u002e/admin",
        "/public#/admin",
        "/public/x#frag",
        "/public/%c0%ae%c0%ae/admin",
        "/public/%c0%af",
        "/public/%e0%80%af",
        "/public/\u{e9}",
        "/Admin",
        "/ADMIN",
        "/aDmin/x",
    ] {
        let response = exchange(gateway.address(), raw(target));
        report.holds(target, format!("got {}, expected a 400", response.verdict()), response.status == 400);
    }
    report.equal("requests upstream", origin.take().len(), 0);
    report.equal("bytes upstream", origin.raw_text(), String::new());
}

#[test]
fn a_refused_path_has_its_own_code() {
    let (_origin, gateway) = origin_and_gateway();
    for target in ["/public/../admin", "/public%2fadmin", "/public;x/y", "/%61dmin", "/Admin"] {
        assert_eq!(exchange(gateway.address(), raw(target)).verdict(), "400 path_ambiguous", "{target}");
    }
}

#[test]
fn what_reads_one_way_is_forwarded_byte_for_byte() {
    let (origin, gateway) = origin_and_gateway();
    let mut report = Report::new();
    for target in [
        "/",
        "/public",
        "/public/",
        "/public/x",
        "/public/x/",
        "/public/.x",
        "/public/..x",
        "/public/x..",
        "/public/a.b-c_d~e",
        "/public/a!$&'()*+,=:@b",
        "/public/%20",
        "/public/%C3%A9",
        "/public/%c3%a9",
        "/public/%3A%40",
        "/public/a%25b",
        "/public?",
        "/public?a=b",
        "/public?a=/../admin&b=%2e%2e%2f",
        "/public?a=1;b=2",
        "/public?x=y?z",
        "/public?q=//x//",
        "/adminx",
        "/admi",
    ] {
        report.equal(target, exchange(gateway.address(), raw(target)).status, 200);
        for seen in origin.take() {
            report.equal(target, seen.line, format!("GET {target} HTTP/1.1"));
        }
    }
}

#[test]
fn runs_of_slashes_are_one_and_never_a_redirect() {
    let (origin, gateway) = origin_and_gateway();
    let mut report = Report::new();
    for (target, forwarded) in [
        ("//", "/"),
        ("//public", "/public"),
        ("/public//x", "/public/x"),
        ("///public///x///", "/public/x/"),
        ("//public//?a=//b", "/public/?a=//b"),
        ("//evil.example/x", "/evil.example/x"),
    ] {
        report.equal(target, exchange(gateway.address(), raw(target)).status, 200);
        for seen in origin.take() {
            report.equal(target, seen.target().to_string(), forwarded.to_string());
        }
    }
    for target in ["//admin", "/admin//x", "//admin//", "///admin", "//admin?x"] {
        report.equal(target, exchange(gateway.address(), raw(target)).verdict(), "401 credential_missing".into());
    }
    report.equal("requests upstream", origin.take().len(), 0);
}

#[test]
fn the_query_moves_no_request_to_another_rule() {
    let (origin, gateway) = origin_and_gateway();
    for target in ["/admin?", "/admin?x=/public", "/admin?/public", "/admin/?public", "/admin/x?a=%2fpublic"] {
        assert_eq!(exchange(gateway.address(), raw(target)).verdict(), "401 credential_missing", "{target}");
    }
    assert_eq!(origin.take().len(), 0);
}

#[test]
fn an_endpoint_may_admit_constructs_as_data_but_never_reach_a_stricter_one_with_them() {
    let (origin, gateway) = origin_and_gateway();
    let mut report = Report::new();
    for target in ["/files/a%2Fb", "/files/a%2fb/c", "/files/a;v=1", "/files/a;v=1/b", "/files/%61", "/files/x%2D1"] {
        report.equal(target, exchange(gateway.address(), raw(target)).status, 200);
        for seen in origin.take() {
            report.equal(target, seen.target().to_string(), target.to_string());
        }
    }
    for target in [
        "/files/secret%2Fx",
        "/files/secret;x",
        "/files/%73ecret",
        "/files/secret%2f",
        "/files/..%2fadmin",
        "/files/..;/admin",
        "/files/%2e%2e/admin",
        "/files/a%5Cb",
        "/files/a%00",
        "/files/%2e",
        "/files%2fsecret",
    ] {
        let response = exchange(gateway.address(), raw(target));
        report.holds(target, format!("got {}", response.verdict()), matches!(response.status, 400 | 401));
    }
    report.equal("requests upstream", origin.take().len(), 0);
}

#[test]
fn letter_case_leads_to_no_more_open_endpoint_unless_it_is_said_to_be_distinct() {
    let (origin, gateway) = origin_and_gateway();
    assert_eq!(exchange(gateway.address(), raw("/distinct/Secret")).verdict(), "401 credential_missing");
    assert_eq!(exchange(gateway.address(), raw("/distinct/secret")).status, 200, "distinct was written for it");
    assert_eq!(exchange(gateway.address(), raw("/Admin/x")).verdict(), "400 path_ambiguous");
    assert_eq!(
        exchange(gateway.address(), raw("/Public/x")).status,
        400,
        "no spelling leads past an endpoint, an open one neither"
    );
    assert_eq!(origin.take().len(), 1);
}

#[test]
fn a_prefix_swap_is_the_only_other_change() {
    let (origin, gateway) = origin_and_gateway();
    let mut report = Report::new();
    for (target, forwarded) in [
        ("/old", "/v2/new"),
        ("/old/", "/v2/new/"),
        ("/old/x?y=/old", "/v2/new/x?y=/old"),
        ("/old//x", "/v2/new/x"),
        ("/old/old", "/v2/new/old"),
        ("/bare/x", "/x"),
        ("/bare", "/"),
        ("/bare/", "/"),
        ("/bare?q", "/?q"),
    ] {
        report.equal(target, get(gateway.address(), target, &[]).status, 200);
        for seen in origin.take() {
            report.equal(target, seen.target().to_string(), forwarded.to_string());
        }
    }
    report.equal("/older", exchange(gateway.address(), raw("/older")).status, 200);
    report.equal("/older", origin.take_one().target().to_string(), "/older".to_string());
}

#[test]
fn a_target_in_absolute_form_agrees_with_the_host_or_is_refused() {
    let (origin, gateway) = origin_and_gateway();
    let mut report = Report::new();
    for (target, host, expected) in [
        ("http://gateway.test/public", "gateway.test", 200),
        ("http://GATEWAY.test/public", "gateway.test", 200),
        ("http://gateway.test/admin", "gateway.test", 401),
        ("http://gateway.test/public/../admin", "gateway.test", 400),
        ("http://evil.example/public", "gateway.test", 400),
        ("http://gateway.test@evil.example/public", "gateway.test", 400),
        ("http://user@gateway.test/public", "gateway.test", 400),
        ("ftp://gateway.test/public", "gateway.test", 400),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        report.equal(format!("{target} with {host}"), exchange(gateway.address(), text).status, expected);
        for seen in origin.take() {
            report.equal(target, seen.target().to_string(), "/public".to_string());
        }
    }
}

#[test]
fn targets_that_are_no_path_are_refused() {
    let (origin, gateway) = origin_and_gateway();
    let mut report = Report::new();
    for line in [
        "GET public HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT gateway.test:443 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "GET ?x HTTP/1.1",
    ] {
        let response =
            exchange(gateway.address(), format!("{line}\r\nhost: gateway.test:443\r\nconnection: close\r\n\r\n"));
        report.holds(line, response.verdict(), matches!(response.status, 400 | 404 | 405));
    }
    report.equal("requests upstream", origin.take().len(), 0);
}

#[test]
fn what_a_caller_says_about_its_request_changes_no_verdict() {
    let (origin, gateway) = origin_and_gateway();
    let mut report = Report::new();
    for (name, value) in [
        ("x-original-url", "/public"),
        ("x-rewrite-url", "/public"),
        ("x-original-uri", "/public"),
        ("x-forwarded-uri", "/public"),
        ("x-forwarded-path", "/public"),
        ("x-forwarded-prefix", "/public"),
        ("x-http-method-override", "GET"),
        ("x-method-override", "GET"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-host", "other.test"),
        ("x-middleware-subrequest", "middleware"),
        ("user-agent", "kube-probe/1.30"),
        ("x-envoy-internal", "true"),
    ] {
        report.equal(
            name,
            get(gateway.address(), "/admin", &[(name, value)]).verdict(),
            "401 credential_missing".into(),
        );
        report.equal(
            format!("{name} on an open endpoint"),
            get(gateway.address(), "/public", &[(name, value)]).status,
            200,
        );
        let seen = origin.take_one();
        let rewrites =
            ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-method-override"].contains(&name);
        report.holds(name, seen.head(), !(rewrites && seen.has(name)));
    }
}

#[test]
fn rewriting_fields_pass_where_an_endpoint_lists_them() {
    let origin = Origin::start();
    let yaml = format!(
        "{CONFIG}  - {{ name: tells, path: /tells, upstream: api, public: true, pass_headers: [X-HTTP-Method-Override] }}\n"
    );
    let gateway = Gateway::before(&origin, &yaml);
    let fields = [("x-http-method-override", "DELETE"), ("x-original-url", "/y"), ("X_HTTP_Method_Override", "PUT")];
    assert_eq!(get(gateway.address(), "/tells", &fields).status, 200);
    let seen = origin.take_one();
    assert_eq!(seen.header("x-http-method-override"), Some("DELETE"));
    assert!(!seen.has("x-original-url"), "{}", seen.head());
}
