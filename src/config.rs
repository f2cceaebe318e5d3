//! From the files a person wrote to the rules in force, or to everything that is wrong with them.
//!
//! [`load`] is called by `keygate check`, at start, and for each reload, always the same way; what checks will therefore
//! load. It gives [`Loaded`], or all [`Problems`] at once, each with its place and a hint.
//!
//! ```text
//! source   reads files with bounds, fills in variables, makes one digest of everything
//! tree     YAML text -> a tree that knows where each value stands     (the only file that names the YAML library)
//! read     tree -> document, every mistake reported
//! compile  document -> settings, snapshot, keys; every check that needs more than one field
//! ```
//!
//! A load changes nothing that is in force, and there is no half of one: whoever gets a [`Loaded`] got all of it. It reads
//! files and resolves names, so that it may take seconds; call it where waiting harms nobody.
//!
//! The digest of a load covers every file it read. Two loads with the same digest are the same configuration, except for
//! what the environment and the name servers said.

mod compile;
pub mod demo;
mod document;
mod keys;
mod problem;
mod quick;
mod read;
mod reference;
mod settings;
mod source;
mod tree;

pub use keys::LoadedKeys;
pub use problem::{Problem, Problems, Severity};
pub use quick::{Quick, QuickUpstream, quick};
pub use reference::{reference, schema};
pub use settings::{
    ADMIN, AccessLogFormat, AccessLogOutput, AccessLogSettings, AdminSettings, Limits, ListenerSettings, LogSettings,
    Protocol, Settings, Timeouts,
};
pub use source::{Source, WatchedFile};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::client::{Environment, KeyType};
use crate::credential::Pepper;
use crate::keys::{KeyPolicy, KeyTable, Timestamp};
use crate::snapshot::Snapshot;
use compile::{Compiler, compile, pepper_from, read_keys_file};
use document::Document;
use problem::Report;
use read::Shape as _;
use source::{Access, Files, MAX_PEM_BYTES, MAX_YAML_BYTES, Unreadable, fill_in};
use tree::Node;

/// A configuration that can be put in force.
#[derive(Debug)]
pub struct Loaded {
    /// What is fixed at start.
    pub settings: Settings,
    /// The rules.
    pub snapshot: Snapshot,
    /// The keys, and the clients of the files.
    pub keys: LoadedKeys,
    /// The keys as they are looked up, for whoever puts them in force to take.
    pub table: KeyTable,
    /// What `blake3-keyed` digests are made with.
    pub pepper: Option<Pepper>,
    /// What a person should look at.
    pub warnings: Problems,
    /// Every file that was read.
    pub watched_files: Vec<WatchedFile>,
    /// The certificates of the listeners that speak TLS.
    pub certificates: Vec<ListenerCertificates>,
    /// What is said about keys that are issued.
    pub issuing: IssuingSettings,
    /// The names of the files, for problems that show only beside the store.
    file_names: Vec<Arc<str>>,
}

/// What is said about keys that are issued. A reload puts all of it in force.
#[derive(Debug, Clone, Default)]
pub struct IssuingSettings {
    /// How new keys begin.
    pub prefixes: Vec<KeyPrefix>,
    /// What is asked of them.
    pub policy: KeyPolicy,
    /// Who is told of changes.
    pub webhook: Option<Webhook>,
    /// Digest of the admin token that a file gives.
    pub admin_token: Option<[u8; 32]>,
}

impl Loaded {
    /// Refuses what was loaded, for reasons that it does not hold itself: of a key by its place in [`Loaded::keys`], or of
    /// the files as a whole; what is wrong, and how to mend it.
    #[must_use]
    pub fn refuse(&self, reasons: &[(Option<usize>, String, &str)]) -> Problems {
        let mut report = Report::default();
        for file in &self.file_names {
            report.add_source(Arc::clone(file), None);
        }
        let places = self.keys.places(&reasons.iter().filter_map(|(key, ..)| *key).collect());
        for (key, message, hint) in reasons {
            let at = key.and_then(|key| places.get(&key).copied()).unwrap_or_default();
            report.error(at, message.as_str()).hint(*hint);
        }
        let mut problems = report.finish();
        problems.watched_files.clone_from(&self.watched_files);
        problems
    }
}

