//! The request's side of an exchange: writes the head, then the body as the caller sends it.
//!
//! [`Sending::poll`] is called whenever the exchange is polled, before and while the answer is read, and moves as much as
//! both sides allow. The head and the first piece of the body leave in one write. A piece is taken from the caller only when
//! the one before has left, so that a slow server slows the caller down and nothing piles up here.
//!
//! A server that stops reading may have answered already: a failed write ends the sending, not the exchange.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::connection::Connection;
use super::error::{ForwardError, RequestBodyError};
use super::request::RequestFraming;

/// A piece up to this size is copied behind the head or the pieces before it; a larger one is written from where it is.
const COPIED_PIECE: usize = 4 * 1024;
/// So much is gathered before it is written.
const GATHERED: usize = 16 * 1024;

/// What is left to send of one request.
pub(super) struct Sending<B> {
    body: B,
    /// The caller has still something to give.
    has_more: bool,
    framing: RequestFraming,
    /// Written behind `Connection::output`.
    piece: Bytes,
    /// The line end of the chunk that `piece` is.
    owes_line_end: bool,
    /// How much of `Connection::output` has been written.
    position: usize,
    /// The TLS layer has not been told yet that this is all for now.
    needs_flush: bool,
    has_written: bool,
    has_taken: bool,
    state: State,
    /// Set while the server takes nothing.
    deadline: Option<Instant>,
    trailers: Option<TrailerRule>,
}

enum State {
    Underway,
    Sent,
    Broken(Option<io::Error>),
}

/// Says of a request's trailer whether it may pass. Only endpoints that ask for trailers have one.
pub(super) type TrailerRule = Box<dyn Fn(&HeaderName) -> bool + Send>;

impl<B> Sending<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<RequestBodyError>,
{
    /// Begins with a head that stands in the connection's output.
    pub(super) fn new(body: B, framing: RequestFraming, trailers: Option<TrailerRule>) -> Self {
        Self {
            body,
            has_more: matches!(framing, RequestFraming::Length(_) | RequestFraming::Chunked),
            framing,
            piece: Bytes::new(),
            owes_line_end: false,
            position: 0,
            needs_flush: false,
            has_written: false,
            has_taken: false,
            state: State::Underway,
            deadline: None,
            trailers,
        }
    }

