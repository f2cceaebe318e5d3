//! Nobody takes more than is allowed: heads, targets, bodies, connections and time are bounded, and a slow or silent
//! caller is shown the door.

use std::time::{Duration, Instant};

use super::support::{Caller, Gateway, Origin, Play, Report, exchange, get, request, wait};

const CONFIG: &str = r#"
limits: { head: 4KiB, headers: 20, target: 1KiB, body: 10KiB }
timeouts: { head: 400ms, idle: 400ms, body: 400ms }
upstreams: { api: { url: "{{origin}}" } }
endpoints:
  - { name: all, path: /, upstream: api, public: true }
  - { name: small, path: /small, upstream: api, public: true, max_body: 1KiB }
  - { name: large, path: /large, upstream: api, public: true, max_body: 1MiB }
"#;

#[test]
fn heads_targets_and_counts_are_bounded() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(length - 1));
    let fields = |count: usize| {
        let lines: String = (1..count).map(|number| format!("x-{number}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n")
    };
    let large = |name: &str, size: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{name}: {}\r\n\r\n", "v".repeat(size));
    for (row, text, statuses) in [
        ("target at the limit", target(1024), &[200][..]),
        ("target above it", target(1025), &[414][..]),
        ("target far above it", target(100_000), &[414, 431][..]),
        ("query above it", format!("GET /?{} HTTP/1.1\r\nhost: a\r\n\r\n", "q".repeat(2000)), &[414][..]),
        ("as many fields as allowed", fields(20), &[200][..]),
        ("one field more", fields(21), &[431][..]),
        ("a thousand fields", fields(1000), &[431][..]),
        ("a field within the limit", large("x-a", 3500), &[200][..]),
        ("a field above the limit", large("x-a", 4100), &[431][..]),
        ("a cookie far above it", large("cookie", 300_000), &[431][..]),
        (
            "a method far above it",
            format!("{} / HTTP/1.1\r\nhost: a\r\n\r\n", "M".repeat(300_000)),
            &[400, 405, 431, 501][..],
        ),
        (
            "many small fields",
            (0..400).fold(String::from("GET / HTTP/1.1\r\nhost: a\r\n"), |text, _| text + "x: y\r\n") + "\r\n",
            &[431][..],
        ),
    ] {
        let mut caller = Caller::connect(gateway.address());
        caller.send(&text);
        match caller.try_response("GET") {
            Ok(response) => report.holds(row, response.status, statuses.contains(&response.status)),
            // Closed while the caller was still sending: the answer may be lost on the way, admitted it was not.
            Err(error) => report.holds(row, error, !statuses.contains(&200) && text.len() > 50_000),
        }
        report.equal(format!("{row}: requests upstream"), origin.take().len(), usize::from(statuses == [200]));
    }
}

#[test]
fn bodies_are_bounded_whether_they_say_their_length_or_not() {
    let origin = Origin::playing(Play::EchoBody);
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (path, size, status) in [
        ("/small", 1024, 200),
        ("/small", 1025, 413),
        ("/x", 10 * 1024, 200),
        ("/x", 10 * 1024 + 1, 413),
        ("/large", 1 << 20, 200),
        ("/large", (1 << 20) + 1, 413),
    ] {
        let body = vec![b'b'; size];
        report.equal(format!("{size} to {path}"), request(gateway.address(), "POST", path, &[], &body).status, status);
        let text = [format!("{size:x}\r\n").as_bytes(), &body[..], b"\r\n0\r\n\r\n"].concat();
        let chunked = request(gateway.address(), "POST", path, &[("transfer-encoding", "chunked")], &text);
        report.equal(format!("{size} in chunks to {path}"), chunked.status, status);
    }
    let huge = "POST /small HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n";
    report.equal(
        "a length that is only claimed",
        exchange(gateway.address(), huge).verdict(),
        "413 body_too_large".into(),
    );
    report.holds("no large body upstream", "", origin.requests().iter().all(|seen| seen.body.len() <= 1 << 20));
}

#[test]
fn a_silent_caller_and_a_slow_head_are_closed_in_time() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut report = Report::new();
    for (row, text) in [
        ("nothing at all", ""),
        ("half a line", "GET / HT"),
        ("a line and no field", "GET / HTTP/1.1\r\n"),
        ("half a head", "GET / HTTP/1.1\r\nhost: a\r\nx-a"),
    ] {
        let began = Instant::now();
        let mut caller = Caller::connect(gateway.address());
        caller.send(text);
        let answer = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
        report.holds(row, format!("closed after {:?}", began.elapsed()), began.elapsed() < Duration::from_secs(10));
        report.holds(row, &answer, answer.is_empty() || answer.starts_with("HTTP/1.1 408"));
    }
    let began = Instant::now();
    let mut dripping = Caller::connect(gateway.address());
    dripping.send("GET / HTTP/1.1\r\nhost: a\r\n");
    // A byte now and then does not buy more time.
    while dripping.send("x")
        && dripping.read_some(Duration::from_millis(50)).is_empty()
        && !dripping.is_closed_within(Duration::from_millis(1))
    {
        assert!(began.elapsed() < Duration::from_secs(10), "a dripping head is still served");
    }
    report.equal("requests upstream", origin.take().len(), 0);
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let mut caller = Caller::connect(gateway.address());
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(900) {
        assert_eq!(caller.call("GET", "/", &[], b"").status, 200, "after {:?}", began.elapsed());
    }
    assert!(caller.is_closed_within(wait::DEADLINE));
}

