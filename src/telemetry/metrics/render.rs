//! One scrape: adds up the cells and writes the text.
//!
//! Counters and gauges go through the exporter, which knows the escaping and the form; each scrape starts with an empty
//! one, so that what is no longer said (a certificate taken out of service) is no longer shown. Histograms are written
//! here, from sums, and so is the one counter that has a fraction, since the exporter's are whole numbers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::cells::{self, Bounds, DECISION_BOUNDS, Histogram, METHODS, Names, REQUEST_BOUNDS, Series, Space, Totals};
use super::process::Process;
use super::{Declaration, Facts, Kind, METRICS, Registry};
use crate::telemetry::health::{ReloadOutcome, Status};

const METADATA: Metadata<'static> = Metadata::new("keygate", Level::INFO, None);

/// Counters that come straight from the cells: which, under what name, and what its labels are numbers of.
const COUNTERS: &[(Series, &str, &[Space])] = &[
    (Series::Decision, "keygate_decisions_total", &[Space::Word, Space::Word]),
    (Series::Deprecated, "keygate_deprecated_credentials_total", &[Space::Source, Space::ClientType]),
    (Series::Opened, "keygate_connections_total", &[Space::Listener]),
    (Series::AcceptError, "keygate_accept_errors_total", &[Space::Listener]),
    (Series::LimitHit, "keygate_limit_hits_total", &[Space::Word]),
    (Series::Malformed, "keygate_malformed_requests_total", &[Space::Word]),
    (Series::TlsFailed, "keygate_tls_handshake_failures_total", &[Space::Listener]),
    (Series::UpstreamFailure, "keygate_upstream_failures_total", &[Space::Upstream, Space::Word]),
    (Series::UpstreamRetry, "keygate_upstream_retries_total", &[Space::Upstream]),
    (Series::UpstreamConnection, "keygate_upstream_connections_total", &[Space::Upstream, Space::Word]),
    (Series::Ejected, "keygate_upstream_ejections_total", &[Space::Upstream, Space::Server]),
    (Series::DownstreamClosed, "keygate_downstream_closed_total", &[Space::Endpoint]),
    (Series::RateLimit, "keygate_rate_limits_total", &[Space::RateLimit, Space::Word]),
    (Series::Panic, "keygate_panics_total", &[]),
];

pub(super) fn render(registry: &Registry) -> String {
    let mut totals = Totals::default();
    let workers = registry.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for worker in &workers {
        worker.add_to(&mut totals);
    }

    let mut scrape = Scrape::new(&registry.names);
    scrape.totals(&totals);
    scrape.facts(&registry.facts.lock().unwrap_or_else(PoisonError::into_inner), &totals);
    scrape.status(&registry.health.status());
    scrape.gauge("keygate_workers", &[], workers.len() as f64);
    let revision = option_env!("KEYGATE_REVISION").unwrap_or("unknown");
    scrape.gauge("keygate_build_info", &[env!("CARGO_PKG_VERSION"), revision], 1.0);
    scrape.gauge("process_start_time_seconds", &[], seconds_since_1970(registry.started));
    scrape.process(&Process::read());
    scrape.finish(&totals)
}

/// A scrape in the making.
struct Scrape {
    exporter: PrometheusRecorder,
    texts: Texts,
    process_cpu_seconds: Option<f64>,
}

impl Scrape {
    fn new(names: &Names) -> Self {
        let exporter = PrometheusBuilder::new().build_recorder();
        for metric in METRICS {
            match metric.kind {
                Kind::Counter => exporter.describe_counter(metric.name.into(), None, metric.help.into()),
                Kind::Gauge => exporter.describe_gauge(metric.name.into(), None, metric.help.into()),
                Kind::Histogram => {}
            }
        }
        Self { exporter, texts: Texts::new(names), process_cpu_seconds: None }
    }

    fn counter(&self, name: &'static str, labels: &[&str], value: u64) {
        self.exporter.register_counter(&series(name, labels), &METADATA).absolute(value);
    }

    fn gauge(&self, name: &'static str, labels: &[&str], value: f64) {
        self.exporter.register_gauge(&series(name, labels), &METADATA).set(value);
    }

