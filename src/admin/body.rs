//! Reading what was sent, and saying where it is wrong without repeating it.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::management::Unmet;

/// The largest body, imports excepted.
const MAX_BODY: usize = 64 << 10;

/// A body in JSON.
pub(super) struct Json<T> {
    /// What it says.
    pub value: T,
    /// Digest of what was sent.
    pub digest: [u8; 32],
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let media_type = media_type(&parts.headers);
        if !matches!(media_type.as_deref(), Some("application/json" | "application/merge-patch+json")) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type_unsupported",
                "send the body as `Content-Type: application/json`",
            ));
        }
        let bytes = read(body, MAX_BODY).await?;
        Ok(Self { value: parse(&bytes)?, digest: *blake3::hash(&bytes).as_bytes() })
    }
}

/// The media type of a body, in lower case and without parameters; none if several are stated.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let value = value.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Reads a body of at most so many bytes.
pub(super) async fn read(body: axum::body::Body, limit: usize) -> Result<zeroize::Zeroizing<Vec<u8>>, Problem> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(zeroize::Zeroizing::new(collected.to_bytes().to_vec())),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body may have {limit} bytes at most"),
        )),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "body_broken", "the body did not arrive whole")),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        let inner = error.into_inner();
        let code = if inner.is_data() { "field_invalid" } else { "malformed_json" };
        Problem::unreadable(pointer, code, message(&inner))
    })?;
    deserializer.end().map_err(|error| Problem::unreadable(String::new(), "malformed_json", message(&error)))?;
    Ok(parsed)
}

/// A path into a document as a JSON pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// A field whose name is longer is no slip of the pen for one of ours, and may be anything.
const LONGEST_SLIP: usize = 20;

/// What a parser says, without what it found: that may be a key in the wrong place.
pub(super) fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    if !error.is_data() {
        return format!("the body is not JSON: {text}{place}");
    }
    match text.split_once(", expected ") {
        // "unknown field `x`, expected one of .." names a field, or a key that stands where a field should; everything else
        // may show a value.
        Some((unknown, expected)) if unknown.starts_with("unknown field") => {
            let name = unknown.trim_start_matches("unknown field").trim().trim_matches('`');
            let is_a_slip = name.len() <= LONGEST_SLIP && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let named = if is_a_slip { unknown } else { "unknown field" };
            format!("{named}; known are {expected}")
        }
        Some((_, expected)) => format!("expected {expected}"),
        None if text.starts_with("missing field") || text.starts_with("duplicate field") => text.to_owned(),
        None if text.contains("did not match any variant") => "this is none of the forms it may have".to_owned(),
        None => "this value cannot be taken".to_owned(),
    }
}

/// Parameters of a query.
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => {
                let text = rejection.body_text();
                let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                // "limit: invalid digit found in string", or "unknown field `x`, expected ..".
                let (name, why) = text.split_once(": ").unwrap_or(("", text));
                let pointer = if name.is_empty() { String::new() } else { format!("/{name}") };
                // What was sent is not repeated, the name of a parameter excepted.
                let detail = match why.split_once(", expected ") {
                    Some((unknown, expected)) if unknown.starts_with("unknown field") => {
                        format!("{}; known are {expected}", unknown.replace("field", "parameter"))
                    }
                    Some((_, expected)) => format!("expected {expected}"),
                    None => why.to_owned(),
                };
                Err(Problem::unreadable(pointer, "parameter_invalid", detail))
            }
        }
    }
}

/// Parts of the path.
pub(super) struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(parts)) => Ok(Self(parts)),
            Err(_) => {
                let detail = "the path holds an id that is not UTF-8".to_owned();
                Err(Problem::unreadable(String::new(), "path_invalid", detail))
            }
        }
    }
}

/// An answer in JSON.
pub(super) struct Answer<T>(pub StatusCode, pub T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let Self(status, value) = self;
        match serde_json::to_vec(&value) {
            Ok(bytes) => {
                let mut response = (status, bytes).into_response();
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(_) => Problem::internal().into_response(),
        }
    }
}

/// An answer in JSON about one thing, with its version.
pub(super) struct Versioned<T>(pub i64, pub T);

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let mut response = Answer(StatusCode::OK, self.1).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.0)) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}

/// The version that must be there still (`If-Match`, RFC 9110 section 13.1.1).
pub(super) struct IfMatch(pub Unmet);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(IF_MATCH).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Ok(Self(Unmet(None)));
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(Unmet(None)));
        }
        match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            // A tag that is none of ours is that of no version.
            Some(tag) => Ok(Self(Unmet(Some(tag.parse().unwrap_or(-1))))),
            None => Err(Problem::unreadable(
                String::new(),
                "if_match_invalid",
                "`If-Match` takes one entity tag in quotes, as `ETag` gave it".to_owned(),
            )),
        }
    }
}

/// Does what blocks where that harms nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::management::Refused> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(Problem::from),
        Err(_) => Err(Problem::internal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what cannot be read is looked at")]
    struct Sample {
        name: String,
        active: bool,
    }

    #[test]
    fn what_was_sent_is_not_repeated_but_a_slip_of_the_pen() {
        for (text, told) in [
            (r#"{"nmae":1}"#, "unknown field `nmae`; known are `name` or `active`"),
            (r#"{"kg_live_0123456789abcdefghij":1}"#, "unknown field; known are `name` or `active`"),
            (r#"{"\u001b[2K":1}"#, "unknown field; known are `name` or `active`"),
            (r#"{"name":"n","active":"kg_live_0123456789"}"#, "expected a boolean"),
            (r#"{"name":"n"}"#, "missing field `active`"),
            (r#"{"name":"n","name":"n"}"#, "duplicate field `name`"),
            (r#"["kg_live_0123456789"]"#, "expected struct Sample with 2 elements"),
            (r#"{"name":"#, "the body is not JSON: EOF while parsing a value at line 1 column 8"),
        ] {
            let error = serde_json::from_str::<Sample>(text).unwrap_err();
            assert_eq!(message(&error), told, "{text}");
        }
    }
}
