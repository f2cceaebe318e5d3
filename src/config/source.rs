//! The files of a configuration: reading them with bounds, filling in variables, and their common digest.
//!
//! [`Files`] reads every file of one load and remembers which, so that `reload` can watch them and see from one digest
//! whether anything changed. Paths inside a configuration are relative to the file they stand in.
//!
//! Variables (`${NAME}`, `${NAME:-default}`) are filled in after the YAML has been read, inside of texts only: whatever a
//! variable holds, it can never become structure. `$${` stands for a literal `${`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::problem::{Report, mask};
use super::tree::{Kind, Node};

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file; paths in it are relative to its directory.
    File(PathBuf),
    /// Standard input; paths in it are relative to the current directory.
    Stdin,
    /// A text made by the program itself.
    Text {
        /// What reports call it.
        name: String,
        /// YAML.
        text: String,
        /// What paths in it are relative to.
        directory: PathBuf,
    },
}

impl Source {
    /// A file by its name on a command line; `-` is standard input.
    #[must_use]
    pub fn named(name: &str) -> Self {
        if name == "-" { Self::Stdin } else { Self::File(name.into()) }
    }

    /// What reports call it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
            Self::Text { name, .. } => name.clone(),
        }
    }
}

/// The largest YAML file that is read. The scanner takes quadratic time for nested flow maps, so that a file without a
/// bound could keep a reload busy for minutes.
pub(crate) const MAX_YAML_BYTES: u64 = 1 << 20;
/// The largest certificate, key or pepper file.
pub(crate) const MAX_PEM_BYTES: u64 = 1 << 20;

/// Why a file could not be read, in words that follow "the file .. ".
#[derive(Debug)]
pub(crate) struct Unreadable(pub String);

impl Unreadable {
    fn from_io(error: &io::Error) -> Self {
        Self(match error.kind() {
            io::ErrorKind::NotFound => "does not exist".to_owned(),
            io::ErrorKind::PermissionDenied => "may not be read by this user".to_owned(),
            io::ErrorKind::IsADirectory => "is a directory".to_owned(),
            _ => format!("cannot be read: {error}"),
        })
    }
}

/// Reads standard input, as much of it as a YAML file may hold.
pub(crate) fn read_stdin() -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = io::stdin().lock().take(MAX_YAML_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Unreadable::from_io(&error))?;
    if bytes.len() as u64 > MAX_YAML_BYTES {
        return Err(Unreadable(format!("is larger than {MAX_YAML_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Who besides the owner may do what with a file. All false where the system knows no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Access {
    /// Anybody may read it.
    pub others_read: bool,
    /// Anybody, or the group, may write it.
    pub others_write: bool,
}

impl Access {
    #[cfg(unix)]
    fn of(file: &File) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        file.metadata().map_or_else(
            |_| Self::default(),
            |metadata| {
                let mode = metadata.permissions().mode();
                Self { others_read: mode & 0o004 != 0, others_write: mode & 0o002 != 0 }
            },
        )
    }

    #[cfg(not(unix))]
    fn of(_: &File) -> Self {
        Self::default()
    }
}

/// A file that a load has read, or would have.
///
/// What is remembered of it belongs to the very file that was read, not to whatever stood under its name a moment later:
/// a change between the reading and the first look cannot be missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedFile {
    /// Where it is.
    pub path: PathBuf,
    state: Option<FileState>,
}

impl WatchedFile {
    /// Whether it may say something else than when it was read, as far as can be told without reading it again.
    #[must_use]
    pub fn may_have_changed(&self) -> bool {
        std::fs::metadata(&self.path).ok().map(|metadata| FileState::of(&metadata)) != self.state
    }
}

/// What can be said of a file without reading it: changes whenever its content may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileState {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            file: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// All files of one load.
#[derive(Debug)]
pub(crate) struct Files {
    directory: PathBuf,
    hasher: blake3::Hasher,
    watched: Vec<WatchedFile>,
}

impl Files {
    /// Paths are relative to this directory from now on.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, hasher: blake3::Hasher::new(), watched: Vec::new() }
    }

    /// Where a path of the configuration leads.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// Takes a text into the digest that came from no file.
    pub fn note_text(&mut self, text: &[u8]) {
        self.note(Path::new(""), text);
    }

    /// Reads a whole file of at most `limit` bytes.
    pub fn read(&mut self, path: &Path, limit: u64) -> Result<(Zeroizing<Vec<u8>>, Access), Unreadable> {
        let (file, access) = self.open(path)?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| Unreadable::from_io(&error))?;
        if bytes.len() as u64 > limit {
            return Err(Unreadable(format!("is larger than {limit} bytes")));
        }
        self.note(path, &bytes);
        Ok((bytes, access))
    }

    /// Opens a file that is too large to be read whole; the reader gives its content to [`Files::note_bytes`].
    pub fn open(&mut self, path: &Path) -> Result<(File, Access), Unreadable> {
        let file = File::open(path).map_err(|error| Unreadable::from_io(&error));
        // Watched even if it is not there: it may come.
        if !self.watched.iter().any(|known| known.path == path) {
            let metadata = file.as_ref().ok().and_then(|file| file.metadata().ok());
            let state = metadata.map(|metadata| FileState::of(&metadata));
            self.watched.push(WatchedFile { path: path.to_owned(), state });
        }
        let file = file?;
        let access = Access::of(&file);
        Ok((file, access))
    }

    /// Takes a file's name and content into the digest. Lengths keep two files apart.
    fn note(&mut self, path: &Path, bytes: &[u8]) {
        let name = path.as_os_str().as_encoded_bytes();
        for part in [name, bytes] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
    }

    /// Takes a part of a streamed file into the digest.
    pub fn note_bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The digest of everything that was read, and the files.
    pub fn finish(self) -> (Box<str>, Vec<WatchedFile>) {
        (self.hasher.finalize().to_hex().as_str().into(), self.watched)
    }
}

