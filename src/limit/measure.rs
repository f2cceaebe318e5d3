//! What a limit measures, and the arithmetic of it: from one number to the next.
//!
//! All that is known of one subject of a limit is one `u64`, and each [`Measure`] says what it means: a window and what was
//! used of it, the moment at which a debt is paid, a day and what was used of it, requests under way. [`Measure::take`] gives
//! the number that follows when a request is admitted, or says when to come back; the caller swaps it in, and asks again if
//! somebody else was quicker. So a request is counted once, however many workers there are.
//!
//! Exact means: of `most` requests none is refused and the next one is. Nothing here is estimated, rounded in favour of the
//! caller, or shared out among workers.
//!
//! Times are those of a [`Moment`]. Windows and rates read the clock that only runs forward; even so a number from the future,
//! as a limit that was made shorter leaves it, is cut to what the limit could have made of it now: nobody waits longer than
//! one window.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::calendar::Calendar;

/// When something happens, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since the process began to count. Never goes back.
    pub nanos: u64,
    /// Milliseconds since 1970, for calendars and for people.
    pub wall_millis: i64,
}

/// What is counted, and up to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// So many in a window, which begins with the first of them.
    Window {
        /// At most 2^24 - 1.
        most: u32,
        /// From a second to a day.
        length: Duration,
    },
    /// One after each interval, and so many of them at once after a pause (the generic cell rate algorithm).
    Rate {
        /// How many at once.
        burst: u32,
        /// What is given back in `per`.
        requests: u32,
        /// In which time.
        per: Duration,
    },
    /// So many in a day or a month of the calendar.
    Calendar {
        /// At most 2^40 - 1.
        most: u64,
        /// Which days or months.
        calendar: Arc<Calendar>,
    },
    /// So many at once.
    Concurrent {
        /// At most 2^24 - 1.
        most: u32,
    },
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What is left afterwards.
    pub remaining: u64,
    /// When all of it is there again, if nothing more is taken.
    pub resets_in: Duration,
    /// When as much as was asked for will be there; zero if it is there now.
    pub wait: Duration,
}

impl Reading {
    /// Of a limit that was not asked yet.
    pub(super) const NOTHING: Self = Self { remaining: 0, resets_in: Duration::ZERO, wait: Duration::ZERO };

    /// Whether there is enough for what was asked.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.wait.is_zero()
    }
}

/// What a subject has of whom nothing is known.
pub(super) const BLANK: u64 = 0;

const WINDOW_BITS: u32 = 24;
const DAY_BITS: u32 = 40;
/// The largest `most` of a window and of requests at once.
pub const MAX_IN_WINDOW: u32 = (1 << WINDOW_BITS) - 1;
/// The largest `most` of a day or a month.
pub const MAX_IN_CALENDAR: u64 = (1 << DAY_BITS) - 1;
/// The longest time in which a burst may come back.
pub const MAX_REFILL: Duration = Duration::from_secs(31 * 86_400);

impl Measure {
    /// The time that `RateLimit-Policy` tells of, in seconds; none for requests at once.
    #[must_use]
    pub fn window(&self) -> Option<Duration> {
        match self {
            Self::Window { length, .. } => Some(*length),
            Self::Rate { burst, .. } => Some(Duration::from_nanos(self.interval().saturating_mul(u64::from(*burst)))),
            Self::Calendar { calendar, .. } => Some(calendar.usual_length()),
            Self::Concurrent { .. } => None,
        }
    }

    /// How many there may be.
    #[must_use]
    pub fn most(&self) -> u64 {
        match self {
            Self::Window { most, .. } | Self::Concurrent { most } => u64::from(*most),
            Self::Rate { burst, .. } => u64::from(*burst),
            Self::Calendar { most, .. } => *most,
        }
    }

