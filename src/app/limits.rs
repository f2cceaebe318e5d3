//! Counts of days and months over a restart: read at the start, written while keygate runs.
//!
//! The file is written whole, beside itself and then put in its place, at most once a second and only if something was
//! counted: a crash loses what the last second counted, and callers get that much more. While two processes serve, as in a take
//! over, each takes in what the other wrote, where it is more, before it writes: nothing that was written is lost.
//!
//! A file that cannot be read is left where it is, said loudly, and counting begins anew.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::admin::LimitsInForce;
use crate::client::Client;
use crate::gateway::Limiting;
use crate::keys::ApiKey;
use crate::limit::{Limiter, Limits, Moment, Saved, Standing, Tagger};
use crate::snapshot::{CurrentSnapshot, Snapshot};
use crate::telemetry::metrics::Metrics;

/// How often counts are written, if writing is quick.
const EVERY: Duration = Duration::from_secs(1);
/// So many times as long as writing took nothing is written.
const REST: u32 = 20;
/// How often it is counted what is counted.
const FACTS_EVERY: Duration = Duration::from_secs(10);
/// Half a million subjects under each of a few policies.
const MAX_BYTES: u64 = 256 << 20;

/// Makes the counts of this process, with what was kept of days and months.
pub(super) fn begin(file: Option<&Path>, snapshot: &Snapshot) -> Result<Limiting, getrandom::Error> {
    let saved = file.and_then(|file| match read(file) {
        Ok(saved) => saved,
        Err(error) => {
            tracing::error!(file = %file.display(), error, "quotas begin anew: what was counted cannot be read");
            None
        }
    });
    let secret = match &saved {
        Some(saved) => saved.secret,
        None => [getrandom::u64()?, getrandom::u64()?],
    };
    let limiting = Limiting::new(Limiter::new(Tagger::new(secret)));
    limiting.limiter().adopt(&snapshot.limits);
    if let Some(saved) = saved {
        limiting.limiter().restore(&snapshot.limits, &saved, limiting.now());
    }
    Ok(limiting)
}

/// What the admin API asks about limits.
pub(super) struct InForce {
    pub limits: Arc<Limiting>,
    pub snapshot: Arc<CurrentSnapshot>,
}

impl LimitsInForce for InForce {
    fn limits(&self, read: &mut dyn FnMut(&Limits, Moment)) {
        read(&self.snapshot.load().limits, self.limits.now());
    }

    fn standings(&self, client: &Client, key: Option<&ApiKey>, read: &mut dyn FnMut(&Limits, &[Standing], Moment)) {
        let snapshot = self.snapshot.load();
        let standings = self.limits.standings_of(&snapshot.limits, client, key);
        read(&snapshot.limits, &standings, self.limits.now());
    }
}

/// Writes counts down while keygate runs, and tells metrics of them.
pub(super) struct Keeping {
    pub limits: Arc<Limiting>,
    pub snapshot: Arc<CurrentSnapshot>,
    pub file: Option<PathBuf>,
    pub metrics: Metrics,
}

/// Ends the thread.
pub(super) struct KeepingHandle {
    stop: Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl KeepingHandle {
    /// Writes what is left to be written, and ends.
    pub(super) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the keeping of quotas ended in a panic");
        }
    }
}

/// What the file held when it was last written or read here.
#[derive(Default)]
struct Known {
    text: String,
    /// Whose it is, to see whether another process has written since.
    identity: Option<(u64, i64, i64, u64)>,
    has_failed: bool,
}

impl Keeping {
    pub(super) fn start(self) -> io::Result<KeepingHandle> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("limits".into()).spawn(move || self.run(&stopped))?;
        Ok(KeepingHandle { stop, thread })
    }

    fn run(self, stopped: &Receiver<()>) {
        let mut known = Known::default();
        let mut wait = EVERY;
        let mut facts_at: Option<Instant> = None;
        loop {
            let is_over = !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
            let began = Instant::now();
            if let Some(file) = &self.file {
                self.write(file, &mut known);
            }
            if is_over {
                return;
            }
            if facts_at.is_none_or(|at| at.elapsed() >= FACTS_EVERY) {
                facts_at = Some(Instant::now());
                let snapshot = self.snapshot.load();
                let facts = self.limits.limiter().facts(&snapshot.limits, self.limits.now());
                let facts = facts.into_iter().map(|facts| (facts.name.to_string(), facts.subjects, facts.evicted));
                self.metrics.set_rate_limits(facts.collect());
            }
            wait = EVERY.max(began.elapsed() * REST);
        }
    }

    fn write(&self, file: &Path, known: &mut Known) {
        let snapshot = self.snapshot.load();
        let (limits, limiter) = (&snapshot.limits, self.limits.limiter());
        if limits.is_empty() {
            return;
        }
        let found = std::fs::metadata(file).ok().map(|metadata| identity(&metadata));
        if found.is_some()
            && found != known.identity
            && let Ok(Some(saved)) = read(file)
        {
            limiter.restore(limits, &saved, self.limits.now());
        }
        let saved = limiter.to_be_saved(limits, self.limits.now());
        if saved.counts.is_empty() {
            return;
        }
        let text = saved.to_text();
        if text == known.text && found == known.identity {
            return;
        }
        match replace(file, &text) {
            Ok(metadata) => *known = Known { text, identity: Some(identity(&metadata)), has_failed: false },
            Err(error) => {
                self.metrics.store_failed("limits");
                if !known.has_failed {
                    tracing::warn!(file = %file.display(), %error, "counts of quotas cannot be written: a restart would lose them");
                }
                known.has_failed = true;
            }
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, i64, i64, u64) {
    (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len())
}

/// What was kept, if anything was.
fn read(file: &Path) -> Result<Option<Saved>, String> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = String::new();
    opened.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Saved::parse(&text).map(Some).map_err(|error| error.to_string())
}

/// Puts a whole file in the place of another, readable to its owner alone.
fn replace(file: &Path, text: &str) -> io::Result<Metadata> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(name);
    let write = || {
        let mut opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()?;
        std::fs::rename(&beside, file)?;
        opened.metadata()
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_by_its_owner_alone_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("keygate.limits");
        assert_eq!(read(&file), Ok(None));
        let saved = Saved { secret: [1, 2], counts: Vec::new() };
        for _ in 0..2 {
            let metadata = replace(&file, &saved.to_text()).expect("written");
            assert_eq!(metadata.mode() & 0o777, 0o600);
            assert_eq!(identity(&metadata), identity(&std::fs::metadata(&file).expect("there")));
        }
        assert_eq!(read(&file), Ok(Some(saved)));
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1, "nothing is left beside it");
        std::fs::write(&file, "something else").expect("written");
        assert!(read(&file).is_err());
        assert!(replace(&directory.path().join("nowhere/file"), "").is_err());
    }
}
