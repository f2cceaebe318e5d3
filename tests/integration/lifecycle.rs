//! Keys have a life: what is done to one is in force when the answer comes, under load, and survives whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::caller::text_of;
use super::support::{Admin, Caller, Gateway, Origin, Play, Report, get, request, wait};

pub const CONFIG: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
keys: { store: keys.db }
key_prefixes: [ { prefix: kg_test_ } ]
endpoints:
  - { name: all, path: /, upstream: api, api_key: required }
  - { name: orders, path: /orders, upstream: api, permissions: [orders.read] }
"#;

/// What a key is answered.
pub fn verdict(gateway: &Gateway, secret: &str) -> String {
    get(gateway.address(), "/x", &[("x-api-key", secret)]).verdict()
}

const REFUSED: &str = "401 credential_rejected";

#[test]
fn a_key_works_on_the_next_request_and_a_revoked_one_fails_on_the_next_under_load() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &CONFIG.replace("upstreams:", "workers: 2\nupstreams:"));
    let admin = Admin::of(&gateway);
    let (_, steady) = admin.key("steady");
    let (stopped, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stopped, sent, steady) = (Arc::clone(&stopped), Arc::clone(&sent), steady.clone());
            let address = gateway.address();
            thread::spawn(move || {
                let mut caller = Caller::connect(address);
                let mut wrong = Vec::new();
                while !stopped.load(Ordering::SeqCst) {
                    let verdict = caller.call("GET", "/x", &[("x-api-key", &steady)], b"").verdict();
                    if verdict != "200" {
                        wrong.push(verdict);
                    }
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                wrong
            })
        })
        .collect();
    for round in 0..50 {
        let (id, secret) = admin.key(&format!("key {round}"));
        assert_eq!(verdict(&gateway, &secret), "200", "round {round}: right after it was made");
        let path = format!("/v1/keys/{id}");
        admin.post(&format!("{path}/disable"), &json!({}));
        assert_eq!(verdict(&gateway, &secret), REFUSED, "round {round}: right after it was switched off");
        assert_eq!(admin.ask("POST", &format!("{path}/enable"), None).status, 200);
        assert_eq!(verdict(&gateway, &secret), "200", "round {round}: right after it was switched on");
        admin.revoke(&id);
        assert_eq!(verdict(&gateway, &secret), REFUSED, "round {round}: right after it was revoked");
    }
    let client = "/v1/clients/shop";
    admin.post(&format!("{client}/disable"), &json!({}));
    assert_eq!(verdict(&gateway, &steady), REFUSED, "with its client");
    stopped.store(true, Ordering::SeqCst);
    let wrong: Vec<String> = load.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
    assert!(wrong.iter().all(|verdict| verdict == REFUSED), "{wrong:?}");
    let sent = sent.load(Ordering::SeqCst);
    assert!(wrong.len() < sent / 2 && sent > 200, "{} of {sent}", wrong.len());
}

