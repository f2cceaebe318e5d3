//! The long haul: mixed traffic, reloads, changes of keys and failing upstreams, and at the end the process is no larger
//! than it was; what many idle connections weigh.
//!
//! `KEYGATE_SOAK_SECONDS` says how long (default 90); half an hour before a release:
//! `KEYGATE_SOAK_SECONDS=1800 cargo test --release --test soak -- --nocapture`. Progress is told on stderr.
#![allow(missing_docs, reason = "a test")]

#[path = "integration/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it is made for the other tests")]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::caller::text_of;
use support::{Admin, Caller, Gateway, get, wait};

/// One at a time: each looks at a whole process, on a machine that should do nothing else.
static ALONE: Mutex<()> = Mutex::new(());

/// An upstream that remembers nothing. What it does stands in the path.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::Builder::new().stack_size(128 * 1024).spawn(move || serve(&stream)).expect("a thread");
        }
    });
    address
}

fn serve(mut stream: &TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut path, mut length, mut line) = (String::new(), 0, String::new());
        while reader.read_line(&mut line).ok()? > 2 {
            match line.split_once(": ") {
                None => path = line.split(' ').nth(1)?.to_owned(),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok()?
                }
                Some(_) => {}
            }
            line.clear();
        }
        if path.is_empty() {
            return None;
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).ok()?;
        match path.as_str() {
            "/flaky/close" => return None,
            "/flaky/garbage" => return stream.write_all(b"HTTP/9.9 what\r\n\r\n").ok(),
            "/flaky/cut" => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").ok(),
            "/flaky/hang" => return stream.read(&mut [0]).ok().map(|_| ()),
            "/large" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n").ok()?;
                stream.write_all(&vec![7; 1 << 20]).ok()?;
            }
            "/socket" => {
                let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                stream.write_all(head).ok()?;
                return std::io::copy(&mut reader, &mut stream).ok().map(|_| ());
            }
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").ok()?,
        }
    }
}

fn config(origin: SocketAddr, turn: usize) -> String {
    format!(
        r#"
workers: 2
access_log: {{ output: access.log }}
limits: {{ rejected_keys: none }}
upstreams:
  api: {{ url: "http://{origin}" }}
  flaky: {{ url: "http://{origin}", response_timeout: 300ms, max_requests: 8, queue_timeout: 200ms, health_check: {{ path: /, interval: 1s }} }}
keys: {{ store: keys.db }}
clients: [ {{ id: steady, client_type: cms, permissions: [turn.{turn}], keys: [ {{ id: key_1, name: k, digest: "{{{{digest:steady-key}}}}" }} ] }} ]
endpoints:
  - {{ name: all, path: /, upstream: api, api_key: required }}
  - {{ name: steady, path: /steady, upstream: api, permissions: [turn.{turn}] }}
  - {{ name: flaky, path: /flaky, upstream: flaky, api_key: required }}
"#
    )
}

/// What the process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn by(gateway: &Gateway) -> Self {
        let folder = format!("/proc/{}", gateway.process_id());
        let status = std::fs::read_to_string(format!("{folder}/status")).expect("it runs");
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says it");
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
        };
        Self {
            kib: field("VmRSS:"),
            threads: usize::try_from(field("Threads:")).expect("few"),
            descriptors: std::fs::read_dir(format!("{folder}/fd")).expect("it runs").count(),
        }
    }
}

/// What the callers saw that they should not have.
type Wrong = Arc<Mutex<Vec<String>>>;

struct Traffic {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    wrong: Wrong,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Traffic {
    fn new() -> Self {
        Self { is_over: Arc::default(), sent: Arc::default(), wrong: Wrong::default(), threads: Vec::new() }
    }

    /// Does the same again and again, with a breath in between.
    fn add(
        &mut self,
        name: &'static str,
        breath: Duration,
        mut act: impl FnMut() -> Result<(), String> + Send + 'static,
    ) {
        let (is_over, sent, wrong) = (Arc::clone(&self.is_over), Arc::clone(&self.sent), Arc::clone(&self.wrong));
        self.threads.push(thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                if let Err(what) = act() {
                    wrong.lock().expect("no panic holds it").push(format!("{name}: {what}"));
                }
                sent.fetch_add(1, Ordering::SeqCst);
                thread::sleep(breath);
            }
        }));
    }

    fn end(self) -> (usize, Vec<String>) {
        self.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("no panic");
        }
        (self.sent.load(Ordering::SeqCst), self.wrong.lock().expect("no panic holds it").clone())
    }
}

