//! More than there is room for: no descriptors left, callers that take up places and ask nothing, callers that read
//! nothing. Those who came before and those who come after are served.

use std::time::{Duration, Instant};

use super::support::certificates::{Certificate, client_config};
use super::support::http2::H2;
use super::support::{Caller, Gateway, Origin, Play, Report, get, wait};

const CONFIG: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
endpoints: [ { name: all, path: /, upstream: api, public: true } ]
"#;

/// How much of a second the process computes while nobody asks it anything, in hundredths.
fn computed_in_a_second(gateway: &Gateway) -> u64 {
    let before = gateway.computed();
    std::thread::sleep(Duration::from_secs(1));
    gateway.computed() - before
}

fn status(caller: &mut Caller, target: &str) -> Result<u16, String> {
    caller.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
    caller.try_response("GET").map(|response| response.status).map_err(|error| error.to_string())
}

/// Somebody who comes, asks and goes, until one of them is served.
fn somebody_is_served(gateway: &Gateway) -> Duration {
    let began = Instant::now();
    wait::until("a new caller to be served", || {
        let mut caller = Caller::try_connect(gateway.address()).ok()?;
        status(&mut caller, "/new").ok().filter(|status| *status == 200)
    });
    began.elapsed()
}

#[test]
fn a_crowd_beyond_the_descriptors_keeps_nobody_out() {
    let origin = Origin::start();
    for descriptors in [48, 64, 128] {
        let gateway = Gateway::with(CONFIG).origin(&origin).descriptors(descriptors).start();
        let mut report = Report::new();
        let row = |what: &str| format!("{what}, {descriptors} descriptors");
        let mut before: Vec<_> = (0..3).map(|_| Caller::connect(gateway.address())).collect();
        for caller in &mut before {
            report.equal(row("before"), status(caller, "/before"), Ok(200));
        }
        let crowd: Vec<_> = (0..400).filter_map(|_| Caller::try_connect(gateway.address()).ok()).collect();
        report.equal(row("the crowd"), crowd.len(), 400);
        for round in 0..20 {
            for caller in &mut before {
                report.equal(row("while the crowd is there"), status(caller, &format!("/within/{round}")), Ok(200));
            }
        }
        report.equal(row("the admin listener"), gateway.admin_get("/livez").status, 200);
        let computed = computed_in_a_second(&gateway);
        report.holds(row("computed"), format!("{computed} hundredths of a second"), computed < 30);
        // Those of the crowd who have been silent for a second make room.
        let took = somebody_is_served(&gateway);
        report.holds(row("somebody new"), format!("{took:?}"), took < Duration::from_secs(5));
        let hits = gateway.metric("keygate_limit_hits_total", &[("limit", "descriptors")]);
        report.holds(row("counted"), format!("{hits}"), hits > 0.5);
        drop(crowd);
        let took = somebody_is_served(&gateway);
        report.holds(row("after the crowd"), format!("{took:?}"), took < Duration::from_secs(5));
        let lines = gateway.stderr().lines().filter(|line| line.contains("WARN")).count();
        report.holds(row("the log"), gateway.stderr(), lines < 10);
    }
}

#[test]
fn without_a_descriptor_left_nothing_spins_and_service_comes_back() {
    let origin = Origin::playing(Play::Hang);
    let gateway = Gateway::with(CONFIG).origin(&origin).descriptors(64).start();
    let mut report = Report::new();
    // Every request takes one descriptor more, for the upstream: what is kept back is used up by them.
    let mut crowd = Vec::new();
    for number in 0..100 {
        let Ok(mut caller) = Caller::try_connect(gateway.address()) else { continue };
        caller.send(format!("GET /hang/{number} HTTP/1.1\r\nhost: a\r\n\r\n"));
        crowd.push(caller);
    }
    let computed = computed_in_a_second(&gateway);
    report.holds("computed", format!("{computed} hundredths of a second"), computed < 30);
    let answers: Vec<String> = crowd
        .iter_mut()
        .map(|caller| String::from_utf8_lossy(&caller.read_some(Duration::from_millis(20))).into_owned())
        .filter(|answer| !answer.is_empty())
        .collect();
    for answer in &answers {
        let is_honest = ["HTTP/1.1 502", "HTTP/1.1 503"].iter().any(|status| answer.starts_with(status));
        report.holds("an answer without an upstream", answer, is_honest);
    }
    drop(crowd);
    wait::until("the admin listener", || {
        Caller::try_connect(gateway.admin())
            .ok()
            .map(|_| gateway.admin_get("/livez"))
            .filter(|answer| answer.status == 200)
    });
    let began = Instant::now();
    wait::until("requests to pass again", || {
        let seen = origin.requests().len();
        let mut caller = Caller::try_connect(gateway.address()).ok()?;
        caller.send("GET /after HTTP/1.1\r\nhost: a\r\n\r\n");
        wait::within(Duration::from_millis(200), || (origin.requests().len() > seen).then_some(()))
    });
    report.holds("after", format!("{:?}", began.elapsed()), began.elapsed() < Duration::from_secs(5));
}

