//! What changed, in order, and what the data path gets of it.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Statement, params};

use super::super::{Change, SecretState, StoreError};
use super::column::{self, odd};
use super::keys::environment;
use super::{Reader, Writer, clients};
use crate::client::{Client, Environment, Grants, Plan};
use crate::keys::{ApiKey, KeyId, KeyOrigin, KeyRecord, KeyTerms, SecretRecord, SharedTerms};

/// How long a row of the feed is kept: whoever has not read it by then reads everything anew.
pub(super) const KEPT_MILLIS: i64 = 24 * 60 * 60 * 1000;

impl Reader<'_> {
    /// The number of the newest change.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn newest_change(&self) -> Result<i64, StoreError> {
        let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'feed'";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Changes after one that is known, in order, with the number of the last. None if some of them are gone already.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn changes_after(&self, known: i64) -> Result<Option<(Vec<Change>, i64)>, StoreError> {
        let newest = self.newest_change()?;
        let mut statement = self
            .connection
            .prepare_cached("SELECT number, kind, first, last, digest FROM feed WHERE number > ?1 ORDER BY number")?;
        let mut rows = statement.query([known])?;
        let mut changes = Vec::new();
        let mut expected = known + 1;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            if number != expected {
                return Ok(None);
            }
            expected += 1;
            let (first, last): (i64, i64) = (row.get(2)?, row.get(3)?);
            changes.push(match row.get::<_, i64>(1)? {
                0 => Change::Keys { first, last },
                1 => {
                    let bytes = row.get_ref(4)?.as_blob().map_err(|why| odd("a digest", why))?;
                    Change::SecretGone(column::digest(first, bytes)?)
                }
                2 => Change::Client(first),
                other => return Err(odd("a change", other)),
            });
        }
        Ok((expected > newest).then_some((changes, newest)))
    }

    /// Hands over every key of the store that is in force, or could be, as the data path holds it. Keys of files are not
    /// among them: they come from the files.
    ///
    /// # Errors
    /// The store cannot be read, or a row holds what cannot be used.
    pub fn each_key_in_force(
        &self,
        first: i64,
        last: i64,
        mut take: impl FnMut(KeyRecord),
    ) -> Result<usize, StoreError> {
        let mut keys = self.connection.prepare_cached(
            "SELECT number, id, client, key_type, environment, active, not_before, expires_at, permissions, networks, \
             origins, plan FROM keys WHERE number BETWEEN ?1 AND ?2 AND origin = 0 AND revoked_at IS NULL ORDER BY number",
        )?;
        let mut secrets = self.connection.prepare_cached(
            "SELECT key, scheme, digest, valid_until, state FROM secrets WHERE key BETWEEN ?1 AND ?2 ORDER BY key, number",
        )?;
        let mut client = self
            .connection
            .prepare_cached(&format!("SELECT {} FROM clients c WHERE c.number = ?1", clients::COLUMNS))?;
        let mut shared = Shared::default();
        let mut secrets = secrets.query(params![first, last])?;
        let mut secret = secrets.next()?;
        let mut rows = keys.query(params![first, last])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let mut of_key = Vec::with_capacity(1);
            while let Some(at) = secret {
                let key: i64 = at.get(0)?;
                if key > number {
                    break;
                }
                if key == number {
                    let bytes = at.get_ref(2)?.as_blob().map_err(|why| odd("a digest", why))?;
                    of_key.push(SecretRecord {
                        digest: column::digest(at.get(1)?, bytes)?,
                        valid_until: column::moment(at.get(3)?),
                        is_pending: column::state(at.get(4)?)? == SecretState::Pending,
                    });
                }
                secret = secrets.next()?;
            }
            let text = |column: usize| row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from);
            let terms = KeyTerms {
                client: shared.client(row.get(2)?, &mut client)?,
                key_type: column::key_type(row.get(3)?)?,
                environment: shared.environment(text(4)?)?,
                active: row.get(5)?,
                grants: shared.grants(text(8)?)?,
                networks: column::networks(text(9)?)?.into(),
                origins: column::origins(text(10)?)?.into(),
                plan: shared.plan(text(11)?)?,
                origin: KeyOrigin::Store,
            };
            let id = text(1)?.ok_or_else(|| odd("a key id", "it is null"))?;
            let key = ApiKey {
                id: KeyId::parse(id).map_err(|why| odd("a key id", why))?,
                not_before: column::moment(row.get(6)?),
                expires_at: column::moment(row.get(7)?),
                terms: shared.terms.share(terms),
            };
            take(KeyRecord { key, name: Box::default(), description: None, secrets: of_key });
            count += 1;
        }
        Ok(count)
    }
}

