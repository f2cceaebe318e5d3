//! Limits and plans: what is written, against what can be counted.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::Compiler;
use crate::client::Plan;
use crate::config::document::{
    Document, LimitShape, PartWord, PartsShape, PerShape, RateLimitShape, UpstreamHeadersWord, WhenWord,
};
use crate::config::problem::{did_you_mean, quote};
use crate::config::read::{At, NoneOr};
use crate::config::settings::Settings;
use crate::config::tree::Position;
use crate::limit::{
    Calendar, HeaderStyle, Limits, MAX_IN_WINDOW, MAX_REFILL, Measure, Part, Policies, Policy, Subject, Unit,
    UpstreamHeaders,
};
use crate::routing::RuleLimits;

/// The longest name: it stands in headers of answers.
const MAX_NAME: usize = 64;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Every limit that was written, as far as it can be made.
#[derive(Default)]
pub(crate) struct LimitSet(RefCell<Written>);

#[derive(Default)]
struct Written {
    all: Vec<Arc<Policy>>,
    places: HashMap<Box<str>, Position>,
    /// Those that stand below `rate_limits` and could not be made: nothing more is said of them.
    broken: BTreeSet<Box<str>>,
    used: BTreeSet<Box<str>>,
}

/// Where a limit is written, for what it is if it does not say.
#[derive(Clone, Copy)]
enum Where<'w> {
    Named,
    Plan,
    Endpoint,
    Route(&'w str),
}

