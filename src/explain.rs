//! Why a request would be admitted or refused, step by step.
//!
//! [`explain`] asks [`admit`] itself, with a [`Trace`] that writes down what it passes: the answer cannot differ from what
//! the gateway does. What comes out is plain data for a table, for JSON and later for a page; it names places in the
//! configuration, and the smallest change that would admit the call.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admission::{Admitted, Permit, Rejection, RequestHead, Trace, admit};
use crate::authentication::KeyFault;
use crate::client::Grants;
use crate::credential::MalformedCredential;
use crate::keys::{ApiKey, KeyTable, Timestamp};
use crate::limit::{Measure, Part, Policy as LimitPolicy, UnknownPlan};
use crate::policy::expression::Truth;
use crate::policy::{Denial, Facts, Policy};
use crate::routing::{CanonicalPath, Endpoint, Rule, RuleLimits, RuleRef};
use crate::snapshot::Snapshot;

/// One step of a decision that was passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub finding: String,
}

/// A decision with the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The steps that were passed, in order.
    pub steps: Vec<Step>,
    /// Whether the request would reach the upstream.
    pub admitted: bool,
    /// `admitted`, or the code of the refusal.
    pub code: &'static str,
    /// The verdict in words.
    pub verdict: String,
    /// Where the rule that decided was written.
    pub rule: Option<String>,
    /// What would admit the call.
    pub remedy: Option<String>,
}

impl Explanation {
    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let steps: Vec<Value> =
            self.steps.iter().map(|step| json!({ "subject": step.subject, "finding": step.finding })).collect();
        json!({
            "admitted": self.admitted,
            "code": self.code,
            "verdict": self.verdict,
            "rule": self.rule,
            "remedy": self.remedy,
            "steps": steps,
        })
    }
}

/// Decides a request and tells how.
#[must_use]
pub fn explain(head: &RequestHead<'_>, snapshot: &Arc<Snapshot>, keys: &KeyTable, now: Timestamp) -> Explanation {
    let mut notes = Notes { head, steps: Vec::new(), rule: None, key: None };
    let decision = admit(head, snapshot, keys, now, &mut notes);
    let rule = notes.rule.map(|reference| snapshot.router.rule(reference));
    let place = rule.map(|rule| rule.place.to_string());
    match decision {
        Ok(Admitted::Forward(permit)) => {
            let endpoint = permit.endpoint();
            if let Err(unknown) = notes.limits(&permit, snapshot) {
                return Explanation {
                    steps: notes.steps,
                    admitted: false,
                    code: "plan_unknown",
                    verdict: format!("the key is refused: {unknown}"),
                    rule: place,
                    remedy: Some("write the plan below `plans`, or give the key another".to_owned()),
                };
            }
            let who = permit.key().map_or_else(|| "an anonymous caller".to_owned(), client_name);
            Explanation {
                steps: notes.steps,
                admitted: true,
                code: "admitted",
                verdict: format!("{who} is admitted to `{}`, upstream `{}`", endpoint.name, endpoint.upstream.name),
                rule: place,
                remedy: None,
            }
        }
        Ok(Admitted::Preflight(preflight)) => Explanation {
            steps: notes.steps,
            admitted: true,
            code: "preflight",
            verdict: format!("a CORS preflight for `{}`: answered by the gateway", preflight.endpoint().name),
            rule: place,
            remedy: None,
        },
        Err(refused) => {
            if let (Some(source), Some(reference)) = (refused.source, refused.rule)
                && !notes.steps.iter().any(|step| step.subject == "credential")
            {
                let sources = snapshot.router.endpoints()[reference.endpoint].extractor.sources();
                notes.note("credential", format!("a key in `{}`", sources[source].label()));
            }
            let key = refused.key.as_ref().or(notes.key.as_ref());
            Explanation {
                admitted: false,
                code: refused.rejection.code(),
                verdict: verdict(&refused.rejection, key),
                rule: place,
                remedy: remedy(&refused.rejection, key, rule, snapshot),
                steps: notes.steps,
            }
        }
    }
}

/// Writes down what the decision passes.
struct Notes<'a> {
    head: &'a RequestHead<'a>,
    steps: Vec<Step>,
    rule: Option<RuleRef>,
    key: Option<ApiKey>,
}

impl Notes<'_> {
    fn note(&mut self, subject: &'static str, finding: String) {
        self.steps.push(Step { subject, finding });
    }
}

