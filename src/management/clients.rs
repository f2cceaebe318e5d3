//! Making, changing and removing clients, and their owners.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::issuing::check_name;
use super::keys::check_reason;
use super::refused::Unmet;
use super::{Actor, Fault, Management, Refused, Role, Warning, view};
use crate::client::{Client, ClientId, ClientType, Grants, Group, Owner, OwnerKind, Plan, Tenant};
use crate::keys::KeyOrigin;
use crate::store::{AuditEntry, ClientRow, Disabled, NewClient, StoreError, Unique, Writer};

/// A client to be made.
#[derive(Debug, Clone)]
pub struct CreateClient {
    /// Stable and unique.
    pub id: ClientId,
    /// What people call it; the id if nothing is said.
    pub name: Option<String>,
    /// What endpoint rules name.
    pub client_type: ClientType,
    /// Customer or project.
    pub tenant: Option<Tenant>,
    /// Who answers for it.
    pub owner: Option<Owner>,
    /// Its groups.
    pub groups: Vec<Group>,
    /// What it may do.
    pub grants: Grants,
    /// The plan whose limits hold for its keys.
    pub plan: Option<Plan>,
    /// Notes for people.
    pub metadata: BTreeMap<String, String>,
}

/// What is to be changed about a client; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct EditClient {
    /// What people call it.
    pub name: Option<String>,
    /// What endpoint rules name.
    pub client_type: Option<ClientType>,
    /// Customer or project.
    pub tenant: Option<Option<Tenant>>,
    /// Who answers for it.
    pub owner: Option<Option<Owner>>,
    /// Its groups.
    pub groups: Option<Vec<Group>>,
    /// What it may do.
    pub grants: Option<Grants>,
    /// The plan whose limits hold for its keys.
    pub plan: Option<Option<Plan>>,
    /// Notes for people.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// The client that a new key is for.
#[derive(Debug, Clone)]
pub enum ClientChoice {
    /// One that is there.
    Existing(ClientId),
    /// One that is made if it is not there. If it is, it must be of the same type.
    Ensured(Box<CreateClient>),
}

impl ClientChoice {
    /// Which.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        match self {
            Self::Existing(id) => id,
            Self::Ensured(client) => &client.id,
        }
    }
}

/// What went with an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnerRemoval {
    /// Clients that are gone.
    pub clients_removed: usize,
    /// Keys that were revoked.
    pub keys_revoked: usize,
    /// Keys that were switched off.
    pub keys_disabled: usize,
}

impl Management {
    /// A client.
    ///
    /// # Errors
    /// There is none.
    pub fn client(&self, id: &str) -> Result<ClientRow, Refused> {
        self.read(|reader| {
            let row = reader.client(id)?.ok_or_else(|| Refused::no_client(id))?;
            let keys = reader.keys_of_client(row.number)?;
            Ok(ClientRow { keys: Some(keys), ..row })
        })
    }

    /// Makes a client.
    ///
    /// # Errors
    /// Why not.
    pub fn create_client(&self, actor: &Actor, wanted: CreateClient) -> Result<(ClientRow, Vec<Warning>), Refused> {
        let id = wanted.id.clone();
        let warnings = self.change(actor, Role::Developer, |writer| {
            let mut faults = Vec::new();
            check_client(&wanted, "", &mut faults);
            self.issuing().check_plan(wanted.plan.as_ref(), "/plan", &mut faults);
            if !faults.is_empty() {
                return Err(Refused::Invalid(faults));
            }
            if let Some(there) = writer.client(wanted.id.as_str())? {
                return Err(client_taken(&there));
            }
            let row = self.add_client(writer, actor, &wanted)?;
            let issuing = self.issuing();
            let mut warnings = issuing.warn_of_permissions(&row.client.grants);
            warnings.extend(issuing.warn_of_type(&row.client.client_type));
            Ok(warnings)
        })?;
        Ok((self.client(id.as_str())?, warnings))
    }

