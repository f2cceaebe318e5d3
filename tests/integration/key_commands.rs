//! `keygate keys` and its sisters: beside a running gateway, and without one.

use std::process::Output;

use serde_json::Value;

use super::lifecycle::{CONFIG, verdict};
use super::support::gateway::keygate_with_input;
use super::support::{Admin, Gateway, Origin, Report, wait};

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

/// Runs a command that must succeed, and gives what it printed.
fn run(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.command(arguments);
    assert_eq!(code(&output), 0, "{arguments:?}: {}", words(&output));
    out(&output)
}

fn with_input(gateway: &Gateway, arguments: &[&str], input: &str) -> Output {
    keygate_with_input(gateway.directory(), arguments, input)
}

/// Makes a key on the command line, and gives its id and its secret.
fn create(gateway: &Gateway, name: &str) -> (String, String) {
    let arguments = ["keys", "create", name, "--client", "shop", "--client-type", "partner", "-o", "json"];
    let made: Value = serde_json::from_str(&run(gateway, &arguments)).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&made["key"]["id"]), text(&made["secret"]))
}

#[test]
fn commands_beside_a_running_gateway_are_in_force_when_they_end() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let output = gateway.command(&["keys", "create", "from a shell", "--client", "shop", "--client-type", "partner"]);
    let secret = out(&output).trim_end().to_owned();
    assert!(secret.starts_with("kg_test_") && !secret.contains('\n'), "the key alone on stdout: {}", out(&output));
    assert!(words(&output).contains("in force now") && !words(&output).contains(&secret), "{}", words(&output));
    assert_eq!(verdict(&gateway, &secret), "200");
    let (id, second) = create(&gateway, "another");
    let mut report = Report::new();
    let refused = "401 credential_rejected";
    for (arguments, expected) in [
        (vec!["keys", "disable", id.as_str(), "--reason", "lost"], refused),
        (vec!["keys", "enable", &id], "200"),
        (vec!["keys", "edit", &id, "--not-before", "2100-01-01"], refused),
        (vec!["keys", "edit", &id, "--not-before", "never", "--name", "renamed"], "200"),
        (vec!["clients", "disable", "shop"], refused),
        (vec!["clients", "enable", "shop"], "200"),
    ] {
        run(&gateway, &arguments);
        report.equal(arguments.join(" "), verdict(&gateway, &second), expected.to_owned());
    }
    let third = run(&gateway, &["keys", "rotate", &id, "--grace", "7d"]);
    let third = third.trim_end();
    report.equal("rotated, old", verdict(&gateway, &second), "200".to_owned());
    report.equal("rotated, new", verdict(&gateway, third), "200".to_owned());
    let early = gateway.command(&["keys", "rotate", &id, "--finish", "--force"]);
    report.equal("finished", code(&early), 0);
    report.equal("finished, old", verdict(&gateway, &second), refused.to_owned());
    let asked = gateway.command(&["keys", "revoke", &id]);
    report.equal("nobody was asked", code(&asked), 2);
    report.equal("nothing was revoked", verdict(&gateway, third), "200".to_owned());
    run(&gateway, &["keys", "revoke", &id, "--yes", "--reason", "over"]);
    report.equal("revoked", verdict(&gateway, third), refused.to_owned());

    let list = run(&gateway, &["keys", "list"]);
    report.holds("list", &list, list.contains("from a shell") && !list.contains("renamed") && list.contains("ID"));
    report.holds("list", "shows no key", !list.contains(&secret));
    let audit = run(&gateway, &["audit", "--target", &id]);
    report.holds("audit", &audit, audit.contains("key.revoked") && audit.contains("local:"));
    for arguments in [["keys", "show", "key_none"], ["keys", "disable", "key_none"], ["clients", "show", "none"]] {
        report.equal(arguments.join(" "), code(&gateway.command(&arguments)), 3);
    }
}

