//! What servers say, well-formed and not, and what the caller gets of it.

use super::*;

/// Sends a request to a server that says this and closes, and tells what the caller gets.
async fn answer(method: &str, said: &'static str) -> String {
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        conversation.send(said).await;
    });
    let answer = text(sender.send(&format!("{method} /orders"), &[], Empty::new()).await).await;
    server.await.unwrap();
    assert_eq!(sender.forwarder.idle_connections(), 0, "{said:?} was kept");
    answer
}

#[tokio::test]
async fn well_formed_answers_come_back_whole() {
    let rows = [
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc", "200 content-length=3 |abc"),
        ("GET", "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", "200 content-length=3 |abc"),
        ("GET", "HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 |until the end"),
        ("GET", "HTTP/1.0 404 No\r\nX-A: 1\r\nx-a: 2\r\n\r\n", "404 x-a=1 x-a=2 |"),
        ("GET", "HTTP/1.1 200\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "200 content-length=0 |"),
        ("GET", "HTTP/1.1 204 No\r\nconnection: close\r\n\r\n", "204 |"),
        ("GET", "HTTP/1.1 204 No\r\ncontent-length: 5\r\nconnection: close\r\n\r\n", "204 |"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\nconnection: close\r\n\r\n",
            "304 content-length=5 |",
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n", "200 content-length=5 |"),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n", "200 |"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\nconnection: close\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            "200 |abcde",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: close\r\n\r\n\
             1\r\na\r\n000\r\nx-sum: 7\r\ncontent-length: 9\r\nset-cookie: a=b\r\n\r\n",
            "200 trailer=x-sum |a| x-sum=7",
        ),
        (
            "GET",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na",
            "200 content-length=1 |a",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nconnection: close, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nupgrade: h2c\r\n\
             proxy-authenticate: x\r\ncontent-length: 0\r\n\r\n",
            "200 content-length=0 |",
        ),
        ("GET", "HTTP/1.1 200 OK\r\nx-name: caf\u{e9}\r\n\r\n", "200 x-name=caf\u{e9} |"),
        ("GET", "HTTP/1.1 600 Odd\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "600 content-length=0 |"),
    ];
    for (method, said, expected) in rows {
        assert_eq!(answer(method, said).await, expected, "{said:?}");
    }
}

#[tokio::test]
async fn answers_that_two_could_read_differently_are_refused() {
    const BAD: &str = "502 upstream_bad_response";
    let rows = [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 03\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 0x3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nabc",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: 1\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "<html>not HTTP at all</html>\n\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ];
    for said in rows {
        assert_eq!(answer("GET", said).await, BAD, "{said:?}");
    }
}

#[tokio::test]
async fn a_cut_answer_is_never_a_whole_one() {
    let rows = [
        ("", "502 upstream_closed"),
        ("HTTP/1.1 200 OK\r\ncontent-le", "502 upstream_closed"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "502 upstream_closed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", "200 content-length=5 |abc<upstream_body_cut>"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "200 content-length=5 |<upstream_body_cut>"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab", "200 |ab<upstream_body_cut>"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", "200 |ab<upstream_body_cut>"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n", "200 |ab<upstream_body_cut>"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "200 |<upstream_body_cut>"),
    ];
    for (said, expected) in rows {
        assert_eq!(answer("GET", said).await, expected, "{said:?}");
    }
}

#[tokio::test]
async fn malformed_chunks_break_the_answer_off() {
    for chunks in [
        "g\r\n",
        "\r\nabc\r\n",
        "-1\r\na",
        "0x1\r\na\r\n",
        "1\na\r\n0\r\n\r\n",
        "1 a\r\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r;\r\na\r\n",
        "10000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "0\r\nx-a : 1\r\n\r\n",
        "0\r\nx\0: 1\r\n\r\n",
    ] {
        let said = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        let answer = answer("GET", said.leak()).await;
        assert!(answer.ends_with("<upstream_bad_response>"), "{chunks:?} gave {answer}");
    }
}

#[tokio::test]
async fn a_head_and_what_surrounds_a_body_have_bounds() {
    let long = "a".repeat(70_000);
    let fields = "x-a: 1\r\n".repeat(200);
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17);
    let extension = format!("1;{}\r\na\r\n", "x".repeat(4096));
    let extensions = format!("1;{}\r\na\r\n", "x".repeat(4000)).repeat(5);
    let trailer = format!("0\r\nx-a: {}\r\n\r\n", "x".repeat(17_000));
    let trailers = format!("0\r\n{}\r\n", "x-a: 1\r\n".repeat(65));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let rows = [
        format!("HTTP/1.1 200 OK\r\nx-a: {long}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nx-a: {long}"),
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n"),
        interim,
        format!("{chunked}{extension}"),
        format!("{chunked}{extensions}"),
        format!("{chunked}{trailer}"),
        format!("{chunked}{trailers}"),
    ];
    for said in rows {
        let answer = answer("GET", said.clone().leak()).await;
        assert!(answer.contains("upstream_bad_response"), "{} gave {answer}", &said[..60]);
    }
}

#[tokio::test]
async fn an_answer_may_come_in_pieces_of_any_size() {
    let said = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n\
        3;ext\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nx-sum: 1\r\n\r\n";
    for size in [1, 2, 3, 7, 64] {
        let (origin, address) = Origin::start().await;
        let sender = Sender::to(address);
        let server = tokio::spawn(async move {
            let mut conversation = origin.accept().await;
            conversation.head().await;
            for piece in said.as_bytes().chunks(size) {
                conversation.send(piece).await;
                tokio::task::yield_now().await;
            }
            conversation
        });
        assert_eq!(text(sender.get().await).await, "200 x-a=1 |abc0123456789abcdef| x-sum=1", "{size}");
        drop(server.await.unwrap());
        assert_eq!(sender.forwarder.idle_connections(), 1, "{size}");
    }
}

#[tokio::test]
async fn a_large_answer_keeps_its_length_and_its_bytes() {
    const LENGTH: usize = 3_000_000;
    let (origin, address) = Origin::start().await;
    let sender = Sender::to(address);
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        conversation.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n")).await;
        let block: Vec<u8> = (0..251).collect();
        conversation.send(block.iter().copied().cycle().take(LENGTH).collect::<Vec<u8>>()).await;
        conversation
    });
    let mut body = sender.get().await.unwrap().into_body();
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(LENGTH as u64));
    let (mut seen, mut largest) = (0, 0);
    while let Some(frame) = soon("a piece", body.frame()).await {
        let piece = frame.unwrap().into_data().unwrap();
        largest = largest.max(piece.len());
        assert!(piece.iter().enumerate().all(|(at, byte)| usize::from(*byte) == (seen + at) % 251));
        seen += piece.len();
    }
    assert_eq!(seen, LENGTH);
    assert!(largest <= 64 * 1024, "a piece of {largest} bytes");
    drop(server.await.unwrap());
    assert_eq!(sender.forwarder.idle_connections(), 1);
}

