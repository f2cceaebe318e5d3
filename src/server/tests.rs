//! Real sockets, a handler that records what reaches it, and clients that misbehave.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::body::Body;

/// Writes down each request and answers by its path.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn seen(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

impl Handler for Recorder {
    type Body = Body;

    async fn handle(&self, mut request: Request<RequestBody>, peer: &Arc<Peer>) -> Response<Body> {
        let line = format!("{} {}", request.method(), request.uri());
        self.0.lock().expect("not poisoned").push(line);
        match request.uri().path() {
            "/panic" => panic!("a bug in a handler"),
            "/slow" => tokio::time::sleep(Duration::from_millis(300)).await,
            "/stuck" => std::future::pending().await,
            "/restless" => {
                let _left = Leaving(self.clone());
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            "/patient" => {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            }
            "/early" => return Response::new(Body::full("no need to read")),
            "/big" => return Response::new(Body::boxed(http_body_util::Full::new(vec![b'x'; 64 << 20].into()))),
            "/pieces" => return Response::new(Body::boxed(Pieces(1000))),
            "/panic-body" => return Response::new(Body::boxed(PanickingBody)),
            "/tls" => return Response::new(Body::full(format!("{} {}", peer.is_tls, peer.listener))),
            "/small" => {
                if let Err(error) = request.body_mut().limit(4) {
                    return status(StatusCode::PAYLOAD_TOO_LARGE, error.to_string());
                }
            }
            "/upgrade" => {
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let mut tunnel = TokioIo::new(upgrade.await.expect("upgraded"));
                    let mut bytes = [0; 64];
                    while let Ok(length @ 1..) = tunnel.read(&mut bytes).await {
                        tunnel.write_all(&bytes[..length]).await.expect("echoed");
                    }
                });
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                response.headers_mut().insert("upgrade", "echo".parse().expect("a value"));
                response.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
                return response;
            }
            _ => {}
        }
        match request.into_body().collect().await {
            Ok(body) => Response::new(Body::full(body.to_bytes())),
            Err(RequestBodyError::TimedOut) => status(StatusCode::REQUEST_TIMEOUT, String::new()),
            Err(error) => status(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }

    fn refuse(&self, violation: Violation, _peer: &Peer) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(violation.code()));
        *response.status_mut() = violation.status();
        response
    }
}

/// Writes down that a request is not handled any more.
struct Leaving(Recorder);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.0.lock().expect("not poisoned").push("left".to_owned());
    }
}

fn status(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response
}

/// So many pieces of 16 KiB.
struct Pieces(usize);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        let Some(left) = self.0.checked_sub(1) else { return std::task::Poll::Ready(None) };
        self.0 = left;
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))))
    }
}

struct PanickingBody;

impl http_body::Body for PanickingBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        panic!("a bug in a body")
    }
}

/// A running server on a free port.
struct Running {
    address: SocketAddr,
    handler: Recorder,
    drain: Drain,
    serving: JoinHandle<std::io::Result<Drained>>,
}

impl Running {
    fn start(settings: ConnectionSettings) -> Self {
        Self::start_with(settings, Protocol::Http1, None)
    }

    fn start_with(settings: ConnectionSettings, protocol: Protocol, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = ListenerSettings {
            name: "data".into(),
            addresses: vec!["127.0.0.1:0".parse().expect("an address")],
            protocol,
            tls,
            is_backoffice: false,
        };
        let listeners = bind_all(&[listener], 1, &mut Inherited::default()).expect("a free port").remove(0);
        let address = listeners.addresses()[0].1;
        let handler = Recorder::default();
        let drain = Drain::new();
        let serving =
            tokio::spawn(serve(listeners, handler.clone(), settings, WorkerMetrics::default(), drain.clone()));
        Self { address, handler, drain, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// Sends bytes and reads until the server closes.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut tcp = self.connect().await;
        tcp.write_all(bytes).await.expect("sent");
        read_to_close(&mut tcp).await
    }

    async fn drained(self) -> Drained {
        in_time(self.serving).await.expect("no panic").expect("served")
    }
}

/// No test waits longer than this for anything.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("within ten seconds")
}

