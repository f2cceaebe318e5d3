//! The stream under one connection: the socket or the TLS session, with the wire guard in front of whoever reads it.
//!
//! hyper reads and writes it through `TokioIo`. For HTTP/1 each piece that is read passes the [`Guard`] first; from the
//! first fault on the stream gives no more bytes, so that a bad request can never be completed by what follows. After
//! an upgrade the same stream carries the tunnel, unjudged, until it ends or the drain cuts it. For HTTP/2 each piece
//! passes the [`FrameMeter`], and there are no more bytes once there were too many frames.
//!
//! hyper asks for more to read each time that the connection is woken, whatever for. So the socket is asked with a waker of
//! our own, which notes that there is something to read; until then the answer is known to be the same.
//!
//! It holds the connection's place among the counted ones: wherever the stream goes, the place is given back when it is
//! dropped, and not before.
//!
//! On HTTP/1 a shutdown asked for by hyper only flushes: the connection still wants to send a refusal or to linger.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use arrayvec::ArrayVec;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::drain::{Drain, Watch};
use super::frames::FrameMeter;
use super::guard::{Guard, GuardLimits};
use super::limits::Place;
use super::state::ConnectionState;
use super::violation::Violation;

/// What carries the bytes.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The bytes that begin every HTTP/2 connection.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Writes of HTTP/2 below this many bytes, answers to pings and settings left out, are pings and window updates.
const SMALL_TALK: usize = 64;

pub(super) struct Stream {
    transport: Transport,
    /// Bytes that were read to find out which protocol is spoken.
    prefix: Bytes,
    reading: Reading,
    /// Who is woken when there is something to read, and the waker that also notes it.
    readers: Option<(Waker, Waker)>,
    state: Arc<ConnectionState>,
    drain: Drain,
    _place: Place,
}

/// Wakes the one who reads, and notes that there is something to read.
struct Reader {
    task: Waker,
    state: Arc<ConnectionState>,
}

impl Wake for Reader {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.state.set_readable(true);
        self.task.wake_by_ref();
    }
}

enum Reading {
    /// HTTP/1, judged.
    Judged(Guard),
    /// HTTP/2, its frames counted.
    Frames(FrameMeter),
    /// The guard found a fault in a head, or the meter too many frames: there is nothing more to read.
    Blocked,
    /// The guard found a fault in a body: its reader must hear of it.
    Broken(Violation),
    /// After an upgrade.
    Tunnel(Watch),
}

impl Stream {
    pub(super) fn http1(
        transport: Transport,
        prefix: Bytes,
        limits: GuardLimits,
        state: Arc<ConnectionState>,
        drain: Drain,
        place: Place,
    ) -> Self {
        Self::new(transport, prefix, Reading::Judged(Guard::new(limits)), state, drain, place)
    }

    pub(super) fn http2(
        transport: Transport,
        prefix: Bytes,
        state: Arc<ConnectionState>,
        drain: Drain,
        place: Place,
    ) -> Self {
        Self::new(transport, prefix, Reading::Frames(FrameMeter::new(PREFACE.len())), state, drain, place)
    }

    fn new(
        transport: Transport,
        prefix: Bytes,
        reading: Reading,
        state: Arc<ConnectionState>,
        drain: Drain,
        place: Place,
    ) -> Self {
        Self { transport, prefix, reading, readers: None, state, drain, _place: place }
    }

