//! The console, as a browser talks to it: files, sessions, and what its pages show of a gateway that serves.

use std::net::SocketAddr;
use std::thread;

use serde_json::{Value, json};

use super::lifecycle::CONFIG;
use super::support::certificates::{Certificate, client_config, connect};
use super::support::{Admin, Gateway, Origin, Report, Response, get, request, wait};

/// Name and value of a header.
type Field<'t> = (&'t str, &'t str);

/// A browser that shows the console of a gateway.
struct Browser {
    address: SocketAddr,
    cookie: String,
}

impl Browser {
    /// Signs in.
    fn with(gateway: &Gateway, token: &str) -> Self {
        let mut browser = Self { address: gateway.admin(), cookie: String::new() };
        let answer = browser.ask("POST", "/v1/session", Some(&json!({ "token": token })));
        assert_eq!(answer.status, 201, "{}", answer.text());
        browser.cookie = cookie_of(&answer);
        browser
    }

    fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Response {
        let host = self.address.to_string();
        let origin = format!("http://{host}");
        let mut fields = vec![
            ("host", host.as_str()),
            ("origin", &origin),
            ("sec-fetch-site", "same-origin"),
            ("x-keygate-console", "1"),
        ];
        if !self.cookie.is_empty() {
            fields.push(("cookie", &self.cookie));
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            fields.push(("content-type", "application/json"));
        }
        request(self.address, method, target, &fields, text.as_bytes())
    }

    fn get(&self, target: &str) -> Value {
        let answer = self.ask("GET", target, None);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }
}

fn cookie_of(answer: &Response) -> String {
    let set = answer.header("set-cookie").expect("a cookie");
    set.split(';').next().unwrap_or_default().to_owned()
}

fn token(admin: &Admin, name: &str, role: &str) -> String {
    let made = admin.post("/v1/admin-tokens", &json!({ "name": name, "role": role }));
    made["secret"].as_str().expect("a text").to_owned()
}

#[test]
fn the_files_are_served_under_a_policy_that_admits_nothing_else() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let host = gateway.admin().to_string();
    let mut report = Report::new();
    let page = get(gateway.admin(), "/console/", &[("host", &host)]);
    assert_eq!(page.status, 200);
    let text = page.text();
    // Every file that the page names, and the page itself.
    let mut files = vec!["/console/".to_owned()];
    for attribute in ["src=\"", "href=\""] {
        let named = text.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
        files.extend(
            named.map(|name| format!("/console/{}", name.trim_start_matches("/console/").trim_start_matches("./"))),
        );
    }
    for file in files.iter().filter(|file| !file.contains(':') && !file.contains('#')) {
        let answer = get(gateway.admin(), file, &[("host", &host), ("accept-encoding", "gzip")]);
        report.equal(file, answer.status, 200);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        report.holds(file, policy, policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
        report.holds(file, policy, policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        report.equal(file, answer.header("x-content-type-options"), Some("nosniff"));
        report.equal(file, answer.header("cross-origin-opener-policy"), Some("same-origin"));
        let tag = answer.header("etag").unwrap_or_default();
        let again = get(gateway.admin(), file, &[("host", &host), ("accept-encoding", "gzip"), ("if-none-match", tag)]);
        report.equal(file, (again.status, again.body.len()), (304, 0));
    }
    for (method, target, status) in [
        ("GET", "/console", 302),
        ("HEAD", "/console/", 200),
        ("GET", "/console/nothing.js", 404),
        ("GET", "/console/%2e%2e/Cargo.toml", 404),
        ("GET", "/console/../v1/keys", 404),
        ("POST", "/console/", 405),
    ] {
        let answer = request(gateway.admin(), method, target, &[("host", &host)], b"");
        report.equal(format!("{method} {target}"), answer.status, status);
    }
    // The pages are the operators' alone: callers of the gateway meet its endpoints there.
    report.equal("on the data listener", get(gateway.address(), "/console/", &[]).status, 401);
}

#[test]
fn without_the_console_the_api_is_there_all_the_same() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &format!("{CONFIG}admin: {{ address: 127.0.0.1:0, console: false }}\n"));
    let host = gateway.admin().to_string();
    assert_eq!(get(gateway.admin(), "/console/", &[("host", &host)]).status, 404);
    assert_eq!(get(gateway.admin(), "/", &[("host", &host), ("accept", "text/html")]).status, 200);
    assert_eq!(Admin::of(&gateway).get("/v1/whoami")["role"], "admin");
}

