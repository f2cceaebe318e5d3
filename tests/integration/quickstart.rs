//! Protected in a minute: one command with nothing but the binary, one with the address of an API.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::support::{Gateway, Origin, get, wait};

/// Both commands may use the default ports; one at a time.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static PORTS: Mutex<()> = Mutex::new(());
    PORTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn demo_shows_a_key_and_two_commands_that_work() {
    let _ports = one_at_a_time();
    let began = Instant::now();
    let gateway = Gateway::from_arguments(&["demo"]);
    let told = wait::until("a key in what it prints", || {
        let text = format!("{}\n{}", gateway.stdout(), gateway.stderr());
        text.contains("curl").then_some(text)
    });
    let key = told
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .find(|word| word.starts_with("kg_") && word.len() > 30)
        .unwrap_or_else(|| panic!("no key in\n{told}"));
    let commands: Vec<_> = told.lines().filter(|line| line.contains("curl ")).collect();
    assert!(commands.len() >= 2, "{told}");
    let url = commands
        .iter()
        .find(|line| line.contains(key) || line.contains("$KEY"))
        .and_then(|line| line.split_whitespace().find(|word| word.trim_matches(['"', '\'']).starts_with("http://")))
        .unwrap_or_else(|| panic!("no URL beside the key in\n{told}"));
    let path = url.trim_matches(['"', '\'']).splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or("/".into());
    assert_eq!(get(gateway.address(), &path, &[]).status, 401);
    let response = get(gateway.address(), &path, &[("x-api-key", key)]);
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(!response.text().contains(key), "the echo does not see the key: {}", response.text());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?} from start to the first answer", began.elapsed());
    assert!(gateway.address().ip().is_loopback());
}

#[test]
fn run_with_an_upstream_prints_one_key_and_nothing_else_on_standard_output() {
    let _ports = one_at_a_time();
    let origin = Origin::start();
    let began = Instant::now();
    let gateway = Gateway::from_arguments(&["run", "--upstream", &origin.url()]);
    let line = wait::until("the key", || gateway.stdout().split_once('\n').map(|(line, _)| line.to_string()));
    let key = line.trim().to_string();
    assert!(key.len() > 30 && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line:?}");
    assert_eq!(get(gateway.address(), "/anything", &[]).status, 401);
    let response = get(gateway.address(), "/anything", &[("x-api-key", &key)]);
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?} from start to the first answer", began.elapsed());
    assert_eq!(origin.take_one().target(), "/anything");
    assert!(!gateway.stderr().contains(&key), "the key stands on one stream only");
    let keys = gateway.stdout().matches(&key).count();
    assert_eq!(keys, 1, "{}", gateway.stdout());
    drop(gateway);
    let another = Gateway::from_arguments(&["run", "--upstream", &origin.url()]);
    let second = wait::until("the key", || another.stdout().split_once('\n').map(|(line, _)| line.trim().to_string()));
    assert_ne!(second, key, "every start makes a key of its own");
    assert_eq!(get(another.address(), "/", &[("x-api-key", &key)]).status, 401);
}
