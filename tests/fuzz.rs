//! The fuzz targets as ordinary tests: every corpus file, and as many mutations of them as fit into a few seconds.
//!
//! `KEYGATE_FUZZ_SECONDS` says how long each target runs (default 2). The mutations come from a fixed seed, so that a
//! failure can be seen again; the input that failed is printed.

#[path = "fuzz/bodies.rs"]
mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

fn seconds() -> u64 {
    std::env::var("KEYGATE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/tests/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(&folder).expect("each target has a corpus");
    let mut inputs: Vec<Vec<u8>> =
        files.map(|file| std::fs::read(file.expect("a file").path()).expect("a readable file")).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{folder} is empty");
    inputs
}

/// A small generator of chance with a fixed seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).expect("smaller than a usize")
    }
}

/// Texts that mean something to one of the readers.
const TOKENS: &[&str] = &[
    "/",
    "//",
    "..",
    ".",
    "%2e",
    "%2F",
    "%5c",
    "%25",
    "%00",
    ";",
    "\\",
    "%",
    "#",
    "?",
    ":",
    "*",
    "%c0%af",
    "Bearer ",
    "authorization:",
    "x-api-key:",
    "cookie:",
    "mia_client_key=",
    "kg_live_",
    ",",
    "\n",
    "\"",
    "'",
    "&&",
    "||",
    "!",
    "==",
    "groups.",
    "permissions[",
    "clientType",
    " in ",
    "(",
    ")",
    "[",
    "]",
    "true",
    "{",
    "}",
    "- ",
    "  ",
    "&a ",
    "*a",
    "endpoints:",
    "path: /",
    "public: true",
    "\u{e9}",
    "\0",
];

fn mutate(chance: &mut Chance, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = inputs[chance.below(inputs.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(5) {
            0 if !bytes.is_empty() => {
                let at = at.min(bytes.len() - 1);
                bytes[at] = u8::try_from(chance.below(256)).expect("a byte");
            }
            1 if !bytes.is_empty() => {
                let end = (at + 1 + chance.below(8)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            2 => {
                let other = &inputs[chance.below(inputs.len())];
                let from = chance.below(other.len() + 1);
                let to = (from + chance.below(16)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let token = TOKENS[chance.below(TOKENS.len())];
                bytes.splice(at..at, token.bytes());
            }
        }
    }
    bytes.truncate(4096);
    bytes
}

fn run(name: &str) {
    let (_, body) = bodies::TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name");
    let inputs = corpus(name);
    let check = |input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| body(input))).is_err() {
            panic!("target {name} failed on {:?}", String::from_utf8_lossy(input));
        }
    };
    inputs.iter().for_each(|input| check(input));
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let until = Instant::now() + Duration::from_secs(seconds());
    let mut runs = 0_u64;
    while Instant::now() < until {
        check(&mutate(&mut chance, &inputs));
        runs += 1;
    }
    println!("fuzz {name}: {} corpus files, {runs} mutations, not guided by coverage", inputs.len());
    assert!(runs > 0);
}

#[test]
fn path() {
    run("path");
}

#[test]
fn credential() {
    run("credential");
}

#[test]
fn expression() {
    run("expression");
}

#[test]
fn document() {
    run("document");
}

#[test]
fn framing() {
    run("framing");
}
