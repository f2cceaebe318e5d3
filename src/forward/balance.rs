//! Which server is asked next.
//!
//! [`Balance::pick`] goes round the addresses of an upstream's servers. A server that fails several times in a row is left
//! alone for a while ([`Balance::failed`]); then it is asked again, now and then, and one more failure is enough to leave
//! it alone for twice as long. With each answer it is asked more often, until it takes its turn like the others
//! ([`Balance::answered`]): a server that has just come back is not met by all that was waiting for it. If all are left
//! alone, the one whose time ends soonest is asked all the same: a guess is better than a certain 503. The same holds for
//! servers that fail their checks.
//!
//! What is known of an address is kept over reloads. Nothing here asks a server anything by itself; [`super::checks`] does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::metrics::WorkerMetrics;
use crate::upstream::{Ejection, Server, Upstream};

/// What is known of an address that has not failed for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// So many answers make a server whole that has come back. After the first of its turns it lets as many pass, after each
/// answer one less.
const RETURN_STEPS: u32 = 8;

/// The state of one worker.
#[derive(Default)]
pub(super) struct Balance {
    /// Whose turn it is, by upstream.
    turns: Mutex<HashMap<Box<str>, usize>>,
    /// Addresses that have failed since they last answered.
    failing: Mutex<HashMap<SocketAddr, Failing>>,
    /// Their number, so that a request that meets none takes no lock.
    failing_count: AtomicUsize,
}

#[derive(Debug)]
struct Failing {
    failures: u32,
    ejections: u32,
    ejected_until: Option<Instant>,
    /// It has come back, and not whole yet.
    returning: Option<Returning>,
    failed_at: Instant,
}

#[derive(Debug)]
struct Returning {
    answers: u32,
    /// Turns to let pass before the next one it takes.
    skips: u32,
}

/// Whether an address takes its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Takes,
    /// It is another's turn, if there is another.
    LetsPass,
    /// It is left alone until then.
    AloneUntil(Instant),
}

/// A server, and which of its addresses to use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'u> {
    pub server: &'u Server,
    pub address: SocketAddr,
    /// There is another one to ask instead.
    pub has_others: bool,
}

