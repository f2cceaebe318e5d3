//! What a report of problems must never do, whatever it is about.

use keygate::config::Problems;

/// A text that looks like a key, for inputs to hold: people put a plain key where its digest belongs.
pub const MARKED: &str = "S3CR3TmarkedS3CR3TmarkedS3CR3Tmarked";

/// Something is wrong, each thing stands where the text has a line and a column for it, and the marked secret of the input
/// is told nowhere.
///
/// A secret that was given to a thing as its name is told: names have to be.
pub fn is_sound(problems: &Problems, file: &str, text: &str) {
    assert!(problems.errors() > 0, "refused, and nothing is wrong");
    for problem in problems.list().iter().filter(|problem| *problem.file == *file) {
        // YAML has more ends of lines than one; no text has more lines than it has characters.
        let most = text.chars().filter(|c| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')).count() + 2;
        assert!(problem.line as usize <= most, "{problem} is behind the end of {text:?}");
        assert!(problem.column as usize <= text.chars().count() + 1, "{problem} is behind the end of its line");
        assert!(!problem.message.is_empty() && !problem.message.chars().any(char::is_control), "{problem:?}");
    }
    if text.contains(MARKED) {
        for told in [problems.render(false), problems.render(true), problems.to_json().to_string()] {
            for (at, _) in told.match_indices(MARKED) {
                let before = &told[..told[..at].rfind('`').unwrap_or(at)];
                let is_a_name = NAMED.iter().any(|what| before.ends_with(&format!("{what} ")));
                assert!(is_a_name, "a secret is told: {told}");
            }
        }
    }
}

/// What has a name that a report has to tell.
const NAMED: [&str; 7] = ["client", "key", "id", "endpoint", "upstream", "listener", "client type"];
