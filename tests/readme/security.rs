//! `docs/SECURITY.md` names tests that exist and limits that are so.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::page::{quoted, read, table};

/// Every test of this crate by its name, with the files it stands in.
fn tests_by_name() -> BTreeMap<String, Vec<String>> {
    fn walk(folder: &Path, found: &mut BTreeMap<String, Vec<String>>) {
        for entry in fs::read_dir(folder).expect("a folder of the crate") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("source is text");
                let file = path.with_extension("").to_string_lossy().into_owned();
                let mut is_test = false;
                for line in text.lines().map(str::trim) {
                    if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                        is_test = true;
                    } else if let Some((_, name)) = line.split_once("fn ").filter(|_| !line.starts_with("//")) {
                        // Inside of `proptest!` the attribute stands in front too.
                        let name = name.split(['(', '<']).next().unwrap_or_default();
                        if std::mem::take(&mut is_test) {
                            found.entry(name.to_owned()).or_default().push(file.clone());
                        }
                    }
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    walk(&root.join("src"), &mut found);
    walk(&root.join("tests"), &mut found);
    found
}

#[test]
fn every_promise_names_tests_that_exist() {
    let page = read("docs/SECURITY.md");
    let tests = tests_by_name();
    assert!(tests.len() > 300, "{}", tests.len());
    let mut number = 0;
    for line in page.lines() {
        let Some((digits, promise)) = line.split_once(". ").filter(|(digits, _)| digits.parse::<u32>().is_ok()) else {
            continue;
        };
        number += 1;
        assert_eq!(digits, number.to_string(), "the numbers of promises are referred to");
        let guards: Vec<&str> = quoted(promise).filter(|word| word.contains("::")).collect();
        assert!(!guards.is_empty() || promise.contains("**Not yet:**"), "nothing guards promise {number}");
        for guard in guards {
            let mut folders: Vec<&str> = guard.split("::").collect();
            let name = folders.pop().expect("split gives one at least");
            if folders[0] != "src" && folders[0] != "fuzz" {
                folders.insert(0, "integration");
            }
            let is_there = tests.get(name).is_some_and(|files| {
                files.iter().any(|file| {
                    let parts: Vec<&str> = file.split('/').collect();
                    folders.iter().all(|folder| parts.contains(folder))
                })
            });
            assert!(is_there, "promise {number}: there is no test {guard}");
        }
    }
    assert_eq!(number, 28);
}

/// The limits that have a name in the configuration are those of the manual, with the same default.
#[test]
fn the_limits_have_the_defaults_of_the_manual() {
    let manual = read("docs/CONFIGURATION.md");
    let plain = |text: &str| text.replace([' ', '`'], "");
    let mut compared = 0;
    for row in table(&read("docs/SECURITY.md"), "| what | default |") {
        let Some(path) = quoted(&row[2]).next() else { continue };
        let (section, field) = path.rsplit_once('.').expect("a field of a section");
        let section =
            manual.split(&format!("\n## `{section}`\n")).nth(1).unwrap_or_else(|| panic!("no section {section}"));
        let section = section.split("\n## ").next().unwrap_or_default();
        let line = section.lines().find(|line| line.starts_with(&format!("- **`{field}`**")));
        let line = line.unwrap_or_else(|| panic!("no field {path}"));
        let default = line.split("Default: `").nth(1).and_then(|rest| rest.split('`').next()).unwrap_or_default();
        let shown = row[1].split([':', ',']).next().unwrap_or_default();
        assert_eq!(plain(shown), default, "{path}: {line}");
        compared += 1;
    }
    assert_eq!(compared, 22);
}
