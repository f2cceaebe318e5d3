//! Every way to be refused.
//!
//! One enum, one stable code each: the same in log, metric and, wherever it tells an attacker nothing, in the answer.

use http::Method;

use crate::authentication::KeyFault;
use crate::credential::MalformedCredential;
use crate::policy::Denial;
use crate::routing::AmbiguousPath;

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
    /// The policy says no.
    Denied(Denial),
    /// The body is, or says it is, larger than the endpoint takes.
    BodyTooLarge,
    /// No set of keys has been loaded yet.
    KeysNotLoaded,
}
