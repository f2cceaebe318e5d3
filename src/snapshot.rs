//! The rules in force: one immutable value, replaced whole.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::client::Environment;
use crate::identity::IdentityHeaders;
use crate::keys::Timestamp;
use crate::limit::Limits;
use crate::routing::{ErrorStyle, Router};

/// Everything a decision reads, except the keys.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up by one with each change that was put in force; 1 at start.
    pub generation: u64,
    /// Digest of the files it was made from, in hex.
    pub content_digest: Box<str>,
    /// When it was put in force.
    pub loaded_at: Timestamp,
    /// Endpoints by host, path and method.
    pub router: Router,
    /// Names to strip and to set.
    pub identity: IdentityHeaders,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Box<[IpNet]>,
    /// Whose word on end users is believed.
    pub trusted_identity: Box<[IpNet]>,
    /// The environment this gateway serves; keys of others are refused.
    pub environment: Option<Environment>,
    /// The shape of refusals that no endpoint answers for.
    pub errors: ErrorStyle,
    /// How much may be asked for.
    pub limits: Limits,
    /// What holders of keys may do with the key itself.
    pub self_service: Option<SelfService>,
}

/// What the holder of a key may do with the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfService {
    /// The path below which it is answered.
    pub prefix: Box<str>,
    /// Ask what the key is.
    pub whoami: bool,
    /// Get another secret for it.
    pub rotate: bool,
    /// Take it out of force.
    pub revoke: bool,
    /// How long an old secret may stay good at most.
    pub max_grace: Duration,
}

/// Where the snapshot in force is kept. The only `ArcSwap` of rules.
#[derive(Debug)]
pub struct CurrentSnapshot(ArcSwap<Snapshot>);

impl CurrentSnapshot {
    /// Starts with one.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// The snapshot in force. A request takes it once and finishes under it.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Puts another in force, from the next request on.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}
