//! The API keys in force, found by digest.
//!
//! [`KeyTable::lookup`] is called once for each request that shows a credential; [`KeyTable::reconcile`] when the keys
//! files were read, [`KeyTable::put`] and [`KeyTable::remove`] when one key of the store changed, and
//! [`KeyTable::set_client`] when a client did, whatever the number of its keys. A lookup sees either the old or the new
//! form of a key, never half of one, and the table is never empty on the way from one set to the next.
//!
//! Nothing here judges a key: whether it has expired is for `authentication`, which knows the time. Secrets do not stay
//! here, only their digests: the lookup makes the digest of what was shown in each scheme that the table holds, hit or
//! miss, so that a known and an unknown key cost the same.
//!
//! A million keys must fit into little memory, so an entry is 64 bytes and shares with others what it can, and the map
//! holds nothing but where it is. Of a digest the table keeps 136 of 256 bits; to find another text with the same ones as
//! any of a million keys takes 2^116 attempts.
//!
//! A lookup clones its result out of the map's lock, so that no caller can block a writer. Returning a borrowed entry
//! looks cheaper and can deadlock.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::terms::ByValue;
use super::{ApiKey, KeyId, KeyOrigin, KeyRecord, KeyTerms, SecretRecord, Timestamp};
use crate::client::{Client, ClientId};
use crate::credential::{DigestScheme, KeyDigest, MAX_SECRET_BYTES, Pepper, Secret};

/// Parts of the map that grow and are locked each for itself: so many that one of them grows in less than a millisecond
/// among a million keys.
const SHARDS: usize = 128;
/// What is kept of a digest behind the eight bytes that are the tag.
const REST_BYTES: usize = 9;

/// What a lookup finds: a key, and how long the secret that was shown stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// The key.
    pub key: ApiKey,
    /// Which of its secrets was shown.
    pub secret: SecretTag,
    /// Set when a rotation has replaced the secret that was shown.
    pub valid_until: Option<Timestamp>,
    /// The secret waits for its first use.
    pub is_pending: bool,
}

/// Tells the secrets of one key apart, and is worth nothing elsewhere: the first eight bytes of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretTag(NonZeroU64);

impl SecretTag {
    /// The bytes it is made of.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_le_bytes()
    }

    /// The tag of a digest.
    #[must_use]
    pub fn of(digest: &KeyDigest) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        // Zero is left free, so that to have none takes no room; it shares its place with one.
        Self(NonZeroU64::new(u64::from_le_bytes([a, b, c, d, e, f, g, h])).unwrap_or(NonZeroU64::MIN))
    }
}

/// As much of a digest as the table keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    tag: SecretTag,
    rest: [u8; REST_BYTES],
    scheme: DigestScheme,
}

impl Held {
    /// What is kept of a digest.
    #[must_use]
    pub fn of(digest: &KeyDigest) -> Self {
        Self { tag: SecretTag::of(digest), rest: rest_of(digest), scheme: digest.scheme() }
    }
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
#[derive(Debug)]
pub struct KeyTable {
    entries: DashMap<Head, (), BuildHasherDefault<TagHasher>>,
    /// Held for each single change, so that no two mix; never while many are looked through.
    terms: Mutex<Terms>,
    /// One bit per [`DigestScheme`] that was ever present.
    schemes: AtomicU8,
    pepper: ArcSwapOption<Pepper>,
    is_loaded: AtomicBool,
    /// See [`KeyTable::epoch`].
    epoch: AtomicU64,
}

/// A change of keys that goes with a change of rules; it is over when this is dropped.
#[derive(Debug)]
pub struct JointChange<'t>(&'t KeyTable);

impl Drop for JointChange<'_> {
    fn drop(&mut self) {
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

/// What would have to change for the table to hold certain keys of files.
#[derive(Debug, Default)]
pub struct Difference {
    removed: Vec<Held>,
    /// What takes the place of something.
    changed: Vec<Head>,
    added: Vec<Head>,
}

/// Terms as the entries hold them: swapped in place when their client changes, for all keys at once.
type TermsCell = ArcSwap<KeyTerms>;

/// The terms in use, by client.
type Terms = HashMap<ClientId, ClientTerms>;

#[derive(Debug)]
struct ClientTerms {
    client: Arc<Client>,
    cells: HashMap<ByValue, Arc<TermsCell>>,
}

/// What the map holds: secrets with the same tag, nearly always one, found by it.
#[derive(Debug)]
struct Head(Box<Slot>);

impl Borrow<SecretTag> for Head {
    fn borrow(&self) -> &SecretTag {
        &self.0.tag
    }
}

impl Hash for Head {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.tag.hash(state);
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.0.tag == other.0.tag
    }
}

