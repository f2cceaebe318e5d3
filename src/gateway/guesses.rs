//! A budget of keys that are nobody's, for each address.
//!
//! A key that keygate made cannot be guessed; a short imported one can be tried for. Each text that is nobody's key and not of
//! the form of ours is charged to the address it came from (of IPv6 to its /64, which one customer has), and comes back evenly
//! within a minute. Whoever has spent the budget is answered 429 before the table is asked, so that a guess neither succeeds
//! nor costs. Other addresses notice nothing.
//!
//! Behind one address there may be many callers, so what is no guessing is not taken for it: the same wrong key again and
//! again is charged once, a key that is known and over not at all, and a key that was good while failures came from there
//! stays good.
//!
//! The table has a fixed size. A request without failures anywhere reads one number; one while there are some reads one cache
//! line. Only a failure writes. An attacker with very many addresses pushes old entries out, the least indebted first.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::admission::Gate;
use crate::credential::Secret;
use crate::keys::{KeyTable, SecretTag};

/// In this time a whole budget comes back.
const WINDOW_MILLIS: u64 = 60_000;
/// Cells of one cache line, among which an address finds its own.
const IN_LINE: usize = 8;
const LINES: usize = 8_192;
/// Keys that are remembered beside failures: the good ones, and those that were charged.
const REMEMBERED: usize = 16_384;
/// A cell is a tag of its address, and when its debt is paid, in milliseconds since the start: 34 years of them.
const TIME_BITS: u32 = 40;
const TIME: u64 = (1 << TIME_BITS) - 1;

/// What each address may still try.
pub struct Guesses {
    /// How many a minute; none without a bound.
    budget: Option<u64>,
    began: Instant,
    hasher: RandomState,
    /// Until when any address is in debt.
    last_debt: AtomicU64,
    lines: Box<[Line]>,
    remembered: Box<[AtomicU64]>,
}

#[repr(align(64))]
#[derive(Default)]
struct Line([AtomicU64; IN_LINE]);

impl std::fmt::Debug for Guesses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guesses").field("budget", &self.budget).finish_non_exhaustive()
    }
}

/// As what a key is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Good,
    Charged,
}

/// What an address owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Debt {
    /// Nothing.
    None,
    /// Something; it may go on.
    Some,
    /// All it may; for so long.
    Spent(Duration),
}