#[test]
fn a_session_is_good_for_its_role_until_it_ends() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    let viewer = Browser::with(&gateway, &token(&admin, "viewer", "viewer"));
    let developer = Browser::with(&gateway, &token(&admin, "developer", "developer"));
    let mut report = Report::new();
    let body = json!({ "name": "from a browser", "client": { "id": "shop", "client_type": "partner" } });
    report.equal("viewer", viewer.ask("POST", "/v1/keys", Some(&body)).verdict(), "403 role_too_low".to_owned());
    let made = developer.ask("POST", "/v1/keys", Some(&body));
    report.equal("developer", made.status, 201);
    let id = made.json()["key"]["id"].as_str().unwrap_or_default().to_owned();
    let secret = made.json()["secret"].as_str().unwrap_or_default().to_owned();
    report.equal("in force", get(gateway.address(), "/x", &[("x-api-key", &secret)]).status, 200);
    let tokens = developer.ask("GET", "/v1/admin-tokens", None);
    report.equal("developer", tokens.verdict(), "403 role_too_low".to_owned());
    let off =
        developer.ask("POST", "/v1/disable", Some(&json!({ "ids": [id], "reason": "<script>alert(1)</script>" })));
    report.equal("disable", off.json()["disabled"].clone(), json!(1));
    let refused = get(gateway.address(), "/x", &[("x-api-key", &secret)]).verdict();
    report.equal("switched off at once", refused, "401 credential_rejected".to_owned());
    let shown = viewer.ask("GET", &format!("/v1/keys/{id}"), None);
    report.equal("what was written is data", shown.header("content-type"), Some("application/json"));
    report.equal("what was written is data", shown.header("x-content-type-options"), Some("nosniff"));
    report.equal("as it was", shown.json()["disabled_reason"].clone(), json!("<script>alert(1)</script>"));

    report.equal("sign out", developer.ask("DELETE", "/v1/session", None).status, 204);
    report.equal("over", developer.ask("GET", "/v1/keys", None).verdict(), "401 session_over".to_owned());
    let list = admin.get("/v1/admin-tokens");
    let of_viewer = list["items"].as_array().and_then(|items| items.iter().find(|item| item["name"] == "viewer"));
    let token_id = of_viewer.and_then(|item| item["id"].as_str()).unwrap_or_default().to_owned();
    report.equal("revoked", admin.ask("DELETE", &format!("/v1/admin-tokens/{token_id}"), None).status, 204);
    report.equal("over", viewer.ask("GET", "/v1/keys", None).verdict(), "401 session_over".to_owned());
    let log = gateway.stdout() + &gateway.stderr();
    let id_of_session = developer.cookie.split('=').nth(1).unwrap_or_default();
    report.holds("log", "holds no session", !id_of_session.is_empty() && !log.contains(id_of_session));
}

