//! Where calls may come from: networks and web pages, as people write them.

use std::net::IpAddr;

use ipnet::IpNet;

/// Reads an address, or a network in CIDR notation.
///
/// # Errors
/// How to write it.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text
            .parse::<IpNet>()
            .map_err(|_| "write an address such as `10.1.2.3` or a network such as `10.0.0.0/8`".to_owned())?,
    };
    if network.trunc() != network {
        return Err(format!("it has bits beyond the prefix; the network is `{}`", network.trunc()));
    }
    Ok(network)
}

/// Reads the origin of a web page; it comes out in lower case.
///
/// # Errors
/// How to write it.
pub fn parse_origin(text: &str) -> Result<Box<str>, &'static str> {
    let origin = text.to_ascii_lowercase();
    if is_origin(&origin) {
        Ok(origin.into())
    } else {
        Err("write scheme, host and port, such as `https://shop.example`")
    }
}

/// Whether a text is an origin as browsers write it (RFC 6454 section 6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = port
        .is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    // A default port is never written by browsers.
    let is_default = matches!((scheme, port), ("http", Some("80")) | ("https", Some("443")));
    is_scheme && is_host && is_port && !is_default
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for (text, good) in [
            ("https://shop.example", true),
            ("http://localhost:3000", true),
            ("http://[::1]:3000", true),
            ("capacitor://localhost", true),
            ("https://shop.example/", false),
            ("https://shop.example:443", false),
            ("shop.example", false),
            ("https://", false),
            ("https://shop.example:x", false),
            ("null", false),
        ] {
            assert_eq!(parse_origin(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn networks() {
        for (text, expected) in [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("10.1.2.3", Ok("10.1.2.3/32")),
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("10.1.2.3/8", Err("it has bits beyond the prefix; the network is `10.0.0.0/8`")),
            ("10.0.0.0/33", Err("write an address such as `10.1.2.3` or a network such as `10.0.0.0/8`")),
            ("", Err("write an address such as `10.1.2.3` or a network such as `10.0.0.0/8`")),
        ] {
            let read = parse_network(text).map(|network| network.to_string());
            assert_eq!(read.as_deref().map_err(String::as_str), expected, "{text:?}");
        }
    }
}
