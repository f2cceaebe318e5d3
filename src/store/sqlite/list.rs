//! Finding keys: lists in pages, by words, by what they are and how they are used.
//!
//! A page must come within milliseconds among a million keys. Each condition that an index knows is first *probed*: if it
//! leaves few keys, they are taken and sorted; if every one leaves many, the list is walked in its order until the page is
//! full, which is soon then.
//!
//! Words are kept in an index of their own, beside the keys. The rarest word of a search finds the keys, and each key that
//! was found is looked at with all of them: an index of beginnings is slow where a beginning is that of a million words.
//! Large imports are indexed afterwards, in small steps ([`Writer::index_words`]); until then the newest keys are looked
//! through one by one.

use std::fmt::Write as _;

use rusqlite::{OptionalExtension as _, ToSql, params};

use super::super::{KeyDetail, KeyFilter, KeyOrder, KeyStatus, Page, StateCounts, StoreError};
use super::{Reader, Writer, clients, column, keys};
use crate::keys::Timestamp;

/// The most keys that are sorted for one page.
const FEW: usize = 5_000;

/// Where in the store it says how far the words are indexed.
const INDEXED: &str = "words_indexed_to";

/// Conditions and the values in them.
#[derive(Default)]
struct Sql {
    text: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Sql {
    /// Adds a piece; each `?` in it stands for the next of these values.
    fn push(&mut self, piece: &str, values: Vec<Box<dyn ToSql>>) {
        let mut pieces = piece.split('?');
        self.text.push_str(pieces.next().unwrap_or_default());
        for (piece, value) in pieces.zip(values) {
            self.values.push(value);
            let _ = write!(self.text, "?{}{piece}", self.values.len());
        }
    }

    fn and(&mut self, condition: &str, values: Vec<Box<dyn ToSql>>) {
        self.push(" AND ", Vec::new());
        self.push(condition, values);
    }

    fn values(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(|value| &**value).collect()
    }
}

fn text(value: &str) -> Box<dyn ToSql> {
    Box::new(value.to_owned())
}

fn number(value: i64) -> Box<dyn ToSql> {
    Box::new(value)
}

/// One way to find keys: what an index is asked, unless it is known to find many, and the same as a condition on each key.
struct Probe {
    numbers: Option<(String, Vec<Box<dyn ToSql>>)>,
    condition: (String, Vec<Box<dyn ToSql>>),
}

impl Probe {
    fn new(numbers: &str, condition: &str, values: impl Fn() -> Vec<Box<dyn ToSql>>) -> Self {
        Self { numbers: Some((numbers.to_owned(), values())), condition: (condition.to_owned(), values()) }
    }
}

/// Where a page begins: behind this key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    order: KeyOrder,
    descending: bool,
    /// Among the keys that have no value to be ordered by, which come last.
    is_null: bool,
    number: i64,
    value: String,
}

impl Cursor {
    fn print(&self) -> String {
        let order = match self.order {
            KeyOrder::Created => 'c',
            KeyOrder::Name => 'n',
            KeyOrder::Expires => 'e',
            KeyOrder::LastUsed => 'u',
        };
        let direction = if self.descending { 'd' } else { 'a' };
        let null = if self.is_null { '1' } else { '0' };
        let mut printed = format!("{order}{direction}{null}{}.", self.number);
        self.value.bytes().for_each(|byte| {
            let _ = write!(printed, "{byte:02x}");
        });
        printed
    }

    /// Reads a cursor that was given out for a list in this order.
    fn read(printed: &str, order: KeyOrder, descending: bool) -> Option<Self> {
        let (head, hex) = printed.split_once('.')?;
        let number: i64 = head.get(3..)?.parse().ok()?;
        let mut bytes = Vec::with_capacity(hex.len() / 2);
        for pair in hex.as_bytes().chunks(2) {
            bytes.push(u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?);
        }
        let value = String::from_utf8(bytes).ok()?;
        let cursor = Self { order, descending, is_null: head.as_bytes()[2] == b'1', number, value };
        (cursor.print() == printed).then_some(cursor)
    }
}

