//! Stopping loses nothing: what is in flight is finished, what is refused is refused at the door, and the exit code is 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::support::{Caller, Gateway, Origin, Play, get, wait};

const OPEN: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
endpoints: [ { name: all, path: /, upstream: api, public: true } ]
"#;

/// An origin whose `/slow` answers only once it is released.
fn gated() -> (Origin, Arc<AtomicBool>) {
    let released = Arc::new(AtomicBool::new(false));
    let slow = Play::slow_until(&released);
    let origin = Origin::directed(move |request| if request.target() == "/slow" { slow.clone() } else { Play::Echo });
    (origin, released)
}

#[test]
fn an_idle_gateway_stops_at_once_and_exits_0() {
    for signal in ["TERM", "INT"] {
        let origin = Origin::start();
        let mut gateway = Gateway::before(&origin, OPEN);
        let mut idle = Caller::connect(gateway.address());
        assert_eq!(idle.call("GET", "/", &[], b"").status, 200);
        gateway.signal(signal);
        assert_eq!(gateway.wait_for_exit().code(), Some(0), "after {signal}: {}", gateway.stderr());
        assert!(idle.is_closed_within(wait::DEADLINE));
    }
}

#[test]
fn a_request_in_flight_is_finished_before_the_end() {
    let (origin, released) = gated();
    let mut gateway = Gateway::before(&origin, OPEN);
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.wait_for(1);
    gateway.signal("TERM");
    wait::until("readiness to say that it drains", || {
        let text =
            Caller::connect(gateway.admin()).call("GET", "/readyz", &[("host", &gateway.admin().to_string())], b"");
        (text.status == 503).then_some(())
    });
    released.store(true, Ordering::SeqCst);
    let response = caller.response();
    assert_eq!((response.status, response.text().as_str()), (200, "slow"));
    assert_eq!(gateway.wait_for_exit().code(), Some(0), "{}", gateway.stderr());
}

#[test]
fn no_request_is_lost_under_load() {
    let origin = Origin::start();
    let mut gateway = Gateway::before(&origin, OPEN);
    let address = gateway.address();
    let answered = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let answered = Arc::clone(&answered);
            thread::spawn(move || {
                // Asks until the gateway says that it closes the connection, and may not be cut before.
                let mut caller = Caller::connect(address);
                loop {
                    if !caller.send("GET /load HTTP/1.1\r\nhost: a\r\n\r\n") {
                        // It closed an idle connection before this request was on its way.
                        return None;
                    }
                    match caller.try_response("GET") {
                        Ok(response) if response.status == 200 && response.is_complete => {
                            answered.fetch_add(1, Ordering::SeqCst);
                            if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                                return None;
                            }
                        }
                        Ok(response) => return Some(format!("{} {}", response.status, response.is_complete)),
                        // Closed between two requests: this one reached nobody, as the count at the end proves.
                        Err(_) => return None,
                    }
                }
            })
        })
        .collect();
    wait::until("load", || (answered.load(Ordering::SeqCst) > 200).then_some(()));
    gateway.signal("TERM");
    let cut: Vec<String> = threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect();
    assert_eq!(gateway.wait_for_exit().code(), Some(0), "{}", gateway.stderr());
    assert_eq!(cut, Vec::<String>::new(), "of {} requests", answered.load(Ordering::SeqCst));
    assert_eq!(origin.requests().len(), answered.load(Ordering::SeqCst), "each was asked for once");
}

#[test]
fn what_does_not_end_is_cut_after_the_grace_period() {
    let origin = Origin::playing(Play::Hang);
    let mut gateway = Gateway::before(&origin, &format!("timeouts: {{ drain: 300ms }}\n{OPEN}"));
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.wait_for(1);
    gateway.signal("TERM");
    gateway.wait_for_exit();
    assert!(caller.try_response("GET").map_or(true, |response| response.status >= 500));
}

#[test]
fn a_second_signal_stops_now() {
    let origin = Origin::playing(Play::Hang);
    let mut gateway = Gateway::before(&origin, &format!("timeouts: {{ drain: 10m }}\n{OPEN}"));
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.wait_for(1);
    gateway.signal("TERM");
    wait::until("the drain to begin", || (get_readiness(&gateway) == 503).then_some(()));
    gateway.signal("TERM");
    gateway.wait_for_exit();
}

fn get_readiness(gateway: &Gateway) -> u16 {
    get(gateway.admin(), "/readyz", &[("host", &gateway.admin().to_string())]).status
}

#[test]
fn after_the_drain_has_begun_no_new_connection_is_served() {
    let (origin, released) = gated();
    let mut gateway = Gateway::before(&origin, OPEN);
    let mut caller = Caller::connect(gateway.address());
    caller.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.wait_for(1);
    gateway.signal("TERM");
    wait::until("the door to close", || std::net::TcpStream::connect(gateway.address()).is_err().then_some(()));
    released.store(true, Ordering::SeqCst);
    assert_eq!(caller.response().text(), "slow");
    assert_eq!(gateway.wait_for_exit().code(), Some(0));
}
