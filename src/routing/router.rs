//! All endpoints, and the one that a request belongs to.
//!
//! `config` calls [`Router::build`]; `admission` calls [`Router::find`] for each request; `explain` asks for the
//! [`Router::candidates`].
//!
//! A request is looked for among the endpoints of its listener, first under its exact host, then under the wildcard hosts
//! that cover it, longest first, then under any host. Within a host the most specific pattern wins that has the path at
//! or below it; among the routes of the endpoint that won, the most specific one that is for exactly this path and verb.
//!
//! A rule that was found is given out only if the path cannot be taken for another rule's: it holds no construct that the
//! endpoint does not admit, and every other way to read it, in any letter case, leads to the same rule. That is the
//! defence against all requests that look harmless here and are something else upstream.
//!
//! An ordinary path costs one look-up and no allocation. A path with capital letters costs a second look-up without
//! regard to case, for which literals are kept once more in lower case where they are not so anyway.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::Method;

use super::reading::every_reading;
use super::tree::{Letters, Reach, Tree};
use super::{CanonicalPath, Endpoint, PathAdmissions, PathPattern, Route, Rule};
use crate::upstream::Upstream;

/// The most nodes of a tree that looking for one path may enter. A configuration in which more are possible is refused;
/// it takes patterns that mix literals and parameters on eight segments in every way to come near.
pub(super) const MOST_STEPS: usize = 256;

/// Names one rule of a router: an endpoint's own, or that of a route below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleRef {
    /// Index into [`Router::endpoints`].
    pub endpoint: usize,
    /// Index into the endpoint's routes; `None` for the endpoint's own rule.
    pub route: Option<usize>,
}

/// Why no rule governs a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMatch {
    /// No endpoint for the host and path (404).
    NotFound,
    /// The path could be read as another endpoint's, or holds a construct that its endpoint does not admit (400).
    Ambiguous(&'static str),
}

/// Two entries that could claim the same path with the same right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteClash {
    /// Index of the later endpoint.
    pub endpoint: usize,
    /// Its route, if the clash is between routes of one endpoint.
    pub route: Option<usize>,
    /// Index of the earlier endpoint; the same one if the clash is between its routes.
    pub with: usize,
    /// The earlier route, if the clash is between routes.
    pub with_route: Option<usize>,
    /// What kind of clash it is.
    pub kind: ClashKind,
}

/// What is wrong between two entries. Displayed, it completes a sentence that names the first and goes on to name the
/// second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClashKind {
    /// Equal patterns, but for the names of parameters, on a host and a listener that both are for.
    SamePaths,
    /// Patterns that differ only by letter case, and neither endpoint says that case matters.
    LetterCase,
    /// Literals and parameters are mixed so much that looking for a path could take too long.
    Entangled,
}

impl fmt::Display for ClashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SamePaths => "claims the same requests as",
            Self::LetterCase => "differs only by letter case from",
            Self::Entangled => "mixes literals and parameters on too many segments, together with",
        })
    }
}

/// All endpoints, found by listener, host and path.
#[derive(Debug)]
pub struct Router {
    endpoints: Box<[Arc<Endpoint>]>,
    /// For each endpoint, its routes.
    routes: Box<[Option<Trees>]>,
    /// For listeners that no endpoint names.
    elsewhere: Hosts,
    /// For each listener that an endpoint names, what is to be found there.
    listeners: Box<[(Arc<str>, Hosts)]>,
    /// Some literal has capital letters, so that a path in lower case may be another one's twin.
    has_capitals: bool,
}

/// Endpoints of one listener, by host.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<Box<str>, Trees>,
    /// Under what stands after `*.`.
    wildcard: HashMap<Box<str>, Trees>,
    /// Length of the longest of those.
    longest_wildcard: usize,
    any: Trees,
}

/// The same patterns twice: as they are, and in lower case if that is not the same.
#[derive(Debug)]
struct Trees {
    exact: Tree,
    folded: Option<Tree>,
}

