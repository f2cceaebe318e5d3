//! What is passed on, both ways: heads, bodies of every framing and length, and where they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::{Caller, Gateway, Origin, Play, Report, get, request, wait};

const OPEN: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
endpoints: [ { name: all, path: /, upstream: api, public: true } ]
"#;

const CLOSED: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
clients: [ { id: shop, client_type: cms, keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" } ] } ]
endpoints: [ { name: all, path: /, upstream: api, api_key: required } ]
"#;

/// A body that differs at every place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((i * 31 + i / 251) % 251).expect("below 251")).collect()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + body.len() / size * 16);
    for piece in body.chunks(size) {
        bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[test]
fn bodies_pass_both_ways_unchanged_whatever_their_length_and_framing() {
    let origin = Origin::playing(Play::EchoBody);
    let gateway = Gateway::before(&origin, OPEN);
    let mut caller = Caller::connect(gateway.address());
    let mut report = Report::new();
    for length in [0, 1, 2, 1023, 16_384, 65_535, 65_536, 65_537, 1_000_000, 8 << 20] {
        let body = pattern(length);
        let back = caller.call("POST", "/length", &[], &body);
        report.holds(length, "the body came back changed", back.status == 200 && back.body == body && back.is_complete);
        let fields = [("transfer-encoding", "chunked")];
        let back = caller.call("POST", "/chunked", &fields, &chunked(&body, 40_000));
        report.holds(length, "the chunked body came back changed", back.status == 200 && back.body == body);
        for seen in origin.take() {
            report.holds(length, "the upstream got another body", seen.body == body);
        }
    }
}

#[test]
fn every_method_passes_with_its_body() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, OPEN);
    let mut report = Report::new();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        report.equal(method, request(gateway.address(), method, "/x", &[], b"body").status, 200);
        let seen = origin.take_one();
        report.equal(method, (seen.method().to_string(), seen.body.clone()), (method.to_string(), b"body".to_vec()));
    }
}

