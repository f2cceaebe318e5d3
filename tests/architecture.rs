//! The walls of the house: who may use whom, no circles, and a core that talks to nobody.
//!
//! Reads every file below `src/`, takes the code apart into words (comments, texts and test code left out), and compares
//! the paths that begin at the crate with the table of `docs/ARCHITECTURE.md`, section "Who may use whom". If a new arrow
//! is right, change the table and say why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The pure core: it decides, and therefore must not be able to talk, wait or read files.
const PURE: &[&str] = &[
    "admission",
    "authentication",
    "client",
    "credential",
    "explain",
    "identity",
    "keys",
    "limit",
    "policy",
    "routing",
    "snapshot",
];

/// Paths that nothing in the pure core may name.
const IMPURE: &[&[&str]] = &[
    &["hyper"],
    &["hyper_util"],
    &["tokio"],
    &["tokio_rustls"],
    &["std", "fs"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "net", "TcpStream"],
    &["std", "net", "TcpListener"],
    &["std", "net", "UdpSocket"],
    &["std", "os", "unix", "net"],
    &["SystemTime", "now"],
    &["Instant", "now"],
    &["std", "time", "SystemTime", "now"],
    &["std", "time", "Instant", "now"],
    &["socket2"],
    &["inotify"],
    &["serde_yaml"],
];

