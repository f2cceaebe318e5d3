//! The files in `deploy/` do what they say, by the judgement of the tools that will read them.
//!
//! Needs `promtool`, `yamllint` and `systemd-analyze`; a missing one is a failure, since a file that nobody checked is a file
//! that does not work. Every metric and every label that a rule, a panel or the manual names must be one that keygate has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use keygate::telemetry::access_log::{AccessLog, Destination, Format};
use keygate::telemetry::health::{Health, ReloadOutcome};
use keygate::telemetry::metrics::{KeyFacts, Kind, METRICS, Metrics, RequestSample};
use keygate::telemetry::redact::Masks;
use serde_yaml::Value;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn yaml(path: impl AsRef<Path>) -> Value {
    serde_yaml::from_str(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Runs a tool in a folder with something to read, and gives what it wrote and whether it was content.
fn run(package: &str, folder: &Path, command: &[&str], input: &str) -> (bool, String) {
    use std::io::Write;
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "cannot run {}: {error}; it is in the Debian package `{package}`: apt-get install {package}",
                command[0]
            )
        });
    child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes()).expect("the tool reads");
    let output = child.wait_with_output().expect("the tool ends");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn assert_content(package: &str, folder: &Path, command: &[&str], input: &str) -> String {
    let (is_content, text) = run(package, folder, command, input);
    assert!(is_content, "{}:\n{text}", command.join(" "));
    text
}

/// Every series that there is, at least once.
fn every_metric() -> Metrics {
    let health = Health::default();
    let now = std::time::SystemTime::now();
    health.published(1, "abc", now);
    health.keys_loaded();
    health.reload_finished(ReloadOutcome::Unchanged, now);
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
    metrics.set_endpoints(1, [("backend", "10.0.0.1:80")]);
    metrics.set_rate_limits(vec![("per-key".to_owned(), 12, 3)]);
    metrics.set_certificates([("api.example.com", 1_900_000_000)]);
    metrics
        .set_access_log(AccessLog::open(Destination::Off, Format::Json, Masks::default()).expect("off is always had"));
    let worker = metrics.worker();
    let backend: Arc<str> = "backend".into();
    for endpoint in [Some("orders"), None, Some("with \"quotes\", \\ and\nlines")] {
        let endpoint: Option<Arc<str>> = endpoint.map(Arc::from);
        worker.request(&RequestSample {
            endpoint: endpoint.as_ref(),
            method: "GET",
            status: 200,
            client_type: "cms",
            duration: Duration::from_millis(3),
            upstream: Some((&backend, Duration::from_millis(2))),
        });
    }
    worker.decision("refused", "credential_missing", Duration::from_micros(1));
    worker.deprecated_credential("secret", "cms");
    worker.connection_opened("public");
    worker.accept_error("public");
    worker.limit_hit("head_bytes");
    worker.rate_limit("per-key", "refused");
    worker.malformed("bad_chunk");
    worker.tls_handshake_failed("public");
    worker.upstream_failure("backend", "connect_refused");
    worker.upstream_retry("backend");
    worker.upstream_connection(&backend, true);
    worker.upstream_ejected("backend", "10.0.0.1:80", true);
    worker.downstream_closed("orders");
    worker.panic();
    metrics
}

#[test]
fn what_prometheus_reads_is_as_it_wants_it() {
    let text = every_metric().render();
    for metric in METRICS {
        assert!(text.contains(&format!("# TYPE {} ", metric.name)), "{} is not shown", metric.name);
    }
    let complaints = assert_content("prometheus", &deploy(), &["promtool", "check", "metrics"], &text);
    assert_eq!(complaints, "");
}

#[test]
fn a_complaint_of_promtool_would_be_seen() {
    let bad = "# TYPE a counter\na{b=\"c\"} 1\n";
    assert!(!run("prometheus", &deploy(), &["promtool", "check", "metrics"], bad).0);
}

#[test]
fn every_yaml_file_is_tidy() {
    assert_content("yamllint", &deploy(), &["yamllint", "--strict", "-c", ".yamllint.yaml", "."], "");
}

// -- expressions ------------------------------------------------------------------------------------------------------

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | ':')
}

