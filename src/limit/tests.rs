//! Several limits at once, over reloads and restarts, and behind the wall.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::*;

const SECRET: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211];

fn at(seconds: u64) -> Moment {
    let millis = i64::try_from(seconds * 1_000).expect("not that late");
    Moment { nanos: (seconds + 1) * 1_000_000_000, wall_millis: 1_780_272_000_000 + millis }
}

fn window(most: u32) -> Measure {
    Measure::Window { most, length: Duration::from_secs(60) }
}

fn daily(most: u64) -> Measure {
    Measure::Calendar { most, calendar: Arc::new(Calendar::new(Unit::Day, "UTC").expect("a zone")) }
}

fn limits(policies: Vec<Policy>) -> Limits {
    Limits::of(policies)
}

fn of_key(name: &str, measure: Measure) -> Policy {
    Policy::new(name, measure, [Part::Key].into())
}

fn who(key: &str) -> Who<'_> {
    Who { key: Some(key), client: Some("shop"), ..Who::at(IpAddr::from([192, 0, 2, 1])) }
}

/// Asks all limits of a set; what is left of each, or who refuses.
fn ask(limiter: &Limiter, limits: &Limits, key: &str, cost: u32, now: Moment) -> Result<Vec<u64>, Arc<str>> {
    match limiter.take(limits, limits.all.iter(), &who(key), cost, now, None) {
        Ok(taken) => {
            Ok(taken.iter().flat_map(|taken| &taken.standings).map(|standing| standing.reading.remaining).collect())
        }
        Err(exceeded) => Err(Arc::clone(&limits.all[exceeded.worst().policy].name)),
    }
}

fn left(limiter: &Limiter, limits: &Limits, key: &str, now: Moment) -> Vec<u64> {
    limiter.standings(&limits.all, &who(key), now).iter().map(|standing| standing.reading.remaining).collect()
}

#[test]
fn of_several_limits_all_are_taken_from_or_none() {
    let limiter = Limiter::new(Tagger::new(SECRET));
    let limits = limits(vec![
        of_key("wide", window(10)),
        Policy::new("of-client", window(4), [Part::Client].into()),
        Policy::new("of-tenant", window(1), [Part::Tenant].into()),
    ]);
    assert_eq!(ask(&limiter, &limits, "a", 3, at(0)), Ok(vec![7, 1]), "it has no tenant");
    for _ in 0..5 {
        assert_eq!(ask(&limiter, &limits, "a", 2, at(0)), Err("of-client".into()));
    }
    assert_eq!(left(&limiter, &limits, "a", at(0)), [7, 1], "five refusals cost nothing");
    assert_eq!(ask(&limiter, &limits, "b", 1, at(0)), Ok(vec![9, 0]), "the client's last one");
    assert_eq!(ask(&limiter, &limits, "b", 0, at(0)), Ok(vec![]), "what costs nothing is not counted");
    assert!(ask(&limiter, &limits, "b", 11, at(0)).is_err(), "more than there ever is");
}

#[test]
fn what_was_taken_before_is_given_back_if_a_later_limit_refuses() {
    let limiter = Limiter::new(Tagger::new(SECRET));
    let counting = Policy { counts_refused: true, ..Policy::new("counting", window(10), [Part::Address].into()) };
    let limits = limits(vec![
        Policy::new("first", window(10), [Part::Address].into()),
        counting,
        Policy::new("place", Measure::Concurrent { most: 1 }, [Part::Address].into()),
        of_key("later", window(1)),
    ]);
    let before = || limiter.take(&limits, limits.all[..3].iter(), &who("a"), 1, at(0), None).expect("there is room");
    let taken = limiter.take(&limits, limits.all.iter(), &who("a"), 1, at(0), before()).expect("there is room");
    let taken = taken.expect("asked");
    assert_eq!(taken.standings.iter().map(|standing| standing.policy).collect::<Vec<_>>(), [0, 1, 2, 3], "each once");
    assert_eq!(left(&limiter, &limits, "a", at(0)), [9, 9, 0, 0]);
    drop(taken);
    assert_eq!(left(&limiter, &limits, "a", at(0)), [9, 9, 1, 0], "the place is free again");
    let refused =
        limiter.take(&limits, limits.all.iter(), &who("a"), 1, at(0), before()).expect_err("the key's is used up");
    assert_eq!(&*limits.all[refused.worst().policy].name, "later");
    assert_eq!(left(&limiter, &limits, "a", at(0)), [9, 8, 1, 0], "given back, but for the one that counts refusals");
}

#[test]
fn a_shadow_refuses_nothing_and_is_told_to_nobody() {
    let limiter = Limiter::new(Tagger::new(SECRET));
    let limits = limits(vec![Policy { is_shadow: true, ..of_key("shadow", window(1)) }, of_key("real", window(3))]);
    for _ in 0..3 {
        assert!(ask(&limiter, &limits, "a", 1, at(0)).is_ok());
    }
    let refused = limiter.take(&limits, limits.all.iter(), &who("a"), 1, at(0), None).expect_err("the real one");
    assert_eq!(&*limits.all[refused.worst().policy].name, "real");
    let mut headers = HeaderMap::new();
    limits.headers.write(&limits, &refused.standings, at(0), &mut headers);
    assert_eq!(headers["ratelimit"], "\"real\";r=0;t=60");
    assert_eq!(headers["ratelimit-policy"], "\"real\";q=3;w=60");
    assert_eq!(headers["x-ratelimit-reset"], "1780272060");
}

