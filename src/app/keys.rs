//! Keys that can be managed, put together: the store, what the files hold, and the rules for issuing.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use super::StartError;
use crate::config::{IssuingSettings, Loaded, LoadedKeys, Problems};
use crate::keys::KeyTable;
use crate::management::{self, Copied, FileKeys, Issuing, KnownWords, Management, Prefix};
use crate::policy::{PermissionRule, Policy};
use crate::snapshot::Snapshot;
use crate::store::StateCounts;
use crate::telemetry::metrics::{KeyFacts, Metrics};

/// Opens the store of a configuration and sees to it that the files go with it. The table holds no key of the store yet.
///
/// # Errors
/// The store cannot be used, or holds what the files hold too.
pub fn open(loaded: &Loaded, table: Arc<KeyTable>) -> Result<Management, StartError> {
    let store = management::open_store(loaded.settings.store.as_deref())?;
    let management = Management::new(store, table, issuing(&loaded.issuing, &loaded.snapshot));
    fits(&management, loaded)?;
    Ok(management)
}

/// Whether what was loaded can be in force beside the store.
pub(super) fn fits(management: &Management, loaded: &Loaded) -> Result<(), Problems> {
    let files = FileKeys { clients: loaded.keys.clients(), keys: &loaded.keys };
    let reasons: Vec<(Option<usize>, String, &str)> = match management.conflicts(files) {
        Ok(conflicts) => {
            conflicts.into_iter().map(|conflict| (conflict.key, conflict.message, conflict.hint)).collect()
        }
        Err(error) => {
            let message = format!("the files cannot be compared with the store: {error}");
            vec![(None, message, "see that no other program holds the store, and that it is whole")]
        }
    };
    if reasons.is_empty() { Ok(()) } else { Err(loaded.refuse(&reasons)) }
}

/// Whether every plan that keys of the store carry is among those of the configuration: without it they would be refused.
pub(super) fn plans_fit(management: &Management, loaded: &Loaded) -> Result<(), Problems> {
    let carried = management.store().read(|reader| reader.plans());
    let has = |plan: &String| loaded.snapshot.limits.plans.iter().any(|(name, _)| name.as_str() == plan);
    let missing = carried.unwrap_or_default().into_iter().filter(|plan| !has(plan));
    let reasons: Vec<(Option<usize>, String, &str)> = missing
        .map(|plan| {
            let message = format!("keys or clients of the store carry the plan `{plan}`, and it is not among `plans`");
            (None, message, "keep the plan until they have another: `keygate keys edit --plan`")
        })
        .collect();
    if reasons.is_empty() { Ok(()) } else { Err(loaded.refuse(&reasons)) }
}

/// The rules for issuing, from what the configuration says and what its endpoints name.
pub(super) fn issuing(settings: &IssuingSettings, snapshot: &Snapshot) -> Issuing {
    let prefixes = settings.prefixes.iter().map(|entry| Prefix {
        prefix: entry.prefix.clone(),
        key_type: entry.key_type,
        environment: entry.environment.clone(),
    });
    Issuing {
        policy: settings.policy.clone(),
        prefixes: prefixes.collect(),
        environment: snapshot.environment.clone(),
        known: known_words(snapshot),
        plans: snapshot.limits.plans.iter().map(|(plan, _)| plan.clone()).collect(),
        has_webhook: settings.webhook.is_some(),
        file_token: settings.admin_token,
    }
}

/// What the rules in force name.
fn known_words(snapshot: &Snapshot) -> KnownWords {
    let mut known = KnownWords::default();
    let mut note = |policy: &Policy| {
        for client_type in policy.client_types.iter().flatten() {
            known.client_types.insert(client_type.to_string());
        }
        match &policy.permissions {
            PermissionRule::None => {}
            PermissionRule::All(list) => known.permissions.extend(list.iter().cloned()),
            PermissionRule::ByMethod(entries) => {
                known.permissions.extend(entries.iter().flat_map(|(_, list)| list.iter().cloned()));
            }
        }
        for expression in policy.allow.iter().chain(&policy.allow_backoffice) {
            known.client_types.extend(expression.client_types().into_iter().map(str::to_owned));
        }
    };
    for endpoint in snapshot.router.endpoints() {
        note(&endpoint.base.policy);
        endpoint.routes.iter().for_each(|route| note(&route.rule.policy));
    }
    known
}

/// What is said of keys in metrics.
pub(super) fn facts(counts: &StateCounts) -> KeyFacts {
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    KeyFacts {
        by_state: vec![
            ("active", count(counts.active)),
            ("disabled", count(counts.disabled)),
            ("expired", count(counts.expired)),
            ("not_yet_valid", count(counts.not_yet_valid)),
        ],
        expiring: ["1d", "7d", "30d"].into_iter().zip(counts.expiring.map(count)).collect(),
        next_expiry: counts.next_expiry.map(|at| at.as_millis() / 1000),
    }
}

/// After a start the first requests come first: files are copied into a temporary store so much later, or when somebody
/// looks.
const COPY_AFTER: Duration = Duration::from_secs(20);
/// How much less than the data path the copier is to get of a processor that both want.
const COPIER_NICENESS: i32 = 19;

/// Copies what the files hold into the store, in the background: it may be a million keys, and nobody waits for it but
/// whoever lists them.
#[derive(Debug, Clone)]
pub(super) struct Copier(Sender<LoadedKeys>);

impl Copier {
    pub(super) fn start(management: Management, metrics: Metrics) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<LoadedKeys>();
        thread::Builder::new().name("files".into()).spawn(move || {
            // It goes on just as well, only less politely.
            let _ = rustix::process::nice(COPIER_NICENESS);
            while let Ok(mut keys) = receiver.recv() {
                let (ask, asked) = mpsc::channel();
                let is_put_off = management.store().is_temporary();
                if is_put_off {
                    management.files_wait(keys.counts(), ask);
                }
                let mut told = if is_put_off { asked.recv_timeout(COPY_AFTER).ok() } else { None };
                // Only the newest counts.
                while let Ok(newer) = receiver.try_recv() {
                    keys = newer;
                }
                match management.take_files(FileKeys { clients: keys.clients(), keys: &keys }) {
                    Ok(Copied::Whole) => {}
                    Ok(Copied::GivenUp(why)) => {
                        tracing::info!("the keys of the files are listed once the files were read again: {why}");
                    }
                    Err(error) => {
                        metrics.store_failed("files");
                        tracing::warn!(error = %error, "the keys of the files cannot be listed: they could not be copied");
                    }
                }
                management.files_wait_no_more();
                // Whoever asked is told by this.
                drop((told.take(), asked));
            }
        })?;
        Ok(Self(sender))
    }

    pub(super) fn copy(&self, keys: LoadedKeys) {
        // The thread ends with the process.
        let _ = self.0.send(keys);
    }
}

#[cfg(test)]
mod tests;