    fn totals(&self, totals: &Totals) {
        let mut open = BTreeMap::<u32, u64>::new();
        for (key, count) in &totals.counts {
            let which = (key >> 56) as usize;
            if which == Series::Request as usize {
                let (endpoint, client_type, status, method) = cells::request_labels(*key);
                let endpoint = self.texts.get(Space::Endpoint, endpoint);
                let client_type = self.texts.get(Space::ClientType, client_type);
                let labels = [endpoint, METHODS[method.min(METHODS.len() - 1)], &status.to_string(), client_type];
                self.counter("keygate_requests_total", &labels, *count);
                continue;
            }
            let (first, second) = cells::labels(*key);
            if which == Series::Opened as usize {
                let closed = totals.counts.get(&cells::key(Series::Closed, first, second)).copied().unwrap_or(0);
                // One that was opened after the opened ones were added up may already be counted as closed.
                open.insert(first, count.saturating_sub(closed));
            }
            if let Some((_, name, spaces)) = COUNTERS.iter().find(|(series, ..)| *series as usize == which) {
                let labels = spaces.iter().zip([first, second]).map(|(space, number)| self.texts.get(*space, number));
                self.counter(name, &labels.collect::<Vec<_>>(), *count);
            }
        }
        for (listener, count) in open {
            self.gauge("keygate_connections", &[self.texts.get(Space::Listener, listener)], count as f64);
        }
        if !totals.counts.contains_key(&cells::key(Series::Panic, 0, 0)) {
            self.counter("keygate_panics_total", &[], 0);
        }
    }

    fn facts(&self, facts: &Facts, totals: &Totals) {
        for (state, count) in &facts.keys.by_state {
            self.gauge("keygate_keys", &[state], *count as f64);
        }
        for (within, count) in &facts.keys.expiring {
            self.gauge("keygate_keys_expiring", &[within], *count as f64);
        }
        if let Some(at) = facts.keys.next_expiry {
            self.gauge("keygate_key_next_expiry_timestamp_seconds", &[], at as f64);
        }
        for ((metric, label), count) in &facts.counts {
            let labels: &[&str] = if label.is_empty() { &[] } else { &[label] };
            self.counter(metric, labels, *count);
        }
        if let Some(waiting) = facts.webhook_waiting {
            self.gauge("keygate_webhook_waiting", &[], waiting as f64);
        }
        for (policy, subjects, evicted) in &facts.rate_limits {
            self.gauge("keygate_rate_limit_subjects", &[policy], *subjects as f64);
            self.counter("keygate_rate_limit_evictions_total", &[policy], *evicted);
        }
        self.gauge("keygate_admin_sessions", &[], facts.admin_sessions as f64);
        self.gauge("keygate_endpoints", &[], facts.endpoints as f64);
        for (name, at) in &facts.certificates {
            self.gauge("keygate_tls_certificate_not_after_timestamp_seconds", &[name], *at as f64);
        }
        for (upstream, server) in &facts.servers {
            let count = |series| {
                let first = self.texts.number(Space::Upstream, upstream)?;
                let second = self.texts.number(Space::Server, server)?;
                totals.counts.get(&cells::key(series, first, second)).copied()
            };
            let ejected = count(Series::Ejected).unwrap_or(0).saturating_sub(count(Series::TakenBack).unwrap_or(0));
            self.gauge("keygate_upstream_ejected", &[upstream, server], ejected as f64);
        }
        for server in &facts.servers {
            let count = facts.unhealthy.get(server).copied().unwrap_or(0);
            self.gauge("keygate_upstream_unhealthy", &[&server.0, &server.1], count as f64);
        }
        if let Some(log) = &facts.access_log {
            self.counter("keygate_access_log_lines_total", &[], log.written());
            self.counter("keygate_access_log_dropped_total", &[], log.dropped());
        }
    }

    fn status(&self, status: &Status) {
        self.gauge("keygate_config_generation", &[], status.generation as f64);
        let successful = status.generation > 0
            && !matches!(&status.last_reload, Some(last) if matches!(last.outcome, ReloadOutcome::Rejected { .. }));
        self.gauge("keygate_config_last_reload_successful", &[], f64::from(u8::from(successful)));
        if let Some(at) = status.last_success {
            let name = "keygate_config_last_reload_success_timestamp_seconds";
            self.gauge(name, &[], seconds_since_1970(at));
        }
        for (outcome, count) in status.reloads.by_outcome() {
            self.counter("keygate_config_reloads_total", &[outcome], count);
        }
        self.gauge("keygate_draining", &[], f64::from(u8::from(status.draining)));
    }

    fn process(&mut self, process: &Process) {
        self.process_cpu_seconds = process.cpu_seconds;
        for (name, value) in [
            ("process_resident_memory_bytes", process.resident_bytes),
            ("process_virtual_memory_bytes", process.virtual_bytes),
            ("process_open_fds", process.open_fds),
            ("process_max_fds", process.max_fds),
            ("process_threads", process.threads),
        ] {
            if let Some(value) = value {
                self.gauge(name, &[], value as f64);
            }
        }
    }

