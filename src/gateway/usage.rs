//! What keys are used for, counted by each worker for itself.
//!
//! A request adds to a map of its worker's own; now and then somebody takes the map away and writes it down
//! ([`KeyUsage::take`]), soon if [it presses](KeyUsage::presses). No two workers write the same memory, and a worker never waits: there are two maps, and one that is
//! being taken away is left for the other.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::SystemTime;

use crate::keys::{KeyId, LastUse, SecretTag, TableEntry, Timestamp, UsageSample};

/// The most different keys and endpoints that are held until they are taken away; more are not counted.
const MAX_ENTRIES: usize = 200_000;
/// So many press to be taken away.
const MANY_ENTRIES: usize = 100_000;
/// Until there are so many, each endpoint is counted by its name for each key.
const DETAILED_ENTRIES: usize = 20_000;
/// After that a key has so many endpoints by name; what it did at others is counted as [`OTHER`]. Each entry is a row to be
/// written, and a thousand keys at ten thousand endpoints would be ten millions.
const DETAILED_ENDPOINTS: u32 = 8;

/// Stands for the endpoints that are not counted by name.
static OTHER: LazyLock<Arc<str>> = LazyLock::new(|| "_other".into());

/// What keys did on one worker.
#[derive(Debug, Default)]
pub struct KeyUsage {
    shards: [Mutex<Counts>; 2],
    /// See [`KeyUsage::presses`].
    presses: AtomicBool,
}

#[derive(Debug, Default)]
struct Counts {
    /// By secret and by the place of the endpoint's name in memory.
    admitted: HashMap<(SecretTag, usize), Admitted, BuildHasherDefault<Mix>>,
    /// How many endpoints each secret has there.
    endpoints: HashMap<SecretTag, u32, BuildHasherDefault<Mix>>,
    refused: HashMap<(KeyId, usize), Refused>,
}

#[derive(Debug)]
struct Admitted {
    key: KeyId,
    endpoint: Arc<str>,
    count: u64,
    last: LastUse,
}

#[derive(Debug)]
struct Refused {
    endpoint: Arc<str>,
    count: u64,
}

impl Counts {
    /// Adds one to an entry that is there; `false` if there is none of this key.
    fn add(&mut self, key: &KeyId, endpoint: &Arc<str>, last: LastUse) -> bool {
        match self.admitted.get_mut(&(last.secret, place_of(endpoint))) {
            Some(known) if known.key == *key => {
                known.count += 1;
                known.last = last;
                true
            }
            _ => false,
        }
    }
}

impl KeyUsage {
    /// A request with this key was admitted.
    pub(super) fn admitted(&self, shown: &TableEntry, endpoint: &Arc<str>, address: IpAddr, at: SystemTime) {
        let last = LastUse { secret: shown.secret, at: Timestamp::from(at), address, was_pending: shown.is_pending };
        let key = &shown.key.id;
        let mut counts = self.lock();
        let counts = &mut *counts;
        if counts.add(key, endpoint, last) || counts.admitted.len() >= MAX_ENTRIES {
            return;
        }
        let named = counts.endpoints.entry(last.secret).or_default();
        let has_room = counts.admitted.len() < DETAILED_ENTRIES || *named < DETAILED_ENDPOINTS;
        let endpoint = if has_room { endpoint } else { &*OTHER };
        *named += u32::from(has_room);
        if !has_room && counts.add(key, endpoint, last) {
            return;
        }
        if last.was_pending || counts.admitted.len() >= MANY_ENTRIES {
            self.presses.store(true, Ordering::Relaxed);
        }
        let place = (last.secret, place_of(endpoint));
        let (key, endpoint) = (key.clone(), Arc::clone(endpoint));
        counts.admitted.insert(place, Admitted { key, endpoint, count: 1, last });
    }

    /// A request with this key, which is known, was refused.
    pub(super) fn refused(&self, key: &KeyId, endpoint: &Arc<str>) {
        let mut counts = self.lock();
        if counts.refused.len() >= MAX_ENTRIES {
            return;
        }
        let place = (key.clone(), place_of(endpoint));
        counts.refused.entry(place).or_insert_with(|| Refused { endpoint: Arc::clone(endpoint), count: 0 }).count += 1;
    }

    /// Whether what was counted should be taken away soon: it is much, or a secret was used for the first time that a
    /// rotation waits for.
    #[must_use]
    pub fn presses(&self) -> bool {
        self.presses.load(Ordering::Relaxed)
    }

    /// Takes away what was counted since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<UsageSample> {
        self.presses.store(false, Ordering::Relaxed);
        let mut samples = Vec::new();
        for shard in &self.shards {
            let Counts { admitted, refused, .. } = {
                let mut counts = shard.lock().unwrap_or_else(PoisonError::into_inner);
                if counts.admitted.is_empty() && counts.refused.is_empty() {
                    continue;
                }
                let fresh = Counts {
                    admitted: HashMap::with_capacity_and_hasher(counts.admitted.len(), BuildHasherDefault::default()),
                    ..Counts::default()
                };
                std::mem::replace(&mut *counts, fresh)
            };
            samples.extend(admitted.into_values().map(|Admitted { key, endpoint, count, last }| UsageSample {
                key,
                endpoint,
                admitted: count,
                refused: 0,
                last: Some(last),
            }));
            samples.extend(refused.into_iter().map(|((key, _), Refused { endpoint, count })| UsageSample {
                key,
                endpoint,
                admitted: 0,
                refused: count,
                last: None,
            }));
        }
        samples
    }

    /// The map that nobody takes away at this moment.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        match self.shards[0].try_lock() {
            Ok(counts) => counts,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.shards[1].lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// Tells endpoints apart without reading their names. A name that was let go and made anew counts apart, no more.
