//! Puts changed rules, keys and certificates in force while requests flow.
//!
//! A [`Reloader`] lives on a thread of its own and waits for a reason to look: a file event, a slow poll, a signal, the
//! admin API. It reads everything, and only if all of it is right does it change anything. A failed reload changes
//! nothing and is visible in log, metric and readiness; a good one is one swap of certificates and one of rules and keys
//! together. A request is judged by both as they were or by both as they are: while they change, which takes about a
//! microsecond for each key that differs, none is judged ([`KeyTable::epoch`]). No socket is touched and no request lost.
//!
//! What counts is the content, not the event: mounted configuration is replaced by swapping a symlink, which says nothing
//! of the file, and editors write the same text again.

mod watch;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::{self, IssuingSettings, Loaded, LoadedKeys, Problems, Settings, Source, WatchedFile};
use crate::keys::KeyTable;
use crate::server::tls::{Certificate, CertificateError, CertificateResolver};
use crate::snapshot::{CurrentSnapshot, Snapshot};
use crate::telemetry::health::{Health, ReloadOutcome};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::redact::Masks;

use watch::Watch;

/// How often files are looked at although nothing told of a change: network file systems tell nothing.
const POLL: Duration = Duration::from_secs(10);
/// How long files must be left alone before they are read: a write in place is seen before it is complete.
const SETTLE: Duration = Duration::from_millis(200);

/// Why the reloader should look.
#[derive(Debug)]
pub enum Trigger {
    /// A file event.
    Changed,
    /// SIGHUP.
    Signal,
    /// The admin API; the outcome goes back through the channel.
    Asked(tokio::sync::oneshot::Sender<Outcome>),
    /// The process is about to end.
    Stop,
}

/// What came of looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The files say what they said before.
    Unchanged,
    /// In force, as this generation.
    Applied {
        /// Of the rules now in force.
        generation: u64,
    },
    /// Nothing was changed; the report says why.
    Rejected {
        /// All problems, as printed for people.
        report: String,
    },
}

/// The certificates of one listener, which a reload may swap.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The listener's name.
    pub listener: Arc<str>,
    /// What handshakes ask.
    pub resolver: Arc<CertificateResolver>,
}

/// All that a reload touches. Made by `app`.
#[allow(missing_debug_implementations, reason = "it holds a function")]
pub struct Reloader {
    /// Where the configuration is read from.
    pub source: Source,
    /// What is fixed at start, to tell when a restart is needed.
    pub settings: Settings,
    /// The rules in force.
    pub snapshot: Arc<CurrentSnapshot>,
    /// The keys in force.
    pub keys: Arc<KeyTable>,
    /// The certificates in force.
    pub certificates: Vec<CertificateFiles>,
    /// Every file that was read, to watch and to compare.
    pub watched: Vec<WatchedFile>,
    /// Where outcomes are counted.
    pub metrics: Metrics,
    /// Where the last outcome is shown.
    pub health: Health,
    /// What the access log must not show.
    pub masks: Masks,
    /// The last configuration that was read could not be used; `false` at first.
    pub is_rejected: bool,
    /// Told whenever keys changed: what keys that are gone have opened is to be closed.
    pub keys_changed: KeysChanged,
    /// Asked whether what was loaded can be in force beside what else there is.
    pub fits: Fits,
    /// What is done with rules just before they are in force.
    pub prepare: Prepare,
    /// Given what was put in force.
    pub applied: Applied,
}

/// See [`Reloader::prepare`].
pub type Prepare = Box<dyn Fn(&crate::snapshot::Snapshot) + Send>;
/// See [`Reloader::fits`].
pub type Fits = Box<dyn Fn(&Loaded) -> Result<(), Problems> + Send>;
/// See [`Reloader::applied`].
pub type Applied = Box<dyn Fn(InForce) + Send>;

/// What a reload has put in force beside rules and certificates.
#[derive(Debug)]
pub struct InForce {
    /// The rules it goes with.
    pub snapshot: Arc<Snapshot>,
    /// Clients and keys of the files.
    pub keys: LoadedKeys,
    /// What is said about keys that are issued.
    pub issuing: IssuingSettings,
}

/// See [`Reloader::keys_changed`].
pub type KeysChanged = Arc<dyn Fn() + Send + Sync>;

