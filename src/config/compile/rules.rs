//! The rules of one endpoint or route: inheritance field by field, and what cannot stand together.

use http::Method;
use ipnet::IpNet;

use super::Compiler;
use crate::client::{ClientType, KeyType, Permission};
use crate::config::document::{RequiredShape, Rules, TenantShape};
use crate::config::problem::{did_you_mean, mask};
use crate::config::read::{AnyOr, At, ExpressionText, NoneOr};
use crate::config::tree::Position;
use crate::policy::expression::Expression;
use crate::policy::{PermissionRule, Policy, TenantBinding};
use crate::routing::PathPattern;

/// The rules that were written for an endpoint or a route, each field checked for itself. `None` means not written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    public: Option<At<bool>>,
    api_key: Option<Position>,
    /// The inner `None` is the word `any`.
    client_types: Option<At<Option<Box<[ClientType]>>>>,
    permissions: Option<At<PermissionRule>>,
    key_types: Option<At<Box<[KeyType]>>>,
    /// The inner `None` is the word `none`.
    tenant: Option<At<Option<TenantBinding>>>,
    networks: Option<Box<[IpNet]>>,
    https_only: Option<bool>,
    require_user: Option<At<bool>>,
    require_permissions: Option<bool>,
    allow: Option<At<Expression>>,
    allow_backoffice: Option<At<Expression>>,
    at: Position,
    is_broken: bool,
}

/// What holds where neither route nor endpoint says anything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub https_only: bool,
    pub require_permissions: bool,
}

impl Written {
    /// What a route has: its own fields, and for each that it does not write the endpoint's.
    ///
    /// `public` and `api_key` are two words on one question, so that a route that writes one does not inherit the other.
    pub fn under(&self, endpoint: &Self) -> Self {
        let opens = self.public.as_ref().is_some_and(|public| public.value);
        let own = self.clone();
        Self {
            public: own.public.or_else(|| endpoint.public.clone().filter(|_| self.api_key.is_none())),
            api_key: own.api_key.or(endpoint.api_key.filter(|_| !opens)),
            client_types: own.client_types.or_else(|| endpoint.client_types.clone()),
            permissions: own.permissions.or_else(|| endpoint.permissions.clone()),
            key_types: own.key_types.or_else(|| endpoint.key_types.clone()),
            tenant: own.tenant.or_else(|| endpoint.tenant.clone()),
            networks: own.networks.or_else(|| endpoint.networks.clone()),
            https_only: own.https_only.or(endpoint.https_only),
            require_user: own.require_user.or_else(|| endpoint.require_user.clone()),
            require_permissions: own.require_permissions.or(endpoint.require_permissions),
            allow: own.allow.or_else(|| endpoint.allow.clone()),
            allow_backoffice: own.allow_backoffice.or_else(|| endpoint.allow_backoffice.clone()),
            at: self.at,
            is_broken: self.is_broken || endpoint.is_broken,
        }
    }

    /// The methods that a map of permissions names.
    pub fn methods_with_permissions(&self) -> Option<Vec<Method>> {
        match self.permissions.as_ref().map(|permissions| &permissions.value) {
            Some(PermissionRule::ByMethod(list)) => Some(list.iter().map(|(method, _)| method.clone()).collect()),
            _ => None,
        }
    }

    /// Where permissions were written.
    pub fn permissions_at(&self) -> Option<Position> {
        self.permissions.as_ref().map(|permissions| permissions.at)
    }

    /// Whether anything about who may call is written here itself.
    pub fn says_who(&self) -> bool {
        self.public.is_some()
            || self.api_key.is_some()
            || self.client_types.is_some()
            || self.permissions.is_some()
            || self.key_types.is_some()
            || self.tenant.is_some()
            || self.require_user.is_some()
            || self.allow.is_some()
    }

    /// Drops an inherited map of permissions that does not speak of the route's method.
    pub fn without_permissions(mut self) -> Self {
        self.permissions = None;
        self
    }

    /// Where an expression for the back office was written.
    pub fn allow_backoffice_at(&self) -> Option<Position> {
        self.allow_backoffice.as_ref().map(|expression| expression.at)
    }

