//! The fuzz targets as ordinary tests: every corpus file, and as many mutations of them as fit into a few seconds.
//!
//! `KEYGATE_FUZZ_SECONDS` says how long each target runs (default 2), `KEYGATE_FUZZ_SEED` where chance begins, so that a
//! failure can be seen again; the input that failed is printed. Nothing here is guided by coverage, and the output says so:
//! `tests/run` runs the same targets under libFuzzer where a nightly toolchain is present.

#[path = "fuzz/bodies/mod.rs"]
mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bodies::{Input, TARGETS, Target};

fn seconds() -> u64 {
    std::env::var("KEYGATE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

fn seed() -> u64 {
    let text = std::env::var("KEYGATE_FUZZ_SEED").ok();
    text.and_then(|text| text.parse().ok()).filter(|seed| *seed != 0).unwrap_or(0x9e37_79b9_7f4a_7c15)
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
    "%u002e",
    "%E2%84%AA",
    "%20",
    "/open",
    "/admin",
    "/orders/",
    "/files/",
    "secret",
    "GET /",
    "DELETE /orders/",
    "host: admin.example.com",
    "\nauthorization: Bearer kg_admin",
    "\nx-api-key: kg_shop",
    "\ncookie: a=1; mia_client_key=kg_admin",
    "\nx_client.id: root",
    "\nconnection: x-client-id",
    "\nmiauserid: u",
    "kg_past",
    "imported-without-prefix",
    "for=",
    "10.0.0.1",
    "8.8.8.8",
    "[fd00::1]",
    ":443",
    "digest: ",
    "\"id\":\"k\",",
    "blake3:",
    "null",
    "permissions: []",
    "HTTP/1.1 200 OK\r\n",
    "\r\n\r\n",
    "content-length: 3\r\n",
    "transfer-encoding: chunked\r\n",
    "0\r\n\r\n",
    "connection: ",
    "S3CR3TmarkedS3CR3TmarkedS3CR3Tmarked",
];

fn byte(chance: &mut Chance) -> u8 {
    u8::try_from(chance.below(256)).expect("a byte")
}

fn mutate(chance: &mut Chance, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = inputs[chance.below(inputs.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(6) {
            0 if !bytes.is_empty() => {
                let at = at.min(bytes.len() - 1);
                bytes[at] = byte(chance);
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
            // A letter in its other case, or a sign in another encoding.
            3 if !bytes.is_empty() => {
                let at = at.min(bytes.len() - 1);
                let changed = match chance.below(2) {
                    0 => vec![bytes[at] ^ 0x20],
                    _ => format!("%{:02X}", bytes[at]).into_bytes(),
                };
                bytes.splice(at..=at, changed);
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

/// The next input of a target: of one that reads, something like the corpus; of one that decides, any bytes.
fn next(target: &Target, chance: &mut Chance, inputs: &[Vec<u8>]) -> Vec<u8> {
    match target.input {
        Input::Choices if chance.below(8) > 0 => (0..chance.below(160)).map(|_| byte(chance)).collect(),
        _ => mutate(chance, inputs),
    }
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let inputs = corpus(name);
    let check = |input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| (target.body)(input))).is_err() {
            panic!("target {name} failed on {:?}, bytes {input:?}", String::from_utf8_lossy(input));
        }
    };
    inputs.iter().for_each(|input| check(input));
    let mut chance = Chance(seed());
    let until = Instant::now() + Duration::from_secs(seconds());
    let mut runs = 0_u64;
    while Instant::now() < until {
        check(&next(target, &mut chance, &inputs));
        runs += 1;
    }
    println!("fuzz {name}: {} corpus files, {runs} mutations, not guided by coverage", inputs.len());
    assert!(runs > 0);
}

/// A target that is not built, not run or has no corpus is no target.
#[test]
fn every_target_has_a_binary_a_corpus_and_a_test() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz");
    let manifest = std::fs::read_to_string(format!("{folder}/Cargo.toml")).expect("the targets' manifest");
    let tests = std::fs::read_to_string(file!()).expect("this file");
    for Target { name, .. } in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"")), "{name}: no binary");
        let binary = std::fs::read_to_string(format!("{folder}/targets/{name}.rs")).expect("a target's file");
        assert!(binary.contains(&format!("bodies::run(\"{name}\", data)")), "{name}: the binary runs another");
        assert!(tests.contains(&format!("fn {name}() {{\n    run(\"{name}\");")), "{name}: no test");
        assert!(!corpus(name).is_empty());
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
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
fn forwarded() {
    run("forwarded");
}

#[test]
fn head() {
    run("head");
}

#[test]
fn framing() {
    run("framing");
}

#[test]
fn response() {
    run("response");
}

#[test]
fn expression() {
    run("expression");
}

#[test]
fn expression_choices() {
    run("expression_choices");
}

#[test]
fn document() {
    run("document");
}

#[test]
fn document_choices() {
    run("document_choices");
}

#[test]
fn keys_file() {
    run("keys_file");
}
