//! One request here is one request there: what is framed in two ways is answered 400, the connection closed, and the
//! upstream sees not a byte. Each attack stands beside a neighbour that is as it should be and passes.

use std::time::Duration;

use super::support::{Caller, Gateway, Origin, Play, Report, wait};

const CONFIG: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
endpoints: [ { name: all, path: /, upstream: api, public: true } ]
"#;

/// A request that must not be understood if it stands behind another.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

fn head(fields: &str) -> String {
    format!("POST /first HTTP/1.1\r\nhost: gateway.test\r\n{fields}\r\n")
}

fn refused_and_closed(gateway: &Gateway, origin: &Origin, report: &mut Report, row: &str, bytes: &[u8]) {
    let mut caller = Caller::connect(gateway.address());
    caller.send(bytes);
    match caller.try_response("POST") {
        Ok(response) => {
            report.holds(
                row,
                format!("got {}", response.verdict()),
                matches!(response.status, 400 | 431 | 414 | 501 | 505),
            );
            report.holds(row, "the connection stayed open", caller.is_closed_within(wait::DEADLINE));
        }
        // An HTTP parser may close without an answer; what counts is that nothing was passed on.
        Err(error) => report.holds(row, error, true),
    }
    let seen = origin.take();
    report.holds(row, format!("the upstream saw {seen:?}"), seen.is_empty());
}

#[test]
fn malformed_framing_is_refused_and_reaches_nobody() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    let fields = [
        ("length and chunked", "content-length: 4\r\ntransfer-encoding: chunked\r\n"),
        ("chunked and length", "transfer-encoding: chunked\r\ncontent-length: 4\r\n"),
        ("two lengths that differ", "content-length: 4\r\ncontent-length: 5\r\n"),
        ("a list of lengths that differ", "content-length: 4, 5\r\n"),
        ("length with a plus", "content-length: +4\r\n"),
        ("negative length", "content-length: -4\r\n"),
        ("length in hex", "content-length: 0x4\r\n"),
        ("empty length", "content-length: \r\n"),
        ("length with a letter", "content-length: 4a\r\n"),
        ("length with blanks within", "content-length: 4 4\r\n"),
        ("length too large", "content-length: 99999999999999999999999\r\n"),
        ("length that overflows", "content-length: 18446744073709551617\r\n"),
        ("identity", "transfer-encoding: identity\r\n"),
        ("unknown coding", "transfer-encoding: xchunked\r\n"),
        ("chunked is not last", "transfer-encoding: chunked, gzip\r\n"),
        ("chunked in quotes", "transfer-encoding: \"chunked\"\r\n"),
        ("chunked with a vertical tab", "transfer-encoding: \u{b}chunked\r\n"),
        ("chunked twice", "transfer-encoding: chunked, chunked\r\n"),
        ("two fields, last is identity", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        ("blank before the colon", "content-length : 4\r\n"),
        ("tab before the colon", "transfer-encoding\t: chunked\r\n"),
        ("folded line", "x-a: b\r\n folded: c\r\n"),
        ("folded framing", "transfer-encoding:\r\n chunked\r\n"),
        ("field begins with a blank", " content-length: 4\r\n"),
        ("bare carriage return in a value", "x-a: b\rcontent-length: 4\r\n"),
        ("NUL in a value", "x-a: b\0c\r\n"),
        ("NUL in a name", "x\0a: b\r\n"),
        ("empty name", ": b\r\n"),
        ("no colon", "nothing\r\n"),
        ("name with a blank", "x a: b\r\n"),
        ("name with brackets", "x(a): b\r\n"),
        ("name not ASCII", "x\u{e9}: b\r\n"),
    ];
    for (row, fields) in fields {
        let bytes = format!("{}0\r\n\r\n{SMUGGLED}", head(fields));
        refused_and_closed(&gateway, &origin, &mut report, row, bytes.as_bytes());
    }
    for (row, line) in [
        ("no version", "GET /\r\n"),
        ("unknown version", "GET / HTTP/9.9\r\n"),
        ("HTTP/0.9", "GET / HTTP/0.9\r\n"),
        ("lower case version", "GET / http/1.1\r\n"),
        ("two blanks", "GET  / HTTP/1.1\r\n"),
        ("a tab", "GET\t/ HTTP/1.1\r\n"),
        ("blank in the target", "GET /a b HTTP/1.1\r\n"),
        ("method with a slash", "GE/T / HTTP/1.1\r\n"),
        ("carriage return in the target", "GET /a\rb HTTP/1.1\r\n"),
        ("NUL in the target", "GET /a\0b HTTP/1.1\r\n"),
    ] {
        refused_and_closed(&gateway, &origin, &mut report, row, format!("{line}host: a\r\n\r\n").as_bytes());
    }
    report.equal("bytes upstream", origin.raw_text(), String::new());
}

