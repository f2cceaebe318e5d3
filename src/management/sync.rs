//! From the store to the key table: at the start all of it, then each change.
//!
//! The feed tells what changed, by whomever: a change of this process and one of another that has the same file open come
//! the same way. What is taken away is taken away first.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::{Management, Refused};
use crate::keys::{Held, KeyOrigin};
use crate::store::{Change, StoreError};

/// Every number that a key can have.
const ALL: (i64, i64) = (0, i64::MAX);

impl Management {
    /// Puts every key of the store in force, and says how many there are. From then on the table counts as loaded.
    ///
    /// # Errors
    /// The store cannot be read; the table holds a part of it then.
    pub fn load(&self) -> Result<usize, StoreError> {
        let inner = &*self.inner;
        let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inner.store.read(|reader| {
            *seen = reader.newest_change()?;
            reader.each_key_in_force(ALL.0, ALL.1, |record| inner.table.put(&record))
        })?;
        inner.table.set_loaded();
        self.load_tokens()?;
        Ok(count)
    }

    /// Puts no key in force: for whoever changes the store and serves nobody. The table takes what is changed from here on.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn stand_by(&self) -> Result<(), StoreError> {
        let mut seen = self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = self.inner.store.read(|reader| reader.newest_change())?;
        drop(seen);
        self.load_tokens()
    }

    /// Brings the table up to date with the store, and ends what keys that are not good any more had opened.
    pub(super) fn enforce(&self) -> Result<(), Refused> {
        self.inner.is_counted.store(false, Ordering::Relaxed);
        self.catch_up()?;
        if let Some(cut) = self.inner.cut.get() {
            cut();
        }
        Ok(())
    }

    /// Brings the table up to date with the store.
    pub(super) fn catch_up(&self) -> Result<bool, StoreError> {
        let inner = &*self.inner;
        let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let from = *seen;
        let (to, all) = inner.store.read(|reader| {
            let Some((changes, newest)) = reader.changes_after(from)? else {
                return Ok::<_, StoreError>((reader.newest_change()?, true));
            };
            for change in &changes {
                if let Change::SecretGone(digest) = change {
                    // A digest that has moved to a file, or to another key, is put in again below or by the reload.
                    let is_of_store =
                        inner.table.find(digest).is_some_and(|entry| entry.key.origin == KeyOrigin::Store);
                    if is_of_store {
                        inner.table.remove(digest);
                    }
                }
            }
            for change in &changes {
                match change {
                    Change::SecretGone(_) => {}
                    Change::Client(number) => {
                        if let Some(row) = reader.client_by_number(*number)?
                            && row.origin == KeyOrigin::Store
                        {
                            inner.table.set_client(&row.client);
                        }
                    }
                    Change::Keys { first, last } => {
                        reader.each_key_in_force(*first, *last, |record| inner.table.put(&record))?;
                    }
                }
            }
            Ok((newest, false))
        })?;
        *seen = to;
        if all {
            self.load_anew()?;
        }
        Ok(all || to != from)
    }

    /// Makes the table hold exactly what the store holds: some changes were missed.
    fn load_anew(&self) -> Result<(), StoreError> {
        let inner = &*self.inner;
        let mut wanted = HashSet::new();
        inner.store.read(|reader| {
            reader.each_key_in_force(ALL.0, ALL.1, |record| {
                wanted.extend(record.secrets.iter().map(|secret| Held::of(&secret.digest)));
                inner.table.put(&record);
            })
        })?;
        let gone = inner.table.retain_of_store(&wanted);
        tracing::info!(secrets.gone = gone, "the keys of the store were read anew: changes were missed");
        Ok(())
    }
}
