//! What a client or a key was granted, and whether that covers what an endpoint asks for.
//!
//! Two spellings are in use among APIs and both are understood: `orders.read` and `orders:read`. The operation is the
//! last segment; what stands before it is the resource, which may itself hold separators (`table:data:read`). A `*`
//! stands for any resource or any operation. In the dotted spelling `write` includes `read`.
//!
//! [`Grants`] says what somebody holds: `config` makes one for each client and one for each key. What a request has is
//! the client's grants cut by the key's, [`EffectiveGrants`]; a right counts only if both cover it.
//!
//! Nothing here knows of endpoints or methods: which rights a request needs is for `policy`.
//!
//! Not to state permissions is not the same as to state an empty list: the first means no limit by permission, the
//! second means none at all.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::{InvalidWord, check_word};

/// Why a text is not a permission.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPermission {
    /// Not a header-safe word.
    #[error(transparent)]
    Word(#[from] InvalidWord),
    /// No `.` or `:` between a resource and an operation.
    #[error("it names no operation; write `resource.operation` or `resource:operation`")]
    NoOperation,
    /// Nothing before or after the separator.
    #[error("its resource or its operation is empty")]
    EmptyPart,
    /// A `*` that is only a part of a resource or an operation.
    #[error("`*` may only stand for a whole resource or a whole operation")]
    PartialWildcard,
}

/// One named right, `resource.operation` or `resource:operation`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission {
    text: Arc<str>,
    /// Byte offset of the separator before the operation.
    split: usize,
}

impl Permission {
    /// Reads a permission.
    ///
    /// # Errors
    /// The first thing about the text that keeps it from being one.
    pub fn parse(text: &str) -> Result<Self, InvalidPermission> {
        check_word(text)?;
        let split = text.rfind(['.', ':']).ok_or(InvalidPermission::NoOperation)?;
        let (resource, operation) = (&text[..split], &text[split + 1..]);
        if resource.is_empty() || operation.is_empty() {
            return Err(InvalidPermission::EmptyPart);
        }
        if [resource, operation].iter().any(|part| part.contains('*') && *part != "*") {
            return Err(InvalidPermission::PartialWildcard);
        }
        Ok(Self { text: Arc::from(text), split })
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the right is about.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.text[..self.split]
    }

    /// What may be done to it.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.text[self.split + 1..]
    }

    /// `.` or `:`.
    fn separator(&self) -> u8 {
        self.text.as_bytes()[self.split]
    }

    /// Whether holding this right satisfies a rule that asks for `required`.
    ///
    /// `*:*` covers everything in its own spelling only: `orders.read` and `orders:read` are names that two different
    /// APIs chose, and a wildcard of one must not open the other.
    #[must_use]
    pub fn covers(&self, required: &Self) -> bool {
        self.separator() == required.separator()
            && matches_or_any(self.resource(), required.resource())
            && (matches_or_any(self.operation(), required.operation())
                || (self.separator() == b'.' && self.operation() == "write" && required.operation() == "read"))
    }

    /// Whether this is a right to look and not to touch. Operations of any other name may change something.
    fn only_reads(&self) -> bool {
        matches!(self.operation(), "read" | "list" | "get")
    }
}

fn matches_or_any(held: &str, required: &str) -> bool {
    held == "*" || held == required
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

/// What somebody was granted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Grants {
    /// No permission was stated: no limit by permission. Endpoint rules still apply.
    #[default]
    Unrestricted,
    /// The preset `read_only`: every right whose operation is `read`, `list` or `get`, in both spellings, and no method
    /// that could change anything.
    ReadOnly,
    /// Exactly these; none at all if the list is empty.
    Listed(Box<[Permission]>),
}

impl Grants {
    /// Makes grants from a written list. They cover what is written and no more.
    #[must_use]
    pub fn listed(permissions: Vec<Permission>) -> Self {
        Self::Listed(permissions.into())
    }

    /// Whether these grants cover a required permission.
    #[must_use]
    pub fn cover(&self, required: &Permission) -> bool {
        match self {
            Self::Unrestricted => true,
            Self::ReadOnly => required.only_reads(),
            Self::Listed(held) => held.iter().any(|permission| permission.covers(required)),
        }
    }

    /// Whether only methods that change nothing are allowed, also where no permission rule stands.
    ///
    /// That is the preset, and also a list that says the same in other words: rights to read and nothing else, one of
    /// them to read *every* resource, such as `["*:read"]`. Such a list covers only the rights it names: `*:read` does
    /// not become `*.read` or `*:list` by being read-only.
    ///
    /// A list of rights to read single resources (`["search.read"]`) is not read-only: an endpoint may well ask for
    /// `search.read` on `POST`.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Unrestricted => false,
            Self::ReadOnly => true,
            Self::Listed(held) => {
                held.iter().all(Permission::only_reads) && held.iter().any(|permission| permission.resource() == "*")
            }
        }
    }

    /// The permissions that were written out, if any were.
    #[must_use]
    pub fn stated(&self) -> Option<&[Permission]> {
        match self {
            Self::Listed(held) => Some(held),
            Self::Unrestricted | Self::ReadOnly => None,
        }
    }

    /// The right of exactly this name, if it was written out.
    fn find(&self, text: &str) -> Option<&Permission> {
        self.stated()?.iter().find(|permission| permission.as_str() == text)
    }
}

/// What one request may do: the client's grants cut by those of the key that was shown.
#[derive(Debug, Clone, Copy)]
pub struct EffectiveGrants<'a> {
    /// What the client was granted.
    pub client: &'a Grants,
    /// The bound that the key sets.
    pub key: &'a Grants,
}

impl<'a> EffectiveGrants<'a> {
    /// Whether both the client and the key cover a required permission.
    #[must_use]
    pub fn cover(&self, required: &Permission) -> bool {
        self.client.cover(required) && self.key.cover(required)
    }

    /// Whether a right of exactly this name is listed on one side and covered by the other: what expressions see.
    ///
    /// Rights that nobody wrote out are not seen, so a caller without any list has none here, though no permission rule
    /// would stop it. Wildcards and `write` do not stand for other names: `orders.*` is seen as `orders.*` alone.
    #[must_use]
    pub fn hold(&self, text: &str) -> bool {
        self.client.find(text).is_some_and(|right| self.key.cover(right))
            || self.key.find(text).is_some_and(|right| self.client.cover(right))
    }

    /// Every right that [`hold`](Self::hold) is true for, each once: the client's in its order, then what only the key
    /// lists.
    pub fn listed(self) -> impl Iterator<Item = &'a Permission> {
        let stated = |grants: &'a Grants| grants.stated().unwrap_or_default().iter();
        let Self { client, key } = self;
        let of_client = stated(client).filter(move |right| key.cover(right));
        let of_key = stated(key).filter(move |right| client.cover(right) && client.find(right.as_str()).is_none());
        of_client.chain(of_key)
    }

    /// Whether either side allows only methods that change nothing.
    #[must_use]
    pub fn are_read_only(&self) -> bool {
        self.client.is_read_only() || self.key.is_read_only()
    }

    /// Whether neither side says anything about permissions.
    #[must_use]
    pub fn are_unstated(&self) -> bool {
        matches!((self.client, self.key), (Grants::Unrestricted, Grants::Unrestricted))
    }
}

#[cfg(test)]
mod tests;
