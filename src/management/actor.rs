//! Who asks for something, and what they may.

use std::fmt;

use super::Refused;

/// What somebody may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Manages keys and clients.
    Developer,
    /// Manages admin tokens.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Developer, Self::Admin];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }

    /// The role of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Over the admin API, with a token.
    Api,
    /// In the console, by a session that an admin token began.
    Console,
    /// On the command line of this machine.
    CommandLine,
    /// With the key itself.
    Key,
    /// By itself.
    Keygate,
}

impl Via {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Console => "console",
            Self::CommandLine => "command_line",
            Self::Key => "key",
            Self::Keygate => "keygate",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Whom the audit log names, such as `token:ops` or `local:root`.
    pub name: String,
    /// What they may.
    pub role: Role,
    /// How they ask.
    pub via: Via,
    /// From where, over a network.
    pub address: Option<String>,
}

impl Actor {
    /// keygate itself.
    #[must_use]
    pub fn keygate() -> Self {
        Self { name: "keygate".to_owned(), role: Role::Admin, via: Via::Keygate, address: None }
    }

    /// Refuses whoever may not.
    pub(crate) fn require(&self, needed: Role) -> Result<(), Refused> {
        if self.role >= needed { Ok(()) } else { Err(Refused::RoleTooLow { needed, held: self.role }) }
    }
}
