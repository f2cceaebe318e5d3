//! Reads a body that comes in chunks (RFC 9112 section 7.1).
//!
//! [`ChunkedDecoder::decode`] is called with what has been read and takes from it what is a piece of the body. It is strict
//! where two readers could disagree (line ends, sizes, what follows a chunk) and bounded where an answer could be made to
//! take memory or time for nothing (extensions, trailers).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::error::BadResponse;

/// The longest line with a size and its extensions.
const MAX_SIZE_LINE: usize = 4 * 1024;
/// All extensions of one body.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// All trailers of one body, in bytes and in number.
const MAX_TRAILERS: usize = 16 * 1024;
const MAX_TRAILER_FIELDS: usize = 64;

/// Where in a chunked body the reader stands.
#[derive(Debug, Default)]
pub(super) struct ChunkedDecoder {
    state: State,
    extension_bytes: usize,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Size,
    Data(u64),
    /// The line end that follows a chunk's data.
    DataEnd,
    Trailers,
}

/// What a step gave.
#[derive(Debug)]
pub(super) enum Decoded {
    /// A piece of the body.
    Piece(Bytes),
    /// Nothing until more has been read.
    NeedsMore,
    /// The body is complete.
    End(Option<HeaderMap>),
}

impl ChunkedDecoder {
    /// How many more bytes are known to come.
    pub(super) fn wanted(&self) -> u64 {
        if let State::Data(left) = self.state { left } else { 0 }
    }

    /// Takes the next piece from what has been read.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, BadResponse> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = line(input, MAX_SIZE_LINE)? else { return Ok(Decoded::NeedsMore) };
                    let (size, extension) = chunk_size(&input[..line])?;
                    self.extension_bytes += extension;
                    if self.extension_bytes > MAX_EXTENSIONS {
                        return Err(BadResponse::Chunk("its extensions are too long"));
                    }
                    input.advance(line + 2);
                    self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                }
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(Decoded::NeedsMore);
                    }
                    let count = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                    let left = left - count as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Decoded::Piece(input.split_to(count).freeze()));
                }
                State::DataEnd => {
                    if input.len() < 2 {
                        return Ok(Decoded::NeedsMore);
                    }
                    if &input[..2] != b"\r\n" {
                        return Err(BadResponse::Chunk("a chunk is longer than its size"));
                    }
                    input.advance(2);
                    self.state = State::Size;
                }
                State::Trailers => {
                    if input.starts_with(b"\r\n") {
                        input.advance(2);
                        return Ok(Decoded::End(None));
                    }
                    let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
                        if input.len() > MAX_TRAILERS {
                            return Err(BadResponse::Chunk("its trailers are too long"));
                        }
                        return Ok(Decoded::NeedsMore);
                    };
                    let block = input.split_to(end + 4).freeze();
                    return Ok(Decoded::End(Some(trailers(&block)?)));
                }
            }
        }
    }
}

/// The length of the line at the start of the input, without its end; `None` if it is not complete.
fn line(input: &[u8], limit: usize) -> Result<Option<usize>, BadResponse> {
    let searched = &input[..input.len().min(limit)];
    match memchr::memchr(b'\n', searched) {
        Some(at) if at > 0 && input[at - 1] == b'\r' => Ok(Some(at - 1)),
        Some(_) => Err(BadResponse::Chunk("a line does not end in CRLF")),
        None if searched.len() == limit => Err(BadResponse::Chunk("a size is too long")),
        None => Ok(None),
    }
}

/// A chunk's size, and how many bytes of extension follow it.
fn chunk_size(line: &[u8]) -> Result<(u64, usize), BadResponse> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let extension = &line[digits..];
    if digits == 0 || digits > 15 {
        return Err(BadResponse::Chunk("a size is not a number"));
    }
    // White space before the extension is tolerated by the grammar (RFC 9112 section 7.1.1), a bare CR is not.
    let is_extension = extension.is_empty() || extension.trim_ascii_start().first().is_some_and(|byte| *byte == b';');
    let is_blank = extension.iter().all(|byte| matches!(byte, b' ' | b'\t'));
    if !(is_extension || is_blank) || extension.contains(&b'\r') {
        return Err(BadResponse::Chunk("a size is not a number"));
    }
    let size = line[..digits]
        .iter()
        .fold(0, |size: u64, digit| size * 16 + u64::from((*digit as char).to_digit(16).unwrap_or_default()));
    Ok((size, extension.len()))
}

/// Reads the fields after the last chunk. Those that could change how the message is read are left out.
fn trailers(block: &Bytes) -> Result<HeaderMap, BadResponse> {
    if block.len() > MAX_TRAILERS {
        return Err(BadResponse::Chunk("its trailers are too long"));
    }
    // The parser takes a bare LF for the end of a line, and two of them for the end of all: what follows would be nobody's.
    if memchr::memchr_iter(b'\n', block).any(|at| at == 0 || block[at - 1] != b'\r') {
        return Err(BadResponse::Chunk("a line does not end in CRLF"));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let malformed = |_| BadResponse::Chunk("its trailers cannot be read");
    let httparse::Status::Complete((_, fields)) = httparse::parse_headers(block, &mut fields).map_err(malformed)?
    else {
        return Err(BadResponse::Chunk("its trailers cannot be read"));
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let unreadable = BadResponse::Chunk("its trailers cannot be read");
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| unreadable)?;
        if may_trail(name.as_str()) {
            let value = HeaderValue::from_maybe_shared(block.slice_ref(field.value)).map_err(|_| unreadable)?;
            trailers.append(name, value);
        }
    }
    Ok(trailers)
}

/// Whether a field may stand behind a body. Framing, routing, and what is about one connection must not (RFC 9110 section
/// 6.5.1): a receiver that merges trailers into the head would read the message anew.
pub(super) fn may_trail(name: &str) -> bool {
    !matches!(
        name,
        "connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "content-length"
            | "content-encoding"
            | "content-type"
            | "content-range"
            | "host"
            | "expect"
            | "authorization"
            | "www-authenticate"
            | "cookie"
            | "set-cookie"
            | "cache-control"
            | "location"
            | "max-forwards"
            | "range"
    ) && !name.starts_with("proxy")
}
