//! What goes on by itself beside changes: usage is written down, changes of other processes are followed, ends are
//! announced, unused keys are switched off, and what is old is forgotten.
//!
//! One thread does all of it, in turn, each in its own rhythm. A failure is logged and counted and tried again the next
//! time; the data path knows nothing of it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::issuing::{earlier, later};
use super::{Actor, Management, Refused, now};
use crate::keys::{KeyOrigin, Timestamp, UsageSample};
use crate::store::{KeyFilter, KeyOrder, KeyStatus, StateCounts, StoreError};

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(250);
/// How often usage is written down by itself: a busy gateway's keys are many rows, and few look at them.
const WRITE_USAGE: Duration = Duration::from_secs(30);
/// What somebody wants to look at was written down at most so long ago.
const FRESH: Duration = Duration::from_secs(1);
/// So long one who wants to look waits for it to be written down; after that the look is at what there is.
const PATIENCE: Duration = Duration::from_millis(500);
const COUNT: Duration = Duration::from_secs(15);
const COUNT_CHANGED: Duration = Duration::from_secs(1);
const ANNOUNCE: Duration = Duration::from_secs(60);
const FORGET: Duration = Duration::from_secs(60 * 60);
/// Secrets that a rotation has replaced are known as such for so long after their end; then they are unknown.
const ENDED_SECRETS_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Keys whose words are indexed in one go.
const INDEXED_IN_ONE_GO: usize = 1_000;
/// So long after an import nothing is indexed: more may come.
const AFTER_IMPORT_MILLIS: i64 = 2_000;
/// Samples that are kept while the store cannot be written.
const MAX_SAMPLES: usize = 100_000;

/// What upkeep is given, and gives.
pub struct Upkeep {
    /// What is kept up.
    pub management: Management,
    /// What keys did since this was last asked.
    pub usage: Box<dyn FnMut() -> Vec<UsageSample> + Send>,
    /// Whether what they did should be asked for soon: it is much, or a new secret was used.
    pub usage_presses: Box<dyn Fn() -> bool + Send>,
    /// Told how many keys there are, by what they are good for.
    pub counted: Box<dyn Fn(&StateCounts) + Send>,
    /// Told what could not be done, in a word.
    pub failed: Box<dyn Fn(&'static str) + Send>,
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").field("management", &self.management).finish_non_exhaustive()
    }
}

/// Ends the thread when it is let go.
#[derive(Debug)]
pub struct UpkeepHandle {
    management: Management,
    thread: Option<JoinHandle<()>>,
}

