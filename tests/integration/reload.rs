//! Rules, keys and certificates change while requests flow: no answer is lost, none is wrong, a bad file changes nothing.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::support::{Caller, Gateway, Origin, Report, get, keys, wait};

fn config(endpoints: &str) -> String {
    format!(
        r#"
upstreams: {{ api: {{ url: "{{{{origin}}}}" }} }}
clients:
  - {{ id: shop, client_type: cms, keys: [ {{ id: key_shop, name: k, digest: "{{{{digest:shop-key}}}}" }} ] }}
  - {{ id: other, client_type: app, keys: [ {{ id: key_other, name: k2, digest: "{{{{digest:other-key}}}}" }} ] }}
endpoints:
  - {{ name: steady, path: /steady, upstream: api, api_key: required }}
{endpoints}
"#
    )
}

const OPEN: &str = "  - { name: moving, path: /moving, upstream: api, public: true }";
const CLOSED: &str = "  - { name: moving, path: /moving, upstream: api, client_types: [cms] }";

/// Callers that ask without a pause, on kept-alive connections, and count what they were answered.
struct Traffic {
    stopped: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Traffic {
    fn start(gateway: &Gateway) -> Self {
        let (stopped, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let address = gateway.address();
        let rows = [("shop-key", "200"), ("other-key", "200"), ("nobody", "401 credential_rejected")];
        let threads = rows.map(|(key, expected)| {
            let (stopped, sent) = (Arc::clone(&stopped), Arc::clone(&sent));
            thread::spawn(move || {
                let mut wrong = Vec::new();
                let mut caller = Caller::connect(address);
                while !stopped.load(Ordering::SeqCst) {
                    caller.send(super::support::caller::text_of("GET", "/steady/x", &[("x-api-key", key)], b""));
                    match caller.try_response("GET") {
                        Ok(response) if response.verdict() == expected => {}
                        Ok(response) => wrong.push(format!("{key}: {}", response.verdict())),
                        Err(error) => {
                            wrong.push(format!("{key}: lost, {error}"));
                            caller = Caller::connect(address);
                        }
                    }
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                wrong
            })
        });
        Self { stopped, sent, threads: threads.into() }
    }

    /// Lets a few more requests pass.
    fn flow(&self) {
        let target = self.sent.load(Ordering::SeqCst) + 30;
        wait::until("requests to flow", || (self.sent.load(Ordering::SeqCst) >= target).then_some(()));
    }

    fn finish(self) {
        self.flow();
        self.stopped.store(true, Ordering::SeqCst);
        let wrong: Vec<String> = self.threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        let sent = self.sent.load(Ordering::SeqCst);
        assert!(wrong.is_empty(), "{} of {sent} answers were wrong or lost: {wrong:?}", wrong.len());
    }
}

#[test]
fn rules_change_under_traffic_without_one_wrong_or_lost_answer() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &config(OPEN));
    let traffic = Traffic::start(&gateway);
    for round in 0..20 {
        let (rules, expected) = if round % 2 == 0 { (CLOSED, "401 credential_missing") } else { (OPEN, "200") };
        gateway.reload(&config(rules));
        assert_eq!(get(gateway.address(), "/moving", &[]).verdict(), expected, "round {round}");
        traffic.flow();
    }
    traffic.finish();
    assert!(gateway.generation() >= 21);
}

/// Each of two hundred changes turns over what a key holds, what the rule asks for, and the pepper that digests are made
/// with. By the old of one and the new of another nobody would get in.
#[test]
fn rules_and_keys_change_together_two_hundred_times_without_one_wrong_or_lost_answer() {
    let origin = Origin::start();
    let config = |turn: usize| {
        let pepper = [u8::try_from(turn % 2 + 1).expect("small"); 32];
        let mut text = format!(
            "upstreams: {{ api: {{ url: \"{{{{origin}}}}\" }} }}\nkeys: {{ pepper_file: pepper-{}.key }}\nworkers: 2\nclients:\n",
            turn % 2
        );
        // The others make the change take a moment.
        let others = (0..300).map(|number| format!("other-{number}"));
        for name in ["shop", "other"].map(str::to_owned).into_iter().chain(others) {
            let digest = keys::blake3_keyed(&format!("{name}-key"), &pepper);
            writeln!(
                text,
                "  - {{ id: {name}, client_type: cms, permissions: [turn.{turn}], keys: [ {{ id: key_{name}, name: {name}, digest: \"{digest}\" }} ] }}",
            )
            .expect("text takes text");
        }
        text + &format!(
            "endpoints:\n  - {{ name: steady, path: /steady, upstream: api, permissions: [turn.{turn}] }}\n"
        )
    };
    let pepper = |turn: usize| format!("{:02x}", turn % 2 + 1).repeat(32);
    let mut prepared = Gateway::with(&config(0)).origin(&origin);
    for turn in 0..2 {
        prepared = prepared.file(&format!("pepper-{turn}.key"), &pepper(turn));
    }
    let gateway = prepared.start();
    let traffic = Traffic::start(&gateway);
    for turn in 1..=200 {
        gateway.reload(&config(turn));
    }
    traffic.finish();
    assert!(gateway.generation() >= 201);
}

#[test]
fn a_change_is_in_force_on_connections_that_are_open_already() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &config(OPEN));
    let mut caller = Caller::connect(gateway.address());
    assert_eq!(caller.call("GET", "/moving", &[], b"").verdict(), "200");
    gateway.reload(&config(CLOSED));
    assert_eq!(caller.call("GET", "/moving", &[], b"").verdict(), "401 credential_missing");
    assert_eq!(caller.call("GET", "/moving", &[("x-api-key", "shop-key")], b"").verdict(), "200");
    assert_eq!(
        caller.call("GET", "/moving", &[("x-api-key", "other-key")], b"").verdict(),
        "403 client_type_not_allowed"
    );
}

