//! The request line: exactly `METHOD SP target SP HTTP/1.x CRLF`, and a target of a form that has one meaning.
//!
//! Each step begins at a byte of its part and gives the place behind what it has read; a part may come in pieces.

use super::bytes::{HOST, PATH, QUERY, TOKEN, run};
use super::{Guard, METHOD_BYTES, State};
use crate::server::violation::Violation;

/// What stands behind a target.
const END_OF_LINE: &[u8] = b" HTTP/1.1\r\n";

impl Guard {
    /// Reads a whole plain request line: a known method, a path and perhaps a query, the present version. The slower states
    /// take every such line too; any other is left to them, with nothing of it consumed.
    pub(super) fn step_plain_line(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        const METHODS: [&[u8]; 5] = [b"GET ", b"POST ", b"PUT ", b"DELETE ", b"PATCH "];
        let line = bytes.get(at..)?;
        let method = METHODS.iter().find(|method| line.starts_with(method))?;
        let target = at + method.len();
        if bytes.get(target) != Some(&b'/') {
            return None;
        }
        let mut end = run(bytes, target, PATH);
        if bytes.get(end) == Some(&b'?') {
            end = run(bytes, end + 1, QUERY);
        }
        let next = end + END_OF_LINE.len();
        let is_plain = bytes.get(end..next) == Some(END_OF_LINE) && end - target <= self.limits.target_bytes;
        is_plain.then(|| {
            self.is_version_1_0 = false;
            next
        })
    }

    pub(super) fn step_method(&mut self, bytes: &[u8], at: usize) -> Result<usize, Violation> {
        let stop = run(bytes, at, TOKEN);
        self.remember(&bytes[at..stop]);
        if self.part > METHOD_BYTES {
            return Err(Violation::MethodTooLong);
        }
        let Some(&byte) = bytes.get(stop) else { return Ok(stop) };
        match byte {
            b' ' if self.part > 0 => {}
            b'\n' => return Err(Violation::BareLineFeed),
            _ => return Err(Violation::RequestLineInvalid),
        }
        let method = self.scratch.get(..self.part);
        if method == Some(b"CONNECT") {
            return Err(Violation::MethodConnect);
        }
        let is_options = method == Some(b"OPTIONS");
        self.part = 0;
        self.state = State::TargetStart { is_options };
        Ok(stop + 1)
    }

    pub(super) fn step_target(&mut self, bytes: &[u8], at: usize) -> Result<usize, Violation> {
        let byte = bytes[at];
        let stop = match self.state {
            State::TargetStart { is_options } => {
                self.state = match byte {
                    b'/' => State::TargetPath,
                    // `OPTIONS *` asks about the server as a whole; no other method has a target that is no path.
                    b'*' if is_options => State::TargetStar,
                    b'h' | b'H' => State::TargetScheme(0),
                    b' ' | b'\r' => return Err(Violation::RequestLineInvalid),
                    b'\n' => return Err(Violation::BareLineFeed),
                    _ => return Err(Violation::TargetInvalid),
                };
                return Ok(at);
            }
            State::TargetScheme(place) => {
                // `http://` or `https://`, in any case.
                self.state = match (place, byte.to_ascii_lowercase()) {
                    (0, b'h') | (1 | 2, b't') | (3, b'p') => State::TargetScheme(place + 1),
                    (4, b's') => State::TargetScheme(5),
                    (4 | 5, b':') => State::TargetScheme(6),
                    (6, b'/') => State::TargetScheme(7),
                    (7, b'/') => State::TargetAuthority { is_empty: true },
                    _ => return Err(Violation::TargetInvalid),
                };
                return self.count_target(1).map(|()| at + 1);
            }
            State::TargetStar => at + usize::from(byte == b'*' && self.part == 0),
            State::TargetAuthority { is_empty } => {
                let stop = run(bytes, at, HOST);
                self.state = State::TargetAuthority { is_empty: is_empty && stop == at };
                stop
            }
            State::TargetPath => run(bytes, at, PATH),
            _ => run(bytes, at, QUERY),
        };
        self.count_target(stop - at)?;
        let Some(&byte) = bytes.get(stop) else { return Ok(stop) };
        self.state = match (self.state, byte) {
            (State::TargetAuthority { is_empty: true }, _) => return Err(Violation::TargetInvalid),
            (_, b' ') => {
                self.state = State::Version(0);
                return Ok(stop + 1);
            }
            (State::TargetAuthority { .. }, b'/') => State::TargetPath,
            (State::TargetAuthority { .. } | State::TargetPath, b'?') => State::TargetQuery,
            (_, b'#') => return Err(Violation::TargetFragment),
            (_, b'\r') => return Err(Violation::RequestLineInvalid),
            (_, b'\n') => return Err(Violation::BareLineFeed),
            (_, 0..0x20 | 0x7f) => return Err(Violation::ControlByte),
            _ => return Err(Violation::TargetInvalid),
        };
        self.count_target(1).map(|()| stop + 1)
    }

    fn count_target(&mut self, bytes: usize) -> Result<(), Violation> {
        self.part += bytes;
        if self.part > self.limits.target_bytes { Err(Violation::TargetTooLong) } else { Ok(()) }
    }

    pub(super) fn step_version(&mut self, bytes: &[u8], at: usize, place: u8) -> Result<usize, Violation> {
        const VERSION: &[u8; 7] = b"HTTP/1.";
        if place == 0 && bytes.get(at..at + 10) == Some(b"HTTP/1.1\r\n") {
            self.is_version_1_0 = false;
            self.state = State::FieldStart;
            return Ok(at + 10);
        }
        let byte = bytes[at];
        match place {
            0..=4 | 6 if byte == VERSION[usize::from(place)] => {}
            5 if byte == b'1' => {}
            5 if byte.is_ascii_digit() => return Err(Violation::VersionUnsupported),
            7 if byte == b'0' || byte == b'1' => self.is_version_1_0 = byte == b'0',
            7 if byte.is_ascii_digit() => return Err(Violation::VersionUnsupported),
            8 if byte == b'\r' => {
                self.state = State::RequestLineFeed;
                return Ok(at + 1);
            }
            _ if byte == b'\n' => return Err(Violation::BareLineFeed),
            _ => return Err(Violation::RequestLineInvalid),
        }
        self.state = State::Version(place + 1);
        Ok(at + 1)
    }
}
