//! One timer for all the deadlines of a connection, moved only when it fires too early.
//!
//! [`LazyTimer::poll`] is told the deadline that counts now. A request on a kept-alive connection moves its deadline
//! with every exchange; setting a runtime timer each time costs more than the request's head. So the timer stays where
//! it is when the deadline moves later, and is set again when it fires and finds that there is time left.
//!
//! It never fires before the deadline it is polled with, and has no deadline of its own.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is cheap to poll with a deadline that keeps moving away.
#[derive(Debug, Default)]
pub struct LazyTimer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Who the sleep wakes; polling it again for the same task would only cost time.
    waker: Option<Waker>,
}

impl LazyTimer {
    /// Whether the timer is set, has not fired, and will wake the task that asks.
    pub fn is_waiting(&self, context: &Context<'_>) -> bool {
        let will_wake = self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        will_wake && self.sleep.as_ref().is_some_and(|sleep| !sleep.is_elapsed())
    }

    /// Ready when `deadline` has passed; otherwise the task is woken at the deadline or before.
    pub fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            if deadline < sleep.deadline() {
                sleep.as_mut().reset(deadline);
                self.waker = None;
            }
            let will_wake = self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
            if will_wake && !sleep.is_elapsed() {
                return Poll::Pending;
            }
            if sleep.as_mut().poll(context).is_pending() {
                self.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            self.waker = None;
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_fires_at_the_deadline_it_is_polled_with_whichever_way_that_moved() {
        let start = Instant::now();
        let rows = [(60, 40), (40, 60), (30, 30)];
        for (first, then) in rows {
            let mut timer = LazyTimer::default();
            let begun = Instant::now();
            poll_fn(|context| {
                assert!(timer.poll(context, begun + Duration::from_millis(first)).is_pending());
                Poll::Ready(())
            })
            .await;
            poll_fn(|context| timer.poll(context, begun + Duration::from_millis(then))).await;
            assert!(begun.elapsed() >= Duration::from_millis(then), "{first} then {then}");
        }
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
