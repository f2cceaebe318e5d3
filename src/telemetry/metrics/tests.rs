use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, UNIX_EPOCH};

use super::*;
use crate::telemetry::health::ReloadOutcome;

/// A name as rules share it, for as long as the tests run.
fn shared(name: &str) -> &'static Arc<str> {
    Box::leak(Box::new(Arc::from(name)))
}

fn sample<'a>(endpoint: &str, client_type: &'a str, microseconds: u64) -> RequestSample<'a> {
    RequestSample {
        endpoint: (!endpoint.is_empty()).then(|| shared(endpoint)),
        method: "GET",
        status: 200,
        client_type,
        duration: Duration::from_micros(microseconds),
        upstream: None,
    }
}

/// The lines of the metrics whose names begin so, comments left out.
fn lines<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.starts_with(name)).collect()
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[test]
fn what_workers_count_is_summed() {
    let metrics = Metrics::default();
    let (one, two) = (metrics.worker(), metrics.worker());

    one.request(&sample("orders", "cms", 700));
    two.request(&sample("orders", "cms", 700));
    two.request(&RequestSample { method: "BREW", status: 404, ..sample("", "", 3) });

    assert_eq!(
        lines(&metrics.render(), "keygate_requests_total"),
        [
            r#"keygate_requests_total{endpoint="_none",method="_OTHER",code="404",client_type="_none"} 1"#,
            r#"keygate_requests_total{endpoint="orders",method="GET",code="200",client_type="cms"} 2"#,
        ]
    );
}

#[test]
fn an_endpoint_and_an_upstream_of_one_name_in_one_place_are_counted_each_as_what_it_is() {
    let metrics = Metrics::default();
    let worker = metrics.worker();
    // So that the numbers of the two differ.
    worker.request(&sample("first", "cms", 1));
    let name = shared("orders");
    worker.request(&RequestSample {
        endpoint: Some(name),
        upstream: Some((name, Duration::ZERO)),
        ..sample("", "cms", 1)
    });
    worker.upstream_connection(name, true);
    let text = metrics.render();
    for series in [
        r#"keygate_request_duration_seconds_count{endpoint="orders"}"#,
        r#"keygate_upstream_request_duration_seconds_count{upstream="orders"}"#,
        r#"keygate_upstream_connections_total{upstream="orders",reused="true"}"#,
    ] {
        assert_eq!(value(&text, series), 1.0, "{series}");
    }
}

