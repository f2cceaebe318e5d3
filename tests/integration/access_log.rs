//! One line for each request, with fields to search by, and no secret in anything that is written anywhere.

use super::support::{Caller, Gateway, Origin, Report, exchange, get, request, wait};

const SECRET: &str = "kg_live_MARKEDsecretMARKEDsecretMARKED";
const WRONG: &str = "kg_live_WRONGsecretWRONGsecretWRONGx";

const CONFIG: &str = r#"
log: { level: trace, format: text }
environment: live
key_prefixes: [ { prefix: kg_live_, type: secret, environment: live } ]
upstreams: { api: { url: "{{origin}}" } }
clients:
  - id: shop
    client_type: cms
    keys: [ { id: key_1, name: k, digest: "{{digest:kg_live_MARKEDsecretMARKEDsecretMARKED}}" } ]
endpoints:
  - { name: orders, path: /orders, upstream: api, client_types: [cms] }
  - { name: open, path: /open, upstream: api, public: true }
"#;

#[test]
fn each_request_has_one_line_with_what_was_decided() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    let rows = [
        ("GET", "/orders/1?q=hidden", SECRET, 200, "ok", "orders", "shop"),
        ("POST", "/orders", SECRET, 200, "ok", "orders", "shop"),
        ("GET", "/orders", "", 401, "credential_missing", "orders", ""),
        ("GET", "/orders", WRONG, 401, "key_unknown", "orders", ""),
        ("GET", "/open", "", 200, "anonymous", "open", ""),
        ("GET", "/nowhere", "", 404, "endpoint_not_found", "", ""),
    ];
    for (method, target, key, ..) in rows {
        let fields = [("x-api-key", key), ("user-agent", "tester/1")];
        request(gateway.address(), method, target, if key.is_empty() { &fields[1..] } else { &fields }, b"");
    }
    let lines = gateway.wait_for_access_lines(rows.len());
    report.equal("lines", lines.len(), rows.len());
    for (line, (method, target, key, status, code, endpoint, client)) in lines.iter().zip(rows) {
        let row = format!("{method} {target}");
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_string();
        report.equal(&row, text("request.method"), method.to_string());
        report.equal(&row, text("request.path"), target.split('?').next().unwrap_or_default().to_string());
        report.equal(&row, line["response.status"].as_u64(), Some(status));
        if status >= 400 {
            report.equal(&row, text("code"), code.to_string());
        }
        report.equal(&row, text("endpoint.name"), endpoint.to_string());
        report.equal(&row, text("client.id"), client.to_string());
        report.equal(&row, text("client.type"), if client.is_empty() { "" } else { "cms" }.to_string());
        report.equal(&row, text("key.id"), if client.is_empty() { "" } else { "key_1" }.to_string());
        report.equal(&row, text("client.address"), "127.0.0.1".to_string());
        report.equal(&row, text("user_agent"), "tester/1".to_string());
        report.equal(&row, text("upstream.name"), if status == 200 { "api" } else { "" }.to_string());
        if client == "shop" {
            report.equal(&row, text("credential.source"), "x-api-key".to_string());
        }
        report.holds(&row, line, !text("request.id").is_empty() && !text("time").is_empty());
        report.holds(&row, line, line["duration_seconds"].is_number());
        report.holds(
            &row,
            "no part of the query or of a key",
            !line.to_string().contains("hidden") && (key.is_empty() || !line.to_string().contains(key)),
        );
    }
    let ids: std::collections::BTreeSet<_> = lines.iter().map(|line| line["request.id"].to_string()).collect();
    report.equal("ids", ids.len(), rows.len());
}

#[test]
fn the_id_of_the_line_is_the_one_the_caller_was_told() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    for path in ["/orders", "/open"] {
        let told = get(gateway.address(), path, &[]).header("x-request-id").expect("an id").to_string();
        wait::until("the line", || {
            gateway.access_lines().iter().any(|line| line["request.id"].as_str() == Some(&told)).then_some(())
        });
    }
}

