//! Keys that are read again from where they were written.
//!
//! A million records are more memory than a gateway should need, and hardly anything needs them: the
//! [table](super::KeyTable) holds what a verdict asks for. Whoever wants to see the records later gets them one by one,
//! from whoever can read them again ([`KeyRecords`]).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::{ApiKey, KeyRecord, Timestamp};

/// Keys that can be read as often as they are needed.
pub trait KeyRecords: fmt::Debug {
    /// Something short that is another one when they say something else.
    fn digest(&self) -> [u8; 32];

    /// All of them, always in the same order. What comes after an error is nothing.
    fn records(&self) -> Records<'_>;
}

/// See [`KeyRecords::records`].
pub type Records<'r> = Box<dyn Iterator<Item = Result<Cow<'r, KeyRecord>, Rewritten>> + 'r>;

/// A file does not hold any more what was read from it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the keys file `{file}` was changed while it was read")]
pub struct Rewritten {
    /// Which.
    pub file: Arc<str>,
}

/// Takes all that a record says into a digest.
pub fn note_record(hasher: &mut blake3::Hasher, record: &KeyRecord) {
    let mut note = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    let KeyRecord { key, name, description, secrets } = record;
    note(key.id.as_str());
    note(key.client.id.as_str());
    note(name);
    note(description.as_deref().unwrap_or_default());
    let rest = (
        (key.not_before, key.expires_at, key.key_type, key.active),
        (&key.environment, &key.grants, &key.networks, &key.origins, &key.plan),
    );
    note(&format!("{rest:?}"));
    for secret in secrets {
        note(&format!("{} {:?}", secret.digest, secret.valid_until));
    }
}

/// Keys by what they are good for, and by what a person should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateCounts {
    /// Good.
    pub active: i64,
    /// Switched off, themselves or by their client.
    pub disabled: i64,
    /// Over.
    pub expired: i64,
    /// To come.
    pub not_yet_valid: i64,
    /// Good, and over within a day, a week, thirty days.
    pub expiring: [i64; 3],
    /// When the next good key is over.
    pub next_expiry: Option<Timestamp>,
}

impl StateCounts {
    /// Counts one more key, by what it is good for at a moment.
    pub fn note(&mut self, key: &ApiKey, at: Timestamp) {
        let is_on = key.active && key.client.active;
        let is_over = key.expires_at.is_some_and(|end| end <= at);
        match key {
            _ if !is_on => self.disabled += 1,
            _ if is_over => self.expired += 1,
            _ if key.not_before.is_some_and(|begin| begin > at) => self.not_yet_valid += 1,
            _ => self.active += 1,
        }
        let Some(end) = key.expires_at.filter(|_| is_on && !is_over) else { return };
        self.next_expiry = Some(self.next_expiry.map_or(end, |next| next.min(end)));
        for (within, days) in self.expiring.iter_mut().zip([1, 7, 30]) {
            *within += i64::from(end.as_millis() <= at.as_millis() + days * 86_400_000);
        }
    }

    /// These keys and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut expiring = self.expiring;
        expiring.iter_mut().zip(other.expiring).for_each(|(sum, more)| *sum += more);
        Self {
            active: self.active + other.active,
            disabled: self.disabled + other.disabled,
            expired: self.expired + other.expired,
            not_yet_valid: self.not_yet_valid + other.not_yet_valid,
            expiring,
            next_expiry: [self.next_expiry, other.next_expiry].into_iter().flatten().min(),
        }
    }
}
