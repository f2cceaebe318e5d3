//! HTTP/2 from callers, HTTP/1.1 to upstreams: the same rules, and nothing that one version hides from the other.

use super::support::http2::{ByHand, H2, Outcome, block_of, frame, greeting, stream_of};
use super::support::{Gateway, Origin, Play, Report, get, wait};

const CONFIG: &str = r#"
listen: [ { address: 127.0.0.1:0, protocol: h2c } ]
upstreams: { api: { url: "{{origin}}" } }
clients: [ { id: shop, client_type: cms, keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" } ] } ]
endpoints:
  - { name: closed, path: /closed, upstream: api, api_key: required }
  - { name: open, path: /open, upstream: api, public: true }
"#;

#[test]
fn requests_pass_over_http_2_in_clear_text() {
    let origin = Origin::playing(Play::EchoBody);
    let gateway = Gateway::before(&origin, CONFIG);
    let h2 = H2::connect(gateway.address());
    let body: Vec<u8> = (0..500_000_u32).map(|i| u8::try_from(i % 249).expect("below 249")).collect();
    for round in 0..3 {
        let response = h2.call("POST", "http://a.test/open?x=1", &[], &body).expect("an answer");
        assert_eq!((response.status, response.body == body), (200, true), "round {round}");
    }
    let seen = origin.take();
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[0].line.as_str(), seen[0].header("host")), ("POST /open?x=1 HTTP/1.1", Some("a.test")));
    assert!(seen[0].headers.iter().all(|(name, _)| !name.starts_with(':')), "{}", seen[0].head());
    assert_eq!(get(gateway.address(), "/open", &[]).status, 200, "HTTP/1.1 is spoken on the same listener");
}

#[test]
fn the_rules_are_the_same() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let h2 = H2::connect(gateway.address());
    let mut report = Report::new();
    for (path, fields, expected) in [
        ("/closed", &[][..], "401 credential_missing"),
        ("/closed", &[("x-api-key", "shop-key")][..], "200"),
        ("/closed", &[("authorization", "Bearer shop-key")][..], "200"),
        ("/closed", &[("cookie", "mia_client_key=shop-key")][..], "200"),
        ("/closed", &[("x-api-key", "nobody")][..], "401 credential_rejected"),
        ("/open", &[("x-api-key", "nobody")][..], "401 credential_rejected"),
        ("/open/%2e%2e/closed", &[][..], "400 path_ambiguous"),
        ("/nowhere", &[][..], "404 endpoint_not_found"),
        ("//closed", &[][..], "401 credential_missing"),
    ] {
        report.equal(path, h2.get(&format!("http://a.test{path}"), fields).verdict(), expected.to_string());
        report.equal(path, origin.take().len(), usize::from(expected == "200"));
    }
    h2.get("http://a.test/open", &[("x-client-id", "forged"), ("x_client_id", "forged"), ("client.type", "forged")]);
    let seen = origin.take_one();
    report.holds("forged names", seen.head(), !seen.head().contains("forged"));
}

#[test]
fn cookies_in_crumbs_are_joined_and_our_own_is_found_in_each() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let h2 = H2::connect(gateway.address());
    let crumbs = [("cookie", "a=1"), ("cookie", "mia_client_key=shop-key"), ("cookie", "b=2; c=3")];
    assert_eq!(h2.get("http://a.test/closed", &crumbs).status, 200);
    assert_eq!(origin.take_one().header("cookie"), Some("a=1; b=2; c=3"));
    assert_eq!(h2.get("http://a.test/open", &[("cookie", "a=1"), ("cookie", "b=2")]).status, 200);
    assert_eq!(origin.take_one().header("cookie"), Some("a=1; b=2"));
    let two = [("cookie", "mia_client_key=shop-key"), ("cookie", "mia_client_key=other")];
    assert_eq!(h2.get("http://a.test/closed", &two).verdict(), "400 credential_ambiguous");
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/open"), (":authority", "a.test")];

