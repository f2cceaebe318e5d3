//! Connections that change their protocol: only to what the endpoint lists, only after the upstream agreed.

use std::sync::{Mutex, mpsc};

use super::support::origin::accept_value;
use super::support::{Caller, Gateway, Origin, Play, Report, wait};

const CONFIG: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
clients: [ { id: shop, client_type: cms, keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" } ] } ]
endpoints:
  - { name: socket, path: /socket, upstream: api, api_key: required }
  - { name: none, path: /none, upstream: api, public: true, upgrades: [] }
  - { name: open, path: /open, upstream: api, public: true }
"#;

const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn handshake(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: {WEBSOCKET_KEY}\r\n{fields}\r\n"
    )
}

#[test]
fn a_websocket_is_opened_and_bytes_pass_both_ways() {
    let origin = Origin::playing(Play::WebSocket);
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    caller.send(handshake("/socket/room?x=1", "x-api-key: shop-key\r\nsec-websocket-protocol: chat\r\n"));
    let response = caller.response();
    assert_eq!(response.status, 101, "{}", response.head);
    assert_eq!(response.header("sec-websocket-accept"), Some(accept_value(WEBSOCKET_KEY).as_str()));
    assert!(response.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    for message in [&b"hello"[..], &[0, 1, 2, 255, 254], b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"] {
        caller.send(message);
        assert_eq!(caller.read_exactly(message.len()), message);
    }
    let large: Vec<u8> = (0..300_000_u32).map(|i| u8::try_from(i % 256).expect("a byte")).collect();
    let mut back = Vec::new();
    for piece in large.chunks(30_000) {
        caller.send(piece);
        back.extend(caller.read_exactly(piece.len()));
    }
    assert_eq!(back, large);
    let seen = origin.take_one();
    assert_eq!(seen.target(), "/socket/room?x=1");
    assert_eq!(seen.header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(seen.header("x-client-id"), Some("shop"));
    assert!(!origin.raw_text().contains("shop-key"));
}

#[test]
fn the_end_of_one_side_ends_the_other() {
    let origin = Origin::playing(Play::WebSocket);
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    caller.send(handshake("/open", ""));
    assert_eq!(caller.response().status, 101);
    origin.close_connections();
    assert!(caller.is_closed_within(wait::DEADLINE));

    let mut caller = Caller::connect(gateway.address());
    caller.send(handshake("/open", ""));
    assert_eq!(caller.response().status, 101);
    drop(caller);
    wait::until("the upstream side to end", || (origin.open_connections() == 0).then_some(()));
}

#[test]
fn the_key_is_checked_before_anything_is_opened() {
    let origin = Origin::playing(Play::WebSocket);
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (row, fields, expected) in [
        ("none", "", "401 credential_missing"),
        ("unknown", "x-api-key: nobody\r\n", "401 credential_rejected"),
        ("as a subprotocol", "sec-websocket-protocol: shop-key\r\n", "401 credential_missing"),
    ] {
        let mut caller = Caller::connect(gateway.address());
        caller.send(handshake("/socket", fields));
        report.equal(row, caller.response().verdict(), expected.to_string());
    }
    report.equal("connections upstream", origin.connections(), 0);
}

#[test]
fn what_a_key_has_opened_ends_with_the_key() {
    let origin = Origin::playing(Play::WebSocket);
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4)).to_string();
    let keys = "keys: [ { id: key_1, name: k, digest: \"{{digest:shop-key}}\" }";
    let two = format!("{keys}, {{ id: key_2, name: l, expires_at: \"{soon}\", digest: \"{{{{digest:brief}}}}\" }}");
    let config = CONFIG.replace(keys, &two);
    let gateway = Gateway::before(&origin, &config);
    let open = |path: &str, fields: &str| {
        let mut caller = Caller::connect(gateway.address());
        caller.send(handshake(path, fields));
        assert_eq!(caller.response().status, 101, "{path} {fields}");
        caller
    };
    let mut of_gone = open("/socket", "x-api-key: shop-key\r\n");
    let mut of_expiring = open("/socket", "x-api-key: brief\r\n");
    let mut of_nobody = open("/open", "");
    gateway.reload(&config.replace("id: key_1, name: k,", "id: key_1, name: k, active: false,"));
    assert!(of_gone.is_closed_within(wait::DEADLINE), "the key is switched off");
    for caller in [&mut of_expiring, &mut of_nobody] {
        caller.send("still here");
        assert_eq!(caller.read_exactly(10), b"still here");
    }
    assert!(of_expiring.is_closed_within(wait::DEADLINE), "the key has expired");
    of_nobody.send("still here");
    assert_eq!(of_nobody.read_exactly(10), b"still here");
}

#[test]
fn a_key_revoked_while_the_upstream_thinks_it_over_opens_nothing() {
    let (agree, agreed) = mpsc::channel::<()>();
    let agreed = Mutex::new(agreed);
    let origin = Origin::playing(Play::talk(move |talk| {
        // The test has ended if nobody is there to agree.
        let _ = agreed.lock().expect("one request").recv_timeout(wait::DEADLINE);
        talk.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
        talk.read_to_end();
    }));
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    caller.send(handshake("/socket", "x-api-key: shop-key\r\n"));
    origin.wait_for(1);
    gateway.reload(&CONFIG.replace("id: key_1, name: k,", "id: key_1, name: k, active: false,"));
    agree.send(()).expect("the upstream waits");
    assert_eq!(caller.response().verdict(), "401 credential_rejected");
}

#[test]
fn an_upgrade_the_upstream_declines_is_an_ordinary_answer() {
    let origin = Origin::playing(Play::answer("426 Upgrade Required", &[("upgrade", "websocket")], "no"));
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    caller.send(handshake("/open", ""));
    let response = caller.response();
    assert_eq!((response.status, response.text().as_str()), (426, "no"));
    // What follows is a request like any other, judged like any other.
    let again = caller.call("GET", "/socket", &[], b"");
    assert_eq!(again.verdict(), "401 credential_missing");
}

#[test]
fn protocols_that_are_not_listed_are_not_passed_on() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (path, protocol) in
        [("/none", "websocket"), ("/open", "h2c"), ("/open", "foo"), ("/open", "TLS/1.3"), ("/open", "HTTP/2.0")]
    {
        let mut caller = Caller::connect(gateway.address());
        caller.send(format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: {protocol}\r\nhttp2-settings: AAMAAABk\r\n\r\n"
        ));
        let response = caller.response();
        report.holds(format!("{protocol} on {path}"), response.head.clone(), response.status != 101);
        for seen in origin.take() {
            report.holds(
                format!("{protocol} on {path}"),
                seen.head(),
                !seen.has("upgrade") && !seen.has("http2-settings"),
            );
        }
    }
}