impl Eq for Head {}

/// One secret and its key.
#[derive(Debug, Clone)]
struct Slot {
    tag: SecretTag,
    /// The bytes of the digest behind those that are the tag.
    rest: [u8; REST_BYTES],
    scheme: DigestScheme,
    expires_at: PackedMoment,
    id: KeyId,
    terms: Arc<TermsCell>,
    rare: Option<Box<Rare>>,
}

/// What few entries have.
#[derive(Debug, Clone, Default)]
struct Rare {
    not_before: Option<Timestamp>,
    valid_until: Option<Timestamp>,
    is_pending: bool,
    /// Another secret with the same tag. Chance alone makes one in a hundred billion tables of a million keys.
    next: Option<Box<Slot>>,
}

/// A moment after 1970, or none, in six bytes: good for 8,900 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PackedMoment([u8; 6]);

impl PackedMoment {
    fn pack(moment: Option<Timestamp>) -> Self {
        let millis = moment.map_or(0, |moment| moment.as_millis().clamp(1, (1 << 48) - 1));
        let [bytes @ .., _, _] = millis.to_le_bytes();
        Self(bytes)
    }

    fn unpack(self) -> Option<Timestamp> {
        let [a, b, c, d, e, f] = self.0;
        match i64::from_le_bytes([a, b, c, d, e, f, 0, 0]) {
            0 => None,
            millis => Some(Timestamp::from_millis(millis)),
        }
    }
}

impl Slot {
    fn new(key: &ApiKey, secret: &SecretRecord, terms: Arc<TermsCell>) -> Self {
        let has_rare = key.not_before.is_some() || secret.valid_until.is_some() || secret.is_pending;
        let rare = Rare {
            not_before: key.not_before,
            valid_until: secret.valid_until,
            is_pending: secret.is_pending,
            next: None,
        };
        Self {
            tag: SecretTag::of(&secret.digest),
            rest: rest_of(&secret.digest),
            scheme: secret.digest.scheme(),
            expires_at: PackedMoment::pack(key.expires_at),
            id: key.id.clone(),
            terms,
            rare: has_rare.then(|| Box::new(rare)),
        }
    }

    fn is_of(&self, digest: &KeyDigest) -> bool {
        self.scheme == digest.scheme() && constant_time_eq(&self.rest, &rest_of(digest))
    }

    /// Whether this is the secret that is meant, given that the tag is the same.
    fn is_held(&self, held: &Held) -> bool {
        self.scheme == held.scheme && self.rest == held.rest
    }

    fn held(&self) -> Held {
        Held { tag: self.tag, rest: self.rest, scheme: self.scheme }
    }

    fn next(&self) -> Option<&Slot> {
        self.rare.as_deref()?.next.as_deref()
    }

    fn take_next(&mut self) -> Option<Box<Slot>> {
        self.rare.as_deref_mut()?.next.take()
    }

    fn put_next(&mut self, next: Option<Box<Slot>>) {
        if next.is_some() {
            self.rare.get_or_insert_default().next = next;
        }
    }

    fn entry(&self) -> TableEntry {
        let rare = self.rare.as_deref();
        TableEntry {
            key: ApiKey {
                id: self.id.clone(),
                not_before: rare.and_then(|rare| rare.not_before),
                expires_at: self.expires_at.unpack(),
                terms: self.terms.load_full(),
            },
            secret: self.tag,
            valid_until: rare.and_then(|rare| rare.valid_until),
            is_pending: rare.is_some_and(|rare| rare.is_pending),
        }
    }

    /// Whether both say the same of a secret.
    fn says_what(&self, other: &Self) -> bool {
        let rare = |slot: &Self| {
            slot.rare.as_deref().map(|rare| (rare.not_before, rare.valid_until, rare.is_pending)).unwrap_or_default()
        };
        self.id == other.id
            && self.expires_at == other.expires_at
            && rare(self) == rare(other)
            && *self.terms.load() == *other.terms.load()
    }
}

fn rest_of(digest: &KeyDigest) -> [u8; REST_BYTES] {
    let mut rest = [0; REST_BYTES];
    rest.copy_from_slice(&digest.as_bytes()[8..8 + REST_BYTES]);
    rest
}

