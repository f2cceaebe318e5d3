//! Bad configurations and the exact report of each.
//!
//! Each `tests/problems/*.yaml` is loaded as it stands and its report compared with the `.txt` beside it. Run with
//! `KEYGATE_BLESS=1` to write the reports anew, and read what changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use keygate::config::{Loaded, Names, Problems, Source, Surroundings, load_in};
use keygate::keys::Timestamp;

/// 2025-06-01T00:00:00Z
const NOW: i64 = 1_748_736_000_000;

fn load(path: &Path) -> Result<Loaded, Problems> {
    let environment = |name: &str| (name == "SET").then(|| "value".to_owned());
    let surroundings =
        Surroundings { environment: &environment, names: Names::Assume, now: Timestamp::from_millis(NOW) };
    load_in(&Source::File(path.to_owned()), 1, &surroundings)
}

fn report(path: &Path) -> String {
    let directory = path.parent().map(|parent| format!("{}/", parent.display())).unwrap_or_default();
    let text = match load(path) {
        Ok(loaded) => loaded.warnings.to_string(),
        Err(problems) => problems.to_string(),
    };
    text.replace(&directory, "")
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode can be set");
}

#[test]
fn each_bad_configuration_has_its_report() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/problems");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() > 20);
    // A checkout may give any mode; the reports here are about other things.
    for name in ["files/keys.yaml", "files/keys.jsonl"] {
        set_mode(&directory.join(name), 0o640);
    }
    let mut wrong = BTreeMap::new();
    for path in files {
        let found = report(&path);
        let expected = path.with_extension("txt");
        if std::env::var_os("KEYGATE_BLESS").is_some() {
            fs::write(&expected, &found).expect("written");
        }
        if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.insert(path, found);
        }
    }
    for (path, found) in &wrong {
        println!("--- {}\n{found}", path.display());
    }
    assert!(wrong.is_empty(), "{} reports are not as expected", wrong.len());
}

#[test]
fn no_report_shows_what_may_be_a_key() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/problems");
    for entry in fs::read_dir(&directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let found = report(&path);
            for secret in ["kg_live_9aXk2mQ7rTz1bV8cN4dW0eY5", "9aXk2mQ7rTz1bV8cN4dW0eY5", "hunter2"] {
                assert!(!found.contains(secret), "{}", path.display());
            }
        }
    }
}

#[test]
fn the_short_example_loads_without_a_word() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.yaml");
    let loaded = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let records = loaded.keys.read_all().expect("nobody changes the files");
    for (record, known) in records.iter().zip(keygate::config::demo::DEMO_KEYS) {
        assert_eq!(record.key.client.id.as_str(), known.client);
        assert_eq!(keygate::config::demo::published(&record.secrets[0].digest), Some(known));
    }
}

/// Writes the complete example with everything it refers to into a directory of its own.
fn complete() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str, mode| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("written");
        set_mode(&path, mode);
        path
    };
    let certified = rcgen::generate_simple_self_signed(["big.example".to_owned()]).expect("a certificate");
    write("certificate.pem", &certified.cert.pem(), 0o644);
    write("ca.pem", &certified.cert.pem(), 0o644);
    write("certificate-key.pem", &certified.signing_key.serialize_pem(), 0o600);
    write("pepper", &"5a".repeat(32), 0o600);
    write("admin-token", "kg_admin_only_for_this_check\n", 0o600);
    write("webhook-secret", &"5a".repeat(32), 0o600);
    write("keys.yaml", "clients: []\n", 0o640);
    write("more-keys.jsonl", "", 0o640);
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples/complete.yaml"));
    let path = write("complete.yaml", &text.expect("the example"), 0o644);
    (directory, path)
}

#[test]
fn the_complete_example_loads_without_a_word_and_states_the_defaults() {
    let (directory, path) = complete();
    let loaded = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.watched_files.len(), 9, "{:?}", loaded.watched_files);
    assert_eq!(loaded.certificates.len(), 3);

    let bare = directory.path().join("bare.yaml");
    let text = "upstreams: { orders: { url: \"http://127.0.0.1:9000\" } }\n\
        endpoints: [{ name: orders, path: /orders, api_key: required }]\n";
    fs::write(&bare, text).expect("written");
    let bare = load(&bare).unwrap_or_else(|problems| panic!("{problems}"));
    let (given, usual) = (&loaded.settings, &bare.settings);
    assert_eq!(given.listeners[0], usual.listeners[0]);
    assert_eq!(
        (given.admin.map(|admin| admin.address), given.limits, given.timeouts, given.log, &given.access_log),
        (usual.admin.map(|admin| admin.address), usual.limits, usual.timeouts, usual.log, &usual.access_log)
    );
    let mut differences = given.differences(usual);
    // This machine may have as many cores as the example has workers.
    differences.retain(|name| name != "workers");
    assert_eq!(differences, ["listen", "admin", "observe", "keys.store", "rate_limit_file"]);

    let endpoint = |loaded: &Loaded, name: &str| {
        let all = loaded.snapshot.router.endpoints();
        all.iter().find(|endpoint| &*endpoint.name == name).map(std::sync::Arc::clone).expect("the endpoint")
    };
    let (given, usual) = (endpoint(&loaded, "orders"), endpoint(&bare, "orders"));
    assert_eq!(given.extractor.sources(), usual.extractor.sources());
    assert_eq!((given.admits, given.case_distinct, given.errors), (usual.admits, usual.case_distinct, usual.errors));
    assert_eq!((&given.upgrades, given.max_body), (&usual.upgrades, usual.max_body));
    assert_eq!(given.base.policy.key_types, usual.base.policy.key_types);
    let big = &endpoint(&loaded, "customers").upstream;
    assert_eq!(big.timeouts, usual.upstream.timeouts);
    assert_eq!(big.ejection, usual.upstream.ejection);
    assert_eq!(
        (big.idle_timeout, big.max_idle, &big.host),
        (usual.upstream.idle_timeout, usual.upstream.max_idle, &usual.upstream.host)
    );
}

