use super::*;
use crate::config::tree::{Kind, Node, parse};

const COMPLETE: &str = include_str!("../../../deploy/examples/complete.yaml");

/// The paths of everything that is written in a file, in the form of [`field_paths`].
fn written_paths(node: &Node, path: &str, known: &[String], paths: &mut Vec<String>) {
    match &node.kind {
        Kind::Map(entries) => {
            for (key, value) in entries {
                let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                let named = below(&key.text);
                let path = if known.contains(&named) { named } else { below("*") };
                paths.push(path.clone());
                written_paths(value, &path, known, paths);
            }
        }
        Kind::List(items) => items.iter().for_each(|item| written_paths(item, &format!("{path}[]"), known, paths)),
        _ => {}
    }
}

#[test]
fn the_complete_example_shows_every_field() {
    let known = field_paths();
    let mut written = Vec::new();
    written_paths(&parse(COMPLETE, 0).expect("yaml"), "", &known, &mut written);
    let missing: Vec<_> = known.iter().filter(|path| !written.contains(path)).collect();
    assert!(missing.is_empty(), "deploy/examples/complete.yaml does not show {missing:#?}");
}

#[test]
fn the_manual_is_what_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIGURATION.md");
    let text = reference();
    if std::env::var_os("KEYGATE_BLESS").is_some() {
        std::fs::write(path, &text).expect("written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "docs/CONFIGURATION.md is out of date; run this test with KEYGATE_BLESS=1");
}

#[test]
fn every_field_is_explained() {
    fn check(schema: &Value, at: &str, silent: &mut Vec<String>) {
        for (field, inner) in properties(schema) {
            if text_of(inner).is_empty() {
                silent.push(format!("{at}.{field}"));
            }
        }
    }
    let schema = schema();
    let mut silent = Vec::new();
    check(&schema, "", &mut silent);
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        check(definition, name, &mut silent);
    }
    assert!(silent.is_empty(), "{silent:?}");
}
