//! One connection, from the accepted socket to its last byte.
//!
//! The accept loop spawns [`run`]. It does the TLS handshake, finds out which protocol is spoken, lets hyper serve it,
//! and keeps the time that hyper does not: for a head, between exchanges, for a client that takes nothing, for the age
//! of the connection, for the drain.
//!
//! It knows no request: what happens in an exchange is for `exchange` and the handler.
//!
//! hyper reads ahead while an answer is being made. So when the guard finds a fault, the good requests before it may be
//! still unanswered: the refusal is written only when all of them are, or the client would take it for their answer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::drain::{Drain, Watch};
use super::exchange::{Exchanges, Running, Turn, answer, answer_in_turn};
use super::handler::Handler;
use super::limits::Place;
use super::listener::{ListenerInfo, Protocol};
use super::peer::Peer;
use super::refusal;
use super::settings::ConnectionSettings;
use super::state::ConnectionState;
use super::stream::{PREFACE, Stream, Transport};
use super::timer::LazyTimer;
use super::violation::Violation;
use crate::telemetry::metrics::WorkerMetrics;

/// What all connections of a worker share.
pub(super) struct Worker<H> {
    pub(super) handler: H,
    pub(super) settings: ConnectionSettings,
    pub(super) metrics: WorkerMetrics,
    pub(super) drain: Drain,
}

/// A socket that was just accepted.
pub(super) struct Accepted {
    pub(super) tcp: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) listener: Arc<ListenerInfo>,
    pub(super) place: Place,
    pub(super) state: Arc<ConnectionState>,
}

/// Serves one connection to its end.
pub(super) async fn run<H: Handler>(accepted: Accepted, worker: Arc<Worker<H>>) {
    let Accepted { tcp, address, listener, place, state } = accepted;
    let Ok(local_address) = tcp.local_addr() else { return };
    let head_deadline = state.moment(0, worker.settings.head_time);
    let peer = Arc::new(Peer {
        address: SocketAddr::new(address.ip().to_canonical(), address.port()),
        local_address,
        listener: Arc::clone(&listener.name),
        is_backoffice: listener.is_backoffice,
        is_tls: listener.tls.is_some(),
    });

    let mut prefix = Bytes::new();
    let (transport, is_http2) = match (&listener.tls, listener.protocol) {
        (Some(tls), _) => {
            let deadline = state.moment(0, worker.settings.handshake_time);
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(tls));
            match timeout_at(deadline, acceptor.accept(tcp)).await {
                Ok(Ok(stream)) => {
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    (Transport::Tls(Box::new(stream)), is_http2)
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, listener = &*listener.name, "a TLS handshake failed");
                    return worker.metrics.tls_handshake_failed(&listener.name);
                }
                Err(_) => {
                    worker.metrics.limit_hit("tls_handshake_time");
                    return worker.metrics.tls_handshake_failed(&listener.name);
                }
            }
        }
        (None, Protocol::Http1) => (Transport::Plain(tcp), false),
        (None, Protocol::H2c) => {
            let mut tcp = tcp;
            match timeout_at(head_deadline, read_preface(&mut tcp)).await {
                Ok(Ok(bytes)) => prefix = bytes,
                Ok(Err(_)) => return,
                Err(_) => return worker.metrics.limit_hit("head_time"),
            }
            let is_http2 = prefix.as_ref() == PREFACE;
            (Transport::Plain(tcp), is_http2)
        }
    };

    let exchanges = Arc::new(Exchanges {
        handler: worker.handler.clone(),
        peer,
        state: Arc::clone(&state),
        drain: worker.drain.clone(),
        metrics: worker.metrics.clone(),
        pace: worker.settings.body,
        limits: worker.settings.head,
    });
    state.gets_on();
    let settings = &worker.settings;
    let shortest = REST_AFTER.min(settings.head_time).min(settings.idle_time).min(settings.write_time);
    let keeper = Keeper {
        watch: worker.drain.watch(),
        worker,
        state: Arc::clone(&state),
        timer: LazyTimer::default(),
        progress: 0,
        is_covered: false,
        shortest,
        closing_since: None,
        draining_since: None,
        rests: false,
        is_http2,
        window: (0, 0),
    };
    match is_http2 {
        true => serve_http2(transport, prefix, place, exchanges, keeper).await,
        false => serve_http1(transport, prefix, place, exchanges, keeper).await,
    }
}