impl Router {
    /// Builds the trees.
    ///
    /// # Errors
    /// Every pair of endpoints, and of routes of one endpoint, that could claim a request with the same right.
    pub fn build(endpoints: Vec<Endpoint>) -> Result<Self, Vec<RouteClash>> {
        let mut clashes = Vec::new();
        let named = endpoints.iter().flat_map(|endpoint| &endpoint.listeners);
        let mut names: Vec<Arc<str>> = named.cloned().collect();
        names.sort_unstable();
        names.dedup();
        let elsewhere = Hosts::build(&endpoints, None, &mut clashes);
        let listeners: Box<[_]> =
            names.into_iter().map(|name| (name.clone(), Hosts::build(&endpoints, Some(&name), &mut clashes))).collect();
        let mut routes: Vec<Option<Trees>> = Vec::with_capacity(endpoints.len());
        for (index, endpoint) in endpoints.iter().enumerate() {
            let is_any = !endpoint.routes.is_empty();
            routes.push(is_any.then(|| Trees::of_routes(index, endpoint, &mut clashes)));
        }
        if !clashes.is_empty() {
            // Endpoints that share several hosts or listeners clash on each of them.
            clashes.sort_unstable();
            clashes.dedup();
            return Err(clashes);
        }
        let has_capitals = elsewhere.has_capitals()
            || listeners.iter().any(|(_, hosts)| hosts.has_capitals())
            || routes.iter().flatten().any(|trees| trees.folded.is_some());
        let endpoints = endpoints.into_iter().map(Arc::new).collect();
        Ok(Self { endpoints, routes: routes.into(), elsewhere, listeners, has_capitals })
    }

    /// The endpoints in the order they were written.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The upstreams of the endpoints, each once.
    #[must_use]
    pub fn upstreams(&self) -> Vec<Arc<Upstream>> {
        let mut upstreams: Vec<Arc<Upstream>> = Vec::new();
        for endpoint in &self.endpoints {
            if !upstreams.iter().any(|known| Arc::ptr_eq(known, &endpoint.upstream)) {
                upstreams.push(Arc::clone(&endpoint.upstream));
            }
        }
        upstreams
    }

    /// The rule a reference of this router names.
    #[must_use]
    pub fn rule(&self, rule: RuleRef) -> &Rule {
        let endpoint = &self.endpoints[rule.endpoint];
        rule.route.map_or(&endpoint.base, |route| &endpoint.routes[route].rule)
    }

    /// Finds the rule for a path on a host, as reached through a listener. The host comes without a port and in lower
    /// case. The method picks a route's override; whether the rule admits the method is for the caller
    /// ([`Rule::methods`]).
    ///
    /// # Errors
    /// There is no endpoint for the request, or the path could be taken for one of another rule.
    pub fn find(
        &self,
        listener: &str,
        host: &str,
        path: &CanonicalPath<'_>,
        method: &Method,
    ) -> Result<RuleRef, NoMatch> {
        let hosts = self.hosts(listener);
        let host = absolute_host(host);
        let text = path.as_str();
        let found = hosts.governing(host, text, Letters::Exact).and_then(|endpoints| endpoints.first());
        let Some(&endpoint) = found else {
            // Nobody is there to admit what could be read in two ways.
            return Err(not_admitted(path.constructs(), PathAdmissions::default())
                .map_or(NoMatch::NotFound, NoMatch::Ambiguous));
        };
        let rule = RuleRef { endpoint, route: self.route(endpoint, text, method, Letters::Exact) };
        let entry = &self.endpoints[endpoint];
        if let Some(construct) = not_admitted(path.constructs(), entry.admits) {
            return Err(NoMatch::Ambiguous(construct));
        }

        let leads_here = |text: &str, letters: Letters| {
            let governing = hosts.governing(host, text, letters);
            governing.is_some_and(|endpoints| endpoints.contains(&endpoint))
                && self.route(endpoint, text, method, letters) == rule.route
        };
        // Where case matters to the upstream, as the operator says, no reader folds it.
        let is_folded = !entry.case_distinct && (self.has_capitals || path.traits().letter_case);
        // Neither where everything it could be folded to says that case matters.
        let others_are_distinct = |text: &str| {
            let governing = hosts.governing(host, text, Letters::Folded);
            governing.is_some_and(|endpoints| {
                endpoints.iter().all(|&other| other != endpoint && self.endpoints[other].case_distinct)
            })
        };
        let leads_here_in_any_case =
            |text: &str| !is_folded || leads_here(text, Letters::Folded) || others_are_distinct(text);
        if !leads_here_in_any_case(text) {
            return Err(NoMatch::Ambiguous("in another letter case the path is governed by another rule"));
        }
        every_reading(path, |text| leads_here(text, Letters::Exact) && leads_here_in_any_case(text))
            .map_err(NoMatch::Ambiguous)?;
        Ok(rule)
    }