    /// A number that means the same under both: counts may go on under the other.
    #[must_use]
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Calendar { calendar: one, .. }, Self::Calendar { calendar: other, .. }) => {
                one.unit() == other.unit()
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// Nanoseconds between two requests of a rate, rounded up: the rate is never exceeded.
    fn interval(&self) -> u64 {
        match self {
            Self::Rate { requests, per, .. } => nanos(*per).div_ceil(u64::from((*requests).max(1))).max(1),
            _ => 0,
        }
    }

    /// Takes `cost` out of what a number stands for: the number that follows, if it is another, and how things stand. Where
    /// there is not enough, a number from the future is brought into the present all the same: its time runs from now on.
    #[must_use]
    pub(super) fn take(&self, state: u64, cost: u32, now: Moment) -> (Option<u64>, Reading) {
        match self {
            Self::Window { most, length } => {
                let (ends, used) = window(state, *length, now);
                let after = used.saturating_add(u64::from(cost));
                let left = Duration::from_millis(ends - millis(now));
                if after > u64::from(*most) {
                    let cut = ends << WINDOW_BITS | used;
                    return ((state > cut).then_some(cut), reading(u64::from(*most).saturating_sub(used), left, left));
                }
                (Some(ends << WINDOW_BITS | after), reading(u64::from(*most) - after, left, Duration::ZERO))
            }
            Self::Rate { burst, .. } => {
                let interval = self.interval();
                let tolerance = interval.saturating_mul(u64::from(*burst));
                let paid = paid_at(state, tolerance, now);
                let after = paid.saturating_add(interval.saturating_mul(u64::from(cost)));
                let (owed, free) = (after - now.nanos, tolerance);
                if owed > free {
                    let remaining = (free - (paid - now.nanos)) / interval;
                    let (resets, wait) = (paid - now.nanos, owed - free);
                    let cut = (state > paid).then_some(paid);
                    return (cut, reading(remaining, Duration::from_nanos(resets), Duration::from_nanos(wait)));
                }
                (Some(after), reading((free - owed) / interval, Duration::from_nanos(owed), Duration::ZERO))
            }
            Self::Calendar { most, calendar } => {
                let period = calendar.period_at(now);
                let (number, used) = in_period(state, period.number);
                let after = used.saturating_add(u64::from(cost));
                let left =
                    Duration::from_millis(period.ends_millis.saturating_sub(period.now_millis).max(1).unsigned_abs());
                if after > *most {
                    let cut = number << DAY_BITS | used;
                    return ((state > cut).then_some(cut), reading(most.saturating_sub(used), left, left));
                }
                (Some(number << DAY_BITS | after), reading(most - after, left, Duration::ZERO))
            }
            Self::Concurrent { most } => {
                let (version, used) = (state >> WINDOW_BITS, state & u64::from(MAX_IN_WINDOW));
                if used >= u64::from(*most) {
                    return (None, reading(0, Duration::ZERO, Duration::from_secs(1)));
                }
                // No number comes twice: see `cells`.
                let next = (version + 1) << WINDOW_BITS | (used + 1);
                (Some(next), reading(u64::from(*most) - used - 1, Duration::ZERO, Duration::ZERO))
            }
        }
    }

    /// Gives back what was taken when the number became `taken`; `None` if there is nothing any more that it could be given
    /// back to.
    #[must_use]
    pub(super) fn give_back(&self, state: u64, cost: u32, taken: u64) -> Option<u64> {
        let cost = u64::from(cost);
        match self {
            // A window or a day that began later owes nothing to it.
            Self::Window { .. } => {
                let is_its_own =
                    state >> WINDOW_BITS == taken >> WINDOW_BITS && state & u64::from(MAX_IN_WINDOW) >= cost;
                is_its_own.then(|| state - cost)
            }
            Self::Calendar { .. } => {
                let is_its_own = state >> DAY_BITS == taken >> DAY_BITS && state & MAX_IN_CALENDAR >= cost;
                is_its_own.then(|| state - cost)
            }
            Self::Rate { .. } => {
                (state >= taken).then(|| state.saturating_sub(self.interval().saturating_mul(cost)).max(1))
            }
            Self::Concurrent { .. } => (state & u64::from(MAX_IN_WINDOW) > 0).then(|| state - 1),
        }
    }

    /// How things stand, if nothing is taken.
    #[must_use]
    pub(super) fn read(&self, state: u64, now: Moment) -> Reading {
        match self {
            Self::Concurrent { most } => {
                let used = state & u64::from(MAX_IN_WINDOW);
                reading(u64::from(*most).saturating_sub(used), Duration::ZERO, Duration::ZERO)
            }
            // What was never begun is whole, and resets at once.
            Self::Window { length, .. } if window(state, *length, now).1 == 0 => {
                reading(self.most(), Duration::ZERO, Duration::ZERO)
            }
            _ => Reading { wait: Duration::ZERO, ..self.take(state, 0, now).1 },
        }
    }

    /// A number that was kept over a restart, as it counts now; `None` if it says nothing any more. Only days and months are
    /// kept. One of a day to come was counted by a clock that has been set back since: it counts for this one.
    #[must_use]
    pub(super) fn restored(&self, state: u64, now: Moment) -> Option<u64> {
        let Self::Calendar { calendar, .. } = self else { return None };
        let (counted, number) = (state >> DAY_BITS, calendar.period_at(now).number);
        (counted >= number).then_some(number << DAY_BITS | (state & MAX_IN_CALENDAR))
    }

    /// Charges for a request that was refused: what is there is taken, and a window begins anew, so that whoever goes on
    /// asking stays refused.
    #[must_use]
    pub(super) fn charge(&self, state: u64, cost: u32, now: Moment) -> Option<u64> {
        let (next, reading) = self.take(state, cost, now);
        if reading.passes() {
            return next.filter(|_| !matches!(self, Self::Concurrent { .. }));
        }
        match self {
            Self::Window { most, length } => {
                Some((millis(now) + length_millis(*length)) << WINDOW_BITS | u64::from(*most))
            }
            Self::Rate { burst, .. } => Some(now.nanos + self.interval().saturating_mul(u64::from(*burst))),
            Self::Calendar { most, calendar } => Some(calendar.period_at(now).number << DAY_BITS | *most),
            Self::Concurrent { .. } => None,
        }
    }

    /// How much a number is worth keeping: nothing if it says no more than [`BLANK`], `None` if it must stay.
    #[must_use]
    pub(super) fn weight(&self, state: u64, now: Moment) -> Option<u64> {
        Some(match self {
            Self::Window { length, .. } => {
                let (ends, used) = window(state, *length, now);
                if used == 0 { 0 } else { used << DAY_BITS | (ends & MAX_IN_CALENDAR) }
            }
            Self::Rate { .. } => state.saturating_sub(now.nanos),
            Self::Calendar { calendar, .. } => in_period(state, calendar.period_at(now).number).1,
            Self::Concurrent { .. } if state & u64::from(MAX_IN_WINDOW) == 0 => 0,
            Self::Concurrent { .. } => return None,
        })
    }
}

