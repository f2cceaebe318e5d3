//! The bounds of a connection, with their defaults in one place.

use std::time::Duration;

use super::guard::GuardLimits;
use super::limits::ConnectionLimits;
use super::request_body::BodyPace;

/// What a connection may cost, in bytes, counts and time. One value serves all workers.
#[derive(Debug, Clone)]
pub struct ConnectionSettings {
    /// Head of an HTTP/1 message; the byte limits hold for HTTP/2 header lists too. 32 KiB, 100 headers, target 8 KiB.
    pub head: GuardLimits,
    /// From accepting a connection, or from the first byte of a later head, until the head is whole. Default 10 s.
    pub head_time: Duration,
    /// Between two exchanges. Default 60 s.
    pub idle_time: Duration,
    /// After this time a connection closes behind the exchange that is running. Default 1 h.
    pub age: Duration,
    /// How long a client may take no byte of what waits for it. Default 30 s.
    pub write_time: Duration,
    /// For a TLS handshake. Default 10 s.
    pub handshake_time: Duration,
    /// How fast a request's body must come.
    pub body: BodyPace,
    /// HTTP/2 bounds.
    pub http2: Http2Settings,
    /// Places for connections, shared with the other workers.
    pub connections: ConnectionLimits,
    /// The first number of a descriptor that is not for callers, see [`descriptors`](super::descriptors). Default: all
    /// are.
    pub descriptors: Option<u64>,
    /// How long [`serve`](super::serve) waits for what is open when a drain begins. Default 30 s.
    pub grace: Duration,
    /// How long an HTTP/1 connection that is not answering anything may still ask once when a drain begins. Default 1 s.
    pub last_request_while_draining: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            head: GuardLimits::default(),
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            age: Duration::from_secs(3600),
            write_time: Duration::from_secs(30),
            handshake_time: Duration::from_secs(10),
            body: BodyPace::default(),
            http2: Http2Settings::default(),
            connections: ConnectionLimits::default(),
            descriptors: None,
            grace: Duration::from_secs(30),
            last_request_while_draining: Duration::from_secs(1),
        }
    }
}

/// Bounds that only HTTP/2 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Settings {
    /// Streams open at once. Default 100.
    pub streams: u32,
    /// Flow-control window of one stream, which is what a silent handler can make us hold. Default 256 KiB.
    pub stream_window: u32,
    /// Flow-control window of the connection. Default 1 MiB.
    pub connection_window: u32,
    /// Streams that were reset before they were looked at. Default 20, then the connection ends.
    pub pending_resets: usize,
    /// Streams that we reset because of the client's faults. Default 20, then the connection ends. hyper's own 1,024
    /// leaves room for the attack called MadeYouReset.
    pub error_resets: usize,
    /// Streams the client may give up; beyond it the connection ends when they are the majority. Default 200.
    pub cancelled: u32,
    /// Bytes of an answer held for one stream. Default 64 KiB.
    pub send_buffer: usize,
    /// How often a ping asks whether the client is still there. Default 20 s.
    pub ping_interval: Duration,
    /// How long its answer may take. Default 20 s.
    pub ping_time: Duration,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            streams: 100,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            pending_resets: 20,
            error_resets: 20,
            cancelled: 200,
            send_buffer: 64 * 1024,
            ping_interval: Duration::from_secs(20),
            ping_time: Duration::from_secs(20),
        }
    }
}
