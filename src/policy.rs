//! Who may use an endpoint.
//!
//! A [`Policy`] is compiled from YAML by `config`; `admission` asks [`Policy::evaluate`] with the [`Facts`] of one
//! request, and gets nothing or the first [`Denial`]. `explain` asks [`Policy::denials`] for all of them.
//!
//! Every condition that is stated must hold. A policy knows no clock, no header and no path: the caller passes what it
//! needs. A policy that states no condition and is not public cannot be built by `config`: an empty rule is an error of
//! the operator, never an open door.
//!
//! Naming an end user is not showing a key. A user that a trusted peer tells of comes *besides* the key, so an endpoint
//! that is not public refuses a request with a user and without a key. On a public endpoint the user stands alone, and
//! `require_user: true` with `public: true` admits users without keys.

pub mod expression;

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;

use crate::client::{Client, ClientType, EffectiveGrants, Grants, KeyType, Permission, User};
use expression::{Expression, Truth, Variables};

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
    /// Open to callers without a key, as far as the other conditions can hold without one. A key that is shown must be
    /// good all the same.
    pub public: bool,
    /// If stated, the client must be of one of these types.
    pub client_types: Option<Box<[ClientType]>>,
    /// What the client must have been granted.
    pub permissions: PermissionRule,
    /// Which types of key are good here. Empty if not stated: then `[Secret]`, and any on a public endpoint.
    pub key_types: Box<[KeyType]>,
    /// If stated, the key's tenant must be the one the request is about.
    pub tenant: Option<TenantBinding>,
    /// If not empty, the client's address must be in one of these networks.
    pub networks: Box<[IpNet]>,
    /// Refuse requests that did not come over TLS.
    pub https_only: bool,
    /// Ask for an end user, told by a trusted peer, besides the key, or alone if the endpoint is public.
    pub require_user: bool,
    /// The rule in words, on ordinary listeners and, unless the next field is set, on backoffice listeners.
    pub allow: Option<Expression>,
    /// The rule in words on listeners marked `backoffice: true`.
    pub allow_backoffice: Option<Expression>,
    /// Refuse callers at permission rules if neither the client nor the key states any permissions. Without this they
    /// have no limit by permission.
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
    /// The `Origin` header, if there is exactly one and it is text. Only needed where the key lists origins.
    pub origin: Option<&'a str>,
    /// The tenant the request is about, taken from where [`Policy::tenant`] says; `None` if it is not there.
    pub tenant: Option<&'a str>,
}

/// Why a policy says no. `admission` turns it into a rejection with a code and a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Nobody was shown where somebody is needed: 401.
    CredentialMissing,
    /// No end user is named where one is needed: 401. A key alone does not help.
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
        /// All missing ones. None if the rules name no rights for the method, so that nobody has them.
        required: Box<[Permission]>,
    },
    /// A read-only key with a method that could change something.
    ReadOnly,
    /// The request is about another tenant than the key's, or names none.
    TenantMismatch,
    /// The client's address is not in a network that the endpoint or the key allows.
    NetworkNotAllowed,
    /// The key may be used from some web origins only, and the request does not come from one of them.
    OriginNotAllowed,
    /// The expression is false.
    ExpressionFalse,
}