/// Complains of metrics and labels that keygate does not have.
fn complaints(expression: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let labels_of: BTreeMap<String, BTreeSet<&str>> = METRICS
        .iter()
        .flat_map(|metric| {
            let labels: BTreeSet<_> = metric.labels.iter().copied().chain(["instance", "job"]).collect();
            let mut names = vec![(metric.name.to_owned(), labels.clone())];
            if metric.kind == Kind::Histogram {
                names =
                    ["_bucket", "_sum", "_count"].map(|end| (format!("{}{end}", metric.name), labels.clone())).into();
                names[0].1.insert("le");
            }
            names
        })
        .collect();
    let known: BTreeSet<&str> = labels_of.values().flatten().copied().collect();

    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| is_name(c) || c == '"') {
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = &text[text.find('"').map_or(text.len(), |end| end + 1)..];
            continue;
        }
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let word;
        (word, rest) = rest.split_at(end);
        if word.starts_with("keygate_") || word.starts_with("process_") {
            let Some(labels) = labels_of.get(word) else {
                complaints.push(format!("there is no metric {word}"));
                continue;
            };
            if let Some(selector) = rest.strip_prefix('{') {
                // No value in these files has a brace or a comma in it.
                let (selector, behind) = selector.split_once('}').expect("a selector that ends");
                for matcher in selector.split(',').filter(|matcher| !matcher.trim().is_empty()) {
                    let label = matcher.trim().split(|c| !is_name(c)).next().unwrap_or_default();
                    if !labels.contains(label) {
                        complaints.push(format!("{word} has no label {label}"));
                    }
                }
                rest = behind;
            }
        } else if let ("by" | "on" | "without" | "ignoring" | "group_left", Some(list)) =
            (word, rest.trim_start().strip_prefix('('))
        {
            let (list, behind) = list.split_once(')').expect("a list that ends");
            for label in list.split(',').map(str::trim).filter(|label| !label.is_empty()) {
                if !known.contains(label) {
                    complaints.push(format!("no metric has a label {label}"));
                }
            }
            rest = behind;
        }
    }
    complaints
}

