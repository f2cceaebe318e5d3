//! The traffic of now and of the last minutes.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use utoipa::ToSchema;

use super::Observatory;
use crate::keys::Timestamp;
use crate::telemetry::health::ReloadOutcome;
use crate::telemetry::metrics::{Distribution, Traffic};

/// How often a sample is taken.
const EVERY: Duration = Duration::from_secs(5);
/// How many are kept: a quarter of an hour.
const KEPT: usize = 180;
/// What counts as recent: the last five minutes.
const RECENT: Duration = Duration::from_secs(300);

/// How the gateway does.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Overview {
    /// The version that runs.
    pub version: String,
    /// Now, by the gateway's clock.
    #[schema(format = DateTime)]
    pub at: String,
    /// When it was started.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// How long it has run.
    pub uptime_seconds: u64,
    /// It judges requests and wants them.
    pub is_ready: bool,
    /// It finishes its work before it stops.
    pub is_draining: bool,
    /// The configuration in force, and how the last attempt to change it went.
    pub configuration: ConfigurationState,
    /// Connections of callers that are open.
    pub connections: u64,
    /// Since it was started.
    pub traffic: TrafficCounts,
    /// In the last minutes.
    pub recent: Recent,
    /// What it calls.
    pub upstreams: Vec<UpstreamState>,
    /// Keys by what they are good for, a few seconds behind.
    pub keys: KeyCounts,
    /// Traffic over time.
    pub history: History,
}

/// The configuration in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConfigurationState {
    /// Counts the changes that were put in force; 1 at the start.
    pub generation: u64,
    /// Digest of the files it was made from.
    pub content_digest: String,
    /// When it was put in force.
    #[schema(format = DateTime)]
    pub loaded_at: Option<String>,
    /// How many endpoints are in force.
    pub endpoints: usize,
    /// The last attempt to change it; null if there was none.
    pub last_reload: Option<SeenReload>,
}

/// An attempt to change the configuration.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SeenReload {
    /// When it ended.
    #[schema(format = DateTime)]
    pub at: String,
    /// `applied`, `unchanged`, or `rejected`: then the one before it stays in force.
    pub outcome: String,
    /// What is wrong, if it was rejected; with lines of the configuration.
    pub problem: Option<String>,
}

/// Requests and decisions since the start.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TrafficCounts {
    /// Requests that were answered to their end.
    pub requests: u64,
    /// Decisions to admit.
    pub admitted: u64,
    /// Decisions to refuse.
    pub refused: u64,
    /// Why requests were admitted: `ok` with a key, `anonymous` without.
    pub admissions: Vec<WordCount>,
    /// Why requests were refused, the most frequent first.
    pub refusals: Vec<WordCount>,
    /// Requests by the status of their answer.
    pub statuses: Vec<StatusCount>,
    /// Requests by endpoint, the most frequent first, fifty at most.
    pub endpoints: Vec<WordCount>,
    /// Time of whole requests.
    pub latency: Latency,
    /// Time of decisions.
    pub decision_latency: Latency,
}

/// How often something was the case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WordCount {
    /// What: a code, a kind, a name.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// How often a status was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StatusCount {
    /// The status.
    pub status: u16,
    /// How often.
    pub count: u64,
}

/// How long things took, in milliseconds; null where nothing was measured. As exact as the buckets of the metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Latency {
    /// Half took no longer.
    pub p50: Option<f64>,
    /// Nine of ten took no longer.
    pub p90: Option<f64>,
    /// Ninety-nine of a hundred took no longer.
    pub p99: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
}

impl Latency {
    fn of(distribution: &Distribution) -> Self {
        let quantile = |share| distribution.quantile(share).map(milliseconds);
        Self {
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            mean: distribution.mean().map(milliseconds),
        }
    }
}

