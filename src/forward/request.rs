//! The head of a request as the upstream gets it.
//!
//! [`RequestPlan::new`] reads from a request what its framing and an upgrade depend on; [`write_head`] writes the whole
//! head, once for each server that is tried, into what makes bytes or fields of it: see [`head`](super::head). Nothing is removed from the request: fields are copied one by
//! one, and what must not pass is not copied. What we say ourselves is written after it, so that no field of the caller's,
//! `Connection` included, can take it away.
//!
//! The path is the one that was judged, the query is copied byte for byte. Nothing here decides anything about the caller:
//! that is what the permit is for.
//!
//! The mistake to avoid is a field that is dropped under one spelling and passes under another; see
//! [`field`](super::field).

use std::borrow::Cow;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, TRAILER, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::Outgoing;
use super::chunked::may_trail;
use super::field::{FieldKind, kind_of};
use super::head::{HeadSink, write_address};
use super::sending::TrailerRule;
use crate::admission::{CredentialUse, Permit};
use crate::credential::{CredentialSource, folds_alike, without_cookie};
use crate::routing::{Endpoint, PrefixSwap};
use crate::upstream::HostRule;

/// How the end of a request's body is told to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestFraming {
    /// There is no body, and nothing is said of it.
    None,
    /// There is no body, for a method that usually has one.
    Zero,
    /// So many bytes.
    Length(u64),
    /// In chunks, because nobody knows how many bytes.
    Chunked,
}

/// What is decided about a request before its head is written.
#[derive(Debug)]
pub(super) struct RequestPlan<'a> {
    pub framing: RequestFraming,
    /// The protocol to ask the upstream for, if the caller asked for it and the endpoint allows it.
    pub upgrade: Option<&'a str>,
    /// `Connection` names fields other than those that end here anyway.
    connection_names_fields: bool,
}

impl<'a> RequestPlan<'a> {
    /// Reads the plan from the head and from what is known of the body. `can_upgrade` says that the connection the
    /// request came on can be handed over.
    pub(super) fn new(
        endpoint: &'a Endpoint,
        outgoing: &Outgoing<'_>,
        body: &impl http_body::Body,
        can_upgrade: bool,
    ) -> Self {
        let parts = outgoing.parts;
        let has_body = !body.is_end_stream() && body.size_hint().exact() != Some(0);
        let framing = match body.size_hint().exact() {
            Some(length) if has_body => RequestFraming::Length(length),
            None if has_body => RequestFraming::Chunked,
            _ if says_zero(&parts.method, &parts.headers) => RequestFraming::Zero,
            _ => RequestFraming::None,
        };
        let mut asks_upgrade = false;
        let mut connection_names_fields = false;
        for option in tokens(&parts.headers, &CONNECTION) {
            if option.eq_ignore_ascii_case(b"upgrade") {
                asks_upgrade = true;
            } else if !option.eq_ignore_ascii_case(b"keep-alive")
                && !option.eq_ignore_ascii_case(b"close")
                && !option.eq_ignore_ascii_case(b"te")
            {
                connection_names_fields = true;
            }
        }
        let may_upgrade = asks_upgrade
            && can_upgrade
            && !has_body
            && parts.version == Version::HTTP_11
            && parts.method == Method::GET;
        let upgrade = if may_upgrade { allowed_upgrade(endpoint, &parts.headers) } else { None };
        Self { framing, upgrade, connection_names_fields }
    }
}

/// Whether a request without a body says so: always where a body is usual (RFC 9110 section 8.6), else as the caller did.
fn says_zero(method: &Method, headers: &HeaderMap) -> bool {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => false,
        Method::POST | Method::PUT | Method::PATCH => true,
        _ => headers.contains_key(CONTENT_LENGTH),
    }
}

/// The first protocol the caller offers that the endpoint allows. The endpoint's own spelling is sent.
fn allowed_upgrade<'e>(endpoint: &'e Endpoint, headers: &HeaderMap) -> Option<&'e str> {
    tokens(headers, &UPGRADE)
        .find_map(|offer| endpoint.upgrades.iter().find(|allowed| allowed.as_bytes().eq_ignore_ascii_case(offer)))
        .map(|allowed| &**allowed)
}

