//! Keys and their secrets in the store.

use rusqlite::{OptionalExtension as _, Row, ToSql, params};

use super::super::{
    Change, Disabled, KeyDetail, KeyRow, LastUse, NewKey, NewSecret, Rotation, SecretRow, SecretState, StoreError,
};
use super::clients;
use super::column::{self, odd};
use super::{Reader, Writer};
use crate::client::{Environment, Plan};
use crate::credential::KeyDigest;
use crate::keys::{KeyId, Timestamp};

/// The columns of [`read`], in its order.
pub(super) const COLUMNS: &str = "k.number, k.id, k.client, k.origin, k.name, k.description, k.key_type, k.environment, \
    k.active, k.disabled_at, k.disabled_reason, k.not_before, k.expires_at, k.permissions, k.networks, k.origins, \
    k.visible, k.grace, k.created_at, k.created_by, k.updated_at, k.version, k.revoked_at, k.last_used_at, \
    k.plan";

/// How many columns that are.
pub(super) const WIDTH: usize = 25;

/// Reads a key from a row.
pub(super) fn read(row: &Row<'_>) -> Result<KeyRow, StoreError> {
    let text = |column: usize| -> Result<Option<String>, rusqlite::Error> { row.get(column) };
    let moment = |column: usize| -> Result<Option<Timestamp>, rusqlite::Error> { Ok(column::moment(row.get(column)?)) };
    let id: String = row.get(1)?;
    Ok(KeyRow {
        number: row.get(0)?,
        id: KeyId::parse(&id).map_err(|why| odd("a key id", why))?,
        client: row.get(2)?,
        origin: column::origin(row.get(3)?),
        name: row.get(4)?,
        description: row.get(5)?,
        key_type: column::key_type(row.get(6)?)?,
        environment: environment(text(7)?.as_deref())?,
        disabled: column::disabled(row.get(8)?, row.get(9)?, text(10)?),
        not_before: moment(11)?,
        expires_at: moment(12)?,
        grants: column::grants(text(13)?.as_deref())?,
        networks: column::networks(text(14)?.as_deref())?,
        origins: column::origins(text(15)?.as_deref())?,
        visible: row.get(16)?,
        rotation: row.get::<_, Option<i64>>(17)?.map(|grace_millis| Rotation { grace_millis }),
        created_at: Timestamp::from_millis(row.get(18)?),
        created_by: row.get(19)?,
        updated_at: Timestamp::from_millis(row.get(20)?),
        version: row.get(21)?,
        revoked_at: moment(22)?,
        last_used_at: moment(23)?,
        plan: column::plan(text(24)?.as_deref())?,
    })
}

pub(super) fn environment(text: Option<&str>) -> Result<Option<Environment>, StoreError> {
    text.map(|text| Environment::parse(text).map_err(|why| odd("an environment", why))).transpose()
}

/// The columns of a secret, in the order of [`read_secret`].
const SECRET_COLUMNS: &str =
    "number, scheme, digest, mask, state, created_at, valid_until, used_at, used_endpoint, used_address";

fn read_secret(row: &Row<'_>) -> Result<SecretRow, StoreError> {
    let used_at: Option<i64> = row.get(7)?;
    let last_use = match used_at {
        None => None,
        Some(at) => Some(LastUse {
            at: Timestamp::from_millis(at),
            endpoint: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
            address: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
        }),
    };
    let bytes = row.get_ref(2)?.as_blob().map_err(|why| odd("a digest", why))?;
    Ok(SecretRow {
        number: row.get(0)?,
        digest: column::digest(row.get(1)?, bytes)?,
        mask: row.get(3)?,
        state: column::state(row.get(4)?)?,
        created_at: Timestamp::from_millis(row.get(5)?),
        valid_until: column::moment(row.get(6)?),
        last_use,
    })
}

