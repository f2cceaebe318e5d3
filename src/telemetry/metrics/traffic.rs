//! The same sums as a scrape's, as numbers for the console.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use super::cells::{self, Bounds, DECISION_BOUNDS, Histogram, REQUEST_BOUNDS, Series, Space, Totals};
use super::render::Texts;
use super::{KeyFacts, Metrics};

/// What was counted since the process started.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Decisions by outcome (`admitted`, `refused`) and reason.
    pub decisions: BTreeMap<(String, String), u64>,
    /// Requests by the status they were answered with.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests by endpoint, those without one as `_none`.
    pub endpoints: BTreeMap<String, u64>,
    /// Time of whole requests.
    pub requests: Distribution,
    /// Time of decisions.
    pub decision: Distribution,
    /// Time of upstreams until the head of their answer, by name.
    pub upstreams: BTreeMap<String, Distribution>,
    /// What upstreams did not answer properly, by name and kind.
    pub failures: BTreeMap<(String, String), u64>,
    /// Workers that leave a server alone now, by upstream and server.
    pub ejected: BTreeMap<(String, String), u64>,
    /// Addresses of a server that fail their checks now, by upstream and server.
    pub unhealthy: BTreeMap<(String, String), u64>,
    /// Connections of callers that are open.
    pub connections: u64,
}

impl Traffic {
    /// Decisions with this outcome.
    #[must_use]
    pub fn decided(&self, outcome: &str) -> u64 {
        self.decisions.iter().filter(|((decided, _), _)| decided == outcome).map(|(_, count)| count).sum()
    }
}

/// How often a time was how long: counts by bucket, and the sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    bounds: &'static [u64],
    buckets: Vec<u64>,
    sum_nanoseconds: u128,
}

impl Distribution {
    fn of(bounds: Bounds, histogram: &Histogram) -> Self {
        Self { bounds, buckets: histogram.buckets.to_vec(), sum_nanoseconds: histogram.sum_nanoseconds }
    }

    fn add(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            *self = other.clone();
            return;
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.sum_nanoseconds += other.sum_nanoseconds;
    }

    /// How many times were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What came after an earlier state of the same.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut rest = self.clone();
        for (mine, theirs) in rest.buckets.iter_mut().zip(&earlier.buckets) {
            *mine = mine.saturating_sub(*theirs);
        }
        rest.sum_nanoseconds = rest.sum_nanoseconds.saturating_sub(earlier.sum_nanoseconds);
        rest
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.sum_nanoseconds.checked_div(u128::from(self.count()))?;
        u64::try_from(mean).ok().map(Duration::from_nanos)
    }

    /// The time that this share of all (0 to 1) stays within: as exact as the buckets are, the last of which is told by its
    /// lower bound.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = (count as f64 * share.clamp(0.0, 1.0)).max(1.0);
        let mut below = 0_u64;
        for (index, inside) in self.buckets.iter().enumerate() {
            if *inside > 0 && (below + inside) as f64 >= wanted {
                let lower = if index == 0 { 0 } else { self.bounds[index - 1] };
                let Some(upper) = self.bounds.get(index) else { return Some(Duration::from_nanos(lower)) };
                let part = (wanted - below as f64) / *inside as f64;
                return Some(Duration::from_nanos(lower + ((upper - lower) as f64 * part) as u64));
            }
            below += inside;
        }
        self.bounds.last().map(|bound| Duration::from_nanos(*bound))
    }
}