/// Compares without stopping at the first difference.
fn constant_time_eq(one: &[u8; REST_BYTES], other: &[u8; REST_BYTES]) -> bool {
    one.iter().zip(other).fold(0, |differences, (one, other)| differences | (one ^ other)) == 0
}

impl Default for KeyTable {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyTable {
    /// A table that holds no key.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARDS),
            terms: Mutex::default(),
            schemes: AtomicU8::new(0),
            pepper: ArcSwapOption::empty(),
            is_loaded: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
        }
    }

    /// Whether a set of keys, perhaps an empty one, was ever put in force. Until then nobody can be judged.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    /// From now on the table holds every key there is.
    pub fn set_loaded(&self) {
        self.is_loaded.store(true, Ordering::Release);
    }

    /// The number of secrets in the table, those whose tags collide counted once.
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
            let entry = digest.and_then(|digest| self.find(&digest));
            found = found.or(entry);
        }
        found
    }

    /// Finds the key that a digest stands for.
    #[must_use]
    pub fn find(&self, digest: &KeyDigest) -> Option<TableEntry> {
        let head = self.entries.get(&SecretTag::of(digest))?;
        let mut slot: Option<&Slot> = Some(&head.key().0);
        while let Some(held) = slot {
            if held.is_of(digest) {
                return Some(held.entry());
            }
            slot = held.next();
        }
        None
    }

    /// What a secret that was seen before stands for now, if it still stands for the same key.
    #[must_use]
    pub fn find_again(&self, id: &KeyId, secret: SecretTag) -> Option<TableEntry> {
        let head = self.entries.get(&secret)?;
        let mut slot: Option<&Slot> = Some(&head.key().0);
        while let Some(held) = slot {
            if held.id == *id {
                return Some(held.entry());
            }
            slot = held.next();
        }
        None
    }

    /// Every digest that a secret may be known by here, for lookups elsewhere.
    #[must_use]
    pub fn digests_of(&self, secret: &Secret) -> Vec<KeyDigest> {
        let mut digests = vec![KeyDigest::blake3(secret), KeyDigest::sha256(secret)];
        digests.extend(self.pepper.load().as_deref().map(|pepper| KeyDigest::blake3_keyed(secret, pepper)));
        digests
    }

    /// The digest by which a new secret is to be kept: with the pepper where there is one.
    #[must_use]
    pub fn new_digest_of(&self, secret: &Secret) -> KeyDigest {
        match self.pepper.load().as_deref() {
            Some(pepper) => KeyDigest::blake3_keyed(secret, pepper),
            None => KeyDigest::blake3(secret),
        }
    }

    /// Sets the secret that `blake3-keyed` digests are made with.
    pub fn set_pepper(&self, pepper: Option<Pepper>) {
        self.pepper.store(pepper.map(Arc::new));
    }

    /// Which change that goes with a change of rules was the last: an odd number while one is under way. What was read
    /// of keys and rules belongs together if this was the same even number before and after.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Begins a change that goes with a change of rules. Requests are not judged until it is over; one at a time.
    pub fn begin_joint_change(&self) -> JointChange<'_> {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        JointChange(self)
    }

    /// Makes the table hold exactly these keys of files, and leaves those of the store alone.
    ///
    /// Lookups go on all the while: nothing here holds more than one entry's lock for writing, and secrets that stay as
    /// they are are not written at all.
    pub fn reconcile(&self, records: &[KeyRecord]) -> Reconciled {
        let wanted = Self::new();
        wanted.extend(records);
        self.apply(self.difference(wanted))
    }

    /// What [`KeyTable::apply`] will have to do for this table to hold the keys of files that another one holds. Changes
    /// nothing here, and lets go of what of the other one is the same.
    pub fn difference(&self, wanted: Self) -> Difference {
        let is_wanted = |held: &Held| wanted.look_at(held, |_| ()).is_some();
        let mut difference = Difference { removed: self.absent(KeyOrigin::File, is_wanted), ..Difference::default() };
        for (head, ()) in wanted.entries {
            let mut next = Some(head.0);
            while let Some(mut slot) = next {
                next = slot.take_next();
                match self.look_at(&slot.held(), |here| here.says_what(&slot)) {
                    Some(true) => {}
                    Some(false) => difference.changed.push(Head(slot)),
                    None => difference.added.push(Head(slot)),
                }
            }
        }
        difference
    }

    /// Makes a difference nothing: first what is gone is taken out, then the rest is put in its place.
    pub fn apply(&self, difference: Difference) -> Reconciled {
        let Difference { removed, changed, added } = difference;
        let counts = Reconciled { removed: self.take_all(&removed), changed: changed.len(), added: added.len() };
        for Head(mut slot) in changed.into_iter().chain(added) {
            let mut terms = self.write();
            let said = slot.terms.load_full();
            slot.terms = cell_for(&mut terms, &said);
            self.insert(&mut terms, slot);
        }
        self.set_loaded();
        counts
    }

    /// Takes out every secret of the store that is not among these, and says how many there were.
    pub fn retain_of_store(&self, wanted: &HashSet<Held>) -> usize {
        self.take_all(&self.absent(KeyOrigin::Store, |held| wanted.contains(held)))
    }

    /// The secrets of this origin that are not wanted.
    fn absent(&self, origin: KeyOrigin, is_wanted: impl Fn(&Held) -> bool) -> Vec<Held> {
        let mut gone = Vec::new();
        for entry in &self.entries {
            let mut slot: Option<&Slot> = Some(&entry.key().0);
            while let Some(at) = slot {
                let held = at.held();
                if at.terms.load().origin == origin && !is_wanted(&held) {
                    gone.push(held);
                }
                slot = at.next();
            }
        }
        gone
    }

    fn take_all(&self, secrets: &[Held]) -> usize {
        secrets.iter().filter(|held| self.take(&mut self.write(), held.tag, |slot| slot.is_held(held))).count()
    }

    /// Adds what is not there yet, and says how many secrets that were.
    pub fn extend(&self, records: &[KeyRecord]) -> usize {
        let mut added = 0;
        for record in records {
            for secret in &record.secrets {
                if self.look_at(&Held::of(&secret.digest), |_| ()).is_none() {
                    added += 1;
                    self.place(&mut self.write(), record, secret);
                }
            }
        }
        self.set_loaded();
        added
    }

    /// Adds a key to a table that is not in force yet, and says which of its secrets were there before: they should not
    /// have been.
    pub fn add(&self, record: &KeyRecord) -> Vec<Held> {
        let mut terms = self.write();
        let mut twice = Vec::new();
        for secret in &record.secrets {
            if self.place(&mut terms, record, secret) {
                twice.push(Held::of(&secret.digest));
            }
        }
        twice
    }

    /// Puts a key in force, in place of its former self. Secrets it does not have any more are taken out by
    /// [`KeyTable::remove`].
    pub fn put(&self, record: &KeyRecord) {
        let mut terms = self.write();
        for secret in &record.secrets {
            self.place(&mut terms, record, secret);
        }
    }

    /// Takes a secret out of force; false if it was not there.
    pub fn remove(&self, digest: &KeyDigest) -> bool {
        self.take(&mut self.write(), SecretTag::of(digest), |slot| slot.is_of(digest))
    }

    /// Puts another form of a client in force, for all its keys at once. Nothing happens if it has none.
    pub fn set_client(&self, client: &Arc<Client>) {
        let mut terms = self.write();
        if let Some(of_client) = terms.get_mut(&client.id) {
            of_client.become_client(client);
        }
    }

    /// What is to be seen of a secret, if the table holds it.
    fn look_at<T>(&self, held: &Held, look: impl FnOnce(&Slot) -> T) -> Option<T> {
        let head = self.entries.get(&held.tag)?;
        let mut slot: Option<&Slot> = Some(&head.key().0);
        while let Some(at) = slot {
            if at.is_held(held) {
                return Some(look(at));
            }
            slot = at.next();
        }
        None
    }

    fn write(&self) -> MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one secret of a key where it belongs; true if it was there before.
    fn place(&self, terms: &mut Terms, record: &KeyRecord, secret: &SecretRecord) -> bool {
        let cell = cell_for(terms, &record.key.terms);
        self.insert(terms, Box::new(Slot::new(&record.key, secret, cell)))
    }

    /// Puts a slot in place of its former self; true if there was one.
    fn insert(&self, terms: &mut Terms, slot: Box<Slot>) -> bool {
        self.schemes.fetch_or(slot.scheme.bit(), Ordering::Relaxed);
        let held = slot.held();
        let former = match self.entries.entry(Head(slot)) {
            Entry::Vacant(vacant) => {
                vacant.insert(());
                None
            }
            Entry::Occupied(occupied) => {
                let chain = &occupied.key().0;
                if chain.next().is_none() && chain.is_held(&held) {
                    Some(occupied.replace_entry(()).0.0)
                } else {
                    // Another secret with the same tag. Nobody else writes meanwhile: the terms are held.
                    let (rest, former) = without(chain.clone(), |slot| slot.is_held(&held));
                    let mut slot = occupied.into_key().0;
                    slot.put_next(rest);
                    self.replace(slot);
                    former
                }
            }
        };
        if let Some(former) = &former {
            forget(terms, &former.terms);
        }
        former.is_some()
    }

    /// Takes the slot that is meant out of those with a tag.
    fn take(&self, terms: &mut Terms, tag: SecretTag, is_meant: impl Fn(&Slot) -> bool) -> bool {
        let Some(chain) = self.entries.get(&tag).map(|head| {
            let slot = &head.key().0;
            slot.next().map_or_else(|| Err(is_meant(slot)), |_| Ok(slot.clone()))
        }) else {
            return false;
        };
        let taken = match chain {
            Err(false) => None,
            Err(true) => self.entries.remove(&tag).map(|(head, ())| head.0),
            Ok(chain) => {
                let (rest, taken) = without(chain, is_meant);
                if let (Some(rest), Some(_)) = (rest, &taken) {
                    self.replace(rest);
                }
                taken
            }
        };
        if let Some(slot) = &taken {
            forget(terms, &slot.terms);
        }
        taken.is_some()
    }

    /// Puts a chain in place of the one with its tag, in one step: a lookup finds what is in both at any moment.
    fn replace(&self, chain: Box<Slot>) {
        if let Entry::Occupied(occupied) = self.entries.entry(Head(chain)) {
            occupied.replace_entry(());
        }
    }
}

