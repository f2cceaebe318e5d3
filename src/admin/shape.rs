//! What is sent and answered, as JSON, and how it becomes what `management` works with.
//!
//! The types here are the OpenAPI document: their comments are its descriptions. What is sent is read into texts and then,
//! word by word, into the types of the domain, so that every part that is wrong is reported at once, by its pointer.

mod client;
mod import;
pub(super) mod key;
mod usage;

pub(super) use client::{
    Client, ClientPage, CreateClient, DeletedClient, EditClient, OwnerList, OwnerSummary, RemovedOwner,
};
pub(crate) use import::ImportRow;
pub(super) use key::{
    CreateKey, CreatedKey, EditKey, FoundKey, Key, KeyPage, LookupRequest, LookupResult, RevokedKey, RotateKey, moment,
};
pub(super) use usage::{DailyUsage, Usage, UsageDay};

use std::fmt::Display;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::client::{Grants, Permission};
use crate::keys::Timestamp;
use crate::management::{self, Fault};

/// What somebody may do: `all`, `read_only`, or a list of permissions.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Permissions {
    /// A preset.
    Preset(Preset),
    /// Exactly these, such as `orders.read`; an empty list means none.
    List(Vec<String>),
}

/// A preset of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preset {
    /// No permission is stated: everything that its client, or its client's type, may do.
    All,
    /// Rights to read, and no method that could change anything.
    ReadOnly,
}

impl Permissions {
    pub(super) fn of(grants: &Grants) -> Self {
        match grants {
            Grants::Unrestricted => Self::Preset(Preset::All),
            Grants::ReadOnly => Self::Preset(Preset::ReadOnly),
            Grants::Listed(list) => Self::List(list.iter().map(ToString::to_string).collect()),
        }
    }

    pub(super) fn read(&self, pointer: &str, faults: &mut Vec<Fault>) -> Grants {
        match self {
            Self::Preset(Preset::All) => Grants::Unrestricted,
            Self::Preset(Preset::ReadOnly) => Grants::ReadOnly,
            Self::List(list) => Grants::listed(each(list, pointer, faults, |text| {
                Permission::parse(text).map_err(|why| why.to_string())
            })),
        }
    }
}

/// What was done and should be looked at.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Warning {
    /// A stable word for it.
    pub code: String,
    /// What, and what to do.
    pub detail: String,
}

impl Warning {
    pub(super) fn all(warnings: Vec<management::Warning>) -> Vec<Self> {
        warnings.into_iter().map(|warning| Self { code: warning.code.to_owned(), detail: warning.detail }).collect()
    }
}

/// A field that may be absent, which changes nothing, or null, which takes away what was there.
pub(super) fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads a word of the domain.
pub(super) fn word<T, E: Display>(
    text: &str,
    pointer: &str,
    faults: &mut Vec<Fault>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    match parse(text) {
        Ok(word) => Some(word),
        Err(why) => {
            faults.push(Fault::new(pointer, "word_invalid", why.to_string()));
            None
        }
    }
}

/// Reads each word of a list.
pub(super) fn each<T, E: Display>(
    texts: &[String],
    pointer: &str,
    faults: &mut Vec<Fault>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let mut words = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        words.extend(word(text, &format!("{pointer}/{index}"), faults, &parse));
    }
    words
}

/// A moment as it is shown.
pub(super) fn time(moment: Timestamp) -> String {
    moment.to_string()
}