/// Who is told of changes of keys.
#[derive(Clone)]
pub struct Webhook {
    /// Where.
    pub url: http::Uri,
    /// What messages are signed with.
    pub secret: Zeroizing<Vec<u8>>,
    /// Authorities whose certificates are trusted; the system's if none are named.
    pub trusted: Option<Vec<rustls_pki_types::CertificateDer<'static>>>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("host", &self.url.host()).finish_non_exhaustive()
    }
}

/// How keys of one kind begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefix {
    /// The beginning.
    pub prefix: String,
    /// The type of the keys that begin so.
    pub key_type: KeyType,
    /// Their environment.
    pub environment: Option<Environment>,
}

/// The certificates of one listener; callers that ask for no name get the first.
#[derive(Debug)]
pub struct ListenerCertificates {
    /// The listener's name.
    pub listener: Arc<str>,
    /// At least one.
    pub certificates: Vec<CertificateFiles>,
}

/// A certificate and its key as they were read. That they belong together is checked where they are used.
pub struct CertificateFiles {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
    /// The chain in PEM form.
    pub certificate_pem: Vec<u8>,
    /// The key in PEM form; wiped when dropped.
    pub key_pem: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateFiles")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What to do with the host names of upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Ask the system's resolver; a name that it does not know is a problem.
    Resolve,
    /// Take them for good, for a check away from the network they are for. The result must not be put in force: every name
    /// stands for an address of nobody.
    Assume,
}

/// What a load takes from outside of its files.
pub struct Surroundings<'a> {
    /// The environment variables.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// What to do with host names.
    pub names: Names,
    /// The time.
    pub now: Timestamp,
}

impl Surroundings<'_> {
    /// Those of this process.
    #[must_use]
    pub fn system() -> Self {
        Self { environment: &|name| std::env::var(name).ok(), names: Names::Resolve, now: SystemTime::now().into() }
    }
}

/// Reads a configuration and everything it names. `generation` is the number the snapshot will have.
///
/// # Errors
/// Everything that is wrong, warnings among it.
pub fn load(source: &Source, generation: u64) -> Result<Loaded, Problems> {
    load_in(source, generation, &Surroundings::system())
}

/// The same with the surroundings given.
///
/// # Errors
/// Everything that is wrong, warnings among it.
pub fn load_in(source: &Source, generation: u64, surroundings: &Surroundings<'_>) -> Result<Loaded, Problems> {
    read(source, generation, surroundings, &mut |compiler, file, keys| {
        read_keys_file(compiler, file, keys, surroundings);
    })
}

/// Reads a duration as it is written in a configuration, such as `1m30s`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    use read::FromText as _;
    read::Span::from_text(text).map(|span| span.0)
}

/// Reads what is fixed at start and leaves keys files and names of hosts alone: for commands that only want to know where
/// the gateway listens.
///
/// # Errors
/// Everything that is wrong with the rest.
pub fn settings_of(source: &Source) -> Result<Settings, Problems> {
    let surroundings = Surroundings { names: Names::Assume, ..Surroundings::system() };
    read(source, 1, &surroundings, &mut |_, _, _| ()).map(|loaded| loaded.settings)
}

/// Takes the keys of one file into a set.
type ReadKeys<'a> = dyn FnMut(&mut Compiler<'_>, &read::At<String>, &mut compile::KeySet) + 'a;

