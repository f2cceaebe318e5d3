//! Who is calling: from a credential to a key in force, or to the reason there is none.
//!
//! [`authenticate`] looks the secret up in the key table and judges the key against the time and the environment that the
//! caller passes in; [`is_still_good`] judges once more, for what outlives a request. Both read memory only. Whether the client may use an endpoint is for `policy`.
//!
//! A key that is present but not good is never the same as no key: only absence is anonymous.

use crate::client::Environment;
use crate::credential::Secret;
use crate::keys::{ApiKey, KeyId, KeyTable, SecretTag, TableEntry, Timestamp};

/// Why a secret that was shown is not good. The caller of the API is told none of this unless the operator says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFault {
    /// No key has this secret.
    Unknown,
    /// The key is switched off.
    Disabled,
    /// The key's client is switched off.
    ClientDisabled,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// A rotation has replaced the secret and the overlap is over.
    Superseded,
    /// It is good in another environment.
    WrongEnvironment,
}

/// Finds the key a secret stands for and judges whether it is good now.
///
/// # Errors
/// The first reason why it is not, with the key if it is known, for the log.
pub fn authenticate(
    secret: &Secret<'_>,
    keys: &KeyTable,
    environment: Option<&Environment>,
    now: Timestamp,
) -> Result<TableEntry, (KeyFault, Option<ApiKey>)> {
    match keys.lookup(secret) {
        None => Err((KeyFault::Unknown, None)),
        Some(entry) => match fault(&entry, environment, now) {
            None => Ok(entry),
            Some(fault) => Err((fault, Some(entry.key))),
        },
    }
}

/// Whether what a key has opened may stay open: the secret that was shown is still the key's, and both are good.
#[must_use]
pub fn is_still_good(
    key: &KeyId,
    secret: SecretTag,
    keys: &KeyTable,
    environment: Option<&Environment>,
    now: Timestamp,
) -> bool {
    keys.find_again(key, secret).is_some_and(|entry| fault(&entry, environment, now).is_none())
}

/// The first thing that is wrong with a key that was found.
fn fault(entry: &TableEntry, environment: Option<&Environment>, now: Timestamp) -> Option<KeyFault> {
    let key = &entry.key;
    Some(if !key.client.active {
        KeyFault::ClientDisabled
    } else if !key.active {
        KeyFault::Disabled
    } else if key.not_before.is_some_and(|from| now < from) {
        KeyFault::NotYetValid
    } else if key.expires_at.is_some_and(|until| now >= until) {
        KeyFault::Expired
    } else if entry.valid_until.is_some_and(|until| now >= until) {
        KeyFault::Superseded
    } else if key.environment.as_ref().is_some_and(|of| environment.is_some_and(|here| of != here)) {
        KeyFault::WrongEnvironment
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests;
