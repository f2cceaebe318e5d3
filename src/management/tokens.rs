//! Tokens for the admin API.

use std::sync::Arc;

use super::issuing::{check_name, new_id};
use super::{Actor, Fault, Management, Refused, Role};
use crate::credential::{KeyText, Secret};
use crate::keys::Timestamp;
use crate::store::{AdminToken, AuditEntry, NewAdminToken, StoreError, Unique};

/// How admin tokens begin.
pub(crate) const PREFIX: &str = "kg_admin_";

/// A token to be made.
#[derive(Debug, Clone)]
pub struct CreateToken {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Refused from then on.
    pub expires_at: Option<Timestamp>,
}

/// A token that was made: shown once.
#[derive(Debug)]
pub struct CreatedToken {
    /// The token.
    pub token: AdminToken,
    /// Its text.
    pub secret: Secret<'static>,
}

/// A token as it is held in memory, to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldToken {
    /// Public id; none for the one of a file.
    pub id: Option<String>,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Digest of its text.
    digest: blake3::Hash,
    /// Refused from then on.
    expires_at: Option<Timestamp>,
}

impl HeldToken {
    /// Refused from then on.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// What the audit log calls it: its id, or `file`.
    #[must_use]
    pub fn target(&self) -> String {
        self.id.clone().unwrap_or_else(|| "file".to_owned())
    }
}

impl Management {
    /// All admin tokens of the store.
    ///
    /// # Errors
    /// The store cannot be read, or the actor may not.
    pub fn admin_tokens(&self, actor: &Actor) -> Result<Vec<AdminToken>, Refused> {
        actor.require(Role::Admin)?;
        self.read(|reader| Ok(reader.admin_tokens()?))
    }

    /// Makes a token.
    ///
    /// # Errors
    /// Why not.
    pub fn create_token(&self, actor: &Actor, wanted: CreateToken) -> Result<CreatedToken, Refused> {
        let secret = KeyText::generate(PREFIX)?;
        let text = String::from_utf8_lossy(secret.expose()).into_owned();
        let id = self.change(actor, Role::Admin, |writer| {
            let mut faults = Vec::new();
            check_name(&wanted.name, "/name", &mut faults);
            if wanted.expires_at.is_some_and(|end| end <= writer.now()) {
                faults.push(Fault::new("/expires_at", "expiry_past", "state a moment to come"));
            }
            if !faults.is_empty() {
                return Err(Refused::Invalid(faults));
            }
            let new = NewAdminToken {
                id: new_id("token_", writer.now())?,
                name: wanted.name.clone(),
                role: wanted.role.as_str(),
                digest: *blake3::hash(secret.expose()).as_bytes(),
                mask: KeyText::mask(&text),
                created_by: actor.name.clone(),
                expires_at: wanted.expires_at,
            };
            writer.add_admin_token(&new).map_err(|error| match error {
                StoreError::NotUnique(Unique::TokenName) => {
                    Refused::conflict("name_taken", format!("an admin token is called `{}` already", new.name))
                }
                error => error.into(),
            })?;
            writer.add_audit(&AuditEntry {
                kind: "admin_token",
                target: new.id.clone(),
                name: Some(new.name.clone()),
                after: Some(serde_json::json!({
                    "role": new.role,
                    "expires_at": new.expires_at.map(|end| end.to_string()),
                })),
                ..actor.entry("admin_token.created")
            })?;
            Ok(new.id)
        })?;
        self.load_tokens()?;
        let token = self.read(|reader| Ok(reader.admin_tokens()?.into_iter().find(|token| token.id == id)))?;
        let token = token.ok_or_else(|| Refused::NotFound { kind: "admin token", id })?;
        Ok(CreatedToken { token, secret })
    }