#[test]
fn no_other_page_can_use_a_session() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    let (id, secret) = admin.key("mine");
    let browser = Browser::with(&gateway, admin.token());
    let host = gateway.admin().to_string();
    let own = format!("http://{host}");
    let (disable, json_type) = (format!("/v1/keys/{id}/disable"), ("content-type", "application/json"));
    let console = ("x-keygate-console", "1");
    let mut report = Report::new();
    let cookie = ("cookie", browser.cookie.as_str());
    // What asks, its headers, and what it is told.
    let table: Vec<(&str, Vec<Field<'_>>, &str)> = vec![
        (
            "a form of another site",
            vec![("origin", "http://evil.example"), ("sec-fetch-site", "cross-site"), ("content-type", "text/plain")],
            "403 cross_site",
        ),
        (
            "a form of another port",
            vec![("origin", "http://127.0.0.1:3000"), ("sec-fetch-site", "same-site"), ("content-type", "text/plain")],
            "403 cross_site",
        ),
        ("a script of another port", vec![("origin", "http://127.0.0.1:3000"), console, json_type], "403 cross_site"),
        ("a frame without an origin", vec![("origin", "null"), console, json_type], "403 cross_site"),
        ("an old browser that says nothing", vec![console, json_type], "403 cross_site"),
        (
            "our own origin without the header",
            vec![("origin", &own), ("sec-fetch-site", "same-origin"), json_type],
            "403 console_header_missing",
        ),
        (
            "our own origin with a form",
            vec![("origin", &own), console, ("content-type", "text/plain")],
            "415 media_type_unsupported",
        ),
        (
            "a name that resolves to us",
            vec![
                ("host", "evil.example"),
                ("origin", "http://evil.example"),
                ("sec-fetch-site", "same-origin"),
                console,
                json_type,
            ],
            "421 host_not_loopback",
        ),
    ];
    for (name, mut fields, expected) in table {
        if !fields.iter().any(|(name, _)| *name == "host") {
            fields.push(("host", &host));
        }
        fields.push(cookie);
        let answer = request(gateway.admin(), "POST", &disable, &fields, b"{}");
        report.equal(name, answer.verdict(), expected.to_owned());
        report.holds(name, "nothing is allowed beforehand", answer.header("access-control-allow-origin").is_none());
        report.equal(name, get(gateway.address(), "/x", &[("x-api-key", &secret)]).status, 200);
    }
    let preflight = request(
        gateway.admin(),
        "OPTIONS",
        &disable,
        &[
            ("host", &host),
            ("origin", "http://127.0.0.1:3000"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "x-keygate-console"),
        ],
        b"",
    );
    report.holds("preflight", &preflight.head, preflight.header("access-control-allow-origin").is_none());
    let fields = [("host", host.as_str()), ("origin", &own), console, json_type, cookie];
    report.equal("the console itself", request(gateway.admin(), "POST", &disable, &fields, b"{}").status, 200);
}

#[test]
fn over_tls_the_cookie_is_one_that_nobody_else_can_set() {
    let origin = Origin::start();
    let certificate = Certificate::of(&["localhost"]);
    let yaml =
        format!("{CONFIG}admin: {{ address: 127.0.0.1:0, tls: {{ certificate: admin.pem, key: admin.key }} }}\n");
    let gateway = Gateway::with(&yaml)
        .origin(&origin)
        .file("admin.pem", &certificate.certificate)
        .file("admin.key", &certificate.key)
        .start();
    let token = wait::until("the first admin token", || {
        gateway.stdout().lines().find(|line| line.starts_with("kg_admin_")).map(str::to_owned)
    });
    let config = client_config(&[&certificate], &["http/1.1"]);
    let host = format!("localhost:{}", gateway.admin_over_tls().port());
    let ask = |method: &str, target: &str, fields: &[(&str, &str)], body: &str| {
        let own = format!("https://{host}");
        let mut all = vec![("host", host.as_str()), ("origin", &own), ("x-keygate-console", "1")];
        all.extend(fields);
        let mut caller = connect(gateway.admin_over_tls(), "localhost", &config).expect("a handshake").caller;
        caller.call(method, target, &all, body.as_bytes())
    };
    let body = json!({ "token": token }).to_string();
    let answer = ask("POST", "/v1/session", &[("content-type", "application/json")], &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let set = answer.header("set-cookie").expect("a cookie");
    for part in ["__Host-keygate_session=", "; Path=/; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Domain"), "{set}");
    let cookie = cookie_of(&answer);
    assert_eq!(ask("GET", "/v1/session", &[("cookie", &cookie)], "").status, 200);
    let weaker = cookie.replace("__Host-", "");
    assert_eq!(ask("GET", "/v1/session", &[("cookie", &weaker)], "").verdict(), "401 token_missing");
}

