//! gRPC from end to end: messages both ways, trailers, calls that are cancelled, refusals in words that its libraries read.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::support::certificates::Certificate;
use super::support::{Gateway, Http2Origin, Report, wait};

const CONFIG: &str = r#"
listen: [ { address: 127.0.0.1:0, protocol: h2c } ]
upstreams: { api: { url: "{{origin}}", protocol: http2 } }
clients: [ { id: shop, client_type: cms, keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" } ] } ]
endpoints:
  - { name: echo, path: /echo.Echo, upstream: api, api_key: required }
  - { name: closed, path: /admin.Admin, upstream: api, client_types: [admin] }
  - { name: open, path: /open.Open, upstream: api, public: true }
"#;

/// What a library of gRPC sends with each call.
const USUAL: [(&str, &str); 3] = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "5S")];
const KEY: (&str, &str) = ("x-api-key", "shop-key");

/// A caller with one connection.
struct Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

/// How a call ended: status, fields, the text of all messages, trailers; or the code that its stream was reset with.
type Ended = Result<(u16, HeaderMap, String, HeaderMap), Option<u32>>;

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("it listens");
            let (sender, connection) = h2::client::handshake(stream).await.expect("an HTTP/2 connection");
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    fn open(&self, path: &str, fields: &[(&str, &str)]) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::post(format!("http://grpc.test{path}"));
        for (name, value) in USUAL.iter().chain(fields) {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let mut sender = self.sender.clone();
        self.wait(async move {
            std::future::poll_fn(|context| sender.poll_ready(context)).await.expect("a connection");
            sender.send_request(request, false).expect("a stream")
        })
    }

    /// One message, and all of the answer.
    fn call(&self, path: &str, fields: &[(&str, &str)], message: &'static str) -> Ended {
        let (response, mut stream) = self.open(path, fields);
        // A refusal may have come before.
        let _ = stream.send_data(Bytes::from_static(message.as_bytes()), true);
        self.wait(async move {
            let (head, mut body) = response.await.map_err(reset_code)?.into_parts();
            let mut text = String::new();
            while let Some(piece) = body.data().await {
                let piece = piece.map_err(reset_code)?;
                let _ = body.flow_control().release_capacity(piece.len());
                text.push_str(&String::from_utf8_lossy(&piece));
            }
            let trailers = body.trailers().await.map_err(reset_code)?.unwrap_or_default();
            Ok((head.status.as_u16(), head.headers, text, trailers))
        })
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let in_time = async { tokio::time::timeout(wait::DEADLINE, future).await.expect("in time") };
        self.runtime.block_on(in_time)
    }
}

fn reset_code(error: h2::Error) -> Option<u32> {
    error.reason().map(u32::from)
}

async fn piece(body: &mut RecvStream) -> String {
    let piece = body.data().await.expect("a piece").expect("no error");
    let _ = body.flow_control().release_capacity(piece.len());
    String::from_utf8_lossy(&piece).into_owned()
}

fn field<'h>(fields: &'h HeaderMap, name: &str) -> Option<&'h str> {
    fields.get(name).map(|value| value.to_str().expect("text"))
}