#[test]
fn counts_go_by_name_over_reloads_and_begin_anew_where_they_mean_something_else() {
    let limiter = Limiter::new(Tagger::new(SECRET));
    let with = |measure| {
        let limits = limits(vec![of_key("one", measure)]);
        limiter.adopt(&limits);
        limits
    };
    let before = with(window(10));
    assert_eq!(ask(&limiter, &before, "a", 4, at(0)), Ok(vec![6]));
    assert_eq!(left(&limiter, &with(window(20)), "a", at(0)), [16]);
    assert_eq!(left(&limiter, &before, "a", at(0)), [6], "a request that was admitted before");
    let rate = Measure::Rate { burst: 10, requests: 10, per: Duration::from_secs(60) };
    assert_eq!(left(&limiter, &with(rate), "a", at(0)), [10], "another measure");
    limiter.adopt(&limits(Vec::new()));
    assert_eq!(left(&limiter, &with(window(10)), "a", at(0)), [10], "a name that was gone meanwhile");
}

#[test]
fn days_and_months_are_kept_over_a_restart_and_nothing_else_is() {
    let make = || limits(vec![of_key("daily", daily(10)), of_key("window", window(10))]);
    let (first, limits) = (Limiter::new(Tagger::new(SECRET)), make());
    assert_eq!(ask(&first, &limits, "a", 4, at(0)), Ok(vec![6, 6]));
    let saved = Saved::parse(&first.to_be_saved(&limits, at(0)).to_text()).expect("our own text");
    let (second, limits) = (Limiter::new(Tagger::new(SECRET)), make());
    second.restore(&limits, &saved, at(5));
    assert_eq!(left(&second, &limits, "a", at(5)), [6, 10]);
    assert_eq!(left(&second, &limits, "b", at(5)), [10, 10]);
    // Joined with what was counted meanwhile: the larger of the two.
    assert_eq!(ask(&second, &limits, "a", 1, at(5)), Ok(vec![5, 9]));
    second.restore(&limits, &saved, at(5));
    assert_eq!(left(&second, &limits, "a", at(5)), [5, 9]);
    let (third, limits) = (Limiter::new(Tagger::new(SECRET)), make());
    third.restore(&limits, &saved, at(86_400));
    assert_eq!(left(&third, &limits, "a", at(86_400)), [10, 10], "another day");
    let (fourth, limits) = (Limiter::new(Tagger::new([1, 2])), make());
    fourth.restore(&limits, &saved, at(5));
    assert_eq!(left(&fourth, &limits, "a", at(5)), [10, 10], "of another installation");
}

#[test]
fn a_plan_is_the_keys_or_the_clients_or_the_default_and_one_that_is_not_there_is_refused() {
    let plan = |name: &str| Plan::parse(name).expect("a word");
    let one = Arc::new(of_key("one", window(1)));
    let plans = ["free", "paid", "none"].map(|name| {
        (
            plan(name),
            Policies::from(match name {
                "none" => Vec::new(),
                _ => vec![Arc::clone(&one)],
            }),
        )
    });
    let limits = Limits { plans: plans.into(), default_plan: Some(0), ..Limits::default() };
    let count = |key: Option<&str>, client: Option<&str>| {
        limits.plan(key.map(plan).as_ref(), client.map(plan).as_ref()).map(<[_]>::len)
    };
    for (key, client, expected) in [
        (None, None, Ok(1)),
        (None, Some("none"), Ok(0)),
        (Some("paid"), Some("none"), Ok(1)),
        (Some("gone"), Some("paid"), Err(UnknownPlan(plan("gone")))),
        (None, Some("gone"), Err(UnknownPlan(plan("gone")))),
    ] {
        assert_eq!(count(key, client), expected, "{key:?} {client:?}");
    }
    assert_eq!(Limits::default().plan(None, None).map(<[_]>::len), Ok(0));
}

/// A keeper that nobody can reach.
#[derive(Debug)]
struct Gone;

impl Keeper for Gone {
    fn take(&self, _: &Policy, _: u64, _: u32, _: Moment) -> Result<Answer, Away> {
        Err(Away)
    }

    fn look(&self, _: &Policy, _: u64, _: u32, _: Moment) -> Result<Reading, Away> {
        Err(Away)
    }

    fn give_back(&self, _: &Policy, _: u64, _: u32, _: u64) -> Result<(), Away> {
        Err(Away)
    }

    fn charge(&self, _: &Policy, _: u64, _: u32, _: Moment) -> Result<(), Away> {
        Err(Away)
    }
}

#[test]
fn while_the_keeper_is_away_holds_what_was_said() {
    for (when_away, expected) in [
        (WhenAway::Local, [true, true, false]),
        (WhenAway::Allow, [true, true, true]),
        (WhenAway::Refuse, [false, false, false]),
    ] {
        for policies in [vec![of_key("one", window(2))], vec![of_key("one", window(2)), of_key("other", window(9))]] {
            let limiter = Limiter::with_keeper(Tagger::new(SECRET), Arc::new(Gone), when_away);
            let limits = limits(policies);
            let asked = [(); 3].map(|()| ask(&limiter, &limits, "a", 1, at(0)).is_ok());
            assert_eq!(asked, expected, "{when_away:?}");
        }
    }
}
