use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64) -> Moment {
    Moment { nanos: nanos + SECOND, wall_millis: 1_780_272_000_000 }
}

fn window(most: u32) -> Measure {
    Measure::Window { most, length: Duration::from_secs(60) }
}

/// Asks from eight threads, and gives how many were told yes.
fn race(counter: &Arc<Counter>, measure: &Measure, each: u64, tag: impl Fn(u64) -> u64 + Copy + Send + 'static) -> u64 {
    let admitted = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (counter, measure, admitted) = (Arc::clone(counter), measure.clone(), Arc::clone(&admitted));
            thread::spawn(move || {
                for number in 0..each {
                    if counter.take(&measure, tag(number), 1, at(number)).taken.is_some() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    admitted.load(Ordering::Relaxed)
}

#[test]
fn a_request_is_counted_once_however_many_ask_at_once() {
    for measure in [window(1_000), Measure::Rate { burst: 1_000, requests: 1, per: Duration::from_secs(60) }] {
        let counter = Arc::new(Counter::new(measure.clone()));
        assert_eq!(race(&counter, &measure, 2_000, |_| 7), 1_000, "one subject");
        let counter = Arc::new(Counter::new(measure.clone()));
        assert_eq!(race(&counter, &measure, 5_000, |number| number % 50 + 1), 40_000, "fifty, none at its limit");
    }
    let measure = window(3);
    let counter = Arc::new(Counter::new(measure.clone()));
    assert_eq!(
        race(&counter, &measure, 20_000, |number| (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        60_000,
        "twenty thousand"
    );
    assert_eq!(counter.evicted(), 0);
}

#[test]
fn very_many_subjects_push_out_those_that_have_used_least_and_take_no_more_memory() {
    let measure = window(1_000);
    let counter = Counter::new(measure.clone());
    let heavy: Vec<u64> = (1..=100_u64).map(|number| number.wrapping_mul(0xd6e8_feb8_6659_fd93)).collect();
    for tag in &heavy {
        (0..1_000).for_each(|_| assert!(counter.take(&measure, *tag, 1, at(0)).taken.is_some()));
    }
    for number in 1..=2_000_000_u64 {
        assert!(counter.take(&measure, number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1, at(1)).taken.is_some());
    }
    assert!(counter.evicted() > 0);
    let still_known = heavy.iter().filter(|tag| counter.take(&measure, **tag, 1, at(2)).taken.is_none()).count();
    assert_eq!(still_known, 100, "whoever has used all of it is the last to go");
    let cells: usize = LINES.iter().map(|lines| lines * 8).sum();
    assert!(counter.all(&measure, at(2)).count() <= cells);
}

#[test]
fn cells_that_say_nothing_any_more_are_used_again() {
    let measure = window(5);
    let counter = Counter::new(measure.clone());
    for round in 0..20_u64 {
        for number in 1..=100_000_u64 {
            let tag = (round * 100_000 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert!(counter.take(&measure, tag, 1, at(round * 61 * SECOND)).taken.is_some());
        }
    }
    assert_eq!(counter.evicted(), 0, "two million, a hundred thousand at a time");
}

#[test]
fn places_are_kept_however_many_come_and_go() {
    let measure = Measure::Concurrent { most: 2 };
    let counter = Counter::new(measure.clone());
    assert!((0..2).all(|_| counter.take(&measure, 7, 1, at(0)).taken.is_some()));
    for number in 100..50_000 {
        assert!(counter.take(&measure, number, 1, at(0)).taken.is_some());
        counter.leave(number);
    }
    assert!(counter.take(&measure, 7, 1, at(0)).taken.is_none());
    counter.leave(7);
    assert!(counter.take(&measure, 7, 1, at(0)).taken.is_some());
    assert_eq!(counter.all(&measure, at(0)).count(), 1);
}