    /// Changes what is said of a client. All its keys follow at once.
    ///
    /// # Errors
    /// Why not.
    pub fn edit_client(
        &self,
        actor: &Actor,
        id: &str,
        edit: EditClient,
        unmet: Unmet,
    ) -> Result<(ClientRow, Vec<Warning>), Refused> {
        let warnings = self.change(actor, Role::Developer, |writer| {
            let before = changeable(writer, id)?;
            unmet.check(before.version)?;
            let mut client = Client::clone(&before.client);
            let mut faults = Vec::new();
            if let Some(name) = edit.name {
                check_name(&name, "/name", &mut faults);
                client.name = name.into();
            }
            if let Some(plan) = edit.plan {
                self.issuing().check_plan(plan.as_ref(), "/plan", &mut faults);
                client.plan = plan;
            }
            if let Some(metadata) = edit.metadata {
                check_metadata(&metadata, "", &mut faults);
                client.metadata = metadata;
            }
            if !faults.is_empty() {
                return Err(Refused::Invalid(faults));
            }
            client.client_type = edit.client_type.unwrap_or(client.client_type);
            client.owner = edit.owner.unwrap_or(client.owner);
            client.groups = edit.groups.map_or(client.groups, Into::into);
            client.grants = edit.grants.unwrap_or(client.grants);
            let tenant = edit.tenant.unwrap_or_else(|| client.tenant.clone());
            let moves = tenant != client.tenant;
            client.tenant = tenant;
            if client == *before.client {
                return Ok(Vec::new());
            }
            if moves {
                let keys = writer.keys_of_client(before.number)?;
                let moved = ClientRow { client: Arc::new(client.clone()), ..before.clone() };
                self.check_room(&moved, keys, writer)?;
                let tenant = client.tenant.as_ref().map(Tenant::as_str);
                writer.move_keys(before.number, tenant).map_err(|error| match error {
                    StoreError::NotUnique(Unique::KeyName) => Refused::conflict(
                        "name_taken",
                        "a key of that tenant has the name of one of this client's: rename it first",
                    ),
                    error => error.into(),
                })?;
            }
            let is_found_otherwise = moves || client.name != before.client.name;
            writer.change_client(before.number, &client, before.origin, before.disabled.as_ref())?;
            if is_found_otherwise {
                writer.index_client(before.number)?;
            }
            let issuing = self.issuing();
            let mut warnings = issuing.warn_of_permissions(&client.grants);
            warnings.extend(issuing.warn_of_type(&client.client_type));
            let after = ClientRow { client: Arc::new(client), ..before.clone() };
            self.record_client(writer, actor, "client.changed", Some(&before), &after, None)?;
            Ok(warnings)
        })?;
        Ok((self.client(id)?, warnings))
    }

    /// Switches a client off, or on again: all its keys with it.
    ///
    /// # Errors
    /// Why not.
    pub fn switch_client(
        &self,
        actor: &Actor,
        id: &str,
        active: bool,
        reason: Option<String>,
    ) -> Result<ClientRow, Refused> {
        check_reason(reason.as_deref())?;
        self.change(actor, Role::Developer, |writer| {
            let before = changeable(writer, id)?;
            if before.client.active == active {
                return Ok(());
            }
            let client = Client { active, ..Client::clone(&before.client) };
            let disabled = (!active).then(|| Disabled { at: writer.now(), reason: reason.clone() });
            writer.change_client(before.number, &client, before.origin, disabled.as_ref())?;
            let action = if active { "client.enabled" } else { "client.disabled" };
            let after = ClientRow { client: Arc::new(client), disabled, ..before.clone() };
            self.record_client(writer, actor, action, Some(&before), &after, reason)
        })?;
        self.client(id)
    }

    /// Removes a client and revokes its keys; gives how many.
    ///
    /// # Errors
    /// Why not.
    pub fn delete_client(
        &self,
        actor: &Actor,
        id: &str,
        reason: Option<String>,
        unmet: Unmet,
    ) -> Result<usize, Refused> {
        check_reason(reason.as_deref())?;
        self.change(actor, Role::Developer, |writer| {
            let client = changeable(writer, id)?;
            unmet.check(client.version)?;
            self.remove_client(writer, actor, &client, reason)
        })
    }

