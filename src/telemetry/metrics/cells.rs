//! Where one worker counts.
//!
//! A worker writes its own [`WorkerCells`]; a scrape asks each for its [`Totals`] and adds them up. Label texts are turned
//! into small numbers by [`Names`], which all workers share and each caches, so that the key of a counter is one `u64` and
//! adding up needs no text.
//!
//! There are two shards, each behind a lock. A scrape holds one at a time, and a worker that finds one taken uses the
//! other: it never waits for a scrape that the scheduler has put to sleep. Both locks are otherwise the worker's alone, so
//! taking one costs a few nanoseconds.
//!
//! The sets of labels cannot grow without bound: past a cap (see [`Space::cap`]) a new name counts as `_other`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::RequestSample;

/// Which set of label values a text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Space {
    Endpoint,
    ClientType,
    Upstream,
    Server,
    Listener,
    Source,
    RateLimit,
    /// Words from the code.
    Word,
}

const SPACES: usize = Space::Word as usize + 1;

impl Space {
    /// The most different values that are shown as themselves.
    pub(super) fn cap(self) -> usize {
        match self {
            Self::Endpoint => 20_000,
            Self::ClientType => 200,
            Self::Upstream | Self::Server => 5_000,
            Self::Listener => 200,
            Self::Source => 100,
            Self::RateLimit => 2_000,
            Self::Word => 500,
        }
    }
}

/// What is counted. The number is the top byte of a counter's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Series {
    Request,
    Decision,
    Deprecated,
    Opened,
    Closed,
    AcceptError,
    LimitHit,
    Malformed,
    TlsFailed,
    UpstreamFailure,
    UpstreamRetry,
    UpstreamConnection,
    Ejected,
    TakenBack,
    DownstreamClosed,
    RateLimit,
    Panic,
}

/// Methods that are shown as themselves; all others as the last.
pub(super) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER"];

const NONE: u32 = 0;
const OTHER: u32 = 1;

/// A number for each label text, the same for all workers.
#[derive(Debug)]
pub(super) struct Names(Mutex<[Known; SPACES]>);

#[derive(Debug)]
struct Known {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Default for Names {
    fn default() -> Self {
        let known = || Known { texts: vec![Arc::from("_none"), Arc::from("_other")], numbers: HashMap::new() };
        Self(Mutex::new(std::array::from_fn(|_| known())))
    }
}

impl Names {
    fn number(&self, space: Space, text: &str) -> u32 {
        let mut spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut spaces[space as usize];
        if let Some(number) = known.numbers.get(text) {
            return *number;
        }
        if known.numbers.len() >= space.cap() {
            return OTHER;
        }
        let number = u32::try_from(known.texts.len()).unwrap_or(OTHER);
        let text: Arc<str> = Arc::from(text);
        known.texts.push(Arc::clone(&text));
        known.numbers.insert(text, number);
        number
    }

    /// All texts of a set, by number.
    pub(super) fn texts(&self, space: Space) -> Vec<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[space as usize].texts.clone()
    }
}

/// Upper bounds of a histogram's buckets, in nanoseconds, as Prometheus' `le`.
pub(super) type Bounds = &'static [u64];

/// Buckets for requests: from half a millisecond to ten seconds.
pub(super) const REQUEST_BOUNDS: Bounds = &[
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Buckets for decisions, which read memory only: from a quarter of a microsecond to ten milliseconds.
pub(super) const DECISION_BOUNDS: Bounds = &[
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
];

/// Counts by bucket and an exact sum.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    /// One for each bound, and one for what is above them all.
    pub(super) buckets: [u64; 15],
    pub(super) sum_nanoseconds: u128,
}

impl Histogram {
    fn record(&mut self, bounds: Bounds, took: Duration) {
        // Good for five centuries.
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bounds.partition_point(|bound| *bound < nanoseconds)] += 1;
        self.sum_nanoseconds += u128::from(nanoseconds);
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum_nanoseconds += other.sum_nanoseconds;
    }
}

/// Sums, as one shard holds them and as a scrape adds them up.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    /// By key; see [`key`] and [`request_key`].
    pub(super) counts: HashMap<u64, u64, BuildHasherDefault<Mix>>,
    /// By number of the endpoint.
    pub(super) requests: Vec<Histogram>,
    /// By number of the upstream.
    pub(super) upstreams: Vec<Histogram>,
    pub(super) decisions: Histogram,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
        for (mine, theirs) in [(&mut self.requests, &other.requests), (&mut self.upstreams, &other.upstreams)] {
            if mine.len() < theirs.len() {
                mine.resize_with(theirs.len(), Histogram::default);
            }
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                mine.add(theirs);
            }
        }
        self.decisions.add(&other.decisions);
    }
}