#[test]
fn who_asks_is_served_although_the_places_are_taken_by_those_who_do_not() {
    let origin = Origin::directed(|request| if request.target() == "/hang" { Play::Hang } else { Play::Echo });
    for protocol in ["http1", "h2c"] {
        let listen = format!("listen: [ {{ address: 127.0.0.1:0, protocol: {protocol} }} ]\n");
        let gateway = Gateway::before(&origin, &format!("limits: {{ connections: 20 }}\n{listen}{CONFIG}"));
        let mut report = Report::new();
        let mut busy: Vec<_> = (0..5).map(|_| Caller::connect(gateway.address())).collect();
        for caller in &mut busy {
            caller.send("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n");
        }
        let mut idle: Vec<_> = (0..5).map(|_| Caller::connect(gateway.address())).collect();
        for caller in &mut idle {
            report.equal(protocol, status(caller, "/idle"), Ok(200));
        }
        let mut silent: Vec<_> = (0..10).map(|_| Caller::connect(gateway.address())).collect();
        for (number, caller) in silent.iter_mut().enumerate() {
            caller.send(["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: a\r\nx-a"][number % 4]);
        }
        for number in 0..15 {
            let took = somebody_is_served(&gateway);
            report.holds(format!("{protocol}: number {number}"), format!("{took:?}"), took < Duration::from_secs(5));
        }
        for caller in &mut busy {
            let is_open = caller.read_some(Duration::from_millis(10)).is_empty()
                && !caller.is_closed_within(Duration::from_millis(10));
            report.holds(protocol, "one that waits for its answer was ended", is_open);
        }
        let hits = gateway.metric("keygate_limit_hits_total", &[("limit", "connections")]);
        report.holds(protocol, format!("{hits} hits"), hits > 0.5);
    }
}

#[test]
fn callers_that_read_nothing_are_ended_and_hold_little() {
    let length = 8 << 20;
    let origin = Origin::directed(move |request| match request.target() {
        "/long" => Play::answer("200 OK", &[], &"l".repeat(length)),
        _ => Play::Echo,
    });
    let gateway = Gateway::before(&origin, &format!("timeouts: {{ write: 1s }}\n{CONFIG}"));
    let mut report = Report::new();
    report.equal("a caller that reads", get(gateway.address(), "/long", &[]).body.len(), length);
    let before = gateway.most_memory();
    let mut deaf: Vec<_> = (0..50).map(|_| Caller::connect(gateway.address())).collect();
    for caller in &mut deaf {
        caller.send("GET /long HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    let began = Instant::now();
    report.equal("another, meanwhile", get(gateway.address(), "/x", &[]).status, 200);
    report.holds("another, meanwhile", format!("{:?}", began.elapsed()), began.elapsed() < Duration::from_secs(3));
    wait::until("all of them to be ended", || (gateway.metric("keygate_connections", &[]) < 0.5).then_some(()));
    wait::until("their upstream connections to end", || (origin.open_connections() < 5).then_some(()));
    let hits = gateway.metric("keygate_limit_hits_total", &[("limit", "write_time")]);
    report.holds("counted", format!("{hits}"), (hits - 50.0).abs() < 0.5);
    let grown = gateway.most_memory().saturating_sub(before);
    report.holds("memory", format!("{grown} KiB more"), grown < 24 * 1024);
}

#[test]
fn half_a_handshake_is_ended_in_time_and_holds_nobody_up() {
    let origin = Origin::start();
    let certificate = Certificate::of(&["one.test"]);
    let tls = "listen: [ { address: 127.0.0.1:0, tls: { certificates: [ { certificate: one.pem, key: one.key } ] } } ]";
    let gateway = Gateway::with(&format!("timeouts: {{ tls_handshake: 500ms, head: 1s }}\n{tls}\n{CONFIG}"))
        .origin(&origin)
        .file("one.pem", &certificate.certificate)
        .file("one.key", &certificate.key)
        .start();
    let mut report = Report::new();
    // The beginning of a record of 512 bytes that holds the beginning of a ClientHello.
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let rows: [(&str, &[u8]); 4] = [
        ("nothing", b""),
        ("one byte", &hello[..1]),
        ("half a hello", &hello),
        ("no TLS", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ];
    let began = Instant::now();
    let mut waiting: Vec<_> = rows
        .iter()
        .flat_map(|row| std::iter::repeat_n(row, 20))
        .map(|(row, bytes)| {
            let mut caller = Caller::connect(gateway.address());
            caller.send(bytes);
            (row, caller)
        })
        .collect();
    let h2 = H2::connect_tls(gateway.address(), "one.test", &client_config(&[&certificate], &["h2"]));
    report.equal("another, meanwhile", h2.get("https://one.test/x", &[]).status, 200);
    for (row, caller) in &mut waiting {
        let text = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
        report.holds(row, &text, !text.contains("HTTP/1.1 200"));
    }
    report.holds("all", format!("{:?}", began.elapsed()), began.elapsed() < Duration::from_secs(10));
    let hits = gateway.metric("keygate_limit_hits_total", &[("limit", "tls_handshake_time")]);
    report.holds("counted", format!("{hits}"), hits > 59.5);
    report.equal("requests upstream", origin.requests().len(), 1);
}

#[test]
fn a_body_that_drips_is_ended_and_holds_nobody_up() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &format!("timeouts: {{ body: 500ms }}\n{CONFIG}"));
    let mut report = Report::new();
    let began = Instant::now();
    let mut dripping: Vec<_> = (0..20).map(|_| Caller::connect(gateway.address())).collect();
    for caller in &mut dripping {
        caller.send("POST /drip HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n");
    }
    let mut served = 0;
    while !dripping.is_empty() && began.elapsed() < wait::DEADLINE {
        // A byte now and then: always in time for the next piece, never fast enough for a body.
        dripping.retain_mut(|caller| {
            caller.send("x")
                && caller.read_some(Duration::from_millis(5)).is_empty()
                && !caller.is_closed_within(Duration::from_millis(1))
        });
        report.equal("another, meanwhile", get(gateway.address(), "/x", &[]).status, 200);
        served += 1;
    }
    report.equal("bodies that still drip", dripping.len(), 0);
    report.holds("others", format!("{served} were served"), served > 5);
    let drips = origin.requests().iter().filter(|seen| seen.target() == "/drip").count();
    report.equal("half bodies that became requests", drips, 0);
}