#[test]
fn streams_that_are_not_well_formed_reach_nobody() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    let with = |extra: &[(&'static str, &'static str)]| [&GET[..], extra].concat();
    let without = |name: &str| GET.iter().filter(|(field, _)| *field != name).copied().collect::<Vec<_>>();
    let instead = |name: &str, value: &'static str| {
        GET.iter().map(|(field, old)| (*field, if *field == name { value } else { *old })).collect::<Vec<_>>()
    };
    for (row, fields) in [
        ("connection", with(&[("connection", "x-a")])),
        ("keep-alive", with(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", with(&[("proxy-connection", "keep-alive")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te that is not trailers", with(&[("te", "gzip")])),
        ("host disagrees", with(&[("host", "b.test")])),
        ("two hosts", with(&[("host", "a.test"), ("host", "a.test")])),
        ("capitals", with(&[("X-Api-Key", "x")])),
        ("line feed in a value", with(&[("x-a", "b\nhost: c")])),
        ("carriage return in a value", with(&[("x-a", "b\r\n\r\nGET /smuggled HTTP/1.1")])),
        ("NUL in a value", with(&[("x-a", "b\0c")])),
        ("blank in a name", with(&[("x a", "b")])),
        ("colon in a name", with(&[("x:a", "b")])),
        ("line feed in a name", with(&[("x\na", "b")])),
        ("empty name", with(&[("", "b")])),
        ("unknown pseudo-field", with(&[(":what", "x")])),
        ("pseudo-field after a field", [&[("x-a", "b")][..], &GET].concat()),
        ("two paths", with(&[(":path", "/closed")])),
        ("two methods", with(&[(":method", "POST")])),
        ("no path", without(":path")),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("empty path", instead(":path", "")),
        ("path without a slash", instead(":path", "open")),
        ("path is an asterisk", instead(":path", "*")),
        ("line feed in the path", instead(":path", "/open HTTP/1.1\r\nx: y")),
        ("blank in the path", instead(":path", "/open x")),
        ("blank in the method", instead(":method", "GET /closed HTTP/1.1")),
        ("authority with a user", instead(":authority", "u@a.test")),
        ("authority with a path", instead(":authority", "a.test/x")),
        ("empty authority", instead(":authority", "")),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "a.test:443")]),
        ("a status", with(&[(":status", "200")])),
        ("length without data", with(&[("content-length", "5")])),
    ] {
        let outcome = stream_of(gateway.address(), &fields, None);
        let is_refused = outcome.is_refusal()
            || matches!(outcome, Outcome::Answered(status) if status.as_u16() == 405 || status.as_u16() == 404);
        report.holds(row, format!("{outcome:?}"), is_refused);
        let seen = origin.take();
        report.holds(row, format!("{seen:?}"), seen.is_empty());
    }
}

#[test]
fn a_fragment_is_refused_or_gone_before_the_verdict() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    for path in ["/open#x", "/open#/../closed", "/closed#/open"] {
        let fields: Vec<_> =
            GET.iter().map(|(name, value)| (*name, if *name == ":path" { path } else { value })).collect();
        let outcome = stream_of(gateway.address(), &fields, None);
        let seen: Vec<_> = origin.take().iter().map(|seen| seen.target().to_string()).collect();
        let is_gone = path.starts_with("/open") && seen == ["/open"];
        assert!(seen.is_empty() || is_gone, "{path}: {outcome:?} {seen:?}");
    }
}

/// Behind the gateway the target stands in a request line, which some servers split at every kind of blank.
#[test]
fn a_query_is_ascii_as_in_http_1() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    for target in ["/open?a=\u{a0}HTTP/1.0", "/open?\u{85}x", "/open?\u{2028}", "/open?\u{7f}", "/open?\u{e9}"] {
        let fields = GET.map(|(name, value)| (name, if name == ":path" { target } else { value }));
        let outcome = stream_of(gateway.address(), &fields, None);
        assert!(outcome.is_refusal(), "{target:?}: {outcome:?}");
        assert!(origin.take().is_empty(), "{target:?} reached the upstream");
    }
}