    /// Every rule whose host and pattern cover a path, from the most to the least specific, on whatever listener and for
    /// whatever method it is; for explaining a verdict, not for making one. Routes stand before their endpoint's own
    /// rule.
    #[must_use]
    pub fn candidates(&self, host: &str, path: &CanonicalPath<'_>) -> Vec<RuleRef> {
        let (host, text) = (absolute_host(host), path.as_str());
        let mut covering: Vec<(HostRank, usize)> = Vec::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let rank = HostRank::best(&endpoint.hosts, host);
            if let Some(rank) = rank.filter(|_| endpoint.pattern.matches_prefix(text)) {
                covering.push((rank, index));
            }
        }
        let pattern = |index: usize| &self.endpoints[index].pattern;
        covering.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| pattern(b.1).specificity(pattern(a.1))));
        let mut candidates = Vec::new();
        for (_, endpoint) in covering {
            let routes = &self.endpoints[endpoint].routes;
            let mut exact: Vec<usize> =
                (0..routes.len()).filter(|&route| routes[route].pattern.matches_exact(text)).collect();
            exact.sort_by(|&a, &b| routes[b].pattern.specificity(&routes[a].pattern));
            candidates.extend(exact.into_iter().map(|route| RuleRef { endpoint, route: Some(route) }));
            candidates.push(RuleRef { endpoint, route: None });
        }
        candidates
    }

    fn hosts(&self, listener: &str) -> &Hosts {
        let named = self.listeners.iter().find(|(name, _)| **name == *listener);
        named.map_or(&self.elsewhere, |(_, hosts)| hosts)
    }

    /// The route of an endpoint that overrides its rule for a path and a method.
    fn route(&self, endpoint: usize, path: &str, method: &Method, letters: Letters) -> Option<usize> {
        let trees = self.routes[endpoint].as_ref()?;
        let routes = &self.endpoints[endpoint].routes;
        trees.tree(letters).search(path, letters, Reach::Exact, &|values| pick(routes, values, method))
    }
}

/// Of routes with equal patterns, the one for a method: its own verb, then `GET` for `HEAD`, then `ALL`.
fn pick(routes: &[Route], among: &[usize], method: &Method) -> Option<usize> {
    let with = |verb: Option<&Method>| among.iter().copied().find(|&route| routes[route].method.as_ref() == verb);
    with(Some(method))
        .or_else(|| if method == Method::HEAD { with(Some(&Method::GET)) } else { None })
        .or_else(|| with(None))
}

/// The first construct of a path that an endpoint does not admit.
fn not_admitted(found: PathAdmissions, admitted: PathAdmissions) -> Option<&'static str> {
    if found.encoded_slash && !admitted.encoded_slash {
        Some("the path holds an encoded slash (`%2F`), which the endpoint does not admit")
    } else if found.semicolon && !admitted.semicolon {
        Some("the path holds a `;`, which the endpoint does not admit")
    } else if found.encoded_unreserved && !admitted.encoded_unreserved {
        Some("the path holds a percent-encoded letter, digit, `-`, `.`, `_` or `~`, which the endpoint does not admit")
    } else {
        None
    }
}