    /// Where an end user is asked for.
    pub fn require_user_at(&self) -> Option<Position> {
        self.require_user.as_ref().filter(|flag| flag.value).map(|flag| flag.at)
    }

    /// What needs a client, by the name of its field, and how a route takes it back.
    fn needs_client(&self) -> Vec<(&'static str, Position, &'static str)> {
        let mut needs = Vec::new();
        if let Some(types) = self.client_types.as_ref().filter(|types| types.value.is_some()) {
            needs.push(("client_types", types.at, "client_types: any"));
        }
        if let Some(permissions) = self.permissions.as_ref().filter(|permissions| asks(&permissions.value)) {
            needs.push(("permissions", permissions.at, "permissions: none"));
        }
        if let Some(tenant) = self.tenant.as_ref().filter(|tenant| tenant.value.is_some()) {
            needs.push(("tenant", tenant.at, "tenant: none"));
        }
        if let Some(at) = self.require_user_at() {
            needs.push(("require_user", at, "require_user: false"));
        }
        needs
    }

    /// Whether any rule says who may call.
    fn has_rule(&self) -> bool {
        self.public.is_some()
            || self.api_key.is_some()
            || self.key_types.is_some()
            || self.allow.is_some()
            || !self.needs_client().is_empty()
    }

    /// The policy. Call only if [`Compiler::check_together`] found nothing.
    pub fn policy(self, defaults: Defaults) -> Policy {
        let public = self.public.is_some_and(|public| public.value);
        let usual: Box<[KeyType]> =
            if public { [KeyType::Secret, KeyType::Publishable].into() } else { [KeyType::Secret].into() };
        Policy {
            public,
            client_types: self.client_types.and_then(|types| types.value),
            permissions: self.permissions.map(|permissions| permissions.value).unwrap_or_default(),
            key_types: self.key_types.map_or(usual, |types| types.value),
            tenant: self.tenant.and_then(|tenant| tenant.value),
            networks: self.networks.unwrap_or_default(),
            https_only: self.https_only.unwrap_or(defaults.https_only),
            require_user: self.require_user.is_some_and(|flag| flag.value),
            allow: self.allow.map(|expression| expression.value),
            allow_backoffice: self.allow_backoffice.map(|expression| expression.value),
            require_permissions: self.require_permissions.unwrap_or(defaults.require_permissions),
        }
    }
}

/// Whether a rule asks for any permission at all.
fn asks(rule: &PermissionRule) -> bool {
    match rule {
        PermissionRule::None => false,
        PermissionRule::All(all) => !all.is_empty(),
        PermissionRule::ByMethod(list) => list.iter().any(|(_, permissions)| !permissions.is_empty()),
    }
}

