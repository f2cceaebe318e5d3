//! A whole gateway in this process, below an allocator that counts.
//!
//! Everything in the process is counted; the upstream and the callers allocate next to nothing once their connections are
//! open, so what is left is the gateway's.

#![allow(unsafe_code, reason = "an allocator cannot be written without it; this one passes on what it is asked for")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use keygate::app::{self, Before, First};
use keygate::config::{self, Source};
use tempfile::TempDir;

use super::rig::peers::Ports;
use super::rig::proxy::Identity;
use super::rig::{Kind, Load, Peer, Scenario, Site, Upstream};

/// Calls that asked for memory since the process began; growing in place is one, giving back is none.
static CALLS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

// SAFETY: each call goes to the system's allocator as it came, and its result comes back as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs until the process ends.
pub struct Gateway {
    ports: Ports,
    _upstream: Upstream,
    _folder: TempDir,
}

impl Gateway {
    /// The same configuration as that of the binary in the other measurements.
    pub fn start(site: Site) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let upstream = Upstream::start(None).expect("an upstream");
        let ports = Ports::free().expect("ports");
        Identity::new().and_then(|identity| identity.write(folder.path())).expect("a certificate");
        let peer =
            Peer { name: "keygate".into(), kind: Kind::Keygate, program: PathBuf::new(), version: String::new() };
        peer.configure(folder.path(), site, ports, upstream.address()).expect("a configuration");
        let source = Source::File(folder.path().join("gateway.yaml"));
        let loaded = config::load(&source, 1).unwrap_or_else(|problems| panic!("{problems:?}"));
        let (started, starts) = mpsc::channel();
        thread::spawn(move || {
            let ended =
                app::run(source, loaded, First::Nothing, Before::Nothing, |_| started.send(()).expect("awaited"));
            panic!("the gateway ended: {ended:?}");
        });
        starts.recv_timeout(Duration::from_secs(30)).expect("it starts");
        Self { ports, _upstream: upstream, _folder: folder }
    }

    /// Calls of the allocator for each of so many requests, once all connections have been used: the lowest of several
    /// counts, since what is done once a second is not done for a request.
    pub fn allocations_per_request(&self, scenario: Scenario, requests: u64) -> f64 {
        const COUNTS: u64 = 10;
        let mut load = Load::open(scenario, self.ports.clear(), None).expect("connections");
        load.run(requests).unwrap_or_else(|error| panic!("{error}"));
        let count = |_| {
            let before = CALLS.load(Ordering::Relaxed);
            load.run(requests / COUNTS).unwrap_or_else(|error| panic!("{error}"));
            CALLS.load(Ordering::Relaxed) - before
        };
        let lowest = (0..COUNTS).map(count).min().expect("there are counts");
        lowest as f64 / (requests / COUNTS) as f64
    }
}
