//! The configuration.

use std::path::PathBuf;

use http::Method;
use keygate::config::{Loaded, Names, Problems, Source, Surroundings, load_in};
use keygate::keys::Timestamp;
use keygate::routing::CanonicalPath;

use super::choices::Choices;
use super::report::is_sound;
use super::site::NOW;

const NAME: &str = "fuzz.yaml";

fn load(text: &str) -> Result<Loaded, Problems> {
    let source = Source::Text { name: NAME.to_owned(), text: text.to_owned(), directory: PathBuf::new() };
    // Names of hosts are not looked up, and there are no variables.
    let surroundings = Surroundings { environment: &|_| None, names: Names::Assume, now: Timestamp::from_millis(NOW) };
    load_in(&source, 1, &surroundings)
}

/// A configuration is taken whole, and the same one each time, or refused with problems that have places and tell no secret.
pub fn document(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Reading devices belongs to no fuzz run, and the YAML scanner is quadratic.
    if text.contains("/dev") || text.contains("/proc") || text.contains("/sys") || text.len() > 16 * 1024 {
        return;
    }
    match load(text) {
        Ok(loaded) => {
            let again = load(text).expect("what was taken is taken again");
            assert_eq!(again.snapshot.content_digest, loaded.snapshot.content_digest);
            assert_eq!(again.keys.read_all(), loaded.keys.read_all());
            assert_eq!(loaded.warnings.errors(), 0, "taken with errors");
        }
        Err(problems) => is_sound(&problems, NAME, text),
    }
}

/// A mistake that may stand in a configuration, and a word that its report must hold.
struct Mistake {
    /// In place of a whole endpoint, or beside it.
    line: &'static str,
    place: Where,
    told: &'static str,
}

#[derive(PartialEq)]
enum Where {
    Top,
    Endpoint,
    Key,
}

const MISTAKES: &[Mistake] = &[
    Mistake { line: "colour: red", place: Where::Top, told: "colour" },
    Mistake { line: "endpoint: []", place: Where::Top, told: "endpoint" },
    Mistake { line: "environment: [live]", place: Where::Top, told: "" },
    Mistake { line: "{ name: m, path: /m, upstream: echo }", place: Where::Endpoint, told: "public" },
    Mistake { line: "{ name: m, path: /m, upstream: nowhere, public: true }", place: Where::Endpoint, told: "nowhere" },
    Mistake { line: "{ name: m, path: '/m/:a/:a', upstream: echo, public: true }", place: Where::Endpoint, told: "a" },
    Mistake { line: "{ name: m, path: /m/../n, upstream: echo, public: true }", place: Where::Endpoint, told: "" },
    Mistake { line: "{ name: m, path: m, upstream: echo, public: true }", place: Where::Endpoint, told: "" },
    Mistake { line: "{ name: m, path: /m%2fn, upstream: echo, public: true }", place: Where::Endpoint, told: "" },
    Mistake { line: "{ name: m, path: /m, upstream: echo, allow: 'groups.' }", place: Where::Endpoint, told: "name" },
    Mistake { line: "{ name: m, path: /m, upstream: echo, allow: '' }", place: Where::Endpoint, told: "empty" },
    Mistake { line: "{ name: m, path: /m, upstream: echo, allow: !groups.admin }", place: Where::Endpoint, told: "" },
    Mistake { line: "{ name: m, path: /m, upstream: echo, public: yes }", place: Where::Endpoint, told: "true" },
    Mistake {
        line: "{ name: m, path: /m, upstream: echo, client_type: [a] }",
        place: Where::Endpoint,
        told: "client_types",
    },
    Mistake {
        line: "{ name: m, path: /m, upstream: echo, permissions: { TRACE: [] } }",
        place: Where::Endpoint,
        told: "TRACE",
    },
    Mistake {
        line: "{ name: m, path: /m, path: /n, upstream: echo, public: true }",
        place: Where::Endpoint,
        told: "path",
    },
    Mistake {
        line: "{ id: m, name: m, digest: S3CR3TmarkedS3CR3TmarkedS3CR3Tmarked }",
        place: Where::Key,
        told: "digest",
    },
    Mistake {
        line: "{ id: m, name: m, key: S3CR3TmarkedS3CR3TmarkedS3CR3Tmarked }",
        place: Where::Key,
        told: "digest",
    },
    Mistake { line: "{ id: m, name: m }", place: Where::Key, told: "digest" },
    Mistake { line: "{ id: key-0, name: m, digest: 'blake3:00' }", place: Where::Key, told: "digest" },
    Mistake { line: "{ id: m, name: m, digest: '{0}' }", place: Where::Key, told: "same digest" },
    Mistake { line: "{ id: m, name: m, expires_at: tomorrow, digest: '{m}' }", place: Where::Key, told: "" },
    Mistake { line: "{ id: m, name: m, permissions: null, digest: '{m}' }", place: Where::Key, told: "" },
];

