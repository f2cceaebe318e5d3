//! One request and its answer on one stream.
//!
//! The counterpart of [`exchange`](crate::forward::exchange) for HTTP/2, with the same times and the same end:
//! [`Http2Exchange::poll_head`] sends and waits for the head of the answer, [`Http2Exchange::into_response`] makes the rest
//! of it the body that the caller is given. An answer that begins while the request is still being sent leaves the sending
//! to a task of its own, so that both directions go on independently, as callers of gRPC expect.
//!
//! Whoever drops an exchange half way resets its stream; the connection and all its other streams go on.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{Method, Response};
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::answer::{Answer, fault, is_unprocessed, read_answer, read_trailers};
use super::lane::StreamPlace;
use super::sending::Http2Sending;
use crate::body::{Body, BodyError};
use crate::forward::Shared;
use crate::forward::connection::Timer;
use crate::forward::error::{BadResponse, ForwardError, RequestBodyError};
use crate::forward::exchange::MAX_INTERIM;
use crate::upstream::{Place, Upstream};

/// A request under way.
pub(super) struct Http2Exchange<B> {
    sending: Http2Sending<B>,
    response: ResponseFuture,
    /// Why it ended, if the server says that it did not look at it.
    is_unprocessed: bool,
    /// Why it ended, if the connection broke.
    is_broken: bool,
    interim: u32,
    deadline: Option<Instant>,
    timer: Timer,
    rules: Http2Rules,
}

/// What an exchange has to know of its surroundings.
pub(super) struct Http2Rules {
    pub(super) shared: Arc<Shared>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) method: Method,
    /// How long the head of the answer may take, from the end of the request.
    pub(super) response: Duration,
    /// How long either side of a body may be silent.
    pub(super) body: Duration,
    /// When all of it must be over.
    pub(super) until: Option<Instant>,
    /// Held as long as the exchange lasts.
    pub(super) place: Option<Place>,
    pub(super) stream: StreamPlace,
    /// The connection was there before this request.
    pub(super) is_reused: bool,
}

impl<B> Http2Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<RequestBodyError>,
{
    pub(super) fn new(sending: Http2Sending<B>, response: ResponseFuture, rules: Http2Rules) -> Self {
        Self {
            sending,
            response,
            is_unprocessed: false,
            is_broken: false,
            interim: 0,
            deadline: None,
            timer: Timer::default(),
            rules,
        }
    }

    /// Sends, and waits for the head of the answer. Not to be polled again once it is ready.
    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Answer, ForwardError>> {
        self.sending.poll(self.rules.body, context)?;
        while let Poll::Ready(Some(interim)) = self.response.poll_informational(context) {
            if interim.is_err() {
                break;
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Poll::Ready(Err(BadResponse::TooManyInterim.into()));
            }
        }
        match Pin::new(&mut self.response).poll(context) {
            Poll::Ready(Ok(response)) => {
                return Poll::Ready(read_answer(response, &self.rules.method).map_err(ForwardError::from));
            }
            Poll::Ready(Err(error)) => {
                self.is_unprocessed = is_unprocessed(&error);
                let error = fault(error, false);
                self.is_broken = matches!(error, ForwardError::Closed(_));
                return Poll::Ready(Err(error));
            }
            Poll::Pending => {}
        }
        if self.sending.is_over() {
            self.deadline.get_or_insert_with(|| Instant::now() + self.rules.response);
        }
        ready!(poll_deadlines(&mut self.timer, [self.deadline, self.sending.deadline(), self.rules.until], context));
        Poll::Ready(Err(match self.rules.until {
            Some(until) if until <= Instant::now() => ForwardError::ExchangeTimeout,
            _ if self.sending.is_over() => ForwardError::ResponseTimeout,
            _ => ForwardError::SendTimeout,
        }))
    }

