//! The last words on an HTTP/1 connection: an answer written without the parser, and a close that lets it be read.
//!
//! [`refuse`] writes an answer to bytes that never became a request; [`close`] ends a connection that the parser has
//! finished with.
//!
//! Both linger while the client still sends: closing a socket with unread bytes in it makes the kernel send a reset,
//! and a reset may overtake the answer on its way, so that the client sees a broken connection instead of the reason.
//! The lingering is bounded in time and bytes; a client that just keeps sending gets its reset.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::stream::Transport;

/// How long writing the last words and lingering may take, each.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many bytes of a client that does not stop are thrown away.
const LINGER_BYTES: usize = 512 * 1024;

/// Writes the answer, then closes.
pub(super) async fn refuse(mut transport: Transport, response: &Response<Bytes>) {
    let bytes = render(response);
    let written = timeout(PATIENCE, async {
        transport.write_all(&bytes).await?;
        transport.flush().await
    });
    if matches!(written.await, Ok(Ok(()))) {
        close(transport, true).await;
    }
}

/// Says that nothing more will come; if the client is in the middle of sending, reads on for a while.
pub(super) async fn close(mut transport: Transport, lingers: bool) {
    let is_shut = matches!(timeout(PATIENCE, transport.shutdown()).await, Ok(Ok(())));
    if is_shut && lingers {
        let _ = timeout(PATIENCE, async {
            let mut sink = vec![0; 4096];
            let mut left = LINGER_BYTES;
            while left > 0 {
                match transport.read(&mut sink).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => left = left.saturating_sub(length),
                }
            }
        })
        .await;
    }
}

/// The answer as bytes, with its length and the announcement that the connection ends.
fn render(response: &Response<Bytes>) -> Vec<u8> {
    let status = response.status();
    let mut bytes = Vec::with_capacity(256 + response.body().len());
    let reason = status.canonical_reason().unwrap_or("Refused");
    // Writing into a vector cannot fail.
    let _ = write!(bytes, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
    for (name, value) in response.headers() {
        if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].contains(name) {
            continue;
        }
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let _ = write!(bytes, "content-length: {}\r\nconnection: close\r\n\r\n", response.body().len());
    bytes.extend_from_slice(response.body());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_whole_answer_whatever_framing_its_headers_claim() {
        let response = Response::builder()
            .status(431)
            .header("content-type", "text/plain")
            .header("content-length", "999")
            .header("transfer-encoding", "chunked")
            .header("connection", "keep-alive")
            .body(Bytes::from_static(b"no"))
            .expect("a response");
        let expected = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\n\
                        content-length: 2\r\nconnection: close\r\n\r\nno";
        assert_eq!(String::from_utf8_lossy(&render(&response)), expected);
    }
}
