//! Upstreams as they are: connections are used again, go stale, hang, break; servers come and go; nothing is sent twice.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::support::{Caller, Gateway, Origin, Play, Report, get, request, wait};

const OPEN: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
endpoints: [ { name: all, path: /, upstream: api, public: true } ]
"#;

#[test]
fn upstream_connections_are_used_again() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, OPEN);
    for round in 0..20 {
        let method = if round % 3 == 0 { "POST" } else { "GET" };
        assert_eq!(request(gateway.address(), method, "/", &[], b"").status, 200);
    }
    assert!(origin.connections() <= 2, "{} connections for 20 requests in a row", origin.connections());
}

#[test]
fn a_get_survives_a_connection_that_went_stale_and_a_post_is_never_sent_twice() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, OPEN);
    for round in 0..20 {
        assert_eq!(get(gateway.address(), "/warm", &[]).status, 200);
        origin.close_connections();
        assert_eq!(get(gateway.address(), "/stale", &[]).status, 200, "round {round}");
    }
    origin.take();
    // An origin that reads a request on a used connection and then drops it leaves in doubt what it did.
    let doubtful = Origin::directed(|request| if request.index == 0 { Play::Echo } else { Play::Close });
    let gateway = Gateway::before(&doubtful, OPEN);
    for (method, expected) in [("GET", 200), ("POST", 502), ("PATCH", 502)] {
        doubtful.take();
        assert_eq!(request(gateway.address(), "GET", "/warm", &[], b"").status, 200);
        let status = request(gateway.address(), method, "/doubt", &[], b"").status;
        let sent = doubtful.take().iter().filter(|seen| seen.target() == "/doubt").count();
        assert_eq!(status, expected, "{method}");
        assert_eq!(sent, if method == "GET" { 2 } else { 1 }, "{method} on the wire");
    }
}

#[test]
fn a_request_with_a_body_is_never_sent_twice() {
    let doubtful = Origin::directed(|request| if request.index == 0 { Play::Echo } else { Play::Close });
    let gateway = Gateway::before(&doubtful, OPEN);
    for method in ["POST", "PUT"] {
        doubtful.take();
        get(gateway.address(), "/warm", &[]);
        let response = request(gateway.address(), method, "/doubt", &[], b"body");
        let sent = doubtful.take().iter().filter(|seen| seen.target() == "/doubt").count();
        assert_eq!((response.status, sent), (502, 1), "{method}");
    }
}

#[test]
fn an_upstream_that_is_not_there_is_a_bad_gateway() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let gateway = Gateway::with(OPEN).named_origin("", &format!("http://127.0.0.1:{port}")).start();
    let response = get(gateway.address(), "/", &[]);
    assert_eq!(response.status, 502);
    assert!(response.code().starts_with("upstream_"), "{}", response.text());
    assert!(!response.text().contains(&port.to_string()), "an answer tells nothing of the inside: {}", response.text());
}

#[test]
fn an_upstream_that_hangs_up_or_resets_is_a_bad_gateway() {
    for play in [Play::Close, Play::Reset] {
        let origin = Origin::playing(play);
        let gateway = Gateway::before(&origin, OPEN);
        let response = request(gateway.address(), "POST", "/", &[], b"x");
        assert_eq!(response.status, 502, "{}", response.text());
    }
}

#[test]
fn an_upstream_that_does_not_answer_is_a_timeout_in_bounded_time() {
    let origin = Origin::directed(|request| if request.target() == "/hang" { Play::Hang } else { Play::Echo });
    let gateway = Gateway::before(
        &origin,
        r#"
upstreams: { api: { url: "{{origin}}", response_timeout: 300ms } }
endpoints:
  - { name: all, path: /, upstream: api, public: true }
  - { name: patient, path: /patient, upstream: api, public: true, response_timeout: 60s }
"#,
    );
    let began = Instant::now();
    let response = get(gateway.address(), "/hang", &[]);
    assert_eq!(response.status, 504);
    assert!(response.code().starts_with("upstream_"), "{}", response.text());
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(get(gateway.address(), "/fine", &[]).status, 200);
}

