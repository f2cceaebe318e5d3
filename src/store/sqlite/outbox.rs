//! What the webhook is to be told, kept until it was.

use rusqlite::params;

use super::super::{Delivery, NewDelivery, StoreError};
use super::{Reader, Writer};
use crate::keys::Timestamp;

impl Reader<'_> {
    /// What has been due longest at a moment.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn due_delivery(&self, at: Timestamp) -> Result<Option<Delivery>, StoreError> {
        let sql = "SELECT number, id, event, body, attempts, created_at FROM outbox WHERE next_at <= ?1 \
                   ORDER BY next_at, number LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([at.as_millis()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(Delivery {
            number: row.get(0)?,
            id: row.get(1)?,
            event: row.get(2)?,
            body: row.get(3)?,
            attempts: row.get(4)?,
            created_at: Timestamp::from_millis(row.get(5)?),
        }))
    }

    /// How many wait.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn waiting_deliveries(&self) -> Result<i64, StoreError> {
        Ok(self.connection.prepare_cached("SELECT count(*) FROM outbox")?.query_row([], |row| row.get(0))?)
    }
}

impl Writer<'_> {
    /// Puts something in.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_delivery(&self, id: &str, new: &NewDelivery) -> Result<(), StoreError> {
        let sql = "INSERT INTO outbox (id, event, body, attempts, next_at, created_at) VALUES (?1, ?2, ?3, 0, ?4, ?4)";
        let values = params![id, new.event, new.body.to_string(), self.now.as_millis()];
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// It was told, or is given up.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_delivery(&self, number: i64) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM outbox WHERE number = ?1")?.execute([number])?;
        Ok(())
    }

    /// An attempt is made, and nobody else is to make one before a moment.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn lease_delivery(&self, number: i64, until: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET attempts = attempts + 1, next_at = ?2 WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute(params![number, until.as_millis()])?;
        Ok(())
    }

    /// It was tried in vain, and is to be tried again.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn postpone_delivery(&self, number: i64, until: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET next_at = ?2 WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute(params![number, until.as_millis()])?;
        Ok(())
    }

    /// Remembers that it was told of a key's end at this distance from it; false if it had been already.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn note_notice(&self, key: i64, expires_at: Timestamp, threshold_millis: i64) -> Result<bool, StoreError> {
        let sql = "INSERT INTO notices (key, expires, threshold) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        let values = params![key, expires_at.as_millis(), threshold_millis];
        Ok(self.connection.prepare_cached(sql)?.execute(values)? > 0)
    }

    /// Forgets notices of ends that are past.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn prune_notices(&self) -> Result<(), StoreError> {
        let sql = "DELETE FROM notices WHERE expires < ?1";
        self.connection.prepare_cached(sql)?.execute([self.now.as_millis()])?;
        Ok(())
    }
}