#[test]
fn a_name_that_is_wrong_would_be_seen() {
    for (expression, expected) in [
        (r#"sum by (endpoint) (rate(keygate_requests_total{code=~"5.."}[5m]))"#, vec![]),
        ("keygate_request_total", vec!["there is no metric keygate_request_total"]),
        ("keygate_request_duration_seconds", vec!["there is no metric keygate_request_duration_seconds"]),
        (r#"keygate_keys{status="active"}"#, vec!["keygate_keys has no label status"]),
        (r#"keygate_keys{state="a", le="1"}"#, vec!["keygate_keys has no label le"]),
        ("sum by (route) (keygate_keys)", vec!["no metric has a label route"]),
    ] {
        assert_eq!(complaints(expression), expected, "{expression}");
    }
}

/// Expressions, each with the place it stands in, are PromQL and name only what there is.
fn check_expressions(expressions: &[(String, String)]) {
    assert!(!expressions.is_empty());
    let mut rules = "groups:\n- name: all\n  rules:\n".to_owned();
    for (number, (place, expression)) in expressions.iter().enumerate() {
        assert_eq!(complaints(expression), Vec::<String>::new(), "{place}: {expression}");
        let expression =
            expression.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$endpoint", ".*");
        let quoted = serde_json::to_string(&expression).expect("a text is JSON");
        rules.push_str(&format!("  - record: test:expression_{number}\n    expr: {quoted}\n"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("rules.yaml"), rules).expect("room for a file");
    assert_content("prometheus", folder.path(), &["promtool", "check", "rules", "rules.yaml"], "");
}

#[test]
fn the_manuals_queries_are_queries() {
    let manual = read(deploy().join("../docs/METRICS.md"));
    let blocks = manual.split("```promql\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let queries: Vec<_> = blocks.flat_map(str::lines).map(|line| ("METRICS.md".to_owned(), line.to_owned())).collect();
    assert!(queries.len() >= 6, "{queries:?}");
    check_expressions(&queries);
}

// -- Prometheus -------------------------------------------------------------------------------------------------------

#[test]
fn the_rules_are_rules_and_wake_people_when_they_should() {
    let folder = deploy().join("prometheus");
    assert_content("prometheus", &folder, &["promtool", "check", "config", "--lint-fatal", "prometheus.yml"], "");
    assert_content("prometheus", &folder, &["promtool", "check", "rules", "--lint-fatal", "keygate.rules.yaml"], "");
    assert_content("prometheus", &folder, &["promtool", "test", "rules", "keygate.rules.test.yaml"], "");
}

#[test]
fn every_alert_says_what_it_is_and_where_to_read_on_and_is_tested() {
    let rules = yaml(deploy().join("prometheus/keygate.rules.yaml"));
    let tests = read(deploy().join("prometheus/keygate.rules.test.yaml"));
    let manual = read(deploy().join("../docs/METRICS.md"));
    let mut expressions = Vec::new();
    let groups = rules["groups"].as_sequence().expect("groups");
    for rule in groups.iter().flat_map(|group| group["rules"].as_sequence().expect("rules")) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&rule["alert"]);
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("critical" | "warning")), "{name}");
        for annotation in ["summary", "description"] {
            assert!(!text(&rule["annotations"][annotation]).is_empty(), "{name} has no {annotation}");
        }
        let runbook = text(&rule["annotations"]["runbook_url"]);
        assert_eq!(runbook, format!("docs/METRICS.md#{}", name.to_lowercase()), "{name}");
        assert!(manual.contains(&format!("\n### {name}\n")), "{name} is not in the manual");
        assert!(tests.contains(&name), "{name} is not tested");
        expressions.push((name, text(&rule["expr"])));
    }
    assert_eq!(manual.matches("\n### Keygate").count(), expressions.len(), "the manual has an alert that is gone");
    check_expressions(&expressions);
}

// -- Grafana ----------------------------------------------------------------------------------------------------------

fn each_expression(value: &serde_json::Value, place: &str, found: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(members) => {
            let place = members.get("title").and_then(|title| title.as_str()).unwrap_or(place);
            for (name, value) in members {
                match value.as_str() {
                    Some(text) if name == "expr" => found.push((place.to_owned(), text.to_owned())),
                    _ => each_expression(value, place, found),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| each_expression(value, place, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_only_for_what_there_is() {
    let text = read(deploy().join("grafana/keygate.json"));
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(dashboard["uid"], "keygate", "people have links to it");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<_> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "instance", "endpoint"]);

    let mut ids = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64()), "an id stands twice: {}", panel["id"]);
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{} has no unit", panel["title"]);
            assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), "{}", panel["title"]);
        }
    }
    let mut expressions = Vec::new();
    each_expression(&dashboard, "", &mut expressions);
    let variables: Vec<_> = variables.iter().filter_map(|variable| variable["definition"].as_str()).collect();
    for definition in &variables {
        assert_eq!(complaints(definition), Vec::<String>::new(), "{definition}");
    }
    assert!(expressions.len() > 30, "{}", expressions.len());
    for (title, expression) in &expressions {
        assert!(expression.contains("$instance"), "{title} does not obey the choice of an instance");
        asked.extend(METRICS.iter().map(|metric| metric.name).filter(|name| expression.contains(name)));
    }
    check_expressions(&expressions);
    let shown_nowhere: Vec<_> = METRICS.iter().map(|metric| metric.name).filter(|name| !asked.contains(name)).collect();
    let left_out = ["keygate_draining", "keygate_workers", "process_virtual_memory_bytes", "process_threads"];
    assert_eq!(shown_nowhere, left_out, "a metric that no panel shows");
}

// -- systemd ----------------------------------------------------------------------------------------------------------

/// The unit, with our own program in the place where the installed one would be.
fn unit() -> (tempfile::TempDir, String) {
    let text = read(deploy().join("systemd/keygate.service"));
    let folder = tempfile::tempdir().expect("a folder");
    let here = text.replace("/usr/bin/keygate", env!("CARGO_BIN_EXE_keygate"));
    assert_ne!(here, text);
    fs::write(folder.path().join("keygate.service"), here).expect("room for a file");
    fs::copy(deploy().join("systemd/keygate.socket"), folder.path().join("keygate.socket")).expect("room for a file");
    (folder, text)
}

