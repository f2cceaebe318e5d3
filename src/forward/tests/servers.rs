//! Which connection a request takes, and what happens when there is none.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::upstream::ServerTls;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SHOWN: &str = "200 content-length=2 |ok";

/// An address where nobody listens.
async fn nowhere() -> SocketAddr {
    let (origin, address) = Origin::start().await;
    drop(origin);
    address
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        for answer in [
            OK,
            "HTTP/1.1 204 No\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 304 No\r\ncontent-length: 7\r\n\r\n",
        ] {
            conversation.head().await;
            conversation.send(answer).await;
        }
        conversation
    });
    for expected in [SHOWN, "204 |", "200 |a", "200 content-length=0 |", "304 content-length=7 |"] {
        assert_eq!(text(sender.get().await).await, expected);
        assert_eq!(sender.forwarder.idle_connections(), 1, "{expected}");
    }
    drop(server.await.unwrap());
}

#[tokio::test]
async fn surplus_bytes_are_never_the_answer_to_the_next_request() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for first in [
        format!("{OK}{poison}"),
        format!("HTTP/1.1 204 No\r\n\r\n{poison}"),
        format!("HTTP/1.1 304 No\r\ncontent-length: 2\r\n\r\nok{poison}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{poison}"),
    ] {
        let (origin, address) = Origin::start().await;
        let sender = Sender::to(address);
        let server = tokio::spawn(async move {
            let mut conversation = origin.accept().await;
            conversation.head().await;
            conversation.send(first).await;
            let mut second = origin.accept().await;
            second.head().await;
            second.send(OK).await;
            (conversation, second)
        });
        let _ = text(sender.get().await).await;
        assert_eq!(text(sender.get().await).await, SHOWN);
        drop(server.await.unwrap());
    }
}

#[tokio::test]
async fn what_a_server_says_unasked_is_not_listened_to() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        conversation.send(OK).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison").await;
        let mut second = origin.accept().await;
        second.head().await;
        second.send(OK).await;
        (conversation, second)
    });
    assert_eq!(text(sender.get().await).await, SHOWN);
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(text(sender.get().await).await, SHOWN);
    drop(server.await.unwrap());
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_not_used() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let server = origin.play(&[OK, OK]);
    assert_eq!(text(sender.get().await).await, SHOWN);
    // The script closes nothing by itself: this connection is closed by hand, behind the forwarder's back.
    let idle = sender.forwarder.idle_connections();
    assert_eq!(idle, 1);
    assert_eq!(text(sender.post("x").await).await, SHOWN);
    assert_eq!(server.await.unwrap().len(), 2);
    tokio::time::sleep(Duration::from_millis(30)).await;
    sender.forwarder.shared.sweep();
    assert_eq!(sender.forwarder.idle_connections(), 0, "the server has gone, and the sweep sees it");
}

/// Takes a request, answers it, takes another on the same connection and closes without an answer. Then answers whatever
/// comes on new connections. Gives the number of requests that were read.
fn closing_under_a_request(origin: Origin, parting: &'static str) -> Arc<AtomicUsize> {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        conversation.send(OK).await;
        conversation.head().await;
        counter.fetch_add(1, Ordering::SeqCst);
        conversation.send(parting).await;
        drop(conversation);
        loop {
            let mut conversation = origin.accept().await;
            conversation.head().await;
            counter.fetch_add(1, Ordering::SeqCst);
            conversation.send(OK).await;
        }
    });
    seen
}

#[tokio::test]
async fn only_a_safe_request_is_sent_again_when_a_kept_connection_fails() {
    let rows = [
        ("GET", "", "", SHOWN, 2),
        ("HEAD", "", "", "200 content-length=2 |", 2),
        ("OPTIONS", "", "", SHOWN, 2),
        ("GET", "", "HTTP/1.1 408 Timeout\r\nconnection: close\r\n\r\n", SHOWN, 2),
        ("GET", "body", "", "502 upstream_closed", 1),
        ("POST", "", "", "502 upstream_closed", 1),
        ("POST", "body", "", "502 upstream_closed", 1),
        ("PUT", "", "", "502 upstream_closed", 1),
        ("DELETE", "", "", "502 upstream_closed", 1),
        ("GET", "", "HTTP/1.1 200 O", "502 upstream_closed", 1),
        ("POST", "", "HTTP/1.1 408 Timeout\r\nconnection: close\r\n\r\n", "408 |", 1),
    ];
    for (method, body, parting, expected, requests) in rows {
        let (origin, address) = Origin::start().await;
        let sender = Sender::to(address);
        let seen = closing_under_a_request(origin, parting);
        assert_eq!(text(sender.get().await).await, SHOWN);
        let answer = sender.send(&format!("{method} /orders"), &[], Full::from(body)).await;
        assert_eq!(text(answer).await, expected, "{method} {body:?} {parting:?}");
        assert_eq!(seen.load(Ordering::SeqCst), requests, "{method} {body:?} {parting:?}");
    }
}

