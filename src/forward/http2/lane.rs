//! The HTTP/2 connections of one worker to one server.
//!
//! [`Http2Lane::stream`] gives a [`StreamPlace`], the right to open one stream: on the first connection that has room, or on
//! a new one. One connection is opened at a time, and the requests that find none wait for it instead of opening theirs. A
//! server that takes few streams at once gets more connections, so many and no more; beyond that requests wait as they do
//! for a place at the upstream, in a queue of the same length and for the same time.
//!
//! Streams go to the oldest connection that has room, so that those nobody needs grow idle and are swept away.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Http2Settings;
use super::connection::Http2Connection;
use crate::forward::error::ForwardError;
use crate::upstream::{ServerTls, Upstream};

/// The connections to one server.
pub(in crate::forward) struct Http2Lane {
    pub(in crate::forward) tls: Option<ServerTls>,
    address: SocketAddr,
    connections: Mutex<Connections>,
    /// Something has changed that those who wait may be waiting for.
    changed: Notify,
}

#[derive(Default)]
struct Connections {
    open: Vec<Kept>,
    is_opening: bool,
    waiting: u32,
    /// How often a connection could not be opened, and what went wrong last.
    failures: u64,
    failure: Option<ForwardError>,
}

impl Connections {
    /// Lets go of connections that are over, and of those that have been idle for too long.
    fn forget_those_over(&mut self, now: Instant) {
        self.open.retain(|kept| {
            let is_kept = !kept.connection.is_over() && (kept.connection.streams() > 0 || kept.expires > now);
            if !is_kept {
                kept.connection.retire();
            }
            is_kept
        });
    }
}

struct Kept {
    connection: Arc<Http2Connection>,
    /// When it can be closed, if no stream is open.
    expires: Instant,
}

/// The right to one stream; given back when it is dropped.
pub(super) struct StreamPlace {
    pub(super) connection: Arc<Http2Connection>,
    lane: Arc<Http2Lane>,
    idle_time: Duration,
}

/// What a look at the connections comes to.
enum Found {
    Room(Arc<Http2Connection>),
    /// A connection is to be opened, by the one who looked.
    MayOpen,
    /// `is_empty`: there is no connection at all, one is being opened.
    Full {
        is_empty: bool,
        failures: u64,
    },
}

impl Http2Lane {
    /// Without a connection yet.
    pub(in crate::forward) fn new(address: SocketAddr, tls: Option<ServerTls>) -> Self {
        Self { tls, address, connections: Mutex::default(), changed: Notify::new() }
    }

