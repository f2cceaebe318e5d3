//! (being written)
/// A compiled expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression;
