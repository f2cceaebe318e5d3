//! (being written)
use std::time::Duration;
/// One finished request, as metrics see it. Labels come from bounded sets.
#[derive(Debug, Clone, Copy)]
pub struct RequestSample<'a> {
    /// Endpoint name; `""` where none was found.
    pub endpoint: &'a str,
    /// Method, or `_OTHER`.
    pub method: &'static str,
    /// Status sent.
    pub status: u16,
    /// Type of the client; `""` for nobody.
    pub client_type: &'a str,
    /// From the head's arrival to the end of the response.
    pub duration: Duration,
    /// Upstream's name and the time until its response head, if one was asked.
    pub upstream: Option<(&'a str, Duration)>,
}
/// The registry: made once in `app`, rendered by the admin listener.
#[derive(Debug, Clone, Default)]
pub struct Metrics {}
/// Cells of one worker: written by that worker only, summed when scraped.
#[derive(Debug, Clone, Default)]
pub struct WorkerMetrics {}
impl WorkerMetrics {
    /// A request was answered to its end.
    pub fn request(&self, _sample: &RequestSample<'_>) {}
    /// A decision: outcome `admitted` or `refused`, and the reason (a rejection code, or `ok`/`anonymous`).
    pub fn decision(&self, _outcome: &'static str, _reason: &'static str, _took: Duration) {}
    /// A deprecated credential source was used.
    pub fn deprecated_credential(&self, _source: &str, _client_type: &str) {}
    /// A connection was accepted on a listener.
    pub fn connection_opened(&self, _listener: &str) {}
    /// A connection ended.
    pub fn connection_closed(&self, _listener: &str) {}
    /// A limit of size, count or time took effect; a name from a fixed list such as `head_bytes`.
    pub fn limit_hit(&self, _limit: &'static str) {}
    /// A request was malformed at the level of HTTP framing; the stable code.
    pub fn malformed(&self, _code: &'static str) {}
    /// A TLS handshake failed.
    pub fn tls_handshake_failed(&self, _listener: &str) {}
    /// An upstream failed; a name from a fixed list such as `connect_refused`.
    pub fn upstream_failure(&self, _upstream: &str, _kind: &'static str) {}
    /// A request was sent again over a new connection.
    pub fn upstream_retry(&self, _upstream: &str) {}
    /// A connection to an upstream was opened (`false`) or reused (`true`).
    pub fn upstream_connection(&self, _upstream: &str, _reused: bool) {}
    /// A server was ejected (`true`) or taken back (`false`).
    pub fn upstream_ejected(&self, _upstream: &str, _server: &str, _ejected: bool) {}
    /// A client left before its response was complete.
    pub fn downstream_closed(&self, _endpoint: &str) {}
    /// A request ended in a panic.
    pub fn panic(&self) {}
}
