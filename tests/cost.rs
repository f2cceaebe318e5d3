//! What a request costs, in what is the same on every machine: instructions, system calls, allocations.
//!
//! ```sh
//! cargo test --release --test cost                    # compares with tests/cost/baseline.txt
//! KEYGATE_BLESS=1 cargo test --release --test cost    # records what is measured now
//! ```
//!
//! It is the release build that is measured, so a plain `cargo test` leaves this target alone and a build for development
//! fails it. Times are not measured here: `benches/side_by_side` does, and what it starts and asks with is used here too.
//!
//! Three kinds of request stand for the others: `a`, a GET that is passed on; `c`, one that is refused; `g`, a POST.
//!
//! Needs valgrind and strace. Without them it fails, and says what to install.

#[path = "cost/allocations.rs"]
mod allocations;
#[path = "cost/baseline.rs"]
mod baseline;
#[path = "../benches/side_by_side/rig/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the bench uses the rest")]
mod rig;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use baseline::{Baseline, Growth};
use rig::instructions::Counter;
use rig::proxy::{Identity, Start};
use rig::syscalls::{self, RECEIVING, SENDING, WAITING, sum};
use rig::{Load, Peer, Proxy, Scenario, Site, Upstream, scenario};

/// What stands for the others.
const SCENARIOS: [&str; 3] = ["a", "c", "g"];
const SITE: Site = Site { keys: 1_000, endpoints: 0 };

/// Measurements take turns: allocations are counted in this process, and there may be two cores.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    if cfg!(debug_assertions) {
        panic!("only the release build says anything: cargo test --release --test cost");
    }
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn scenarios() -> impl Iterator<Item = Scenario> {
    SCENARIOS.into_iter().map(|name| scenario::named(name).expect("it is one of the scenarios"))
}

fn keygate() -> Peer {
    Peer::keygate("keygate", Path::new(env!("CARGO_BIN_EXE_keygate"))).expect("the binary runs")
}

#[test]
fn instructions_for_each_request_do_not_grow() {
    let _turn = alone();
    let counter = Counter::start(&keygate(), SITE).unwrap_or_else(|error| panic!("{error}"));
    let mut baseline = Baseline::read();
    let tolerance = baseline.instructions_tolerance();
    for scenario in scenarios() {
        let counted = counter.per_request(scenario, 2_400).unwrap_or_else(|error| panic!("{error}"));
        baseline.compare("instructions", scenario.name, counted, Growth::Share(tolerance));
    }
    baseline.end();
}

#[test]
fn allocations_for_each_request_do_not_grow() {
    let _turn = alone();
    let gateway = allocations::Gateway::start(SITE);
    let mut baseline = Baseline::read();
    for scenario in scenarios() {
        let counted = gateway.allocations_per_request(scenario, 10_000);
        // What happens once a second falls on some run or other.
        baseline.compare("allocations", scenario.name, counted, Growth::By(0.1));
    }
    baseline.end();
}

/// Two times receiving and two times sending, once on each side, are what passing on takes; a refusal takes half of it. Beyond
/// them there is nothing but waiting, and at full load next to none of that: one call hears of many connections.
#[test]
fn a_request_takes_no_system_call_beyond_its_own() {
    const REQUESTS: u64 = 6_000;
    /// What happens once for a connection that was idle, divided among the requests.
    const NOW_AND_THEN: f64 = 0.02;
    /// What goes by the clock and not by requests: each 10 ms the allocator may give back pages that nobody uses (`madvise`).
    /// A machine that is busy takes longer for as many requests, and so sees more of it.
    const GIVING_BACK_EACH_SECOND: f64 = 150.0;
    /// Waiting for each request, at full load.
    const MOST_WAITING: f64 = 0.1;

    let _turn = alone();
    let upstream = Upstream::start(None).expect("an upstream");
    let identity = Identity::new().expect("a certificate");
    let proxy = Proxy::start(&Start {
        peer: &keygate(),
        site: SITE,
        identity: &identity,
        upstream: upstream.address(),
        core: None,
        below: &[],
    });
    let proxy = proxy.unwrap_or_else(|error| panic!("{error}"));
    let mut report = String::new();
    for scenario in scenarios() {
        let mut load = Load::open(scenario, proxy.address_for(&scenario), None).expect("connections");
        load.run(500).unwrap_or_else(|error| panic!("{error}"));
        let began = Instant::now();
        let calls = syscalls::per_request(&proxy, &mut load, REQUESTS).unwrap_or_else(|error| panic!("{error}"));
        let given_back = GIVING_BACK_EACH_SECOND * began.elapsed().as_secs_f64() / REQUESTS as f64;
        let sides = if scenario.is_unknown { 1.0 } else { 2.0 };
        let kinds =
            [("received", &RECEIVING[..], sides), ("sent", &SENDING, sides), ("waited", &WAITING, MOST_WAITING)];
        let mut other = calls.values().sum::<f64>() - sum(&calls, &["madvise"]).min(given_back);
        for (what, names, most) in kinds {
            let counted = sum(&calls, names);
            other -= counted;
            if counted > most + NOW_AND_THEN {
                report += &format!("{}: {what} {counted:.3} times a request, at most {most}\n", scenario.name);
            }
        }
        if other > NOW_AND_THEN {
            report += &format!("{}: {other:.3} other calls a request: {calls:?}\n", scenario.name);
        }
        println!("{}: {calls:.3?}", scenario.name);
    }
    assert!(report.is_empty(), "\n{report}");
}
