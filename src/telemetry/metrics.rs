//! Counters, gauges and histograms in the text format that Prometheus reads.
//!
//! `app` makes one [`Metrics`], gives each worker thread a [`WorkerMetrics`] of its own, and sets what only it knows
//! (keys, certificates). The admin listener calls [`Metrics::render`] for each scrape: it sums the cells of all workers
//! and writes them out.
//!
//! Recording never waits, not even for a scrape, and two workers never write the same cache line (see `cells`). Counts
//! and sums are exact. Every metric is declared in [`METRICS`], and every label comes from a bounded set: names from the
//! configuration, up to a cap, or words from the code. Deliberately absent: paths, keys, client ids, addresses of clients.
//!
//! Several may live in one process, as in tests; there is no global recorder, so the macros of the `metrics` crate record
//! nothing here. The exporter gets finished sums at each scrape: it would keep every single sample of a histogram in memory
//! until somebody asked, so histograms are summed in the cells and written by `render`.

mod cells;
mod process;
mod render;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::access_log::AccessLog;
use super::health::Health;
use cells::{Names, Series, Space, WorkerCells};

pub use traffic::{Distribution, Traffic};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size, with a sum.
    Histogram,
}

impl Kind {
    /// The word of the text format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric as it is declared: once, in [`METRICS`].
#[derive(Debug, Clone, Copy)]
pub struct Declaration {
    /// The full name, unit included.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, in the order in which they are printed.
    pub labels: &'static [&'static str],
    /// One sentence for the reader of a dashboard.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Declaration {
    Declaration { name, kind: Kind::Counter, labels, help }
}
const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Declaration {
    Declaration { name, kind: Kind::Gauge, labels, help }
}
const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Declaration {
    Declaration { name, kind: Kind::Histogram, labels, help }
}