fn read(
    source: &Source,
    generation: u64,
    surroundings: &Surroundings<'_>,
    keys_file: &mut ReadKeys<'_>,
) -> Result<Loaded, Problems> {
    let mut report = Report::default();
    let directory = match source {
        Source::File(path) => path.parent().map(PathBuf::from).unwrap_or_default(),
        Source::Stdin => PathBuf::new(),
        Source::Text { directory, .. } => directory.clone(),
    };
    let mut files = Files::new(directory);
    let name: Arc<str> = source.name().into();
    let read = match source {
        Source::File(path) => files.read(path, MAX_YAML_BYTES),
        Source::Stdin => source::read_stdin().map(|bytes| (bytes, Access::default())),
        Source::Text { text, .. } => Ok((Zeroizing::new(text.clone().into_bytes()), Access::default())),
    };
    if !matches!(source, Source::File(_))
        && let Ok((bytes, _)) = &read
    {
        files.note_text(bytes);
    }
    let root = read_yaml(&name, read, surroundings, &mut report);
    let document = root.and_then(|root| Document::read(&root, &mut report));
    let compiled = document.and_then(|document| {
        let compiler =
            Compiler { report: &mut report, files: &mut files, names: surroundings.names, now: surroundings.now };
        compile(&document, generation, keys_file, compiler)
    });
    let problems_found = report.errors() > 0;
    let file_names = report.source_names();
    let mut problems = report.finish();
    let (content_digest, watched_files) = files.finish();
    problems.watched_files.clone_from(&watched_files);
    match compiled {
        Some(compiled) if !problems_found => Ok(Loaded {
            settings: compiled.settings,
            snapshot: Snapshot { content_digest, ..compiled.snapshot },
            keys: compiled.keys,
            table: compiled.table,
            pepper: compiled.pepper,
            warnings: problems,
            watched_files,
            certificates: compiled.certificates,
            issuing: compiled.issuing,
            file_names,
        }),
        _ => Err(problems),
    }
}

/// Why a file is no pepper. Says one thing, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pepper file `{path}` {why}")]
pub struct UnusablePepper {
    path: String,
    why: String,
}

/// Reads a pepper as a load does, for commands that make digests.
///
/// # Errors
/// The file cannot be read, can be read by every user of the machine, or does not hold 32 bytes.
pub fn read_pepper(path: &Path) -> Result<Pepper, UnusablePepper> {
    let unusable = |why: String| UnusablePepper { path: path.display().to_string(), why };
    let read = Files::new(PathBuf::new()).read(path, MAX_PEM_BYTES);
    let (bytes, access) = read.map_err(|why| unusable(why.0))?;
    if access.others_read || access.others_write {
        return Err(unusable("can be read or written by every user of this machine: `chmod 600`".to_owned()));
    }
    pepper_from(&bytes).ok_or_else(|| unusable("does not hold 32 bytes, raw, in hex or in base64".to_owned()))
}

/// Makes a tree of a YAML file that was read, with variables filled in, and takes it among the sources of the report.
fn read_yaml(
    name: &Arc<str>,
    read: Result<(Zeroizing<Vec<u8>>, Access), Unreadable>,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Node> {
    let (bytes, access) = match read {
        Ok(read) => read,
        Err(why) => {
            let source = report.add_source(Arc::clone(name), None);
            report.error(Report::whole(source), format!("the file {}", why.0));
            return None;
        }
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let source = report.add_source(Arc::clone(name), None);
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            report.error(
                Report::whole(source),
                format!("the file is not UTF-8 text; the first bad byte is in line {line}"),
            );
            return None;
        }
    };
    let source = report.add_source(Arc::clone(name), Some(text.into()));
    if access.others_write {
        report
            .warning(
                Report::whole(source),
                "every user of this machine can write this file, and thereby change the rules",
            )
            .hint("`chmod o-w`");
    }
    match tree::parse(text, source) {
        Ok(mut root) => {
            if root.kind == tree::Kind::Null {
                report
                    .error(Report::whole(source), "the file is empty")
                    .hint("docs/CONFIGURATION.md explains every field");
                return None;
            }
            if root.at.line == 0 {
                root.at = tree::Position { source, line: 1, column: 1 };
            }
            fill_in(&mut root, surroundings.environment, report);
            Some(root)
        }
        Err(error) => {
            report
                .error(error.at, format!("this is not YAML: {}", error.message))
                .maybe_hint(error.hint.map(str::to_owned));
            None
        }
    }
}