fn expect(verdict: &str, among: &[&str]) -> Result<(), String> {
    if among.contains(&verdict) { Ok(()) } else { Err(format!("{verdict} instead of {among:?}")) }
}

const KEY: (&str, &str) = ("x-api-key", "steady-key");

fn add_callers(traffic: &mut Traffic, address: SocketAddr) {
    let breath = Duration::from_millis(1);
    let mut kept = Caller::connect(address);
    traffic.add("kept connection", breath, move || {
        kept.send(text_of("GET", "/steady/x", &[KEY], b""));
        match kept.try_response("GET") {
            Ok(answer) => expect(&answer.verdict(), &["200"]),
            Err(error) => {
                kept = Caller::connect(address);
                Err(error.to_string())
            }
        }
    });
    traffic.add("new connection", breath, move || expect(&get(address, "/steady/y", &[KEY]).verdict(), &["200"]));
    let mut number = 0_u64;
    traffic.add("nobody's key", breath, move || {
        number += 1;
        let key = format!("nobody-{number}");
        expect(&get(address, "/steady/z", &[("x-api-key", &key)]).verdict(), &["401 credential_rejected"])
    });
    let body = vec![b'x'; 200_000];
    traffic.add("upload", Duration::from_millis(20), move || {
        expect(&support::request(address, "POST", "/upload", &[KEY], &body).verdict(), &["200"])
    });
    traffic.add("download", Duration::from_millis(20), move || {
        let answer = get(address, "/large", &[KEY]);
        if answer.body.len() == 1 << 20 { Ok(()) } else { Err(format!("{} bytes", answer.body.len())) }
    });
    traffic.add("leaving half way", Duration::from_millis(20), move || {
        let mut caller = Caller::connect(address);
        caller.send(text_of("GET", "/large", &[KEY], b""));
        let _ = caller.read_some(Duration::from_millis(5));
        Ok(())
    });
    traffic.add("WebSocket", Duration::from_millis(50), move || {
        let mut caller = Caller::connect(address);
        caller.send(format!(
            "GET /socket HTTP/1.1\r\nhost: a\r\n{}: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            KEY.0, KEY.1
        ));
        expect(&caller.response().status.to_string(), &["101"])?;
        caller.send("hello");
        if caller.read_exactly(5) == b"hello" { Ok(()) } else { Err("no echo".to_owned()) }
    });
    traffic.add("no HTTP", Duration::from_millis(20), move || {
        expect(&support::exchange(address, "GET / HTTP/1.1\r\nhost : a\r\n\r\n").status.to_string(), &["400"])
    });
    let faults = [
        ("/flaky/close", &["502 upstream_bad_response", "503 upstream_unavailable"]),
        ("/flaky/garbage", &["502 upstream_bad_response", "503 upstream_unavailable"]),
        ("/flaky/hang", &["504 upstream_timeout", "503 upstream_unavailable"]),
    ];
    for (path, among) in faults {
        traffic.add(path, Duration::from_millis(30), move || expect(&get(address, path, &[KEY]).verdict(), among));
    }
    traffic.add("/flaky/cut", Duration::from_millis(30), move || {
        let mut caller = Caller::connect(address);
        caller.send(text_of("GET", "/flaky/cut", &[KEY], b""));
        match caller.try_response("GET") {
            Ok(answer) if answer.status == 200 && answer.is_complete => Err("a cut answer looks whole".to_owned()),
            _ => Ok(()),
        }
    });
}

/// Makes a key, uses it, replaces its secret, revokes it: what it can do changes with each step.
fn add_keys(traffic: &mut Traffic, gateway: &Gateway) {
    let (admin, address) = (Admin::of(gateway), gateway.address());
    let mut number = 0;
    traffic.add("life of a key", Duration::from_millis(50), move || {
        number += 1;
        let verdict = |secret: &str| get(address, "/x", &[("x-api-key", secret)]).verdict();
        let (id, secret) = admin.key(&format!("key {number}"));
        expect(&verdict(&secret), &["200"])?;
        let rotated = admin.post(&format!("/v1/keys/{id}/rotate"), &serde_json::json!({}));
        let next = rotated["secret"].as_str().ok_or("no secret")?.to_owned();
        expect(&verdict(&next), &["200"])?;
        admin.revoke(&id);
        expect(&verdict(&next), &["401 credential_rejected"])
    });
}

