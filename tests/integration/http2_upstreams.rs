//! Upstreams that are spoken to over HTTP/2: what callers of either version see of it, and what happens when it is not so.

use std::time::Duration;

use super::support::certificates::Certificate;
use super::support::{Caller, Gateway, Http2Origin, Origin, Report, get, request, wait};

const OPEN: &str = r#"
upstreams: { api: { url: "{{origin}}", protocol: http2 } }
endpoints: [ { name: all, path: /, upstream: api, public: true } ]
"#;

#[test]
fn callers_of_http_1_are_served_as_ever() {
    let origin = Http2Origin::start();
    let gateway = Gateway::with(OPEN).named_origin("", &origin.url()).start();
    let mut report = Report::new();
    for (method, body) in [("GET", &b""[..]), ("POST", b"hello"), ("PUT", b""), ("DELETE", b"")] {
        let response = request(gateway.address(), method, "/any?x=1", &[("X-Thing", "1")], body);
        report.equal(method, response.text(), format!("received {}", body.len()));
        report.equal(method, response.status, 200);
        let seen = origin.take_one();
        report.equal(method, (seen.target.0.as_str(), seen.target.3.as_str()), (method, "/any?x=1"));
        report.equal(method, seen.field("x-thing"), Some("1"));
        report.equal(method, seen.field("content-length").is_some(), method == "POST" || method == "PUT");
    }
    let mut caller = Caller::connect(gateway.address());
    caller.send("POST /Echo HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    let response = caller.response();
    assert_eq!((response.text().as_str(), response.is_complete), ("abcde", true));
    assert_eq!(request(gateway.address(), "HEAD", "/any", &[], b"").status, 200);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_upgrade_is_refused_and_tells_why() {
    let origin = Http2Origin::start();
    let gateway = Gateway::with(OPEN).named_origin("", &origin.url()).start();
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    assert_eq!(get(gateway.address(), "/socket", &upgrade).verdict(), "501 upgrade_not_possible");
    assert!(origin.take().is_empty());
    // What the endpoint would not allow is no upgrade, and passes as the request that it is.
    let other = [("connection", "upgrade"), ("upgrade", "h2c")];
    assert_eq!(get(gateway.address(), "/any", &other).status, 200);
    assert_eq!(origin.take_one().field("upgrade"), None);
}

#[test]
fn a_server_that_does_not_speak_http_2_is_refused_and_there_is_no_falling_back() {
    let certificate = Certificate::of(&["origin.test"]);
    let over_tls = OPEN.replace("protocol: http2", "protocol: http2, tls: { ca: ca.pem, server_name: origin.test }");
    let mut report = Report::new();
    let plain = Origin::start();
    let other = Http2Origin::over_tls(&certificate, &["http/1.1"]);
    let silent = Http2Origin::over_tls(&certificate, &[]);
    let good = Http2Origin::over_tls(&certificate, &["http/1.1", "h2"]);
    for (row, yaml, url, expected) in [
        ("HTTP/1.1 in clear text", OPEN, plain.url(), "502 upstream_unreachable"),
        ("TLS without h2", &over_tls, format!("https://{}", other.address()), "502 upstream_unreachable"),
        ("TLS without any", &over_tls, format!("https://{}", silent.address()), "502 upstream_unreachable"),
        ("TLS with h2", &over_tls, format!("https://{}", good.address()), "200"),
    ] {
        let gateway = Gateway::with(yaml).named_origin("", &url).file("ca.pem", &certificate.certificate).start();
        report.equal(row, get(gateway.address(), "/", &[]).verdict(), expected.to_owned());
        if expected != "200" {
            report.equal(row, &gateway.wait_for_access_lines(1)[0]["code"], &"upstream_no_http2".into());
        }
    }
    // Read as HTTP/1.1, the preface of HTTP/2 is the beginning of two requests that nobody serves.
    for seen in plain.requests() {
        report.holds("no request in clear text", &seen.line, ["PRI", "SM"].contains(&seen.method()));
    }
}

#[test]
fn servers_are_checked_in_the_protocol_of_requests() {
    let origin = Http2Origin::start();
    let yaml = OPEN.replace(
        "protocol: http2",
        "protocol: http2, health_check: { path: /healthz, interval: 100ms, unhealthy: 2, healthy: 1 }",
    );
    let gateway = Gateway::with(&yaml).named_origin("", &origin.url()).start();
    wait::until("a check", || {
        let seen = origin.take();
        let check = seen.iter().find(|seen| seen.target.3 == "/healthz")?;
        assert_eq!(check.field("user-agent"), Some("keygate-health-check"));
        assert_eq!(check.target.2, origin.address().to_string());
        Some(())
    });
    let unhealthy = || gateway.metric("keygate_upstream_unhealthy", &[("upstream", "api")]);
    assert_eq!(unhealthy(), 0.0);
    for (is_sick, count) in [(true, 1.0), (false, 0.0)] {
        origin.is_sick(is_sick);
        wait::until("the check to tell", || (unhealthy() == count).then_some(()));
    }
}

#[test]
fn connections_outlive_a_reload_that_does_not_concern_them() {
    let certificate = Certificate::of(&["origin.test"]);
    let origin = Http2Origin::over_tls(&certificate, &["h2"]);
    let yaml = OPEN.replace(
        "protocol: http2",
        "protocol: http2, idle_timeout: 60s, tls: { ca: ca.pem, server_name: origin.test }",
    );
    let url = format!("https://{}", origin.address());
    let gateway = Gateway::with(&yaml).named_origin("", &url).file("ca.pem", &certificate.certificate).start();
    assert_eq!(get(gateway.address(), "/", &[]).status, 200);
    for round in 0..3 {
        gateway.reload(&format!("{yaml}# {round}\nlisten: [{{address: 127.0.0.1:0}}]\nadmin: {{address: 127.0.0.1:0}}\nworkers: 1\nenvironment: round-{round}\n"));
        assert_eq!(get(gateway.address(), "/", &[]).status, 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat_however_long_a_body_is_and_whoever_reads_it() {
    let origin = Http2Origin::start();
    let gateway = Gateway::with(OPEN).named_origin("", &origin.url()).start();
    get(gateway.address(), "/warm", &[]);
    let before = gateway.most_memory();
    // Somebody who reads nothing holds a window and what sockets hold, and holds up nobody else.
    let mut stuck = Caller::connect(gateway.address());
    stuck.send("GET /stuck/Large HTTP/1.1\r\nhost: a\r\n\r\n");
    wait::until("an answer under way", || (origin.sent() > 0).then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    let sent = origin.sent();
    assert!(sent < 16 << 20, "{sent} bytes are on their way to somebody who does not read");
    // A gibibyte for somebody who reads slowly at first.
    let mut slow = Caller::connect(gateway.address());
    slow.send("GET /Large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let mut read = 0;
    for pause in [100, 50, 20, 10, 5] {
        read += slow.read_exactly(1 << 16).len();
        std::thread::sleep(Duration::from_millis(pause));
    }
    loop {
        match slow.read_some(wait::DEADLINE).len() {
            0 => break,
            count => read += count,
        }
    }
    assert!(read > 1 << 30, "{read} bytes of a gibibyte");
    let body = vec![b'm'; 64 << 20];
    let response = request(gateway.address(), "POST", "/any", &[], &body);
    assert_eq!(response.text(), format!("received {}", body.len()));
    let grown = gateway.most_memory().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more after a stream of a gibibyte");
}
