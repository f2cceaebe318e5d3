//! Clients in the store.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Row, ToSql, params};

use super::super::{Change, ClientFilter, ClientRow, Disabled, NewClient, Page, StoreError};
use super::column::{self, odd};
use super::{Reader, Writer};
use crate::client::{Client, ClientId, ClientType, Plan, Tenant};
use crate::keys::{KeyOrigin, Timestamp};

/// The columns of [`read`], in its order.
pub(super) const COLUMNS: &str = "c.number, c.id, c.origin, c.name, c.client_type, c.tenant, c.owner_kind, c.owner_id, \
    c.active, c.disabled_at, c.disabled_reason, c.groups, c.permissions, c.metadata, c.created_at, c.updated_at, c.version, c.plan";

/// How many columns that are.
pub(super) const WIDTH: usize = 18;

/// Reads a client from a row, beginning at a column.
pub(super) fn read(row: &Row<'_>, at: usize) -> Result<ClientRow, StoreError> {
    let text = |column: usize| -> Result<Option<String>, rusqlite::Error> { row.get(at + column) };
    let id: String = row.get(at + 1)?;
    let client_type: String = row.get(at + 4)?;
    let active: bool = row.get(at + 8)?;
    let client = Client {
        id: ClientId::parse(&id).map_err(|why| odd("a client id", why))?,
        name: row.get::<_, String>(at + 3)?.into(),
        client_type: ClientType::parse(&client_type).map_err(|why| odd("a client type", why))?,
        tenant: text(5)?.map(|text| Tenant::parse(&text).map_err(|why| odd("a tenant", why))).transpose()?,
        owner: column::owner(text(6)?.as_deref(), text(7)?.as_deref())?,
        active,
        groups: column::groups(text(11)?.as_deref())?,
        grants: column::grants(text(12)?.as_deref())?,
        plan: column::plan(text(17)?.as_deref())?,
        metadata: column::metadata(text(13)?.as_deref())?,
    };
    Ok(ClientRow {
        number: row.get(at)?,
        client: Arc::new(client),
        origin: column::origin(row.get(at + 2)?),
        disabled: column::disabled(active, row.get(at + 9)?, text(10)?),
        created_at: Timestamp::from_millis(row.get(at + 14)?),
        updated_at: Timestamp::from_millis(row.get(at + 15)?),
        version: row.get(at + 16)?,
        keys: None,
    })
}

