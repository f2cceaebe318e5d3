//! Connections that change their protocol: only to what the endpoint lists, only after the upstream agreed.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

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

/// A frame as a server sends it, or as a client does with a mask of zeros.
fn frame(opcode: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short one");
    let mut bytes = vec![0x80 | opcode, length | if masked { 0x80 } else { 0 }];
    if masked {
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}

/// The payload of a frame that a client sent, freed of its mask.
fn unmasked(bytes: &[u8]) -> Vec<u8> {
    bytes[6..].iter().zip(bytes[2..6].iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

#[test]
fn before_a_websocket_is_cut_both_sides_are_told_between_two_frames() {
    let (heard, hears) = mpsc::channel();
    let heard = Mutex::new(heard);
    let (speak, speaks) = mpsc::channel::<Vec<u8>>();
    let speaks = Mutex::new(speaks);
    let origin = Origin::playing(Play::talk(move |talk| {
        talk.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n\r\n",
            accept_value(WEBSOCKET_KEY)
        ));
        for bytes in speaks.lock().expect("no panic holds it").iter() {
            talk.send(bytes);
        }
        let all = talk.read_to_end();
        heard.lock().expect("no panic holds it").send(all).expect("somebody listens");
    }));
    let mut gateway = Gateway::before(&origin, &format!("timeouts: {{ drain: 6s }}\n{CONFIG}"));
    let mut caller = Caller::connect(gateway.address());
    caller.send(handshake("/socket", "x-api-key: shop-key\r\n"));
    assert_eq!(caller.response().status, 101);
    let said = |bytes: &[u8]| speak.send(bytes.to_vec()).expect("the origin listens");

    said(&frame(1, false, b"hello"));
    assert_eq!(caller.read_exactly(7), frame(1, false, b"hello"));
    caller.send(frame(1, true, b"hello back"));
    gateway.signal("TERM");
    gateway.wait_for_output("draining");
    // It goes on for a while.
    said(&frame(1, false, b"still here"));
    assert_eq!(caller.read_exactly(12), frame(1, false, b"still here"));
    // Half of the time is over while a frame is under way: it is finished first, and the next one is not begun.
    let long = frame(2, false, &[7; 100]);
    said(&long[..50]);
    assert_eq!(caller.read_exactly(50), &long[..50]);
    std::thread::sleep(Duration::from_millis(3500));
    said(&[&long[50..], &frame(1, false, b"too late")].concat());
    assert_eq!(caller.read_exactly(52), &long[50..]);
    let close = caller.read_exactly(4);
    assert_eq!(close, [0x88, 2, 0x03, 0xe9], "1001, going away");
    // The caller answers as it should; the origin does as well.
    caller.send(frame(8, true, &[0x03, 0xe9]));
    said(&frame(8, false, &[0x03, 0xe9]));
    drop(speak);
    assert!(caller.is_closed_within(wait::DEADLINE));
    let all = hears.recv_timeout(wait::DEADLINE).expect("the origin's side ends");
    let (hello, close) = all.split_at(16);
    assert_eq!(hello, frame(1, true, b"hello back"));
    assert_eq!((close[0], close[1], unmasked(close)), (0x88, 0x82, vec![0x03, 0xe9]));
    assert_eq!(gateway.wait_for_exit().code(), Some(0), "{}", gateway.stderr());
}

#[test]
fn what_is_no_websocket_is_cut_without_a_word() {
    let origin = Origin::playing(Play::talk(|talk| {
        talk.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\nhi");
        talk.read_to_end();
    }));
    let yaml = format!(
        "timeouts: {{ drain: 500ms }}\n{}",
        CONFIG.replace("name: open, path: /open,", "name: open, path: /open, upgrades: [other],")
    );
    let mut gateway = Gateway::before(&origin, &yaml);
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET /open HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n");
    assert_eq!(caller.response().status, 101);
    assert_eq!(caller.read_exactly(2), b"hi");
    gateway.signal("TERM");
    assert_eq!(caller.read_to_end(), b"");
    gateway.wait_for_exit();
}