#[test]
fn a_histogram_has_exact_sums_and_bounds_that_include_their_own_value() {
    let metrics = Metrics::default();
    let worker = metrics.worker();

    for microseconds in [500, 501, 1_000, 60_000_000] {
        worker.request(&sample("orders", "cms", microseconds));
    }
    worker.request(&RequestSample {
        upstream: Some((shared("backend"), Duration::from_millis(20))),
        ..sample("a\"b\\c\nd", "cms", 1)
    });

    let text = metrics.render();
    let orders = lines(&text, "keygate_request_duration_seconds");
    let orders: Vec<_> = orders.into_iter().filter(|line| line.contains(r#"endpoint="orders""#)).collect();
    assert_eq!(
        orders,
        [
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="0.0005"} 1"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="0.001"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="0.0025"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="0.005"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="0.01"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="0.025"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="0.05"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="0.1"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="0.25"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="0.5"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="1"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="2.5"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="5"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="10"} 3"#,
            r#"keygate_request_duration_seconds_bucket{endpoint="orders",le="+Inf"} 4"#,
            r#"keygate_request_duration_seconds_sum{endpoint="orders"} 60.002001"#,
            r#"keygate_request_duration_seconds_count{endpoint="orders"} 4"#,
        ]
    );
    assert_eq!(value(&text, r#"keygate_request_duration_seconds_count{endpoint="a\"b\\c\nd"}"#), 1.0);
    assert_eq!(value(&text, r#"keygate_upstream_request_duration_seconds_sum{upstream="backend"}"#), 0.02);
    assert_eq!(value(&text, r#"keygate_upstream_request_duration_seconds_bucket{upstream="backend",le="0.01"}"#), 0.0);
}

/// Every recording method once, and everything that `app` sets.
fn everything() -> Metrics {
    let health = Health::default();
    health.published(3, "abc", UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    health.reload_finished(ReloadOutcome::Applied, UNIX_EPOCH + Duration::from_secs(1_700_000_001));
    let metrics = Metrics::new(health);
    metrics.set_keys(KeyFacts {
        by_state: vec![("active", 7), ("disabled", 1)],
        expiring: vec![("1d", 2)],
        next_expiry: Some(1_900_000_000),
    });
    metrics.store_failed("usage");
    metrics.webhook_told("delivered");
    metrics.set_webhook_waiting(3);
    metrics.admin_request(200);
    metrics.admin_token_refused();
    metrics.admin_sign_in("accepted");
    metrics.set_admin_sessions(2);
    metrics.set_endpoints(4, [("backend", "10.0.0.1:80"), ("backend", "10.0.0.2:80")]);
    metrics.set_certificates([("api.example.com", 1_800_000_000)]);
    metrics.set_rate_limits(vec![("per-key".to_owned(), 12, 3)]);
    let off = AccessLog::open(Default::default(), Default::default(), Default::default()).unwrap();
    metrics.set_access_log(off);
    let worker = metrics.worker();
    worker
        .request(&RequestSample { upstream: Some((shared("backend"), Duration::ZERO)), ..sample("orders", "cms", 9) });
    worker.decision("refused", "credential_missing", Duration::from_nanos(700));
    worker.deprecated_credential("secret", "cms");
    worker.connection_opened("public");
    worker.connection_opened("public");
    worker.connection_closed("public");
    worker.accept_error("public");
    worker.limit_hit("head_bytes");
    worker.rate_limit("per-key", "refused");
    worker.malformed("bad_chunk");
    worker.tls_handshake_failed("public");
    worker.upstream_failure("backend", "connect_refused");
    worker.upstream_retry("backend");
    worker.upstream_connection(shared("backend"), false);
    worker.upstream_connection(shared("backend"), true);
    worker.upstream_ejected("backend", "10.0.0.1:80", true);
    worker.upstream_ejected("gone", "10.0.0.3:80", true);
    worker.downstream_closed("orders");
    worker.panic();
    metrics
}

#[test]
fn each_event_reaches_its_metric_under_its_labels() {
    let text = everything().render();
    for (series, expected) in [
        (r#"keygate_decisions_total{outcome="refused",reason="credential_missing"}"#, 1.0),
        (r#"keygate_decision_duration_seconds_bucket{le="0.0000005"}"#, 0.0),
        (r#"keygate_decision_duration_seconds_bucket{le="0.000001"}"#, 1.0),
        ("keygate_decision_duration_seconds_sum", 0.000_000_7),
        (r#"keygate_deprecated_credentials_total{source="secret",client_type="cms"}"#, 1.0),
        (r#"keygate_connections{listener="public"}"#, 1.0),
        (r#"keygate_connections_total{listener="public"}"#, 2.0),
        (r#"keygate_accept_errors_total{listener="public"}"#, 1.0),
        (r#"keygate_limit_hits_total{limit="head_bytes"}"#, 1.0),
        (r#"keygate_malformed_requests_total{code="bad_chunk"}"#, 1.0),
        (r#"keygate_tls_handshake_failures_total{listener="public"}"#, 1.0),
        (r#"keygate_upstream_failures_total{upstream="backend",kind="connect_refused"}"#, 1.0),
        (r#"keygate_upstream_retries_total{upstream="backend"}"#, 1.0),
        (r#"keygate_upstream_connections_total{upstream="backend",reused="false"}"#, 1.0),
        (r#"keygate_upstream_connections_total{upstream="backend",reused="true"}"#, 1.0),
        (r#"keygate_upstream_ejections_total{upstream="backend",server="10.0.0.1:80"}"#, 1.0),
        (r#"keygate_upstream_ejected{upstream="backend",server="10.0.0.1:80"}"#, 1.0),
        (r#"keygate_upstream_ejected{upstream="backend",server="10.0.0.2:80"}"#, 0.0),
        (r#"keygate_downstream_closed_total{endpoint="orders"}"#, 1.0),
        ("keygate_panics_total", 1.0),
        (r#"keygate_rate_limits_total{policy="per-key",outcome="refused"}"#, 1.0),
        (r#"keygate_rate_limit_subjects{policy="per-key"}"#, 12.0),
        (r#"keygate_rate_limit_evictions_total{policy="per-key"}"#, 3.0),
        (r#"keygate_keys{state="active"}"#, 7.0),
        (r#"keygate_keys_expiring{within="1d"}"#, 2.0),
        ("keygate_key_next_expiry_timestamp_seconds", 1_900_000_000.0),
        (r#"keygate_store_failures_total{operation="usage"}"#, 1.0),
        (r#"keygate_webhook_deliveries_total{outcome="delivered"}"#, 1.0),
        ("keygate_webhook_waiting", 3.0),
        (r#"keygate_admin_requests_total{code="200"}"#, 1.0),
        ("keygate_admin_refused_tokens_total", 1.0),
        (r#"keygate_admin_sign_ins_total{outcome="accepted"}"#, 1.0),
        ("keygate_admin_sessions", 2.0),
        ("keygate_endpoints", 4.0),
        ("keygate_config_generation", 3.0),
        ("keygate_config_last_reload_successful", 1.0),
        ("keygate_config_last_reload_success_timestamp_seconds", 1_700_000_001.0),
        (r#"keygate_config_reloads_total{outcome="applied"}"#, 1.0),
        (r#"keygate_config_reloads_total{outcome="rejected"}"#, 0.0),
        (r#"keygate_tls_certificate_not_after_timestamp_seconds{name="api.example.com"}"#, 1_800_000_000.0),
        ("keygate_workers", 1.0),
        ("keygate_draining", 0.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    // A server that is no longer configured is nobody's worry.
    assert!(!text.contains(r#"keygate_upstream_ejected{upstream="gone""#), "{text}");
}

#[test]
fn what_is_declared_is_what_is_shown() {
    let text = everything().render();
    let declared: BTreeMap<_, _> = METRICS.iter().map(|metric| (metric.name, metric)).collect();
    assert_eq!(declared.len(), METRICS.len(), "a name is declared twice");

    let mut shown = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert_eq!(declared[name].help, help, "{name}");
            assert!(shown.insert(name), "{name} stands twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(declared[name].kind.as_str(), kind, "{name}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|name| declared.get(name).is_some_and(|metric| metric.kind == Kind::Histogram))
                .unwrap_or(name);
            let names: Vec<_> = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0)).collect();
            let names: Vec<_> = names.into_iter().filter(|label| *label != "le").collect();
            assert_eq!(names, declared[name].labels, "{line}");
        }
    }
    assert_eq!(shown, declared.keys().copied().collect(), "shown and declared differ");
}

#[test]
fn the_manual_lists_every_metric_as_it_is_declared() {
    // A row of the manual: | `name` | kind | `label`, `label` | ...
    let manual = include_str!("../../../docs/METRICS.md");
    let mut rows = BTreeSet::new();
    for line in manual.lines().filter(|line| line.starts_with("| `keygate_") || line.starts_with("| `process_")) {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        assert!(rows.insert((cells[1].clone(), cells[2].clone(), cells[3].clone())), "twice in the manual: {line}");
    }
    let declared = METRICS.iter().map(|metric| {
        let labels = if metric.labels.is_empty() { "-".to_owned() } else { metric.labels.join(", ") };
        (metric.name.to_owned(), metric.kind.as_str().to_owned(), labels)
    });
    let declared: BTreeSet<_> = declared.collect();
    assert_eq!(rows, declared, "docs/METRICS.md and METRICS differ");
}

#[test]
fn what_is_no_longer_said_is_no_longer_shown() {
    let metrics = Metrics::default();
    metrics.set_certificates([("old.example.com", 1)]);
    assert!(metrics.render().contains("old.example.com"));
    metrics.set_certificates([("new.example.com", 2)]);
    assert!(!metrics.render().contains("old.example.com"));
}

#[test]
fn a_label_cannot_grow_without_bound() {
    let metrics = Metrics::default();
    let workers = [metrics.worker(), metrics.worker()];
    for number in 0..1_000 {
        let client_type = format!("type-{number}");
        workers[number % 2].request(&sample("orders", &client_type, 1));
    }
    let text = metrics.render();
    let shown = lines(&text, "keygate_requests_total");
    assert_eq!(shown.len(), 201, "200 client types and one for the rest");
    let other = r#"keygate_requests_total{endpoint="orders",method="GET",code="200",client_type="_other"}"#;
    assert_eq!(value(&text, other), 800.0);
}

#[test]
fn a_last_rejected_reload_is_not_successful() {
    let health = Health::default();
    let metrics = Metrics::new(health.clone());
    assert_eq!(value(&metrics.render(), "keygate_config_last_reload_successful"), 0.0);
    health.published(1, "ab", UNIX_EPOCH + Duration::from_secs(5));
    assert_eq!(value(&metrics.render(), "keygate_config_last_reload_successful"), 1.0);
    health.reload_finished(ReloadOutcome::Rejected { problem: "no".into() }, UNIX_EPOCH + Duration::from_secs(9));
    let text = metrics.render();
    assert_eq!(value(&text, "keygate_config_last_reload_successful"), 0.0);
    assert_eq!(value(&text, "keygate_config_last_reload_success_timestamp_seconds"), 5.0);
    assert_eq!(value(&text, r#"keygate_config_reloads_total{outcome="rejected"}"#), 1.0);
}

/// Writers and a scraper at the same time: nothing is lost, and no scrape sees a counter fall.
#[test]
fn counting_goes_on_exactly_while_it_is_scraped() {
    const REQUESTS: u64 = 40_000;
    let metrics = Metrics::default();
    let start = Barrier::new(3);
    let is_done = AtomicBool::new(false);
    let series = r#"keygate_requests_total{endpoint="orders",method="GET",code="200",client_type="cms"}"#;
    std::thread::scope(|scope| {
        let writers = [metrics.worker(), metrics.worker()].map(|worker| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                (0..REQUESTS).for_each(|_| worker.request(&sample("orders", "cms", 1)));
            })
        });
        let scraper = scope.spawn(|| {
            start.wait();
            let mut last = 0.0;
            while !is_done.load(Ordering::Relaxed) {
                let text = metrics.render();
                let now = if text.contains(series) { value(&text, series) } else { 0.0 };
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
        scraper.join().unwrap();
    });
    let text = metrics.render();
    assert_eq!(value(&text, series), 2.0 * REQUESTS as f64);
    assert_eq!(value(&text, r#"keygate_request_duration_seconds_count{endpoint="orders"}"#), 2.0 * REQUESTS as f64);
}

/// Not a benchmark: a guard against an accident of another order of magnitude. Prints what it measured.
#[test]
fn recording_and_rendering_are_cheap() {
    const TIMES: u32 = 100_000;
    let metrics = Metrics::default();
    let worker = metrics.worker();
    let names: Vec<_> = (0..1_000).map(|number| format!("endpoint-{number}")).collect();
    let samples: Vec<_> = names.iter().map(|name| sample(name, "backoffice", 120)).collect();
    samples.iter().for_each(|sample| worker.request(sample));
    let backend = shared("backend");
    let began = Instant::now();
    for number in 0..TIMES {
        let upstream = Some((backend, Duration::from_micros(80)));
        worker.request(&RequestSample { upstream, ..samples[number as usize % 100] });
    }
    let each = began.elapsed() / TIMES;
    let began = Instant::now();
    let bytes = metrics.render().len();
    let render = began.elapsed();
    println!("request(): {each:?}; render() of 1,000 endpoints: {render:?}, {bytes} bytes");
    assert!(each < Duration::from_micros(20), "{each:?}");
    assert!(render < Duration::from_secs(5), "{render:?}");
}
