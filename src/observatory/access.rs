//! Which types of client can reach what: a table, for people who look for holes and for what is shut by mistake.
//!
//! It is worked out from the rules themselves: a type that a rule does not name cannot pass it, and an expression is asked
//! with every mixture of the groups and permissions that it names. The rest of the conditions are told as such. What the
//! table calls `yes` needs a good secret key and nothing else; for one request, `explain` is the authority.

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;

use super::Observatory;
use super::endpoints::{SeenPlace, rules_of};
use crate::client::{ClientType, Grants, Group, KeyType, Permission};
use crate::policy::expression::{Expression, Truth, Variables};
use crate::policy::{PermissionRule, Policy};
use crate::routing::Rule;

/// Words that an expression may name for every mixture of them to be tried: sixty-four mixtures.
const MOST_WORDS: usize = 6;
/// Cells that are worked out at once; rows beyond that are left out.
const MOST_CELLS: usize = 100_000;

/// Which types of client can reach what.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AccessMatrix {
    /// Of the configuration it is made from.
    pub generation: u64,
    /// Types of client, one for each cell of a row behind the first; the first cell is for callers without a key.
    pub client_types: Vec<String>,
    /// A row for each endpoint, and for each route below it.
    pub rows: Vec<AccessRow>,
    /// Rows were left out, since there would be more than a hundred thousand cells.
    pub is_cut: bool,
}

/// Who can reach an endpoint, or a route below it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AccessRow {
    /// The endpoint.
    pub endpoint: String,
    /// The route as it was written; null for the endpoint itself.
    pub route: Option<String>,
    /// The whole path.
    pub path: String,
    /// Methods that are admitted.
    pub methods: Vec<String>,
    /// Where it was written.
    pub place: SeenPlace,
    /// Callers without a key, and then each type of client.
    pub cells: Vec<AccessCell>,
}

/// Whether somebody can reach something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessCell {
    /// Whether they can.
    pub access: Access,
    /// What must be true besides, or what keeps them out.
    pub conditions: Vec<Condition>,
}

/// Whether somebody can reach something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// With any good secret key; without a key, if the cell is that of callers without one.
    Yes,
    /// If what is said is true as well.
    Conditions,
    /// Never.
    No,
}

/// Something that must be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Condition {
    /// What it is about: `key`, `client_type`, `key_type`, `permissions`, `expression`, `tenant`, `networks`, `https`, `user`.
    pub kind: String,
    /// In words.
    pub detail: String,
}

impl Condition {
    fn new(kind: &str, detail: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), detail: detail.into() }
    }
}

impl Observatory {
    /// Which types of client can reach what: those that rules name, and these others.
    #[must_use]
    pub fn access(&self, others: &[String]) -> AccessMatrix {
        let snapshot = self.0.seen.snapshot.load();
        let endpoints = snapshot.router.endpoints();
        let mut types: BTreeSet<ClientType> = others.iter().filter_map(|text| ClientType::parse(text).ok()).collect();
        for (rule, ..) in endpoints.iter().flat_map(|endpoint| rules_of(endpoint)) {
            types.extend(rule.policy.client_types.iter().flatten().cloned());
            for expression in rule.policy.allow.iter().chain(&rule.policy.allow_backoffice) {
                types.extend(expression.client_types().into_iter().filter_map(|text| ClientType::parse(text).ok()));
            }
        }
        let most = MOST_CELLS / (types.len() + 1);
        let mut rules =
            endpoints.iter().flat_map(|endpoint| rules_of(endpoint).map(move |rule| (&*endpoint.name, rule)));
        let row = |(endpoint, (rule, path, route)): (&str, (&Rule, &str, Option<&str>))| AccessRow {
            endpoint: endpoint.to_owned(),
            route: route.map(str::to_owned),
            path: path.to_owned(),
            methods: rule.methods.iter().map(ToString::to_string).collect(),
            place: SeenPlace::of(&rule.place),
            cells: std::iter::once(None)
                .chain(types.iter().map(Some))
                .map(|caller| cell(&rule.policy, caller))
                .collect(),
        };
        let rows = rules.by_ref().take(most).map(row).collect();
        AccessMatrix {
            generation: snapshot.generation,
            client_types: types.iter().map(ToString::to_string).collect(),
            rows,
            is_cut: rules.next().is_some(),
        }
    }
}

