//! All that a decision may look at, borrowed from wherever the request came from.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use http::{HeaderMap, Method, Uri, header};

use super::Rejection;
use crate::credential::Secret;

/// The head of a request and the facts about the connection it came on.
///
/// What is not here cannot enter a verdict: no body, no query, nothing a client says *about* its request.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as it was sent, without the query.
    pub path: &'a str,
    /// The one host the request is for, from [`requested_host`]: lower case, without a port; empty if none was named.
    pub host: &'a str,
    /// Every header field.
    pub headers: &'a HeaderMap,
    /// Name of the listener it came in on.
    pub listener: &'a str,
    /// That listener is marked `backoffice: true`.
    pub is_backoffice: bool,
    /// The address the connection comes from.
    pub peer_address: IpAddr,
    /// The client's address, behind trusted proxies.
    pub client_address: IpAddr,
    /// It came over TLS, as far as we or a trusted proxy can tell.
    pub is_secure: bool,
    /// What stands before the table, if the address has shown too many keys that were not good.
    pub gate: Option<&'a dyn Gate>,
}

/// Says which keys an address may still ask about that has shown too many that were not good.
pub trait Gate: fmt::Debug {
    /// Whether the table may be asked for this one.
    fn may_ask(&self, secret: &Secret<'_>) -> bool;
}

/// The authority a request is for, as it was sent, and its host: one `Host`, or the target's own authority, and no two that
/// disagree.
///
/// Rules may differ by host, and the upstream reads `Host`: a request with two of them, or with a target that names one
/// and a header that names another, is judged for one and served for the other (RFC 9112 section 3.2, RFC 9113
/// section 8.3.1).
///
/// # Errors
/// [`Rejection::HostInvalid`] if there are several, if they disagree, or if the text is not a host with an optional port.
fn requested_authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<(&'a str, &'a str), Rejection> {
    let mut fields = headers.get_all(header::HOST).iter();
    let field = match fields.next() {
        // Every byte of it is looked at below.
        Some(value) => Some(str::from_utf8(value.as_bytes()).map_err(|_| Rejection::HostInvalid)?),
        None => None,
    };
    if fields.next().is_some() {
        return Err(Rejection::HostInvalid);
    }
    let authority = match (uri.authority(), field) {
        (Some(target), Some(field)) if !target.as_str().eq_ignore_ascii_case(field) => {
            return Err(Rejection::HostInvalid);
        }
        (Some(target), _) => target.as_str(),
        (None, Some(field)) => field,
        (None, None) => return Ok(("", "")),
    };
    well_formed_host(authority).map(|host| (authority, host)).ok_or(Rejection::HostInvalid)
}

/// The authority a request is for, as it was sent, and its host in the form rules are compared with: lower case, no port, no
/// trailing dot. There is one `Host`, or the target's own authority, and no two that disagree.
///
/// # Errors
/// [`Rejection::HostInvalid`] if there are several, if they disagree, or if the text is not a host with an optional port.
pub fn requested_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<(&'a str, Cow<'a, str>), Rejection> {
    let (authority, host) = requested_authority(uri, headers)?;
    let host = host.strip_suffix('.').unwrap_or(host);
    // Without an early way out the loop is done many bytes at a time.
    let folded = if host.bytes().fold(false, |found, byte| found | byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    };
    Ok((authority, folded))
}

/// The host of `host [":" port]`, with its brackets if it has some, if the text is one with a registered name of letters,
/// digits, `-`, `_` and `.`, an IPv4 address, or a bracketed IPv6 address. User information and percent encoding, which RFC
/// 3986 also knows, are refused: nobody sends them in good faith, and readers differ on them.
fn well_formed_host(authority: &str) -> Option<&str> {
    let (host, rest) = match authority.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((address, _)) => {
            address.parse::<std::net::Ipv6Addr>().ok()?;
            authority.split_at(address.len() + 2)
        }
        None => {
            let colon = memchr::memchr(b':', authority.as_bytes()).unwrap_or(authority.len());
            let (name, rest) = authority.split_at(colon);
            if !is_name(name) {
                return None;
            }
            (name, rest)
        }
    };
    let port_is_right = rest.is_empty()
        || rest
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    port_is_right.then_some(host)
}

/// What a byte is in a registered name that is sent in good faith.
const PART: u8 = 1;
const DOT: u8 = 2;
const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'.' => PART | DOT,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' => PART,
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Whether this is a registered name or an IPv4 address: no label is empty, save the one behind a last dot.
fn is_name(name: &str) -> bool {
    // A dot behind a dot, or at the beginning, ends a label that is empty.
    let (mut all, mut doubled, mut last) = (PART, 0, DOT);
    for byte in name.bytes() {
        let class = CLASSES[usize::from(byte)];
        all &= class;
        doubled |= class & last;
        last = class & DOT;
    }
    all == PART && doubled == 0 && (1..=255).contains(&name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of `Host`, a target, and the host that rules see; `None` for a refusal.
    const CASES: &[(&[&str], &str, Option<&str>)] = &[
        (&["api.example.com"], "/", Some("api.example.com")),
        (&["API.Example.COM:8080"], "/", Some("api.example.com")),
        (&["api.example.com."], "/", Some("api.example.com")),
        (&["127.0.0.1:80"], "/", Some("127.0.0.1")),
        (&["[::1]:80"], "/", Some("[::1]")),
        (&["[::1]"], "/", Some("[::1]")),
        (&[], "/", Some("")),
        (&[], "http://api.example.com/x", Some("api.example.com")),
        (&["api.example.com"], "http://api.example.com/x", Some("api.example.com")),
        (&["API.example.com"], "http://api.example.com/x", Some("api.example.com")),
        (&["admin.example.com"], "http://api.example.com/x", None),
        (&["api.example.com", "api.example.com"], "/", None),
        (&["api.example.com", "admin.example.com"], "/", None),
        (&[""], "/", None),
        (&["a b"], "/", None),
        (&["user@api.example.com"], "/", None),
        (&["api.example.com/x"], "/", None),
        (&["api.example.com,admin.example.com"], "/", None),
        (&["api%2eexample.com"], "/", None),
        (&["api.example.com:"], "/", None),
        (&["api.example.com:99999"], "/", None),
        (&["api.example.com:8o"], "/", None),
        (&["a..b"], "/", None),
        (&["."], "/", None),
        (&[".a"], "/", None),
        (&[":80"], "/", None),
        (&["a:80:80"], "/", None),
        (&["api.example.com:+80"], "/", None),
        (&["[::1]]:80"], "/", None),
        (&["[]"], "/", None),
        (&["[::1"], "/", None),
        (&["[::1]x"], "/", None),
        (&["::1"], "/", None),
    ];

    #[test]
    fn a_request_is_for_one_well_formed_host() {
        for (fields, target, expected) in CASES {
            let mut headers = HeaderMap::new();
            for field in *fields {
                headers.append(header::HOST, field.parse().expect("a header value"));
            }
            let uri: Uri = target.parse().expect("a target");
            let host = requested_host(&uri, &headers).map(|(_, host)| host.into_owned());
            assert_eq!(host.ok().as_deref(), *expected, "{fields:?} {target}");
        }
    }
}
