//! What answers tell callers of their limits.
//!
//! Two spellings, each of which can be switched off: `RateLimit` and `RateLimit-Policy` as draft-ietf-httpapi-ratelimit-headers
//! has them (structured fields, one item for each limit), and `X-RateLimit-Limit`, `-Remaining` and `-Reset`, of the limit that is
//! the nearest to be reached. `Reset` is a moment, in seconds since 1970; `Retry-After` is a number of seconds, and stands on
//! refusals alone. A limit in shadow is never told of.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Limits, Measure, Moment, Policy, Standing};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Which headers stand in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderStyle {
    /// `RateLimit` and `RateLimit-Policy`.
    pub draft: bool,
    /// `X-RateLimit-Limit`, `-Remaining`, `-Reset`.
    pub legacy: bool,
    /// `Retry-After` on refusals.
    pub retry_after: bool,
    /// What becomes of those that an upstream sends.
    pub upstream: UpstreamHeaders,
}

impl Default for HeaderStyle {
    fn default() -> Self {
        Self { draft: true, legacy: true, retry_after: true, upstream: UpstreamHeaders::Replace }
    }
}

/// What becomes of an upstream's own headers of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamHeaders {
    /// They make way for ours, on answers to requests that a limit concerns.
    Replace,
    /// They stay, and ours are left out where one of them stands.
    Keep,
}

impl HeaderStyle {
    /// Writes how things stand.
    pub fn write(&self, limits: &Limits, standings: &[Standing], now: Moment, headers: &mut HeaderMap) {
        let of = |standing: &Standing| &*limits.all[standing.policy];
        let shown =
            || standings.iter().map(|standing| (of(standing), standing)).filter(|(policy, _)| !policy.is_shadow);
        let nearest = shown().min_by_key(|(policy, standing)| standing.nearness(policy.measure.most()));
        let Some((policy, nearest)) = nearest else { return };
        if self.upstream == UpstreamHeaders::Keep
            && [RATE_LIMIT, POLICY, LIMIT, REMAINING, RESET].iter().any(|name| headers.contains_key(name))
        {
            return;
        }
        for name in [RATE_LIMIT, POLICY, LIMIT, REMAINING, RESET] {
            headers.remove(name);
        }
        if self.draft {
            let (mut policies, mut left) = (String::with_capacity(96), String::with_capacity(64));
            for (policy, standing) in shown() {
                write_item(&mut policies, &mut left, policy, standing);
            }
            insert(headers, POLICY, &policies);
            insert(headers, RATE_LIMIT, &left);
        }
        if self.legacy {
            let resets = now
                .wall_millis
                .saturating_add(i64::try_from(nearest.reading.resets_in.as_millis()).unwrap_or(i64::MAX));
            headers.insert(LIMIT, HeaderValue::from(policy.measure.most()));
            headers.insert(REMAINING, HeaderValue::from(nearest.reading.remaining));
            // The second in which it is over, not the one before.
            headers.insert(RESET, HeaderValue::from(resets.saturating_add(999).div_euclid(1_000)));
        }
    }
}

/// Adds one limit to both fields. Names are words that need no escape in a structured field.
fn write_item(policies: &mut String, left: &mut String, policy: &Policy, standing: &Standing) {
    let reading = &standing.reading;
    for text in [&mut *policies, &mut *left] {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push('"');
        text.push_str(&policy.name);
        text.push('"');
    }
    // Writing to a `String` cannot fail.
    let _ = write!(policies, ";q={}", policy.measure.most());
    match policy.measure.window() {
        Some(window) => {
            let _ = write!(policies, ";w={}", seconds(window));
        }
        None => policies.push_str(";qu=\"concurrent-requests\""),
    }
    let _ = write!(left, ";r={}", reading.remaining);
    if !matches!(policy.measure, Measure::Concurrent { .. }) {
        let wait = if reading.wait.is_zero() { reading.resets_in } else { reading.wait };
        let _ = write!(left, ";t={}", seconds(wait));
    }
}

/// Whole seconds, none too few.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