fn at(histograms: &mut Vec<Histogram>, number: u32) -> &mut Histogram {
    let index = number as usize;
    if histograms.len() <= index {
        histograms.resize_with(index + 1, Histogram::default);
    }
    &mut histograms[index]
}

/// The key of a counter with up to two labels.
pub(super) fn key(series: Series, first: u32, second: u32) -> u64 {
    (series as u64) << 56 | u64::from(first & 0xff_ffff) << 28 | u64::from(second & 0xff_ffff)
}

/// The labels of a key made by [`key`].
pub(super) fn labels(key: u64) -> (u32, u32) {
    ((key >> 28 & 0xff_ffff) as u32, (key & 0xff_ffff) as u32)
}

fn request_key(endpoint: u32, method: usize, status: u16, client_type: u32) -> u64 {
    (Series::Request as u64) << 56
        | u64::from(endpoint & 0xff_ffff) << 28
        | u64::from(client_type & 0x3ff) << 16
        | u64::from(status & 0x3ff) << 4
        | method as u64 & 0xf
}

/// Endpoint, client type, status and method of a request's key.
pub(super) fn request_labels(key: u64) -> (u32, u32, u16, usize) {
    ((key >> 28 & 0xff_ffff) as u32, (key >> 16 & 0x3ff) as u32, (key >> 4 & 0x3ff) as u16, (key & 0xf) as usize)
}

/// The numbers of a set's texts that a shard has met.
#[derive(Debug, Default)]
struct Met {
    /// The first ones. Most gateways have few, and to compare them is quicker than to hash.
    few: Vec<(Box<str>, u32)>,
    /// The others.
    many: HashMap<Box<str>, u32, BuildHasherDefault<Mix>>,
}

/// How many are found by comparing.
const FEW: usize = 8;

impl Met {
    fn get(&self, text: &str) -> Option<u32> {
        let found = self.few.iter().find(|(met, _)| **met == *text).map(|(_, number)| *number);
        if self.many.is_empty() { found } else { found.or_else(|| self.many.get(text).copied()) }
    }

    fn insert(&mut self, text: &str, number: u32) {
        if self.few.len() < FEW {
            self.few.push((text.into(), number));
        } else {
            self.many.insert(text.into(), number);
        }
    }

    fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }
}

#[derive(Debug, Default)]
struct Shard {
    met: [Met; SPACES],
    /// Numbers of endpoints and upstreams by the place of their name in memory, which stays theirs as long as it is held here:
    /// for each request, and quicker than to read the name.
    placed: HashMap<(usize, Space), Placed, BuildHasherDefault<Mix>>,
    /// Numbers of words from the code by place and length.
    words: HashMap<(usize, usize), u32, BuildHasherDefault<Mix>>,
    totals: Totals,
}

/// A name that is known by its place, held so that no other comes to stand there.
#[derive(Debug)]
struct Placed {
    _name: Arc<str>,
    number: u32,
}

/// Names of endpoints and upstreams that are known by place. Each reload brings new ones for those it reads anew, so now and
/// then all are forgotten.
const MOST_PLACED: usize = 40_000;

impl Shard {
    fn number(&mut self, names: &Names, space: Space, text: &str) -> u32 {
        if text.is_empty() {
            return NONE;
        }
        let met = &mut self.met[space as usize];
        if let Some(number) = met.get(text) {
            return number;
        }
        // Names beyond the cap are remembered too, or each of their requests would ask for the lock that workers share.
        if met.len() >= 2 * space.cap() {
            return OTHER;
        }
        let number = names.number(space, text);
        met.insert(text, number);
        number
    }

    /// The number of a name that requests share.
    fn number_of_shared(&mut self, names: &Names, space: Space, name: &Arc<str>) -> u32 {
        // An endpoint and its upstream may be called by one name in one place.
        let place = (Arc::as_ptr(name).cast::<u8>() as usize, space);
        if let Some(placed) = self.placed.get(&place) {
            return placed.number;
        }
        if self.placed.len() >= MOST_PLACED {
            self.placed.clear();
        }
        let number = self.number(names, space, name);
        self.placed.insert(place, Placed { _name: Arc::clone(name), number });
        number
    }