/// Reads as many bytes as could still be the preface of HTTP/2.
async fn read_preface(tcp: &mut TcpStream) -> std::io::Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(PREFACE.len());
    while bytes.len() < PREFACE.len() && PREFACE.starts_with(&bytes) {
        let mut piece = [0; PREFACE.len()];
        let room = PREFACE.len() - bytes.len();
        match tcp.read(&mut piece[..room]).await? {
            0 => break,
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
    Ok(bytes.freeze())
}

/// How a connection came to its end.
enum End {
    /// hyper is done with it.
    Finished(hyper::Result<()>),
    /// What the client sent is refused.
    Refused(Violation),
    /// Time is over; there is nobody to tell.
    Cut,
    /// Nothing has been asked for a while: what only an exchange needs is given back until there is one.
    Rests,
}

async fn serve_http1<H: Handler>(
    transport: Transport,
    prefix: Bytes,
    place: Place,
    exchanges: Arc<Exchanges<H>>,
    mut keeper: Keeper<H>,
) {
    let worker = Arc::clone(&keeper.worker);
    let settings = &worker.settings;
    let state = Arc::clone(&exchanges.state);
    let mut stream = Stream::http1(transport, prefix, settings.head, Arc::clone(&state), worker.drain.clone(), place);
    let mut builder = http1::Builder::new();
    // The guard has the limits and the keeper has the time; hyper only must not be narrower than they are.
    builder.header_read_timeout(None).max_buf_size((64 * 1024).max(settings.head.head_bytes + 8192));
    if settings.head.field_count > 100 {
        builder.max_headers(settings.head.field_count);
    }
    let (end, stream, unread) = loop {
        // Both in boxes, so that a connection that rests holds neither them nor their buffers.
        let turn = Turn::new();
        let service = service_fn(|request| {
            answer_in_turn(&exchanges, &turn, request, |request| exchanges.handler.handle(request, &exchanges.peer))
        });
        let mut connection = Box::new(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let end = poll_fn(|context| {
            loop {
                // While a request is handled, and nothing has happened on the socket, there is nothing to do for hyper.
                let is_for_hyper = state.has_socket_event() || !turn.goes_on(context);
                if is_for_hyper && let Poll::Ready(outcome) = Pin::new(&mut *connection).poll(context) {
                    return Poll::Ready(End::Finished(outcome));
                }
                if let Some(violation) = state.violation()
                    && state.is_quiet()
                {
                    return Poll::Ready(End::Refused(violation));
                }
                match keeper.poll(context, Keeper::http1_deadline) {
                    Poll::Ready(Verdict::Close) => Pin::new(&mut *connection).graceful_shutdown(),
                    Poll::Ready(Verdict::Rest) => return Poll::Ready(End::Rests),
                    Poll::Ready(Verdict::Refuse(violation)) => return Poll::Ready(End::Refused(violation)),
                    Poll::Ready(Verdict::Cut) => return Poll::Ready(End::Cut),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        // Without parts the stream has become a tunnel, and is somebody else's.
        let Some(parts) = connection.into_parts() else { return };
        stream = parts.io.into_inner();
        if !matches!(end, End::Rests) {
            break (end, stream, parts.read_buf);
        }
        // What hyper may have kept are empty lines between two requests, which mean nothing.
        drop(parts.read_buf);
        keeper.rests = true;
        let end = poll_fn(|context| {
            if stream.poll_readable(context).is_ready() {
                return Poll::Ready(None);
            }
            match ready!(keeper.poll(context, Keeper::http1_deadline)) {
                Verdict::Close | Verdict::Rest => Poll::Ready(Some(End::Finished(Ok(())))),
                Verdict::Refuse(violation) => Poll::Ready(Some(End::Refused(violation))),
                Verdict::Cut => Poll::Ready(Some(End::Cut)),
            }
        })
        .await;
        keeper.rests = false;
        if let Some(end) = end {
            break (end, stream, Bytes::new());
        }
    };
    let (transport, _place) = stream.into_transport();
    match end {
        End::Rests => {}
        End::Finished(outcome) => {
            let is_unparsable = outcome.as_ref().is_err_and(|error| error.is_parse());
            if is_unparsable {
                worker.metrics.malformed("unparsable");
            }
            if let Err(error) = &outcome {
                tracing::debug!(%error, "a connection ended with an error");
            }
            let lingers = state.is_mid_message() || is_unparsable || !unread.is_empty();
            refusal::close(transport, lingers).await;
        }
        End::Refused(violation) => {
            worker.metrics.malformed(violation.code());
            tracing::debug!(violation = violation.code(), peer = %exchanges.peer.address, "bytes were refused");
            let response = exchanges.handler.refuse(violation, &exchanges.peer);
            refusal::refuse(transport, &response).await;
        }
        End::Cut => {}
    }
}

async fn serve_http2<H: Handler>(
    transport: Transport,
    prefix: Bytes,
    place: Place,
    exchanges: Arc<Exchanges<H>>,
    mut keeper: Keeper<H>,
) {
    let worker = Arc::clone(&keeper.worker);
    let settings = &worker.settings.http2;
    let state = Arc::clone(&exchanges.state);
    let stream = Stream::http2(transport, prefix, Arc::clone(&state), worker.drain.clone(), place);
    let service = service_fn({
        move |request| {
            let running = Running::begin(&exchanges.state);
            answer(Arc::clone(&exchanges), running, request)
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(u32::try_from(worker.settings.head.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_pending_accept_reset_streams(settings.pending_resets)
        .max_local_error_reset_streams(settings.error_resets)
        .max_send_buf_size(settings.send_buffer)
        .max_frame_size(16 * 1024)
        .keep_alive_interval(settings.ping_interval)
        .keep_alive_timeout(settings.ping_time);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let end = poll_fn(|context| {
        loop {
            if let Poll::Ready(outcome) = connection.as_mut().poll(context) {
                return Poll::Ready(End::Finished(outcome));
            }
            let cancelled = state.cancelled();
            if cancelled > settings.cancelled && cancelled > state.begun() / 2 {
                worker.metrics.limit_hit("http2_cancelled_streams");
                return Poll::Ready(End::Cut);
            }
            if state.is_flooded() {
                worker.metrics.limit_hit("http2_frames");
                return Poll::Ready(End::Cut);
            }
            match keeper.poll(context, Keeper::http2_deadline) {
                Poll::Ready(Verdict::Close) => connection.as_mut().graceful_shutdown(),
                Poll::Ready(Verdict::Refuse(_) | Verdict::Cut | Verdict::Rest) => return Poll::Ready(End::Cut),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    if let End::Finished(Err(error)) = &end {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// What the keeper of the time asks for.
enum Verdict {
    /// Finish the exchange that is running, then close.
    Close,
    /// The head did not come in time.
    Refuse(Violation),
    /// Drop the connection.
    Cut,
    /// Give back what only an exchange needs.
    Rest,
}

/// What happens when a deadline passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Head,
    Idle,
    Write,
    Age,
    /// It has asked nothing since the drain began.
    Draining,
    /// It was told to close and did not.
    Closing,
    /// It has not asked for a moment.
    Rest,
}

impl Cause {
    /// The name of the limit in metrics, if one has taken effect.
    fn limit(self) -> Option<&'static str> {
        match self {
            Self::Head => Some("head_time"),
            Self::Idle => Some("idle_time"),
            Self::Write => Some("write_time"),
            Self::Age => Some("connection_age"),
            Self::Draining | Self::Rest => None,
            Self::Closing => Some("closing_time"),
        }
    }
}

/// Keeps the time of one connection.
struct Keeper<H> {
    worker: Arc<Worker<H>>,
    state: Arc<ConnectionState>,
    watch: Watch,
    timer: LazyTimer,
    /// The connection's progress when last looked.
    progress: u32,
    /// The timer fires before anything that can begin from now on is due.
    is_covered: bool,
    /// The shortest time after which something is due on a connection that is not closing.
    shortest: Duration,
    closing_since: Option<u64>,
    draining_since: Option<u64>,
    /// It has given back what only an exchange needs.
    rests: bool,
    is_http2: bool,
    /// HTTP/2: the last sign that an answer got on, and when it was seen.
    window: (u32, u64),
}

/// How long a connection without an exchange may take to close after it was told to.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// How long a connection asks nothing before it gives back its buffers, sixteen kibibytes and more.
const REST_AFTER: Duration = Duration::from_millis(500);

type Deadline = (Instant, Cause);

impl<H: Handler> Keeper<H> {
    fn poll(&mut self, context: &mut Context<'_>, deadline: fn(&mut Self) -> Option<Deadline>) -> Poll<Verdict> {
        let progress = self.state.progress();
        if progress != self.progress {
            self.progress = progress;
            self.state.gets_on();
        }
        if self.is_covered && self.timer.is_waiting(context) && !self.worker.drain.is_signalled() {
            return Poll::Pending;
        }
        if self.closing_since.is_none() {
            if self.draining_since.is_none() && self.watch.poll(context).is_ready() {
                self.draining_since = Some(self.state.now());
            }
            // A request may be on its way, on a connection that idles as on one that has just come: an HTTP/1 client
            // learns from the answer that it is the last one, and loses nothing. HTTP/2 can say so at any time.
            if self.draining_since.is_some() && (self.is_http2 || self.state.is_busy()) {
                return self.close();
            }
        }
        let settings = &self.worker.settings;
        let may_end = self.closing_since.is_none() && !self.state.is_last();
        let age = may_end.then(|| (self.state.moment(0, settings.age), Cause::Age));
        let rest = self.may_rest().then(|| (self.state.moment(self.state.waiting_since(), REST_AFTER), Cause::Rest));
        let next = [deadline(self), age, rest].into_iter().flatten().min_by_key(|(at, _)| *at);
        let Some((at, cause)) = next else {
            self.is_covered = false;
            return Poll::Pending;
        };
        // Between two exchanges the timer stands at the next rest, and nothing that the next exchange brings is due before.
        // So it is not looked at again until it fires, and a busy connection reckons with its deadlines once in a while
        // instead of several times for each request.
        self.is_covered = !self.is_http2
            && self.closing_since.is_none()
            && !self.state.is_busy()
            && at <= self.state.moment(self.state.waiting_since(), self.shortest);
        ready!(self.timer.poll(context, at));
        self.is_covered = false;
        if let Some(limit) = cause.limit() {
            self.worker.metrics.limit_hit(limit);
        }
        match cause {
            Cause::Head if self.state.is_in_head() => Poll::Ready(Verdict::Refuse(Violation::HeadTimedOut)),
            Cause::Head | Cause::Write | Cause::Closing => Poll::Ready(Verdict::Cut),
            // An HTTP/1 connection that is too old says so with its next answer: to close it between two would cut a
            // request that is on its way.
            Cause::Age if !self.is_http2 && !self.state.is_busy() => {
                self.state.set_last();
                self.poll(context, deadline)
            }
            Cause::Rest => Poll::Ready(Verdict::Rest),
            Cause::Idle | Cause::Draining | Cause::Age => self.close(),
        }
    }

    /// Whether the connection is between two requests and holds what it does not need now.
    fn may_rest(&self) -> bool {
        let state = &self.state;
        !self.is_http2
            && !self.rests
            && self.closing_since.is_none()
            && state.begun() > 0
            && state.is_quiet()
            && !state.is_mid_message()
            && !state.is_last()
            && !state.is_tunnel()
            && state.write_stalled_since().is_none()
    }

    fn close(&mut self) -> Poll<Verdict> {
        self.closing_since = Some(self.state.now());
        Poll::Ready(Verdict::Close)
    }

    fn write_deadline(&self) -> Option<Deadline> {
        let since = self.state.write_stalled_since()?;
        Some((self.state.moment(since, self.worker.settings.write_time), Cause::Write))
    }

    /// When a connection that owes the client nothing has waited long enough for something other than a head.
    fn rest_deadline(&self) -> Deadline {
        let settings = &self.worker.settings;
        match (self.closing_since, self.draining_since) {
            (Some(since), _) => {
                (self.state.moment(since.max(self.state.waiting_since()), CLOSING_TIME), Cause::Closing)
            }
            (None, Some(since)) => (self.state.moment(since, settings.last_request_while_draining), Cause::Draining),
            (None, None) => (self.state.moment(self.state.waiting_since(), settings.idle_time), Cause::Idle),
        }
    }

    fn http1_deadline(&mut self) -> Option<Deadline> {
        if let Some(deadline) = self.write_deadline() {
            return Some(deadline);
        }
        if self.state.is_busy() {
            return None;
        }
        let head_time = self.worker.settings.head_time;
        if self.state.is_in_head() {
            // The time for the first head begins when the connection is accepted; for a later one with its first byte,
            // or, if that came early, when the answer before it was done.
            let is_first = self.state.begun() == 0;
            let since = if is_first { 0 } else { self.state.head_since().max(self.state.waiting_since()) };
            return Some((self.state.moment(since, head_time), Cause::Head));
        }
        let rest = self.rest_deadline();
        if self.state.begun() == 0 && self.closing_since.is_none() {
            let head = self.state.moment(0, head_time);
            return Some(if head <= rest.0 { (head, Cause::Head) } else { rest });
        }
        Some(rest)
    }

    fn http2_deadline(&mut self) -> Option<Deadline> {
        if let Some(deadline) = self.write_deadline() {
            return Some(deadline);
        }
        let (is_waiting, progress) = self.state.window();
        if is_waiting {
            if self.window.0 != progress || self.window.1 == 0 {
                self.window = (progress, self.state.now());
            }
            return Some((self.state.moment(self.window.1, self.worker.settings.write_time), Cause::Write));
        }
        self.window.1 = 0;
        if self.state.is_busy() {
            return None;
        }
        if !self.state.has_read_preface() {
            return Some((self.state.moment(0, self.worker.settings.head_time), Cause::Head));
        }
        Some(self.rest_deadline())
    }
}