/// Whether a client of this type, or a caller without a key, meets a policy.
fn cell(policy: &Policy, caller: Option<&ClientType>) -> AccessCell {
    let never =
        |kind: &str, detail: String| AccessCell { access: Access::No, conditions: vec![Condition::new(kind, detail)] };
    let mut conditions = Vec::new();
    match caller {
        None => {
            let asks_for_permissions = match &policy.permissions {
                PermissionRule::None => false,
                PermissionRule::All(list) => !list.is_empty(),
                PermissionRule::ByMethod(entries) => entries.iter().all(|(_, list)| !list.is_empty()),
            };
            if !policy.public || policy.client_types.is_some() || policy.tenant.is_some() || asks_for_permissions {
                return never("key", "a key is needed".to_owned());
            }
            if let PermissionRule::ByMethod(entries) = &policy.permissions {
                let (open, shut): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, list)| list.is_empty());
                if !shut.is_empty() {
                    let methods: Vec<&str> = open.iter().map(|(method, _)| method.as_str()).collect();
                    conditions.push(Condition::new("key", format!("without a key only {}", methods.join(", "))));
                }
            }
        }
        Some(client_type) => {
            if let Some(named) = &policy.client_types
                && !named.contains(client_type)
            {
                let named: Vec<&str> = named.iter().map(ClientType::as_str).collect();
                return never("client_type", format!("only clients of type {}", named.join(", ")));
            }
            let key_types = policy.admitted_key_types();
            if !key_types.contains(&KeyType::Secret) {
                let named: Vec<&str> = key_types.iter().map(|key_type| key_type.as_str()).collect();
                conditions.push(Condition::new("key_type", format!("a {} key", named.join(" or "))));
            }
            conditions.extend(permissions(policy));
            if policy.tenant.is_some() {
                conditions.push(Condition::new("tenant", "the tenant that the request is about is the client's own"));
            }
        }
    }
    let (on_ordinary, in_backoffice) =
        (outcomes(policy.expression(false), caller, false), outcomes(policy.expression(true), caller, true));
    if !on_ordinary.can_hold && !in_backoffice.can_hold {
        let text = policy.expression(false).map(ToString::to_string).unwrap_or_default();
        return never(if caller.is_none() { "key" } else { "expression" }, format!("never true: {text}"));
    }
    if on_ordinary.can_fail || in_backoffice.can_fail {
        if let Some(expression) = policy.expression(false).filter(|_| on_ordinary.can_fail) {
            conditions.push(Condition::new("expression", expression.to_string()));
        }
        if let Some(expression) = &policy.allow_backoffice
            && in_backoffice.can_fail
        {
            conditions.push(Condition::new("expression", format!("from the back office: {expression}")));
        }
    }
    if !policy.networks.is_empty() {
        let networks: Vec<String> = policy.networks.iter().map(ToString::to_string).collect();
        conditions.push(Condition::new("networks", format!("from {}", networks.join(", "))));
    }
    if policy.https_only {
        conditions.push(Condition::new("https", "over HTTPS"));
    }
    if policy.require_user {
        conditions.push(Condition::new("user", "with an end user named by a trusted peer"));
    }
    let access = if conditions.is_empty() { Access::Yes } else { Access::Conditions };
    AccessCell { access, conditions }
}

fn permissions(policy: &Policy) -> Vec<Condition> {
    // Whoever states no permissions has no limit by them, unless the configuration says otherwise.
    let unstated = if policy.require_permissions { "" } else { ", or none stated" };
    let listed = |list: &[Permission]| list.iter().map(Permission::as_str).collect::<Vec<_>>().join(", ");
    match &policy.permissions {
        PermissionRule::None => Vec::new(),
        PermissionRule::All(list) if list.is_empty() => Vec::new(),
        PermissionRule::All(list) => vec![Condition::new("permissions", format!("{}{unstated}", listed(list)))],
        PermissionRule::ByMethod(entries) => entries
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(method, list)| Condition::new("permissions", format!("{method}: {}{unstated}", listed(list))))
            .collect(),
    }
}

/// What an expression can come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcomes {
    can_hold: bool,
    can_fail: bool,
}

/// Asks an expression with every mixture of the words it names.
fn outcomes(expression: Option<&Expression>, caller: Option<&ClientType>, is_backoffice: bool) -> Outcomes {
    let Some(expression) = expression else { return Outcomes { can_hold: true, can_fail: false } };
    let groups: Vec<Group> = expression.groups().into_iter().filter_map(|text| Group::parse(text).ok()).collect();
    let rights: Vec<Permission> =
        expression.permissions().into_iter().filter_map(|text| Permission::parse(text).ok()).collect();
    let words = groups.len() + rights.len();
    if words > MOST_WORDS {
        return Outcomes { can_hold: true, can_fail: true };
    }
    let mut outcomes = Outcomes { can_hold: false, can_fail: false };
    for mixture in 0..1_u32 << words {
        let is_in = |index: usize| mixture & (1 << index) != 0;
        let held: Vec<Group> = groups.iter().enumerate().filter(|(i, _)| is_in(*i)).map(|(_, g)| g.clone()).collect();
        let granted =
            rights.iter().enumerate().filter(|(i, _)| is_in(groups.len() + i)).map(|(_, right)| right.clone());
        let grants = Grants::listed(granted.collect());
        let permissions =
            caller.is_some().then_some(crate::client::EffectiveGrants { client: &grants, key: &Grants::Unrestricted });
        let variables = Variables { client_type: caller, groups: &held, permissions, is_backoffice };
        match expression.truth(&variables) {
            Truth::True => outcomes.can_hold = true,
            Truth::False | Truth::KeyNeeded => outcomes.can_fail = true,
        }
    }
    outcomes
}