/// One question a policy asks.
type Check = fn(&Policy, &Facts<'_>) -> Result<(), Denial>;

impl Policy {
    /// All questions, in the order in which they are asked. What is about the connection and the key comes before what is
    /// about rights, rights before the rule in words: a missing right is refused whatever the rule says.
    const CHECKS: [Check; 11] = [
        Self::check_transport,
        Self::check_caller,
        Self::check_user,
        Self::check_key_type,
        Self::check_networks,
        Self::check_origin,
        Self::check_method,
        Self::check_tenant,
        Self::check_client_type,
        Self::check_permissions,
        Self::check_expression,
    ];

    /// Whether a request is admitted. Allocates only for a denial that lists something.
    ///
    /// # Errors
    /// The first condition that does not hold, with everything it misses.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        Self::CHECKS.iter().try_for_each(|check| check(self, facts))
    }

    /// Every condition that does not hold, each once, for telling a person; none if the request is admitted.
    #[must_use]
    pub fn denials(&self, facts: &Facts<'_>) -> Vec<Denial> {
        let mut denials = Vec::new();
        for denial in Self::CHECKS.iter().filter_map(|check| check(self, facts).err()) {
            if !denials.contains(&denial) {
                denials.push(denial);
            }
        }
        denials
    }

    /// Whether the policy states anything about who may call on ordinary listeners.
    ///
    /// `https_only` does not count, since it says nothing about who, and `allow_backoffice` does not, since it leaves the
    /// ordinary listeners open.
    #[must_use]
    pub fn has_condition(&self) -> bool {
        self.client_types.is_some()
            || self.permissions != PermissionRule::None
            || !self.key_types.is_empty()
            || self.tenant.is_some()
            || !self.networks.is_empty()
            || self.require_user
            || self.allow.is_some()
    }

    /// Whether a caller who shows nothing is refused for that alone, with this method.
    ///
    /// On a public endpoint that is so where a condition is about a client: its type, its tenant, its rights, or an
    /// expression that names a client type.
    #[must_use]
    pub fn needs_key(&self, method: &Method) -> bool {
        self.asks_for_client(method)
            || [&self.allow, &self.allow_backoffice].into_iter().flatten().any(Expression::names_client_type)
    }

    /// The permissions that a request with this method must have; `None` if the method is not admitted.
    #[must_use]
    pub fn required_permissions(&self, method: &Method) -> Option<&[Permission]> {
        match &self.permissions {
            PermissionRule::None => Some(&[]),
            PermissionRule::All(required) => Some(required),
            PermissionRule::ByMethod(entries) => {
                let governing = if *method == Method::HEAD { &Method::GET } else { method };
                entries.iter().find(|(listed, _)| listed == governing).map(|(_, required)| &**required)
            }
        }
    }

    /// The types of key that are good here.
    #[must_use]
    pub fn admitted_key_types(&self) -> &[KeyType] {
        if !self.key_types.is_empty() {
            &self.key_types
        } else if self.public {
            &[KeyType::Secret, KeyType::Publishable]
        } else {
            &[KeyType::Secret]
        }
    }

    /// The rule in words for this kind of listener.
    #[must_use]
    pub fn expression(&self, is_backoffice: bool) -> Option<&Expression> {
        match &self.allow_backoffice {
            Some(expression) if is_backoffice => Some(expression),
            _ => self.allow.as_ref(),
        }
    }

    /// Whether there is a condition that only a client can meet, expressions left aside.
    fn asks_for_client(&self, method: &Method) -> bool {
        !self.public
            || self.client_types.is_some()
            || self.tenant.is_some()
            || self.required_permissions(method).is_none_or(|required| !required.is_empty())
    }

    fn check_transport(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        hold_or(facts.is_secure || !self.https_only, Denial::HttpsRequired)
    }

    /// Naming a client type implies that a key is needed: whoever shows nothing at all is refused before the expression
    /// is looked at. A user without a key may pass by another part of the expression, where it stands for itself.
    fn check_caller(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        let is_missing = facts.caller.is_none()
            && (self.asks_for_client(facts.method)
                || facts.user.is_none()
                    && self.expression(facts.is_backoffice).is_some_and(Expression::names_client_type));
        hold_or(!is_missing, Denial::CredentialMissing)
    }

    fn check_user(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        hold_or(facts.user.is_some() || !self.require_user, Denial::UserRequired)
    }

    fn check_key_type(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        let admitted = self.admitted_key_types();
        match facts.caller {
            Some(caller) if !admitted.contains(&caller.key_type) => {
                Err(Denial::KeyTypeNotAllowed { required: admitted.into() })
            }
            _ => Ok(()),
        }
    }

    fn check_networks(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        // `::ffff:192.0.2.1` is how a socket for both families names `192.0.2.1`.
        let address = facts.client_address.to_canonical();
        let is_within =
            |networks: &[IpNet]| networks.is_empty() || networks.iter().any(|network| network.contains(&address));
        let of_key = facts.caller.map_or(&[][..], |caller| caller.key_networks);
        hold_or(is_within(&self.networks) && is_within(of_key), Denial::NetworkNotAllowed)
    }

    /// A page on another site can make a browser send the request, but not with another `Origin`. `null` is what any
    /// page can bring about, so it stands for no origin even if a key lists it.
    fn check_origin(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        let allowed = facts.caller.map_or(&[][..], |caller| caller.key_origins);
        let comes_from_one = |origin: &str| {
            !origin.eq_ignore_ascii_case("null") && allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
        };
        hold_or(allowed.is_empty() || facts.origin.is_some_and(comes_from_one), Denial::OriginNotAllowed)
    }

    /// A read-only caller gets no further with a method that could change something, also where no permission is asked
    /// for.
    fn check_method(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        let only_reads = matches!(*facts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        hold_or(only_reads || !facts.grants().is_some_and(|grants| grants.are_read_only()), Denial::ReadOnly)
    }

    fn check_tenant(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        let (Some(_), Some(caller)) = (&self.tenant, facts.caller) else { return Ok(()) };
        let of_caller = caller.client.tenant.as_ref().map(|tenant| tenant.as_str());
        hold_or(of_caller.is_some() && of_caller == facts.tenant, Denial::TenantMismatch)
    }

    fn check_client_type(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        match (&self.client_types, facts.caller) {
            (Some(admitted), Some(caller)) if !admitted.contains(&caller.client.client_type) => {
                Err(Denial::ClientTypeNotAllowed { required: admitted.clone() })
            }
            _ => Ok(()),
        }
    }

    fn check_permissions(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        // Routing refuses a method without an entry before it comes here; were it to come, nobody may use it.
        let Some(required) = self.required_permissions(facts.method) else {
            return Err(Denial::PermissionMissing { required: Box::new([]) });
        };
        let Some(grants) = facts.grants() else { return Ok(()) };
        let is_silent = self.require_permissions && grants.are_unstated();
        let is_missing = |permission: &&Permission| is_silent || !grants.cover(permission);
        // Nothing is collected, and so nothing allocated, for a request that has them all.
        let missing: Box<[Permission]> = required.iter().filter(is_missing).cloned().collect();
        hold_or(missing.is_empty(), Denial::PermissionMissing { required: missing })
    }

    /// For callers who show nothing, "no" is a question: who are you?
    fn check_expression(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        let Some(expression) = self.expression(facts.is_backoffice) else { return Ok(()) };
        match expression.truth(&facts.variables()) {
            Truth::True => Ok(()),
            Truth::KeyNeeded => Err(Denial::CredentialMissing),
            Truth::False if facts.caller.is_none() && facts.user.is_none() => Err(Denial::CredentialMissing),
            Truth::False => Err(Denial::ExpressionFalse),
        }
    }
}

impl<'a> Facts<'a> {
    /// What an expression sees of the request. The groups are those of the end user if one is named, else the client's:
    /// a client's own groups never stand in for those of the user it calls for.
    #[must_use]
    pub fn variables(&self) -> Variables<'a> {
        Variables {
            client_type: self.caller.map(|caller| &caller.client.client_type),
            groups: match (self.user, self.caller) {
                (Some(user), _) => &user.groups,
                (None, Some(caller)) => &caller.client.groups,
                (None, None) => &[],
            },
            permissions: self.grants(),
            is_backoffice: self.is_backoffice,
        }
    }

    /// What the caller may do: the client's grants cut by the key's.
    fn grants(&self) -> Option<EffectiveGrants<'a>> {
        self.caller.map(|caller| EffectiveGrants { client: &caller.client.grants, key: caller.key_grants })
    }
}

fn hold_or(holds: bool, denial: Denial) -> Result<(), Denial> {
    if holds { Ok(()) } else { Err(denial) }
}

#[cfg(test)]
mod tests;
