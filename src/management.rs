//! What an operator may do with keys and clients: issue, change, rotate, switch off, revoke, find, import, report.
//!
//! Each use case is one method of [`Management`], written once; the admin API, the command line and the holder of a key
//! are three faces over it. A method checks who asks ([`Actor`]), checks what is asked for against the operator's
//! [policy](crate::keys::KeyPolicy), writes the store in one transaction, with an audit record and what the webhook is to
//! be told, and brings the key table up to date before it returns: the next request meets the change.
//!
//! A plain key exists here for a moment, when it is made or taken in; it is given back once and never kept. What is kept
//! of keys are digests.
//!
//! Everything blocks; call it where waiting harms nobody. Nothing here is on the path of a request.

mod actor;
mod clients;
mod files;
mod import;
mod issuing;
mod keys;
mod refused;
mod reports;
mod rotation;
mod sync;
mod tokens;
mod upkeep;
mod view;

pub use actor::{Actor, Role, Via};
pub use clients::{ClientChoice, CreateClient, EditClient, OwnerRemoval};
use files::WaitingFiles;
pub use files::{AskForCopy, Copied, FileConflict, FileKeys};
pub use import::{ImportLine, ImportReport, ImportSecret, RefusedLine};
pub use issuing::{Issuing, KnownWords, Prefix, Warning};
pub use keys::{CreateKey, Created, EditKey, Revoked};
pub use refused::{Claim, Fault, Refused, Unmet};
pub use reports::Asked;
pub use rotation::{MAX_GRACE, RotateKey, USUAL_GRACE};
pub use tokens::{CreateToken, CreatedToken, HeldToken};
use upkeep::AskUpkeep;
pub use upkeep::{Upkeep, UpkeepHandle, day_of};

use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::keys::{KeyTable, Timestamp};
use crate::store::{OpenError, Reader, Store, StoreError, Writer};

/// Ends the streams of keys that are not good any more.
pub type CutStreams = Arc<dyn Fn() + Send + Sync>;

/// Keys and clients, to be managed. A clone manages the same.
#[derive(Clone)]
pub struct Management {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    table: Arc<KeyTable>,
    issuing: ArcSwap<Issuing>,
    /// The last change of the feed that the table knows of. Held while the table is brought up to date.
    seen: Mutex<i64>,
    cut: OnceLock<CutStreams>,
    tokens: ArcSwap<Vec<HeldToken>>,
    /// Nothing has changed since keys were last counted.
    is_counted: AtomicBool,
    /// Files that are to be copied when somebody looks, or after a while.
    waiting_files: Mutex<Option<WaitingFiles>>,
    /// How the thread is asked that keeps up, while there is one.
    upkeep: Mutex<Option<AskUpkeep>>,
    /// When an import last wrote, in milliseconds since 1970: what can wait waits for its end.
    imported_at: AtomicI64,
}

impl std::fmt::Debug for Management {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Management").field("store", self.inner.store.location()).finish_non_exhaustive()
    }
}

impl Management {
    /// Manages what is in a store, and keeps a table up to date with it. The table holds no key of the store yet: see
    /// [`Management::load`].
    #[must_use]
    pub fn new(store: Store, table: Arc<KeyTable>, issuing: Issuing) -> Self {
        let inner = Inner {
            store,
            table,
            issuing: ArcSwap::from_pointee(issuing),
            seen: Mutex::new(0),
            cut: OnceLock::new(),
            tokens: ArcSwap::default(),
            is_counted: AtomicBool::new(false),
            waiting_files: Mutex::new(None),
            upkeep: Mutex::new(None),
            imported_at: AtomicI64::new(i64::MIN),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What ends the streams of keys that are not good any more; to be said once, before anything is changed.
    pub fn cut_with(&self, cut: CutStreams) {
        // Said twice, the first counts.
        let _ = self.inner.cut.set(cut);
    }

    /// Puts other rules for issuing in force.
    pub fn set_issuing(&self, issuing: Issuing) {
        self.inner.issuing.store(Arc::new(issuing));
    }

    /// The rules for issuing in force.
    #[must_use]
    pub fn issuing(&self) -> Arc<Issuing> {
        self.inner.issuing.load_full()
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The keys in force.
    #[must_use]
    pub fn table(&self) -> &Arc<KeyTable> {
        &self.inner.table
    }

    /// Whether keys can be made: there is a store that lasts.
    #[must_use]
    pub fn can_write(&self) -> bool {
        !self.inner.store.is_temporary()
    }

    fn read<T>(&self, read: impl FnOnce(&Reader<'_>) -> Result<T, Refused>) -> Result<T, Refused> {
        self.inner.store.read(read)
    }

    /// Changes the store as an actor, then the table, then what streams are open.
    fn change<T>(
        &self,
        actor: &Actor,
        needed: Role,
        change: impl FnOnce(&Writer<'_>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        actor.require(needed)?;
        if !self.can_write() {
            return Err(Refused::NoStore);
        }
        let outcome = self.inner.store.write(now(), change)?;
        self.enforce()?;
        Ok(outcome)
    }
}

/// The time.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Opens the store of a configuration; a temporary one where it names none.
///
/// # Errors
/// Why it cannot be used.
pub fn open_store(path: Option<&std::path::Path>) -> Result<Store, OpenError> {
    use crate::store::Location;
    Store::open(path.map_or(Location::Temporary, |path| Location::File(path.to_owned())))
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests;
