//! HTTP/2 to servers that play their part over real sockets, with the other half of the same library or frames by hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::forward::ForwardSettings;
use crate::forward::tests::{Sender, endpoint, fed, parts, peer, permit, server, soon, text, upstream};
use crate::telemetry::metrics::WorkerMetrics;
use crate::upstream::{Protocol, Upstream};

/// What the server does with one request.
type Play = Arc<dyn Fn(Request<RecvStream>, SendResponse<Bytes>) + Send + Sync>;

/// A server of HTTP/2 in clear text.
struct Origin {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// What has come, as text, and on which connection.
    seen: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Origin {
    async fn start(play: impl Fn(Request<RecvStream>, SendResponse<Bytes>) + Send + Sync + 'static) -> Self {
        Self::with(h2::server::Builder::new(), play).await
    }

    async fn with(
        builder: h2::server::Builder,
        play: impl Fn(Request<RecvStream>, SendResponse<Bytes>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { address: listener.local_addr().unwrap(), connections: Arc::default(), seen: Arc::default() };
        let (connections, seen, play): (_, _, Play) = (this.connections.clone(), this.seen.clone(), Arc::new(play));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let (builder, seen, play) = (builder.clone(), seen.clone(), play.clone());
                tokio::spawn(async move {
                    let Ok(connection) = builder.handshake(stream).await else { return };
                    serve(connection, number, &seen, &play).await;
                });
            }
        });
        this
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn take(&self) -> Vec<(usize, String)> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn serve(
    mut connection: Connection<TcpStream, Bytes>,
    number: usize,
    seen: &Mutex<Vec<(usize, String)>>,
    play: &Play,
) {
    while let Some(Ok((request, respond))) = connection.accept().await {
        let fields: String = request
            .headers()
            .iter()
            .map(|(name, value)| format!(" {name}={}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        seen.lock().unwrap().push((number, format!("{} {}{fields}", request.method(), request.uri())));
        if request.uri().path().ends_with("/goodbye") {
            connection.graceful_shutdown();
        }
        play(request, respond);
    }
}

/// Answers 200 with this text.
fn answer(mut respond: SendResponse<Bytes>, body: &'static str) {
    let mut stream = respond.send_response(Response::new(()), body.is_empty()).unwrap();
    if !body.is_empty() {
        stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
    }
}

fn http2(address: SocketAddr) -> Upstream {
    Upstream { protocol: Protocol::Http2, ..upstream(vec![server(address)]) }
}

fn sender(upstream: Upstream) -> Sender {
    Sender::with(permit(endpoint(upstream)))
}

fn with_settings(upstream: Upstream, change: impl FnOnce(&mut Http2Settings)) -> Sender {
    let mut settings = ForwardSettings::default();
    change(&mut settings.http2);
    Sender { forwarder: Forwarder::new(settings, WorkerMetrics::default()), permit: permit(endpoint(upstream)) }
}

const OURS: &str =
    " x-forwarded-for=192.0.2.7 x-forwarded-proto=http x-forwarded-host=api.example.com x-request-id=req-1";

// -- the request ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn the_server_reads_the_same_head_as_over_http1() {
    let origin = Origin::start(|_, respond| answer(respond, "")).await;
    let sender = sender(http2(origin.address));
    for (line, sent, expected) in [
        ("GET /orders", &[][..], String::new()),
        ("GET /orders?a=%20&b", &[("accept", "*/*"), ("x-a", "1"), ("x-a", "2")][..], " accept=*/* x-a=1 x-a=2".into()),
        // What is about the connection, who calls, where from, and another request than this one, ends here.
        (
            "GET /orders",
            &[
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("transfer-encoding", "chunked"),
                ("x_client_id", "root"),
                ("X-Client-Id", "root"),
                ("x-forwarded-for", "10.0.0.1"),
                ("x-real-ip", "10.0.0.1"),
                ("x-original-url", "/admin"),
                ("host", "other"),
                ("proxy", "x"),
            ][..],
            String::new(),
        ),
        ("GET /orders", &[("te", "trailers, deflate")][..], String::new()),
        ("GET /orders", &[("cookie", "a=1"), ("cookie", "mia_client_key=k; b=2")][..], " cookie=a=1; b=2".into()),
    ] {
        assert_eq!(text(sender.send(line, sent, Empty::new()).await).await, "200 |", "{sent:?}");
        let (method, target) = line.split_once(' ').unwrap();
        let te = if sent.iter().any(|(name, _)| *name == "te") { " te=trailers" } else { "" };
        let expected = format!("{method} http://api.example.com{target}{expected}{OURS}{te}");
        assert_eq!(origin.take(), [(0, expected)], "{sent:?}");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn who_calls_is_told_as_over_http1() {
    let origin = Origin::start(|_, respond| answer(respond, "")).await;
    let sender = sender(http2(origin.address));
    let sender = Sender {
        permit: crate::forward::tests::known(sender.permit, crate::admission::CredentialUse::AuthorizationIsOurs),
        ..sender
    };
    let sent = [("connection", "x-client-id, client-type"), ("client-type", "forged"), ("authorization", "Bearer k")];
    assert_eq!(text(sender.send("GET /orders", &sent, Empty::new()).await).await, "200 |");
    let seen = origin.take().remove(0).1;
    assert!(seen.contains(" client-type=cms x-client-id=ann x-client-key-id=key_1"), "{seen}");
    assert!(!seen.contains("forged") && !seen.contains("authorization"), "{seen}");
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways() {
    let origin = Origin::start(|request, mut respond| {
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
                stream.send_data(piece, false).unwrap();
            }
            let mut trailers = body.trailers().await.unwrap().unwrap_or_default();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            trailers.insert("content-length", HeaderValue::from_static("7"));
            stream.send_trailers(trailers).unwrap();
        });
    })
    .await;
    let plain = sender(http2(origin.address));
    assert_eq!(text(plain.post("hello").await).await, "200 |hello| grpc-status=0");
    let seen = origin.take().remove(0).1;
    assert!(seen.ends_with(" content-length=5"), "{seen}");
    let mut passing = endpoint(http2(origin.address));
    passing.passes_request_trailers = true;
    let passing = Sender::with(permit(passing));
    for (sender, expected) in [(&plain, "200 |abc| grpc-status=0"), (&passing, "200 |abc| x-sum=1 grpc-status=0")] {
        let (feeder, body) = fed(None);
        feeder.data("abc");
        feeder.trailers(&[("x-sum", "1"), ("x-client-id", "root"), ("content-length", "3")]);
        assert_eq!(text(sender.send("POST /orders", &[], body).await).await, expected);
    }
}

#[tokio::test]
async fn an_upgrade_is_refused() {
    let origin = Origin::start(|_, respond| answer(respond, "")).await;
    let sender = sender(http2(origin.address));
    let (parts, peer) = (parts("GET /orders", &[("connection", "upgrade"), ("upgrade", "websocket")]), peer());
    let outgoing = crate::forward::tests::outgoing(&parts, &peer);
    let body = Empty::<Bytes>::new();
    let mut plan = RequestPlan::new(sender.permit.endpoint(), &outgoing, &body, true);
    assert_eq!(plan.upgrade, Some("websocket"));
    let servers = sender.permit.endpoint().upstream.servers();
    let refused = sender.forwarder.send_http2(&sender.permit, &outgoing, &plan, servers, body).await;
    assert_eq!(text(refused).await, "501 upgrade_not_possible");
    assert_eq!(origin.connections(), 0);
    plan.upgrade = None;
    let passed = sender.forwarder.send_http2(&sender.permit, &outgoing, &plan, servers, Empty::new()).await;
    assert_eq!(text(passed).await, "200 |");
}

// -- the answer -----------------------------------------------------------------------------------------------------

/// What the server sends: status, fields, body; then how it ends.
#[derive(Clone, Copy)]
enum Ends {
    WithData,
    WithTrailers,
    WithReset(Reason),
    Never,
}

#[tokio::test]
async fn answers_are_read_strictly_and_a_cut_one_is_never_whole() {
    type Row = (&'static str, u16, &'static [(&'static str, &'static str)], &'static str, Ends, &'static str);
    let rows: &[Row] = &[
        ("GET", 200, &[("x-a", "1")], "hi", Ends::WithData, "200 x-a=1 |hi"),
        ("GET", 200, &[("content-length", "2")], "hi", Ends::WithData, "200 content-length=2 |hi"),
        ("GET", 404, &[], "", Ends::WithData, "404 |"),
        ("GET", 200, &[("trailer", "x-t")], "hi", Ends::WithTrailers, "200 trailer=x-t |hi| x-t=1"),
        // Trailers-only, as a call of gRPC is refused.
        ("POST", 200, &[("grpc-status", "7")], "", Ends::WithData, "200 grpc-status=7 |"),
        ("HEAD", 200, &[("content-length", "9")], "", Ends::WithData, "200 content-length=9 |"),
        ("GET", 204, &[], "", Ends::WithData, "204 |"),
        ("GET", 304, &[("etag", "x")], "", Ends::WithData, "304 etag=x |"),
        ("GET", 200, &[("proxy-authenticate", "Basic"), ("x-a", "1")], "hi", Ends::WithData, "200 x-a=1 |hi"),
        ("GET", 200, &[("content-length", "02")], "hi", Ends::WithData, "502 upstream_bad_response"),
        (
            "GET",
            200,
            &[("content-length", "2"), ("content-length", "2")],
            "hi",
            Ends::WithData,
            "502 upstream_bad_response",
        ),
        ("GET", 101, &[], "", Ends::WithData, "502 upstream_bad_response"),
        ("GET", 200, &[], "half", Ends::WithReset(Reason::CANCEL), "200 |half<upstream_reset>"),
        ("GET", 200, &[], "half", Ends::WithReset(Reason::INTERNAL_ERROR), "200 |half<upstream_reset>"),
        (
            "GET",
            200,
            &[("content-length", "9")],
            "half",
            Ends::WithReset(Reason::NO_ERROR),
            "200 content-length=9 |half<upstream_bad_response>",
        ),
        ("GET", 200, &[], "half", Ends::Never, "200 |half<upstream_body_timeout>"),
    ];
    for (method, status, fields, body, ends, expected) in rows {
        let (status, ends) = (*status, *ends);
        let origin = Origin::start(move |_, mut respond| {
            let mut response = Response::builder().status(status);
            for (name, value) in *fields {
                response = response.header(*name, *value);
            }
            let response = response.body(()).unwrap();
            let is_all = body.is_empty() && matches!(ends, Ends::WithData);
            // The server's own library refuses some of these; then it is the reset that is seen.
            let Ok(mut stream) = respond.send_response(response, is_all) else { return };
            if is_all {
                return;
            }
            let _ = stream.send_data(Bytes::from_static(body.as_bytes()), matches!(ends, Ends::WithData));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                match ends {
                    Ends::WithData => {}
                    Ends::WithTrailers => {
                        let trailers = HeaderMap::from_iter([(
                            http::HeaderName::from_static("x-t"),
                            HeaderValue::from_static("1"),
                        )]);
                        let _ = stream.send_trailers(trailers);
                    }
                    Ends::WithReset(reason) => stream.send_reset(reason),
                    Ends::Never => tokio::time::sleep(Duration::from_secs(60)).await,
                }
            });
        })
        .await;
        let mut upstream = http2(origin.address);
        upstream.timeouts.body = Duration::from_millis(200);
        let sender = sender(upstream);
        let answer = text(sender.send(&format!("{method} /orders"), &[], Empty::new()).await).await;
        let is_refused_by_the_servers_library = status == 101 && answer == "502 upstream_reset";
        assert!(answer == *expected || is_refused_by_the_servers_library, "{method} {status} {fields:?}: {answer}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let origin = Origin::start(|_, respond| {
        tokio::spawn(async move {
            let _kept = respond;
            tokio::time::sleep(Duration::from_secs(60)).await;
        });
    })
    .await;
    let mut upstream = http2(origin.address);
    upstream.timeouts.response = Duration::from_millis(50);
    let sender = sender(upstream);
    assert_eq!(text(sender.get().await).await, "504 upstream_response_timeout");
    assert_eq!(text(sender.post("x").await).await, "504 upstream_response_timeout");
    // The stream was given up, not the connection.
    assert_eq!(origin.connections(), 1);
    assert_eq!(sender.forwarder.idle_connections(), 1);
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_no_server_for_http2() {
    for greeting in ["HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", "", "220 mail.example.com ESMTP\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(greeting.as_bytes()).await;
            }
        });
        let refused = text(sender(http2(address)).get().await).await;
        assert!(
            ["502 upstream_no_http2", "502 upstream_closed"].contains(&refused.as_str()),
            "{greeting:?}: {refused}"
        );
    }
    // One that says nothing at all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = http2(listener.local_addr().unwrap());
    silent.timeouts.connect = Duration::from_millis(100);
    assert_eq!(text(sender(silent).get().await).await, "504 upstream_connect_timeout");
}

