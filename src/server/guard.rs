//! The wire guard: a second, stricter reader of HTTP/1 framing that sees every byte before the real one does.
//!
//! The connection calls [`Guard::feed`] with each piece it has read, before hyper gets it. As long as the answer is
//! `Ok`, the bytes are handed on unchanged; at the first fault it is a [`Refusal`] that says how many of them may still
//! be handed on: those of the messages before the bad one.
//!
//! The guard promises that two readers of what it lets through cannot disagree about where a message begins and ends:
//! one length or one final `chunked`, each written in the one plain way, whole line ends, no folding, one `Host`. The
//! verdict is the same however the bytes are cut into pieces. It keeps no copy of a message (seventeen bytes of a
//! header's name at most), knows no clock and does no I/O; what a path or a header means is for others.
//!
//! It must never be more lenient than hyper about framing. Where a rule could be read in two ways, refuse: the guard is
//! what makes one request in front one request behind, and every request-smuggling attack begins with a byte that one
//! reader skips and the next one does not.

use super::violation::Violation;
use bytes::{CLASS, HOST, PATH, QUERY, TOKEN, run, visible};

mod bytes;
mod chunk;
mod request_line;

/// The bounds of an HTTP/1 message's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardLimits {
    /// Bytes of the whole head: request line, headers, line ends.
    pub head_bytes: usize,
    /// Number of header lines.
    pub field_count: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self { head_bytes: 32 * 1024, field_count: 100, target_bytes: 8 * 1024 }
    }
}

/// Bytes of chunk extensions in one body. hyper stops at the same number.
const CHUNK_EXTENSION_BYTES: usize = 16 * 1024 - 1;
/// Bytes of trailers in one body, line ends included. hyper stops at the same number.
const TRAILER_BYTES: usize = 16 * 1024 - 1;
/// Header lines among the trailers of one body. hyper stops at the same number.
const TRAILER_COUNT: usize = 100;
/// The longest registered method has 17 letters.
const METHOD_BYTES: usize = 32;
/// RFC 9112 section 2.2 asks to ignore at least one empty line before a request.
const EMPTY_LINES: u8 = 2;
/// The longest header name that decides the framing: `transfer-encoding`.
const SCRATCH_BYTES: usize = 17;

/// Where the reader of an HTTP/1 connection stands, as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Between two messages, or before the first.
    Between,
    /// Inside a head.
    Head,
    /// Inside a body.
    Body,
    /// After an upgrade: bytes are no longer HTTP.
    Tunnel,
}

/// The first fault on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub violation: Violation,
    /// How many bytes of the piece just fed belong to good messages before the bad one.
    pub keep: usize,
    /// The head of the bad message was good and has been handed on with an earlier piece.
    pub is_in_body: bool,
}

/// The reader's state between two pieces.
#[derive(Debug)]
pub struct Guard {
    limits: GuardLimits,
    state: State,
    /// Heads that were complete and good.
    heads: u32,
    /// Bytes that the head, or the trailers, may still have.
    section_left: usize,
    /// Header lines that the head, or the trailers, may still have.
    fields_left: usize,
    is_in_trailers: bool,
    /// Bytes seen of the method, the target, the name or the value being read.
    part: usize,
    /// The first bytes of a name that is cut by the end of a piece.
    scratch: [u8; SCRATCH_BYTES],
    empty_lines: u8,
    is_version_1_0: bool,
    has_host: bool,
    has_transfer_encoding: bool,
    content_length: Option<u64>,
    extension_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    StartLineFeed,
    Method,
    TargetStart { is_options: bool },
    TargetStar,
    TargetScheme(u8),
    TargetAuthority { is_empty: bool },
    TargetPath,
    TargetQuery,
    Version(u8),
    RequestLineFeed,
    FieldStart,
    FieldName,
    Value(ValueKind),
    FieldLineFeed,
    HeadLineFeed,
    Length(u64),
    ChunkSize { digits: u8, size: u64 },
    ChunkExtension { size: u64 },
    ChunkSizeLineFeed { size: u64 },
    ChunkData(u64),
    ChunkDataReturn,
    ChunkDataLineFeed,
    Tunnel,
    Refused(Violation),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Plain,
    Host,
    ContentLength(u64),
    TransferEncoding,
}

