//! What is fixed when the program starts: addresses, workers, bounds, logs.
//!
//! `app` builds listeners and workers from [`Settings`] once. `reload` compares those of a new load with the ones in force
//! and says which changes wait for a restart ([`Settings::differences`]); everything else of a new load takes effect.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What is fixed at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Addresses that callers connect to; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// The listener for operators.
    pub admin: Option<AdminSettings>,
    /// Health and metrics alone.
    pub observe: Option<SocketAddr>,
    /// Worker threads.
    pub workers: NonZeroUsize,
    /// Bounds on what one caller may take.
    pub limits: Limits,
    /// How long callers may take.
    pub timeouts: Timeouts,
    /// What the program writes about itself.
    pub log: LogSettings,
    /// One line for each request, if any.
    pub access_log: Option<AccessLogSettings>,
    /// The file of the store, if there is one.
    pub store: Option<PathBuf>,
    /// Where counts of days and months outlive a restart.
    pub rate_limit_file: Option<PathBuf>,
}

/// The listener for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// It speaks TLS; its certificates are in [`Loaded::certificates`](super::Loaded::certificates), under [`ADMIN`].
    pub is_tls: bool,
    /// The console is served here.
    pub has_console: bool,
}

/// What the listener for operators is called among those with certificates. No listener of callers can have this name.
pub const ADMIN: &str = "the admin listener";

/// One address that callers connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// What endpoints and metrics call it.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it speaks without TLS.
    pub protocol: Protocol,
    /// It speaks TLS; the certificates are in [`Loaded::certificates`](super::Loaded::certificates).
    pub is_tls: bool,
    /// Requests that come in here count as made from the back office.
    pub is_backoffice: bool,
}

/// What a listener without TLS speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and 1.0.
    Http1,
    /// HTTP/2 in clear text, and HTTP/1.1.
    H2c,
}

/// Bounds on what one caller may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's line and headers together.
    pub head_bytes: usize,
    /// Header fields.
    pub headers: usize,
    /// Bytes of the target.
    pub target_bytes: usize,
    /// Bytes of a request's body, where an endpoint says nothing else. Compiled into each endpoint's `max_body`.
    pub body_bytes: Option<u64>,
    /// Open connections in all.
    pub connections: usize,
    /// Open connections from one address.
    pub connections_per_address: Option<usize>,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Requests with a key that is not good, from one address in a minute.
    pub rejected_keys: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 << 10,
            headers: 100,
            target_bytes: 8 << 10,
            body_bytes: None,
            connections: 10_000,
            connections_per_address: None,
            streams: 100,
            rejected_keys: Some(200),
        }
    }
}

/// How long callers may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TLS handshake.
    pub tls_handshake: Duration,
    /// For the line and headers of a request.
    pub head: Duration,
    /// For the next request on a connection.
    pub idle: Duration,
    /// For a connection as a whole.
    pub age: Duration,
    /// Between two pieces of a request's body.
    pub body: Duration,
    /// For a caller to take the next piece of a response.
    pub write: Duration,
    /// From the moment a request is passed on to the end of its answer.
    pub exchange: Option<Duration>,
    /// For requests in flight when the program is told to stop.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tls_handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            age: Duration::from_secs(3600),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
            exchange: None,
            drain: Duration::from_secs(30),
        }
    }
}

/// What the program writes about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// JSON instead of text.
    pub is_json: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info", is_json: false }
    }
}

/// One line for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// Where the lines go.
    pub output: AccessLogOutput,
    /// How they look.
    pub format: AccessLogFormat,
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        Self { output: AccessLogOutput::Stdout, format: AccessLogFormat::Json }
    }
}

/// Where access lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogOutput {
    /// Standard output.
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

/// How access lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object a line.
    Json,
    /// The combined log format.
    Combined,
}

impl Settings {
    /// The names of the settings that differ, as they are written in the file: these wait for a restart.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        // Taken apart in full, so that a new setting cannot be forgotten here.
        let Self { listeners, admin, observe, workers, limits, timeouts, log, access_log, store, rate_limit_file } =
            self;
        [
            ("listen", *listeners != other.listeners),
            ("admin", *admin != other.admin),
            ("observe", *observe != other.observe),
            ("workers", *workers != other.workers),
            // The bound on bodies is a rule of each endpoint and takes effect at once.
            ("limits", Limits { body_bytes: None, ..*limits } != Limits { body_bytes: None, ..other.limits }),
            ("timeouts", *timeouts != other.timeouts),
            ("log", *log != other.log),
            ("access_log", *access_log != other.access_log),
            ("keys.store", *store != other.store),
            ("rate_limit_file", *rate_limit_file != other.rate_limit_file),
        ]
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name.to_owned())
        .collect()
    }
}