    /// Nothing more will be sent: all was, or the server does not take it.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.state, State::Underway)
    }

    /// All was sent.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Sent)
    }

    /// No byte has left, and nothing was taken from the caller: another connection can begin anew.
    pub(super) fn is_untouched(&self) -> bool {
        !self.has_written && !self.has_taken
    }

    /// The request has no body, so that its head can be sent again.
    pub(super) fn is_head_only(&self) -> bool {
        matches!(self.framing, RequestFraming::None | RequestFraming::Zero)
    }

    /// The body, to begin anew with; whole if this [is untouched](Self::is_untouched).
    pub(super) fn into_body(self) -> B {
        self.body
    }

    /// When the server will have taken nothing for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Why the server takes no more, if it said so.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        if let State::Broken(error) = &mut self.state { error.take() } else { None }
    }

    /// Moves what can be moved now. `limit` is how long the server may take nothing.
    ///
    /// # Errors
    /// What is wrong with the caller's body. That the server takes no more is not an error.
    pub(super) fn poll(
        &mut self,
        connection: &mut Connection,
        limit: Duration,
        context: &mut Context<'_>,
    ) -> Result<(), ForwardError> {
        let mut waits_for_caller = false;
        while matches!(self.state, State::Underway) {
            if !waits_for_caller && self.has_more && self.has_room(connection) {
                waits_for_caller = !self.take_frame(connection, context).map_err(ForwardError::RequestBody)?;
                continue;
            }
            match self.poll_push(connection, context) {
                Poll::Pending => {
                    if self.deadline.is_none() {
                        self.deadline = Some(Instant::now() + limit);
                    }
                    return Ok(());
                }
                Poll::Ready(Err(error)) => {
                    self.state = State::Broken(Some(error));
                    self.deadline = None;
                }
                Poll::Ready(Ok(())) => {
                    self.deadline = None;
                    if !self.has_more {
                        self.state = State::Sent;
                    } else if waits_for_caller {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn has_room(&self, connection: &Connection) -> bool {
        self.piece.is_empty() && connection.output.len() - self.position < GATHERED
    }

    /// Takes the next frame from the caller; `false` if there is none yet.
    fn take_frame(&mut self, connection: &mut Connection, context: &mut Context<'_>) -> Result<bool, RequestBodyError> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => Ok(false),
            Poll::Ready(Some(Err(error))) => Err(error.into()),
            Poll::Ready(None) => {
                self.end_body(connection, None)?;
                Ok(true)
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.has_taken = true;
                match frame.into_data() {
                    Ok(data) => self.queue(connection, data)?,
                    Err(frame) => self.end_body(connection, frame.into_trailers().ok())?,
                }
                Ok(true)
            }
        }
    }

    fn queue(&mut self, connection: &mut Connection, data: Bytes) -> Result<(), RequestBodyError> {
        if data.is_empty() {
            // An empty chunk would end the body.
            return Ok(());
        }
        let output = &mut connection.output;
        match &mut self.framing {
            RequestFraming::Length(left) => {
                // The end of one request must be where we said it is, whatever the caller's side let through.
                *left = left.checked_sub(data.len() as u64).ok_or(RequestBodyError::Malformed(None))?;
            }
            _ => {
                let mut digits = [0; 16];
                output.extend_from_slice(hex(data.len() as u64, &mut digits));
                output.extend_from_slice(b"\r\n");
            }
        }
        let is_chunked = matches!(self.framing, RequestFraming::Chunked);
        if data.len() <= COPIED_PIECE {
            output.extend_from_slice(&data);
            if is_chunked {
                output.extend_from_slice(b"\r\n");
            }
        } else {
            self.piece = data;
            self.owes_line_end = is_chunked;
        }
        Ok(())
    }

    fn end_body(&mut self, connection: &mut Connection, trailers: Option<HeaderMap>) -> Result<(), RequestBodyError> {
        self.has_more = false;
        match self.framing {
            RequestFraming::Length(1..) => return Err(RequestBodyError::Malformed(None)),
            RequestFraming::Chunked => {
                let output = &mut connection.output;
                output.extend_from_slice(b"0\r\n");
                if let (Some(passes), Some(trailers)) = (&self.trailers, trailers) {
                    for (name, value) in trailers.iter().filter(|(name, _)| passes(name)) {
                        output.extend_from_slice(name.as_str().as_bytes());
                        output.extend_from_slice(b": ");
                        output.extend_from_slice(value.as_bytes());
                        output.extend_from_slice(b"\r\n");
                    }
                }
                output.extend_from_slice(b"\r\n");
            }
            RequestFraming::None | RequestFraming::Zero | RequestFraming::Length(0) => {}
        }
        Ok(())
    }

    /// Writes all that is queued.
    fn poll_push(&mut self, connection: &mut Connection, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let queued = connection.output.len() - self.position;
            if queued == 0 && self.piece.is_empty() {
                connection.output.clear();
                self.position = 0;
                if !std::mem::take(&mut self.owes_line_end) {
                    break;
                }
                connection.output.extend_from_slice(b"\r\n");
                if self.has_more {
                    // It leaves with the next chunk.
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let count = std::task::ready!(connection.poll_write(self.position, &self.piece, context))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.has_written = true;
            self.needs_flush = true;
            self.deadline = None;
            let of_output = count.min(queued);
            self.position += of_output;
            drop(self.piece.split_to(count - of_output));
        }
        if self.needs_flush {
            std::task::ready!(Pin::new(&mut connection.stream).poll_flush(context))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn hex(mut number: u64, digits: &mut [u8; 16]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdef"[(number % 16) as usize];
        number /= 16;
        if number == 0 || start == 0 {
            return &digits[start..];
        }
    }
}
