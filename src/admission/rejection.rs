//! Every way to be refused.
//!
//! One enum, one stable code each: the same in log and metric and, wherever it tells an attacker nothing, in the answer.
//! The status belongs to HTTP and is chosen in `gateway::response`, the one table of statuses and texts.

use http::Method;

use crate::authentication::KeyFault;
use crate::credential::MalformedCredential;
use crate::keys::{ApiKey, SecretTag};
use crate::policy::Denial;
use crate::routing::{AmbiguousPath, RuleRef};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The path can be read in two ways.
    PathAmbiguous(AmbiguousPath),
    /// The path could be read as another endpoint's, or holds what its endpoint does not admit.
    PathNotAdmitted(&'static str),
    /// No, several or malformed `Host`, or one that disagrees with the target.
    HostInvalid,
    /// No endpoint for host and path.
    EndpointNotFound,
    /// The endpoint does not admit the method.
    MethodNotAllowed {
        /// Those it does.
        allowed: Box<[Method]>,
    },
    /// What was shown cannot be judged.
    CredentialMalformed(MalformedCredential),
    /// A key was shown that is not good.
    KeyRejected(KeyFault),
    /// A key was shown from an address that has shown too many that were not good. It was not looked up.
    TooManyFailures,
    /// A peer that is trusted to name the end user named one in a form that cannot be passed on.
    IdentityMalformed,
    /// The policy says no.
    Denied(Denial),
    /// The request says that its body is larger than the endpoint takes.
    BodyTooLarge,
    /// No set of keys has been loaded yet.
    KeysNotLoaded,
}

impl Rejection {
    /// The stable code, for log and metric.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::PathAmbiguous(_) | Self::PathNotAdmitted(_) => "path_ambiguous",
            Self::HostInvalid => "host_invalid",
            Self::EndpointNotFound => "endpoint_not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::CredentialMalformed(fault) => match fault {
                MalformedCredential::Ambiguous => "credential_ambiguous",
                MalformedCredential::NotAscii | MalformedCredential::NotBearer => "credential_malformed",
                MalformedCredential::Empty => "credential_empty",
                MalformedCredential::TooLong => "credential_too_long",
            },
            Self::KeyRejected(fault) => match fault {
                KeyFault::Unknown => "key_unknown",
                KeyFault::Disabled => "key_disabled",
                KeyFault::ClientDisabled => "client_disabled",
                KeyFault::NotYetValid => "key_not_yet_valid",
                KeyFault::Expired => "key_expired",
                KeyFault::Superseded => "key_superseded",
                KeyFault::WrongEnvironment => "key_wrong_environment",
            },
            Self::TooManyFailures => "too_many_failures",
            Self::IdentityMalformed => "identity_malformed",
            Self::Denied(denial) => match denial {
                Denial::CredentialMissing => "credential_missing",
                Denial::UserRequired => "user_required",
                Denial::HttpsRequired => "https_required",
                Denial::KeyTypeNotAllowed { .. } => "key_type_not_allowed",
                Denial::ClientTypeNotAllowed { .. } => "client_type_not_allowed",
                Denial::PermissionMissing { .. } => "permission_missing",
                Denial::ReadOnly => "read_only_key",
                Denial::TenantMismatch => "tenant_mismatch",
                Denial::NetworkNotAllowed => "network_not_allowed",
                Denial::OriginNotAllowed => "origin_not_allowed",
                Denial::ExpressionFalse => "rule_not_satisfied",
            },
            Self::BodyTooLarge => "body_too_large",
            Self::KeysNotLoaded => "keys_not_loaded",
        }
    }
}

/// A refusal with what was known when it was made; the rest of it is for the log only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub rejection: Rejection,
    /// The rule that governs the request, if one was found.
    pub rule: Option<RuleRef>,
    /// The key that was shown, if it is known, good or not.
    pub key: Option<ApiKey>,
    /// Index of the source it stood in.
    pub source: Option<usize>,
    /// The secret that was shown, if it is nobody's and may have been guessed.
    pub guess: Option<SecretTag>,
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, rule: None, key: None, source: None, guess: None }
    }
}