impl UpkeepHandle {
    /// Writes down what is left to be written, and ends.
    pub fn stop(mut self) {
        self.hang_up();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the upkeep of keys ended in a panic");
        }
    }

    fn hang_up(&self) {
        *self.management.inner.upkeep.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for UpkeepHandle {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// How the thread is asked to write down usage now; it answers by letting go of what it was sent.
pub(super) type AskUpkeep = Sender<Sender<()>>;

impl Management {
    /// Has written down what keys did until a moment ago, because somebody will look at it. Waits a little, and not where
    /// nobody keeps up: then what there is has been written down.
    pub fn freshen_usage(&self) {
        let (written, wait) = mpsc::channel();
        let is_asked = match &*self.inner.upkeep.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(upkeep) => upkeep.send(written).is_ok(),
            None => false,
        };
        if is_asked {
            let _ = wait.recv_timeout(PATIENCE);
        }
    }
}

impl Upkeep {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(self) -> std::io::Result<UpkeepHandle> {
        let (ask, asked) = mpsc::channel();
        let management = self.management.clone();
        *management.inner.upkeep.lock().unwrap_or_else(PoisonError::into_inner) = Some(ask);
        let thread = std::thread::Builder::new().name("keys".into()).spawn(move || self.run(&asked))?;
        Ok(UpkeepHandle { management, thread: Some(thread) })
    }

    fn run(mut self, asked: &Receiver<Sender<()>>) {
        let mut samples = Vec::new();
        let mut seen_version = 0;
        let began = Instant::now();
        let mut due = Due::default();
        due.was_done(Job::Usage);
        loop {
            let asked = asked.recv_timeout(TICK);
            let is_over = matches!(asked, Err(RecvTimeoutError::Disconnected));
            let elapsed = began.elapsed();
            let is_urgent = asked.is_ok() || !samples.is_empty() || (self.usage_presses)();
            let every = if is_urgent { FRESH } else { WRITE_USAGE };
            if is_over && self.management.store().is_temporary() {
                // Nobody will read what is written now.
                return;
            }
            if due.is_due(Job::Usage, elapsed, every) || is_over {
                self.collect_usage(&mut samples);
            }
            drop(asked);
            if is_over {
                return;
            }
            self.attempt("follow", |upkeep| upkeep.follow(&mut seen_version));
            self.attempt("index", Self::index);
            // Soon after a change; and because keys come to their end by themselves.
            let is_counted = self.management.inner.is_counted.load(Ordering::Relaxed);
            if due.is_due(Job::Count, elapsed, if is_counted { COUNT } else { COUNT_CHANGED }) {
                self.management.inner.is_counted.store(true, Ordering::Relaxed);
                self.attempt("count", |upkeep| {
                    let counts = upkeep.management.counts(now())?;
                    (upkeep.counted)(&counts);
                    Ok(())
                });
            }
            if due.is_due(Job::Announce, elapsed, ANNOUNCE) && self.management.can_write() {
                self.attempt("announce", Self::announce);
                if self.management.issuing().policy.disable_unused_after.is_some() {
                    // A key that was used a moment ago must not be taken for one that nobody uses.
                    self.collect_usage(&mut samples);
                }
                self.attempt("disable_unused", Self::disable_unused);
            }
            if due.is_due(Job::Forget, elapsed, FORGET) && self.management.can_write() {
                self.attempt("forget", Self::forget);
            }
        }
    }

    fn attempt(&mut self, what: &'static str, job: impl FnOnce(&mut Self) -> Result<(), Refused>) {
        if let Err(error) = job(self) {
            (self.failed)(what);
            tracing::warn!(error = %error, "{what}: the store of keys could not be used; tried again later");
        }
    }

    /// Takes from the workers what keys did, and writes it down. While files wait to be copied it stays with the workers, who
    /// add it up: a key that is not in the store yet would not be found there.
    fn collect_usage(&mut self, samples: &mut Vec<UsageSample>) {
        self.management.copy_waiting_files();
        if !self.management.do_files_wait() {
            let of_before = samples.len();
            samples.extend((self.usage)());
            // Rows that lie together are written together. What waited longest stays in front, and is what room is made with.
            samples[of_before..].sort_unstable_by(|one, other| one.key.as_str().cmp(other.key.as_str()));
            self.write_usage(samples);
        }
    }

    /// Writes down what keys did. While that is not possible it is kept, as far as there is room.
    fn write_usage(&mut self, samples: &mut Vec<UsageSample>) {
        if samples.is_empty() {
            return;
        }
        for sample in &*samples {
            if let Some(last) = sample.last.filter(|last| last.was_pending) {
                let id = sample.key.as_str();
                self.attempt("take_up", |upkeep| upkeep.management.take_up_rotation(id, last.secret, last.at));
            }
        }
        let written = self.management.inner.store.write(now(), |writer| writer.add_usage(samples));
        match written {
            Ok(()) => samples.clear(),
            Err(error) => {
                (self.failed)("usage");
                if samples.len() > MAX_SAMPLES {
                    let lost = samples.len() - MAX_SAMPLES;
                    samples.drain(..lost);
                    tracing::warn!(error = %error, lost, "usage of keys cannot be written down, and some of it is lost");
                }
            }
        }
    }

    /// Follows what another process has changed.
    fn follow(&mut self, seen: &mut i64) -> Result<(), Refused> {
        if self.management.can_write() && self.management.inner.store.was_changed_elsewhere(seen)? {
            self.management.load_tokens()?;
            if self.management.catch_up()? {
                self.management.enforce()?;
            }
        }
        Ok(())
    }

    /// Indexes the words of keys that came in by the thousands.
    fn index(&mut self) -> Result<(), Refused> {
        let imported_at = self.management.inner.imported_at.load(Ordering::Relaxed);
        let since = now().as_millis().saturating_sub(imported_at);
        if (0..AFTER_IMPORT_MILLIS).contains(&since) {
            return Ok(());
        }
        let began = Instant::now();
        // Not longer than a tick, and in steps that let others in.
        while began.elapsed() < TICK {
            let has_more = self.management.inner.store.write(now(), |writer| writer.index_words(INDEXED_IN_ONE_GO))?;
            if !has_more {
                if imported_at != i64::MIN {
                    self.management.inner.imported_at.store(i64::MIN, Ordering::Relaxed);
                    self.management.inner.store.rest()?;
                }
                break;
            }
        }
        Ok(())
    }

    /// Tells the webhook of keys that end soon, once for each distance.
    fn announce(&mut self) -> Result<(), Refused> {
        let issuing = self.management.issuing();
        if !issuing.has_webhook {
            return Ok(());
        }
        let at = now();
        for threshold in &issuing.policy.notify_before_expiry {
            let filter = KeyFilter {
                status: Some(KeyStatus::Active),
                expires_before: Some(later(at, *threshold)),
                origin: Some(KeyOrigin::Store),
                ..KeyFilter::default()
            };
            let mut cursor = None;
            loop {
                let asked = super::reports::Asked { cursor: cursor.as_deref(), limit: 100 };
                let page = self.management.keys(&filter, KeyOrder::Expires, false, asked, at)?;
                self.management.inner.store.write(at, |writer| {
                    for detail in &page.items {
                        let Some(end) = detail.key.expires_at else { continue };
                        let millis = i64::try_from(threshold.as_millis()).unwrap_or(i64::MAX);
                        if writer.note_notice(detail.key.number, end, millis)? {
                            let seconds = (end.as_millis() - at.as_millis()) / 1000;
                            let body = serde_json::json!({
                                "key": super::view::key(detail),
                                "expires_in_seconds": seconds,
                            });
                            self.management.tell(writer, "key.expiring", body)?;
                        }
                    }
                    Ok::<_, Refused>(())
                })?;
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Switches off keys that nobody has used for too long.
    fn disable_unused(&mut self) -> Result<(), Refused> {
        let Some(after) = self.management.issuing().policy.disable_unused_after else { return Ok(()) };
        let at = now();
        let filter = KeyFilter {
            status: Some(KeyStatus::Active),
            unused_since: Some(earlier(at, after)),
            origin: Some(KeyOrigin::Store),
            ..KeyFilter::default()
        };
        let days = after.as_secs() / 86_400;
        loop {
            let asked = super::reports::Asked { cursor: None, limit: 100 };
            let page = self.management.keys(&filter, KeyOrder::Created, false, asked, at)?;
            if page.items.is_empty() {
                return Ok(());
            }
            for detail in &page.items {
                let reason = Some(format!("not used for {days} days"));
                self.management.disable_key(&Actor::keygate(), detail.key.id.as_str(), reason)?;
            }
        }
    }

    fn forget(&mut self) -> Result<(), Refused> {
        let management = &self.management;
        management.forget_ended_secrets(earlier(now(), ENDED_SECRETS_KEPT))?;
        management.inner.store.write(now(), |writer| {
            writer.prune_feed()?;
            writer.prune_spent()?;
            writer.prune_usage()?;
            writer.prune_notices()?;
            Ok::<_, StoreError>(())
        })?;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Job {
    Usage,
    Count,
    Announce,
    Forget,
}

/// When each job was last done.
#[derive(Debug, Default)]
struct Due([Option<Duration>; 4]);

impl Due {
    /// Says that a job need not be done at the beginning.
    fn was_done(&mut self, job: Job) {
        self.0[job as usize] = Some(Duration::ZERO);
    }

    /// Whether a job is due, and if so, that it is done now. At the beginning every one is.
    fn is_due(&mut self, job: Job, elapsed: Duration, every: Duration) -> bool {
        let last = &mut self.0[job as usize];
        let is_due = last.is_none_or(|last| elapsed - last >= every);
        if is_due {
            *last = Some(elapsed);
        }
        is_due
    }
}

/// The day of a moment, counted from 1970.
#[must_use]
pub fn day_of(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(86_400_000)
}