#[test]
fn a_call_passes_with_its_trailers_and_nothing_but_what_may_pass() {
    let certificate = Certificate::of(&["origin.test"]);
    for (name, origin) in
        [("clear text", Http2Origin::start()), ("TLS", Http2Origin::over_tls(&certificate, &["h2", "http/1.1"]))]
    {
        let is_tls = name == "TLS";
        let yaml = match is_tls {
            true => CONFIG.replace("protocol: http2", "protocol: http2, tls: { ca: ca.pem, server_name: origin.test }"),
            false => CONFIG.to_owned(),
        };
        let url = if is_tls { format!("https://{}", origin.address()) } else { origin.url() };
        let gateway = Gateway::with(&yaml).named_origin("", &url).file("ca.pem", &certificate.certificate).start();
        let client = Client::connect(gateway.address());
        let forged = [
            KEY,
            ("x-client-id", "root"),
            ("client_type", "root"),
            ("x-forwarded-for", "1.2.3.4"),
            ("my-trace-bin", "AAEC"),
        ];
        for round in 0..3 {
            let (status, fields, text, trailers) = client.call("/echo.Echo/Echo", &forged, "hello").expect("an answer");
            assert_eq!((status, text.as_str()), (200, "hello"), "{name} {round}");
            assert_eq!(field(&fields, "content-type"), Some("application/grpc"), "{name}");
            assert_eq!(field(&trailers, "grpc-status"), Some("0"), "{name}");
        }
        let seen = origin.take();
        assert_eq!(seen.len(), 3);
        for seen in seen {
            let (method, scheme, authority, path) = &seen.target;
            let scheme_sent = if is_tls { "https" } else { "http" };
            assert_eq!(
                (method.as_str(), scheme.as_str(), authority.as_str(), path.as_str()),
                ("POST", scheme_sent, "grpc.test", "/echo.Echo/Echo")
            );
            let mut report = Report::new();
            for (name, value) in [
                ("te", Some("trailers")),
                ("grpc-timeout", Some("5S")),
                ("content-type", Some("application/grpc")),
                ("my-trace-bin", Some("AAEC")),
                ("x-client-id", Some("shop")),
                ("client-type", Some("cms")),
                ("x-client-key-id", Some("key_1")),
                ("x-forwarded-for", Some("127.0.0.1")),
                ("x-forwarded-proto", Some("http")),
                ("x-forwarded-host", Some("grpc.test")),
                ("x-api-key", None),
                ("client_type", None),
                ("host", None),
                ("connection", None),
                ("transfer-encoding", None),
            ] {
                report.equal(name, seen.field(name), value);
            }
        }
        assert_eq!(origin.connections(), 1, "{name}");
    }
}

#[test]
fn an_answer_of_trailers_alone_passes_as_such() {
    let origin = Http2Origin::start();
    let gateway = Gateway::with(CONFIG).named_origin("", &origin.url()).start();
    let client = Client::connect(gateway.address());
    let (response, mut stream) = client.open("/echo.Echo/Refuse", &[KEY]);
    // The answer may have come before, which ends the stream.
    let _ = stream.send_data(Bytes::from_static(b"x"), true);
    let response = client.wait(response).expect("an answer");
    assert_eq!(field(response.headers(), "grpc-status"), Some("5"));
    assert_eq!(field(response.headers(), "grpc-message"), Some("no such thing"));
    assert!(response.body().is_end_stream());
}

