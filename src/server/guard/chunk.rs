//! The `chunked` coding: sizes, extensions, data and their line ends, up to where the trailers begin.
//!
//! Extensions are counted over the whole body, because a body of tiny chunks with long extensions is work without data.

use super::bytes::visible;
use super::{CHUNK_EXTENSION_BYTES, Guard, State, TRAILER_BYTES, TRAILER_COUNT, append_digit};
use crate::server::violation::Violation;

impl Guard {
    pub(super) fn step_chunk(&mut self, bytes: &[u8], mut at: usize) -> Result<usize, Violation> {
        match self.state {
            State::ChunkSize { mut digits, mut size } => {
                while let Some(&byte) = bytes.get(at) {
                    let Some(digit) = char::from(byte).to_digit(16) else { break };
                    if digits == 16 {
                        return Err(Violation::ChunkSizeInvalid);
                    }
                    // At most 15, so it fits.
                    size = append_digit(size, 16, digit as u8).ok_or(Violation::ChunkSizeInvalid)?;
                    digits += 1;
                    at += 1;
                }
                self.state = match bytes.get(at) {
                    None => State::ChunkSize { digits, size },
                    Some(b'\n') => return Err(Violation::BareLineFeed),
                    Some(_) if digits == 0 => return Err(Violation::ChunkSizeInvalid),
                    Some(b'\r') => State::ChunkSizeLineFeed { size },
                    Some(b';') => {
                        self.count_extension(1)?;
                        State::ChunkExtension { size }
                    }
                    Some(_) => return Err(Violation::ChunkSizeInvalid),
                };
                Ok((at + 1).min(bytes.len()))
            }
            State::ChunkExtension { size } => {
                let stop = visible(bytes, at);
                self.count_extension(stop - at)?;
                match bytes.get(stop) {
                    None => return Ok(stop),
                    Some(b'\r') => self.state = State::ChunkSizeLineFeed { size },
                    Some(b'\n') => return Err(Violation::BareLineFeed),
                    Some(_) => return Err(Violation::ControlByte),
                }
                Ok(stop + 1)
            }
            State::ChunkSizeLineFeed { size } => {
                if bytes[at] != b'\n' {
                    return Err(Violation::BareCarriageReturn);
                }
                self.state = match size {
                    0 => {
                        self.is_in_trailers = true;
                        self.section_left = TRAILER_BYTES;
                        self.fields_left = TRAILER_COUNT;
                        State::FieldStart
                    }
                    size => State::ChunkData(size),
                };
                Ok(at + 1)
            }
            State::ChunkDataReturn if bytes[at] == b'\r' => {
                self.state = State::ChunkDataLineFeed;
                Ok(at + 1)
            }
            State::ChunkDataLineFeed if bytes[at] == b'\n' => {
                self.state = State::ChunkSize { digits: 0, size: 0 };
                Ok(at + 1)
            }
            _ => Err(Violation::ChunkTerminatorInvalid),
        }
    }

    fn count_extension(&mut self, bytes: usize) -> Result<(), Violation> {
        self.extension_bytes += bytes;
        if self.extension_bytes > CHUNK_EXTENSION_BYTES { Err(Violation::ChunkExtensionsTooLong) } else { Ok(()) }
    }
}
