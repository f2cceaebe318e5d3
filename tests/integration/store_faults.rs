//! A store that cannot be used keeps nobody out: callers are answered from memory, and operators are told.

use std::time::{Duration, Instant};

use super::lifecycle::verdict;
use super::support::{Admin, Gateway, Report, wait};

const CONFIG: &str = r#"
upstreams: { api: { echo: true } }
keys: { store: keys.db }
endpoints: [ { name: all, path: /, api_key: required } ]
"#;

#[test]
fn a_store_that_is_locked_keeps_no_caller_waiting_and_a_change_not_for_ever() {
    let gateway = Gateway::with(CONFIG).start();
    let admin = Admin::of(&gateway);
    let (id, secret) = admin.key("before");
    let lock = rusqlite::Connection::open(gateway.path("keys.db")).expect("it is there");
    lock.execute_batch("BEGIN EXCLUSIVE").expect("nobody writes just now");
    let mut report = Report::new();
    let began = Instant::now();
    for _ in 0..50 {
        report.equal("locked", verdict(&gateway, &secret), "200".to_owned());
        report.equal("locked, nobody's", verdict(&gateway, "nobody"), "401 credential_rejected".to_owned());
    }
    report.holds("locked", "at once", began.elapsed() < Duration::from_secs(3));
    let began = Instant::now();
    let answer = admin.ask("DELETE", &format!("/v1/keys/{id}"), None);
    report.equal("a change", answer.status, 503);
    report.holds("a change", "answered in bounded time", began.elapsed() < Duration::from_secs(30));
    report.equal("a change that was refused", verdict(&gateway, &secret), "200".to_owned());
    lock.execute_batch("ROLLBACK").expect("it was begun");
    report.equal("released", admin.ask("DELETE", &format!("/v1/keys/{id}"), None).status, 200);
    report.equal("released", verdict(&gateway, &secret), "401 credential_rejected".to_owned());
}

#[test]
fn a_store_that_is_damaged_while_it_is_used_keeps_nobody_out() {
    let gateway = Gateway::with(CONFIG).start();
    let admin = Admin::of(&gateway);
    let (_, secret) = admin.key("before");
    // As a disk does that goes bad: the pages are there, and mean nothing.
    for name in ["keys.db", "keys.db-wal"] {
        let path = gateway.path(name);
        if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&path) {
            use std::os::unix::fs::FileExt as _;
            let length = file.metadata().expect("a file").len();
            file.write_all_at(&vec![0xa5; usize::try_from(length).expect("small")], 0).expect("it can be written");
        }
    }
    let mut report = Report::new();
    for _ in 0..50 {
        report.equal("damaged", verdict(&gateway, &secret), "200".to_owned());
    }
    let made = admin.ask(
        "POST",
        "/v1/keys",
        Some(&serde_json::json!({ "name": "after", "client": { "id": "shop", "client_type": "partner" } })),
    );
    report.holds("a change", format!("is refused: {}", made.text()), made.status >= 500);
    wait::until("the failure to be counted", || {
        (gateway.metric("keygate_store_failures_total", &[]) >= 1.0).then_some(())
    });
    report.equal("still", verdict(&gateway, &secret), "200".to_owned());
    report.equal("still", verdict(&gateway, "nobody"), "401 credential_rejected".to_owned());
}

#[test]
fn a_store_that_has_no_room_keeps_nobody_out() {
    let gateway = Gateway::with(CONFIG).start();
    let admin = Admin::of(&gateway);
    let (_, secret) = admin.key("before");
    // No file of this process may grow any more; what SQLite is told is that the disk is full.
    let process = gateway.process_id().to_string();
    let limited = std::process::Command::new("prlimit").args(["--pid", &process, "--fsize=0:unlimited"]).status();
    assert!(limited.expect("prlimit is part of every Linux").success());
    let mut report = Report::new();
    for number in 0..3 {
        let body = serde_json::json!({ "name": format!("after {number}"), "client": { "id": "shop", "client_type": "partner" } });
        let made = admin.ask("POST", "/v1/keys", Some(&body));
        report.holds("a change", format!("is refused: {}", made.text()), made.status >= 500);
        report.equal("full", verdict(&gateway, &secret), "200".to_owned());
        report.equal("full", verdict(&gateway, "nobody"), "401 credential_rejected".to_owned());
    }
    let relieved =
        std::process::Command::new("prlimit").args(["--pid", &process, "--fsize=unlimited:unlimited"]).status();
    assert!(relieved.expect("prlimit is there").success());
    let (_, next) = admin.key("once there is room");
    report.equal("room again", verdict(&gateway, &next), "200".to_owned());
}