impl Reader<'_> {
    /// A client by its id.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn client(&self, id: &str) -> Result<Option<ClientRow>, StoreError> {
        self.one_client("WHERE c.id = ?1", &id)
    }

    /// A client by its number.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn client_by_number(&self, number: i64) -> Result<Option<ClientRow>, StoreError> {
        self.one_client("WHERE c.number = ?1", &number)
    }

    fn one_client(&self, condition: &str, value: &dyn ToSql) -> Result<Option<ClientRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM clients c {condition}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement.query_row([value], |row| Ok(read(row, 0))).optional()?.transpose()
    }

    /// How many keys a client has, revoked ones excepted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn keys_of_client(&self, number: i64) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM keys WHERE client = ?1 AND revoked_at IS NULL";
        Ok(self.connection.prepare_cached(sql)?.query_row([number], |row| row.get(0))?)
    }

    /// How many keys a tenant has, revoked ones excepted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn keys_of_tenant(&self, tenant: Option<&str>) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM keys k JOIN clients c ON c.number = k.client \
                   WHERE c.tenant IS ?1 AND k.revoked_at IS NULL";
        Ok(self.connection.prepare_cached(sql)?.query_row([tenant], |row| row.get(0))?)
    }

    /// Clients by id, with the number of their keys.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ClientRow>, StoreError> {
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut condition = |sql: &str, value: Box<dyn ToSql>| {
            values.push(value);
            conditions.push(sql.replace('?', &format!("?{}", values.len())));
        };
        for word in &filter.words {
            let pattern = format!("%{}%", word.replace(['%', '_', '\\'], ""));
            condition("(c.id LIKE ? OR c.name LIKE ?)", Box::new(pattern));
        }
        if let Some(client_type) = &filter.client_type {
            condition("c.client_type = ?", Box::new(client_type.clone()));
        }
        if let Some(tenant) = &filter.tenant {
            condition("c.tenant = ?", Box::new(tenant.clone()));
        }
        if let Some((kind, id)) = &filter.owner {
            condition("c.owner_kind = ?", Box::new(kind.clone()));
            condition("c.owner_id = ?", Box::new(id.clone()));
        }
        if let Some(after) = after {
            condition("c.id > ?", Box::new(after.to_owned()));
        }
        let sql = format!(
            "SELECT {COLUMNS}, (SELECT count(*) FROM keys k WHERE k.client = c.number AND k.revoked_at IS NULL) \
             FROM clients c WHERE {} ORDER BY c.id LIMIT {}",
            conditions.join(" AND "),
            limit + 1
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let values: Vec<&dyn ToSql> = values.iter().map(|value| &**value).collect();
        let mut rows = statement.query(&*values)?;
        let mut items = Vec::new();
        while let Some(row) = rows.next()? {
            items.push(ClientRow { keys: Some(row.get(WIDTH)?), ..read(row, 0)? });
        }
        let next = (items.len() > limit).then(|| {
            items.truncate(limit);
            items.last().map(|last: &ClientRow| last.client.id.to_string())
        });
        Ok(Page { items, next: next.flatten() })
    }

    /// The copies of clients of files.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn clients_of_files(&self) -> Result<Vec<ClientRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM clients c WHERE c.origin = 1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row, 0)?);
        }
        Ok(found)
    }

    /// The plans that clients and keys of the store carry, revoked keys excepted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn plans(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT plan FROM clients WHERE plan IS NOT NULL AND origin = 0 \
                   UNION SELECT plan FROM keys WHERE plan IS NOT NULL AND origin = 0 AND revoked_at IS NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Types of clients, five hundred at most.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn client_types(&self) -> Result<Vec<String>, StoreError> {
        // From one type to the next by the index: a plain `DISTINCT` would walk over all clients.
        let sql = "WITH RECURSIVE types (name) AS (SELECT min(client_type) FROM clients UNION ALL \
                   SELECT (SELECT min(client_type) FROM clients WHERE client_type > name) FROM types \
                   WHERE name IS NOT NULL) \
                   SELECT name FROM types WHERE name IS NOT NULL LIMIT 500";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Owners of clients, by kind and id, with the number of their clients and keys.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn owners(&self) -> Result<Vec<(String, String, i64, i64)>, StoreError> {
        let sql = "SELECT c.owner_kind, c.owner_id, count(DISTINCT c.number), count(k.number) \
                   FROM clients c LEFT JOIN keys k ON k.client = c.number AND k.revoked_at IS NULL \
                   WHERE c.owner_kind IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 1000";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Writer<'_> {
    /// Adds a client and gives its number.
    ///
    /// # Errors
    /// A client of this id is there, or the store cannot be written.
    pub fn add_client(&self, new: &NewClient) -> Result<i64, StoreError> {
        let client = &new.client;
        let sql = "INSERT INTO clients (id, origin, name, client_type, tenant, owner_kind, owner_id, active, \
                   disabled_at, disabled_reason, groups, permissions, metadata, plan, created_at, updated_at, version) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15, 1)";
        self.connection.prepare_cached(sql)?.execute(params![
            client.id.as_str(),
            column::origin_number(new.origin),
            &*client.name,
            client.client_type.as_str(),
            client.tenant.as_ref().map(Tenant::as_str),
            client.owner.as_ref().map(|owner| column::owner_kind_text(owner.kind)),
            client.owner.as_ref().map(|owner| &*owner.id),
            client.active,
            new.disabled.as_ref().map(|disabled| disabled.at.as_millis()),
            new.disabled.as_ref().and_then(|disabled| disabled.reason.as_deref()),
            column::groups_text(&client.groups),
            column::grants_text(&client.grants),
            column::metadata_text(&client.metadata),
            client.plan.as_ref().map(Plan::as_str),
            self.now.as_millis(),
        ])?;
        let number = self.connection.last_insert_rowid();
        self.note(Change::Client(number))?;
        Ok(number)
    }

    /// Puts another form of a client in place of the one that is there; its id stays.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn change_client(
        &self,
        number: i64,
        client: &Client,
        origin: KeyOrigin,
        disabled: Option<&Disabled>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE clients SET origin = ?2, name = ?3, client_type = ?4, tenant = ?5, owner_kind = ?6, \
                   owner_id = ?7, active = ?8, disabled_at = ?9, disabled_reason = ?10, groups = ?11, \
                   permissions = ?12, metadata = ?13, plan = ?14, updated_at = ?15, version = version + 1 WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute(params![
            number,
            column::origin_number(origin),
            &*client.name,
            client.client_type.as_str(),
            client.tenant.as_ref().map(Tenant::as_str),
            client.owner.as_ref().map(|owner| column::owner_kind_text(owner.kind)),
            client.owner.as_ref().map(|owner| &*owner.id),
            client.active,
            disabled.map(|disabled| disabled.at.as_millis()),
            disabled.and_then(|disabled| disabled.reason.as_deref()),
            column::groups_text(&client.groups),
            column::grants_text(&client.grants),
            column::metadata_text(&client.metadata),
            client.plan.as_ref().map(Plan::as_str),
            self.now.as_millis(),
        ])?;
        self.note(Change::Client(number))
    }

    /// Says of all keys of a client, revoked ones too, which tenant they are of.
    ///
    /// # Errors
    /// Two keys of that tenant would have one name, or the store cannot be written.
    pub fn move_keys(&self, client: i64, tenant: Option<&str>) -> Result<(), StoreError> {
        let sql = "UPDATE keys SET tenant = ?2 WHERE client = ?1";
        self.connection.prepare_cached(sql)?.execute(params![client, tenant.unwrap_or_default()])?;
        Ok(())
    }

    /// Removes a client. Its keys must have been revoked; what is kept of them for the records goes too.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_client(&self, number: i64) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM usage WHERE key IN (SELECT number FROM keys WHERE client = ?1)",
            "DELETE FROM secrets WHERE key IN (SELECT number FROM keys WHERE client = ?1)",
            "DELETE FROM keys WHERE client = ?1 AND revoked_at IS NOT NULL",
            "DELETE FROM clients WHERE number = ?1",
        ] {
            self.connection.prepare_cached(sql)?.execute([number])?;
        }
        Ok(())
    }
}