impl Balance {
    /// The server to ask, other than those that were tried. `None` if there is no other. Those that are down come last.
    pub(super) fn pick<'u>(
        &self,
        upstream: &Upstream,
        servers: &'u [Server],
        tried: &[SocketAddr],
        is_down: impl Fn(SocketAddr) -> bool,
        now: Instant,
        metrics: &WorkerMetrics,
    ) -> Option<Candidate<'u>> {
        if let [server] = servers {
            let addresses = server.addresses.load();
            if let [address] = ***addresses {
                return (!tried.contains(&address)).then_some(Candidate { server, address, has_others: false });
            }
        }
        let mut candidates: Vec<Candidate<'u>> = Vec::with_capacity(servers.len());
        for server in servers {
            let addresses = server.addresses.load();
            candidates.extend(addresses.iter().map(|address| Candidate {
                server,
                address: *address,
                has_others: true,
            }));
        }
        let turn = self.next_turn(&upstream.name).checked_rem(candidates.len())?;
        candidates.rotate_left(turn);
        candidates.retain(|candidate| !tried.contains(&candidate.address));
        let mut others = Vec::new();
        if upstream.health_check.is_some() {
            (others, candidates) = candidates.into_iter().partition(|candidate| is_down(candidate.address));
        }
        if self.failing_count.load(Ordering::Relaxed) == 0 {
            return candidates.first().or(others.first()).copied();
        }
        // One that has just come back is better than one that is left alone, and that is better than one that is down.
        let mut fallback: Option<(Instant, Candidate<'u>)> = None;
        for candidate in candidates {
            let from = match self.turn(upstream, candidate, now, metrics) {
                Turn::Takes => return Some(candidate),
                Turn::LetsPass => now,
                Turn::AloneUntil(until) => until,
            };
            if fallback.is_none_or(|(so_far, _)| from < so_far) {
                fallback = Some((from, candidate));
            }
        }
        fallback.map(|(_, candidate)| candidate).or(others.first().copied())
    }

    /// A server gave an answer, whatever it said.
    pub(super) fn answered(&self, upstream: &Upstream, candidate: Candidate<'_>, metrics: &WorkerMetrics) {
        if self.failing_count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut failing = lock(&self.failing);
        let Some(known) = failing.get_mut(&candidate.address) else { return };
        if known.ejected_until.take().is_some() {
            // It was asked for want of another.
            metrics.upstream_ejected(&upstream.name, &candidate.server.authority, false);
            known.come_back(upstream.ejection);
        }
        let is_whole = known.returning.as_mut().is_none_or(|returning| {
            returning.answers += 1;
            returning.answers >= RETURN_STEPS
        });
        if is_whole {
            failing.remove(&candidate.address);
        }
        self.failing_count.store(failing.len(), Ordering::Relaxed);
    }

    /// A server failed in a way that [`Ejection::failures`] counts.
    pub(super) fn failed(&self, upstream: &Upstream, candidate: Candidate<'_>, now: Instant, metrics: &WorkerMetrics) {
        let ejection = upstream.ejection;
        if ejection.failures == 0 || !candidate.has_others {
            return;
        }
        let mut failing = lock(&self.failing);
        let known = failing.entry(candidate.address).or_insert(Failing {
            failures: 0,
            ejections: 0,
            ejected_until: None,
            returning: None,
            failed_at: now,
        });
        known.failures = known.failures.saturating_add(1);
        known.failed_at = now;
        if known.failures >= ejection.failures && known.ejected_until.is_none() {
            known.ejected_until = Some(now + ejection_time(ejection, known.ejections));
            known.returning = None;
            known.ejections = known.ejections.saturating_add(1);
            metrics.upstream_ejected(&upstream.name, &candidate.server.authority, true);
        }
        self.failing_count.store(failing.len(), Ordering::Relaxed);
    }

    /// Forgets addresses that have not failed for long.
    pub(super) fn sweep(&self, now: Instant) {
        let mut failing = lock(&self.failing);
        failing.retain(|_, known| {
            known.ejected_until.is_some_and(|until| until > now)
                || now.saturating_duration_since(known.failed_at) < FORGOTTEN_AFTER
        });
        self.failing_count.store(failing.len(), Ordering::Relaxed);
    }

    fn next_turn(&self, upstream: &str) -> usize {
        let mut turns = lock(&self.turns);
        match turns.get_mut(upstream) {
            Some(turn) => {
                *turn = turn.wrapping_add(1);
                *turn
            }
            None => {
                turns.insert(upstream.into(), 0);
                0
            }
        }
    }

    /// Whether a server whose turn it is takes it. One whose time alone is over comes back.
    fn turn(&self, upstream: &Upstream, candidate: Candidate<'_>, now: Instant, metrics: &WorkerMetrics) -> Turn {
        let mut failing = lock(&self.failing);
        let Some(known) = failing.get_mut(&candidate.address) else { return Turn::Takes };
        if let Some(until) = known.ejected_until {
            if until > now {
                return Turn::AloneUntil(until);
            }
            known.ejected_until = None;
            known.come_back(upstream.ejection);
            metrics.upstream_ejected(&upstream.name, &candidate.server.authority, false);
        }
        match &mut known.returning {
            Some(returning) if returning.skips > 0 => {
                returning.skips -= 1;
                Turn::LetsPass
            }
            Some(returning) => {
                returning.skips = RETURN_STEPS.saturating_sub(returning.answers);
                Turn::Takes
            }
            None => Turn::Takes,
        }
    }
}

