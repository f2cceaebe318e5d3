//! How keygate is: which configuration is in force, how the last attempt to change it went, and whether it is stopping.
//!
//! `app` makes one [`Health`] and hands it on; `app` and `reload` write it, the health answers and the metrics read it.
//!
//! Healthy means "can decide": a configuration and keys are loaded, and no drain has begun. A failed reload does not make
//! keygate unhealthy, since the rules before it stay in force; taking every gateway out of service for a typing error in
//! one file is how outages are made.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

/// How an attempt to load the configuration ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// What was read is in force.
    Applied,
    /// What was read is what was in force already.
    Unchanged,
    /// What was read has problems; nothing was changed.
    Rejected {
        /// The report, for a person; may quote lines of the configuration.
        problem: Arc<str>,
    },
}

impl ReloadOutcome {
    /// The word in metrics and answers.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected { .. } => "rejected",
        }
    }
}

/// The last attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReload {
    /// When it ended.
    pub at: SystemTime,
    /// How.
    pub outcome: ReloadOutcome,
}

/// Attempts so far, by how they ended. The load at start is not one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReloadCounts {
    applied: u64,
    unchanged: u64,
    rejected: u64,
}

impl ReloadCounts {
    /// The words of [`ReloadOutcome::as_str`], each with its count.
    #[must_use]
    pub fn by_outcome(&self) -> [(&'static str, u64); 3] {
        [("applied", self.applied), ("unchanged", self.unchanged), ("rejected", self.rejected)]
    }
}

/// How keygate is, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Number of the configuration in force; 0 before the first.
    pub generation: u64,
    /// Digest of the files it was made from, in hex.
    pub content_digest: Arc<str>,
    /// When it was put in force.
    pub loaded_at: Option<SystemTime>,
    /// When the files were last found good, whether or not they had changed.
    pub last_success: Option<SystemTime>,
    /// A set of keys has been loaded.
    pub keys_loaded: bool,
    /// Work in flight is being finished; no more is wanted.
    pub draining: bool,
    /// The last attempt to reload, if there was one.
    pub last_reload: Option<LastReload>,
    /// All attempts to reload.
    pub reloads: ReloadCounts,
}

impl Status {
    /// Whether requests can be judged and are welcome.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.generation > 0 && self.keys_loaded && !self.draining
    }
}

/// The one place where the [`Status`] is kept. A clone is the same place.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<ArcSwap<Status>>);

impl Health {
    /// How keygate is now.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        self.0.load_full()
    }

    /// A configuration was put in force.
    pub fn published(&self, generation: u64, content_digest: &str, at: SystemTime) {
        self.change(|status| {
            status.generation = generation;
            status.content_digest = Arc::from(content_digest);
            status.loaded_at = Some(at);
            status.last_success = Some(at);
        });
    }

    /// A set of keys has been loaded.
    pub fn keys_loaded(&self) {
        self.change(|status| status.keys_loaded = true);
    }

    /// An attempt to reload has ended. Where it was applied, [`Health::published`] comes first.
    pub fn reload_finished(&self, outcome: ReloadOutcome, at: SystemTime) {
        self.change(|status| {
            match &outcome {
                ReloadOutcome::Applied => status.reloads.applied += 1,
                ReloadOutcome::Unchanged => status.reloads.unchanged += 1,
                ReloadOutcome::Rejected { .. } => status.reloads.rejected += 1,
            }
            if !matches!(outcome, ReloadOutcome::Rejected { .. }) {
                status.last_success = Some(at);
            }
            status.last_reload = Some(LastReload { at, outcome: outcome.clone() });
        });
    }

    /// The drain has begun. There is no way back.
    pub fn draining(&self) {
        self.change(|status| status.draining = true);
    }

    fn change(&self, change: impl Fn(&mut Status)) {
        self.0.rcu(|status| {
            let mut next = Status::clone(status);
            change(&mut next);
            next
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn ready_means_rules_and_keys_and_no_drain() {
        let health = Health::default();
        assert!(!health.status().is_ready());
        health.published(1, "ab", UNIX_EPOCH);
        assert!(!health.status().is_ready());
        health.keys_loaded();
        assert!(health.status().is_ready());
        health.draining();
        assert!(!health.status().is_ready());
    }

    #[test]
    fn a_rejected_reload_changes_nothing_that_is_in_force_and_is_remembered() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let health = Health::default();
        health.published(1, "ab", at(10));
        health.keys_loaded();
        let before = health.status();

        health.reload_finished(ReloadOutcome::Rejected { problem: Arc::from("line 3") }, at(20));

        let after = health.status();
        assert!(after.is_ready());
        assert_eq!(
            (after.generation, &after.content_digest, after.loaded_at),
            (1, &before.content_digest, Some(at(10)))
        );
        assert_eq!(after.last_success, Some(at(10)));
        assert_eq!(after.reloads.by_outcome(), [("applied", 0), ("unchanged", 0), ("rejected", 1)]);
        health.reload_finished(ReloadOutcome::Unchanged, at(30));
        assert_eq!((health.status().last_success, health.status().loaded_at), (Some(at(30)), Some(at(10))));
    }
}
