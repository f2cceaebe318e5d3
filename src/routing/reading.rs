//! The other ways in which a path could be read.
//!
//! Servers decode percent encoding, some twice; take `%2F` for a slash; strip `;parameters`; end the path at a `?` they
//! have decoded; do not see dots or blanks at the end of a segment. They do so in any selection and order. The router asks
//! [`every_reading`], after it has found a rule, whether the same rule is found for each path that comes out of that.
//!
//! Only what a path holds is tried: an ordinary path is never read again, and the work for the oddest one is limited. A
//! reading is never forwarded and never shown: it exists to be compared. Letter case is a way of its own to read any of
//! these, see [`Folded`].
//!
//! Readings are spelled like patterns: what may stand plain in a segment stands plain, everything else as `%XX` in upper
//! case.

use super::CanonicalPath;
use super::path::{escape, is_pchar};

/// The longest literal segment a pattern may hold, in bytes.
pub(super) const MAX_LITERAL_BYTES: usize = 128;

/// The most readings one path may have, and the most bytes they may have together. Paths that hold many odd things at
/// once come near; they are refused, so that no request can make its reading expensive. A path of 8 KiB with one odd
/// thing in it is well within.
const MOST_READINGS: usize = 64;
const MOST_BYTES: usize = 20 * 1024;

/// Something that a server may do to a path. Gives nothing where it changes nothing; nothing makes a path longer.
type Step = fn(&[u8]) -> Option<Vec<u8>>;

const STEPS: [Step; 7] =
    [decode, split, strip_parameters, cut_at_end_mark, trim::<b'.', b'.'>, trim::<b' ', b' '>, trim::<b'.', b' '>];

/// Asks for every way to read a path, other than the way it was sent, whether it is acceptable.
///
/// # Errors
/// The reason to refuse the path: a reading that is not accepted, or too many of them.
pub(super) fn every_reading(
    path: &CanonicalPath<'_>,
    mut accepts: impl FnMut(&str) -> bool,
) -> Result<(), &'static str> {
    if !path.traits().is_odd {
        return Ok(());
    }
    let mut readings = vec![path.as_str().as_bytes().to_vec()];
    let mut bytes = path.as_str().len();
    let mut text = String::new();
    let mut next = 0;
    while let Some(reading) = readings.get(next) {
        spell(reading, &mut text);
        if text != path.as_str() && !accepts(&text) {
            return Err("read in another way the path is governed by another rule");
        }
        for changed in STEPS.iter().filter_map(|step| step(&readings[next])).collect::<Vec<_>>() {
            if !readings.contains(&changed) {
                bytes += changed.len();
                readings.push(changed);
            }
        }
        if bytes > MOST_BYTES || readings.len() > MOST_READINGS {
            return Err("the path can be read in too many ways");
        }
        next += 1;
    }
    Ok(())
}

/// Decodes once, all but slashes.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    replace_escapes(path, |hidden| hidden != b'/')
}

/// Takes encoded slashes for slashes.
fn split(path: &[u8]) -> Option<Vec<u8>> {
    replace_escapes(path, |hidden| hidden == b'/')
}

fn replace_escapes(path: &[u8], is_chosen: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut copied = 0;
    for percent in memchr::memchr_iter(b'%', path) {
        if let Some((hidden, _)) = escape(&path[percent + 1..]).filter(|&(hidden, _)| is_chosen(hidden)) {
            out.extend_from_slice(&path[copied..percent]);
            out.push(hidden);
            copied = percent + 3;
        }
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(&path[copied..]);
    Some(out)
}

/// Takes off what follows a `;` in each segment.
fn strip_parameters(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b';', path)?;
    let segments = path.split(|&byte| byte == b'/');
    Some(join(segments.map(|segment| segment.split(|&byte| byte == b';').next().unwrap_or_default())))
}

/// Ends the path where a query or a fragment seems to begin.
fn cut_at_end_mark(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr2(b'?', b'#', path).map(|end| path[..end].to_vec())
}

/// Takes off two kinds of characters at the end of each segment.
fn trim<const ONE: u8, const OTHER: u8>(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr2(ONE, OTHER, path)?;
    let is_seen = |&byte: &u8| byte != ONE && byte != OTHER;
    let segments = path.split(|&byte| byte == b'/');
    let trimmed =
        join(segments.map(|segment| &segment[..segment.iter().rposition(is_seen).map_or(0, |last| last + 1)]));
    (trimmed != path).then_some(trimmed)
}

fn join<'s>(segments: impl Iterator<Item = &'s [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, segment) in segments.enumerate() {
        if index > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(segment);
    }
    out
}

/// Writes a reading in the spelling that patterns have, runs of slashes as one.
fn spell(bytes: &[u8], out: &mut String) {
    out.clear();
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = if byte == b'%' { escape(after) } else { None };
        match escaped {
            // An escape that this reader leaves alone. No pattern holds one of what may stand plain, so it matches none.
            Some((hidden, _)) => {
                rest = &after[2..];
                push_escape(hidden, out);
            }
            None if byte == b'/' => {
                if !out.ends_with('/') {
                    out.push('/');
                }
            }
            None if is_pchar(byte) => out.push(char::from(byte)),
            None => push_escape(byte, out),
        }
    }
}

fn push_escape(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
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
