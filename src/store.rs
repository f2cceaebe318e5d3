//! Where keys live that keygate owns: an embedded database, one file, nothing to set up.
//!
//! `management` opens a [`Store`] and changes it with [`Store::write`], one transaction for each change; [`Store::read`]
//! gives a consistent view for lists and reports. What a change did to keys and clients goes into the same transaction as
//! a row of the [feed](Change), from which the table of the data path is brought up to date, whoever made the change:
//! this process, or another one that has the same file open.
//!
//! Nothing here is on the path of a request, and nothing here decides what may be changed: that is for `management`.
//! Digests are kept, keys never; a publishable key that its operator wants to see again is the one exception.
//!
//! Everything blocks. Call it where waiting harms nobody.

mod record;
mod sqlite;

pub use crate::keys::StateCounts;
pub use record::{
    AdminToken, AuditEntry, AuditFilter, AuditRecord, Change, ClientFilter, ClientRow, Delivery, Disabled, KeyDetail,
    KeyFilter, KeyOrder, KeyRow, KeyStatus, LastUse, NewAdminToken, NewClient, NewDelivery, NewKey, NewSecret, Page,
    Rotation, SecretRow, SecretState, Spent, UsageRow,
};
pub use sqlite::{Location, Reader, Store, Writer};

use std::path::PathBuf;

use thiserror::Error;

/// Why a store cannot be opened. Nothing was written then.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file, or its directory.
    #[error("the store `{path}` cannot be opened: {why}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Not a database.
    #[error("`{path}` is no keygate store: it is not an SQLite database")]
    NotADatabase {
        /// Which.
        path: PathBuf,
    },
    /// A database of another program.
    #[error("`{path}` is no keygate store: it is another program's database")]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// A database of a later version.
    #[error(
        "the store `{path}` was written by a newer keygate (its form is {found}, this one knows {known}); it is left as it is"
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its form.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Pages that are not what they were.
    #[error(
        "the store `{path}` is damaged ({why}); it is left as it is. Restore a backup, or try `sqlite3 {path} .recover`"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// Others can read or write it.
    #[error("the store `{path}` can be read or written by every user of this machine: `chmod 600 {path}`")]
    Exposed {
        /// Which.
        path: PathBuf,
    },
}

/// Why something could not be read or written. Nothing is half-written then.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process holds it for too long.
    #[error("the store is locked by another process")]
    Locked,
    /// No room is left.
    #[error("there is no room left for the store")]
    Full,
    /// It cannot be written.
    #[error("the store cannot be written")]
    ReadOnly,
    /// Pages that are not what they were.
    #[error("the store is damaged")]
    Damaged,
    /// What is to be unique is there already.
    #[error("{0} is there already")]
    NotUnique(Unique),
    /// Anything else.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What may be there only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unique {
    /// A key's id.
    KeyId,
    /// A key's name, among the keys of one tenant.
    KeyName,
    /// A digest.
    Digest,
    /// A client's id.
    ClientId,
    /// An admin token's name.
    TokenName,
}

impl std::fmt::Display for Unique {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::KeyId => "a key of this id",
            Self::KeyName => "a key of this name",
            Self::Digest => "this key",
            Self::ClientId => "a client of this id",
            Self::TokenName => "an admin token of this name",
        })
    }
}