/// What happened in the last minutes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Recent {
    /// How many seconds this is about: 300, or as long as the gateway runs.
    pub seconds: f64,
    /// Requests.
    pub requests: u64,
    /// Requests in a second.
    pub requests_per_second: f64,
    /// Decisions to admit.
    pub admitted: u64,
    /// Decisions to refuse.
    pub refused: u64,
    /// Answers with a status of 500 or more.
    pub server_errors: u64,
    /// Why requests were refused, the most frequent first.
    pub refusals: Vec<WordCount>,
    /// Time of whole requests.
    pub latency: Latency,
    /// Time of decisions.
    pub decision_latency: Latency,
}

/// What the gateway calls.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UpstreamState {
    /// Its name.
    pub name: String,
    /// `http`, `echo`, or `self_service`.
    pub kind: String,
    /// Its servers.
    pub servers: Vec<ServerState>,
    /// Requests that it answered since the start.
    pub requests: u64,
    /// Time until the head of its answer, since the start.
    pub latency: Latency,
    /// What it did not answer properly since the start, the most frequent first.
    pub failures: Vec<WordCount>,
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ServerState {
    /// Host and port.
    pub authority: String,
    /// Addresses that the name stands for.
    pub addresses: Vec<String>,
    /// Requests are sent there over TLS.
    pub is_tls: bool,
    /// It is asked whether it is well.
    pub is_checked: bool,
    /// Addresses that fail these checks now.
    pub unhealthy: u64,
    /// Workers that leave it alone now, since requests to it failed.
    pub ejected_by_workers: u64,
}

/// Keys by what they are good for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeyCounts {
    /// Good.
    pub active: u64,
    /// Switched off, themselves or by their client.
    pub disabled: u64,
    /// Over.
    pub expired: u64,
    /// To come.
    pub not_yet_valid: u64,
    /// Good, and over within a day.
    pub expiring_within_1_day: u64,
    /// Good, and over within a week.
    pub expiring_within_7_days: u64,
    /// Good, and over within thirty days.
    pub expiring_within_30_days: u64,
    /// When the next good key is over.
    #[schema(format = DateTime)]
    pub next_expiry: Option<String>,
}

/// Traffic over time.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct History {
    /// How many seconds lie between two samples.
    pub every_seconds: u64,
    /// The samples behind the one that was named, the oldest first; all that are kept if none was.
    pub samples: Vec<TrafficSample>,
}

/// What happened between one sample and the one before.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TrafficSample {
    /// Counts the samples: to be named as `after`.
    pub number: u64,
    /// When it was taken.
    #[schema(format = DateTime)]
    pub at: String,
    /// The same in milliseconds since 1970.
    pub at_millis: i64,
    /// How many seconds it is about.
    pub seconds: f64,
    /// Requests answered to their end.
    pub requests: u64,
    /// Decisions to admit.
    pub admitted: u64,
    /// Decisions to refuse.
    pub refused: u64,
    /// Answers with a status of 500 or more.
    pub server_errors: u64,
    /// Connections that were open at its end.
    pub connections: u64,
    /// Time of whole requests.
    pub latency: Latency,
}

/// What was counted at a moment.
#[derive(Debug, Clone)]
struct Counted {
    at: SystemTime,
    traffic: Traffic,
}

impl Counted {
    fn server_errors(&self) -> u64 {
        self.traffic.statuses.range(500..).map(|(_, count)| count).sum()
    }
}

/// The samples that are kept.
#[derive(Debug, Default)]
pub(super) struct Samples {
    taken: u64,
    /// What was counted when each was taken, the oldest first; the first is where the oldest sample begins.
    counted: VecDeque<Counted>,
    shown: VecDeque<TrafficSample>,
}

impl Samples {
    fn take(&mut self, now: Counted) {
        if let Some(before) = self.counted.back() {
            self.taken += 1;
            self.shown.push_back(sample(self.taken, before, &now));
        }
        self.counted.push_back(now);
        while self.shown.len() > KEPT {
            self.shown.pop_front();
        }
        // Of what lies further back only the differences are kept: nothing is asked about it as a whole.
        let kept = usize::try_from(RECENT.as_secs() / EVERY.as_secs()).unwrap_or(KEPT) + 1;
        while self.counted.len() > kept {
            self.counted.pop_front();
        }
    }
}

