//! What can be seen of a gateway that runs: its rules and who can reach what, its traffic of the last minutes, its settings,
//! and how it would decide a request.
//!
//! `app` makes one [`Observatory`] of what it has built and hands it to the admin API, which shows what is asked for. It only
//! looks: nothing here changes what is in force, and nothing is on the path of a request. What comes out is plain data, in
//! the very shape in which the admin API answers: the comments of its fields are the descriptions of the OpenAPI document.
//!
//! [`Observatory::watch`] takes a sample of all counters every few seconds, so that a chart has a past when it is first
//! drawn. No secret can come out: what holds one (digests, a pepper, the webhook's secret) is never handed in.

mod access;
mod endpoints;
mod overview;
mod question;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

pub use access::{Access, AccessCell, AccessMatrix, AccessRow, Condition};
pub use endpoints::{
    EndpointList, NamedPermission, PermissionList, Resource, SeenEndpoint, SeenListener, SeenPermission, SeenPlace,
    SeenRule, SeenServer,
};
pub use overview::{
    ConfigurationState, History, KeyCounts, Latency, Overview, Recent, SeenReload, ServerState, StatusCount,
    TrafficCounts, TrafficSample, UpstreamState, WordCount,
};
pub use question::{Answer, AnswerStep, Question, Unanswerable, Who};
pub use settings::{CertificateEnd, SeenPolicy, SeenPrefix, SeenSettings};

use std::sync::{Arc, Mutex};

use crate::config::{IssuingSettings, Settings};
use crate::keys::KeyTable;
use crate::snapshot::CurrentSnapshot;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use overview::Samples;

/// What an observatory looks at.
#[derive(Debug)]
pub struct Seen {
    /// The rules in force.
    pub snapshot: Arc<CurrentSnapshot>,
    /// The keys in force.
    pub keys: Arc<KeyTable>,
    /// What is counted.
    pub metrics: Metrics,
    /// How the gateway is.
    pub health: Health,
    /// What was fixed at the start.
    pub settings: Settings,
}

/// A view of a gateway that runs. A clone is the same.
#[derive(Debug, Clone)]
pub struct Observatory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seen: Seen,
    samples: Mutex<Samples>,
    issuing: arc_swap::ArcSwap<settings::SeenIssuing>,
}

impl Observatory {
    /// A view of this; what is said about keys that are issued is told by [`Observatory::set_issuing`].
    #[must_use]
    pub fn new(seen: Seen) -> Self {
        Self(Arc::new(Inner { seen, samples: Mutex::default(), issuing: arc_swap::ArcSwap::default() }))
    }

    /// What is said about keys that are issued; without its secrets.
    pub fn set_issuing(&self, issuing: &IssuingSettings) {
        self.0.issuing.store(Arc::new(settings::SeenIssuing::of(issuing)));
    }
}
