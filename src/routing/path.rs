//! The one form of a path that is judged and forwarded.
//!
//! [`CanonicalPath::parse`] takes the path of a request target as it was sent and gives the path to judge, or says how it
//! could be read in two ways. Runs of slashes become one; nothing else is ever changed, so what an upstream receives is
//! what was judged, byte for byte.
//!
//! Some constructs are honest data in one API and an attack in another: `%2F`, `;`, and percent-encoded letters. They are
//! recorded ([`CanonicalPath::constructs`]), and the router refuses them unless the endpoint admits them. There is no
//! decoding here for anybody to use: decoding is what upstreams disagree about.
//!
//! Characters that no URI may hold but that browsers send all the same (`|`, `"`, `[`, `]`, `^`, `` ` ``, `{`, `}`) pass
//! as they are: no reader takes them for a separator, so they cannot be read in two ways. `<`, `>` and a blank do not
//! pass: every client encodes them, and a blank ends the target on the request line.

use std::borrow::Cow;

use thiserror::Error;

use super::PathAdmissions;

/// Why a path could be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AmbiguousPath {
    /// `*`, `x`, or nothing at all.
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// `.` or `..` as a segment, plain or encoded, also with parameters (`..;x`), with blanks, and longer runs of dots.
    #[error("a segment of the path is nothing but dots, plain or encoded")]
    DotSegment,
    /// `\` or `%5C`, which some servers take for a slash.
    #[error("the path holds a backslash, plain or encoded")]
    Backslash,
    /// A control character, plain or encoded; NUL and DEL among them.
    #[error("the path holds a control character, plain or encoded")]
    Control,
    /// A `%` without two hex digits after it.
    #[error("a `%` in the path is not followed by two hex digits")]
    BadPercentEncoding,
    /// Bytes that are not UTF-8 once decoded; `%C0%AF` is a slash for a careless decoder.
    #[error("the percent-encoded bytes of the path are not UTF-8")]
    InvalidUtf8,
    /// `%252e` and its like: harmless for a reader who decodes once, and not for one who decodes twice.
    #[error("an encoded `%` in the path hides another encoded character")]
    DoubleEncoding,
    /// A byte above 127 that is not percent-encoded.
    #[error("the path holds a character that is not ASCII and not percent-encoded")]
    NotAscii,
    /// A `#`: a fragment never belongs into a request.
    #[error("the path holds a `#`")]
    Fragment,
    /// A blank, `<`, `>`, or a `?` within what should be the path alone.
    #[error("the path holds a character that must be percent-encoded")]
    IllegalCharacter,
}

/// A path that reads one way only: what is judged, and the same bytes that are forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    text: Cow<'a, str>,
    constructs: PathAdmissions,
    traits: Traits,
}

/// What about a path could make another reader see another path. All `false` for an ordinary one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Traits {
    /// It holds letters that another reader might fold to lower case.
    pub(super) letter_case: bool,
    /// There is another way to read it, or to spell it, than the way it was sent.
    pub(super) is_odd: bool,
    /// It holds an encoded `;`, which a reader who decodes first takes for parameters.
    pub(super) encoded_semicolon: bool,
    /// It holds an encoded `?` or `#`, which a reader who decodes first takes for the path's end.
    pub(super) encoded_end: bool,
    /// A segment ends in a dot or a blank, which file systems of one family do not see.
    pub(super) loose_end: bool,
}