async fn read_to_close(tcp: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    in_time(tcp.read_to_end(&mut bytes)).await.expect("closed in order, not reset");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn read_until(tcp: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut bytes = [0; 1024];
        let length = in_time(tcp.read(&mut bytes)).await.expect("readable");
        assert_ne!(length, 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    text
}

/// The status codes of all answers in the text.
fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.").skip(1).map(|answer| answer.get(2..5).unwrap_or("")).collect()
}

const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let server = Running::start(ConnectionSettings::default());
    let text = server
        .say(
            format!(
                "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
                 POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n{LAST}"
            )
            .as_bytes(),
        )
        .await;
    assert_eq!(statuses(&text), ["200", "200", "200"]);
    assert!(text.find("one") < text.find("two"));
    assert_eq!(server.handler.seen(), ["POST /1", "POST /2", "GET /last"]);
}

/// While a request is handled, its handler wakes the connection again and again and nothing is to be read.
#[tokio::test]
async fn a_busy_handler_hides_neither_a_client_that_leaves_nor_one_that_asks_on() {
    let server = Running::start(ConnectionSettings::default());
    let mut tcp = server.connect().await;
    tcp.write_all(b"GET /restless HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    while server.handler.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(server.handler.seen(), ["GET /restless"], "it is handled as long as the client stays");
    drop(tcp);
    in_time(async {
        while server.handler.seen().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(server.handler.seen(), ["GET /restless", "left"]);

    let mut tcp = server.connect().await;
    for round in 0..3 {
        tcp.write_all(b"GET /patient HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        if round > 0 {
            // Longer than it takes to rest between two requests.
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        tcp.write_all(b"POST /patient HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await.expect("sent");
        let text = read_until(&mut tcp, "abc").await;
        assert_eq!(statuses(&text), ["200", "200"], "round {round}");
        tokio::time::sleep(Duration::from_millis(600 * round)).await;
    }
}

#[tokio::test]
async fn malformed_bytes_are_refused_and_closed_and_nothing_of_them_reaches_the_handler() {
    let server = Running::start(ConnectionSettings::default());
    let rows: [(&str, &str, &str); 9] = [
        ("GET / HTTP/1.1\nHost: a\n\n", "400", "bare_line_feed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", "400", "space_before_colon"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
            "length_ambiguous",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400", "chunk_size_invalid"),
        ("GET / HTTP/1.1\r\n\r\n", "400", "host_missing"),
        ("GET / HTTP/3.0\r\n\r\n", "505", "version_unsupported"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "405", "method_connect"),
        ("GET http://[::1/x HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
        ("\x16\x03\x01\x02\x00\x01\x00\x01", "400", "request_line_invalid"),
    ];
    for (bytes, status, code) in rows {
        let text = server.say(bytes.as_bytes()).await;
        assert_eq!(statuses(&text), [status], "{bytes:?} {text:?}");
        assert!(text.ends_with(code), "{bytes:?} {text:?}");
        assert!(text.contains("connection: close"), "{bytes:?} {text:?}");
    }
    let too_long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000));
    assert_eq!(statuses(&server.say(too_long.as_bytes()).await), ["414"]);
    let too_large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(200_000));
    assert_eq!(statuses(&server.say(too_large.as_bytes()).await), ["431"]);
    assert_eq!(server.handler.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_bad_request_byte_by_byte_is_refused_all_the_same() {
    let server = Running::start(ConnectionSettings::default());
    let mut tcp = server.connect().await;
    tcp.set_nodelay(true).expect("set");
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r" {
        if tcp.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let text = read_to_close(&mut tcp).await;
    assert_eq!(statuses(&text), ["400"]);
    assert!(text.ends_with("content_length_invalid"), "{text}");
    assert_eq!(server.handler.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn good_requests_before_a_bad_one_are_answered_first() {
    let server = Running::start(ConnectionSettings::default());
    let text =
        server.say(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\n").await;
    assert_eq!(statuses(&text), ["200", "200", "400"]);
    assert_eq!(server.handler.seen(), ["GET /slow", "GET /2"]);

    // The bad one comes while an answer is being made.
    let mut tcp = server.connect().await;
    tcp.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    tcp.write_all(b"GET /x y HTTP/1.1\r\n\r\n").await.expect("sent");
    assert_eq!(statuses(&read_to_close(&mut tcp).await), ["200", "400"]);
}

#[tokio::test]
async fn a_body_that_breaks_half_way_ends_with_an_error_for_its_reader() {
    let server = Running::start(ConnectionSettings::default());
    let mut tcp = server.connect().await;
    tcp.write_all(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel").await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    tcp.write_all(b"lo!\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let text = read_to_close(&mut tcp).await;
    assert_eq!(statuses(&text), ["400"]);
    assert!(text.ends_with("the body is malformed"), "{text}");
    assert_eq!(server.handler.seen(), ["POST /p"]);
}

#[tokio::test]
async fn an_early_answer_can_be_read_although_the_client_is_still_sending() {
    let server = Running::start(ConnectionSettings::default());
    let mut tcp = server.connect().await;
    let head = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n";
    tcp.write_all(head.as_bytes()).await.expect("sent");
    for _ in 0..50 {
        if tcp.write_all(&[b'x'; 8000]).await.is_err() {
            break;
        }
    }
    let text = read_to_close(&mut tcp).await;
    assert!(text.ends_with("no need to read"), "{text}");
}

#[tokio::test]
async fn a_panic_ends_one_exchange_and_nothing_else() {
    let server = Running::start(ConnectionSettings::default());
    let text = server.say(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&text), ["500"]);
    assert!(text.contains("connection: close") && !text.contains("a bug"), "{text}");
    let mut tcp = server.connect().await;
    tcp.write_all(b"GET /panic-body HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let cut = read_to_close(&mut tcp).await;
    assert!(!cut.ends_with("0\r\n\r\n"), "a cut answer does not look whole: {cut:?}");
    assert_eq!(statuses(&server.say(LAST.as_bytes()).await), ["200"]);
}

#[tokio::test]
async fn slow_and_silent_clients_are_ended_in_time() {
    let server = Running::start(ConnectionSettings {
        head_time: Duration::from_millis(200),
        idle_time: Duration::from_millis(400),
        body: request_body::BodyPace { between_pieces: Duration::from_millis(300), ..Default::default() },
        ..Default::default()
    });
    let rows: [(&str, &str, &[&str], u64); 5] = [
        ("silent from the start", "", &[], 200),
        ("half a first head", "GET / HT", &["408"], 200),
        ("idle after an answer", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", &["200"], 400),
        ("half a second head", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2", &["200", "408"], 200),
        ("half a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", &["408"], 300),
    ];
    for (name, bytes, expected, least) in rows {
        let begun = Instant::now();
        let text = server.say(bytes.as_bytes()).await;
        assert_eq!(statuses(&text), expected, "{name}");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(least - 5), "{name}: {took:?}");
        assert!(took < Duration::from_millis(least + 2500), "{name}: {took:?}");
    }
}

/// Times longer than a rest: between two exchanges the timer stands at that, and must find what has begun since.
#[tokio::test]
async fn what_begins_behind_an_answer_has_its_own_time() {
    let limit = Duration::from_millis(700);
    let server = Running::start(ConnectionSettings { head_time: limit, write_time: limit, ..Default::default() });
    let behind_an_answer = async |bytes: &[u8]| {
        let mut tcp = server.connect().await;
        tcp.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        tokio::time::sleep(Duration::from_millis(200)).await;
        tcp.write_all(bytes).await.expect("sent");
        tcp
    };

    let mut half_a_head = behind_an_answer(b"GET /2").await;
    let begun = Instant::now();
    assert_eq!(statuses(&read_to_close(&mut half_a_head).await), ["200", "408"]);
    let took = begun.elapsed();
    assert!(took >= limit - Duration::from_millis(5) && took < limit + Duration::from_millis(2500), "{took:?}");

    let mut takes_nothing = behind_an_answer(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::time::sleep(limit * 3).await;
    let mut taken = Vec::new();
    let _ = in_time(takes_nothing.read_to_end(&mut taken)).await;
    assert!(taken.len() < 64 << 20, "it was cut before its end");
}

#[tokio::test]
async fn a_head_that_drips_is_ended_at_its_deadline_not_after_its_last_byte() {
    let server = Running::start(ConnectionSettings { head_time: Duration::from_millis(300), ..Default::default() });
    let mut tcp = server.connect().await;
    let begun = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyy" {
        if begun.elapsed() > Duration::from_secs(2) || tcp.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let mut bytes = Vec::new();
    // The client wrote on after the end, so a reset is as good as a close.
    let _ = in_time(tcp.read_to_end(&mut bytes)).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(server.handler.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let server = Running::start(ConnectionSettings { write_time: Duration::from_millis(300), ..Default::default() });
    let mut tcp = server.connect().await;
    tcp.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let mut bytes = Vec::new();
    let _ = in_time(tcp.read_to_end(&mut bytes)).await;
    assert!(bytes.len() < 64 << 20, "it was cut before its end");
}

#[tokio::test]
async fn an_old_connection_closes_behind_its_exchange() {
    let server = Running::start(ConnectionSettings { age: Duration::from_millis(100), ..Default::default() });
    let text = server.say(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&text), ["200"]);
    assert!(text.contains("connection: close"), "{text}");
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_places_come_back() {
    let connections = ConnectionLimits::new(2, 10, Vec::new());
    let server = Running::start(ConnectionSettings { connections: connections.clone(), ..Default::default() });
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut tcp = server.connect().await;
        tcp.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        read_until(&mut tcp, "\r\n\r\n").await;
        kept.push(tcp);
    }
    let mut refused = server.connect().await;
    let mut bytes = Vec::new();
    let _ = in_time(refused.read_to_end(&mut bytes)).await;
    assert_eq!(bytes, b"");

    drop(kept);
    in_time(async {
        while connections.taken() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(statuses(&server.say(LAST.as_bytes()).await), ["200"]);
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused_announced_or_not() {
    let server = Running::start(ConnectionSettings::default());
    let announced = "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let text = server.say(announced.as_bytes()).await;
    assert_eq!(statuses(&text), ["413"]);
    let chunked = "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let text = server.say(format!("{chunked}{LAST}").as_bytes()).await;
    assert!(text.contains("longer than 4 bytes"), "{text}");
}

#[tokio::test]
async fn after_an_upgrade_bytes_pass_unjudged_and_the_drain_cuts_the_tunnel() {
    let server = Running::start(ConnectionSettings { grace: Duration::from_millis(300), ..Default::default() });
    let mut tcp = server.connect().await;
    tcp.write_all(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await
        .expect("sent");
    let head = read_until(&mut tcp, "\r\n\r\n").await;
    assert_eq!(statuses(&head), ["101"]);
    tcp.write_all(b"\x81\n\0 any bytes").await.expect("sent");
    let mut echoed = [0; 12];
    in_time(tcp.read_exact(&mut echoed)).await.expect("echoed");
    assert_eq!(&echoed, b"\x81\n\0 any byte");

    server.drain.signal();
    assert_eq!(server.drained().await, Drained { cut: 1 });
    let mut rest = Vec::new();
    let _ = in_time(tcp.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"s");
}

#[tokio::test]
async fn an_upgrade_that_is_not_granted_stays_judged() {
    let server = Running::start(ConnectionSettings::default());
    let text = server
        .say(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\nX: y\r\n\r\n")
        .await;
    assert_eq!(statuses(&text), ["200", "400"]);
    assert_eq!(server.handler.seen(), ["GET /1"]);
}

#[tokio::test]
async fn a_drain_finishes_what_runs_lets_each_ask_once_more_and_loses_nothing() {
    let server = Running::start(ConnectionSettings::default());
    let mut idle = server.connect().await;
    idle.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    read_until(&mut idle, "\r\n\r\n").await;
    let mut busy = Vec::new();
    for _ in 0..20 {
        let mut tcp = server.connect().await;
        tcp.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        busy.push(tcp);
    }
    let mut silent = server.connect().await;
    silent.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    read_until(&mut silent, "\r\n\r\n").await;
    let mut fresh = server.connect().await;
    tokio::time::sleep(Duration::from_millis(100)).await;

    server.drain.signal();
    let address = server.address;
    idle.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let text = read_to_close(&mut idle).await;
    assert_eq!(statuses(&text), ["200"]);
    assert!(text.contains("connection: close"), "{text}");
    fresh.write_all(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    assert_eq!(statuses(&read_to_close(&mut fresh).await), ["200"]);
    for tcp in &mut busy {
        let text = read_to_close(tcp).await;
        assert_eq!(statuses(&text), ["200"]);
        assert!(text.contains("connection: close"), "{text}");
    }
    assert_eq!(read_to_close(&mut silent).await, "");
    assert_eq!(server.drained().await, Drained { cut: 0 });
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_outlasts_the_grace_period_is_cut_and_counted() {
    let server = Running::start(ConnectionSettings { grace: Duration::from_millis(100), ..Default::default() });
    let mut tcp = server.connect().await;
    tcp.write_all(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.drain.signal();
    assert_eq!(server.drained().await, Drained { cut: 1 });
}

async fn http2(tcp: TcpStream) -> hyper::client::conn::http2::SendRequest<http_body_util::Full<Bytes>> {
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

fn get(uri: &str) -> Request<http_body_util::Full<Bytes>> {
    Request::builder().uri(uri).body(http_body_util::Full::default()).expect("a request")
}

#[tokio::test]
async fn an_h2c_listener_speaks_both_and_a_plain_one_only_http1() {
    let server = Running::start_with(ConnectionSettings::default(), Protocol::H2c, None);
    let mut sender = http2(server.connect().await).await;
    let response = in_time(sender.send_request(get("http://a/2"))).await.expect("an answer");
    assert_eq!((response.status(), response.version()), (StatusCode::OK, http::Version::HTTP_2));
    assert_eq!(statuses(&server.say(LAST.as_bytes()).await), ["200"]);
    assert_eq!(statuses(&server.say(b"PRI * HTTP/1.1\r\n\r\n").await), ["400"]);

    let plain = Running::start(ConnectionSettings::default());
    let text = plain.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert_eq!(statuses(&text), ["400"]);
}

#[tokio::test]
async fn http2_contains_panics_refuses_connect_and_goes_away_when_idle() {
    let settings = ConnectionSettings { idle_time: Duration::from_millis(200), ..Default::default() };
    let server = Running::start_with(settings, Protocol::H2c, None);
    let mut sender = http2(server.connect().await).await;
    let response = in_time(sender.send_request(get("http://a/panic"))).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let connect = Request::connect("a:443").body(http_body_util::Full::default()).expect("a request");
    let response = in_time(sender.send_request(connect)).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(server.handler.seen(), ["GET http://a/panic"]);
    in_time(async {
        while !sender.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn http2_streams_finish_when_a_drain_begins() {
    let server = Running::start_with(ConnectionSettings::default(), Protocol::H2c, None);
    let mut sender = http2(server.connect().await).await;
    let slow = sender.send_request(get("http://a/slow"));
    let drain = server.drain.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drain.signal();
    });
    assert_eq!(in_time(slow).await.expect("an answer").status(), StatusCode::OK);
    assert_eq!(server.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn an_http2_client_that_opens_no_window_is_cut() {
    let settings = ConnectionSettings { write_time: Duration::from_millis(300), ..Default::default() };
    let server = Running::start_with(settings, Protocol::H2c, None);
    let mut sender = http2(server.connect().await).await;
    let response = in_time(sender.send_request(get("http://a/pieces"))).await.expect("an answer");
    // The body is not read, so the window stays shut.
    in_time(async {
        while !sender.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(response.into_body().collect().await.is_err(), "a cut answer is not taken for a whole one");
}

#[tokio::test]
async fn answers_that_were_taken_whole_never_count_as_given_up() {
    let mut settings = ConnectionSettings::default();
    settings.http2.cancelled = 0;
    let server = Running::start_with(settings, Protocol::H2c, None);
    let mut sender = http2(server.connect().await).await;
    for uri in ["http://a/empty", "http://a/early", "http://a/pieces", "http://a/panic"].repeat(5) {
        let response = in_time(sender.send_request(get(uri))).await.expect(uri);
        in_time(response.into_body().collect()).await.expect(uri);
    }
    assert!(!sender.is_closed());
}

#[tokio::test]
async fn a_client_that_only_gives_streams_up_is_ended() {
    let mut settings = ConnectionSettings::default();
    settings.http2.cancelled = 10;
    let server = Running::start_with(settings, Protocol::H2c, None);
    let mut sender = http2(server.connect().await).await;
    for _ in 0..100 {
        if sender.ready().await.is_err() {
            break;
        }
        let request = sender.send_request(get("http://a/stuck"));
        let _ = tokio::time::timeout(Duration::from_millis(10), request).await;
    }
    assert!(sender.is_closed());
    assert!(server.handler.seen().len() < 50, "{}", server.handler.seen().len());
}

async fn tls_client(
    server: &Running,
    name: &'static str,
    root: &str,
    protocols: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    use rustls::pki_types::pem::PemObject as _;

    let mut roots = rustls::RootCertStore::empty();
    let root = rustls::pki_types::CertificateDer::from_pem_slice(root.as_bytes()).expect("PEM");
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    in_time(connector.connect(name.try_into().expect("a name"), server.connect().await)).await
}

fn certificate(names: &[&str]) -> (tls::Certificate, String) {
    let (chain, key) = tls::tests::self_signed(names);
    let path = std::path::Path::new("test.pem");
    let certificate = tls::Certificate::parse(path, chain.as_bytes(), path, key.as_bytes()).expect("a good pair");
    (certificate, chain)
}

#[tokio::test]
async fn tls_chooses_protocol_and_certificate_and_certificates_change_while_serving() {
    let (first, first_root) = certificate(&["a.example"]);
    let (second, second_root) = certificate(&["b.example"]);
    let resolver = tls::CertificateResolver::new(vec![first, second]).expect("two");
    let config = tls::server_config(Arc::clone(&resolver), &tls::DATA_PROTOCOLS).expect("a configuration");
    let server = Running::start_with(ConnectionSettings::default(), Protocol::Http1, Some(config));

    let mut http1 = tls_client(&server, "a.example", &first_root, &[b"http/1.1"]).await.expect("a handshake");
    http1.write_all(b"GET /tls HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\n").await.expect("sent");
    let mut text = String::new();
    in_time(http1.read_to_string(&mut text)).await.expect("ended by a proper close of TLS");
    assert_eq!(statuses(&text), ["200", "400"]);
    assert!(text.contains("true data"), "{text}");

    let http2 = tls_client(&server, "b.example", &second_root, &[b"h2", b"http/1.1"]).await.expect("a handshake");
    assert_eq!(http2.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(http2)).await.expect("a handshake");
    tokio::spawn(connection);
    let response = in_time(sender.send_request(get("https://b.example/"))).await.expect("an answer");
    assert_eq!((response.status(), response.version()), (StatusCode::OK, http::Version::HTTP_2));

    let (third, third_root) = certificate(&["a.example"]);
    resolver.replace(vec![third]).expect("one");
    assert!(tls_client(&server, "a.example", &first_root, &[]).await.is_err());
    assert!(tls_client(&server, "a.example", &third_root, &[]).await.is_ok());
    assert_eq!(
        in_time(sender.send_request(get("https://b.example/"))).await.expect("an answer").status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_ended_in_time() {
    let (certificate, _) = certificate(&["a.example"]);
    let resolver = tls::CertificateResolver::new(vec![certificate]).expect("one");
    let config = tls::server_config(resolver, &tls::DATA_PROTOCOLS).expect("a configuration");
    let settings = ConnectionSettings { handshake_time: Duration::from_millis(200), ..Default::default() };
    let server = Running::start_with(settings, Protocol::Http1, Some(config));
    let mut tcp = server.connect().await;
    assert_eq!(read_to_close(&mut tcp).await, "");
    let plain = server.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!plain.contains("HTTP"), "{plain:?}");
}
