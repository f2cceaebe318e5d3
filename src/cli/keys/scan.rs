//! `keygate keys scan`: keys of this store where they should not be, in files and in the history of Git.
//!
//! A key is found by the prefixes of the configuration. What looks like one is looked up by its digest: what is told is
//! whose it is, where it stands, and whether it is still good; never the key. A key without a prefix, as it may have come
//! from elsewhere, cannot be told from other words and is not found.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use http::Method;
use indicatif::ProgressBar;
use memchr::memmem::Finder;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::desk::{Desk, Failed, StoreArgument};
use super::super::output::{print_table, say, text};
use super::super::{FOUND, Output, USAGE, count, fail, print_json, print_line};
use crate::credential::KeyText;

/// A file is read in pieces of this size; each begins with the end of the one before it.
const PIECE: usize = 1 << 20;
/// The longest text that is taken for a key.
const LONGEST: usize = 512;
/// Characters behind a prefix, at least.
const SHORTEST: usize = 16;
/// Texts that are looked up at once.
const AT_ONCE: usize = 100;

#[derive(Debug, clap::Args)]
pub(super) struct ScanArguments {
    /// Files and folders to look through
    #[arg(required_unless_present_any = ["git", "gitleaks_rule"])]
    paths: Vec<PathBuf>,
    /// Look through all that was ever added to this Git repository
    #[arg(long, value_name = "REPOSITORY", num_args = 0..=1, default_missing_value = ".")]
    git: Option<PathBuf>,
    /// How keys begin, besides what the configuration says; may be repeated
    #[arg(long = "prefix", value_name = "PREFIX")]
    prefixes: Vec<String>,
    /// Print a rule for gitleaks that finds keys by their form, and end
    #[arg(long)]
    gitleaks_rule: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn scan(store: &StoreArgument, asked: &ScanArguments) -> Result<u8, Failed> {
    let mut prefixes: Vec<String> =
        store.load()?.issuing.prefixes.into_iter().map(|entry| entry.prefix.to_string()).collect();
    prefixes.extend(asked.prefixes.iter().cloned());
    prefixes.sort();
    prefixes.dedup();
    prefixes.retain(|prefix| !prefix.is_empty());
    if prefixes.is_empty() {
        fail("nothing says how keys begin: write `key_prefixes` in the configuration, or say --prefix");
        return Err(USAGE);
    }
    if asked.gitleaks_rule {
        return Ok(print_line(&gitleaks_rule(&prefixes)));
    }
    let mut desk = store.open()?;
    let bar = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut search = Search {
        finders: prefixes.iter().map(|prefix| (prefix.as_str(), Finder::new(prefix))).collect(),
        found: Vec::new(),
        places: HashMap::new(),
        looked_at: 0,
        unreadable: 0,
    };
    for path in &asked.paths {
        search.path(path, &bar);
    }
    if let Some(repository) = &asked.git {
        search.history(repository, &bar)?;
    }
    bar.finish_and_clear();
    let results = identify(&mut desk, &search)?;
    Ok(report(&search, &results, asked.output))
}

/// A text that looks like a key, and where it stands first.
struct Found {
    secret: Zeroizing<String>,
    place: String,
    is_whole: bool,
}

struct Search<'p> {
    finders: Vec<(&'p str, Finder<'p>)>,
    found: Vec<Found>,
    /// How often each text was seen, by its digest.
    places: HashMap<blake3::Hash, (usize, usize)>,
    looked_at: usize,
    unreadable: usize,
}