#[test]
fn a_body_that_stops_coming_is_cut_and_never_presented_as_complete() {
    let origin = Origin::playing(Play::talk(|talk| {
        talk.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        talk.read_to_end();
    }));
    let gateway = Gateway::before(
        &origin,
        r#"
upstreams: { api: { url: "{{origin}}", body_timeout: 300ms } }
endpoints: [ { name: all, path: /, upstream: api, public: true } ]
"#,
    );
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let response = caller.response();
    assert_eq!((response.text().as_str(), response.is_complete), ("abc", false));
    // The log says whose fault it was, and does not say that the caller left.
    let line = &gateway.wait_for_access_lines(1)[0];
    assert_eq!((&line["response.status"], &line["code"]), (&200.into(), &"upstream_body_timeout".into()), "{line}");
    gateway.wait_for_output("an upstream did not serve a request");
}

#[test]
fn one_slow_request_holds_up_no_other() {
    let released = Arc::new(AtomicBool::new(false));
    let slow = Play::slow_until(&released);
    let origin = Origin::directed(move |request| if request.target() == "/slow" { slow.clone() } else { Play::Echo });
    let gateway = Gateway::before(&origin, OPEN);
    let mut slow = Caller::connect(gateway.address());
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    for _ in 0..20 {
        assert_eq!(get(gateway.address(), "/fast", &[]).status, 200);
    }
    released.store(true, Ordering::SeqCst);
    assert_eq!(slow.response().text(), "slow");
}

#[test]
fn a_caller_that_leaves_ends_the_request_upstream_too() {
    let origin = Origin::directed(|request| if request.target() == "/hang" { Play::Hang } else { Play::Echo });
    let gateway = Gateway::before(&origin, OPEN);
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.wait_for(1);
    drop(caller);
    wait::until("the upstream connection to be closed", || (origin.open_connections() == 0).then_some(()));
}

#[test]
fn several_servers_take_turns_and_one_that_fails_is_left_alone() {
    let (one, two) = (Origin::start(), Origin::start());
    let yaml = r#"
upstreams:
  api: { servers: ["{{origin:one}}", "{{origin:two}}"], ejection: { failures: 2, duration: 60s, at_most: 60s } }
endpoints: [ { name: all, path: /, upstream: api, public: true } ]
"#;
    let gateway = Gateway::with(yaml).named_origin("one", &one.url()).named_origin("two", &two.url()).start();
    for _ in 0..20 {
        assert_eq!(get(gateway.address(), "/", &[]).status, 200);
    }
    let (first, second) = (one.take().len(), two.take().len());
    assert_eq!(first + second, 20);
    assert!(first >= 5 && second >= 5, "{first} and {second} of 20");

    drop(two);
    let statuses: Vec<u16> = (0..40).map(|_| get(gateway.address(), "/", &[]).status).collect();
    let failures = statuses.iter().filter(|status| **status != 200).count();
    assert!(failures <= 4, "{statuses:?}");
    assert!(statuses[20..].iter().all(|status| *status == 200), "{statuses:?}");
    // Each worker judges for itself.
    assert!(gateway.metric("keygate_upstream_ejected", &[("upstream", "api")]) >= 1.0);
}