const RULES: [&str; 7] = [
    "public: true",
    "api_key: required",
    "client_types: [a, b]",
    "permissions: [orders.read]",
    "permissions: { GET: [orders.read], POST: [orders.write] }",
    "allow: \"clientType == 'a' || groups.admin && !isBackoffice\"",
    "api_key: required, case: distinct",
];

/// A configuration made of decisions: good endpoints and keys, and at most one mistake. With none it is taken and each
/// endpoint is found where it lies; with one it is refused, and the report says so on the line of the mistake.
pub fn choices(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mistake = choices.once_in(2).then(|| &MISTAKES[choices.below(MISTAKES.len())]);
    let mut lines =
        vec!["listen: [{ address: 127.0.0.1:0 }]".to_owned(), "upstreams: { echo: { echo: true } }".to_owned()];
    // Gives the number of the mistake's line.
    let add_mistake = |place: Where, lines: &mut Vec<String>, indent: &str| -> usize {
        let Some(mistake) = mistake.filter(|mistake| mistake.place == place) else { return 0 };
        let line = mistake.line.replace("{0}", &digest(0)).replace("{m}", &digest(99));
        lines.push(format!("{indent}{line}"));
        lines.len()
    };
    let mut wrong = add_mistake(Where::Top, &mut lines, "");
    lines.push("endpoints:".to_owned());
    let paths = some_paths(&mut choices);
    for (number, path) in paths.iter().enumerate() {
        let rule = choices.of(&RULES);
        lines.push(format!("  - {{ name: e{number}, path: '{path}', upstream: echo, {rule} }}"));
    }
    wrong += add_mistake(Where::Endpoint, &mut lines, "  - ");
    lines.push("clients:".to_owned());
    let count = 1 + choices.below(3);
    for number in 0..count {
        let kind = choices.of(&["a", "b", "c"]);
        lines.push(format!("  - id: client-{number}"));
        lines.extend([format!("    client_type: {kind}"), "    groups: [admin]".to_owned(), "    keys:".to_owned()]);
        let more = choices.of(&["", ", active: false", ", expires_at: '2999-01-01T00:00:00Z'", ", permissions: []"]);
        let digest = digest(number);
        lines.push(format!("      - {{ id: key-{number}, name: key {number}, digest: '{digest}'{more} }}"));
    }
    wrong += add_mistake(Where::Key, &mut lines, "      - ");
    let text = lines.join("\n") + "\n";

    match (load(&text), mistake) {
        (Ok(loaded), None) => each_is_found(&loaded, &paths, count),
        (Ok(_), Some(mistake)) => panic!("taken in spite of {}:\n{text}", mistake.line),
        (Err(problems), None) => panic!("refused for nothing: {problems}\n{text}"),
        (Err(problems), Some(mistake)) => {
            is_sound(&problems, NAME, &text);
            let says_so = |problem: &keygate::config::Problem| {
                let words = format!("{} {}", problem.message, problem.hint.as_deref().unwrap_or_default());
                problem.line as usize == wrong && words.contains(mistake.told)
            };
            assert!(problems.list().iter().any(says_so), "line {wrong}, {:?}: {problems}\n{text}", mistake.told);
        }
    }
}

/// Each number's own.
fn digest(number: usize) -> String {
    format!("blake3:{number:064x}")
}

/// Paths of which no two are one, parameters without their names.
fn some_paths(choices: &mut Choices<'_>) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for _ in 0..=choices.below(5) {
        let mut path = String::new();
        for number in 0..=choices.below(3) {
            match choices.below(4) {
                0 => path.push_str(&format!("/:p{number}")),
                _ => path.push_str(&format!("/{}", choices.of(&["a", "b", "orders", "v1"]))),
            }
        }
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

fn each_is_found(loaded: &Loaded, paths: &[String], count: usize) {
    let endpoints = loaded.snapshot.router.endpoints();
    assert_eq!((endpoints.len(), loaded.keys.len()), (paths.len(), count));
    for (number, path) in paths.iter().enumerate() {
        let asked: Vec<_> = path.split('/').map(|part| if part.starts_with(':') { "zz" } else { part }).collect();
        let asked = asked.join("/");
        let canonical = CanonicalPath::parse(&asked).expect("a plain path");
        let found = loaded.snapshot.router.find("http", "example.com", &canonical, &Method::GET);
        assert_eq!(found.map(|rule| rule.endpoint), Ok(number), "{asked} of {paths:?}");
    }
}
