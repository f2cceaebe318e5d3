//! All that a decision may look at, borrowed from wherever the request came from.

use std::net::IpAddr;

use http::{HeaderMap, Method};

/// The head of a request and the facts about the connection it came on.
///
/// What is not here cannot enter a verdict: no body, no query, nothing a client says *about* its request.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as it was sent, without the query.
    pub path: &'a str,
    /// The one host the request is for, in the form it was sent; checked by [`host`](super).
    pub host: &'a str,
    /// Every header field.
    pub headers: &'a HeaderMap,
    /// Name of the listener it came in on.
    pub listener: &'a str,
    /// That listener is marked `backoffice: true`.
    pub is_backoffice: bool,
    /// The address the connection comes from.
    pub peer_address: IpAddr,
    /// The client's address, behind trusted proxies.
    pub client_address: IpAddr,
    /// It came over TLS, as far as we or a trusted proxy can tell.
    pub is_secure: bool,
}
