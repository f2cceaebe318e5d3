//! What is wrong with the text of an expression: where, what, and what to write instead.

use std::ops::Range;

use thiserror::Error;

/// Why a text is not an expression. `config` shows it with the place in the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// The bytes of the text that are at fault, on character boundaries; empty where something is missing.
    pub span: Range<usize>,
    /// What is wrong with them, in lower case and without a period.
    pub message: String,
    /// What to write instead, where that can be guessed.
    pub hint: Option<String>,
}

impl ExpressionError {
    /// An error without a hint.
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None }
    }

    /// The same error with something to write instead.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The names an expression may use, for lists in messages.
pub(super) const NAMES: &str = "`clientType`, `groups`, `permissions` and `isBackoffice`";

/// The known word that an unknown one probably stands for.
pub(super) fn did_you_mean(unknown: &str) -> Option<&'static str> {
    const KNOWN: [&str; 6] = ["clientType", "groups", "permissions", "isBackoffice", "true", "false"];
    // Other systems' words for the same things.
    const OTHERS: [(&str, &str); 8] = [
        ("client", "clientType"),
        ("type", "clientType"),
        ("role", "groups"),
        ("roles", "groups"),
        ("scope", "permissions"),
        ("scopes", "permissions"),
        ("yes", "true"),
        ("no", "false"),
    ];
    // A longer word is nobody's slip, and the distance below costs the product of both lengths.
    if unknown.len() > 24 {
        return None;
    }
    let plain: String = unknown.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    if let Some((_, ours)) = OTHERS.iter().find(|(theirs, _)| *theirs == plain) {
        return Some(ours);
    }
    let candidates = KNOWN.iter().map(|known| (distance(&plain, &known.to_ascii_lowercase()), *known));
    let (nearest, known) = candidates.min()?;
    (nearest <= known.len() / 4).then_some(known)
}

/// How many letters must be inserted, removed or replaced to make one word of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_a_strange_word_is_not() {
        for (unknown, expected) in [
            ("clienttype", Some("clientType")),
            ("client_type", Some("clientType")),
            ("client-type", Some("clientType")),
            ("clientTyp", Some("clientType")),
            ("cleintType", Some("clientType")),
            ("client", Some("clientType")),
            ("group", Some("groups")),
            ("Groups", Some("groups")),
            ("permision", Some("permissions")),
            ("scopes", Some("permissions")),
            ("isBackOffice", Some("isBackoffice")),
            ("TRUE", Some("true")),
            ("flase", None),
            ("falso", Some("false")),
            ("x", None),
            ("null", None),
            ("tenant", None),
            ("aVeryLongNameThatNobodyEverMeantToWriteHere", None),
        ] {
            assert_eq!(did_you_mean(unknown), expected, "{unknown}");
        }
    }
}
