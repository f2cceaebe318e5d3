//! Endpoints and their routes: patterns, methods, rules, and where they lead.

use std::sync::Arc;

use http::{HeaderValue, Method};

use super::credentials::{Extraction, Names};
use super::limits::LimitSet;
use super::rules::{Defaults, Written};
use super::upstreams::Upstreams;
use super::{Compiler, error_style};
use crate::client::{check_word, parse_origin};
use crate::config::document::{ConstructWord, CorsShape, Document, EndpointShape, RouteShape};
use crate::config::problem::{did_you_mean, mask, quote};
use crate::config::read::{AnyOr, At, FromText as _, NoneOr, ORDINARY_METHODS, Verb};
use crate::config::settings::ListenerSettings;
use crate::config::tree::Position;
use crate::limit::Limits;
use crate::routing::{Cors, Endpoint, ErrorStyle, PathAdmissions, PathPattern, PrefixSwap, Route, Rule, RuleLimits};
use crate::upstream::Upstream;

/// What endpoints refer to.
pub(crate) struct Context<'c> {
    pub document: &'c Document,
    pub listeners: &'c [ListenerSettings],
    pub upstreams: &'c Upstreams,
    pub extraction: &'c Extraction,
    pub identity: &'c Names,
    pub errors: ErrorStyle,
    pub max_body: Option<u64>,
    pub limits: &'c Limits,
    pub limit_set: &'c LimitSet,
}