#[test]
fn a_key_that_is_taken_out_is_refused_and_one_that_is_put_in_is_good() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &config(""));
    let verdict = |key: &str| get(gateway.address(), "/steady", &[("x-api-key", key)]).verdict();
    assert_eq!((verdict("other-key"), verdict("new-key")), ("200".into(), "401 credential_rejected".into()));
    gateway.reload(&config("").replace("other-key", "new-key"));
    assert_eq!((verdict("other-key"), verdict("new-key")), ("401 credential_rejected".into(), "200".into()));
    gateway.reload(&config("").replace("{ id: other,", "{ id: other, active: false,").replace("other-key", "new-key"));
    assert_eq!((verdict("shop-key"), verdict("new-key")), ("200".into(), "401 credential_rejected".into()));
}

#[test]
fn every_way_of_replacing_the_file_is_noticed_without_a_signal() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &config(OPEN));
    let text = |rules: &str| {
        format!("{}\nlisten: [{{address: 127.0.0.1:0}}]\nadmin: {{address: 127.0.0.1:0}}\nworkers: 1\n", config(rules))
    };
    let mut report = Report::new();
    for round in 0..6 {
        let (rules, expected) = if round % 2 == 0 { (CLOSED, 401) } else { (OPEN, 200) };
        let before = gateway.generation();
        if round < 3 {
            gateway.replace("gateway.yaml", &text(rules));
        } else {
            gateway.write("gateway.yaml", &text(rules));
        }
        gateway.wait_for_generation(before + 1);
        report.equal(round, get(gateway.address(), "/moving", &[]).status, expected);
    }
}

#[cfg(unix)]
#[test]
fn a_swapped_symlink_as_of_a_mounted_config_map_is_noticed() {
    use std::os::unix::fs::symlink;

    let origin = Origin::start();
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let text = |rules: &str| {
        let filled = config(rules).replace("{{origin}}", &origin.url());
        format!(
            "{}\nlisten: [{{address: 127.0.0.1:0}}]\nadmin: {{address: 127.0.0.1:0}}\nworkers: 1\n",
            keys::fill_digests(&filled)
        )
    };
    let publish = |version: usize, rules: &str| {
        let folder = format!("..2026_{version}");
        std::fs::create_dir(root.join(&folder)).expect("a folder");
        std::fs::write(root.join(&folder).join("gateway.yaml"), text(rules)).expect("a file");
        symlink(&folder, root.join("..data_tmp")).expect("a link");
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).expect("a swap");
    };
    publish(1, OPEN);
    symlink("..data/gateway.yaml", root.join("gateway.yaml")).expect("a link");
    let path = root.join("gateway.yaml").display().to_string();
    let gateway = Gateway::from_arguments(&["run", "--config", &path]);
    for (version, rules, expected) in [(2, CLOSED, 401), (3, OPEN, 200), (4, CLOSED, 401)] {
        let before = gateway.generation();
        publish(version, rules);
        gateway.wait_for_generation(before + 1);
        assert_eq!(get(gateway.address(), "/moving", &[]).status, expected, "version {version}");
    }
}

#[test]
fn a_bad_file_changes_nothing_and_is_seen_everywhere() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &config(OPEN));
    assert!((gateway.metric("keygate_config_last_reload_successful", &[]) - 1.0).abs() < f64::EPSILON);
    let traffic = Traffic::start(&gateway);
    for bad in [
        config("  - { name: moving, path: /moving, upstream: nowhere, public: true }"),
        config("  - { name: moving, path: /moving, upstream: api }"),
        config("  - { name: moving, path: /moving, upstream: api, publik: true }"),
        config("  - { name: moving, path: /moving, upstream: api, allow: \"groups.\" }"),
        config("  - { name: moving, path: /moving, upstream: api, allow: !groups.x }"),
        config("  - { name: again, path: /steady, upstream: api, public: true }"),
        config(OPEN).replace("other-key", "shop-key"),
        "this is: [not".to_string(),
        String::new(),
    ] {
        let rejected = gateway.metric("keygate_config_reloads_total", &[("outcome", "rejected")]);
        gateway.write_config(&bad);
        gateway.signal("HUP");
        wait::until("the rejection", || {
            (gateway.metric("keygate_config_reloads_total", &[("outcome", "rejected")]) > rejected).then_some(())
        });
        assert_eq!(gateway.generation(), 1, "{bad}");
        assert_eq!(get(gateway.address(), "/moving", &[]).verdict(), "200", "{bad}");
        assert!(gateway.metric("keygate_config_last_reload_successful", &[]).abs() < f64::EPSILON);
        let readiness = gateway.admin_get("/readyz");
        assert_eq!(readiness.status, 200, "the rules before it are in force");
        assert!(readiness.text().contains("rejected"), "{}", readiness.text());
        assert_eq!(get(gateway.address(), "/moving/x", &[]).status, 200);
    }
    traffic.finish();
    gateway.wait_for_output("publik");
    gateway.reload(&config(CLOSED));
    assert_eq!(get(gateway.address(), "/moving", &[]).status, 401);
    assert!((gateway.metric("keygate_config_last_reload_successful", &[]) - 1.0).abs() < f64::EPSILON);
    assert!(!gateway.stderr().contains("shop-key") && !gateway.stdout().contains("shop-key"));
}