#[tokio::test]
async fn a_request_of_which_nothing_could_leave_is_sent_again_whole() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        conversation.send(OK).await;
        (origin, conversation)
    });
    assert_eq!(text(sender.get().await).await, SHOWN);
    let (origin, conversation) = server.await.unwrap();
    // The reset arrives while the runtime is busy: nothing has told the forwarder of it when it takes the connection.
    socket2::SockRef::from(&conversation.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(conversation);
    std::thread::sleep(Duration::from_millis(20));
    let (feeder, body) = fed(Some(5));
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        let head = conversation.head().await;
        feeder.data("hello");
        drop(feeder);
        let body = conversation.bytes(5).await;
        conversation.send(OK).await;
        (head, body, conversation)
    });
    assert_eq!(text(sender.send("POST /orders", &[], body).await).await, SHOWN);
    let (head, body, _conversation) = server.await.unwrap();
    assert!(head.ends_with("content-length: 5\r\n\r\n"), "{head}");
    assert_eq!(body, "hello");
    assert_eq!(sender.forwarder.idle_connections(), 1);
}

#[tokio::test]
async fn a_request_on_a_new_connection_is_sent_once() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        drop(conversation);
        timeout(Duration::from_millis(100), origin.0.accept()).await.is_err()
    });
    assert_eq!(text(sender.get().await).await, "502 upstream_closed");
    assert!(server.await.unwrap(), "a second connection came");
}

#[tokio::test]
async fn a_caller_that_leaves_half_way_takes_the_connection_with_it() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
        conversation.rest().await
    });
    drop(sender.get().await.unwrap());
    assert_eq!(server.await.unwrap(), "");
    assert_eq!(sender.forwarder.idle_connections(), 0);
}

#[tokio::test]
async fn a_body_read_by_its_length_alone_frees_the_connection() {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        conversation.send("def").await;
        conversation
    });
    let mut body = sender.get().await.unwrap().into_body();
    let mut seen = 0;
    while seen < 6 {
        seen += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    // A server that knows the length does not ask for the end.
    assert!(http_body::Body::is_end_stream(&body));
    assert_eq!(sender.forwarder.idle_connections(), 1);
    drop(server.await.unwrap());
}

#[tokio::test]
async fn a_server_that_refuses_is_skipped_whatever_the_method() {
    let (origin, address) = Origin::start().await;
    let servers = vec![server(nowhere().await), server(address)];
    let sender = Sender::with(permit(endpoint(upstream(servers))));
    let answers = origin.play(&[OK, OK, OK, OK]);
    for _ in 0..4 {
        assert_eq!(text(sender.post("hello").await).await, SHOWN);
    }
    assert_eq!(answers.await.unwrap().len(), 4);
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_apart() {
    let refused = || async { Sender::with(permit(endpoint(upstream(vec![server(nowhere().await)])))) };
    assert_eq!(text(refused().await.get().await).await, "502 upstream_connect_refused");

    let none = Sender::with(permit(endpoint(upstream(vec![]))));
    assert_eq!(text(none.get().await).await, "503 upstream_unavailable");

    // A listener whose queue is full and is never emptied takes no connection.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
        fillers.push(stream);
    }
    let mut slow = upstream(vec![server(address)]);
    slow.timeouts.connect = Duration::from_millis(60);
    let slow = Sender::with(permit(endpoint(slow)));
    assert_eq!(text(slow.get().await).await, "504 upstream_connect_timeout");
}

