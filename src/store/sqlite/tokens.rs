//! Admin tokens, and idempotency keys that were used.

use rusqlite::{OptionalExtension as _, Row, params};

use super::super::{AdminToken, NewAdminToken, Spent, StoreError};
use super::column::odd;
use super::{Reader, Writer};
use crate::keys::Timestamp;

/// How long it is remembered what an idempotency key was used for.
const SPENT_MILLIS: i64 = 24 * 60 * 60 * 1000;

fn read(row: &Row<'_>) -> Result<AdminToken, StoreError> {
    let digest: Vec<u8> = row.get(3)?;
    let millis = |column: usize| -> Result<Option<Timestamp>, rusqlite::Error> {
        Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
    };
    Ok(AdminToken {
        id: row.get(0)?,
        name: row.get(1)?,
        role: row.get(2)?,
        digest: digest.try_into().map_err(|_| odd("a digest of a token", "it has not 32 bytes"))?,
        mask: row.get(4)?,
        created_at: Timestamp::from_millis(row.get(5)?),
        created_by: row.get(6)?,
        expires_at: millis(7)?,
        last_used_at: millis(8)?,
    })
}

impl Reader<'_> {
    /// All admin tokens. There are few.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn admin_tokens(&self) -> Result<Vec<AdminToken>, StoreError> {
        let sql = "SELECT id, name, role, digest, mask, created_at, created_by, expires_at, last_used_at \
                   FROM admin_tokens ORDER BY number";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut tokens = Vec::new();
        while let Some(row) = rows.next()? {
            tokens.push(read(row)?);
        }
        Ok(tokens)
    }

    /// What an idempotency key was used for, by its digest.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn spent(&self, digest: &[u8; 32]) -> Result<Option<Spent>, StoreError> {
        let sql = "SELECT request, target FROM idempotency WHERE digest = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found: Option<(Vec<u8>, String)> =
            statement.query_row([&digest[..]], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        found
            .map(|(request, target)| {
                let request = request.try_into().map_err(|_| odd("a digest of a request", "it has not 32 bytes"))?;
                Ok(Spent { request, target })
            })
            .transpose()
    }
}

impl Writer<'_> {
    /// Adds a token.
    ///
    /// # Errors
    /// Another has its name, or the store cannot be written.
    pub fn add_admin_token(&self, new: &NewAdminToken) -> Result<(), StoreError> {
        let sql = "INSERT INTO admin_tokens (id, name, role, digest, mask, created_at, created_by, expires_at) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        self.connection.prepare_cached(sql)?.execute(params![
            new.id,
            new.name,
            new.role,
            &new.digest[..],
            new.mask,
            self.now.as_millis(),
            new.created_by,
            new.expires_at.map(Timestamp::as_millis),
        ])?;
        Ok(())
    }

    /// Removes a token; false if there is none of this id.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_admin_token(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached("DELETE FROM admin_tokens WHERE id = ?1")?.execute([id])? > 0)
    }

    /// Says when a token was last used.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn token_was_used(&self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE admin_tokens SET last_used_at = ?2 WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute(params![id, at.as_millis()])?;
        Ok(())
    }

    /// Remembers what an idempotency key was used for.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn spend(&self, digest: &[u8; 32], request: &[u8; 32], target: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO idempotency (digest, request, target, at) VALUES (?1, ?2, ?3, ?4)";
        self.connection.prepare_cached(sql)?.execute(params![
            &digest[..],
            &request[..],
            target,
            self.now.as_millis()
        ])?;
        Ok(())
    }

    /// Forgets idempotency keys that nobody will repeat any more.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn prune_spent(&self) -> Result<(), StoreError> {
        let before = self.now.as_millis() - SPENT_MILLIS;
        self.connection.prepare_cached("DELETE FROM idempotency WHERE at < ?1")?.execute([before])?;
        Ok(())
    }
}
