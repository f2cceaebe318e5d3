//! One exchange: a request goes to the handler, its answer goes back, and the connection hears when both are over.
//!
//! hyper calls [`answer`] for each request of HTTP/2, and [`answer_in_turn`] for each of HTTP/1. They count the exchange
//! from here until the last byte of the answer has been taken, keep a panic from ending more than this one exchange, and
//! refuse what no handler should see.
//!
//! Nothing here looks at paths, headers or keys.
//!
//! The counting ends in `Drop`, because an exchange may end at any point: the client leaves, the stream is reset, the
//! drain cuts it. A count that went only down the good path would keep the connection busy for ever.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::drain::Drain;
use super::frames::{FOR_A_REQUEST, for_a_piece};
use super::guard::{GuardLimits, framing_twin, is_plain_length, is_plain_target};
use super::handler::Handler;
use super::peer::Peer;
use super::request_body::{BodyPace, RequestBody};
use super::state::ConnectionState;
use super::violation::Violation;
use crate::body::BodyError;
use crate::telemetry::metrics::WorkerMetrics;

/// What every exchange of one connection needs.
pub(super) struct Exchanges<H> {
    pub(super) handler: H,
    pub(super) peer: Arc<Peer>,
    pub(super) state: Arc<ConnectionState>,
    pub(super) drain: Drain,
    pub(super) metrics: WorkerMetrics,
    pub(super) pace: BodyPace,
    pub(super) limits: GuardLimits,
}

