//! What a limit costs an admitted request: to make the tag, to find the count, and to change it. At most 80 ns for each limit.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use keygate::limit::{Calendar, HeaderStyle, Limiter, Limits, Measure, Moment, Part, Policy, Tagger, Unit, Who};

/// So many callers are counted.
const SUBJECTS: u32 = 100_000;

fn limits(measures: &[(Measure, Part)]) -> Limits {
    let policies = measures
        .iter()
        .enumerate()
        .map(|(number, (measure, part))| Policy::new(&format!("limit-{number}"), measure.clone(), [*part].into()));
    Limits::of(policies.collect())
}

fn window() -> Measure {
    Measure::Window { most: 16_000_000, length: Duration::from_secs(1) }
}

fn rate() -> Measure {
    Measure::Rate { burst: 1_000_000, requests: 1_000_000, per: Duration::from_secs(1) }
}

fn monthly() -> Measure {
    let calendar = Calendar::new(Unit::Month, "Europe/Berlin").expect("a zone");
    Measure::Calendar { most: 1 << 39, calendar: Arc::new(calendar) }
}

fn who<'a>(key: &'a str, address: u32) -> Who<'a> {
    Who {
        key: Some(key),
        client: Some("client-4711"),
        client_type: Some("partner"),
        tenant: Some("acme"),
        endpoint: "orders",
        ..Who::at(IpAddr::from(address.to_be_bytes()))
    }
}

fn taking(c: &mut Criterion) {
    let mut group = c.benchmark_group("take");
    let place = Measure::Concurrent { most: 1_000_000 };
    for (case, measures) in [
        ("a window", vec![(window(), Part::Key)]),
        ("a rate with a burst", vec![(rate(), Part::Key)]),
        ("a month", vec![(monthly(), Part::Key)]),
        ("a place", vec![(place.clone(), Part::Key)]),
        ("two limits", vec![(window(), Part::Address), (rate(), Part::Key)]),
        (
            "four limits",
            vec![(window(), Part::Address), (rate(), Part::Key), (monthly(), Part::Tenant), (place, Part::Client)],
        ),
    ] {
        let limits = limits(&measures);
        let limiter = Limiter::new(Tagger::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211]));
        limiter.adopt(&limits);
        let mut now = Moment { nanos: 1_000_000_000, wall_millis: 1_780_272_000_000 };
        group.bench_function(case, |b| {
            b.iter(|| {
                now.nanos += 1_000;
                let who = who(black_box("key_2x8Fq3mZ9aB1cD4e"), 0x0a00_0001);
                limiter.take(&limits, limits.all.iter(), &who, 1, now, None).expect("there is room")
            });
        });
    }
    group.finish();
}

/// Among very many callers the counts are not in the nearest memory.
fn many(c: &mut Criterion) {
    let mut group = c.benchmark_group("take among 100,000");
    let limits = limits(&[(window(), Part::Address)]);
    let limiter = Limiter::new(Tagger::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211]));
    limiter.adopt(&limits);
    let now = Moment { nanos: 1_000_000_000, wall_millis: 1_780_272_000_000 };
    let take = |number: u32| limiter.take(&limits, limits.all.iter(), &who("key_1", number), 1, now, None);
    (0..SUBJECTS).for_each(|number| assert!(take(number).is_ok()));
    let mut number = 0_u32;
    group.bench_function("a window", |b| {
        b.iter(|| {
            number = (number + 7_919) % SUBJECTS;
            take(black_box(number)).expect("there is room")
        });
    });
    group.finish();
}

fn telling(c: &mut Criterion) {
    let mut group = c.benchmark_group("headers");
    let limits = limits(&[(window(), Part::Address), (rate(), Part::Key)]);
    let limiter = Limiter::new(Tagger::new([1, 2]));
    let now = Moment { nanos: 1_000_000_000, wall_millis: 1_780_272_000_000 };
    let taken = limiter.take(&limits, limits.all.iter(), &who("key_1", 1), 1, now, None);
    let standings = taken.expect("there is room").expect("asked").standings;
    for (case, style) in
        [("all", HeaderStyle::default()), ("the older", HeaderStyle { draft: false, ..HeaderStyle::default() })]
    {
        let mut headers = HeaderMap::with_capacity(16);
        group.bench_function(case, |b| {
            b.iter_batched_ref(
                || std::mem::take(&mut headers),
                |headers| style.write(&limits, black_box(&standings), now, headers),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, taking, many, telling);
criterion_main!(benches);