impl Compiler<'_> {
    /// All endpoints that can be made.
    pub fn endpoints(&mut self, context: &Context<'_>) -> Vec<Endpoint> {
        let list = &context.document.endpoints;
        if list.value.is_empty() && self.report.errors() == 0 {
            self.report.error(list.at, "there is no endpoint: everything would be answered 404");
        }
        for (index, shape) in list.value.iter().enumerate() {
            if let Some(earlier) = list.value[..index].iter().find(|earlier| earlier.name.value == shape.name.value) {
                let first = self.report.name(earlier.name.at);
                self.report
                    .error(shape.name.at, format!("another endpoint is called `{}` ({first})", shape.name.value));
            }
        }
        let endpoints: Vec<Endpoint> = list.value.iter().filter_map(|shape| self.endpoint(shape, context)).collect();
        self.refuse_shadowed(&endpoints, context.document);
        endpoints
    }

    fn endpoint(&mut self, shape: &EndpointShape, context: &Context<'_>) -> Option<Endpoint> {
        if let Err(why) = check_word(&shape.name.value) {
            self.report.error(shape.name.at, format!("this cannot name an endpoint: {why}"));
        }
        let errors = self.report.errors();
        let pattern = self.pattern(&shape.path.value, shape.path.at);
        let upstream = self.upstream_of(shape, context);
        let hosts = self.hosts(shape);
        let listeners = self.listeners_of(shape, context);
        let written = self.written(&shape.rules());
        let defaults = Defaults {
            https_only: context.document.https_only.as_ref().is_some_and(|flag| flag.value),
            require_permissions: context.document.require_permissions.unwrap_or(false),
        };
        let methods = self.methods(shape, &written);
        let is_together = pattern.as_ref().is_some_and(|pattern| self.check_together(&written, pattern, false));
        self.warn_of_idle(shape, &written, context);
        let name = &shape.name.value;
        let none = RuleLimits::default();
        let own = (shape.rate_limits.as_ref(), shape.cost.as_ref());
        let limits = self.rule_limits(own.0, own.1, name, None, &none, context.limits, context.limit_set);
        let mut routes = Vec::new();
        for route in shape.routes.iter().flatten() {
            let Some(pattern) = &pattern else { break };
            let own = (route.rate_limits.as_ref(), route.cost.as_ref());
            let text = Some(route.r#match.value.trim());
            let limits = self.rule_limits(own.0, own.1, name, text, &limits, context.limits, context.limit_set);
            let made = self.route(route, shape, pattern, &written, is_together, &methods, defaults);
            routes.extend(made.map(|made| Route { rule: Rule { limits, ..made.rule }, ..made }));
        }
        let prefix_swap = shape
            .rewrite
            .as_ref()
            .zip(pattern.as_ref())
            .and_then(|(rewrite, pattern)| self.prefix_swap(rewrite, pattern));
        let cors = shape.cors.as_ref().and_then(|cors| self.cors(cors, &methods));
        let extractor = match &shape.credentials {
            Some(list) => self.extractor(&list.value, list.at, context.extraction, context.identity),
            None => Arc::clone(&context.extraction.common),
        };
        let upgrades = self.upgrades(shape);
        for header in shape.pass_headers.iter().flatten() {
            if context.identity.contains(&header.0) {
                self.report
                    .error(shape.at, format!("`{}` is an identity header: it never passes from a caller", header.0));
            }
        }
        if self.report.errors() > errors || shape.is_broken || !is_together {
            return None;
        }
        let place = self.place(shape.name.at);
        let admits = |construct| shape.admit.iter().flatten().any(|word| *word == construct);
        Some(Endpoint {
            name: shape.name.value.as_str().into(),
            place: place.clone(),
            hosts,
            pattern: pattern?,
            listeners,
            base: Rule { place, methods: methods.into(), policy: written.policy(defaults), limits },
            routes: routes.into(),
            admits: PathAdmissions {
                encoded_slash: admits(ConstructWord::EncodedSlash),
                semicolon: admits(ConstructWord::Semicolon),
                encoded_unreserved: admits(ConstructWord::EncodedUnreserved),
            },
            case_distinct: shape.case.is_some(),
            upstream: upstream?,
            prefix_swap,
            extractor,
            forwards_credential: shape.forward_credential.unwrap_or(false),
            passes_headers: shape.pass_headers.iter().flatten().map(|header| header.0.clone()).collect(),
            passes_request_trailers: shape.request_trailers.unwrap_or(false),
            upgrades,
            cors,
            max_body: match &shape.max_body {
                Some(NoneOr::Value(size)) => Some(size.0),
                Some(NoneOr::None) => None,
                None => context.max_body,
            },
            response_timeout: shape.response_timeout.map(|span| span.0),
            errors: error_style(shape.errors.as_ref(), context.errors),
        })
    }

    fn pattern(&mut self, text: &str, at: Position) -> Option<PathPattern> {
        match PathPattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(why) => {
                self.report.error(at, format!("{} is not a path: {}", quote(text), mask(&why.to_string())));
                None
            }
        }
    }

    fn upstream_of(&mut self, shape: &EndpointShape, context: &Context<'_>) -> Option<Arc<Upstream>> {
        let names = || context.upstreams.keys().map(String::as_str);
        let Some(written) = &shape.upstream else {
            let mut all = context.upstreams.values();
            if let (Some(only), None) = (all.next(), all.next()) {
                return only.clone();
            }
            if context.document.is_broken && context.upstreams.is_empty() {
                return None;
            }
            let hint = if context.upstreams.is_empty() {
                "write `upstreams:` at the top, such as `upstreams: { orders: { url: \"http://127.0.0.1:9000\" } }`"
                    .to_owned()
            } else {
                let mut names: Vec<_> = names().collect();
                names.sort_unstable();
                format!("write `upstream:` and one of {}", crate::config::read::list_of(&names))
            };
            self.report.error(shape.at, "it is not said where this endpoint leads").hint(hint);
            return None;
        };
        match context.upstreams.get(&written.value) {
            Some(upstream) => upstream.clone(),
            // The map as a whole could not be read: that is reported, and enough.
            None if context.document.is_broken && context.upstreams.is_empty() => None,
            None => {
                self.report
                    .error(written.at, format!("there is no upstream {}", quote(&written.value)))
                    .maybe_hint(did_you_mean(&written.value, names()));
                None
            }
        }
    }

    fn hosts(&mut self, shape: &EndpointShape) -> Box<[Box<str>]> {
        if let (Some(host), Some(_)) = (&shape.host, &shape.hosts) {
            self.report.error(host.at, "`host` and `hosts` cannot stand together").hint("put it into the list");
        }
        if let Some(list) = shape.hosts.as_ref().filter(|list| list.value.is_empty() && !shape.is_broken) {
            self.report
                .error(list.at, "an empty list of hosts matches nothing")
                .hint("leave the field out for any host");
        }
        let written = shape.host.iter().chain(shape.hosts.iter().flat_map(|list| &list.value));
        written
            .map(|host| {
                let name = host.value.strip_prefix("*.").unwrap_or(&host.value);
                let is_label = |label: &str| {
                    !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                };
                let is_address =
                    name.starts_with('[') && name.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok();
                if !name.split('.').all(is_label) && !is_address {
                    let hint = if name.contains("://") || name.contains('/') {
                        "leave out `http://` and the path"
                    } else if name.contains(':') {
                        "leave out the port: it takes no part"
                    } else {
                        "write a name such as `api.example.com`, or `*.example.com` for any name below it"
                    };
                    self.report.error(host.at, format!("{} is not a host name", quote(&host.value))).hint(hint);
                }
                host.value.to_ascii_lowercase().into()
            })
            .collect()
    }

    fn listeners_of(&mut self, shape: &EndpointShape, context: &Context<'_>) -> Box<[Arc<str>]> {
        let Some(list) = &shape.listeners else { return Box::default() };
        if list.value.is_empty() && !shape.is_broken {
            self.report
                .error(list.at, "an empty list of listeners makes it unreachable")
                .hint("leave the field out for all");
        }
        let is_complete =
            context.document.listen.as_ref().is_none_or(|listen| listen.value.len() == context.listeners.len())
                && !context.document.is_broken;
        let mut names = Vec::new();
        for name in &list.value {
            match context.listeners.iter().find(|listener| *listener.name == *name.value) {
                Some(listener) => names.push(Arc::clone(&listener.name)),
                None if is_complete => {
                    let known = context.listeners.iter().map(|listener| &*listener.name);
                    self.report
                        .error(name.at, format!("there is no listener {}", quote(&name.value)))
                        .maybe_hint(did_you_mean(&name.value, known));
                }
                None => {}
            }
        }
        names.into()
    }

    /// The methods of an endpoint; `HEAD` comes with `GET`.
    fn methods(&mut self, shape: &EndpointShape, written: &Written) -> Vec<Method> {
        let with_permissions = written.methods_with_permissions();
        let Some(list) = &shape.methods else {
            return with_permissions.map_or_else(|| ORDINARY_METHODS.to_vec(), with_head);
        };
        if list.value.is_empty() && !shape.is_broken {
            self.report.error(list.at, "an empty list of methods admits no request");
        }
        let methods = with_head(list.value.iter().map(|verb| verb.value.0.clone()).collect());
        if let Some(named) = with_permissions {
            let named = with_head(named);
            for verb in list.value.iter().filter(|verb| !named.contains(&verb.value.0)) {
                let name = &verb.value.0;
                self.report
                    .error(verb.at, format!("`permissions` does not speak of `{name}`, so that it is never admitted"))
                    .hint(format!("write `{name}: []` in `permissions` if it needs none"));
            }
            for name in named.iter().filter(|name| !methods.contains(name)) {
                let at = written.permissions_at().unwrap_or(list.at);
                self.report
                    .error(at, format!("`permissions` speaks of `{name}`, which `methods` does not admit"))
                    .hint("remove it there, or add it to `methods`");
            }
        }
        methods
    }

    #[allow(clippy::too_many_arguments, reason = "a route is made of everything its endpoint is made of")]
    fn route(
        &mut self,
        shape: &RouteShape,
        endpoint: &EndpointShape,
        base: &PathPattern,
        inherited: &Written,
        is_together: bool,
        methods: &[Method],
        defaults: Defaults,
    ) -> Option<Route> {
        let (method, pattern) = self.route_match(&shape.r#match, base)?;
        let own = self.written(&shape.rules());
        let mut rules = own.under(inherited);
        let at = shape.r#match.at;
        let admitted = match &method {
            Some(method) => {
                if endpoint.methods.is_some() && !methods.contains(method) {
                    self.report
                        .error(
                            at,
                            format!("this route is never reached: `methods` of the endpoint does not admit `{method}`"),
                        )
                        .hint(format!("add `{method}` to `methods`, or remove the route"));
                }
                let governing = if *method == Method::HEAD { &Method::GET } else { method };
                if let Some(named) = rules.methods_with_permissions()
                    && !named.contains(governing)
                {
                    if own.permissions_at().is_some() {
                        self.report
                            .error(at, format!("`permissions` of this route does not speak of `{method}`"))
                            .hint("write a list in place of the map");
                    } else if own.says_who() {
                        rules = rules.without_permissions();
                    } else {
                        self.report
                            .error(at, format!("`permissions` of the endpoint does not speak of `{method}`, and this route does not say who may call"))
                            .hint("write `permissions`, `client_types`, `allow` or `api_key: required` in the route");
                    }
                }
                with_head(vec![method.clone()])
            }
            None if endpoint.methods.is_some() => methods.to_vec(),
            None => rules.methods_with_permissions().map_or_else(|| ORDINARY_METHODS.to_vec(), with_head),
        };
        // What is wrong with the endpoint itself need not be repeated for each route.
        if !is_together || !self.check_together(&rules, &pattern, true) {
            return None;
        }
        Some(Route {
            text: shape.r#match.value.as_str().into(),
            method,
            pattern,
            rule: Rule {
                place: self.place(at),
                methods: admitted.into(),
                policy: rules.policy(defaults),
                limits: RuleLimits::default(),
            },
        })
    }

    /// Reads `VERB /whole/path`, `VERB below` or `VERB`.
    fn route_match(&mut self, written: &At<String>, base: &PathPattern) -> Option<(Option<Method>, PathPattern)> {
        let text = written.value.trim();
        let (verb, path) = text.split_once(char::is_whitespace).map_or((text, ""), |(verb, path)| (verb, path.trim()));
        let method = match verb {
            "ALL" => None,
            _ if verb.starts_with('/') => {
                self.report
                    .error(written.at, "a method is missing in front of the path")
                    .hint(format!("write `ALL {0}` or `GET {0}`", mask(verb)));
                return None;
            }
            _ => match Verb::from_text(verb) {
                Ok(verb) => Some(verb.0),
                Err(why) => {
                    let hint = Verb::hint(verb).or_else(|| Some("write a method or `ALL`, then the path".to_owned()));
                    self.report.error(written.at, format!("{} is not a method: {why}", quote(verb))).maybe_hint(hint);
                    return None;
                }
            },
        };
        let base_text = base.as_str().trim_end_matches('/');
        let whole = match path {
            "" => base.as_str().to_owned(),
            _ if path.starts_with('/') => path.to_owned(),
            _ => format!("{base_text}/{path}"),
        };
        let pattern = self.pattern(&whole, written.at)?;
        if !is_at_or_below(&pattern, base) {
            self.report.error(written.at, format!("this route is outside of its endpoint `{}`", base.as_str())).hint(
                format!(
                    "write the whole path, such as `{verb} {}`, or leave out the first `/`",
                    mask(&format!("{base_text}{whole}"))
                ),
            );
            return None;
        }
        Some((method, pattern))
    }

    fn prefix_swap(&mut self, rewrite: &At<String>, pattern: &PathPattern) -> Option<PrefixSwap> {
        let text = rewrite.value.as_str();
        let target = self.pattern(text, rewrite.at)?;
        if segments(&target).any(|segment| segment.starts_with(':')) {
            self.report
                .error(rewrite.at, "`rewrite` is a fixed path")
                .hint("a `:name` cannot be carried over; the rest of the path below the endpoint always is");
            return None;
        }
        Some(PrefixSwap { segments: segments(pattern).count(), with: target.as_str().trim_end_matches('/').into() })
    }

    fn upgrades(&mut self, shape: &EndpointShape) -> Box<[Box<str>]> {
        let Some(list) = &shape.upgrades else { return ["websocket".into()].into() };
        for protocol in list {
            let name = protocol.value.to_ascii_lowercase();
            if name == "h2c" || name.starts_with("http") || name.starts_with("tls") {
                self.report
                    .error(protocol.at, format!("an upgrade to `{name}` is never passed on"))
                    .hint("requests inside of it would pass without being judged");
            } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./+".contains(&b)) {
                self.report.error(protocol.at, format!("{} is not a protocol's name", quote(&protocol.value)));
            }
        }
        list.iter().map(|protocol| protocol.value.to_ascii_lowercase().into()).collect()
    }

    fn cors(&mut self, shape: &CorsShape, methods: &[Method]) -> Option<Cors> {
        let credentials = shape.credentials.as_ref().is_some_and(|flag| flag.value);
        let origins = match &shape.origins.value {
            AnyOr::Any => {
                if let Some(flag) = shape.credentials.as_ref().filter(|flag| flag.value) {
                    self.report
                        .error(flag.at, "`credentials: true` with `origins: any` would let every page act as the user")
                        .hint("list the origins");
                }
                None
            }
            AnyOr::Value(list) => {
                if list.is_empty() && !shape.is_broken {
                    self.report
                        .error(shape.origins.at, "an empty list of origins lets no page ask")
                        .hint("remove `cors`");
                }
                Some(list.iter().filter_map(|origin| self.origin(origin)).collect())
            }
        };
        let expose = shape.expose.as_ref().filter(|list| !list.is_empty()).and_then(|list| {
            let joined = list.iter().map(|header| header.0.as_str()).collect::<Vec<_>>().join(", ");
            HeaderValue::from_str(&joined).ok()
        });
        Some(Cors {
            origins,
            methods: shape
                .methods
                .as_ref()
                .map_or_else(|| methods.into(), |list| list.iter().map(|verb| verb.0.clone()).collect()),
            headers: shape.headers.as_ref().map(|list| list.iter().map(|header| header.0.clone()).collect()),
            expose,
            credentials,
            max_age: shape.max_age.map_or(std::time::Duration::from_secs(600), |span| span.0),
        })
    }

    /// Reads `https://host:port`, in lower case.
    pub(super) fn origin(&mut self, written: &At<String>) -> Option<Box<str>> {
        if let Ok(origin) = parse_origin(&written.value) {
            return Some(origin);
        }
        self.report
            .error(written.at, format!("{} is not an origin", quote(&written.value)))
            .hint("write scheme, host and port as browsers do: `https://shop.example` or `http://localhost:3000`, nothing behind");
        None
    }

    /// Rules that can never be asked, or never be met.
    fn warn_of_idle(&mut self, shape: &EndpointShape, written: &Written, context: &Context<'_>) {
        let reachable = |listener: &&ListenerSettings| {
            shape.listeners.as_ref().is_none_or(|list| list.value.iter().any(|name| *name.value == *listener.name))
        };
        let has_backoffice = context.listeners.iter().filter(reachable).any(|listener| listener.is_backoffice);
        if let Some(at) =
            written.allow_backoffice_at().filter(|_| !has_backoffice && context.document.trusted_identity.is_none())
        {
            self.report.warning(
                at,
                "`allow_backoffice` is never asked: no listener of this endpoint is marked `backoffice: true`",
            );
        }
        let has_trusted = context.document.trusted_identity.as_ref().is_some_and(|list| !list.value.is_empty());
        if let Some(at) = written.require_user_at().filter(|_| !has_backoffice && !has_trusted) {
            self.report
                .warning(at, "no request can name a user, so that every request is refused")
                .hint("list the gateways that name users in `trusted_identity`");
        }
    }

    /// Routes that another, more specific endpoint takes before they are ever asked.
    fn refuse_shadowed(&mut self, endpoints: &[Endpoint], document: &Document) {
        for endpoint in endpoints {
            let shape = shape_of(endpoint, &document.endpoints.value);
            for (index, route) in endpoint.routes.iter().enumerate() {
                let over = endpoints.iter().find(|other| {
                    other.name != endpoint.name
                        && other.hosts == endpoint.hosts
                        && other.listeners == endpoint.listeners
                        && is_at_or_below(&route.pattern, &other.pattern)
                        && is_more_specific(&other.pattern, &endpoint.pattern)
                });
                let Some(over) = over else { continue };
                let at = shape
                    .and_then(|shape| shape.routes.as_ref())
                    .and_then(|routes| routes.get(index))
                    .map_or(Position::default(), |route| route.r#match.at);
                self.report
                    .error(
                        at,
                        format!(
                            "this route is never reached: endpoint `{}` ({}) governs its path",
                            over.name, over.place
                        ),
                    )
                    .hint(format!("move it below `{}`", over.name));
            }
        }
    }
}