/// Every metric there is. `docs/METRICS.md` explains each; a test compares the two.
pub const METRICS: &[Declaration] = &[
    // Traffic.
    counter(
        "keygate_requests_total",
        &["endpoint", "method", "code", "client_type"],
        "Requests answered to their end.",
    ),
    histogram(
        "keygate_request_duration_seconds",
        &["endpoint"],
        "Time from a request's head to the end of its response.",
    ),
    counter("keygate_downstream_closed_total", &["endpoint"], "Callers that left before their response was complete."),
    counter("keygate_panics_total", &[], "Requests that ended in a fault of keygate's own."),
    // The decision.
    counter("keygate_decisions_total", &["outcome", "reason"], "Decisions to admit or to refuse a request."),
    histogram("keygate_decision_duration_seconds", &[], "Time that a decision took."),
    counter(
        "keygate_deprecated_credentials_total",
        &["source", "client_type"],
        "Requests whose key stood in a place that is deprecated.",
    ),
    counter("keygate_limit_hits_total", &["limit"], "Times that a limit of size, count or time took effect."),
    counter("keygate_rate_limits_total", &["policy", "outcome"], "Times that a limit on requests was asked."),
    gauge(
        "keygate_rate_limit_subjects",
        &["policy"],
        "Callers, or whatever a limit tells apart, that are counted now.",
    ),
    counter(
        "keygate_rate_limit_evictions_total",
        &["policy"],
        "Callers whose count was given up because there were too many.",
    ),
    // Connections.
    gauge("keygate_connections", &["listener"], "Connections that are open."),
    counter("keygate_connections_total", &["listener"], "Connections that were accepted."),
    counter("keygate_accept_errors_total", &["listener"], "Connections that could not be accepted."),
    counter("keygate_tls_handshake_failures_total", &["listener"], "TLS handshakes that failed."),
    counter("keygate_malformed_requests_total", &["code"], "Requests refused because their HTTP framing was wrong."),
    // Upstreams.
    histogram(
        "keygate_upstream_request_duration_seconds",
        &["upstream"],
        "Time from asking an upstream to the head of its response.",
    ),
    counter(
        "keygate_upstream_failures_total",
        &["upstream", "kind"],
        "Requests that an upstream did not answer properly.",
    ),
    counter("keygate_upstream_retries_total", &["upstream"], "Requests sent again over a new connection."),
    counter(
        "keygate_upstream_connections_total",
        &["upstream", "reused"],
        "Connections to an upstream that were opened or used again.",
    ),
    counter("keygate_upstream_ejections_total", &["upstream", "server"], "Times that a failing server was left alone."),
    gauge("keygate_upstream_unhealthy", &["upstream", "server"], "Addresses of a server that fail their checks now."),
    gauge("keygate_upstream_ejected", &["upstream", "server"], "Workers that leave a failing server alone now."),
    // Configuration and keys.
    gauge("keygate_keys", &["state"], "API keys that are held."),
    gauge("keygate_keys_expiring", &["within"], "Good API keys that expire within a day, a week, thirty days."),
    gauge("keygate_key_next_expiry_timestamp_seconds", &[], "Time at which the next good API key expires."),
    counter("keygate_store_failures_total", &["operation"], "Times that the store of keys could not be used."),
    counter("keygate_webhook_deliveries_total", &["outcome"], "Attempts to tell the webhook of a change."),
    gauge("keygate_webhook_waiting", &[], "Changes that the webhook has not been told of yet."),
    counter("keygate_admin_requests_total", &["code"], "Requests to the admin API."),
    counter("keygate_admin_refused_tokens_total", &[], "Requests to the admin API without a good token."),
    counter("keygate_admin_sign_ins_total", &["outcome"], "Attempts to sign in to the console."),
    gauge("keygate_admin_sessions", &[], "Sessions of the console that are open."),
    gauge("keygate_endpoints", &[], "Endpoints in force."),
    gauge("keygate_config_generation", &[], "Number of the configuration in force; rises by one with each change."),
    gauge(
        "keygate_config_last_reload_successful",
        &[],
        "Whether the last attempt to load the configuration succeeded.",
    ),
    gauge(
        "keygate_config_last_reload_success_timestamp_seconds",
        &[],
        "Time at which the configuration was last loaded without a problem.",
    ),
    counter("keygate_config_reloads_total", &["outcome"], "Attempts to reload the configuration."),
    gauge(
        "keygate_tls_certificate_not_after_timestamp_seconds",
        &["name"],
        "Time at which a certificate that is served expires.",
    ),
    // keygate itself.
    counter("keygate_access_log_lines_total", &[], "Lines of the access log that were written."),
    counter("keygate_access_log_dropped_total", &[], "Lines of the access log that were given up."),
    gauge("keygate_draining", &[], "Whether keygate is finishing its work before it stops."),
    gauge("keygate_workers", &[], "Worker threads that serve requests."),
    gauge("keygate_build_info", &["version", "revision"], "Always 1; the labels say what is running."),
    counter("process_cpu_seconds_total", &[], "CPU time spent by the process."),
    gauge("process_resident_memory_bytes", &[], "Memory of the process that is held in RAM."),
    gauge("process_virtual_memory_bytes", &[], "Address space of the process."),
    gauge("process_open_fds", &[], "File descriptors that are open."),
    gauge("process_max_fds", &[], "File descriptors that may be open at once."),
    gauge("process_threads", &[], "Threads of the process."),
    gauge("process_start_time_seconds", &[], "Time at which the process started."),
];

/// One finished request, as metrics see it. Labels come from bounded sets.
#[derive(Debug, Clone, Copy)]
pub struct RequestSample<'a> {
    /// Endpoint name; none where none was found.
    pub endpoint: Option<&'a Arc<str>>,
    /// Method, or `_OTHER`.
    pub method: &'static str,
    /// Status sent.
    pub status: u16,
    /// Type of the client; `""` for nobody.
    pub client_type: &'a str,
    /// From the head's arrival to the end of the response.
    pub duration: Duration,
    /// Upstream's name and the time until its response head, if one was asked.
    pub upstream: Option<(&'a Arc<str>, Duration)>,
}

