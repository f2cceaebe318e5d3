//! Says in the log that an upstream fails, and no more often than a person can read.
//!
//! A dead upstream fails thousands of requests a second, and anybody who may call an open endpoint can cause them. Each
//! kind of failure of each upstream is logged once a second at the most, with the number of those that were not; every
//! one of them is in the metrics and in the access log.
//!
//! What it remembers is bounded by the names in the configuration.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::forward::ForwardError;
use crate::routing::Endpoint;

/// How long a kind of failure is not repeated.
const QUIET: Duration = Duration::from_secs(1);

/// Remembers what was logged when; shared by all workers and touched only by failures.
#[derive(Debug, Default)]
pub struct FaultLog(Mutex<HashMap<(Box<str>, &'static str), Last>>);

#[derive(Debug)]
struct Last {
    at: Instant,
    unlogged: u64,
}

impl FaultLog {
    /// Logs a failure, or counts it for the next line.
    pub(super) fn note(&self, endpoint: Option<&Endpoint>, fault: &ForwardError, request_id: &str) {
        if !fault.is_upstream_fault() {
            // The caller left, or sent what it should not: nothing an operator could mend.
            tracing::debug!(code = fault.code(), error = %chain(fault), request.id = request_id, "a request broke off");
            return;
        }
        let (endpoint, upstream) = endpoint.map_or(("", ""), |endpoint| (&endpoint.name, &endpoint.upstream.name));
        let Some(unlogged) = self.may_log(upstream, fault.code(), Instant::now()) else { return };
        tracing::warn!(
            endpoint.name = endpoint,
            upstream.name = upstream,
            code = fault.code(),
            error = %chain(fault),
            request.id = request_id,
            unlogged,
            "an upstream did not serve a request"
        );
    }

    /// The number of failures of this kind since the last line, if it is time for another.
    fn may_log(&self, upstream: &str, code: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.get_mut(&(Box::from(upstream), code)) {
            Some(last) if now.duration_since(last.at) < QUIET => {
                last.unlogged += 1;
                None
            }
            Some(last) => {
                last.at = now;
                Some(std::mem::take(&mut last.unlogged))
            }
            None => {
                kinds.insert((upstream.into(), code), Last { at: now, unlogged: 0 });
                Some(0)
            }
        }
    }
}

/// All of an error's causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_is_logged_once_a_second_with_the_number_of_the_others() {
        let (log, start) = (FaultLog::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        for (upstream, code, at, expected) in [
            ("orders", "upstream_closed", 0, Some(0)),
            ("orders", "upstream_closed", 1, None),
            ("orders", "upstream_closed", 999, None),
            ("orders", "upstream_connect_refused", 999, Some(0)),
            ("stock", "upstream_closed", 999, Some(0)),
            ("orders", "upstream_closed", 1000, Some(2)),
            ("orders", "upstream_closed", 1001, None),
            ("orders", "upstream_closed", 5000, Some(1)),
        ] {
            assert_eq!(log.may_log(upstream, code, after(at)), expected, "{upstream} {code} {at}");
        }
    }
}