impl Failing {
    /// One failure away from being left alone again.
    fn come_back(&mut self, ejection: Ejection) {
        self.failures = ejection.failures.saturating_sub(1);
        self.returning = Some(Returning { answers: 0, skips: 0 });
    }
}

/// How long a server is left alone after so many times before.
fn ejection_time(ejection: Ejection, ejections: u32) -> Duration {
    let factor = 1_u32.checked_shl(ejections).unwrap_or(u32::MAX);
    ejection.duration.saturating_mul(factor).min(ejection.at_most.max(ejection.duration))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arc_swap::ArcSwap;
    use http::HeaderValue;

    use super::*;
    use crate::upstream::{HealthCheck, UpstreamKind};

    fn server(addresses: &[&str]) -> Server {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Server {
            authority: "api.example.com:80".into(),
            host_value: HeaderValue::from_static("api.example.com"),
            tls: None,
            addresses: Arc::new(ArcSwap::from_pointee(addresses)),
        }
    }

    fn upstream(servers: Vec<Server>) -> Upstream {
        let second = Duration::from_secs(1);
        Upstream {
            ejection: Ejection { failures: 2, duration: second, at_most: second * 3 },
            ..Upstream::new("api", UpstreamKind::Http(servers.into()))
        }
    }

    /// Plays one step after another: `?` picks and tells the last octet, `? 1` picks with 1 tried already, `! 1` fails 1,
    /// `. 1` answers 1, `+ 1500` lets so many milliseconds pass.
    fn play(servers: Vec<Server>, steps: &[(&str, Option<u8>)]) {
        let upstream = upstream(servers);
        let UpstreamKind::Http(servers) = &upstream.kind else { panic!("it is HTTP") };
        let (balance, metrics) = (Balance::default(), WorkerMetrics::default());
        let mut now = Instant::now();
        let address = |octet: &str| -> SocketAddr { format!("10.0.0.{octet}:80").parse().unwrap() };
        for (index, (step, expected)) in steps.iter().enumerate() {
            let (verb, word) = step.split_once(' ').unwrap_or((step, ""));
            let candidate = |octet| Candidate { server: &servers[0], address: address(octet), has_others: true };
            match verb {
                "?" => {
                    let tried: Vec<_> = word.split_whitespace().map(address).collect();
                    let picked = balance.pick(&upstream, servers, &tried, |_| false, now, &metrics);
                    let octet = picked.map(|picked| match picked.address.ip() {
                        std::net::IpAddr::V4(ip) => ip.octets()[3],
                        std::net::IpAddr::V6(_) => 0,
                    });
                    assert_eq!(octet, *expected, "step {index}: {step}");
                }
                "!" => balance.failed(&upstream, candidate(word), now, &metrics),
                "." => balance.answered(&upstream, candidate(word), &metrics),
                _ => now += Duration::from_millis(word.parse().unwrap()),
            }
        }
    }

    #[test]
    fn all_addresses_of_all_servers_take_turns() {
        let servers = vec![server(&["10.0.0.1:80", "10.0.0.2:80"]), server(&["10.0.0.3:80"])];
        let turns = [1, 2, 3, 1, 2, 3].map(|octet| ("?", Some(octet)));
        play(servers, &turns);
    }

    #[test]
    fn what_was_tried_is_not_tried_again() {
        let two = || vec![server(&["10.0.0.1:80", "10.0.0.2:80"])];
        play(two(), &[("? 1", Some(2)), ("? 1 2", None)]);
        play(vec![server(&["10.0.0.1:80"])], &[("?", Some(1)), ("? 1", None)]);
        play(vec![server(&[])], &[("?", None)]);
        play(vec![], &[("?", None)]);
    }

    #[test]
    fn a_server_that_fails_is_left_alone_and_taken_back() {
        let two = vec![server(&["10.0.0.1:80", "10.0.0.2:80"])];
        let steps = [
            ("! 1", None),
            ("?", Some(1)),
            ("! 1", None),
            // Two failures in a row: only the other one for a second.
            ("?", Some(2)),
            ("?", Some(2)),
            ("+ 1001", None),
            ("?", Some(2)),
            ("?", Some(1)),
            // One more failure and it is two seconds.
            ("! 1", None),
            ("+ 1001", None),
            ("?", Some(2)),
            ("?", Some(2)),
            ("+ 1000", None),
            ("?", Some(2)),
            ("?", Some(1)),
            // Until it is whole again one failure is enough, an answer or two notwithstanding.
            (". 1", None),
            ("! 1", None),
            ("+ 2999", None),
            ("?", Some(2)),
            ("?", Some(2)),
        ];
        play(two, &steps);
    }

    #[test]
    fn a_server_that_comes_back_is_asked_more_and_more_often() {
        let two = vec![server(&["10.0.0.1:80", "10.0.0.2:80"])];
        let mut steps = vec![("! 1", None), ("! 1", None), ("+ 1001", None)];
        // Its own turns are every second one; of those it takes the first, then one in nine, one in eight and so on.
        steps.extend([("?", Some(1)), (". 1", None)]);
        for skips in (2..=RETURN_STEPS).rev() {
            for _ in 0..skips {
                steps.extend([("?", Some(2)), ("?", Some(2))]);
            }
            steps.extend([("?", Some(2)), ("?", Some(1)), (". 1", None)]);
        }
        // It is whole: it takes its turns, and a single failure changes nothing.
        steps.extend([("?", Some(2)), ("?", Some(1)), ("! 1", None), ("?", Some(2)), ("?", Some(1))]);
        play(two, &steps);
    }

    #[test]
    fn a_server_that_is_down_is_asked_if_all_are() {
        let mut upstream = upstream(vec![server(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])]);
        upstream.health_check = Some(HealthCheck {
            target: "/".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy: 1,
            unhealthy: 1,
        });
        let UpstreamKind::Http(servers) = &upstream.kind else { panic!("it is HTTP") };
        let (balance, metrics) = (Balance::default(), WorkerMetrics::default());
        let address = |octet: u8| SocketAddr::from(([10, 0, 0, octet], 80));
        for (down, tried, expected) in [
            (vec![1, 2], vec![], [3, 3, 3]),
            (vec![1, 2], vec![3], [1, 2, 1]),
            (vec![1, 2, 3], vec![], [1, 2, 3]),
            (vec![], vec![], [1, 2, 3]),
        ] {
            let tried: Vec<_> = tried.into_iter().map(address).collect();
            let picked = expected.map(|_| {
                let is_down = |one| down.iter().any(|octet| address(*octet) == one);
                balance.pick(&upstream, servers, &tried, is_down, Instant::now(), &metrics).map(|it| it.address)
            });
            let mut seen = picked.to_vec();
            seen.sort_unstable();
            let mut expected = expected.map(|octet| Some(address(octet))).to_vec();
            expected.sort_unstable();
            assert_eq!(seen, expected, "down {down:?}, tried {tried:?}");
        }
    }

    #[test]
    fn if_all_are_left_alone_the_one_that_comes_back_first_is_asked() {
        let two = vec![server(&["10.0.0.1:80", "10.0.0.2:80"])];
        let steps = [
            ("! 2", None),
            ("! 2", None),
            ("+ 100", None),
            ("! 1", None),
            ("! 1", None),
            ("?", Some(2)),
            ("?", Some(2)),
            ("? 2", Some(1)),
        ];
        play(two, &steps);
    }

    #[test]
    fn the_time_doubles_up_to_the_longest() {
        let second = Duration::from_secs(1);
        let ejection = Ejection { failures: 1, duration: second, at_most: second * 5 };
        for (times, expected) in [(0, 1), (1, 2), (2, 4), (3, 5), (31, 5), (32, 5), (u32::MAX, 5)] {
            assert_eq!(ejection_time(ejection, times), second * expected, "{times}");
        }
    }
}