    /// Takes a token out of force.
    ///
    /// # Errors
    /// Why not.
    pub fn remove_token(&self, actor: &Actor, id: &str) -> Result<(), Refused> {
        self.change(actor, Role::Admin, |writer| {
            let token = writer.admin_tokens()?.into_iter().find(|token| token.id == id);
            let token = token.ok_or_else(|| Refused::NotFound { kind: "admin token", id: id.to_owned() })?;
            writer.remove_admin_token(id)?;
            writer.add_audit(&AuditEntry {
                kind: "admin_token",
                target: token.id,
                name: Some(token.name),
                before: Some(serde_json::json!({ "role": token.role })),
                ..actor.entry("admin_token.revoked")
            })?;
            Ok(())
        })?;
        self.load_tokens()?;
        Ok(())
    }

    /// Makes the first token of a store that has none, for whoever starts keygate for the first time. None if there is one,
    /// or one is given by file.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn first_token(&self) -> Result<Option<Secret<'static>>, Refused> {
        let has_one = self.read(|reader| Ok(!reader.admin_tokens()?.is_empty()))?;
        if has_one || self.issuing().file_token.is_some() || !self.can_write() {
            return Ok(None);
        }
        let wanted = CreateToken { name: "first".to_owned(), role: Role::Admin, expires_at: None };
        Ok(Some(self.create_token(&Actor::keygate(), wanted)?.secret))
    }

    /// Takes the tokens of the store into memory.
    pub(super) fn load_tokens(&self) -> Result<(), StoreError> {
        let tokens = self.inner.store.read(|reader| reader.admin_tokens())?;
        let held = tokens
            .into_iter()
            .filter_map(|token| {
                // A role that this version does not know is none.
                let role = Role::parse(&token.role)?;
                let digest = blake3::Hash::from_bytes(token.digest);
                Some(HeldToken { id: Some(token.id), name: token.name, role, digest, expires_at: token.expires_at })
            })
            .collect();
        self.inner.tokens.store(Arc::new(held));
        Ok(())
    }

    /// Whose token this is, if it is a good one. Compares with all of them, each in constant time.
    #[must_use]
    pub fn authenticate(&self, text: &Secret<'_>, now: Timestamp) -> Option<HeldToken> {
        let digest = blake3::hash(text.expose());
        let of_file = self.issuing().file_token.map(|digest| HeldToken {
            id: None,
            name: "file".to_owned(),
            role: Role::Admin,
            digest: blake3::Hash::from_bytes(digest),
            expires_at: None,
        });
        let held = self.inner.tokens.load();
        let mut found = None;
        for token in held.iter().chain(&of_file) {
            let is_good = token.expires_at.is_none_or(|end| now < end);
            if token.digest == digest && is_good {
                found = Some(token.clone());
            }
        }
        found
    }

    /// Whether a token that was good before still is, with the same role. One that was revoked, has ended or was exchanged
    /// for another text is not.
    #[must_use]
    pub fn holds(&self, token: &HeldToken, now: Timestamp) -> bool {
        let is_good = token.expires_at.is_none_or(|end| now < end);
        let is_there = match &token.id {
            Some(_) => self.inner.tokens.load().contains(token),
            None => self.issuing().file_token.is_some_and(|digest| token.digest == digest),
        };
        is_good && is_there
    }

    /// Writes down that a session of the console began or ended.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn note_session(
        &self,
        actor: &Actor,
        action: &'static str,
        token: Option<&HeldToken>,
        note: Option<String>,
    ) -> Result<(), Refused> {
        self.inner.store.write(super::now(), |writer| {
            let entry = AuditEntry {
                kind: "session",
                target: token.map_or_else(|| "all".to_owned(), HeldToken::target),
                name: token.map(|token| token.name.clone()),
                note,
                ..actor.entry(action)
            };
            Ok(writer.add_audit(&entry)?)
        })
    }

    /// Writes down when a token was last used.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn token_was_used(&self, id: &str, at: Timestamp) -> Result<(), Refused> {
        self.inner.store.write(at, |writer| Ok(writer.token_was_used(id, at)?))
    }
}
