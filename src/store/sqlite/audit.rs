//! What was done, by whom.

use rusqlite::{ToSql, params};

use super::super::{AuditEntry, AuditFilter, AuditRecord, Page, StoreError};
use super::{Reader, Writer};
use crate::keys::Timestamp;

impl Reader<'_> {
    /// Entries that a filter leaves, the newest first; `after` is the number of the last one that is known.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Page<AuditRecord>, StoreError> {
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut condition = |sql: &str, value: Box<dyn ToSql>| {
            values.push(value);
            conditions.push(sql.replace('?', &format!("?{}", values.len())));
        };
        if let Some(after) = after {
            condition("number < ?", Box::new(after));
        }
        if let Some(target) = &filter.target {
            condition("target = ?", Box::new(target.clone()));
        }
        if let Some(actor) = &filter.actor {
            condition("actor = ?", Box::new(actor.clone()));
        }
        if let Some(action) = &filter.action {
            condition("(action = ? OR substr(action, 1, length(?) + 1) = ? || '.')", Box::new(action.clone()));
        }
        if let Some(since) = filter.since {
            condition("at >= ?", Box::new(since.as_millis()));
        }
        if let Some(until) = filter.until {
            condition("at < ?", Box::new(until.as_millis()));
        }
        let sql = format!(
            "SELECT number, at, actor, role, via, address, action, kind, target, name, before, after, note FROM audit \
             WHERE {} ORDER BY number DESC LIMIT {}",
            conditions.join(" AND "),
            limit + 1
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let values: Vec<&dyn ToSql> = values.iter().map(|value| &**value).collect();
        let json = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        let rows = statement.query_map(&*values, |row| {
            Ok(AuditRecord {
                number: row.get(0)?,
                at: Timestamp::from_millis(row.get(1)?),
                actor: row.get(2)?,
                role: row.get(3)?,
                via: row.get(4)?,
                address: row.get(5)?,
                action: row.get(6)?,
                kind: row.get(7)?,
                target: row.get(8)?,
                name: row.get(9)?,
                before: json(row.get(10)?),
                after: json(row.get(11)?),
                note: row.get(12)?,
            })
        })?;
        let mut items: Vec<AuditRecord> = rows.collect::<Result<_, _>>()?;
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(|last| last.number.to_string());
        Ok(Page { items, next })
    }
}

impl Writer<'_> {
    /// Keeps an entry.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let sql = "INSERT INTO audit (at, actor, role, via, address, action, kind, target, name, before, after, note) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        self.connection.prepare_cached(sql)?.execute(params![
            self.now.as_millis(),
            entry.actor,
            entry.role,
            entry.via,
            entry.address,
            entry.action,
            entry.kind,
            entry.target,
            entry.name,
            entry.before.as_ref().map(ToString::to_string),
            entry.after.as_ref().map(ToString::to_string),
            entry.note,
        ])?;
        Ok(())
    }
}
