//! `docs/KEYS.md` names every code that the admin API knows, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::page::{quoted, read, table};

/// What a code is given to in the source.
const GIVEN_TO: [&str; 6] =
    ["Fault::new(", "::conflict(", "Problem::new(", "::unreadable(", "Warning::new(", "Self::unavailable("];

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest: Vec<PathBuf> = ["src/admin", "src/management", "src/admin.rs", "src/management.rs"]
        .iter()
        .map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .collect();
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(fs::read_dir(&path).expect("our own folder").map(|entry| entry.expect("an entry").path()));
        } else if !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

fn is_code(text: &str) -> bool {
    text.contains('_') && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The codes of the source: the first text of that form in what is given to each of these.
fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("our own file");
        for marker in GIVEN_TO {
            for (at, _) in text.match_indices(marker) {
                let given = &text[at + marker.len()..];
                let given = &given[..given.len().min(300)];
                codes.extend(given.split('"').skip(1).step_by(2).find(|text| is_code(text)).map(str::to_owned));
            }
        }
    }
    codes
}

#[test]
fn every_code_of_the_admin_api_stands_in_its_page() {
    let page = read("docs/KEYS.md");
    let shown: BTreeSet<String> = quoted(&page).filter(|text| is_code(text)).map(str::to_owned).collect();
    let codes = codes();
    assert!(codes.len() > 50, "{codes:?}");
    let missing: Vec<&String> = codes.iter().filter(|code| !shown.contains(*code)).collect();
    assert!(missing.is_empty(), "docs/KEYS.md does not say what these mean: {missing:?}");
    let source: String = sources().iter().map(|path| fs::read_to_string(path).expect("our own file")).collect();
    for row in table(&page, "| status | code |") {
        for code in quoted(&row[1]).filter(|text| is_code(text)) {
            assert!(source.contains(&format!("\"{code}\"")), "docs/KEYS.md names a code that there is not: {code}");
        }
    }
}