impl Notes<'_> {
    /// The limits that would be asked, and which of them is reached first by one request after another.
    fn limits(&mut self, permit: &Permit, snapshot: &Snapshot) -> Result<(), UnknownPlan> {
        let limits = &snapshot.limits;
        let planned = match permit.key() {
            Some(key) => limits.plan(key.plan.as_ref(), key.client.plan.as_ref())?,
            None => &[],
        };
        let RuleLimits { policies, cost } = &permit.rule().limits;
        let mut asked: Vec<&LimitPolicy> = Vec::new();
        for policy in limits.first.iter().chain(&limits.everywhere).chain(policies).chain(planned) {
            if concerns(policy, permit.key()) && asked.iter().all(|known| known.number != policy.number) {
                asked.push(policy);
            }
        }
        let taken = |policy: &LimitPolicy| if policy.is_first { 1 } else { u64::from(*cost) };
        for policy in &asked {
            let parts: Vec<&str> = policy.subject.iter().map(|part| part.as_str()).collect();
            let whom = if parts.is_empty() {
                "everybody together".to_owned()
            } else {
                format!("each {}", parts.join(" and "))
            };
            let mut finding = format!("`{}`: {} for {whom} ({})", policy.name, policy.measure, policy.place);
            if policy.is_shadow {
                finding.push_str(", counts only");
            }
            if !matches!(policy.measure, Measure::Concurrent { .. }) && taken(policy) != 1 {
                finding.push_str(&format!(", takes {}", taken(policy)));
            }
            self.note("limit", finding);
        }
        let bites = |policy: &&&LimitPolicy| {
            !policy.is_shadow && !matches!(policy.measure, Measure::Concurrent { .. }) && taken(policy) > 0
        };
        let requests = |policy: &LimitPolicy| policy.measure.most() / taken(policy).max(1);
        if let Some(first) = asked.iter().filter(bites).min_by_key(|policy| requests(policy)) {
            self.note("bites first", format!("`{}`, after {} requests in a row", first.name, requests(first)));
        }
        Ok(())
    }
}

/// Whether a limit concerns a request with this key, or without one.
fn concerns(policy: &LimitPolicy, key: Option<&ApiKey>) -> bool {
    policy.subject.iter().all(|part| match part {
        Part::Address | Part::Endpoint | Part::Route => true,
        Part::Key | Part::Client | Part::ClientType => key.is_some(),
        Part::Tenant => key.is_some_and(|key| key.client.tenant.is_some()),
    })
}

impl Trace for Notes<'_> {
    fn path(&mut self, path: &CanonicalPath<'_>) {
        let sent = self.head.path;
        let finding = if path.as_str() == sent {
            format!("`{sent}` reads one way only")
        } else {
            format!("`{sent}` is judged and forwarded as `{}`", path.as_str())
        };
        self.note("path", finding);
    }

    fn rule(&mut self, endpoint: &Endpoint, rule: &Rule, reference: RuleRef) {
        self.rule = Some(reference);
        let pattern = endpoint.pattern.as_str();
        self.note("endpoint", format!("`{}` governs {pattern} ({})", endpoint.name, endpoint.place));
        if let Some(route) = reference.route {
            self.note("route", format!("`{}` overrides it ({})", endpoint.routes[route].text, rule.place));
        }
    }

    fn credential(&mut self, source: Option<&str>) {
        let finding = source.map_or_else(|| "none was shown".to_owned(), |source| format!("a key in `{source}`"));
        self.note("credential", finding);
    }

    fn caller(&mut self, key: Option<&ApiKey>) {
        self.key = key.cloned();
        let finding = key.map_or_else(
            || "nobody".to_owned(),
            |key| format!("{}, key `{}` ({})", client_name(key), key.id, key.key_type.as_str()),
        );
        self.note("caller", finding);
    }

    fn policy(&mut self, policy: &Policy, facts: &Facts<'_>) {
        let required = policy.required_permissions(facts.method).unwrap_or_default();
        if !required.is_empty() {
            let list: Vec<&str> = required.iter().map(|permission| permission.as_str()).collect();
            self.note("permissions", format!("asked for: {}", list.join(", ")));
        }
        if let Some(types) = &policy.client_types {
            let list: Vec<&str> = types.iter().map(|client_type| client_type.as_str()).collect();
            self.note("client types", format!("asked for: {}", list.join(", ")));
        }
        if let Some(expression) = policy.expression(facts.is_backoffice) {
            let findings = expression.explain(&facts.variables());
            let list: Vec<String> =
                findings.iter().map(|finding| format!("`{}` is {}", finding.condition, truth(finding.truth))).collect();
            self.note("expression", format!("`{expression}`: {}", list.join(", ")));
        }
    }
}

