//! What a client or a key was granted, and whether that covers what an endpoint asks for.
//!
//! Two spellings are in use among APIs and both are understood: `orders.read` and `orders:read`. The operation is the
//! last segment; what stands before it is the resource, which may itself hold separators (`table:data:read`). A `*`
//! stands for any resource or any operation. In the dotted spelling `write` includes `read`.
//!
//! [`Grants`] says what somebody holds. Not to state permissions is not the same as to state an empty list: the first
//! means no limit by permission, the second means none at all. What a request has is the client's grants cut by the
//! key's; a right counts only if both cover it.

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

    /// Whether this is a right to look and not to touch.
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Grants {
    /// No permission was stated: no limit by permission. Endpoint rules still apply.
    #[default]
    Unrestricted,
    /// The preset `read_only`: every right to read or list, and no method that could change anything.
    ReadOnly,
    /// Exactly these; none at all if the list is empty.
    Listed(Box<[Permission]>),
}

impl Grants {
    /// Makes grants from a written list. A list of nothing but rights to read *every* resource is the preset
    /// `read_only` in other words, and is treated as such.
    #[must_use]
    pub fn listed(permissions: Vec<Permission>) -> Self {
        let reads_everything = |p: &Permission| p.resource() == "*" && p.only_reads();
        if !permissions.is_empty() && permissions.iter().all(reads_everything) {
            Self::ReadOnly
        } else {
            Self::Listed(permissions.into())
        }
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
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::ReadOnly)
    }

    /// The permissions that were written out, if any were.
    #[must_use]
    pub fn stated(&self) -> Option<&[Permission]> {
        match self {
            Self::Listed(held) => Some(held),
            Self::Unrestricted | Self::ReadOnly => None,
        }
    }
}