#[test]
fn systemd_understands_the_units() {
    let (folder, _) = unit();
    let complaints = assert_content(
        "systemd",
        folder.path(),
        &["systemd-analyze", "verify", "--man=no", "./keygate.socket", "./keygate.service"],
        "",
    );
    let ours: Vec<_> = complaints.lines().filter(|line| line.contains("keygate")).collect();
    assert_eq!(ours, Vec::<&str>::new());
}

#[test]
fn the_unit_leaves_an_attacker_little() {
    let (folder, _) = unit();
    // Fails above 2.0 out of 10.
    let command =
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", "./keygate.service"];
    let (is_content, text) = run("systemd", folder.path(), &command, "");
    assert!(is_content, "{text}");
    assert!(text.contains("Overall exposure level"), "{text}");
}

// -- containers -------------------------------------------------------------------------------------------------------

const CALLERS: u64 = 8080;
const OBSERVE: u64 = 9091;
/// The default of `timeouts.drain`.
const DRAIN_SECONDS: u64 = 30;

#[test]
fn everybody_waits_longer_than_a_drain_takes() {
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().unwrap_or(0);
    let (_folder, unit) = unit();
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("a timeout");
    let compose = yaml(deploy().join("compose.yaml"));
    let grace = compose["services"]["keygate"]["stop_grace_period"].as_str().expect("a grace period");
    let deployment = yaml(deploy().join("kubernetes/deployment.yaml"));
    let pod = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(0);
    for (whose, waits) in [("systemd", seconds(stop)), ("compose", seconds(grace)), ("kubernetes", pod)] {
        assert!(waits >= DRAIN_SECONDS + 10, "{whose} waits {waits} seconds");
    }
}

#[test]
fn the_image_is_not_root_and_says_how_it_is() {
    let lines = read(deploy().join("Dockerfile"));
    let place = |text: &str| lines.find(text).unwrap_or_else(|| panic!("no {text} in the Dockerfile"));
    assert!(place("COPY Cargo.toml Cargo.lock ./") < place("COPY . ."), "dependencies come first");
    let last_stage = &lines[lines.rfind("\nFROM ").expect("stages")..];
    for line in [
        "USER 65532:65532\n",
        "STOPSIGNAL SIGTERM\n",
        "CMD [\"/usr/bin/keygate\", \"healthcheck\"]\n",
        "ENTRYPOINT [\"/usr/bin/keygate\"]\n",
        "ENV KEYGATE_CONFIG=/etc/keygate/gateway.yaml\n",
        "CMD [\"run\"]\n",
        "EXPOSE 8080 9091\n",
    ] {
        assert!(last_stage.contains(line), "no {line:?} in the last stage");
    }
    let list = read(deploy().join("Dockerfile.dockerignore"));
    assert!(list.lines().any(|line| line == "*"), "everything is left out but what is named");
    for needed in ["!Cargo.toml", "!Cargo.lock", "!src"] {
        assert!(list.lines().any(|line| line == needed), "{needed}");
    }
}

/// The addresses of a `gateway.yaml`, as the files around it take them for granted.
fn check_gateway(document: &Value, whose: &str) {
    let port = |address: &Value| {
        let address: std::net::SocketAddr = address.as_str().and_then(|text| text.parse().ok()).expect("an address");
        (address.ip(), u64::from(address.port()))
    };
    assert_eq!(port(&document["listen"][0]["address"]).1, CALLERS, "{whose}");
    assert_eq!(port(&document["observe"]["address"]).1, OBSERVE, "{whose}");
    let (admin, admin_port) = port(&document["admin"]["address"]);
    assert!(admin.is_loopback() && admin_port == 9090, "{whose}: the admin address stays within the machine");
    for endpoint in document["endpoints"].as_sequence().expect("endpoints") {
        let upstream = endpoint["upstream"].as_str().expect("an upstream");
        assert!(document["upstreams"].get(upstream).is_some(), "{whose}: no upstream {upstream}");
    }
}