#[test]
fn every_framing_of_an_answer_arrives_whole() {
    let mut report = Report::new();
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3;x=y\r\ndef\r\n0\r\n\r\n";
    for (row, play) in [
        ("a length", Play::answer("200 OK", &[], "abcdef")),
        ("chunks", Play::raw(chunks)),
        ("up to the end", Play::RawThenClose(b"HTTP/1.1 200 OK\r\n\r\nabcdef".to_vec())),
        ("HTTP/1.0", Play::RawThenClose(b"HTTP/1.0 200 OK\r\n\r\nabcdef".to_vec())),
        (
            "with a closing word",
            Play::RawThenClose(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\nabcdef".to_vec()),
        ),
        (
            "after an interim answer",
            Play::raw(
                "HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabcdef",
            ),
        ),
    ] {
        let origin = Origin::playing(play);
        let gateway = Gateway::before(&origin, OPEN);
        let mut caller = Caller::connect(gateway.address());
        for round in ["first", "second"] {
            let response = caller.call("GET", "/", &[], b"");
            let got = (response.status, response.text(), response.is_complete);
            report.equal(format!("{row}, {round} request"), got, (200, "abcdef".to_string(), true));
        }
    }
}

#[test]
fn an_answer_that_is_cut_is_never_presented_as_complete() {
    let mut report = Report::new();
    for (row, answer) in [
        ("a length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
        ("chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        ("within a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc"),
    ] {
        let origin = Origin::playing(Play::RawThenClose(answer.as_bytes().to_vec()));
        let gateway = Gateway::before(&origin, OPEN);
        let mut caller = Caller::connect(gateway.address());
        caller.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        match caller.try_response("GET") {
            Ok(response) => {
                report.holds(row, "a cut answer looks whole", !response.is_complete || response.status == 502)
            }
            Err(error) => report.holds(row, error, true),
        }
    }
}

#[test]
fn answers_without_a_body_end_at_once() {
    let origin = Origin::directed(|request| match request.target() {
        "/204" => Play::raw("HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n"),
        "/304" => Play::raw("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 99\r\n\r\n"),
        _ => Play::raw("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\nx-a: b\r\n\r\n"),
    });
    let gateway = Gateway::before(&origin, OPEN);
    let mut caller = Caller::connect(gateway.address());
    for (method, target, status) in
        [("HEAD", "/head", 200), ("GET", "/204", 204), ("GET", "/304", 304), ("HEAD", "/204", 204)]
    {
        let response = caller.call(method, target, &[], b"");
        assert_eq!((response.status, response.body.len()), (status, 0), "{method} {target}");
        if target == "/head" {
            assert_eq!(response.header("content-length"), Some("12345"));
        }
        if target == "/304" {
            assert_eq!(response.header("etag"), Some("\"x\""));
        }
    }
    assert_eq!(origin.connections(), 1, "the upstream connection was used again");
}

#[test]
fn fields_of_an_answer_pass_and_those_of_the_hop_end_here() {
    let origin = Origin::playing(Play::raw(
        "HTTP/1.1 418 I'm a teapot\r\nx-a: 1\r\nset-cookie: a=1; Path=/\r\nset-cookie: b=2\r\nconnection: keep-alive, x-hop\r\n\
         x-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nwww-authenticate: Theirs\r\ncontent-length: 2\r\n\r\nhi",
    ));
    let gateway = Gateway::before(&origin, OPEN);
    let response = get(gateway.address(), "/", &[]);
    assert_eq!((response.status, response.text().as_str()), (418, "hi"));
    assert_eq!(response.header("x-a"), Some("1"));
    assert_eq!(response.values("set-cookie").collect::<Vec<_>>(), ["a=1; Path=/", "b=2"]);
    assert_eq!(response.header("www-authenticate"), Some("Theirs"));
    for name in ["x-hop", "keep-alive", "proxy-authenticate"] {
        assert_eq!(response.header(name), None, "{}", response.head);
    }
}

#[test]
fn fields_of_the_hop_do_not_travel_upstream() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, OPEN);
    let fields = [
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers, deflate"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("accept", "text/plain"),
        ("x-a", "1"),
        ("x-a", "2"),
    ];
    assert_eq!(get(gateway.address(), "/", &fields).status, 200);
    let seen = origin.take_one();
    for name in ["x-hop", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade", "http2-settings"] {
        assert!(!seen.has(name), "{name} travelled: {}", seen.head());
    }
    assert!(seen.values("te").all(|value| value == "trailers"), "{}", seen.head());
    assert_eq!(seen.header("accept"), Some("text/plain"));
    assert_eq!(seen.values("x-a").collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn trailers_of_an_answer_pass() {
    let origin = Origin::playing(Play::raw(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status, x-sum\r\n\r\n2\r\nhi\r\n0\r\ngrpc-status: 0\r\nx-sum: 7\r\n\r\n",
    ));
    let gateway = Gateway::before(&origin, OPEN);
    let response = get(gateway.address(), "/", &[("te", "trailers")]);
    assert_eq!(response.text(), "hi");
    let names: Vec<_> = response.trailers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grpc-status", "x-sum"]);
}

#[test]
fn continue_is_said_only_to_those_who_were_admitted() {
    let origin = Origin::playing(Play::EchoBody);
    let gateway = Gateway::before(&origin, CLOSED);
    let head = |key: &str| {
        format!("POST / HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
    };
    let mut refused = Caller::connect(gateway.address());
    refused.send(head("nobody"));
    let (status, ..) = refused.head().expect("an answer");
    assert_eq!(status, 401, "the verdict comes first");
    assert_eq!(origin.take().len(), 0);

    let mut admitted = Caller::connect(gateway.address());
    admitted.send(head("shop-key"));
    let (status, ..) = admitted.head().expect("an interim answer");
    assert_eq!(status, 100);
    admitted.send("abcd");
    assert_eq!(admitted.response().text(), "abcd");
}

#[test]
fn an_answer_before_the_body_was_read_arrives_and_spoils_no_later_request() {
    let early = "HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\nearly";
    let origin = Origin::directed(move |request| match request.target() {
        "/early" => Play::Early(early.as_bytes().to_vec()),
        "/early-close" => Play::talk(move |talk| {
            talk.send(early);
            talk.close();
        }),
        _ => Play::Echo,
    });
    let gateway = Gateway::before(&origin, OPEN);
    let mut report = Report::new();
    for target in ["/early", "/early-close"] {
        let mut caller = Caller::connect(gateway.address());
        caller
            .send(format!("POST {target} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n{}", "x".repeat(1000)));
        let response = caller.response();
        report.equal(target, (response.status, response.text()), (403, "early".to_string()));
        drop(caller);
        for round in 0..3 {
            let text = get(gateway.address(), &format!("/next/{round}"), &[]).text();
            report.holds(target, &text, text.starts_with(&format!("GET /next/{round} ")));
        }
    }
}

#[test]
fn host_follows_the_rule_of_the_upstream() {
    let origin = Origin::start();
    let gateway = Gateway::before(
        &origin,
        r#"
upstreams:
  kept: { url: "{{origin}}" }
  own: { url: "{{origin}}", host: server }
  fixed: { url: "{{origin}}", host: api.internal }
endpoints:
  - { name: kept, path: /kept, upstream: kept, public: true }
  - { name: own, path: /own, upstream: own, public: true }
  - { name: fixed, path: /fixed, upstream: fixed, public: true }
"#,
    );
    let authority = origin.address().to_string();
    for (path, host) in [("/kept", "shop.example:8443"), ("/own", &authority), ("/fixed", "api.internal")] {
        get(gateway.address(), path, &[("host", "shop.example:8443")]);
        let seen = origin.take_one();
        assert_eq!(seen.header("host"), Some(host), "{path}");
        assert_eq!(seen.header("x-forwarded-host"), Some("shop.example:8443"), "{path}");
    }
}

#[test]
fn forwarded_fields_are_replaced_for_strangers_and_extended_for_proxies() {
    let told = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-real-ip", "203.0.113.7"),
        ("forwarded", "for=203.0.113.7;proto=https"),
    ];
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, OPEN);
    get(gateway.address(), "/", &told);
    let seen = origin.take_one();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("gateway.test"));
    for name in ["x-real-ip", "forwarded"] {
        assert!(seen.values(name).all(|value| !value.contains("203.0.113.7")), "{}", seen.head());
    }
    for spelling in ["X_Forwarded_For", "x.forwarded.for", "X_Real_Ip"] {
        get(gateway.address(), "/", &[(spelling, "203.0.113.7")]);
        let seen = origin.take_one();
        assert!(!seen.head().contains("203.0.113.7"), "{}", seen.head());
    }
    let trusting = Gateway::before(&origin, &format!("trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n{OPEN}"));
    for (chain, expected) in [
        ("203.0.113.7", "203.0.113.7, 127.0.0.1"),
        ("198.51.100.1, 203.0.113.7", "198.51.100.1, 203.0.113.7, 127.0.0.1"),
    ] {
        get(trusting.address(), "/", &[("x-forwarded-for", chain), ("x-forwarded-proto", "https")]);
        let seen = origin.take_one();
        assert_eq!(seen.header("x-forwarded-for"), Some(expected));
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    }
}

#[test]
fn the_client_address_behind_proxies_is_read_from_right_to_left() {
    let origin = Origin::start();
    let gateway = Gateway::before(
        &origin,
        r#"
trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]
upstreams: { api: { url: "{{origin}}" } }
endpoints: [ { name: near, path: /, upstream: api, public: true, networks: [192.0.2.0/24] } ]
"#,
    );
    let mut report = Report::new();
    for (chain, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.1, 10.0.0.1", 200),
        ("203.0.113.7, 192.0.2.1, 10.0.0.1", 200),
        ("192.0.2.1, 203.0.113.7", 403),
        ("192.0.2.1, 203.0.113.7, 10.0.0.1", 403),
        ("10.0.0.1", 403),
        ("nonsense", 403),
        ("192.0.2.1, nonsense", 403),
    ] {
        report.equal(chain, get(gateway.address(), "/", &[("x-forwarded-for", chain)]).status, status);
    }
    report.equal(
        "two fields are one list",
        get(gateway.address(), "/", &[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "203.0.113.7")]).status,
        403,
    );
    report.equal("none", get(gateway.address(), "/", &[]).status, 403);
}

