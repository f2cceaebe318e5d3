//! How many connections there may be: in all, and from one address.
//!
//! `app` makes one [`ConnectionLimits`] for all workers; an accept loop asks it for a place for each new connection
//! and closes the connection at once if there is none. The place is given back when it is dropped.
//!
//! Shared memory is touched when a connection comes and when it goes, never by a request. An IPv6 client is counted by
//! its /64, which is what one customer gets: with whole addresses one host could fill every place.
//!
//! Proxies in front of us bring many clients over few addresses: list them as exempt, or the limit meant for one client
//! becomes a limit for all of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use tokio::sync::Notify;

use crate::telemetry::metrics::WorkerMetrics;

/// Places for connections, shared by all workers; clones are the same places.
#[derive(Debug, Clone)]
pub struct ConnectionLimits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    most_per_address: usize,
    exempt: Vec<IpNet>,
    taken: AtomicUsize,
    hasher: RandomState,
    shards: [Mutex<HashMap<u128, usize>>; SHARDS],
}

const SHARDS: usize = 64;

/// Which limit left no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The server as a whole is full.
    Overall,
    /// This address has all it may have.
    ForAddress,
    /// The descriptors that are left are not for callers.
    Descriptors,
}

impl NoPlace {
    /// The name of the limit in metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Overall => "connections",
            Self::ForAddress => "connections_per_address",
            Self::Descriptors => "descriptors",
        }
    }
}

impl Default for ConnectionLimits {
    /// 10,000 connections, 1,000 from one address: ten times what a busy client opens, and one attacker alone cannot
    /// take every place.
    fn default() -> Self {
        Self::new(10_000, 1_000, Vec::new())
    }
}

impl ConnectionLimits {
    /// Limits in all and per address; addresses in `exempt` are counted in the whole only.
    pub fn new(most: usize, most_per_address: usize, exempt: Vec<IpNet>) -> Self {
        Self(Arc::new(Inner {
            most,
            most_per_address,
            exempt,
            taken: AtomicUsize::new(0),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }))
    }

    /// Connections open now, on all workers.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// A place for a connection from this address.
    pub(super) fn take(&self, address: IpAddr, owner: Owner) -> Result<Place, NoPlace> {
        let inner = &self.0;
        if inner.taken.fetch_add(1, Ordering::Relaxed) >= inner.most {
            inner.taken.fetch_sub(1, Ordering::Relaxed);
            return Err(NoPlace::Overall);
        }
        let address = address.to_canonical();
        let key = (!inner.exempt.iter().any(|network| network.contains(&address))).then(|| key(address));
        if let Some(key) = key {
            let mut shard = inner.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
            let taken = shard.entry(key).or_default();
            if *taken >= inner.most_per_address {
                if *taken == 0 {
                    shard.remove(&key);
                }
                inner.taken.fetch_sub(1, Ordering::Relaxed);
                return Err(NoPlace::ForAddress);
            }
            *taken += 1;
        }
        owner.live.count.fetch_add(1, Ordering::Relaxed);
        owner.metrics.connection_opened(&owner.listener);
        Ok(Place { limits: self.clone(), key, owner })
    }
}

impl Inner {
    fn shard(&self, key: u128) -> &Mutex<HashMap<u128, usize>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 network of 64 bits.
fn key(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64 | 1,
    }
}

/// Who a place is counted for besides the limits.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) listener: Arc<str>,
    pub(super) metrics: WorkerMetrics,
    pub(super) live: Arc<Live>,
}

/// The connections and tunnels of one worker that are still open.
#[derive(Debug, Default)]
pub(super) struct Live {
    count: AtomicUsize,
    ended: Notify,
}

impl Live {
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until none is left. Cancel-safe.
    pub(super) async fn none_left(&self) {
        loop {
            let ended = self.ended.notified();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// One open connection; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Place {
    limits: ConnectionLimits,
    key: Option<u128>,
    owner: Owner,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let mut shard = self.limits.0.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(taken) = shard.get_mut(&key) {
                *taken -= 1;
                if *taken == 0 {
                    shard.remove(&key);
                }
            }
        }
        self.limits.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.owner.metrics.connection_closed(&self.owner.listener);
        if self.owner.live.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.owner.live.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_in_all_and_come_back() {
        let limits = ConnectionLimits::new(4, 2, vec!["192.0.2.0/24".parse().expect("a network")]);
        let owner = Owner { listener: "data".into(), metrics: WorkerMetrics::default(), live: Arc::default() };
        let take = |address: &str| limits.take(address.parse().expect("an address"), owner.clone());
        let rows = [
            ("2001:db8::1", None),
            ("2001:db8::ffff:2", None),
            ("2001:db8::3", Some(NoPlace::ForAddress)),
            ("192.0.2.1", None),
            ("::ffff:192.0.2.1", None),
            ("198.51.100.1", Some(NoPlace::Overall)),
        ];
        let mut places = Vec::new();
        for (address, expected) in rows {
            let outcome = take(address);
            assert_eq!(outcome.as_ref().err().copied(), expected, "{address}");
            places.extend(outcome.ok());
        }
        assert_eq!((limits.taken(), owner.live.count()), (4, 4));

        places.clear();

        assert_eq!((limits.taken(), owner.live.count()), (0, 0));
        assert!(limits.0.shards.iter().all(|shard| shard.lock().expect("not poisoned").is_empty()));
        assert!(take("2001:db8::3").is_ok());
    }
}