/// Writes the head of a request, its end included, in the form of the protocol that `out` stands for.
///
/// `server_host` is what [`HostRule::Server`] stands for.
pub(super) fn write_head(
    out: &mut impl HeadSink,
    permit: &Permit,
    outgoing: &Outgoing<'_>,
    plan: &RequestPlan<'_>,
    server_host: Option<&HeaderValue>,
) {
    let endpoint = &**permit.endpoint();
    let parts = outgoing.parts;
    out.begin_request(&parts.method, |target| write_target(target, permit, outgoing));
    out.host(match &endpoint.upstream.host {
        HostRule::Preserve => outgoing.host.as_bytes(),
        HostRule::Server => server_host.map_or(outgoing.host.as_bytes(), HeaderValue::as_bytes),
        HostRule::Fixed(host) => host.as_bytes(),
    });
    let asks_trailers = copy_fields(out, permit, outgoing, plan);
    write_forwarded(out, permit, outgoing);
    out.identity(&permit.snapshot().identity, &permit.identified());
    out.connection(plan.upgrade, asks_trailers);
    out.framing(plan.framing);
    if plan.framing == RequestFraming::Chunked && endpoint.passes_request_trailers {
        for value in parts.headers.get_all(TRAILER) {
            out.copy(&TRAILER, value);
        }
    }
    out.end_request();
}