/// The words of a text as the index knows them: letters, digits and underscores, in lower case.
fn words_of(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// The words of a search.
fn search_words(filter: &KeyFilter) -> Vec<String> {
    let mut words: Vec<String> = filter.words.iter().flat_map(|word| words_of(word).collect::<Vec<_>>()).collect();
    words.sort();
    words.dedup();
    words
}

/// Whether each word begins a word of the key, or its id.
fn has_words(detail: &KeyDetail, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let id = detail.key.id.as_str().to_lowercase();
    let held: Vec<String> = words_of(&indexed_text(detail)).collect();
    words.iter().all(|word| id.starts_with(word) || held.iter().any(|held| held.starts_with(word)))
}

/// What holds, at least, for each key that a word finds, with its values.
fn word_condition(word: &str) -> (String, Vec<Box<dyn ToSql>>) {
    let (within, beginning) = (format!("%{word}%"), format!("{word}%"));
    let condition = "(k.name LIKE ? OR k.id LIKE ? OR k.description LIKE ? OR c.id LIKE ? OR c.name LIKE ? OR c.tenant LIKE ? \
         OR EXISTS (SELECT 1 FROM secrets s WHERE s.key = k.number AND s.mask LIKE ?))";
    let values = [&within, &beginning, &within, &within, &within, &within, &within];
    (condition.to_owned(), values.into_iter().map(|value| text(value)).collect())
}

/// The words under which a key is found. Names with underscores are found by each of their parts too.
fn indexed_text(detail: &KeyDetail) -> String {
    let client = &detail.client.client;
    let last_four = detail.current().map_or("", |secret| secret.mask.rsplit('…').next().unwrap_or_default());
    let tenant = client.tenant.as_ref().map_or("", |tenant| tenant.as_str());
    let description = detail.key.description.as_deref().unwrap_or_default();
    let names = [detail.key.name.as_str(), client.id.as_str(), &client.name, tenant, description].join(" ");
    let parts = if names.contains('_') { names.replace('_', " ") } else { String::new() };
    [names.as_str(), &parts, last_four].join(" ")
}

impl Reader<'_> {
    /// Keys that a filter leaves, in an order, a page at a time. None if the cursor is not one of such a list.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn keys(
        &self,
        filter: &KeyFilter,
        order: KeyOrder,
        descending: bool,
        cursor: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<Page<KeyDetail>>, StoreError> {
        let after = match cursor {
            None => None,
            Some(printed) => match Cursor::read(printed, order, descending) {
                Some(cursor) => Some(cursor),
                None => return Ok(None),
            },
        };
        let Some(conditions) = self.conditions(filter, now)? else {
            return Ok(Some(Page { items: Vec::new(), next: None }));
        };
        let list = Listing { conditions: &conditions, words: search_words(filter), order, descending };
        let mut found = Vec::new();
        let starts_in_nulls = after.as_ref().is_some_and(|cursor| cursor.is_null);
        if !starts_in_nulls {
            found = self.walk(&list, false, after.as_ref(), limit + 1)?;
        }
        if found.len() <= limit && list.column().is_some_and(|(_, may_be_null)| may_be_null) {
            let after = after.as_ref().filter(|_| starts_in_nulls);
            found.extend(self.walk(&list, true, after, limit + 1 - found.len())?);
        }
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(|last| list.cursor_behind(last).print());
        Ok(Some(Page { items: found, next }))
    }

    /// The conditions of a filter, with the keys that the sharpest of them leaves if they are few. None if nothing is left.
    fn conditions(&self, filter: &KeyFilter, now: Timestamp) -> Result<Option<Sql>, StoreError> {
        let mut sql = Sql::default();
        match filter.status {
            Some(KeyStatus::Revoked) => sql.push("k.revoked_at IS NOT NULL AND k.origin = 0", Vec::new()),
            _ => sql.push("k.revoked_at IS NULL", Vec::new()),
        }
        let mut is_narrow = false;
        for probe in self.probes(filter, now)? {
            if let Some((query, values)) = probe.numbers.filter(|_| !is_narrow) {
                let query = format!("{query} LIMIT {}", FEW + 1);
                let values: Vec<&dyn ToSql> = values.iter().map(|value| &**value).collect();
                let numbers = self.numbers(&query, &values)?;
                if numbers.is_empty() {
                    return Ok(None);
                }
                if numbers.len() <= FEW {
                    is_narrow = true;
                    let list = serde_json::Value::from(numbers).to_string();
                    sql.and("k.number IN (SELECT value FROM json_each(?))", vec![Box::new(list)]);
                    continue;
                }
            }
            sql.and(&probe.condition.0, probe.condition.1);
        }
        self.other_conditions(filter, now, &mut sql);
        Ok(Some(sql))
    }

    /// The conditions that an index can answer, the sharpest first.
    fn probes(&self, filter: &KeyFilter, now: Timestamp) -> Result<Vec<Probe>, StoreError> {
        let mut probes = Vec::new();
        self.word_probes(filter, &mut probes)?;
        if let Some(client) = &filter.client {
            let values = || vec![text(client.as_str())];
            probes.push(Probe::new(
                "SELECT number FROM keys WHERE client = (SELECT number FROM clients WHERE id = ?)",
                "c.id = ?",
                values,
            ));
        }
        if filter.rotating {
            probes.push(Probe::new(
                "SELECT DISTINCT key FROM secrets WHERE valid_until > ?",
                "EXISTS (SELECT 1 FROM secrets s WHERE s.key = k.number AND s.valid_until > ?)",
                || vec![number(now.as_millis())],
            ));
        }
        let of_clients = |condition: &str| {
            format!("SELECT k.number FROM clients c CROSS JOIN keys k ON k.client = c.number WHERE {condition}")
        };
        let at = || vec![number(now.as_millis())];
        match filter.status {
            Some(KeyStatus::Disabled) => probes.push(Probe::new(
                &format!(
                    "SELECT number FROM keys WHERE active = 0 AND revoked_at IS NULL UNION {}",
                    of_clients("c.active = 0 AND k.revoked_at IS NULL")
                ),
                "(k.active = 0 OR c.active = 0)",
                Vec::new,
            )),
            Some(KeyStatus::Expired) => probes.push(Probe::new(
                "SELECT number FROM keys WHERE expires_at <= ? AND revoked_at IS NULL",
                "k.expires_at <= ?",
                at,
            )),
            Some(KeyStatus::NotYetValid) => probes.push(Probe::new(
                "SELECT number FROM keys WHERE not_before > ? AND revoked_at IS NULL",
                "k.not_before > ?",
                at,
            )),
            Some(KeyStatus::Revoked) => probes.push(Probe::new(
                "SELECT number FROM keys WHERE revoked_at IS NOT NULL AND origin = 0",
                "1",
                Vec::new,
            )),
            Some(KeyStatus::Active) | None => {}
        }
        if let Some(before) = filter.expires_before {
            probes.push(Probe::new(
                "SELECT number FROM keys WHERE expires_at > ? AND expires_at < ? AND revoked_at IS NULL",
                "k.expires_at > ? AND k.expires_at < ?",
                || vec![number(now.as_millis()), number(before.as_millis())],
            ));
        }
        if let Some(origin) = filter.origin.filter(|origin| column::origin_number(*origin) == 1) {
            probes.push(Probe::new("SELECT number FROM keys WHERE origin = 1 AND origin = ?", "k.origin = ?", || {
                vec![number(column::origin_number(origin))]
            }));
        }
        if let Some(tenant) = &filter.tenant {
            probes.push(Probe::new(&of_clients("c.tenant = ?"), "c.tenant = ?", || vec![text(tenant)]));
        }
        if let Some(client_type) = &filter.client_type {
            let values = || vec![text(client_type)];
            probes.push(Probe::new(&of_clients("c.client_type = ?"), "c.client_type = ?", values));
        }
        Ok(probes)
    }

    /// One probe for each word of a search; what is whole and rare first, what would find too many left out.
    fn word_probes(&self, filter: &KeyFilter, probes: &mut Vec<Probe>) -> Result<(), StoreError> {
        let indexed = self.words_indexed_to()?;
        let mut ranked = Vec::new();
        for word in search_words(filter) {
            let whole = self.numbers(
                &format!("SELECT rowid FROM key_words WHERE key_words MATCH ?1 LIMIT {}", FEW + 1),
                &[&format!("\"{word}\"")],
            )?;
            let is_asked = whole.len() <= FEW && word.chars().nth(1).is_some();
            ranked.push((!is_asked, whole.is_empty(), std::cmp::Reverse(word.chars().count()), word));
        }
        ranked.sort();
        for (is_left_out, _, _, word) in ranked {
            let condition = word_condition(&word);
            if is_left_out {
                probes.push(Probe { numbers: None, condition });
                continue;
            }
            // Ids are found by their own index, which knows them as they are written.
            let end = format!("{word}\u{10ffff}");
            let mut query = Sql::default();
            query.push("SELECT rowid FROM key_words WHERE key_words MATCH ?", vec![text(&format!("\"{word}\"*"))]);
            for spelling in filter.words.iter().filter(|spelling| spelling.to_lowercase() == word) {
                query.push(
                    " UNION ALL SELECT number FROM keys WHERE id >= ? AND id < ?",
                    vec![text(spelling), text(&format!("{spelling}\u{10ffff}"))],
                );
            }
            query.push(" UNION ALL SELECT number FROM keys WHERE id >= ? AND id < ?", vec![text(&word), text(&end)]);
            query.push(
                " UNION ALL SELECT k.number FROM keys k CROSS JOIN clients c ON c.number = k.client WHERE k.number > ? AND ",
                vec![number(indexed)],
            );
            let (text, values) = word_condition(&word);
            query.push(&text, values);
            probes.push(Probe { numbers: Some((query.text, query.values)), condition });
        }
        Ok(())
    }

    /// The conditions that are looked at key by key.
    #[expect(clippy::unused_self, reason = "it belongs to the others")]
    fn other_conditions(&self, filter: &KeyFilter, now: Timestamp, sql: &mut Sql) {
        let at = now.as_millis();
        match filter.status {
            Some(KeyStatus::Active) => sql.and(
                "k.active = 1 AND c.active = 1 AND (k.expires_at IS NULL OR k.expires_at > ?) AND \
                 (k.not_before IS NULL OR k.not_before <= ?)",
                vec![number(at), number(at)],
            ),
            Some(KeyStatus::Expired) => sql.and("k.active = 1 AND c.active = 1", Vec::new()),
            Some(KeyStatus::NotYetValid) => sql
                .and("k.active = 1 AND c.active = 1 AND (k.expires_at IS NULL OR k.expires_at > ?)", vec![number(at)]),
            Some(KeyStatus::Disabled | KeyStatus::Revoked) | None => {}
        }
        if let Some(environment) = &filter.environment {
            sql.and("k.environment = ?", vec![text(environment)]);
        }
        if let Some(key_type) = filter.key_type {
            sql.and("k.key_type = ?", vec![number(column::key_type_number(key_type))]);
        }
        if let Some(origin) = filter.origin {
            sql.and("k.origin = ?", vec![number(column::origin_number(origin))]);
        }
        if filter.never_used {
            sql.and("k.last_used_at IS NULL", Vec::new());
        }
        if let Some(since) = filter.unused_since {
            sql.and("coalesce(k.last_used_at, k.created_at) < ?", vec![number(since.as_millis())]);
        }
        if let Some(before) = filter.secret_older_than {
            sql.and(
                "k.created_at < ? AND NOT EXISTS (SELECT 1 FROM secrets s WHERE s.key = k.number AND s.created_at >= ?)",
                vec![number(before.as_millis()), number(before.as_millis())],
            );
        }
        if filter.unrestricted {
            sql.and("k.permissions IS NULL AND c.permissions IS NULL", Vec::new());
        }
    }

    /// Takes keys in their order: those that have a value to be ordered by, or those that have none.
    fn walk(
        &self,
        list: &Listing<'_>,
        nulls: bool,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Vec<KeyDetail>, StoreError> {
        let mut sql = Sql::default();
        sql.push(
            &format!(
                "SELECT {}, {} FROM keys k CROSS JOIN clients c ON c.number = k.client WHERE ",
                keys::COLUMNS,
                clients::COLUMNS
            ),
            Vec::new(),
        );
        // The conditions were numbered from 1: their values come first.
        sql.text.push_str(&list.conditions.text);
        let mut values: Vec<&dyn ToSql> = list.conditions.values();
        let mut own: Vec<Box<dyn ToSql>> = Vec::new();
        let next = |value: Box<dyn ToSql>, own: &mut Vec<Box<dyn ToSql>>| {
            own.push(value);
            format!("?{}", list.conditions.values.len() + own.len())
        };
        let (operator, direction) = if list.descending { ("<", "DESC") } else { (">", "ASC") };
        let order = match list.column() {
            Some((column, _)) if !nulls => {
                let _ = write!(sql.text, " AND {column} IS NOT NULL");
                if let Some(after) = after {
                    let value: Box<dyn ToSql> = match list.order {
                        KeyOrder::Name => Box::new(after.value.clone()),
                        _ => Box::new(after.value.parse::<i64>().unwrap_or(0)),
                    };
                    let (value, number) = (next(value, &mut own), next(Box::new(after.number), &mut own));
                    let _ = write!(sql.text, " AND ({column}, k.number) {operator} ({value}, {number})");
                }
                format!("{column} {direction}, k.number {direction}")
            }
            column => {
                let is_created = column.is_none();
                if let Some((column, _)) = column {
                    let _ = write!(sql.text, " AND {column} IS NULL");
                }
                // Among those without a value the newest come first.
                let (operator, direction) = if is_created { (operator, direction) } else { ("<", "DESC") };
                if let Some(after) = after {
                    let number = next(Box::new(after.number), &mut own);
                    let _ = write!(sql.text, " AND k.number {operator} {number}");
                }
                format!("k.number {direction}")
            }
        };
        let _ = write!(sql.text, " ORDER BY {order}");
        if list.words.is_empty() {
            let _ = write!(sql.text, " LIMIT {limit}");
        }
        values.extend(own.iter().map(|value| &**value));
        let mut statement = self.connection.prepare_cached(&sql.text)?;
        let mut rows = statement.query(&*values)?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            let (key, client) = keys::detail(row)?;
            let secrets = self.secrets(key.number)?;
            let detail = KeyDetail { key, client, secrets };
            if has_words(&detail, &list.words) {
                found.push(detail);
            }
        }
        Ok(found)
    }

    /// Keys by what they are good for.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn state_counts(&self, now: Timestamp) -> Result<StateCounts, StoreError> {
        const DAY: i64 = 86_400_000;
        let at = now.as_millis();
        let count = |sql: &str, values: &[&dyn ToSql]| -> Result<i64, StoreError> {
            Ok(self.connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?)
        };
        let all = count("SELECT count(*) FROM keys", &[])?;
        let revoked = count("SELECT count(*) FROM keys WHERE revoked_at IS NOT NULL", &[])?;
        let disabled = count(
            "SELECT count(*) FROM (SELECT number FROM keys WHERE active = 0 AND revoked_at IS NULL UNION \
             SELECT k.number FROM clients c CROSS JOIN keys k ON k.client = c.number WHERE c.active = 0 AND k.revoked_at IS NULL)",
            &[],
        )?;
        const GOOD: &str = "k.revoked_at IS NULL AND k.active = 1 AND c.active = 1";
        let good = |condition: &str| {
            format!(
                "SELECT count(*) FROM keys k CROSS JOIN clients c ON c.number = k.client WHERE {condition} AND {GOOD}"
            )
        };
        let expired = count(&good("k.expires_at <= ?1"), &[&at])?;
        let not_yet_valid = count(&good("k.not_before > ?1 AND (k.expires_at IS NULL OR k.expires_at > ?1)"), &[&at])?;
        let mut expiring = [0; 3];
        for (count_of, days) in expiring.iter_mut().zip([1, 7, 30]) {
            *count_of = count(&good("k.expires_at > ?1 AND k.expires_at <= ?2"), &[&at, &(at + days * DAY)])?;
        }
        let sql = format!(
            "SELECT k.expires_at FROM keys k CROSS JOIN clients c ON c.number = k.client \
             WHERE k.expires_at > ?1 AND {GOOD} ORDER BY k.expires_at LIMIT 1"
        );
        let next: Option<i64> = self.connection.prepare_cached(&sql)?.query_row([at], |row| row.get(0)).optional()?;
        Ok(StateCounts {
            active: all - revoked - disabled - expired - not_yet_valid,
            disabled,
            expired,
            not_yet_valid,
            expiring,
            next_expiry: next.map(Timestamp::from_millis),
        })
    }

    /// The number of the last key whose words are indexed, and those of all before it.
    pub(super) fn words_indexed_to(&self) -> Result<i64, StoreError> {
        let sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = ?1";
        let found = self.connection.prepare_cached(sql)?.query_row([INDEXED], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(0))
    }

    /// A value that the store keeps for its users.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        Ok(self.connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
    }
}

