//! Answers as servers give them, good and bad, read by our sender and by hyper's client: two readers that were written
//! apart. Both get the same bytes over a socket, at once and byte by byte, and then the end of the connection.
//!
//! What they make of it must be the same: status, fields, body, trailers, whether it was cut; or both refuse. Where we
//! refuse what hyper takes, the row says why. There is no row where we take what hyper refuses, or read something else.

use http::Request;
use hyper_util::rt::TokioIo;

use super::*;

/// How the two readers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compares {
    Same,
    /// We refuse, or break off, what hyper takes; and why.
    Stricter(&'static str),
}

use Compares::{Same, Stricter};

/// What a reader made of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Read {
    Refused,
    Answer { status: u16, fields: Vec<String>, body: String, trailers: Vec<String>, is_cut: bool },
}

const TWO_LENGTHS: Compares = Stricter("one length, said once: whoever comes after us may take the other");
const ODD_LENGTH: Compares = Stricter("a number has one decimal form");
const ODD_CODING: Compares = Stricter("we ask for no coding but chunked, alone and once");
const LENGTH_AND_CHUNKS: Compares = Stricter("two ways to find the end are one too many");
const TOO_MANY: Compares = Stricter("nobody sends so many interim answers");

/// A head with these fields, and what follows it.
fn said(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")
}

fn chunked(body: &str) -> String {
    said("transfer-encoding: chunked\r\n", body)
}