#[test]
fn files_with_secrets_must_be_kept_from_others() {
    let (directory, path) = complete();
    for (name, mode, is_error) in [
        ("pepper", 0o604, true),
        ("pepper", 0o602, true),
        ("admin-token", 0o604, true),
        ("webhook-secret", 0o604, true),
        // Other servers may share a certificate's key in a mode that is not ours to choose.
        ("certificate-key.pem", 0o604, false),
        ("certificate-key.pem", 0o602, true),
    ] {
        set_mode(&directory.path().join(name), mode);
        let loaded = load(&path);
        assert_eq!(loaded.is_err(), is_error, "{name} {mode:o}");
        let problems = loaded.map_or_else(|problems| problems.to_string(), |loaded| loaded.warnings.to_string());
        assert!(problems.contains("can be read or written by every user of this machine"), "{problems}");
        set_mode(&directory.path().join(name), 0o640);
        assert!(load(&path).is_ok_and(|loaded| loaded.warnings.is_empty()), "a group may read {name}");
    }
    set_mode(&directory.path().join("keys.yaml"), 0o644);
    assert_eq!(load(&path).expect("only a warning").warnings.warnings(), 1);
    set_mode(&directory.path().join("keys.yaml"), 0o646);
    assert!(load(&path).is_err());
}

#[test]
fn a_load_that_fails_names_the_files_to_wait_for() {
    let (directory, path) = complete();
    fs::remove_file(directory.path().join("keys.yaml")).expect("removed");
    let problems = load(&path).expect_err("a file is missing");
    let watches = |path: &Path| problems.watched_files().iter().any(|file| file.path == path);
    assert!(watches(&directory.path().join("keys.yaml")));
    assert!(watches(&path));
}

#[test]
fn any_change_of_any_file_changes_the_digest() {
    let (directory, path) = complete();
    let digest = || load(&path).unwrap_or_else(|problems| panic!("{problems}")).snapshot.content_digest;
    let before = digest();
    assert_eq!(before, digest());
    for name in ["complete.yaml", "keys.yaml", "more-keys.jsonl", "certificate.pem", "ca.pem"] {
        let path = directory.path().join(name);
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, format!("{text}\n")).expect("written");
        assert_ne!(before, digest(), "{name}");
        fs::write(&path, text).expect("written");
    }
    assert_eq!(before, digest());
}

