//! A service we call: where it is, how long we wait for it, and how much it is asked at once. It opens nothing.

mod capacity;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls_pki_types::ServerName;

pub use capacity::{Capacities, Capacity, Full, Place};

/// An upstream by name, as endpoints refer to it.
#[derive(Debug)]
pub struct Upstream {
    /// The name in YAML, log and metric.
    pub name: Arc<str>,
    /// What kind of service it is.
    pub kind: UpstreamKind,
    /// What is spoken with its servers.
    pub protocol: Protocol,
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
    /// How many requests it gets at once.
    pub concurrency: Concurrency,
    /// How servers are asked whether they are well; `None` if they are not.
    pub health_check: Option<HealthCheck>,
    /// Its places, once they were looked for; see [`Upstream::capacity`].
    pub places: OnceLock<Arc<Capacity>>,
}

impl Upstream {
    /// An upstream to which everything applies that holds where the configuration says nothing.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, kind: UpstreamKind) -> Self {
        Self {
            name: name.into(),
            kind,
            protocol: Protocol::default(),
            host: HostRule::Preserve,
            timeouts: UpstreamTimeouts::default(),
            idle_timeout: Duration::from_secs(4),
            max_idle: 256,
            ejection: Ejection::default(),
            concurrency: Concurrency::default(),
            health_check: None,
            places: OnceLock::new(),
        }
    }

    /// Its servers; none if it is no service of others.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        match &self.kind {
            UpstreamKind::Http(servers) => servers,
            UpstreamKind::Echo | UpstreamKind::SelfService => &[],
        }
    }

    /// The places of this upstream, `None` if it has no bound. They are looked for among `all` once.
    pub fn capacity(&self, all: &Capacities) -> Option<&Capacity> {
        let most = self.concurrency.max_requests?;
        Some(self.places.get_or_init(|| all.of(&self.name, most)))
    }
}

/// What kind of service an upstream is.
#[derive(Debug)]
pub enum UpstreamKind {
    /// HTTP servers, asked in turn.
    Http(Box<[Server]>),
    /// The built-in echo: answers what it received, as JSON. For demonstrations and tests.
    Echo,
    /// keygate itself, for holders of keys that ask about them.
    SelfService,
}

/// What is spoken with the servers of an upstream. There is no falling back from one to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: over TLS as the protocol that the server must agree to, in clear text with prior knowledge.
    Http2,
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

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(30),
            body: Duration::from_secs(30),
            tunnel: Duration::from_secs(3600),
        }
    }
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

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 3, duration: Duration::from_secs(10), at_most: Duration::from_secs(300) }
    }
}

/// How many requests an upstream gets at once, from all workers together. Upgraded connections do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Requests whose answer is not over; `None` for no bound.
    pub max_requests: Option<u32>,
    /// Requests that wait for their turn beyond that.
    pub queue: u32,
    /// How long each of them waits.
    pub queue_time: Duration,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { max_requests: Some(10_000), queue: 1000, queue_time: Duration::from_secs(1) }
    }
}

/// How a server is asked whether it is well: a GET that must be answered with 2xx or 3xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path and query of the request.
    pub target: Box<str>,
    /// Between two of them to the same address.
    pub interval: Duration,
    /// For the connection and the head of the answer.
    pub timeout: Duration,
    /// So many good answers in a row, and the address is asked again.
    pub healthy: u32,
    /// So many bad ones in a row, and it is left alone.
    pub unhealthy: u32,
}
