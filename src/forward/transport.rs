//! The connections one worker keeps open between requests.
//!
//! [`Transport::lane`] gives the [`Lane`] to one server: an address, and who must answer there. A request takes a connection
//! from it, or opens one, and the exchange puts it back if it can serve again. The one used last is taken first, so that
//! those nobody needs grow old and are swept away.
//!
//! A lane belongs to an address and a TLS identity, never to an upstream by name: it lives on over a reload that changes
//! neither, and is never shared by two that trust different certificates.
//!
//! Servers that speak HTTP/2 have lanes of their own kind, [`Http2Lane`], found in the same way.
//!
//! The locks are this worker's own and held for a few instructions, never while something is awaited.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::connection::Connection;
use super::http2::Http2Lane;
use crate::upstream::{ServerTls, Upstream};

/// All lanes of one worker.
#[derive(Default)]
pub(super) struct Transport {
    lanes: Mutex<BTreeMap<SocketAddr, Vec<Arc<Lane>>>>,
    http2_lanes: Mutex<BTreeMap<SocketAddr, Vec<Arc<Http2Lane>>>>,
}

/// The HTTP/1.1 connections to one server.
pub(super) struct Lane {
    tls: Option<ServerTls>,
    #[expect(clippy::vec_box, reason = "a connection moves from task to task and back for each request")]
    idle: Mutex<Vec<Box<Connection>>>,
}

impl Transport {
    /// The lane to a server's address.
    pub(super) fn lane(&self, address: SocketAddr, tls: Option<&ServerTls>) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        let at_address = lanes.entry(address).or_default();
        if let Some(lane) = at_address.iter().find(|lane| is_same_identity(lane.tls.as_ref(), tls)) {
            return lane.clone();
        }
        let lane = Arc::new(Lane { tls: tls.cloned(), idle: Mutex::default() });
        at_address.push(lane.clone());
        lane
    }

    /// The lane to a server that speaks HTTP/2.
    pub(super) fn http2_lane(&self, address: SocketAddr, tls: Option<&ServerTls>) -> Arc<Http2Lane> {
        let mut lanes = lock(&self.http2_lanes);
        let at_address = lanes.entry(address).or_default();
        if let Some(lane) = at_address.iter().find(|lane| is_same_identity(lane.tls.as_ref(), tls)) {
            return lane.clone();
        }
        let lane = Arc::new(Http2Lane::new(address, tls.cloned()));
        at_address.push(lane.clone());
        lane
    }

    /// Closes idle connections whose time is over or that the server has closed, and forgets lanes nobody uses.
    pub(super) fn sweep(&self, now: Instant) {
        lock(&self.lanes).retain(|_, at_address| {
            at_address.retain(|lane| lane.sweep(now) > 0 || Arc::strong_count(lane) > 1);
            !at_address.is_empty()
        });
        lock(&self.http2_lanes).retain(|_, at_address| {
            at_address.retain(|lane| lane.sweep(now) > 0 || Arc::strong_count(lane) > 1);
            !at_address.is_empty()
        });
    }

    /// How many connections are idle.
    pub(super) fn idle_connections(&self) -> usize {
        let http1: usize = lock(&self.lanes).values().flatten().map(|lane| lock(&lane.idle).len()).sum();
        let http2: usize = lock(&self.http2_lanes).values().flatten().map(|lane| lane.idle_connections()).sum();
        http1 + http2
    }
}

impl Lane {
    /// The connection used last that can still be used.
    pub(super) fn take(&self, now: Instant) -> Option<Box<Connection>> {
        let mut idle = lock(&self.idle);
        while let Some(mut connection) = idle.pop() {
            if connection.expires <= now {
                // Those below it are older still.
                idle.clear();
                return None;
            }
            if connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request. The oldest one goes if there are too many.
    pub(super) fn put(&self, mut connection: Box<Connection>, upstream: &Upstream) {
        if upstream.max_idle == 0 || upstream.idle_timeout.is_zero() {
            return;
        }
        connection.rest();
        connection.expires = Instant::now() + upstream.idle_timeout;
        let mut idle = lock(&self.idle);
        if idle.len() >= upstream.max_idle {
            let surplus = idle.len() + 1 - upstream.max_idle;
            idle.drain(..surplus);
        }
        idle.push(connection);
    }

    fn sweep(&self, now: Instant) -> usize {
        let mut idle = lock(&self.idle);
        idle.retain_mut(|connection| connection.expires > now && connection.is_quiet());
        idle.len()
    }
}

fn is_same_identity(one: Option<&ServerTls>, other: Option<&ServerTls>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.server_name == other.server_name && Arc::ptr_eq(&one.config, &other.config),
        _ => false,
    }
}

/// Nothing in here panics while it holds a lock, and if it did the lists would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
