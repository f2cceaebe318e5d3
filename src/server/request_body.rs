//! The body of a request as the handler reads it: streamed, bounded in time and, if asked for, in size.
//!
//! The connection wraps what hyper gives it; the handler sets a size limit with [`RequestBody::limit`] once it knows the
//! endpoint, then forwards or reads the body. Errors say whose fault it was, see [`RequestBodyError`].
//!
//! Only time spent waiting for the client counts: a slow reader behind us cannot make a fast client look slow. No timer
//! is set when the next piece is already there, nor on the first wait, which on HTTP/1 usually ends within the same turn.
//!
//! After an error the body gives nothing but errors. A handler that forwards must then break its upstream request, never end it as if it
//! were whole.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::timer::LazyTimer;
use super::violation::Violation;
use crate::body::BodyError;

/// How long a client may take for its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPace {
    /// The longest wait between two pieces. Default 30 s.
    pub between_pieces: Duration,
    /// The least number of bytes a second, measured over all the time spent waiting. Zero means none. Default 240.
    pub least_rate: u64,
    /// How much waiting is free before the rate counts. Default 5 s.
    pub free_time: Duration,
}

impl Default for BodyPace {
    fn default() -> Self {
        Self { between_pieces: Duration::from_secs(30), least_rate: 240, free_time: Duration::from_secs(5) }
    }
}

/// Why a request's body broke off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestBodyError {
    /// It is longer than the limit that was set.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The client did not go on in time, or went on too slowly.
    #[error("the body did not arrive in time")]
    TimedOut,
    /// Its framing is broken; the connection closes after the answer.
    #[error("the body is malformed")]
    Malformed(#[source] Violation),
    /// It broke off before, for a reason that was told then.
    #[error("the body had already broken off")]
    AlreadyBroken,
    /// The client took its request back before it was complete (HTTP/2).
    #[error("the client cancelled its request")]
    Cancelled,
    /// The client left, or reset the stream.
    #[error("the client closed the connection")]
    Closed(#[source] hyper::Error),
}

impl From<RequestBodyError> for BodyError {
    fn from(error: RequestBodyError) -> Self {
        Self::new(error)
    }
}

/// The body of one request.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    pace: BodyPace,
    limit: u64,
    received: u64,
    waited: Duration,
    waiting: Waiting,
    timer: LazyTimer,
    is_broken: bool,
    /// It came on a stream of HTTP/2, of which it is known whether it was ended.
    is_stream: bool,
}

#[derive(Debug)]
enum Waiting {
    Not,
    /// Asked once, and asking again before any timer is set.
    Yielded,
    Since {
        begun: Instant,
        deadline: Instant,
    },
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, pace: BodyPace, is_stream: bool) -> Self {
        Self {
            incoming,
            pace,
            limit: u64::MAX,
            received: 0,
            waited: Duration::ZERO,
            waiting: Waiting::Not,
            timer: LazyTimer::default(),
            is_broken: false,
            is_stream,
        }
    }

    /// Lets the client be silent for so long, and as slow as it likes, in place of the pace that holds for bodies: what it
    /// sends is its side of a conversation.
    pub fn may_be_silent_for(&mut self, time: Duration) {
        self.pace = BodyPace { between_pieces: time, least_rate: 0, ..self.pace };
    }

    /// Lets the body have so many bytes and no more.
    ///
    /// # Errors
    /// [`RequestBodyError::TooLarge`] when the announced length is already over the limit: nothing needs to be read.
    pub fn limit(&mut self, bytes: u64) -> Result<(), RequestBodyError> {
        self.limit = bytes;
        let announced = self.received.saturating_add(self.incoming.size_hint().lower());
        if announced > bytes { Err(RequestBodyError::TooLarge { limit: bytes }) } else { Ok(()) }
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Waits for the client: first without a timer, then with one.
    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<RequestBodyError> {
        let deadline = match self.waiting {
            Waiting::Not => {
                self.waiting = Waiting::Yielded;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Waiting::Yielded => {
                let begun = Instant::now();
                let mut patience = self.pace.between_pieces;
                if let Some(earned) = self.received.saturating_mul(1000).checked_div(self.pace.least_rate) {
                    let allowed = Duration::from_millis(earned).saturating_add(self.pace.free_time);
                    patience = patience.min(allowed.saturating_sub(self.waited));
                }
                let deadline = begun + patience;
                self.waiting = Waiting::Since { begun, deadline };
                deadline
            }
            Waiting::Since { deadline, .. } => deadline,
        };
        self.timer.poll(context, deadline).map(|()| RequestBodyError::TimedOut)
    }

    fn take(&mut self, frame: &Frame<Bytes>) -> Result<(), RequestBodyError> {
        if let Waiting::Since { begun, .. } = self.waiting {
            self.waited += begun.elapsed();
        }
        self.waiting = Waiting::Not;
        if let Some(data) = frame.data_ref() {
            self.received = self.received.saturating_add(data.len() as u64);
            if self.received > self.limit {
                return Err(RequestBodyError::TooLarge { limit: self.limit });
            }
        }
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        if this.is_broken {
            return Poll::Ready(Some(Err(RequestBodyError::AlreadyBroken)));
        }
        let outcome = match Pin::new(&mut this.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => this.take(&frame).map(|()| frame),
            Poll::Ready(Some(Err(error))) => Err(match violation(&error) {
                Some(violation) => RequestBodyError::Malformed(violation),
                None => RequestBodyError::Closed(error),
            }),
            // hyper ends a body quietly when the client has reset its stream without an error. It is cut all the same, and
            // whoever forwards it must not end it as if it were whole.
            Poll::Ready(None) if this.is_stream && !this.incoming.is_end_stream() => Err(RequestBodyError::Cancelled),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => match this.poll_wait(context) {
                Poll::Ready(error) => Err(error),
                Poll::Pending => return Poll::Pending,
            },
        };
        this.is_broken = outcome.is_err();
        Poll::Ready(Some(outcome))
    }

    fn is_end_stream(&self) -> bool {
        !self.is_broken && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The guard's verdict, if that is what broke the body.
fn violation(error: &hyper::Error) -> Option<Violation> {
    let cause = std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?;
    cause.get_ref()?.downcast_ref::<Violation>().copied()
}