impl Reader<'_> {
    /// A key by its id, revoked or not.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn key(&self, id: &str) -> Result<Option<KeyDetail>, StoreError> {
        self.one_key("k.id = ?1", &id)
    }

    /// A key by its number.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn key_by_number(&self, number: i64) -> Result<Option<KeyDetail>, StoreError> {
        self.one_key("k.number = ?1", &number)
    }

    /// The key that a digest stands for, revoked or not.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn key_by_digest(&self, digest: &KeyDigest) -> Result<Option<KeyDetail>, StoreError> {
        let sql = "SELECT key FROM secrets WHERE digest = ?1 AND scheme = ?2";
        let values = params![&digest.as_bytes()[..], column::scheme_number(digest.scheme())];
        let number: Option<i64> =
            self.connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
        number.map_or(Ok(None), |number| self.key_by_number(number))
    }

    /// The key of this name among those of one tenant.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn key_by_name(&self, name: &str, tenant: Option<&str>) -> Result<Option<KeyDetail>, StoreError> {
        let sql = "SELECT number FROM keys WHERE name = ?1 AND tenant = ?2 AND revoked_at IS NULL";
        let values = params![name, tenant.unwrap_or_default()];
        let number: Option<i64> =
            self.connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
        number.map_or(Ok(None), |number| self.key_by_number(number))
    }

    fn one_key(&self, condition: &str, value: &dyn ToSql) -> Result<Option<KeyDetail>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, {} FROM keys k JOIN clients c ON c.number = k.client WHERE {condition}",
            clients::COLUMNS
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement.query_row([value], |row| Ok(detail(row))).optional()?.transpose()?;
        let Some((key, client)) = found else { return Ok(None) };
        let secrets = self.secrets(key.number)?;
        Ok(Some(KeyDetail { key, client, secrets }))
    }

    /// The secrets of a key, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn secrets(&self, key: i64) -> Result<Vec<SecretRow>, StoreError> {
        let sql = format!("SELECT {SECRET_COLUMNS} FROM secrets WHERE key = ?1 ORDER BY number DESC");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([key])?;
        let mut secrets = Vec::new();
        while let Some(row) = rows.next()? {
            secrets.push(read_secret(row)?);
        }
        Ok(secrets)
    }

    /// Whether the store holds a client or a key of its own, revoked ones counted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn has_own(&self) -> Result<bool, StoreError> {
        let sql =
            "SELECT EXISTS (SELECT 1 FROM clients WHERE origin = 0) OR EXISTS (SELECT 1 FROM keys WHERE origin = 0)";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Whether there is a copy of a key of a file, those set aside counted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn has_keys_of_files(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM keys WHERE origin = 1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// The copies of keys of files behind this one, so many at most, in their order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn keys_of_files_after(&self, number: i64, at_most: usize) -> Result<Vec<i64>, StoreError> {
        let sql =
            "SELECT number FROM keys WHERE origin = 1 AND revoked_at IS NULL AND number > ?1 ORDER BY number LIMIT ?2";
        self.numbers(sql, &[&number, &i64::try_from(at_most).unwrap_or(i64::MAX)])
    }

    /// The keys of a client that are not revoked.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn key_numbers_of_client(&self, client: i64) -> Result<Vec<i64>, StoreError> {
        self.numbers("SELECT number FROM keys WHERE client = ?1 AND revoked_at IS NULL ORDER BY number", &[&client])
    }

    pub(super) fn numbers(&self, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(values, |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

pub(super) fn detail(row: &Row<'_>) -> Result<(KeyRow, super::super::ClientRow), StoreError> {
    Ok((read(row)?, clients::read(row, WIDTH)?))
}

impl Writer<'_> {
    /// Adds a key with its secrets and gives its number. Whoever adds many notes them in the feed by ranges;
    /// [`Writer::note`] does it for one.
    ///
    /// # Errors
    /// Its id, name or digest is there already, or the store cannot be written.
    pub fn add_key(&self, new: &NewKey, secrets: &[NewSecret]) -> Result<i64, StoreError> {
        let sql = "INSERT INTO keys (id, client, tenant, origin, name, description, key_type, environment, active, \
                   disabled_at, disabled_reason, not_before, expires_at, permissions, networks, origins, visible, \
                   created_at, created_by, updated_at, version, plan) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?18, 1, \
                   ?20)";
        self.connection.prepare_cached(sql)?.execute(params![
            new.id.as_str(),
            new.client,
            new.tenant.as_deref().unwrap_or_default(),
            column::origin_number(new.origin),
            new.name,
            new.description,
            column::key_type_number(new.key_type),
            new.environment.as_ref().map(Environment::as_str),
            new.disabled.is_none(),
            new.disabled.as_ref().map(|disabled| disabled.at.as_millis()),
            new.disabled.as_ref().and_then(|disabled| disabled.reason.as_deref()),
            column::millis(new.not_before),
            column::millis(new.expires_at),
            column::grants_text(&new.grants),
            column::networks_text(&new.networks),
            column::origins_text(&new.origins),
            new.visible,
            self.now.as_millis(),
            new.created_by,
            new.plan.as_ref().map(Plan::as_str),
        ])?;
        let number = self.connection.last_insert_rowid();
        for (index, secret) in secrets.iter().enumerate() {
            self.add_secret(number, i64::try_from(index).unwrap_or(0) + 1, secret)?;
        }
        Ok(number)
    }

    /// Puts another form of a key in place of the one that is there: everything but its id, its client and its secrets.
    ///
    /// # Errors
    /// Another key has its name, or the store cannot be written.
    pub fn change_key(&self, key: &KeyRow) -> Result<(), StoreError> {
        let sql = "UPDATE keys SET name = ?2, description = ?3, key_type = ?4, environment = ?5, active = ?6, \
                   disabled_at = ?7, disabled_reason = ?8, not_before = ?9, expires_at = ?10, permissions = ?11, \
                   networks = ?12, origins = ?13, visible = ?14, grace = ?15, revoked_at = ?16, origin = ?17, \
                   updated_at = ?18, plan = ?19, version = version + 1 WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute(params![
            key.number,
            key.name,
            key.description,
            column::key_type_number(key.key_type),
            key.environment.as_ref().map(Environment::as_str),
            key.disabled.is_none(),
            key.disabled.as_ref().map(|disabled: &Disabled| disabled.at.as_millis()),
            key.disabled.as_ref().and_then(|disabled| disabled.reason.as_deref()),
            column::millis(key.not_before),
            column::millis(key.expires_at),
            column::grants_text(&key.grants),
            column::networks_text(&key.networks),
            column::origins_text(&key.origins),
            key.visible,
            key.rotation.map(|rotation| rotation.grace_millis),
            column::millis(key.revoked_at),
            column::origin_number(key.origin),
            self.now.as_millis(),
            key.plan.as_ref().map(Plan::as_str),
        ])?;
        self.note(Change::Keys { first: key.number, last: key.number })
    }

    /// Gives a key of files to another client.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn give_key_to(&self, key: i64, client: i64, tenant: Option<&str>) -> Result<(), StoreError> {
        let sql = "UPDATE keys SET client = ?2, tenant = ?3 WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute(params![key, client, tenant.unwrap_or_default()])?;
        Ok(())
    }

    /// Adds a secret to a key.
    ///
    /// # Errors
    /// The digest is there already, or the store cannot be written.
    pub fn add_secret(&self, key: i64, number: i64, secret: &NewSecret) -> Result<(), StoreError> {
        let sql = "INSERT INTO secrets (key, number, scheme, digest, mask, state, created_at, valid_until) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        self.connection.prepare_cached(sql)?.execute(params![
            key,
            number,
            column::scheme_number(secret.digest.scheme()),
            &secret.digest.as_bytes()[..],
            secret.mask,
            column::state_number(secret.state),
            self.now.as_millis(),
            column::millis(secret.valid_until),
        ])?;
        Ok(())
    }

    /// Takes back a key that was just added and cannot stay.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn withdraw_key(&self, id: &str) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM secrets WHERE key = (SELECT number FROM keys WHERE id = ?1)",
            "DELETE FROM keys WHERE id = ?1",
        ] {
            self.connection.prepare_cached(sql)?.execute([id])?;
        }
        Ok(())
    }

    /// Takes its name and its digests from the copy of a key of files.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn set_key_of_file_aside(&self, number: i64) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM secrets WHERE key = ?1")?.execute([number])?;
        self.connection.prepare_cached("DELETE FROM key_words WHERE rowid = ?1")?.execute([number])?;
        let sql = "UPDATE keys SET revoked_at = ?2 WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute([number, self.now.as_millis()])?;
        Ok(())
    }

    /// Says what a secret is in a rotation, and when it ends.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn change_secret(
        &self,
        key: i64,
        number: i64,
        state: SecretState,
        valid_until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE secrets SET state = ?3, valid_until = ?4 WHERE key = ?1 AND number = ?2";
        let values = params![key, number, column::state_number(state), column::millis(valid_until)];
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Takes a secret from a key.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_secret(&self, key: i64, secret: &SecretRow) -> Result<(), StoreError> {
        let sql = "DELETE FROM secrets WHERE key = ?1 AND number = ?2";
        self.connection.prepare_cached(sql)?.execute(params![key, secret.number])?;
        self.note(Change::SecretGone(secret.digest))
    }

    /// Secrets that ended before a moment, with their keys.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn secrets_ended_before(&self, moment: Timestamp) -> Result<Vec<(i64, SecretRow)>, StoreError> {
        let sql = format!("SELECT {SECRET_COLUMNS}, key FROM secrets WHERE valid_until < ?1 AND state = 2 LIMIT 1000");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([moment.as_millis()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push((row.get(10)?, read_secret(row)?));
        }
        Ok(found)
    }

    /// Revokes a key: its digests stay, so that nobody brings the same key in again, and are worth nothing.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn revoke_key(&self, detail: &KeyDetail) -> Result<(), StoreError> {
        for secret in &detail.secrets {
            self.note(Change::SecretGone(secret.digest))?;
        }
        let key = KeyRow { revoked_at: Some(self.now), visible: None, rotation: None, ..detail.key.clone() };
        self.change_key(&key)
    }
}