#[test]
fn the_overview_follows_traffic_rules_and_a_reload_that_failed() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    let (id, secret) = admin.key("mine");
    let browser = Browser::with(&gateway, admin.token());
    let before = browser.get("/v1/overview");
    for _ in 0..3 {
        assert_eq!(get(gateway.address(), "/x", &[("x-api-key", &secret)]).status, 200);
    }
    assert_eq!(get(gateway.address(), "/x", &[]).status, 401);
    let overview = wait::until("what was counted", || {
        let overview = browser.get("/v1/overview");
        (overview["traffic"]["admitted"] == 3).then_some(overview)
    });
    let mut report = Report::new();
    report.equal("before", before["traffic"]["requests"].clone(), json!(0));
    report.equal("refused", overview["traffic"]["refused"].clone(), json!(1));
    let refusals = json!([{ "name": "credential_missing", "count": 1 }]);
    report.equal("why", overview["traffic"]["refusals"].clone(), refusals);
    report.holds(
        "latency",
        overview["traffic"]["latency"].to_string(),
        overview["traffic"]["latency"]["p50"].is_number(),
    );
    report.equal("upstream", overview["upstreams"][0]["name"].clone(), json!("api"));
    report.equal("ready", overview["is_ready"].clone(), json!(true));
    let sampled = wait::until("a sample", || {
        let history = browser.get("/v1/overview")["history"].clone();
        history["samples"].as_array().is_some_and(|samples| !samples.is_empty()).then_some(history)
    });
    report.equal("samples", sampled["every_seconds"].clone(), json!(5));
    let last = sampled["samples"].as_array().and_then(|samples| samples.last()).map(|last| last["number"].clone());
    let rest = browser.get(&format!("/v1/overview?after={}", last.unwrap_or_default()));
    let rest = rest["history"]["samples"].as_array().map(Vec::len);
    report.holds("the rest", format!("{rest:?}"), rest.is_some_and(|count| count <= 1));

    let endpoints = browser.get("/v1/endpoints");
    report.equal("endpoint", endpoints["items"][1]["name"].clone(), json!("orders"));
    report.holds("place", endpoints["items"][1]["place"].to_string(), endpoints["items"][1]["place"]["line"].is_u64());
    let explained =
        browser.ask("POST", "/v1/explain", Some(&json!({ "method": "GET", "path": "/orders", "key": secret })));
    report.equal("as the gateway does", explained.json()["admitted"].clone(), json!(true));
    let real = get(gateway.address(), "/orders", &[("x-api-key", &secret)]).status;
    report.equal("as the gateway does", real, 200);
    let of_nobody = browser.ask("POST", "/v1/explain", Some(&json!({ "method": "GET", "path": "/orders" })));
    report.equal("nobody", of_nobody.json()["code"].clone(), json!("credential_missing"));
    report.holds("nobody", of_nobody.json()["remedy"].to_string(), of_nobody.json()["remedy"].is_string());
    let by_id = browser.ask("POST", "/v1/explain", Some(&json!({ "method": "GET", "path": "/orders", "key_id": id })));
    report.equal("by id", by_id.json()["admitted"].clone(), json!(true));
    report.equal("permissions", browser.get("/v1/permissions")["resources"][0]["name"].clone(), json!("orders"));
    report.holds("settings", "no secret", !browser.get("/v1/settings").to_string().contains("kg_admin_"));

    gateway.write("gateway.yaml", "endpoints: [ nonsense ]");
    let rejected = admin.ask("POST", "/v1/reload", None);
    report.equal("reload", rejected.verdict(), "422 configuration_rejected".to_owned());
    let state = browser.get("/v1/overview")["configuration"].clone();
    report.equal("outcome", state["last_reload"]["outcome"].clone(), json!("rejected"));
    let problem = state["last_reload"]["problem"].as_str().unwrap_or_default().to_owned();
    report.holds("diagnostics", &problem, problem.contains("gateway.yaml"));
    report.equal("generation", state["generation"].clone(), json!(1));
}

#[test]
fn guessing_ends_with_429_and_the_right_token_works_from_the_command_line() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let host = gateway.admin().to_string();
    let guess = || {
        let own = format!("http://{host}");
        let fields = [
            ("host", host.as_str()),
            ("origin", &own),
            ("x-keygate-console", "1"),
            ("content-type", "application/json"),
        ];
        request(gateway.admin(), "POST", "/v1/session", &fields, br#"{"token":"kg_admin_guess"}"#)
    };
    let mut report = Report::new();
    for number in 0..10 {
        report.equal(number, guess().verdict(), "401 token_rejected".to_owned());
    }
    let late = guess();
    report.equal("late", late.verdict(), "429 too_many_failures".to_owned());
    report.holds("late", &late.head, late.header("retry-after").is_some());
    report.equal("on the machine", gateway.command(&["keys", "list"]).status.code(), Some(0));
    report.equal("counted", gateway.metric("keygate_admin_sign_ins_total", &[("outcome", "refused")]), 10.0);
    let many: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn({
                let host = host.clone();
                let address = gateway.admin();
                move || get(address, "/console/", &[("host", &host)]).status
            })
        })
        .collect();
    for page in many {
        report.equal("the page is there", page.join().unwrap_or_default(), 200);
    }
}
