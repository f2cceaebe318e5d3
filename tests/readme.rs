//! What the pages promise is what the program does.
//!
//! The commands of `README.md` are typed, in their order, into one shell in a directory that holds the `gateway.yaml` of this
//! repository, and the answers must be the ones that are shown there. `docs/HTTP.md` must list every status and code that
//! there is, `docs/KEYS.md` every code of the admin API, `docs/SECURITY.md` must name tests that exist.
//!
//! Ports are free ones, so that this can run beside everything else: they are put into commands and taken out of answers.
//! Only `cargo run --release` is not typed: the binary that was built for this test is started in its place.

#[path = "readme/http.rs"]
mod http;
#[path = "readme/keys.rs"]
mod keys;
#[path = "readme/page.rs"]
mod page;
#[path = "readme/security.rs"]
mod security;
#[path = "readme/shell.rs"]
mod shell;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use keygate::config::demo::DEMO_KEYS;
use keygate::config::{self, Source};

use page::{Shown, answer_is, commands, quoted, read, table};
use shell::{Background, DEADLINE, Ports, Shell, ask_for, example, keygate};

/// The arguments of a command that does not end by itself.
fn service(command: &str, ports: &Ports) -> Option<Vec<String>> {
    if command == "cargo run --release" {
        return Some(Vec::new());
    }
    let words = command.strip_prefix("keygate ").filter(|words| words.starts_with("run "))?;
    let mut words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    if words.iter().any(|word| word == "--upstream") {
        for (flag, shown) in [("--listen", "127.0.0.1:8080"), ("--admin", "127.0.0.1:9090")] {
            words.extend([flag.to_owned(), ports.real(shown).to_string()]);
        }
    }
    Some(words)
}

#[test]
fn the_commands_of_the_readme_answer_as_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let ports = Ports::take();
    fs::write(directory.path().join("gateway.yaml"), example(&ports)).expect("written");
    let mut shell = Shell::start(directory.path());
    let mut gateway: Option<Background> = None;
    let said_by = |gateway: &Option<Background>| gateway.as_ref().map(Background::said).unwrap_or_default();
    let shown = commands(&read("README.md"));
    assert!(shown.len() > 20, "{} commands", shown.len());
    for Shown { line, command, answer } in shown {
        let real = ports.put_into(&command);
        let service = service(&real, &ports);
        if let Some(arguments) = &service {
            drop(gateway.take());
            let mut binary = keygate();
            binary.current_dir(directory.path()).args(arguments);
            gateway = Some(Background::start(binary, ports.real("127.0.0.1:8080")));
        }
        let began = Instant::now();
        loop {
            let said = match &service {
                Some(_) => said_by(&gateway).lines().map(str::to_owned).collect(),
                None => shell.run(&real),
            };
            let said: Vec<String> = said.iter().map(|line| ports.take_out_of(line)).collect();
            if answer_is(&answer, &said.iter().map(String::as_str).collect::<Vec<_>>()) {
                break;
            }
            // A question about what has just been changed may come too early on a busy machine.
            let may_change = service.is_some() || command.starts_with("curl ");
            assert!(
                may_change && began.elapsed() < DEADLINE / 4,
                "README.md:{line}: {command}\n-- shown\n{}\n-- real\n{}\n-- gateway\n{}",
                answer.join("\n"),
                said.join("\n"),
                said_by(&gateway),
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
    let left = fs::read_to_string(directory.path().join("gateway.yaml")).expect("it is there");
    assert_eq!(left, example(&ports), "the tour leaves the file as it was");
}

#[test]
fn the_table_of_keys_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.yaml");
    let loaded = config::load(&Source::File(path), 1).unwrap_or_else(|problems| panic!("{problems}"));
    let records = loaded.keys.read_all().expect("nobody changes the files");
    let type_of = |client: &str| {
        let record = records.iter().find(|record| record.key.client.id.as_str() == client);
        record.map(|record| record.key.client.client_type.as_str().to_owned()).unwrap_or_default()
    };
    let known: Vec<[String; 3]> =
        DEMO_KEYS.iter().map(|key| [key.client.to_owned(), type_of(key.client), key.key.to_owned()]).collect();
    let shown: Vec<[String; 3]> = table(&read("README.md"), "| client | client type |")
        .into_iter()
        .map(|row| [&row[0], &row[1], &row[3]].map(|cell| cell.trim_matches('`').to_owned()))
        .collect();
    assert_eq!(shown, known);
}

#[test]
fn rules_that_are_quoted_stand_in_the_file() {
    let (page, file) = (read("README.md"), read("gateway.yaml"));
    let rules: Vec<&str> = quoted(&page).filter(|text| text.starts_with("allow: ")).collect();
    assert!(!rules.is_empty());
    for rule in rules {
        assert!(file.contains(rule), "gateway.yaml does not say {rule}");
    }
}

/// From the start of the process to the first answer: less than 200 ms, for a debug build too. The best of five counts: the
/// question is what the program needs, not what else the machine does.
#[test]
fn the_first_answer_comes_at_once() {
    let most = Duration::from_millis(200);
    let directory = tempfile::tempdir().expect("a directory");
    for is_demo in [false, true] {
        let best = (0..5).map(|_| time_to_first_answer(directory.path(), is_demo)).min().expect("five times");
        println!("{} {best:?}", if is_demo { "keygate demo" } else { "keygate" });
        assert!(best < most, "{best:?}, at most {most:?}; demo: {is_demo}");
    }
}

fn time_to_first_answer(directory: &Path, is_demo: bool) -> Duration {
    let ports = Ports::take();
    let address = ports.real("127.0.0.1:8080");
    fs::write(directory.join("gateway.yaml"), example(&ports)).expect("written");
    let mut command = keygate();
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if is_demo {
        command.args(["demo", "--listen", &address.to_string(), "--admin", "off"]);
    }
    let began = Instant::now();
    let mut child = command.spawn().expect("the binary starts");
    let answer = loop {
        let answer = ask_for(address, "/orders/1", "");
        if answer.is_ok() || began.elapsed() > DEADLINE {
            break answer;
        }
        thread::sleep(Duration::from_millis(1));
    };
    let took = began.elapsed();
    let _ = child.kill();
    let _ = child.wait();
    let answer = answer.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    took
}
