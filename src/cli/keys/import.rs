//! `keygate keys import`: a file of keys, a part at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use bytes::Bytes;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::super::desk::{Desk, Failed, target};
use super::super::output::{say, text};
use super::super::{FAILED, Output, USAGE, count, fail, print_json, print_line};
use crate::admin::ImportRow;

/// Lines that are sent at once, and their bytes.
const LINES: usize = 50_000;
const BYTES: usize = 16 << 20;
/// In a dry run keys that stand twice are found only if they are sent together.
const DRY_LINES: usize = 250_000;
const DRY_BYTES: usize = 60 << 20;
/// The longest line.
const MAX_LINE: usize = 1 << 20;
/// Refused lines that are told on a terminal.
const TOLD: usize = 50;

#[derive(Debug, clap::Args)]
pub(super) struct ImportArguments {
    /// The file; `-` reads stdin
    file: PathBuf,
    /// In which form it is; else its name tells
    #[arg(long, value_enum)]
    format: Option<ImportForm>,
    /// Say what would come of it, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print the report
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ImportForm {
    /// JSON lines
    Jsonl,
    /// A table whose first line names the columns
    Csv,
}

pub(super) fn import(desk: &mut Desk, asked: &ImportArguments) -> Result<u8, Failed> {
    let is_stdin = asked.file.as_os_str() == "-";
    let form = asked.format.or_else(|| match asked.file.extension()?.to_str()? {
        "csv" => Some(ImportForm::Csv),
        "jsonl" | "ndjson" => Some(ImportForm::Jsonl),
        _ => None,
    });
    let Some(form) = form else {
        fail("the name does not say what it is: say --format csv or --format jsonl");
        return Err(USAGE);
    };
    let unreadable = |error: io::Error| fail(&format!("cannot read {}: {error}", asked.file.display()));
    let (input, size): (Box<dyn Read>, u64) = if is_stdin {
        (Box::new(io::stdin()), 0)
    } else {
        let file = File::open(&asked.file).map_err(unreadable)?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        (Box::new(file), size)
    };
    let bar = progress(size);
    let input = BufReader::with_capacity(1 << 20, bar.wrap_read(input));
    let mut sum = Sum {
        desk,
        bar: &bar,
        dry_run: asked.dry_run,
        source: source_of(asked),
        pending: Vec::new(),
        lines: 0,
        sent: 0,
        parts: 0,
        imported: 0,
        clients_created: 0,
        refused: 0,
        refused_lines: Vec::new(),
    };
    match form {
        ImportForm::Jsonl => sum.take_json(input).map_err(|error| error.unwrap_or_else(unreadable))?,
        ImportForm::Csv => sum.take_csv(input)?,
    }
    sum.send()?;
    bar.finish_and_clear();
    Ok(report(&sum, asked))
}

/// What the audit log calls where the keys came from.
fn source_of(asked: &ImportArguments) -> String {
    let name = asked.file.file_name().map_or_else(|| "stdin".into(), |name| name.to_string_lossy());
    let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
    if name == "-" { "stdin".to_owned() } else { name }
}

/// A bar on a terminal; nothing elsewhere.
fn progress(size: u64) -> ProgressBar {
    let form = if size > 0 {
        "{bar:40} {percent}%  {bytes} of {total_bytes}  {msg}  {eta} left"
    } else {
        "{spinner} {bytes}  {msg}"
    };
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar
}

/// What is to be sent, and what came of what was.
struct Sum<'d> {
    desk: &'d mut Desk,
    bar: &'d ProgressBar,
    dry_run: bool,
    source: String,
    pending: Vec<u8>,
    lines: usize,
    sent: usize,
    parts: usize,
    imported: u64,
    clients_created: u64,
    refused: u64,
    refused_lines: Vec<Value>,
}

/// Why no more is taken.
enum Stopped {
    /// The file cannot be read.
    Reading(io::Error),
    /// What was to be said has been said.
    Said(Failed),
}

impl Stopped {
    fn unwrap_or_else(self, say: impl FnOnce(io::Error) -> Failed) -> Failed {
        match self {
            Self::Reading(error) => say(error),
            Self::Said(code) => code,
        }
    }
}