// -- streams and connections ----------------------------------------------------------------------------------------

/// Holds all requests until so many are there at once.
fn held(answers: &Arc<Mutex<Vec<SendResponse<Bytes>>>>) -> impl Fn(Request<RecvStream>, SendResponse<Bytes>) + use<> {
    let answers = Arc::clone(answers);
    move |_, respond| answers.lock().unwrap().push(respond)
}

async fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    soon(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn get(sender: &Arc<Sender>) -> tokio::task::JoinHandle<String> {
    let sender = Arc::clone(sender);
    tokio::spawn(async move { text(sender.get().await).await })
}

#[tokio::test]
async fn many_requests_share_a_connection_and_what_it_does_not_take_goes_on_others() {
    let waiting = Arc::default();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(3);
    let origin = Origin::with(builder, held(&waiting)).await;
    let mut upstream = http2(origin.address);
    upstream.concurrency.queue_time = Duration::from_millis(300);
    let sender = Arc::new(with_settings(upstream, |settings| settings.connections = 2));
    let requests: Vec<_> = (0..6).map(|_| get(&sender)).collect();
    wait_for("six requests", || waiting.lock().unwrap().len() == 6).await;
    assert_eq!(origin.connections(), 2);
    // No room, and none in time.
    assert_eq!(get(&sender).await.unwrap(), "503 upstream_busy");
    // Room as soon as one is over.
    let late = get(&sender);
    tokio::time::sleep(Duration::from_millis(30)).await;
    answer(waiting.lock().unwrap().remove(0), "x");
    wait_for("the late request", || waiting.lock().unwrap().len() == 6).await;
    for respond in waiting.lock().unwrap().drain(..) {
        answer(respond, "x");
    }
    for request in requests.into_iter().chain([late]) {
        assert_eq!(request.await.unwrap(), "200 |x");
    }
    assert_eq!((origin.connections(), sender.forwarder.idle_connections()), (2, 2));
}

#[tokio::test]
async fn a_burst_on_a_cold_worker_opens_one_connection() {
    let origin = Origin::start(|_, respond| answer(respond, "x")).await;
    let sender = Arc::new(sender(http2(origin.address)));
    let requests: Vec<_> = (0..50).map(|_| get(&sender)).collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), "200 |x");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn all_who_wait_for_a_connection_hear_that_there_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sender = Arc::new(sender(http2(address)));
    let requests: Vec<_> = (0..20).map(|_| get(&sender)).collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), "502 upstream_connect_refused");
    }
}

