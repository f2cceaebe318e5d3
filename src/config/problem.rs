//! What is wrong with a configuration: where, what, and how to mend it.
//!
//! Everything that reads or checks a configuration adds to one [`Report`]; at the end it becomes [`Problems`], sorted by
//! place, for a terminal, a log or a program ([`Problems::to_json`]).
//!
//! A report is printed, logged and pasted into tickets. It therefore never shows a line that belongs to a key, and in all
//! other lines hides runs of letters and digits that are long enough to be a secret: people put a plain key where its
//! digest belongs.

use std::fmt;

use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::source::WatchedFile;
use super::tree::{Node, Position};

/// Whether a problem keeps a configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but a person should look.
    Warning,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it can be lived with.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: Arc<str>,
    /// From 1; 0 if the problem is about the file as a whole.
    pub line: u32,
    /// In characters, from 1; 0 where it is not known.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// The line, if it may be shown.
    snippet: Option<String>,
    position: Position,
    /// How many characters are meant; 0 means the word at the place.
    length: u32,
}

impl Problem {
    /// Adds how to mend it.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(on_one_line(hint.into()));
        self
    }

    /// Adds how to mend it, if that is known.
    pub(crate) fn maybe_hint(&mut self, hint: Option<String>) -> &mut Self {
        self.hint = self.hint.take().or(hint.map(on_one_line));
        self
    }

    /// Says how many characters are meant.
    pub(crate) fn length(&mut self, characters: usize) -> &mut Self {
        self.length = u32::try_from(characters).unwrap_or(0);
        self
    }

    /// `file:line:column`, as far as it is known.
    #[must_use]
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (0, _) => self.file.to_string(),
            (line, 0) => format!("{}:{line}", self.file),
            (line, column) => format!("{}:{line}:{column}", self.file),
        }
    }

    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        let line = self.line as usize;
        group = match &self.snippet {
            Some(snippet) => {
                let span = span_of(snippet, self.column, self.length);
                group.element(
                    Snippet::source(snippet.as_str())
                        .line_start(line)
                        .path(&*self.file)
                        .annotation(AnnotationKind::Primary.span(span)),
                )
            }
            None if line > 0 && self.column > 0 => {
                group.element(Origin::path(&*self.file).line(line).char_column(self.column as usize))
            }
            None if line > 0 => group.element(Origin::path(&*self.file).line(line)),
            None => group.element(Origin::path(&*self.file)),
        };
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Problem {
    /// One line, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (help: {hint})"),
            None => Ok(()),
        }
    }
}

/// The bytes of a line that are meant: as many characters as are asked for, or the word that begins there.
fn span_of(line: &str, column: u32, length: u32) -> std::ops::Range<usize> {
    let skip = column.saturating_sub(1) as usize;
    let start = line.char_indices().nth(skip).map_or(line.len(), |(index, _)| index);
    let rest = &line[start..];
    let end = if length > 0 {
        rest.char_indices().nth(length as usize).map_or(rest.len(), |(index, _)| index)
    } else {
        word_length(rest)
    };
    start..start + end
}

/// The length of the YAML scalar at the beginning of a text, as well as one can tell without a parser.
fn word_length(rest: &str) -> usize {
    let length = match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
        _ => rest
            .char_indices()
            .find(|(index, c)| {
                matches!(c, ',' | ']' | '}' | '\n')
                    || (*c == ':' && rest[index + 1..].starts_with([' ', '\n']) || rest[*index..].trim_end() == ":")
                    || rest[*index..].starts_with(" #")
            })
            .map_or(rest.len(), |(index, _)| index),
    };
    rest[..length].trim_end().len()
}

/// Everything that is wrong with a configuration, errors and warnings, sorted by place.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    list: Vec<Problem>,
    /// Found beyond the number that is kept.
    omitted: usize,
    file: Arc<str>,
    /// Every file that was read or looked for.
    pub(super) watched_files: Vec<WatchedFile>,
}

impl Problems {
    /// All of them.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Every file that was read or looked for, also those that are not there: when one of them changes, the load may
    /// succeed. Whoever waits for that must watch these, not the files of the configuration in force.
    #[must_use]
    pub fn watched_files(&self) -> &[WatchedFile] {
        &self.watched_files
    }

