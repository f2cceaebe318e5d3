//! The five systems whose schemes the example configurations follow: the calls of their pages, and what the pages promise.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::support::gateway::keygate;
use super::support::{Caller, Gateway, Origin, Report, Response, get, keys, request};

fn example(system: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(system).join("gateway.yaml");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const SYSTEMS: [&str; 5] = ["maalbar", "billabear", "mia-platform", "codeqr", "bkend"];

fn start(system: &str, origin: &Origin) -> Gateway {
    let yaml = example(system);
    assert!(yaml.contains("http://127.0.0.1:9000"), "the example names another upstream");
    let yaml = yaml.replace("http://127.0.0.1:9000", &origin.url());
    let yaml = yaml.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:8081", "127.0.0.1:0");
    Gateway::with(&yaml).start()
}

/// Method, target, fields, verdict.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

fn check(address: SocketAddr, origin: &Origin, rows: &[Row<'_>]) {
    let mut report = Report::new();
    for (method, target, headers, expected) in rows {
        let response = request(address, method, target, headers, b"");
        let row = format!("{method} {target} with {headers:?}");
        report.equal(&row, response.verdict(), expected.to_string());
        report.equal(&row, origin.take().len(), usize::from(*expected == "200"));
    }
}

#[test]
fn every_example_checks_and_listens_on_loopback_only() {
    let mut report = Report::new();
    for system in SYSTEMS {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("gateway.yaml"), example(system)).expect("our own file");
        let output = keygate().current_dir(directory.path()).arg("check").output().expect("it runs");
        report.holds(system, String::from_utf8_lossy(&output.stderr), output.status.code() == Some(0));
        let yaml = example(system);
        let elsewhere = yaml.lines().filter(|line| line.contains("address:") && !line.contains("127.0.0.1")).count();
        report.equal(system, elsewhere, 0);
    }
}

#[test]
fn every_example_key_that_a_comment_names_has_its_digest_in_the_file() {
    let mut report = Report::new();
    for system in SYSTEMS {
        let yaml = example(system);
        let named: Vec<_> = yaml.lines().filter_map(|line| line.trim().strip_prefix("# example key: ")).collect();
        report.equal(format!("{system}: keys and digests"), named.len(), yaml.matches("digest: \"").count());
        for key in named {
            let has = yaml.contains(&keys::blake3(key)) || yaml.contains(&keys::sha256(key));
            report.holds(system, format!("no digest of {key}"), has);
        }
    }
}

const NORDIC: (&str, &str) = ("X-Api-Key", "mb_live_ExampleNordicTimber01");

#[test]
fn maalbar_keys_stand_in_x_api_key_and_stay_within_their_customer() {
    let origin = Origin::start();
    let gateway = start("maalbar", &origin);
    let bearer = ("Authorization", "Bearer mb_live_ExampleNordicTimber01");
    check(
        gateway.address(),
        &origin,
        &[
            ("GET", "/v1/customer", &[NORDIC], "200"),
            ("POST", "/v1/products", &[NORDIC], "200"),
            ("DELETE", "/v1/products/1", &[NORDIC], "200"),
            ("GET", "/v1/customers/nordic-timber/products", &[NORDIC], "200"),
            ("GET", "/v1/customers/harbour-build/products", &[NORDIC], "403 tenant_mismatch"),
            ("GET", "/v1/customers/harbour-build", &[("X-Api-Key", "mb_live_ExampleHarbourBuild01")], "200"),
            ("GET", "/v1/customer", &[], "401 credential_missing"),
            ("GET", "/v1/customer", &[("X-Api-Key", "mb_live_xxxxxxxxxxxxxxxx")], "401 credential_rejected"),
            ("GET", "/v1/customer", &[("X-Api-Key", "mb_test_ExampleNordicTimber02")], "401 credential_rejected"),
            ("GET", "/v1/customer?api_key=mb_live_ExampleNordicTimber01", &[], "401 credential_missing"),
            ("GET", "/v2/customer", &[NORDIC], "404 endpoint_not_found"),
        ],
    );
    let by_bearer = get(gateway.address(), "/v1/customer", &[bearer]);
    assert_eq!(by_bearer.status / 100, 4, "only X-Api-Key is a place for a key: {}", by_bearer.head);
    origin.take();
    get(gateway.address(), "/v1/customer", &[NORDIC, ("x-customer", "harbour-build")]);
    let seen = origin.take_one();
    assert_eq!((seen.header("x-customer"), seen.header("client-type")), (Some("nordic-timber"), Some("customer")));
    assert!(!origin.raw_text().contains("mb_live_"), "the key ends at the gateway");
    let refusal = get(gateway.address(), "/v1/customer", &[]).json();
    assert!(refusal["error"]["code"].is_string() && refusal["error"]["message"].is_string(), "{refusal}");
}

/// How many of so many requests pass, and the answer to the last.
fn spend(address: SocketAddr, method: &str, target: &str, key: (&str, &str), times: usize) -> (usize, Response) {
    let mut caller = Caller::connect(address);
    let mut ask = || caller.call(method, target, &[key], b"");
    let passed = (1..times).filter(|_| ask().status == 200).count();
    let last = ask();
    (passed + usize::from(last.status == 200), last)
}

#[test]
fn maalbar_takes_a_hundred_requests_a_minute_from_each_address() {
    let origin = Origin::start();
    let gateway = start("maalbar", &origin);
    let (passed, last) = spend(gateway.address(), "GET", "/v1/customer", NORDIC, 103);
    let mut report = Report::new();
    report.equal("of a hundred and three", passed, 100);
    report.equal("the last", (last.status, last.code()), (429, "rate_limit_exceeded".to_owned()));
    report.holds("told", &last.head, last.json()["error"]["message"].is_string());
    for (name, expected) in [("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "0")] {
        report.equal(name, last.header(name), Some(expected));
    }
    let number = |name: &str| last.header(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    report.holds("seconds", &last.head, (1..=60).contains(&number("retry-after")));
    report.holds("a moment", &last.head, number("x-ratelimit-reset") > 1_700_000_000);
    // Another customer at the same address has nothing left either, and neither has whoever shows no key.
    let other = ("X-Api-Key", "mb_live_ExampleHarbourBuild01");
    report.equal("another key", get(gateway.address(), "/v1/customer", &[other]).status, 429);
    report.equal("no key", get(gateway.address(), "/v1/customer", &[]).status, 429);
}

#[test]
fn codeqr_takes_sixty_requests_a_minute_for_each_key_and_more_by_plan() {
    let origin = Origin::start();
    let gateway = start("codeqr", &origin);
    let bearer = |key: &'static str| ("Authorization", key);
    let all = bearer("Bearer codeqr_ExampleAllPermissions01");
    let mut report = Report::new();
    let (passed, last) = spend(gateway.address(), "GET", "/links", all, 62);
    report.equal("a key", (passed, last.code()), (60, "rate_limit_exceeded".to_owned()));
    let read = bearer("Bearer codeqr_ExampleReadOnly00000001");
    report.equal("another of the same person", spend(gateway.address(), "GET", "/links", read, 59).0, 59);
    let analytics = get(gateway.address(), "/analytics", &[read]);
    report.equal("analytics take from both", analytics.header("x-ratelimit-remaining"), Some("0"));
    let machine = bearer("Bearer codeqr_ExampleMachineUser00001");
    report.equal("by its plan", spend(gateway.address(), "GET", "/tags", machine, 100).0, 100);
    let told = get(gateway.address(), "/tags", &[machine]);
    report.equal("told", told.header("x-ratelimit-limit"), Some("600"));
}

#[test]
fn mia_platform_has_a_rate_for_each_endpoint_and_each_route() {
    let origin = Origin::start();
    let gateway = start("mia-platform", &origin);
    let key = ("client-key", "example-key-of-the-warehouse");
    let began = std::time::Instant::now();
    let (endpoint, _) = spend(gateway.address(), "GET", "/orders", key, 60);
    let (route, _) = spend(gateway.address(), "DELETE", "/orders/7", key, 10);
    let (other, _) = spend(gateway.address(), "GET", "/status", key, 60);
    if began.elapsed() < std::time::Duration::from_secs(1) {
        assert_eq!((endpoint, route, other), (50, 5, 60));
    } else {
        assert!(endpoint >= 50 && route >= 5 && other == 60, "a slow machine: {endpoint} {route} {other}");
    }
}

const BILLABEAR: &str = "Bearer 0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn billabear_takes_a_bearer_and_tells_nobody_why_not() {
    let origin = Origin::start();
    let gateway = start("billabear", &origin);
    let fields = [("Authorization", BILLABEAR), ("Content-Type", "application/json")];
    assert_eq!(get(gateway.address(), "/api/v1/customers", &fields).status, 200);
    let seen = origin.take_one();
    assert_eq!((seen.target(), seen.header("content-type")), ("/api/v1/customers", Some("application/json")));
    assert!(!seen.has("authorization"));
    let header = [("X-API-KEY", &BILLABEAR["Bearer ".len()..])];
    assert_eq!(get(gateway.address(), "/api/v1/customers", &header).status, 200);
    let mut report = Report::new();
    for (row, fields) in [
        ("missing", vec![]),
        ("unknown", vec![("Authorization", "Bearer ffffffffffffffffffffffffffffffffffffffffffffffff")]),
        ("expired", vec![("Authorization", "Bearer 1123456789abcdef0123456789abcdef0123456789abcdef")]),
        ("disabled", vec![("X-API-KEY", "2123456789abcdef0123456789abcdef0123456789abcdef")]),
    ] {
        let response = get(gateway.address(), "/api/v1/customers", &fields);
        report.equal(row, (response.status, response.text()), (401, "[]".to_string()));
        report.holds(row, &response.head, response.values("www-authenticate").any(|value| value.contains("Bearer")));
    }
    let nowhere = get(gateway.address(), "/api/v2", &fields);
    report.equal("elsewhere", nowhere.status, 404);
}

#[test]
fn mia_platform_keys_stand_in_two_headers_and_a_cookie_and_expressions_decide() {
    let origin = Origin::start();
    let gateway = start("mia-platform", &origin);
    let shop = ("client-key", "example-key-of-the-shop");
    let old_header = ("secret", "example-key-of-the-shop");
    let cookie = ("cookie", "mia_client_key=example-key-of-the-shop");
    let warehouse = ("client-key", "example-key-of-the-warehouse");
    let reporting = ("client-key", "example-key-of-the-reports");
    let no = "403 rule_not_satisfied";
    let missing = "401 credential_missing";
    let rejected = "401 credential_rejected";
    check(
        gateway.address(),
        &origin,
        &[
            ("GET", "/orders", &[old_header, ("accept", "application/json")], "200"),
            ("GET", "/orders", &[shop], "200"),
            ("GET", "/orders", &[cookie], "200"),
            ("GET", "/orders", &[warehouse], "200"),
            ("GET", "/orders", &[reporting], no),
            ("GET", "/orders", &[], missing),
            ("GET", "/orders", &[("client-key", "wrong")], rejected),
            ("GET", "/orders", &[("client-key", "example-key-of-the-old-shop")], rejected),
            ("GET", "/orders", &[shop, ("cookie", "mia_client_key=stale")], "200"),
            ("GET", "/orders", &[shop, ("secret", "example-key-of-the-warehouse")], "400 credential_ambiguous"),
            ("DELETE", "/orders/1", &[warehouse], "200"),
            ("DELETE", "/orders/1", &[shop], no),
            ("DELETE", "/orders/1/lines", &[shop], "200"),
            ("GET", "/orders-archive", &[shop], "404 endpoint_not_found"),
            ("GET", "/catalogue", &[], "200"),
            ("GET", "/catalogue", &[shop], "200"),
            ("GET", "/catalogue", &[("client-key", "wrong")], rejected),
            ("GET", "/catalogue", &[("secret", "example-key-of-the-old-shop")], rejected),
            ("GET", "/status", &[reporting], "200"),
            ("GET", "/status", &[], missing),
            ("GET", "/management", &[shop], "200"),
            ("GET", "/management", &[warehouse], "200"),
            ("GET", "/management", &[reporting], no),
            ("GET", "/reports", &[reporting], "200"),
            ("GET", "/reports", &[warehouse], "200"),
            ("GET", "/reports", &[shop], no),
            ("GET", "/reports", &[], missing),
            ("GET", "/stock", &[warehouse], "200"),
            ("GET", "/stock", &[shop], no),
            ("GET", "/legacy", &[warehouse], no),
            ("GET", "/orders", &[shop, ("miausergroups", "admin")], "200"),
            ("GET", "/reports", &[shop, ("miausergroups", "admin"), ("miauserid", "root")], no),
        ],
    );
    get(
        gateway.address(),
        "/orders",
        &[shop, ("miauserid", "root"), ("isbackoffice", "1"), ("client-type", "warehouse")],
    );
    let seen = origin.take_one();
    assert_eq!(seen.header("client-type"), Some("shop"));
    assert!(!seen.has("miauserid") && !seen.has("isbackoffice") && !seen.has("client-key"), "{}", seen.head());
    get(gateway.address(), "/orders", &[("cookie", "session=1; mia_client_key=example-key-of-the-shop; theme=dark")]);
    assert_eq!(origin.take_one().header("cookie"), Some("session=1; theme=dark"));

    let cms = gateway.addresses()[1];
    check(cms, &origin, &[("GET", "/management", &[warehouse], "200"), ("GET", "/management", &[shop], no)]);
    get(cms, "/orders", &[shop]);
    assert_eq!(origin.take_one().header("isbackoffice"), Some("1"));
}

#[test]
fn codeqr_keys_have_all_read_only_or_restricted_permissions() {
    let origin = Origin::start();
    let gateway = start("codeqr", &origin);
    let all = ("authorization", "Bearer codeqr_ExampleAllPermissions01");
    let read = ("authorization", "Bearer codeqr_ExampleReadOnly00000001");
    let restricted = ("authorization", "Bearer codeqr_ExampleRestricted000001");
    let machine = ("authorization", "Bearer codeqr_ExampleMachineUser00001");
    let publishable = ("authorization", "Bearer codeqr_pk_ExamplePublishable01");
    let (permission, key_type) = ("403 permission_missing", "403 key_type_not_allowed");
    check(
        gateway.address(),
        &origin,
        &[
            ("GET", "/links", &[all], "200"),
            ("POST", "/links", &[all], "200"),
            ("DELETE", "/domains/1", &[all], "200"),
            ("GET", "/analytics", &[all], "200"),
            ("GET", "/links", &[read], "200"),
            ("GET", "/tags", &[read], "200"),
            ("POST", "/links", &[read], "403 read_only_key"),
            ("DELETE", "/tags/1", &[read], "403 read_only_key"),
            ("POST", "/links", &[restricted], "200"),
            ("GET", "/links/1", &[restricted], "200"),
            ("GET", "/analytics", &[restricted], "200"),
            ("GET", "/domains", &[restricted], permission),
            ("POST", "/tags", &[restricted], permission),
            ("GET", "/domains", &[machine], "200"),
            ("POST", "/domains", &[machine], permission),
            ("PUT", "/links", &[all], "405 method_not_allowed"),
            ("POST", "/track/lead/client", &[publishable, ("origin", "https://shop.example")], "200"),
            ("POST", "/track/sale/client", &[publishable], "200"),
            ("GET", "/links", &[publishable], key_type),
            ("POST", "/links", &[publishable], key_type),
            ("GET", "/analytics", &[publishable], key_type),
            ("POST", "/track/lead/client", &[all], key_type),
            ("POST", "/track/lead", &[publishable], "404 endpoint_not_found"),
            ("GET", "/links", &[], "401 credential_missing"),
            ("GET", "/links", &[("authorization", "Bearer codeqr_xxxx")], "401 credential_rejected"),
            ("GET", "/links", &[("authorization", "codeqr_ExampleAllPermissions01")], "400 credential_malformed"),
        ],
    );
    let refusal = get(gateway.address(), "/domains", &[restricted]).json();
    assert!(refusal["error"]["required"].to_string().contains("domains.read"), "{refusal}");
    let preflight = [
        ("origin", "https://shop.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let answer = request(gateway.address(), "OPTIONS", "/track/lead/client", &preflight, b"");
    assert_eq!((answer.status / 100, answer.header("access-control-allow-origin")), (2, Some("*")));
    get(gateway.address(), "/links", &[all]);
    let seen = origin.take_one();
    assert_eq!((seen.header("x-project"), seen.has("authorization")), (Some("project-one"), false));
}

const USER_TOKEN: &str = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJl";

#[test]
fn bkend_keys_identify_the_project_and_the_users_token_passes_untouched() {
    let origin = Origin::start();
    let gateway = start("bkend", &origin);
    let app_key = format!("pk_{}a1", "0".repeat(62));
    let dev_key = format!("pk_{}a2", "0".repeat(62));
    let server_key = format!("sk_{}b1", "0".repeat(62));
    let moderation_key = format!("sk_{}b2", "0".repeat(62));
    let [app, dev, server, moderation] =
        [&app_key, &dev_key, &server_key, &moderation_key].map(|key| ("X-API-Key", key.as_str()));
    let mut report = Report::new();
    for (method, target, key, status) in [
        ("GET", "/v1/data/posts", Some(app), 200),
        ("GET", "/v1/data/posts/1", Some(app), 200),
        ("POST", "/v1/data/posts", Some(app), 200),
        ("PATCH", "/v1/data/posts/1", Some(app), 403),
        ("DELETE", "/v1/data/posts/1", Some(app), 403),
        ("DELETE", "/v1/data/posts/1", Some(server), 200),
        ("DELETE", "/v1/data/posts/1", Some(moderation), 200),
        ("PATCH", "/v1/data/posts/1", Some(moderation), 403),
        ("POST", "/v1/data/posts", Some(moderation), 403),
        ("GET", "/v1/system", Some(server), 200),
        ("GET", "/v1/system", Some(app), 403),
        ("GET", "/v1/data/posts", None, 401),
        ("GET", "/v1/data/posts", Some(dev), 401),
        ("GET", "/v1/data/posts", Some(("X-API-Key", "pk_unknown")), 401),
        ("GET", "/v1/data/users", Some(server), 404),
    ] {
        for with_user in [false, true] {
            let mut fields: Vec<(&str, &str)> = key.into_iter().collect();
            if with_user {
                fields.push(("Authorization", USER_TOKEN));
            }
            let response = request(gateway.address(), method, target, &fields, b"");
            let row = format!("{method} {target} with {key:?}, user {with_user}");
            report.equal(&row, response.status, status);
            let seen = origin.take();
            report.equal(&row, seen.len(), usize::from(status == 200));
            for seen in seen {
                report.equal(&row, seen.header("authorization"), with_user.then_some(USER_TOKEN));
                report.equal(&row, (seen.has("x-api-key"), seen.header("x-project-id")), (false, Some("blog")));
            }
            if status != 200 {
                let json = response.json();
                report.equal(&row, json["statusCode"].as_u64(), Some(u64::from(status)));
                report.holds(&row, &json, json["error"].is_string() && json["message"].is_string());
            }
        }
    }
    let refusal = request(gateway.address(), "DELETE", "/v1/data/posts/1", &[app], b"");
    report.holds("the missing scope is named", refusal.text(), refusal.text().contains("posts:delete"));
    let as_bearer = ("Authorization", format!("Bearer {server_key}"));
    let two = get(gateway.address(), "/v1/data/posts", &[app, ("Authorization", &as_bearer.1)]);
    report.equal("a second key of ours in Authorization", two.status, 400);
    report.holds(
        "keys upstream",
        "",
        !origin.raw_text().contains(&server_key) && !origin.raw_text().contains(&app_key),
    );
}