impl Search<'_> {
    /// Looks through a file, or through all that is below a folder. Links are not followed.
    fn path(&mut self, path: &Path, bar: &ProgressBar) {
        let mut rest = vec![path.to_owned()];
        while let Some(path) = rest.pop() {
            let outcome = std::fs::symlink_metadata(&path).and_then(|metadata| {
                if metadata.is_dir() {
                    // What Git keeps is compressed: `--git` reads it.
                    if path.file_name().is_some_and(|name| name == ".git") {
                        return Ok(());
                    }
                    for entry in std::fs::read_dir(&path)? {
                        rest.push(entry?.path());
                    }
                } else if metadata.is_file() {
                    self.file(&path)?;
                    self.looked_at += 1;
                    if self.looked_at.is_multiple_of(100) {
                        bar.set_message(count(self.looked_at, "file"));
                    }
                }
                Ok(())
            });
            if let Err(error) = outcome {
                self.unreadable += 1;
                say(&format!("cannot read {}: {error}", path.display()));
            }
        }
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut piece = Vec::with_capacity(PIECE + LONGEST);
        let (mut lines_before, mut kept) = (0, 0);
        loop {
            let read = file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            let is_last = read < PIECE;
            // What begins near the end is looked at with what comes next.
            let end = if is_last { piece.len() } else { piece.len() - LONGEST.min(piece.len()) };
            self.piece(&piece, kept, end, |at, piece| {
                let line = lines_before + memchr::memchr_iter(b'\n', &piece[..at]).count() + 1;
                format!("{}:{line}", path.display())
            });
            if is_last {
                return Ok(());
            }
            // One byte is kept besides, to see whether a word goes on.
            kept = usize::from(end > 0);
            lines_before += memchr::memchr_iter(b'\n', &piece[..end - kept]).count();
            piece.drain(..end - kept);
        }
    }

    /// Looks for keys that begin within `from..to`.
    fn piece(&mut self, piece: &[u8], from: usize, to: usize, place: impl Fn(usize, &[u8]) -> String) {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        for index in 0..self.finders.len() {
            let (prefix, finder) = &self.finders[index];
            let prefix = *prefix;
            let starts: Vec<usize> = finder.find_iter(&piece[from..]).map(|at| at + from).collect();
            for at in starts {
                if at >= to || (at > 0 && is_word(&piece[at - 1])) {
                    continue;
                }
                let body = &piece[at..piece.len().min(at + LONGEST)];
                let length = body.iter().take_while(|byte| is_word(byte)).count();
                if length < prefix.len() + SHORTEST {
                    continue;
                }
                // Letters, digits, `_` and `-` are text.
                let secret = Zeroizing::new(String::from_utf8_lossy(&body[..length]).into_owned());
                let digest = blake3::hash(secret.as_bytes());
                if let Some((_, times)) = self.places.get_mut(&digest) {
                    *times += 1;
                    continue;
                }
                let is_whole = KeyText::checksum_is_right(secret.as_bytes(), prefix);
                self.places.insert(digest, (self.found.len(), 1));
                self.found.push(Found { secret, place: place(at, piece), is_whole });
            }
        }
    }

    /// Looks through every line that was ever added.
    fn history(&mut self, repository: &Path, bar: &ProgressBar) -> Result<(), Failed> {
        let mut git = Command::new("git")
            .args(["-c", "core.quotePath=false", "-C"])
            .arg(repository)
            .args(["log", "--all", "-p", "-U0", "--text", "--no-color", "--no-ext-diff", "--no-textconv"])
            .args(["--diff-merges=separate", "--src-prefix=a/", "--dst-prefix=b/", "--format=commit %H"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| fail(&format!("git cannot be run: {error}")))?;
        let Some(output) = git.stdout.take() else { return Err(fail("git says nothing")) };
        let mut output = BufReader::with_capacity(PIECE, output);
        let (mut commit, mut file) = (String::new(), String::new());
        let mut line = Vec::new();
        let (mut commits, mut row, mut is_in_hunk) = (0, 0_usize, false);
        loop {
            line.clear();
            match output.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(fail(&format!("what git says cannot be read: {error}"))),
            }
            if let Some(id) = line.strip_prefix(b"commit ") {
                commit = String::from_utf8_lossy(&id[..id.len().min(12)]).trim_end().to_owned();
                commits += 1;
                is_in_hunk = false;
                if commits % 100 == 0 {
                    bar.set_message(count(commits, "commit"));
                }
            } else if line.starts_with(b"diff --git ") {
                is_in_hunk = false;
            } else if let Some(name) = line.strip_prefix(b"+++ b/").filter(|_| !is_in_hunk) {
                file = String::from_utf8_lossy(name).trim_end().to_owned();
            } else if line.starts_with(b"@@ ") {
                is_in_hunk = true;
                row = first_row(&line).unwrap_or(1);
            } else if is_in_hunk && is_added(&line) {
                let (commit, file) = (&commit, &file);
                self.piece(&line[1..], 0, line.len(), |_, _| format!("{commit}:{file}:{row}"));
                row += 1;
            }
        }
        self.looked_at += commits;
        match git.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(fail(&format!("{} cannot be read: is it a Git repository?", repository.display()))),
            Err(error) => Err(fail(&format!("git did not end: {error}"))),
        }
    }
}

fn is_added(line: &[u8]) -> bool {
    line.first() == Some(&b'+')
}

/// The first line that a hunk adds: `@@ -1,0 +7,2 @@`.
fn first_row(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?;
    let added = text.split(' ').find_map(|word| word.strip_prefix('+'))?;
    added.split(',').next()?.parse().ok()
}

