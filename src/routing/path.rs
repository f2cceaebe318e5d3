//! (being written)
use std::borrow::Cow;
use super::PathAdmissions;

/// A path that reads one way only: what is judged, and the same bytes that are forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath<'a> { text: Cow<'a, str>, constructs: PathAdmissions }
/// Why a path could be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmbiguousPath {
    /// x
    #[error("x")]
    DotSegment,
}
impl<'a> CanonicalPath<'a> {
    /// x
    pub fn parse(raw: &'a str) -> Result<Self, AmbiguousPath> { Ok(Self { text: raw.into(), constructs: PathAdmissions::default() }) }
    /// The bytes to judge and to forward.
    pub fn as_str(&self) -> &str { &self.text }
    /// Whether the text differs from what came in (runs of slashes were collapsed).
    pub fn is_changed(&self) -> bool { matches!(self.text, Cow::Owned(_)) }
    /// Constructs found that an endpoint must admit.
    pub fn constructs(&self) -> PathAdmissions { self.constructs }
}
