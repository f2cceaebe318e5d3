//! The counters of limits, tried in every order of events.
//!
//! Two cells in one line are enough to meet everything: a subject that is found, one that is new, and one that takes over the
//! cell of another. A number is a time above and a count below, as in the crate; what is over is worth nothing.

/// What the cells are made of here.
mod sync {
    pub use loom::sync::Mutex;
    pub use loom::sync::atomic::{AtomicU64, Ordering};
    pub use std::sync::{OnceLock, PoisonError};

    /// Somebody else has to go on first.
    pub fn spin() {
        loom::thread::yield_now();
    }
}

#[path = "../../../src/limit/cells.rs"]
mod cells;

#[cfg(test)]
mod tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::cells::Cells;

    type Pair = Cells<2>;

    /// One line of two cells.
    const ONE: &[usize] = &[1];

    const BITS: u32 = 8;
    const MOST: u64 = 2;

    /// Takes one of two in a window of ten; what is over begins anew.
    fn take(cells: &Pair, tag: u64, now: u64) -> bool {
        let step = |state: u64| {
            let (ends, used) = if state >> BITS > now { (state >> BITS, state & 0xff) } else { (now + 10, 0) };
            let passes = used < MOST;
            (passes.then_some((ends << BITS) | (used + 1)), passes)
        };
        let weigh = |state: u64| Some(if state >> BITS > now { state & 0xff } else { 0 });
        cells.update(tag, 0, step, weigh).unwrap_or_else(|passes| passes)
    }

    fn used(cells: &Pair, tag: u64) -> u64 {
        cells.get(tag).map_or(0, |state| state & 0xff)
    }

    /// Cells of which one was used and is over at 20. The lines are there: their making is `OnceLock`'s, which is not tried here.
    fn cells() -> Arc<Pair> {
        let cells = Arc::new(Pair::new(ONE));
        assert!(take(&cells, 1, 1));
        cells
    }

    #[test]
    fn of_two_that_ask_at_once_for_the_last_one_passes() {
        loom::model(|| {
            let cells = cells();
            assert!(take(&cells, 7, 20));
            let other = {
                let cells = Arc::clone(&cells);
                thread::spawn(move || take(&cells, 7, 20))
            };
            let mine = take(&cells, 7, 20);
            assert!(mine != other.join().unwrap(), "one of them and not both");
            assert_eq!(used(&cells, 7), 2);
        });
    }

    #[test]
    fn a_new_subject_that_two_ask_for_at_once_is_one_subject() {
        loom::model(|| {
            let cells = cells();
            let other = {
                let cells = Arc::clone(&cells);
                thread::spawn(move || take(&cells, 7, 20))
            };
            assert!(take(&cells, 7, 20) && other.join().unwrap());
            assert_eq!(used(&cells, 7), 2);
        });
    }

    #[test]
    fn two_new_subjects_get_a_cell_each() {
        loom::model(|| {
            let cells = cells();
            let other = {
                let cells = Arc::clone(&cells);
                thread::spawn(move || take(&cells, 8, 20))
            };
            assert!(take(&cells, 7, 20) && other.join().unwrap());
            assert_eq!((used(&cells, 7), used(&cells, 8)), (1, 1));
        });
    }

    #[test]
    fn a_cell_that_changes_hands_takes_no_request_with_it() {
        loom::model(|| {
            let cells = Arc::new(Pair::new(ONE));
            // Both cells are full of what is over at 20.
            assert!(take(&cells, 7, 1) && take(&cells, 8, 1));
            // A third subject takes one of them over, while its owner comes back.
            let other = {
                let cells = Arc::clone(&cells);
                thread::spawn(move || take(&cells, 9, 20))
            };
            assert!(take(&cells, 7, 20));
            assert!(other.join().unwrap());
            assert_eq!((used(&cells, 7), used(&cells, 9)), (1, 1), "each was counted once, under its own name");
        });
    }

    #[test]
    fn a_subject_that_is_taken_over_and_asked_for_twice_is_counted_twice() {
        loom::model(|| {
            let cells = Arc::new(Pair::new(ONE));
            assert!(take(&cells, 8, 1));
            let other = {
                let cells = Arc::clone(&cells);
                thread::spawn(move || take(&cells, 7, 20))
            };
            assert!(take(&cells, 7, 20));
            assert!(other.join().unwrap());
            assert_eq!(used(&cells, 7), 2);
        });
    }
}