    /// Whether the request can be sent again after this stream failed: nothing was taken from the caller, and either the
    /// server says that it has not looked at it, or it is a safe one without a body and the connection, kept from before,
    /// broke.
    pub(super) fn may_repeat(&self) -> bool {
        let is_safe = matches!(self.rules.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let is_stale = self.is_broken && self.rules.is_reused && is_safe && self.sending.is_head_only();
        self.sending.is_untouched() && (self.is_unprocessed || is_stale)
    }

    /// The connection takes no more streams, because it broke or said so.
    pub(super) fn is_connection_over(&self) -> bool {
        self.is_broken
    }

    /// The caller's body and what the exchange held, for another attempt.
    pub(super) fn into_parts(self) -> (B, Http2Rules) {
        (self.sending.into_body(), self.rules)
    }

    /// The answer as the caller gets it.
    pub(super) fn into_response(self, answer: Answer) -> Response<Body> {
        let Answer { status, headers, length, body } = answer;
        let body = match body {
            None => Body::Empty,
            Some(incoming) => {
                let limit = self.rules.body;
                let uploading = (!self.sending.is_over()).then(|| tokio::spawn(self.sending.run(limit)));
                Body::Boxed(Box::pin(Receiving {
                    incoming: Some(incoming),
                    left: length,
                    uploading: Uploading(uploading),
                    deadline: None,
                    timer: self.timer,
                    rules: Some(self.rules),
                }))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// The rest of a request that is sent beside its answer; ended with it.
struct Uploading(Option<JoinHandle<Result<(), ForwardError>>>);

impl Drop for Uploading {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// The body of an answer.
struct Receiving {
    /// Gone once it is over.
    incoming: Option<RecvStream>,
    /// How many bytes are still announced.
    left: Option<u64>,
    uploading: Uploading,
    deadline: Option<Instant>,
    timer: Timer,
    /// Given back with the end.
    rules: Option<Http2Rules>,
}

impl Receiving {
    /// The answer is over: its stream, its place and what of the request was still to be sent are given back.
    fn finish(&mut self) {
        self.incoming = None;
        self.uploading = Uploading(None);
        self.rules = None;
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, ForwardError>> {
        let (Some(incoming), Some(rules)) = (&mut self.incoming, &self.rules) else { return Poll::Ready(Ok(None)) };
        if let Some(task) = &mut self.uploading.0
            && let Poll::Ready(outcome) = Pin::new(task).poll(context)
        {
            self.uploading.0 = None;
            // A task that panicked has been told of by the panic hook; nobody sends the rest.
            outcome.unwrap_or(Err(ForwardError::RequestBody(RequestBodyError::Closed(None))))?;
        }
        match incoming.poll_data(context) {
            Poll::Ready(Some(Ok(data))) => {
                self.deadline = None;
                // Whoever reads has room for it: the server may send as much again.
                let _ = incoming.flow_control().release_capacity(data.len());
                if let Some(left) = &mut self.left {
                    *left = left.checked_sub(data.len() as u64).ok_or(BadResponse::Framing("content-length"))?;
                }
                if incoming.is_end_stream() {
                    self.ends_where_it_said()?;
                    self.finish();
                }
                return Poll::Ready(Ok(Some(Frame::data(data))));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(self.broke(error)),
            Poll::Ready(None) => match incoming.poll_trailers(context) {
                Poll::Ready(Ok(trailers)) => {
                    let trailers = trailers.map(read_trailers).transpose()?.flatten();
                    self.ends_where_it_said()?;
                    self.finish();
                    return Poll::Ready(Ok(trailers.map(Frame::trailers)));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(self.broke(error)),
                Poll::Pending => {}
            },
            Poll::Pending => {}
        }
        let limit = rules.body;
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + limit);
        ready!(poll_deadlines(&mut self.timer, [Some(deadline), rules.until, None], context));
        Poll::Ready(Err(match rules.until {
            Some(until) if until <= Instant::now() => ForwardError::ExchangeTimeout,
            _ => ForwardError::BodyTimeout,
        }))
    }

    /// A reset without an error is how a server ends the request of an answer that is complete (RFC 9113 section 8.1). Any
    /// other way to break off is a cut answer.
    fn broke(&mut self, error: h2::Error) -> Result<Option<Frame<Bytes>>, ForwardError> {
        if error.is_remote() && error.is_reset() && error.reason() == Some(h2::Reason::NO_ERROR) {
            self.ends_where_it_said()?;
            self.finish();
            return Ok(None);
        }
        Err(fault(error, true))
    }

    fn ends_where_it_said(&self) -> Result<(), ForwardError> {
        match self.left {
            Some(1..) => Err(BadResponse::Framing("content-length").into()),
            _ => Ok(()),
        }
    }
}

impl http_body::Body for Receiving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match ready!(this.poll_piece(context)) {
            Ok(frame) => Poll::Ready(frame.map(Ok)),
            Err(error) => {
                if error.is_upstream_fault()
                    && let Some(rules) = &this.rules
                {
                    rules.shared.metrics.upstream_failure(&rules.upstream.name, error.kind());
                }
                this.finish();
                Poll::Ready(Some(Err(BodyError::new(error))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (self.left, self.is_end_stream()) {
            (_, true) => SizeHint::with_exact(0),
            (Some(left), false) => SizeHint::with_exact(left),
            (None, false) => SizeHint::default(),
        }
    }
}

/// Ready once the earliest of the deadlines has passed.
fn poll_deadlines(timer: &mut Timer, deadlines: [Option<Instant>; 3], context: &mut Context<'_>) -> Poll<()> {
    match deadlines.into_iter().flatten().min() {
        Some(earliest) => timer.poll_until(earliest, context),
        None => Poll::Pending,
    }
}