#[tokio::test]
async fn after_a_farewell_there_is_another_connection_and_nothing_is_lost() {
    let origin = Origin::start(|_, respond| answer(respond, "x")).await;
    let sender = sender(http2(origin.address));
    for round in 1..=3 {
        for line in ["GET /orders", "POST /orders", "GET /orders/goodbye"] {
            let answered = text(sender.send(line, &[], Empty::new()).await).await;
            assert_eq!(answered, "200 |x", "{line} in round {round}");
        }
        // The farewell may be seen before the next request or by it.
        assert_eq!(text(sender.post("body").await).await, "200 |x", "round {round}");
    }
    assert!(origin.connections() >= 4, "{}", origin.connections());
}

#[tokio::test]
async fn when_stream_numbers_end_there_is_another_connection() {
    let origin = Origin::start(|_, respond| answer(respond, "x")).await;
    let sender = with_settings(http2(origin.address), |settings| settings.streams_in_life = 2);
    for _ in 0..5 {
        assert_eq!(text(sender.post("body").await).await, "200 |x");
    }
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn idle_connections_are_swept_away() {
    let origin = Origin::start(|_, respond| answer(respond, "x")).await;
    let mut upstream = http2(origin.address);
    upstream.idle_timeout = Duration::from_millis(50);
    let sender = sender(upstream);
    assert_eq!(text(sender.get().await).await, "200 |x");
    assert_eq!(sender.forwarder.idle_connections(), 1);
    tokio::time::sleep(Duration::from_millis(80)).await;
    sender.forwarder.shared.sweep();
    assert_eq!(sender.forwarder.idle_connections(), 0);
    assert_eq!(text(sender.get().await).await, "200 |x");
    assert_eq!(origin.connections(), 2);
}

// -- what is sent again ---------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_request_is_sent_again_only_if_it_was_not_looked_at_and_its_body_is_whole() {
    let refusals = Arc::new(AtomicUsize::new(0));
    for (line, body, reason, times, expected, requests) in [
        ("GET /orders", "", Reason::REFUSED_STREAM, 1, "200 |x", 2),
        ("POST /orders", "", Reason::REFUSED_STREAM, 2, "200 |x", 3),
        ("DELETE /orders", "", Reason::REFUSED_STREAM, 3, "200 |x", 4),
        ("GET /orders", "", Reason::REFUSED_STREAM, 9, "502 upstream_reset", 4),
        // What has been taken from the caller is gone.
        ("POST /orders", "body", Reason::REFUSED_STREAM, 1, "502 upstream_reset", 1),
        // Any other reset leaves in doubt what was done.
        ("GET /orders", "", Reason::CANCEL, 1, "502 upstream_reset", 1),
        ("GET /orders", "", Reason::INTERNAL_ERROR, 1, "502 upstream_reset", 1),
    ] {
        refusals.store(times, Ordering::SeqCst);
        let left = Arc::clone(&refusals);
        let origin = Origin::start(move |_, mut respond| {
            let refuses = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            if refuses { respond.send_reset(reason) } else { answer(respond, "x") }
        })
        .await;
        let sender = sender(http2(origin.address));
        let answered = text(sender.send(line, &[], Full::from(body)).await).await;
        assert_eq!((answered.as_str(), origin.take().len()), (expected, requests), "{line} {reason:?} {times}");
    }
}

