//! The shape of limits and plans.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::config::problem::Report;
use crate::config::read::{At, Map, Shape, Span, shape, unexpected, words};
use crate::config::tree::{Kind, Node};

shape! {
    /// One limit. With `requests` and `per` alone, so many may be made in a window that begins with the first of them; with
    /// `burst` beside them, requests come back evenly; with `per: day` or `per: month` it is a quota that survives a restart;
    /// with `concurrent` it bounds requests at once.
    RateLimitShape {
        /// How many requests. Needs `per` beside it.
        requests: Option<At<u32>>,
        /// In which time: from `1s` to `1d`, or a `day` or a `month` of the calendar.
        per: Option<At<PerShape>>,
        /// How many may come at once after a pause, where requests come back evenly: `requests: 10`, `per: 1s`, `burst: 50`
        /// admits fifty at once, and then one each tenth of a second. Default: none, all of them may come at once in each window.
        burst: Option<At<u32>>,
        /// The time zone of `day` and `month`, such as `Europe/Berlin`. Default: `UTC`.
        time_zone: Option<At<String>>,
        /// How many requests may be under way at once, in place of `requests`. A WebSocket is one for as long as it is open.
        concurrent: Option<At<u32>>,
        /// Whom it counts by itself: one or several of `address` (of IPv6 its /64), `key`, `client`, `client_type`, `tenant`,
        /// `endpoint` and `route`, or `all` for everybody together. With several, each combination is counted. A request that
        /// lacks one of them is not concerned. Default: `key`; for a limit written at an endpoint or a route, that.
        r#for: Option<At<PartsShape>>,
        /// It concerns every request, not only where an endpoint, a route or a plan names it. Default: `false`.
        everywhere: Option<At<bool>>,
        /// `first`: it is asked before the key is looked up, and counts every request, also those that are refused. `admitted`:
        /// it is asked of requests that all rules admit. Default: `first` for a limit for `address` alone that is written
        /// `everywhere: true`, `admitted` for others.
        when: Option<At<WhenWord>>,
        /// It refuses nothing: it counts, and `keygate_rate_limits_total` tells what it would have refused. Default: `false`.
        shadow: Option<bool>,
        /// A request that a limit refuses counts as well: whoever goes on asking stays refused. Default: `false`.
        count_refused: Option<bool>,
        /// What it is for; nothing reads it.
        description: Option<String>,
    }
    gone {
        "rate" => "write `requests: 10`, `per: 1s`",
        "limit" => "write `requests: 100`, `per: 1m`",
        "window" => "write `per`",
        "period" => "write `per`",
        "by" => "write `for`",
        "key" => "write `for`",
        "name" => "the name stands before the colon; a limit written at an endpoint is called as the endpoint is",
    }
}

/// A time, or a unit of the calendar.
#[derive(Debug, Clone)]
pub(crate) enum PerShape {
    Time(Span),
    Day,
    Month,
}

impl Shape for PerShape {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Text { value, .. } if value == "day" => Some(Self::Day),
            Kind::Text { value, .. } if value == "month" => Some(Self::Month),
            Kind::Text { value, .. } if matches!(&**value, "second" | "minute" | "hour") => {
                let unit = &value[..1];
                report.error(node.at, format!("`{value}` is no time here")).hint(format!("write `1{unit}`"));
                None
            }
            Kind::Text { .. } => Span::read(node, report).map(Self::Time),
            _ => {
                unexpected(node, "a duration, `day` or `month`", report);
                None
            }
        }
    }
}

impl JsonSchema for PerShape {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Per".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "enum": ["day", "month"] }, generator.subschema_for::<Span>()] })
    }
}

words! {
    /// What a limit tells callers apart by.
    PartWord {
        /// The client's address.
        Address = "address",
        /// The key.
        Key = "key",
        /// The client.
        Client = "client",
        /// The client's type.
        ClientType = "client_type",
        /// The client's tenant.
        Tenant = "tenant",
        /// The endpoint.
        Endpoint = "endpoint",
        /// The route.
        Route = "route",
    }
}

/// One part, a list of them, or the word `all`.
#[derive(Debug, Clone)]
pub(crate) enum PartsShape {
    All,
    Parts(Vec<At<PartWord>>),
}

impl Shape for PartsShape {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Text { value, .. } if value == "all" => Some(Self::All),
            Kind::Text { .. } => At::read(node, report).map(|part| Self::Parts(vec![part])),
            Kind::List(_) => Vec::read(node, report).map(Self::Parts),
            _ => {
                unexpected(
                    node,
                    "`all`, or one or several of `address`, `key`, `client`, `client_type`, `tenant`, `endpoint` and `route`",
                    report,
                );
                None
            }
        }
    }
}

impl JsonSchema for PartsShape {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Parts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let part = generator.subschema_for::<PartWord>();
        json_schema!({ "anyOf": [{ "const": "all" }, part, { "type": "array", "items": part }] })
    }
}

words! {
    /// When a limit is asked.
    WhenWord {
        /// Before the key is looked up.
        First = "first",
        /// When all rules have said yes.
        Admitted = "admitted",
    }
}

/// A limit by its name, or one that is written where it holds.
#[derive(Debug, Clone)]
pub(crate) enum LimitShape {
    Named(At<String>),
    Written(Box<RateLimitShape>),
}

impl Shape for LimitShape {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Text { .. } => At::read(node, report).map(Self::Named),
            Kind::Map(_) => RateLimitShape::read(node, report).map(|shape| Self::Written(Box::new(shape))),
            _ => {
                unexpected(node, "the name of a limit, or a map that says what it is", report);
                None
            }
        }
    }
}

impl JsonSchema for LimitShape {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, generator.subschema_for::<RateLimitShape>()] })
    }
}

shape! {
    /// What keys and clients of this plan are granted.
    PlanShape {
        /// Names of limits, or limits. All of them hold. Required; `[]` for a plan without limits.
        rate_limits: At<Vec<LimitShape>>,
        /// What it is for; nothing reads it.
        description: Option<String>,
    }
    gone { "limits" => "write `rate_limits`" }
}

shape! {
    /// What answers tell callers of their limits.
    RateLimitHeadersShape {
        /// `RateLimit` and `RateLimit-Policy`, as the IETF draft has them. Default: `true`.
        draft: Option<bool>,
        /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (seconds since 1970), of the limit that is the
        /// nearest to be reached. Default: `true`.
        legacy: Option<bool>,
        /// `Retry-After` on refusals, in seconds. Default: `true`.
        retry_after: Option<bool>,
        /// What becomes of such headers that an upstream sends itself: `replace` puts ours in their place where a limit concerns
        /// the request, `keep` leaves them and ours out. Default: `replace`.
        upstream: Option<UpstreamHeadersWord>,
    }
}

words! {
    /// What becomes of an upstream's own headers.
    UpstreamHeadersWord {
        /// Ours stand in their place.
        Replace = "replace",
        /// They stay.
        Keep = "keep",
    }
}

/// Limits by name.
pub(crate) type RateLimits = Map<RateLimitShape>;
