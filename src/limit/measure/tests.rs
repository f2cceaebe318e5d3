use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::limit::Unit;

const SECOND: u64 = 1_000_000_000;

/// So many nanoseconds after the beginning, on 1 June 2026.
fn at(nanos: u64) -> Moment {
    let millis = i64::try_from(nanos / 1_000_000).expect("not that late");
    Moment { nanos: nanos + SECOND, wall_millis: 1_780_272_000_000 + millis }
}

fn window(most: u32, seconds: u64) -> Measure {
    Measure::Window { most, length: Duration::from_secs(seconds) }
}

fn rate(requests: u32, seconds: u64, burst: u32) -> Measure {
    Measure::Rate { burst, requests, per: Duration::from_secs(seconds) }
}

fn daily(most: u64) -> Measure {
    Measure::Calendar { most, calendar: Arc::new(Calendar::new(Unit::Day, "UTC").expect("a zone")) }
}

/// A subject by itself.
struct Alone(Measure, u64);

impl Alone {
    fn new(measure: Measure) -> Self {
        Self(measure, BLANK)
    }

    fn take(&mut self, cost: u32, now: Moment) -> Reading {
        let (next, reading) = self.0.take(self.1, cost, now);
        assert!(next.is_some() || !reading.passes());
        self.1 = next.unwrap_or(self.1);
        reading
    }

    /// How many pass of so many at one moment.
    fn pass(&mut self, of: u32, now: Moment) -> u32 {
        (0..of).map(|_| u32::from(self.take(1, now).passes())).sum()
    }
}

#[test]
fn the_last_of_a_window_passes_and_the_next_does_not() {
    for most in [1, 2, 100, MAX_IN_WINDOW.min(70_000)] {
        for measure in [window(most, 60), rate(most, 60, most), daily(u64::from(most))] {
            let mut subject = Alone::new(measure);
            for number in (0..most).rev() {
                let reading = subject.take(1, at(0));
                assert_eq!((reading.passes(), reading.remaining), (true, u64::from(number)));
            }
            let reading = subject.take(1, at(0));
            assert!(!reading.passes() && reading.remaining == 0, "{reading:?}");
            assert!(reading.wait > Duration::ZERO);
        }
    }
}

#[test]
fn a_window_begins_with_its_first_request_and_lets_all_through_again_when_it_is_over() {
    let mut subject = Alone::new(window(3, 60));
    assert_eq!(subject.pass(2, at(100 * SECOND)), 2);
    assert_eq!(subject.pass(5, at(159 * SECOND)), 1, "however late they come");
    assert_eq!(subject.take(1, at(159 * SECOND)).wait, Duration::from_secs(1));
    assert_eq!(subject.pass(5, at(160 * SECOND)), 3);
    assert_eq!(subject.take(1, at(161 * SECOND)).wait, Duration::from_secs(59));
}

#[test]
fn a_rate_gives_back_one_after_another() {
    let mut subject = Alone::new(rate(10, 1, 5));
    assert_eq!(subject.pass(9, at(0)), 5);
    assert_eq!(subject.take(1, at(0)).wait, Duration::from_millis(100));
    assert_eq!(subject.pass(9, at(SECOND / 10 - 1)), 0);
    assert_eq!(subject.pass(9, at(SECOND / 10)), 1);
    assert_eq!(subject.pass(9, at(SECOND)), 5, "never more than a burst at once");
    // Ten in each second that follows.
    let passed: u32 = (0..1_000).map(|step| subject.pass(3, at(SECOND + step * SECOND / 100))).sum();
    assert_eq!(passed, 99);
}

#[test]
fn a_cost_is_taken_whole_or_not_at_all() {
    for measure in [window(10, 60), rate(10, 60, 10), daily(10)] {
        let mut subject = Alone::new(measure);
        assert_eq!(subject.take(7, at(0)).remaining, 3);
        let reading = subject.take(4, at(0));
        assert_eq!((reading.passes(), reading.remaining), (false, 3), "{:?}", subject.0);
        assert_eq!(subject.take(3, at(0)).remaining, 0);
    }
    assert!(!Alone::new(window(3, 60)).take(4, at(0)).passes(), "more than there ever is");
}

