//! What is seen of a gateway with these rules.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::*;
use crate::client::KeyType;
use crate::config::{Source, load};
use crate::credential::Secret;
use crate::keys::testing::{api_key, api_key_with, client, record};
use crate::telemetry::metrics::RequestSample;

/// An observatory over rules in YAML and the keys of a table.
pub(crate) fn observatory(yaml: &str, keys: Arc<KeyTable>, metrics: Metrics) -> Observatory {
    let source =
        Source::Text { name: "gateway.yaml".to_owned(), text: yaml.to_owned(), directory: std::env::temp_dir() };
    let loaded = load(&source, 1).unwrap_or_else(|problems| panic!("{problems}"));
    let observatory = Observatory::new(Seen {
        snapshot: Arc::new(CurrentSnapshot::new(loaded.snapshot)),
        keys,
        metrics,
        health: Health::default(),
        settings: loaded.settings,
    });
    observatory.set_issuing(&loaded.issuing);
    observatory
}

const RULES: &str = "\
admin: { address: 127.0.0.1:9090, console: false }
environment: live
upstreams:
  orders: \"http://127.0.0.1:9000\"
  echo: { echo: true }
endpoints:
  - name: orders
    path: /orders
    upstream: orders
    client_types: [partner, cms]
    permissions: { GET: [orders.read], POST: [orders.write] }
    routes:
      - { match: GET /orders/health, public: true, client_types: any, permissions: none }
  - name: open
    path: /open
    upstream: echo
    public: true
  - name: editors
    path: /editors
    upstream: echo
    https_only: true
    allow: clientType == 'cms' && groups.editors
  - name: private
    path: /private
    upstream: echo
    client_types: [jobs]
    networks: [10.0.0.0/8]
";

fn seen(keys: &Arc<KeyTable>) -> Observatory {
    observatory(RULES, Arc::clone(keys), Metrics::default())
}

fn answer(observatory: &Observatory, method: &str, target: &str, who: Who<'_>) -> Answer {
    let question = Question {
        method: method.parse().unwrap(),
        target,
        host: None,
        who,
        listener: None,
        address: "192.0.2.1".parse().unwrap(),
        is_secure: false,
    };
    observatory.explain(&question).unwrap()
}

