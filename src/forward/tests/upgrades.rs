//! Connections that become something else, with a real server in front.

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::*;

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    sec-websocket-accept: x\r\n\r\n";
const ASK: &str = "GET /orders HTTP/1.1\r\nhost: api.example.com\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: x\r\n\r\n";

/// A gateway of one connection: hyper in front, a forwarder behind. Gives the caller's end.
async fn caller(sender: Arc<Sender>) -> Conversation {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let sender = sender.clone();
            async move {
                let upgrade = hyper::upgrade::on(&mut request);
                let (parts, body) = request.into_parts();
                let peer = peer();
                let outgoing = outgoing(&parts, &peer);
                let answer = sender.forwarder.send(&sender.permit, outgoing, body, Some(upgrade)).await;
                Ok::<_, std::convert::Infallible>(answer.unwrap_or_else(|error| {
                    let mut response = Response::new(Body::full(error.code()));
                    *response.status_mut() = error.status();
                    response
                }))
            }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    });
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Conversation { stream, unread: Vec::new() }
}

async fn tunnel(said: &'static str) -> (Arc<Sender>, Conversation, Conversation) {
    let (origin, address) = Origin::start().await;
    let permit = permit(endpoint(upstream(vec![server(address)])));
    let permit = known(permit, CredentialUse::AuthorizationIsNotOurs);
    let sender = Arc::new(Sender::with(permit));
    let mut caller = caller(sender.clone()).await;
    caller.send(ASK).await;
    let mut server = origin.accept().await;
    let head = server.head().await;
    assert!(head.contains("upgrade: websocket\r\nconnection: upgrade\r\n"), "{head}");
    server.send(said).await;
    (sender, caller, server)
}

#[tokio::test]
async fn bytes_pass_both_ways_after_101() {
    let (sender, mut caller, mut server) = tunnel(SWITCH).await;
    assert_eq!(
        caller.head().await.to_lowercase(),
        "http/1.1 101 switching protocols\r\nsec-websocket-accept: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    let large = "x".repeat(1_000_000);
    for text in ["ping", "GET / HTTP/1.1\r\n\r\n", &large] {
        let (sent, got) = tokio::join!(caller.send(text), server.bytes(text.len()));
        assert_eq!(((), got.as_str()), (sent, text));
        let (sent, got) = tokio::join!(server.send(text), caller.bytes(text.len()));
        assert_eq!(((), got.as_str()), (sent, text));
    }
    assert_eq!(sender.forwarder.tunnels().count(), 1);
    drop(server);
    caller.rest().await;
    drop(caller);
    soon("the end of the tunnel", sender.forwarder.tunnels().closed()).await;
    assert_eq!(sender.forwarder.idle_connections(), 0);
}

#[tokio::test]
async fn what_the_server_says_right_behind_its_head_is_not_lost() {
    let (_sender, mut caller, _server) =
        tunnel("HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\r\nhello").await;
    caller.head().await;
    assert_eq!(caller.bytes(5).await, "hello");
}

#[tokio::test]
async fn one_side_may_end_and_the_other_finish() {
    let (_sender, mut caller, mut server) = tunnel(SWITCH).await;
    caller.head().await;
    caller.send("last words").await;
    caller.stream.shutdown().await.unwrap();
    assert_eq!(server.rest().await, "last words");
    server.send("answer").await;
    drop(server);
    assert_eq!(caller.rest().await, "answer");
}

#[tokio::test]
async fn a_tunnel_can_be_cut_by_key_and_all_can() {
    let (sender, mut caller, mut server) = tunnel(SWITCH).await;
    caller.head().await;
    let cut = |key: &str| sender.forwarder.streams().cut_unless(|id, _| id.as_str() != key);
    assert_eq!(cut("key_2"), 0);
    caller.send("still there").await;
    assert_eq!(server.bytes(11).await, "still there");
    assert_eq!(cut("key_1"), 1);
    assert_eq!((caller.rest().await, server.rest().await), (String::new(), String::new()));

    let (sender, mut caller, mut server) = tunnel(SWITCH).await;
    caller.head().await;
    sender.forwarder.streams().cut_all();
    assert_eq!((caller.rest().await, server.rest().await), (String::new(), String::new()));
    soon("the end of the tunnels", sender.forwarder.tunnels().closed()).await;
}

#[tokio::test]
async fn a_silent_tunnel_is_closed() {
    let (origin, address) = Origin::start().await;
    let mut upstream = upstream(vec![server(address)]);
    upstream.timeouts.tunnel = Duration::from_millis(80);
    let sender = Arc::new(Sender::with(permit(endpoint(upstream))));
    let mut caller = caller(sender.clone()).await;
    caller.send(ASK).await;
    let mut server = origin.accept().await;
    server.head().await;
    server.send(SWITCH).await;
    caller.head().await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        caller.send("x").await;
        assert_eq!(server.bytes(1).await, "x", "it is not silent");
    }
    assert_eq!((caller.rest().await, server.rest().await), (String::new(), String::new()));
}

#[tokio::test]
async fn after_a_refused_upgrade_bytes_are_another_request() {
    let (_sender, mut caller, mut server) = tunnel("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno").await;
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert_eq!(caller.bytes(2).await, "no");
    caller.send("GET /orders/2 HTTP/1.1\r\nhost: api.example.com\r\nx-client-id: admin\r\n\r\n").await;
    let second = server.head().await;
    assert!(second.starts_with("GET /orders/2 HTTP/1.1\r\n"), "{second}");
    assert!(second.contains("x-client-id: ann\r\n") && !second.contains("admin"), "{second}");
}

#[tokio::test]
async fn another_protocol_than_the_one_asked_for_is_refused() {
    for said in [
        "HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 S\r\nconnection: upgrade\r\n\r\n",
    ] {
        let (sender, mut caller, mut server) = tunnel(said).await;
        let head = caller.head().await;
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        assert_eq!(server.rest().await, "");
        assert_eq!(sender.forwarder.tunnels().count(), 0);
    }
}

#[tokio::test]
async fn the_caller_is_told_to_continue_only_when_there_is_somebody_to_continue_to() {
    const EXPECT: &str =
        "POST /orders HTTP/1.1\r\nhost: api.example.com\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    let (origin, address) = Origin::start().await;
    let mut waiting = caller(Arc::new(Sender::to(address))).await;
    waiting.send(EXPECT).await;
    let mut server = origin.accept().await;
    let head = server.head().await;
    assert!(!head.contains("expect"), "{head}");
    assert_eq!(waiting.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    waiting.send("abc").await;
    assert_eq!(server.bytes(3).await, "abc");
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert!(waiting.head().await.starts_with("HTTP/1.1 200"));
    drop(origin);

    let mut refused = caller(Arc::new(Sender::to(address))).await;
    refused.send(EXPECT).await;
    assert!(refused.head().await.starts_with("HTTP/1.1 502"), "nobody is there to take the body");
}
