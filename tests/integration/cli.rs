//! The command line: what it says, where it says it, and the exit code that scripts live by.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use super::support::gateway::{keygate, keygate_with_input};
use super::support::{Gateway, Origin, Report, keys};

const GOOD: &str = r#"
upstreams: { api: { url: "http://127.0.0.1:9" } }
clients:
  - id: shop
    client_type: cms
    permissions: [orders.read]
    keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" } ]
endpoints:
  - name: orders
    path: /orders
    upstream: api
    permissions: { GET: [orders.read], POST: [orders.write] }
  - name: open
    path: /open
    upstream: api
    public: true
"#;

const BAD: &str = r#"
upstreams: { api: { url: "http://127.0.0.1:9" } }
clients:
  - id: shop
    client_type: "two words"
    keys: [ { id: key_1, name: k, digest: "blake3:short" } ]
endpoints:
  - name: orders
    path: /orders
    upstream: nowhere
    publik: true
  - name: again
    path: /again
    upstream: api
  - name: words
    path: /words
    upstream: api
    allow: "clientType = 'x'"
"#;

fn directory_with(yaml: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("gateway.yaml"), keys::fill_digests(yaml)).expect("our own file");
    directory
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    keygate().current_dir(directory).args(arguments).output().expect("the binary starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn all(output: &Output) -> String {
    format!("{}{}", out(output), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn check_passes_a_good_file_and_reports_every_problem_of_a_bad_one() {
    let good = directory_with(GOOD);
    let output = run(good.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", all(&output));
    let bad = directory_with(BAD);
    let output = run(bad.path(), &["check"]);
    let text = all(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    for part in ["two words", "publik", "nowhere", "again", "clientType = 'x'", "gateway.yaml:10", "gateway.yaml:11"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let run_it = run(bad.path(), &["run"]);
    assert_eq!(run_it.status.code(), Some(78), "what does not check does not run: {}", all(&run_it));
    let named = run(bad.path(), &["check", "--config", "gateway.yaml"]);
    assert_eq!(named.status.code(), Some(78));
}

#[test]
fn check_speaks_json_to_programs() {
    let bad = directory_with(BAD);
    let output = run(bad.path(), &["check", "-o", "json"]);
    assert_eq!(output.status.code(), Some(78));
    let json: serde_json::Value =
        serde_json::from_str(&out(&output)).unwrap_or_else(|error| panic!("{error}: {}", all(&output)));
    let text = json.to_string();
    for part in ["\"line\":11", "publik", "nowhere"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let good = directory_with(GOOD);
    let output = run(good.path(), &["check", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0));
    serde_json::from_str::<serde_json::Value>(&out(&output)).expect("JSON for a good file too");
}

/// Each row is a whole mistake, and a word that must stand in the report.
#[test]
fn mistakes_that_could_open_a_door_are_problems() {
    let mut report = Report::new();
    let endpoint = |rule: &str| {
        format!(
            "upstreams: {{ api: {{ url: \"http://127.0.0.1:9\" }} }}\nendpoints:\n  - {{ name: e, path: /e, upstream: api, {rule} }}\n"
        )
    };
    let block = |rule: &str| {
        format!(
            "upstreams: {{ api: {{ url: \"http://127.0.0.1:9\" }} }}\nendpoints:\n  - name: e\n    path: /e\n    upstream: api\n{rule}"
        )
    };
    let client = |keys: &str| {
        format!("{}\nclients:\n  - {{ id: a, client_type: x, keys: [ {keys} ] }}\n", endpoint("public: true"))
    };
    let digest = keys::blake3("one");
    let good = client(&format!("{{ id: k, name: k, digest: \"{digest}\" }}"));
    let accepted = directory_with(&good);
    report.equal("a good neighbour", run(accepted.path(), &["check"]).status.code(), Some(0));
    for (row, yaml) in [
        ("no rule at all", endpoint("methods: [GET]")),
        ("an expression that YAML takes for a tag", block("    allow: !groups.x\n")),
        ("an empty expression", endpoint("allow: \"\"")),
        ("a null expression", endpoint("allow: ~")),
        ("an unknown root", endpoint("allow: \"Groups.admin\"")),
        ("a type error", endpoint("allow: \"!clientType == 'A'\"")),
        ("a string that is no verdict", endpoint("allow: \"clientType\"")),
        ("a method that is none", endpoint("permissions: { \"GE T\": [a.read] }")),
        ("a permission that is none", endpoint("permissions: [orders]")),
        ("an unknown upstream", endpoint("public: true").replace("upstream: api", "upstream: apis")),
        ("an unknown field", endpoint("public: true, allowed: true")),
        ("a path without a slash", endpoint("public: true").replace("/e", "e")),
        ("a path with dots", endpoint("public: true").replace("/e", "/a/../e")),
        ("a parameter named twice", endpoint("public: true").replace("/e", "/:a/:a")),
        (
            "two endpoints for one path",
            endpoint("public: true") + "  - { name: f, path: /e, upstream: api, public: true }\n",
        ),
        (
            "two endpoints of one name",
            endpoint("public: true") + "  - { name: e, path: /f, upstream: api, public: true }\n",
        ),
        ("two clients of one name", good.clone() + "  - { id: a, client_type: y, keys: [] }\n"),
        (
            "one digest for two keys",
            client(&format!("{{ id: k, name: k, digest: \"{digest}\" }}, {{ id: l, name: l, digest: \"{digest}\" }}")),
        ),
        (
            "one id for two keys",
            client(&format!(
                "{{ id: k, name: k, digest: \"{digest}\" }}, {{ id: k, name: l, digest: \"{}\" }}",
                keys::blake3("two")
            )),
        ),
        ("a plain key for a digest", client("{ id: k, name: k, digest: \"kg_live_plainplainplainplainplain\" }")),
        (
            "an expiry that is no time",
            client(&format!("{{ id: k, name: k, expires_at: tomorrow, digest: \"{digest}\" }}")),
        ),
        ("a network that is none", endpoint("api_key: required, networks: [10.0.0.0/33]")),
        ("an upstream that is no URL", endpoint("public: true").replace("http://127.0.0.1:9", "127.0.0.1:9")),
        ("an upstream with a key in it", endpoint("public: true").replace("http://", "http://user:secret@")),
        (
            "an upstream that is our admin address",
            endpoint("public: true").replace("127.0.0.1:9\"", "127.0.0.1:9090\""),
        ),
        ("an upstream that does not resolve", endpoint("public: true").replace("127.0.0.1:9", "nowhere.invalid:9")),
        ("a key twice", endpoint("public: true, public: false")),
        ("nothing", String::new()),
        ("no endpoints", "upstreams: {}\n".to_string()),
        ("a list", "- a\n".to_string()),
        (
            "any origin with cookies",
            endpoint("api_key: required, cors: { origins: any, methods: [GET], credentials: true }"),
        ),
    ] {
        let directory = directory_with(&yaml);
        let output = run(directory.path(), &["check"]);
        report.holds(
            row,
            format!("exit {:?}\n{yaml}\n{}", output.status.code(), all(&output)),
            output.status.code() == Some(78),
        );
        report.holds(row, "a plain key is repeated", !all(&output).contains("plainplainplain"));
    }
}

#[test]
fn explain_tells_the_verdict_the_rule_and_its_place() {
    let directory = directory_with(GOOD);
    let mut report = Report::new();
    for (arguments, input, code, parts) in [
        (
            &["explain", "GET", "/orders/1", "--key-stdin"][..],
            "shop-key\n",
            0,
            &["orders", "gateway.yaml:", "shop"][..],
        ),
        (
            &["explain", "POST", "/orders", "--key-stdin"][..],
            "shop-key\n",
            4,
            &["permission_missing", "orders.write", "gateway.yaml:"][..],
        ),
        (&["explain", "GET", "/orders"][..], "", 4, &["credential_missing"][..]),
        (&["explain", "GET", "/orders", "--key-stdin"][..], "nobody\n", 4, &["key_unknown"][..]),
        (&["explain", "GET", "/orders", "--header", "X-Api-Key: shop-key"][..], "", 0, &["orders"][..]),
        (&["explain", "GET", "/open"][..], "", 0, &["open"][..]),
        (&["explain", "GET", "/nowhere"][..], "", 4, &["endpoint_not_found"][..]),
        (&["explain", "GET", "/open/../orders"][..], "", 4, &["path_ambiguous"][..]),
        (&["explain", "DELETE", "/orders", "--key-stdin"][..], "shop-key", 4, &["method_not_allowed"][..]),
    ] {
        let output = keygate_with_input(directory.path(), arguments, input);
        let text = all(&output);
        report.equal(format!("{arguments:?}"), output.status.code(), Some(code));
        for part in parts {
            report.holds(format!("{arguments:?}"), format!("{part} is missing in\n{text}"), text.contains(part));
        }
        report.holds(format!("{arguments:?}"), "the key is repeated", !text.contains("shop-key"));
    }
}

#[test]
fn hash_gives_the_line_that_a_configuration_holds() {
    let directory = tempfile::tempdir().expect("a directory");
    for input in ["my-imported-key", "my-imported-key\n", "my-imported-key\r\n"] {
        let output = keygate_with_input(directory.path(), &["hash"], input);
        assert_eq!(output.status.code(), Some(0), "{}", all(&output));
        assert_eq!(out(&output).trim(), keys::blake3("my-imported-key"), "{input:?}");
    }
    for input in ["", "\n", "two words\n"] {
        let output = keygate_with_input(directory.path(), &["hash"], input);
        assert_ne!(output.status.code(), Some(0), "{input:?}: {}", all(&output));
        assert_eq!(out(&output), "", "{input:?}");
    }
}

#[test]
fn init_writes_a_file_that_passes_check_and_never_over_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = run(directory.path(), &["init"]);
    assert_eq!(output.status.code(), Some(0), "{}", all(&output));
    let path = directory.path().join("gateway.yaml");
    let written = std::fs::read_to_string(&path).expect("it was written");
    assert!(written.contains("endpoints:"), "{written}");
    let output = run(directory.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", all(&output));
    let again = run(directory.path(), &["init"]);
    assert_ne!(again.status.code(), Some(0), "{}", all(&again));
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), written);
}

#[test]
fn the_schema_is_json_and_knows_every_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = run(directory.path(), &["schema"]);
    assert_eq!(output.status.code(), Some(0), "{}", all(&output));
    let schema: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("no properties: {schema}"));
    for key in [
        "listen",
        "admin",
        "observe",
        "workers",
        "environment",
        "log",
        "access_log",
        "trusted_proxies",
        "trusted_identity",
        "limits",
        "timeouts",
        "credentials",
        "key_prefixes",
        "identity_headers",
        "errors",
        "require_permissions",
        "https_only",
        "upstreams",
        "keys",
        "clients",
        "endpoints",
    ] {
        assert!(properties.contains_key(key), "{key} is not in the schema");
    }
}

#[test]
fn version_completion_and_man_come_from_the_binary() {
    let directory = tempfile::tempdir().expect("a directory");
    let version = run(directory.path(), &["version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(out(&version).contains(env!("CARGO_PKG_VERSION")), "{}", out(&version));
    for shell in ["bash", "zsh", "fish"] {
        let output = run(directory.path(), &["completion", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}: {}", all(&output));
        assert!(out(&output).contains("keygate") && out(&output).contains("explain"), "{shell}");
    }
    let man = run(directory.path(), &["man"]);
    assert_eq!(man.status.code(), Some(0), "{}", all(&man));
    assert!(out(&man).contains(".TH"), "{}", out(&man));
}

#[test]
fn usage_errors_are_2_and_a_missing_file_is_a_bad_configuration() {
    let directory = tempfile::tempdir().expect("a directory");
    for arguments in [&["nonsense"][..], &["run", "--nonsense"][..], &["explain"][..], &["explain", "GET"][..]] {
        let output = run(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", all(&output));
    }
    for arguments in [&["run"][..], &["check"][..], &["run", "--config", "other.yaml"][..]] {
        let output = run(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {}", all(&output));
        assert!(all(&output).contains(".yaml"), "{}", all(&output));
    }
}

#[test]
fn a_port_in_use_is_named_and_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let mut report = Report::new();
    for (row, lines) in [
        ("the listener", format!("listen: [ {{ address: \"127.0.0.1:{port}\" }} ]\nadmin: off\n")),
        (
            "the admin listener",
            format!("listen: [ {{ address: 127.0.0.1:0 }} ]\nadmin: {{ address: \"127.0.0.1:{port}\" }}\n"),
        ),
    ] {
        let directory = directory_with(&format!("{lines}{GOOD}"));
        let output = run(directory.path(), &["run"]);
        report.equal(row, output.status.code(), Some(1));
        report.holds(row, all(&output), all(&output).contains(&port.to_string()));
    }
}

#[test]
fn two_gateways_never_share_a_port() {
    let origin = Origin::start();
    let first = Gateway::before(
        &origin,
        "upstreams: { api: { url: \"{{origin}}\" } }\nendpoints: [ { name: e, path: /, upstream: api, public: true } ]\n",
    );
    let lines = format!("listen: [ {{ address: \"{}\" }} ]\nadmin: off\n", first.address());
    let directory = directory_with(&format!("{lines}{GOOD}"));
    let output = run(directory.path(), &["run"]);
    assert_eq!(output.status.code(), Some(1), "{}", all(&output));
}

#[test]
fn healthcheck_asks_the_running_gateway() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let yaml = format!("listen: [ {{ address: 127.0.0.1:0 }} ]\nadmin: {{ address: \"127.0.0.1:{port}\" }}\n{GOOD}");
    let directory = directory_with(&yaml);
    let address = format!("127.0.0.1:{port}");
    let output = run(directory.path(), &["healthcheck", "--address", &address]);
    assert_eq!(output.status.code(), Some(69), "nobody is there: {}", all(&output));
    let gateway = Gateway::with(&yaml).start();
    let output = run(gateway.directory(), &["healthcheck", "--address", &address]);
    assert_eq!(output.status.code(), Some(0), "{}", all(&output));
}

#[test]
fn a_published_demonstration_key_is_refused_behind_an_open_address() {
    let published = "kg_demo_shop_PublishedForDemonstrationNeverUse0qiH73";
    for (address, code) in [("0.0.0.0:0", 78), ("127.0.0.1:0", 0)] {
        let yaml = format!("listen: [ {{ address: \"{address}\" }} ]\n{}", GOOD.replace("shop-key", published));
        let directory = directory_with(&yaml);
        let output = run(directory.path(), &["check"]);
        assert_eq!(output.status.code(), Some(code), "{address}: {}", all(&output));
    }
}

#[test]
fn variables_of_the_environment_are_filled_in_and_a_missing_one_is_a_problem() {
    let directory = directory_with(&GOOD.replace("http://127.0.0.1:9", "http://${UPSTREAM_HOST}:9"));
    let with = keygate().current_dir(directory.path()).arg("check").env("UPSTREAM_HOST", "127.0.0.1").output();
    assert_eq!(with.expect("it runs").status.code(), Some(0));
    let without = run(directory.path(), &["check"]);
    assert_eq!(without.status.code(), Some(78), "{}", all(&without));
    assert!(all(&without).contains("UPSTREAM_HOST"));
}
