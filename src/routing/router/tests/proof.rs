//! The router against the rules written a second time, without a tree: every endpoint is looked at for every request.

use proptest::prelude::*;

use super::*;
use crate::routing::path::tests::{decode_leniently, nasty_path};

/// An endpoint as the rules see it.
#[derive(Debug, Clone)]
struct Plan {
    path: String,
    hosts: Vec<&'static str>,
    listeners: Vec<&'static str>,
    routes: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone)]
struct Request {
    method: &'static str,
    listener: &'static str,
    host: &'static str,
}

/// Segments of a pattern; `None` is a parameter.
fn segments(literals: &'static [&'static str]) -> impl Strategy<Value = Vec<Option<&'static str>>> {
    let segment = prop_oneof![2 => prop::sample::select(literals).prop_map(Some), 1 => Just(None)];
    prop::collection::vec(segment, 0..4)
}

/// Parameters are named by their place, so that no pattern names one twice.
fn write_pattern(segments: &[Option<&'static str>]) -> String {
    let write = |(at, segment): (usize, &Option<&str>)| segment.map_or(format!("/:p{at}"), |text| format!("/{text}"));
    let text: String = segments.iter().enumerate().map(write).collect();
    if text.is_empty() { "/".to_owned() } else { text }
}

fn plans(literals: &'static [&'static str]) -> impl Strategy<Value = Vec<Plan>> {
    let some_hosts = prop::sample::subsequence(vec!["a.example.com", "*.example.com", "*.com", "example.com"], 1..3);
    let hosts = prop_oneof![2 => Just(Vec::new()), 1 => some_hosts];
    let some_listeners = prop::sample::subsequence(vec!["public", "internal"], 1..=2);
    let listeners = prop_oneof![3 => Just(Vec::new()), 1 => some_listeners];
    let route = (prop::sample::select(vec!["GET", "HEAD", "POST", "ALL"]), segments(literals));
    let plan = (segments(literals), hosts, listeners, prop::collection::vec(route, 0..4));
    let plan = plan.prop_map(|(path, hosts, listeners, routes)| {
        let below = |route: Vec<_>| write_pattern(&[path.clone(), route].concat());
        let routes = routes.into_iter().map(|(verb, route)| (verb, below(route))).collect();
        Plan { path: write_pattern(&path), hosts, listeners, routes }
    });
    prop::collection::vec(plan, 1..8)
}

fn request() -> impl Strategy<Value = Request> {
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "DELETE"]);
    let listener = prop::sample::select(vec!["public", "internal", "main"]);
    let host = prop::sample::select(vec!["a.example.com", "b.example.com", "example.com", "x.com", "localhost"]);
    (method, listener, host).prop_map(|(method, listener, host)| Request { method, listener, host })
}

fn plain_path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "c", "A", "B", "z"]);
    (prop::collection::vec(segment, 0..6), any::<bool>()).prop_map(|(segments, has_slash)| {
        format!("/{}{}", segments.join("/"), if has_slash && !segments.is_empty() { "/" } else { "" })
    })
}