#[test]
fn a_host_stands_once_and_is_a_host() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (row, fields) in [
        ("no host", ""),
        ("two hosts", "host: a\r\nhost: b\r\n"),
        ("the same host twice", "host: a\r\nhost: a\r\n"),
        ("a list", "host: a, b\r\n"),
        ("empty", "host: \r\n"),
        ("with a user", "host: u@a\r\n"),
        ("with a path", "host: a/b\r\n"),
        ("with a blank", "host: a b\r\n"),
        ("bad port", "host: a:b\r\n"),
        ("port too large", "host: a:99999\r\n"),
        ("open bracket", "host: [::1\r\n"),
        ("with a fragment", "host: a#b\r\n"),
        ("with a query", "host: a?b\r\n"),
    ] {
        let response = super::support::exchange(gateway.address(), format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        report.equal(row, response.status, 400);
        report.equal(format!("{row}: requests upstream"), origin.take().len(), 0);
    }
    for host in ["a", "a.b", "a:80", "127.0.0.1:8080", "[::1]", "[::1]:80", "a_b.test", "xn--caf-dma.test"] {
        let mut caller = Caller::connect(gateway.address());
        caller.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        report.equal(host, caller.response().status, 200);
    }
}

#[test]
fn bad_chunks_never_become_a_whole_request() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (row, body) in [
        ("size is no number", "x\r\nab\r\n0\r\n\r\n"),
        ("size with a sign", "+2\r\nab\r\n0\r\n\r\n"),
        ("negative size", "-2\r\nab\r\n0\r\n\r\n"),
        ("size with 0x", "0x2\r\nab\r\n0\r\n\r\n"),
        ("empty size", "\r\nab\r\n0\r\n\r\n"),
        ("size that overflows", "10000000000000002\r\nab\r\n0\r\n\r\n"),
        ("longer than it says", "2\r\nabc\r\n0\r\n\r\n"),
        ("bare line feed after the size", "2\nab\r\n0\r\n\r\n"),
        ("bare carriage return", "2\rab\r\n0\r\n\r\n"),
        ("NUL after the size", "2\0\r\nab\r\n0\r\n\r\n"),
    ] {
        let mut caller = Caller::connect(gateway.address());
        caller.send(format!("{}{body}{SMUGGLED}", head("transfer-encoding: chunked\r\n")));
        let answer = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
        report.holds(row, &answer, !answer.starts_with("HTTP/1.1 200"));
        let seen = origin.take();
        report.holds(row, format!("{seen:?}"), seen.iter().all(|seen| seen.target() != "/smuggled"));
    }
    let raw = origin.raw_text();
    report.holds("raw bytes", &raw, !raw.contains("/smuggled"));
}