#[test]
fn keys_are_found_verified_and_explained_by_what_comes_in_on_stdin() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let (id, secret) = create(&gateway, "found");
    let mut report = Report::new();
    let shown = with_input(&gateway, &["keys", "show", "--key-stdin", "-o", "json"], &secret);
    report.holds("show", out(&shown), out(&shown).contains(&id) && !out(&shown).contains(&secret));
    report.equal("show nobody's", code(&with_input(&gateway, &["keys", "show", "--key-stdin"], "nobody")), 3);
    let good = with_input(&gateway, &["keys", "verify"], &format!("{secret}\n"));
    report.equal("verify", (code(&good), out(&good)), (0, "good\n".to_owned()));
    let unknown = with_input(&gateway, &["keys", "verify"], "kg_test_unknown");
    report.equal("verify nobody's", code(&unknown), 4);
    let own = with_input(
        &gateway,
        &["keys", "create", "own", "--client", "shop", "--secret-stdin"],
        "chosen-by-its-operator-0123456789\n",
    );
    report.equal("own value", (code(&own), out(&own)), (0, String::new()));
    report.equal("own value works", verdict(&gateway, "chosen-by-its-operator-0123456789"), "200".to_owned());
    for bad in ["", "with blanks in it"] {
        let refused = with_input(&gateway, &["keys", "create", "bad", "--client", "shop", "--secret-stdin"], bad);
        report.holds(format!("own value {bad:?}"), words(&refused), code(&refused) != 0);
    }
    let explained = with_input(&gateway, &["explain", "GET", "/x", "--key-stdin"], &secret);
    report.holds("explain", out(&explained), code(&explained) == 0 && out(&explained).contains("admitted"));
    run(&gateway, &["keys", "disable", &id]);
    let explained = with_input(&gateway, &["explain", "GET", "/x", "--key-stdin"], &secret);
    report.equal("explain a key that is off", code(&explained), 4);
    let verified = with_input(&gateway, &["keys", "verify", "-o", "json"], &secret);
    let verdict: Value = serde_json::from_str(&out(&verified)).expect("JSON");
    report.equal("verify a key that is off", (code(&verified), verdict["verdict"].clone()), (4, "switched off".into()));
}

#[test]
fn without_a_gateway_the_store_is_written_and_the_next_start_has_it() {
    let origin = Origin::start();
    let mut gateway = Gateway::before(&origin, CONFIG);
    let (id, secret) = create(&gateway, "before");
    gateway.signal("TERM");
    assert!(gateway.wait_for_exit().success());
    let output = gateway.command(&["keys", "create", "while it is down", "--client", "shop"]);
    let made = out(&output).trim_end().to_owned();
    assert!(words(&output).contains("no gateway runs"), "{}", words(&output));
    run(&gateway, &["keys", "revoke", &id, "--yes"]);
    let token = run(&gateway, &["admin-token", "create", "ops", "--role", "viewer"]);
    gateway.start_again();
    assert_eq!(verdict(&gateway, &made), "200");
    assert_eq!(verdict(&gateway, &secret), "401 credential_rejected");
    let viewer = Admin::with(gateway.admin(), token.trim_end());
    assert_eq!(viewer.get("/v1/whoami")["role"], "viewer");
    assert!(!gateway.stdout().contains("kg_admin_"), "the first token is made once");
}

#[test]
fn a_gateway_follows_what_another_process_writes_into_its_store() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let (id, secret) = create(&gateway, "shared");
    // Without its socket the command line writes the store itself.
    std::fs::remove_file(gateway.path("keys.db.sock")).expect("the socket is there");
    run(&gateway, &["keys", "disable", &id]);
    wait::until("the change to be followed", || {
        (verdict(&gateway, &secret) == "401 credential_rejected").then_some(())
    });
    let (_, made) = create(&gateway, "made elsewhere");
    wait::until("the new key to be followed", || (verdict(&gateway, &made) == "200").then_some(()));
}