#[test]
fn a_length_that_the_data_does_not_have_is_no_whole_request() {
    let origin = Origin::playing(Play::EchoBody);
    let gateway = Gateway::before(&origin, CONFIG);
    let fields = |length: &'static str| {
        let post = GET.map(|(name, value)| (name, if name == ":method" { "POST" } else { value }));
        [&post[..], &[("content-length", length)]].concat()
    };
    assert_eq!(stream_of(gateway.address(), &fields("4"), Some(b"abcd")), Outcome::Answered(http::StatusCode::OK));
    for length in ["3", "5", "x", "4, 4"] {
        let outcome = stream_of(gateway.address(), &fields(length), Some(b"abcd"));
        assert!(outcome != Outcome::Answered(http::StatusCode::OK), "{length}: {outcome:?}");
    }
    for seen in origin.requests() {
        assert_eq!(seen.body, b"abcd");
    }
}

#[test]
fn a_well_formed_stream_by_hand_passes() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let ok = Outcome::Answered(http::StatusCode::OK);
    assert_eq!(stream_of(gateway.address(), &GET, None), ok);
    assert_eq!(stream_of(gateway.address(), &[&GET[..], &[("host", "a.test")]].concat(), None), ok);
    assert_eq!(stream_of(gateway.address(), &[&GET[..], &[("te", "trailers")]].concat(), None), ok);
    let authority_by_host = [(":method", "GET"), (":scheme", "http"), (":path", "/open"), ("host", "b.test")];
    assert_eq!(stream_of(gateway.address(), &authority_by_host, None), ok);
    let hosts: Vec<_> = origin.take().iter().map(|seen| seen.header("host").unwrap_or_default().to_string()).collect();
    assert_eq!(hosts, ["a.test", "a.test", "a.test", "b.test"]);
}

#[test]
fn trailers_of_an_answer_pass_over_http_2() {
    let origin = Origin::playing(Play::raw(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n2\r\nhi\r\n0\r\ngrpc-status: 0\r\n\r\n",
    ));
    let gateway = Gateway::before(&origin, CONFIG);
    let response = H2::connect(gateway.address()).get("http://a.test/open", &[("te", "trailers")]);
    assert_eq!(response.text(), "hi");
    assert_eq!(response.trailers, [("grpc-status".to_string(), "0".to_string())]);
}

#[test]
fn an_answer_that_is_cut_resets_its_stream() {
    let origin = Origin::directed(|request| {
        if request.target() == "/open/cut" {
            Play::RawThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec())
        } else {
            Play::Echo
        }
    });
    let gateway = Gateway::before(&origin, CONFIG);
    let h2 = H2::connect(gateway.address());
    let cut = h2.call("GET", "http://a.test/open/cut", &[], b"");
    assert!(cut.as_ref().map_or(true, |response| response.status == 502), "{cut:?}");
    assert_eq!(h2.get("http://a.test/open/next", &[]).status, 200, "the connection lives on");
}

/// A request that its caller takes back must not reach the upstream as if it had been all.
#[test]
fn a_body_that_is_cancelled_is_never_presented_as_complete() {
    let origin = Origin::playing(Play::EchoBody);
    let gateway = Gateway::before(&origin, CONFIG);
    let post = GET.map(|(name, value)| (name, if name == ":method" { "POST" } else { value }));
    // By each of the codes that callers use: cancelled, an error of theirs, and none at all.
    for (round, code) in [8_u32, 8, 2, 0, 0].into_iter().enumerate() {
        let mut by_hand = ByHand::connect(gateway.address());
        by_hand.send(greeting());
        by_hand.send([frame(1, 4, 1, &block_of(&post)), frame(0, 0, 1, b"not all of it")].concat());
        let arrived = || origin.raw().get(round).is_some_and(|raw| raw.ends_with(b"not all of it\r\n"));
        wait::until("the first piece at the upstream", || arrived().then_some(()));
        by_hand.send(frame(3, 0, 1, &code.to_be_bytes()));
        wait::until("the end of the upstream's connection", || (origin.open_connections() == 0).then_some(()));
        assert!(origin.take().is_empty(), "a cut body came as a whole one: {}", origin.raw_text());
        by_hand.end();
    }
}

#[test]
fn http_2_is_not_spoken_on_a_listener_for_http_1() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &CONFIG.replace(", protocol: h2c", ""));
    let outcome = stream_of(gateway.address(), &GET, None);
    assert!(!matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
    assert_eq!(origin.take().len(), 0);
}
