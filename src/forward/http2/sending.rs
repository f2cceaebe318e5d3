//! The request's side of an exchange over HTTP/2: the body, as fast as the server's window and the caller allow.
//!
//! [`Http2Sending::poll`] takes a piece from the caller only when the one before has been handed over, and hands over no
//! more than the server's window and a small buffer take, so that a slow server slows the caller down and nothing piles
//! up. Window is asked for a piece that is here, never ahead: a stream that waits for its caller holds nothing of what the
//! connection's other streams could use.
//!
//! A server that takes no more may have answered already: that ends the sending, not the exchange.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;
use tokio::time::Instant;

use crate::forward::connection::Timer;
use crate::forward::error::{ForwardError, RequestBodyError};
use crate::forward::request::RequestFraming;
use crate::forward::sending::TrailerRule;

/// What is left to send of one request, behind its head.
pub(super) struct Http2Sending<B> {
    body: B,
    stream: SendStream<Bytes>,
    framing: RequestFraming,
    piece: Bytes,
    state: State,
    has_taken: bool,
    /// Set while the server takes nothing.
    deadline: Option<Instant>,
    trailers: Option<TrailerRule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The caller has still something to give.
    Underway,
    /// All was handed over, its end included.
    Sent,
    /// The server takes no more.
    Broken,
}

impl<B> Http2Sending<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<RequestBodyError>,
{
    /// The head has been sent; without a body, as the whole request.
    pub(super) fn new(
        body: B,
        stream: SendStream<Bytes>,
        framing: RequestFraming,
        trailers: Option<TrailerRule>,
    ) -> Self {
        let state = if has_body(framing) { State::Underway } else { State::Sent };
        Self { body, stream, framing, piece: Bytes::new(), state, has_taken: false, deadline: None, trailers }
    }

    /// Nothing more will be sent.
    pub(super) fn is_over(&self) -> bool {
        self.state != State::Underway
    }

    /// Nothing was taken from the caller.
    pub(super) fn is_untouched(&self) -> bool {
        !self.has_taken
    }

    /// The request has no body.
    pub(super) fn is_head_only(&self) -> bool {
        !has_body(self.framing)
    }

    /// The body, to begin anew with; whole if this [is untouched](Self::is_untouched).
    pub(super) fn into_body(self) -> B {
        self.body
    }

    /// When the server will have taken nothing for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Moves what can be moved now. `limit` is how long the server may take nothing.
    ///
    /// # Errors
    /// What is wrong with the caller's body. That the server takes no more is not an error.
    pub(super) fn poll(&mut self, limit: Duration, context: &mut Context<'_>) -> Result<(), ForwardError> {
        while self.state == State::Underway {
            if !self.piece.is_empty() {
                if self.poll_hand_over(context).is_pending() {
                    self.deadline.get_or_insert_with(|| Instant::now() + limit);
                    return Ok(());
                }
                self.deadline = None;
                continue;
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => self.end(None).map_err(ForwardError::RequestBody)?,
                Poll::Ready(Some(Err(error))) => return Err(ForwardError::RequestBody(error.into())),
                Poll::Ready(Some(Ok(frame))) => {
                    self.has_taken = true;
                    match frame.into_data() {
                        Ok(data) => self.take(data).map_err(ForwardError::RequestBody)?,
                        Err(frame) => self.end(frame.into_trailers().ok()).map_err(ForwardError::RequestBody)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// The rest of the sending by itself, for an exchange whose answer has begun: whether the caller reads the answer must
    /// not decide whether its request goes on.
    pub(super) async fn run(mut self, limit: Duration) -> Result<(), ForwardError> {
        let mut timer = Timer::default();
        std::future::poll_fn(move |context| {
            if let Err(error) = self.poll(limit, context) {
                return Poll::Ready(Err(error));
            }
            if self.is_over() {
                return Poll::Ready(Ok(()));
            }
            match self.deadline {
                Some(deadline) => timer.poll_until(deadline, context).map(|()| Err(ForwardError::SendTimeout)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// The end of one request must be where we said it is, whatever the caller's side let through.
    fn take(&mut self, data: Bytes) -> Result<(), RequestBodyError> {
        if let RequestFraming::Length(left) = &mut self.framing {
            *left = left.checked_sub(data.len() as u64).ok_or(RequestBodyError::Malformed(None))?;
        }
        self.piece = data;
        Ok(())
    }

    /// Hands over as much of the piece as the server takes.
    fn poll_hand_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.reserve_capacity(self.piece.len());
        let mut room = self.stream.capacity();
        if room == 0 {
            match std::task::ready!(self.stream.poll_capacity(context)) {
                Some(Ok(capacity)) => room = capacity,
                Some(Err(_)) | None => {
                    self.state = State::Broken;
                    return Poll::Ready(());
                }
            }
        }
        let piece = self.piece.split_to(room.min(self.piece.len()));
        if self.stream.send_data(piece, false).is_err() {
            self.state = State::Broken;
        }
        Poll::Ready(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), RequestBodyError> {
        if let RequestFraming::Length(1..) = self.framing {
            return Err(RequestBodyError::Malformed(None));
        }
        let passing: Option<HeaderMap> = match (&self.trailers, trailers) {
            (Some(passes), Some(trailers)) => {
                let passing = trailers.iter().filter(|(name, _)| passes(name));
                Some(passing.map(|(name, value)| (name.clone(), value.clone())).collect())
            }
            _ => None,
        };
        let ended = match passing {
            Some(trailers) if !trailers.is_empty() => self.stream.send_trailers(trailers),
            _ => self.stream.send_data(Bytes::new(), true),
        };
        self.state = if ended.is_ok() { State::Sent } else { State::Broken };
        Ok(())
    }
}

/// Whether something follows the head.
pub(super) fn has_body(framing: RequestFraming) -> bool {
    matches!(framing, RequestFraming::Length(_) | RequestFraming::Chunked)
}
