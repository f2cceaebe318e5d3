//! HTTP/2 used as a weapon: frames by the thousand, streams opened to be given up, blocks that grow when they are read.
//!
//! For each attack: the process lives, holds no more memory than before, answers others meanwhile, ends the attacker or
//! keeps it within bounds, and the upstream sees no more than it may. Beside them stands the honest client that looks
//! most like the attacker, and is served.

use std::time::{Duration, Instant};

use super::support::http2::{ByHand, H2, Received, block_of, frame, greeting, number};
use super::support::{Caller, Gateway, Origin, Play, Report, get, wait};

const CONFIG: &str = r#"
listen: [ { address: 127.0.0.1:0, protocol: h2c } ]
timeouts: { head: 2s, write: 1s }
upstreams: { api: { url: "{{origin}}" } }
clients: [ { id: shop, client_type: cms, keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" } ] } ]
endpoints:
  - { name: closed, path: /closed, upstream: api, api_key: required }
  - { name: open, path: /open, upstream: api, public: true }
"#;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a flood may make the process hold, in KiB: a debug build's own ups and downs are most of it.
const MEMORY: u64 = 24 * 1024;

fn fields(method: &'static str, path: &'static str) -> [(&'static str, &'static str); 4] {
    [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.test")]
}

fn request(stream: u32, flags: u8, path: &'static str) -> Vec<u8> {
    frame(
        HEADERS,
        flags | END_HEADERS,
        stream,
        &block_of(&fields(if flags & END_STREAM == 0 { "POST" } else { "GET" }, path)),
    )
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn odd(number: u32) -> u32 {
    2 * number + 1
}

/// An origin that leaves requests below `/open/hang` without an answer and sends 4 MiB for those below `/open/large`.
fn origin() -> Origin {
    Origin::directed(|request| match request.target() {
        target if target.starts_with("/open/hang") => Play::Hang,
        target if target.starts_with("/open/large") => Play::answer("200 OK", &[], &"l".repeat(4 << 20)),
        _ => Play::Echo,
    })
}

/// One gateway, and someone honest who must go on being served.
struct Scene {
    origin: Origin,
    gateway: Gateway,
    bystander: Caller,
    memory: u64,
    report: Report,
}

impl Scene {
    fn new() -> Self {
        let origin = origin();
        let gateway = Gateway::before(&origin, CONFIG);
        let bystander = Caller::connect(gateway.address());
        // What the first requests need is no growth.
        H2::connect(gateway.address()).get("http://a.test/open/warm", &[]);
        get(gateway.address(), "/open/large", &[]);
        origin.take();
        let memory = gateway.most_memory();
        Self { origin, gateway, bystander, memory, report: Report::new() }
    }

    fn bystander_is_served(&mut self, row: &str) {
        let began = Instant::now();
        if !self.bystander.send("GET /open/bystander HTTP/1.1\r\nhost: a\r\n\r\n")
            || self.bystander.try_response("GET").is_err()
        {
            self.report.holds(row, "the bystander lost its connection", false);
            self.bystander = Caller::connect(self.gateway.address());
        }
        let took = began.elapsed();
        self.report.holds(row, format!("the bystander waited {took:?}"), took < Duration::from_secs(3));
    }

    /// Sends `frames` until the gateway ends the connection or there are no more; gives what came back, and whether it
    /// was the gateway that ended it.
    fn flood(&mut self, row: &str, reads: bool, frames: impl IntoIterator<Item = Vec<u8>>) -> (bool, Vec<Received>) {
        let address = self.gateway.address();
        let mut attacker = if reads { ByHand::connect(address) } else { ByHand::connect_deaf(address) };
        attacker.send(greeting());
        let mut packet = Vec::new();
        let mut is_taken = true;
        for frame in frames {
            packet.extend(frame);
            if packet.len() > 32 * 1024 {
                is_taken = attacker.send(&packet);
                packet.clear();
                if !is_taken {
                    break;
                }
            }
        }
        if is_taken {
            attacker.send(&packet);
        }
        self.bystander_is_served(row);
        let is_ended = attacker.is_ended_within(wait::DEADLINE);
        (is_ended, attacker.end())
    }

    /// A flood that must end the attacker's connection, with at most so many requests upstream.
    fn must_end(&mut self, row: &str, reads: bool, most_upstream: usize, frames: impl IntoIterator<Item = Vec<u8>>) {
        let (is_ended, _) = self.flood(row, reads, frames);
        self.report.holds(row, "the connection was not ended", is_ended);
        self.settle(row, most_upstream);
    }

    fn settle(&mut self, row: &str, most_upstream: usize) {
        self.bystander_is_served(row);
        let seen = self.origin.take();
        let seen: Vec<&str> =
            seen.iter().map(|seen| seen.target()).filter(|target| *target != "/open/bystander").collect();
        self.report.holds(row, format!("the upstream saw {} requests", seen.len()), seen.len() <= most_upstream);
        let grown = self.gateway.most_memory().saturating_sub(self.memory);
        self.report.holds(row, format!("{grown} KiB more"), grown < MEMORY);
    }

    fn limit_hits(&self, limit: &str) -> f64 {
        self.gateway.metric("keygate_limit_hits_total", &[("limit", limit)])
    }
}

/// Enough for any bound to be reached, few enough for a test.
const MANY: usize = 200_000;

#[test]
fn frames_that_bring_nothing_forward_are_bounded() {
    let mut scene = Scene::new();
    let again = |frame: Vec<u8>| std::iter::repeat_n(frame, MANY);
    let mut ended = 0.0;
    for (row, first, frame) in [
        ("settings", vec![], setting(3, 100)),
        ("settings that say nothing", vec![], frame(SETTINGS, 0, 0, &[])),
        ("windows of streams, up and down", vec![], [setting(4, 0), setting(4, 1 << 20)].concat()),
        ("pings", vec![], frame(PING, 0, 0, b"12345678")),
        ("answers to no ping", vec![], frame(PING, 1, 0, b"12345678")),
        ("window updates of the connection", vec![], frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        (
            "window updates of a stream",
            request(1, END_STREAM, "/open/hang"),
            frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()),
        ),
        ("priorities", vec![], frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("unknown frames", vec![], frame(0xbe, 0, 0, b"what")),
        ("priorities of the new kind", vec![], frame(0x10, 0, 0, &[0, 0, 0, 1, b'u'])),
    ] {
        for reads in [true, false] {
            let row = format!("{row}{}", if reads { "" } else { ", nothing read" });
            scene.must_end(&row, reads, 1, std::iter::once(first.clone()).chain(again(frame.clone())));
            let so_far = scene.limit_hits("http2_frames") + scene.limit_hits("write_time");
            scene.report.holds(&row, format!("{so_far} ends counted"), so_far > ended);
            ended = so_far;
        }
    }
    let lines = scene.gateway.stderr().lines().count();
    scene.report.holds("the log", format!("{lines} lines"), lines < 100);
}

#[test]
fn empty_data_is_bounded() {
    let mut scene = Scene::new();
    for (row, data) in [
        ("empty", frame(DATA, 0, 1, &[])),
        ("nothing but padding", frame(DATA, 8, 1, &[4, 0, 0, 0, 0])),
        ("padding of no length", frame(DATA, 8, 1, &[0])),
    ] {
        let frames = std::iter::once(request(1, 0, "/open/hang")).chain(std::iter::repeat_n(data, MANY));
        scene.must_end(row, true, 1, frames);
    }
}

#[test]
fn data_in_tiny_pieces_that_nobody_takes_is_held_within_bounds() {
    let mut scene = Scene::new();
    let frames = std::iter::once(request(1, 0, "/open/hang")).chain(std::iter::repeat_n(frame(DATA, 0, 1, b"x"), MANY));
    // Whether the connection ends or only stops to be read is all the same: others are served, and nothing is piled up.
    scene.flood("tiny data", true, frames);
    scene.settle("tiny data", 1);
}

#[test]
fn a_header_block_without_end_is_refused() {
    let mut scene = Scene::new();
    let opening = || std::iter::once(frame(HEADERS, END_STREAM, 1, &block_of(&fields("GET", "/open/block"))));
    let continuation = |payload: &[u8]| frame(CONTINUATION, 0, 1, payload);
    let large = block_of(&[("x-large", &"v".repeat(16_000))]);
    // A literal that says it has two megabytes, and goes on and on.
    let mut endless = vec![0, 1, b'x'];
    number(&mut endless, 2 << 20, 7);
    for (row, first, then) in [
        ("empty", vec![], continuation(&[])),
        ("a byte each", endless.clone(), continuation(b"v")),
        ("small fields", vec![], continuation(&block_of(&[("x-a", "b")]))),
        ("large fields", vec![], continuation(&large)),
        ("one field without end", endless, continuation(&[b'v'; 16_000])),
    ] {
        let frames = opening().chain([continuation(&first)]).chain(std::iter::repeat_n(then, 20_000));
        scene.must_end(row, true, 0, frames);
    }
}

#[test]
fn a_header_list_is_bounded_however_small_it_is_sent() {
    let mut scene = Scene::new();
    // One field of 3 KB goes into the table; each byte that follows stands for all of it.
    let bomb = |copies: usize| {
        let mut block = block_of(&fields("GET", "/open/bomb"));
        block.extend([0x40, 6]);
        block.extend(b"x-bomb");
        number(&mut block, 3_000, 7);
        block.extend(std::iter::repeat_n(b'v', 3_000));
        block.extend(std::iter::repeat_n(0xbe, copies));
        block
    };
    let stream_of = |number: u32, block: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, odd(number), block);
    let answer =
        |received: &[Received]| received.iter().find(|frame| matches!(frame.kind, HEADERS | RESET | GO_AWAY)).cloned();

    let (_, received) = small(&scene, stream_of(0, &bomb(8)));
    let passed = answer(&received);
    scene.report.holds(
        "27 KB",
        format!("{passed:?}"),
        passed.is_some_and(|frame| frame.kind == HEADERS && frame.payload[0] & 0x7f == 8),
    );
    scene.report.equal("27 KB, upstream", scene.origin.take().len(), 1);
    for copies in [12, 100, 4_000, 13_000] {
        let row = format!("{copies} times 3 KB");
        let (_, received) = small(&scene, stream_of(0, &bomb(copies)));
        let refused = answer(&received);
        scene.report.holds(&row, format!("{refused:?}"), refused.is_some());
        scene.settle(&row, 0);
    }
    let repeated: Vec<u8> = std::iter::repeat_n(0xbe, 16_000).collect();
    let more = [block_of(&fields("GET", "/open/bomb")), repeated].concat();
    let frames = std::iter::once(stream_of(0, &bomb(10))).chain((1..3_000).map(|number| stream_of(number, &more)));
    scene.flood("bomb after bomb", true, frames);
    scene.settle("bomb after bomb", 1);
    for (row, name, size) in [("a large value", "x-large", 40_000), ("a large cookie", "cookie", 400_000)] {
        let block = block_of(&[&fields("GET", "/open/large-head")[..], &[(name, &"v".repeat(size))]].concat());
        let mut pieces = block.chunks(16_000);
        let mut bytes = frame(HEADERS, END_STREAM, 1, pieces.next().expect("a piece"));
        for piece in pieces.by_ref() {
            bytes.extend(frame(CONTINUATION, 0, 1, piece));
        }
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
        let (_, received) = small(&scene, bytes);
        let refused = answer(&received);
        scene.report.holds(row, format!("{refused:?}"), refused.is_some());
        scene.settle(row, 0);
    }
}

/// Sends a few bytes and reads what comes until something has.
fn small(scene: &Scene, bytes: Vec<u8>) -> (bool, Vec<Received>) {
    let mut caller = ByHand::connect(scene.gateway.address());
    caller.send([greeting(), bytes].concat());
    let is_ended = caller.is_ended_within(Duration::from_millis(700));
    (is_ended, caller.end())
}

#[test]
fn streams_that_are_opened_to_be_given_up_are_bounded() {
    let mut scene = Scene::new();
    let streams = 10_000;
    let cancel = 8_u32.to_be_bytes();
    for (row, path, most) in
        [("at once", "/open/hang", 450), ("answered fast", "/open/fast", 450), ("refused", "/closed", 0)]
    {
        let frames = (0..streams)
            .map(odd)
            .map(|stream| [request(stream, END_STREAM, path), frame(RESET, 0, stream, &cancel)].concat());
        scene.must_end(&format!("given up {row}"), true, most, frames);
    }
}

#[test]
fn a_client_that_makes_us_give_streams_up_is_ended() {
    let mut scene = Scene::new();
    let update = |stream: u32, by: u32| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    type Faults = fn(u32) -> Vec<u8>;
    let attacks: [(&str, Faults); 6] = [
        ("an update of nothing", |stream| {
            [request(stream, END_STREAM, "/open/hang"), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
        }),
        ("a window beyond its limit", |stream| {
            let update = frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
            [request(stream, END_STREAM, "/open/hang"), update].concat()
        }),
        ("data after the end", |stream| {
            [request(stream, END_STREAM, "/open/hang"), frame(DATA, 0, stream, b"late")].concat()
        }),
        ("a head after the end", |stream| {
            [request(stream, END_STREAM, "/open/hang"), request(stream, END_STREAM, "/open/hang")].concat()
        }),
        ("a stream that waits for itself", |stream| {
            [
                request(stream, END_STREAM, "/open/hang"),
                frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[1]].concat()),
            ]
            .concat()
        }),
        ("more data than it said", |stream| {
            let head = block_of(&[&fields("POST", "/open/hang")[..], &[("content-length", "1")]].concat());
            [frame(HEADERS, END_HEADERS, stream, &head), frame(DATA, 0, stream, b"more")].concat()
        }),
    ];
    for (row, attack) in attacks {
        scene.must_end(row, true, 450, (0..10_000).map(odd).map(attack));
    }
    scene.must_end("the window of the connection beyond its limit", true, 0, [update(0, 0x7fff_ffff)]);
}

#[test]
fn no_more_streams_are_open_than_allowed() {
    let mut scene = Scene::new();
    scene.must_end(
        "a thousand at once",
        true,
        100,
        (0..1000).map(odd).map(|stream| request(stream, END_STREAM, "/open/hang")),
    );
    // As many as allowed are served, one after the other and side by side.
    let mut caller = ByHand::connect(scene.gateway.address());
    caller.send(greeting());
    for stream in (0..100).map(odd) {
        caller.send(request(stream, END_STREAM, "/open/beside"));
    }
    let seen = wait::within(wait::DEADLINE, || (scene.origin.requests().len() >= 100).then_some(()));
    scene.report.holds("a hundred at once", "not all were served", seen.is_some());
    scene.report.holds(
        "a hundred at once",
        "the connection was ended",
        !caller.is_ended_within(Duration::from_millis(100)),
    );
}

#[test]
fn a_client_that_opens_no_window_is_ended_and_holds_little() {
    let mut scene = Scene::new();
    let (is_ended, _) = {
        let frames = std::iter::once(setting(4, 0))
            .chain((0..100).map(odd).map(|stream| request(stream, END_STREAM, "/open/large")));
        scene.flood("no window", true, frames)
    };
    scene.report.holds("no window", "the connection was not ended", is_ended);
    scene.settle("no window", 100);
    // With windows and without reading, the socket's buffers fill instead.
    let mut scene = Scene::new();
    let opened = frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes());
    let frames = [setting(4, 1 << 24), opened]
        .into_iter()
        .chain((0..100).map(odd).map(|stream| request(stream, END_STREAM, "/open/large")));
    scene.must_end("nothing read", false, 100, frames);
    let ends = scene.limit_hits("write_time");
    scene.report.holds("write_time", format!("{ends}"), ends > 0.5);
}

#[test]
fn what_is_no_http_2_ends_at_once() {
    let mut scene = Scene::new();
    let garbage: Vec<u8> =
        (0..5000_u32).map(|i| u8::try_from(i.wrapping_mul(2_654_435_761) % 251).expect("below 251")).collect();
    let long = |kind: u8| [&[0, 0x40, 1, kind, 0, 0, 0, 0, 1][..], &[0; 0x4001]].concat();
    for (row, bytes) in [
        ("garbage", garbage),
        ("a frame that is too long", long(DATA)),
        ("settings that are too long", long(SETTINGS)),
        ("a frame that says sixteen megabytes", vec![0xff, 0xff, 0xff, HEADERS, 4, 0, 0, 0, 1, 0]),
        ("data on no stream", frame(DATA, 0, 0, b"x")),
        ("data on a stream that is not open", frame(DATA, 0, 1, b"x")),
        ("a head on no stream", request(0, END_STREAM, "/open/x")),
        ("a head on a stream of ours", request(2, END_STREAM, "/open/x")),
        ("a promise", frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])),
        ("a reset of a stream that never was", frame(RESET, 0, 9, &[0; 4])),
        ("a reset on no stream", frame(RESET, 0, 0, &[0; 4])),
        ("a short reset", frame(RESET, 0, 1, &[0; 3])),
        ("short settings", frame(SETTINGS, 0, 0, &[0; 5])),
        ("settings on a stream", frame(SETTINGS, 0, 1, &[])),
        ("an acknowledgement that says something", frame(SETTINGS, 1, 0, &[0; 6])),
        ("a window beyond its limit", setting(4, 0x8000_0000)),
        ("a frame size below the least", setting(5, 100)),
        ("a short ping", frame(PING, 0, 0, b"1234567")),
        ("a ping on a stream", frame(PING, 0, 1, b"12345678")),
        ("an update of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a short update", frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        ("a continuation of nothing", frame(CONTINUATION, 4, 1, &[])),
        ("a head within a head", [frame(HEADERS, 0, 1, &[]), request(3, END_STREAM, "/open/x")].concat()),
        ("a ping within a head", [frame(HEADERS, 0, 1, &[]), frame(PING, 0, 0, b"12345678")].concat()),
        ("more padding than there is", frame(HEADERS, 0xd, 1, &[200, 0])),
        ("an index that is not in the table", frame(HEADERS, 5, 1, &[0xff, 0xff, 0xff, 0x07])),
        ("a number without end", frame(HEADERS, 5, 1, &[0xff; 40])),
        ("a table larger than allowed", frame(HEADERS, 5, 1, &[0x3f, 0xff, 0xff, 0xff, 0x07])),
    ] {
        let (is_ended, received) = small(&scene, bytes);
        let is_refused = is_ended || received.iter().any(|frame| matches!(frame.kind, GO_AWAY | RESET));
        scene.report.holds(row, format!("{received:?}"), is_refused);
        scene.settle(row, 0);
    }
    for (row, bytes) in [
        ("half a preface", &b"PRI * HTTP/2.0\r\n\r\nSM\r\n"[..]),
        ("a preface with another end", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("a preface with line feeds", b"PRI * HTTP/2.0\n\nSM\n\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("a preface twice", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a request instead of settings", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /open HTTP/1.1\r\nhost: a\r\n\r\n"),
    ] {
        let mut caller = Caller::connect(scene.gateway.address());
        caller.send(bytes);
        let answer = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
        scene.report.holds(row, &answer, !answer.contains(" 200 "));
        scene.settle(row, 0);
    }
}

#[test]
fn pings_are_no_sign_of_life_of_a_client_that_asks_nothing() {
    let origin = origin();
    let gateway = Gateway::before(&origin, &CONFIG.replace("write: 1s", "write: 1s, idle: 1s"));
    let mut caller = ByHand::connect(gateway.address());
    caller.send([greeting(), request(1, END_STREAM, "/open/once")].concat());
    // So many at once that our answers to them are as long as a small answer to a request.
    let pings = [frame(PING, 0, 0, b"12345678"), setting(3, 100)].concat().repeat(8);
    let began = Instant::now();
    while !caller.is_ended_within(Duration::from_millis(100)) {
        caller.send(&pings);
        assert!(began.elapsed() < Duration::from_secs(15), "still open after {:?}", began.elapsed());
    }
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn an_honest_client_is_never_taken_for_a_flood() {
    let mut scene = Scene::new();
    let mut caller = ByHand::connect(scene.gateway.address());
    caller.send(greeting());
    let ping = frame(PING, 0, 0, b"12345678");
    let update = frame(WINDOW_UPDATE, 0, 0, &100_u32.to_be_bytes());
    // Ten frames with each request, ten thousand in all: more than twice what a silent client may send.
    let mut is_taken = true;
    for number in 0..1000 {
        let stream = odd(number);
        let mut packet = request(stream, END_STREAM, "/open/honest");
        for _ in 0..4 {
            packet.extend([&ping[..], &update].concat());
        }
        packet.extend(frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1]));
        packet.extend(frame(WINDOW_UPDATE, 0, stream, &100_u32.to_be_bytes()));
        is_taken &= caller.send(packet);
        let enough = usize::try_from(number).expect("small").saturating_sub(50);
        let keeps_up = wait::within(wait::DEADLINE, || (scene.origin.requests().len() >= enough).then_some(()));
        if keeps_up.is_none() || !is_taken {
            break;
        }
    }
    // On a machine that is busy the answers may lag behind, and streams beyond the hundred at a time are refused; a
    // connection that is taken for a flood ends before the five hundredth request.
    let seen = wait::within(wait::DEADLINE, || (scene.origin.requests().len() >= 900).then_some(()));
    let count = scene.origin.requests().len();
    scene.report.holds("pings with requests", format!("{count} of 1000 requests arrived"), seen.is_some());
    // A client library takes long answers, and sends what it sends.
    let library = H2::connect(scene.gateway.address());
    for _ in 0..8 {
        let length = library.get("http://a.test/open/large", &[]).body.len();
        scene.report.equal("a long answer", length, 4 << 20);
    }
    let hits = scene.limit_hits("http2_frames");
    scene.report.holds("http2_frames", format!("{hits}"), hits < 0.5);
}