#[test]
fn rules_are_shown_with_their_places() {
    let list = seen(&Arc::default()).endpoints();
    assert_eq!((list.generation, list.environment.as_deref()), (1, Some("live")));
    let orders = &list.items[0];
    assert_eq!((orders.name.as_str(), orders.path.as_str()), ("orders", "/orders"));
    assert_eq!((orders.place.file.as_str(), orders.place.line), ("gateway.yaml", Some(7)));
    assert_eq!((orders.upstream_kind.as_str(), orders.servers[0].authority.as_str()), ("http", "127.0.0.1:9000"));
    let [base, route] = &orders.rules[..] else { panic!("{:?}", orders.rules) };
    assert_eq!(base.client_types.as_deref().unwrap().len(), 2);
    assert_eq!(base.permissions[0].all_of, ["orders.read"]);
    assert_eq!((route.route.as_deref(), route.public), (Some("GET /orders/health"), true));
    assert_eq!(list.items[2].rules[0].expression.as_deref(), Some(r#"clientType == "cms" && groups.editors"#));
}

#[test]
fn permissions_are_those_that_rules_name() {
    let list = seen(&Arc::default()).permissions();
    let shown = serde_json::to_value(&list).unwrap();
    let named = |permission: &str, operation: &str| json!({ "permission": permission, "operation": operation, "endpoints": ["orders"] });
    let expected = [named("orders.read", "read"), named("orders.write", "write")];
    assert_eq!(shown, json!({ "resources": [{ "name": "orders", "permissions": expected }] }));
}

#[test]
fn the_table_of_access_says_who_can_reach_what() {
    use Access::{Conditions, No, Yes};
    let matrix = seen(&Arc::default()).access(&["batch".to_owned()]);
    assert_eq!(matrix.client_types, ["batch", "cms", "jobs", "partner"]);
    let cells = |endpoint: &str, route: Option<&str>| {
        let row = matrix.rows.iter().find(|row| row.endpoint == endpoint && row.route.as_deref() == route).unwrap();
        row.cells.iter().map(|cell| cell.access).collect::<Vec<_>>()
    };
    // Nobody, and then batch, cms, jobs, partner.
    for (endpoint, route, expected) in [
        ("orders", None, [No, No, Conditions, No, Conditions]),
        ("open", None, [Yes; 5]),
        ("editors", None, [No, No, Conditions, No, No]),
        ("private", None, [No, No, No, Conditions, No]),
    ] {
        assert_eq!(cells(endpoint, route), expected, "{endpoint}");
    }
    let kinds = |endpoint: &str, cell: usize| {
        let row = matrix.rows.iter().find(|row| row.endpoint == endpoint).unwrap();
        row.cells[cell].conditions.iter().map(|condition| condition.kind.clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("orders", 2), ["permissions", "permissions"]);
    assert_eq!(kinds("editors", 2), ["expression", "https"]);
    assert_eq!(kinds("editors", 1), ["expression"]);
    assert_eq!(kinds("private", 3), ["networks"]);
    assert_eq!(kinds("private", 1), ["client_type"]);
}

/// What the table calls a sure yes, and a sure no, must be what a request meets.
#[test]
fn the_table_of_access_agrees_with_decisions() {
    let observatory = seen(&Arc::new(KeyTable::new()));
    let keys = KeyTable::new();
    keys.set_loaded();
    let matrix = observatory.access(&[]);
    let mut compared = 0;
    for row in matrix.rows.iter().filter(|row| row.route.is_none()) {
        for (client_type, cell) in matrix.client_types.iter().zip(&row.cells[1..]) {
            let who = Who::Client(Arc::new(client("one", client_type)));
            let answer = answer(&observatory, "GET", &row.path, who);
            match cell.access {
                Access::Yes => assert!(answer.admitted, "{client_type} at {}: {answer:?}", row.path),
                Access::No => assert!(!answer.admitted, "{client_type} at {}: {answer:?}", row.path),
                Access::Conditions => continue,
            }
            compared += 1;
        }
    }
    assert!(compared >= 8, "{compared}");
}

#[test]
fn a_table_of_access_has_so_many_cells_and_says_that_it_is_cut() {
    let rules: String = (0..300)
        .map(|number| format!("  - {{ name: e{number}, path: /e{number}, upstream: echo, public: true }}\n"))
        .collect();
    let yaml = format!("upstreams: {{ echo: {{ echo: true }} }}\nendpoints:\n{rules}");
    let observatory = observatory(&yaml, Arc::default(), Metrics::default());
    let types: Vec<String> = (0..499).map(|number| format!("type-{number}")).collect();
    for (types, rows, is_cut) in [(&types[..], 200, true), (&types[..1], 300, false)] {
        let matrix = observatory.access(types);
        assert_eq!((matrix.rows.len(), matrix.is_cut), (rows, is_cut));
    }
}

#[test]
fn a_decision_is_explained_for_nobody_a_pasted_key_a_key_and_a_client() {
    let keys = Arc::new(KeyTable::new());
    let partner = api_key("key_partner", client("shop", "partner"));
    keys.extend(&[record(partner.clone(), &["the-partner-secret"])]);
    let observatory = seen(&keys);
    let secret = |text: &'static str| Who::Secret(Secret::borrowed(text.as_bytes()));
    let off = api_key_with("key_off", client("shop", "partner"), |terms| terms.active = false);
    let other_place = api_key_with("key_test", client("shop", "partner"), |terms| {
        terms.environment = Some(crate::client::Environment::parse("test").unwrap());
    });
    let publishable = api_key_with("key_pub", client("shop", "partner"), |terms| terms.key_type = KeyType::Publishable);
    for (method, target, who, code) in [
        ("GET", "/orders/17", Who::Nobody, "credential_missing"),
        ("GET", "/open", Who::Nobody, "admitted"),
        ("GET", "/orders/health", Who::Nobody, "admitted"),
        ("GET", "/orders/17", secret("the-partner-secret"), "admitted"),
        ("GET", "/orders/17", secret("another-secret"), "key_unknown"),
        ("DELETE", "/orders/17", secret("the-partner-secret"), "method_not_allowed"),
        ("GET", "/nowhere", secret("the-partner-secret"), "endpoint_not_found"),
        ("GET", "/orders/../private", secret("the-partner-secret"), "path_ambiguous"),
        ("GET", "/orders/17", Who::Key(partner), "admitted"),
        ("GET", "/orders/17", Who::Key(off), "key_disabled"),
        ("GET", "/orders/17", Who::Key(other_place), "key_wrong_environment"),
        ("GET", "/orders/17", Who::Key(publishable), "key_type_not_allowed"),
        ("GET", "/orders/17", Who::Client(Arc::new(client("shop", "cms"))), "admitted"),
        ("GET", "/orders/17", Who::Client(Arc::new(client("shop", "jobs"))), "client_type_not_allowed"),
        ("GET", "/private", Who::Client(Arc::new(client("shop", "jobs"))), "network_not_allowed"),
    ] {
        let shown = format!("{method} {target} {who:?}");
        let answer = answer(&observatory, method, target, who);
        assert_eq!(answer.code, code, "{shown}: {answer:?}");
        assert_eq!(answer.admitted, code == "admitted", "{shown}");
        let text = serde_json::to_string(&answer).unwrap();
        assert!(!text.contains("secret\"") && !text.contains("the-partner") && !text.contains("kg_made_up"), "{text}");
    }
    assert_eq!(keys.len(), 1, "made-up secrets are in no table that is in force");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let observatory = seen(&Arc::default());
    let ask = |target, host, listener, who| {
        let question = Question {
            method: http::Method::GET,
            target,
            host,
            who,
            listener,
            address: "192.0.2.1".parse().unwrap(),
            is_secure: false,
        };
        observatory.explain(&question).map(|_| ())
    };
    for (target, host, listener, expected) in [
        ("/open", None, None, Ok(())),
        ("http://api.example/open", None, None, Ok(())),
        ("/open", Some("api.example:8443"), None, Ok(())),
        ("open", None, None, Err(Unanswerable::Target)),
        ("", None, None, Err(Unanswerable::Target)),
        ("*", None, None, Err(Unanswerable::Target)),
        ("/open", Some("a b"), None, Err(Unanswerable::Host)),
        ("http://api.example/open", Some("other.example"), None, Err(Unanswerable::Host)),
        ("/open", None, Some("nowhere"), Err(Unanswerable::Listener)),
    ] {
        assert_eq!(ask(target, host, listener, Who::Nobody), expected, "{target} {host:?} {listener:?}");
    }
    let broken = Who::Secret(Secret::borrowed(b"a\r\nb"));
    assert_eq!(ask("/open", None, None, broken), Err(Unanswerable::Secret));
}

#[test]
fn traffic_has_a_past_that_is_told_behind_a_sample() {
    let metrics = Metrics::default();
    let observatory = observatory(RULES, Arc::default(), metrics.clone());
    let worker = metrics.worker();
    let orders: Arc<str> = "orders".into();
    let request = |status| {
        worker.request(&RequestSample {
            endpoint: Some(&orders),
            method: "GET",
            status,
            client_type: "",
            duration: Duration::from_millis(3),
            upstream: Some((&orders, Duration::from_millis(2))),
        });
    };
    let start = SystemTime::now() - Duration::from_secs(20);
    let at = |seconds| start + Duration::from_secs(seconds);
    observatory.sample(at(0));
    request(200);
    worker.decision("admitted", "ok", Duration::from_micros(2));
    observatory.sample(at(5));
    request(502);
    request(401);
    worker.decision("admitted", "anonymous", Duration::from_micros(2));
    worker.decision("refused", "key_unknown", Duration::from_micros(2));
    worker.upstream_failure("orders", "connect_refused");
    observatory.sample(at(10));

    let overview = observatory.overview(None);
    let told: Vec<_> = overview
        .history
        .samples
        .iter()
        .map(|s| (s.number, s.seconds, s.requests, s.admitted, s.refused, s.server_errors))
        .collect();
    assert_eq!(told, [(1, 5.0, 1, 1, 0, 0), (2, 5.0, 2, 1, 1, 1)]);
    assert!(overview.history.samples[1].latency.p50.is_some_and(|p50| (2.5..=5.0).contains(&p50)));
    assert_eq!(observatory.overview(Some(1)).history.samples.len(), 1);
    assert_eq!(observatory.overview(Some(2)).history.samples.len(), 0);
    assert_eq!((overview.traffic.requests, overview.traffic.admitted, overview.traffic.refused), (3, 2, 1));
    assert_eq!(overview.traffic.refusals, [WordCount { name: "key_unknown".to_owned(), count: 1 }]);
    assert_eq!(overview.traffic.admissions.len(), 2);
    assert_eq!(overview.recent.requests, 3);
    assert!((19.0..60.0).contains(&overview.recent.seconds), "{}", overview.recent.seconds);
    let orders = overview.upstreams.iter().find(|upstream| upstream.name == "orders").unwrap();
    assert_eq!((orders.requests, orders.failures[0].name.as_str()), (3, "connect_refused"));
    assert_eq!(orders.servers[0].authority, "127.0.0.1:9000");

    for number in 0..300_u64 {
        observatory.sample(at(15 + 5 * number));
    }
    let history = observatory.overview(None).history;
    assert_eq!((history.samples.len(), history.samples[179].number), (180, 302));
}

#[test]
fn settings_are_told_in_the_words_of_the_file_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("hook", "the-secret-of-the-webhook-0123456789");
    write("token", "kg_admin_the_token_of_the_file");
    let yaml = "\
admin: { address: 127.0.0.1:9090, token_file: token }
upstreams: { echo: { echo: true } }
keys:
  store: keys.db
  policy: { max_key_age: 30d, require_expiry: true }
  webhook: { url: \"https://hooks.example/in/the-secret-of-the-path\", secret_file: hook }
endpoints: [{ name: all, path: /, upstream: echo, public: true }]
";
    let source =
        Source::Text { name: "gateway.yaml".to_owned(), text: yaml.to_owned(), directory: folder.path().to_owned() };
    let loaded = load(&source, 1).unwrap_or_else(|problems| panic!("{problems}"));
    let observatory = Observatory::new(Seen {
        snapshot: Arc::new(CurrentSnapshot::new(loaded.snapshot)),
        keys: Arc::default(),
        metrics: Metrics::default(),
        health: Health::default(),
        settings: loaded.settings,
    });
    observatory.set_issuing(&loaded.issuing);
    let settings = observatory.settings();
    assert_eq!(settings.policy.max_age_seconds, Some(30 * 86_400));
    let text = serde_json::to_string(&settings).unwrap();
    assert!(!text.contains("the-secret") && !text.contains("kg_admin_"), "{text}");
    let configuration = &settings.configuration;
    assert_eq!(configuration["keys"]["webhook"], json!({ "host": "hooks.example" }));
    assert_eq!(configuration["admin"]["console"], true);
    assert_eq!(configuration["admin"]["token_file"], true);
    assert_eq!(configuration["timeouts"]["age"], "1h");
    assert_eq!(configuration["limits"]["head"], 32 << 10);
}