    /// A place for a stream, and whether its connection was there before.
    pub(super) async fn stream(
        self: &Arc<Self>,
        upstream: &Upstream,
        off_limits: &[SocketAddr],
        settings: &Http2Settings,
    ) -> Result<(StreamPlace, bool), ForwardError> {
        let begun = Instant::now();
        let mut waiting = None;
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            match self.look(settings) {
                Found::Room(connection) => return Ok((self.place(connection, upstream), true)),
                Found::MayOpen => {
                    let opening = Opening { lane: self, failure: None };
                    return opening.run(upstream, off_limits, settings).await.map(|place| (place, false));
                }
                Found::Full { is_empty, failures } => {
                    // What is waited for is another's attempt to connect, which ends soon, or the end of another's exchange.
                    let time = if is_empty { upstream.timeouts.connect } else { upstream.concurrency.queue_time };
                    if !is_empty && waiting.is_none() {
                        waiting = Some(self.wait(upstream.concurrency.queue).ok_or(ForwardError::Busy)?);
                    }
                    let in_time = timeout_at(begun + time, changed).await;
                    self.has_failed_since(failures)?;
                    if in_time.is_err() {
                        return Err(if is_empty { ForwardError::ConnectTimeout } else { ForwardError::Busy });
                    }
                }
            }
        }
    }

    /// Something has changed: whoever waits looks again.
    pub(super) fn has_changed(&self) {
        self.changed.notify_waiters();
    }

    /// No stream is opened on this connection any more.
    pub(super) fn retire(&self, connection: &Arc<Http2Connection>) {
        connection.retire();
        self.lock().open.retain(|kept| !Arc::ptr_eq(&kept.connection, connection));
    }

    /// Closes connections that have been idle for too long, and forgets those that are over. Gives how many are left.
    pub(in crate::forward) fn sweep(&self, now: Instant) -> usize {
        let mut connections = self.lock();
        connections.forget_those_over(now);
        connections.open.len()
    }

    /// How many connections are open and idle.
    pub(in crate::forward) fn idle_connections(&self) -> usize {
        let connections = self.lock();
        let is_idle = |kept: &&Kept| !kept.connection.is_over() && kept.connection.streams() == 0;
        connections.open.iter().filter(is_idle).count()
    }

    fn look(&self, settings: &Http2Settings) -> Found {
        let now = Instant::now();
        let mut connections = self.lock();
        // One whose time was over before it was swept is not used either: the server is about to close it.
        connections.forget_those_over(now);
        let has_room = |kept: &&Kept| kept.connection.has_room(settings.streams, settings.streams_in_life);
        if let Some(kept) = connections.open.iter().find(has_room) {
            return Found::Room(Arc::clone(&kept.connection));
        }
        if connections.is_opening || connections.open.len() >= settings.connections {
            let is_empty = connections.open.is_empty();
            return Found::Full { is_empty, failures: connections.failures };
        }
        connections.is_opening = true;
        Found::MayOpen
    }

    fn place(self: &Arc<Self>, connection: Arc<Http2Connection>, upstream: &Upstream) -> StreamPlace {
        connection.stream_begins();
        let idle_time = if upstream.max_idle == 0 { Duration::ZERO } else { upstream.idle_timeout };
        StreamPlace { connection, lane: Arc::clone(self), idle_time }
    }

    fn wait(&self, most: u32) -> Option<Waiting<'_>> {
        let mut connections = self.lock();
        if connections.waiting >= most {
            return None;
        }
        connections.waiting += 1;
        Some(Waiting(self))
    }

    /// What another's attempt failed with is true for all who waited for it, if there is no other connection.
    fn has_failed_since(&self, failures: u64) -> Result<(), ForwardError> {
        let connections = self.lock();
        match &connections.failure {
            Some(failure) if connections.failures != failures && connections.open.is_empty() => Err(again(failure)),
            _ => Ok(()),
        }
    }

    /// Nothing in here panics while it holds the lock, and if it did the list would still be whole.
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is being opened. However it ends, another may be opened then.
struct Opening<'l> {
    lane: &'l Arc<Http2Lane>,
    failure: Option<ForwardError>,
}

impl Opening<'_> {
    async fn run(
        mut self,
        upstream: &Upstream,
        off_limits: &[SocketAddr],
        settings: &Http2Settings,
    ) -> Result<StreamPlace, ForwardError> {
        let lane = self.lane;
        let (tls, limit) = (lane.tls.as_ref(), upstream.timeouts.connect);
        let opened = Http2Connection::open(lane.address, tls, limit, off_limits, settings, Arc::downgrade(lane)).await;
        match opened {
            Ok(connection) => {
                let connection = Arc::new(connection);
                let place = lane.place(Arc::clone(&connection), upstream);
                lane.lock().open.push(Kept { connection, expires: Instant::now() });
                Ok(place)
            }
            Err(error) => {
                self.failure = Some(again(&error));
                Err(error)
            }
        }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut connections = self.lane.lock();
        connections.is_opening = false;
        if let Some(failure) = self.failure.take() {
            connections.failures += 1;
            connections.failure = Some(failure);
        }
        drop(connections);
        self.lane.has_changed();
    }
}

/// One who waits; counted while it lives.
struct Waiting<'l>(&'l Http2Lane);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl StreamPlace {
    /// No stream is opened on its connection any more.
    pub(super) fn retire_connection(&self) {
        self.lane.retire(&self.connection);
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.connection.stream_ends();
        let mut connections = self.lane.lock();
        if self.connection.streams() == 0
            && let Some(kept) = connections.open.iter_mut().find(|kept| Arc::ptr_eq(&kept.connection, &self.connection))
        {
            kept.expires = Instant::now() + self.idle_time;
        }
        let has_waiting = connections.waiting > 0;
        drop(connections);
        if has_waiting {
            self.lane.changed.notify_one();
        }
    }
}

/// The same failure for another who has waited for the same attempt.
fn again(error: &ForwardError) -> ForwardError {
    let copy = |cause: &std::io::Error| std::io::Error::new(cause.kind(), cause.to_string());
    match error {
        ForwardError::ConnectRefused(cause) => ForwardError::ConnectRefused(copy(cause)),
        ForwardError::ConnectFailed(cause) => ForwardError::ConnectFailed(copy(cause)),
        ForwardError::Tls(cause) => ForwardError::Tls(copy(cause)),
        ForwardError::ConnectTimeout => ForwardError::ConnectTimeout,
        _ => ForwardError::NoHttp2(None),
    }
}