    /// How many keep the configuration from being used.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// How many can be lived with.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.list.len() - self.errors()
    }

    /// `gateway.yaml: 2 problems, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |number: usize, word: &str| match number {
            1 => format!("1 {word}"),
            _ => format!("{number} {word}s"),
        };
        let mut parts = Vec::new();
        if self.errors() > 0 || self.list.is_empty() {
            parts.push(if self.list.is_empty() { "no problem".to_owned() } else { count(self.errors(), "problem") });
        }
        if self.warnings() > 0 {
            parts.push(count(self.warnings(), "warning"));
        }
        if self.omitted > 0 {
            parts.push(format!("{} more not shown", self.omitted));
        }
        format!("{}: {}", self.file, parts.join(", "))
    }

    /// The whole report with the lines it is about; `styled` puts ANSI colours in.
    #[must_use]
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in &self.list {
            text.push_str(&problem.render(&renderer));
            text.push_str("\n\n");
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    /// The same for a program.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let list: Vec<Value> = self
            .list
            .iter()
            .map(|problem| {
                json!({
                    "severity": problem.severity.as_str(),
                    "file": &*problem.file,
                    "line": problem.line,
                    "column": problem.column,
                    "message": problem.message,
                    "hint": problem.hint,
                })
            })
            .collect();
        json!({ "file": &*self.file, "errors": self.errors(), "warnings": self.warnings(), "problems": list })
    }
}

impl fmt::Display for Problems {
    /// The plain report.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// The most problems that are kept of each severity: more of them help nobody.
const MAX_KEPT: usize = 100;

/// One file of a configuration, as far as reports need it.
#[derive(Debug, Clone)]
pub(crate) struct SourceText {
    /// As it was named.
    pub name: Arc<str>,
    /// The text, if lines of it may be shown.
    pub text: Option<Arc<str>>,
}

/// Problems while they are being found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    list: Vec<Problem>,
    sources: Vec<SourceText>,
    /// First and last line of everything that is about a key.
    private: Vec<(Position, Position)>,
    errors: usize,
    warnings: usize,
    /// Takes what is beyond the limit.
    overflow: Option<Problem>,
}

impl Report {
    /// Adds a file; the number is what [`Position::source`] holds.
    pub fn add_source(&mut self, name: Arc<str>, text: Option<Arc<str>>) -> u16 {
        self.sources.push(SourceText { name, text });
        u16::try_from(self.sources.len() - 1).unwrap_or(u16::MAX)
    }

    /// A file by its number.
    pub fn source(&self, number: u16) -> Option<&SourceText> {
        self.sources.get(usize::from(number))
    }

    /// The names of all files, by number.
    pub fn source_names(&self) -> Vec<Arc<str>> {
        self.sources.iter().map(|source| Arc::clone(&source.name)).collect()
    }

    /// The place of a file as a whole.
    pub fn whole(source: u16) -> Position {
        Position { source, line: 0, column: 0 }
    }

    /// No line of this node is ever shown.
    pub fn keep_private(&mut self, node: &Node) {
        let (mut first, mut last) = (node.at, node.at);
        node.walk(&mut |node| {
            first = first.min(node.at);
            last = last.max(node.at);
        });
        self.private.push((first, last));
    }

    /// This line is never shown.
    pub fn hide_line(&mut self, at: Position) {
        self.private.push((at, at));
    }

    /// A problem that nobody will see: it follows from one that was reported.
    pub fn discard(&mut self) -> &mut Problem {
        self.overflow.insert(Problem {
            severity: Severity::Error,
            file: Arc::from(""),
            line: 0,
            column: 0,
            message: String::new(),
            hint: None,
            snippet: None,
            position: Position::default(),
            length: 0,
        })
    }

    /// How many errors there are so far.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Adds an error.
    pub fn error(&mut self, at: Position, message: impl Into<String>) -> &mut Problem {
        self.errors += 1;
        let is_kept = self.errors <= MAX_KEPT;
        self.add(Severity::Error, at, message.into(), is_kept)
    }

    /// Adds a warning.
    pub fn warning(&mut self, at: Position, message: impl Into<String>) -> &mut Problem {
        self.warnings += 1;
        let is_kept = self.warnings <= MAX_KEPT;
        self.add(Severity::Warning, at, message.into(), is_kept)
    }

    fn add(&mut self, severity: Severity, at: Position, message: String, is_kept: bool) -> &mut Problem {
        let file = self.source(at.source).map_or_else(|| Arc::from(""), |source| Arc::clone(&source.name));
        let problem = Problem {
            severity,
            file,
            line: at.line,
            column: at.column,
            message: on_one_line(message),
            hint: None,
            snippet: None,
            position: at,
            length: 0,
        };
        if is_kept {
            self.list.push(problem);
            let last = self.list.len() - 1;
            &mut self.list[last]
        } else {
            self.overflow.insert(problem)
        }
    }

    /// `gateway.yaml:12`, for a message that speaks of a second place.
    pub fn name(&self, at: Position) -> String {
        let file = self.source(at.source).map_or("", |source| &source.name);
        if at.line == 0 { file.to_owned() } else { format!("{file}:{}", at.line) }
    }

