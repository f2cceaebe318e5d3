//! The built-in upstream: answers what it was sent, as JSON.
//!
//! For the first minute with the product, for examples and for tests. [`answer`] gets the head exactly as it would have gone
//! to a server, and shows it as that server would read it: which headers were dropped, which were set, what became of the
//! path. What it says of the caller is what the upstream was told, never the credential.
//!
//! It runs in the request's own task, opens nothing and keeps nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde_json::{Map, Value, json};

use crate::body::Body;

/// As much of a body is shown as text.
const MAX_SHOWN: usize = 64 * 1024;
/// More fields than any head that reaches an upstream has.
const MAX_FIELDS: usize = 256;

/// Who is calling, as the upstream is told.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The client's id.
    pub client: &'a str,
    /// The client's type.
    pub client_type: &'a str,
    /// The public id of the key.
    pub key: &'a str,
    /// The end user's id, if one is told of.
    pub user: Option<&'a str>,
}

/// Reads the whole body and answers with what was received.
///
/// # Errors
/// What the body failed with.
pub async fn answer<B, E>(head: &[u8], body: B, caller: Option<Caller<'_>>) -> Result<Response<Body>, E>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<E>,
{
    let received = receive(body).await?;
    let mut shown = show_head(head);
    shown.insert("body".into(), received);
    shown.insert("caller".into(), show_caller(caller));
    let mut text = serde_json::to_vec_pretty(&Value::Object(shown)).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Body::Full(text.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn receive<B, E>(mut body: B) -> Result<Value, E>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<E>,
{
    let mut size: u64 = 0;
    let mut kept = Vec::new();
    while !body.is_end_stream() {
        let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await;
        let Some(frame) = frame else { break };
        if let Ok(data) = frame.map_err(Into::into)?.into_data() {
            size += data.len() as u64;
            let room = MAX_SHOWN.saturating_sub(kept.len());
            kept.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    let is_whole = size == kept.len() as u64;
    Ok(match String::from_utf8(kept) {
        Ok(text) if is_whole => json!({ "size": size, "text": text }),
        Err(error) if is_whole => json!({ "size": size, "base64": base64(error.as_bytes()) }),
        _ => json!({ "size": size }),
    })
}

fn show_head(head: &[u8]) -> Map<String, Value> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let mut shown = Map::new();
    if !matches!(request.parse(head), Ok(httparse::Status::Complete(_))) {
        // An upstream could not have read it either, and that is worth seeing.
        shown.insert("unreadable".into(), String::from_utf8_lossy(head).into());
        return shown;
    }
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in request.headers.iter() {
        headers.entry(field.name.to_owned()).or_default().push(String::from_utf8_lossy(field.value).into_owned());
    }
    let headers = headers.into_iter().map(|(name, mut values)| {
        let value = if values.len() == 1 { Value::from(values.remove(0)) } else { Value::from(values) };
        (name, value)
    });
    shown.insert("method".into(), request.method.unwrap_or_default().into());
    shown.insert("path".into(), path.into());
    shown.insert("query".into(), query.into());
    shown.insert("headers".into(), Value::Object(headers.collect()));
    shown
}

fn show_caller(caller: Option<Caller<'_>>) -> Value {
    let Some(caller) = caller else { return Value::Null };
    json!({
        "client": caller.client,
        "client_type": caller.client_type,
        "key": caller.key,
        "user": caller.user,
    })
}

/// RFC 4648 section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for index in 0..4 {
            if index <= group.len() {
                text.push(char::from(ALPHABET[(bits >> (18 - 6 * index)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_head_is_shown_as_an_upstream_reads_it() {
        let shown = show_head(b"GET /a%20b?q=1&q=2 HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nx-a: 2\r\n\r\n");
        let expected = json!({
            "method": "GET",
            "path": "/a%20b",
            "query": "q=1&q=2",
            "headers": { "host": "h", "x-a": ["1", "2"] },
        });
        assert_eq!(Value::Object(shown), expected);
    }
}
