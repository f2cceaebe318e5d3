//! How values of the domain stand in columns, and how they are read back.
//!
//! What is read is checked like any other text from outside: a row that somebody edited by hand must not put something
//! into a header or a rule that could not have come in through the front door.

use std::collections::BTreeMap;
use std::fmt::Display;

use ipnet::IpNet;

use super::super::{Disabled, SecretState, StoreError};
use crate::client::{Grants, Group, KeyType, Owner, OwnerKind, Permission, Plan};
use crate::credential::{DigestScheme, KeyDigest};
use crate::keys::{KeyOrigin, Timestamp};

/// A value of a row that is not what it should be.
pub(super) fn odd(what: &str, why: impl Display) -> StoreError {
    StoreError::Failed(format!("a row holds {what} that cannot be used: {why}").into())
}

pub(super) fn moment(millis: Option<i64>) -> Option<Timestamp> {
    millis.map(Timestamp::from_millis)
}

pub(super) fn millis(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(Timestamp::as_millis)
}

/// Grants as text: nothing, `read_only`, or a JSON list.
pub(super) fn grants_text(grants: &Grants) -> Option<String> {
    match grants {
        Grants::Unrestricted => None,
        Grants::ReadOnly => Some("read_only".to_owned()),
        Grants::Listed(list) => Some(list_text(list.iter().map(Permission::as_str))),
    }
}

pub(super) fn grants(text: Option<&str>) -> Result<Grants, StoreError> {
    match text {
        None => Ok(Grants::Unrestricted),
        Some("read_only") => Ok(Grants::ReadOnly),
        Some(list) => {
            let permissions = strings(list)?
                .iter()
                .map(|text| Permission::parse(text).map_err(|why| odd("a permission", why)))
                .collect::<Result<_, _>>()?;
            Ok(Grants::listed(permissions))
        }
    }
}

fn list_text<'t>(items: impl Iterator<Item = &'t str>) -> String {
    serde_json::Value::from(items.collect::<Vec<_>>()).to_string()
}

fn strings(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|why| odd("a list", why))
}

/// A list as text; nothing if it is empty.
fn some_list<'t>(items: impl ExactSizeIterator<Item = &'t str>) -> Option<String> {
    (items.len() > 0).then(|| list_text(items))
}

pub(super) fn groups_text(groups: &[Group]) -> Option<String> {
    some_list(groups.iter().map(Group::as_str))
}

pub(super) fn groups(text: Option<&str>) -> Result<Box<[Group]>, StoreError> {
    let Some(text) = text else { return Ok(Box::default()) };
    strings(text)?.iter().map(|text| Group::parse(text).map_err(|why| odd("a group", why))).collect()
}

pub(super) fn networks_text(networks: &[IpNet]) -> Option<String> {
    let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
    some_list(texts.iter().map(String::as_str))
}

pub(super) fn networks(text: Option<&str>) -> Result<Vec<IpNet>, StoreError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    strings(text)?.iter().map(|text| text.parse().map_err(|why| odd("a network", why))).collect()
}

pub(super) fn origins_text(origins: &[Box<str>]) -> Option<String> {
    some_list(origins.iter().map(|origin| &**origin))
}

pub(super) fn origins(text: Option<&str>) -> Result<Vec<Box<str>>, StoreError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    Ok(strings(text)?.into_iter().map(String::into_boxed_str).collect())
}

pub(super) fn metadata_text(metadata: &BTreeMap<String, String>) -> Option<String> {
    (!metadata.is_empty()).then(|| serde_json::to_value(metadata).unwrap_or_default().to_string())
}

pub(super) fn plan(text: Option<&str>) -> Result<Option<Plan>, StoreError> {
    text.map(|text| Plan::parse(text).map_err(|why| odd("a plan", why))).transpose()
}

pub(super) fn metadata(text: Option<&str>) -> Result<BTreeMap<String, String>, StoreError> {
    text.map_or_else(|| Ok(BTreeMap::new()), |text| serde_json::from_str(text).map_err(|why| odd("metadata", why)))
}

pub(super) fn owner_kind_text(kind: OwnerKind) -> &'static str {
    match kind {
        OwnerKind::User => "user",
        OwnerKind::Machine => "machine",
    }
}

pub(super) fn owner(kind: Option<&str>, id: Option<&str>) -> Result<Option<Owner>, StoreError> {
    let (Some(kind), Some(id)) = (kind, id) else { return Ok(None) };
    let kind = match kind {
        "user" => OwnerKind::User,
        "machine" => OwnerKind::Machine,
        other => return Err(odd("an owner", other)),
    };
    Ok(Some(Owner { kind, id: id.into() }))
}

pub(super) fn origin_number(origin: KeyOrigin) -> i64 {
    match origin {
        KeyOrigin::Store => 0,
        KeyOrigin::File => 1,
    }
}

pub(super) fn origin(number: i64) -> KeyOrigin {
    if number == 0 { KeyOrigin::Store } else { KeyOrigin::File }
}

pub(super) fn key_type_number(key_type: KeyType) -> i64 {
    match key_type {
        KeyType::Secret => 0,
        KeyType::Publishable => 1,
    }
}

pub(super) fn key_type(number: i64) -> Result<KeyType, StoreError> {
    match number {
        0 => Ok(KeyType::Secret),
        1 => Ok(KeyType::Publishable),
        other => Err(odd("a key type", other)),
    }
}

pub(super) fn state_number(state: SecretState) -> i64 {
    match state {
        SecretState::Current => 0,
        SecretState::Pending => 1,
        SecretState::Superseded => 2,
    }
}

pub(super) fn state(number: i64) -> Result<SecretState, StoreError> {
    match number {
        0 => Ok(SecretState::Current),
        1 => Ok(SecretState::Pending),
        2 => Ok(SecretState::Superseded),
        other => Err(odd("a state of a secret", other)),
    }
}

pub(super) fn scheme_number(scheme: DigestScheme) -> i64 {
    match scheme {
        DigestScheme::Blake3 => 0,
        DigestScheme::Blake3Keyed => 1,
        DigestScheme::Sha256 => 2,
    }
}

pub(super) fn digest(scheme: i64, bytes: &[u8]) -> Result<KeyDigest, StoreError> {
    let scheme = match scheme {
        0 => DigestScheme::Blake3,
        1 => DigestScheme::Blake3Keyed,
        2 => DigestScheme::Sha256,
        other => return Err(odd("a digest", other)),
    };
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| odd("a digest", "it has not 32 bytes"))?;
    Ok(KeyDigest::from_bytes(scheme, bytes))
}

pub(super) fn disabled(active: bool, at: Option<i64>, reason: Option<String>) -> Option<Disabled> {
    (!active).then(|| Disabled { at: Timestamp::from_millis(at.unwrap_or(0)), reason })
}