/// A chain without the slot that is meant, and that slot.
fn without(chain: Box<Slot>, is_meant: impl Fn(&Slot) -> bool) -> (Option<Box<Slot>>, Option<Box<Slot>>) {
    let (mut rest, mut taken, mut next) = (None, None, Some(chain));
    while let Some(mut slot) = next {
        next = slot.take_next();
        if is_meant(&slot) {
            taken = Some(slot);
        } else {
            slot.put_next(rest);
            rest = Some(slot);
        }
    }
    (rest, taken)
}

/// The cell of these terms, made if there is none. A client that differs from the one known so far replaces it for all its
/// keys: two forms of one client must not be in force at once.
fn cell_for(terms: &mut Terms, wanted: &Arc<KeyTerms>) -> Arc<TermsCell> {
    let of_client = terms
        .entry(wanted.client.id.clone())
        .or_insert_with(|| ClientTerms { client: Arc::clone(&wanted.client), cells: HashMap::new() });
    of_client.become_client(&wanted.client);
    let key = ByValue(Arc::clone(wanted));
    if let Some(cell) = of_client.cells.get(&key) {
        return Arc::clone(cell);
    }
    let cell = Arc::new(TermsCell::new(Arc::clone(wanted)));
    of_client.cells.insert(key, Arc::clone(&cell));
    cell
}

