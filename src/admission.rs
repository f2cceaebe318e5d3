//! The whole decision for one request: who is calling, what for, and whether they may.
//!
//! [`admit`] is called once for each request with what was sent ([`RequestHead`]), the rules and the keys in force, and
//! the time. It gives a [`Permit`] or a [`Refused`], reads memory only and never waits.
//!
//! Nothing reaches an upstream without a permit, and only this module can make one. A key that is present but not good is
//! refused on every endpoint, open ones too: to treat it as absent would turn a typing error, or a revocation, into
//! anonymous access.
//!
//! `explain` asks the very same function with a [`Trace`] that writes down each step; there is no second opinion.

mod head;
mod permit;
mod rejection;
#[cfg(test)]
mod tests;

pub use head::{Gate, RequestHead, requested_host};
pub use permit::{CredentialUse, Permit};
pub use rejection::{Refused, Rejection};

use std::sync::Arc;

use http::{Method, header};

use crate::authentication::{KeyFault, authenticate};
use crate::client::User;
use crate::credential::{
    Credential, CredentialSource, Extracted, Extractor, KeyDigest, KeyText, MalformedCredential, OtherAuthorization,
    Secret,
};
use crate::keys::{ApiKey, KeyTable, SecretTag, TableEntry, Timestamp};
use crate::policy::{Caller, Facts, Policy, TenantBinding};
use crate::routing::{CanonicalPath, Endpoint, NoMatch, PathPattern, Rule, RuleRef};
use crate::snapshot::Snapshot;