/// Answers one request of HTTP/2. It never fails, but hyper wants it said in this form.
///
/// hyper moves the future several times for each request, so what the handler does is boxed. A block instead of an `async
/// fn`, because that would hold the request twice.
pub(super) fn answer<H: Handler>(
    exchanges: Arc<Exchanges<H>>,
    running: Running,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Outgoing<H::Body>>, Infallible>> + Send {
    let version = request.version();
    if version == Version::HTTP_2 {
        exchanges.state.earns(FOR_A_REQUEST);
    }
    async move {
        if version == Version::HTTP_2
            && let Some(violation) = http2_violation(&request, exchanges.limits)
        {
            exchanges.metrics.malformed(violation.code());
            return Ok(own(exchanges.handler.refuse(violation, &exchanges.peer), running));
        }
        let request = request.map(|incoming| RequestBody::new(incoming, exchanges.pace, version == Version::HTTP_2));
        let response = match catch(|| Box::pin(exchanges.handler.handle(request, &exchanges.peer))) {
            Ok(mut handling) => poll_fn(|context| contain(|| handling.as_mut().poll(context))).await,
            Err(panicked) => Err(panicked),
        };
        Ok(complete(response, &exchanges, running, version))
    }
}

/// What an HTTP/1 connection handles: one request at a time, each in the same place.
///
/// hyper looks at everything whenever the connection is woken, and most often it is the handler who has something to do:
/// [`Turn::goes_on`] asks the handler alone.
pub(super) struct Turn<F: Future>(Mutex<Handling<F>>);

struct Handling<F: Future> {
    /// In a box, which pins it; a connection that rests lets go of it.
    future: Pin<Box<Option<F>>>,
    outcome: Option<Result<F::Output, Panicked>>,
    has_body: bool,
}

impl<F: Future> Turn<F> {
    /// With nothing to handle yet.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Handling { future: Box::pin(None), outcome: None, has_body: false }))
    }

    /// Goes on with a request that is being handled, and says whether it still is and hyper has no part in it: a body
    /// would have to be read.
    pub(super) fn goes_on(&self, context: &mut Context<'_>) -> bool {
        let mut handling = self.lock();
        if handling.has_body || handling.future.is_none() {
            return false;
        }
        handling.poll(context);
        handling.outcome.is_none()
    }

    fn begin(&self, handle: impl FnOnce() -> F, has_body: bool) {
        let mut handling = self.lock();
        handling.has_body = has_body;
        // Made where it stays, as far as that can be had: it is large.
        if let Err(panicked) = catch(|| handling.future.set(Some(handle()))) {
            handling.outcome = Some(Err(panicked));
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<F::Output, Panicked>> {
        let mut handling = self.lock();
        handling.poll(context);
        handling.outcome.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn lock(&self) -> MutexGuard<'_, Handling<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future> Handling<F> {
    fn poll(&mut self, context: &mut Context<'_>) {
        let Some(future) = self.future.as_mut().as_pin_mut() else { return };
        if let Poll::Ready(outcome) = contain(|| future.poll(context)) {
            self.future.set(None);
            self.outcome = Some(outcome);
        }
    }
}

/// Answers one request of HTTP/1, whose turn it is.
pub(super) fn answer_in_turn<H: Handler, F: Future<Output = Response<H::Body>> + Send>(
    exchanges: &Exchanges<H>,
    turn: &Turn<F>,
    request: Request<Incoming>,
    handle: impl FnOnce(Request<RequestBody>) -> F,
) -> impl Future<Output = Result<Response<Outgoing<H::Body>>, Infallible>> + Send {
    let running = Running::begin(&exchanges.state);
    let version = request.version();
    let has_body = !request.body().is_end_stream();
    turn.begin(|| handle(request.map(|incoming| RequestBody::new(incoming, exchanges.pace, false))), has_body);
    async move {
        let response = poll_fn(|context| turn.poll(context)).await;
        Ok(complete(response, exchanges, running, version))
    }
}

/// Makes the answer of what the handler gave.
fn complete<H: Handler>(
    response: Result<Response<H::Body>, Panicked>,
    exchanges: &Exchanges<H>,
    running: Running,
    version: Version,
) -> Response<Outgoing<H::Body>> {
    match response {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            if version != Version::HTTP_11 {
                tracing::error!("a handler answered 101 where there is no upgrade");
                return own(closing(exchanges.handler.failed(&exchanges.peer), version), running);
            }
            if let Some(violation) = exchanges.state.violation() {
                // Bytes behind the request were found bad before the upgrade was agreed: they are not a tunnel's.
                return own(closing(exchanges.handler.refuse(violation, &exchanges.peer), version), running);
            }
            exchanges.state.becomes_tunnel();
            theirs(response, running, version)
        }
        Ok(mut response) => {
            // The client is told that this is the last answer here; a connection that just closed would cut the request
            // that may be on its way already.
            let is_last = exchanges.state.is_last() || exchanges.drain.is_signalled();
            if is_last && version <= Version::HTTP_11 {
                response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            }
            theirs(response, running, version)
        }
        Err(Panicked) => {
            exchanges.metrics.panic();
            own(closing(exchanges.handler.failed(&exchanges.peer), version), running)
        }
    }
}

/// What the wire guard refuses in HTTP/1 and the HTTP/2 layer lets through.
///
/// Behind us the request becomes HTTP/1, where these would be two lengths or two hosts.
fn http2_violation<B>(request: &Request<B>, limits: GuardLimits) -> Option<Violation> {
    let headers = request.headers();
    if request.method() == Method::CONNECT {
        return Some(Violation::MethodConnect);
    }
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > limits.target_bytes) {
        return Some(Violation::TargetTooLong);
    }
    // The parser of HTTP/2 takes bytes above ASCII, quotes and DEL; behind us they would stand in a request line.
    if !request.uri().path_and_query().is_none_or(|target| is_plain_target(target.as_str().as_bytes())) {
        return Some(Violation::TargetInvalid);
    }
    if headers.len() > limits.field_count {
        return Some(Violation::TooManyFields);
    }
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Some(Violation::HostRepeated);
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        if lengths.next().is_some() {
            return Some(Violation::ContentLengthRepeated);
        }
        if !is_plain_length(length.as_bytes()) {
            return Some(Violation::ContentLengthInvalid);
        }
    }
    headers.keys().find_map(|name| framing_twin(name.as_str().as_bytes()))
}

/// Something panicked. The panic itself went to the panic hook, which is where its text belongs.
struct Panicked;

/// Calls; a panic comes out as a value.
fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Panicked)
}

/// Polls once; a panic comes out as a value.
fn contain<T>(poll: impl FnOnce() -> Poll<T>) -> Poll<Result<T, Panicked>> {
    match catch(poll) {
        Ok(poll) => poll.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    }
}

fn closing(mut response: Response<Bytes>, version: Version) -> Response<Bytes> {
    if version <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    response
}

/// An answer of the handler's own, its exchange running on in the body.
fn theirs<B: http_body::Body>(response: Response<B>, mut running: Running, version: Version) -> Response<Outgoing<B>> {
    // A body without bytes is never asked for one.
    running.is_complete = response.body().is_end_stream();
    response.map(|body| Outgoing::new(Content::Handlers(body), running, version))
}