/// A host without the dot that a fully qualified name may end in: `admin.example.com.` is the same host, and must not
/// get past the rules for it.
fn absolute_host(host: &str) -> &str {
    host.trim_end_matches('.')
}

/// How well a host of an endpoint fits; the greatest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Any,
    /// With the length of what stands after `*.`.
    Wildcard(usize),
    Exact,
}

impl HostRank {
    fn best(patterns: &[Box<str>], host: &str) -> Option<Self> {
        if patterns.is_empty() {
            return Some(Self::Any);
        }
        let rank = |pattern: &str| match pattern.strip_prefix("*.") {
            None => (pattern == host).then_some(Self::Exact),
            Some(suffix) => {
                let label = host.strip_suffix(suffix).and_then(|labels| labels.strip_suffix('.'));
                label.filter(|label| !label.is_empty()).map(|_| Self::Wildcard(suffix.len()))
            }
        };
        patterns.iter().filter_map(|pattern| rank(pattern)).max()
    }
}

impl Hosts {
    /// Sorts in the endpoints that a listener has: those that name it, and those that name none.
    fn build(endpoints: &[Endpoint], listener: Option<&str>, clashes: &mut Vec<RouteClash>) -> Self {
        let mut hosts = Self::default();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let is_named = listener.is_some_and(|listener| endpoint.listeners.iter().any(|name| **name == *listener));
            if !endpoint.listeners.is_empty() && !is_named {
                continue;
            }
            for host in &endpoint.hosts {
                let trees = match host.strip_prefix("*.") {
                    None => hosts.exact.entry(absolute_host(host).into()).or_default(),
                    Some(suffix) => {
                        let suffix = absolute_host(suffix);
                        hosts.longest_wildcard = hosts.longest_wildcard.max(suffix.len());
                        hosts.wildcard.entry(suffix.into()).or_default()
                    }
                };
                trees.insert_endpoint(index, endpoints, clashes);
            }
            if endpoint.hosts.is_empty() {
                hosts.any.insert_endpoint(index, endpoints, clashes);
            }
        }
        for trees in hosts.exact.values_mut().chain(hosts.wildcard.values_mut()).chain([&mut hosts.any]) {
            trees.finish(
                |values| entangled(values, |index| &endpoints[index].pattern),
                |later, earlier| {
                    let kind = ClashKind::Entangled;
                    clashes.push(RouteClash { endpoint: later, route: None, with: earlier, with_route: None, kind });
                },
            );
        }
        hosts
    }

    /// The endpoints under the most specific host and pattern for a path: one, or the few whose patterns are one in
    /// lower case.
    fn governing(&self, host: &str, path: &str, letters: Letters) -> Option<&[usize]> {
        if !self.exact.is_empty()
            && let Some(found) = self.exact.get(host).and_then(|trees| trees.governing(path, letters))
        {
            return Some(found);
        }
        if !self.wildcard.is_empty() {
            // A host name in a request may be long and full of dots. Only an end that can be in the map is looked up.
            let start = host.len().saturating_sub(self.longest_wildcard + 1);
            for dot in memchr::memchr_iter(b'.', &host.as_bytes()[start..]).map(|dot| start + dot) {
                // A wildcard stands for a label at least.
                let suffix = (dot > 0).then(|| &host[dot + 1..]);
                let trees = suffix.and_then(|suffix| self.wildcard.get(suffix));
                if let Some(found) = trees.and_then(|trees| trees.governing(path, letters)) {
                    return Some(found);
                }
            }
        }
        self.any.governing(path, letters)
    }

    fn has_capitals(&self) -> bool {
        let mut trees = self.exact.values().chain(self.wildcard.values()).chain([&self.any]);
        trees.any(|trees| trees.folded.is_some())
    }
}

impl Default for Trees {
    fn default() -> Self {
        Self { exact: Tree::new(Letters::Exact), folded: Some(Tree::new(Letters::Folded)) }
    }
}