fn endpoint_of(plan: &Plan) -> Endpoint {
    let texts: Vec<String> = plan.routes.iter().map(|(verb, path)| format!("{verb} {path}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    on_listeners(on_hosts(with_routes(endpoint(&plan.path, &plan.path), &texts), &plan.hosts), &plan.listeners)
}

/// Builds what can be built: plans and routes that clash with earlier ones are left out.
fn build_from(plans: Vec<Plan>, change: impl Fn(Endpoint) -> Endpoint) -> (Vec<Plan>, Router) {
    let builds = |plans: &[Plan]| Router::build(plans.iter().map(endpoint_of).map(&change).collect());
    let mut kept: Vec<Plan> = Vec::new();
    for plan in plans {
        let mut next = Plan { routes: Vec::new(), ..plan.clone() };
        for route in plan.routes {
            next.routes.push(route);
            if builds(std::slice::from_ref(&next)).is_err() {
                next.routes.pop();
            }
        }
        kept.push(next);
        if builds(&kept).is_err() {
            kept.pop();
        }
    }
    let router = builds(&kept).unwrap();
    (kept, router)
}

fn find(router: &Router, request: &Request, path: &CanonicalPath<'_>) -> Result<(usize, Option<usize>), NoMatch> {
    let method: Method = request.method.parse().unwrap();
    router.find(request.listener, request.host, path, &method).map(|rule| (rule.endpoint, rule.route))
}

/// How well a pattern fits, as a list that compares: 2 for a literal, 1 for a parameter. `None` if it does not match.
fn fit(pattern: &str, path: &str, is_exact: bool, folds: bool) -> Option<Vec<u8>> {
    let parts = |text: &str| text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (pattern, path) = (parts(pattern), parts(path));
    if pattern.len() > path.len() || (is_exact && pattern.len() != path.len()) {
        return None;
    }
    let is_equal = |a: &str, b: &str| if folds { a.eq_ignore_ascii_case(b) } else { a == b };
    let rank = |(pattern, path): (&String, &String)| {
        if pattern.starts_with(':') { Some(1) } else { is_equal(pattern, path).then_some(2) }
    };
    pattern.iter().zip(&path).map(rank).collect()
}

/// The rules, by hand. Gives the plan and the route that govern a request.
fn naive(plans: &[Plan], request: &Request, path: &str, folds: bool) -> Option<(usize, Option<usize>)> {
    let host_fit = |plan: &Plan| {
        let fits = |host: &&str| match host.strip_prefix('*') {
            None => (*host == request.host).then_some((2, 0)),
            Some(end) => (request.host.len() > end.len() && request.host.ends_with(end)).then_some((1, end.len())),
        };
        if plan.hosts.is_empty() { Some((0, 0)) } else { plan.hosts.iter().filter_map(fits).max() }
    };
    let mut best: Option<((i32, usize), Vec<u8>, usize)> = None;
    for (index, plan) in plans.iter().enumerate() {
        let is_here = plan.listeners.is_empty() || plan.listeners.contains(&request.listener);
        let Some(host) = host_fit(plan).filter(|_| is_here) else { continue };
        let Some(fit) = fit(&plan.path, path, false, folds) else { continue };
        if best.as_ref().is_none_or(|(best_host, best_fit, _)| (host, &fit) > (*best_host, best_fit)) {
            best = Some((host, fit, index));
        }
    }
    let (_, _, endpoint) = best?;
    let verb_fit = |verb: &str| match verb {
        verb if verb == request.method => Some(3),
        "GET" if request.method == "HEAD" => Some(2),
        "ALL" => Some(1),
        _ => None,
    };
    let routes = plans[endpoint].routes.iter().enumerate();
    let fitting =
        routes.filter_map(|(index, (verb, route))| Some((fit(route, path, true, folds)?, verb_fit(verb)?, index)));
    Some((endpoint, fitting.max().map(|(_, _, index)| index)))
}

/// What upstreams make of a path: every selection of the steps that servers are known to take, in their order.
fn forms(path: &str) -> Vec<String> {
    let strip = |text: &[u8]| {
        let parts = text.split(|byte| *byte == b'/').map(|part| part.split(|byte| *byte == b';').next().unwrap());
        parts.collect::<Vec<_>>().join(&b'/')
    };
    let end = |text: &[u8]| text.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap().to_vec();
    let mut forms: Vec<Vec<u8>> = vec![path.as_bytes().to_vec()];
    for step in [&strip as &dyn Fn(&[u8]) -> Vec<u8>, &decode_leniently, &end, &strip, &decode_leniently, &end, &strip]
    {
        let more: Vec<_> = forms.iter().map(|form| step(form)).collect();
        forms.extend(more);
        forms.sort_unstable();
        forms.dedup();
    }
    // As requests again: what cannot stand plain is encoded; a `%` may be an escape, or the data that decoding left.
    let encode = |text: &[u8], keeps_percent: bool| {
        let byte = |byte: &u8| match *byte {
            b'/' => "/".to_owned(),
            b'%' if keeps_percent => "%".to_owned(),
            byte if crate::routing::path::is_pchar(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.iter().map(byte).collect::<String>()
    };
    let mut out = Vec::new();
    for form in forms {
        out.push(encode(&form, true));
        if form != path.as_bytes() && !form.contains(&b'%') {
            let lower = String::from_utf8_lossy(&form).replace('\u{212a}', "k").to_lowercase();
            out.push(encode(lower.as_bytes(), false));
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_finds_what_a_scan_of_all_endpoints_finds(
        plans in plans(&["a", "b", "c", "A"]), request in request(), paths in prop::collection::vec(plain_path(), 8)
    ) {
        let (plans, router) = build_from(plans, case_distinct);
        for path in paths {
            let found = find(&router, &request, &CanonicalPath::parse(&path).unwrap());
            let expected = naive(&plans, &request, &path, false).ok_or(NoMatch::NotFound);
            prop_assert_eq!(found, expected, "{} {:?} {:?}", path, request, plans);
        }
    }

    #[test]
    fn a_rule_is_given_out_only_if_it_is_the_same_in_any_case(
        plans in plans(&["a", "b", "A", "B"]), request in request(), paths in prop::collection::vec(plain_path(), 8)
    ) {
        let (plans, router) = build_from(plans, |endpoint| endpoint);
        for path in paths {
            let found = find(&router, &request, &CanonicalPath::parse(&path).unwrap());
            let (exact, folded) = (naive(&plans, &request, &path, false), naive(&plans, &request, &path, true));
            match exact {
                None => prop_assert_eq!(found, Err(NoMatch::NotFound)),
                Some(rule) if folded == exact => prop_assert_eq!(found, Ok(rule), "{} {:?} {:?}", path, request, plans),
                Some(_) => prop_assert!(matches!(found, Err(NoMatch::Ambiguous(_))), "{} {:?} {:?}", path, request, plans),
            }
        }
    }

    /// Whatever an upstream makes of a path that was let through, it is the rule of the path that was judged.
    #[test]
    fn no_path_is_let_through_that_can_be_read_as_another_rules(
        plans in plans(&["a", "b", "admin", "@", "k", "caf%C3%A9"]),
        request in request(),
        paths in prop::collection::vec(nasty_path(), 8),
    ) {
        let (_, router) = build_from(plans, admitting_all);
        for raw in paths {
            let Ok(path) = CanonicalPath::parse(&raw) else { continue };
            let Ok(rule) = find(&router, &request, &path) else { continue };
            for form in forms(path.as_str()) {
                // A form that would be refused cannot be asked for.
                if let Ok(canonical) = CanonicalPath::parse(&form) {
                    let again = find(&router, &request, &canonical);
                    prop_assert_eq!(again, Ok(rule), "{} read as {}", raw, form);
                }
            }
        }
    }
}
