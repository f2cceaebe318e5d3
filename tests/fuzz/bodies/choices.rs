//! Bytes as decisions: what a generator asks for, one byte at a time.
//!
//! When the bytes are used up every decision is the first one, so that each input comes to an end and a shorter input is a
//! simpler thing.

/// Decisions that are still to be taken.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// From the bytes of an input.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// A number below a bound of at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first) % bound
    }

    /// One of several things.
    pub fn of<'t, T: ?Sized>(&mut self, things: &[&'t T]) -> &'t T {
        things[self.below(things.len())]
    }

    /// Whether something is so; once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }
}