impl<'a> CanonicalPath<'a> {
    /// Reads the path of a request target as it was sent, without the query.
    ///
    /// An ordinary path costs one pass and no allocation.
    ///
    /// # Errors
    /// The first thing found that two readers could take differently.
    pub fn parse(raw: &'a str) -> Result<Self, AmbiguousPath> {
        // Neither a slash nor a dot may stand next to another slash or dot: this is more than is forbidden, and cheap.
        let mut seen = 0;
        let mut adjacent = 0;
        let mut previous = 0;
        for &byte in raw.as_bytes() {
            let class = CLASS[usize::from(byte)];
            seen |= class;
            adjacent |= previous & class;
            previous = class;
        }
        let is_ordinary =
            raw.starts_with('/') && (seen & SPECIAL) == 0 && (adjacent & MARK) == 0 && !raw.ends_with('.');
        if is_ordinary {
            let traits = Traits { letter_case: seen & UPPER != 0, ..Traits::default() };
            return Ok(Self { text: Cow::Borrowed(raw), constructs: PathAdmissions::default(), traits });
        }
        Self::examine(raw)
    }

    /// The slow way, for every path that is not ordinary.
    fn examine(raw: &'a str) -> Result<Self, AmbiguousPath> {
        if !raw.starts_with('/') {
            return Err(AmbiguousPath::NotAbsolute);
        }
        let mut constructs = PathAdmissions::default();
        let mut traits = Traits::default();
        let mut decoded = Vec::with_capacity(raw.len());
        let mut rest = raw.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if byte == b'%' {
                let (hidden, is_upper) = escape(after).ok_or(AmbiguousPath::BadPercentEncoding)?;
                rest = &after[2..];
                match hidden {
                    b'\\' => return Err(AmbiguousPath::Backslash),
                    0..0x20 | 0x7f => return Err(AmbiguousPath::Control),
                    b'/' => constructs.encoded_slash = true,
                    _ if is_unreserved(hidden) => constructs.encoded_unreserved = true,
                    _ => {}
                }
                traits.is_odd |= is_pchar(hidden) || matches!(hidden, b'/' | b'?' | b'#') || !is_upper;
                traits.note_encoded(hidden);
                decoded.push(hidden);
                continue;
            }
            match byte {
                b'\\' => return Err(AmbiguousPath::Backslash),
                b'#' => return Err(AmbiguousPath::Fragment),
                0..0x20 | 0x7f => return Err(AmbiguousPath::Control),
                0x80.. => return Err(AmbiguousPath::NotAscii),
                b' ' | b'<' | b'>' | b'?' => return Err(AmbiguousPath::IllegalCharacter),
                b';' => {
                    constructs.semicolon = true;
                    traits.is_odd = true;
                }
                // What is sent plain although it should be encoded has another spelling.
                _ => traits.is_odd |= !is_pchar(byte) && byte != b'/',
            }
            decoded.push(byte);
        }
        if std::str::from_utf8(&decoded).is_err() {
            return Err(AmbiguousPath::InvalidUtf8);
        }
        traits.judge(&decoded)?;
        if let Some(twice) = decode_hidden(&decoded, &mut constructs, &mut traits)? {
            traits.is_odd = true;
            traits.judge(&twice)?;
        }
        traits.is_odd |= traits.loose_end;
        Ok(Self { text: collapse(raw), constructs, traits })
    }

    /// The bytes to judge and to forward.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the text differs from what came in (runs of slashes were collapsed).
    #[must_use]
    pub fn is_changed(&self) -> bool {
        matches!(self.text, Cow::Owned(_))
    }

    /// Constructs found that an endpoint must admit.
    #[must_use]
    pub fn constructs(&self) -> PathAdmissions {
        self.constructs
    }

    /// What about it could make another reader see another path.
    pub(super) fn traits(&self) -> Traits {
        self.traits
    }
}

impl Traits {
    /// Takes note of a byte that stood encoded.
    fn note_encoded(&mut self, byte: u8) {
        self.encoded_semicolon |= byte == b';';
        self.encoded_end |= matches!(byte, b'?' | b'#');
    }

