//! Reading what a trusted peer says of the end user.
//!
//! Another gateway or a session manager in front of this one may know the person behind a call and say so in the same
//! headers that upstreams read. `admission` asks here only if the peer's address is listed in `trusted_identity`; from
//! everybody else these headers are removed unread.
//!
//! Only the configured names count, not the spellings that fold into them. What cannot be read in one way is refused: a
//! peer that appends its header to the caller's own copy would otherwise let the caller pick who he is.

use http::{HeaderMap, HeaderName};
use serde::de::IgnoredAny;
use thiserror::Error;

use super::IdentityHeaders;
use crate::client::{Group, User};

/// Why a trusted peer's word cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MalformedIdentity {
    /// The header stands there several times with different values.
    #[error("`{0}` is repeated with different values")]
    Repeated(HeaderName),
    /// The value is not what this header holds.
    #[error("`{0}` has a value that it cannot have")]
    Value(HeaderName),
    /// Groups or properties of nobody.
    #[error("`{0}` tells of a user whose id is not given")]
    NoUser(HeaderName),
}

/// The longest user id, in bytes.
const MAX_USER_ID_BYTES: usize = 256;

impl IdentityHeaders {
    /// The end user a trusted peer tells of. Empty headers say the same as absent ones.
    ///
    /// # Errors
    /// What keeps the headers from being taken; the request is to be refused.
    pub fn user_from(&self, headers: &HeaderMap) -> Result<Option<User>, MalformedIdentity> {
        let names = self.names();
        let id = value(headers, names.user_id.as_ref())?;
        let groups = value(headers, names.user_groups.as_ref())?;
        let properties = value(headers, names.user_properties.as_ref())?;
        let Some((id_name, id)) = id else {
            return match groups.or(properties) {
                Some((name, _)) => Err(MalformedIdentity::NoUser(name.clone())),
                None => Ok(None),
            };
        };
        if id.len() > MAX_USER_ID_BYTES || !id.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(MalformedIdentity::Value(id_name.clone()));
        }
        let groups = match groups {
            Some((name, list)) => list
                .split(',')
                .map(|group| Group::parse(group.trim_ascii()))
                .collect::<Result<_, _>>()
                .map_err(|_| MalformedIdentity::Value(name.clone()))?,
            None => Box::default(),
        };
        if let Some((name, text)) = properties
            && (!text.starts_with('{') || serde_json::from_str::<IgnoredAny>(text).is_err())
        {
            return Err(MalformedIdentity::Value(name.clone()));
        }
        Ok(Some(User { id: id.into(), groups, properties: properties.map(|(_, text)| text.into()) }))
    }

    /// Whether a trusted peer says that the request came by its backoffice.
    ///
    /// Some upstreams read any value as true, `0` as well. Here only `1` and `true` are: the backoffice may do more than
    /// others, so that the doubtful reading must be the one that opens less.
    ///
    /// # Errors
    /// For a value that is neither that nor `0`, `false` or empty; the request is to be refused.
    pub fn is_backoffice_from(&self, headers: &HeaderMap) -> Result<bool, MalformedIdentity> {
        match value(headers, self.names().is_backoffice.as_ref())? {
            None | Some((_, "0" | "false")) => Ok(false),
            Some((_, "1" | "true")) => Ok(true),
            Some((name, _)) => Err(MalformedIdentity::Value(name.clone())),
        }
    }
}

type Named<'h> = (&'h HeaderName, &'h str);

/// The one value of a header, if it is there and not empty.
fn value<'h>(headers: &'h HeaderMap, name: Option<&'h HeaderName>) -> Result<Option<Named<'h>>, MalformedIdentity> {
    let Some(name) = name else { return Ok(None) };
    let mut found = None;
    for value in headers.get_all(name) {
        if found.is_some_and(|earlier| earlier != value) {
            return Err(MalformedIdentity::Repeated(name.clone()));
        }
        found = Some(value);
    }
    let Some(value) = found else { return Ok(None) };
    match str::from_utf8(value.as_bytes()).map(str::trim_ascii) {
        Ok("") => Ok(None),
        Ok(text) if !text.chars().any(char::is_control) => Ok(Some((name, text))),
        _ => Err(MalformedIdentity::Value(name.clone())),
    }
}
