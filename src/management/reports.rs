//! Looking: lists, reports, usage, the audit log. Every role may.

use super::{Management, Refused};
use crate::keys::{ApiKey, Timestamp};
use crate::store::{
    AuditFilter, AuditRecord, ClientFilter, ClientRow, KeyDetail, KeyFilter, KeyOrder, Page, StateCounts, UsageRow,
};

/// The most that one page holds.
pub(crate) const MAX_PAGE: usize = 200;

/// A page of a list that is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Behind which the page begins.
    pub cursor: Option<&'a str>,
    /// How many.
    pub limit: usize,
}

impl Management {
    /// Keys, a page at a time.
    ///
    /// # Errors
    /// The cursor is none of this list, or the store cannot be read.
    pub fn keys(
        &self,
        filter: &KeyFilter,
        order: KeyOrder,
        descending: bool,
        asked: Asked<'_>,
        now: Timestamp,
    ) -> Result<Page<KeyDetail>, Refused> {
        let limit = asked.limit.clamp(1, MAX_PAGE);
        self.read(|reader| reader.keys(filter, order, descending, asked.cursor, limit, now)?.ok_or_else(bad_cursor))
    }

    /// Clients by id, a page at a time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn clients(&self, filter: &ClientFilter, asked: Asked<'_>) -> Result<Page<ClientRow>, Refused> {
        self.read(|reader| Ok(reader.clients(filter, asked.cursor, asked.limit.clamp(1, MAX_PAGE))?))
    }

    /// Owners of clients: kind, id, how many clients and keys.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn owners(&self) -> Result<Vec<(String, String, i64, i64)>, Refused> {
        self.read(|reader| Ok(reader.owners()?))
    }

    /// The audit log, the newest first, a page at a time.
    ///
    /// # Errors
    /// The cursor is none of this list, or the store cannot be read.
    pub fn audit(&self, filter: &AuditFilter, asked: Asked<'_>) -> Result<Page<AuditRecord>, Refused> {
        let after = asked.cursor.map(|cursor| cursor.parse().map_err(|_| bad_cursor())).transpose()?;
        self.read(|reader| Ok(reader.audit(filter, after, asked.limit.clamp(1, MAX_PAGE))?))
    }

    /// What a key did, by day and endpoint.
    ///
    /// # Errors
    /// There is no such key, or the store cannot be read.
    pub fn usage(&self, id: &str, since_day: i64) -> Result<Vec<UsageRow>, Refused> {
        self.read(|reader| {
            let detail = reader.key(id)?.ok_or_else(|| Refused::no_key(id))?;
            Ok(reader.usage(detail.key.number, since_day)?)
        })
    }

    /// What these keys did since a day, by key, day and endpoint; keys are named by their numbers.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn usage_of(&self, keys: &[i64], since_day: i64) -> Result<Vec<(i64, UsageRow)>, Refused> {
        self.read(|reader| {
            let mut rows = Vec::new();
            for key in keys {
                rows.extend(reader.usage(*key, since_day)?.into_iter().map(|row| (*key, row)));
            }
            Ok(rows)
        })
    }

    /// Types of clients that there are.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn client_types(&self) -> Result<Vec<String>, Refused> {
        self.read(|reader| Ok(reader.client_types()?))
    }

    /// A key as it is in force, with what requests are judged by; none if it is in force no more.
    ///
    /// # Errors
    /// There is no such key, or the store cannot be read.
    pub fn key_in_force(&self, id: &str) -> Result<Option<ApiKey>, Refused> {
        let detail = self.key(id)?;
        let table = self.table();
        let found = detail.secrets.iter().find_map(|secret| table.find(&secret.digest));
        Ok(found.map(|entry| entry.key).filter(|key| key.id.as_str() == id))
    }

    /// Keys by what they are good for.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn counts(&self, now: Timestamp) -> Result<StateCounts, Refused> {
        let counts = self.read(|reader| Ok(reader.state_counts(now)?))?;
        Ok(counts.and(self.counts_of_waiting_files()))
    }
}

fn bad_cursor() -> Refused {
    let detail = "it was not given out for a list in this order: begin without one";
    Refused::Invalid(vec![super::Fault::new("/cursor", "cursor_invalid", detail)])
}
