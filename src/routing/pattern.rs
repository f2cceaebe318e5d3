//! The paths an endpoint or a route is for, as an operator writes them: `/orders/:id/lines`.
//!
//! A pattern is a list of segments, each either literal or a `:parameter` that stands for exactly one segment that is not
//! empty. `config` makes patterns with [`PathPattern::parse`]; the router builds its tree of them; `admission` asks
//! [`PathPattern::parameter`] for a value.
//!
//! A pattern is in canonical form: it can only be written in the one way in which a [`CanonicalPath`] can match it. It
//! says nothing about what is below it; an endpoint governs everything below its pattern
//! ([`PathPattern::matches_prefix`]), a route only the path itself ([`PathPattern::matches_exact`]).
//!
//! Of two patterns that match a path, the more specific one is decided by the first segment in which they differ in kind:
//! a literal beats a parameter, anything beats the end. So `/a/b` beats `/a/:x/c` for `/a/b/c`.

use std::cmp::Ordering;

use thiserror::Error;

use super::path::{AmbiguousPath, CanonicalPath, escape, is_pchar};
use super::reading::MAX_LITERAL_BYTES;

/// The most segments a pattern may have.
pub(super) const MAX_SEGMENTS: usize = 32;

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPattern {
    /// It does not start with `/`.
    #[error("it does not start with `/`")]
    NotAbsolute,
    /// A slash at the end.
    #[error("it ends with `/`; a path without it governs the one with it too")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("it holds `//`; runs of slashes are one slash before a path is judged")]
    EmptySegment,
    /// A parameter in the spelling of OpenAPI.
    #[error("`{{` and `}}` have no meaning here; write a parameter as `:{0}`")]
    Braces(Box<str>),
    /// An asterisk.
    #[error(
        "`*` has no meaning here; an endpoint's path governs everything below it, and `:name` stands for one segment"
    )]
    Wildcard,
    /// A `:` alone.
    #[error("a parameter has no name; write `:name`")]
    UnnamedParameter,
    /// A parameter's name with something else than letters, digits and `_`.
    #[error("the parameter `:{0}` may hold only letters, digits and `_`, and takes its whole segment")]
    ParameterName(Box<str>),
    /// The same name twice.
    #[error("the parameter `:{0}` is named twice")]
    DuplicateParameter(Box<str>),
    /// A query.
    #[error("it holds a `?`; the query never takes part in finding an endpoint")]
    Query,
    /// A segment in a spelling that no request can have, or that many may.
    #[error("write the segment `{segment}` as `{instead}`")]
    Spelling {
        /// As it was written.
        segment: Box<str>,
        /// As it must be.
        instead: Box<str>,
    },
    /// A `;` in a literal.
    #[error("it holds a `;`, which some servers take for the start of parameters; no literal can rely on it")]
    Semicolon,
    /// An encoded slash in a literal.
    #[error("it holds an encoded slash, which some servers take for a slash; no literal can rely on it")]
    EncodedSlash,
    /// An encoded percent sign, `?` or `#` in a literal.
    #[error("it holds an encoded `%`, `?` or `#`, which some servers read in another way; no literal can rely on it")]
    EncodedMark,
    /// A dot or a blank at the end of a literal.
    #[error("the segment `{0}` ends in a dot or a blank, which some servers do not see; no literal can rely on it")]
    LooseEnd(Box<str>),
    /// A path that would be refused in a request.
    #[error("a request for it would always be refused: {0}")]
    NeverAdmitted(#[source] AmbiguousPath),
    /// More segments than a pattern may have.
    #[error("it has more than {MAX_SEGMENTS} segments")]
    TooManySegments,
    /// A literal that is longer than it may be.
    #[error("one of its segments is longer than {MAX_LITERAL_BYTES} bytes")]
    SegmentTooLong,
}

