//! The store in an SQLite file.
//!
//! One connection writes, in transactions that begin by taking the write lock (`BEGIN IMMEDIATE`), so that what was read
//! in one is still true when it is written; others read. The write-ahead log is synced at each commit (`synchronous=FULL`):
//! a change that was acknowledged survives a crash of the process and of the machine. Other processes may have the file
//! open at the same time, on the same machine and a local disk: a network file system breaks the log.
//!
//! Without a file the database is a temporary one, gone with the process: what stands in keys files is listed and counted
//! there.

mod audit;
mod clients;
mod column;
mod feed;
mod keys;
mod list;
mod outbox;
mod schema;
mod tokens;
mod usage;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{OpenError, StoreError, Unique};
use crate::keys::Timestamp;

/// How long another process may hold the file before a change is given up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections that are kept for reading.
const KEPT_READERS: usize = 4;
/// Memory for pages, in KiB: of the one that writes, the same while it writes very much, and of each that reads.
const WRITER_CACHE_KIB: i64 = 8 << 10;
const ROOMY_CACHE_KIB: i64 = 64 << 10;
const READER_CACHE_KIB: i64 = 2 << 10;

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In a file, made if it is not there.
    File(PathBuf),
    /// Nowhere that lasts.
    Temporary,
}

/// A store. Shared by all that read or change keys in this process.
#[derive(Debug)]
pub struct Store {
    location: Location,
    writer: Mutex<Connection>,
    /// How many wait for the writer: whoever does much at once makes way for them.
    waiting: AtomicUsize,
    readers: Mutex<Vec<Connection>>,
}

impl Store {
    /// Opens a store, or makes one. A file that is not a store, is damaged or comes from a later version is left as it is.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(location: Location) -> Result<Self, OpenError> {
        let mut writer = match &location {
            Location::File(path) => schema::open_file(path)?,
            Location::Temporary => {
                let unusable = |error: rusqlite::Error| OpenError::Unusable {
                    path: std::env::temp_dir(),
                    why: format!("no temporary database can be made: {error}"),
                };
                let connection = Connection::open("").map_err(unusable)?;
                connection.execute_batch("PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF").map_err(unusable)?;
                connection
            }
        };
        let path = location.path().map(Path::to_owned).unwrap_or_default();
        let failed = |error: rusqlite::Error| schema::open_error(&path, &error);
        prepare(&writer, WRITER_CACHE_KIB).map_err(failed)?;
        schema::migrate(&mut writer, &path)?;
        Ok(Self { location, writer: Mutex::new(writer), waiting: AtomicUsize::new(0), readers: Mutex::default() })
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Whether what is written here lasts.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.location == Location::Temporary
    }

    /// Reads, and sees one state of the store from the first query to the last.
    ///
    /// # Errors
    /// What the reading gives, or that the store cannot be read.
    pub fn read<T, E: From<StoreError>>(&self, read: impl FnOnce(&Reader<'_>) -> Result<T, E>) -> Result<T, E> {
        let Location::File(path) = &self.location else {
            let mut writer = self.lock();
            let transaction = writer.transaction().map_err(StoreError::from)?;
            return read(&Reader { connection: &transaction });
        };
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => open_reader(path)?,
        };
        let outcome = {
            let transaction = connection.transaction().map_err(StoreError::from)?;
            read(&Reader { connection: &transaction })
        };
        let mut kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_READERS {
            kept.push(connection);
        }
        outcome
    }

    /// Changes the store: all of it, or, if `change` fails, nothing. What it gives back is on the disk by then.
    ///
    /// # Errors
    /// What the change gives, or that the store cannot be written.
    pub fn write<T, E: From<StoreError>>(
        &self,
        now: Timestamp,
        change: impl FnOnce(&Writer<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
        let writer = Writer { reader: Reader { connection: &transaction }, now, waiting: &self.waiting };
        let outcome = change(&writer)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(outcome)
    }

    /// Makes a change and takes it back: what would come of it.
    ///
    /// # Errors
    /// What the change gives, or that the store cannot be written.
    pub fn try_out<T, E: From<StoreError>>(
        &self,
        now: Timestamp,
        change: impl FnOnce(&Writer<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
        // Dropped without a commit.
        change(&Writer { reader: Reader { connection: &transaction }, now, waiting: &self.waiting })
    }

    /// Whether another process has changed the file since the last time this was asked.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn was_changed_elsewhere(&self, seen: &mut i64) -> Result<bool, StoreError> {
        let connection = self.lock();
        let version: i64 = connection.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        Ok(std::mem::replace(seen, version) != version)
    }

    /// Takes more memory for pages, because very much will be written; until [`Store::rest`].
    ///
    /// # Errors
    /// The store cannot be used.
    pub fn make_room(&self) -> Result<(), StoreError> {
        Ok(self.lock().pragma_update(None, "cache_size", -ROOMY_CACHE_KIB)?)
    }

    /// Gives memory for pages back, after very much was written.
    ///
    /// # Errors
    /// The store cannot be used.
    pub fn rest(&self) -> Result<(), StoreError> {
        let connection = self.lock();
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        Ok(connection.execute_batch("PRAGMA shrink_memory")?)
    }

    /// Writes a copy of the store, as it is at this moment, to a file that is not there yet. Whoever changes keys
    /// meanwhile does not wait for it.
    ///
    /// # Errors
    /// The store cannot be read, or the copy not be written.
    pub fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        let Location::File(path) = &self.location else { return Err(StoreError::ReadOnly) };
        schema::create_private(to).map_err(|error| StoreError::Failed(error.into()))?;
        let copied = open_reader(path).and_then(|connection| {
            let name = to.to_str().ok_or_else(|| StoreError::Failed("the name of the file is not UTF-8".into()))?;
            connection.execute("VACUUM INTO ?1", [name])?;
            Ok(())
        });
        if copied.is_err() {
            // What stands there is no copy.
            let _ = std::fs::remove_file(to);
        }
        copied
    }

    /// Reads every page and compares. Takes seconds for a store of a million keys.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], or that it cannot be read.
    pub fn check(&self) -> Result<(), StoreError> {
        self.read(|reader| {
            let found: String = reader.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if found == "ok" { Ok(()) } else { Err(StoreError::Damaged) }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }
}

impl Location {
    /// The file, if it is in one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Temporary => None,
        }
    }
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection, READER_CACHE_KIB)?;
    Ok(connection)
}