fn sample(number: u64, before: &Counted, now: &Counted) -> TrafficSample {
    let (then, current) = (&before.traffic, &now.traffic);
    let latency = current.requests.since(&then.requests);
    TrafficSample {
        number,
        at: Timestamp::from(now.at).to_string(),
        at_millis: Timestamp::from(now.at).as_millis(),
        seconds: seconds_between(before.at, now.at),
        requests: latency.count(),
        admitted: current.decided("admitted").saturating_sub(then.decided("admitted")),
        refused: current.decided("refused").saturating_sub(then.decided("refused")),
        server_errors: now.server_errors().saturating_sub(before.server_errors()),
        connections: current.connections,
        latency: Latency::of(&latency),
    }
}

impl Observatory {
    /// Takes a sample every few seconds, for as long as it runs.
    pub async fn watch(self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.sample(SystemTime::now());
        }
    }

    /// Takes a sample.
    pub(super) fn sample(&self, at: SystemTime) {
        // What no sample tells is not kept: there may be thousands of endpoints and upstreams.
        let traffic = Traffic {
            endpoints: Default::default(),
            upstreams: Default::default(),
            failures: Default::default(),
            ..self.0.seen.metrics.traffic()
        };
        let counted = Counted { at, traffic };
        self.0.samples.lock().unwrap_or_else(PoisonError::into_inner).take(counted);
    }

    /// How the gateway does; the history behind the sample of this number, or all of it.
    #[must_use]
    pub fn overview(&self, after: Option<u64>) -> Overview {
        let seen = &self.0.seen;
        let now = Counted { at: SystemTime::now(), traffic: seen.metrics.traffic() };
        let status = seen.health.status();
        let snapshot = seen.snapshot.load();
        let started = seen.metrics.started();
        let (recent, history) = {
            let samples = self.0.samples.lock().unwrap_or_else(PoisonError::into_inner);
            let behind = |sample: &&TrafficSample| after.is_none_or(|after| sample.number > after);
            let shown = samples.shown.iter().filter(behind).cloned().collect();
            let start = Counted { at: started, traffic: Traffic::default() };
            (
                recent(samples.counted.front().unwrap_or(&start), &now),
                History { every_seconds: EVERY.as_secs(), samples: shown },
            )
        };
        let traffic = &now.traffic;
        let last_reload = status.last_reload.as_ref().map(|last| SeenReload {
            at: Timestamp::from(last.at).to_string(),
            outcome: last.outcome.as_str().to_owned(),
            problem: match &last.outcome {
                ReloadOutcome::Rejected { problem } => Some(problem.to_string()),
                _ => None,
            },
        });
        Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: Timestamp::from(now.at).to_string(),
            started_at: Timestamp::from(started).to_string(),
            uptime_seconds: now.at.duration_since(started).unwrap_or_default().as_secs(),
            is_ready: status.is_ready(),
            is_draining: status.draining,
            configuration: ConfigurationState {
                generation: status.generation,
                content_digest: status.content_digest.to_string(),
                loaded_at: status.loaded_at.map(|at| Timestamp::from(at).to_string()),
                endpoints: snapshot.router.endpoints().len(),
                last_reload,
            },
            connections: traffic.connections,
            traffic: TrafficCounts {
                requests: traffic.requests.count(),
                admitted: traffic.decided("admitted"),
                refused: traffic.decided("refused"),
                admissions: reasons(traffic, None, "admitted"),
                refusals: reasons(traffic, None, "refused"),
                statuses: traffic
                    .statuses
                    .iter()
                    .map(|(status, count)| StatusCount { status: *status, count: *count })
                    .collect(),
                endpoints: {
                    let mut endpoints = by_count(traffic.endpoints.iter().map(|(name, count)| (name.clone(), *count)));
                    endpoints.truncate(50);
                    endpoints
                },
                latency: Latency::of(&traffic.requests),
                decision_latency: Latency::of(&traffic.decision),
            },
            recent,
            upstreams: snapshot.router.upstreams().iter().map(|upstream| upstream_state(upstream, traffic)).collect(),
            keys: self.key_counts(),
            history,
        }
    }

    fn key_counts(&self) -> KeyCounts {
        let facts = self.0.seen.metrics.keys();
        let find = |list: &[(&'static str, u64)], name: &str| {
            list.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
        };
        KeyCounts {
            active: find(&facts.by_state, "active"),
            disabled: find(&facts.by_state, "disabled"),
            expired: find(&facts.by_state, "expired"),
            not_yet_valid: find(&facts.by_state, "not_yet_valid"),
            expiring_within_1_day: find(&facts.expiring, "1d"),
            expiring_within_7_days: find(&facts.expiring, "7d"),
            expiring_within_30_days: find(&facts.expiring, "30d"),
            next_expiry: facts.next_expiry.map(|at| Timestamp::from_millis(at.saturating_mul(1000)).to_string()),
        }
    }
}

