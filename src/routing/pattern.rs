//! (being written)
/// A path pattern: literal segments and `:parameters`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern { text: Box<str> }
/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// x
    #[error("x")]
    Empty,
}
impl PathPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> { Ok(Self { text: text.into() }) }
    /// As written, in canonical form.
    pub fn as_str(&self) -> &str { &self.text }
    /// The value of a parameter in a path that this pattern matches.
    pub fn parameter<'p>(&self, _name: &str, _path: &'p str) -> Option<&'p str> { None }
}