#[test]
fn a_day_is_over_at_midnight() {
    let mut subject = Alone::new(daily(2));
    let midnight = 86_400 * SECOND;
    assert_eq!(subject.pass(3, at(midnight - SECOND)), 2);
    assert_eq!(subject.take(1, at(midnight - SECOND / 2)).wait, Duration::from_millis(500));
    assert_eq!(subject.pass(3, at(midnight)), 2);
}

#[test]
fn a_clock_that_goes_back_grants_nothing_and_keeps_nobody_waiting_for_longer_than_a_window() {
    for (measure, longest) in [(window(5, 60), 60), (rate(5, 60, 5), 12), (daily(5), 86_400)] {
        let mut subject = Alone::new(measure);
        assert_eq!(subject.pass(9, at(1_000 * SECOND)), 5);
        let back = subject.take(1, at(0));
        assert!(!back.passes(), "{:?}", subject.0);
        assert!(back.wait <= Duration::from_secs(longest), "{:?} {back:?}", subject.0);
        // A window after the clock went back there is room again.
        let later = at(longest * SECOND);
        assert!(subject.take(1, later).passes(), "{:?}", subject.0);
    }
}

#[test]
fn a_limit_that_was_changed_goes_on_with_what_was_counted() {
    let mut subject = Alone::new(window(100, 3_600));
    assert_eq!(subject.pass(60, at(0)), 60);
    subject.0 = window(50, 3_600);
    assert_eq!(subject.pass(1, at(SECOND)), 0, "already more than there may be");
    subject.0 = window(70, 3_600);
    assert_eq!(subject.pass(100, at(SECOND)), 10);
    subject.0 = window(70, 10);
    assert_eq!(subject.take(1, at(SECOND)).wait, Duration::from_secs(10), "nobody waits for the old window");
    assert_eq!(subject.pass(1, at(11 * SECOND)), 1, "and it is over when it is said to be");
    assert!(!window(1, 1).is_like(&rate(1, 1, 1)) && !daily(1).is_like(&window(1, 1)));
    assert!(window(1, 1).is_like(&window(2, 2)) && daily(1).is_like(&daily(9)));
}

#[test]
fn what_is_given_back_is_there_again_and_not_twice() {
    for measure in [window(3, 60), rate(3, 60, 3), daily(3)] {
        let mut subject = Alone::new(measure);
        assert_eq!(subject.pass(3, at(0)), 3);
        let taken = subject.1;
        subject.1 = subject.0.give_back(subject.1, 1, taken).expect("it is there");
        assert_eq!(subject.pass(3, at(0)), 1, "{:?}", subject.0);
    }
    // A window that began meanwhile owes nothing.
    let mut subject = Alone::new(window(3, 60));
    subject.pass(1, at(0));
    let taken = subject.1;
    subject.pass(2, at(60 * SECOND));
    assert_eq!(subject.0.give_back(subject.1, 1, taken), None);
}

#[test]
fn a_refused_request_that_counts_keeps_its_caller_out() {
    for measure in [window(2, 60), rate(2, 60, 2)] {
        let mut subject = Alone::new(measure);
        assert_eq!(subject.pass(2, at(0)), 2);
        for second in 1..200 {
            let now = at(second * SECOND);
            assert!(!subject.take(1, now).passes(), "{:?} {second}", subject.0);
            subject.1 = subject.0.charge(subject.1, 1, now).expect("charged");
        }
        assert!(subject.take(1, at(260 * SECOND)).passes(), "a window after the last");
    }
}

#[test]
fn places_are_as_many_as_there_are_and_no_number_comes_twice() {
    let mut subject = Alone::new(Measure::Concurrent { most: 2 });
    let mut numbers = std::collections::HashSet::new();
    for _ in 0..100 {
        assert_eq!(subject.pass(3, at(0)), 2);
        assert!(numbers.insert(subject.1));
        assert_eq!(subject.0.weight(subject.1, at(0)), None, "it must stay");
        for _ in 0..2 {
            subject.1 = subject.0.give_back(subject.1, 1, 0).expect("under way");
        }
        assert_eq!(subject.0.give_back(subject.1, 1, 0), None);
        assert_eq!(subject.0.weight(subject.1, at(0)), Some(0));
    }
}

