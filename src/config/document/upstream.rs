//! The shape of an upstream.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::config::problem::Report;
use crate::config::read::{At, NoneOr, Shape, Span, shape, unexpected};
use crate::config::tree::{Kind, Node};

/// A service behind the gateway. A text is short for `{ url: .. }`.
#[derive(Debug, Clone)]
pub(crate) enum UpstreamShape {
    Url(At<String>),
    Map(Box<ServersShape>),
}

impl Shape for UpstreamShape {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Text { value, .. } => Some(Self::Url(At { at: node.at, value: value.clone() })),
            Kind::Map(_) => ServersShape::read(node, report).map(|map| Self::Map(Box::new(map))),
            _ => {
                unexpected(node, "a URL, or a map with `url`, `servers` or `echo`", report);
                None
            }
        }
    }
}

impl JsonSchema for UpstreamShape {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Upstream".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, generator.subschema_for::<ServersShape>()] })
    }
}

shape! {
    /// A service behind the gateway: one of `url`, `servers` and `echo`, and how it is spoken to. A plain text is short
    /// for `url`.
    ServersShape {
        /// The one server: `http://host:port` or `https://host:port`, without a path.
        url: Option<At<String>>,
        /// Several servers that are asked in turn; each as for `url`.
        servers: Option<At<Vec<At<String>>>>,
        /// The built-in service that answers with what it received. For demonstrations and tests.
        echo: Option<At<bool>>,
        /// What is spoken with the servers: `http1`, or `http2` (over TLS with `https://`, in clear text with prior knowledge
        /// with `http://`), which gRPC needs. There is no falling back: a server that does not speak it is answered 502.
        /// Upgrades (WebSocket) are not possible over `http2`. Default: `http1`.
        protocol: Option<At<ProtocolShape>>,
        /// What the `Host` header says to it: `preserve` for what the caller asked for, `server` for the server's own
        /// name, or a fixed name. Default: `preserve`.
        host: Option<At<HostShape>>,
        /// How long to wait for a connection, TLS included. Default: `2s`.
        connect_timeout: Option<Span>,
        /// How long to wait for the head of a response. Default: `30s`. An endpoint may have its own.
        response_timeout: Option<Span>,
        /// How long to wait between two pieces of a body. Default: `30s`.
        body_timeout: Option<Span>,
        /// How long an upgraded connection (WebSocket) may be silent. Default: `1h`.
        tunnel_timeout: Option<Span>,
        /// How long an idle connection is kept for the next request. Must be shorter than the service keeps it, or
        /// requests meet closed connections. Default: `4s`.
        idle_timeout: Option<Span>,
        /// Idle connections that each worker keeps for each server. Default: `256`.
        max_idle: Option<usize>,
        /// Requests at once, from all workers together, or `none`; beyond that they wait in a queue. A request counts
        /// until its answer is over, upgraded connections do not. Default: `10000`.
        max_requests: Option<NoneOr<At<u32>>>,
        /// Requests that wait in the queue; beyond that they are answered 503. `0`: none waits. Default: `1000`.
        queue: Option<u32>,
        /// How long a request waits in the queue before it is answered 503. Default: `1s`.
        queue_timeout: Option<Span>,
        /// When a server that fails is left alone.
        ejection: Option<EjectionShape>,
        /// How servers are asked whether they are well. Default: they are not asked; requests tell.
        health_check: Option<HealthCheckShape>,
        /// How to trust the servers of `https://` URLs.
        tls: Option<UpstreamTlsShape>,
    }
    gone {
        "timeout" => "write `response_timeout`",
        "urls" => "write `servers`",
        "address" => "write `url: \"http://host:port\"`",
        "health" => "write `health_check`",
        "max_connections" => "write `max_requests`",
    }
}

/// What is spoken with servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProtocolShape {
    Http1,
    Http2,
}

impl crate::config::read::FromText for ProtocolShape {
    const EXPECTED: &'static str = "`http1` or `http2`";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "http1" => Ok(Self::Http1),
            "http2" => Ok(Self::Http2),
            "h2" | "h2c" | "grpc" => Err("it is written `http2`".to_owned()),
            _ => Err("nothing else is spoken with servers".to_owned()),
        }
    }
}

crate::config::read::text_schema! {
    ProtocolShape => "protocol", "`http1` or `http2`.", "http2";
}

/// What the `Host` header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostShape {
    Preserve,
    Server,
    Fixed(String),
}

impl crate::config::read::FromText for HostShape {
    const EXPECTED: &'static str = "`preserve`, `server` or a host name";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "preserve" => Ok(Self::Preserve),
            "server" => Ok(Self::Server),
            "" => Err("it is empty".to_owned()),
            _ if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)) => {
                Ok(Self::Fixed(text.to_owned()))
            }
            _ => Err("a host name has letters, digits, `-` and `.`".to_owned()),
        }
    }
}

crate::config::read::text_schema! {
    HostShape => "host rule", "`preserve`, `server`, or a host name.", "preserve";
}

shape! {
    /// When a server that fails is left alone. The last server of an upstream is asked all the same.
    EjectionShape {
        /// Failures in a row that eject it; `0` never does. Default: `3`.
        failures: Option<u32>,
        /// For how long the first time; twice as long each further time. Default: `10s`.
        duration: Option<Span>,
        /// The longest time. Default: `5m`.
        at_most: Option<At<Span>>,
    }
}

shape! {
    /// How servers are asked whether they are well: a GET, answered with 2xx or 3xx. One that is not well is left alone. If
    /// none is, they are asked all the same.
    HealthCheckShape {
        /// The path, with a query if need be, such as `/healthz`.
        path: At<String>,
        /// The time between two requests to one address. Default: `5s`.
        interval: Option<At<Span>>,
        /// How long to wait for an answer. Default: `2s`.
        timeout: Option<Span>,
        /// Good answers in a row that bring a server back. Default: `2`.
        healthy: Option<At<u32>>,
        /// Bad answers in a row that take it out. Default: `3`.
        unhealthy: Option<At<u32>>,
    }
}

shape! {
    /// How to trust the servers of an upstream.
    UpstreamTlsShape {
        /// PEM file with the certificates to trust, instead of those of the system.
        ca: Option<At<String>>,
        /// The name the certificate must be for. Default: the host of the URL.
        server_name: Option<At<String>>,
    }
}