/// Something that wants to know how a decision came about.
///
/// Each method is one step of the walk, told when it has been passed. The default does nothing, so that an ordinary
/// request pays nothing.
pub trait Trace {
    /// The path in the one form that is judged.
    fn path(&mut self, _path: &CanonicalPath<'_>) {}
    /// The rule that governs the request.
    fn rule(&mut self, _endpoint: &Endpoint, _rule: &Rule, _reference: RuleRef) {}
    /// What was shown: a source's label, or nothing.
    fn credential(&mut self, _source: Option<&str>) {}
    /// Whom it belongs to; nobody if nothing was shown, or only something that is not ours.
    fn caller(&mut self, _key: Option<&ApiKey>) {}
    /// What the policy is asked with.
    fn policy(&mut self, _policy: &Policy, _facts: &Facts<'_>) {}
}

/// Wants to know nothing.
impl Trace for () {}

/// What an admitted request is.
#[derive(Debug)]
pub enum Admitted {
    /// One to be forwarded.
    Forward(Permit),
    /// A browser asking first whether it may ask (CORS): answered here, without a key and without the upstream.
    Preflight(Preflight),
}

/// A CORS preflight for an endpoint that configures CORS.
#[derive(Debug)]
pub struct Preflight {
    snapshot: Arc<Snapshot>,
    rule: RuleRef,
}

impl Preflight {
    /// The rule it asks about.
    #[must_use]
    pub fn rule(&self) -> RuleRef {
        self.rule
    }

    /// The endpoint it asks about.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.snapshot.router.endpoints()[self.rule.endpoint]
    }
}

/// Decides one request.
///
/// # Errors
/// The first reason to refuse it, with what was known by then.
pub fn admit<T: Trace>(
    head: &RequestHead<'_>,
    snapshot: &Arc<Snapshot>,
    keys: &KeyTable,
    now: Timestamp,
    trace: &mut T,
) -> Result<Admitted, Refused> {
    if !keys.is_loaded() {
        return Err(Rejection::KeysNotLoaded.into());
    }
    let path = CanonicalPath::parse(head.path).map_err(Rejection::PathAmbiguous)?;
    trace.path(&path);
    let reference =
        snapshot.router.find(head.listener, head.host, &path, head.method).map_err(|no_match| match no_match {
            NoMatch::NotFound => Rejection::EndpointNotFound,
            NoMatch::Ambiguous(why) => Rejection::PathNotAdmitted(why),
        })?;
    let endpoint = &snapshot.router.endpoints()[reference.endpoint];
    let rule = snapshot.router.rule(reference);
    trace.rule(endpoint, rule, reference);
    let refused = |rejection: Rejection| Refused { rule: Some(reference), ..Refused::from(rejection) };

    if endpoint.cors.is_some() && is_preflight(head) {
        return Ok(Admitted::Preflight(Preflight { snapshot: Arc::clone(snapshot), rule: reference }));
    }

    let extracted =
        endpoint.extractor.extract(head.headers).map_err(|fault| refused(Rejection::CredentialMalformed(fault)))?;
    if let Some(gate) = head.gate {
        pass(gate, &extracted).map_err(&refused)?;
    }
    let shown = identify(&endpoint.extractor, &extracted, keys, snapshot, now, rule.policy.public)
        .map_err(|refused| Refused { rule: Some(reference), ..refused })?;
    trace.credential(shown.source.map(|index| endpoint.extractor.sources()[index].label()));
    trace.caller(shown.key());
    let refused =
        |rejection: Rejection| Refused { key: shown.key().cloned(), source: shown.source, ..refused(rejection) };

    if !admits_method(rule, head.method) {
        return Err(refused(Rejection::MethodNotAllowed { allowed: allowed_methods(endpoint, &path) }));
    }
    let told = told_by_trusted_peer(head, snapshot).map_err(&refused)?;
    let asks_origin = shown.key().is_some_and(|key| !key.origins.is_empty());
    let facts = Facts {
        method: head.method,
        caller: shown.key().map(|key| Caller {
            client: &key.client,
            key_grants: &key.grants,
            key_type: key.key_type,
            key_networks: &key.networks,
            key_origins: &key.origins,
        }),
        user: told.user.as_ref(),
        is_backoffice: head.is_backoffice || told.is_backoffice,
        client_address: head.client_address,
        is_secure: head.is_secure,
        origin: asks_origin.then(|| only_text(head, &header::ORIGIN)).flatten(),
        tenant: requested_tenant(&rule.policy, endpoint, reference, head, &path),
    };
    trace.policy(&rule.policy, &facts);
    rule.policy.evaluate(&facts).map_err(|denial| refused(Rejection::Denied(denial)))?;

    let is_backoffice = facts.is_backoffice;
    let changed_path = path.is_changed().then(|| path.as_str().into());
    Ok(Admitted::Forward(Permit {
        snapshot: Arc::clone(snapshot),
        rule: reference,
        changed_path,
        shown: shown.entry,
        user: told.user,
        is_backoffice,
        credential_use: shown.credential_use,
        credential_source: shown.source,
        client_address: head.client_address,
        places: None,
    }))
}

/// Who a request turned out to be from.
struct Shown {
    /// The key, and which of its secrets was shown.
    entry: Option<TableEntry>,
    /// Index of the source the key stood in.
    source: Option<usize>,
    credential_use: CredentialUse,
}

impl Shown {
    fn key(&self) -> Option<&ApiKey> {
        self.entry.as_ref().map(|entry| &entry.key)
    }
}

/// From what was extracted to who is calling: one key that is good, nobody, or a refusal.
fn identify(
    extractor: &Extractor,
    extracted: &Extracted<'_>,
    keys: &KeyTable,
    snapshot: &Snapshot,
    now: Timestamp,
    is_public: bool,
) -> Result<Shown, Refused> {
    let other = match &extracted.authorization {
        OtherAuthorization::None => None,
        OtherAuthorization::Bearer { secret, has_our_prefix } => {
            Some(Other { owner: keys.lookup(secret).map(|entry| entry.key), has_our_prefix: *has_our_prefix })
        }
    };
    let Some(Credential { secret, source, may_be_foreign }) = &extracted.credential else {
        // A key of ours in a place that is none here is no key, and must not leak to the upstream either.
        let is_ours = other.is_some_and(|other| other.owner.is_some() || other.has_our_prefix);
        return Ok(Shown { entry: None, source: None, credential_use: CredentialUse::of_ours(is_ours) });
    };
    let place = &extractor.sources()[*source];
    let environment = snapshot.environment.as_ref();

    // An imported key without a prefix, sent as Bearer beside a stale cookie: the header carries the key.
    if let (CredentialSource::Cookie { .. }, OtherAuthorization::Bearer { secret: bearer, .. }) =
        (place, &extracted.authorization)
        && other.as_ref().is_some_and(|other| other.owner.is_some())
        && let Some(bearer_source) = extractor.sources().iter().position(|s| *s == CredentialSource::Bearer)
    {
        let entry =
            authenticate(bearer, keys, environment, now).map_err(|fault| rejected(fault, bearer_source, bearer))?;
        return Ok(Shown {
            entry: Some(entry),
            source: Some(bearer_source),
            credential_use: CredentialUse::AuthorizationIsOurs,
        });
    }

    let is_bearer = *place == CredentialSource::Bearer;
    let entry = match authenticate(secret, keys, environment, now) {
        Ok(entry) => entry,
        // Nobody's key of ours: perhaps an end user's token for the upstream. An open endpoint lets it pass as it is.
        Err((KeyFault::Unknown, _)) if *may_be_foreign && is_public => {
            return Ok(Shown { entry: None, source: None, credential_use: CredentialUse::AuthorizationIsNotOurs });
        }
        Err(fault) => return Err(rejected(fault, *source, secret)),
    };
    let authorization_is_ours = match other {
        None => is_bearer,
        Some(Other { owner: Some(owner), .. }) if owner.id == entry.key.id => true,
        Some(Other { owner: None, has_our_prefix: false }) => false,
        Some(_) => {
            return Err(Refused {
                key: Some(entry.key),
                source: Some(*source),
                ..Rejection::CredentialMalformed(MalformedCredential::Ambiguous).into()
            });
        }
    };
    Ok(Shown {
        entry: Some(entry),
        source: Some(*source),
        credential_use: CredentialUse::of_ours(authorization_is_ours),
    })
}

/// Asks whether the table may be asked for what was shown. Somebody else's token beside a key is not what is guessed.
fn pass(gate: &dyn Gate, extracted: &Extracted<'_>) -> Result<(), Rejection> {
    let bearer = match &extracted.authorization {
        OtherAuthorization::Bearer { secret, has_our_prefix } if *has_our_prefix || extracted.credential.is_none() => {
            Some(secret)
        }
        _ => None,
    };
    let shown = extracted.credential.as_ref().map(|credential| &credential.secret);
    if shown.into_iter().chain(bearer).all(|secret| gate.may_ask(secret)) {
        Ok(())
    } else {
        Err(Rejection::TooManyFailures)
    }
}

/// What stands in `Authorization` besides the credential.
struct Other {
    owner: Option<ApiKey>,
    has_our_prefix: bool,
}

fn rejected((fault, key): (KeyFault, Option<ApiKey>), source: usize, secret: &Secret<'_>) -> Refused {
    // One that was made by keygate holds more chance than anybody can guess: it was somebody's, or is another gateway's.
    // All of it is worked out for known keys too, which are refused no faster than nobody's: `benches/sameness.rs`.
    let tag = std::hint::black_box(SecretTag::of(&KeyDigest::blake3(secret)));
    let is_whole = std::hint::black_box(KeyText::is_whole(secret.expose()));
    let guess = (fault == KeyFault::Unknown && !is_whole).then_some(tag);
    Refused { key, source: Some(source), guess, ..Rejection::KeyRejected(fault).into() }
}

/// A true preflight: `OPTIONS` with an origin and the method it asks about (Fetch standard, section 3.2.2).
fn is_preflight(head: &RequestHead<'_>) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(header::ORIGIN)
        && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Every method that some rule of an endpoint admits on a path.
fn allowed_methods(endpoint: &Endpoint, path: &CanonicalPath<'_>) -> Box<[Method]> {
    let mut allowed = endpoint.base.methods.to_vec();
    for route in endpoint.routes.iter().filter(|route| route.pattern.matches_exact(path.as_str())) {
        for method in &route.rule.methods {
            if !allowed.contains(method) {
                allowed.push(method.clone());
            }
        }
    }
    allowed.into()
}

/// Whether a rule admits a method; `HEAD` goes with `GET`.
fn admits_method(rule: &Rule, method: &Method) -> bool {
    rule.methods.contains(method) || (method == Method::HEAD && rule.methods.contains(&Method::GET))
}

/// What a peer listed in `trusted_identity` says of the end user.
#[derive(Default)]
struct Told {
    user: Option<User>,
    is_backoffice: bool,
}

fn told_by_trusted_peer(head: &RequestHead<'_>, snapshot: &Snapshot) -> Result<Told, Rejection> {
    if !snapshot.trusted_identity.iter().any(|network| network.contains(&head.peer_address)) {
        return Ok(Told::default());
    }
    let malformed = |_| Rejection::IdentityMalformed;
    let user = snapshot.identity.user_from(head.headers).map_err(malformed)?;
    let is_backoffice = snapshot.identity.is_backoffice_from(head.headers).map_err(malformed)?;
    Ok(Told { user, is_backoffice })
}

/// The tenant a request is about, if the policy asks and the request says.
fn requested_tenant<'a>(
    policy: &Policy,
    endpoint: &'a Endpoint,
    reference: RuleRef,
    head: &RequestHead<'a>,
    path: &'a CanonicalPath<'_>,
) -> Option<&'a str> {
    match policy.tenant.as_ref()? {
        TenantBinding::PathParameter(name) => {
            let pattern: &PathPattern = match reference.route {
                Some(route) => &endpoint.routes[route].pattern,
                None => &endpoint.pattern,
            };
            pattern.parameter(name, path.as_str())
        }
        TenantBinding::Header(name) => only_text(head, name),
        TenantBinding::HostLabel => head.host.split('.').next(),
    }
}

/// A header's value, if it stands there exactly once and is text.
fn only_text<'h>(head: &RequestHead<'h>, name: &http::HeaderName) -> Option<&'h str> {
    let mut values = head.headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}