/// How many keys there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFacts {
    /// By what they are good for.
    pub by_state: Vec<(&'static str, u64)>,
    /// Good ones that end within a time.
    pub expiring: Vec<(&'static str, u64)>,
    /// When the next good one ends, in seconds since 1970.
    pub next_expiry: Option<i64>,
}

/// What `app` and `reload` know and no worker does.
#[derive(Debug, Default)]
struct Facts {
    keys: KeyFacts,
    /// Counted outside of workers, by metric and label.
    counts: BTreeMap<(&'static str, String), u64>,
    webhook_waiting: Option<u64>,
    admin_sessions: u64,
    endpoints: u64,
    /// By policy: subjects that are counted, and those that were given up.
    rate_limits: Vec<(String, u64, u64)>,
    certificates: Vec<(String, i64)>,
    servers: Vec<(String, String)>,
    unhealthy: BTreeMap<(String, String), u64>,
    access_log: Option<AccessLog>,
}

#[derive(Debug)]
struct Registry {
    names: Arc<Names>,
    workers: Mutex<Vec<Arc<WorkerCells>>>,
    facts: Mutex<Facts>,
    health: Health,
    started: SystemTime,
}

/// The registry: made once in `app`, rendered by the admin listener. A clone is the same registry.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Registry>);

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Health::default())
    }
}

impl Metrics {
    /// An empty registry; what it says of the configuration and of draining it reads from `health` when rendered.
    ///
    /// The time of this call stands for the start of the process: the service manager may hide the kernel's own figure.
    #[must_use]
    pub fn new(health: Health) -> Self {
        Self(Arc::new(Registry {
            names: Arc::default(),
            workers: Mutex::default(),
            facts: Mutex::default(),
            health,
            started: SystemTime::now(),
        }))
    }

    /// Cells for one more worker. They count until the end of the process, also when the worker has gone.
    #[must_use]
    pub fn worker(&self) -> WorkerMetrics {
        let cells = Arc::new(WorkerCells::new(Arc::clone(&self.0.names)));
        self.0.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&cells));
        WorkerMetrics(cells)
    }

    /// How many keys there are; replaces what was said before.
    pub fn set_keys(&self, keys: KeyFacts) {
        self.facts(|facts| facts.keys = keys);
    }

    /// The store of keys could not be used; a name from a fixed list such as `usage`.
    pub fn store_failed(&self, operation: &'static str) {
        self.count("keygate_store_failures_total", operation);
    }

    /// The webhook was told of a change, or not: `delivered`, `failed` or `given_up`.
    pub fn webhook_told(&self, outcome: &'static str) {
        self.count("keygate_webhook_deliveries_total", outcome);
    }

    /// How many changes the webhook has not been told of yet.
    pub fn set_webhook_waiting(&self, count: u64) {
        self.facts(|facts| facts.webhook_waiting = Some(count));
    }

    /// The admin API answered with this status.
    pub fn admin_request(&self, code: u16) {
        self.count("keygate_admin_requests_total", &code.to_string());
    }

    /// A request to the admin API showed no good token.
    pub fn admin_token_refused(&self) {
        self.count("keygate_admin_refused_tokens_total", "");
    }

    /// Somebody signed in to the console, or tried: `accepted`, `refused` or `throttled`.
    pub fn admin_sign_in(&self, outcome: &'static str) {
        self.count("keygate_admin_sign_ins_total", outcome);
    }

    /// How many sessions of the console are open.
    pub fn set_admin_sessions(&self, count: usize) {
        self.facts(|facts| facts.admin_sessions = count as u64);
    }

    fn count(&self, metric: &'static str, label: &str) {
        self.facts(|facts| *facts.counts.entry((metric, label.to_owned())).or_default() += 1);
    }

    /// How many endpoints are in force, and the servers of their upstreams as (upstream, server): only for these is it shown
    /// whether they are left alone, also when they are not.
    pub fn set_endpoints<'a>(&self, count: usize, servers: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let servers = servers.into_iter().map(|(upstream, server)| (upstream.to_owned(), server.to_owned())).collect();
        self.facts(|facts| {
            facts.endpoints = count as u64;
            facts.servers = servers;
        });
    }

    /// How many subjects each limit counts now, and how many were given up since the start; replaces what was said before.
    pub fn set_rate_limits(&self, limits: Vec<(String, u64, u64)>) {
        self.facts(|facts| facts.rate_limits = limits);
    }

    /// The certificates that are served and their last valid second since 1970; those not named are forgotten, so that
    /// nobody is woken for a certificate that has been taken out of service.
    pub fn set_certificates<'a>(&self, not_after: impl IntoIterator<Item = (&'a str, i64)>) {
        let certificates = not_after.into_iter().map(|(name, at)| (name.to_owned(), at)).collect();
        self.facts(|facts| facts.certificates = certificates);
    }

    /// How many addresses of upstreams' servers fail their checks; those of which none does are left out.
    pub fn set_unhealthy(&self, unhealthy: BTreeMap<(String, String), u64>) {
        self.facts(|facts| facts.unhealthy = unhealthy);
    }

    /// The access log whose written and dropped lines are shown.
    pub fn set_access_log(&self, log: AccessLog) {
        self.facts(|facts| facts.access_log = Some(log));
    }

    /// Everything, in the text format 0.0.4 of Prometheus, sorted by name.
    #[must_use]
    pub fn render(&self) -> String {
        render::render(&self.0)
    }

    fn facts(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.0.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Cells of one worker: written by that worker only, summed when scraped.
///
/// A clone writes the same cells and belongs on the same thread. The default counts into nowhere, for tests.
#[derive(Debug, Clone)]
pub struct WorkerMetrics(Arc<WorkerCells>);

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self(Arc::new(WorkerCells::new(Arc::default())))
    }
}

