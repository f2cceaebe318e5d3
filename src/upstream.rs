//! A service we call: where it is, and how long we wait for it. A value; it opens nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls_pki_types::ServerName;

/// An upstream by name, as endpoints refer to it.
#[derive(Debug)]
pub struct Upstream {
    /// The name in YAML, log and metric.
    pub name: Arc<str>,
    /// What kind of service it is.
    pub kind: UpstreamKind,
    /// What the `Host` header says to it.
    pub host: HostRule,
    /// How long we wait.
    pub timeouts: UpstreamTimeouts,
    /// How long an idle connection is kept for reuse; below the upstream's own keep-alive time, or requests meet closed
    /// connections.
    pub idle_timeout: Duration,
    /// The most idle connections kept by one worker for one server.
    pub max_idle: usize,
    /// When a server that fails is left alone, and for how long.
    pub ejection: Ejection,
}

/// What kind of service an upstream is.
#[derive(Debug)]
pub enum UpstreamKind {
    /// HTTP/1.1 servers, asked in turn.
    Http(Box<[Server]>),
    /// The built-in echo: answers what it received, as JSON. For demonstrations and tests.
    Echo,
    /// keygate itself, for holders of keys that ask about them.
    SelfService,
}

/// One server of an upstream.
#[derive(Debug)]
pub struct Server {
    /// `host:port` as it was written; the port is always there.
    pub authority: Box<str>,
    /// The same as a `Host` header value, without a default port.
    pub host_value: HeaderValue,
    /// For `https`: what the certificate must be for, and what to trust.
    pub tls: Option<ServerTls>,
    /// The addresses its name resolves to, kept fresh in the background; never empty.
    pub addresses: Arc<ArcSwap<Vec<SocketAddr>>>,
}

/// How to speak TLS to a server.
#[derive(Clone)]
pub struct ServerTls {
    /// Sent as SNI and checked against the certificate.
    pub server_name: ServerName<'static>,
    /// Trust anchors, protocol versions.
    pub config: Arc<rustls::ClientConfig>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerTls({:?})", self.server_name)
    }
}

/// What the `Host` header says to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRule {
    /// What the caller asked for; the default.
    Preserve,
    /// The server's own name.
    Server,
    /// Always this.
    Fixed(HeaderValue),
}

/// How long we wait for an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// For a connection, TLS handshake included.
    pub connect: Duration,
    /// From the moment the whole request was sent to the response's head. While the caller is still sending its body, only
    /// `body` counts.
    pub response: Duration,
    /// Between two pieces of the response's body, and between two pieces of the request's that it takes. Time that the
    /// caller takes for reading or sending does not count.
    pub body: Duration,
    /// Without a byte in either direction of an upgraded connection.
    pub tunnel: Duration,
}

/// When a failing server is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row (connection refused, timed out, or cut before an answer) that eject; 0 never does. The only address
    /// of an upstream is never ejected.
    pub failures: u32,
    /// How long the first time; doubled each time in a row, up to [`Ejection::at_most`].
    pub duration: Duration,
    /// The longest ejection.
    pub at_most: Duration,
}