/// Wakes the reloader's thread.
#[derive(Debug, Clone)]
pub struct ReloadHandle(Sender<Trigger>);

impl ReloadHandle {
    /// Asks it to look. If the thread has ended, so has the process, nearly.
    pub fn trigger(&self, trigger: Trigger) {
        let _ = self.0.send(trigger);
    }
}

impl Reloader {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(self) -> std::io::Result<ReloadHandle> {
        let (sender, receiver) = mpsc::channel();
        let handle = ReloadHandle(sender.clone());
        std::thread::Builder::new().name("reload".into()).spawn(move || self.run(&receiver, &sender))?;
        Ok(handle)
    }

    fn run(mut self, receiver: &Receiver<Trigger>, sender: &Sender<Trigger>) {
        let mut watch = Watch::start(&self.watched, sender);
        loop {
            let trigger = match receiver.recv_timeout(POLL) {
                Ok(Trigger::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Trigger::Changed) => {
                    if wait_until_settled(receiver, sender) {
                        return;
                    }
                    Trigger::Changed
                }
                Ok(trigger) => trigger,
                Err(RecvTimeoutError::Timeout) => Trigger::Changed,
            };
            if matches!(trigger, Trigger::Changed) && !self.watched.iter().any(WatchedFile::may_have_changed) {
                continue;
            }
            let outcome = self.reload(&trigger);
            watch.follow(&self.watched);
            if let Trigger::Asked(reply) = trigger {
                // Whoever asked may have left.
                let _ = reply.send(outcome);
            }
        }
    }

    /// Reads everything and puts it in force, or keeps what there is.
    fn reload(&mut self, trigger: &Trigger) -> Outcome {
        let began = Instant::now();
        let before = self.snapshot.load();
        let mut loaded = match config::load(&self.source, before.generation + 1) {
            Ok(loaded) => loaded,
            Err(problems) => {
                // The mend may come in a file that was not named before.
                self.watched = problems.watched_files().to_vec();
                return self.reject(&problem_lines(&problems), problems.to_string());
            }
        };
        if let Err(problems) = (self.fits)(&loaded) {
            self.watched = problems.watched_files().to_vec();
            return self.reject(&problem_lines(&problems), problems.to_string());
        }
        let mut certificates = Vec::new();
        for entry in &self.certificates {
            // A listener that has lost its TLS in the file waits for a restart, like every change of a listener.
            let Some(files) = loaded.certificates.iter().find(|files| files.listener == entry.listener) else {
                continue;
            };
            match read_certificates(files) {
                Ok(read) => certificates.push((entry, read)),
                Err(error) => {
                    let line = format!("listener `{}`: {error}", entry.listener);
                    return self.reject(std::slice::from_ref(&line), line.clone());
                }
            }
        }
        self.watched = std::mem::take(&mut loaded.watched_files);
        if loaded.snapshot.content_digest == before.content_digest {
            if self.is_rejected {
                tracing::info!("the configuration is again what is in force");
            } else if !matches!(trigger, Trigger::Changed) {
                tracing::info!("asked to reload: the configuration has not changed");
            }
            self.is_rejected = false;
            self.health.reload_finished(ReloadOutcome::Unchanged, SystemTime::now());
            return Outcome::Unchanged;
        }

        for difference in self.settings.differences(&loaded.settings) {
            tracing::warn!("{difference}: needs a restart");
        }
        for (entry, read) in certificates {
            // An empty list is a problem that the load has reported.
            let _ = entry.resolver.replace(read);
        }
        report_certificates(&self.metrics, &self.certificates);
        let (generation, digest) = (loaded.snapshot.generation, loaded.snapshot.content_digest.clone());
        let difference = endpoint_changes(&before, &loaded.snapshot);
        self.masks.set(loaded.issuing.prefixes.iter().map(|entry| &*entry.prefix));
        // What takes long comes before: while keys and rules change, requests wait.
        let keys = self.keys.difference(loaded.table);
        let changed = {
            let _joint = self.keys.begin_joint_change();
            self.keys.set_pepper(loaded.pepper.take());
            (self.prepare)(&loaded.snapshot);
            self.snapshot.publish(loaded.snapshot);
            self.keys.apply(keys)
        };
        (self.keys_changed)();

        self.health.published(generation, &digest, SystemTime::now());
        self.health.reload_finished(ReloadOutcome::Applied, SystemTime::now());
        let in_force = self.snapshot.load();
        report_endpoints(&self.metrics, &in_force);
        for line in problem_lines(&loaded.warnings) {
            tracing::warn!("{line}");
        }
        (self.applied)(InForce { snapshot: Arc::clone(&in_force), keys: loaded.keys, issuing: loaded.issuing });
        self.is_rejected = false;
        tracing::info!(
            generation,
            digest = %&digest[..digest.len().min(12)],
            endpoints = in_force.router.endpoints().len(),
            keys.added = changed.added,
            keys.changed = changed.changed,
            keys.removed = changed.removed,
            took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "configuration reloaded{difference}"
        );
        Outcome::Applied { generation }
    }

