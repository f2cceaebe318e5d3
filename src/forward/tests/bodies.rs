//! What callers send, and what becomes of it on the way.

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SHOWN: &str = "200 content-length=2 |ok";

#[tokio::test]
async fn a_small_body_leaves_with_its_head() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        let mut first = vec![0; 4096];
        let count = conversation.stream.read(&mut first).await.unwrap();
        conversation.send(OK).await;
        String::from_utf8(first[..count].to_vec()).unwrap()
    });
    assert_eq!(text(sender.post("hello").await).await, SHOWN);
    let first_read = server.await.unwrap();
    assert!(first_read.ends_with("content-length: 5\r\n\r\nhello"), "{first_read}");
}

#[tokio::test]
async fn a_body_of_known_length_is_sent_as_it_is() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let (feeder, body) = fed(Some(100_003));
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        assert!(conversation.head().await.contains("content-length: 100003\r\n"));
        feeder.data("abc");
        feeder.data("x".repeat(100_000));
        drop(feeder);
        let body = conversation.bytes(100_003).await;
        conversation.send(OK).await;
        body
    });
    assert_eq!(text(sender.send("PUT /orders", &[], body).await).await, SHOWN);
    assert_eq!(server.await.unwrap(), format!("abc{}", "x".repeat(100_000)));
    assert_eq!(sender.forwarder.idle_connections(), 1);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_sent_in_chunks() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let (feeder, body) = fed(None);
    let large = "y".repeat(20_000);
    let expected = format!("3\r\nabc\r\n4e20\r\n{large}\r\n1\r\nz\r\n0\r\n\r\n");
    let count = expected.len();
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        assert!(conversation.head().await.ends_with("transfer-encoding: chunked\r\n\r\n"));
        feeder.data("abc");
        // The line end of a chunk does not wait for the next one.
        assert_eq!(conversation.bytes(8).await, "3\r\nabc\r\n");
        feeder.data(large.clone());
        assert_eq!(conversation.bytes(20_008).await, format!("4e20\r\n{large}\r\n"));
        feeder.data("");
        feeder.data("z");
        feeder.trailers(&[("x-sum", "1")]);
        let rest = conversation.bytes(count - 20_016).await;
        conversation.send(OK).await;
        rest
    });
    assert_eq!(text(sender.send("POST /orders", &[], body).await).await, SHOWN);
    assert_eq!(server.await.unwrap(), "1\r\nz\r\n0\r\n\r\n");
    assert_eq!(sender.forwarder.idle_connections(), 1);
}

#[tokio::test]
async fn trailers_pass_where_an_endpoint_asks_for_them_and_hold_nothing_forged() {
    let (origin, address) = Origin::start().await;
    let endpoint = Endpoint { passes_request_trailers: true, ..endpoint(upstream(vec![server(address)])) };
    let sender = Sender::with(permit(endpoint));
    let (feeder, body) = fed(None);
    feeder.data("abc");
    feeder.trailers(&[
        ("x-sum", "1"),
        ("x-client-id", "admin"),
        ("x_client_id", "admin"),
        ("x-api-key", "k"),
        ("x_api_key", "k"),
        ("content-length", "5"),
        ("transfer_encoding", "chunked"),
        ("x-forwarded-for", "10.0.0.1"),
        ("authorization", "Bearer t"),
        ("cookie", "a=b"),
        ("host", "other"),
    ]);
    let expected = "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        assert!(conversation.head().await.ends_with("transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"));
        let body = conversation.bytes(expected.len()).await;
        conversation.send(OK).await;
        body
    });
    assert_eq!(text(sender.send("POST /orders", &[("trailer", "x-sum")], body).await).await, SHOWN);
    assert_eq!(server.await.unwrap(), expected);
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_never_ends_a_request() {
    for (sent, expected) in [("abcdef", "400 body_malformed"), ("ab", "400 body_malformed")] {
        let (origin, address) = Origin::start().await;
        let sender = Sender::to(address);
        let (feeder, body) = fed(Some(3));
        feeder.data(sent);
        drop(feeder);
        let server = tokio::spawn(async move {
            let mut conversation = origin.accept().await;
            conversation.rest().await
        });
        assert_eq!(text(sender.send("POST /orders", &[], body).await).await, expected);
        let seen = server.await.unwrap();
        assert!(!seen.contains("abc"), "{seen}");
        assert_eq!(sender.forwarder.idle_connections(), 0);
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_body_is_the_callers() {
    let rows = [
        (RequestBodyError::TooLarge, "413 body_too_large"),
        (RequestBodyError::TimedOut, "408 body_timeout"),
        (RequestBodyError::Closed(None), "400 downstream_closed"),
        (RequestBodyError::Malformed(None), "400 body_malformed"),
    ];
    for (error, expected) in rows {
        let (origin, address) = Origin::start().await;
        let sender = Sender::to(address);
        let (feeder, body) = fed(None);
        let server = tokio::spawn(async move {
            let mut conversation = origin.accept().await;
            conversation.head().await;
            feeder.data("abc");
            conversation.bytes(8).await;
            feeder.fail(error);
            conversation.rest().await
        });
        assert_eq!(text(sender.send("POST /orders", &[], body).await).await, expected);
        assert_eq!(server.await.unwrap(), "", "{expected}: the last chunk must not be sent");
    }
}

#[tokio::test]
async fn the_body_is_not_asked_for_before_there_is_a_connection() {
    let (origin, address) = Origin::start().await;
    drop(origin);
    let sender = Sender::to(address);
    let (feeder, body) = fed(Some(3));
    feeder.data("abc");
    let answer = sender.send("POST /orders", &[], NeverPolled(body)).await;
    assert_eq!(text(answer).await, "502 upstream_connect_refused");
}

/// hyper tells the caller to go on with its body when the body is polled.
struct NeverPolled(Fed);

impl http_body::Body for NeverPolled {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        panic!("the body was asked for");
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[tokio::test]
async fn an_early_answer_passes_while_the_body_goes_on() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let (feeder, body) = fed(None);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n").await;
        feeder.data("abc");
        assert_eq!(conversation.bytes(8).await, "3\r\nabc\r\n");
        conversation.send("1234").await;
        feeder.data("de");
        drop(feeder);
        assert_eq!(conversation.bytes(12).await, "2\r\nde\r\n0\r\n\r\n");
        conversation.send("5678").await;
        assert_eq!(conversation.rest().await, "", "closed: an early answer leaves a doubt");
    });
    let response = sender.send("POST /orders", &[], body).await;
    assert_eq!(text(response).await, "200 content-length=8 |12345678");
    server.await.unwrap();
    assert_eq!(sender.forwarder.idle_connections(), 0);
}