#[test]
fn compose_runs_the_image_with_nothing_it_does_not_need() {
    check_gateway(&yaml(deploy().join("gateway.example.yaml")), "gateway.example.yaml");
    let compose = yaml(deploy().join("compose.yaml"));
    let service = &compose["services"]["keygate"];
    assert_eq!(service["read_only"].as_bool(), Some(true));
    assert_eq!(service["cap_drop"][0].as_str(), Some("ALL"));
    assert_eq!(service["build"]["dockerfile"].as_str(), Some("deploy/Dockerfile"));
    let ports: Vec<_> = service["ports"].as_sequence().expect("ports").iter().filter_map(Value::as_str).collect();
    assert_eq!(ports, ["8080:8080", "127.0.0.1:9091:9091"]);
}

#[test]
fn the_kubernetes_files_fit_together() {
    let folder = deploy().join("kubernetes");
    let named = yaml(folder.join("kustomization.yaml"));
    let named: BTreeSet<String> = named["resources"]
        .as_sequence()
        .expect("resources")
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect();
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(named, there);

    let objects: BTreeMap<_, _> = there.iter().map(|name| (&**name, yaml(folder.join(name)))).collect();
    for (file, object) in &objects {
        assert_eq!(object["metadata"]["name"].as_str(), Some("keygate"), "{file}");
        assert!(object["metadata"].get("namespace").is_none(), "{file} chooses a namespace for others");
        for label in ["name", "instance", "version", "component", "part-of", "managed-by"] {
            let label = format!("app.kubernetes.io/{label}");
            assert!(object["metadata"]["labels"][label.as_str()].is_string(), "{file}: {label}");
        }
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
        assert!(object["kind"].as_str() != Some("Secret"), "{file}: keys are made apart from these files");
    }

    let pod = &objects["deployment.yaml"]["spec"]["template"];
    let selector = &objects["deployment.yaml"]["spec"]["selector"]["matchLabels"];
    for (file, chosen) in [
        ("service.yaml", &objects["service.yaml"]["spec"]["selector"]),
        ("poddisruptionbudget.yaml", &objects["poddisruptionbudget.yaml"]["spec"]["selector"]["matchLabels"]),
        ("networkpolicy.yaml", &objects["networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"]),
        ("deployment.yaml", selector),
    ] {
        let chosen = chosen.as_mapping().unwrap_or_else(|| panic!("{file} selects nothing"));
        assert!(!chosen.is_empty(), "{file}");
        for (label, value) in chosen {
            assert_eq!(pod["metadata"]["labels"].get(label), Some(value), "{file}: {label:?}");
        }
    }

    let container = &pod["spec"]["containers"][0];
    let ports: BTreeMap<_, _> = container["ports"]
        .as_sequence()
        .expect("ports")
        .iter()
        .map(|port| (port["name"].as_str().expect("a name"), port["containerPort"].as_u64().expect("a number")))
        .collect();
    assert_eq!(ports, BTreeMap::from([("http", CALLERS), ("observe", OBSERVE)]));
    for (probe, path) in [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
        assert_eq!(container[probe]["httpGet"]["path"].as_str(), Some(path), "{probe}");
        assert_eq!(container[probe]["httpGet"]["port"].as_str(), Some("observe"), "{probe}");
    }
    assert_eq!(objects["service.yaml"]["spec"]["ports"][0]["targetPort"].as_str(), Some("http"));
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"].as_str(), Some("9091"));

    let rights = &container["securityContext"];
    assert_eq!(rights["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(rights["allowPrivilegeEscalation"].as_bool(), Some(false));
    assert_eq!(rights["capabilities"]["drop"][0].as_str(), Some("ALL"));
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
    assert_eq!(pod["spec"]["securityContext"]["runAsUser"].as_u64(), Some(65532));
    assert_eq!(pod["spec"]["automountServiceAccountToken"].as_bool(), Some(false));

    let document = objects["configmap.yaml"]["data"]["gateway.yaml"].as_str().expect("a document");
    let document: Value = serde_yaml::from_str(document).expect("YAML within YAML");
    check_gateway(&document, "configmap.yaml");
    // What it reads is mounted, as whole folders.
    let mounts: Vec<_> = container["volumeMounts"].as_sequence().expect("mounts").iter().collect();
    assert!(mounts.iter().all(|mount| mount.get("subPath").is_none()), "a subPath is never updated");
    let folders: Vec<_> = mounts.iter().filter_map(|mount| mount["mountPath"].as_str()).collect();
    let config = container["args"][2].as_str().expect("a path");
    for file in [config, document["keys"]["file"].as_str().expect("a path")] {
        assert!(
            folders.iter().any(|folder| Path::new(file).parent() == Some(Path::new(folder))),
            "{file}: {folders:?}"
        );
    }
    let arguments: Vec<_> = container["args"].as_sequence().expect("args").iter().filter_map(Value::as_str).collect();
    assert_eq!(arguments[..2], ["run", "--config"]);
}

// -- configurations ---------------------------------------------------------------------------------------------------

/// Runs `keygate check` on a text in a folder that holds every file that the configurations here name. Services that only a
/// network of its own knows are put on this machine: `check` asks the resolver for every name.
fn check(text: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let certified = rcgen::generate_simple_self_signed(["big.example".to_owned()]).expect("a certificate");
    let keys = "clients:\n  - id: partner\n    client_type: cms\n    permissions: [orders.write]\n    keys:\n      \
        - { id: key_partner, name: partner, digest: \"blake3:";
    for (name, mode, text) in [
        ("certificate.pem", 0o644, certified.cert.pem()),
        ("ca.pem", 0o644, certified.cert.pem()),
        ("certificate-key.pem", 0o600, certified.signing_key.serialize_pem()),
        ("pepper", 0o600, "5a".repeat(32)),
        ("admin-token", 0o600, "kg_admin_only_for_this_check".to_owned()),
        ("webhook-secret", 0o600, "5a".repeat(32)),
        ("keys.yaml", 0o640, format!("{keys}{}\" }}\n", "7b".repeat(32))),
        ("more-keys.jsonl", 0o640, String::new()),
    ] {
        use std::os::unix::fs::PermissionsExt;
        fs::write(place(name), text).expect("room for a file");
        fs::set_permissions(place(name), fs::Permissions::from_mode(mode)).expect("our own file");
    }
    let mut text = text.replace("/etc/keygate/keys/keys.yaml", &place("keys.yaml").to_string_lossy());
    for elsewhere in ["//orders:", "//big-1.example\"", "//big-2.example:"] {
        let end = elsewhere.chars().last().expect("it is not empty");
        text = text.replace(elsewhere, &format!("//127.0.0.1{end}"));
    }
    fs::write(place("gateway.yaml"), text).expect("room for a file");
    run("keygate", folder.path(), &[env!("CARGO_BIN_EXE_keygate"), "check"], "")
}

#[test]
fn every_configuration_is_good_and_warns_of_nothing() {
    let map = yaml(deploy().join("kubernetes/configmap.yaml"));
    let mapped = map["data"]["gateway.yaml"].as_str().expect("a document").to_owned();
    let example = read(deploy().join("gateway.example.yaml"));
    let complete = read(deploy().join("examples/complete.yaml"));
    for (whose, text) in [
        ("gateway.example.yaml", &example),
        ("kubernetes/configmap.yaml", &mapped),
        ("examples/complete.yaml", &complete),
    ] {
        let (is_good, said) = check(text);
        assert!(is_good && said.starts_with("gateway.yaml: good, ") && said.lines().count() == 1, "{whose}: {said}");
    }
}

#[test]
fn a_configuration_that_is_not_good_would_be_seen() {
    let example = read(deploy().join("gateway.example.yaml"));
    let (is_good, text) = check(&example.replace("permissions:", "permission:"));
    assert!(!is_good && text.contains("did you mean `permissions`?"), "{text}");
}

#[test]
fn the_folders_manual_names_every_file_and_every_tool() {
    let manual = read(deploy().join("README.md"));
    for entry in fs::read_dir(deploy()).expect("the folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let shown = if entry.path().is_dir() { format!("`{name}/`") } else { format!("`{name}`") };
        assert!(name == "README.md" || name.starts_with('.') || manual.contains(&shown), "{shown}");
    }
    for tool in ["keygate check", "promtool", "yamllint", "systemd-analyze"] {
        assert!(manual.contains(&format!("`{tool}`")), "{tool}");
    }
}
