//! Who the client is, behind proxies.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use keygate::server::peer::{Forwarded, ForwardedBy, client_address};

const TRUSTED: [&str; 3] = ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"];
const PEERS: [&str; 4] = ["203.0.113.9", "10.1.2.3", "::ffff:10.1.2.3", "fd00::1"];

/// The first byte says who the peer is and which header counts; each line behind it is one field of that name, or of another
/// where it says so.
pub fn forwarded(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let peer: IpAddr = PEERS[usize::from(first & 3)].parse().expect("an address");
    let written_by = if first & 4 == 0 { ForwardedBy::XForwarded } else { ForwardedBy::Forwarded };
    let trusted: Vec<IpNet> = TRUSTED.iter().map(|network| network.parse().expect("a network")).collect();
    let headers = fields(rest, if first & 4 == 0 { "x-forwarded-for" } else { "forwarded" });
    let found = client_address(peer, &headers, &trusted, written_by);

    let is_proxy = first & 3 != 0;
    assert_eq!(found.is_trusted, is_proxy);
    if !is_proxy {
        let nothing = Forwarded { client: peer, is_secure: None, host: None, port: None, is_trusted: false };
        assert_eq!(found, nothing, "a stranger's word counts");
    }
    let walked = walk(peer, &headers, written_by);
    assert_eq!(found.client, walked, "of {headers:?}");

    // Once the walk has come to somebody who is no proxy, nothing farther away matters, whatever it says.
    if !is_trusted(found.client) {
        let name = if first & 4 == 0 { "x-forwarded-for" } else { "forwarded" };
        for farther in ["10.9.9.9", "8.8.8.8", "for=8.8.8.8", "\"", ",", "\u{e9}"] {
            let mut more = HeaderMap::new();
            more.append(name, HeaderValue::from_bytes(farther.as_bytes()).expect("a value"));
            for value in headers.get_all(name) {
                more.append(name, value.clone());
            }
            let again = client_address(peer, &more, &trusted, written_by);
            assert_eq!(again.client, found.client, "{farther:?} far away changes the client of {headers:?}");
        }
    }
}

fn fields(rest: &[u8], usual: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in rest.split(|&byte| byte == b'\n').take(64) {
        let other = ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip"];
        let named = other.iter().find_map(|name| {
            let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
            Some((*name, value))
        });
        let (name, value) = named.unwrap_or((usual, line));
        if let Ok(value) = HeaderValue::from_bytes(value.trim_ascii()) {
            headers.append(name, value);
        }
    }
    headers
}

/// By hand: these networks begin with ten, are one address, or begin with `fd`.
fn is_trusted(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[0] == 10 || address.octets() == [192, 0, 2, 7],
        IpAddr::V6(address) => address.octets()[0] == 0xfd,
    }
}

/// The walk, by hand: all elements in one list, taken off its end as long as it is proxies that speak.
fn walk(peer: IpAddr, headers: &HeaderMap, written_by: ForwardedBy) -> IpAddr {
    let mut client = peer.to_canonical();
    let name = if written_by == ForwardedBy::XForwarded { "x-forwarded-for" } else { "forwarded" };
    let mut said: Vec<Option<String>> = Vec::new();
    for value in headers.get_all(name) {
        match value.to_str() {
            Ok(text) => said.extend(text.split(',').map(|element| Some(element.trim_matches([' ', '\t']).to_owned()))),
            Err(_) => said.push(None),
        }
    }
    for _ in 0..32 {
        if !is_trusted(client) {
            break;
        }
        let Some(Some(element)) = said.pop() else { break };
        let node = match written_by {
            ForwardedBy::XForwarded => Some(element),
            ForwardedBy::Forwarded => told_by(&element),
        };
        let Some(address) = node.and_then(|node| address_in(&node)) else { break };
        client = address;
    }
    client
}

/// What an element of `Forwarded` says behind `for=`, if every part of it is a name and a value and it says so once.
fn told_by(element: &str) -> Option<String> {
    let mut told = None;
    for part in element.split(';') {
        let at = part.find('=')?;
        if !part[..at].trim().eq_ignore_ascii_case("for") {
            continue;
        }
        let value = part[at + 1..].trim();
        let is_quoted = value.starts_with('"');
        let value =
            if is_quoted { value.get(1..value.len().max(2) - 1).filter(|_| value.ends_with('"'))? } else { value };
        if told.is_some() || value.contains('"') || value.contains('\\') {
            return None;
        }
        told = Some(value.to_owned());
    }
    told
}

/// An address, with a port behind it or without, in brackets or not.
fn address_in(node: &str) -> Option<IpAddr> {
    let inside = node.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match (node.parse::<IpAddr>(), node.parse::<SocketAddr>(), inside) {
        (Ok(address), ..) => address,
        (_, Ok(address), _) => address.ip(),
        (.., Some(inside)) if inside.contains(':') && !inside.contains('%') => inside.parse().ok()?,
        _ => return None,
    };
    Some(address.to_canonical())
}
