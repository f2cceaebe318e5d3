//! One request and its answer on one connection, from the head to the last byte.
//!
//! [`Exchange::poll_head`] sends and waits for the head of the answer; [`Exchange::into_response`] makes the rest of it the
//! body that the caller is given. A small answer that has arrived whole becomes plain bytes, and its connection is free
//! before the caller has read it. Any other answer *is* the exchange: polling the body reads from the server, and goes on
//! sending what the caller's request still has.
//!
//! The connection is kept for the next request only if both messages ended where they said and nothing followed. In every
//! other case, an exchange that is dropped half way included, it is closed: what it would say next is not an answer to
//! anybody's question.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::Shared;
use super::chunked::{ChunkedDecoder, Decoded};
use super::connection::Connection;
use super::error::{BadResponse, ForwardError, RequestBodyError};
use super::response::{ResponseFraming, ResponseHead, read_head, take_head};
use super::sending::Sending;
use super::transport::Lane;
use crate::body::{Body, BodyError};
use crate::upstream::{Place, Upstream};

/// More interim answers (status 1xx) than this before one answer are taken for an attempt to keep us busy.
pub(super) const MAX_INTERIM: u32 = 16;

/// A request under way.
pub(super) struct Exchange<B> {
    /// Gone once it was given back or closed.
    connection: Option<Box<Connection>>,
    sending: Sending<B>,
    decoder: Decoder,
    scanned: usize,
    interim: u32,
    has_answered: bool,
    keeps_alive: bool,
    /// Until when we wait for the server; set when we begin to wait.
    deadline: Option<Instant>,
    rules: ExchangeRules,
}

/// What an exchange has to know of its surroundings.
pub(super) struct ExchangeRules {
    pub shared: Arc<Shared>,
    pub upstream: Arc<Upstream>,
    pub lane: Arc<Lane>,
    pub method: Method,
    /// How long the head of the answer may take.
    pub response: Duration,
    pub asked_upgrade: bool,
    /// When the connection was there.
    pub begun: Instant,
    /// When all of it must be over.
    pub until: Option<Instant>,
    /// Held as long as the exchange lasts.
    pub place: Option<Place>,
}

/// Where in the answer's body the reader stands.
pub(super) enum Decoder {
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
    Done,
}

impl Decoder {
    pub(super) fn new(framing: ResponseFraming) -> Self {
        match framing {
            ResponseFraming::None | ResponseFraming::Length(0) => Self::Done,
            ResponseFraming::Length(length) => Self::Length(length),
            ResponseFraming::Chunked => Self::Chunked(ChunkedDecoder::default()),
            ResponseFraming::UntilClose => Self::UntilClose,
        }
    }

    /// How many more bytes are known to come.
    fn wanted(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(chunks) => chunks.wanted(),
            Self::UntilClose | Self::Done => 0,
        }
    }

    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, BadResponse> {
        let decoded = match self {
            Self::Chunked(chunks) => chunks.decode(input)?,
            Self::Length(_) | Self::UntilClose if input.is_empty() => Decoded::NeedsMore,
            Self::UntilClose => Decoded::Piece(input.split().freeze()),
            Self::Length(left) => {
                let count = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= count as u64;
                Decoded::Piece(input.split_to(count).freeze())
            }
            Self::Done => Decoded::End(None),
        };
        if matches!(self, Self::Length(0)) || matches!(decoded, Decoded::End(_)) {
            *self = Self::Done;
        }
        Ok(decoded)
    }
}

impl<B> Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<RequestBodyError>,
{
    pub(super) fn new(connection: Box<Connection>, sending: Sending<B>, rules: ExchangeRules) -> Self {
        Self {
            connection: Some(connection),
            sending,
            decoder: Decoder::Done,
            scanned: 0,
            interim: 0,
            has_answered: false,
            keeps_alive: false,
            deadline: None,
            rules,
        }
    }

