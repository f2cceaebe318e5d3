//! A whole answer read from bytes that are at hand.
//!
//! [`read_whole`] takes the steps that an exchange takes, with the same readers, and needs neither a socket nor a clock: for
//! fuzzing, and for whoever wants to know what the gateway makes of an answer. No request goes this way.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode};

use super::chunked::Decoded;
use super::error::BadResponse;
use super::exchange::{Decoder, MAX_INTERIM};
use super::response::{read_head, take_head};

/// An answer, as far as it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// The status.
    pub status: StatusCode,
    /// The fields as a caller gets them.
    pub headers: HeaderMap,
    /// The body, freed of its framing.
    pub body: Vec<u8>,
    /// The fields behind it.
    pub trailers: HeaderMap,
    /// The answer ended where it said, and not because there was no more to read.
    pub is_complete: bool,
    /// The server would take another request on the connection.
    pub keeps_alive: bool,
    /// What stands behind it, and is not part of it.
    pub rest: Vec<u8>,
}

/// Reads the answer to a request of this method from pieces, with the end of the connection behind the last. `None` if it
/// has no complete head.
///
/// # Errors
/// The answer is malformed or ambiguous.
pub fn read_whole<'p>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
    method: &Method,
    max_head: usize,
) -> Result<Option<Whole>, BadResponse> {
    let mut input = BytesMut::new();
    let (mut scanned, mut interim) = (0, 0);
    let mut begun: Option<(Whole, Decoder)> = None;
    let mut pieces = pieces.into_iter();
    loop {
        while begun.is_none()
            && let Some(head) = take_head(&mut input, &mut scanned, max_head)?
        {
            let head = read_head(&head, method)?;
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(BadResponse::UnaskedUpgrade);
            }
            if head.status.is_informational() {
                interim += 1;
                if interim > MAX_INTERIM {
                    return Err(BadResponse::TooManyInterim);
                }
                continue;
            }
            let answer = Whole {
                status: head.status,
                headers: head.headers,
                body: Vec::new(),
                trailers: HeaderMap::new(),
                is_complete: false,
                keeps_alive: head.keeps_alive,
                rest: Vec::new(),
            };
            begun = Some((answer, Decoder::new(head.framing)));
        }
        if let Some((answer, decoder)) = &mut begun {
            read_body(answer, decoder, &mut input)?;
        }
        let Some(piece) = pieces.next() else { break };
        input.extend_from_slice(piece);
    }
    Ok(begun.map(|(answer, decoder)| Whole {
        is_complete: answer.is_complete || matches!(decoder, Decoder::UntilClose),
        rest: input.to_vec(),
        ..answer
    }))
}

fn read_body(answer: &mut Whole, decoder: &mut Decoder, input: &mut BytesMut) -> Result<(), BadResponse> {
    while !answer.is_complete {
        match decoder.decode(input)? {
            Decoded::Piece(piece) => answer.body.extend_from_slice(&piece),
            Decoded::End(trailers) => {
                answer.trailers = trailers.unwrap_or_default();
                answer.is_complete = true;
            }
            Decoded::NeedsMore => break,
        }
    }
    Ok(())
}
