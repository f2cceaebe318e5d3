//! The API keys in force, found by digest.
//!
//! [`KeyTable::lookup`] is called once for each request that shows a credential; [`KeyTable::reconcile`] when a whole
//! set of keys was read, [`KeyTable::upsert`] and [`KeyTable::remove`] when one key changed. A lookup sees either the
//! old or the new form of a key, never half of one, and the table is never empty on the way from one set to the next.
//!
//! Nothing here judges a key: whether it has expired is for `authentication`, which knows the time. Secrets do not stay
//! here, only their digests: the lookup makes the digest of what was shown in each scheme that the table holds, hit or
//! miss, so that a known and an unknown key cost the same.
//!
//! A lookup clones its result out of the map's lock, so that no caller can block a writer. Returning a borrowed entry
//! looks cheaper and can deadlock.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;

use super::{ApiKey, KeyRecord, SecretRecord, Timestamp};
use crate::credential::{DigestScheme, KeyDigest, MAX_SECRET_BYTES, Pepper, Secret};

/// What a lookup finds: a key, and how long the secret that was shown stands for it.
#[derive(Debug, Clone)]
pub struct TableEntry {
    /// The key.
    pub key: Arc<ApiKey>,
    /// Set when a rotation has replaced the secret that was shown.
    pub valid_until: Option<Timestamp>,
}

/// What [`KeyTable::reconcile`] changed, in secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Secrets that were not in the table before.
    pub added: usize,
    /// Secrets that stayed but stand for a changed key.
    pub changed: usize,
    /// Secrets that are gone.
    pub removed: usize,
}

/// The keys in force. Shared by all workers; written only when keys change.
#[derive(Debug, Default)]
pub struct KeyTable {
    entries: DashMap<KeyDigest, TableEntry, BuildHasherDefault<DigestHasher>>,
    /// One bit per [`DigestScheme`] that was ever present.
    schemes: AtomicU8,
    pepper: ArcSwapOption<Pepper>,
    is_loaded: AtomicBool,
}

impl KeyTable {
    /// A table that holds no key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a set of keys, perhaps an empty one, was ever put in force. Until then nobody can be judged.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    /// The number of secrets in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no secret is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Finds the key that a secret stands for. One that is longer than a key can be is not worth a digest: nobody's.
    #[must_use]
    pub fn lookup(&self, secret: &Secret) -> Option<TableEntry> {
        if secret.expose().len() > MAX_SECRET_BYTES {
            return None;
        }
        let present = self.schemes.load(Ordering::Relaxed);
        let mut found = None;
        for scheme in DigestScheme::ALL {
            if present & scheme.bit() == 0 {
                continue;
            }
            let digest = match scheme {
                DigestScheme::Blake3 => Some(KeyDigest::blake3(secret)),
                DigestScheme::Sha256 => Some(KeyDigest::sha256(secret)),
                DigestScheme::Blake3Keyed => {
                    self.pepper.load().as_deref().map(|pepper| KeyDigest::blake3_keyed(secret, pepper))
                }
            };
            let entry = digest.and_then(|digest| self.entries.get(&digest).map(|entry| entry.value().clone()));
            found = found.or(entry);
        }
        found
    }

    /// Sets the secret that `blake3-keyed` digests are made with.
    pub fn set_pepper(&self, pepper: Option<Pepper>) {
        self.pepper.store(pepper.map(Arc::new));
    }

    /// Makes the table hold exactly these keys: [`KeyTable::restrict`], then [`KeyTable::extend`].
    ///
    /// Lookups go on all the while: nothing here holds more than one entry's lock for writing, and secrets that stay as
    /// they are are not written at all. Whoever changes keys does so from one place: a set that was read before a key was
    /// revoked would bring it back.
    pub fn reconcile(&self, records: &[KeyRecord]) -> Reconciled {
        let restricted = self.restrict(records);
        Reconciled { added: self.extend(records), ..restricted }
    }

    /// The first half of a change: takes out what these keys do not hold and changes what they hold, and adds nothing. A key
    /// that is gone or switched off must not outlive one that is new, and a new one must not meet the rules of before.
    pub fn restrict(&self, records: &[KeyRecord]) -> Reconciled {
        let wanted: HashSet<&KeyDigest, BuildHasherDefault<DigestHasher>> =
            records.iter().flat_map(|record| &record.secrets).map(|secret| &secret.digest).collect();
        let is_gone = |digest: &KeyDigest| !wanted.contains(digest);
        let gone: Vec<KeyDigest> =
            self.entries.iter().map(|entry| *entry.key()).filter(|digest| is_gone(digest)).collect();
        let mut outcome = Reconciled::default();
        for digest in gone {
            outcome.removed += usize::from(self.entries.remove(&digest).is_some());
        }
        for record in records {
            for secret in &record.secrets {
                let held = self.entries.get(&secret.digest).map(|entry| entry.value().clone());
                if held.is_some_and(|held| held.key != record.key || held.valid_until != secret.valid_until) {
                    outcome.changed += 1;
                    self.put(&record.key, secret);
                }
            }
        }
        outcome
    }

    /// The second half: adds what is not there yet, and says how many secrets that were. From the first time on, the table
    /// counts as loaded.
    pub fn extend(&self, records: &[KeyRecord]) -> usize {
        let mut added = 0;
        for record in records {
            for secret in record.secrets.iter().filter(|secret| !self.entries.contains_key(&secret.digest)) {
                added += 1;
                self.put(&record.key, secret);
            }
        }
        self.is_loaded.store(true, Ordering::Release);
        added
    }

    /// Puts one key in force, in place of its former self; `former` are the secrets it had before.
    pub fn upsert(&self, record: &KeyRecord, former: &[SecretRecord]) {
        for old in former {
            if !record.secrets.iter().any(|secret| secret.digest == old.digest) {
                self.entries.remove(&old.digest);
            }
        }
        for secret in &record.secrets {
            self.put(&record.key, secret);
        }
    }

    /// Takes secrets out of force.
    pub fn remove(&self, secrets: &[SecretRecord]) {
        for secret in secrets {
            self.entries.remove(&secret.digest);
        }
    }

    fn put(&self, key: &Arc<ApiKey>, secret: &SecretRecord) {
        self.schemes.fetch_or(secret.digest.scheme().bit(), Ordering::Relaxed);
        let entry = TableEntry { key: Arc::clone(key), valid_until: secret.valid_until };
        self.entries.insert(secret.digest, entry);
    }
}

/// Passes eight bytes of a digest through: a digest is uniform already, to hash it again would only cost.
///
/// The map takes its bits from different places of these eight bytes: the highest seven tell entries of a group apart, the
/// next ones choose the shard, the lowest ones the bucket.
#[derive(Debug, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }
}

#[cfg(test)]
mod tests;
