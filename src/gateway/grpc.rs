//! Refusals in the form that callers of gRPC understand.
//!
//! A gRPC library takes no problem document and guesses from a plain HTTP status, often wrongly. So a call that came over
//! HTTP/2 with the content type of gRPC ([`is_grpc_call`]) is refused as gRPC does it: status 200, no body, and
//! `grpc-status` and `grpc-message` among the fields of the only head there is (a *trailers-only* answer). The code that
//! refusals have everywhere stands in `x-error-code`.
//!
//! Log and metrics are told the HTTP status that any other caller would have got: a refusal is no success because of the
//! form in which it is told.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use crate::forward::speaks_grpc;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");

/// Whether a request is a call of gRPC, which expects its errors as such.
pub(super) fn is_grpc_call(parts: &Parts) -> bool {
    parts.version == Version::HTTP_2 && speaks_grpc(&parts.headers)
}

/// Writes the fields of a refusal. The status of the answer itself is set to 200 once it has been recorded.
pub(super) fn write_status(headers: &mut HeaderMap, status: StatusCode, code: &'static str, detail: &str) {
    headers.reserve(6);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(GRPC_STATUS, HeaderValue::from(grpc_status(status)));
    if let Ok(message) = HeaderValue::try_from(encode(detail)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    headers.insert(ERROR_CODE, HeaderValue::from_static(code));
}

/// The code of gRPC that says the same as an HTTP status of ours.
fn grpc_status(status: StatusCode) -> u16 {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::URI_TOO_LONG | StatusCode::UNPROCESSABLE_ENTITY => 3,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => 4,
        StatusCode::FORBIDDEN => 7,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            8
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => 12,
        StatusCode::INTERNAL_SERVER_ERROR => 13,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::UNAUTHORIZED => 16,
        _ => 2,
    }
}

/// Printable ASCII without `%`, all else percent-encoded byte by byte.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                encoded.push('%');
                encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
                encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_percent_encoded_where_it_must_be() {
        for (text, expected) in [
            ("The API key lacks the permission order:read.", "The API key lacks the permission order:read."),
            ("100 %", "100 %25"),
            ("na\u{ef}ve\n", "na%C3%AFve%0A"),
            ("", ""),
        ] {
            assert_eq!(encode(text), expected);
        }
    }

    #[test]
    fn only_a_call_of_grpc_over_http2_is_told_in_grpc() {
        for (version, kind, expected) in [
            (Version::HTTP_2, Some("application/grpc"), true),
            (Version::HTTP_2, Some("application/grpc+proto"), true),
            (Version::HTTP_2, Some("application/grpc;charset=utf-8"), true),
            (Version::HTTP_2, Some("application/grpc-web"), false),
            (Version::HTTP_2, Some("application/json"), false),
            (Version::HTTP_2, None, false),
            (Version::HTTP_11, Some("application/grpc"), false),
        ] {
            let mut request = http::Request::builder().version(version);
            if let Some(kind) = kind {
                request = request.header(CONTENT_TYPE, kind);
            }
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(is_grpc_call(&parts), expected, "{version:?} {kind:?}");
        }
    }
}
