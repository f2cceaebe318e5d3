//! What an upstream answers.

use std::convert::Infallible;
use std::sync::OnceLock;

use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use keygate::forward::whole::{Whole, read_whole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

const MAX_HEAD: usize = 64 * 1024;

/// The first byte says what was asked for and how the bytes behind it are cut. What is read does not depend on the cuts; no
/// byte is lost or read twice; and what is read as a whole answer is the same one for hyper's client.
pub fn response(data: &[u8]) {
    let Some((&first, said)) = data.split_first() else { return };
    let method = [Method::GET, Method::HEAD, Method::POST, Method::CONNECT][usize::from(first & 3)].clone();
    // An answer to CONNECT is never asked for.
    let method = if method == Method::CONNECT { Method::GET } else { method };
    let piece = usize::from(first >> 2) + 1;
    let whole = read_whole([said], &method, MAX_HEAD);
    for size in [1, piece] {
        let in_pieces = read_whole(said.chunks(size), &method, MAX_HEAD);
        match (&whole, &in_pieces) {
            // A head that is too large is seen as soon as the limit is passed, or together with what is wrong in it.
            (Err(_), Err(_)) => {}
            (one, other) => assert_eq!(one, other, "in pieces of {size}"),
        }
    }
    let Ok(Some(answer)) = whole else { return };
    assert!(said.ends_with(&answer.rest), "what is left is not the end of what came");
    assert!(answer.body.len() + answer.rest.len() <= said.len(), "bytes were read twice");
    assert!(answer.is_complete || answer.rest.len() < 64 * 1024, "an answer that is not complete leaves nothing");
    if method == Method::HEAD || matches!(answer.status.as_u16(), 204 | 304) {
        assert!(answer.body.is_empty() && answer.trailers.is_empty(), "there is no body");
    }
    for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "te", "proxy-connection"] {
        assert!(!answer.headers.contains_key(name), "`{name}` is about the connection");
        assert!(!answer.trailers.contains_key(name), "`{name}` is about the connection");
    }
    if answer.is_complete {
        is_the_same_for_hyper(&method, said, &answer);
    }
}

/// The second opinion: whatever we take for a whole answer is one, and this one.
fn is_the_same_for_hyper(method: &Method, said: &[u8], answer: &Whole) {
    let Some(theirs) = runtime().block_on(read_by_hyper(method, said)) else {
        // More fields than it was told to take, or more in one buffer: limits, not readings.
        assert!(answer.headers.len() > 90 || said.len() > 16 * 1024, "hyper refuses what we take");
        return;
    };
    let (status, headers, body, trailers) = theirs;
    assert_eq!(status, answer.status.as_u16());
    assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(&answer.body));
    for (name, value) in &answer.headers {
        assert!(headers.get_all(name).iter().any(|theirs| theirs == value), "`{name}` came out of nothing");
    }
    for (name, value) in &answer.trailers {
        assert!(trailers.get_all(name).iter().any(|theirs| theirs == value), "`{name}` came out of nothing");
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"))
}

/// Status, fields, body and trailers; `None` if it takes the answer for none, or for one that was cut.
async fn read_by_hyper(method: &Method, said: &[u8]) -> Option<(u16, HeaderMap, Vec<u8>, HeaderMap)> {
    let (here, mut there) = tokio::io::duplex(256 * 1024);
    let (mut sender, connection) =
        hyper::client::conn::http1::Builder::new().max_headers(160).handshake(TokioIo::new(here)).await.ok()?;
    let said = said.to_vec();
    let server = async move {
        let mut head = [0; 1024];
        let _ = there.read(&mut head).await;
        let _ = there.write_all(&said).await;
        drop(there);
    };
    let request = Request::builder().method(method).uri("/").header("host", "a");
    let request = request.body(Empty::<&[u8]>::new().map_err(|never: Infallible| match never {})).ok()?;
    let asking = async {
        let response = sender.send_request(request).await.ok()?;
        let (head, body) = response.into_parts();
        let collected = body.collect().await.ok()?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Some((head.status.as_u16(), head.headers, collected.to_bytes().to_vec(), trailers))
    };
    let driving = async {
        let _ = connection.await;
        std::future::pending::<()>().await
    };
    tokio::select! {
        answer = async { tokio::join!(asking, server).0 } => answer,
        () = driving => None,
    }
}