/// Fills in the variables of every text below a node.
pub(crate) fn fill_in(node: &mut Node, environment: &dyn Fn(&str) -> Option<String>, report: &mut Report) {
    match &mut node.kind {
        Kind::Text { value, is_filled } if value.contains("${") => match filled(value, environment) {
            Ok(text) => {
                *is_filled = true;
                *value = text;
            }
            Err(Unfilled::Unset(name)) => {
                let name = mask(&name);
                node.kind = Kind::Unusable;
                report
                    .error(node.at, format!("the environment variable `{name}` is not set"))
                    .hint(format!("set it, or write a default: `${{{name}:-default}}`"));
            }
            Err(Unfilled::Malformed) => {
                node.kind = Kind::Unusable;
                report
                    .error(node.at, "`${` is not followed by a name and `}`")
                    .hint("write `${NAME}` or `${NAME:-default}`, or `$${` for the signs themselves");
            }
        },
        Kind::List(items) => items.iter_mut().for_each(|item| fill_in(item, environment, report)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| fill_in(value, environment, report)),
        _ => {}
    }
}

enum Unfilled {
    Unset(String),
    Malformed,
}

fn filled(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, Unfilled> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            result.push_str(&rest[..start - 1]);
            result.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        result.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let end = inside.find('}').ok_or(Unfilled::Malformed)?;
        let (name, default) = match inside[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inside[..end], None),
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return Err(Unfilled::Malformed);
        }
        // As in a shell: `:-` also stands in for a variable that is set to nothing.
        match (environment(name), default) {
            (Some(value), None) => result.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => result.push_str(&value),
            (_, Some(default)) => result.push_str(default),
            (None, None) => return Err(Unfilled::Unset(name.to_owned())),
        }
        rest = &inside[end + 1..];
    }
    result.push_str(rest);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let environment = |name: &str| match name {
            "PORT" => Some("8080".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("x: [y, ${PORT}".to_owned()),
            _ => None,
        };
        for (text, expected) in [
            ("0.0.0.0:${PORT}", Some("0.0.0.0:8080")),
            ("${EMPTY}", Some("")),
            ("${EMPTY:-d}", Some("d")),
            ("${NONE:-a b}${PORT}", Some("a b8080")),
            ("${NONE:-}", Some("")),
            ("$${PORT}", Some("${PORT}")),
            ("$PORT $5", Some("$PORT $5")),
            ("${TRICK}", Some("x: [y, ${PORT}")),
            ("${NONE}", None),
            ("${PORT", None),
            ("${}", None),
            ("${a-b}", None),
        ] {
            assert_eq!(filled(text, &environment).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_digest_tells_files_apart() {
        let directory = tempfile::tempdir().expect("a directory");
        let digest = |parts: &[(&str, &str)]| {
            let mut files = Files::new(directory.path().to_owned());
            for (name, text) in parts {
                std::fs::write(directory.path().join(name), text).expect("written");
                files.read(&directory.path().join(name), 100).expect("read");
            }
            files.finish().0
        };
        let first = digest(&[("a", "xy"), ("b", "z")]);
        assert_eq!(first, digest(&[("a", "xy"), ("b", "z")]));
        assert_ne!(first, digest(&[("a", "x"), ("b", "yz")]));
        assert_ne!(first, digest(&[("a", "xy"), ("c", "z")]));
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        std::fs::write(&path, "12345").expect("written");
        let mut files = Files::new(PathBuf::new());
        assert!(files.read(&path, 5).is_ok());
        assert_eq!(files.read(&path, 4).expect_err("too large").0, "is larger than 4 bytes");
        assert_eq!(files.read(&directory.path().join("g"), 4).expect_err("none").0, "does not exist");
        assert_eq!(files.read(directory.path(), 4).expect_err("directory").0, "is a directory");
    }
}
