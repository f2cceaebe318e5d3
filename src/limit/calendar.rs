//! Days and months as people count them, in a time zone.
//!
//! A [`Calendar`] gives each day or month a number, and says when the present one ends. Which one it is, is worked out once for
//! each period and kept; a request reads it.
//!
//! It follows the clock on the wall forward and not back: a clock that is set back, by a person or a time server, must not
//! bring a spent day again, and nobody may wait for the end of one longer than it is. The time is that of the furthest reading,
//! carried on by the clock that never goes back. After a restart the clock on the wall is believed again.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::measure::Moment;

/// What a quota is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A day, from midnight to midnight.
    Day,
    /// A month, from its first day to its last.
    Month,
}

impl Unit {
    /// The word in a configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// The days or months of one time zone.
pub struct Calendar {
    unit: Unit,
    zone: TimeZone,
    name: Box<str>,
    present: ArcSwap<Period>,
    /// How far the wall is ahead of the clock that never goes back, at the furthest, in milliseconds.
    ahead: AtomicI64,
}

/// One day or month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    /// Rises by one with each; what a quota was counted for.
    pub number: u64,
    /// When it ends, in milliseconds since 1970.
    pub ends_millis: i64,
    begins_millis: i64,
    /// What time it is taken to be.
    pub now_millis: i64,
}

/// There is no such time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such time zone; write a name of the IANA data base, such as `Europe/Berlin`, or `UTC`")]
pub struct UnknownZone;

impl Calendar {
    /// Days or months in a time zone, by its name in the IANA data base.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn new(unit: Unit, zone: &str) -> Result<Self, UnknownZone> {
        let found = if zone == "UTC" { Ok(TimeZone::UTC) } else { TimeZone::get(zone) };
        let nothing = Period { number: 0, ends_millis: i64::MIN, begins_millis: i64::MIN, now_millis: i64::MIN };
        Ok(Self {
            unit,
            zone: found.map_err(|_| UnknownZone)?,
            name: zone.into(),
            present: ArcSwap::from_pointee(nothing),
            ahead: AtomicI64::new(i64::MIN),
        })
    }

    /// Days or months.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The name of the time zone.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.name
    }

    /// How long one usually is: what clients are told of as its window.
    pub(super) fn usual_length(&self) -> Duration {
        Duration::from_secs(86_400 * if self.unit == Unit::Day { 1 } else { 30 })
    }

    /// The period in which a moment is.
    pub(super) fn period_at(&self, now: Moment) -> Period {
        let run = i64::try_from(now.nanos / 1_000_000).unwrap_or(i64::MAX);
        let seen = now.wall_millis.saturating_sub(run);
        let mut ahead = self.ahead.load(Ordering::Relaxed);
        if seen > ahead {
            ahead = self.ahead.fetch_max(seen, Ordering::Relaxed).max(seen);
        }
        let now_millis = run.saturating_add(ahead);
        let present = **self.present.load();
        if (present.begins_millis..present.ends_millis).contains(&now_millis) {
            return Period { now_millis, ..present };
        }
        let period = self.period_of(now_millis);
        self.present.store(period.into());
        Period { now_millis, ..period }
    }

    fn period_of(&self, millis: i64) -> Period {
        let timestamp = Timestamp::from_millisecond(millis).unwrap_or_default();
        let today = timestamp.to_zoned(self.zone.clone()).date();
        let (first, next, number) = match self.unit {
            Unit::Day => (today, today.saturating_add(1.day()), days_since_1970(today)),
            Unit::Month => {
                let first = today.first_of_month();
                (first, first.saturating_add(1.month()), i64::from(first.year()) * 12 + i64::from(first.month()))
            }
        };
        // A day may begin after midnight, where clocks are set forward then.
        let start =
            |date: Date| date.to_zoned(self.zone.clone()).map_or(i64::MAX, |zoned| zoned.timestamp().as_millisecond());
        Period {
            number: u64::try_from(number).unwrap_or(0),
            begins_millis: start(first).min(millis),
            ends_millis: start(next).max(millis.saturating_add(1)),
            now_millis: millis,
        }
    }
}

fn days_since_1970(date: Date) -> i64 {
    date.since(Date::constant(1970, 1, 1)).map_or(0, |span| i64::from(span.get_days()))
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        (self.unit, &self.name) == (other.unit, &other.name)
    }
}

impl Eq for Calendar {}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.unit.as_str(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, nanos: u64) -> Moment {
        let wall_millis = text.parse::<Timestamp>().expect("a moment").as_millisecond();
        Moment { nanos, wall_millis }
    }

    /// When the period of a moment ends, in UTC.
    fn end_of(unit: Unit, zone: &str, moment: &str) -> String {
        let period = Calendar::new(unit, zone).expect("a zone").period_at(at(moment, 0));
        Timestamp::from_millisecond(period.ends_millis).expect("a moment").to_string()
    }

    #[test]
    fn days_and_months_end_where_people_in_the_zone_say() {
        for (unit, zone, moment, expected) in [
            (Unit::Day, "UTC", "2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z"),
            (Unit::Day, "UTC", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
            (Unit::Day, "Europe/Berlin", "2026-06-01T21:59:59Z", "2026-06-01T22:00:00Z"),
            (Unit::Day, "Europe/Berlin", "2026-06-01T22:00:00Z", "2026-06-02T22:00:00Z"),
            // 23 hours, and 25.
            (Unit::Day, "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Unit::Day, "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            (Unit::Day, "Asia/Kolkata", "2026-06-01T18:30:00Z", "2026-06-02T18:30:00Z"),
            (Unit::Month, "UTC", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            (Unit::Month, "America/New_York", "2026-03-01T04:59:59Z", "2026-03-01T05:00:00Z"),
            (Unit::Month, "America/New_York", "2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z"),
        ] {
            assert_eq!(end_of(unit, zone, moment), expected, "{unit:?} {zone} {moment}");
        }
        assert_eq!(Calendar::new(Unit::Day, "Europe/Nowhere"), Err(UnknownZone));
    }

    #[test]
    fn a_clock_that_is_set_back_brings_no_day_again_and_makes_none_longer() {
        let calendar = Calendar::new(Unit::Day, "UTC").expect("a zone");
        let hour = 3_600_000_000_000;
        let before = calendar.period_at(at("2026-06-01T23:30:00Z", 0));
        let after = calendar.period_at(at("2026-06-02T00:30:00Z", hour));
        assert_eq!(after.number, before.number + 1);
        // Set back by three hours: it stays the next day, and that ends when it would have ended.
        let back = calendar.period_at(at("2026-06-01T22:30:00Z", 2 * hour));
        assert_eq!(back.number, after.number);
        assert_eq!(back.ends_millis - back.now_millis, 22 * 3_600_000 + 1_800_000);
        let end = calendar.period_at(at("2026-06-02T20:30:00Z", 24 * hour + hour / 2));
        assert_eq!(end.number, after.number + 1, "a day after it began, whatever the clock says");
    }

    #[test]
    fn a_clock_that_is_set_forward_is_followed() {
        let calendar = Calendar::new(Unit::Day, "UTC").expect("a zone");
        let before = calendar.period_at(at("2026-06-01T10:00:00Z", 0));
        assert_eq!(calendar.period_at(at("2026-06-03T10:00:00Z", 1)).number, before.number + 2);
    }
}
