//! Limits and quotas: how much each caller may ask for, counted exactly.
//!
//! A [`Policy`] is one limit with a name: what it [measures](Measure), and [whom](Subject) it tells apart. `config` makes them;
//! [`Limits`] is what a configuration says as a whole, [`Limiter`] keeps the counts, by the names of the policies, for as long
//! as the process lives, whatever becomes of the configuration. The gateway asks [`Limiter::take`] once for each request, with
//! all policies that concern it: it takes from all of them or from none.
//!
//! Counting reads memory only, takes no lock for a subject that was seen before, and never waits. The time is the caller's:
//! nothing here looks at a clock.
//!
//! Where several gateways are to share counts, a [`Keeper`] takes the place of the counters in this process; what is done when
//! that is away is said by [`WhenAway`], never left open.
//!
//! The one thing people get wrong: a limit for keys does not concern callers without a key. Put one for addresses beside it.

mod calendar;
mod cells;
mod headers;
mod local;
mod measure;
mod registry;
mod saved;
mod subject;
mod sync;
mod take;
mod wall;

pub use calendar::{Calendar, Unit, UnknownZone};
pub use headers::{HeaderStyle, UpstreamHeaders};
pub use measure::{MAX_IN_CALENDAR, MAX_IN_WINDOW, MAX_REFILL, Measure, Moment, Reading};
pub use registry::{Limiter, PolicyFacts};
pub use saved::{Saved, SavedCounts, UnreadableState};
pub use subject::{Part, Subject, Tagger, Who};
pub use take::{Exceeded, Places, Standing, Taken};
pub use wall::{Answer, Away, Keeper, WhenAway};

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::client::Plan;
use local::Counter;

/// One limit, with a name.
pub struct Policy {
    /// Its place in [`Limits::all`].
    pub number: usize,
    /// Unique; what headers, problems, metrics and counters call it.
    pub name: Arc<str>,
    /// What is counted, and up to what.
    pub measure: Measure,
    /// Whom it tells apart.
    pub subject: Subject,
    /// It is asked before anything is known of a request but its address.
    pub is_first: bool,
    /// It only counts, and says what it would have refused.
    pub is_shadow: bool,
    /// A request that a limit refused counts as well.
    pub counts_refused: bool,
    /// Where it was written.
    pub place: Box<str>,
    /// Its counts, once they were looked for.
    pub(crate) counter: OnceLock<Arc<Counter>>,
}

impl Policy {
    /// A limit that is enforced, asked when all rules have said yes, and counts what was admitted.
    #[must_use]
    pub fn new(name: &str, measure: Measure, subject: Subject) -> Self {
        Self {
            number: 0,
            name: name.into(),
            measure,
            subject,
            is_first: false,
            is_shadow: false,
            counts_refused: false,
            place: Box::default(),
            counter: OnceLock::new(),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, measure, subject, is_first, is_shadow, counts_refused, .. } = self;
        f.debug_struct("Policy")
            .field("name", name)
            .field("measure", measure)
            .field("subject", subject)
            .field("is_first", is_first)
            .field("is_shadow", is_shadow)
            .field("counts_refused", counts_refused)
            .finish_non_exhaustive()
    }
}

/// Limits in the order in which they were written.
pub type Policies = Box<[Arc<Policy>]>;

/// What a configuration says of limits, endpoints and routes excepted.
#[derive(Debug, Default)]
pub struct Limits {
    /// Every limit there is, wherever it was written.
    pub all: Policies,
    /// Asked of each request before anything else.
    pub first: Policies,
    /// Asked of each request that the rules admit.
    pub everywhere: Policies,
    /// What keys and clients carry, by name.
    pub plans: Box<[(Plan, Policies)]>,
    /// The plan of keys that carry none, nor their client: an index of `plans`.
    pub default_plan: Option<usize>,
    /// What answers tell of them.
    pub headers: HeaderStyle,
}

impl Limits {
    /// These limits, which nothing names yet.
    #[must_use]
    pub fn of(policies: Vec<Policy>) -> Self {
        let numbered = policies.into_iter().enumerate().map(|(number, policy)| Arc::new(Policy { number, ..policy }));
        Self { all: numbered.collect(), ..Self::default() }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The limits of the plan that a key carries, or its client, or everybody who carries none.
    ///
    /// # Errors
    /// The plan is not among those that the configuration has. Such a key is refused: to let it pass would be to give it more
    /// than anybody said.
    pub fn plan(&self, key: Option<&Plan>, client: Option<&Plan>) -> Result<&[Arc<Policy>], UnknownPlan> {
        match key.or(client) {
            Some(plan) => {
                let found = self.plans.iter().find(|(name, _)| name == plan);
                found.map(|(_, policies)| &**policies).ok_or_else(|| UnknownPlan(plan.clone()))
            }
            None => Ok(self.default_plan.map_or(&[], |index| &*self.plans[index].1)),
        }
    }
}

/// A key carries a plan that the configuration does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no plan `{0}`")]
pub struct UnknownPlan(pub Plan);

#[cfg(test)]
mod tests;
