//! The form of a request's head, apart from what it says.
//!
//! What a head says is decided in one place, [`request::write_head`](super::request::write_head), which says it to a
//! [`HeadSink`]. A `Vec<u8>` is the sink that makes the bytes of HTTP/1.1 of it; one of another protocol makes of it what
//! that protocol wants. So no rule of what may pass can hold for one protocol and not for the other.
//!
//! Nothing here knows a rule: a sink writes what it is told, in the order in which it is told.

use std::io::Write as _;
use std::net::IpAddr;

use http::{HeaderName, HeaderValue, Method};

use super::request::RequestFraming;
use crate::identity::{Identified, IdentityHeaders};

/// Takes a head part by part, from its first line to its end.
pub(super) trait HeadSink {
    /// The first line; `write_target` appends path and query.
    fn begin_request(&mut self, method: &Method, write_target: impl FnOnce(&mut Vec<u8>));
    /// Whom the request is for.
    fn host(&mut self, host: &[u8]);
    /// A field of the caller's, as it came.
    fn copy(&mut self, name: &HeaderName, value: &HeaderValue);
    /// Begins a field of ours. `start` is its name, a colon and a space; the value follows in [`value`](Self::value).
    fn begin(&mut self, start: &'static str);
    /// Where the value of the field that was begun is appended.
    fn value(&mut self) -> &mut Vec<u8>;
    /// Ends the field that was begun.
    fn end(&mut self);
    /// What is known of the caller.
    fn identity(&mut self, identity: &IdentityHeaders, who: &Identified<'_>);
    /// What is asked of the connection: another protocol, and trailers.
    fn connection(&mut self, upgrade: Option<&str>, asks_trailers: bool);
    /// How the end of the body is told.
    fn framing(&mut self, framing: RequestFraming);
    /// The end of the head.
    fn end_request(&mut self);

    /// A whole field of ours.
    #[inline]
    fn field(&mut self, start: &'static str, value: &[u8]) {
        self.begin(start);
        self.value().extend_from_slice(value);
        self.end();
    }
}

/// The bytes of HTTP/1.1.
impl HeadSink for Vec<u8> {
    #[inline]
    fn begin_request(&mut self, method: &Method, write_target: impl FnOnce(&mut Vec<u8>)) {
        self.reserve(1024);
        self.extend_from_slice(method.as_str().as_bytes());
        self.push(b' ');
        write_target(self);
        self.extend_from_slice(b" HTTP/1.1\r\n");
    }

    #[inline]
    fn host(&mut self, host: &[u8]) {
        self.field("host: ", host);
    }

    #[inline]
    fn copy(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.extend_from_slice(name.as_str().as_bytes());
        self.extend_from_slice(b": ");
        self.extend_from_slice(value.as_bytes());
        self.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn begin(&mut self, start: &'static str) {
        self.extend_from_slice(start.as_bytes());
    }

    #[inline]
    fn value(&mut self) -> &mut Vec<u8> {
        self
    }

    #[inline]
    fn end(&mut self) {
        self.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn identity(&mut self, identity: &IdentityHeaders, who: &Identified<'_>) {
        identity.write(self, who);
    }

    #[inline]
    fn connection(&mut self, upgrade: Option<&str>, asks_trailers: bool) {
        if asks_trailers {
            self.extend_from_slice(b"te: trailers\r\n");
        }
        match (upgrade, asks_trailers) {
            (Some(protocol), _) => {
                self.field("upgrade: ", protocol.as_bytes());
                self.field("connection: ", if asks_trailers { b"upgrade, te" } else { b"upgrade" });
            }
            (None, true) => self.extend_from_slice(b"connection: te\r\n"),
            (None, false) => {}
        }
    }

    #[inline]
    fn framing(&mut self, framing: RequestFraming) {
        match framing {
            RequestFraming::None => {}
            RequestFraming::Zero => self.extend_from_slice(b"content-length: 0\r\n"),
            RequestFraming::Length(length) => {
                self.field("content-length: ", itoa::Buffer::new().format(length).as_bytes());
            }
            RequestFraming::Chunked => self.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
    }

    #[inline]
    fn end_request(&mut self) {
        self.extend_from_slice(b"\r\n");
    }
}

/// Appends an address, an IPv4 one in its own form wherever it came from.
pub(super) fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (index, part) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(part).as_bytes());
            }
        }
        IpAddr::V6(address) => {
            write!(out, "{address}").expect("writing to a Vec cannot fail");
        }
    }
}
