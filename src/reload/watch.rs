//! Notices that files may have changed.
//!
//! Directories are watched, not files: a watch on a file goes deaf for good when the file is replaced by renaming, which
//! is how editors and configuration tools write. The directory of a symlink's target is watched as well, and so is the
//! link's own: a mounted configuration changes by swapping a link beside it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use arc_swap::ArcSwap;
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};

use super::Trigger;
use crate::config::WatchedFile;

/// Anything that makes, moves or removes a file or a link, or ends the writing of one. Each single write is none of it: a
/// store or a log beside the configuration writes thousands of times a second.
const WATCHED: WatchMask = WatchMask::ATTRIB
    .union(WatchMask::CREATE)
    .union(WatchMask::DELETE)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF);

/// Watches the directories of some files. Without the system's help (no descriptors left, say) the poll has to do.
pub(super) struct Watch {
    watches: Option<Watches>,
    watched: Vec<WatchDescriptor>,
    directories: BTreeSet<PathBuf>,
    names: Arc<ArcSwap<BTreeSet<OsString>>>,
}

impl Watch {
    pub(super) fn start(files: &[WatchedFile], sender: &Sender<Trigger>) -> Self {
        let names = Arc::new(ArcSwap::from_pointee(names(files)));
        let watches = listen(Arc::clone(&names), sender.clone())
            .inspect_err(|error| tracing::warn!(%error, "cannot watch files; polling instead"))
            .ok();
        let mut watch = Self { watches, watched: Vec::new(), directories: BTreeSet::new(), names };
        watch.follow(files);
        watch
    }

    /// Watches the directories of these files; does nothing if they are the same as before.
    pub(super) fn follow(&mut self, files: &[WatchedFile]) {
        self.names.store(Arc::new(names(files)));
        let directories = directories(files);
        let Some(watches) = self.watches.as_mut().filter(|_| directories != self.directories) else { return };
        for descriptor in self.watched.drain(..) {
            // One whose directory is gone is gone with it.
            let _ = watches.remove(descriptor);
        }
        for directory in &directories {
            match watches.add(directory, WATCHED) {
                Ok(descriptor) => self.watched.push(descriptor),
                Err(error) => {
                    tracing::warn!(directory = %directory.display(), %error, "cannot watch; polling instead");
                }
            }
        }
        self.directories = directories;
    }
}

/// Passes events on until nobody wants them any more.
fn listen(names: Arc<ArcSwap<BTreeSet<OsString>>>, sender: Sender<Trigger>) -> io::Result<Watches> {
    let mut inotify = Inotify::init()?;
    let watches = inotify.watches();
    let pass_on = move || {
        let mut buffer = [0; 4096];
        loop {
            let is_of_interest = match inotify.read_events_blocking(&mut buffer) {
                Ok(mut events) => events.any(|event| !is_of_others(event.mask, event.name, &names.load())),
                Err(error) => {
                    tracing::warn!(%error, "files are not watched any more; polling instead");
                    return;
                }
            };
            if is_of_interest && sender.send(Trigger::Changed).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("watch".into()).spawn(pass_on)?;
    Ok(watches)
}

/// Whether an event changes none of the files: the end of writing a file of another name.
fn is_of_others(mask: EventMask, name: Option<&std::ffi::OsStr>, names: &BTreeSet<OsString>) -> bool {
    let is_written = mask.intersects(EventMask::CLOSE_WRITE) && !mask.intersects(EventMask::Q_OVERFLOW);
    is_written && name.is_some_and(|name| !names.contains(name))
}

/// What the files are called, and what they are called where links lead.
fn names(files: &[WatchedFile]) -> BTreeSet<OsString> {
    let mut names = BTreeSet::new();
    for WatchedFile { path: file, .. } in files {
        names.extend(file.file_name().map(OsString::from));
        names.extend(file.canonicalize().iter().filter_map(|target| target.file_name()).map(OsString::from));
    }
    names
}

fn directories(files: &[WatchedFile]) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut found = BTreeSet::new();
    for WatchedFile { path: file, .. } in files {
        found.insert(parent(file));
        // Each link on the way, and what it leads to.
        let mut current = file.clone();
        for _ in 0..8 {
            let Ok(target) = fs::read_link(&current) else { break };
            current = parent(&current).join(target);
            found.insert(parent(&current));
        }
        if let Ok(target) = file.canonicalize() {
            found.insert(parent(&target));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::config::{self, Source};

    /// The files of a configuration, as a load remembers them.
    fn files_of(file: &Path) -> Vec<WatchedFile> {
        match config::load(&Source::File(file.to_owned()), 1) {
            Ok(loaded) => loaded.watched_files,
            Err(problems) => problems.watched_files().to_vec(),
        }
    }

    #[test]
    fn replacing_a_file_and_swapping_a_link_are_both_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.yaml");
        for version in ["one", "two"] {
            let data = folder.path().join(version);
            fs::create_dir(&data).expect("a folder");
            fs::write(data.join("mounted.yaml"), "clients: []").expect("a file");
        }
        symlink("one", folder.path().join("..data")).expect("a link");
        symlink("..data/mounted.yaml", folder.path().join("mounted.yaml")).expect("a link");
        let text = "keys: { file: mounted.yaml }\nupstreams: { echo: { echo: true } }\n\
                    endpoints: [{ name: all, path: /, public: true }]\n";
        fs::write(&file, text).expect("a file");

        let files = files_of(&file);
        assert_eq!(files.len(), 2);
        let (sender, receiver) = mpsc::channel();
        let _watch = Watch::start(&files, &sender);
        assert!(!files.iter().any(WatchedFile::may_have_changed));

        // A log that is written beside it wakes nobody; the file itself does, written in place.
        let log = folder.path().join("access.log");
        let append = |file: &Path| {
            let mut open = fs::OpenOptions::new().create(true).append(true).open(file).expect("a file");
            std::io::Write::write_all(&mut open, b"\n").expect("written");
        };
        append(&log);
        while receiver.recv_timeout(Duration::from_millis(300)).is_ok() {}
        append(&log);
        assert!(receiver.recv_timeout(Duration::from_millis(300)).is_err());
        append(&file);
        assert!(matches!(receiver.recv_timeout(Duration::from_secs(5)), Ok(Trigger::Changed)));
        while receiver.recv_timeout(Duration::from_millis(100)).is_ok() {}

        let fresh = folder.path().join("fresh");
        fs::write(&fresh, format!("{text}# new")).expect("a file");
        fs::rename(&fresh, &file).expect("a rename");
        assert!(matches!(receiver.recv_timeout(Duration::from_secs(5)), Ok(Trigger::Changed)));
        assert!(files[0].may_have_changed() && !files[1].may_have_changed());
        while receiver.recv_timeout(Duration::from_millis(100)).is_ok() {}

        let link = folder.path().join("..data_tmp");
        symlink("two", &link).expect("a link");
        fs::rename(&link, folder.path().join("..data")).expect("a rename");
        assert!(matches!(receiver.recv_timeout(Duration::from_secs(5)), Ok(Trigger::Changed)));
        assert!(files[1].may_have_changed());
    }

    #[test]
    fn a_change_before_the_first_look_is_not_missed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, "one: 1").expect("a file");
        let files = files_of(&file);
        fs::write(&file, "other: 1").expect("a file");
        assert!(files[0].may_have_changed());
        fs::remove_file(&file).expect("removed");
        assert!(files[0].may_have_changed());
    }
}