#[test]
fn a_conversation_goes_back_and_forth_and_may_be_silent_in_between() {
    let origin = Http2Origin::start();
    // Shorter than the silence, and for bodies that are no conversation.
    let yaml =
        CONFIG.replace("protocol: http2", "protocol: http2, body_timeout: 200ms") + "timeouts: { body: 200ms }\n";
    let gateway = Gateway::with(&yaml).named_origin("", &origin.url()).start();
    let client = Client::connect(gateway.address());
    let (response, mut stream) = client.open("/echo.Echo/Chat", &[KEY]);
    client.wait(async {
        stream.send_data(Bytes::from_static(b"0"), false).expect("sent");
        let mut body = response.await.expect("an answer").into_body();
        assert_eq!(piece(&mut body).await, "0");
        for round in 1..20 {
            if round == 10 {
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
            stream.send_data(Bytes::from(round.to_string()), false).expect("sent");
            assert_eq!(piece(&mut body).await, round.to_string());
        }
        stream.send_data(Bytes::new(), true).expect("sent");
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.expect("no error").expect("trailers");
        assert_eq!(field(&trailers, "grpc-status"), Some("0"));
    });
}

#[test]
fn a_call_that_its_caller_cancels_ends_at_the_upstream() {
    let origin = Http2Origin::start();
    let gateway = Gateway::with(CONFIG).named_origin("", &origin.url()).start();
    let client = Client::connect(gateway.address());
    for path in ["/echo.Echo/Wait", "/echo.Echo/Think"] {
        let (response, mut stream) = client.open(path, &[KEY]);
        stream.send_data(Bytes::from_static(b"x"), true).expect("sent");
        wait::until("the call at the upstream", || (!origin.take().is_empty()).then_some(()));
        if path.ends_with("Wait") {
            let mut body = client.wait(response).expect("an answer").into_body();
            assert_eq!(client.wait(piece(&mut body)), "first");
        }
        stream.send_reset(h2::Reason::CANCEL);
        assert_eq!(origin.wait_for_reset(), u32::from(h2::Reason::CANCEL), "{path}");
    }
    // So does one whose caller goes away with its connection; others go on where they were.
    let leaving = Client::connect(gateway.address());
    let (_response, _stream) = leaving.open("/echo.Echo/Think", &[KEY]);
    wait::until("the call at the upstream", || (!origin.take().is_empty()).then_some(()));
    drop(leaving);
    assert_eq!(origin.wait_for_reset(), u32::from(h2::Reason::CANCEL));
    assert!(client.call("/echo.Echo/Echo", &[KEY], "x").is_ok());
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_call_that_the_upstream_cancels_ends_at_its_caller() {
    let origin = Http2Origin::start();
    let gateway = Gateway::with(CONFIG).named_origin("", &origin.url()).start();
    let client = Client::connect(gateway.address());
    let ended = client.call("/echo.Echo/Abort", &[KEY], "x");
    assert_eq!(ended.expect_err("it was cut"), Some(u32::from(h2::Reason::CANCEL)));
    let line = &gateway.wait_for_access_lines(1)[0];
    assert_eq!((&line["response.status"], &line["code"]), (&200.into(), &"upstream_reset".into()), "{line}");
    assert!(client.call("/echo.Echo/Echo", &[KEY], "x").is_ok());
}

#[test]
fn what_a_key_has_open_ends_with_the_key_on_both_sides() {
    let origin = Http2Origin::start();
    let gateway = Gateway::with(CONFIG).named_origin("", &origin.url()).start();
    let client = Client::connect(gateway.address());
    let (response, mut stream) = client.open("/echo.Echo/Wait", &[KEY]);
    stream.send_data(Bytes::from_static(b"x"), false).expect("sent");
    let mut body = client.wait(response).expect("an answer").into_body();
    assert_eq!(client.wait(piece(&mut body)), "first");
    gateway.reload(&CONFIG.replace("{{digest:shop-key}}", "{{digest:another-key}}"));
    assert!(client.wait(body.data()).expect("not the end").is_err(), "the conversation went on");
    origin.wait_for_reset();
    let refused = client.call("/echo.Echo/Echo", &[KEY], "x").expect("an answer");
    assert_eq!(field(&refused.1, "grpc-status"), Some("16"));
}

#[test]
fn refusals_are_told_in_grpc_and_recorded_as_what_they_are() {
    let origin = Http2Origin::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let yaml = CONFIG
        .replace("endpoints:", "endpoints:\n  - { name: gone, path: /gone.Gone, upstream: gone, public: true }")
        .replace("upstreams: {", &format!("upstreams: {{ gone: {{ url: \"http://{free}\", protocol: http2 }},"));
    let gateway = Gateway::with(&yaml).named_origin("", &origin.url()).start();
    let client = Client::connect(gateway.address());
    let mut report = Report::new();
    for (path, fields, status, grpc_status, code) in [
        ("/echo.Echo/Echo", &[][..], 401, "16", "credential_missing"),
        ("/echo.Echo/Echo", &[("x-api-key", "nobody")][..], 401, "16", "credential_rejected"),
        ("/admin.Admin/Echo", &[KEY][..], 403, "7", "client_type_not_allowed"),
        ("/nowhere.Nowhere/Echo", &[KEY][..], 404, "12", "endpoint_not_found"),
        ("/echo.Echo/../admin.Admin/Echo", &[KEY][..], 400, "3", "path_ambiguous"),
        ("/gone.Gone/Echo", &[][..], 502, "14", "upstream_unreachable"),
    ] {
        let (answered, fields, text, trailers) = client.call(path, fields, "x").expect("an answer");
        report.equal(path, (answered, text.as_str(), trailers.len()), (200, "", 0));
        report.equal(path, field(&fields, "content-type"), Some("application/grpc"));
        report.equal(path, field(&fields, "grpc-status"), Some(grpc_status));
        report.equal(path, field(&fields, "x-error-code"), Some(code));
        report.holds(path, "a message", field(&fields, "grpc-message").is_some_and(|message| !message.is_empty()));
        let line = gateway.wait_for_access_lines(1).pop().expect("a line");
        report.equal(path, &line["response.status"], &status.into());
    }
    assert!(origin.take().is_empty());
    // What is no call of gRPC is told in HTTP.
    let h2 = super::support::http2::H2::connect(gateway.address());
    let plain = h2.call("POST", "http://grpc.test/echo.Echo/Echo", &[], b"").expect("an answer");
    assert_eq!(plain.verdict(), "401 credential_missing");
}
