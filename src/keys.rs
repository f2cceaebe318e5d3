//! API keys: what we hold about them. Never the secret, only digests.
//!
//! An [`ApiKey`] is a value that `config` and the store build and [`KeyTable`] holds. It has a stable public id; its
//! secrets come and go by rotation, each known by its [digest](crate::credential::KeyDigest) alone. What a verdict asks of
//! a key is mostly the same for all keys of a client: these [terms](KeyTerms) are kept once.
//!
//! Nothing here judges whether a key may be used now: that takes the time, and is for `authentication`.

mod policy;
mod records;
mod table;
mod terms;
mod usage;

pub use policy::KeyPolicy;
pub use records::{KeyRecords, Records, Rewritten, StateCounts, note_record};
pub use table::{Held, KeyTable, Reconciled, SecretTag, TableEntry};
pub use terms::SharedTerms;
pub use usage::{LastUse, UsageSample};

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use thiserror::Error;

use crate::client::{Client, Environment, Grants, KeyType, Plan};
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

/// A text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write a date and a time with a time zone, such as `2030-01-31T00:00:00Z`")]
pub struct InvalidTimestamp;

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// Reads RFC 3339.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp)?;
        Ok(Self::from_millis(moment.as_millisecond()))
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
///
/// Up to [`SHORT_ID_BYTES`] it is held in place, which every id that keygate makes is: a copy costs no allocation, and a
/// table of a million keys no million pieces of memory.
#[derive(Clone)]
pub struct KeyId(IdText);

/// The longest id that needs no memory of its own.
const SHORT_ID_BYTES: usize = 22;

#[derive(Clone)]
enum IdText {
    Short { length: u8, bytes: [u8; SHORT_ID_BYTES] },
    Long(Arc<str>),
}

impl KeyId {
    /// Takes the text as it stands, if it is a header-safe word of at most 128 bytes.
    ///
    /// # Errors
    /// The first thing about the text that keeps it from being one.
    pub fn parse(text: &str) -> Result<Self, crate::client::InvalidWord> {
        crate::client::check_word(text)?;
        let mut bytes = [0; SHORT_ID_BYTES];
        Ok(Self(match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                IdText::Short { length, bytes }
            }
            _ => IdText::Long(text.into()),
        }))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // It was text when it came in.
            IdText::Short { .. } => str::from_utf8(self.as_bytes()).unwrap_or_default(),
            IdText::Long(text) => text,
        }
    }

    /// The same, without another look whether it is text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            IdText::Short { length, bytes } => &bytes[..usize::from(*length)],
            IdText::Long(text) => text.as_bytes(),
        }
    }
}

impl PartialEq for KeyId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for KeyId {}

impl Hash for KeyId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// One way to show a key: a digest, and until when it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRecord {
    /// The only form in which the secret is kept.
    pub digest: KeyDigest,
    /// Set when a rotation has replaced this secret: from this moment on it is refused.
    pub valid_until: Option<Timestamp>,
    /// It has not been used yet, and whoever waits for its first use wants to know.
    pub is_pending: bool,
}

impl SecretRecord {
    /// A secret without an end.
    #[must_use]
    pub fn new(digest: KeyDigest) -> Self {
        Self { digest, valid_until: None, is_pending: false }
    }
}

/// Who may change a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyOrigin {
    /// It stands in a file: whoever edits that.
    File,
    /// It stands in the store: whoever has an admin token.
    Store,
}

/// What a verdict asks of a key, its id and its times excepted: the same for most keys of a client, and shared by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTerms {
    /// Whose key it is.
    pub client: Arc<Client>,
    /// Secret or publishable.
    pub key_type: KeyType,
    /// Where it is good; everywhere if not stated.
    pub environment: Option<Environment>,
    /// A key that is not active is refused like one that does not exist.
    pub active: bool,
    /// What the key may do, at most; the client's grants are the other bound.
    pub grants: Grants,
    /// Networks it may be used from; any if empty.
    pub networks: Box<[IpNet]>,
    /// Web origins it may be used from (publishable keys), in lower case; any if empty.
    pub origins: Box<[Box<str>]>,
    /// The plan whose limits hold for it; that of the client if not stated.
    pub plan: Option<Plan>,
    /// Where it stands.
    pub origin: KeyOrigin,
}