impl WorkerMetrics {
    /// A request was answered to its end.
    pub fn request(&self, sample: &RequestSample<'_>) {
        self.0.request(sample);
    }

    /// A decision: outcome `admitted` or `refused`, and the reason (a rejection code, or `ok`/`anonymous`).
    pub fn decision(&self, outcome: &'static str, reason: &'static str, took: Duration) {
        self.0.decision(outcome, reason, took);
    }

    /// A deprecated credential source was used.
    pub fn deprecated_credential(&self, source: &str, client_type: &str) {
        self.0.count(Series::Deprecated, (Space::Source, source), (Space::ClientType, client_type));
    }

    /// A connection was accepted on a listener.
    pub fn connection_opened(&self, listener: &str) {
        self.0.count_one(Series::Opened, (Space::Listener, listener));
    }

    /// A connection ended.
    pub fn connection_closed(&self, listener: &str) {
        self.0.count_one(Series::Closed, (Space::Listener, listener));
    }

    /// A connection could not be accepted, for want of descriptors, say.
    pub fn accept_error(&self, listener: &str) {
        self.0.count_one(Series::AcceptError, (Space::Listener, listener));
    }

    /// A limit of size, count or time took effect; a name from a fixed list such as `head_bytes`.
    pub fn limit_hit(&self, limit: &'static str) {
        self.0.count_one(Series::LimitHit, (Space::Word, limit));
    }

    /// A limit on requests was asked: `admitted`, `refused`, or `shadow` if it would have refused.
    pub fn rate_limit(&self, policy: &str, outcome: &'static str) {
        self.0.count(Series::RateLimit, (Space::RateLimit, policy), (Space::Word, outcome));
    }

    /// A request was malformed at the level of HTTP framing; the stable code.
    pub fn malformed(&self, code: &'static str) {
        self.0.count_one(Series::Malformed, (Space::Word, code));
    }

    /// A TLS handshake failed.
    pub fn tls_handshake_failed(&self, listener: &str) {
        self.0.count_one(Series::TlsFailed, (Space::Listener, listener));
    }

    /// An upstream failed; a name from a fixed list such as `connect_refused`.
    pub fn upstream_failure(&self, upstream: &str, kind: &'static str) {
        self.0.count(Series::UpstreamFailure, (Space::Upstream, upstream), (Space::Word, kind));
    }

    /// A request was sent again over a new connection.
    pub fn upstream_retry(&self, upstream: &str) {
        self.0.count_one(Series::UpstreamRetry, (Space::Upstream, upstream));
    }

    /// A connection to an upstream was opened (`false`) or reused (`true`).
    pub fn upstream_connection(&self, upstream: &Arc<str>, reused: bool) {
        self.0.upstream_connection(upstream, if reused { "true" } else { "false" });
    }

    /// A server was ejected (`true`) or taken back (`false`).
    pub fn upstream_ejected(&self, upstream: &str, server: &str, ejected: bool) {
        let series = if ejected { Series::Ejected } else { Series::TakenBack };
        self.0.count(series, (Space::Upstream, upstream), (Space::Server, server));
    }

    /// A client left before its response was complete.
    pub fn downstream_closed(&self, endpoint: &str) {
        self.0.count_one(Series::DownstreamClosed, (Space::Endpoint, endpoint));
    }

    /// A request ended in a panic.
    pub fn panic(&self) {
        self.0.count_none(Series::Panic);
    }
}