#[test]
fn chunk_extensions_and_trailers_are_bounded() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let long = "x".repeat(100_000);
    for body in [format!("2;{long}\r\nab\r\n0\r\n\r\n"), format!("2\r\nab\r\n0\r\nx-long: {long}\r\n\r\n")] {
        let mut caller = Caller::connect(gateway.address());
        caller.send(format!("{}{body}", head("transfer-encoding: chunked\r\n")));
        let answer = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[test]
fn well_formed_neighbours_pass() {
    let origin = Origin::playing(Play::EchoBody);
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (row, fields, body, expected) in [
        ("a length", "content-length: 4\r\n", "abcd", "abcd"),
        ("a length of nothing", "content-length: 0\r\n", "", ""),
        ("a length in capitals", "CONTENT-LENGTH:4\r\n", "abcd", "abcd"),
        ("chunked", "transfer-encoding: chunked\r\n", "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n", "abcd"),
        ("Chunked in capitals", "Transfer-Encoding: CHUNKED\r\n", "4\r\nabcd\r\n0\r\n\r\n", "abcd"),
        ("chunk sizes in hex", "transfer-encoding: chunked\r\n", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("leading zeros", "transfer-encoding: chunked\r\n", "0004\r\nabcd\r\n0\r\n\r\n", "abcd"),
        ("an extension", "transfer-encoding: chunked\r\n", "4;a=b\r\nabcd\r\n0\r\n\r\n", "abcd"),
        ("trailers", "transfer-encoding: chunked\r\n", "4\r\nabcd\r\n0\r\nx-sum: 1\r\n\r\n", "abcd"),
        ("no body", "", "", ""),
    ] {
        let mut caller = Caller::connect(gateway.address());
        caller.send(format!("{}{body}", head(fields)));
        let response = caller.response();
        report.equal(row, (response.status, response.text()), (200, expected.to_string()));
        let again = caller.call("GET", "/again", &[], b"");
        report.equal(format!("{row}: a second request on the connection"), again.status, 200);
        let seen: Vec<String> = origin.take().iter().map(|seen| seen.target().to_string()).collect();
        report.equal(format!("{row}: requests upstream"), seen, vec!["/first".to_string(), "/again".to_string()]);
    }
}

#[test]
fn each_of_several_requests_in_one_packet_is_judged() {
    let origin = Origin::start();
    let gateway = Gateway::with(
        r#"
upstreams: { api: { url: "{{origin}}" } }
endpoints:
  - { name: open, path: /open, upstream: api, public: true }
  - { name: closed, path: /closed, upstream: api, api_key: required }
"#,
    )
    .origin(&origin)
    .start();
    let mut caller = Caller::connect(gateway.address());
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    caller.send([one("/open/1"), one("/closed"), one("/open/2")].concat());
    let statuses = [caller.response().status, caller.response().status, caller.response().status];
    assert_eq!(statuses, [200, 401, 200]);
    let seen: Vec<String> = origin.take().iter().map(|seen| seen.target().to_string()).collect();
    assert_eq!(seen, ["/open/1", "/open/2"]);
}

#[test]
fn the_body_of_a_refused_request_is_never_read_as_the_next_one() {
    let origin = Origin::start();
    let gateway = Gateway::with(
        r#"
upstreams: { api: { url: "{{origin}}" } }
endpoints:
  - { name: open, path: /, upstream: api, public: true }
  - { name: closed, path: /closed, upstream: api, api_key: required }
"#,
    )
    .origin(&origin)
    .start();
    let mut report = Report::new();
    for fields in [format!("content-length: {}\r\n", SMUGGLED.len()), "transfer-encoding: chunked\r\n".to_string()] {
        let body = if fields.starts_with('t') {
            format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len())
        } else {
            SMUGGLED.to_string()
        };
        let mut caller = Caller::connect(gateway.address());
        caller.send(format!("POST /closed HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}"));
        report.equal(&fields, caller.response().status, 401);
        caller.send("GET /next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let rest = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
        let seen: Vec<String> = origin.take().iter().map(|seen| seen.target().to_string()).collect();
        report.holds(&fields, format!("{seen:?} {rest}"), !seen.contains(&"/smuggled".to_string()));
    }
}

#[test]
fn http_1_0_is_answered_and_its_connection_closed() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET /old HTTP/1.0\r\nhost: a\r\n\r\n");
    let answer = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
    assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 "), "{answer}");
    assert_eq!(origin.take_one().line, "GET /old HTTP/1.1");
    let mut caller = Caller::connect(gateway.address());
    caller.send(format!("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"));
    let answer = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
    assert!(!answer.contains("/smuggled"), "{answer}");
    assert!(origin.take().iter().all(|seen| seen.target() != "/smuggled"));
}

#[test]
fn an_upstream_that_frames_its_answer_badly_is_a_bad_gateway() {
    let mut report = Report::new();
    for (row, answer) in [
        ("no HTTP", "hello\r\n\r\n"),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        ("length is no number", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nab"),
        ("status is no number", "HTTP/1.1 abc OK\r\n\r\n"),
        ("NUL in a value", "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n"),
        ("101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        ("endless head", &format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(2_000_000))),
    ] {
        let origin = Origin::playing(Play::RawThenClose(answer.as_bytes().to_vec()));
        let gateway = Gateway::before(&origin, CONFIG);
        let response = super::support::get(gateway.address(), "/", &[]);
        report.equal(row, response.verdict(), "502 upstream_bad_response".to_string());
    }
}

#[test]
fn bytes_after_an_answer_spoil_the_upstream_connection_and_reach_nobody() {
    let surplus = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let origin =
        Origin::directed(move |request| if request.target() == "/poison" { Play::raw(surplus) } else { Play::Echo });
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    assert_eq!(caller.call("GET", "/poison", &[], b"").text(), "ok");
    for round in 0..5 {
        let text = caller.call("GET", &format!("/after/{round}"), &[], b"").text();
        assert!(text.starts_with(&format!("GET /after/{round} ")), "{text}");
    }
}

#[test]
fn a_request_that_comes_slowly_is_still_one_request() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    for byte in b"GET /slow HTTP/1.1\r\nhost: a\r\nx-a: b\r\n\r\n".chunks(3) {
        caller.send(byte);
        assert!(caller.read_some(Duration::from_millis(2)).is_empty() || byte.ends_with(b"\n"));
    }
    assert_eq!(wait::until("the request", || origin.requests().pop()).target(), "/slow");
}