#[test]
fn a_switch_nobody_asked_for_opens_no_tunnel() {
    let origin = Origin::playing(Play::WebSocket);
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET /open HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(caller.response().verdict(), "502 upstream_bad_response");
}

#[test]
fn a_switch_to_another_protocol_than_asked_for_opens_no_tunnel() {
    let origin =
        Origin::playing(Play::raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"));
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    caller.send(handshake("/open", ""));
    assert_eq!(caller.response().verdict(), "502 upstream_bad_response");
}

#[test]
fn bytes_sent_before_the_switch_are_no_second_request_and_not_lost() {
    let origin = Origin::playing(Play::WebSocket);
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    caller.send([handshake("/open", "").as_bytes(), b"impatient"].concat());
    match caller.try_response("GET") {
        Ok(response) if response.status == 101 => assert_eq!(caller.read_exactly(9), b"impatient"),
        Ok(response) => assert_eq!(response.status, 400, "{}", response.head),
        Err(error) => panic!("no answer: {error}"),
    }
}

#[test]
fn a_handshake_with_a_body_or_another_method_is_no_upgrade() {
    let origin = Origin::playing(Play::Echo);
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for head in [
        "POST /open HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nhi",
        "GET /open HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "GET /open HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n",
    ] {
        let mut caller = Caller::connect(gateway.address());
        caller.send(head);
        report.holds(head, "no switch", caller.response().status != 101);
        for seen in origin.take() {
            report.holds(head, seen.head(), !seen.has("upgrade"));
        }
    }
}
