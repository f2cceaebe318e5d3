//! What an answer that came over HTTP/2 says, as the caller gets it.
//!
//! The same strictness as for HTTP/1.1, where there is something to be strict about: one length in one form, nothing about
//! a connection, no switching of protocols. [`fault`] tells what a broken stream means.

use h2::RecvStream;
use http::header::{CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};

use crate::forward::chunked::may_trail;
use crate::forward::error::{BadResponse, ForwardError};
use crate::forward::response::read_length;

/// More fields in a head than anybody sends.
const MAX_FIELDS: usize = 128;
/// The most fields behind a body.
const MAX_TRAILERS: usize = 64;

/// An answer whose head was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// How many bytes were announced.
    pub(super) length: Option<u64>,
    /// What follows; `None` if nothing does.
    pub(super) body: Option<RecvStream>,
}

/// Reads the head of an answer to a request of this method.
pub(super) fn read_answer(response: Response<RecvStream>, method: &Method) -> Result<Answer, BadResponse> {
    let (parts, body) = response.into_parts();
    let (status, mut headers) = (parts.status, parts.headers);
    if status.is_informational() {
        return Err(BadResponse::UnaskedUpgrade);
    }
    if headers.len() > MAX_FIELDS {
        return Err(BadResponse::HeadTooLarge);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().map(read_length).transpose()?;
    if lengths.next().is_some() {
        return Err(BadResponse::Framing("content-length"));
    }
    for name in ABOUT_THE_CONNECTION {
        headers.remove(name);
    }
    let has_no_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || method == Method::HEAD
        || body.is_end_stream();
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    if has_no_body {
        headers.remove(TRAILER);
    }
    Ok(Answer { status, headers, length, body: (!has_no_body).then_some(body) })
}

/// What says something of a connection, ours or the server's to whom it has itself asked.
const ABOUT_THE_CONNECTION: [HeaderName; 8] = [
    http::header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    http::header::TE,
    http::header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
];

/// The trailers that may pass; `None` if there are none.
pub(super) fn read_trailers(mut trailers: HeaderMap) -> Result<Option<HeaderMap>, BadResponse> {
    if trailers.len() > MAX_TRAILERS {
        return Err(BadResponse::Chunk("its trailers are too long"));
    }
    let dropped: Vec<HeaderName> = trailers.keys().filter(|name| !may_trail(name.as_str())).cloned().collect();
    for name in dropped {
        trailers.remove(name);
    }
    Ok((!trailers.is_empty()).then_some(trailers))
}

/// What an error of a stream means; `has_begun` says that the caller has the head of the answer.
pub(super) fn fault(error: h2::Error, has_begun: bool) -> ForwardError {
    match error.reason() {
        Some(reason) if error.is_library() => BadResponse::Http2(reason).into(),
        Some(_) if error.is_reset() => ForwardError::Reset(error),
        _ => {
            let cause = Some(match error.into_io() {
                Some(cause) => cause,
                None => std::io::Error::other("the server ended the connection"),
            });
            if has_begun { ForwardError::BodyCut(cause) } else { ForwardError::Closed(cause) }
        }
    }
}

/// Whether the server says that it has not looked at the request: then it can be sent again, whatever it asks for. A stream
/// above the last one that a GOAWAY names is such a one; the others of that connection do not see the GOAWAY.
pub(super) fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}