fn prepare(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(128);
    // Or a statement is planned anew for each value, wherever an index of some rows only might do.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "memory")
}

/// A state of the store, to be read.
#[derive(Debug)]
pub struct Reader<'s> {
    connection: &'s Connection,
}

/// A change under way. What it has written it can read.
#[derive(Debug)]
pub struct Writer<'s> {
    reader: Reader<'s>,
    now: Timestamp,
    waiting: &'s AtomicUsize,
}

impl<'s> Deref for Writer<'s> {
    type Target = Reader<'s>;

    fn deref(&self) -> &Reader<'s> {
        &self.reader
    }
}

impl Writer<'_> {
    /// The moment of the change.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether somebody waits for this change to be over.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, message) = &error else {
            return Self::Failed(Box::new(error));
        };
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked,
            ErrorCode::DiskFull => Self::Full,
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Self::ReadOnly,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged,
            ErrorCode::ConstraintViolation => match message.as_deref().and_then(unique) {
                Some(unique) => Self::NotUnique(unique),
                None => Self::Failed(Box::new(error)),
            },
            _ => Self::Failed(Box::new(error)),
        }
    }
}

/// What is there twice, from the words of SQLite.
fn unique(message: &str) -> Option<Unique> {
    let columns = message.strip_prefix("UNIQUE constraint failed: ")?;
    Some(match columns {
        "keys.id" => Unique::KeyId,
        "keys.name, keys.tenant" => Unique::KeyName,
        "secrets.digest, secrets.scheme" => Unique::Digest,
        "clients.id" => Unique::ClientId,
        "admin_tokens.name" => Unique::TokenName,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