impl Compiler<'_> {
    /// The limits that have names, and the plans.
    pub fn rate_limits(&mut self, document: &Document, set: &LimitSet) -> Limits {
        for (name, shape) in document.rate_limits.iter().flat_map(|map| &map.0) {
            let is_name = name.value.len() <= MAX_NAME
                && !name.value.is_empty()
                && name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte));
            if !is_name {
                self.report
                    .error(name.at, format!("{} cannot name a limit", quote(&name.value)))
                    .hint("write up to 64 letters, digits and `-` `_` `.` `:` `/`: it stands in headers of answers");
            }
            let made = shape.as_ref().and_then(|shape| self.limit(&name.value, shape, name.at, Where::Named, set));
            if made.is_none() {
                set.0.borrow_mut().broken.insert(name.value.as_str().into());
            }
        }
        let mut plans: Vec<(Plan, Policies)> = Vec::new();
        for (name, shape) in document.plans.iter().flat_map(|map| &map.0) {
            let policies =
                shape.as_ref().map(|shape| self.list(&shape.rate_limits.value, &name.value, Where::Plan, set));
            match Plan::parse(&name.value) {
                Ok(plan) => plans.push((plan, policies.unwrap_or_default())),
                Err(why) => {
                    self.report.error(name.at, format!("{} cannot name a plan: {why}", quote(&name.value)));
                }
            }
        }
        let default_plan = document.default_plan.as_ref().and_then(|plan| self.plan_index(plan, &plans));
        let written = set.0.borrow();
        let everywhere = |is_first: bool| {
            let shapes = document.rate_limits.iter().flat_map(|map| &map.0);
            let named = shapes.filter(|(_, shape)| {
                shape.as_ref().and_then(|shape| shape.everywhere.as_ref()).is_some_and(|flag| flag.value)
            });
            let policies = named.filter_map(|(name, _)| written.all.iter().find(|policy| *policy.name == *name.value));
            policies.filter(|policy| policy.is_first == is_first).map(Arc::clone).collect()
        };
        let headers = document.rate_limit_headers.as_ref().map_or_else(HeaderStyle::default, |shape| {
            let usual = HeaderStyle::default();
            HeaderStyle {
                draft: shape.draft.unwrap_or(usual.draft),
                legacy: shape.legacy.unwrap_or(usual.legacy),
                retry_after: shape.retry_after.unwrap_or(usual.retry_after),
                upstream: match shape.upstream {
                    Some(UpstreamHeadersWord::Keep) => UpstreamHeaders::Keep,
                    Some(UpstreamHeadersWord::Replace) | None => usual.upstream,
                },
            }
        });
        Limits {
            first: everywhere(true),
            everywhere: everywhere(false),
            all: Box::default(),
            plans: plans.into(),
            default_plan,
            headers,
        }
    }

    /// What all rules together came to: nothing is added after this.
    pub fn finish_limits(&mut self, limits: Limits, document: &Document, set: LimitSet, settings: &Settings) -> Limits {
        let written = set.0.into_inner();
        for (name, shape) in document.rate_limits.iter().flat_map(|map| &map.0) {
            let is_everywhere =
                shape.as_ref().is_some_and(|shape| shape.everywhere.as_ref().is_some_and(|flag| flag.value));
            if !is_everywhere && !written.used.contains(&*name.value) && !written.broken.contains(&*name.value) {
                self.report
                    .warning(name.at, format!("the limit `{}` concerns no request", name.value))
                    .hint("name it in a plan, at an endpoint or at a route, or write `everywhere: true`");
            }
        }
        let lasting = written.all.iter().find(|policy| matches!(policy.measure, Measure::Calendar { .. }));
        if let Some(policy) = lasting.filter(|_| settings.rate_limit_file.is_none() && !document.is_broken) {
            let at = written.places.get(&*policy.name).copied().unwrap_or_default();
            self.report
                .error(at, "the counts of days and months are to survive a restart, and there is no place to keep them")
                .hint("write `rate_limit_file: keygate.limits`, or give `keys` a `store`");
        }
        Limits { all: written.all.into(), ..limits }
    }

    /// What an endpoint or a route says; `inherited` is what holds where it says nothing.
    #[expect(clippy::too_many_arguments, reason = "an endpoint and a route, what they say and what they inherit")]
    pub fn rule_limits(
        &mut self,
        written: Option<&At<NoneOr<Vec<LimitShape>>>>,
        cost: Option<&At<u32>>,
        endpoint: &str,
        route: Option<&str>,
        inherited: &RuleLimits,
        limits: &Limits,
        set: &LimitSet,
    ) -> RuleLimits {
        let policies = match written.map(|written| &written.value) {
            None => inherited.policies.clone(),
            Some(NoneOr::None) => Box::default(),
            Some(NoneOr::Value(list)) => self.list(list, endpoint, route.map_or(Where::Endpoint, Where::Route), set),
        };
        let rule = RuleLimits { policies, cost: cost.map_or(inherited.cost, |cost| cost.value) };
        let planned = limits.plans.iter().flat_map(|(_, policies)| policies);
        let asked = rule.policies.iter().chain(&limits.everywhere).chain(planned);
        let counts =
            |policy: &&&Arc<Policy>| !policy.is_shadow && !matches!(policy.measure, Measure::Concurrent { .. });
        if let Some(cost) = cost
            && let Some(policy) =
                { asked }.filter(|policy| counts(&policy)).find(|policy| policy.measure.most() < u64::from(rule.cost))
        {
            let message =
                format!("the limit `{}` ({}) never gives as much as {}", policy.name, policy.measure, rule.cost);
            self.report.error(cost.at, message).hint("lower the cost, or raise the limit");
        }
        rule
    }

    /// The plans of keys and clients are among those that there are.
    pub fn check_plans(&mut self, carried: &HashMap<Plan, Position>, limits: &Limits) {
        let mut unknown: Vec<_> =
            carried.iter().filter(|(plan, _)| limits.plans.iter().all(|(name, _)| name != *plan)).collect();
        unknown.sort();
        for (plan, at) in unknown {
            let names = limits.plans.iter().map(|(name, _)| name.as_str());
            self.report
                .error(*at, format!("there is no plan {}", quote(plan.as_str())))
                .maybe_hint(did_you_mean(plan.as_str(), names).or_else(|| no_plans(limits)));
        }
    }

    fn plan_index(&mut self, plan: &At<Plan>, plans: &[(Plan, Policies)]) -> Option<usize> {
        let found = plans.iter().position(|(name, _)| *name == plan.value);
        if found.is_none() {
            let names = plans.iter().map(|(name, _)| name.as_str());
            self.report
                .error(plan.at, format!("there is no plan {}", quote(plan.value.as_str())))
                .maybe_hint(did_you_mean(plan.value.as_str(), names));
        }
        found
    }

    /// A list of names and of limits that are written in it.
    fn list(&mut self, list: &[LimitShape], owner: &str, place: Where<'_>, set: &LimitSet) -> Policies {
        let mut policies: Vec<Arc<Policy>> = Vec::new();
        for (index, shape) in list.iter().enumerate() {
            let policy = match shape {
                LimitShape::Named(name) => self.named(name, set),
                LimitShape::Written(shape) => {
                    let name = own_name(owner, place, index);
                    self.limit(&name, shape, shape.at, place, set)
                }
            };
            policies.extend(policy);
        }
        policies.into()
    }

    fn named(&mut self, name: &At<String>, set: &LimitSet) -> Option<Arc<Policy>> {
        let mut written = set.0.borrow_mut();
        written.used.insert(name.value.as_str().into());
        let found = written.all.iter().find(|policy| *policy.name == *name.value).map(Arc::clone);
        if let Some(policy) = found.as_ref().filter(|policy| policy.is_first) {
            self.report
                .error(
                    name.at,
                    format!("the limit `{}` is asked before it is known what a request is for", policy.name),
                )
                .hint("leave it out here: it concerns every request; or write `when: admitted` in it");
        }
        if found.is_none() && !written.broken.contains(&*name.value) {
            let names = written.all.iter().map(|policy| &*policy.name);
            self.report
                .error(name.at, format!("there is no limit {}", quote(&name.value)))
                .maybe_hint(did_you_mean(&name.value, names));
        }
        found
    }

    /// Makes one limit.
    fn limit(
        &mut self,
        name: &str,
        shape: &RateLimitShape,
        at: Position,
        place: Where<'_>,
        set: &LimitSet,
    ) -> Option<Arc<Policy>> {
        if let Some(first) = set.0.borrow().places.get(name) {
            let first = self.report.name(*first);
            self.report.error(at, format!("another limit is called {} ({first})", quote(name))).hint(
                "a limit written at an endpoint, a route or a plan is called as that is: give the other another name",
            );
            return None;
        }
        set.0.borrow_mut().places.insert(name.into(), at);
        let errors = self.report.errors();
        let measure = self.measure(shape);
        let subject = self.subject(shape, place);
        let is_everywhere = shape.everywhere.as_ref().is_some_and(|flag| flag.value);
        if let Some(flag) = shape.everywhere.as_ref().filter(|flag| flag.value && !matches!(place, Where::Named)) {
            self.report
                .error(flag.at, "a limit that concerns every request stands below `rate_limits` at the top")
                .hint("move it there and give it a name");
        }
        let is_of_address = subject.iter().all(|part| *part == Part::Address);
        let is_first = match &shape.when {
            Some(when) => {
                let is_first = matches!(when.value, WhenWord::First);
                if is_first && !is_of_address {
                    self.report
                        .error(when.at, "before the key is looked up nothing but the address is known")
                        .hint("write `for: address`, or `when: admitted`");
                } else if is_first && !is_everywhere {
                    self.report
                        .error(when.at, "before the key is looked up it is not known which endpoint is meant")
                        .hint("write `everywhere: true` beside it");
                }
                is_first
            }
            None => is_everywhere && !subject.is_empty() && is_of_address,
        };
        if self.report.errors() > errors || shape.is_broken {
            return None;
        }
        let mut written = set.0.borrow_mut();
        let policy = Arc::new(Policy {
            number: written.all.len(),
            is_first,
            is_shadow: shape.shadow.unwrap_or(false),
            counts_refused: shape.count_refused.unwrap_or(false),
            place: self.place(at).to_string().into(),
            ..Policy::new(name, measure?, subject)
        });
        written.all.push(Arc::clone(&policy));
        Some(policy)
    }

    fn measure(&mut self, shape: &RateLimitShape) -> Option<Measure> {
        let is_calendar = matches!(shape.per.as_ref().map(|per| &per.value), Some(PerShape::Day | PerShape::Month));
        if let Some(zone) = shape.time_zone.as_ref().filter(|_| !is_calendar) {
            self.report
                .error(zone.at, "a time zone belongs to `per: day` or `per: month`")
                .hint("`1d` is any twenty-four hours");
        }
        match (&shape.requests, &shape.concurrent) {
            (Some(_), Some(concurrent)) => {
                self.report
                    .error(concurrent.at, "`requests` and `concurrent` are two limits")
                    .hint("write each by itself and name both");
                None
            }
            (None, None) => {
                if !shape.is_broken {
                    self.report
                        .error(shape.at, "it is not said how many requests there may be")
                        .hint("write `requests: 100` and `per: 1m`, or `concurrent: 10`");
                }
                None
            }
            (None, Some(concurrent)) => {
                for at in [shape.per.as_ref().map(|per| per.at), shape.burst.as_ref().map(|burst| burst.at)]
                    .into_iter()
                    .flatten()
                {
                    self.report.error(at, "this says nothing beside `concurrent`").hint("remove it");
                }
                self.number(concurrent, "requests at once").map(|most| Measure::Concurrent { most })
            }
            (Some(requests), None) => self.counted(shape, requests),
        }
    }

    fn counted(&mut self, shape: &RateLimitShape, requests: &At<u32>) -> Option<Measure> {
        let Some(per) = &shape.per else {
            if !shape.is_broken {
                self.report
                    .error(shape.at, "it is not said in which time")
                    .hint("write `per: 1m`, or another time from `1s` to `1d`, or `per: day` or `per: month`");
            }
            return None;
        };
        let unit = match per.value {
            PerShape::Day => Unit::Day,
            PerShape::Month => Unit::Month,
            PerShape::Time(length) => return self.in_time(shape, requests, At { at: per.at, value: length.0 }),
        };
        if let Some(burst) = &shape.burst {
            self.report
                .error(burst.at, "a quota for a day or a month has no `burst`")
                .hint("write another limit beside it, such as `requests: 10`, `per: 1s`, `burst: 50`");
        }
        if requests.value == 0 {
            self.report.error(requests.at, "a limit of nothing refuses every request").hint(TO_REFUSE);
            return None;
        }
        let (zone, at) = shape.time_zone.as_ref().map_or(("UTC", per.at), |zone| (zone.value.as_str(), zone.at));
        match Calendar::new(unit, zone) {
            Ok(calendar) => Some(Measure::Calendar { most: u64::from(requests.value), calendar: Arc::new(calendar) }),
            Err(why) => {
                self.report
                    .error(at, format!("{} is no time zone", quote(zone)))
                    .hint(why.to_string().split_once("; ").map_or_else(String::new, |(_, hint)| hint.to_owned()));
                None
            }
        }
    }

    fn in_time(&mut self, shape: &RateLimitShape, requests: &At<u32>, per: At<Duration>) -> Option<Measure> {
        let requests = self.number(requests, "requests");
        if per.value < SECOND || per.value > DAY {
            let hint =
                if per.value > DAY { "write `per: day` or `per: month` for a quota" } else { "write at least `1s`" };
            self.report.error(per.at, "a limit is for a time from `1s` to `1d`").hint(hint);
            return None;
        }
        let Some(burst) = &shape.burst else {
            return Some(Measure::Window { most: requests?, length: per.value });
        };
        let measure = Measure::Rate { burst: self.number(burst, "requests")?, requests: requests?, per: per.value };
        if measure.window().is_some_and(|refill| refill > MAX_REFILL) {
            self.report
                .error(burst.at, "at this rate such a burst comes back after more than 31 days")
                .hint("lower `burst`, or raise `requests`");
            return None;
        }
        Some(measure)
    }

    /// A number that can be counted to.
    fn number(&mut self, written: &At<u32>, what: &str) -> Option<u32> {
        if written.value == 0 {
            self.report.error(written.at, "a limit of nothing refuses every request").hint(TO_REFUSE);
            return None;
        }
        if written.value > MAX_IN_WINDOW {
            self.report
                .error(
                    written.at,
                    format!("{} is more than can be counted: up to {MAX_IN_WINDOW} {what}", written.value),
                )
                .hint("write the same rate for a shorter time");
            return None;
        }
        Some(written.value)
    }

    fn subject(&mut self, shape: &RateLimitShape, place: Where<'_>) -> Subject {
        let Some(written) = &shape.r#for else {
            return match place {
                Where::Named | Where::Plan => [Part::Key].into(),
                Where::Endpoint => [Part::Endpoint].into(),
                Where::Route(_) => [Part::Route].into(),
            };
        };
        let PartsShape::Parts(list) = &written.value else { return Box::default() };
        if list.is_empty() && !shape.is_broken {
            self.report
                .error(written.at, "an empty list counts nobody")
                .hint("write `for: all` for everybody together");
        }
        let mut parts: Vec<Part> = Vec::new();
        for word in list {
            let part = match word.value {
                PartWord::Address => Part::Address,
                PartWord::Key => Part::Key,
                PartWord::Client => Part::Client,
                PartWord::ClientType => Part::ClientType,
                PartWord::Tenant => Part::Tenant,
                PartWord::Endpoint => Part::Endpoint,
                PartWord::Route => Part::Route,
            };
            if parts.contains(&part) {
                self.report.error(word.at, format!("`{}` stands twice here", part.as_str()));
            } else {
                parts.push(part);
            }
        }
        // The order in which they were written says nothing.
        parts.sort_unstable();
        parts.into()
    }
}

const TO_REFUSE: &str = "to refuse everybody write `allow: \"false\"` at the endpoint, or disable the key";

fn no_plans(limits: &Limits) -> Option<String> {
    limits
        .plans
        .is_empty()
        .then(|| "write `plans:` at the top, such as `plans: { free: { rate_limits: [per-key] } }`".to_owned())
}

/// What a limit is called that has no name of its own.
fn own_name(owner: &str, place: Where<'_>, index: usize) -> String {
    let mut name = match place {
        Where::Route(route) => format!("{owner}:{}", route.replace(char::is_whitespace, ":")),
        Where::Named | Where::Plan | Where::Endpoint => owner.to_owned(),
    };
    if index > 0 {
        name.push_str(&format!(".{}", index + 1));
    }
    // As it stands in headers between quotes.
    name.replace(|letter: char| !letter.is_ascii_graphic() || letter == '"' || letter == '\\', "_")
}