impl ClientTerms {
    fn become_client(&mut self, client: &Arc<Client>) {
        if Arc::ptr_eq(&self.client, client) || self.client == *client {
            return;
        }
        self.client = Arc::clone(client);
        let cells = std::mem::take(&mut self.cells);
        self.cells = cells
            .into_values()
            .map(|cell| {
                let terms = Arc::new(KeyTerms { client: Arc::clone(client), ..KeyTerms::clone(&cell.load()) });
                cell.store(Arc::clone(&terms));
                (ByValue(terms), cell)
            })
            .collect();
    }
}

/// Lets go of terms that no entry uses any more: the set's own two counts and the caller's are left.
fn forget(terms: &mut Terms, cell: &Arc<TermsCell>) {
    if Arc::strong_count(cell) > 2 {
        return;
    }
    let said = cell.load_full();
    if let Some(of_client) = terms.get_mut(&said.client.id) {
        let id = said.client.id.clone();
        of_client.cells.remove(&ByValue(said));
        if of_client.cells.is_empty() {
            terms.remove(&id);
        }
    }
}

/// Passes a tag through: it is uniform already, to hash it again would only cost.
///
/// The map takes its bits from different places of the eight bytes: the highest seven tell entries of a group apart, the
/// next ones choose the shard, the lowest ones the bucket.
#[derive(Debug, Default)]
struct TagHasher(u64);

impl Hasher for TagHasher {
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