fn recent(before: &Counted, now: &Counted) -> Recent {
    let (then, current) = (&before.traffic, &now.traffic);
    let requests = current.requests.since(&then.requests);
    let seconds = seconds_between(before.at, now.at);
    Recent {
        seconds,
        requests: requests.count(),
        requests_per_second: if seconds > 0.0 { requests.count() as f64 / seconds } else { 0.0 },
        admitted: current.decided("admitted").saturating_sub(then.decided("admitted")),
        refused: current.decided("refused").saturating_sub(then.decided("refused")),
        server_errors: now.server_errors().saturating_sub(before.server_errors()),
        refusals: reasons(current, Some(then), "refused"),
        latency: Latency::of(&requests),
        decision_latency: Latency::of(&current.decision.since(&then.decision)),
    }
}

/// Reasons of an outcome, without those of an earlier time.
fn reasons(traffic: &Traffic, before: Option<&Traffic>, outcome: &str) -> Vec<WordCount> {
    let decided = traffic.decisions.iter().filter(|((decided, _), _)| decided == outcome);
    by_count(decided.map(|(decision, count)| {
        let earlier = before.and_then(|before| before.decisions.get(decision)).copied().unwrap_or(0);
        (decision.1.clone(), count.saturating_sub(earlier))
    }))
}

/// The most frequent first; what never happened is left out.
fn by_count(counts: impl Iterator<Item = (String, u64)>) -> Vec<WordCount> {
    let mut list: Vec<WordCount> =
        counts.filter(|(_, count)| *count > 0).map(|(name, count)| WordCount { name, count }).collect();
    list.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name)));
    list
}

fn upstream_state(upstream: &crate::upstream::Upstream, traffic: &Traffic) -> UpstreamState {
    let name = upstream.name.to_string();
    let latency = traffic.upstreams.get(&name);
    let of_server = |server: &str| (name.clone(), server.to_owned());
    UpstreamState {
        kind: super::endpoints::kind_of(upstream).to_owned(),
        servers: upstream
            .servers()
            .iter()
            .map(|server| ServerState {
                authority: server.authority.to_string(),
                addresses: server.addresses.load().iter().map(ToString::to_string).collect(),
                is_tls: server.tls.is_some(),
                is_checked: upstream.health_check.is_some(),
                unhealthy: traffic.unhealthy.get(&of_server(&server.authority)).copied().unwrap_or(0),
                ejected_by_workers: traffic.ejected.get(&of_server(&server.authority)).copied().unwrap_or(0),
            })
            .collect(),
        requests: latency.map_or(0, Distribution::count),
        latency: latency.map(Latency::of).unwrap_or_default(),
        failures: by_count(
            traffic.failures.iter().filter(|((of, _), _)| *of == name).map(|((_, kind), count)| (kind.clone(), *count)),
        ),
        name,
    }
}

fn seconds_between(earlier: SystemTime, later: SystemTime) -> f64 {
    (later.duration_since(earlier).unwrap_or_default().as_secs_f64() * 1000.0).round() / 1000.0
}

/// Milliseconds, to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