impl Guesses {
    /// With so many a minute; none means without a bound.
    #[must_use]
    pub fn new(budget: Option<u32>) -> Self {
        Self {
            budget: budget.map(|budget| u64::from(budget.max(1))),
            began: Instant::now(),
            hasher: RandomState::new(),
            last_debt: AtomicU64::new(0),
            lines: (0..LINES).map(|_| Line::default()).collect(),
            remembered: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn now(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(TIME) & TIME
    }

    /// What an address owes at a moment.
    pub(super) fn debt(&self, address: IpAddr, at: Instant) -> Debt {
        let Some(budget) = self.budget else { return Debt::None };
        let now = self.now(at);
        if self.last_debt.load(Ordering::Relaxed) <= now {
            return Debt::None;
        }
        let (line, tag) = self.place(address);
        let cell = line.iter().map(|cell| cell.load(Ordering::Relaxed)).find(|cell| cell >> TIME_BITS == tag);
        let owed = (cell.unwrap_or(0) & TIME).saturating_sub(now);
        let left = WINDOW_MILLIS - WINDOW_MILLIS / budget;
        match owed {
            0 => Debt::None,
            owed if owed > left => Debt::Spent(Duration::from_millis(owed - left)),
            _ => Debt::Some,
        }
    }

    /// Charges a key that is nobody's, unless it was just charged.
    pub(super) fn charge(&self, address: IpAddr, guess: SecretTag, at: Instant) {
        let Some(budget) = self.budget else { return };
        if self.swap(address, guess, Memory::Charged) {
            return;
        }
        let now = self.now(at);
        let (line, tag) = self.place(address);
        let read = |index: usize| line[index].load(Ordering::Relaxed);
        // Its own cell, or the one that owes least.
        let index = (0..IN_LINE).find(|index| read(*index) >> TIME_BITS == tag);
        let index = index.or_else(|| (0..IN_LINE).min_by_key(|index| read(*index) & TIME)).unwrap_or(0);
        let charged = |cell: u64| {
            let since = if cell >> TIME_BITS == tag { (cell & TIME).max(now) } else { now };
            // Nobody owes more than a whole budget and one beyond.
            let until = (since + WINDOW_MILLIS / budget).min(now + WINDOW_MILLIS + WINDOW_MILLIS / budget);
            (tag << TIME_BITS) | (until & TIME)
        };
        let before = line[index].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |cell| Some(charged(cell)));
        let until = before.map_or(now, charged) & TIME;
        self.last_debt.fetch_max(until, Ordering::Relaxed);
    }

    /// Remembers a key that was good at an address that owes something.
    pub(super) fn remember(&self, address: IpAddr, secret: SecretTag) {
        self.swap(address, secret, Memory::Good);
    }

    fn is_good(&self, address: IpAddr, secret: SecretTag) -> bool {
        let print = self.print(address, secret, Memory::Good);
        self.remembered[Self::index(print)].load(Ordering::Relaxed) == print
    }

    /// Remembers a key; true if it was remembered already.
    fn swap(&self, address: IpAddr, secret: SecretTag, memory: Memory) -> bool {
        let print = self.print(address, secret, memory);
        let place = &self.remembered[Self::index(print)];
        let is_there = place.load(Ordering::Relaxed) == print;
        if !is_there {
            place.store(print, Ordering::Relaxed);
        }
        is_there
    }

    fn print(&self, address: IpAddr, secret: SecretTag, memory: Memory) -> u64 {
        self.hasher.hash_one((network_of(address), secret.to_bytes(), memory == Memory::Good))
    }

    fn index(print: u64) -> usize {
        usize::try_from(print % REMEMBERED as u64).unwrap_or(0)
    }

    /// The line of an address, and its tag in it; never zero, which is the tag of an empty cell.
    fn place(&self, address: IpAddr) -> (&[AtomicU64; IN_LINE], u64) {
        let hash = self.hasher.hash_one(network_of(address));
        let line = usize::try_from(hash % LINES as u64).unwrap_or(0);
        (&self.lines[line].0, (hash >> TIME_BITS).max(1))
    }
}

/// Whoever has an IPv6 address has 2 to the 64th of them.
fn network_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 << 64,
    }
}

/// Lets keys through that were good at an address that has spent its budget.
#[derive(Debug)]
pub(super) struct SpentGate<'g> {
    pub guesses: &'g Guesses,
    pub keys: &'g KeyTable,
    pub address: IpAddr,
}