/// When the window of a number ends, and what was used of it. A new one if it is over.
fn window(state: u64, length: Duration, now: Moment) -> (u64, u64) {
    let (ends, used) = (state >> WINDOW_BITS, state & u64::from(MAX_IN_WINDOW));
    let latest = millis(now) + length_millis(length);
    if ends > millis(now) { (ends.min(latest), used) } else { (latest, 0) }
}

/// When the debt of a number is paid: now, if it is paid already, and never later than a whole burst from now.
fn paid_at(state: u64, tolerance: u64, now: Moment) -> u64 {
    state.clamp(now.nanos, now.nanos.saturating_add(tolerance))
}

/// The present period, and what was used of it. One to come is taken for this one: it was counted before a clock was set back,
/// and to begin anew would grant all of it twice.
fn in_period(state: u64, number: u64) -> (u64, u64) {
    let (counted, used) = (state >> DAY_BITS, state & MAX_IN_CALENDAR);
    (number, if counted >= number { used } else { 0 })
}

fn millis(now: Moment) -> u64 {
    now.nanos / 1_000_000
}

fn length_millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX >> WINDOW_BITS >> 1)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn reading(remaining: u64, resets_in: Duration, wait: Duration) -> Reading {
    Reading { remaining, resets_in, wait }
}

impl fmt::Display for Measure {
    /// For people: `60 in 1m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window { most, length } => write!(f, "{most} in {}", span(*length)),
            Self::Rate { burst, requests, per } => {
                write!(f, "{requests} in {}, {burst} at once after a pause", span(*per))
            }
            Self::Calendar { most, calendar } => {
                write!(f, "{most} in a {} ({})", calendar.unit().as_str(), calendar.zone())
            }
            Self::Concurrent { most } => write!(f, "{most} at once"),
        }
    }
}

/// A duration as a person writes it.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        _ if duration.subsec_millis() > 0 => format!("{}ms", duration.as_millis()),
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests;