/// What an endpoint was made of. Names alone do not tell: two endpoints may have the same, which is reported.
pub(super) fn shape_of<'s>(endpoint: &Endpoint, list: &'s [EndpointShape]) -> Option<&'s EndpointShape> {
    list.iter().find(|shape| shape.name.value == *endpoint.name && shape.name.at.line as usize == endpoint.place.line)
}

fn segments(pattern: &PathPattern) -> impl Iterator<Item = &str> {
    pattern.as_str().split('/').filter(|segment| !segment.is_empty())
}

/// Whether everything that `pattern` stands for is governed by `base`.
fn is_at_or_below(pattern: &PathPattern, base: &PathPattern) -> bool {
    let mut inner = segments(pattern);
    segments(base).all(|outer| inner.next().is_some_and(|inner| outer.starts_with(':') || outer == inner))
}

/// Whether the one wins where both match: more segments, or a literal where the other has a name.
fn is_more_specific(one: &PathPattern, other: &PathPattern) -> bool {
    let is_literal = |segment: &str| !segment.starts_with(':');
    for (one, other) in segments(one).zip(segments(other)) {
        if is_literal(one) != is_literal(other) {
            return is_literal(one);
        }
    }
    segments(one).count() > segments(other).count()
}

/// Adds `HEAD` behind `GET`, and drops what stands twice.
fn with_head(methods: Vec<Method>) -> Vec<Method> {
    let mut all = Vec::with_capacity(methods.len() + 1);
    for method in methods {
        let is_get = method == Method::GET;
        for method in [Some(method), is_get.then_some(Method::HEAD)].into_iter().flatten() {
            if !all.contains(&method) {
                all.push(method);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specificity_and_containment() {
        let pattern = |text| PathPattern::parse(text).expect("a pattern");
        for (inner, outer, expected) in [
            ("/orders/:id", "/orders", true),
            ("/orders", "/orders", true),
            ("/orders-old", "/orders", false),
            ("/orders/special", "/orders/:id", true),
            ("/orders/:id", "/orders/special", false),
            ("/orders", "/", true),
            ("/", "/orders", false),
        ] {
            assert_eq!(is_at_or_below(&pattern(inner), &pattern(outer)), expected, "{inner} {outer}");
        }
        for (one, other, expected) in [
            ("/a/b", "/a", true),
            ("/a", "/a/b", false),
            ("/a/b", "/a/:x", true),
            ("/:x/b/c", "/a", false),
            ("/a", "/a", false),
        ] {
            assert_eq!(is_more_specific(&pattern(one), &pattern(other)), expected, "{one} {other}");
        }
    }
}