fn median(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

#[test]
fn mixed_traffic_leaves_nothing_behind() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seconds = std::env::var("KEYGATE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(90_u64);
    let origin = origin();
    let gateway = Gateway::with(&config(origin, 0)).start();
    let idle = || {
        wait::until("everything to come to rest", || {
            (gateway.metric("keygate_connections", &[("listener", "public")]) == 0.0).then_some(())
        });
        // Connections to upstreams rest for four seconds and are swept every five.
        thread::sleep(Duration::from_secs(11));
        Held::by(&gateway)
    };
    let at_rest = idle();
    let mut traffic = Traffic::new();
    add_callers(&mut traffic, gateway.address());
    add_keys(&mut traffic, &gateway);
    let began = Instant::now();
    let mut samples: Vec<Held> = Vec::new();
    let mut turn = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        thread::sleep(Duration::from_secs(1));
        turn += 1;
        gateway.reload(&config(origin, turn));
        let held = Held::by(&gateway);
        samples.push(held);
        if turn % 10 == 0 {
            let sent = traffic.sent.load(Ordering::SeqCst);
            eprintln!("{:>5} s of {seconds}: {sent} requests, {turn} reloads, {held:?}", began.elapsed().as_secs());
        }
    }
    let (sent, wrong) = traffic.end();
    let after = idle();
    let kib = |part: &[Held]| median(part.iter().map(|held| held.kib).collect());
    let quarter = samples.len() / 4;
    let (early, late) = (kib(&samples[quarter..2 * quarter]), kib(&samples[3 * quarter..]));
    eprintln!("{sent} requests, {turn} reloads; KiB early {early}, late {late}; at rest {at_rest:?}, after {after:?}");

    let mut kinds = BTreeMap::<&str, usize>::new();
    wrong.iter().for_each(|what| *kinds.entry(what).or_default() += 1);
    assert!(wrong.is_empty(), "{} of {sent} were wrong: {kinds:?}", wrong.len());
    assert!(sent > usize::try_from(seconds).expect("not long") * 100, "{sent} requests are no load");
    assert_eq!(after.threads, at_rest.threads, "threads");
    // Four readers of the store are kept, with two or three descriptors each; each second would leak more.
    assert!(after.descriptors <= at_rest.descriptors + 12, "descriptors: {at_rest:?}, then {after:?}");
    assert!(late <= early + early / 10 + 4096, "memory grew from {early} to {late} KiB");
    assert_eq!(gateway.metric("keygate_panics_total", &[]), 0.0);
    assert_eq!(gateway.metric("keygate_tunnels", &[]), 0.0);
}

#[test]
fn an_idle_connection_weighs_little() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let weigh = |what: &str, count: usize, open: &dyn Fn(SocketAddr) -> Caller| {
        let gateway = Gateway::with(&format!("timeouts: {{ idle: 10m }}\n{}", config(origin(), 0))).start();
        let open = || open(gateway.address());
        // What the first ones need is needed once.
        let warm: Vec<Caller> = (0..200).map(|_| open()).collect();
        let before = Held::by(&gateway);
        let held: Vec<Caller> = (0..count).map(|_| open()).collect();
        let after = Held::by(&gateway);
        let each = after.kib.saturating_sub(before.kib) as f64 / held.len() as f64;
        eprintln!("{what}: {each:.1} KiB each, of {count} ({} KiB before, {} after)", before.kib, after.kib);
        drop((warm, held));
        each
    };
    let limit = descriptors();
    let idle = weigh("idle connection", 5000.min(limit / 2), &|address| {
        let mut caller = Caller::connect(address);
        assert_eq!(caller.call("GET", "/x", &[KEY], b"").status, 200);
        caller
    });
    let tunnel = weigh("WebSocket", 1000.min(limit / 4), &|address| {
        let mut caller = Caller::connect(address);
        caller.send(format!(
            "GET /socket HTTP/1.1\r\nhost: a\r\n{}: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            KEY.0, KEY.1
        ));
        assert_eq!(caller.response().status, 101);
        caller
    });
    // Unoptimised futures are larger.
    let (most_idle, most_tunnel) = if cfg!(debug_assertions) { (24.0, 64.0) } else { (12.0, 32.0) };
    assert!(idle <= most_idle, "{idle} KiB for an idle connection");
    assert!(tunnel <= most_tunnel, "{tunnel} KiB for a WebSocket");
}

/// How many descriptors this process may have; as many as it is allowed to ask for.
fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}
