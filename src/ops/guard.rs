//! Who may use the admin address, when it asks for no credential.
//!
//! Two checks, both on the head of a request and the address of the listener:
//!
//! - [`check_host`], for every request. *The story:* a page on `evil.example` lets its name resolve to 127.0.0.1 and fetches
//!   `http://evil.example:9090/metrics`; for the browser this is the page's own server, so it may read the answer (DNS
//!   rebinding). The `Host` field gives it away: on a loopback listener it must name the loopback.
//! - [`check_intent`], for what changes something. *The story:* any page may send a plain POST to `http://127.0.0.1:9090/reload`
//!   without reading the answer. A header of our own cannot be sent across origins unless the server allows it beforehand, which
//!   we never do; and browsers add `Origin` or `Sec-Fetch-Site`, which no command line does. Only a loopback *listener* will
//!   do, not just a loopback peer: a proxy in front would make everybody look local, and where it says that it is there, the
//!   request is refused.
//!
//! What is not defended against: other programs of the same machine. A reload can put in force only what the operator's
//! own files say.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use http::{Request, StatusCode};
use thiserror::Error;

/// The header that says what a changing request is for; its value is the path without the slash.
pub const INTENT_HEADER: &str = "x-keygate-intent";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What proxies add.
const PROXY_HEADERS: [HeaderName; 5] = [
    FORWARDED,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// Not exactly one `Host`, or a target with a host of its own.
    #[error("exactly one Host is needed, and a target that is a path")]
    Host,
    /// A name that is not the loopback's.
    #[error("this address is for the machine itself: use 127.0.0.1, [::1] or localhost as the host")]
    NotOurName,
    /// The listener can be reached from elsewhere.
    #[error("changes are accepted on a loopback admin address only; send the process SIGHUP instead")]
    NotLoopback,
    /// It came through a proxy.
    #[error("changes are not accepted through a proxy")]
    Proxied,
    /// It came from a browser.
    #[error("changes are not accepted from a browser")]
    Browser,
    /// The header is missing.
    #[error("the header {INTENT_HEADER}: reload is missing")]
    NoIntent,
}

impl Refused {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Host => "host_invalid",
            Self::NotOurName => "host_not_loopback",
            Self::NotLoopback => "admin_not_loopback",
            Self::Proxied => "proxied",
            Self::Browser => "cross_site",
            Self::NoIntent => "intent_missing",
        }
    }

    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::BAD_REQUEST,
            Self::NotOurName => StatusCode::MISDIRECTED_REQUEST,
            _ => StatusCode::FORBIDDEN,
        }
    }
}

/// On a loopback listener, the request must be for the loopback by name too.
pub(super) fn check_host<B>(request: &Request<B>, listener: SocketAddr) -> Result<(), Refused> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Refused::Host) };
    if request.uri().authority().is_some() {
        return Err(Refused::Host);
    }
    let host = host.to_str().map_err(|_| Refused::Host)?;
    if listener.ip().is_loopback() && !names_loopback(host) {
        return Err(Refused::NotOurName);
    }
    Ok(())
}

/// A request that changes something must come from this machine, from no browser, through no proxy, and say so.
pub(super) fn check_intent<B>(request: &Request<B>, listener: SocketAddr) -> Result<(), Refused> {
    if !listener.ip().is_loopback() {
        return Err(Refused::NotLoopback);
    }
    let headers = request.headers();
    if PROXY_HEADERS.iter().any(|name| headers.contains_key(name)) {
        return Err(Refused::Proxied);
    }
    if headers.contains_key(ORIGIN) || headers.contains_key(FETCH_SITE) {
        return Err(Refused::Browser);
    }
    let mut intents = headers.get_all(INTENT_HEADER).iter();
    match (intents.next(), intents.next()) {
        (Some(intent), None) if intent.as_bytes() == &request.uri().path().as_bytes()[1..] => Ok(()),
        _ => Err(Refused::NoIntent),
    }
}

/// Whether a `Host` value, port or not, is the loopback's. `localhost` is: browsers resolve it without asking anybody.
fn names_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) => (name, port),
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, _)) => (name, &host[name.len()..]),
            None => (host, ""),
        },
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_bracketed = host.starts_with('[');
    is_port
        && match name.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => is_bracketed && address.is_loopback(),
            Ok(IpAddr::V4(address)) => !is_bracketed && address.is_loopback(),
            Err(_) => !is_bracketed && name.eq_ignore_ascii_case("localhost"),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopbacks_own_names_name_it() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("127.0.0.1:9090", true),
            ("127.1.2.3:1", true),
            ("[::1]:9090", true),
            ("[::1]", true),
            ("localhost", true),
            ("LocalHost:9090", true),
            ("evil.example", false),
            ("localhost.evil.example:9090", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:9090:1", false),
            ("127.0.0.1:x", false),
            ("localhost@evil.example", false),
            ("::1", false),
            ("[127.0.0.1]", false),
            ("[::1", false),
            ("[::1]x", false),
            ("10.0.0.1:9090", false),
            ("0.0.0.0", false),
            ("", false),
        ] {
            assert_eq!(names_loopback(host), expected, "{host:?}");
        }
    }
}