fn truth(truth: Truth) -> &'static str {
    match truth {
        Truth::True => "true",
        Truth::False => "false",
        Truth::KeyNeeded => "undecided without a key",
    }
}

fn client_name(key: &ApiKey) -> String {
    format!("client `{}` of type `{}`", key.client.id, key.client.client_type)
}

/// What happened, for the operator: as exact as can be.
fn verdict(rejection: &Rejection, key: Option<&ApiKey>) -> String {
    let who = key.map_or_else(|| "the caller".to_owned(), client_name);
    match rejection {
        Rejection::PathAmbiguous(why) => format!("the path is refused: {why}"),
        Rejection::PathNotAdmitted(why) => format!("the path is refused: {why}"),
        Rejection::HostInvalid => "the host is refused: not exactly one, or not well-formed".to_owned(),
        Rejection::EndpointNotFound => "no endpoint governs this host and path".to_owned(),
        Rejection::MethodNotAllowed { allowed } => {
            let list: Vec<&str> = allowed.iter().map(http::Method::as_str).collect();
            format!("the method is not admitted; those are: {}", list.join(", "))
        }
        Rejection::CredentialMalformed(fault) => match fault {
            MalformedCredential::Ambiguous => "two different keys are shown",
            MalformedCredential::NotAscii => "the key holds characters that no key has",
            MalformedCredential::NotBearer => "a key stands in Authorization without `Bearer`",
            MalformedCredential::Empty => "a place for a key is there and empty",
            MalformedCredential::TooLong => "the key is longer than a key can be",
        }
        .to_owned(),
        Rejection::KeyRejected(fault) => match (fault, key) {
            (KeyFault::Unknown, _) | (_, None) => "no key with this secret is known".to_owned(),
            (KeyFault::Disabled, Some(key)) => format!("key `{}` is switched off", key.id),
            (KeyFault::ClientDisabled, Some(key)) => format!("client `{}` is switched off", key.client.id),
            (KeyFault::NotYetValid, Some(key)) => {
                let from = key.not_before.map_or_else(String::new, |from| format!(" before {from}"));
                format!("key `{}` is not good{from}", key.id)
            }
            (KeyFault::Expired, Some(key)) => {
                let at = key.expires_at.map_or_else(String::new, |at| format!(" at {at}"));
                format!("key `{}` expired{at}", key.id)
            }
            (KeyFault::Superseded, Some(key)) => {
                format!("this secret of key `{}` was replaced by a rotation whose overlap is over", key.id)
            }
            (KeyFault::WrongEnvironment, Some(key)) => {
                let of = key.environment.as_ref().map_or("another environment", |of| of.as_str());
                format!("key `{}` is good in `{of}` only", key.id)
            }
        },
        Rejection::TooManyFailures => "too many keys that are not good came from this address".to_owned(),
        Rejection::IdentityMalformed => "the headers that name the end user are malformed".to_owned(),
        Rejection::Denied(denial) => match denial {
            Denial::CredentialMissing => "a key is needed and none is shown".to_owned(),
            Denial::UserRequired => "an end user named by a trusted peer is needed".to_owned(),
            Denial::HttpsRequired => "the request did not come over HTTPS".to_owned(),
            Denial::KeyTypeNotAllowed { .. } => format!("{who} shows a key of a type that is not taken here"),
            Denial::ClientTypeNotAllowed { .. } => format!("{who} is not of a type that is admitted"),
            Denial::PermissionMissing { required } => {
                let list: Vec<&str> = required.iter().map(|permission| permission.as_str()).collect();
                format!("{who} lacks {}", list.join(", "))
            }
            Denial::ReadOnly => format!("{who} shows a read-only key"),
            Denial::TenantMismatch => format!("{who} belongs to another tenant than the one asked for"),
            Denial::NetworkNotAllowed => "the client's address is in no allowed network".to_owned(),
            Denial::OriginNotAllowed => "the request's origin is not one of the key's".to_owned(),
            Denial::ExpressionFalse => format!("the expression is false for {who}"),
        },
        Rejection::BodyTooLarge => "the body is too large".to_owned(),
        Rejection::KeysNotLoaded => "no keys are loaded".to_owned(),
    }
}