#[tokio::test]
async fn idle_connections_are_few_and_grow_not_old() {
    let (origin, address) = Origin::start().await;
    let mut upstream = upstream(vec![server(address)]);
    upstream.max_idle = 2;
    upstream.idle_timeout = Duration::from_millis(60);
    let sender = Sender::with(permit(endpoint(upstream)));
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let mut conversation = origin.accept().await;
            open.push(tokio::spawn(async move {
                while conversation.try_head().await.is_some() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    conversation.send(OK).await;
                }
            }));
        }
    });
    let (one, two, three) = tokio::join!(sender.get(), sender.get(), sender.get());
    for answer in [one, two, three] {
        assert_eq!(text(answer).await, SHOWN);
    }
    assert_eq!(sender.forwarder.idle_connections(), 2);
    tokio::time::sleep(Duration::from_millis(80)).await;
    sender.forwarder.shared.sweep();
    assert_eq!(sender.forwarder.idle_connections(), 0);
    // An old one is not used either while nobody has swept.
    assert_eq!(text(sender.get().await).await, SHOWN);
    tokio::time::sleep(Duration::from_millis(80)).await;
    let lane = sender.forwarder.shared.transport.lane(address, None);
    assert!(lane.take(Instant::now()).is_none());
}

// -- TLS ------------------------------------------------------------------------------------------------------------

/// A server certificate for `name`, and what trusts it.
fn certificate(name: &str) -> (rustls::ServerConfig, Arc<rustls::ClientConfig>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let made = rcgen::generate_simple_self_signed([name.to_string()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, Arc::new(client))
}

fn tls_server(address: SocketAddr, name: &'static str, config: Arc<rustls::ClientConfig>) -> Server {
    let server_name = rustls_pki_types::ServerName::try_from(name).unwrap();
    Server { tls: Some(ServerTls { server_name, config }), ..server(address) }
}

/// Answers over TLS: as many requests on a connection as `answers` has, then the connection breaks without a farewell.
fn serve_tls(origin: Origin, config: rustls::ServerConfig, answers: &'static [&'static str]) -> Arc<AtomicUsize> {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = origin.0.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut unread = Vec::new();
                for answer in answers {
                    while memchr::memmem::find(&unread, b"\r\n\r\n").is_none() {
                        if stream.read_buf(&mut unread).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    unread.clear();
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.flush().await;
                }
            });
        }
    });
    connections
}

#[tokio::test]
async fn a_server_is_spoken_to_over_tls_and_its_connection_kept() {
    let (origin, address) = Origin::start().await;
    let (config, trust) = certificate("origin.internal");
    let connections = serve_tls(origin, config, &[OK, OK, OK]);
    let sender = Sender::with(permit(endpoint(upstream(vec![tls_server(address, "origin.internal", trust.clone())]))));
    for _ in 0..3 {
        assert_eq!(text(sender.post("hello").await).await, SHOWN);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_is_somebody_else_is_not_spoken_to() {
    let (origin, address) = Origin::start().await;
    let (config, trust) = certificate("origin.internal");
    serve_tls(origin, config, &[OK]);
    let (_, other_trust) = certificate("origin.internal");
    for server in [tls_server(address, "other.internal", trust), tls_server(address, "origin.internal", other_trust)] {
        let sender = Sender::with(permit(endpoint(upstream(vec![server]))));
        assert_eq!(text(sender.get().await).await, "502 upstream_tls_failed");
    }
}

#[tokio::test]
async fn a_tls_answer_without_a_farewell_is_cut() {
    let (origin, address) = Origin::start().await;
    let (config, trust) = certificate("origin.internal");
    serve_tls(origin, config, &["HTTP/1.1 200 OK\r\n\r\nperhaps not all"]);
    let sender = Sender::with(permit(endpoint(upstream(vec![tls_server(address, "origin.internal", trust)]))));
    assert_eq!(text(sender.get().await).await, "200 |perhaps not all<upstream_body_cut>");
}

#[tokio::test]
async fn connections_are_not_shared_by_two_that_trust_differently() {
    let (origin, address) = Origin::start().await;
    let (config, trust) = certificate("origin.internal");
    serve_tls(origin, config, &[OK, OK]);
    let trusting = Sender::with(permit(endpoint(upstream(vec![tls_server(address, "origin.internal", trust)]))));
    assert_eq!(text(trusting.get().await).await, SHOWN);
    assert_eq!(trusting.forwarder.idle_connections(), 1);
    let (_, other_trust) = certificate("origin.internal");
    let distrusting = Sender {
        permit: permit(endpoint(upstream(vec![tls_server(address, "origin.internal", other_trust)]))),
        forwarder: trusting.forwarder.clone(),
    };
    assert_eq!(text(distrusting.get().await).await, "502 upstream_tls_failed");
    let plain = Sender { permit: permit(endpoint(upstream(vec![server(address)]))), ..distrusting };
    assert!(text(plain.get().await).await.starts_with("502"));
    assert_eq!(plain.forwarder.idle_connections(), 1);
}
