//! The form of a request's head in HTTP/2.
//!
//! [`Http2Head`] takes what [`write_head`](crate::forward::request::write_head) says, and makes pseudo-fields and fields of
//! it. What the head says is the same as for HTTP/1.1, by the same code; only what belongs to the connection is missing:
//! the end of the body is told by the stream, so that of framing a length is all that is left, and an upgrade is refused
//! before it comes to writing.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::forward::head::HeadSink;
use crate::forward::request::RequestFraming;
use crate::identity::{Identified, IdentityHeaders};

/// A head on its way to become the fields of HTTP/2.
#[derive(Debug)]
pub(in crate::forward) struct Http2Head {
    scheme: Scheme,
    method: Method,
    authority: Vec<u8>,
    target: Vec<u8>,
    headers: HeaderMap,
    name: &'static str,
    value: Vec<u8>,
    is_malformed: bool,
}

impl Http2Head {
    /// Nothing yet. `is_secure` says that the server is spoken to over TLS.
    pub(in crate::forward) fn new(is_secure: bool) -> Self {
        Self {
            scheme: if is_secure { Scheme::HTTPS } else { Scheme::HTTP },
            method: Method::GET,
            authority: Vec::new(),
            target: Vec::new(),
            headers: HeaderMap::with_capacity(32),
            name: "",
            value: Vec::new(),
            is_malformed: false,
        }
    }

    /// The request, once all of it was written; `None` if a part of it cannot stand in a request of HTTP/2.
    pub(in crate::forward) fn into_request(self) -> Option<Request<()>> {
        if self.is_malformed {
            return None;
        }
        let written = self.target.len();
        let target = PathAndQuery::from_maybe_shared(Bytes::from(self.target)).ok()?;
        // Read back shorter than it was written, it would not be the path that was judged.
        if target.as_str().len() != written {
            return None;
        }
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme);
        uri.authority = Some(Authority::from_maybe_shared(Bytes::from(self.authority)).ok()?);
        uri.path_and_query = Some(target);
        let mut request = Request::new(());
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::from_parts(uri).ok()?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers;
        Some(request)
    }

    fn append(&mut self, name: HeaderName, value: &[u8]) {
        match HeaderValue::from_bytes(value) {
            Ok(value) => drop(self.headers.append(name, value)),
            Err(_) => self.is_malformed = true,
        }
    }
}

impl HeadSink for Http2Head {
    fn begin_request(&mut self, method: &Method, write_target: impl FnOnce(&mut Vec<u8>)) {
        self.method = method.clone();
        write_target(&mut self.target);
    }

    fn host(&mut self, host: &[u8]) {
        self.authority.extend_from_slice(host);
    }

    fn copy(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.headers.append(name.clone(), value.clone());
    }

    fn begin(&mut self, start: &'static str) {
        self.name = start.trim_end_matches(": ");
        self.value.clear();
    }

    fn value(&mut self) -> &mut Vec<u8> {
        &mut self.value
    }

    fn end(&mut self) {
        let value = std::mem::take(&mut self.value);
        self.append(HeaderName::from_static(self.name), &value);
        self.value = value;
    }

    fn identity(&mut self, identity: &IdentityHeaders, who: &Identified<'_>) {
        identity.for_each(who, |name, value| self.append(name.clone(), value));
    }

    fn connection(&mut self, _upgrade: Option<&str>, asks_trailers: bool) {
        if asks_trailers {
            self.field("te: ", b"trailers");
        }
    }

    fn framing(&mut self, framing: RequestFraming) {
        match framing {
            RequestFraming::None | RequestFraming::Chunked => {}
            RequestFraming::Zero => self.field("content-length: ", b"0"),
            RequestFraming::Length(length) => {
                self.field("content-length: ", itoa::Buffer::new().format(length).as_bytes());
            }
        }
    }

    fn end_request(&mut self) {}
}
