//! The counts of all policies, by name, for the life of the process.
//!
//! A configuration that is put in force is [adopted](Limiter::adopt) first: each of its policies finds the counts that were made
//! under its name before, unless it measures something else now. Names that are gone are forgotten with the last request that
//! was admitted under them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::local::Counter;
use super::measure::{Measure, Moment, Reading};
use super::saved::{Saved, SavedCounts};
use super::take::Standing;
use super::wall::{Answer, Away, Keeper, WhenAway};
use super::{Limits, Policy, Tagger, Who};

/// Keeps counts and takes from them; one for the whole process.
#[derive(Debug)]
pub struct Limiter {
    tagger: Tagger,
    counters: Mutex<HashMap<Arc<str>, Arc<Counter>>>,
    keeper: Option<(Arc<dyn Keeper>, WhenAway)>,
}

/// What can be told of a policy as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFacts {
    /// Its name.
    pub name: Arc<str>,
    /// Subjects of which something is known now.
    pub subjects: u64,
    /// Subjects that were pushed out for want of room, since the process began.
    pub evicted: u64,
}

impl Limiter {
    /// Counts in this process.
    #[must_use]
    pub fn new(tagger: Tagger) -> Self {
        Self { tagger, counters: Mutex::default(), keeper: None }
    }

    /// Counts where several gateways do; `when_away` says what holds while that cannot be asked.
    #[must_use]
    pub fn with_keeper(tagger: Tagger, keeper: Arc<dyn Keeper>, when_away: WhenAway) -> Self {
        Self { keeper: Some((keeper, when_away)), ..Self::new(tagger) }
    }