/// Whose each text is: by its place among what was found.
fn identify(desk: &mut Desk, search: &Search<'_>) -> Result<HashMap<usize, Value>, Failed> {
    let mut known = HashMap::new();
    for (part, texts) in search.found.chunks(AT_ONCE).enumerate() {
        let secrets: Vec<&str> = texts.iter().map(|found| found.secret.as_str()).collect();
        let mut answer = desk.ask(&Method::POST, "/v1/lookup", Some(&json!({ "secrets": secrets })))?;
        for found in answer["found"].as_array_mut().into_iter().flatten() {
            let index = found["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(0);
            known.insert(part * AT_ONCE + index, found["key"].take());
        }
    }
    Ok(known)
}

fn report(search: &Search<'_>, known: &HashMap<usize, Value>, output: Output) -> u8 {
    let mut rows = Vec::new();
    let mut live = HashSet::new();
    for (index, times) in search.places.values() {
        let found = &search.found[*index];
        let key = known.get(index);
        if key.is_none() && !found.is_whole {
            continue;
        }
        if let Some(key) = key
            && key["status"] != "revoked"
        {
            live.insert(text(&key["id"]));
        }
        rows.push((&found.place, KeyText::mask(&found.secret), key, *times));
    }
    rows.sort_by(|one, other| one.0.cmp(other.0));
    let code = if live.is_empty() && search.unreadable == 0 { 0 } else { FOUND };
    if output == Output::Json {
        let found: Vec<Value> = rows
            .iter()
            .map(|(place, masked, key, times)| json!({ "place": place, "masked": masked, "times": times, "key": key }))
            .collect();
        return print_json(&json!({ "found": found, "unreadable": search.unreadable })).max(code);
    }
    if !rows.is_empty() {
        let cells = rows.iter().map(|(place, masked, key, times)| {
            let of_key = |name: &str| key.map(|key| text(&key[name])).unwrap_or_default();
            let status = if key.is_some() { of_key("status") } else { "not of this store".to_owned() };
            vec![
                place.to_string(),
                masked.clone(),
                status,
                of_key("id"),
                of_key("name"),
                of_key("client"),
                times.to_string(),
            ]
        });
        print_table(&["first place", "key", "status", "id", "name", "client", "times"], cells.collect());
    }
    say(&format!("{} found that can be or become good, {} looked at", count(live.len(), "key"), search.looked_at));
    if !live.is_empty() {
        say("`keygate keys rotate ID --grace 0` gives each another secret and ends the one that leaked");
    }
    code
}

/// A rule for gitleaks: prefix, random part and checksum, by their form.
fn gitleaks_rule(prefixes: &[String]) -> String {
    let escaped = |prefix: &String| {
        let escape = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_string() } else { format!("\\{c}") };
        prefix.chars().map(escape).collect::<String>()
    };
    let one_of: Vec<String> = prefixes.iter().map(escaped).collect();
    let keywords: Vec<String> = prefixes.iter().map(|prefix| Value::from(prefix.to_lowercase()).to_string()).collect();
    format!(
        "[[rules]]\nid = \"keygate-api-key\"\ndescription = \"An API key that keygate issued\"\n\
         regex = '''\\b(?:{})[0-9A-Za-z]{{39}}\\b'''\nkeywords = [{}]",
        one_of.join("|"),
        keywords.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(bytes: &[u8]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let mut search = Search {
            finders: vec![("kg_live_", Finder::new("kg_live_"))],
            found: Vec::new(),
            places: HashMap::new(),
            looked_at: 0,
            unreadable: 0,
        };
        search.file(&path).unwrap();
        let base = format!("{}:", path.display());
        search.found.iter().map(|found| found.place.replace(&base, "")).collect()
    }

    fn key() -> String {
        String::from_utf8_lossy(KeyText::generate("kg_live_").unwrap().expose()).into_owned()
    }

    #[test]
    fn keys_are_found_wherever_pieces_of_a_file_end() {
        for before in [0, 1, PIECE - LONGEST - 1, PIECE - LONGEST, PIECE - 60, PIECE - 47, PIECE - 1, PIECE, 3 * PIECE]
        {
            let mut bytes = vec![b'\n'; before];
            bytes.extend_from_slice(key().as_bytes());
            bytes.extend_from_slice(b"\n");
            assert_eq!(places(&bytes), [(before + 1).to_string()], "{before} lines before");
        }
    }

    #[test]
    fn a_key_is_a_word_of_its_own() {
        let key = key();
        for (text, expected) in [
            (format!("KEY={key}"), 1),
            (format!("\"{key}\","), 1),
            (format!("x{key}"), 0),
            (format!("{key}\n{key}"), 1),
            ("kg_live_short".to_owned(), 0),
            ("kg_live_".to_owned(), 0),
        ] {
            assert_eq!(places(text.as_bytes()).len(), expected, "{}", text.replace(&key, "KEY"));
        }
    }

    #[test]
    fn hunks_say_where_their_lines_stand() {
        assert_eq!(first_row(b"@@ -0,0 +1,24 @@\n"), Some(1));
        assert_eq!(first_row(b"@@ -10 +12 @@ fn main() {\n"), Some(12));
    }

    #[test]
    fn the_rule_for_gitleaks_fits_the_keys_that_are_made() {
        let rule = gitleaks_rule(&["kg_live_".to_owned(), "a.b-".to_owned()]);
        assert!(rule.contains(r"(?:kg_live_|a\.b\-)[0-9A-Za-z]{39}"), "{rule}");
        assert_eq!(key().len(), "kg_live_".len() + 39);
    }
}