/// What a verdict needs to know of a key: its [terms](KeyTerms), which it has in common with others, and what is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Stable public id.
    pub id: KeyId,
    /// Refused before this moment.
    pub not_before: Option<Timestamp>,
    /// Refused at this moment and after it.
    pub expires_at: Option<Timestamp>,
    /// The rest.
    pub terms: Arc<KeyTerms>,
}

impl Deref for ApiKey {
    type Target = KeyTerms;

    fn deref(&self) -> &KeyTerms {
        &self.terms
    }
}

/// A key together with the secrets that stand for it, and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key.
    pub key: ApiKey,
    /// What people call it; unique among the keys of one tenant.
    pub name: Box<str>,
    /// What it is for.
    pub description: Option<Box<str>>,
    /// At least one, unless the key cannot be used at all.
    pub secrets: Vec<SecretRecord>,
}

/// Hand-made values for the tests of this and other modules.
#[cfg(test)]
pub(crate) mod testing {
    use std::borrow::Cow;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::{ApiKey, KeyId, KeyOrigin, KeyRecord, KeyRecords, KeyTerms, Records, SecretRecord, note_record};
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
            plan: None,
            metadata: BTreeMap::new(),
        }
    }

    /// An active secret key of this client, good everywhere and for ever.
    pub(crate) fn api_key(id: &str, client: Client) -> ApiKey {
        api_key_with(id, client, |_| ())
    }

    /// The same with its terms changed.
    pub(crate) fn api_key_with(id: &str, client: Client, change: impl FnOnce(&mut KeyTerms)) -> ApiKey {
        let mut terms = KeyTerms {
            client: Arc::new(client),
            key_type: KeyType::Secret,
            environment: None,
            active: true,
            grants: Grants::Unrestricted,
            networks: Box::default(),
            origins: Box::default(),
            plan: None,
            origin: KeyOrigin::File,
        };
        change(&mut terms);
        ApiKey { id: KeyId::parse(id).unwrap(), not_before: None, expires_at: None, terms: Arc::new(terms) }
    }

    impl KeyRecords for Vec<KeyRecord> {
        fn digest(&self) -> [u8; 32] {
            let mut hasher = blake3::Hasher::new();
            self.iter().for_each(|record| note_record(&mut hasher, record));
            hasher.finalize().into()
        }

        fn records(&self) -> Records<'_> {
            Box::new(self.iter().map(|record| Ok(Cow::Borrowed(record))))
        }
    }

    /// This key with secrets given in plain, each by its BLAKE3 digest and without an end.
    pub(crate) fn record(key: ApiKey, secrets: &[&str]) -> KeyRecord {
        let digest = |text: &&str| KeyDigest::blake3(&Secret::borrowed(text.as_bytes()));
        let secrets = secrets.iter().map(|text| SecretRecord::new(digest(text))).collect();
        KeyRecord { name: key.id.as_str().into(), description: None, key, secrets }
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

    #[test]
    fn an_id_is_the_same_text_in_either_form() {
        for length in [1, 21, SHORT_ID_BYTES, SHORT_ID_BYTES + 1, 128] {
            let text = "k".repeat(length);
            let id = KeyId::parse(&text).unwrap();
            assert_eq!((id.as_str(), id.to_string()), (text.as_str(), text.clone()));
            assert_eq!(matches!(id.0, IdText::Short { .. }), length <= SHORT_ID_BYTES);
            assert!(id == KeyId::parse(&text).unwrap() && id != KeyId::parse("other").unwrap());
        }
        assert_eq!(size_of::<KeyId>(), 24);
        assert!(KeyId::parse("").is_err() && KeyId::parse(&"k".repeat(129)).is_err());
    }
}