impl Trees {
    fn of_routes(endpoint: usize, entry: &Endpoint, clashes: &mut Vec<RouteClash>) -> Self {
        let mut trees = Self::default();
        let clash = |route: usize, with: usize, kind: ClashKind| RouteClash {
            endpoint,
            route: Some(route),
            with: endpoint,
            with_route: Some(with),
            kind,
        };
        for (index, route) in entry.routes.iter().enumerate() {
            let (same, alike) = trees.insert(&route.pattern, index);
            let is_for_same_verb = |&other: &usize| entry.routes[other].method == route.method;
            clashes
                .extend(same.into_iter().filter(is_for_same_verb).map(|with| clash(index, with, ClashKind::SamePaths)));
            let alike = alike.into_iter().filter(|_| !entry.case_distinct).filter(is_for_same_verb);
            clashes.extend(alike.map(|with| clash(index, with, ClashKind::LetterCase)));
        }
        let pattern = |index: usize| &entry.routes[index].pattern;
        trees.finish(
            |values| entangled(values, pattern),
            |later, earlier| {
                clashes.push(clash(later, earlier, ClashKind::Entangled));
            },
        );
        trees
    }

    fn insert_endpoint(&mut self, index: usize, endpoints: &[Endpoint], clashes: &mut Vec<RouteClash>) {
        let endpoint = &endpoints[index];
        let (same, alike) = self.insert(&endpoint.pattern, index);
        let clash = |with: usize, kind| RouteClash { endpoint: index, route: None, with, with_route: None, kind };
        // A host that an endpoint names twice is no clash.
        clashes.extend(same.into_iter().filter(|&with| with != index).map(|with| clash(with, ClashKind::SamePaths)));
        let is_mistake = |&with: &usize| with != index && !endpoint.case_distinct && !endpoints[with].case_distinct;
        clashes.extend(alike.into_iter().filter(is_mistake).map(|with| clash(with, ClashKind::LetterCase)));
    }

    /// Adds a pattern, and gives the values with an equal one and those whose pattern is equal in lower case only.
    fn insert(&mut self, pattern: &PathPattern, value: usize) -> (Vec<usize>, Vec<usize>) {
        let same = self.exact.insert(pattern.segments(), value);
        let mut alike = self.folded.as_mut().map_or_else(Vec::new, |tree| tree.insert(pattern.segments(), value));
        alike.retain(|value| !same.contains(value));
        (same, alike)
    }

    /// Drops what is not needed, and reports two entries of a tree in which a search could take too long.
    fn finish(&mut self, worst: impl Fn(&Tree) -> Option<(usize, usize)>, mut report: impl FnMut(usize, usize)) {
        let is_too_much = |tree: &&Tree| tree.most_steps() > MOST_STEPS;
        if let Some((later, earlier)) =
            [Some(&self.exact), self.folded.as_ref()].into_iter().flatten().find(is_too_much).and_then(worst)
        {
            report(later, earlier);
        }
        if !self.exact.has_capitals() {
            self.folded = None;
        }
    }

    /// The values of the most specific pattern that has a path at or below it.
    fn governing(&self, path: &str, letters: Letters) -> Option<&[usize]> {
        self.tree(letters).search(path, letters, Reach::Below, &|values| Some(values))
    }

    fn tree(&self, letters: Letters) -> &Tree {
        match letters {
            Letters::Exact => &self.exact,
            Letters::Folded => self.folded.as_ref().unwrap_or(&self.exact),
        }
    }
}

/// The two entries of a tree with the most parameters, the later one first: where to begin untangling.
fn entangled<'p>(tree: &Tree, pattern: impl Fn(usize) -> &'p PathPattern) -> Option<(usize, usize)> {
    let mut values: Vec<usize> = tree.values().collect();
    let parameters = |&value: &usize| {
        pattern(value).segments().filter(|segment| matches!(segment, super::Segment::Parameter(_))).count()
    };
    values.sort_by_key(|value| std::cmp::Reverse(parameters(value)));
    values.dedup();
    let &[first, second, ..] = values.as_slice() else { return None };
    Some((first.max(second), first.min(second)))
}

#[cfg(test)]
mod tests;