#[test]
fn keys_are_imported_exported_and_backed_up() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    gateway.write(
        "keys.csv",
        "name,key,digest,client,client_type,permissions\n\
         solitaire,imported-one-0123456789abcdef,,acme,partner,orders.read\n\
         two,,{{sha256:imported-two-0123456789abcdef}},acme,partner,\n\
         three,imported-one-0123456789abcdef,,acme,partner,\n\
         ,imported-four-0123456789abcde,,acme,partner,\n",
    );
    let mut report = Report::new();
    let dry = gateway.command(&["keys", "import", "keys.csv", "--dry-run"]);
    report.equal("dry", code(&dry), 1);
    report.holds("dry", out(&dry), out(&dry).contains("2 keys would come in"));
    report.holds("dry", words(&dry), words(&dry).contains("line 4") && words(&dry).contains("line 5: name"));
    report.holds("dry", "repeats no key", !words(&dry).contains("imported-"));
    report.equal("dry", verdict(&gateway, "imported-one-0123456789abcdef"), "401 credential_rejected".to_owned());
    let real = gateway.command(&["keys", "import", "keys.csv", "-o", "json"]);
    let told: Value = serde_json::from_str(&out(&real)).expect("JSON");
    report.equal("real", (told["imported"].clone(), told["refused"].clone()), (2.into(), 2.into()));
    for plain in ["imported-one-0123456789abcdef", "imported-two-0123456789abcdef"] {
        report.equal(plain, verdict(&gateway, plain), "200".to_owned());
    }
    let lines: String = (0..45_000)
        .map(|n| format!("{{\"name\":\"bulk {n}\",\"key\":\"bulk-{n:06}-0123456789abcdef\",\"client\":\"acme\"}}\n"))
        .collect();
    gateway.write("bulk.jsonl", &format!("{lines}\nnot json\n"));
    let bulk = gateway.command(&["keys", "import", "bulk.jsonl"]);
    report.holds("bulk", out(&bulk), out(&bulk).contains("45000 keys came in"));
    report.holds("bulk", words(&bulk), words(&bulk).contains("line 45002: the body is not JSON"));
    report.equal("bulk", verdict(&gateway, "bulk-044999-0123456789abcdef"), "200".to_owned());
    let exported = run(&gateway, &["keys", "export", "--client", "acme"]);
    report.equal("export", exported.lines().count(), 45_002);
    let table = run(&gateway, &["keys", "export", "solitaire", "--format", "csv"]);
    report.holds("export as a table", &table, table.starts_with("id,name,") && table.lines().count() == 2);
    let found = run(&gateway, &["keys", "list", "bulk", "--limit", "2", "-o", "json"]);
    let found: Value = serde_json::from_str(&found).expect("JSON");
    report.equal("list", (found["items"].as_array().map(Vec::len), found["has_more"].clone()), (Some(2), true.into()));

    let copy = run(&gateway, &["backup", "copy.db"]);
    report.equal("backup", copy.trim_end(), "copy.db");
    report.equal("a copy is not written over", code(&gateway.command(&["backup", "copy.db"])), 1);
    run(&gateway, &["clients", "delete", "acme", "--yes"]);
    report.equal("gone", verdict(&gateway, "bulk-044999-0123456789abcdef"), "401 credential_rejected".to_owned());
    let in_copy = run(&gateway, &["keys", "list", "--store", "copy.db", "--client", "acme", "-o", "json"]);
    report.holds("the copy", "holds what was there", in_copy.contains("acme"));
}

#[test]
fn keys_that_leaked_are_found_in_files_and_in_history() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let (id, leaked) = create(&gateway, "leaked");
    let (_, forgotten) = create(&gateway, "forgotten");
    gateway.write("code/app.js", &format!("const a = 1;\nconst key = '{leaked}';\n"));
    gateway.write("code/clean.js", "const kg_test_name = 'kg_test_notakeyatall';\n");
    let mut report = Report::new();
    let scan = gateway.command(&["keys", "scan", "code"]);
    report.equal("scan", code(&scan), 5);
    report.holds("scan", out(&scan), out(&scan).contains("code/app.js:2") && out(&scan).contains(&id));
    report.holds("scan", "shows no key", !out(&scan).contains(&leaked) && !words(&scan).contains(&leaked));
    std::fs::remove_file(gateway.path("code/app.js")).expect("our own file");
    report.equal("clean", code(&gateway.command(&["keys", "scan", "code"])), 0);
    gateway.write("repository/old.env", &format!("KEY={forgotten}\n"));
    let git = |arguments: &[&str]| {
        let status = std::process::Command::new("git")
            .arg("-C")
            .arg(gateway.path("repository"))
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"])
            .args(arguments)
            .output()
            .expect("git is there");
        assert!(status.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&status.stderr));
    };
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["commit", "-qm", "one"]);
    git(&["rm", "-q", "old.env"]);
    git(&["commit", "-qm", "two"]);
    let history = gateway.command(&["keys", "scan", "--git", "repository"]);
    report.equal("history", code(&history), 5);
    report.holds("history", out(&history), out(&history).contains(":old.env:1") && out(&history).contains("forgotten"));
    let rule = run(&gateway, &["keys", "scan", "--gitleaks-rule"]);
    report.holds("rule", &rule, rule.contains("kg_test_") && rule.contains("[[rules]]"));
}

#[test]
fn the_socket_is_for_its_owner_and_the_store_too() {
    use std::os::unix::fs::PermissionsExt as _;
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    create(&gateway, "a key");
    for name in ["keys.db", "keys.db-wal", "keys.db.sock"] {
        let mode = std::fs::metadata(gateway.path(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
