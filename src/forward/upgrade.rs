//! Connections that are not HTTP any more: WebSockets, and whatever else an endpoint lets callers upgrade to.
//!
//! After a 101 that answers an upgrade we asked for, [`Tunnels::open`] copies bytes both ways until both sides have ended,
//! nothing has moved for the upstream's `tunnel` timeout, or the tunnel is cut: all of them when the gateway drains, one
//! key's when that key is revoked. What one side ends, the other is told; it may still finish.
//!
//! A tunnel holds no buffer while nothing moves. Nothing here looks at the bytes.
//!
//! The tasks belong to [`Tunnels`]: whoever shuts down cuts the [streams](OpenStreams) and waits for [`Tunnels::closed`].

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connection::{Connection, Timer};
use super::open::OpenStreams;
use crate::keys::TableEntry;

/// What is moved in one step.
const STEP: usize = 8 * 1024;

/// The open tunnels of one worker.
#[derive(Debug)]
pub struct Tunnels {
    streams: Arc<OpenStreams>,
    /// Of the tasks, which end a moment after their streams are cut.
    count: watch::Sender<usize>,
}

impl Tunnels {
    /// Tunnels that are registered here.
    #[must_use]
    pub fn new(streams: Arc<OpenStreams>) -> Self {
        Self { streams, count: watch::Sender::new(0) }
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Returns when none is open.
    pub async fn closed(&self) {
        // It fails only when the sender is gone, and that is ourselves.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Hands two connections over to a task that copies between them. `idle` is how long nothing may move,
    /// `lifetime` when it ends in any case.
    pub(super) fn open(
        self: &Arc<Self>,
        downstream: OnUpgrade,
        upstream: Box<Connection>,
        shown: Option<&TableEntry>,
        lifetime: Option<Duration>,
        idle: Duration,
    ) {
        let Some(mut registered) = self.streams.register(shown) else { return };
        self.count.send_modify(|count| *count += 1);
        let counted = Counted(Arc::clone(self));
        tokio::spawn(async move {
            let _counted = counted;
            tokio::select! {
                // Whether it was cut, has ended or has failed: both connections are dropped here, and so closed.
                () = registered.cut() => {}
                () = end_of(lifetime) => {}
                _ = run(downstream, upstream, idle) => {}
            }
        });
    }
}

/// Counts a tunnel out when its task ends, however it ends.
struct Counted(Arc<Tunnels>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.send_modify(|count| *count -= 1);
    }
}

async fn end_of(lifetime: Option<Duration>) {
    // A key that is good for longer than the timer can count is good for ever.
    match lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime)) {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

async fn run(downstream: OnUpgrade, upstream: Box<Connection>, idle: Duration) -> io::Result<()> {
    let Ok(Ok(downstream)) = timeout(idle, downstream).await else {
        // The caller left before it was told of the switch.
        return Ok(());
    };
    let mut downstream = TokioIo::new(downstream);
    let Connection { mut stream, input, mut timer, .. } = *upstream;
    // The server may have spoken right behind its head.
    let mut outward = Pipe { pending: input.freeze(), ..Pipe::default() };
    let mut inward = Pipe::default();
    let mut deadline = None;
    std::future::poll_fn(|context| {
        let mut has_moved = false;
        let out = outward.poll(&mut stream, &mut downstream, &mut has_moved, context)?;
        let back = inward.poll(&mut downstream, &mut stream, &mut has_moved, context)?;
        if out.is_ready() && back.is_ready() {
            return Poll::Ready(Ok(()));
        }
        poll_idle(&mut deadline, &mut timer, has_moved, idle, context).map(Ok)
    })
    .await
}

/// Ready when nothing has moved for too long.
fn poll_idle(
    deadline: &mut Option<Instant>,
    timer: &mut Timer,
    has_moved: bool,
    idle: Duration,
    context: &mut Context<'_>,
) -> Poll<()> {
    let until = match *deadline {
        Some(until) if !has_moved => until,
        _ => Instant::now() + idle,
    };
    *deadline = Some(until);
    timer.poll_until(until, context)
}

/// One direction.
#[derive(Default)]
struct Pipe {
    /// Read and not yet taken by the other side.
    pending: Bytes,
    needs_flush: bool,
    has_ended: bool,
    is_closed: bool,
}

impl Pipe {
    /// Moves what can be moved; ready when the end was passed on.
    fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        has_moved: &mut bool,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.is_closed {
                return Poll::Ready(Ok(()));
            }
            while !self.pending.is_empty() {
                let count = ready!(Pin::new(&mut *to).poll_write(context, &self.pending))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                drop(self.pending.split_to(count));
                self.needs_flush = true;
                *has_moved = true;
            }
            if self.has_ended {
                ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                self.is_closed = true;
                continue;
            }
            let mut step = [MaybeUninit::uninit(); STEP];
            let mut buffer = ReadBuf::uninit(&mut step);
            match Pin::new(&mut *from).poll_read(context, &mut buffer)? {
                Poll::Pending => {
                    if self.needs_flush {
                        ready!(Pin::new(&mut *to).poll_flush(context))?;
                        self.needs_flush = false;
                    }
                    return Poll::Pending;
                }
                Poll::Ready(()) if buffer.filled().is_empty() => self.has_ended = true,
                Poll::Ready(()) => {
                    *has_moved = true;
                    self.needs_flush = true;
                    let bytes = buffer.filled();
                    let count = match Pin::new(&mut *to).poll_write(context, bytes)? {
                        Poll::Ready(count) => count,
                        Poll::Pending => 0,
                    };
                    self.pending = Bytes::copy_from_slice(&bytes[count..]);
                }
            }
        }
    }
}
