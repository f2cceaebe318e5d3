//! What each fuzz target does with its bytes: feeds them to the code under test and checks what must always hold.
//!
//! The same bodies run in two ways: on any toolchain as ordinary tests, over the corpus and mutations of it, and
//! coverage-guided under libFuzzer where a nightly toolchain is present (`tests/fuzz/Cargo.toml`).
//!
//! Wherever it can be had, the check is a comparison: [`readers`] reads paths as servers do that are less careful,
//! [`rules`] reads expressions a second time by another method, [`site`] says in plain tables who may do what. Nothing of
//! that is shared with the program.

mod choices;
mod credential;
mod document;
mod expression;
mod forwarded;
mod framing;
mod head;
mod keys_file;
mod path;
mod readers;
mod report;
mod response;
mod rules;
mod site;

/// What a target makes of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// It reads them.
    Read,
    /// It takes them for decisions, and makes something well-formed of them.
    Choices,
}

/// A target.
pub struct Target {
    /// What it is called; its corpus and its binary as well.
    pub name: &'static str,
    /// What it makes of its bytes.
    pub input: Input,
    /// What it does.
    pub body: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "path", input: Input::Read, body: path::path },
    Target { name: "credential", input: Input::Read, body: credential::credential },
    Target { name: "forwarded", input: Input::Read, body: forwarded::forwarded },
    Target { name: "head", input: Input::Read, body: head::head },
    Target { name: "framing", input: Input::Read, body: framing::framing },
    Target { name: "response", input: Input::Read, body: response::response },
    Target { name: "expression", input: Input::Read, body: expression::expression },
    Target { name: "expression_choices", input: Input::Choices, body: expression::choices },
    Target { name: "document", input: Input::Read, body: document::document },
    Target { name: "document_choices", input: Input::Choices, body: document::choices },
    Target { name: "keys_file", input: Input::Read, body: keys_file::keys_file },
];

/// Runs the target of this name once; what a binary for libFuzzer does with each input.
///
/// # Panics
/// If something does not hold that must, or there is no such target.
#[allow(dead_code, reason = "the ordinary tests take the bodies one by one")]
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.body)(data);
}