impl Guard {
    /// A guard for a new connection.
    pub fn new(limits: GuardLimits) -> Self {
        Self {
            limits,
            state: State::Start,
            heads: 0,
            section_left: limits.head_bytes,
            fields_left: limits.field_count,
            is_in_trailers: false,
            part: 0,
            scratch: [0; SCRATCH_BYTES],
            empty_lines: 0,
            is_version_1_0: false,
            has_host: false,
            has_transfer_encoding: false,
            content_length: None,
            extension_bytes: 0,
        }
    }

    /// How many complete heads have been let through.
    pub fn heads(&self) -> u32 {
        self.heads
    }

    /// Where the reader stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Start | State::StartLineFeed => Phase::Between,
            State::Tunnel => Phase::Tunnel,
            State::Length(_)
            | State::ChunkSize { .. }
            | State::ChunkExtension { .. }
            | State::ChunkSizeLineFeed { .. }
            | State::ChunkData(_)
            | State::ChunkDataReturn
            | State::ChunkDataLineFeed => Phase::Body,
            _ if self.is_in_trailers => Phase::Body,
            _ => Phase::Head,
        }
    }

    /// Lets everything pass from here on: the connection has become something other than HTTP.
    ///
    /// Call it only once a `101` answers an upgrade that was forwarded; a guard that has refused stays refusing.
    pub fn begin_tunnel(&mut self) {
        if !matches!(self.state, State::Refused(_)) {
            self.state = State::Tunnel;
        }
    }

    /// Judges the next piece of the connection.
    ///
    /// # Errors
    /// The first fault. Nothing behind it is looked at, and every later call gives the same fault with nothing to keep.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        // Where the message being read begins, if it begins in this piece.
        let mut start = (self.phase() == Phase::Between).then_some(0);
        let mut at = 0;
        while at < bytes.len() {
            match self.step(bytes, at) {
                Ok(next) => at = next,
                Err(violation) => {
                    let was_in_body = self.phase() == Phase::Body;
                    if was_in_body && start.is_some() {
                        // Its head is taken back with it.
                        self.heads = self.heads.wrapping_sub(1);
                    }
                    self.state = State::Refused(violation);
                    return Err(Refusal {
                        violation,
                        keep: start.unwrap_or(0),
                        is_in_body: was_in_body && start.is_none(),
                    });
                }
            }
            if self.is_at_start() {
                start = Some(at);
            }
        }
        Ok(())
    }

    /// Exactly between two messages, not even an empty line behind the last one.
    fn is_at_start(&self) -> bool {
        self.state == State::Start && self.empty_lines == 0
    }

    /// Reads on from `at`; gives where it stopped.
    fn step(&mut self, bytes: &[u8], at: usize) -> Result<usize, Violation> {
        match self.state {
            State::Length(left) => {
                let taken = take(left, bytes.len() - at);
                match left - taken as u64 {
                    0 => self.finish_message(),
                    left => self.state = State::Length(left),
                }
                Ok(at + taken)
            }
            State::ChunkData(left) => {
                let taken = take(left, bytes.len() - at);
                self.state = match left - taken as u64 {
                    0 => State::ChunkDataReturn,
                    left => State::ChunkData(left),
                };
                Ok(at + taken)
            }
            State::ChunkSize { .. }
            | State::ChunkExtension { .. }
            | State::ChunkSizeLineFeed { .. }
            | State::ChunkDataReturn
            | State::ChunkDataLineFeed => self.step_chunk(bytes, at),
            State::Tunnel => Ok(bytes.len()),
            State::Refused(violation) => Err(violation),
            _ => {
                let end = bytes.len().min(at.saturating_add(self.section_left));
                if at == end {
                    return Err(match self.is_in_trailers {
                        true => Violation::TrailersTooLarge,
                        false => Violation::HeadTooLarge,
                    });
                }
                let next = self.step_head(&bytes[..end], at)?;
                // A message that ended here has already set the count for the next one.
                if !self.is_at_start() {
                    self.section_left = self.section_left.saturating_sub(next - at);
                }
                Ok(next)
            }
        }
    }

    /// One step through a request line, header lines, or trailers. `bytes` ends where the section must end.
    fn step_head(&mut self, bytes: &[u8], at: usize) -> Result<usize, Violation> {
        let byte = bytes[at];
        match self.state {
            State::Start => match byte {
                b'\r' => self.state = State::StartLineFeed,
                b'\n' => return Err(Violation::BareLineFeed),
                _ => {
                    self.part = 0;
                    if let Some(next) = self.step_plain_line(bytes, at) {
                        self.state = State::FieldStart;
                        return Ok(next);
                    }
                    self.state = State::Method;
                    return Ok(at);
                }
            },
            State::StartLineFeed => {
                if byte != b'\n' {
                    return Err(Violation::BareCarriageReturn);
                }
                self.empty_lines += 1;
                if self.empty_lines > EMPTY_LINES {
                    return Err(Violation::EmptyLines);
                }
                self.state = State::Start;
            }
            State::Method => return self.step_method(bytes, at),
            State::TargetStart { .. }
            | State::TargetStar
            | State::TargetScheme(_)
            | State::TargetAuthority { .. }
            | State::TargetPath
            | State::TargetQuery => return self.step_target(bytes, at),
            State::Version(place) => return self.step_version(bytes, at, place),
            State::RequestLineFeed | State::FieldLineFeed => {
                if byte != b'\n' {
                    return Err(Violation::BareCarriageReturn);
                }
                self.state = State::FieldStart;
            }
            State::FieldStart => return self.step_fields(bytes, at),
            State::FieldName => return self.step_name(bytes, at),
            State::Value(kind) => return self.step_value(bytes, at, kind),
            State::HeadLineFeed => {
                if byte != b'\n' {
                    return Err(Violation::BareCarriageReturn);
                }
                self.finish_head()?;
            }
            // The caller sends every other state elsewhere.
            _ => return Err(Violation::RequestLineInvalid),
        }
        Ok(at + 1)
    }

    /// Reads as many whole plain header lines as there are; leaves the rest to the slower states.
    ///
    /// A line is taken here only if the slower states would take it; on anything else nothing of it is consumed, so
    /// that they decide, and a cut between two pieces cannot change the verdict.
    fn step_fields(&mut self, bytes: &[u8], mut at: usize) -> Result<usize, Violation> {
        while let Some(&first) = bytes.get(at) {
            if CLASS[usize::from(first)] & TOKEN == 0 {
                self.state = match first {
                    b'\r' => State::HeadLineFeed,
                    b'\n' => return Err(Violation::BareLineFeed),
                    b' ' | b'\t' => return Err(Violation::ObsoleteFolding),
                    b':' => return Err(Violation::FieldNameEmpty),
                    0..0x20 | 0x7f => return Err(Violation::ControlByte),
                    _ => return Err(Violation::FieldNameInvalid),
                };
                return Ok(at + 1);
            }
            let Some(left) = self.fields_left.checked_sub(1) else {
                return Err(if self.is_in_trailers { Violation::TrailersTooLarge } else { Violation::TooManyFields });
            };
            let colon = run(bytes, at, TOKEN);
            let is_plain = bytes.get(colon) == Some(&b':') && !matches!(colon - at, 4 | 14 | 17);
            let line_end = if is_plain { visible(bytes, colon + 1) } else { bytes.len() };
            if bytes.get(line_end..line_end + 2) != Some(b"\r\n".as_slice()) {
                self.fields_left = left;
                self.part = 0;
                self.state = State::FieldName;
                return Ok(at);
            }
            self.fields_left = left;
            at = line_end + 2;
        }
        Ok(at)
    }

    fn step_name(&mut self, bytes: &[u8], at: usize) -> Result<usize, Violation> {
        let stop = run(bytes, at, TOKEN);
        self.remember(&bytes[at..stop]);
        match bytes.get(stop) {
            None => Ok(stop),
            Some(b':') => {
                let kind = self.recognise()?;
                self.part = 0;
                self.state = State::Value(kind);
                Ok(stop + 1)
            }
            Some(b' ' | b'\t') => Err(Violation::SpaceBeforeColon),
            Some(b'\n') => Err(Violation::BareLineFeed),
            // A whole line without a colon.
            Some(b'\r') => Err(Violation::FieldNameInvalid),
            Some(0..0x20 | 0x7f) => Err(Violation::ControlByte),
            Some(_) => Err(Violation::FieldNameInvalid),
        }
    }

    /// Says what the header whose name has just ended means for the framing.
    fn recognise(&mut self) -> Result<ValueKind, Violation> {
        let Some(name) = self.scratch.get(..self.part) else { return Ok(ValueKind::Plain) };
        let is_one_of_ours = match name.len() {
            4 => name.eq_ignore_ascii_case(b"host"),
            14 => name.eq_ignore_ascii_case(CONTENT_LENGTH),
            17 => name.eq_ignore_ascii_case(TRANSFER_ENCODING),
            _ => false,
        };
        if !is_one_of_ours {
            return framing_twin(name).map_or(Ok(ValueKind::Plain), Err);
        }
        if self.is_in_trailers {
            return Err(Violation::TrailerForbidden);
        }
        match name.len() {
            4 if self.has_host => Err(Violation::HostRepeated),
            4 => {
                self.has_host = true;
                Ok(ValueKind::Host)
            }
            14 if self.content_length.is_some() => Err(Violation::ContentLengthRepeated),
            14 => Ok(ValueKind::ContentLength(0)),
            _ if self.has_transfer_encoding => Err(Violation::TransferEncodingRepeated),
            _ => {
                self.has_transfer_encoding = true;
                Ok(ValueKind::TransferEncoding)
            }
        }
    }

    fn step_value(&mut self, bytes: &[u8], at: usize, kind: ValueKind) -> Result<usize, Violation> {
        let mut stop = at;
        let (is_complete, fault) = match kind {
            ValueKind::Plain => {
                stop = visible(bytes, at);
                (true, Violation::ControlByte)
            }
            ValueKind::Host => {
                if self.part == 0 {
                    stop += bytes[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                }
                let value = stop;
                stop = run(bytes, value, HOST);
                self.part += stop - value;
                (self.part > 0, Violation::HostInvalid)
            }
            ValueKind::ContentLength(mut number) => {
                while let Some(&byte) = bytes.get(stop) {
                    match byte {
                        b' ' if self.part == 0 => {}
                        b'0'..=b'9' => {
                            // `0` alone is a number, `007` is a way to be read as something else.
                            if self.part > 0 && number == 0 {
                                return Err(Violation::ContentLengthInvalid);
                            }
                            number = append_digit(number, 10, byte - b'0').ok_or(Violation::ContentLengthInvalid)?;
                            self.part += 1;
                        }
                        _ => break,
                    }
                    stop += 1;
                }
                self.state = State::Value(ValueKind::ContentLength(number));
                if self.part > 0 && bytes.get(stop) == Some(&b'\r') {
                    self.content_length = Some(number);
                }
                (self.part > 0, Violation::ContentLengthInvalid)
            }
            ValueKind::TransferEncoding => {
                const CHUNKED: &[u8; 7] = b"chunked";
                while let Some(&byte) = bytes.get(stop) {
                    match byte {
                        b' ' if self.part == 0 => {}
                        _ if CHUNKED.get(self.part) == Some(&byte.to_ascii_lowercase()) => self.part += 1,
                        _ => break,
                    }
                    stop += 1;
                }
                (self.part == CHUNKED.len(), Violation::TransferEncodingInvalid)
            }
        };
        match bytes.get(stop) {
            None => Ok(stop),
            Some(b'\r') if is_complete => {
                self.state = State::FieldLineFeed;
                Ok(stop + 1)
            }
            Some(b'\n') => Err(Violation::BareLineFeed),
            Some(_) => Err(fault),
        }
    }

    /// The empty line after the headers, or after the trailers.
    fn finish_head(&mut self) -> Result<(), Violation> {
        if self.is_in_trailers {
            self.finish_message();
            return Ok(());
        }
        if self.has_transfer_encoding && self.is_version_1_0 {
            return Err(Violation::TransferEncodingInOldVersion);
        }
        if self.has_transfer_encoding && self.content_length.is_some() {
            return Err(Violation::LengthAmbiguous);
        }
        if !self.has_host && !self.is_version_1_0 {
            return Err(Violation::HostMissing);
        }
        self.heads = self.heads.wrapping_add(1);
        match self.content_length {
            _ if self.has_transfer_encoding => {
                self.extension_bytes = 0;
                self.state = State::ChunkSize { digits: 0, size: 0 };
            }
            Some(length) if length > 0 => self.state = State::Length(length),
            _ => self.finish_message(),
        }
        Ok(())
    }

    fn finish_message(&mut self) {
        self.state = State::Start;
        self.section_left = self.limits.head_bytes;
        self.fields_left = self.limits.field_count;
        self.is_in_trailers = false;
        self.empty_lines = 0;
        self.has_host = false;
        self.has_transfer_encoding = false;
        self.content_length = None;
    }

    /// Keeps the first bytes of a name, which may come in several pieces, and counts all of them.
    fn remember(&mut self, piece: &[u8]) {
        if let Some(room) = self.scratch.get_mut(self.part..) {
            let length = room.len().min(piece.len());
            room[..length].copy_from_slice(&piece[..length]);
        }
        self.part += piece.len();
    }
}

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";