fn corpus() -> Vec<(&'static str, String, Compares)> {
    let mut rows: Vec<(&'static str, String, Compares)> = Vec::new();
    let mut get =
        |rows_of: Vec<(String, Compares)>| rows.extend(rows_of.into_iter().map(|(said, how)| ("GET", said, how)));

    // Ends: by length, by chunks, by the end of the connection, by there being nothing.
    get(vec![
        (said("content-length: 3\r\n", "abc"), Same),
        (said("content-length: 0\r\n", ""), Same),
        (said("content-length: 3\r\nconnection: close\r\n", "abc"), Same),
        (said("content-length: 3\r\n", "abcdef"), Same),
        (said("content-length: 3\r\n", "ab"), Same),
        (said("content-length: 3\r\n", ""), Same),
        (said("", ""), Same),
        (said("", "until the end"), Same),
        (said("connection: keep-alive\r\n", "until the end"), Same),
        ("HTTP/1.0 200 OK\r\n\r\nold".into(), Same),
        ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\nold".into(), Same),
        (chunked("3\r\nabc\r\n0\r\n\r\n"), Same),
        (chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nmore"), Same),
        (chunked("A\r\n0123456789\r\n00a\r\n0123456789\r\n000\r\n\r\n"), Same),
        (chunked("3;x=y;\"z\"\r\nabc\r\n0;end\r\n\r\n"), Same),
        (chunked("0\r\n\r\n"), Same),
        (chunked("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"), Same),
        (
            said("transfer-encoding: chunked\r\ntrailer: x-sum\r\n", "1\r\na\r\n0\r\nx-sum: 7\r\nx-more: 8\r\n\r\n"),
            Same,
        ),
        (said("transfer-encoding: Chunked\r\n", "1\r\na\r\n0\r\n\r\n"), Same),
        (chunked(""), Same),
        (chunked("3\r\n"), Same),
        (chunked("3\r\nab"), Same),
        (chunked("3\r\nabc"), Same),
        (chunked("3\r\nabc\r\n"), Same),
        (chunked("3\r\nabc\r\n0\r\n"), Same),
        (chunked("3\r\nabc\r\n0\r\nx-sum: 7\r\n"), Same),
    ]);

    // Statuses.
    get(vec![
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), Same),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n".into(), Same),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: x\r\n\r\n".into(), Same),
        ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n".into(), Same),
        ("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("HTTP/1.1 299 Not in any book\r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("HTTP/1.1 500 Caf\u{e9}\r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na".into(), Same),
        ("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nend".into(), Same),
        ("HTTP/1.1 100 Continue\r\n\r\n".into(), Same),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".into(),
            Stricter("nobody asked for another protocol"),
        ),
        (
            format!("{}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n".repeat(17)),
            TOO_MANY,
        ),
        ("HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("HTTP/1.1 20 Short\r\n\r\n".into(), Same),
        ("HTTP/1.1 2000 Long\r\n\r\n".into(), Same),
        ("HTTP/1.1 OK\r\n\r\n".into(), Same),
        ("HTTP/2.0 200 OK\r\n\r\n".into(), Same),
        ("HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("HTTP/0.9 200 OK\r\n\r\n".into(), Same),
        ("http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into(), Same),
        (" HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("HTTP/1.1  200 OK\r\ncontent-length: 0\r\n\r\n".into(), Same),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".into(), Same),
        ("<html></html>".into(), Same),
        (String::new(), Same),
        ("HTTP/1.1 200 OK\r\ncontent-le".into(), Same),
    ]);

    // Lengths.
    get(vec![
        (said("content-length: 3\r\ncontent-length: 3\r\n", "abc"), TWO_LENGTHS),
        (said("content-length: 3\r\ncontent-length: 4\r\n", "abcd"), Same),
        (said("content-length: 3, 3\r\n", "abc"), TWO_LENGTHS),
        (said("content-length: 3, 4\r\n", "abcd"), Same),
        (said("content-length: 03\r\n", "abc"), ODD_LENGTH),
        (said("content-length: +3\r\n", "abc"), Same),
        (said("content-length: -3\r\n", "abc"), Same),
        (said("content-length: 0x3\r\n", "abc"), Same),
        (said("content-length: 3.0\r\n", "abc"), Same),
        (said("content-length: 3 3\r\n", "abc"), Same),
        (said("content-length:\r\n", "abc"), Same),
        (said("content-length: 3\t\r\n", "abc"), Same),
        (said("content-length: \u{0663}\r\n", "abc"), Same),
        (said("content-length: 18446744073709551616\r\n", "abc"), Same),
        (said("content-length: 18446744073709551615\r\n", "abc"), Same),
        (
            said("content-length: 1844674407370955161\r\n", "abc"),
            Stricter("no answer is so long, and sums of lengths stay numbers"),
        ),
        (said("content-length: 999999999999999999\r\n", "abc"), Same),
    ]);

    // Codings.
    get(vec![
        (said("transfer-encoding: chunked\r\ncontent-length: 3\r\n", "3\r\nabc\r\n0\r\n\r\n"), LENGTH_AND_CHUNKS),
        (said("content-length: 3\r\ntransfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), LENGTH_AND_CHUNKS),
        (said("transfer-encoding: gzip, chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), ODD_CODING),
        (said("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), ODD_CODING),
        (said("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), ODD_CODING),
        (said("transfer-encoding: chunked, chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), ODD_CODING),
        (said("transfer-encoding: chunked, gzip\r\n", "3\r\nabc\r\n0\r\n\r\n"), ODD_CODING),
        (said("transfer-encoding: identity\r\n", "abc"), ODD_CODING),
        (said("transfer-encoding: xchunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), ODD_CODING),
        (said("transfer-encoding: chunked;q=1\r\n", "3\r\nabc\r\n0\r\n\r\n"), ODD_CODING),
        (said("transfer-encoding: \"chunked\"\r\n", "3\r\nabc\r\n0\r\n\r\n"), ODD_CODING),
        (said("transfer-encoding:\u{b}chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), Same),
        (said("transfer-encoding:\r\n", "abc"), ODD_CODING),
        (said("transfer_encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), Same),
        (said("transfer-encoding : chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), Same),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".into(), Same),
    ]);

    // Chunks.
    get(vec![
        (chunked("g\r\nabc\r\n0\r\n\r\n"), Same),
        (chunked("\r\nabc\r\n0\r\n\r\n"), Same),
        (chunked("-3\r\nabc\r\n0\r\n\r\n"), Same),
        (chunked("0x3\r\nabc\r\n0\r\n\r\n"), Same),
        (chunked("3 \r\nabc\r\n0\r\n\r\n"), Same),
        (chunked("3\t;x\r\nabc\r\n0\r\n\r\n"), Same),
        (chunked("3 4\r\nabc\r\n0\r\n\r\n"), Same),
        (chunked("3\nabc\r\n0\r\n\r\n"), Same),
        (chunked("3\rabc\r\n0\r\n\r\n"), Same),
        (chunked("3;a\nb\r\nabc\r\n0\r\n\r\n"), Same),
        (chunked("3;\rx\r\nabc\r\n0\r\n\r\n"), Same),
        (chunked("3\r\nabcd\r\n0\r\n\r\n"), Same),
        (chunked("3\r\nabc\n0\r\n\r\n"), Same),
        (chunked("3\r\nabc0\r\n\r\n"), Same),
        (chunked("3\r\nabc\r\n0\n\n"), Same),
        (chunked("3\r\nabc\r\n0\r\nx\r\n\r\n"), Same),
        (chunked("3\r\nabc\r\n0\r\nx : 1\r\n\r\n"), Same),
        (chunked("3\r\nabc\r\n0\r\nx: 1\ny: 2\r\n\r\n"), Same),
        (
            chunked("3\r\nabc\r\n0\r\nx: 1\n\nHTTP/1.1 200 OK\r\n\r\n"),
            Stricter("two line feeds end no trailers: what follows them would be nobody's"),
        ),
        (chunked("3\r\nabc\r\n0\r\nx: a\0b\r\n\r\n"), Same),
        (chunked("10000000000000000\r\nabc"), Same),
        (chunked("ffffffffffffffff\r\nabc"), Same),
        (chunked("fffffffffffffff\r\nabc"), Same),
        (chunked("0000000000000003\r\nabc\r\n0\r\n\r\n"), Stricter("zeros in front are no reason to read on for ever")),
        (chunked(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(20_000))), Same),
    ]);

    // Heads.
    get(vec![
        (said("x-a: 1\r\nX-A: 2\r\nx-a: 1\r\ncontent-length: 0\r\n", ""), Same),
        (said("x-a:1\r\nx-b:  2  \r\nx-c:\t3\r\nx-empty:\r\ncontent-length: 0\r\n", ""), Same),
        (said("x-name: caf\u{e9}\r\ncontent-length: 0\r\n", ""), Same),
        (said("x-a: b\r\n folded\r\ncontent-length: 0\r\n", ""), Same),
        (said(" x-a: b\r\ncontent-length: 0\r\n", ""), Same),
        (said("x-a : b\r\ncontent-length: 0\r\n", ""), Same),
        (said(": b\r\ncontent-length: 0\r\n", ""), Same),
        (said("x-a\r\ncontent-length: 0\r\n", ""), Same),
        (said("x a: b\r\ncontent-length: 0\r\n", ""), Same),
        (said("x-a: b\0c\r\ncontent-length: 0\r\n", ""), Same),
        (said("x-a: b\u{7f}c\r\ncontent-length: 0\r\n", ""), Same),
        (said("x-a\0: b\r\ncontent-length: 0\r\n", ""), Same),
        (said("x-a: b\rc\r\ncontent-length: 0\r\n", ""), Same),
        (said("x-a: b\ncontent-length: 0\r\n", ""), Same),
        ("HTTP/1.1 200 OK\ncontent-length: 1\n\na".into(), Same),
        ("HTTP/1.1 200 OK\ncontent-length: 1\r\n\na".into(), Same),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\n\r\na".into(), Same),
        ("HTTP/1.1 200 OK\r\rcontent-length: 1\r\n\r\na".into(), Same),
        (
            said(
                "connection: close, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nupgrade: h2c\r\ncontent-length: 0\r\n",
                "",
            ),
            Same,
        ),
        (said("connection: content-length\r\ncontent-length: 3\r\n", "abcdef"), Same),
        (said("connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n"), Same),
        (said(&format!("x-large: {}\r\ncontent-length: 0\r\n", "x".repeat(30_000)), ""), Same),
        (
            said(&format!("x-large: {}\r\ncontent-length: 0\r\n", "x".repeat(70_000)), ""),
            Stricter("a head has 64 KiB, of an upstream's answer too"),
        ),
        (
            said(&format!("{}content-length: 0\r\n", (0..90).map(|i| format!("x-{i}: 1\r\n")).collect::<String>()), ""),
            Same,
        ),
        (
            said(
                &format!("{}content-length: 0\r\n", (0..200).map(|i| format!("x-{i}: 1\r\n")).collect::<String>()),
                "",
            ),
            Same,
        ),
    ]);

    for (method, said, how) in [
        ("HEAD", said("content-length: 5\r\n", ""), Same),
        ("HEAD", said("transfer-encoding: chunked\r\n", ""), Same),
        ("HEAD", said("content-length: 5\r\n", "hello"), Same),
        ("HEAD", said("", ""), Same),
        ("HEAD", said("content-length: 5\r\ncontent-length: 6\r\n", ""), TWO_LENGTHS),
        ("HEAD", said("content-length: x\r\n", ""), ODD_LENGTH),
        ("POST", said("content-length: 2\r\n", "ok"), Same),
        ("POST", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok".into(), Same),
        ("POST", "HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".into(), Same),
    ] {
        rows.push((method, said, how));
    }
    rows
}

/// A server that reads a head, says this, in one piece or byte by byte, and closes.
async fn serve(said: Vec<u8>, bytewise: bool) -> SocketAddr {
    let (origin, address) = Origin::start().await;
    tokio::spawn(async move {
        let mut conversation = origin.accept().await;
        conversation.head().await;
        if bytewise {
            for byte in said {
                conversation.send([byte]).await;
            }
        } else {
            conversation.send(said).await;
        }
        // Not before the other side has had a chance to read it all.
        let _ = conversation.stream.shutdown().await;
        conversation.rest().await;
    });
    address
}

async fn read_by_us(method: &str, said: &[u8], bytewise: bool) -> Read {
    let sender = Sender::to(serve(said.to_vec(), bytewise).await);
    match sender.send(&format!("{method} /orders"), &[], Empty::new()).await {
        Ok(response) => collect(method, response).await,
        Err(_) => Read::Refused,
    }
}

async fn read_by_hyper(method: &str, said: &[u8], bytewise: bool) -> Read {
    let stream = TcpStream::connect(serve(said.to_vec(), bytewise).await).await.unwrap();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::builder().method(method).uri("/orders").header("host", "a").body(Empty::<Bytes>::new());
    let read = match soon("hyper's answer", sender.send_request(request.unwrap())).await {
        Ok(response) => collect(method, response).await,
        Err(_) => Read::Refused,
    };
    driver.abort();
    read
}

/// Reads all of it, and leaves out what says something of the connection or of framing, as a proxy does.
async fn collect<B>(method: &str, response: Response<B>) -> Read
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let (head, mut body) = response.into_parts();
    let (mut data, mut trailers, mut is_cut) = (Vec::new(), Vec::new(), false);
    while let Some(frame) = soon("a piece", body.frame()).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(piece)) => data.extend_from_slice(&piece),
            Ok(Err(frame)) => trailers = lines(&frame.into_trailers().unwrap_or_default(), false),
            Err(_) => {
                is_cut = true;
                break;
            }
        }
    }
    let is_bare = head.status == StatusCode::NO_CONTENT;
    let mut fields = lines(&head.headers, is_bare);
    if method == "HEAD" {
        fields.retain(|line| !line.starts_with("trailer="));
    }
    let body = String::from_utf8_lossy(&data).into_owned();
    Read::Answer { status: head.status.as_u16(), fields, body, trailers, is_cut }
}

fn lines(fields: &HeaderMap, is_bare: bool) -> Vec<String> {
    let named: Vec<String> = fields
        .get_all("connection")
        .iter()
        .flat_map(|value| {
            String::from_utf8_lossy(value.as_bytes())
                .to_ascii_lowercase()
                .split(',')
                .map(|word| word.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    let ends_here = |name: &str| {
        ["connection", "keep-alive", "transfer-encoding", "upgrade", "te"].contains(&name)
            || named.iter().any(|word| word == name)
            || (is_bare && name == "content-length")
    };
    let text =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}={}", String::from_utf8_lossy(value.as_bytes()));
    let mut lines: Vec<String> = fields.iter().filter(|(name, _)| !ends_here(name.as_str())).map(text).collect();
    lines.sort();
    lines
}

fn compare(ours: &Read, theirs: &Read) -> Option<&'static str> {
    let is_whole = |read: &Read| matches!(read, Read::Answer { is_cut: false, .. });
    match (ours, theirs) {
        _ if ours == theirs => None,
        (Read::Refused, Read::Answer { .. }) => Some("stricter"),
        // Broken off where the other goes on; what was passed on before is the beginning of what the other read.
        (
            Read::Answer { status, fields, body, is_cut: true, .. },
            Read::Answer { status: their_status, fields: their_fields, body: their_body, .. },
        ) if (status, fields) == (their_status, their_fields) && their_body.starts_with(body.as_str()) => {
            // Two that were both cut may differ in how much they had passed on.
            is_whole(theirs).then_some("stricter")
        }
        (
            Read::Answer { status, fields, body, is_cut: true, .. },
            Read::Answer { status: their_status, fields: their_fields, body: their_body, is_cut: true, .. },
        ) if (status, fields) == (their_status, their_fields) && body.starts_with(their_body.as_str()) => None,
        _ => Some("different"),
    }
}

#[tokio::test]
async fn our_reader_and_another_make_the_same_of_every_answer_or_we_refuse_it() {
    let mut faults = String::new();
    for (method, said, expected) in corpus() {
        // Latin-1, as servers send it.
        let bytes: Vec<u8> = said
            .chars()
            .flat_map(|c| u8::try_from(u32::from(c)).map_or_else(|_| c.to_string().into_bytes(), |byte| vec![byte]))
            .collect();
        for bytewise in [false, true] {
            if bytewise && bytes.len() > 2000 {
                continue;
            }
            let (ours, theirs) =
                tokio::join!(read_by_us(method, &bytes, bytewise), read_by_hyper(method, &bytes, bytewise));
            let compared = compare(&ours, &theirs);
            let is_as_listed = match expected {
                Same => compared.is_none(),
                Stricter(_) => compared == Some("stricter"),
            };
            if !is_as_listed {
                let shown: String = said.chars().take(200).collect();
                faults.push_str(&format!(
                    "{method} {shown:?}{}\n   listed as {expected:?}\n   ours    {ours:?}\n   hyper's {theirs:?}\n",
                    if bytewise { " byte by byte" } else { "" }
                ));
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}
