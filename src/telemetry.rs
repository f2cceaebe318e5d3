//! What can be seen of keygate from outside: metrics, the access log, the log of the program itself, and its health.
//!
//! The rooms of the house record here ([`metrics::WorkerMetrics`], [`access_log::AccessLog`], the `tracing` macros,
//! [`health::Health`]); `ops` shows what was recorded, on the admin listener.
//!
//! This is the ground floor: it knows no type of the domain and takes strings and numbers only. If it knew what a policy
//! is, a policy could not count anything without a circle.
//!
//! Nothing here may print a secret. It is not enough to be careful at each call, so the records have no place for one,
//! and [`redact`] masks what looks like a key wherever a caller chose the text.

pub mod access_log;
pub mod health;
pub mod logging;
pub mod metrics;
pub mod redact;
