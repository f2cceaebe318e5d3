//! What a key has opened ends with the key.
//!
//! A body that has to wait, an answer's or an upload's, is registered with the worker's open streams. When a key is taken
//! out of force they are gone through, and those that are not covered any more are told to end. A body that is over at
//! once costs nothing.
//!
//! A key may go between the decision and the registration, so whoever registers looks once more.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use super::{Shared, Worker};
use crate::authentication::is_still_good;
use crate::forward::{OpenStreams, Registered};
use crate::keys::{KeyTable, TableEntry, Timestamp};
use crate::snapshot::CurrentSnapshot;

/// After so many pieces a body is registered though it never had to wait.
const PIECES_UNREGISTERED: u8 = 16;

/// Looks after one body.
#[derive(Debug, Default)]
pub(super) struct Withdrawal {
    registered: Option<Registered>,
    pieces: u8,
}

impl Withdrawal {
    /// Ready when the body must end; to be asked after each step of the body. `is_waiting` says that the step gave nothing.
    pub(super) fn poll(
        &mut self,
        worker: &Worker,
        shown: Option<&TableEntry>,
        is_waiting: bool,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(shown) = shown else { return Poll::Pending };
        if let Some(registered) = &mut self.registered {
            return registered.poll_cut(context);
        }
        self.pieces = self.pieces.saturating_add(1);
        if !is_waiting && self.pieces < PIECES_UNREGISTERED {
            return Poll::Pending;
        }
        let Some(registered) = worker.forwarder.streams().register(Some(shown)) else { return Poll::Ready(()) };
        let registered = self.registered.insert(registered);
        if !worker.shared.covers(shown) {
            return Poll::Ready(());
        }
        ready!(registered.poll_cut(context));
        Poll::Ready(())
    }
}

impl Shared {
    /// Whether a key that was shown is still good, as far as that can be told without the request.
    pub(super) fn covers(&self, shown: &TableEntry) -> bool {
        let snapshot = self.snapshot.load();
        let now = Timestamp::from(SystemTime::now());
        is_still_good(&shown.key.id, shown.secret, &self.keys, snapshot.environment.as_ref(), now)
    }
}

/// Ends what was opened with keys, or with secrets of them, that are not good any more. Says how much there was.
pub fn cut_withdrawn(streams: &[Arc<OpenStreams>], keys: &KeyTable, snapshot: &CurrentSnapshot) -> usize {
    let snapshot = snapshot.load();
    let now = Timestamp::from(SystemTime::now());
    streams
        .iter()
        .map(|streams| {
            streams.cut_unless(|key, secret| is_still_good(key, secret, keys, snapshot.environment.as_ref(), now))
        })
        .sum()
}
