//! Who a key belongs to: the client, and the words that rules, logs and upstreams use for it.
//!
//! A [`Client`] is the principal of every decision: endpoint rules name its [`ClientType`], its groups and what it was
//! [granted](Grants). `config` makes clients from the file a person wrote; nothing here reads text that has not been
//! through one of the `parse` functions, so every word is safe to put into a header or a log line as it stands.
//!
//! A client holds no key and no secret. The key that was shown may cut the client's rights down, never add to them.

mod bounds;
mod permission;

pub use bounds::{parse_network, parse_origin};
pub use permission::{EffectiveGrants, Grants, InvalidPermission, Permission};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Why a text cannot be used as one of the words of this module.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidWord {
    /// The text has no character.
    #[error("it is empty")]
    Empty,
    /// The text is longer than [`MAX_WORD_BYTES`].
    #[error("it is longer than {MAX_WORD_BYTES} bytes")]
    TooLong,
    /// A character that could not stand in a header as itself.
    #[error("it contains {0:?}; allowed are visible ASCII characters without blanks and commas")]
    Character(char),
}

/// The longest word, in bytes: a header with several of them still fits every server's limits.
pub const MAX_WORD_BYTES: usize = 128;

/// Checks that a text can be sent in a header, joined with others by commas, and read back as it was.
pub(crate) fn check_word(text: &str) -> Result<(), InvalidWord> {
    if text.is_empty() {
        return Err(InvalidWord::Empty);
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || *c == ',') {
        return Err(InvalidWord::Character(bad));
    }
    if text.len() > MAX_WORD_BYTES {
        return Err(InvalidWord::TooLong);
    }
    Ok(())
}

/// Makes a newtype over a shared, header-safe word.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it stands, if it is a header-safe word.
            ///
            /// # Errors
            /// The first thing about the text that keeps it from being one.
            pub fn parse(text: &str) -> Result<Self, InvalidWord> {
                check_word(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The word as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

word!(
    /// The class of client that endpoint rules name, such as `cms` or `partner`.
    ClientType
);
word!(
    /// The id of a client, stable for its life: what logs, metrics and upstreams see.
    ClientId
);
word!(
    /// The customer or project a client belongs to.
    Tenant
);
word!(
    /// Where a key is good: `live`, `test`, `staging`. A gateway started for one environment refuses the keys of others.
    Environment
);
word!(
    /// What a key or its client is granted in requests, by a name that the configuration knows.
    Plan
);
word!(
    /// A group that a client or an end user is a member of.
    Group
);

/// Whether an owner is a person or a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    /// A person.
    User,
    /// A program with an identity of its own.
    Machine,
}

/// Who answers for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Person or program.
    pub kind: OwnerKind,
    /// The owner's id in the operator's own records.
    pub id: Box<str>,
}

/// Where a key may be used from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// Kept on servers; good wherever its client is.
    Secret,
    /// Shown to browsers and apps; good only on endpoints that say so.
    Publishable,
}

impl KeyType {
    /// The word used in YAML, logs and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Publishable => "publishable",
        }
    }
}

/// One principal: everything a rule may ask about the one who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Stable id.
    pub id: ClientId,
    /// What people call it; the id where none was given.
    pub name: Box<str>,
    /// What endpoint rules name.
    pub client_type: ClientType,
    /// Customer or project, if it is tied to one.
    pub tenant: Option<Tenant>,
    /// Who answers for it.
    pub owner: Option<Owner>,
    /// A client that is not active is refused like one that does not exist.
    pub active: bool,
    /// Groups, as expressions see them when no trusted peer names an end user.
    pub groups: Box<[Group]>,
    /// What it may do.
    pub grants: Grants,
    /// The plan whose limits hold for its keys, those with a plan of their own excepted.
    pub plan: Option<Plan>,
    /// Free text for people and later rules; no decision reads it.
    pub metadata: BTreeMap<String, String>,
}

/// An end user on whose behalf a client calls, as told by a trusted peer and by nobody else.
///
/// An attacker who could set these would be anybody, so `admission` fills them only for peers listed in
/// `trusted_identity`; everybody else's copies are removed unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id; header `miauserid`.
    pub id: Box<str>,
    /// The user's groups; header `miausergroups`, joined by commas.
    pub groups: Box<[Group]>,
    /// A JSON object as text, passed on as it came; header `miauserproperties`.
    pub properties: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_visible_ascii_without_blanks_and_commas() {
        for good in ["cms", "a", "A-1_b.c:d", "/", "\"q\"", &"x".repeat(128)] {
            assert_eq!(ClientType::parse(good).map(|word| word.to_string()), Ok(good.to_string()));
        }
        for (bad, why) in [
            ("", InvalidWord::Empty),
            ("a b", InvalidWord::Character(' ')),
            ("a,b", InvalidWord::Character(',')),
            ("a\r\nx: y", InvalidWord::Character('\r')),
            ("a\0", InvalidWord::Character('\0')),
            ("caf\u{e9}", InvalidWord::Character('\u{e9}')),
            (&"x".repeat(129), InvalidWord::TooLong),
        ] {
            assert_eq!(ClientType::parse(bad), Err(why), "{bad:?}");
        }
    }
}