#[test]
fn what_two_keys_of_lines_have_in_common_is_found_far_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("written");
        set_mode(&directory.path().join(name), 0o640);
    };
    let digest = |number: usize| format!("blake3:{number:064x}");
    let line = |number: usize, id: &str, digest: &str, more: &str| {
        // One client of seven has a tenant.
        let tenant = if number % 7 == 3 { ",\"tenant\":\"t\"" } else { "" };
        format!(
            "{{\"client\":\"c{}\",\"client_type\":\"partner\",\"id\":\"{id}\",\"digest\":\"{digest}\"{tenant}{more}}}",
            number % 7
        )
    };
    let mut lines: Vec<String> =
        (0..9_000).map(|number| line(number, &format!("key_{number}"), &digest(number + 1), "")).collect();
    let twice = format!(
        "{{\"client\":\"c0\",\"client_type\":\"partner\",\"id\":\"key_21\",\"secrets\":[{{\"digest\":\"{0}\"}},{{\"digest\":\"{0}\"}}]}}",
        digest(99_999)
    );
    for (number, text) in [
        (20, line(20, "key_20", &digest(21), ",\"name\":\"one\"")),
        (21, twice),
        (22, line(22, "key_22", &digest(23), ",\"name\":\"k\\u0007\"")),
        (23, line(23, "in_yaml", &digest(24), "")),
        (24, line(24, "key_24", &digest(77_777), "")),
        (25, line(25, "key_25", &digest(26), ",\"name\":\"yaml name\"")),
        (26, line(26, "key_26", &digest(27), ",\"expires_at\":\"2020-01-01T00:00:00Z\"")),
        (28, "{}".to_owned()),
        (38, line(38, "key_38", &digest(39), "").replace("partner", "cms")),
        (39, String::new()),
        (8_990, line(8_990, "key_5", &digest(8_991), "")),
        // The name of another tenant's key is free, that of one without a tenant is not.
        (8_991, line(8_991, "key_8991", &digest(8_992), ",\"name\":\"key_9\"")),
        (8_992, line(8_992, "key_8992", &digest(12), "")),
        (8_993, line(8_993, "key_8993", &digest(8_994), ",\"name\":\"one\"")),
        (8_994, line(8_994, "key_8994", &digest(8_995), ",\"name\":\"key_12\"")),
        (8_995, line(8_995, "key_8995", &format!("blake3-keyed:{:064x}", 5), "")),
    ] {
        lines[number] = text;
    }
    write("keys.jsonl", &(lines.join("\n") + "\n"));
    write(
        "more.yaml",
        &format!(
            "clients:\n  - {{ id: late, client_type: partner, keys: [{{ id: key_8, name: late, digest: \"{}\" }}] }}\n",
            digest(88_888)
        ),
    );
    write(
        "gateway.yaml",
        &format!(
            "upstreams: {{ e: {{ echo: true }} }}\nkeys: {{ files: [keys.jsonl, more.yaml] }}\nclients:\n  \
             - {{ id: first, client_type: partner, keys: [{{ id: in_yaml, name: yaml name, digest: \"{}\" }}] }}\n\
             endpoints: [{{ name: all, path: /, client_types: [partner] }}]\n",
            digest(77_777)
        ),
    );
    let problems = load(&directory.path().join("gateway.yaml")).expect_err("there is much wrong");
    let folder = format!("{}/", directory.path().display());
    let found: Vec<String> = problems
        .list()
        .iter()
        .map(|problem| format!("{} {}", problem.place(), problem.message).replace(&folder, ""))
        .collect();
    let expected = [
        "keys.jsonl:22 the key `key_21` of client `c0` has the same digest as the key `key_21` of client `c0` (keys.jsonl:22)",
        "keys.jsonl:23 the name of the key `key_22` holds a control character",
        "keys.jsonl:24 another key has the id `in_yaml` (gateway.yaml:4)",
        "keys.jsonl:25 the key `key_24` of client `c3` has the same digest as the key `in_yaml` of client `first` (gateway.yaml:4)",
        "keys.jsonl:26 two keys without a tenant are called `yaml name`: `in_yaml` (gateway.yaml:4) and `key_25`",
        "keys.jsonl:27 the key `key_26` expired at 2020-01-01T00:00:00Z",
        "keys.jsonl:29:2 the line is not a key: missing field `client`",
        "keys.jsonl:39 `client_type` is not what the first line of client `c3` says (keys.jsonl:4)",
        "keys.jsonl:8991 another key has the id `key_5` (keys.jsonl:6)",
        "keys.jsonl:8993 the key `key_8992` of client `c4` has the same digest as the key `key_11` of client `c4` (keys.jsonl:12)",
        "keys.jsonl:8994 two keys without a tenant are called `one`: `key_20` (keys.jsonl:21) and `key_8993`",
        "keys.jsonl:8995 two keys without a tenant are called `key_12`: `key_12` (keys.jsonl:13) and `key_8994`",
        "keys.jsonl:8996 the key `key_8995` has a `blake3-keyed` digest, and there is no pepper",
    ];
    assert_eq!(found[..13], expected);
    assert!(
        found[13].starts_with("more.yaml:2") && found[13].ends_with("another key has the id `key_8` (keys.jsonl:9)")
    );
    assert_eq!(found.len(), 14, "{found:#?}");
}

#[test]
fn very_many_keys_are_read_as_lines() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = directory.path().join("keys.jsonl");
    let mut text = String::new();
    for number in 0..100_000 {
        text.push_str(&format!(
            "{{\"client\":\"c{}\",\"client_type\":\"partner\",\"tenant\":\"t{}\",\"id\":\"key_{number}\",\"digest\":\"blake3:{number:064x}\",\"permissions\":[\"orders.read\"]}}\n",
            number / 10,
            number / 10
        ));
    }
    fs::write(&keys, &text).expect("written");
    set_mode(&keys, 0o640);
    let path = directory.path().join("gateway.yaml");
    let yaml = "upstreams: { e: { echo: true } }\nkeys: { file: keys.jsonl }\n\
        endpoints: [{ name: all, path: /, client_types: [partner] }]\n";
    fs::write(&path, yaml).expect("written");

    let begin = std::time::Instant::now();
    let loaded = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    println!("100,000 keys in {:?}", begin.elapsed());

    assert_eq!(loaded.keys.len(), 100_000);
    let records = loaded.keys.read_all().expect("nobody changes the file");
    let (first, second) = (&records[0].key, &records[9].key);
    assert!(std::sync::Arc::ptr_eq(&first.client, &second.client), "keys of one client share it");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}
