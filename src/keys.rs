//! API keys: what we hold about them. Never the secret, only digests.
//!
//! An [`ApiKey`] is a value that `config` (later the store) builds and [`KeyTable`] holds. It has a stable public id;
//! its secrets come and go by rotation, each known by its [digest](crate::credential::KeyDigest) alone.
//!
//! Nothing here judges whether a key may be used now: that takes the time, and is for `authentication`.

mod table;

pub use table::{KeyTable, Reconciled, TableEntry};

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;

use crate::client::{Client, Environment, Grants, KeyType};
use crate::credential::KeyDigest;

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
///
/// Kept with the sign bit turned over, so that the order of the numbers is the order of the moments and zero is free:
/// an `Option` of it takes no more room, which counts with a million keys. The price is the very first moment, which is
/// taken for the one after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

const SIGN: u64 = 1 << 63;

impl Timestamp {
    /// The moment so many milliseconds after 1970 began (UTC).
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(NonZeroU64::new(millis.cast_unsigned() ^ SIGN).unwrap_or(NonZeroU64::MIN))
    }

    /// Milliseconds since 1970 began (UTC).
    #[must_use]
    pub fn as_millis(self) -> i64 {
        (self.0.get() ^ SIGN).cast_signed()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self::from_millis(millis(after)),
            Err(before) => Self::from_millis(-millis(before.duration())),
        }
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.as_millis()) {
            Ok(time) => write!(f, "{time:.0}"),
            Err(_) => write!(f, "{} ms", self.as_millis()),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The public id of a key, `key_` and random by habit: stable over rotations, safe in logs and headers.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// Takes the text as it stands, if it is a header-safe word of at most 128 bytes.
    ///
    /// # Errors
    /// The first thing about the text that keeps it from being one.
    pub fn parse(text: &str) -> Result<Self, crate::client::InvalidWord> {
        crate::client::check_word(text)?;
        Ok(Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One way to show a key: a digest, and until when it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRecord {
    /// The only form in which the secret is kept.
    pub digest: KeyDigest,
    /// Set when a rotation has replaced this secret: from this moment on it is refused.
    pub valid_until: Option<Timestamp>,
}

/// What a verdict needs to know of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Stable public id.
    pub id: KeyId,
    /// What people call it; unique among the keys of one tenant.
    pub name: Box<str>,
    /// Whose key it is.
    pub client: Arc<Client>,
    /// Secret or publishable.
    pub key_type: KeyType,
    /// Where it is good; everywhere if not stated.
    pub environment: Option<Environment>,
    /// A key that is not active is refused like one that does not exist.
    pub active: bool,
    /// Refused before this moment.
    pub not_before: Option<Timestamp>,
    /// Refused at this moment and after it.
    pub expires_at: Option<Timestamp>,
    /// What the key may do, at most; the client's grants are the other bound.
    pub grants: Grants,
    /// Networks it may be used from; any if empty.
    pub networks: Box<[IpNet]>,
    /// Web origins it may be used from (publishable keys), in lower case; any if empty.
    pub origins: Box<[Box<str>]>,
}

/// A key together with the secrets that stand for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key.
    pub key: Arc<ApiKey>,
    /// At least one, unless the key cannot be used at all.
    pub secrets: Vec<SecretRecord>,
}

/// Hand-made values for the tests of this and other modules.
#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::{ApiKey, KeyId, KeyRecord, SecretRecord};
    use crate::client::{Client, ClientId, ClientType, Grants, KeyType};
    use crate::credential::{KeyDigest, Secret};

    /// An active client without limits, tenant, owner or groups.
    pub(crate) fn client(id: &str, client_type: &str) -> Client {
        Client {
            id: ClientId::parse(id).unwrap(),
            name: id.into(),
            client_type: ClientType::parse(client_type).unwrap(),
            tenant: None,
            owner: None,
            active: true,
            groups: Box::default(),
            grants: Grants::Unrestricted,
            metadata: BTreeMap::new(),
        }
    }

    /// An active secret key of this client, good everywhere and for ever.
    pub(crate) fn api_key(id: &str, client: Client) -> ApiKey {
        ApiKey {
            id: KeyId::parse(id).unwrap(),
            name: id.into(),
            client: Arc::new(client),
            key_type: KeyType::Secret,
            environment: None,
            active: true,
            not_before: None,
            expires_at: None,
            grants: Grants::Unrestricted,
            networks: Box::default(),
            origins: Box::default(),
        }
    }

    /// This key with secrets given in plain, each by its BLAKE3 digest and without an end.
    pub(crate) fn record(key: ApiKey, secrets: &[&str]) -> KeyRecord {
        let digest = |text: &&str| KeyDigest::blake3(&Secret::borrowed(text.as_bytes()));
        let secrets = secrets.iter().map(|text| SecretRecord { digest: digest(text), valid_until: None }).collect();
        KeyRecord { key: Arc::new(key), secrets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ordered_printed_and_small() {
        let ordered = [i64::MIN + 1, -86_400_000, -1, 0, 1, 1_700_000_000_123, i64::MAX];
        for pair in ordered.windows(2) {
            assert!(Timestamp::from_millis(pair[0]) < Timestamp::from_millis(pair[1]), "{pair:?}");
        }
        for millis in ordered {
            assert_eq!(Timestamp::from_millis(millis).as_millis(), millis);
        }
        assert_eq!(Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MIN + 1));
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000_999, "2023-11-14T22:13:20Z"),
            (-1_000, "1969-12-31T23:59:59Z"),
            (i64::MAX, "9223372036854775807 ms"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
        assert_eq!(Timestamp::from(UNIX_EPOCH), Timestamp::from_millis(0));
        assert_eq!(Timestamp::from(UNIX_EPOCH - std::time::Duration::from_millis(5)), Timestamp::from_millis(-5));
    }
}
