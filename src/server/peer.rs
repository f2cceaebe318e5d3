//! Who is at the other end: the socket's address, and the client's behind proxies that are trusted to name it.
//!
//! The connection makes one [`Peer`]; the gateway asks [`client_address`] for each request whose peer may be a proxy.
//!
//! A forwarded address is believed only as far as it was written by somebody trusted: the chain is walked from our end
//! towards the client, and ends at the first hop that is not a listed proxy. What that hop *says* is hearsay. Anything
//! that is not an address ends the walk as well, at the last address that was believed.
//!
//! The first address of `X-Forwarded-For` is the favourite of attackers: the client writes it. Reading from the left is
//! how address lists and throttles of others are passed by.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http::header::{FORWARDED, HeaderMap};
use ipnet::IpNet;

/// Facts about the connection a request came on.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address at the other end of the socket; IPv4 in its own form, never mapped into IPv6.
    pub address: SocketAddr,
    /// Our own end.
    pub local_address: SocketAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The listener is marked `backoffice: true`.
    pub is_backoffice: bool,
    /// The connection is TLS.
    pub is_tls: bool,
}

/// Which header the trusted proxies write. Only one is read: a proxy that sets one of them passes the other through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`.
    #[default]
    XForwarded,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// What trusted proxies say about the client's end of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// The client, or the last hop that can be believed.
    pub client: IpAddr,
    /// Whether the client spoke TLS, if a trusted proxy said so.
    pub is_secure: Option<bool>,
    /// The host the client asked for, if a trusted proxy said so and it is well formed.
    pub host: Option<String>,
    /// The port the client asked for, if a trusted proxy said so.
    pub port: Option<u16>,
    /// The peer is a listed proxy, so its forwarding headers may be continued rather than replaced.
    pub is_trusted: bool,
}

/// The most hops that are walked; a longer chain is not one of ours.
const MOST_HOPS: usize = 32;

/// The client behind the trusted proxies.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet], written_by: ForwardedBy) -> Forwarded {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let peer = peer.to_canonical();
    let mut forwarded =
        Forwarded { client: peer, is_secure: None, host: None, port: None, is_trusted: is_trusted(&peer) };
    if !forwarded.is_trusted {
        return forwarded;
    }
    let (name, hop_address): (_, fn(&str) -> Option<IpAddr>) = match written_by {
        ForwardedBy::XForwarded => ("x-forwarded-for", node_address),
        ForwardedBy::Forwarded => (FORWARDED.as_str(), |element| node_address(parameter(element, "for")?)),
    };
    for (number, element) in elements_from_our_end(headers, name).enumerate() {
        if number == MOST_HOPS || !is_trusted(&forwarded.client) {
            break;
        }
        let Some(address) = element.and_then(hop_address) else { break };
        forwarded.client = address;
        if written_by == ForwardedBy::Forwarded
            && let Some(element) = element
        {
            // Of what the trusted hops say, the one nearest to the client knows what the client asked.
            forwarded.is_secure = parameter(element, "proto").and_then(is_secure).or(forwarded.is_secure);
            if let Some(host) = parameter(element, "host").filter(|host| is_host(host)) {
                forwarded.host = Some(host.to_owned());
            }
        }
    }
    if written_by == ForwardedBy::XForwarded {
        // These have one value, written by the nearest proxy; what a farther one wrote cannot be told from a forgery.
        let nearest = |name| elements_from_our_end(headers, name).next().flatten();
        forwarded.is_secure = nearest("x-forwarded-proto").and_then(is_secure);
        forwarded.host = nearest("x-forwarded-host").filter(|host| is_host(host)).map(str::to_owned);
        forwarded.port = nearest("x-forwarded-port").and_then(|port| port.parse().ok());
    }
    forwarded
}

/// The elements of a list header, last field and last element first; `None` stands for what cannot be read.
fn elements_from_our_end<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = Option<&'a str>> {
    let mut fields: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
    fields.reverse();
    fields.into_iter().flat_map(|field| {
        // One element for a field that is not text, so that the walk ends there instead of skipping it.
        let (text, unreadable) = field.map_or(("", true), |text| (text, false));
        text.rsplit(',').map(move |element| (!unreadable).then(|| element.trim_matches([' ', '\t'])))
    })
}

/// A parameter of one `Forwarded` element, without its quotes; `None` when it is missing, repeated or malformed.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    for pair in element.split(';') {
        let (key, value) = pair.split_once('=')?;
        if !key.trim().eq_ignore_ascii_case(name) {
            continue;
        }
        if found.is_some() {
            return None;
        }
        let value = value.trim();
        let value = value.strip_prefix('"').map_or(Some(value), |value| value.strip_suffix('"'))?;
        if value.contains(['"', '\\']) {
            return None;
        }
        found = Some(value);
    }
    found
}

/// An address as proxies write it: bare, with a port, in brackets.
fn node_address(node: &str) -> Option<IpAddr> {
    if let Ok(address) = node.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = node.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let inner = node.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
}

fn is_secure(scheme: &str) -> Option<bool> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") => Some(true),
        _ if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws") => Some(false),
        _ => None,
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}

#[cfg(test)]
mod tests;
