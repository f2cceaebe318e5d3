//! The head of an answer: how much of what was read it is, what it says, and how its body ends.
//!
//! [`take_head`] cuts a complete head off what has been read; [`read_head`] turns it into what the caller gets, without the
//! fields that are about our connection to the server. A head that says how long the body is in two ways is refused, not
//! interpreted: the bytes that follow would be read as the answer to somebody else's request.
//!
//! Values are slices of the buffer the head was read into.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::error::BadResponse;
use super::request::tokens;

/// The most fields in a head.
const MAX_FIELDS: usize = 128;

/// How the body of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseFraming {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub status: StatusCode,
    /// As the caller gets them.
    pub headers: HeaderMap,
    pub framing: ResponseFraming,
    /// The server will take another request on this connection.
    pub keeps_alive: bool,
    /// What the connection is switched to (status 101).
    pub upgrade: Option<HeaderValue>,
}

/// Cuts the head off the input if it is complete. `scanned` remembers how far the search for its end has come.
pub(super) fn take_head(input: &mut BytesMut, scanned: &mut usize, limit: usize) -> Result<Option<Bytes>, BadResponse> {
    for at in memchr::memchr_iter(b'\n', &input[*scanned..]) {
        let end = *scanned + at + 1;
        let line_end = match input.get(end..) {
            Some([b'\n', ..]) => 1,
            Some([b'\r', b'\n', ..]) => 2,
            _ => continue,
        };
        if end + line_end > limit {
            return Err(BadResponse::HeadTooLarge);
        }
        *scanned = 0;
        return Ok(Some(input.split_to(end + line_end).freeze()));
    }
    if input.len() > limit {
        return Err(BadResponse::HeadTooLarge);
    }
    // The end may be cut in three: LF CR | LF.
    *scanned = input.len().saturating_sub(2);
    Ok(None)
}

/// Reads a head that is complete, as the answer to a request of this method.
pub(super) fn read_head(head: &Bytes, method: &Method) -> Result<ResponseHead, BadResponse> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, head, &mut fields)
        .map_err(BadResponse::Head)?;
    if status.is_partial() {
        return Err(BadResponse::Head(httparse::Error::Status));
    }
    let code = response.code.unwrap_or_default();
    let status = StatusCode::from_u16(code).map_err(|_| BadResponse::Head(httparse::Error::Status))?;
    let is_http_11 = response.version == Some(1);

    // With room for what the gateway adds, or the map would grow for each answer.
    let mut headers = HeaderMap::with_capacity(response.headers.len() + 2);
    let mut framing = Framing::default();
    let mut connection = ConnectionOptions::default();
    let mut upgrade = None;
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| BadResponse::Head(httparse::Error::HeaderName))?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value))
            .map_err(|_| BadResponse::Head(httparse::Error::HeaderValue))?;
        match name.as_str() {
            "content-length" => {
                framing.length(&value)?;
                headers.append(name, value);
            }
            "transfer-encoding" => framing.encoding(&value)?,
            "connection" => {
                connection.read(&value);
                headers.append(name, value);
            }
            "upgrade" => upgrade = Some(value),
            "keep-alive" | "te" | "proxy-connection" | "proxy-authenticate" | "proxy-authentication-info" => {}
            _ => {
                headers.append(name, value);
            }
        }
    }
    if connection.is_there {
        remove_named(&mut headers, connection.names_fields);
    }
    if framing.chunked && !is_http_11 {
        return Err(BadResponse::Framing("transfer-encoding"));
    }
    let framing = framing.of(status, method)?;
    if status == StatusCode::NO_CONTENT {
        headers.remove(http::header::CONTENT_LENGTH);
    }
    if framing != ResponseFraming::Chunked {
        headers.remove(http::header::TRAILER);
    }
    Ok(ResponseHead {
        status,
        headers,
        framing,
        keeps_alive: !connection.closes
            && (is_http_11 || connection.keeps_alive)
            && framing != ResponseFraming::UntilClose,
        upgrade,
    })
}

/// Removes `Connection` and what it names. Framing has been read before: this cannot change where the body ends.
fn remove_named(headers: &mut HeaderMap, names_fields: bool) {
    if names_fields {
        let named: Vec<HeaderName> =
            tokens(headers, &CONNECTION).filter_map(|option| HeaderName::from_bytes(option).ok()).collect();
        for name in named {
            headers.remove(name);
        }
    }
    headers.remove(CONNECTION);
}

#[derive(Default)]
struct ConnectionOptions {
    is_there: bool,
    closes: bool,
    keeps_alive: bool,
    names_fields: bool,
}

impl ConnectionOptions {
    fn read(&mut self, value: &HeaderValue) {
        self.is_there = true;
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keeps_alive = true;
            } else if !option.is_empty() {
                self.names_fields = true;
            }
        }
    }
}

/// The number that `Content-Length` is.
pub(super) fn read_length(value: &HeaderValue) -> Result<u64, BadResponse> {
    let malformed = BadResponse::Framing("content-length");
    let digits = value.as_bytes();
    if !matches!(digits, [b'0'] | [b'1'..=b'9', ..]) || digits.len() > 18 {
        return Err(malformed);
    }
    digits.iter().try_fold(0, |length: u64, digit| {
        if digit.is_ascii_digit() { Ok(length * 10 + u64::from(digit - b'0')) } else { Err(malformed) }
    })
}

/// What the head says of the body's length.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    /// One number in its one decimal form. Anything else could be read in another way by whoever comes after us.
    fn length(&mut self, value: &HeaderValue) -> Result<(), BadResponse> {
        if self.length.is_some() {
            return Err(BadResponse::Framing("content-length"));
        }
        self.length = Some(read_length(value)?);
        Ok(())
    }

    /// Only `chunked`, alone and once: we ask for no other coding.
    fn encoding(&mut self, value: &HeaderValue) -> Result<(), BadResponse> {
        if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(BadResponse::Framing("transfer-encoding"));
        }
        self.chunked = true;
        Ok(())
    }

    /// RFC 9112 section 6.3.
    fn of(&self, status: StatusCode, method: &Method) -> Result<ResponseFraming, BadResponse> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(BadResponse::Framing("content-length beside transfer-encoding")),
            _ if status.is_informational()
                || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
                || method == Method::HEAD =>
            {
                Ok(ResponseFraming::None)
            }
            (true, None) => Ok(ResponseFraming::Chunked),
            (false, Some(0)) => Ok(ResponseFraming::None),
            (false, Some(length)) => Ok(ResponseFraming::Length(length)),
            (false, None) => Ok(ResponseFraming::UntilClose),
        }
    }
}
