//! The other ways in which a path could be read.
//!
//! The router asks [`every_reading`] after it has found a rule, with the question whether the same rule is found for
//! another spelling of the path: decoded once or twice, with `%2F` as a slash, without `;parameters`, ended at an encoded
//! `?`, without dots and blanks at the end of segments, and each of these with each other. Only what the path holds is
//! tried, so that an ordinary path is never read again, and a very odd one a fixed number of times.
//!
//! A reading is never forwarded and never shown: it exists to be compared. Letter case is a way of its own to read any of
//! these, see [`Folded`].
//!
//! All readings share one spelling with patterns: what may stand plain in a segment stands plain, everything else as
//! `%XX` in upper case.

use super::CanonicalPath;
use super::path::{escape, is_pchar};

/// The longest literal segment a pattern may hold, in bytes.
pub(super) const MAX_LITERAL_BYTES: usize = 128;

/// When `;parameters` are taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameters {
    Kept,
    /// From a `;` that stood plain to the next plain slash, then the rest is decoded.
    StrippedFirst,
    /// After all decoding, up to the next slash there is then.
    StrippedLast,
}

/// One way to read a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// How often it is decoded.
    decodes: u8,
    /// `%2F` separates segments.
    splits: bool,
    parameters: Parameters,
    /// An encoded `?` or `#` ends the path.
    ends: bool,
    /// Dots and blanks at the end of a segment are not seen.
    trims: bool,
}

/// The most bytes that all readings of one path may have together. Only long paths that hold several odd things at once
/// come near; they are refused, so that no request buys more than some tens of microseconds of reading.
const MOST_BYTES: usize = 64 * 1024;

/// Asks for every way to read a path, other than the way it was sent, whether it is acceptable.
///
/// # Errors
/// The reason to refuse the path: a reading that is not accepted, or too many of them.
pub(super) fn every_reading(
    path: &CanonicalPath<'_>,
    mut accepts: impl FnMut(&str) -> bool,
) -> Result<(), &'static str> {
    let readings = Reading::all(path);
    if readings.len().saturating_mul(path.as_str().len()) > MOST_BYTES {
        return Err("the path is long and can be read in many ways");
    }
    let mut text = String::new();
    for reading in readings {
        reading.write(path.as_str(), &mut text);
        if text != path.as_str() && !accepts(&text) {
            return Err("read in another way the path is governed by another rule");
        }
    }
    Ok(())
}

impl Reading {
    /// All ways to read a path; none for an ordinary path, which then costs nothing.
    fn all(path: &CanonicalPath<'_>) -> Vec<Self> {
        let (traits, constructs) = (path.traits(), path.constructs());
        let mut readings = Vec::new();
        if traits.decodes == 0 && !constructs.encoded_slash && !constructs.semicolon && !traits.loose_end {
            return readings;
        }
        let unless = |is_there: bool| if is_there { &[false, true][..] } else { &[false][..] };
        let parameters = match (constructs.semicolon, traits.encoded_semicolon) {
            (false, false) => &[Parameters::Kept][..],
            (false, true) => &[Parameters::Kept, Parameters::StrippedLast],
            (true, _) => &[Parameters::Kept, Parameters::StrippedFirst, Parameters::StrippedLast],
        };
        for decodes in 0..=traits.decodes {
            for &splits in unless(constructs.encoded_slash) {
                for &parameters in parameters {
                    for &ends in unless(traits.encoded_end && decodes > 0) {
                        for &trims in unless(traits.loose_end) {
                            readings.push(Self { decodes, splits, parameters, ends, trims });
                        }
                    }
                }
            }
        }
        readings
    }

    /// Writes the path as this reader sees it.
    fn write(self, path: &str, out: &mut String) {
        let mut bytes = path.as_bytes().to_vec();
        if self.parameters == Parameters::StrippedFirst {
            bytes = map_segments(&bytes, without_parameters);
        }
        if self.decodes == 0 && self.splits {
            bytes = decode(&bytes, |byte| byte == b'/');
        }
        for _ in 0..self.decodes {
            bytes = decode(&bytes, |byte| self.splits || byte != b'/');
        }
        if self.ends
            && let Some(end) = bytes.iter().position(|byte| matches!(byte, b'?' | b'#'))
        {
            bytes.truncate(end);
        }
        if self.parameters == Parameters::StrippedLast {
            bytes = map_segments(&bytes, without_parameters);
        }
        if self.trims {
            bytes = map_segments(&bytes, |segment| {
                let kept = segment.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |last| last + 1);
                &segment[..kept]
            });
        }
        spell(&bytes, self.decodes > 0, out);
    }
}