#[tokio::test]
async fn a_server_that_says_nothing_or_stops_is_not_waited_for() {
    let short = Duration::from_millis(80);
    for (said, expected) in [
        ("", "504 upstream_response_timeout"),
        ("HTTP/1.1 200 OK\r\nx-a:", "504 upstream_response_timeout"),
        ("HTTP/1.1 102 Processing\r\n\r\n", "504 upstream_response_timeout"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", "200 content-length=5 |abc<upstream_body_timeout>"),
        ("HTTP/1.1 200 OK\r\n\r\nabc", "200 |abc<upstream_body_timeout>"),
    ] {
        let (origin, address) = Origin::start().await;
        let mut upstream = upstream(vec![server(address)]);
        upstream.timeouts.response = short;
        upstream.timeouts.body = short;
        let sender = Sender::with(permit(endpoint(upstream)));
        let server = tokio::spawn(async move {
            let mut conversation = origin.accept().await;
            conversation.head().await;
            conversation.send(said).await;
            assert_eq!(conversation.rest().await, "", "the connection is closed");
        });
        assert_eq!(text(sender.get().await).await, expected, "{said:?}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn an_endpoint_may_wait_longer_than_its_upstream_says() {
    let (origin, address) = Origin::start().await;
    let mut upstream = upstream(vec![server(address)]);
    upstream.timeouts.response = Duration::from_millis(20);
    let sender =
        Sender::with(permit(Endpoint { response_timeout: Some(Duration::from_secs(5)), ..endpoint(upstream) }));
    tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    });
    assert_eq!(text(sender.get().await).await, "200 content-length=0 |");
}

#[tokio::test]
async fn a_slow_reader_does_not_make_the_server_late() {
    let (origin, address) = Origin::start().await;
    let mut upstream = upstream(vec![server(address)]);
    upstream.timeouts.body = Duration::from_millis(60);
    let sender = Sender::with(permit(endpoint(upstream)));
    let server = tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        conversation.send("def").await;
        conversation
    });
    let response = sender.get().await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    drop(server.await.unwrap());
    // More than the server was given has passed, but it was we who did not read.
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "def");
}
