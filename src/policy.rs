//! Who may use an endpoint.
//!
//! A [`Policy`] is compiled from YAML by `config` and asked by `admission` with the [`Facts`] of one request. It knows no
//! clock, no header and no path: the caller passes what it needs. Every condition that is stated must hold.
//!
//! A policy that states no condition and is not public cannot be built by `config`: an empty rule is an error of the
//! operator, never an open door.

pub mod expression;

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;

use crate::client::{Client, ClientType, Grants, KeyType, Permission, User};
use expression::Expression;

/// Where the tenant that a request is about stands in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantBinding {
    /// A `:parameter` of the endpoint's path, without the colon.
    PathParameter(Box<str>),
    /// A header's value.
    Header(http::HeaderName),
    /// The first label of the host name (`acme` in `acme.api.example.com`).
    HostLabel,
}

/// Permissions an endpoint asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PermissionRule {
    /// None.
    #[default]
    None,
    /// All of these, for every method that is admitted.
    All(Box<[Permission]>),
    /// All of those listed for the method; methods without an entry are not admitted (405). `HEAD` is governed by `GET`.
    ByMethod(Box<[(Method, Box<[Permission]>)]>),
}

/// The rules of one endpoint, or of one route below it with what it inherited.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Open to callers without a key. A key that is shown must be good all the same.
    pub public: bool,
    /// If stated, the client must be of one of these types.
    pub client_types: Option<Box<[ClientType]>>,
    /// What the client must have been granted.
    pub permissions: PermissionRule,
    /// Which types of key are good here; `[Secret]` unless stated. A public endpoint that states none takes any.
    pub key_types: Box<[KeyType]>,
    /// If stated, the key's tenant must be the one the request is about.
    pub tenant: Option<TenantBinding>,
    /// If not empty, the client's address must be in one of these networks.
    pub networks: Box<[IpNet]>,
    /// Refuse requests that did not come over TLS.
    pub https_only: bool,
    /// Ask for an end user, told by a trusted peer, besides the key.
    pub require_user: bool,
    /// The rule in words, on ordinary listeners and, unless the next field is set, on backoffice listeners.
    pub allow: Option<Expression>,
    /// The rule in words on listeners marked `backoffice: true`.
    pub allow_backoffice: Option<Expression>,
    /// Let callers that state no permissions through permission rules only if this is false.
    pub require_permissions: bool,
}

/// Who calls, as far as a policy cares.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The principal.
    pub client: &'a Client,
    /// The bound the key itself sets.
    pub key_grants: &'a Grants,
    /// Secret or publishable.
    pub key_type: KeyType,
    /// Networks the key may be used from; any if empty.
    pub key_networks: &'a [IpNet],
    /// Origins the key may be used from; any if empty.
    pub key_origins: &'a [Box<str>],
}

/// Everything a policy may look at for one request.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The method; `HEAD` as it came.
    pub method: &'a Method,
    /// Who calls; nobody if no key was shown.
    pub caller: Option<Caller<'a>>,
    /// The end user a trusted peer told of.
    pub user: Option<&'a User>,
    /// The request came in on a listener marked `backoffice: true`, or a trusted peer says so.
    pub is_backoffice: bool,
    /// The client's address, behind trusted proxies.
    pub client_address: IpAddr,
    /// The request came over TLS, as far as we or a trusted proxy can tell.
    pub is_secure: bool,
    /// The `Origin` header, if there is exactly one and it is text.
    pub origin: Option<&'a str>,
    /// The tenant the request is about, taken from where [`Policy::tenant`] says; `None` if it is not there.
    pub tenant: Option<&'a str>,
}

/// Why a policy says no. `admission` turns it into a rejection with a code and a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Nobody was shown where somebody is needed: 401.
    CredentialMissing,
    /// A known client calls, but no end user is named where one is needed: 401.
    UserRequired,
    /// 403 from here on. Plain HTTP where HTTPS is asked for.
    HttpsRequired,
    /// The key's type is not good here.
    KeyTypeNotAllowed {
        /// The types that are.
        required: Box<[KeyType]>,
    },
    /// The client's type is not named.
    ClientTypeNotAllowed {
        /// The types that are.
        required: Box<[ClientType]>,
    },
    /// Rights that are asked for and not granted.
    PermissionMissing {
        /// The missing ones.
        required: Box<[Permission]>,
    },
    /// A read-only key with a method that could change something.
    ReadOnly,
    /// The request is about another tenant than the key's, or names none.
    TenantMismatch,
    /// The client's address is not in a network that the endpoint or the key allows.
    NetworkNotAllowed,
    /// The key may not be used from this web origin, or the request names none.
    OriginNotAllowed,
    /// The expression is false.
    ExpressionFalse,
}

