//! What keys were used for, by day and endpoint, and when they were last used.

use rusqlite::{OptionalExtension as _, params};

use super::super::{StoreError, UsageRow};
use super::{Reader, Writer};
use crate::keys::UsageSample;

/// Days for which usage is kept.
const KEPT_DAYS: i64 = 400;
const DAY_MILLIS: i64 = 86_400_000;

impl Reader<'_> {
    /// What a key did, by day and endpoint, since a day.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn usage(&self, key: i64, since_day: i64) -> Result<Vec<UsageRow>, StoreError> {
        let sql =
            "SELECT day, endpoint, admitted, refused FROM usage WHERE key = ?1 AND day >= ?2 ORDER BY day, endpoint";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([key, since_day], |row| {
            Ok(UsageRow { day: row.get(0)?, endpoint: row.get(1)?, admitted: row.get(2)?, refused: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Writer<'_> {
    /// Adds what keys did since the last time, on the day of this change.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_usage(&self, samples: &[UsageSample]) -> Result<(), StoreError> {
        let day = self.now.as_millis().div_euclid(DAY_MILLIS);
        let mut number_of = self.connection.prepare_cached("SELECT number FROM keys WHERE id = ?1")?;
        let mut add = self.connection.prepare_cached(
            "INSERT INTO usage (key, day, endpoint, admitted, refused) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (key, day, endpoint) DO UPDATE SET admitted = admitted + ?4, refused = refused + ?5",
        )?;
        let mut used = self
            .connection
            .prepare_cached("UPDATE keys SET last_used_at = max(coalesce(last_used_at, 0), ?2) WHERE number = ?1")?;
        let mut secret_used = self.connection.prepare_cached(
            "UPDATE secrets SET used_at = ?3, used_endpoint = ?4, used_address = ?5 \
             WHERE key = ?1 AND substr(digest, 1, 8) = ?2 AND coalesce(used_at, 0) <= ?3",
        )?;
        for sample in samples {
            let number: Option<i64> = number_of.query_row([sample.key.as_str()], |row| row.get(0)).optional()?;
            // A key that is gone meanwhile.
            let Some(number) = number else { continue };
            let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            add.execute(params![number, day, &*sample.endpoint, count(sample.admitted), count(sample.refused)])?;
            if let Some(last) = &sample.last {
                used.execute(params![number, last.at.as_millis()])?;
                secret_used.execute(params![
                    number,
                    &last.secret.to_bytes()[..],
                    last.at.as_millis(),
                    &*sample.endpoint,
                    last.address.to_canonical().to_string(),
                ])?;
            }
        }
        Ok(())
    }

    /// Forgets usage of long ago.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn prune_usage(&self) -> Result<(), StoreError> {
        let before = self.now.as_millis().div_euclid(DAY_MILLIS) - KEPT_DAYS;
        self.connection.prepare_cached("DELETE FROM usage WHERE day < ?1")?.execute([before])?;
        Ok(())
    }
}