#[test]
fn a_file_that_vanishes_changes_nothing() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &config(OPEN));
    std::fs::remove_file(gateway.path("gateway.yaml")).expect("our own file");
    gateway.signal("HUP");
    wait::until("the rejection", || {
        (gateway.metric("keygate_config_reloads_total", &[("outcome", "rejected")]) > 0.0).then_some(())
    });
    assert_eq!(get(gateway.address(), "/moving", &[]).status, 200);
    gateway.reload(&config(CLOSED));
    assert_eq!(get(gateway.address(), "/moving", &[]).status, 401);
}

#[test]
fn the_same_text_again_is_no_change() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &config(OPEN));
    gateway.write_config(&config(OPEN));
    gateway.signal("HUP");
    super::support::gateway::never("a generation without a change", Duration::from_millis(700), || {
        gateway.generation() != 1
    });
}

const LINES: usize = 20_000;

/// One key a line; line 777 may be switched off.
fn many_keys(is_active: bool) -> String {
    let mut text = String::with_capacity(LINES * 160);
    for number in 0..LINES {
        let digest = keys::blake3(&format!("many-{number}"));
        let active = if number == 777 && !is_active { ",\"active\":false" } else { "" };
        let _ = writeln!(
            text,
            "{{\"client\":\"client-{}\",\"client_type\":\"cms\",\"id\":\"many_{number}\",\"name\":\"n{number}\",\"digest\":\"{digest}\"{active}}}",
            number / 10
        );
    }
    text
}

#[test]
fn one_key_of_twenty_thousand_changes_under_traffic() {
    let origin = Origin::start();
    let yaml = format!("keys: {{ file: keys.jsonl }}\n{}", config(""));
    let gateway = Gateway::with(&yaml).origin(&origin).file("keys.jsonl", &many_keys(true)).start();
    let verdict =
        |number: usize| get(gateway.address(), "/steady", &[("x-api-key", &format!("many-{number}"))]).verdict();
    for number in [0, 776, 777, 778, LINES - 1] {
        assert_eq!(verdict(number), "200", "{number}");
    }
    assert_eq!(verdict(LINES), "401 credential_rejected");
    let traffic = Traffic::start(&gateway);
    for (is_active, expected) in [(false, "401 credential_rejected"), (true, "200"), (false, "401 credential_rejected")]
    {
        gateway.replace("keys.jsonl", &many_keys(is_active));
        gateway.signal("HUP");
        wait::until("the change of one key", || (verdict(777) == expected).then_some(()));
        for number in [776, 778, LINES - 1] {
            assert_eq!(verdict(number), "200", "{number}");
        }
        traffic.flow();
    }
    traffic.finish();
}

#[test]
fn a_keys_file_in_yaml_is_followed_too() {
    let origin = Origin::start();
    let keys = |plain: &str| {
        format!(
            "clients:\n  - {{ id: filed, client_type: cms, keys: [ {{ id: key_f, name: f, digest: \"{{{{digest:{plain}}}}}\" }} ] }}\n"
        )
    };
    let yaml = format!("keys: {{ file: keys.yaml }}\n{}", config(""));
    let gateway = Gateway::with(&yaml).origin(&origin).file("keys.yaml", &keys("filed-one")).start();
    let verdict = |key: &str| get(gateway.address(), "/steady", &[("x-api-key", key)]).verdict();
    assert_eq!((verdict("filed-one"), verdict("shop-key")), ("200".into(), "200".into()));
    gateway.replace("keys.yaml", &keys("filed-two"));
    wait::until("the new key", || (verdict("filed-two") == "200").then_some(()));
    assert_eq!((verdict("filed-one"), verdict("shop-key")), ("401 credential_rejected".into(), "200".into()));
}

#[test]
fn a_setting_that_needs_a_restart_is_named_and_the_rest_taken() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &format!("workers: 1\n{}", config(OPEN)));
    gateway.reload(&format!("workers: 2\n{}", config(CLOSED)));
    assert_eq!(get(gateway.address(), "/moving", &[]).status, 401);
    gateway.wait_for_output("workers");
    assert!(gateway.stderr().contains("restart"), "{}", gateway.stderr());
}