fn write_target(out: &mut Vec<u8>, permit: &Permit, outgoing: &Outgoing<'_>) {
    let path = permit.changed_path().unwrap_or_else(|| outgoing.parts.uri.path());
    match &permit.endpoint().prefix_swap {
        None => out.extend_from_slice(path.as_bytes()),
        Some(swap) => write_swapped(out, path, swap),
    }
    if let Some(query) = outgoing.parts.uri.query() {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
}

/// Puts another prefix in the place of the first segments. What follows them is not touched.
fn write_swapped(out: &mut Vec<u8>, path: &str, swap: &PrefixSwap) {
    let mut slashes = memchr::memchr_iter(b'/', path.as_bytes());
    let rest = slashes.nth(swap.segments).map_or("", |at| &path[at..]);
    if swap.with.is_empty() && rest.is_empty() {
        out.push(b'/');
    } else {
        out.extend_from_slice(swap.with.as_bytes());
        out.extend_from_slice(rest.as_bytes());
    }
}

/// Copies every field that may pass as it is, and the part of `Cookie` that may. Says whether `TE` asks for trailers.
fn copy_fields(out: &mut impl HeadSink, permit: &Permit, outgoing: &Outgoing<'_>, plan: &RequestPlan<'_>) -> bool {
    let endpoint = &**permit.endpoint();
    let identity = &permit.snapshot().identity;
    let headers = &outgoing.parts.headers;
    let keeps_authorization =
        endpoint.forwards_credential || permit.credential_use() == CredentialUse::AuthorizationIsNotOurs;
    let judged = permit.judged_header();
    let mut has_cookies = false;
    let mut asks_trailers = false;
    for (name, value) in headers {
        let passes = match kind_of(name.as_str()) {
            FieldKind::Ordinary => true,
            FieldKind::HopByHop | FieldKind::Ours | FieldKind::Twin | FieldKind::Trailer => false,
            FieldKind::Te => {
                asks_trailers |= elements(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
                false
            }
            FieldKind::Rewriting => endpoint.passes_headers.contains(name),
            FieldKind::Forwarding => outgoing.trusts_peer || endpoint.passes_headers.contains(name),
            FieldKind::Authorization => keeps_authorization,
            FieldKind::Cookie => {
                has_cookies = true;
                false
            }
            FieldKind::TraceParent | FieldKind::TraceState => is_traced(headers),
        };
        // What was judged is what the upstream reads: `Connection` cannot take it away, no twin can speak in its place.
        let is_judged = judged == Some(name);
        let ends_here = identity.is_reserved(name)
            || is_stripped_credential(endpoint, name)
            || (!is_judged && judged.is_some_and(|judged| folds_alike(judged, name)))
            || (!is_judged && plan.connection_names_fields && is_named_by_connection(headers, name));
        if passes && !ends_here {
            out.copy(name, value);
        }
    }
    if has_cookies && !(plan.connection_names_fields && is_named_by_connection(headers, &COOKIE)) {
        write_cookies(out, headers, endpoint);
    }
    asks_trailers
}

/// Whether a field is a place where keys stand on this endpoint, or could be folded into one. A twin is dropped even where
/// the credential itself may pass: the upstream could prefer it to the one that was judged.
fn is_stripped_credential(endpoint: &Endpoint, name: &HeaderName) -> bool {
    let is_the_place =
        |source: &CredentialSource| matches!(source, CredentialSource::Header { name: place, .. } if place == name);
    endpoint.extractor.strips(name)
        && !(endpoint.forwards_credential && endpoint.extractor.sources().iter().any(is_the_place))
}

/// The rule for the trailers of a request, if its endpoint passes them: what would be dropped from the head is dropped from
/// behind the body too.
pub(super) fn trailer_rule(permit: &Permit) -> Option<TrailerRule> {
    if !permit.endpoint().passes_request_trailers {
        return None;
    }
    let (snapshot, endpoint) = (permit.snapshot().clone(), permit.endpoint().clone());
    let judged = permit.judged_header().cloned();
    Some(Box::new(move |name| {
        kind_of(name.as_str()) == FieldKind::Ordinary
            && may_trail(name.as_str())
            && !snapshot.identity.is_reserved(name)
            && !endpoint.extractor.strips(name)
            && !judged.as_ref().is_some_and(|judged| folds_alike(judged, name))
    }))
}

/// Writes all cookies as one field (HTTP/2 sends them in crumbs, RFC 9113 section 8.2.3), without those that hold a key.
fn write_cookies(out: &mut impl HeadSink, headers: &HeaderMap, endpoint: &Endpoint) {
    let mut has_begun = false;
    for value in headers.get_all(COOKIE) {
        let mut left = Cow::Borrowed(value.as_bytes());
        if !endpoint.forwards_credential {
            for name in endpoint.extractor.cookie_names() {
                left = match left {
                    Cow::Borrowed(cookies) => without_cookie(cookies, name).unwrap_or_default(),
                    Cow::Owned(cookies) => Cow::Owned(without_cookie(&cookies, name).unwrap_or_default().into_owned()),
                };
            }
        }
        if left.is_empty() {
            continue;
        }
        if has_begun {
            out.value().extend_from_slice(b"; ");
        } else {
            out.begin("cookie: ");
            has_begun = true;
        }
        out.value().extend_from_slice(&left);
    }
    if has_begun {
        out.end();
    }
}

/// Says where the request comes from. What came from a peer that is not trusted is not there any more.
fn write_forwarded(out: &mut impl HeadSink, permit: &Permit, outgoing: &Outgoing<'_>) {
    let headers = &outgoing.parts.headers;
    out.begin("x-forwarded-for: ");
    if outgoing.trusts_peer {
        for value in headers.get_all("x-forwarded-for") {
            out.value().extend_from_slice(value.as_bytes());
            out.value().extend_from_slice(b", ");
        }
        write_address(out.value(), outgoing.peer.address.ip());
    } else {
        write_address(out.value(), permit.client_address());
    }
    out.end();
    out.field("x-forwarded-proto: ", if outgoing.is_secure { b"https" } else { b"http" });
    let told = if outgoing.trusts_peer { only_value(headers, "x-forwarded-host") } else { None };
    out.field("x-forwarded-host: ", told.map_or(outgoing.host.as_bytes(), HeaderValue::as_bytes));
    out.field("x-request-id: ", outgoing.request_id);
}

/// The elements of a comma-separated field, over all its lines.
pub(super) fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).iter().flat_map(elements)
}

/// The elements of one line.
fn elements(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The value of a field that is there exactly once.
fn only_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

fn is_named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    tokens(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// Whether there is exactly one `traceparent`, in the form of the W3C recommendation. A malformed one would make the
/// upstream start a new trace while it still takes over `tracestate`.
fn is_traced(headers: &HeaderMap) -> bool {
    only_value(headers, "traceparent").is_some_and(|value| is_traceparent(value.as_bytes()))
}

/// `version-trace id-parent id-flags` in lower-case hex; neither id all zeros. Versions after 00 may carry more.
fn is_traceparent(value: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &[u8]| is_hex(part) && part.iter().any(|byte| *byte != b'0');
    let Some((known, more)) = value.split_at_checked(55) else { return false };
    let (version, trace, parent, flags) = (&known[..2], &known[3..35], &known[36..52], &known[53..]);
    let has_dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    let version_fits = if version == b"00" { more.is_empty() } else { more.is_empty() || more[0] == b'-' };
    has_dashes && is_hex(version) && version != b"ff" && is_id(trace) && is_id(parent) && is_hex(flags) && version_fits
}
