//! What it costs to read a path and to find its rule, with 10, 1,000 and 10,000 endpoints.
//!
//! Growth is what matters: finding one of 10,000 endpoints must cost about what finding one of 10 does. Paths that are
//! not ordinary are measured too, for they are what an attacker would send.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::Method;
use keygate::credential::{Extractor, Prefixes};
use keygate::policy::{PermissionRule, Policy};
use keygate::routing::{CanonicalPath, Endpoint, ErrorStyle, PathAdmissions, PathPattern, Place, Route, Router, Rule};
use keygate::upstream::{Ejection, HostRule, Upstream, UpstreamKind, UpstreamTimeouts};

const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn rule() -> Rule {
    let policy = Policy {
        public: true,
        client_types: None,
        permissions: PermissionRule::None,
        key_types: Box::default(),
        tenant: None,
        networks: Box::default(),
        https_only: false,
        require_user: false,
        allow: None,
        allow_backoffice: None,
        require_permissions: false,
    };
    Rule { place: Place::default(), methods: [Method::GET].into(), policy, limits: Default::default() }
}

fn pattern(text: &str) -> PathPattern {
    PathPattern::parse(text).expect("the benchmark writes patterns")
}

/// An endpoint that leads nowhere: only its place in the tree is measured.
fn endpoint(index: usize, path: &str, routes: &[String]) -> Endpoint {
    let second = Duration::from_secs(1);
    let route = |path: &String| Route {
        text: path.as_str().into(),
        method: Some(Method::GET),
        pattern: pattern(path),
        rule: rule(),
    };
    Endpoint {
        name: format!("endpoint-{index}").into(),
        place: Place::default(),
        hosts: Box::default(),
        pattern: pattern(path),
        listeners: Box::default(),
        base: rule(),
        routes: routes.iter().map(route).collect(),
        admits: PathAdmissions { encoded_slash: true, semicolon: true, encoded_unreserved: true },
        case_distinct: false,
        upstream: Arc::new(Upstream {
            name: Arc::from("echo"),
            kind: UpstreamKind::Echo,
            host: HostRule::Preserve,
            timeouts: UpstreamTimeouts { connect: second, response: second, body: second, tunnel: second },
            idle_timeout: second,
            max_idle: 1,
            ejection: Ejection { failures: 0, duration: second, at_most: second },
        }),
        prefix_swap: None,
        extractor: Arc::new(Extractor::new(Vec::new(), Prefixes::default())),
        forwards_credential: false,
        passes_headers: Box::default(),
        passes_request_trailers: false,
        upgrades: Box::default(),
        cors: None,
        max_body: None,
        response_timeout: None,
        errors: ErrorStyle::default(),
    }
}

fn router(size: usize, with_routes: bool, path: impl Fn(usize) -> String) -> Router {
    let endpoints = (0..size).map(|index| {
        let path = path(index);
        let routes = [format!("{path}/export"), format!("{path}/:item"), format!("{path}/:item/lines")];
        endpoint(index, &path, if with_routes { &routes } else { &[] })
    });
    Router::build(endpoints.collect()).expect("the benchmark writes endpoints that do not clash")
}

fn find(bencher: &mut criterion::Bencher<'_>, router: &Router, raw: &str) {
    let method = Method::GET;
    let look_up = || {
        let path = CanonicalPath::parse(black_box(raw)).expect("the benchmark writes paths that are not refused");
        router.find("main", "api.example.com", &path, &method)
    };
    look_up().expect("the benchmark asks for what is there");
    bencher.iter(look_up);
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing");
    for size in SIZES {
        let last = size - 1;
        let fixed = router(size, false, |index| format!("/services/service-{index}/v1"));
        group.bench_with_input(BenchmarkId::new("static", size), &fixed, |bencher, router| {
            find(bencher, router, &format!("/services/service-{last}/v1/orders/4711"));
        });
        group.bench_with_input(BenchmarkId::new("capital letters", size), &fixed, |bencher, router| {
            find(bencher, router, &format!("/services/service-{last}/v1/orders/aB4711"));
        });
        let with_parameters = router(size, false, |index| format!("/tenants/:tenant/service-{index}/:id"));
        group.bench_with_input(BenchmarkId::new("parameters", size), &with_parameters, |bencher, router| {
            find(bencher, router, &format!("/tenants/acme/service-{last}/4711/lines"));
        });
        let with_routes = router(size, true, |index| format!("/services/service-{index}"));
        group.bench_with_input(BenchmarkId::new("route", size), &with_routes, |bencher, router| {
            find(bencher, router, &format!("/services/service-{last}/4711/lines"));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("path");
    let fixed = router(1_000, false, |index| format!("/services/service-{index}/v1"));
    let long = format!("/services/service-7/v1/{}", "segment/".repeat(1_000));
    let odd = format!("/services/service-7/v1/{}", "a%2F%40./".repeat(110));
    for (name, raw) in [
        ("ordinary", "/services/service-7/v1/orders/4711"),
        ("encoded", "/services/service-7/v1/caf%C3%A9%20noir"),
        ("slashes", "/services//service-7/v1/orders"),
        ("reserved", "/services/service-7/v1/user%40example.com"),
        ("everything", "/services/service-7/v1/a;b%2F%61%2540%3Fc.%20"),
        ("8 KiB ordinary", long.as_str()),
        ("1 KiB of odd things", odd.as_str()),
    ] {
        group.bench_function(BenchmarkId::new("parse", name), |bencher| {
            bencher.iter(|| CanonicalPath::parse(black_box(raw)));
        });
        group.bench_function(BenchmarkId::new("parse and find", name), |bencher| find(bencher, &fixed, raw));
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
