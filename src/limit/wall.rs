//! Who keeps the counts: this process, or something that several gateways share.
//!
//! [`Keeper`] is the wall between limits and whoever counts. Counters of this process stand behind it now; one over the network
//! may stand there as well. It must not wait: it answers from what it was granted in advance, or says that it is [`Away`].
//! Then [`WhenAway`] holds, which is said when the keeper is chosen and has no default that nobody chose.

use std::fmt;

use super::Policy;
use super::measure::{Moment, Reading};

/// The keeper cannot be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away;

/// What is done while a keeper is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAway {
    /// Each gateway counts by itself: a limit may be reached once on each.
    Local,
    /// Requests pass uncounted.
    Allow,
    /// Requests are refused.
    Refuse,
}

/// What came of taking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// How things stand now.
    pub reading: Reading,
    /// What was counted, by which it can be given back; none if there was not enough.
    pub taken: Option<u64>,
}

/// Keeps the counts of all subjects of all policies, by the name of the policy and the tag of the subject.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// Takes what a request costs, if there is enough.
    ///
    /// # Errors
    /// The keeper is away; nothing was counted.
    fn take(&self, policy: &Policy, tag: u64, cost: u32, now: Moment) -> Result<Answer, Away>;

    /// How things would stand if so much were taken.
    ///
    /// # Errors
    /// The keeper is away.
    fn look(&self, policy: &Policy, tag: u64, cost: u32, now: Moment) -> Result<Reading, Away>;

    /// Gives back what was taken; what cannot be given back is lost.
    ///
    /// # Errors
    /// The keeper is away.
    fn give_back(&self, policy: &Policy, tag: u64, cost: u32, taken: u64) -> Result<(), Away>;

    /// Charges for a request that was refused.
    ///
    /// # Errors
    /// The keeper is away.
    fn charge(&self, policy: &Policy, tag: u64, cost: u32, now: Moment) -> Result<(), Away>;
}