    /// Removes an owner. What a machine owned goes with it; the keys of a person's clients are switched off, or revoked if
    /// that is asked for.
    ///
    /// # Errors
    /// Nobody of this name owns anything, or why not.
    pub fn remove_owner(
        &self,
        actor: &Actor,
        kind: OwnerKind,
        id: &str,
        revokes: bool,
    ) -> Result<OwnerRemoval, Refused> {
        self.change(actor, Role::Developer, |writer| {
            let word = match kind {
                OwnerKind::User => "user",
                OwnerKind::Machine => "machine",
            };
            let filter = crate::store::ClientFilter {
                owner: Some((word.to_owned(), id.to_owned())),
                ..crate::store::ClientFilter::default()
            };
            let owned = writer.clients(&filter, None, 10_000)?.items;
            if owned.is_empty() {
                return Err(Refused::NotFound { kind: "owner", id: format!("{word}:{id}") });
            }
            let mut removal = OwnerRemoval::default();
            let note = format!("the owner {word}:{id} was removed");
            for client in owned {
                if client.origin == KeyOrigin::File {
                    let detail = format!("the client `{}` stands in the configuration's files", client.client.id);
                    return Err(Refused::conflict("client_of_file", detail));
                }
                if kind == OwnerKind::Machine || revokes {
                    removal.keys_revoked += self.remove_client(writer, actor, &client, Some(note.clone()))?;
                    removal.clients_removed += 1;
                    continue;
                }
                for number in writer.key_numbers_of_client(client.number)? {
                    let Some(detail) = writer.key_by_number(number)? else { continue };
                    if detail.key.disabled.is_none() {
                        self.switch_off(writer, actor, &detail, Some(note.clone()))?;
                        removal.keys_disabled += 1;
                    }
                }
                let ownerless = Client { owner: None, ..Client::clone(&client.client) };
                writer.change_client(client.number, &ownerless, client.origin, client.disabled.as_ref())?;
                let after = ClientRow { client: Arc::new(ownerless), ..client.clone() };
                self.record_client(writer, actor, "client.changed", Some(&client), &after, Some(note.clone()))?;
            }
            Ok(removal)
        })
    }

    /// The client that a new key is for, made if need be.
    pub(super) fn client_for_key(
        &self,
        actor: &Actor,
        choice: &ClientChoice,
        writer: &Writer<'_>,
        faults: &mut Vec<Fault>,
    ) -> Result<Option<ClientRow>, Refused> {
        let there = writer.client(choice.id().as_str())?;
        match (choice, there) {
            (ClientChoice::Existing(_), Some(there)) => Ok(Some(there)),
            (ClientChoice::Existing(id), None) => {
                faults.push(Fault::new(
                    "/client",
                    "client_unknown",
                    format!("there is no client `{id}`: make it first"),
                ));
                Ok(None)
            }
            (ClientChoice::Ensured(wanted), Some(there)) => {
                if there.client.client_type != wanted.client_type {
                    let detail = format!("the client `{}` is of the type `{}`", wanted.id, there.client.client_type);
                    faults.push(Fault::new("/client/client_type", "client_differs", detail));
                }
                Ok(Some(there))
            }
            (ClientChoice::Ensured(wanted), None) => {
                let before = faults.len();
                check_client(wanted, "/client", faults);
                self.issuing().check_plan(wanted.plan.as_ref(), "/client/plan", faults);
                if faults.len() > before { Ok(None) } else { self.add_client(writer, actor, wanted).map(Some) }
            }
        }
    }

    pub(super) fn add_client(
        &self,
        writer: &Writer<'_>,
        actor: &Actor,
        wanted: &CreateClient,
    ) -> Result<ClientRow, Refused> {
        let row = put_client(writer, wanted)?;
        self.record_client(writer, actor, "client.created", None, &row, None)?;
        Ok(row)
    }

