//! Numbers by tag, for very many subjects: read and written by all workers at once, and bounded in memory.
//!
//! [`Cells::update`] finds the number of a tag and puts another in its place, without a lock and without losing what others
//! do meanwhile. Only a tag that is not there yet takes a lock, one of many, for as long as it takes to look through some cells:
//! nobody else may put the same tag into another cell meanwhile, or a subject would be counted twice.
//!
//! There are up to four levels, each many times larger than the one before, and each made only when a line of those before it
//! is full: few subjects take a few kilobytes, and the largest number takes some twenty megabytes and no more. A cell whose
//! number says nothing any more is taken over by the next tag that needs one. Where there is none, the one that weighs least
//! goes: whoever invents subjects pushes out his own, each of which was used once, before those that have used much.
//!
//! The one thing to get wrong is a cell that changes hands between being found and being written. A worker reads the number
//! before it looks at the tag a second time, and whoever takes a cell over puts `CLAIMED` in place of the number first, the tag
//! then, and the new number last. And no number comes twice in one cell, since each holds a time or a count that only rises.

use super::sync::{AtomicU64, Mutex, OnceLock, Ordering, PoisonError, spin};

/// No measure makes this number: somebody is taking the cell over.
const CLAIMED: u64 = u64::MAX;
/// No subject has this tag.
const NOBODY: u64 = 0;
/// Cells that share a lock for those that are not there yet, at most.
const STRIPES: usize = 64;

/// Numbers by tag. Lines are of so many cells.
pub struct Cells<const WIDTH: usize = 8> {
    /// Lines of each level; powers of two.
    sizes: &'static [usize],
    levels: Box<[OnceLock<Box<[Line<WIDTH>]>>]>,
    stripes: Box<[Mutex<()>]>,
    evicted: AtomicU64,
}

/// Where the tags of a line are is one cache line; where their numbers are is the next.
#[repr(align(64))]
struct Line<const WIDTH: usize> {
    tags: [AtomicU64; WIDTH],
    states: [AtomicU64; WIDTH],
}

impl<const WIDTH: usize> Line<WIDTH> {
    fn empty() -> Self {
        let cell = || AtomicU64::new(NOBODY);
        Self { tags: std::array::from_fn(|_| cell()), states: std::array::from_fn(|_| cell()) }
    }
}

/// A cell.
type Place<'c> = (&'c AtomicU64, &'c AtomicU64);

impl<const WIDTH: usize> Cells<WIDTH> {
    /// None yet; levels will have so many lines.
    pub fn new(sizes: &'static [usize]) -> Self {
        let stripes = STRIPES.min(sizes.first().copied().unwrap_or(1));
        Self {
            sizes,
            levels: sizes.iter().map(|_| OnceLock::new()).collect(),
            stripes: (0..stripes).map(|_| Mutex::new(())).collect(),
            evicted: AtomicU64::new(0),
        }
    }

    /// Changes the number of a tag: `step` is given the present one (`blank` if there is none) and gives the one to follow, if
    /// it is to change, and what came of it. `weigh` tells what a number is worth: nothing, or `None` if it must stay.
    ///
    /// # Errors
    /// What `step` said came of it, when there was no room to keep it.
    pub fn update<T>(
        &self,
        tag: u64,
        blank: u64,
        step: impl Fn(u64) -> (Option<u64>, T),
        weigh: impl Fn(u64) -> Option<u64>,
    ) -> Result<T, T> {
        let tag = tag.max(1);
        loop {
            if let Some((tags, states)) = self.find(tag) {
                if let Some(outcome) = try_step(tag, tags, states, &step) {
                    return Ok(outcome);
                }
                spin();
                continue;
            }
            let (next, outcome) = step(blank);
            let Some(next) = next else { return Ok(outcome) };
            match self.insert(tag, next, &weigh) {
                Inserted::Done => return Ok(outcome),
                Inserted::IsThere => {}
                Inserted::NoRoom => return Err(outcome),
            }
        }
    }