    /// Sends, and waits for the head of the answer. Not to be polled again once it is ready.
    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<ResponseHead, ForwardError>> {
        let timeouts = &self.rules.upstream.timeouts;
        let Some(connection) = self.connection.as_deref_mut() else {
            return Poll::Ready(Err(ForwardError::Closed(None)));
        };
        self.sending.poll(connection, timeouts.body, context)?;
        let limit = self.rules.shared.settings.max_response_head;
        loop {
            while let Some(head) = take_head(&mut connection.input, &mut self.scanned, limit)? {
                let head = read_head(&head, &self.rules.method)?;
                match head.status {
                    StatusCode::SWITCHING_PROTOCOLS if !self.rules.asked_upgrade || !self.sending.is_complete() => {
                        return Poll::Ready(Err(BadResponse::UnaskedUpgrade.into()));
                    }
                    status if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS => {
                        self.interim += 1;
                        if self.interim > MAX_INTERIM {
                            return Poll::Ready(Err(BadResponse::TooManyInterim.into()));
                        }
                    }
                    _ => {
                        self.decoder = Decoder::new(head.framing);
                        // An answer that did not wait for the request leaves it open what the server has read.
                        self.keeps_alive = head.keeps_alive && self.sending.is_complete();
                        self.deadline = None;
                        return Poll::Ready(Ok(head));
                    }
                }
            }
            match connection.poll_fill(0, context) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ForwardError::Closed(self.sending.take_error()))),
                Poll::Ready(Ok(_)) => self.has_answered = true,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(ForwardError::Closed(self.sending.take_error().or(Some(error)))));
                }
            }
        }
        if self.sending.is_over() && self.deadline.is_none() {
            // A head alone leaves at once, into an empty socket; the clock need not be read again.
            let since = if self.sending.is_head_only() { self.rules.begun } else { Instant::now() };
            self.deadline = Some(since + self.rules.response);
        }
        ready!(poll_deadlines(connection, [self.deadline, self.sending.deadline(), self.rules.until], context));
        Poll::Ready(Err(match self.rules.until {
            Some(until) if until <= Instant::now() => ForwardError::ExchangeTimeout,
            _ if self.sending.is_over() => ForwardError::ResponseTimeout,
            _ => ForwardError::SendTimeout,
        }))
    }

    /// Whether the request can be sent again on another connection after this one failed: it was kept from an earlier
    /// exchange, it has given nothing, and either nothing has left or the request is a safe one of which all is still here.
    pub(super) fn may_repeat(&self) -> bool {
        let is_safe = matches!(self.rules.method, Method::GET | Method::HEAD | Method::OPTIONS);
        self.connection.as_ref().is_some_and(|connection| connection.is_reused)
            && !self.has_answered
            && (self.sending.is_untouched() || (is_safe && self.sending.is_head_only()))
    }

    /// The same for an answer: servers that close an idle connection with a 408 say nothing about this request.
    pub(super) fn is_parting_word(&self, head: &ResponseHead) -> bool {
        head.status == StatusCode::REQUEST_TIMEOUT
            && !head.keeps_alive
            && self.connection.as_ref().is_some_and(|connection| connection.is_reused)
            && matches!(self.rules.method, Method::GET | Method::HEAD | Method::OPTIONS)
            && self.sending.is_head_only()
    }

    /// The caller's body and the place at the upstream, for another attempt.
    pub(super) fn into_body(self) -> (B, Option<Place>) {
        (self.sending.into_body(), self.rules.place)
    }

    /// The connection, for a protocol that is not HTTP any more.
    pub(super) fn into_connection(self) -> Option<Box<Connection>> {
        self.connection
    }

    /// The answer as the caller gets it.
    pub(super) fn into_response(mut self, head: ResponseHead) -> Response<Body> {
        let body = match self.whole_body() {
            Some(bytes) if bytes.is_empty() => Body::Empty,
            Some(bytes) => Body::Full(bytes),
            None => Body::Boxed(Box::pin(self)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    /// The body, if all of it has been read: then the exchange is over.
    fn whole_body(&mut self) -> Option<Bytes> {
        let connection = self.connection.as_deref_mut()?;
        let bytes = match self.decoder {
            Decoder::Done => Bytes::new(),
            Decoder::Length(length) if length <= connection.input.len() as u64 => {
                let length = usize::try_from(length).ok()?;
                connection.input.split_to(length).freeze()
            }
            _ => return None,
        };
        self.decoder = Decoder::Done;
        self.finish();
        Some(bytes)
    }

    /// Both messages are over, or the answer is: the connection is kept or closed.
    fn finish(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        self.rules.place = None;
        if self.keeps_alive && self.sending.is_complete() && connection.input.is_empty() {
            self.rules.lane.put(connection, &self.rules.upstream);
        }
    }

    /// The answer breaks off.
    fn fail(&mut self, error: ForwardError) -> BodyError {
        self.connection = None;
        self.decoder = Decoder::Done;
        if error.is_upstream_fault() {
            self.rules.shared.metrics.upstream_failure(&self.rules.upstream.name, error.kind());
        }
        BodyError::new(error)
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, ForwardError>> {
        let limit = self.rules.upstream.timeouts.body;
        let Some(connection) = self.connection.as_deref_mut() else { return Poll::Ready(Ok(None)) };
        self.sending.poll(connection, limit, context)?;
        loop {
            match self.decoder.decode(&mut connection.input)? {
                Decoded::Piece(piece) => {
                    self.deadline = None;
                    if matches!(self.decoder, Decoder::Done) {
                        // The one who reads us may know the length and not ask again.
                        self.finish();
                    }
                    return Poll::Ready(Ok(Some(Frame::data(piece))));
                }
                Decoded::End(trailers) => {
                    self.finish();
                    let trailers = trailers.filter(|trailers: &HeaderMap| !trailers.is_empty());
                    return Poll::Ready(Ok(trailers.map(Frame::trailers)));
                }
                Decoded::NeedsMore => {}
            }
            match connection.poll_fill(self.decoder.wanted(), context) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) if matches!(self.decoder, Decoder::UntilClose) => {
                    self.decoder = Decoder::Done;
                    self.finish();
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ForwardError::BodyCut(None))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ForwardError::BodyCut(Some(error)))),
            }
        }
        if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + limit);
        }
        ready!(poll_deadlines(connection, [self.deadline, self.sending.deadline(), self.rules.until], context));
        Poll::Ready(Err(match self.rules.until {
            Some(until) if until <= Instant::now() => ForwardError::ExchangeTimeout,
            _ => ForwardError::BodyTimeout,
        }))
    }
}

/// Ready once the earliest of the deadlines has passed.
fn poll_deadlines(connection: &mut Connection, deadlines: [Option<Instant>; 3], context: &mut Context<'_>) -> Poll<()> {
    match deadlines.into_iter().flatten().min() {
        Some(earliest) => connection.timer.poll_until(earliest, context),
        None => Poll::Pending,
    }
}

impl<B> http_body::Body for Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<RequestBodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match ready!(this.poll_piece(context)) {
            Ok(frame) => Poll::Ready(frame.map(Ok)),
            Err(error) => Poll::Ready(Some(Err(this.fail(error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.decoder, Decoder::Done) && self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Length(left) => SizeHint::with_exact(left),
            Decoder::Done => SizeHint::with_exact(0),
            Decoder::Chunked(_) | Decoder::UntilClose => SizeHint::default(),
        }
    }
}