#[test]
fn an_edit_is_in_force_when_its_answer_comes() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    let (id, secret) = admin.key("edited");
    let path = format!("/v1/keys/{id}");
    let mut report = Report::new();
    let soon = |millis: u64| {
        let at = std::time::SystemTime::now() + Duration::from_millis(millis);
        jiff::Timestamp::try_from(at).expect("a moment").to_string()
    };
    for (row, edit, target, expected) in [
        ("as it was made", json!({}), "/orders", "200"),
        ("no permission", json!({ "permissions": ["other.read"] }), "/orders", "403 permission_missing"),
        ("elsewhere it is good", json!({}), "/x", "200"),
        ("by a wildcard", json!({ "permissions": ["*.read"] }), "/orders", "200"),
        ("read only", json!({ "permissions": "read_only" }), "/orders", "200"),
        ("another network", json!({ "networks": ["192.0.2.0/24"] }), "/x", "403 network_not_allowed"),
        ("ours", json!({ "networks": ["127.0.0.0/8"] }), "/x", "200"),
        ("not yet", json!({ "not_before": soon(3_600_000) }), "/x", REFUSED),
        ("from ever on", json!({ "not_before": null }), "/x", "200"),
        ("another environment", json!({ "environment": "prod" }), "/x", "200"),
    ] {
        let answer = admin.ask("PATCH", &path, Some(&edit));
        report.equal(format!("{row}: edited"), answer.status, 200);
        report.equal(row, get(gateway.address(), target, &[("x-api-key", &secret)]).verdict(), expected.to_owned());
    }
    let answer = admin.ask("PATCH", &path, Some(&json!({ "expires_at": soon(1_500) })));
    report.equal("an end", answer.status, 200);
    report.equal("before it", verdict(&gateway, &secret), "200".to_owned());
    wait::until("the end to come", || (verdict(&gateway, &secret) == REFUSED).then_some(()));
    report.equal("as it is shown", &admin.get(&path)["status"], &json!("expired"));
    let client = "/v1/clients/shop";
    admin.ask("PATCH", &path, Some(&json!({ "expires_at": null, "permissions": "all" })));
    report.equal("good again", verdict(&gateway, &secret), "200".to_owned());
    admin.ask("PATCH", client, Some(&json!({ "permissions": [], "client_type": "guest" })));
    report.equal("its client may nothing", get(gateway.address(), "/orders", &[("x-api-key", &secret)]).status, 403);
    origin.take();
    report.equal("its client has another type", verdict(&gateway, &secret), "200".to_owned());
    report.equal("and the upstream is told", origin.take_one().header("client-type"), Some("guest"));
}

#[test]
fn both_secrets_are_good_until_the_grace_is_over_and_the_list_shows_who_uses_the_old_one() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    let (id, old) = admin.key("rotated");
    let path = format!("/v1/keys/{id}");
    let rotate = |body: Value| {
        let answer = admin.post(&format!("{path}/rotate"), &body);
        answer["secret"].as_str().expect("shown once").to_owned()
    };
    let new = rotate(json!({ "grace_seconds": 2 }));
    assert_eq!((verdict(&gateway, &old), verdict(&gateway, &new)), ("200".into(), "200".into()));
    wait::until("the use of the old secret to be told", || {
        (admin.get(&path)["rotation"]["old_still_used"] == true).then_some(())
    });
    wait::until("the grace to be over", || (verdict(&gateway, &old) == REFUSED).then_some(()));
    assert_eq!(verdict(&gateway, &new), "200");
    assert_eq!(admin.get(&path)["id"], id.as_str(), "it is the same key");

    let pending = rotate(json!({ "grace_seconds": 0, "pending": true }));
    assert_eq!(verdict(&gateway, &new), "200", "the old one is good while nobody has the new one");
    assert_eq!(admin.get(&path)["rotation"]["is_pending"], true);
    assert_eq!(verdict(&gateway, &pending), "200");
    wait::until("the old one to end with the first use of the new", || {
        (verdict(&gateway, &new) == REFUSED).then_some(())
    });
    assert_eq!(verdict(&gateway, &pending), "200");

    let unwanted = rotate(json!({ "grace_seconds": 3600 }));
    admin.post(&format!("{path}/rotation/undo"), &json!({}));
    assert_eq!((verdict(&gateway, &pending), verdict(&gateway, &unwanted)), ("200".into(), REFUSED.into()));
    assert_eq!(admin.get(&path)["rotation"], Value::Null);

    let at_once = rotate(json!({ "grace_seconds": 0 }));
    assert_eq!((verdict(&gateway, &pending), verdict(&gateway, &at_once)), (REFUSED.into(), "200".into()));
    let too_long = admin.ask("POST", &format!("{path}/rotate"), Some(&json!({ "grace_seconds": 30 * 86_400 + 1 })));
    assert_eq!(too_long.status, 422, "{}", too_long.text());
}