    /// Removes a client within a change, revokes its keys, and says how many.
    pub(super) fn remove_client(
        &self,
        writer: &Writer<'_>,
        actor: &Actor,
        client: &ClientRow,
        reason: Option<String>,
    ) -> Result<usize, Refused> {
        let numbers = writer.key_numbers_of_client(client.number)?;
        for number in &numbers {
            let Some(detail) = writer.key_by_number(*number)? else { continue };
            writer.revoke_key(&detail)?;
            writer.index_key(*number)?;
            let mut after = detail.clone();
            after.key.revoked_at = Some(writer.now());
            self.record_key(writer, actor, "key.revoked", Some(&detail), &after, reason.clone())?;
        }
        writer.remove_client(client.number)?;
        self.record_client(writer, actor, "client.deleted", None, client, reason)?;
        Ok(numbers.len())
    }

    fn record_client(
        &self,
        writer: &Writer<'_>,
        actor: &Actor,
        action: &'static str,
        before: Option<&ClientRow>,
        after: &ClientRow,
        note: Option<String>,
    ) -> Result<(), Refused> {
        let told = view::client(after);
        let (was, is) = match before {
            None => (None, Some(told.clone())),
            Some(before) => view::difference(&view::client(before), &told),
        };
        // What is deleted is told as what was there before.
        let (was, is) = if action == "client.deleted" { (is, None) } else { (was, is) };
        writer.add_audit(&AuditEntry {
            kind: "client",
            target: after.client.id.to_string(),
            name: Some(after.client.name.to_string()),
            before: was,
            after: is,
            note,
            ..actor.entry(action)
        })?;
        self.tell(writer, action, serde_json::json!({ "client": told, "actor": actor.name }))
    }
}

/// Adds a client to the store.
pub(super) fn put_client(writer: &Writer<'_>, wanted: &CreateClient) -> Result<ClientRow, StoreError> {
    let client = Client {
        id: wanted.id.clone(),
        name: wanted.name.as_deref().unwrap_or(wanted.id.as_str()).into(),
        client_type: wanted.client_type.clone(),
        tenant: wanted.tenant.clone(),
        owner: wanted.owner.clone(),
        active: true,
        groups: wanted.groups.clone().into(),
        grants: wanted.grants.clone(),
        plan: wanted.plan.clone(),
        metadata: wanted.metadata.clone(),
    };
    let new = NewClient { client, origin: KeyOrigin::Store, disabled: None };
    let number = writer.add_client(&new)?;
    Ok(ClientRow {
        number,
        client: Arc::new(new.client),
        origin: KeyOrigin::Store,
        disabled: None,
        created_at: writer.now(),
        updated_at: writer.now(),
        version: 1,
        keys: Some(0),
    })
}

/// What is wrong with a client that is to be made.
pub(super) fn check_client(wanted: &CreateClient, at: &str, faults: &mut Vec<Fault>) {
    if let Some(name) = &wanted.name {
        check_name(name, &format!("{at}/name"), faults);
    }
    check_metadata(&wanted.metadata, at, faults);
}

fn check_metadata(metadata: &BTreeMap<String, String>, at: &str, faults: &mut Vec<Fault>) {
    let is_long = |(name, value): (&String, &String)| name.chars().count() > 100 || value.chars().count() > 1000;
    if metadata.len() > 32 || metadata.iter().any(is_long) {
        faults.push(Fault::new(
            format!("{at}/metadata"),
            "metadata_too_large",
            "at most 32 notes, each with a name of 100 and a text of 1,000 characters",
        ));
    }
}

fn changeable(writer: &Writer<'_>, id: &str) -> Result<ClientRow, Refused> {
    let row = writer.client(id)?.ok_or_else(|| Refused::no_client(id))?;
    if row.origin == KeyOrigin::File {
        return Err(Refused::conflict(
            "client_of_file",
            format!("the client `{id}` stands in the configuration's files: change it there"),
        ));
    }
    Ok(row)
}

fn client_taken(there: &ClientRow) -> Refused {
    let whence = match there.origin {
        KeyOrigin::File => " in the configuration's files",
        KeyOrigin::Store => "",
    };
    Refused::conflict("client_taken", format!("there is a client `{}`{whence} already", there.client.id))
}