#[test]
fn a_body_that_stops_coming_is_not_waited_for() {
    let origin = Origin::playing(Play::EchoBody);
    let gateway = Gateway::before(&origin, CONFIG);
    let began = Instant::now();
    let mut caller = Caller::connect(gateway.address());
    caller.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf");
    let answer = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(origin.requests().iter().all(|seen| seen.body.is_empty()), "half a body became a request");
}

#[test]
fn connections_are_bounded_in_all_and_for_each_address() {
    let origin = Origin::directed(|request| if request.target() == "/hang" { Play::Hang } else { Play::Echo });
    for limit in ["connections: 5", "connections_per_address: 5"] {
        let yaml =
            CONFIG.replace("target: 1KiB", &format!("target: 1KiB, {limit}")).replace("idle: 400ms", "idle: 60s");
        let gateway = Gateway::before(&origin, &yaml);
        let mut callers: Vec<_> = (0..5).map(|_| Caller::connect(gateway.address())).collect();
        for caller in &mut callers {
            assert_eq!(caller.call("GET", "/", &[], b"").status, 200, "{limit}");
            // One that is silent would make room for another.
            caller.send("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n");
        }
        let mut one_more = Caller::connect(gateway.address());
        one_more.send("GET /one-more HTTP/1.1\r\nhost: a\r\n\r\n");
        let early = one_more.read_some(Duration::from_millis(500));
        assert!(!String::from_utf8_lossy(&early).contains(" 200 "), "{limit}: {}", String::from_utf8_lossy(&early));
        drop(one_more);
        drop(callers);
        wait::until("a place to be free", || {
            let mut caller = Caller::connect(gateway.address());
            caller.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            caller.try_response("GET").ok().filter(|response| response.status == 200)
        });
    }
}

#[test]
fn the_age_of_a_connection_is_bounded_without_losing_a_request() {
    let origin = Origin::start();
    let yaml = CONFIG.replace("idle: 400ms", "idle: 60s, age: 500ms");
    let gateway = Gateway::before(&origin, &yaml);
    let mut caller = Caller::connect(gateway.address());
    let began = Instant::now();
    let mut answered = 0;
    loop {
        caller.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        // It may close between two requests; what it has passed on it answers.
        let Ok(response) = caller.try_response("GET") else { break };
        assert_eq!(response.status, 200);
        answered += 1;
        if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            break;
        }
        assert!(began.elapsed() < wait::DEADLINE, "the connection is never closed");
    }
    assert_eq!(origin.requests().len(), answered);
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert!(caller.is_closed_within(wait::DEADLINE));
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat_however_long_a_body_is() {
    let origin = Origin::directed(|_| {
        Play::talk(|talk| {
            let length = 64 << 20;
            talk.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"));
            let piece = vec![b'm'; 1 << 20];
            for _ in 0..64 {
                if !talk.send(&piece) {
                    return;
                }
            }
        })
    });
    let gateway = Gateway::before(&origin, CONFIG);
    get(gateway.address(), "/warm", &[]);
    let before = gateway.most_memory();
    let response = get(gateway.address(), "/stream", &[]);
    assert_eq!((response.body.len(), response.is_complete), (64 << 20, true));
    // A caller that reads nothing holds its window and the socket's buffers, no more.
    let mut stuck = Caller::connect(gateway.address());
    stuck.send("GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n");
    get(gateway.address(), "/again", &[]);
    let grown = gateway.most_memory().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more after streams of 64 MiB");
}

/// A connection that asks nothing for half a second gives back its buffers. Nobody notices.
#[test]
fn a_connection_that_rests_is_served_as_before() {
    let origin = Origin::start();
    let gateway = Gateway::before(
        &origin,
        "upstreams: { api: { url: \"{{origin}}\" } }\nendpoints: [ { name: all, path: /, upstream: api, public: true } ]\n",
    );
    let rest = || std::thread::sleep(Duration::from_millis(900));
    let mut report = Report::new();
    let mut caller = Caller::connect(gateway.address());
    for round in 0..3 {
        report.equal(round, caller.call("GET", "/a", &[], b"").status, 200);
        rest();
        // The head comes in two pieces, the second after a while: a head under way is no rest.
        caller.send("POST /b HTTP/1.1\r\nhost: a\r\ncontent-le");
        rest();
        caller.send("ngth: 4\r\n\r\nbo");
        rest();
        caller.send("dy\r\n");
        report.equal(round, caller.response_to("POST").status, 200);
        // An empty line behind a body is none of the next request's business.
        rest();
    }
    caller.send("GET /c HTTP/1.1\r\nhost : a\r\n\r\n");
    report.equal("malformed after a rest", caller.response().status, 400);
    report.holds("malformed after a rest", "closed", caller.is_closed_within(wait::DEADLINE));
    report.equal("bodies", origin.take().iter().filter(|seen| seen.body == b"body").count(), 3);

    let mut leaving = Caller::connect(gateway.address());
    report.equal("leaving", leaving.call("GET", "/a", &[], b"").status, 200);
    rest();
    drop(leaving);
    wait::until("a caller that left while it rested to be noticed", || {
        (gateway.metric("keygate_connections", &[]) == 0.0).then_some(())
    });
}
