//! The end of serving: told once, heard by every connection.
//!
//! `app` calls [`Drain::signal`] when it is asked to stop. Listeners close, idle connections close, busy ones finish
//! their exchange. What is still open when the grace period is over is cut by [`Drain::cut`], tunnels included.
//!
//! Both calls are for good: a drain that has begun never ends in serving again. Nothing here counts connections; that
//! is for [`serve`](super::serve), which owns them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

const SERVING: u8 = 0;
const DRAINING: u8 = 1;
const CUT: u8 = 2;

/// A handle on the drain; clones are the same drain.
#[derive(Debug, Clone, Default)]
pub struct Drain(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stage: AtomicU8,
    signalled: Arc<Notify>,
    cut: Arc<Notify>,
}

impl Drain {
    /// A drain that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the drain. Calling it again changes nothing.
    pub fn signal(&self) {
        self.0.stage.fetch_max(DRAINING, Ordering::SeqCst);
        self.0.signalled.notify_waiters();
    }

    /// Ends what is still open, at once.
    pub fn cut(&self) {
        self.0.stage.store(CUT, Ordering::SeqCst);
        self.0.signalled.notify_waiters();
        self.0.cut.notify_waiters();
    }

    /// Whether the drain has begun.
    pub fn is_signalled(&self) -> bool {
        self.0.stage.load(Ordering::Acquire) != SERVING
    }

    /// Whether what was left open has been cut.
    pub fn is_cut(&self) -> bool {
        self.0.stage.load(Ordering::Acquire) == CUT
    }

    /// Waits until the drain begins. Cancel-safe.
    pub async fn wait(&self) {
        let notified = self.0.signalled.notified();
        if !self.is_signalled() {
            notified.await;
        }
    }

    /// Waits until what is left is cut. Cancel-safe.
    pub async fn wait_cut(&self) {
        let notified = self.0.cut.notified();
        if !self.is_cut() {
            notified.await;
        }
    }

    /// For a future that is polled often and must hear of the drain.
    pub(super) fn watch(&self) -> Watch {
        Watch::new(self.clone(), DRAINING, &self.0.signalled)
    }

    /// For a tunnel, which hears only of its end.
    pub(super) fn watch_cut(&self) -> Watch {
        Watch::new(self.clone(), CUT, &self.0.cut)
    }
}

/// One listener for a stage of the drain: polling it costs one load as long as nothing happens.
#[derive(Debug)]
pub(super) struct Watch {
    drain: Drain,
    stage: u8,
    notified: Pin<Box<OwnedNotified>>,
    waker: Option<Waker>,
}

impl Watch {
    fn new(drain: Drain, stage: u8, notify: &Arc<Notify>) -> Self {
        Self { drain, stage, notified: Box::pin(Arc::clone(notify).notified_owned()), waker: None }
    }

    /// Ready once the stage is reached, and for ever after.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.drain.0.stage.load(Ordering::Acquire) >= self.stage {
            return Poll::Ready(());
        }
        if self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        if self.notified.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn everyone_hears_of_it_early_or_late() {
        let drain = Drain::new();
        let mut watch = drain.watch();
        let mut tunnel = drain.watch_cut();
        let early = tokio::spawn({
            let drain = drain.clone();
            async move { drain.wait().await }
        });
        let watching = tokio::spawn(async move { poll_fn(|context| watch.poll(context)).await });
        tokio::task::yield_now().await;

        drain.signal();
        drain.signal();

        let limit = Duration::from_secs(5);
        tokio::time::timeout(limit, early).await.expect("in time").expect("no panic");
        tokio::time::timeout(limit, watching).await.expect("in time").expect("no panic");
        tokio::time::timeout(limit, drain.wait()).await.expect("a late one too");
        assert!(!drain.is_cut());
        poll_fn(|context| {
            assert!(tunnel.poll(context).is_pending(), "a tunnel outlives the signal");
            Poll::Ready(())
        })
        .await;

        drain.cut();
        poll_fn(|context| tunnel.poll(context)).await;
        tokio::time::timeout(limit, drain.wait_cut()).await.expect("in time");
    }
}