    fn finish(self, totals: &Totals) -> String {
        let mut text = self.exporter.handle().render();
        for (name, bounds, space, histograms) in [
            ("keygate_request_duration_seconds", REQUEST_BOUNDS, Space::Endpoint, &totals.requests),
            ("keygate_upstream_request_duration_seconds", REQUEST_BOUNDS, Space::Upstream, &totals.upstreams),
        ] {
            head(&mut text, name);
            for (number, histogram) in histograms.iter().enumerate() {
                let label = self.texts.get(space, u32::try_from(number).unwrap_or(1));
                write_histogram(&mut text, declaration(name), Some(label), bounds, histogram);
            }
            text.push('\n');
        }
        head(&mut text, "keygate_decision_duration_seconds");
        let decision = declaration("keygate_decision_duration_seconds");
        write_histogram(&mut text, decision, None, DECISION_BOUNDS, &totals.decisions);
        text.push('\n');
        if let Some(seconds) = self.process_cpu_seconds {
            head(&mut text, "process_cpu_seconds_total");
            writeln!(text, "process_cpu_seconds_total {seconds}\n").expect("a String takes all that is written");
        }
        sorted(&text)
    }
}

/// Label texts by number and numbers by text, as they are at one moment.
pub(super) struct Texts(Vec<(Space, Vec<Arc<str>>)>);

impl Texts {
    pub(super) fn new(names: &Names) -> Self {
        let spaces = [
            Space::Endpoint,
            Space::ClientType,
            Space::Upstream,
            Space::Server,
            Space::Listener,
            Space::Source,
            Space::RateLimit,
            Space::Word,
        ];
        Self(spaces.map(|space| (space, names.texts(space))).into())
    }

    fn of(&self, space: Space) -> &[Arc<str>] {
        self.0.iter().find(|(of, _)| *of == space).map_or(&[], |(_, texts)| texts)
    }

    /// The names are read after the counts, so that each number in the counts has its text.
    pub(super) fn get(&self, space: Space, number: u32) -> &str {
        self.of(space).get(number as usize).map_or("_other", |text| text)
    }

    fn number(&self, space: Space, text: &str) -> Option<u32> {
        // The first two texts stand for "none" and "other", whatever a name may be.
        let place = self.of(space).iter().skip(2).position(|known| **known == *text)?;
        u32::try_from(place + 2).ok()
    }
}

fn declaration(name: &str) -> &'static Declaration {
    METRICS
        .iter()
        .find(|metric| metric.name == name)
        .expect("every metric that is written is declared; a test asks each")
}

fn series(name: &'static str, labels: &[&str]) -> Key {
    let labels =
        declaration(name).labels.iter().zip(labels).map(|(label, value)| Label::new(*label, (*value).to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

fn seconds_since_1970(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn head(text: &mut String, name: &str) {
    let metric = declaration(name);
    writeln!(text, "# HELP {name} {}\n# TYPE {name} {}", metric.help, metric.kind.as_str())
        .expect("a String takes all that is written");
}

fn write_histogram(
    text: &mut String,
    metric: &Declaration,
    label: Option<&str>,
    bounds: Bounds,
    histogram: &Histogram,
) {
    let count: u64 = histogram.buckets.iter().sum();
    if count == 0 && label.is_some() {
        return;
    }
    let name = metric.name;
    let label = metric.labels.first().zip(label).map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
    let label = label.as_deref().unwrap_or("");
    let (comma, braces) = if label.is_empty() { ("", String::new()) } else { (",", format!("{{{label}}}")) };
    let mut so_far = 0;
    let mut write = || -> std::fmt::Result {
        for (bound, bucket) in bounds.iter().zip(histogram.buckets) {
            so_far += bucket;
            let bound = *bound as f64 / 1e9;
            writeln!(text, "{name}_bucket{{{label}{comma}le=\"{bound}\"}} {so_far}")?;
        }
        writeln!(text, "{name}_bucket{{{label}{comma}le=\"+Inf\"}} {count}")?;
        writeln!(text, "{name}_sum{braces} {}", histogram.sum_nanoseconds as f64 / 1e9)?;
        writeln!(text, "{name}_count{braces} {count}")
    };
    write().expect("a String takes all that is written");
}

/// A label value as the text format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Families by name, and the lines of each by label, so that two scrapes can be compared by eye. The buckets of a histogram
/// keep the order in which they rise.
fn sorted(text: &str) -> String {
    let mut families: Vec<Vec<&str>> =
        text.split("\n\n").map(|family| family.lines().filter(|line| !line.is_empty()).collect()).collect();
    families.retain(|lines| lines.iter().any(|line| !line.starts_with('#')));
    for lines in &mut families {
        if !lines.iter().any(|line| line.starts_with("# TYPE") && line.ends_with(" histogram")) {
            lines.sort_by_key(|line| !line.starts_with("# HELP"));
            let comments = lines.iter().take_while(|line| line.starts_with('#')).count();
            lines[comments..].sort_unstable();
        }
    }
    families.sort_by(|a, b| name_of(a).cmp(name_of(b)));
    let mut out = String::with_capacity(text.len());
    for lines in families {
        for line in lines {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn name_of<'a>(family: &[&'a str]) -> &'a str {
    family.first().and_then(|line| line.split(' ').nth(2)).unwrap_or("")
}
