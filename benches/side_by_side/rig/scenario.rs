//! What is asked for: a row for each thing that a gateway does all day.

use super::Site;
use super::wire::Layer;

/// The protocol that requests are made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time on each connection.
    Http1,
    /// HTTP/2 with prior knowledge, many at a time.
    Http2,
}

/// One kind of request, in one kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is called in a table.
    pub title: &'static str,
    /// Keys and endpoints.
    pub site: Site,
    /// What requests are made in.
    pub protocol: Protocol,
    /// What carries them.
    pub layer: Layer,
    /// The path; with endpoints, each request has that of one of them instead.
    pub path: &'static str,
    /// Bytes of a body that is sent; none is a GET.
    pub body: usize,
    /// Whether the key is one that nobody has.
    pub is_unknown: bool,
    /// The only status that counts.
    pub status: u16,
    /// Connections at once.
    pub connections: usize,
    /// Requests at once on each connection.
    pub streams: usize,
    /// Whether each request comes on a connection of its own.
    pub is_fresh: bool,
    /// Requests in each measurement.
    pub requests: u64,
}

/// The one that the others differ from.
const GET: Scenario = Scenario {
    name: "a",
    title: "GET, 100 B, 1,000 keys",
    site: Site { keys: 1_000, endpoints: 0 },
    protocol: Protocol::Http1,
    layer: Layer::Clear,
    path: "/",
    body: 0,
    is_unknown: false,
    status: 200,
    connections: 64,
    streams: 1,
    is_fresh: false,
    requests: 40_000,
};

const fn with_keys(name: &'static str, title: &'static str, keys: usize) -> Scenario {
    Scenario { name, title, site: Site { keys, endpoints: 0 }, ..GET }
}

const fn with_endpoints(name: &'static str, title: &'static str, endpoints: usize) -> Scenario {
    Scenario { name, title, site: Site { keys: 1_000, endpoints }, ..GET }
}

/// All of them, in the order of the table.
pub const ALL: [Scenario; 13] = [
    GET,
    with_keys("b", "GET, 100,000 keys", 100_000),
    Scenario { name: "c", title: "unknown key, 401", is_unknown: true, status: 401, ..GET },
    Scenario { name: "d", title: "64 KiB answer", path: "/64k", requests: 12_000, ..GET },
    Scenario {
        name: "e",
        title: "HTTP/2 from the caller",
        protocol: Protocol::Http2,
        connections: 8,
        streams: 16,
        ..GET
    },
    Scenario { name: "f", title: "TLS, kept alive", layer: Layer::Tls, ..GET },
    Scenario {
        name: "fh",
        title: "TLS, each a new connection",
        layer: Layer::Tls,
        is_fresh: true,
        requests: 2_000,
        ..GET
    },
    Scenario { name: "g", title: "POST, 1 KiB", body: 1024, ..GET },
    with_keys("keys-1m", "GET, 1,000,000 keys", 1_000_000),
    with_endpoints("endpoints-10", "GET, 10 endpoints", 10),
    with_endpoints("endpoints-1k", "GET, 1,000 endpoints", 1_000),
    with_endpoints("endpoints-10k", "GET, 10,000 endpoints", 10_000),
    Scenario { name: "connections-1k", title: "GET, 1,000 connections", connections: 1_000, ..GET },
];

/// The one of this name.
pub fn named(name: &str) -> Option<Scenario> {
    ALL.into_iter().find(|scenario| scenario.name == name)
}
