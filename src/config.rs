//! x
mod document;
mod problem;
mod read;
mod source;
mod tree;
pub use problem::{Problem, Problems, Severity};
pub use source::Source;