/// The smallest change that would admit the call, where there is one to name.
fn remedy(rejection: &Rejection, key: Option<&ApiKey>, rule: Option<&Rule>, snapshot: &Snapshot) -> Option<String> {
    let here = rule.map_or_else(String::new, |rule| format!(" ({})", rule.place));
    let client = key.map_or_else(|| "the client".to_owned(), |key| format!("client `{}`", key.client.id));
    Some(match rejection {
        Rejection::PathAmbiguous(_) => {
            "send the path without dot segments, backslashes, control characters and needless encoding".to_owned()
        }
        Rejection::PathNotAdmitted(_) => {
            format!("send the path in its plain form, or name the construct in the endpoint's `admit`{here}")
        }
        Rejection::EndpointNotFound => {
            let names: Vec<String> = snapshot
                .router
                .endpoints()
                .iter()
                .take(8)
                .map(|endpoint| format!("{} (`{}`)", endpoint.pattern.as_str(), endpoint.name))
                .collect();
            format!("endpoints are: {}", names.join(", "))
        }
        Rejection::MethodNotAllowed { .. } => format!("add the verb to `methods` or `permissions`{here}"),
        Rejection::CredentialMalformed(MalformedCredential::NotBearer) => {
            "write `Authorization: Bearer <key>`".to_owned()
        }
        Rejection::CredentialMalformed(_) => "send one key in one place".to_owned(),
        Rejection::KeyRejected(KeyFault::Unknown) => {
            "compare `keygate hash` of the key with the digests in the configuration".to_owned()
        }
        Rejection::KeyRejected(KeyFault::WrongEnvironment) => {
            let here = snapshot.environment.as_ref().map_or("this one", |here| here.as_str());
            format!("use a key of the environment `{here}`")
        }
        Rejection::KeyRejected(KeyFault::Disabled | KeyFault::ClientDisabled) => {
            "set `active: true` on the key and on its client".to_owned()
        }
        Rejection::TooManyFailures => "wait; `limits.rejected_keys` says how many there may be in a minute".to_owned(),
        Rejection::KeyRejected(_) => "use the key's current secret, or change the times it is good for".to_owned(),
        Rejection::Denied(denial) => match denial {
            Denial::CredentialMissing => "show a key, or write `public: true` if anybody may call".to_owned() + &here,
            Denial::UserRequired => "call through a peer listed in `trusted_identity` that names a user".to_owned(),
            Denial::HttpsRequired => "call over HTTPS; behind a proxy, list it in `trusted_proxies`".to_owned(),
            Denial::KeyTypeNotAllowed { required } => {
                let list: Vec<&str> = required.iter().map(|key_type| key_type.as_str()).collect();
                format!("use a key of type {}, or add the type to `key_types`{here}", list.join(" or "))
            }
            Denial::ClientTypeNotAllowed { required } => {
                let list: Vec<&str> = required.iter().map(|client_type| client_type.as_str()).collect();
                format!("call as a client of type {}, or add the type to `client_types`{here}", list.join(" or "))
            }
            Denial::PermissionMissing { required } => {
                let list: Vec<&str> = required.iter().map(|permission| permission.as_str()).collect();
                let states_own = key.is_some_and(|key| key.grants != Grants::Unrestricted);
                let and_key = if states_own { " and to the key that is shown" } else { "" };
                format!("grant {} to {client}{and_key}", list.join(", "))
            }
            Denial::ReadOnly => "use a key that is not read only".to_owned(),
            Denial::TenantMismatch => {
                let own = key.and_then(|key| key.client.tenant.as_ref());
                own.map_or_else(
                    || format!("give {client} a tenant"),
                    |own| format!("ask for the client's own tenant, `{own}`"),
                )
            }
            Denial::NetworkNotAllowed => format!("add the address to `networks` of the endpoint and of the key{here}"),
            Denial::OriginNotAllowed => "add the origin to the key's `origins`".to_owned(),
            Denial::ExpressionFalse => format!("make one of the false parts above true, or change `allow`{here}"),
        },
        Rejection::HostInvalid | Rejection::IdentityMalformed | Rejection::BodyTooLarge | Rejection::KeysNotLoaded => {
            return None;
        }
    })
}