impl Metrics {
    /// What was counted so far. Costs what a scrape costs: it is for something that looks every few seconds.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut totals = Totals::default();
        let workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for worker in &workers {
            worker.add_to(&mut totals);
        }
        let texts = Texts::new(&self.0.names);
        let mut traffic = Traffic::default();
        let (mut opened, mut closed) = (0_u64, 0_u64);
        let mut servers = BTreeMap::<(String, String), (u64, u64)>::new();
        for (key, count) in &totals.counts {
            let which = (key >> 56) as usize;
            if which == Series::Request as usize {
                let (endpoint, _, status, _) = cells::request_labels(*key);
                *traffic.statuses.entry(status).or_default() += count;
                *traffic.endpoints.entry(texts.get(Space::Endpoint, endpoint).to_owned()).or_default() += count;
                continue;
            }
            let (first, second) = cells::labels(*key);
            let named = |one, other| (texts.get(one, first).to_owned(), texts.get(other, second).to_owned());
            if which == Series::Decision as usize {
                *traffic.decisions.entry(named(Space::Word, Space::Word)).or_default() += count;
            } else if which == Series::UpstreamFailure as usize {
                *traffic.failures.entry(named(Space::Upstream, Space::Word)).or_default() += count;
            } else if which == Series::Ejected as usize {
                servers.entry(named(Space::Upstream, Space::Server)).or_default().0 += count;
            } else if which == Series::TakenBack as usize {
                servers.entry(named(Space::Upstream, Space::Server)).or_default().1 += count;
            } else if which == Series::Opened as usize {
                opened += count;
            } else if which == Series::Closed as usize {
                closed += count;
            }
        }
        traffic.connections = opened.saturating_sub(closed);
        let left_alone = servers.into_iter().map(|(server, (out, back))| (server, out.saturating_sub(back)));
        traffic.ejected = left_alone.filter(|(_, count)| *count > 0).collect();
        for histogram in &totals.requests {
            traffic.requests.add(&Distribution::of(REQUEST_BOUNDS, histogram));
        }
        for (number, histogram) in totals.upstreams.iter().enumerate() {
            let name = texts.get(Space::Upstream, u32::try_from(number).unwrap_or(1));
            let distribution = Distribution::of(REQUEST_BOUNDS, histogram);
            if distribution.count() > 0 {
                traffic.upstreams.entry(name.to_owned()).or_default().add(&distribution);
            }
        }
        traffic.decision = Distribution::of(DECISION_BOUNDS, &totals.decisions);
        self.facts(|facts| traffic.unhealthy.clone_from(&facts.unhealthy));
        traffic
    }

    /// How many keys there are, as it was said last.
    #[must_use]
    pub fn keys(&self) -> KeyFacts {
        let mut keys = KeyFacts::default();
        self.facts(|facts| keys.clone_from(&facts.keys));
        keys
    }

    /// The certificates that are served, and their last valid second since 1970.
    #[must_use]
    pub fn certificates(&self) -> Vec<(String, i64)> {
        let mut certificates = Vec::new();
        self.facts(|facts| certificates.clone_from(&facts.certificates));
        certificates
    }

    /// When the process started.
    #[must_use]
    pub fn started(&self) -> std::time::SystemTime {
        self.0.started
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, LazyLock};

    use crate::telemetry::metrics::RequestSample;

    static ORDERS: LazyLock<Arc<str>> = LazyLock::new(|| "orders".into());
    static SHOP: LazyLock<Arc<str>> = LazyLock::new(|| "shop".into());

    fn request(status: u16, duration: Duration) -> RequestSample<'static> {
        RequestSample {
            endpoint: Some(&ORDERS),
            method: "GET",
            status,
            client_type: "",
            duration,
            upstream: Some((&SHOP, duration)),
        }
    }

    #[test]
    fn what_workers_counted_is_summed_by_name() {
        let metrics = Metrics::default();
        let (one, other) = (metrics.worker(), metrics.worker());
        for worker in [&one, &other] {
            worker.request(&request(200, Duration::from_millis(3)));
            worker.decision("admitted", "ok", Duration::from_micros(2));
            worker.connection_opened("main");
            worker.upstream_ejected("shop", "a:1", true);
        }
        one.connection_closed("main");
        one.upstream_ejected("shop", "a:1", false);
        one.request(&request(404, Duration::from_millis(3)));
        one.decision("refused", "endpoint_not_found", Duration::from_micros(2));
        one.upstream_failure("shop", "connect_refused");
        let traffic = metrics.traffic();
        assert_eq!((traffic.decided("admitted"), traffic.decided("refused")), (2, 1));
        assert_eq!(traffic.statuses, BTreeMap::from([(200, 2), (404, 1)]));
        assert_eq!(traffic.endpoints, BTreeMap::from([("orders".to_owned(), 3)]));
        assert_eq!(traffic.requests.count(), 3);
        assert_eq!(traffic.upstreams["shop"].count(), 3);
        let named = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(traffic.failures, BTreeMap::from([(named("shop", "connect_refused"), 1)]));
        assert_eq!(traffic.ejected, BTreeMap::from([(named("shop", "a:1"), 1)]));
        assert_eq!(traffic.connections, 1);
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_rank() {
        let metrics = Metrics::default();
        let worker = metrics.worker();
        assert_eq!(metrics.traffic().requests.quantile(0.5), None);
        for _ in 0..98 {
            worker.request(&request(200, Duration::from_micros(700)));
        }
        let before = metrics.traffic().requests;
        for took in [Duration::from_millis(80), Duration::from_secs(60)] {
            worker.request(&request(200, took));
        }
        let all = metrics.traffic().requests;
        let within = |share: f64, from: u64, to: u64| {
            let found = all.quantile(share).unwrap();
            assert!((Duration::from_micros(from)..=Duration::from_micros(to)).contains(&found), "{share}: {found:?}");
        };
        within(0.0, 500, 1_000);
        within(0.5, 500, 1_000);
        within(0.99, 50_000, 100_000);
        within(1.0, 10_000_000, 10_000_000);
        let rest = all.since(&before);
        assert_eq!((rest.count(), rest.mean()), (2, Some(Duration::from_millis(30_040))));
        assert_eq!(Distribution::default().quantile(0.5), None);
        assert_eq!(Distribution::default().mean(), None);
    }
}