type Arrows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn modules_use_only_what_the_table_allows() {
    let allowed = table();
    let mut faults = Vec::new();
    for file in source_files() {
        let Some(module) = module_of(&file) else { continue };
        let Some(may) = allowed.get(&module) else {
            faults.push(format!("{}: the module `{module}` stands in no row of the table", file.display()));
            continue;
        };
        for used in modules_used_by(&file) {
            if used != module && !may.contains(&used) && !may.contains("*") {
                faults.push(format!("{}: `{module}` uses `{used}`, which the table does not allow", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{} arrows too many:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_table_names_modules_that_exist_and_only_those() {
    let modules: BTreeSet<String> = source_files().iter().filter_map(|file| module_of(file)).collect();
    let rows: BTreeSet<String> = table().into_keys().collect();
    let unknown: Vec<_> = rows.difference(&modules).collect();
    let missing: Vec<_> = modules.difference(&rows).collect();
    assert!(unknown.is_empty() && missing.is_empty(), "rows without a module {unknown:?}, modules without {missing:?}");
}

#[test]
fn modules_use_each_other_in_no_circle() {
    let mut arrows = Arrows::new();
    for file in source_files() {
        let Some(module) = module_of(&file) else { continue };
        let used = modules_used_by(&file).into_iter().filter(|used| *used != module);
        arrows.entry(module.clone()).or_default().extend(used);
    }
    assert_eq!(circle(&arrows), None);
}

#[test]
fn the_core_names_no_runtime_no_socket_no_file_and_no_clock() {
    let mut faults = Vec::new();
    for file in source_files() {
        if !module_of(&file).is_some_and(|module| PURE.contains(&module.as_str())) {
            continue;
        }
        for path in paths(&words(&read(&file))) {
            let names = |start: &&&[&str]| path.iter().map(String::as_str).take(start.len()).eq(start.iter().copied());
            if let Some(impure) = IMPURE.iter().find(names) {
                faults.push(format!(
                    "{}: {} ({} does not belong here)",
                    file.display(),
                    path.join("::"),
                    impure.join("::")
                ));
            }
        }
    }
    assert!(faults.is_empty(), "the core is not pure:\n{}", faults.join("\n"));
}

#[test]
fn only_one_module_knows_the_yaml_crate() {
    let knowing: BTreeSet<String> = source_files()
        .iter()
        .filter(|file| paths(&words(&read(file))).iter().any(|path| path[0] == "serde_yaml"))
        .filter_map(|file| module_of(file))
        .collect();
    assert!(knowing.iter().all(|module| module == "config"), "serde_yaml is named in {knowing:?}");
}

// -- reading the table ----------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn table() -> Arrows {
    let mut arrows = table_of(&read(&root().join("docs/ARCHITECTURE.md"))).expect("the page has the table");
    // The program itself is no room of the house and hands everything to one.
    arrows.entry("main".to_string()).or_insert_with(|| BTreeSet::from(["cli".to_string()]));
    arrows
}

/// The rows of the section "Who may use whom": a column headed `module`, a column headed `may use`.
fn table_of(page: &str) -> Option<Arrows> {
    let mut lines =
        page.lines().skip_while(|line| !(line.starts_with('#') && line.contains("Who may use whom"))).skip(1);
    let cells = |line: &str| line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect();
    let header: Vec<String> = lines.by_ref().find(|line| line.starts_with('|')).map(cells)?;
    let module = header.iter().position(|cell| cell == "module")?;
    let may_use = header.iter().position(|cell| cell == "may use")?;
    let mut arrows = Arrows::new();
    for row in lines.take_while(|line| line.starts_with('|')).filter(|line| !line.contains("---")) {
        let row: Vec<String> = cells(row);
        let name = row.get(module)?.trim_matches('`').to_string();
        arrows.insert(name, names_in(row.get(may_use)?));
    }
    Some(arrows)
}

/// The module names in a cell; remarks in parentheses are for people. `all` means everything.
fn names_in(cell: &str) -> BTreeSet<String> {
    let mut text = String::new();
    let mut depth = 0;
    for letter in cell.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 => text.push(letter),
            _ => {}
        }
    }
    let words =
        text.split(',').map(|word| word.trim().trim_matches('`')).filter(|word| !word.is_empty() && *word != "-");
    words.map(|word| if word.starts_with("all") { "*" } else { word }.to_string()).collect()
}

// -- reading the code -----------------------------------------------------------------------------------------------

fn source_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs")
                && path.file_name().is_some_and(|n| n != "tests.rs")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 20, "the code is somewhere else: {files:?}");
    files
}

/// The top-level module a file belongs to; none for `lib.rs`, which belongs to all.
fn module_of(file: &Path) -> Option<String> {
    let below = file.strip_prefix(root().join("src")).expect("a file below src");
    let first = below.components().next()?.as_os_str().to_string_lossy().into_owned();
    Some(first.trim_end_matches(".rs").to_string()).filter(|name| name != "lib")
}

/// How deep a file stands: `src/routing.rs` is 1, `src/routing/tree.rs` is 2.
fn depth_of(file: &Path) -> usize {
    file.strip_prefix(root().join("src")).expect("a file below src").components().count()
}

fn modules_used_by(file: &Path) -> BTreeSet<String> {
    let depth = depth_of(file);
    let is_main = module_of(file).is_some_and(|module| module == "main");
    let mut used = BTreeSet::new();
    for path in paths(&words(&read(file))) {
        let supers = path.iter().take_while(|word| *word == "super").count();
        let target = match path[0].as_str() {
            "crate" => path.get(1),
            "keygate" if is_main => path.get(1),
            "super" if supers == depth => path.get(supers),
            _ => None,
        };
        // Macros of the crate and items of its root are not modules; their names are no module's.
        used.extend(target.filter(|name| root().join("src").join(format!("{name}.rs")).exists()).cloned());
    }
    used
}

/// The words and signs of a source text, without comments, texts and everything marked `#[cfg(test)]`.
fn words(source: &str) -> Vec<String> {
    let letters: Vec<char> = source.chars().collect();
    let at = |index: usize| letters.get(index).copied().unwrap_or('\0');
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut words: Vec<String> = Vec::new();
    let mut i = 0;
    while i < letters.len() {
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < letters.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                while i < letters.len() && !(at(i) == '*' && at(i + 1) == '/') {
                    i += 1;
                }
                i += 2;
            }
            'r' | 'b' | 'c' if raw_start(&letters, i).is_some() && !(i > 0 && is_name(at(i - 1))) => {
                let (start, hashes) = raw_start(&letters, i).expect("just seen");
                i = start;
                while i < letters.len() && !(at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#')) {
                    i += 1;
                }
                i += 1 + hashes;
            }
            '"' => {
                i += 1;
                while i < letters.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
            }
            // A letter in quotes, not a lifetime.
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                i += if at(i + 1) == '\\' { 3 } else { 2 };
                while i < letters.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            letter if is_name(letter) => {
                let start = i;
                while is_name(at(i)) {
                    i += 1;
                }
                words.push(letters[start..i].iter().collect());
            }
            ':' if at(i + 1) == ':' => {
                words.push("::".to_string());
                i += 2;
            }
            letter => {
                if !letter.is_whitespace() {
                    words.push(letter.to_string());
                }
                i += 1;
            }
        }
    }
    without_tests(&words)
}

/// Where the text of a raw string begins and how many `#` end it.
fn raw_start(letters: &[char], from: usize) -> Option<(usize, usize)> {
    let mut i = from;
    while matches!(letters.get(i), Some('b' | 'c')) {
        i += 1;
    }
    if letters.get(i) != Some(&'r') {
        return None;
    }
    i += 1;
    let hashes = letters[i..].iter().take_while(|letter| **letter == '#').count();
    (letters.get(i + hashes) == Some(&'"')).then_some((i + hashes + 1, hashes))
}

