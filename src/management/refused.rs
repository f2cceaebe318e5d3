//! Why something was not done. Nothing was changed then.

use thiserror::Error;

use super::Role;
use crate::store::StoreError;

/// One thing that is wrong with what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which part, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// A stable word for it.
    pub code: &'static str,
    /// What is wrong and how to mend it.
    pub detail: String,
}

impl Fault {
    /// A fault of one part.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}

/// Why something was not done.
#[derive(Debug, Error)]
pub enum Refused {
    /// What was asked for breaks a rule.
    #[error("{}", faults_text(.0))]
    Invalid(Vec<Fault>),
    /// There is nothing of this id.
    #[error("there is no {kind} `{id}`")]
    NotFound {
        /// A key, a client, an admin token.
        kind: &'static str,
        /// Which.
        id: String,
    },
    /// What is there stands in the way.
    #[error("{detail}")]
    Conflict {
        /// A stable word for it.
        code: &'static str,
        /// What, and what to do.
        detail: String,
    },
    /// It was changed since it was read.
    #[error("it was changed since it was read: it is version {current} now")]
    Stale {
        /// Its version now.
        current: i64,
    },
    /// Whoever asks may not.
    #[error("this needs the role {needed}; yours is {held}")]
    RoleTooLow {
        /// The least role that may.
        needed: Role,
        /// The role of whoever asks.
        held: Role,
    },
    /// There is no store that lasts.
    #[error("no store is configured: write `keys: {{ store: keygate.db }}` in the configuration")]
    NoStore,
    /// An idempotency key was used for something else.
    #[error("this idempotency key was used for another request")]
    ClaimReused,
    /// An idempotency key was used for this very request, whose answer is not kept any more.
    #[error("this was done before, and made `{target}`; its answer is shown once")]
    ClaimSpent {
        /// What was made.
        target: String,
    },
    /// The operating system gives no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] crate::credential::NoRandomness),
    /// The store.
    #[error(transparent)]
    Store(StoreError),
}

fn faults_text(faults: &[Fault]) -> String {
    let texts: Vec<String> = faults
        .iter()
        .map(|fault| match fault.pointer.as_str() {
            "" => fault.detail.clone(),
            pointer => format!("{pointer}: {}", fault.detail),
        })
        .collect();
    texts.join("; ")
}

impl Refused {
    pub(super) fn no_key(id: &str) -> Self {
        Self::NotFound { kind: "key", id: id.to_owned() }
    }

    /// A key of the configuration's files is not changed here.
    #[must_use]
    pub fn key_of_file(id: &str) -> Self {
        Self::conflict("key_of_file", format!("the key `{id}` stands in the configuration's files: change it there"))
    }

    pub(super) fn no_client(id: &str) -> Self {
        Self::NotFound { kind: "client", id: id.to_owned() }
    }

    pub(super) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict { code, detail: detail.into() }
    }
}

/// What must be true of the version of something before it is changed; nothing, or that it is the one that was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unmet(pub Option<i64>);

impl Unmet {
    pub(super) fn check(self, current: i64) -> Result<(), Refused> {
        match self.0 {
            Some(read) if read != current => Err(Refused::Stale { current }),
            _ => Ok(()),
        }
    }
}

/// A request that must be carried out once however often it is sent, by its idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Digest of whoever asks and of the idempotency key.
    pub key: [u8; 32],
    /// Digest of the request.
    pub request: [u8; 32],
}

impl Claim {
    /// Refuses a request that was carried out before, or another one under the same idempotency key.
    pub(super) fn check(claim: Option<&Self>, reader: &crate::store::Reader<'_>) -> Result<(), Refused> {
        let Some(claim) = claim else { return Ok(()) };
        match reader.spent(&claim.key)? {
            None => Ok(()),
            Some(spent) if spent.request == claim.request => Err(Refused::ClaimSpent { target: spent.target }),
            Some(_) => Err(Refused::ClaimReused),
        }
    }
}