/// Whether a reader that folds names would take this one for a header that decides the length, as CGI and everything
/// descended from it takes `Content_Length`. `Content-Length` itself is none, `Transfer-Encoding` is: callers that may
/// have it look for it first.
pub(super) fn framing_twin(name: &[u8]) -> Option<Violation> {
    let expected = match name.len() {
        14 if !name.eq_ignore_ascii_case(CONTENT_LENGTH) => CONTENT_LENGTH,
        17 => TRANSFER_ENCODING,
        _ => return None,
    };
    let folds_to = name.iter().zip(expected).all(|(byte, expected)| {
        byte.eq_ignore_ascii_case(expected) || (*expected == b'-' && !byte.is_ascii_alphanumeric())
    });
    folds_to.then_some(Violation::FramingTwin)
}

/// Whether a whole `Content-Length` is the one plain way to write a number of a sane size.
pub(super) fn is_plain_length(value: &[u8]) -> bool {
    let is_plain = match value {
        [] => false,
        [b'0', rest @ ..] => rest.is_empty(),
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    let number = value.iter().try_fold(0, |number, digit| append_digit(number, 10, digit.wrapping_sub(b'0')));
    is_plain && number.is_some()
}

/// Whether a path and its query hold only bytes that the guard lets through in a request line.
pub(super) fn is_plain_target(target: &[u8]) -> bool {
    let query = run(target, 0, PATH);
    let end = if target.get(query) == Some(&b'?') { run(target, query, QUERY) } else { query };
    end == target.len()
}

/// How much of a body of `left` bytes lies in a piece of `available` bytes.
fn take(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

/// Appends a digit to a number that must stay below 2^63: what one language holds in a signed integer and the next in
/// an unsigned one must not differ.
fn append_digit(number: u64, radix: u64, digit: u8) -> Option<u64> {
    let number = number.checked_mul(radix)?.checked_add(u64::from(digit))?;
    (number <= i64::MAX as u64).then_some(number)
}

#[cfg(test)]
mod tests;