/// An answer of the server's.
fn own<B>(response: Response<Bytes>, mut running: Running) -> Response<Outgoing<B>> {
    running.is_complete = response.body().is_empty();
    response.map(|bytes| Outgoing::new(Content::Own(bytes), running, Version::HTTP_11))
}

/// An exchange that has begun; dropping it ends the exchange.
pub(super) struct Running {
    state: Arc<ConnectionState>,
    is_complete: bool,
}

impl Running {
    pub(super) fn begin(state: &Arc<ConnectionState>) -> Self {
        state.exchange_begins();
        Self { state: Arc::clone(state), is_complete: false }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.state.exchange_ends(self.is_complete);
    }
}

/// The body of an answer on its way out.
pub(super) struct Outgoing<B> {
    content: Content<B>,
    running: Running,
    /// HTTP/2: whether its last piece waits for the client's window is watched.
    has_window: bool,
    is_waiting_for_window: bool,
}

enum Content<B> {
    Handlers(B),
    Own(Bytes),
}

impl<B> Outgoing<B> {
    fn new(content: Content<B>, running: Running, version: Version) -> Self {
        Self { content, running, has_window: version == Version::HTTP_2, is_waiting_for_window: false }
    }

    fn is_waiting_for_window(&mut self, is_waiting: bool) {
        if self.has_window && self.is_waiting_for_window != is_waiting {
            self.is_waiting_for_window = is_waiting;
            match is_waiting {
                true => self.running.state.waits_for_window(),
                false => self.running.state.window_opened(),
            }
        }
    }
}

impl<B> http_body::Body for Outgoing<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        this.is_waiting_for_window(false);
        let frame = match &mut this.content {
            Content::Own(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Content::Handlers(body) => match contain(|| Pin::new(body).poll_frame(context)) {
                Poll::Ready(Ok(frame)) => Poll::Ready(frame.map(|frame| frame.map_err(BodyError::new))),
                Poll::Ready(Err(Panicked)) => Poll::Ready(Some(Err(BodyError::new("a panic")))),
                Poll::Pending => Poll::Pending,
            },
        };
        match &frame {
            Poll::Ready(None) => this.running.is_complete = true,
            Poll::Ready(Some(Ok(frame))) => {
                this.is_waiting_for_window(true);
                if this.has_window {
                    this.running.state.earns(for_a_piece(frame.data_ref().map_or(0, Bytes::len)));
                }
                // A body that says that this was its last piece is not asked again.
                this.running.is_complete = this.is_end_stream();
            }
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Handlers(body) => body.is_end_stream(),
            Content::Own(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Handlers(body) => body.size_hint(),
            Content::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

impl<B> Drop for Outgoing<B> {
    fn drop(&mut self) {
        self.is_waiting_for_window(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_ambiguous_behind_http2_is_refused() {
        use Violation as V;
        let long = format!("/{}", "a".repeat(8192));
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<Violation>);
        let rows: &[Row<'_>] = &[
            ("/", &[], None),
            ("/", &[("content-length", "5"), ("host", "a")], None),
            ("/", &[("content-length", "5"), ("content-length", "5")], Some(V::ContentLengthRepeated)),
            ("/", &[("content-length", "+5")], Some(V::ContentLengthInvalid)),
            ("/", &[("content-length", "05")], Some(V::ContentLengthInvalid)),
            ("/", &[("content-length", "")], Some(V::ContentLengthInvalid)),
            ("/", &[("content-length", "9223372036854775808")], Some(V::ContentLengthInvalid)),
            ("/", &[("content_length", "5")], Some(V::FramingTwin)),
            ("/", &[("transfer-encoding", "chunked")], Some(V::FramingTwin)),
            ("/", &[("host", "a"), ("host", "a")], Some(V::HostRepeated)),
            (&long, &[], Some(V::TargetTooLong)),
            ("/a?b=%22/?c", &[], None),
            ("/a?b=\u{a0}HTTP/1.1", &[], Some(V::TargetInvalid)),
            ("/a?\u{85}", &[], Some(V::TargetInvalid)),
            ("/a\u{e9}", &[], Some(V::TargetInvalid)),
        ];
        for (target, fields, expected) in rows {
            let mut request = Request::builder().uri(*target);
            for (name, value) in *fields {
                request = request.header(*name, *value);
            }
            let request = request.body(()).expect("a request");
            assert_eq!(http2_violation(&request, GuardLimits::default()), *expected, "{fields:?}");
        }
    }
}