impl Compiler<'_> {
    /// Checks each field for itself.
    pub fn written(&mut self, rules: &Rules) -> Written {
        let errors = self.report.errors();
        let client_types = rules.client_types.as_ref().map(|types| At {
            at: types.at,
            value: match &types.value {
                AnyOr::Any => None,
                AnyOr::Value(list) => {
                    if list.is_empty() && !rules.is_broken {
                        self.report
                            .error(types.at, "an empty list of client types admits nobody")
                            .hint("write `client_types: any`, or `allow: \"false\"` if nobody is meant");
                    }
                    Some(list.iter().map(|word| word.value.clone()).collect())
                }
            },
        });
        let key_types = rules.key_types.as_ref().map(|types| {
            if types.value.is_empty() && !rules.is_broken {
                self.report.error(types.at, "an empty list of key types admits no key");
            }
            At { at: types.at, value: types.value.iter().copied().map(KeyType::from).collect() }
        });
        let networks = rules.networks.as_ref().map(|networks| {
            if networks.value.is_empty() && !rules.is_broken {
                self.report
                    .error(networks.at, "an empty list of networks admits nobody")
                    .hint("leave the field out for any network, or write `[0.0.0.0/0, \"::/0\"]`");
            }
            networks.value.iter().map(|network| network.0).collect()
        });
        let permissions = rules
            .permissions
            .as_ref()
            .map(|permissions| At { at: permissions.at, value: self.permission_rule(&permissions.value) });
        let tenant = rules.tenant.as_ref().and_then(|tenant| match &tenant.value {
            NoneOr::None => Some(At { at: tenant.at, value: None }),
            NoneOr::Value(shape) => self.tenant(shape).map(|binding| At { at: tenant.at, value: Some(binding) }),
        });
        let allow = self.expression(rules.allow.as_ref());
        let allow_backoffice = self.expression(rules.allow_backoffice.as_ref());
        Written {
            public: rules.public.clone(),
            api_key: rules.api_key.as_ref().map(|word| word.at),
            client_types,
            permissions,
            key_types,
            tenant,
            networks,
            https_only: rules.https_only.as_ref().map(|flag| flag.value),
            require_user: rules.require_user.clone(),
            require_permissions: rules.require_permissions,
            allow,
            allow_backoffice,
            at: rules.at,
            is_broken: rules.is_broken || self.report.errors() > errors,
        }
    }

    fn permission_rule(&mut self, shape: &NoneOr<RequiredShape>) -> PermissionRule {
        let values = |list: &[At<Permission>]| list.iter().map(|permission| permission.value.clone()).collect();
        match shape {
            NoneOr::None => PermissionRule::None,
            NoneOr::Value(RequiredShape::All(list)) if list.is_empty() => PermissionRule::None,
            NoneOr::Value(RequiredShape::All(list)) => PermissionRule::All(values(list)),
            NoneOr::Value(RequiredShape::ByMethod(entries)) => {
                for (verb, _) in entries {
                    if verb.value.0 == Method::HEAD {
                        self.report
                            .error(verb.at, "`HEAD` needs what `GET` needs")
                            .hint("remove this entry; write `GET` if it is not there");
                    }
                }
                PermissionRule::ByMethod(
                    entries.iter().map(|(verb, list)| (verb.value.0.clone(), values(list))).collect(),
                )
            }
        }
    }

    fn tenant(&mut self, shape: &TenantShape) -> Option<TenantBinding> {
        match (&shape.path, &shape.header, &shape.host_label) {
            (Some(name), None, None) => Some(TenantBinding::PathParameter(name.value.trim_start_matches(':').into())),
            (None, Some(header), None) => Some(TenantBinding::Header(header.value.0.clone())),
            (None, None, Some(flag)) if flag.value => Some(TenantBinding::HostLabel),
            _ => {
                if !shape.is_broken {
                    self.report.error(shape.at, "expected exactly one of `path`, `header` and `host_label: true`");
                }
                None
            }
        }
    }

    /// Compiles an expression; a mistake is reported at its own place inside the text.
    fn expression(&mut self, written: Option<&At<ExpressionText>>) -> Option<At<Expression>> {
        let written = written?;
        let text = &written.value.0;
        match Expression::parse(text) {
            Ok(expression) => Some(At { at: written.at, value: expression }),
            Err(error) => {
                let source = self.report.source(written.at.source).and_then(|source| source.text.clone());
                let place = source.and_then(|source| position_in(&source, written.at, text, error.span.start));
                let length = text.get(error.span.clone()).map_or(1, |span| span.chars().count().max(1));
                let is_exact = place.is_some();
                // Both repeat words of the text, and one of them may be a key that was pasted here.
                let message = format!("the expression is not understood: {}", mask(&error.message));
                let problem = self.report.error(place.unwrap_or(written.at), message);
                problem.maybe_hint(error.hint.as_deref().map(mask));
                if is_exact {
                    problem.length(length);
                }
                None
            }
        }
    }

    /// Reports what is missing from, or contradicts itself in, the rules of an endpoint (`of` is none) or a route. True if
    /// nothing was found.
    pub fn check_together(&mut self, rules: &Written, pattern: &PathPattern, is_route: bool) -> bool {
        let errors = self.report.errors();
        if rules.is_broken {
            return false;
        }
        let what = if is_route { "route" } else { "endpoint" };
        if !rules.has_rule() {
            self.report.error(rules.at, format!("no rule says who may call this {what}")).hint(
                "write `api_key: required` if any good key will do, `public: true` if callers need none, or a rule",
            );
        }
        if let Some(public) = rules.public.as_ref().filter(|public| public.value) {
            if let Some(at) = rules.api_key {
                self.report.error(at, "`api_key: required` contradicts `public: true`").hint("remove one of them");
            }
            for (field, at, undo) in rules.needs_client() {
                let first = self.report.name(at);
                let hint = if is_route {
                    format!("write `{undo}` here if callers need no key")
                } else {
                    "remove one of them".to_owned()
                };
                self.report
                    .error(public.at, format!("`public: true` contradicts `{field}` ({first}), which needs a client"))
                    .hint(hint);
            }
        }
        if let Some(At { at, value: Some(TenantBinding::PathParameter(name)) }) = &rules.tenant {
            let names: Vec<&str> =
                pattern.as_str().split('/').filter_map(|segment| segment.strip_prefix(':')).collect();
            if !names.contains(&&**name) {
                self.report
                    .error(
                        *at,
                        format!("the path `{}` has no segment `:{name}` that could name the tenant", pattern.as_str()),
                    )
                    .maybe_hint(did_you_mean(name, names));
            }
        }
        self.report.errors() == errors
    }
}

