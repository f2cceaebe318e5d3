//! What was measured when somebody last recorded it: `tests/cost/baseline.txt`, a line for each figure.
//!
//! A figure that has grown fails the test. One that has become smaller does not; a line says so, since what is not recorded
//! may be lost again unnoticed. Another compiler makes another program: then instructions may differ by more, and it is said.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Growth of instructions that is none, with the compiler of the baseline.
const TOLERANCE: f64 = 0.03;
/// The same with another compiler.
const TOLERANCE_OF_ANOTHER: f64 = 0.10;
/// How the file is written anew.
const RECORD: &str = "KEYGATE_BLESS=1 cargo test --release --test cost";

/// How much more is not taken for more.
#[derive(Debug, Clone, Copy)]
pub enum Growth {
    /// This share of what was recorded.
    Share(f64),
    /// So much.
    By(f64),
}

/// The file, and what does not agree with it.
pub struct Baseline {
    compiler: String,
    recorded_by: String,
    figures: BTreeMap<String, f64>,
    grown: String,
    records: bool,
}

impl Baseline {
    /// Reads the file.
    ///
    /// # Panics
    /// It cannot be read, and is not to be written anew.
    pub fn read() -> Self {
        let records = std::env::var_os("KEYGATE_BLESS").is_some();
        let text = match fs::read_to_string(file()) {
            Ok(text) => text,
            Err(_) if records => String::new(),
            Err(error) => panic!("{}: {error}; record it: {RECORD}", file().display()),
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(" = ")).collect();
        let recorded_by = pairs.iter().find(|(name, _)| *name == "compiler").map_or("", |(_, value)| value);
        let figures = pairs
            .iter()
            .filter(|(name, _)| *name != "compiler")
            .map(|(name, value)| ((*name).to_owned(), value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))))
            .collect();
        Self { compiler: compiler(), recorded_by: recorded_by.to_owned(), figures, grown: String::new(), records }
    }

    /// How much instructions may differ: more, and said so, if another compiler built what is measured.
    pub fn instructions_tolerance(&self) -> f64 {
        if self.records || self.compiler == self.recorded_by {
            return TOLERANCE;
        }
        println!(
            "built by {}, recorded with {}: instructions may grow by {:.0} % instead of {:.0} %",
            self.compiler,
            self.recorded_by,
            TOLERANCE_OF_ANOTHER * 100.0,
            TOLERANCE * 100.0
        );
        TOLERANCE_OF_ANOTHER
    }

    /// Compares a figure with the recorded one, or records it.
    pub fn compare(&mut self, what: &str, scenario: &str, counted: f64, growth: Growth) {
        let name = format!("{what} {scenario}");
        if self.records {
            self.figures.insert(name, counted);
            return;
        }
        let Some(recorded) = self.figures.get(&name).copied() else {
            let _ = writeln!(self.grown, "{name}: {counted:.2}, and nothing is recorded");
            return;
        };
        let room = match growth {
            Growth::Share(share) => recorded * share,
            Growth::By(much) => much,
        };
        println!("{name}: {counted:.2}, recorded {recorded:.2}");
        if counted > recorded + room {
            let _ =
                writeln!(self.grown, "{name}: {counted:.2}, recorded {recorded:.2}, at most {:.2}", recorded + room);
        } else if counted < recorded - room {
            println!("{name} has become smaller; so that it stays so: {RECORD}");
        }
    }

    /// Writes the file if it is to be written.
    ///
    /// # Panics
    /// Something has grown.
    pub fn end(self) {
        assert!(self.grown.is_empty(), "\n{}if it is worth it: {RECORD}", self.grown);
        if !self.records {
            return;
        }
        let mut text = format!(
            "# What a request costs, by the scenarios of benches/side_by_side/rig/scenario.rs. Written by\n# {RECORD}\n\
             compiler = {}\n",
            self.compiler
        );
        for (name, figure) in &self.figures {
            let _ = writeln!(text, "{name} = {figure:.2}");
        }
        fs::write(file(), text).expect("the baseline can be written");
    }
}

fn file() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "cost", "baseline.txt"].iter().collect()
}

/// The compiler that cargo built this with.
fn compiler() -> String {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(program).arg("--version").output().expect("the compiler says its version");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