#[test]
fn what_was_kept_over_a_restart_counts_for_its_own_day_alone() {
    let measure = daily(10);
    let mut subject = Alone::new(measure.clone());
    subject.pass(4, at(0));
    assert_eq!(measure.restored(subject.1, at(0)), Some(subject.1));
    assert_eq!(measure.restored(subject.1, at(86_400 * SECOND)), None, "yesterday's");
    // Of a day to come: the clock was set back while nothing ran.
    let ahead = subject.1 + (30 << DAY_BITS);
    assert_eq!(daily(10).restored(ahead, at(0)), Some(subject.1));
    assert_eq!(window(10, 60).restored(subject.1, at(0)), None);
}

#[test]
fn limits_are_told_of_as_people_write_them() {
    for (measure, expected) in [
        (window(60, 60), "60 in 1m"),
        (window(5, 86_400), "5 in 1d"),
        (Measure::Window { most: 1, length: Duration::from_millis(1_500) }, "1 in 1500ms"),
        (rate(10, 1, 50), "10 in 1s, 50 at once after a pause"),
        (daily(1_000), "1000 in a day (UTC)"),
        (Measure::Concurrent { most: 3 }, "3 at once"),
    ] {
        assert_eq!(measure.to_string(), expected);
    }
}

/// The same as [`Measure`], written for being obvious: every request that was admitted is remembered.
struct Model {
    admitted: Vec<(u64, u32)>,
    window_began: Option<u64>,
}

impl Model {
    fn window(&mut self, most: u32, length: u64, now: u64, cost: u32) -> bool {
        if self.window_began.is_none_or(|began| now >= began + length) {
            self.window_began = None;
            self.admitted.clear();
        }
        let used: u32 = self.admitted.iter().map(|(_, cost)| cost).sum();
        let passes = used + cost <= most;
        if passes {
            self.window_began.get_or_insert(now);
            self.admitted.push((now, cost));
        }
        passes
    }

    /// A bucket that drips: full with `burst`, one drop each `interval`.
    fn rate(&mut self, burst: u32, interval: u64, now: u64, cost: u32) -> bool {
        let mut level = 0_u64;
        let mut since = 0;
        for (at, cost) in &self.admitted {
            level = level.saturating_sub(at - since) + u64::from(*cost) * interval;
            since = *at;
        }
        level = level.saturating_sub(now - since) + u64::from(cost) * interval;
        let passes = level <= u64::from(burst) * interval;
        if passes {
            self.admitted.push((now, cost));
        }
        passes
    }
}

proptest! {
    #[test]
    fn windows_and_rates_are_what_the_model_says(
        most in 1_u32..20,
        length in 1_u64..20,
        burst in 1_u32..20,
        requests in prop::collection::vec((0_u64..4_000, 1_u32..4), 1..200),
    ) {
        let mut by_window = (Alone::new(window(most, length)), Model { admitted: Vec::new(), window_began: None });
        let mut by_rate = (Alone::new(rate(most, length, burst)), Model { admitted: Vec::new(), window_began: None });
        let interval = (length * SECOND).div_ceil(u64::from(most));
        let mut millis = 0;
        for (pause, cost) in requests {
            millis += pause;
            let now = at(millis * 1_000_000);
            let reading = by_window.0.take(cost, now);
            prop_assert_eq!(reading.passes(), by_window.1.window(most, length * 1_000, millis, cost));
            prop_assert!(reading.wait <= Duration::from_secs(length));
            let reading = by_rate.0.take(cost, now);
            prop_assert_eq!(reading.passes(), by_rate.1.rate(burst, interval, millis * 1_000_000, cost));
            // Whoever waits as long as is said passes then, unless it asks for more than there ever is.
            if !reading.passes() && cost <= burst {
                let later = at(millis * 1_000_000 + u64::try_from(reading.wait.as_nanos()).expect("short"));
                let (_, later) = by_rate.0.0.take(by_rate.0.1, cost, later);
                prop_assert!(later.passes());
            }
        }
    }
}