/// Frames by hand: answers one request properly, then does `last` to the second and closes.
async fn server_that_ends(last: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut preface = [0; 24];
                let _ = stream.read_exact(&mut preface).await;
                let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
                let mut here = 0;
                loop {
                    let mut head = [0; 9];
                    if stream.read_exact(&mut head).await.is_err() {
                        return;
                    }
                    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                    let mut payload = vec![0; length];
                    let _ = stream.read_exact(&mut payload).await;
                    let (kind, flags) = (head[3], head[4]);
                    let acknowledgement = if kind == 4 && flags & 1 == 0 { Some(4) } else { None };
                    if let Some(kind) = acknowledgement {
                        let _ = stream.write_all(&[0, 0, 0, kind, 1, 0, 0, 0, 0]).await;
                    }
                    if kind == 1 {
                        counter.fetch_add(1, Ordering::SeqCst);
                        here += 1;
                        if here == 2 && !last.is_empty() {
                            let _ = stream.write_all(last).await;
                            let _ = stream.shutdown().await;
                            return;
                        }
                        if here == 2 {
                            return;
                        }
                        // 200 from the static table, end of headers and of the stream.
                        let mut answer = vec![0, 0, 1, 1, 5];
                        answer.extend_from_slice(&head[5..9]);
                        answer.push(0x88);
                        let _ = stream.write_all(&answer).await;
                    }
                }
            });
        }
    });
    (address, requests)
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_request_is_the_end_of_all_but_safe_ones() {
    /// GOAWAY that takes stream 1 and no more: the second request was not looked at.
    const EXCLUDED: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    /// GOAWAY that includes stream 3, which is then not answered.
    const INCLUDED: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
    for (line, last, expected, requests) in [
        ("GET /orders", &[][..], "200 |", 3),
        ("POST /orders", &[][..], "502 upstream_closed", 2),
        ("DELETE /orders", &[][..], "502 upstream_closed", 2),
        ("GET /orders", EXCLUDED, "200 |", 3),
        ("POST /orders", EXCLUDED, "200 |", 3),
        ("DELETE /orders", EXCLUDED, "200 |", 3),
        ("GET /orders", INCLUDED, "200 |", 3),
        ("POST /orders", INCLUDED, "502 upstream_closed", 2),
    ] {
        let (address, counter) = server_that_ends(last).await;
        let sender = sender(http2(address));
        assert_eq!(text(sender.get().await).await, "200 |");
        let answered = text(sender.send(line, &[], Empty::new()).await).await;
        assert_eq!((answered.as_str(), counter.load(Ordering::SeqCst)), (expected, requests), "{line} {last:?}");
    }
}

