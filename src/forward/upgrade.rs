//! Connections that are not HTTP any more: WebSockets, and whatever else an endpoint lets callers upgrade to.
//!
//! After a 101 that answers an upgrade we asked for, [`Tunnels::open`] copies bytes both ways until both sides have ended,
//! nothing has moved for the upstream's `tunnel` timeout, or the tunnel is cut: all of them when the gateway drains, one
//! key's when that key is revoked. What one side ends, the other is told; it may still finish.
//!
//! A tunnel holds no buffer while nothing moves. Nothing here looks at the bytes, except that the ends of a WebSocket's
//! frames are known: [`Tunnels::say_goodbye`] puts a close frame between two of them.
//!
//! The tasks belong to [`Tunnels`]: whoever shuts down says goodbye, cuts the [streams](OpenStreams) and waits for
//! [`Tunnels::closed`].

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
use super::websocket::{self, Frames};
use crate::keys::TableEntry;
use crate::limit::Places;

/// What is moved in one step.
const STEP: usize = 8 * 1024;

/// The open tunnels of one worker.
#[derive(Debug)]
pub struct Tunnels {
    streams: Arc<OpenStreams>,
    /// Of the tasks, which end a moment after their streams are cut.
    count: watch::Sender<usize>,
    is_leaving: watch::Sender<bool>,
}

impl Tunnels {
    /// Tunnels that are registered here.
    #[must_use]
    pub fn new(streams: Arc<OpenStreams>) -> Self {
        Self { streams, count: watch::Sender::new(0), is_leaving: watch::Sender::new(false) }
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

    /// Tells both sides of every WebSocket that it will end, now and of those to come. They may answer; until they do, or
    /// are cut, their connections stay open.
    pub fn say_goodbye(&self) {
        self.is_leaving.send_replace(true);
    }

    /// Hands two connections over to a task that copies between them. `idle` is how long nothing may move,
    /// `lifetime` when it ends in any case; `places` are kept until then.
    pub(super) fn open(
        self: &Arc<Self>,
        downstream: OnUpgrade,
        upstream: Box<Connection>,
        (shown, places): (Option<&TableEntry>, Option<Arc<Places>>),
        lifetime: Option<Duration>,
        idle: Duration,
        is_websocket: bool,
    ) {
        let Some(mut registered) = self.streams.register(shown) else { return };
        self.count.send_modify(|count| *count += 1);
        let counted = Counted(Arc::clone(self));
        let leaving = is_websocket.then(|| self.is_leaving.subscribe());
        tokio::spawn(async move {
            let (_counted, _places) = (counted, places);
            tokio::select! {
                // Whether it was cut, has ended or has failed: both connections are dropped here, and so closed.
                () = registered.cut() => {}
                () = end_of(lifetime) => {}
                _ = run(downstream, upstream, idle, leaving) => {}
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

/// Copies both ways. `leaving` is there for a protocol that knows a goodbye.
async fn run(
    downstream: OnUpgrade,
    upstream: Box<Connection>,
    idle: Duration,
    mut leaving: Option<watch::Receiver<bool>>,
) -> io::Result<()> {
    let Ok(Ok(downstream)) = timeout(idle, downstream).await else {
        // The caller left before it was told of the switch.
        return Ok(());
    };
    let mut downstream = TokioIo::new(downstream);
    let Connection { mut stream, input, mut timer, .. } = *upstream;
    // The server may have spoken right behind its head.
    let mut outward = Pipe { pending: input.freeze(), ..Pipe::default() };
    let mut inward = Pipe::default();
    if leaving.is_some() {
        outward.knows_frames(websocket::close_for_client());
        if let Some(goodbye) = websocket::close_for_server() {
            inward.knows_frames(goodbye);
        }
    }
    let mut deadline = None;
    let mut told = std::pin::pin!(async move {
        let is_told = match &mut leaving {
            Some(leaving) => leaving.wait_for(|is_leaving| *is_leaving).await.is_ok(),
            None => false,
        };
        if !is_told {
            // Nobody says it, or can say it any more.
            std::future::pending::<()>().await;
        }
    });
    let mut is_leaving = false;
    std::future::poll_fn(|context| {
        let mut has_moved = false;
        if !is_leaving && told.as_mut().poll(context).is_ready() {
            is_leaving = true;
            outward.is_leaving = true;
            inward.is_leaving = true;
        }
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
    /// For a protocol that knows a goodbye.
    farewell: Option<Farewell>,
    /// It is to be said.
    is_leaving: bool,
}

/// How one direction of a WebSocket ends.
struct Farewell {
    /// What has come from the one side.
    frames: Frames,
    /// What the other side is told; gone once it was. What still comes then is not passed on.
    goodbye: Option<Bytes>,
    /// What was passed on ends between two frames, whatever has come since.
    is_due: bool,
    /// What was passed on ends with a close frame.
    has_parted: bool,
}

impl Pipe {
    fn knows_frames(&mut self, goodbye: Bytes) {
        let mut frames = Frames::default();
        frames.pass(&self.pending);
        self.farewell = Some(Farewell { frames, goodbye: Some(goodbye), is_due: false, has_parted: false });
    }

    /// How much of what was read is passed on.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let Some(farewell) = &mut self.farewell else { return bytes.len() };
        let frames = &mut farewell.frames;
        if !self.is_leaving {
            frames.pass(bytes);
            return bytes.len();
        }
        if farewell.goodbye.is_none() {
            frames.pass(bytes);
            return 0;
        }
        let passed = frames.pass_one(bytes);
        if frames.is_between() {
            farewell.is_due = true;
            farewell.has_parted = frames.has_closed();
            frames.pass(&bytes[passed..]);
        }
        passed
    }

    /// Says goodbye if it is time to, between two frames; true if there is something to write.
    fn takes_leave(&mut self) -> bool {
        let Some(farewell) = &mut self.farewell else { return false };
        if !self.is_leaving {
            return false;
        }
        let Farewell { frames, goodbye, is_due, has_parted } = farewell;
        if goodbye.is_none() {
            // Nothing is passed on any more. Once the one side has parted as well, this direction is over.
            self.has_ended |= frames.has_closed();
            return false;
        }
        if !*is_due {
            if !frames.is_between() {
                return false;
            }
            *has_parted = frames.has_closed();
        }
        if *has_parted {
            // The other side has been told already, by the one.
            self.farewell = None;
            return false;
        }
        self.pending = goodbye.take().unwrap_or_default();
        true
    }

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
            if self.takes_leave() {
                continue;
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
                    let bytes = &bytes[..self.pass(bytes)];
                    if bytes.is_empty() {
                        continue;
                    }
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