    /// Sorts them and takes the lines they are about from the files.
    pub fn finish(self) -> Problems {
        let Self { mut list, sources, private, errors, warnings, .. } = self;
        let omitted = errors + warnings - list.len();
        for problem in &mut list {
            let at = problem.position;
            let is_private = private
                .iter()
                .any(|(first, last)| first.source == at.source && (first.line..=last.line).contains(&at.line));
            if at.line > 0 && !is_private {
                let text = sources.get(usize::from(at.source)).and_then(|source| source.text.as_deref());
                let line = text.and_then(|text| text.lines().nth(at.line as usize - 1));
                // A column beyond the line's end is the end of the file; there is nothing to show.
                problem.snippet = line.filter(|line| line.len() < 400 && !line.trim().is_empty()).map(mask);
            }
        }
        list.sort_by_key(|problem| (problem.position, problem.severity));
        let file = sources.first().map_or_else(|| Arc::from("configuration"), |source| Arc::clone(&source.name));
        Problems { list, omitted, file, watched_files: Vec::new() }
    }
}

/// Blanks in place of control characters. A message repeats what stands in a file, and whoever wrote that file must not
/// move the cursor of the terminal, or begin another line of the log, that it is shown in.
fn on_one_line(text: String) -> String {
    if text.contains(char::is_control) { text.replace(char::is_control, " ") } else { text }
}

/// Hides runs of letters and digits that are long enough to be a secret, character by character.
pub(crate) fn mask(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let run = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        let is_mixed = word.bytes().any(|b| b.is_ascii_digit()) && word.bytes().any(|b| b.is_ascii_alphabetic());
        if (word.len() >= 16 && is_mixed) || word.len() >= 32 {
            masked.extend(std::iter::repeat_n('*', word.len()));
        } else {
            masked.push_str(word);
        }
        let separator = after.chars().next().map_or(0, char::len_utf8);
        masked.push_str(&after[..separator]);
        rest = &after[separator..];
    }
    masked
}

/// A value as it may be shown in a message: short, on one line, masked.
pub(crate) fn quote(value: &str) -> String {
    let short: String = value.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let dots = if value.chars().count() > 60 { ".." } else { "" };
    format!("`{}{dots}`", mask(&short))
}

/// The known word that is most like the one that was written.
pub(crate) fn did_you_mean<'w>(written: &str, known: impl IntoIterator<Item = &'w str>) -> Option<String> {
    let bound = (written.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|word| (distance(&written.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= bound && *word != written)
        .min()
        .map(|(_, word)| format!("did you mean `{word}`?"))
}

/// Edits from one text to the other, two neighbours swapped counted as one.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().take(64).collect(), other.chars().take(64).collect());
    let mut before = vec![0; other.len() + 1];
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut next = vec![i; other.len() + 1];
        for j in 1..=other.len() {
            let change = row[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            next[j] = change.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_hidden() {
        for (line, shown) in [
            ("digest: kg_demo_shop_9aXk2mQ7rTz1bV8cN4dW0eY5", "digest: kg_demo_shop_************************"),
            ("- name: orders-service-v2-internal-only", "- name: orders-service-v2-internal-only"),
            (
                "url: http://127.0.0.1:9000/averyverylongwordwithoutdigits",
                "url: http://127.0.0.1:9000/averyverylongwordwithoutdigits",
            ),
            ("caf\u{e9}: \u{1F600} x", "caf\u{e9}: \u{1F600} x"),
        ] {
            assert_eq!(mask(line), shown);
        }
    }

    #[test]
    fn no_text_moves_the_cursor_or_begins_a_line() {
        let mut report = Report::default();
        report.error(Position::default(), "unknown field `a\u{1b}[2Kb\nc\u{7f}`").hint("d\r\n\u{9b}e");
        report.warning(Position::default(), "f").maybe_hint(Some("g\th".to_owned()));
        let shown: Vec<String> = report.finish().list().iter().map(ToString::to_string).collect();
        assert_eq!(shown, [": unknown field `a [2Kb c ` (help: d   e)", ": f (help: g h)"]);
    }

    #[test]
    fn a_likely_word_is_suggested_and_an_unlikely_one_is_not() {
        let known = ["allow", "allow_backoffice", "methods", "path", "permissions"];
        for (written, hint) in [
            ("alow", Some("did you mean `allow`?")),
            ("Allow", Some("did you mean `allow`?")),
            ("permission", Some("did you mean `permissions`?")),
            ("paht", Some("did you mean `path`?")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(written, known).as_deref(), hint, "{written}");
        }
    }

    #[test]
    fn a_report_is_bounded_and_says_so() {
        let mut report = Report::default();
        let source = report.add_source("gateway.yaml".into(), None);
        for line in 1..=250 {
            report.error(Position { source, line, column: 1 }, "x");
        }
        let problems = report.finish();
        assert_eq!(problems.list().len(), 100);
        assert_eq!(problems.summary(), "gateway.yaml: 100 problems, 150 more not shown");
    }
}