#[tokio::test]
async fn an_answer_that_ends_before_the_request_closes_the_connection() {
    for said in [
        "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 413 Too Large\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (origin, address) = Origin::start().await;
        let sender = Sender::to(address);
        let (feeder, body) = fed(None);
        let server = tokio::spawn(async move {
            let mut conversation = origin.accept().await;
            conversation.head().await;
            conversation.send(said).await;
            conversation.rest().await
        });
        let answer = text(sender.send("POST /orders", &[], body).await).await;
        assert!(answer.starts_with("413"), "{answer}");
        assert_eq!(server.await.unwrap(), "", "nothing may look like the end of the request");
        drop(feeder);
    }
}

#[tokio::test]
async fn an_answer_is_heard_though_the_server_takes_no_more() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let (feeder, body) = fed(Some(50_000_000));
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        conversation.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno").await;
        conversation
    });
    feeder.data(vec![b'x'; 40_000_000]);
    let answer = text(sender.send("POST /orders", &[], body).await).await;
    assert_eq!(answer, "413 content-length=2 |no");
    drop(server.await.unwrap());
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_not_waited_for() {
    let (origin, address) = Origin::start().await;
    let mut upstream = upstream(vec![server(address)]);
    upstream.timeouts.body = Duration::from_millis(80);
    let sender = Sender::with(permit(endpoint(upstream)));
    let (feeder, body) = fed(None);
    feeder.data(vec![b'x'; 40_000_000]);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    assert_eq!(text(sender.send("POST /orders", &[], body).await).await, "504 upstream_send_timeout");
    server.abort();
}

#[tokio::test]
async fn a_slow_caller_is_not_the_servers_fault() {
    let (origin, address) = Origin::start().await;
    let mut upstream = upstream(vec![server(address)]);
    upstream.timeouts.body = Duration::from_millis(40);
    upstream.timeouts.response = Duration::from_millis(40);
    let sender = Sender::with(permit(endpoint(upstream)));
    let (feeder, body) = fed(None);
    tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        feeder.data("abc");
        drop(feeder);
        conversation.bytes(13).await;
        conversation.send(OK).await;
        conversation.rest().await;
    });
    assert_eq!(text(sender.send("POST /orders", &[], body).await).await, SHOWN);
}

#[tokio::test]
async fn the_echo_shows_what_an_upstream_would_get() {
    let mut upstream = upstream(vec![]);
    upstream.kind = UpstreamKind::Echo;
    let sender = Sender::with(permit(endpoint(upstream)));
    let fields = [("x-api-key", "secret"), ("X-Client-Id", "admin"), ("accept", "*/*")];
    let response = sender.send("POST /orders/1?a=%20b", &fields, Full::from("hi")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let shown: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let expected = serde_json::json!({
        "method": "POST",
        "path": "/orders/1",
        "query": "a=%20b",
        "headers": {
            "host": "api.example.com",
            "accept": "*/*",
            "x-forwarded-for": "192.0.2.7",
            "x-forwarded-proto": "http",
            "x-forwarded-host": "api.example.com",
            "x-request-id": "req-1",
            "content-length": "2",
        },
        "body": { "size": 2, "text": "hi" },
        "caller": null,
    });
    assert_eq!(shown, expected);
    let binary = sender.send("POST /", &[], Full::from(&b"\xff\x00"[..])).await.unwrap();
    let body = binary.into_body().collect().await.unwrap().to_bytes();
    let shown: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(shown["body"], serde_json::json!({ "size": 2, "base64": "/wA=" }));
}