#[test]
fn no_caller_can_forge_a_line() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let agent = "x\",\"response.status\":200,\"client.id\":\"forged";
    get(gateway.address(), "/open", &[("user-agent", agent), ("referer", "\u{9b}31mred")]);
    get(gateway.address(), "/open/%22%7D%0A", &[]);
    get(gateway.address(), "/open/\"},{\"forged\":1", &[]);
    exchange(gateway.address(), "GET /open HTTP/1.1\r\nhost: a\r\nuser-agent: a\tb\u{85}c\u{2028}d\r\n\r\n");
    let lines = gateway.wait_for_access_lines(4);
    let stdout = gateway.stdout();
    assert_eq!(stdout.trim_end().split('\n').count(), lines.len(), "{stdout}");
    assert!(lines.iter().all(|line| line.get("forged").is_none() && line.get("client.id").is_none()), "{stdout}");
    assert_eq!(lines[0]["user_agent"].as_str(), Some(agent));
    assert!(!stdout.contains(['\u{1b}', '\u{9b}']), "{stdout}");
}

/// Every way in which a secret could get into something that is written.
#[test]
fn a_marked_secret_is_found_in_no_output() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let (address, mut answers) = (gateway.address(), Vec::new());
    let bearer = |key: &str| format!("Bearer {key}");
    let cookie = |key: &str| format!("a=1; mia_client_key={key}");
    for key in [SECRET, WRONG] {
        let rows: [Vec<(&str, String)>; 10] = [
            vec![("x-api-key", key.into())],
            vec![("client-key", key.into())],
            vec![("secret", key.into())],
            vec![("authorization", bearer(key))],
            vec![("authorization", key.into())],
            vec![("cookie", cookie(key))],
            vec![("x-api-key", key.into()), ("client-key", "other".into())],
            vec![("x-api-key", format!("{key}\u{e9}"))],
            vec![("user-agent", key.into()), ("x-api-key", key.into())],
            vec![("referer", format!("http://a/?key={key}"))],
        ];
        for row in &rows {
            let fields: Vec<(&str, &str)> = row.iter().map(|(name, value)| (*name, value.as_str())).collect();
            for path in ["/orders", "/open", "/nowhere"] {
                let response = get(address, path, &fields);
                // What the origin echoes may hold fields that are not ours to touch.
                if response.status != 200 {
                    answers.push(format!("{}{}", response.head, response.text()));
                }
            }
        }
        for target in
            [format!("/orders?api_key={key}"), format!("/open?api_key={key}"), format!("/nowhere/x?key={key}")]
        {
            let response = get(address, &target, &[]);
            if response.status != 200 {
                answers.push(format!("{}{}", response.head, response.text()));
            }
        }
        let mut caller = Caller::connect(address);
        caller.send(format!("GET /orders HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-length: x\r\n\r\n"));
        answers.push(String::from_utf8_lossy(&caller.read_to_end()).into_owned());
    }
    gateway.wait_for_access_lines(60);
    answers.push(gateway.metrics());
    answers.push(gateway.admin_get("/readyz").text());
    let mut report = Report::new();
    for (place, text) in [("stdout", gateway.stdout()), ("stderr", gateway.stderr()), ("answers", answers.concat())] {
        for secret in [SECRET, WRONG, "MARKEDsecretMARKEDsecret", "WRONGsecretWRONGsecret"] {
            let found = text.lines().find(|line| line.contains(secret)).unwrap_or_default().to_string();
            report.holds(format!("{secret} in {place}"), found, !text.contains(secret));
        }
    }
}

#[test]
fn the_log_can_be_off_combined_or_in_a_file() {
    let origin = Origin::start();
    let with = |access_log: &str| format!("access_log: {access_log}\n{CONFIG}");
    let silent = Gateway::before(&origin, &with("off"));
    get(silent.address(), "/open", &[]);
    let combined = Gateway::before(&origin, &with("{ output: stdout, format: combined }"));
    get(combined.address(), "/open/x?y=1", &[("user-agent", "tester/1"), ("x-api-key", SECRET)]);
    let line = wait::until("a line", || combined.stdout().lines().next().map(str::to_string));
    assert!(line.starts_with("127.0.0.1 - shop [") && line.contains("\"GET /open/x HTTP/1.1\" 200 "), "{line}");
    assert!(line.ends_with("\"-\" \"tester/1\""), "{line}");
    let filed = Gateway::before(&origin, &with("{ output: access.log, format: json }"));
    get(filed.address(), "/open", &[]);
    let text = wait::until("a line in the file", || {
        std::fs::read_to_string(filed.path("access.log")).ok().filter(|text| text.ends_with('\n'))
    });
    assert!(text.contains("\"endpoint.name\":\"open\""), "{text}");
    assert_eq!((silent.stdout(), filed.stdout()), (String::new(), String::new()));
}