/// One segment of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Segment<'a> {
    /// Matches itself.
    Literal(&'a str),
    /// Matches any one segment that is not empty; its name, without the colon.
    Parameter(&'a str),
}

/// A path pattern: literal segments and `:parameters`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: Box<str>,
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The first thing that keeps the text from being one, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let below_root = text.strip_prefix('/').ok_or(InvalidPattern::NotAbsolute)?;
        if below_root.is_empty() {
            return Ok(Self { text: text.into() });
        }
        if text.contains("//") {
            return Err(InvalidPattern::EmptySegment);
        }
        if text.ends_with('/') {
            return Err(InvalidPattern::TrailingSlash);
        }
        if below_root.split('/').count() > MAX_SEGMENTS {
            return Err(InvalidPattern::TooManySegments);
        }
        let mut names = Vec::new();
        for segment in below_root.split('/') {
            if let Some(name) = check_segment(segment)? {
                if names.contains(&name) {
                    return Err(InvalidPattern::DuplicateParameter(name.into()));
                }
                names.push(name);
            }
        }
        Ok(Self { text: text.into() })
    }

    /// As written, in canonical form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The segments in order; none for `/`.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> + Clone {
        split(&self.text).map(|text| text.strip_prefix(':').map_or(Segment::Literal(text), Segment::Parameter))
    }

    /// Whether a path is the pattern's or below it.
    #[must_use]
    pub fn matches_prefix(&self, path: &str) -> bool {
        let mut path = split(path);
        self.segments().all(|segment| path.next().is_some_and(|text| segment.matches(text)))
    }

    /// Whether a path is the pattern's own, with or without one trailing slash.
    #[must_use]
    pub fn matches_exact(&self, path: &str) -> bool {
        self.matches_prefix(path) && split(path).count() == self.segments().count()
    }

    /// The value of a parameter in a path that this pattern matches, as it stands there: nothing is decoded.
    #[must_use]
    pub fn parameter<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        let mut found = None;
        let mut path = split(path);
        for segment in self.segments() {
            let text = path.next().filter(|text| segment.matches(text))?;
            if segment == Segment::Parameter(name) {
                found = Some(text);
            }
        }
        found
    }

    /// Compares how specific two patterns are; the greater one wins a path that both match. Patterns that differ only by
    /// the names of parameters are equal; where no path is matched by both, the order means nothing.
    #[must_use]
    pub fn specificity(&self, other: &Self) -> Ordering {
        let rank = |segment: Option<Segment<'_>>| match segment {
            None => 0,
            Some(Segment::Parameter(_)) => 1,
            Some(Segment::Literal(_)) => 2,
        };
        let (mut own, mut others) = (self.segments(), other.segments());
        loop {
            let pair = (rank(own.next()), rank(others.next()));
            if pair.0 != pair.1 || pair == (0, 0) {
                return pair.0.cmp(&pair.1);
            }
        }
    }

    /// Whether there is a path that both match, each with everything below it.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.segments().zip(other.segments()).all(|pair| match pair {
            (Segment::Literal(own), Segment::Literal(others)) => own == others,
            _ => true,
        })
    }
}

impl std::fmt::Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Segment<'_> {
    fn matches(self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::Parameter(_) => !text.is_empty(),
        }
    }
}

/// The segments of a path; one slash at the end starts no segment.
fn split(path: &str) -> impl Iterator<Item = &str> + Clone {
    path.split('/').skip(1).filter(|segment| !segment.is_empty())
}

/// Checks one segment and gives the parameter's name if it is one.
fn check_segment(segment: &str) -> Result<Option<&str>, InvalidPattern> {
    if let Some(name) = segment.strip_prefix(':') {
        if name.is_empty() {
            return Err(InvalidPattern::UnnamedParameter);
        }
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        return if is_name { Ok(Some(name)) } else { Err(InvalidPattern::ParameterName(name.into())) };
    }
    if segment.contains(['{', '}']) {
        let name = segment.trim_matches(['{', '}']);
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        return Err(InvalidPattern::Braces(if is_name { name } else { "name" }.into()));
    }
    if segment.contains('*') {
        return Err(InvalidPattern::Wildcard);
    }
    if segment.contains('?') {
        return Err(InvalidPattern::Query);
    }
    let path = format!("/{segment}");
    match CanonicalPath::parse(&path) {
        // What only has to be encoded is better told with the right spelling, below.
        Err(AmbiguousPath::NotAscii | AmbiguousPath::IllegalCharacter) => {}
        Err(reason) => return Err(InvalidPattern::NeverAdmitted(reason)),
        Ok(path) if path.constructs().semicolon || path.traits().encoded_semicolon => {
            return Err(InvalidPattern::Semicolon);
        }
        Ok(path) if path.constructs().encoded_slash => return Err(InvalidPattern::EncodedSlash),
        Ok(path) if path.traits().encoded_end || segment.contains("%25") => return Err(InvalidPattern::EncodedMark),
        Ok(path) if path.traits().loose_end => return Err(InvalidPattern::LooseEnd(segment.into())),
        Ok(_) => {}
    }
    let spelled = spelled(segment);
    if spelled != segment {
        return Err(InvalidPattern::Spelling { segment: segment.into(), instead: spelled.into() });
    }
    if segment.len() > MAX_LITERAL_BYTES {
        return Err(InvalidPattern::SegmentTooLong);
    }
    Ok(None)
}

/// A segment in the one spelling that patterns have: plain what may stand plain, all else as `%XX` in upper case.
fn spelled(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = if byte == b'%' { escape(after) } else { None };
        if escaped.is_some() {
            rest = &after[2..];
        }
        let byte = escaped.map_or(byte, |(hidden, _)| hidden);
        if is_pchar(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
