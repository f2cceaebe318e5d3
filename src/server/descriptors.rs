//! File descriptors: as many as this process may have, and some of them not for callers.
//!
//! `app` calls [`claim`] once, before anything is served, and puts the answer into
//! [`ConnectionSettings`](super::ConnectionSettings). A caller whose socket has that number or a higher one is turned
//! away, or somebody idle is: what is above is kept for upstreams, the store, the logs and the admin listener.
//!
//! Without this a crowd of idle callers takes the last descriptor. Then those who were there before get no upstream,
//! and whoever asks whether the process is alive gets no answer, and kills it.
//!
//! The kernel gives the lowest number that is free, so the number of a new socket says how many are open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// One in so many descriptors is not for callers.
const SHARE: u64 = 8;
/// What is kept back at least.
const LEAST: u64 = 8;

/// Raises the limit as far as it may be raised, and gives the first number that is not for callers; nothing if there is
/// no limit.
pub fn claim() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Whoever started us kept the limit low for programs that cannot stand a high one. We can; and if we may not raise
    // it, it stays as it is.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if raised.is_ok() { maximum } else { current }.map(for_callers)
}

fn for_callers(limit: u64) -> u64 {
    limit.saturating_sub((limit / SHARE).max(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_and_at_least_eight_are_kept_back() {
        let rows = [(0, 0), (8, 0), (64, 56), (256, 224), (1024, 896), (1 << 20, 917_504)];
        for (limit, expected) in rows {
            assert_eq!(for_callers(limit), expected, "{limit}");
        }
    }

    #[test]
    fn what_is_claimed_is_below_the_limit() {
        let claimed = claim();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(claimed, limit.current.map(for_callers));
        assert_eq!(limit.current, limit.maximum, "raised as far as it goes");
    }
}