/// What a key opened, and is still open.
fn open(gateway: &Gateway, kind: &str, secret: &str) -> Caller {
    let mut caller = Caller::connect(gateway.address());
    match kind {
        "websocket" => {
            caller.send(format!(
                "GET /socket HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nx-api-key: {secret}\r\n\r\n"
            ));
            assert_eq!(caller.response().status, 101);
            caller.send("hello");
            assert_eq!(caller.read_exactly(5), b"hello");
        }
        "events" => {
            caller.send(text_of("GET", "/events", &[("x-api-key", secret)], b""));
            let (status, _, _) = caller.head().expect("a head");
            assert_eq!(status, 200);
            assert!(!caller.read_some(wait::DEADLINE).is_empty(), "the first event");
        }
        _ => {
            let fields = [("x-api-key", secret), ("content-length", "1000000")];
            let head = text_of("POST", "/upload", &fields, b"");
            caller.send(head);
            caller.send([b'x'; 1000]);
        }
    }
    caller
}

#[test]
fn what_a_key_has_opened_is_cut_with_the_key_and_what_another_has_opened_is_not() {
    let origin = Origin::directed(|request| match request.target() {
        "/socket" => Play::WebSocket,
        "/events" => Play::talk(|talk| {
            talk.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
            talk.send("9\r\ndata: 1\n\n\r\n");
            talk.read_to_end();
        }),
        _ => Play::EchoBody,
    });
    let gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    let (_, other) = admin.key("other");
    let mut neighbours: Vec<Caller> =
        ["websocket", "events"].into_iter().map(|kind| open(&gateway, kind, &other)).collect();
    let revoke = |id: &str| admin.revoke(id);
    let disable = |id: &str| drop(admin.post(&format!("/v1/keys/{id}/disable"), &json!({})));
    let rotate = |id: &str| drop(admin.post(&format!("/v1/keys/{id}/rotate"), &json!({ "grace_seconds": 0 })));
    let expire = |id: &str| {
        let at = std::time::SystemTime::now() + Duration::from_millis(300);
        let at = jiff::Timestamp::try_from(at).expect("a moment").to_string();
        assert_eq!(admin.ask("PATCH", &format!("/v1/keys/{id}"), Some(&json!({ "expires_at": at }))).status, 200);
        // What is open ends when somebody next looks: a change of any key is such a look.
        thread::sleep(Duration::from_millis(400));
        let (passing, _) = admin.key(&format!("passing {id}"));
        admin.revoke(&passing);
    };
    type Act<'a> = (&'a str, &'a dyn Fn(&str));
    let acts: [Act<'_>; 4] = [("revoked", &revoke), ("disabled", &disable), ("rotated", &rotate), ("expired", &expire)];
    for (what, act) in acts {
        for kind in ["websocket", "events", "upload"] {
            let (id, secret) = admin.key(&format!("{what} {kind}"));
            let mut caller = open(&gateway, kind, &secret);
            act(&id);
            if kind == "upload" {
                // The upload ends with an answer that says why, or with the connection.
                let bytes = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
                assert!(bytes.is_empty() || bytes.contains(" 401 "), "{what} {kind}: {bytes}");
            } else {
                assert!(caller.is_closed_within(Duration::from_secs(5)), "{what} {kind} is still open");
            }
        }
    }
    neighbours[0].send("still here");
    assert_eq!(neighbours[0].read_exactly(10), b"still here");
    assert!(!neighbours[1].is_closed_within(Duration::from_millis(100)));
    admin.post("/v1/clients/shop/disable", &json!({}));
    for neighbour in &mut neighbours {
        assert!(neighbour.is_closed_within(Duration::from_secs(5)), "with its client");
    }
}

#[test]
fn every_acknowledged_change_survives_being_killed() {
    let origin = Origin::start();
    let mut gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    admin.key("the first");
    // What was acknowledged: id, secret, and what was done last.
    let mut acknowledged: Vec<(String, String, &'static str)> = Vec::new();
    let mut changes = 0;
    for round in 0..8_u64 {
        let admin = admin.at(&gateway);
        // 60 to 480 ms: somewhere within what follows.
        let killer_waits = Duration::from_millis(60 + (round * 7_919) % 420);
        let process = gateway.process_id().to_string();
        let killer = thread::spawn(move || {
            thread::sleep(killer_waits);
            std::process::Command::new("kill").args(["-9", &process]).status().expect("there is a kill command")
        });
        let client = json!({ "id": "shop", "client_type": "partner" });
        for number in 0.. {
            let body = json!({ "name": format!("r{round} n{number}"), "client": client });
            let Ok(answer) = admin.try_ask("POST", "/v1/keys", Some(&body)) else { break };
            if !answer.is_complete || answer.status != 201 {
                break;
            }
            changes += 1;
            let made = answer.json();
            let id = made["key"]["id"].as_str().expect("an id").to_owned();
            acknowledged.push((id.clone(), made["secret"].as_str().expect("shown once").to_owned(), "made"));
            let (method, target, done) = match number % 3 {
                0 => ("DELETE", format!("/v1/keys/{id}"), "revoked"),
                1 => ("POST", format!("/v1/keys/{id}/disable"), "disabled"),
                _ => continue,
            };
            let body = json!({});
            let Ok(answer) = admin.try_ask(method, &target, (method == "POST").then_some(&body)) else { break };
            if !answer.is_complete || answer.status != 200 {
                break;
            }
            changes += 1;
            acknowledged.last_mut().expect("just pushed").2 = done;
        }
        assert!(killer.join().expect("no panic").success());
        gateway.kill();
        gateway.start_again();
    }
    assert!(changes > 200, "only {changes} changes were acknowledged");
    let admin = admin.at(&gateway);
    let mut report = Report::new();
    for (id, secret, done) in &acknowledged {
        let expected = match *done {
            "made" => "active",
            other => other,
        };
        let shown = admin.get(&format!("/v1/keys/{id}"));
        let status = shown["status"].as_str().unwrap_or_default();
        // The very last change of a round may have been carried out without having been acknowledged.
        let is_as_told = status == expected || (*done == "made" && matches!(status, "revoked" | "disabled"));
        report.holds(id, format!("{done}, and found {status}"), is_as_told);
        let is_good = verdict(&gateway, secret) == "200";
        report.equal(format!("{id} on the data path"), is_good, status == "active");
    }
    println!("{changes} changes were acknowledged, {} keys made", acknowledged.len());
}

#[test]
fn usage_is_told_by_secret_key_day_and_endpoint_and_survives_a_restart() {
    let origin = Origin::start();
    let mut gateway = Gateway::before(&origin, &CONFIG.replace("upstreams:", "workers: 2\nupstreams:"));
    let admin = Admin::of(&gateway);
    let (id, secret) = admin.key("used");
    admin.ask("PATCH", &format!("/v1/keys/{id}"), Some(&json!({ "permissions": ["other.read"] })));
    for _ in 0..7 {
        assert_eq!(verdict(&gateway, &secret), "200");
    }
    for _ in 0..3 {
        assert_eq!(get(gateway.address(), "/orders", &[("x-api-key", &secret)]).status, 403);
    }
    let usage = format!("/v1/keys/{id}/usage");
    let told = |admin: &Admin| {
        let items = admin.get(&usage)["items"].clone();
        let find = |endpoint: &str, what: &str| {
            let item = items.as_array()?.iter().find(|item| item["endpoint"] == endpoint)?;
            item[what].as_i64()
        };
        (find("all", "admitted"), find("orders", "refused"))
    };
    wait::until("usage to be told", || (told(&admin) == (Some(7), Some(3))).then_some(()));
    let shown = admin.get(&format!("/v1/keys/{id}"));
    let last = &shown["secrets"][0]["last_use"];
    assert_eq!((&last["endpoint"], &last["address"]), (&json!("all"), &json!("127.0.0.1")));
    assert!(shown["last_used_at"].is_string());
    assert_eq!(verdict(&gateway, &secret), "200", "written when it stops");
    gateway.signal("TERM");
    assert!(gateway.wait_for_exit().success());
    gateway.start_again();
    let admin = admin.at(&gateway);
    assert_eq!(told(&admin), (Some(8), Some(3)));
    assert!(admin.get(&format!("/v1/keys/{id}"))["last_used_at"].is_string());
    let unused = admin.get("/v1/keys?never_used=true");
    assert_eq!(unused["items"], json!([]));
}

#[test]
fn no_key_stands_in_any_file_log_metric_or_answer() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &CONFIG.replace("upstreams:", "access_log: stdout\nupstreams:"));
    let admin = Admin::of(&gateway);
    let (id, made) = admin.key("marked");
    let rotated = admin.post(&format!("/v1/keys/{id}/rotate"), &json!({}));
    let rotated = rotated["secret"].as_str().expect("shown once").to_owned();
    let chosen = "MARKED-chosen-by-its-operator-0123";
    admin.post("/v1/keys", &json!({ "name": "chosen", "client": "shop", "secret": chosen }));
    let imported = "MARKED-imported-0123456789abcdef";
    let line = format!("{{\"name\":\"imported\",\"key\":\"{imported}\",\"client\":\"shop\"}}\n");
    let bearer = format!("Bearer {}", admin.token());
    let fields = [("host", "localhost"), ("authorization", bearer.as_str()), ("content-type", "application/x-ndjson")];
    assert_eq!(request(gateway.admin(), "POST", "/v1/imports", &fields, line.as_bytes()).json()["imported"], 1);
    let wrong = "MARKED-wrong-0123456789abcdefghi";
    for secret in [&made, &rotated, chosen, imported] {
        assert_eq!(verdict(&gateway, secret), "200", "{secret}");
    }
    assert_eq!(verdict(&gateway, wrong), REFUSED);
    admin.post("/v1/lookup", &json!({ "secrets": [wrong, chosen] }));
    let body = json!({ "name": "twice", "client": "shop", "secret": chosen });
    assert_eq!(admin.ask("POST", "/v1/keys", Some(&body)).status, 409);
    let mut texts: Vec<(String, String)> = vec![
        ("stderr".into(), gateway.stderr()),
        ("access log".into(), gateway.wait_for_access_lines(5).iter().map(Value::to_string).collect()),
        ("metrics".into(), gateway.metrics()),
    ];
    for target in ["/v1/keys", "/v1/audit", "/v1/export/keys", "/v1/export/audit", "/v1/clients", "/v1/admin-tokens"] {
        texts.push((target.into(), admin.ask("GET", target, None).text()));
    }
    for entry in std::fs::read_dir(gateway.directory()).expect("our own directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let bytes = std::fs::read(&path).expect("our own file");
            texts.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    let mut report = Report::new();
    for (place, text) in &texts {
        for secret in [made.as_str(), &rotated, chosen, imported, wrong, admin.token()] {
            report.holds(place, format!("holds {secret}"), !text.contains(secret));
        }
    }
    report.holds("the store", "was looked into", texts.iter().any(|(place, _)| place.ends_with("keys.db")));
    report.equal("the upstream", origin.raw_text().contains("MARKED"), false);
}

#[test]
fn keys_of_files_are_in_force_beside_those_of_the_store_and_are_changed_in_files_alone() {
    let origin = Origin::start();
    let yaml = format!(
        "{CONFIG}\nclients:\n  - {{ id: filed, client_type: cms, keys: [ {{ id: key_filed, name: filed key, digest: \"{{{{digest:filed-key}}}}\" }} ] }}\n"
    );
    let gateway = Gateway::before(&origin, &yaml);
    let admin = Admin::of(&gateway);
    let (_, secret) = admin.key("stored");
    assert_eq!((verdict(&gateway, "filed-key"), verdict(&gateway, &secret)), ("200".into(), "200".into()));
    let shown = wait::until("the key of the file to be listed", || {
        let answer = admin.ask("GET", "/v1/keys/key_filed", None);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!((&shown["source"], &shown["client"]), (&json!("file"), &json!("filed")));
    let mut report = Report::new();
    for (method, target, body) in [
        ("PATCH", "/v1/keys/key_filed", json!({ "name": "x" })),
        ("POST", "/v1/keys/key_filed/rotate", json!({})),
        ("POST", "/v1/keys/key_filed/disable", json!({})),
        ("DELETE", "/v1/keys/key_filed", Value::Null),
    ] {
        let answer = admin.ask(method, target, (!body.is_null()).then_some(&body));
        report.equal(format!("{method} {target}"), answer.verdict(), "409 key_of_file".to_owned());
    }
    let answer = admin.ask("PATCH", "/v1/clients/filed", Some(&json!({ "name": "x" })));
    report.equal("the client", answer.verdict(), "409 client_of_file".to_owned());
    let taken = json!({ "name": "again", "client": "shop", "secret": "filed-key" });
    let answer = admin.ask("POST", "/v1/keys", Some(&taken));
    report.equal("the same key twice", answer.verdict(), "409 secret_taken".to_owned());
    let own = json!({ "name": "another", "client": "filed" });
    let made = admin.post("/v1/keys", &own);
    let secret_of_filed = made["secret"].as_str().expect("shown once").to_owned();
    report.equal("a stored key of a filed client", verdict(&gateway, &secret_of_filed), "200".to_owned());

    gateway.reload(&format!("{CONFIG}\nclients: []\n"));
    report.equal("gone from the file", verdict(&gateway, "filed-key"), REFUSED.to_owned());
    report.equal("the stored one stays", verdict(&gateway, &secret), "200".to_owned());
    wait::until("keys of a client that is gone to be refused", || {
        (verdict(&gateway, &secret_of_filed) == REFUSED).then_some(())
    });

    // A file that holds what the store holds is refused, and what is in force stays.
    admin.post("/v1/keys", &json!({ "name": "kept", "client": "shop", "secret": "kept-in-the-store-0123456789" }));
    let generation = gateway.generation();
    gateway.write_config(&format!(
        "{CONFIG}\nclients:\n  - {{ id: other, client_type: cms, keys: [ {{ id: key_other, name: k, digest: \"{{{{digest:kept-in-the-store-0123456789}}}}\" }} ] }}\n"
    ));
    gateway.signal("HUP");
    gateway.wait_for_output("the configuration was not reloaded");
    report.equal("nothing changed", gateway.generation(), generation);
    report.equal("the stored key", verdict(&gateway, "kept-in-the-store-0123456789"), "200".to_owned());
}

#[test]
fn a_store_that_is_none_of_ours_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = directory.path().join("keys.db");
    std::fs::write(directory.path().join("gateway.yaml"), "admin: off\nlisten: [{address: 127.0.0.1:0}]\nkeys: { store: keys.db }\nupstreams: { api: { echo: true } }\nendpoints: [ { name: all, path: /, api_key: required } ]\n").expect("our own file");
    std::fs::write(&store, "this is no database, and somebody wants to keep it").expect("our own file");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o600)).expect("our own file");
    let output = super::support::gateway::keygate_with_input(directory.path(), &["run"], "");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && words.contains("is no keygate store"), "{words}");
    let kept = std::fs::read_to_string(&store).expect("our own file");
    assert_eq!(kept, "this is no database, and somebody wants to keep it");
}