/// What comes again and again while keys are read.
#[derive(Default)]
struct Shared {
    terms: SharedTerms,
    clients: HashMap<i64, Arc<Client>>,
    environments: HashMap<String, Environment>,
    plans: HashMap<String, Plan>,
    grants: HashMap<String, Grants>,
}

impl Shared {
    fn client(&mut self, number: i64, statement: &mut Statement<'_>) -> Result<Arc<Client>, StoreError> {
        if let Some(known) = self.clients.get(&number) {
            return Ok(Arc::clone(known));
        }
        let client = statement.query_row([number], |row| Ok(clients::read(row, 0)))??.client;
        self.clients.insert(number, Arc::clone(&client));
        Ok(client)
    }

    fn environment(&mut self, text: Option<&str>) -> Result<Option<Environment>, StoreError> {
        let Some(text) = text else { return Ok(None) };
        if let Some(known) = self.environments.get(text) {
            return Ok(Some(known.clone()));
        }
        let read = environment(Some(text))?;
        if let Some(environment) = &read {
            self.environments.insert(text.to_owned(), environment.clone());
        }
        Ok(read)
    }

    fn plan(&mut self, text: Option<&str>) -> Result<Option<Plan>, StoreError> {
        let Some(text) = text else { return Ok(None) };
        if let Some(known) = self.plans.get(text) {
            return Ok(Some(known.clone()));
        }
        let read = column::plan(Some(text))?;
        if let Some(plan) = &read {
            self.plans.insert(text.to_owned(), plan.clone());
        }
        Ok(read)
    }

    fn grants(&mut self, text: Option<&str>) -> Result<Grants, StoreError> {
        let Some(list) = text else { return Ok(Grants::Unrestricted) };
        if let Some(known) = self.grants.get(list) {
            return Ok(known.clone());
        }
        let read = column::grants(text)?;
        self.grants.insert(list.to_owned(), read.clone());
        Ok(read)
    }
}

impl Writer<'_> {
    /// Tells whoever holds keys in memory.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn note(&self, change: Change) -> Result<(), StoreError> {
        let (kind, first, last, digest) = match &change {
            Change::Keys { first, last } => (0, *first, *last, None),
            Change::SecretGone(digest) => (1, column::scheme_number(digest.scheme()), 0, Some(&digest.as_bytes()[..])),
            Change::Client(number) => (2, *number, *number, None),
        };
        let sql = "INSERT INTO feed (kind, first, last, digest, at) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.connection.prepare_cached(sql)?.execute(params![kind, first, last, digest, self.now.as_millis()])?;
        Ok(())
    }

    /// Forgets changes that everybody has read long since.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn prune_feed(&self) -> Result<(), StoreError> {
        let before = self.now.as_millis() - KEPT_MILLIS;
        self.connection.prepare_cached("DELETE FROM feed WHERE at < ?1")?.execute([before])?;
        Ok(())
    }
}

impl From<rusqlite::types::FromSqlError> for StoreError {
    fn from(error: rusqlite::types::FromSqlError) -> Self {
        Self::Failed(Box::new(error))
    }
}
