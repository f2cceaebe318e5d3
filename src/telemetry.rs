//! What can be seen from outside: logs, metrics, the access log. Knows no domain type: takes strings and numbers.

pub mod access_log;
pub mod logging;
pub mod metrics;
