//! An id for each request: in the answer, in the upstream's request and in the access log.
//!
//! A new one is a UUID of version 7 (RFC 9562 section 5.7), so that ids sort by time. It names a request and guards
//! nothing, so its random part comes from a fast generator that the system seeds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

/// `X-Request-Id`.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// What one request is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RequestId {
    /// Made here.
    Made([u8; 36]),
    /// Sent by a trusted proxy.
    Sent(Box<str>),
}

impl RequestId {
    pub(super) fn as_str(&self) -> &str {
        match self {
            // It holds nothing but hex digits and dashes.
            Self::Made(text) => str::from_utf8(text).unwrap_or_default(),
            Self::Sent(text) => text,
        }
    }

    /// The same, without another look whether it is text.
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Made(text) => text,
            Self::Sent(text) => text.as_bytes(),
        }
    }

    /// The id as the value of a header; every id can be one.
    pub(super) fn value(&self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.as_bytes()).ok()
    }
}

/// Makes ids; one for each worker.
#[derive(Debug)]
pub(super) struct RequestIds(AtomicU64);

impl RequestIds {
    /// A generator with a seed of its own.
    pub(super) fn new() -> Self {
        let mut seed = [0; 8];
        // Without the system's chance the clock has to do: ids stay unique enough to find a log line by.
        if getrandom::fill(&mut seed).is_err() {
            seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64).to_le_bytes();
        }
        Self(AtomicU64::new(u64::from_le_bytes(seed)))
    }

    /// The next id, for a request that came at this time.
    pub(super) fn next(&self, at: SystemTime) -> RequestId {
        let millis = at.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        self.id(millis)
    }

    fn id(&self, millis: u64) -> RequestId {
        let (first, second) = (self.draw(), self.draw());
        let high = millis << 16 | 0x7000 | first & 0x0fff;
        let low = 1 << 63 | second & (u64::MAX >> 2);
        let mut text = *b"00000000-0000-0000-0000-000000000000";
        let digits = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        for (byte, place) in digits.into_iter().zip(PLACES) {
            text[place] = HEX[usize::from(byte >> 4)];
            text[place + 1] = HEX[usize::from(byte & 15)];
        }
        RequestId::Made(text)
    }

    /// SplitMix64: a counter through a mixer.
    fn draw(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Where the two digits of each byte stand, between the dashes.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// The id that a trusted proxy sent, if it is one and looks like one.
pub(super) fn sent(headers: &HeaderMap) -> Option<RequestId> {
    let mut values = headers.get_all(HEADER).iter();
    let text = values.next()?.to_str().ok()?;
    let is_id = values.next().is_none()
        && (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    is_id.then(|| RequestId::Sent(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_7_that_sort_by_time() {
        let ids = RequestIds::new();
        let (early, late) = (ids.id(1_700_000_000_000), ids.id(1_700_000_000_001));
        for id in [early.as_str(), late.as_str()] {
            assert_eq!(id.len(), 36);
            assert_eq!(&id[14..15], "7");
            assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
            assert!(id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
            assert!(id.bytes().enumerate().all(|(at, byte)| matches!(at, 8 | 13 | 18 | 23) == (byte == b'-')), "{id}");
        }
        assert!(early < late);
        assert_ne!(ids.id(5), ids.id(5));
    }

    #[test]
    fn only_one_plain_id_is_taken_over() {
        for (values, taken) in [
            (vec!["a-1_b.C"], true),
            (vec![""], false),
            (vec!["a b"], false),
            (vec!["a\"b"], false),
            (vec!["a", "b"], false),
            (vec![], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(HEADER, value.parse().expect("a header value"));
            }
            assert_eq!(sent(&headers).is_some(), taken, "{values:?}");
        }
    }
}