fn place_of(endpoint: &Arc<str>) -> usize {
    Arc::as_ptr(endpoint).cast::<u8>() as usize
}

/// Mixes numbers that are mostly uniform already.
#[derive(Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{KeyDigest, Secret};
    use crate::keys::testing::{api_key, client};

    fn shown(id: &str, secret: &str) -> TableEntry {
        TableEntry {
            key: api_key(id, client("c", "cms")),
            secret: SecretTag::of(&KeyDigest::blake3(&Secret::borrowed(secret.as_bytes()))),
            valid_until: None,
            is_pending: false,
        }
    }

    #[test]
    fn what_keys_do_is_counted_by_key_and_endpoint_and_taken_once() {
        let usage = KeyUsage::default();
        let (orders, users): (Arc<str>, Arc<str>) = ("orders".into(), "users".into());
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let (first, second) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        usage.admitted(&shown("a", "one"), &orders, first, at(1));
        usage.admitted(&shown("a", "one"), &orders, second, at(2));
        usage.admitted(&shown("a", "two"), &users, first, at(3));
        usage.refused(&shown("a", "one").key.id, &orders);
        usage.refused(&shown("a", "one").key.id, &orders);
        let mut samples = usage.take();
        samples.sort_by_key(|sample| (sample.endpoint.to_string(), sample.refused));
        let told: Vec<String> = samples
            .iter()
            .map(|sample| {
                let last = sample.last.map(|last| format!("{} {}", last.at, last.address)).unwrap_or_default();
                format!("{} {} {}/{} {last}", sample.key, sample.endpoint, sample.admitted, sample.refused)
            })
            .collect();
        assert_eq!(
            told,
            [
                "a orders 2/0 1970-01-01T00:00:02Z 192.0.2.2",
                "a orders 0/2 ",
                "a users 1/0 1970-01-01T00:00:03Z 192.0.2.1"
            ]
        );
        assert_eq!(usage.take(), []);
    }

    #[test]
    fn the_first_use_of_a_pending_secret_presses_and_ordinary_use_does_not() {
        let usage = KeyUsage::default();
        let orders: Arc<str> = "orders".into();
        let from = IpAddr::from([192, 0, 2, 1]);
        usage.admitted(&shown("a", "one"), &orders, from, SystemTime::UNIX_EPOCH);
        assert!(!usage.presses());
        usage.admitted(&TableEntry { is_pending: true, ..shown("a", "two") }, &orders, from, SystemTime::UNIX_EPOCH);
        assert!(usage.presses());
        assert_eq!(usage.take().len(), 2);
        assert!(!usage.presses());
    }

    #[test]
    fn a_secret_that_went_to_another_key_does_not_count_for_the_first() {
        let usage = KeyUsage::default();
        let orders: Arc<str> = "orders".into();
        let from = IpAddr::from([192, 0, 2, 1]);
        usage.admitted(&shown("a", "one"), &orders, from, SystemTime::UNIX_EPOCH);
        usage.admitted(&shown("b", "one"), &orders, from, SystemTime::UNIX_EPOCH);
        assert_eq!(usage.take().iter().map(|sample| sample.key.to_string()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn where_keys_use_many_endpoints_the_rest_is_added_up_and_nothing_is_lost() {
        let usage = KeyUsage::default();
        let endpoints: Vec<Arc<str>> = (0..1_000).map(|number| format!("endpoint-{number}").into()).collect();
        let keys: Vec<TableEntry> = (0..40).map(|number| shown(&format!("k{number}"), &format!("s{number}"))).collect();
        let from = IpAddr::from([192, 0, 2, 1]);
        for endpoint in &endpoints {
            keys.iter().for_each(|key| usage.admitted(key, endpoint, from, SystemTime::UNIX_EPOCH));
        }
        // A key that comes late has its first endpoints by name all the same.
        let late = shown("late", "late");
        for endpoint in endpoints.iter().take(DETAILED_ENDPOINTS as usize + 3) {
            usage.admitted(&late, endpoint, from, SystemTime::UNIX_EPOCH);
        }
        assert!(!usage.presses());
        let samples = usage.take();
        assert_eq!(samples.len(), DETAILED_ENTRIES + keys.len() + DETAILED_ENDPOINTS as usize + 1);
        for (key, requests, other) in [("k0", 1_000, 500), ("k39", 1_000, 500), ("late", 11, 3)] {
            let of_key = || samples.iter().filter(|sample| sample.key.as_str() == key);
            assert_eq!(of_key().map(|sample| sample.admitted).sum::<u64>(), requests, "{key}");
            let added_up = of_key().find(|sample| *sample.endpoint == **OTHER).expect(key);
            assert_eq!(added_up.admitted, other, "{key}");
        }
        usage.admitted(&keys[0], &endpoints[999], from, SystemTime::UNIX_EPOCH);
        assert_eq!(*usage.take()[0].endpoint, *endpoints[999], "what was taken away is counted anew");
    }

    #[test]
    fn counting_goes_on_exactly_while_it_is_taken() {
        let usage = KeyUsage::default();
        let orders: Arc<str> = "orders".into();
        let total = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                for _ in 0..20_000 {
                    let from = IpAddr::from([192, 0, 2, 1]);
                    usage.admitted(&shown("a", "one"), &orders, from, SystemTime::UNIX_EPOCH);
                }
            });
            let mut total = 0;
            while !worker.is_finished() {
                total += usage.take().iter().map(|sample| sample.admitted).sum::<u64>();
            }
            worker.join().unwrap();
            total + usage.take().iter().map(|sample| sample.admitted).sum::<u64>()
        });
        assert_eq!(total, 20_000);
    }
}