    /// Makes tags.
    pub(super) fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    /// Ties the policies of a configuration to their counts. To be called before it is in force.
    pub fn adopt(&self, limits: &Limits) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for policy in &limits.all {
            let counter = counter_of(&mut counters, policy);
            // Said twice, the first counts.
            let _ = policy.counter.set(counter);
        }
        let named: HashSet<&str> = limits.all.iter().map(|policy| &*policy.name).collect();
        counters.retain(|name, _| named.contains(&**name));
    }

    /// The counts of a policy.
    pub(super) fn counter(&self, policy: &Policy) -> Arc<Counter> {
        Arc::clone(self.counts(policy))
    }

    fn counts<'p>(&self, policy: &'p Policy) -> &'p Arc<Counter> {
        policy
            .counter
            .get_or_init(|| counter_of(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner), policy))
    }

    pub(super) fn take_one(&self, policy: &Policy, tag: u64, cost: u32, now: Moment) -> Answer {
        self.ask(
            policy,
            |keeper| keeper.take(policy, tag, cost, now),
            |counter| counter.take(&policy.measure, tag, cost, now),
            || Answer { reading: uncounted(policy), taken: Some(0) },
            || Answer { reading: refused(), taken: None },
        )
    }

    pub(super) fn look(&self, policy: &Policy, tag: u64, cost: u32, now: Moment) -> Reading {
        self.ask(
            policy,
            |keeper| keeper.look(policy, tag, cost, now),
            |counter| counter.look(&policy.measure, tag, cost, now),
            || uncounted(policy),
            refused,
        )
    }

    /// How a limit stands, if nothing is taken.
    pub(super) fn read(&self, policy: &Policy, tag: u64, now: Moment) -> Reading {
        let reading = self.ask(
            policy,
            |keeper| keeper.look(policy, tag, 0, now),
            |counter| counter.read(&policy.measure, tag, now),
            || uncounted(policy),
            refused,
        );
        Reading { wait: Duration::ZERO, ..reading }
    }

    pub(super) fn give_back(&self, policy: &Policy, tag: u64, cost: u32, taken: u64) {
        self.ask(
            policy,
            |keeper| keeper.give_back(policy, tag, cost, taken),
            |counter| counter.give_back(&policy.measure, tag, cost, taken),
            || (),
            || (),
        );
    }

    pub(super) fn charge(&self, policy: &Policy, tag: u64, cost: u32, now: Moment) {
        self.ask(
            policy,
            |keeper| keeper.charge(policy, tag, cost, now),
            |counter| counter.charge(&policy.measure, tag, cost, now),
            || (),
            || (),
        );
    }

    /// Asks whoever keeps the counts of a policy. Requests at once are always counted here: they end where they began.
    fn ask<T>(
        &self,
        policy: &Policy,
        kept: impl FnOnce(&dyn Keeper) -> Result<T, Away>,
        local: impl FnOnce(&Counter) -> T,
        allow: impl FnOnce() -> T,
        refuse: impl FnOnce() -> T,
    ) -> T {
        match &self.keeper {
            Some((keeper, when_away)) if !matches!(policy.measure, Measure::Concurrent { .. }) => kept(&**keeper)
                .unwrap_or_else(|Away| match when_away {
                    WhenAway::Local => local(self.counts(policy)),
                    WhenAway::Allow => allow(),
                    WhenAway::Refuse => refuse(),
                }),
            _ => local(self.counts(policy)),
        }
    }

    /// How these limits stand towards somebody. Takes nothing.
    pub fn standings<'p>(
        &self,
        policies: impl IntoIterator<Item = &'p Arc<Policy>>,
        who: &Who<'_>,
        now: Moment,
    ) -> Vec<Standing> {
        let asked = policies.into_iter().filter_map(|policy| Some((policy, self.tagger.tag(&policy.subject, who)?)));
        asked.map(|(policy, tag)| Standing::new(policy.number, tag, self.read(policy, tag, now))).collect()
    }

    /// What can be told of each policy as a whole. Goes through everything that is counted: not for every second.
    #[must_use]
    pub fn facts(&self, limits: &Limits, now: Moment) -> Vec<PolicyFacts> {
        let facts = limits.all.iter().map(|policy| {
            let counter = self.counts(policy);
            let subjects = counter.all(&policy.measure, now).count() as u64;
            PolicyFacts { name: Arc::clone(&policy.name), subjects, evicted: counter.evicted() }
        });
        facts.collect()
    }

    /// The counts that are to outlive the process: those of days and months.
    #[must_use]
    pub fn to_be_saved(&self, limits: &Limits, now: Moment) -> Saved {
        let lasting = limits.all.iter().filter_map(|policy| match &policy.measure {
            Measure::Calendar { calendar, .. } => {
                let counts = self.counts(policy).all(&policy.measure, now).collect();
                Some(SavedCounts { policy: policy.name.to_string(), unit: calendar.unit(), counts })
            }
            _ => None,
        });
        Saved { secret: self.tagger.secret(), counts: lasting.collect() }
    }

    /// Takes over what was saved, where it is more than what was counted since. Counts that were made with another secret are of
    /// nobody.
    pub fn restore(&self, limits: &Limits, saved: &Saved, now: Moment) {
        if saved.secret != self.tagger.secret() {
            return;
        }
        for SavedCounts { policy: name, unit, counts } in &saved.counts {
            let is_it = |policy: &&Arc<Policy>| {
                *policy.name == **name
                    && matches!(&policy.measure, Measure::Calendar { calendar, .. } if calendar.unit() == *unit)
            };
            let Some(policy) = limits.all.iter().find(is_it) else { continue };
            for (tag, state) in counts {
                self.counts(policy).restore(&policy.measure, *tag, *state, now);
            }
        }
    }
}

/// The counts under the name of a policy; new ones if there are none, or if they are of something else.
fn counter_of(counters: &mut HashMap<Arc<str>, Arc<Counter>>, policy: &Policy) -> Arc<Counter> {
    match counters.get(&policy.name) {
        Some(counter) if counter.fits(&policy.measure) => Arc::clone(counter),
        _ => {
            let counter = Arc::new(Counter::new(policy.measure.clone()));
            counters.insert(Arc::clone(&policy.name), Arc::clone(&counter));
            counter
        }
    }
}

/// Of a limit that is not counted now.
fn uncounted(policy: &Policy) -> Reading {
    Reading { remaining: policy.measure.most(), ..Reading::NOTHING }
}

/// Of a limit that cannot be asked, and lets nothing pass then.
fn refused() -> Reading {
    Reading { wait: Duration::from_secs(1), ..Reading::NOTHING }
}