impl Gate for SpentGate<'_> {
    fn may_ask(&self, secret: &Secret<'_>) -> bool {
        let digests = self.keys.digests_of(secret);
        digests.iter().any(|digest| self.guesses.is_good(self.address, SecretTag::of(digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::KeyDigest;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn tag(text: &str) -> SecretTag {
        SecretTag::of(&KeyDigest::blake3(&Secret::borrowed(text.as_bytes())))
    }

    /// Charges so many different guesses.
    fn charge(guesses: &Guesses, address: IpAddr, count: u32, at: Instant) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        for _ in 0..count {
            guesses.charge(address, tag(&NUMBER.fetch_add(1, Ordering::Relaxed).to_string()), at);
        }
    }

    #[test]
    fn a_budget_is_spent_comes_back_evenly_and_is_an_addresss_own() {
        let guesses = Guesses::new(Some(60));
        let at = |millis| guesses.began + Duration::from_millis(millis);
        assert_eq!(guesses.debt(v4(1), at(0)), Debt::None);
        for number in 0..60 {
            assert!(!matches!(guesses.debt(v4(1), at(0)), Debt::Spent(_)), "failure {number}");
            charge(&guesses, v4(1), 1, at(0));
        }
        assert!(matches!(guesses.debt(v4(1), at(0)), Debt::Spent(_)));
        assert_eq!(guesses.debt(v4(2), at(0)), Debt::None, "another address");
        assert!(matches!(guesses.debt(v4(1), at(900)), Debt::Spent(_)));
        assert_eq!(guesses.debt(v4(1), at(1_001)), Debt::Some, "one a second comes back");
        charge(&guesses, v4(1), 1, at(1_001));
        assert!(matches!(guesses.debt(v4(1), at(1_001)), Debt::Spent(_)));
        assert_eq!(guesses.debt(v4(1), at(61_100)), Debt::None, "all of it after a minute");
    }

    #[test]
    fn the_same_wrong_key_again_and_again_is_one_guess() {
        let guesses = Guesses::new(Some(3));
        (0..1_000).for_each(|_| guesses.charge(v4(1), tag("an old key"), guesses.began));
        assert_eq!(guesses.debt(v4(1), guesses.began), Debt::Some);
        charge(&guesses, v4(1), 2, guesses.began);
        assert!(matches!(guesses.debt(v4(1), guesses.began), Debt::Spent(_)));
    }

    #[test]
    fn nobody_owes_more_than_a_minute_however_often_they_fail() {
        let guesses = Guesses::new(Some(10));
        let at = |millis| guesses.began + Duration::from_millis(millis);
        charge(&guesses, v4(1), 10_000, at(5));
        assert!(matches!(guesses.debt(v4(1), at(5)), Debt::Spent(left) if left <= Duration::from_secs(13)));
        assert_eq!(guesses.debt(v4(1), at(70_000)), Debt::None);
    }

    #[test]
    fn addresses_of_one_network_share_a_budget_and_mapped_ones_are_their_ipv4() {
        let guesses = Guesses::new(Some(3));
        let at = guesses.began;
        for last in ["1", "2", "3"] {
            charge(&guesses, format!("2001:db8:0:1::{last}").parse().unwrap(), 1, at);
        }
        let debt = |text: &str| guesses.debt(text.parse().unwrap(), at);
        assert!(matches!(debt("2001:db8:0:1:ffff::9"), Debt::Spent(_)));
        assert_eq!(debt("2001:db8:0:2::1"), Debt::None);
        charge(&guesses, "::ffff:192.0.2.1".parse().unwrap(), 3, at);
        assert!(matches!(debt("192.0.2.1"), Debt::Spent(_)));
    }

    #[test]
    fn a_key_that_was_good_there_is_remembered_there_alone() {
        let guesses = Guesses::new(Some(3));
        guesses.remember(v4(1), tag("good"));
        guesses.charge(v4(1), tag("charged"), guesses.began);
        assert!(guesses.is_good(v4(1), tag("good")));
        assert!(!guesses.is_good(v4(1), tag("charged")), "to be charged is not to be good");
        assert!(!guesses.is_good(v4(1), tag("other")) && !guesses.is_good(v4(2), tag("good")));
    }

    #[test]
    fn very_many_addresses_push_out_the_least_indebted_and_take_no_more_memory() {
        let guesses = Guesses::new(Some(5));
        let at = guesses.began;
        charge(&guesses, v4(1), 5, at);
        for number in 0..300_000_u32 {
            charge(&guesses, IpAddr::from((0x0a00_0000 + number).to_be_bytes()), 1, at);
        }
        assert!(matches!(guesses.debt(v4(1), at), Debt::Spent(_)), "the most indebted stays");
    }

    #[test]
    fn without_a_bound_nothing_is_owed() {
        let guesses = Guesses::new(None);
        charge(&guesses, v4(1), 1_000, guesses.began);
        assert_eq!(guesses.debt(v4(1), guesses.began), Debt::None);
    }
}
