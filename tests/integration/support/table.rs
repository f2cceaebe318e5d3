//! Tables of cases against one gateway: every row is tried, and all that failed are told at once.

use std::fmt::{Debug, Display, Write as _};

/// Collects what went wrong, row by row; fails the test when dropped with anything in it.
#[derive(Default)]
pub struct Report {
    faults: String,
    rows: usize,
}

impl Report {
    /// An empty report.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compares one thing about one row.
    pub fn equal<T: PartialEq + Debug>(&mut self, row: impl Display, got: T, expected: T) {
        self.rows += 1;
        if got != expected {
            let _ = writeln!(self.faults, "  {row}\n      expected {expected:?}\n      got      {got:?}");
        }
    }

    /// States that something must hold for a row.
    pub fn holds(&mut self, row: impl Display, what: impl Display, is_so: bool) {
        self.rows += 1;
        if !is_so {
            let _ = writeln!(self.faults, "  {row}\n      {what}");
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if !self.faults.is_empty() {
                eprintln!("before the panic these rows had failed already:\n{}", self.faults);
            }
            return;
        }
        assert!(self.rows > 0, "a table without rows proves nothing");
        assert!(self.faults.is_empty(), "rows that failed:\n{}", self.faults);
    }
}

mod tests {
    use super::*;

    #[test]
    fn a_report_with_a_fault_fails_the_test() {
        let outcome = std::panic::catch_unwind(|| {
            let mut report = Report::new();
            report.equal("one", 1, 2);
        });
        assert!(outcome.is_err());
    }

    #[test]
    fn a_report_without_rows_fails_the_test() {
        assert!(std::panic::catch_unwind(|| drop(Report::new())).is_err());
    }

    #[test]
    fn a_report_of_good_rows_passes() {
        let mut report = Report::new();
        report.equal("one", 1, 1);
        report.holds("two", "is true", true);
    }
}
