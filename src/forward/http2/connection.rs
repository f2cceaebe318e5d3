//! One HTTP/2 connection to a server, shared by many exchanges.
//!
//! [`Http2Connection::open`] makes one: socket, TLS, preface, and the server's settings, which is when it is known that the
//! other side speaks HTTP/2 and how many streams it takes. From then on a task of its own ([`drive`]) moves its frames, on
//! the worker that opened it. It ends by itself, soon after the server has ended the connection or nobody here holds it any
//! more. Exchanges open streams on it with
//! [`Http2Connection::open_stream`].
//!
//! A server that is gone without a word is noticed: when streams wait and nothing at all has come for a while, it is
//! pinged, and one that does not answer is given up with all its streams. Pings become rarer while nothing but their own
//! answers comes, since some servers take frequent pings on silent streams for an attack (those of gRPC allow one in
//! five minutes).
//!
//! Windows are such that streams cannot starve each other: the window of the connection is as large as those of all its
//! streams together, so that a reader that has stopped holds its own window and nobody else's.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{PingPong, SendStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use super::Http2Settings;
use super::lane::Http2Lane;
use crate::forward::connection::{Stream, Timer};
use crate::forward::error::ForwardError;
use crate::upstream::ServerTls;

/// A number of streams that no server can state: until its settings have come.
const UNKNOWN: usize = usize::MAX - 1;
/// What waits to be written of one stream, at most.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that were given up are remembered until the server has heard of it, so many of them.
const RESET_STREAMS: usize = 1000;
/// The longest time between two pings.
const MAX_PATIENCE: Duration = Duration::from_secs(360);
/// How much longer each ping waits than the one before, while nothing else comes.
const PATIENCE_GROWS: u32 = 6;
/// How long a connection that nobody uses any more may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// A connection that can have more streams.
pub(super) struct Http2Connection {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
}

/// What a connection's task and its exchanges tell each other.
#[derive(Default)]
struct State {
    /// Streams that are not over.
    open: AtomicUsize,
    /// As many as the server takes.
    limit: AtomicUsize,
    /// Streams of all its life.
    ever: AtomicU32,
    /// No stream can be opened any more.
    is_over: AtomicBool,
    /// Moves whenever something was read.
    progress: AtomicU32,
}

impl Http2Connection {
    /// Connects, and waits for the server's settings, all within `limit`. `lane` is told when the server takes more streams.
    pub(super) async fn open(
        address: SocketAddr,
        tls: Option<&ServerTls>,
        limit: Duration,
        off_limits: &[SocketAddr],
        settings: &Http2Settings,
        lane: Weak<Http2Lane>,
    ) -> Result<Self, ForwardError> {
        let opening = Self::shake(address, tls, off_limits, settings, lane);
        timeout(limit, opening).await.map_err(|_| ForwardError::ConnectTimeout)?
    }

    async fn shake(
        address: SocketAddr,
        tls: Option<&ServerTls>,
        off_limits: &[SocketAddr],
        settings: &Http2Settings,
        lane: Weak<Http2Lane>,
    ) -> Result<Self, ForwardError> {
        let stream = Stream::connect(address, tls, off_limits).await.map_err(|error| match error {
            ForwardError::Tls(cause) if is_disagreement(&cause) => ForwardError::NoHttp2(None),
            error => error,
        })?;
        if tls.is_some() && !stream.has_agreed_to_http2() {
            return Err(ForwardError::NoHttp2(None));
        }
        let state = Arc::new(State::default());
        let stream = Watched { stream, state: Arc::clone(&state) };
        let no_http2 = |error| ForwardError::NoHttp2(Some(error));
        let (sender, mut connection) = h2::client::Builder::new()
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window())
            .initial_max_send_streams(UNKNOWN)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(settings.max_response_head)
            .enable_push(false)
            // Callers that leave are many, and what a server has on its way to them then is no fault of its own.
            .max_concurrent_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(None)
            .handshake::<_, Bytes>(stream)
            .await
            .map_err(no_http2)?;
        poll_fn(|context| match Pin::new(&mut connection).poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(ForwardError::Closed(None))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(no_http2(error))),
            Poll::Pending if connection.max_concurrent_send_streams() == UNKNOWN => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
        })
        .await?;
        state.limit.store(connection.max_concurrent_send_streams(), Ordering::Relaxed);
        let keeper = Keeper::new(connection.ping_pong(), settings);
        tokio::spawn(drive(connection, keeper, Arc::clone(&state), lane));
        Ok(Self { sender, state })
    }

    /// Whether it can have another stream, of `most` at once and `ever` in its life.
    pub(super) fn has_room(&self, most: usize, ever: u32) -> bool {
        let limit = self.state.limit.load(Ordering::Relaxed).min(most);
        !self.is_over()
            && self.state.open.load(Ordering::Relaxed) < limit
            && self.state.ever.load(Ordering::Relaxed) < ever
    }

    /// Whether no stream can be opened on it any more.
    pub(super) fn is_over(&self) -> bool {
        self.state.is_over.load(Ordering::Relaxed)
    }

    /// From now on no stream is opened on it.
    pub(super) fn retire(&self) {
        self.state.is_over.store(true, Ordering::Relaxed);
    }

    /// How many streams are open.
    pub(super) fn streams(&self) -> usize {
        self.state.open.load(Ordering::Relaxed)
    }

    /// Whether it has had streams before the one that was counted last.
    pub(super) fn is_used(&self) -> bool {
        self.state.ever.load(Ordering::Relaxed) > 1
    }

    /// Counts a stream that is about to be opened.
    pub(super) fn stream_begins(&self) {
        self.state.open.fetch_add(1, Ordering::Relaxed);
        self.state.ever.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a stream that is over.
    pub(super) fn stream_ends(&self) {
        self.state.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sends the head of a request. On an error nothing was sent.
    pub(super) fn open_stream(
        &self,
        request: Request<()>,
        has_body: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.sender.clone().send_request(request, !has_body)
    }
}

/// Whether a handshake failed because the server speaks none of the protocols offered, and says so.
fn is_disagreement(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)))
}

