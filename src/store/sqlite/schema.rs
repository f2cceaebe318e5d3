//! The form of the file, and how an older one becomes the present one.
//!
//! Each step of [`STEPS`] is run once, in order, in one transaction; `user_version` says how many were. A step that was
//! published is never changed: a change is another step.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::super::OpenError;

/// `keyg`, by which other programs see whose file it is.
const APPLICATION_ID: i64 = 0x6b65_7967;

/// How a file begins that SQLite made.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Files up to this size are looked through before they are used; larger ones later, in the background.
const CHECKED_AT_ONCE: u64 = 32 << 20;

/// What makes each form out of the one before it.
const STEPS: &[&str] = &[
    r#"
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE clients (
    number          INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    origin          INTEGER NOT NULL,
    name            TEXT NOT NULL,
    client_type     TEXT NOT NULL,
    tenant          TEXT,
    owner_kind      TEXT,
    owner_id        TEXT,
    active          INTEGER NOT NULL,
    disabled_at     INTEGER,
    disabled_reason TEXT,
    groups          TEXT,
    permissions     TEXT,
    metadata        TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    version         INTEGER NOT NULL
) STRICT;
CREATE INDEX clients_type ON clients (client_type);
CREATE INDEX clients_tenant ON clients (tenant) WHERE tenant IS NOT NULL;
CREATE INDEX clients_owner ON clients (owner_kind, owner_id) WHERE owner_kind IS NOT NULL;
CREATE INDEX clients_inactive ON clients (number) WHERE active = 0;

CREATE TABLE keys (
    number          INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    client          INTEGER NOT NULL REFERENCES clients (number),
    tenant          TEXT NOT NULL,
    origin          INTEGER NOT NULL,
    name            TEXT NOT NULL,
    description     TEXT,
    key_type        INTEGER NOT NULL,
    environment     TEXT,
    active          INTEGER NOT NULL,
    disabled_at     INTEGER,
    disabled_reason TEXT,
    not_before      INTEGER,
    expires_at      INTEGER,
    permissions     TEXT,
    networks        TEXT,
    origins         TEXT,
    visible         TEXT,
    grace           INTEGER,
    created_at      INTEGER NOT NULL,
    created_by      TEXT NOT NULL,
    updated_at      INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    revoked_at      INTEGER,
    last_used_at    INTEGER
) STRICT;
CREATE UNIQUE INDEX keys_name ON keys (name, tenant) WHERE revoked_at IS NULL;
CREATE INDEX keys_client ON keys (client);
CREATE INDEX keys_expires ON keys (expires_at) WHERE expires_at IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX keys_used ON keys (last_used_at) WHERE last_used_at IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX keys_inactive ON keys (number) WHERE active = 0 AND revoked_at IS NULL;
CREATE INDEX keys_waiting ON keys (not_before) WHERE not_before IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX keys_revoked ON keys (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX keys_of_files ON keys (number) WHERE origin = 1;

CREATE TABLE secrets (
    key              INTEGER NOT NULL REFERENCES keys (number),
    number           INTEGER NOT NULL,
    scheme           INTEGER NOT NULL,
    digest           BLOB NOT NULL,
    mask             TEXT NOT NULL,
    state            INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    valid_until      INTEGER,
    used_at          INTEGER,
    used_endpoint    TEXT,
    used_address     TEXT,
    PRIMARY KEY (key, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX secrets_digest ON secrets (digest, scheme);
CREATE INDEX secrets_ending ON secrets (valid_until) WHERE valid_until IS NOT NULL;

CREATE VIRTUAL TABLE key_words USING fts5 (
    words, content = '', contentless_delete = 1, detail = none, tokenize = "unicode61 remove_diacritics 0 tokenchars '_'"
);

CREATE TABLE usage (
    key      INTEGER NOT NULL,
    day      INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    admitted INTEGER NOT NULL,
    refused  INTEGER NOT NULL,
    PRIMARY KEY (key, day, endpoint)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    number  INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    role    TEXT NOT NULL,
    via     TEXT NOT NULL,
    address TEXT,
    action  TEXT NOT NULL,
    kind    TEXT NOT NULL,
    target  TEXT NOT NULL,
    name    TEXT,
    before  TEXT,
    after   TEXT,
    note    TEXT
) STRICT;
CREATE INDEX audit_target ON audit (target);

CREATE TABLE admin_tokens (
    number       INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL UNIQUE,
    role         TEXT NOT NULL,
    digest       BLOB NOT NULL UNIQUE,
    mask         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
) STRICT;

CREATE TABLE idempotency (
    digest  BLOB PRIMARY KEY,
    request BLOB NOT NULL,
    target  TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE outbox (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL,
    event      TEXT NOT NULL,
    body       TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_next ON outbox (next_at);

CREATE TABLE notices (
    key       INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    PRIMARY KEY (key, expires, threshold)
) STRICT, WITHOUT ROWID;

CREATE TABLE feed (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind   INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    digest BLOB,
    at     INTEGER NOT NULL
) STRICT;
"#,
    r#"
ALTER TABLE clients ADD COLUMN plan TEXT;
ALTER TABLE keys ADD COLUMN plan TEXT;
CREATE INDEX clients_plan ON clients (plan) WHERE plan IS NOT NULL;
CREATE INDEX keys_plan ON keys (plan) WHERE plan IS NOT NULL;
"#,
];

/// The newest form.
fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Opens a file for writing, after a look at it that writes nothing.
pub(super) fn open_file(path: &Path) -> Result<Connection, OpenError> {
    let unusable = |why: String| OpenError::Unusable { path: path.to_owned(), why };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
        && !parent.is_dir()
    {
        return Err(unusable(format!("the directory `{}` does not exist", parent.display())));
    }
    create_private(path).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(unusable(error.to_string())),
    })?;
    look(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| open_error(path, &error))?;
    let set_up = || -> rusqlite::Result<String> {
        connection.busy_timeout(super::BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))
    };
    match set_up() {
        Ok(mode) if mode == "wal" => Ok(connection),
        Ok(mode) => Err(unusable(format!("its file system has no write-ahead log (the journal stays `{mode}`)"))),
        Err(error) => Err(open_error(path, &error)),
    }
}

/// Makes a file that its owner alone can read, unless something of this name is there.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(|_| ())
}

/// Refuses what is not a store that this version can use. Writes nothing.
fn look(path: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::PermissionsExt as _;
    let unusable = |error: io::Error| OpenError::Unusable { path: path.to_owned(), why: error.to_string() };
    let mut file = std::fs::File::open(path).map_err(unusable)?;
    let metadata = file.metadata().map_err(unusable)?;
    if metadata.is_dir() {
        return Err(unusable(io::ErrorKind::IsADirectory.into()));
    }
    if metadata.permissions().mode() & 0o002 != 0 {
        return Err(OpenError::Exposed { path: path.to_owned() });
    }
    if metadata.len() == 0 {
        return Ok(());
    }
    let mut header = [0; 100];
    let mut read = 0;
    while read < header.len() {
        match file.read(&mut header[read..]).map_err(unusable)? {
            0 => break,
            count => read += count,
        }
    }
    if read < header.len() || header[..16] != *MAGIC {
        return Err(OpenError::NotADatabase { path: path.to_owned() });
    }
    let word = |at: usize| i64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    check_version(path, word(68), word(60))?;

    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let looked_through = || -> rusqlite::Result<(i64, i64, i64, String)> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(super::BUSY_TIMEOUT)?;
        let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let found = if metadata.len() <= CHECKED_AT_ONCE {
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?
        } else {
            "ok".to_owned()
        };
        let tables = one("SELECT count(*) FROM sqlite_schema")?;
        Ok((one("PRAGMA application_id")?, one("PRAGMA user_version")?, tables, found))
    };
    let (application, version, tables, found) = looked_through().map_err(|error| open_error(path, &error))?;
    if found != "ok" {
        return Err(OpenError::Damaged { path: path.to_owned(), why: found });
    }
    // One that was begun and not finished holds nothing yet.
    if application == 0 && tables > 0 {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    check_version(path, application, version)
}

fn check_version(path: &Path, application: i64, version: i64) -> Result<(), OpenError> {
    if application != 0 && application != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if application == APPLICATION_ID && version > known() {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known: known() });
    }
    Ok(())
}

/// Brings the file to the newest form, in one transaction.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let mut run = || -> rusqlite::Result<i64> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        for step in STEPS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
            transaction.execute_batch(step)?;
        }
        if version < known() {
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", known())?;
        }
        transaction.commit()?;
        Ok(version)
    };
    let version = run().map_err(|error| open_error(path, &error))?;
    // Another process may have brought it to a later form between the look and here.
    check_version(path, APPLICATION_ID, version)?;
    if version < known() {
        // From now on the header tells the version without the log.
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
    Ok(())
}

/// What an error at opening means.
pub(super) fn open_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    let code = error.sqlite_error_code();
    match code {
        Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, why: error.to_string() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            OpenError::Unusable { path, why: "another process holds it locked".to_owned() }
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            OpenError::Unusable { path, why: "it, or its directory, cannot be written".to_owned() }
        }
        _ => OpenError::Unusable { path, why: error.to_string() },
    }
}
