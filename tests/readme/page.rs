//! Reading pages: the commands they show, their tables, and whether an answer is the one that is shown.

use std::fs;
use std::path::Path;

pub(crate) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A command with the answer that is shown below it.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) answer: Vec<String>,
}

/// Every command of every `console` block of a page.
pub(crate) fn commands(page: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        match (inside, line.strip_prefix("$ ")) {
            (false, _) => inside = line == "```console",
            (true, _) if line == "```" => inside = false,
            (true, Some(command)) => {
                found.push(Shown { line: number + 1, command: command.to_owned(), answer: Vec::new() })
            }
            (true, None) => {
                found.last_mut().expect("a block begins with a command").answer.push(line.trim_end().to_owned());
            }
        }
    }
    found
}

/// The cells of every row below the header that begins like this.
pub(crate) fn table(page: &str, header: &str) -> Vec<Vec<String>> {
    let rows = page.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let rows: Vec<Vec<String>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "no table {header}");
    rows
}

/// The words of a text that stand between backticks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a line is the one that is shown, where `...` stands for anything.
pub(crate) fn line_is(shown: &str, line: &str) -> bool {
    let mut parts = shown.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether an answer is the one that is shown, where a line of `...` stands for any lines or none.
pub(crate) fn answer_is(shown: &[String], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => (0..=lines.len()).any(|skipped| answer_is(rest, &lines[skipped..])),
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, lines)| line_is(first, line) && answer_is(rest, lines))
        }
    }
}

#[test]
fn an_answer_that_differs_would_be_seen() {
    for (shown, lines, same) in [
        (&["a", "b"][..], &["a", "b"][..], true),
        (&["a"], &["a", "b"], false),
        (&["a", "b"], &["b", "a"], false),
        (&["a", "...", "c"], &["a", "b", "b", "c"], true),
        (&["...", "c"], &["a", "b"], false),
        (&["id: ..."], &["id: 7"], true),
        (&["{...,\"code\":\"x\",...}"], &["{\"a\":1,\"code\":\"x\",\"b\":2}"], true),
        (&["{...,\"code\":\"x\",...}"], &["{\"a\":1,\"code\":\"y\",\"b\":2}"], false),
        (&["a"], &[], false),
        (&[], &["a"], false),
    ] {
        let owned: Vec<String> = shown.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(answer_is(&owned, lines), same, "{shown:?} {lines:?}");
    }
    let page = "```console\n$ a\n1\n$ b\n```\ntext\n```sh\n$ c\n```\n";
    let found: Vec<_> = commands(page).into_iter().map(|shown| (shown.command, shown.answer.len())).collect();
    assert_eq!(found, [("a".to_owned(), 1), ("b".to_owned(), 0)]);
}