#[test]
fn the_built_in_echo_answers_what_it_received() {
    let gateway = Gateway::with(
        r#"
upstreams: { api: { echo: true } }
clients: [ { id: shop, client_type: cms, keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" } ] } ]
endpoints: [ { name: all, path: /, upstream: api, api_key: required } ]
"#,
    )
    .start();
    let response = request(gateway.address(), "POST", "/x?y=1", &[("x-api-key", "shop-key")], b"hello");
    assert_eq!(response.status, 200);
    let text = response.json().to_string();
    for part in ["POST", "/x", "client-type", "cms", "shop"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(!text.contains("shop-key"), "{text}");
}

/// The file cannot tell: the port of the admin listener was chosen by the system, or another one is in force than the file
/// now says, or a name resolves to it later.
#[test]
fn the_admin_address_is_no_upstream_whatever_a_reload_says() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, OPEN);
    for host in ["127.0.0.1", "0.0.0.0", "localhost", "[::ffff:127.0.0.1]"] {
        let admin = format!("http://{host}:{}", gateway.admin().port());
        gateway.reload(&OPEN.replace("{{origin}}", &admin));
        let response = get(gateway.address(), "/metrics", &[]);
        assert_eq!(response.verdict(), "502 upstream_unreachable", "{host}: {}", response.text());
    }
}

#[test]
fn an_upstream_gets_no_more_requests_at_once_than_it_takes() {
    let released = Arc::new(AtomicBool::new(false));
    let slow = Play::slow_until(&released);
    let origin = Origin::directed(move |request| match request.target() {
        "/slow" => slow.clone(),
        "/stream" => Play::talk(|talk| {
            talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
            talk.read_to_end();
        }),
        "/socket" => Play::WebSocket,
        _ => Play::Echo,
    });
    let yaml = r#"
upstreams:
  api: { url: "{{origin}}", max_requests: 2, queue: 1, queue_timeout: 20s }
  hasty: { url: "{{origin}}", max_requests: 1, queue: 1, queue_timeout: 200ms }
  other: { url: "{{origin}}", max_requests: 1, queue: 0 }
endpoints:
  - { name: all, path: /, upstream: api, public: true }
  - { name: hasty, path: /hasty, upstream: hasty, rewrite: /, public: true }
  - { name: other, path: /other, upstream: other, rewrite: /, public: true }
"#;
    let gateway = Gateway::before(&origin, yaml);
    let mut report = Report::new();
    let ask = |target: &str| {
        let mut caller = Caller::connect(gateway.address());
        caller.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        caller
    };
    let (mut one, mut two) = (ask("/slow"), ask("/slow"));
    origin.wait_for(2);
    let mut queued = ask("/queued");
    let refused = wait::until("the queue to be full", || {
        let mut caller = ask("/beyond");
        let first = caller.read_some(Duration::from_millis(300));
        (!first.is_empty()).then(|| String::from_utf8_lossy(&first).into_owned())
    });
    report.holds("beyond the queue", "503", refused.starts_with("HTTP/1.1 503 "));
    report.holds("beyond the queue", "says what", refused.contains("\"upstream_unavailable\""));
    report.holds("beyond the queue", "says when to come back", refused.contains("\r\nretry-after: 1\r\n"));
    report.equal("another upstream", get(gateway.address(), "/other/x", &[]).status, 200);
    report.holds(
        "beyond",
        "nothing of it reached the upstream",
        origin.requests().iter().all(|seen| ["/slow", "/x"].contains(&seen.target())),
    );
    // A reload does not open the door a second time.
    gateway.reload(&yaml.replace("path: /hasty", "path: /quick"));
    report.equal("after a reload", get(gateway.address(), "/beyond", &[]).verdict(), "503 upstream_unavailable".into());
    released.store(true, Ordering::SeqCst);
    for (name, caller) in [("one", &mut one), ("two", &mut two), ("queued", &mut queued)] {
        report.equal(name, caller.response().status, 200);
    }
    report.holds(
        "metric",
        "counts",
        gateway.metric("keygate_limit_hits_total", &[("limit", "upstream_requests")]) >= 2.0,
    );
    report.holds("metric", "tells whose", {
        gateway.metric("keygate_upstream_failures_total", &[("upstream", "api"), ("kind", "busy")]) >= 2.0
    });

    // An answer that still streams counts; the wait in the queue ends in time; who leaves gives the place back.
    let stream = ask("/quick/stream");
    origin.wait_for(5);
    let began = Instant::now();
    report.equal("queued too long", get(gateway.address(), "/quick/x", &[]).status, 503);
    report.holds("queued too long", "and no longer", began.elapsed() >= Duration::from_millis(200));
    drop(stream);
    wait::until("the place", || (get(gateway.address(), "/quick/x", &[]).status == 200).then_some(()));

    // A tunnel is no request any more.
    let mut tunnel = Caller::connect(gateway.address());
    tunnel.send("GET /quick/socket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    report.equal("tunnel", tunnel.response().status, 101);
    report.equal("beside a tunnel", get(gateway.address(), "/quick/x", &[]).status, 200);
}

#[test]
fn a_server_that_fails_its_checks_is_left_alone_until_it_is_well() {
    let is_well = Arc::new(AtomicBool::new(true));
    let health = Arc::clone(&is_well);
    let sick = Origin::directed(move |request| match request.target() {
        "/healthz?deep=1" if health.load(Ordering::SeqCst) => Play::answer("204 No Content", &[], ""),
        "/healthz?deep=1" => Play::answer("503 Service Unavailable", &[], "no"),
        _ => Play::Echo,
    });
    let sound = Origin::start();
    let yaml = r#"
upstreams:
  api:
    servers: ["{{origin:sick}}", "{{origin:sound}}"]
    health_check: { path: "/healthz?deep=1", interval: 100ms, timeout: 1s, healthy: 2, unhealthy: 2 }
  alone: { url: "{{origin:sick}}", health_check: { path: "/healthz?deep=1", interval: 100ms } }
endpoints:
  - { name: all, path: /, upstream: api, public: true }
  - { name: alone, path: /alone, upstream: alone, public: true }
"#;
    let gateway = Gateway::with(yaml).named_origin("sick", &sick.url()).named_origin("sound", &sound.url()).start();
    let asked = |origin: &Origin| origin.take().iter().filter(|seen| seen.target() == "/asked").count();
    let ask_ten = || {
        let statuses: Vec<u16> = (0..10).map(|_| get(gateway.address(), "/asked", &[]).status).collect();
        assert_eq!(statuses, [200; 10]);
    };
    wait::until("a check", || sick.requests().iter().any(|seen| seen.target() == "/healthz?deep=1").then_some(()));
    let check = sick.requests().into_iter().find(|seen| seen.target() == "/healthz?deep=1").expect("seen");
    assert_eq!(check.method(), "GET");
    assert_eq!(check.header("host"), Some(sick.address().to_string().as_str()));
    let unhealthy = |upstream: &str| gateway.metric("keygate_upstream_unhealthy", &[("upstream", upstream)]);
    assert_eq!(unhealthy("api"), 0.0);
    ask_ten();
    assert!(asked(&sick) > 0 && asked(&sound) > 0);

    is_well.store(false, Ordering::SeqCst);
    wait::until("the sick one to be out", || (unhealthy("api") == 1.0).then_some(()));
    sick.take();
    ask_ten();
    assert_eq!((asked(&sick), asked(&sound)), (0, 10));
    wait::until("the lonely one to be out", || (unhealthy("alone") == 1.0).then_some(()));
    assert_eq!(get(gateway.address(), "/alone", &[]).status, 200, "the only one is asked all the same");
    gateway.wait_for_output("fails its checks");

    is_well.store(true, Ordering::SeqCst);
    wait::until("the sick one to be back", || (unhealthy("api") == 0.0).then_some(()));
    sick.take();
    ask_ten();
    assert!(asked(&sick) > 0);
}

#[test]
fn an_exchange_may_have_a_longest_time() {
    let origin = Origin::directed(|request| match request.target() {
        "/hang" => Play::Hang,
        "/trickle" => Play::talk(|talk| {
            talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while talk.send("5\r\nhello\r\n") {
                std::thread::sleep(Duration::from_millis(50));
            }
        }),
        "/socket" => Play::WebSocket,
        _ => Play::Echo,
    });
    let gateway = Gateway::before(&origin, &format!("timeouts: {{ exchange: 500ms }}\n{OPEN}"));
    let began = Instant::now();
    let answer = get(gateway.address(), "/hang", &[]);
    assert_eq!(answer.verdict(), "504 upstream_timeout");
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET /trickle HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = caller.response();
    assert_eq!((answer.status, answer.is_complete), (200, false));
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < Duration::from_secs(10));
    for line in gateway.wait_for_access_lines(2) {
        assert_eq!(line["code"], "upstream_exchange_timeout", "{line}");
    }
    assert_eq!(get(gateway.address(), "/", &[]).status, 200);
    let mut tunnel = Caller::connect(gateway.address());
    tunnel.send("GET /socket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(tunnel.response().status, 101);
    std::thread::sleep(Duration::from_millis(700));
    tunnel.send("ping");
    assert_eq!(tunnel.read_exactly(4), b"ping", "tunnels are not meant");
}