    fn reject(&mut self, lines: &[String], report: String) -> Outcome {
        self.is_rejected = true;
        for line in lines {
            tracing::error!("{line}");
        }
        tracing::error!("the configuration was not reloaded; what was in force stays in force");
        self.health.reload_finished(ReloadOutcome::Rejected { problem: report.as_str().into() }, SystemTime::now());
        Outcome::Rejected { report }
    }
}

/// Certificates from the bytes that were read with the configuration.
///
/// # Errors
/// The first one that cannot be used.
pub fn read_certificates(files: &config::ListenerCertificates) -> Result<Vec<Certificate>, CertificateError> {
    files
        .certificates
        .iter()
        .map(|file| Certificate::parse(&file.certificate, &file.certificate_pem, &file.key, &file.key_pem))
        .collect()
}

/// Tells the metrics when certificates end.
pub fn report_certificates(metrics: &Metrics, listeners: &[CertificateFiles]) {
    let mut ends = Vec::new();
    for certificate in listeners.iter().flat_map(|entry| entry.resolver.certificates()) {
        let seconds = certificate.not_after.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let name = certificate.names.first().cloned().unwrap_or_else(|| certificate.file.display().to_string());
        ends.push((name, i64::try_from(seconds).unwrap_or(i64::MAX)));
    }
    metrics.set_certificates(ends.iter().map(|(name, seconds)| (name.as_str(), *seconds)));
}

/// Tells the metrics what is in force.
pub fn report_endpoints(metrics: &Metrics, snapshot: &Snapshot) {
    let upstreams = snapshot.router.upstreams();
    let servers = upstreams
        .iter()
        .flat_map(|upstream| upstream.servers().iter().map(|server| (&*upstream.name, &*server.authority)));
    metrics.set_endpoints(snapshot.router.endpoints().len(), servers);
}

/// Waits for a pause in file events; true if the thread should end. Other triggers are put back in the queue.
fn wait_until_settled(receiver: &Receiver<Trigger>, sender: &Sender<Trigger>) -> bool {
    // A file that never rests is read all the same, in time.
    let patience = Instant::now() + 10 * SETTLE;
    while Instant::now() < patience {
        match receiver.recv_timeout(SETTLE) {
            Ok(Trigger::Changed) => {}
            Ok(Trigger::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
            Ok(other) => {
                let _ = sender.send(other);
                return false;
            }
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
    false
}

/// A report for the log, where one event is one line.
fn problem_lines(problems: &Problems) -> Vec<String> {
    let line = |problem: &config::Problem| {
        let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        format!("{}: {}{hint}", problem.place(), problem.message)
    };
    problems.list().iter().map(line).collect()
}

/// Names of endpoints that came and went, for the log.
fn endpoint_changes(before: &crate::snapshot::Snapshot, after: &crate::snapshot::Snapshot) -> String {
    let names = |snapshot: &crate::snapshot::Snapshot| -> Vec<Arc<str>> {
        snapshot.router.endpoints().iter().map(|endpoint| Arc::clone(&endpoint.name)).collect()
    };
    let (old, new) = (names(before), names(after));
    let list = |from: &[Arc<str>], without: &[Arc<str>]| -> Vec<String> {
        from.iter().filter(|name| !without.contains(name)).map(ToString::to_string).collect()
    };
    let (added, removed) = (list(&new, &old), list(&old, &new));
    let mut text = String::new();
    for (word, names) in [("new", added), ("gone", removed)] {
        if !names.is_empty() {
            text.push_str(&format!("; {word} endpoints: {}", names.join(", ")));
        }
    }
    text
}
