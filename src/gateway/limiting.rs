//! Limits on the walk of a request: when they are asked, and what is told of them.
//!
//! Those that need nothing but the address are asked first, before a key is looked up; the others once every rule has said yes,
//! so that nobody is told to wait who would be refused anyway. What was taken for a request that a limit refuses later is given
//! back. Places among requests at once go to the permit, and last as long as the request and what it opened.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::{Failure, Refusal};
use crate::admission::Permit;
use crate::client::Client;
use crate::keys::{ApiKey, Timestamp};
use crate::limit::{Exceeded, Limiter, Limits, Moment, Part, Policy, Standing, Taken, Who};
use crate::routing::RuleLimits;
use crate::telemetry::metrics::WorkerMetrics;

/// The counts of this process, and the clock they are counted by.
#[derive(Debug)]
pub struct Limiting {
    limiter: Limiter,
    began: Instant,
}

impl Limiting {
    /// Begins to count.
    #[must_use]
    pub fn new(limiter: Limiter) -> Self {
        Self { limiter, began: Instant::now() }
    }

    /// The counts.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// A moment as limits know it.
    #[must_use]
    pub fn moment(&self, at: Instant, wall: SystemTime) -> Moment {
        let run = at.saturating_duration_since(self.began).as_nanos();
        // Nothing was counted at zero.
        let nanos = u64::try_from(run).unwrap_or(u64::MAX >> 1).saturating_add(1_000_000_000);
        Moment { nanos, wall_millis: Timestamp::from(wall).as_millis() }
    }

    /// The present one.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.moment(Instant::now(), SystemTime::now())
    }

    /// How the limits of a client stand, or of one of its keys, that do not depend on where it is used or from where.
    #[must_use]
    pub fn standings_of(&self, limits: &Limits, client: &Client, key: Option<&ApiKey>) -> Vec<Standing> {
        let own = key.and_then(|key| key.plan.as_ref());
        let planned = limits.plan(own, client.plan.as_ref()).unwrap_or_default();
        let who = Who { key: key.map(|key| key.id.as_str()), ..who_of(client) };
        let is_of_key = |policy: &&Arc<Policy>| {
            !policy.subject.iter().any(|part| matches!(part, Part::Address | Part::Endpoint | Part::Route))
        };
        let policies = limits.everywhere.iter().chain(planned).filter(is_of_key);
        self.limiter.standings(policies, &who, self.now())
    }

    /// Asks the limits that need nothing but an address.
    pub(super) fn first(
        &self,
        limits: &Limits,
        address: std::net::IpAddr,
        now: Moment,
        metrics: &WorkerMetrics,
    ) -> Result<Option<Taken>, Exceeded> {
        if limits.first.is_empty() {
            return Ok(None);
        }
        let taken = self.limiter.take(limits, limits.first.iter(), &Who::at(address), 1, now, None);
        count(limits, &taken, metrics);
        taken
    }

    /// Asks the limits of whoever was admitted, of where to, and those that concern everybody.
    pub(super) fn admitted(
        &self,
        permit: &mut Permit,
        before: Option<Taken>,
        now: Moment,
        metrics: &WorkerMetrics,
    ) -> Result<Vec<Standing>, Failure> {
        let mut taken = self.take(permit, before, now, metrics)?;
        if let Some(places) = taken.as_mut().and_then(Taken::places) {
            permit.hold(places);
        }
        Ok(taken.map_or_else(Vec::new, |taken| taken.standings))
    }

    fn take(
        &self,
        permit: &Permit,
        before: Option<Taken>,
        now: Moment,
        metrics: &WorkerMetrics,
    ) -> Result<Option<Taken>, Failure> {
        let limits = &permit.snapshot().limits;
        let key = permit.key();
        let planned = match key {
            Some(key) => limits.plan(key.plan.as_ref(), key.client.plan.as_ref()).map_err(|unknown| {
                // The access log names the key and the code; whoever holds it must not fill another log.
                tracing::debug!(key.id = %key.id, error = %unknown, "a key is refused");
                let refusal = Refusal::of_fault(http::StatusCode::SERVICE_UNAVAILABLE, "plan_unknown");
                Failure::from(refusal.saying(
                    "The gateway does not know the plan of the API key. Tell whoever runs it; the key itself is good.",
                ))
            })?,
            None => &[],
        };
        let RuleLimits { policies, cost } = &permit.rule().limits;
        let asked = limits.everywhere.iter().chain(policies).chain(planned);
        let who = Who {
            address: permit.client_address(),
            endpoint: &permit.endpoint().name,
            route: permit.route(),
            key: key.map(|key| key.id.as_str()),
            ..key.map_or_else(|| Who::at(permit.client_address()), |key| who_of(&key.client))
        };
        let taken = self.limiter.take(limits, asked, &who, *cost, now, before);
        count(limits, &taken, metrics);
        taken.map_err(|exceeded| Failure::Limited(Box::new(exceeded)))
    }
}

/// Whoever belongs to a client, at an address that is put in later.
fn who_of(client: &Client) -> Who<'_> {
    Who {
        client: Some(client.id.as_str()),
        client_type: Some(client.client_type.as_str()),
        tenant: client.tenant.as_ref().map(|tenant| tenant.as_str()),
        ..Who::at(std::net::IpAddr::from([0, 0, 0, 0]))
    }
}

/// Counts what came of asking.
fn count(limits: &Limits, taken: &Result<Option<Taken>, Exceeded>, metrics: &WorkerMetrics) {
    let (standings, is_refused) = match taken {
        Ok(None) => return,
        Ok(Some(taken)) => (&taken.standings, false),
        Err(exceeded) => (&exceeded.standings, true),
    };
    for standing in standings {
        let policy = &limits.all[standing.policy];
        let outcome = match (standing.reading.passes(), policy.is_shadow) {
            (false, true) => "shadow",
            (false, false) => "refused",
            (true, _) if is_refused => continue,
            (true, _) => "admitted",
        };
        metrics.rate_limit(&policy.name, outcome);
    }
}