/// Moves the frames of a connection until it is over. Streams that are open then see it.
async fn drive(
    mut connection: h2::client::Connection<Watched, Bytes>,
    mut keeper: Keeper,
    state: Arc<State>,
    lane: Weak<Http2Lane>,
) {
    let outcome = poll_fn(|context| {
        if let Poll::Ready(outcome) = Pin::new(&mut connection).poll(context) {
            return Poll::Ready(Some(outcome));
        }
        let limit = connection.max_concurrent_send_streams();
        if state.limit.swap(limit, Ordering::Relaxed) < limit
            && let Some(lane) = lane.upgrade()
        {
            lane.has_changed();
        }
        ready!(keeper.poll(&state, context));
        Poll::Ready(None)
    })
    .await;
    state.is_over.store(true, Ordering::Relaxed);
    match outcome {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "a connection to an upstream ended with an error"),
        None => tracing::debug!("a connection to an upstream was given up: it does not answer"),
    }
    drop(connection);
    if let Some(lane) = lane.upgrade() {
        lane.has_changed();
    }
}

/// Notices that the other side is gone.
struct Keeper {
    pings: Option<PingPong>,
    timer: Timer,
    ping_after: Duration,
    pong_within: Duration,
    /// How long nothing may come before the next ping.
    patience: Duration,
    progress: u32,
    quiet_since: Instant,
    pinged_at: Option<Instant>,
    has_streams: bool,
    unused_since: Option<Instant>,
}

impl Keeper {
    fn new(pings: Option<PingPong>, settings: &Http2Settings) -> Self {
        Self {
            pings,
            timer: Timer::default(),
            ping_after: settings.ping_after,
            pong_within: settings.pong_within,
            patience: settings.ping_after,
            progress: 0,
            quiet_since: Instant::now(),
            pinged_at: None,
            has_streams: false,
            unused_since: None,
        }
    }

    /// Ready when the connection is to be given up.
    fn poll(&mut self, state: &Arc<State>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            self.look(state, context);
            let Some(deadline) = self.deadline() else { return Poll::Pending };
            ready!(self.timer.poll_until(deadline, context));
            let gives_up = self.unused_since.is_some() || self.pinged_at.is_some();
            if gives_up || !self.ping() {
                return Poll::Ready(());
            }
        }
    }

    /// Takes note of what has happened.
    fn look(&mut self, state: &Arc<State>, context: &mut Context<'_>) {
        let now = Instant::now();
        let progress = state.progress.load(Ordering::Relaxed);
        let has_progress = std::mem::replace(&mut self.progress, progress) != progress;
        let is_answered = self.pinged_at.is_some()
            && self.pings.as_mut().is_some_and(|pings| matches!(pings.poll_pong(context), Poll::Ready(Ok(_))));
        if is_answered {
            self.pinged_at = None;
            self.patience = (self.patience * PATIENCE_GROWS).min(MAX_PATIENCE.max(self.ping_after));
            self.quiet_since = now;
        } else if has_progress {
            self.patience = self.ping_after;
            self.quiet_since = now;
        }
        let has_streams = state.open.load(Ordering::Relaxed) > 0;
        if has_streams && !self.has_streams {
            self.quiet_since = now;
        }
        self.has_streams = has_streams;
        // All others that know the state are the connection's handle and its exchanges.
        let is_unused = Arc::strong_count(state) <= 2 && !has_streams && state.is_over.load(Ordering::Relaxed);
        self.unused_since = is_unused.then(|| self.unused_since.unwrap_or(now));
    }

    fn deadline(&self) -> Option<Instant> {
        match (self.unused_since, self.pinged_at) {
            (Some(unused), _) => Some(unused + FAREWELL),
            (None, Some(pinged)) => Some(pinged + self.pong_within),
            (None, None) => self.has_streams.then(|| self.quiet_since + self.patience),
        }
    }

    /// `false` if there is no way to ask.
    fn ping(&mut self) -> bool {
        let is_sent = self.pings.as_mut().is_some_and(|pings| pings.send_ping(h2::Ping::opaque()).is_ok());
        self.pinged_at = Some(Instant::now());
        is_sent
    }
}

/// A stream that tells when something was read from it.
struct Watched {
    stream: Stream,
    state: Arc<State>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.state.progress.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
