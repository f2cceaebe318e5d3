//! The counts of one policy in this process.
//!
//! A [`Counter`] is kept by the name of its policy and outlives every configuration that names it: another window or another
//! number is applied to what was counted before. Each has [cells] of its own, so that subjects that somebody invents under one
//! policy push nobody out of another.
//!
//! [cells]: super::cells

use std::fmt;

use super::cells::Cells;
use super::measure::{BLANK, Measure, Moment, Reading};
use super::wall::Answer;

/// Lines of eight cells in each level: eight kilobytes at first, eighteen megabytes at most, for about half a million subjects
/// at once before one is pushed out.
const LINES: &[usize] = &[64, 1_024, 16_384, 131_072];

/// The counts of all subjects of a policy.
pub(crate) struct Counter {
    /// As it was when counting began. What is asked with may differ in its numbers.
    kind: Measure,
    cells: Cells,
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Counter {
    pub(super) fn new(kind: Measure) -> Self {
        Self { kind, cells: Cells::new(LINES) }
    }

    /// Whether counts can go on under another measure.
    pub(super) fn fits(&self, measure: &Measure) -> bool {
        self.kind.is_like(measure)
    }

    pub(super) fn take(&self, measure: &Measure, tag: u64, cost: u32, now: Moment) -> Answer {
        let step = |state| {
            let (next, reading) = measure.take(state, cost, now);
            (next, Answer { reading, taken: next.filter(|_| reading.passes()) })
        };
        match self.cells.update(tag, BLANK, step, |state| measure.weight(state, now)) {
            Ok(answer) => answer,
            // Every cell is one of a request under way.
            Err(answer) => Answer { reading: no_room(answer.reading), taken: None },
        }
    }

    pub(super) fn look(&self, measure: &Measure, tag: u64, cost: u32, now: Moment) -> Reading {
        measure.take(self.cells.get(tag).unwrap_or(BLANK), cost, now).1
    }

    /// How things stand.
    pub(super) fn read(&self, measure: &Measure, tag: u64, now: Moment) -> Reading {
        measure.read(self.cells.get(tag).unwrap_or(BLANK), now)
    }

    pub(super) fn give_back(&self, measure: &Measure, tag: u64, cost: u32, taken: u64) {
        self.change(tag, |state| measure.give_back(state, cost, taken));
    }

    /// One request less is under way.
    pub(super) fn leave(&self, tag: u64) {
        let one = Measure::Concurrent { most: 1 };
        self.change(tag, |state| one.give_back(state, 1, state));
    }

    pub(super) fn charge(&self, measure: &Measure, tag: u64, cost: u32, now: Moment) {
        let step = |state| (measure.charge(state, cost, now), ());
        let _ = self.cells.update(tag, BLANK, step, |state| measure.weight(state, now));
    }

    /// Takes over what was counted elsewhere, where it is more.
    pub(super) fn restore(&self, measure: &Measure, tag: u64, state: u64, now: Moment) {
        let Some(state) = measure.restored(state, now) else { return };
        let step = |present: u64| ((state > present).then_some(state), ());
        let _ = self.cells.update(tag, BLANK, step, |state| measure.weight(state, now));
    }

    /// What says something, by tag.
    pub(super) fn all(&self, measure: &Measure, now: Moment) -> impl Iterator<Item = (u64, u64)> {
        self.cells.all().filter(move |(_, state)| measure.weight(*state, now) != Some(0))
    }

    /// How many subjects were pushed out.
    pub(super) fn evicted(&self) -> u64 {
        self.cells.evicted()
    }

    /// Changes a number that is there.
    fn change(&self, tag: u64, change: impl Fn(u64) -> Option<u64>) {
        let _ = self.cells.update(tag, BLANK, |state| (change(state), ()), |_| None);
    }
}

fn no_room(reading: Reading) -> Reading {
    Reading { remaining: 0, wait: std::time::Duration::from_secs(1), ..reading }
}

#[cfg(test)]
mod tests;
