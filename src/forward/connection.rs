//! One HTTP/1.1 connection to a server: the socket, what has been read and not yet used, what is to be written.
//!
//! [`Connection::open`] makes one, TLS included. An exchange owns it while it lasts; the
//! [`transport`](super::transport) keeps it in between. It lives in the task of the request it serves: nothing is spawned
//! and nothing is sent through a channel.
//!
//! Buffers grow with large bodies and are given back when the connection goes idle. The timer is armed lazily: one that
//! fires early is set anew, one that is not needed is left to fire, so that a fast exchange sets none at all.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::ForwardError;
use crate::upstream::ServerTls;

/// What a read asks for at least, and what an idle connection may keep.
const SMALL_READ: usize = 8 * 1024;
/// What a read asks for at most.
const LARGE_READ: usize = 64 * 1024;
/// The largest output buffer an idle connection may keep.
const KEPT_OUTPUT: usize = 8 * 1024;

/// A connection to one server.
pub(super) struct Connection {
    pub stream: Stream,
    /// Read from the server, not yet used.
    pub input: BytesMut,
    /// To be written: the head, then chunk sizes and small pieces.
    pub output: Vec<u8>,
    pub timer: Timer,
    /// It has served a request before.
    pub is_reused: bool,
    /// Until when it may be reused; meaningful while it is idle.
    pub expires: Instant,
    read_size: usize,
}

impl Connection {
    /// Connects, and makes the TLS handshake if there is to be one, all within `limit`. A connection that has arrived at
    /// one of the `off_limits` is closed before anything is sent.
    pub(super) async fn open(
        address: SocketAddr,
        tls: Option<&ServerTls>,
        limit: Duration,
        off_limits: &[SocketAddr],
    ) -> Result<Box<Self>, ForwardError> {
        let stream = timeout(limit, Stream::connect(address, tls, off_limits))
            .await
            .map_err(|_| ForwardError::ConnectTimeout)??;
        Ok(Box::new(Self::over(stream)))
    }

    fn over(stream: Stream) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: Vec::new(),
            timer: Timer::default(),
            is_reused: false,
            expires: Instant::now(),
            read_size: SMALL_READ,
        }
    }

    /// Whether an idle connection can be used: the server has neither closed it nor said anything unasked. Costs no system
    /// call unless the runtime has seen something happen on the socket.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Makes it ready to be kept: nothing of the exchange stays, and no large buffer.
    pub(super) fn rest(&mut self) {
        self.is_reused = true;
        self.output.clear();
        self.output.shrink_to(KEPT_OUTPUT);
        if self.read_size > SMALL_READ {
            self.read_size = SMALL_READ;
            self.input = BytesMut::new();
        }
    }

    /// Reads what is there into `input`; 0 is the end of the stream. `wanted` says how many more bytes are known to come.
    pub(super) fn poll_fill(&mut self, wanted: u64, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if wanted > self.read_size as u64 {
            self.read_size = usize::try_from(wanted).map_or(LARGE_READ, |wanted| wanted.min(LARGE_READ));
        }
        // Half a buffer is worth a read; below that the block is changed for a new one, or taken back from its start.
        if self.input.capacity() - self.input.len() < self.read_size / 2 {
            self.input.reserve(self.read_size);
        }
        let room = self.read_size.min(self.input.capacity() - self.input.len());
        let mut limited = (&mut self.input).limit(room);
        let read = std::pin::pin!(self.stream.read_buf(&mut limited));
        let count = ready!(read.poll(context))?;
        if count == room && self.read_size < LARGE_READ {
            self.read_size = (self.read_size * 2).min(LARGE_READ);
        }
        Poll::Ready(Ok(count))
    }

    /// Writes `output` from `position` on, and `piece` behind it, as far as the socket takes them at once.
    pub(super) fn poll_write(
        &mut self,
        position: usize,
        piece: &[u8],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let output = &self.output[position..];
        let stream = Pin::new(&mut self.stream);
        if piece.is_empty() {
            stream.poll_write(context, output)
        } else if output.is_empty() {
            stream.poll_write(context, piece)
        } else {
            stream.poll_write_vectored(context, &[IoSlice::new(output), IoSlice::new(piece)])
        }
    }
}

/// Bytes to and from a server, encrypted or not.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) async fn connect(
        address: SocketAddr,
        tls: Option<&ServerTls>,
        off_limits: &[SocketAddr],
    ) -> Result<Self, ForwardError> {
        let tcp = TcpStream::connect(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => ForwardError::ConnectRefused(error),
            _ => ForwardError::ConnectFailed(error),
        })?;
        if has_arrived_at(&tcp, off_limits).map_err(ForwardError::ConnectFailed)? {
            return Err(ForwardError::ConnectFailed(io::Error::other(
                "this is the gateway's own address for operators",
            )));
        }
        // Without it a request in two writes waits for the server's delayed acknowledgement.
        tcp.set_nodelay(true).map_err(ForwardError::ConnectFailed)?;
        let Some(tls) = tls else { return Ok(Self::Plain(tcp)) };
        let connector = TlsConnector::from(tls.config.clone());
        let stream = connector.connect(tls.server_name.clone(), tcp).await.map_err(ForwardError::Tls)?;
        Ok(Self::Tls(Box::new(stream)))
    }
}

/// Whether the other end is one of our own sockets. Asked of the connection, not of the address it was made with: what
/// counts is where it leads, by whatever name or spelling.
fn has_arrived_at(tcp: &TcpStream, own: &[SocketAddr]) -> io::Result<bool> {
    if own.is_empty() {
        return Ok(false);
    }
    let (there, here) = (tcp.peer_addr()?, tcp.local_addr()?.ip().to_canonical());
    let (port, there) = (there.port(), there.ip().to_canonical());
    // A connection within one machine has the same address at both ends, or a loopback one at the far end.
    let is_this_machine = there.is_loopback() || there == here;
    Ok(own.iter().any(|own| {
        let address = own.ip().to_canonical();
        own.port() == port && (address == there || (address.is_unspecified() && is_this_machine))
    }))
}

impl Stream {
    /// Whether the server agreed to HTTP/2 in the handshake (ALPN).
    pub(super) fn has_agreed_to_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}

/// One timer for all deadlines of a connection, one after another.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once the deadline has passed. The timer may be set to an earlier moment from before: then it fires for
    /// nothing once, and is set to this one.
    pub(super) fn poll_until(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= deadline || Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
