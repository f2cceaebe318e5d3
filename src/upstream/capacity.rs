//! How many requests an upstream gets at once.
//!
//! [`Capacity::enter`] gives a [`Place`] for one request, which lasts as long as its exchange. When all are taken the
//! request waits in a queue, first come first served; when the queue is full, or the wait too long, it is [`Full`]. A
//! service that has become slow is then met by as many requests as it was said to bear, and those that it cannot serve hear
//! of it soon instead of holding connections and memory until they time out.
//!
//! The same places are used by all workers, and over a reload by the old rules and the new: [`Capacities`] keeps them by
//! name and bound, and an upstream finds its own once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Concurrency;

/// The places of all upstreams; one for the whole process.
#[derive(Debug, Default)]
pub struct Capacities(Mutex<HashMap<Bound, Arc<Capacity>>>);

/// An upstream by name, and how many requests it gets at once.
type Bound = (Arc<str>, u32);

/// The places of one upstream.
#[derive(Debug)]
pub struct Capacity {
    places: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// Room for one request; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// No room, and none was given in time.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Capacities {
    /// The places of an upstream with this bound.
    pub(super) fn of(&self, name: &Arc<str>, most: u32) -> Arc<Capacity> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses any more are as good as new ones.
        known.retain(|(_, most), capacity| Arc::strong_count(capacity) > 1 || capacity.is_in_use(*most));
        let fresh = || Capacity {
            places: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS))),
            waiting: AtomicU32::new(0),
        };
        Arc::clone(known.entry((Arc::clone(name), most)).or_insert_with(|| Arc::new(fresh())))
    }
}

impl Capacity {
    /// A place, if there is one now.
    #[must_use]
    pub fn try_enter(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    /// A place, as soon as there is one. Cancel-safe: whoever gives up leaves the queue.
    ///
    /// # Errors
    /// The queue is full, or the time in it is over.
    pub async fn enter(&self, bounds: Concurrency) -> Result<Place, Full> {
        if let Some(place) = self.try_enter() {
            return Ok(place);
        }
        let _waiting = Waiting::begin(&self.waiting, bounds.queue).ok_or(Full)?;
        match timeout(bounds.queue_time, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit }),
            _ => Err(Full),
        }
    }

    fn is_in_use(&self, most: u32) -> bool {
        self.places.available_permits() < usize::try_from(most).unwrap_or(0)
    }
}

/// One who waits; counted while it lives.
struct Waiting<'c>(&'c AtomicU32);

impl<'c> Waiting<'c> {
    fn begin(count: &'c AtomicU32, most: u32) -> Option<Self> {
        let joined = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < most).then(|| now + 1));
        joined.is_ok().then(|| Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bounds(queue: u32, milliseconds: u64) -> Concurrency {
        Concurrency { max_requests: Some(2), queue, queue_time: Duration::from_millis(milliseconds) }
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_its_turn_and_not_for_ever() {
        let capacity = Capacities::default().of(&"api".into(), 2);
        let one = capacity.enter(bounds(1, 20)).await.expect("empty");
        let two = capacity.enter(bounds(1, 20)).await.expect("half empty");
        assert_eq!(capacity.enter(bounds(0, 20)).await.err(), Some(Full), "there is no queue");
        assert_eq!(capacity.enter(bounds(1, 20)).await.err(), Some(Full), "nobody left in time");
        let waiting = tokio::spawn({
            let capacity = Arc::clone(&capacity);
            async move { capacity.enter(bounds(1, 60_000)).await }
        });
        while capacity.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(capacity.enter(bounds(1, 60_000)).await.err(), Some(Full), "the queue is full");
        drop(one);
        let three = waiting.await.expect("no panic").expect("a place was given back");
        assert_eq!(capacity.waiting.load(Ordering::Relaxed), 0);
        drop((two, three));
        assert!(!capacity.is_in_use(2));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_queue() {
        let capacity = Capacities::default().of(&"api".into(), 1);
        let place = capacity.enter(bounds(1, 1)).await.expect("empty");
        let waiting = capacity.enter(bounds(1, 60_000));
        assert!(tokio::time::timeout(Duration::from_millis(5), waiting).await.is_err());
        assert_eq!(capacity.waiting.load(Ordering::Relaxed), 0);
        drop(place);
        assert!(capacity.enter(bounds(0, 1)).await.is_ok(), "nothing was given to the one who left");
    }

    #[tokio::test]
    async fn old_rules_and_new_share_their_places() {
        let capacities = Capacities::default();
        let old = capacities.of(&"api".into(), 1);
        let place = old.enter(bounds(0, 1)).await.expect("empty");
        drop(old);
        for (name, most, is_free) in [("api", 1, false), ("api", 2, true), ("other", 1, true)] {
            let entered = capacities.of(&name.into(), most).enter(bounds(0, 1)).await;
            assert_eq!(entered.is_ok(), is_free, "{name} {most}");
        }
        // What is in use is kept, whatever is asked for meanwhile.
        let wide = capacities.of(&"wide".into(), 3);
        let places =
            [wide.enter(bounds(0, 1)).await.expect("empty"), wide.enter(bounds(0, 1)).await.expect("half empty")];
        drop(wide);
        drop(capacities.of(&"other".into(), 1));
        assert_eq!(capacities.of(&"wide".into(), 3).places.available_permits(), 1);
        drop(places);
        drop(place);
        assert!(capacities.of(&"api".into(), 1).enter(bounds(0, 1)).await.is_ok());
    }
}
