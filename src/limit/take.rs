//! Asking several limits at once: all of them, or none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::local::Counter;
use super::measure::{Measure, Moment, Reading};
use super::registry::Limiter;
use super::{Limits, Policy, Who};

/// How one limit stands towards whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The policy: an index of [`Limits::all`].
    pub policy: usize,
    /// How it stands, this request included if it was counted.
    pub reading: Reading,
    tag: u64,
    taken: Option<u64>,
}

impl Standing {
    pub(super) fn new(policy: usize, tag: u64, reading: Reading) -> Self {
        Self { policy, reading, tag, taken: None }
    }

    /// The smaller, the nearer the limit is.
    pub(super) fn nearness(&self, most: u64) -> (bool, u128) {
        // One that refuses before one that is merely used up.
        (self.reading.passes(), (u128::from(self.reading.remaining) << 32) / u128::from(most.max(1)))
    }
}

/// What was taken for one request that may go on.
#[derive(Debug)]
pub struct Taken {
    /// Each limit that was asked.
    pub standings: Vec<Standing>,
    places: Option<Places>,
    cost: u32,
}

/// Room among requests at once; given back when it is dropped.
pub struct Places(Vec<(Arc<Counter>, u64)>);

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Places").field(&self.0.len()).finish()
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for (counter, tag) in &self.0 {
            counter.leave(*tag);
        }
    }
}

impl Taken {
    /// The room among requests at once, to be kept for as long as the request lasts and whatever it opened.
    pub fn places(&mut self) -> Option<Places> {
        self.places.take()
    }

    /// Adds what was taken before for the same request.
    fn with(mut self, before: Option<Self>) -> Self {
        if let Some(mut before) = before {
            self.standings.splice(0..0, before.standings);
            if let Some(mut places) = before.places.take() {
                places.0.extend(self.places.iter_mut().flat_map(|places| std::mem::take(&mut places.0)));
                self.places = Some(places);
            }
        }
        self
    }
}

/// A limit was reached. Nothing was taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Each limit that was asked.
    pub standings: Vec<Standing>,
    /// Which of them refuses the longest: an index of `standings`.
    pub by: usize,
}

impl Exceeded {
    /// How the one that refuses the longest stands.
    #[must_use]
    pub fn worst(&self) -> &Standing {
        &self.standings[self.by]
    }

    /// How long to wait.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.worst().reading.wait
    }
}

impl Limiter {
    /// Takes what a request costs from each of these limits that concerns it, or from none. A limit that stands among them
    /// twice is asked once; `before` is what was taken for the same request already, and is given back if it goes no further.
    ///
    /// # Errors
    /// The limits that would not give as much.
    pub fn take<'p>(
        &self,
        limits: &Limits,
        policies: impl Iterator<Item = &'p Arc<Policy>>,
        who: &Who<'_>,
        cost: u32,
        now: Moment,
        before: Option<Taken>,
    ) -> Result<Option<Taken>, Exceeded> {
        let mut standings: Vec<Standing> = Vec::new();
        let is_known = |standings: &[Standing], number| {
            standings
                .iter()
                .chain(before.iter().flat_map(|before| &before.standings))
                .any(|known| known.policy == number)
        };
        for policy in policies {
            let number = policy.number;
            // What costs nothing is counted while it lasts alone.
            if is_known(&standings, number) || (cost == 0 && !matches!(policy.measure, Measure::Concurrent { .. })) {
                continue;
            }
            if let Some(tag) = self.tagger().tag(&policy.subject, who) {
                standings.push(Standing::new(number, tag, Reading::NOTHING));
            }
        }
        if standings.is_empty() {
            return Ok(before);
        }
        // One alone is taken from, or not. Several are looked at first, so that nobody else meets with what is only taken to
        // be given back.
        let mut passes = true;
        if standings.len() > 1 {
            for standing in &mut standings {
                let policy = &limits.all[standing.policy];
                standing.reading = self.look(policy, standing.tag, cost, now);
                passes &= standing.reading.passes() || policy.is_shadow;
            }
        }
        if passes {
            for standing in &mut standings {
                let policy = &limits.all[standing.policy];
                let answer = self.take_one(policy, standing.tag, cost, now);
                (standing.reading, standing.taken) = (answer.reading, answer.taken);
                if answer.taken.is_none() && !policy.is_shadow {
                    passes = false;
                    break;
                }
            }
        }
        if passes {
            let places = self.places(limits, &standings);
            return Ok(Some(Taken { standings, places, cost }.with(before)));
        }
        Err(self.refuse(limits, standings, cost, now, before))
    }

    /// Gives everything back, and tells how things stand then.
    fn refuse(
        &self,
        limits: &Limits,
        mut standings: Vec<Standing>,
        cost: u32,
        now: Moment,
        before: Option<Taken>,
    ) -> Exceeded {
        for standing in &mut standings {
            self.settle(&limits.all[standing.policy], standing, cost, now, true);
        }
        if let Some(Taken { standings: mut earlier, places, cost }) = before {
            for standing in &mut earlier {
                // Room among requests at once is given back by dropping it.
                self.settle(&limits.all[standing.policy], standing, cost, now, places.is_none());
            }
            standings.splice(0..0, earlier);
        }
        let refuses = |standing: &Standing| !standing.reading.passes() && !limits.all[standing.policy].is_shadow;
        let longest = standings.iter().enumerate().filter(|(_, standing)| refuses(standing));
        let by = longest.max_by_key(|(_, standing)| standing.reading.wait).map_or(0, |(index, _)| index);
        for standing in standings.iter_mut().filter(|standing| standing.reading.passes()) {
            standing.reading = self.read(&limits.all[standing.policy], standing.tag, now);
        }
        Exceeded { standings, by }
    }

    /// Leaves the count of one limit as it is to be after a refusal.
    fn settle(&self, policy: &Policy, standing: &mut Standing, cost: u32, now: Moment, gives_places: bool) {
        let is_place = matches!(policy.measure, Measure::Concurrent { .. });
        match standing.taken.take() {
            Some(taken) if is_place && gives_places || !is_place && !policy.counts_refused => {
                self.give_back(policy, standing.tag, cost, taken);
            }
            Some(_) => {}
            None if policy.counts_refused => self.charge(policy, standing.tag, cost, now),
            None => {}
        }
    }

    fn places(&self, limits: &Limits, standings: &[Standing]) -> Option<Places> {
        let under_way = |standing: &&Standing| {
            standing.taken.is_some() && matches!(limits.all[standing.policy].measure, Measure::Concurrent { .. })
        };
        let mut places = standings.iter().filter(under_way).peekable();
        places.peek()?;
        Some(Places(places.map(|standing| (self.counter(&limits.all[standing.policy]), standing.tag)).collect()))
    }
}