fn without_parameters(segment: &[u8]) -> &[u8] {
    segment.split(|&byte| byte == b';').next().unwrap_or_default()
}

fn map_segments(path: &[u8], change: impl Fn(&[u8]) -> &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for (index, segment) in path.split(|&byte| byte == b'/').enumerate() {
        if index > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(change(segment));
    }
    out
}

/// Decodes once the escapes that are chosen; others stay, in upper case.
fn decode(bytes: &[u8], is_chosen: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match if byte == b'%' { escape(after) } else { None } {
            None => out.push(byte),
            Some((hidden, _)) => {
                rest = &after[2..];
                if is_chosen(hidden) { out.push(hidden) } else { push_escape(hidden, |byte| out.push(byte)) }
            }
        }
    }
    out
}

/// Writes a path in the spelling that patterns have, runs of slashes as one.
fn spell(bytes: &[u8], is_decoded: bool, out: &mut String) {
    out.clear();
    for (index, &byte) in bytes.iter().enumerate() {
        // A `%` that decoding has left is data, but for the slash that was not to be one.
        let is_kept_escape = byte == b'%' && (!is_decoded || bytes[index + 1..].starts_with(b"2F"));
        if byte == b'/' {
            if !out.ends_with('/') {
                out.push('/');
            }
        } else if is_pchar(byte) || is_kept_escape || (!is_decoded && byte.is_ascii()) {
            out.push(char::from(byte));
        } else {
            push_escape(byte, |byte| out.push(char::from(byte)));
        }
    }
}

fn push_escape(byte: u8, mut push: impl FnMut(u8)) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    push(b'%');
    push(DIGITS[usize::from(byte >> 4)]);
    push(DIGITS[usize::from(byte & 15)]);
}

/// A segment as a reader sees it who ignores letter case.
///
/// Letters are folded as Unicode has it and not only within ASCII: `%E2%84%AA` is the sign for kelvin, and a server that
/// ignores case takes it for a `k`. It holds as much as a pattern's longest literal, for which it is made, without
/// touching the heap.
pub(super) struct Folded {
    bytes: [u8; MAX_LITERAL_BYTES],
    length: usize,
}

impl Folded {
    /// Whether a segment has anything to fold.
    pub(super) fn changes(segment: &[u8]) -> bool {
        segment.iter().any(|&byte| byte.is_ascii_uppercase() || byte == b'%')
    }

    /// Folds a segment; `None` if the result is longer than any literal.
    pub(super) fn new(segment: &[u8]) -> Option<Self> {
        let mut folded = Self { bytes: [0; MAX_LITERAL_BYTES], length: 0 };
        let mut rest = segment;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match if byte == b'%' { escape(after) } else { None } {
                None => folded.push(byte.to_ascii_lowercase())?,
                Some((hidden, _)) if !hidden.is_ascii() => {
                    rest = folded.push_character(&segment[segment.len() - after.len() - 1..])?
                }
                Some((hidden, _)) => {
                    rest = &after[2..];
                    // What may stand plain was left encoded by the reading: for this reader it is not that character.
                    if is_pchar(hidden) || hidden == b'/' {
                        folded.push(b'%')?;
                        after[..2].iter().try_for_each(|digit| folded.push(digit.to_ascii_lowercase()))?;
                    } else {
                        folded.push(hidden)?;
                    }
                }
            }
        }
        Some(folded)
    }

    /// The folded text.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.length)? = byte;
        self.length += 1;
        Some(())
    }

    /// Folds one encoded character and gives what comes after it.
    fn push_character<'s>(&mut self, encoded: &'s [u8]) -> Option<&'s [u8]> {
        let mut utf8 = [0; 4];
        for count in 1..=4 {
            let triple = encoded.get(3 * (count - 1)..3 * count)?;
            if triple[0] != b'%' {
                return None;
            }
            (utf8[count - 1], _) = escape(&triple[1..])?;
            let Ok(text) = std::str::from_utf8(&utf8[..count]) else { continue };
            // Upper case first: it joins more letters than lower case does. The dot that is left over of a Turkish
            // capital I is not a letter.
            let lower = text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
            for character in lower.filter(|&character| character != '\u{307}') {
                let mut buffer = [0; 4];
                character.encode_utf8(&mut buffer).bytes().try_for_each(|byte| self.push(byte))?;
            }
            return encoded.get(3 * count..);
        }
        None
    }
}

#[cfg(test)]
mod tests;