#[test]
fn every_request_has_an_id_and_a_trace_that_a_stranger_cannot_choose() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, OPEN);
    let mut ids = Vec::new();
    for sent in [&[][..], &[("x-request-id", "forged-by-a-stranger")][..]] {
        let response = get(gateway.address(), "/", sent);
        let seen = origin.take_one();
        let id = seen.header("x-request-id").expect("an id").to_string();
        assert_ne!(id, "forged-by-a-stranger");
        assert!((8..=128).contains(&id.len()), "{id}");
        assert_eq!(response.header("x-request-id"), Some(id.as_str()));
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
    let trusting = Gateway::before(&origin, &format!("trusted_proxies: [127.0.0.0/8]\n{OPEN}"));
    get(trusting.address(), "/", &[("x-request-id", "a-proxy-chose-this.1")]);
    assert_eq!(origin.take_one().header("x-request-id"), Some("a-proxy-chose-this.1"));
    get(trusting.address(), "/", &[("x-request-id", "not good; at all")]);
    assert_ne!(origin.take_one().header("x-request-id"), Some("not good; at all"));
}

#[test]
fn a_trace_is_passed_on_and_a_malformed_one_is_not() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, OPEN);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    get(gateway.address(), "/", &[("traceparent", trace), ("tracestate", "a=b")]);
    let seen = origin.take_one();
    let passed = seen.header("traceparent").unwrap_or_default();
    assert_eq!(passed.get(..36), trace.get(..36), "{}", seen.head());
    for bad in ["00-0-0-0", "zz", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
        get(gateway.address(), "/", &[("traceparent", bad)]);
        assert_ne!(origin.take_one().header("traceparent"), Some(bad));
    }
}

#[test]
fn events_arrive_piece_by_piece() {
    let step = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&step);
    let origin = Origin::directed(move |_| {
        let step = Arc::clone(&seen);
        Play::talk(move |talk| {
            talk.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
            for event in 0..3 {
                wait::until("the caller's turn", || (step.load(Ordering::SeqCst) >= event).then_some(()));
                let text = format!("data: {event}\n\n");
                talk.send(format!("{:x}\r\n{text}\r\n", text.len()));
            }
            talk.send("0\r\n\r\n");
        })
    });
    let gateway = Gateway::before(&origin, OPEN);
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET /events HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n");
    let (status, ..) = caller.head().expect("the head comes before any event is due");
    assert_eq!(status, 200);
    let mut text = String::new();
    for event in 0..3 {
        // The upstream sends the next one only after this one was seen here.
        let wanted = format!("data: {event}\n\n");
        while !text.contains(&wanted) {
            let some = caller.read_some(wait::DEADLINE);
            assert!(!some.is_empty(), "event {event} did not come; so far {text:?}");
            text.push_str(&String::from_utf8_lossy(&some));
        }
        step.store(event + 1, Ordering::SeqCst);
    }
}