/// Finds the place of a character of a text in the file that the text was read from. The two may be folded, indented and
/// quoted differently; if they differ in anything but white space, the place is not known.
fn position_in(source: &str, start: Position, text: &str, offset: usize) -> Option<Position> {
    // The file from the start of the text on: each visible character with its line and column.
    let mut visible = Vec::new();
    for (index, line) in source.lines().enumerate().skip((start.line as usize).checked_sub(1)?) {
        let skip = if index + 1 == start.line as usize { (start.column as usize).checked_sub(1)? } else { 0 };
        for (column, c) in line.chars().enumerate().skip(skip).filter(|(_, c)| !c.is_whitespace()) {
            visible.push((c, index + 1, column + 1));
        }
        if visible.len() > text.len() + 8 {
            break;
        }
    }
    let header = match visible.first()?.0 {
        // A block scalar begins on the next line; its header is `|` or `>` and at most two signs more.
        '|' | '>' => visible.iter().take_while(|(_, line, _)| *line == start.line as usize).count(),
        '"' | '\'' => 1,
        _ => 0,
    };
    let before = text.get(..offset)?.chars().filter(|c| !c.is_whitespace()).count();
    let wanted = text.chars().filter(|c| !c.is_whitespace());
    let found = visible.get(header..)?;
    if found.len() < before || !wanted.take(before + 1).zip(found).all(|(wanted, (c, ..))| wanted == *c) {
        return None;
    }
    // Beyond the last character is the place after it.
    let (line, column) = match found.get(before) {
        Some((_, line, column)) if offset < text.trim_end().len() => (*line, *column),
        _ => found.get(before.checked_sub(1)?).map(|(_, line, column)| (*line, column + 1))?,
    };
    Some(Position { source: start.source, line: u32::try_from(line).ok()?, column: u32::try_from(column).ok()? })
}

/// Every client type that rules name in a list.
pub(super) fn client_types_of(rules: &Rules) -> impl Iterator<Item = &At<ClientType>> {
    rules.client_types.iter().flat_map(|types| match &types.value {
        AnyOr::Any => &[][..],
        AnyOr::Value(list) => list,
    })
}

/// Every permission that rules ask for.
pub(super) fn permissions_of(rules: &Rules) -> Vec<&At<Permission>> {
    match rules.permissions.as_ref().map(|permissions| &permissions.value) {
        Some(NoneOr::Value(RequiredShape::All(list))) => list.iter().collect(),
        Some(NoneOr::Value(RequiredShape::ByMethod(entries))) => entries.iter().flat_map(|(_, list)| list).collect(),
        Some(NoneOr::None) | None => Vec::new(),
    }
}

/// Every expression of rules that can be read.
pub(super) fn expressions_of(rules: &Rules) -> Vec<(Position, Expression)> {
    [&rules.allow, &rules.allow_backoffice]
        .into_iter()
        .flatten()
        .filter_map(|written| Some((written.at, Expression::parse(&written.value.0).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests;