    /// The number of a word from the code.
    fn number_of_word(&mut self, names: &Names, word: &'static str) -> u32 {
        let place = (word.as_ptr() as usize, word.len());
        if let Some(number) = self.words.get(&place) {
            return *number;
        }
        let number = self.number(names, Space::Word, word);
        self.words.insert(place, number);
        number
    }
}

/// One shard on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Aligned(Mutex<Shard>);

/// The cells of one worker.
#[derive(Debug)]
pub(super) struct WorkerCells {
    shards: [Aligned; 2],
    names: Arc<Names>,
}

impl WorkerCells {
    pub(super) fn new(names: Arc<Names>) -> Self {
        Self { shards: Default::default(), names }
    }

    pub(super) fn request(&self, sample: &RequestSample<'_>) {
        let method = METHODS.iter().position(|known| *known == sample.method).unwrap_or(METHODS.len() - 1);
        let shard = &mut *self.shard();
        let endpoint =
            sample.endpoint.map_or(NONE, |endpoint| shard.number_of_shared(&self.names, Space::Endpoint, endpoint));
        let client_type = shard.number(&self.names, Space::ClientType, sample.client_type);
        *shard.totals.counts.entry(request_key(endpoint, method, sample.status, client_type)).or_default() += 1;
        at(&mut shard.totals.requests, endpoint).record(REQUEST_BOUNDS, sample.duration);
        if let Some((upstream, took)) = sample.upstream {
            let upstream = shard.number_of_shared(&self.names, Space::Upstream, upstream);
            at(&mut shard.totals.upstreams, upstream).record(REQUEST_BOUNDS, took);
        }
    }

    pub(super) fn decision(&self, outcome: &'static str, reason: &'static str, took: Duration) {
        let shard = &mut *self.shard();
        let outcome = shard.number_of_word(&self.names, outcome);
        let reason = shard.number_of_word(&self.names, reason);
        *shard.totals.counts.entry(key(Series::Decision, outcome, reason)).or_default() += 1;
        shard.totals.decisions.record(DECISION_BOUNDS, took);
    }

    pub(super) fn upstream_connection(&self, upstream: &Arc<str>, reused: &'static str) {
        let shard = &mut *self.shard();
        let upstream = shard.number_of_shared(&self.names, Space::Upstream, upstream);
        let reused = shard.number_of_word(&self.names, reused);
        *shard.totals.counts.entry(key(Series::UpstreamConnection, upstream, reused)).or_default() += 1;
    }

    pub(super) fn count(&self, series: Series, first: (Space, &str), second: (Space, &str)) {
        let shard = &mut *self.shard();
        let first = shard.number(&self.names, first.0, first.1);
        let second = shard.number(&self.names, second.0, second.1);
        *shard.totals.counts.entry(key(series, first, second)).or_default() += 1;
    }

    pub(super) fn count_one(&self, series: Series, label: (Space, &str)) {
        let shard = &mut *self.shard();
        let label = shard.number(&self.names, label.0, label.1);
        *shard.totals.counts.entry(key(series, label, 0)).or_default() += 1;
    }

    pub(super) fn count_none(&self, series: Series) {
        *self.shard().totals.counts.entry(key(series, 0, 0)).or_default() += 1;
    }

    /// Adds what was counted so far to `sum`.
    pub(super) fn add_to(&self, sum: &mut Totals) {
        for Aligned(shard) in &self.shards {
            // Copied out first: the lock is held for a copy, not for the adding up.
            let copy = shard.lock().unwrap_or_else(PoisonError::into_inner).totals.clone();
            sum.add(&copy);
        }
    }

    /// The shard that no scrape is reading.
    fn shard(&self) -> MutexGuard<'_, Shard> {
        for Aligned(shard) in self.shards.iter().cycle().take(16) {
            match shard.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        // Reached only when several threads write the cells of one worker, as a test may.
        self.shards[0].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hash for short names out of our own configuration and for packed keys: quick, and not proof against an adversary,
/// who has no say in either.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mix(u64);

impl Mix {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x2545_f491_4f6c_dd1d) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last_chunk::<8>() else {
            return self.mix(bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        };
        for chunk in bytes.as_chunks::<8>().0 {
            self.mix(u64::from_le_bytes(*chunk));
        }
        // What is left, together with bytes that were there already.
        self.mix(u64::from_le_bytes(*last));
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte) << 56;
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    /// What of several an enum is.
    fn write_isize(&mut self, word: isize) {
        self.0 ^= word as u64;
    }

    fn finish(&self) -> u64 {
        // The table takes its buckets from the low bits and its tags from the high ones: let each bit reach both.
        (self.0 ^ self.0 >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}