fn without_tests(words: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut i = 0;
    while i < words.len() {
        if words[i..].iter().take(MARK.len()).map(String::as_str).eq(MARK) {
            i += MARK.len();
            let mut depth = 0;
            while i < words.len() {
                match words[i].as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    _ => {}
                }
                let ends = depth == 0 && (words[i] == "}" || words[i] == ";");
                i += 1;
                if ends {
                    break;
                }
            }
            continue;
        }
        kept.push(words[i].clone());
        i += 1;
    }
    kept
}

/// Every path of two words or more, `use` trees written out.
fn paths(words: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < words.len() {
        let begins = is_word(&words[i]) && words.get(i + 1).is_some_and(|next| next == "::");
        let continues = i > 0 && words[i - 1] == "::";
        if begins && !continues {
            i = path_from(words, i, &[], &mut found);
        } else {
            i += 1;
        }
    }
    found
}

fn is_word(word: &str) -> bool {
    word.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}

/// Reads one path, or all paths of one tree; gives where it ended.
fn path_from(words: &[String], start: usize, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    let mut i = start;
    loop {
        match words.get(i).map(String::as_str) {
            Some("{") => {
                i += 1;
                while i < words.len() && words[i] != "}" {
                    let next = if is_word(&words[i]) || words[i] == "*" || words[i] == "{" {
                        path_from(words, i, &path, found)
                    } else {
                        i + 1
                    };
                    i = next.max(i + 1);
                }
                return i + 1;
            }
            Some(word) if is_word(word) || word == "*" => {
                path.push(word.to_string());
                i += 1;
            }
            _ => break,
        }
        if words.get(i).is_some_and(|word| word == "::") {
            i += 1;
        } else {
            break;
        }
    }
    if !path.is_empty() {
        found.push(path);
    }
    i
}

/// A circle, as the modules one passes on the way round.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    fn visit(at: &str, arrows: &Arrows, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|passed| passed == at) {
            return Some(way[start..].to_vec());
        }
        if !done.insert(at.to_string()) {
            return None;
        }
        way.push(at.to_string());
        let found = arrows.get(at).into_iter().flatten().find_map(|next| visit(next, arrows, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|start| visit(start, arrows, &mut Vec::new(), &mut done))
}

mod the_reader {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        paths(&words(source)).iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn trees_are_written_out_and_texts_comments_and_tests_left_out() {
        let source = r##"
            use crate::{client::{Client, self}, keys::*};
            // crate::comment::a
            /* crate::comment::b */
            const TEXT: &str = "crate::text::a \" crate::text::b";
            const RAW: &str = r#"crate::text::c " "#;
            fn f<'a>(x: &'a crate::policy::Policy, c: char) -> bool { c == '"' || c == '\'' || crate::routing::f::<u8>() }
            #[cfg(test)]
            mod tests { use crate::hidden::A; fn g() { if true {} } }
            #[cfg(test)]
            use crate::hidden::B;
            fn h() { super::inner() }
        "##;
        let expected = [
            "crate::client::Client",
            "crate::client::self",
            "crate::keys::*",
            "crate::policy::Policy",
            "crate::routing::f",
            "super::inner",
        ];
        assert_eq!(texts(source), expected);
    }

    #[test]
    fn a_circle_is_found_and_a_ladder_is_not_one() {
        let arrows = |pairs: &[(&str, &str)]| {
            let mut arrows = Arrows::new();
            for (from, to) in pairs {
                arrows.entry(from.to_string()).or_default().insert(to.to_string());
            }
            arrows
        };
        assert_eq!(circle(&arrows(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
        let round = circle(&arrows(&[("a", "b"), ("b", "c"), ("c", "b")]));
        assert_eq!(round, Some(vec!["b".to_string(), "c".to_string()]));
    }

    #[test]
    fn the_table_of_the_page_is_read() {
        let page = "## 4. Who may use whom\n\nText.\n\n| floor | module | may use | why |\n|---|---|---|---|\n\
                    | 1 | `client` | - | |\n| 2 | `keys` | client, credential (digest, source) | x |\n| 3 | `app` | all of the above | |\n\nText\n";
        let table = table_of(page).expect("a table");
        let row = |name: &str| table[name].iter().cloned().collect::<Vec<_>>();
        assert_eq!(row("client"), [""; 0]);
        assert_eq!(row("keys"), ["client", "credential"]);
        assert_eq!(row("app"), ["*"]);
    }

    #[test]
    fn an_arrow_that_runs_upwards_would_be_seen() {
        let seen = modules_used_by(&root().join("src/admission/permit.rs"));
        assert!(seen.contains("snapshot") && seen.contains("keys"), "{seen:?}");
    }
}
