//! What is open for longer than a moment, by the key that opened it: tunnels, answers and uploads that take their time.
//!
//! Whoever serves such a stream [registers](OpenStreams::register) it, holds the [`Registered`] for as long as it is open,
//! and stops when [`Registered::poll_cut`] says so. [`OpenStreams::cut_unless`] is called when a key is gone or off.
//!
//! Registering costs an allocation and a lock of the worker's own, so what is over at once is not registered. A stream is
//! only told to stop: that it does, and how, is its own business.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::keys::{KeyId, SecretTag, TableEntry};

/// The open streams of one worker.
#[derive(Debug, Default)]
pub struct OpenStreams(Mutex<Register>);

#[derive(Debug, Default)]
struct Register {
    next: u64,
    is_closing: bool,
    open: HashMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    key: Option<(KeyId, SecretTag)>,
    /// Dropping it cuts the stream.
    _cut: oneshot::Sender<()>,
}

impl OpenStreams {
    /// Takes a stream in, with the key that opened it; nothing once all have been cut.
    #[must_use]
    pub fn register(self: &Arc<Self>, shown: Option<&TableEntry>) -> Option<Registered> {
        let (cut, is_cut) = oneshot::channel();
        let mut register = self.lock();
        if register.is_closing {
            return None;
        }
        let id = register.next;
        register.next += 1;
        register.open.insert(id, Open { key: shown.map(|shown| (shown.key.id.clone(), shown.secret)), _cut: cut });
        Some(Registered { streams: Arc::clone(self), id, is_cut })
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// Cuts all of them, and lets none in from now on.
    pub fn cut_all(&self) {
        let mut register = self.lock();
        register.is_closing = true;
        register.open.clear();
    }

    /// Cuts those whose key, or whose secret of it, is not good any more, and says how many there were. Those without a
    /// key stay.
    pub fn cut_unless(&self, is_good: impl Fn(&KeyId, SecretTag) -> bool) -> usize {
        let mut register = self.lock();
        let before = register.open.len();
        register.open.retain(|_, open| open.key.as_ref().is_none_or(|(key, secret)| is_good(key, *secret)));
        before - register.open.len()
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream while it is open; dropping it says that it has ended.
#[derive(Debug)]
pub struct Registered {
    streams: Arc<OpenStreams>,
    id: u64,
    is_cut: oneshot::Receiver<()>,
}

impl Registered {
    /// Ready when the stream must end.
    pub fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Nothing is ever sent: the sender is dropped.
        Pin::new(&mut self.is_cut).poll(context).map(|_| ())
    }

    /// Returns when the stream must end.
    pub async fn cut(&mut self) {
        std::future::poll_fn(|context| self.poll_cut(context)).await;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.streams.lock().open.remove(&self.id);
    }
}