impl Sum<'_> {
    /// JSON lines go as they are.
    fn take_json(&mut self, mut input: impl BufRead) -> Result<(), Stopped> {
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            let read =
                input.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line).map_err(Stopped::Reading)?;
            if read == 0 {
                return Ok(());
            }
            number += 1;
            if line.len() > MAX_LINE {
                fail(&format!("line {number} is longer than {MAX_LINE} bytes: is this a file of JSON lines?"));
                return Err(Stopped::Said(FAILED));
            }
            self.pending.extend_from_slice(&line);
            self.line_taken().map_err(Stopped::Said)?;
        }
    }

    fn take_csv(&mut self, mut input: impl BufRead) -> Result<(), Failed> {
        for (line, row) in ImportRow::of_csv(&mut input) {
            match row {
                Ok(row) => {
                    let row = ImportRow { line: Some(line), ..row };
                    serde_json::to_writer(&mut self.pending, &row).map_err(|error| fail(&error.to_string()))?;
                    self.pending.push(b'\n');
                    self.line_taken()?;
                }
                Err(refused) => {
                    let errors: Vec<Value> = refused
                        .faults
                        .iter()
                        .map(|fault| json!({ "pointer": fault.pointer, "code": fault.code, "detail": fault.detail }))
                        .collect();
                    self.refused += 1;
                    self.refused_lines.push(json!({ "line": refused.line, "errors": errors }));
                }
            }
        }
        Ok(())
    }

    fn line_taken(&mut self) -> Result<(), Failed> {
        self.lines += 1;
        let (lines, bytes) = if self.dry_run { (DRY_LINES, DRY_BYTES) } else { (LINES, BYTES) };
        if self.lines >= lines || self.pending.len() >= bytes { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), Failed> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let lines = Bytes::from(std::mem::take(&mut self.pending));
        let first_line = self.sent + 1;
        self.sent += std::mem::take(&mut self.lines);
        self.parts += 1;
        let to = target(
            "/v1/imports",
            &[
                ("dry_run", self.dry_run.then(|| "true".to_owned())),
                ("source", Some(self.source.clone())),
                ("first_line", Some(first_line.to_string())),
            ],
        );
        let mut answer = self.desk.send_lines(&to, lines).inspect_err(|_| {
            if self.imported > 0 && !self.dry_run {
                say(&format!("{} came in before that", count_of(self.imported)));
            }
        })?;
        let number = |name: &str| answer[name].as_u64().unwrap_or(0);
        self.imported += number("imported");
        self.clients_created += number("clients_created");
        self.refused += number("refused");
        if let Some(lines) = answer["refused_lines"].as_array_mut() {
            self.refused_lines.append(lines);
        }
        self.bar.set_message(count_of(self.imported));
        Ok(())
    }
}

fn count_of(keys: u64) -> String {
    count(usize::try_from(keys).unwrap_or(usize::MAX), "key")
}

fn report(sum: &Sum<'_>, asked: &ImportArguments) -> u8 {
    let code = if sum.refused == 0 { 0 } else { FAILED };
    if asked.output == Output::Json {
        return print_json(&json!({
            "dry_run": asked.dry_run,
            "imported": sum.imported,
            "clients_created": sum.clients_created,
            "refused": sum.refused,
            "refused_lines": sum.refused_lines,
        }))
        .max(code);
    }
    for refused in sum.refused_lines.iter().take(TOLD) {
        for error in refused["errors"].as_array().into_iter().flatten() {
            let part = text(&error["pointer"]);
            let part = part.trim_start_matches('/');
            let separator = if part.is_empty() { "" } else { ": " };
            say(&format!("line {}: {part}{separator}{}", refused["line"], text(&error["detail"])));
        }
    }
    let untold = usize::try_from(sum.refused).unwrap_or(usize::MAX).saturating_sub(TOLD);
    if untold > 0 {
        say(&format!("and {}: -o json shows all", count(untold, "line")));
    }
    if asked.dry_run && sum.parts > 1 {
        say(
            "the file is large and was looked at in parts: what stands twice in different parts is found when it comes in",
        );
    }
    let would = if asked.dry_run { " would come in" } else { " came in" };
    print_line(&format!(
        "{}{would}, {} made for them, {} left out",
        count_of(sum.imported),
        count(usize::try_from(sum.clients_created).unwrap_or(0), "client"),
        count(usize::try_from(sum.refused).unwrap_or(0), "line"),
    ))
    .max(code)
}
