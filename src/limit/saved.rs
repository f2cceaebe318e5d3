//! Counts of days and months as they are kept over a restart: as lines of text.
//!
//! The first line names the form and holds the secret that tags are made with, so that no name and no address stands in the
//! file; the last says how many lines there are, so that half a file is not taken for a whole one.
//!
//! ```text
//! keygate-limits 1 0123456789abcdef fedcba9876543210
//! policy monthly month
//! 9f8e7d6c5b4a3928 5f6900000000002a
//! end 2
//! ```

use std::fmt::Write as _;

use thiserror::Error;

use super::calendar::Unit;

/// Counts to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// What tags were made with.
    pub secret: [u64; 2],
    /// By policy.
    pub counts: Vec<SavedCounts>,
}

/// Counts of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCounts {
    /// Its name.
    pub policy: String,
    /// What it counts by.
    pub unit: Unit,
    /// The tag of each subject, and its number.
    pub counts: Vec<(u64, u64)>,
}

/// What was kept cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} is not what keygate writes")]
pub struct UnreadableState {
    /// Counted from 1.
    pub line: usize,
}

const FORM: &str = "keygate-limits 1";

impl Saved {
    /// As text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines = self.counts.iter().map(|saved| saved.counts.len() + 1).sum::<usize>();
        let mut text = String::with_capacity(64 + lines * 34);
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{FORM} {:016x} {:016x}", self.secret[0], self.secret[1]);
        for SavedCounts { policy, unit, counts } in &self.counts {
            let _ = writeln!(text, "policy {policy} {}", unit.as_str());
            for (tag, state) in counts {
                let _ = writeln!(text, "{tag:016x} {state:016x}");
            }
        }
        let _ = writeln!(text, "end {lines}");
        text
    }

    /// Reads it back.
    ///
    /// # Errors
    /// The line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, UnreadableState> {
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let bad = |line| UnreadableState { line };
        let hex = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
        let pair = |text: &str| text.split_once(' ').and_then(|(one, other)| Some([hex(one)?, hex(other)?]));
        let first = lines.next().and_then(|(_, line)| line.strip_prefix(FORM)?.strip_prefix(' ').and_then(pair));
        let mut saved = Self { secret: first.ok_or_else(|| bad(1))?, counts: Vec::new() };
        let mut count = 0_usize;
        for (number, line) in &mut lines {
            if let Some(told) = line.strip_prefix("end ") {
                let is_whole = told.parse() == Ok(count) && lines.next().is_none();
                return if is_whole { Ok(saved) } else { Err(bad(number)) };
            }
            count += 1;
            if let Some((name, unit)) = line.strip_prefix("policy ").and_then(|rest| rest.split_once(' ')) {
                let unit = [Unit::Day, Unit::Month].into_iter().find(|known| known.as_str() == unit);
                let unit = unit.ok_or_else(|| bad(number))?;
                saved.counts.push(SavedCounts { policy: name.to_owned(), unit, counts: Vec::new() });
            } else {
                let ([tag, state], counts) = pair(line).zip(saved.counts.last_mut()).ok_or_else(|| bad(number))?;
                counts.counts.push((tag, state));
            }
        }
        Err(bad(count + 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let counts = |policy: &str, unit, counts| SavedCounts { policy: policy.to_owned(), unit, counts };
        let saved = Saved {
            secret: [1, u64::MAX],
            counts: vec![
                counts("monthly", Unit::Month, vec![(7, 8), (u64::MAX - 1, 3)]),
                counts("daily", Unit::Day, Vec::new()),
            ],
        };
        let text = saved.to_text();
        assert_eq!(Saved::parse(&text), Ok(saved));
        for (what, broken, line) in [
            ("nothing", String::new(), 1),
            ("another form", text.replace("limits 1", "limits 2"), 1),
            ("half of it", text.lines().take(3).collect::<Vec<_>>().join("\n"), 4),
            ("a line less", text.replacen("0000000000000007 0000000000000008\n", "", 1), 5),
            ("a week", text.replace("month\n", "week\n"), 2),
            ("no number", text.replace("0000000000000008", "000000000000000x"), 3),
            ("more behind", format!("{text}x"), 6),
        ] {
            assert_eq!(Saved::parse(&broken), Err(UnreadableState { line }), "{what}");
        }
    }
}