/// A list of keys.
struct Listing<'f> {
    conditions: &'f Sql,
    words: Vec<String>,
    order: KeyOrder,
    descending: bool,
}

impl Listing<'_> {
    /// The column it is ordered by, and whether that may hold nothing. In the order of arrival there is none.
    fn column(&self) -> Option<(&'static str, bool)> {
        match self.order {
            KeyOrder::Created => None,
            KeyOrder::Name => Some(("k.name", false)),
            KeyOrder::Expires => Some(("k.expires_at", true)),
            KeyOrder::LastUsed => Some(("k.last_used_at", true)),
        }
    }

    fn cursor_behind(&self, last: &KeyDetail) -> Cursor {
        let moment = match self.order {
            KeyOrder::Created | KeyOrder::Name => None,
            KeyOrder::Expires => Some(last.key.expires_at),
            KeyOrder::LastUsed => Some(last.key.last_used_at),
        };
        Cursor {
            order: self.order,
            descending: self.descending,
            is_null: moment == Some(None),
            number: last.key.number,
            value: match (self.order, moment.flatten()) {
                (KeyOrder::Name, _) => last.key.name.clone(),
                (_, Some(moment)) => moment.as_millis().to_string(),
                _ => String::new(),
            },
        }
    }
}

impl Writer<'_> {
    /// Indexes the words of a key that was added or changed, unless it waits for that among many others.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn index_key(&self, number: i64) -> Result<(), StoreError> {
        let indexed = self.words_indexed_to()?;
        if number > indexed + 1 {
            return Ok(());
        }
        self.put_words(number)?;
        if number == indexed + 1 { self.set_meta(INDEXED, &number.to_string()) } else { Ok(()) }
    }

    /// Indexes the words of all keys of a client, at once or afterwards if they are many.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn index_client(&self, client: i64) -> Result<(), StoreError> {
        let numbers = self.key_numbers_of_client(client)?;
        let indexed = self.words_indexed_to()?;
        match numbers.first() {
            Some(first) if numbers.len() > 100 && *first <= indexed => self.set_meta(INDEXED, &(first - 1).to_string()),
            _ => numbers.iter().try_for_each(|number| self.index_key(*number)),
        }
    }

    /// Indexes the words of some keys that wait for it; false if none does.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn index_words(&self, at_most: usize) -> Result<bool, StoreError> {
        let indexed = self.words_indexed_to()?;
        let sql = format!("SELECT number FROM keys WHERE number > ?1 ORDER BY number LIMIT {at_most}");
        let numbers = self.numbers(&sql, &[&indexed])?;
        let Some(last) = numbers.last() else { return Ok(false) };
        for number in &numbers {
            self.put_words(*number)?;
        }
        self.set_meta(INDEXED, &last.to_string())?;
        Ok(true)
    }

    fn put_words(&self, number: i64) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM key_words WHERE rowid = ?1")?.execute([number])?;
        let Some(detail) = self.key_by_number(number)? else { return Ok(()) };
        if detail.key.revoked_at.is_some() && detail.key.origin == crate::keys::KeyOrigin::File {
            return Ok(());
        }
        let sql = "INSERT INTO key_words (rowid, words) VALUES (?1, ?2)";
        self.connection.prepare_cached(sql)?.execute(params![number, indexed_text(&detail)])?;
        Ok(())
    }

    /// Keeps a value for the store's users.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn set_meta(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
        self.connection.prepare_cached(sql)?.execute([name, value])?;
        Ok(())
    }
}