    /// Ready when there is something to read, or the end.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        // Whoever reads next asks the socket, which now knows another one to wake.
        self.state.set_readable(true);
        let tcp = match &self.transport {
            Transport::Plain(tcp) => tcp,
            Transport::Tls(tls) => tls.get_ref().0,
        };
        // An error is something to read as well.
        tcp.poll_read_ready(context).map(|_| ())
    }

    /// What is under the guard, for the last words on a connection.
    pub(super) fn into_transport(self) -> (Transport, Place) {
        (self.transport, self._place)
    }

    /// Reads, if it can be that there is something.
    fn poll_transport(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let readers = match &self.readers {
            Some(readers) if readers.0.will_wake(context.waker()) => {
                if !self.state.is_readable() {
                    return Poll::Pending;
                }
                readers
            }
            _ => {
                let task = context.waker().clone();
                let reader = Arc::new(Reader { task: task.clone(), state: Arc::clone(&self.state) });
                self.readers.insert((task, reader.into()))
            }
        };
        self.state.set_readable(false);
        let outcome = Pin::new(&mut self.transport).poll_read(&mut Context::from_waker(&readers.1), buffer);
        if outcome.is_ready() {
            self.state.set_readable(true);
        }
        outcome
    }

    /// Looks at the bytes from `before` on, and takes back those that must not be seen.
    fn judge(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> Poll<io::Result<()>> {
        let piece = &buffer.filled()[before..];
        match &mut self.reading {
            Reading::Frames(meter) => {
                if !meter.feed(piece, self.state.earned(), self.state.now()) {
                    buffer.set_filled(before);
                    self.state.set_flooded();
                    self.reading = Reading::Blocked;
                    return Poll::Pending;
                }
                if meter.has_preface() && !self.state.has_read_preface() {
                    self.state.set_read_preface();
                }
            }
            Reading::Judged(guard) => {
                let verdict = guard.feed(piece);
                self.state.set_heads(guard.heads());
                match verdict {
                    Ok(()) => self.state.set_phase(guard.phase()),
                    Err(refusal) => {
                        buffer.set_filled(before + refusal.keep);
                        if refusal.is_in_body {
                            self.reading = Reading::Broken(refusal.violation);
                            return Poll::Ready(Err(broken(refusal.violation)));
                        }
                        self.state.set_violation(refusal.violation);
                        self.reading = Reading::Blocked;
                        if refusal.keep == 0 {
                            return Poll::Pending;
                        }
                    }
                }
            }
            _ => {}
        }
        Poll::Ready(Ok(()))
    }

    fn note_write(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Pending => self.state.write_is_stalled(),
            Poll::Ready(length) => {
                self.state.write_went_on();
                // hyper hands the last piece of an answer to its HTTP/2 layer and forgets it; that it still flows can
                // be seen only here. Our own pings and the like are smaller, and answers to the client's do not count:
                // one that sends nothing else is idle.
                if let (Reading::Frames(meter), Ok(length)) = (&mut self.reading, length)
                    && meter.wrote(*length) >= SMALL_TALK
                {
                    self.state.payload_is_written();
                }
            }
        }
        outcome
    }
}

fn broken(violation: Violation) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, violation)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.reading {
            Reading::Judged(_) if this.state.is_tunnel() => this.reading = Reading::Tunnel(this.drain.watch_cut()),
            // The connection itself looks for the fault after each step and ends; nobody needs to be woken.
            Reading::Blocked => return Poll::Pending,
            Reading::Broken(violation) => return Poll::Ready(Err(broken(*violation))),
            _ => {}
        }
        if let Reading::Tunnel(cut) = &mut this.reading
            && cut.poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        if this.prefix.is_empty() {
            ready!(this.poll_transport(context, buffer))?;
        } else {
            let length = this.prefix.len().min(buffer.remaining());
            buffer.put_slice(&this.prefix.split_to(length));
        }
        this.judge(buffer, before)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.transport).poll_write(context, bytes);
        self.note_write(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.transport).poll_write_vectored(context, pieces);
        self.note_write(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.transport).poll_flush(context);
        match &outcome {
            Poll::Pending => self.state.write_is_stalled(),
            Poll::Ready(_) => self.state.is_flushed(),
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.reading {
            Reading::Frames(_) | Reading::Tunnel(_) => Pin::new(&mut self.transport).poll_shutdown(context),
            _ if self.state.is_tunnel() => Pin::new(&mut self.transport).poll_shutdown(context),
            _ => self.poll_flush(context),
        }
    }
}

/// Pieces are written as one up to this size: the system takes one piece, copied together here, sooner than it takes two.
const GATHERED: usize = 2048;

/// The pieces as one, if they are few bytes.
fn gather<'b>(pieces: &[io::IoSlice<'_>], gathered: &'b mut ArrayVec<u8, GATHERED>) -> Option<&'b [u8]> {
    for piece in pieces {
        gathered.try_extend_from_slice(piece).ok()?;
    }
    Some(gathered)
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => {
                let mut gathered = ArrayVec::new();
                match gather(pieces, &mut gathered) {
                    Some(bytes) => Pin::new(tcp).poll_write(context, bytes),
                    None => Pin::new(tcp).poll_write_vectored(context, pieces),
                }
            }
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_are_gathered_in_their_order_and_many_are_not() {
        let head = [b'h'; GATHERED - 3];
        for (pieces, expected) in [
            (&[&b"head"[..], b"", b"body"][..], Some(&b"headbody"[..])),
            (&[][..], Some(b"")),
            (&[&head[..], b"abc"][..], Some([&head[..], b"abc"].concat().as_slice())),
            (&[&head[..], b"abcd"][..], None),
        ] {
            let slices: Vec<_> = pieces.iter().map(|piece| io::IoSlice::new(piece)).collect();
            assert_eq!(gather(&slices, &mut ArrayVec::new()), expected);
        }
    }
}