    /// The number of a tag.
    pub fn get(&self, tag: u64) -> Option<u64> {
        let tag = tag.max(1);
        loop {
            let (tags, states) = self.find(tag)?;
            let state = states.load(Ordering::Acquire);
            if state != CLAIMED && tags.load(Ordering::Acquire) == tag {
                return Some(state);
            }
            spin();
        }
    }

    /// Every tag and its number, as far as they stand still.
    pub fn all(&self) -> impl Iterator<Item = (u64, u64)> {
        let lines = self.levels.iter().filter_map(OnceLock::get).flat_map(|level| level.iter());
        let cells = lines.flat_map(|line| line.tags.iter().zip(&line.states));
        cells.filter_map(|(tags, states)| {
            let (tag, state) = (tags.load(Ordering::Acquire), states.load(Ordering::Acquire));
            (tag != NOBODY && state != CLAIMED && tags.load(Ordering::Acquire) == tag).then_some((tag, state))
        })
    }

    /// How many numbers were pushed out that still said something.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// The line of a tag in each level that is there, the largest first: most subjects are in it.
    fn lines(&self, tag: u64) -> impl Iterator<Item = &Line<WIDTH>> {
        self.levels.iter().rev().filter_map(OnceLock::get).filter_map(move |level| level.get(index(tag, level.len())))
    }

    fn find(&self, tag: u64) -> Option<Place<'_>> {
        self.lines(tag).find_map(|line| {
            let found = line.tags.iter().position(|cell| cell.load(Ordering::Acquire) == tag)?;
            Some((&line.tags[found], &line.states[found]))
        })
    }

    /// Puts a tag into a cell that is free, or that weighs least.
    fn insert(&self, tag: u64, state: u64, weigh: &impl Fn(u64) -> Option<u64>) -> Inserted {
        // Tags that share a line share a stripe: the lines of a larger level divide those of a smaller.
        let stripe = &self.stripes[index(tag, self.stripes.len())];
        let _alone = stripe.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.find(tag).is_some() {
                return Inserted::IsThere;
            }
            let mut least: Option<(u64, Place<'_>, u64)> = None;
            'levels: for (level, size) in self.levels.iter().zip(self.sizes) {
                let level = level.get_or_init(|| (0..*size).map(|_| Line::empty()).collect());
                let line = &level[index(tag, *size)];
                for (tags, states) in line.tags.iter().zip(&line.states) {
                    let found = states.load(Ordering::Acquire);
                    let weight = if tags.load(Ordering::Acquire) == NOBODY { Some(0) } else { weigh(found) };
                    if let Some(weight) = weight
                        && least.is_none_or(|(lightest, ..)| weight < lightest)
                    {
                        least = Some((weight, (tags, states), found));
                    }
                    if weight == Some(0) {
                        break 'levels;
                    }
                }
            }
            let Some((weight, (tags, states), found)) = least else { return Inserted::NoRoom };
            if states.compare_exchange(found, CLAIMED, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // It was used just now.
                continue;
            }
            tags.store(tag, Ordering::Release);
            states.store(state, Ordering::Release);
            if weight > 0 {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            return Inserted::Done;
        }
    }
}

/// What came of an insertion.
enum Inserted {
    Done,
    /// Somebody else was quicker.
    IsThere,
    /// Every cell must stay.
    NoRoom,
}

/// Swaps the number of a cell; `None` if the cell is another's by now.
fn try_step<T>(tag: u64, tags: &AtomicU64, states: &AtomicU64, step: &impl Fn(u64) -> (Option<u64>, T)) -> Option<T> {
    let mut state = states.load(Ordering::Acquire);
    loop {
        if state == CLAIMED || tags.load(Ordering::Acquire) != tag {
            return None;
        }
        let (next, outcome) = step(state);
        let Some(next) = next else { return Some(outcome) };
        match states.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(outcome),
            Err(found) => state = found,
        }
    }
}

/// The line of a tag among so many, a power of two.
fn index(tag: u64, count: usize) -> usize {
    usize::try_from(tag & (count as u64 - 1)).unwrap_or(0)
}