// -- a peer that is gone ---------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_server_that_is_silent_and_does_not_answer_a_ping_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gone, mut is_gone) = mpsc::channel(1);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        // Takes everything and says nothing more.
        while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
        let _ = gone.send(()).await;
    });
    let sender = with_settings(http2(address), |settings| {
        settings.ping_after = Duration::from_millis(60);
        settings.pong_within = Duration::from_millis(60);
    });
    assert_eq!(text(sender.post("x").await).await, "502 upstream_closed");
    soon("the end of the connection", is_gone.recv()).await;
}

#[tokio::test]
async fn a_server_that_is_silent_and_answers_pings_is_waited_for() {
    let origin = Origin::start(|_, respond| {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            answer(respond, "late");
        });
    })
    .await;
    let sender = with_settings(http2(origin.address), |settings| {
        settings.ping_after = Duration::from_millis(30);
        settings.pong_within = Duration::from_millis(200);
    });
    assert_eq!(text(sender.get().await).await, "200 |late");
}

// -- flow control ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn who_leaves_resets_the_stream_and_nothing_else() {
    let (told, mut hears) = mpsc::unbounded_channel();
    let origin = Origin::start(move |request, mut respond| {
        let told = told.clone();
        if request.uri().path() == "/orders" {
            return answer(respond, "x");
        }
        tokio::spawn(async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"first"), false).unwrap();
            let reason = std::future::poll_fn(|context| stream.poll_reset(context)).await;
            let _ = told.send(reason.ok());
        });
    })
    .await;
    let sender = sender(http2(origin.address));
    let mut answer = sender.send("GET /orders/1", &[], Empty::new()).await.unwrap();
    let first = soon("a piece", answer.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "first");
    drop(answer);
    assert_eq!(soon("the reset", hears.recv()).await, Some(Some(Reason::CANCEL)));
    assert_eq!(text(sender.get().await).await, "200 |x");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn both_directions_go_on_independently() {
    // The server answers at once and echoes; the caller sends on for as long as it likes, reading or not.
    let origin = Origin::start(|request, mut respond| {
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            let mut received = 0;
            while let Some(Ok(piece)) = body.data().await {
                received += piece.len();
                let _ = body.flow_control().release_capacity(piece.len());
            }
            let _ = stream.send_data(Bytes::from(format!("received {received}")), true);
        });
    })
    .await;
    let sender = sender(http2(origin.address));
    let (feeder, body) = fed(None);
    feeder.data("begin");
    let mut answer = sender.send("POST /orders", &[], body).await.unwrap();
    // Nobody reads the answer, and the request goes on: more than any window holds.
    for _ in 0..64 {
        feeder.data(vec![0; 64 * 1024]);
    }
    drop(feeder);
    let mut read = Vec::new();
    while let Some(frame) = soon("the rest", answer.body_mut().frame()).await {
        read.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert_eq!(String::from_utf8(read).unwrap(), format!("received {}", 5 + 64 * 64 * 1024));
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_up_no_other() {
    // Each answer is far larger than a window; more streams stall than would fill a window of the usual size.
    let origin = Origin::start(|request, mut respond| {
        if request.uri().path() == "/orders" {
            return answer(respond, "x");
        }
        tokio::spawn(async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            for _ in 0..64 {
                let piece = Bytes::from(vec![7; 64 * 1024]);
                let mut left = piece;
                while !left.is_empty() {
                    stream.reserve_capacity(left.len());
                    match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
                        Some(Ok(room)) => {
                            let part = left.split_to(room.min(left.len()));
                            if stream.send_data(part, false).is_err() {
                                return;
                            }
                        }
                        _ => return,
                    }
                }
            }
            let _ = stream.send_data(Bytes::new(), true);
        });
    })
    .await;
    let sender = sender(http2(origin.address));
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(sender.send("GET /orders/large", &[], Empty::new()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..10 {
        assert_eq!(text(sender.get().await).await, "200 |x");
    }
    let whole = soon("the whole of one", stalled.pop().unwrap().into_body().collect()).await.unwrap();
    assert_eq!(whole.to_bytes().len(), 4 * 1024 * 1024);
    assert_eq!(origin.connections(), 1);
}
