//! The time of day for each request, read from the system once in a while.
//!
//! A request is stamped twice: by the clock that only runs forward, to measure with, and by that of the wall, to judge keys
//! and to print. Reading a clock is among the dearest things that a request does, so the second is reckoned from the first
//! and read anew after a millisecond, which is as exactly as keys are judged.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long one reading is reckoned on from.
const GOOD_FOR: u64 = 1_000_000;

/// The wall clock of one worker. Times are nanoseconds.
#[derive(Debug)]
pub(super) struct WallClock {
    born: Instant,
    /// Since birth.
    read_at: AtomicU64,
    /// Since 1970, when it was read; zero if it never was.
    read: AtomicU64,
}

impl WallClock {
    pub(super) fn new() -> Self {
        Self { born: Instant::now(), read_at: AtomicU64::new(0), read: AtomicU64::new(0) }
    }

    /// The time of day at a moment that has just been.
    pub(super) fn at(&self, moment: Instant) -> SystemTime {
        let now = nanos(moment.saturating_duration_since(self.born));
        let (read, since) = (self.read.load(Relaxed), now.wrapping_sub(self.read_at.load(Relaxed)));
        if read != 0 && since < GOOD_FOR {
            return UNIX_EPOCH + Duration::from_nanos(read + since);
        }
        let time = SystemTime::now();
        // A clock that stands before 1970 is read each time.
        self.read.store(time.duration_since(UNIX_EPOCH).map_or(0, nanos), Relaxed);
        self.read_at.store(now, Relaxed);
        time
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_clock_of_the_system_to_the_millisecond() {
        let clock = WallClock::new();
        let mut last = UNIX_EPOCH;
        for pause in [0, 0, 1, 0, 3, 0] {
            std::thread::sleep(Duration::from_millis(pause));
            let before = SystemTime::now();
            let at = clock.at(Instant::now());
            let after = SystemTime::now();
            let leeway = Duration::from_millis(1);
            assert!(at + leeway >= before && at <= after + leeway, "{before:?} {at:?} {after:?}");
            assert!(at >= last, "it ran back: {last:?} {at:?}");
            last = at;
        }
    }

    #[test]
    fn a_moment_is_reckoned_from_the_last_reading() {
        let clock = WallClock::new();
        let moment = Instant::now();
        let first = clock.at(moment);
        let step = Duration::from_nanos(GOOD_FOR - 1);
        assert_eq!(clock.at(moment + step), first + step);
        // Beyond that the system is asked, whatever the moment.
        assert!(clock.at(moment + Duration::from_secs(3600)) < first + Duration::from_secs(60));
    }
}