    /// Judges the path as somebody sees it who has decoded it.
    fn judge(&mut self, decoded: &[u8]) -> Result<(), AmbiguousPath> {
        for segment in decoded.split(|&byte| byte == b'/') {
            // A reader may also strip parameters, or end the path at a `?` that stood encoded.
            let name = segment.split(|byte| matches!(byte, b';' | b'?' | b'#')).next().unwrap_or_default();
            if name.contains(&b'.') && name.iter().all(|byte| matches!(byte, b'.' | b' ')) {
                return Err(AmbiguousPath::DotSegment);
            }
            let is_loose = |part: &[u8]| matches!(part.last(), Some(b'.' | b' '));
            self.loose_end |=
                is_loose(segment) || segment.windows(2).any(|pair| is_end_mark(pair[1]) && is_loose(&pair[..1]));
        }
        self.letter_case |= decoded.iter().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii());
        Ok(())
    }
}

fn is_end_mark(byte: u8) -> bool {
    matches!(byte, b';' | b'?' | b'#')
}

/// Decodes once more what was decoded already. `None` if there is nothing to decode.
///
/// What a second decoding may bring to light is limited to what could only ever be data. Three layers have no honest use,
/// and with them refused there are only two other readers to think of: one who decodes once and one who decodes twice.
fn decode_hidden(
    decoded: &[u8],
    constructs: &mut PathAdmissions,
    traits: &mut Traits,
) -> Result<Option<Vec<u8>>, AmbiguousPath> {
    if !has_escape(decoded) {
        return Ok(None);
    }
    let mut twice = Vec::with_capacity(decoded.len());
    let mut rest = decoded;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let hidden = if byte == b'%' { escape(after) } else { None };
        let Some((hidden, _)) = hidden else {
            twice.push(byte);
            continue;
        };
        rest = &after[2..];
        if matches!(hidden, b'.' | b'/' | b'\\' | b'%' | 0..0x20 | 0x7f) {
            return Err(AmbiguousPath::DoubleEncoding);
        }
        constructs.encoded_unreserved |= is_unreserved(hidden);
        traits.note_encoded(hidden);
        twice.push(hidden);
    }
    if has_escape(&twice) || std::str::from_utf8(&twice).is_err() {
        return Err(AmbiguousPath::DoubleEncoding);
    }
    Ok(Some(twice))
}

/// Whether a reader could find an escape here: `%2e`, or `%u002e` as one family of servers has it.
fn has_escape(bytes: &[u8]) -> bool {
    bytes.windows(3).any(|window| window[0] == b'%' && (escape(&window[1..]).is_some() || is_wide_escape(&window[1..])))
}

fn is_wide_escape(after: &[u8]) -> bool {
    matches!(after, [b'u' | b'U', digit, ..] if digit.is_ascii_hexdigit())
}

/// Runs of slashes as one; borrowed if there are none.
fn collapse(raw: &str) -> Cow<'_, str> {
    if !raw.contains("//") {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    for character in raw.chars() {
        if character != '/' || !text.ends_with('/') {
            text.push(character);
        }
    }
    Cow::Owned(text)
}

/// The byte that the two hex digits after a `%` stand for, and whether they are in upper case, as they should be.
pub(super) fn escape(after: &[u8]) -> Option<(u8, bool)> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let &[high, low, ..] = after else { return None };
    let is_upper = !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
    Some((digit(high)? << 4 | digit(low)?, is_upper))
}

/// RFC 3986 section 2.3: characters that mean the same plain and encoded.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 3.3: what a segment may hold without encoding.
pub(super) fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

/// A slash or a dot.
const MARK: u8 = 1;
/// A letter in upper case.
const UPPER: u8 = 2;
/// Anything that needs a second look.
const SPECIAL: u8 = 4;

/// What each byte is for the one quick pass over a path.
const CLASS: [u8; 256] = {
    let mut class = [SPECIAL; 256];
    let mut byte = 0;
    while byte < 128 {
        class[byte] = match byte as u8 {
            b'/' | b'.' => MARK,
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' | b'0'..=b'9' => 0,
            b'-' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => {
                0
            }
            _ => SPECIAL,
        };
        byte += 1;
    }
    class
};

#[cfg(test)]
pub(super) mod tests;
