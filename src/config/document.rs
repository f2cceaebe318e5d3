//! The shape of `gateway.yaml` and of the keys file: every field, what it means, and what is assumed when it is left out.
//!
//! No logic stands here. [`Document`] is read by [`read`](mod@super::read) and turned into the values in force by
//! [`compile`](mod@super::compile). The comment of each field is the reference manual: `docs/CONFIGURATION.md` and the JSON
//! schema are made from them, so they are written for the person who edits the file. Paths are relative to the file they
//! stand in; durations are written `500ms`, `10s`, `1m30s`, `1h`, `7d`; sizes `8KiB`, `10MiB`.

mod client;
mod endpoint;
mod limits;
mod upstream;

pub(crate) use client::{ClientShape, GrantsShape, KeyShape, KeyTypeWord, KeysFileShape, OwnerShape};
pub(crate) use endpoint::{
    ConstructWord, CorsShape, DetailWord, EndpointShape, ErrorsShape, FormatWord, RequiredShape, RouteShape, Rules,
    TenantShape,
};
pub(crate) use limits::{
    LimitShape, PartWord, PartsShape, PerShape, PlanShape, RateLimitHeadersShape, RateLimitShape, RateLimits,
    UpstreamHeadersWord, WhenWord,
};
pub(crate) use upstream::{EjectionShape, HealthCheckShape, HostShape, ProtocolShape, ServersShape, UpstreamShape};

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::problem::Report;
use super::read::{At, ByteSize, Header, Map, Network, NoneOr, Nullable, OffOr, Shape, Span, shape, unexpected, words};
use super::tree::{Kind, Node};
use crate::client::{Environment, Plan};

/// What is said where `limits` stands for limits of requests.
pub(crate) const RATE_LIMITS: &str =
    "write `rate_limits`: a list of names, or of limits such as `{ requests: 100, per: 1m }`";
const IN_RATE_LIMITS: &str = "these bound sizes and connections; write how many requests there may be in `rate_limits`";
/// What is said where a client or a key is given limits.
pub(crate) const PLAN: &str = "write `plan` and the name of one of the `plans` at the top of the configuration";

shape! {
    /// A whole configuration: where keygate listens, which services stand behind it, who may call what.
    Document {
        /// Addresses that callers connect to. Default: one listener on `127.0.0.1:8080`, without TLS. A change needs a
        /// restart, renewed certificates do not.
        listen: Option<At<Vec<ListenerShape>>>,
        /// The listener for operators: health, metrics and administration. Default: `{ address: 127.0.0.1:9090 }`; `off`
        /// for none. A change needs a restart.
        admin: Option<OffOr<AdminShape>>,
        /// A second address with health and metrics alone and nothing that can be changed, for example for Kubernetes and
        /// Prometheus. Default: none. A change needs a restart.
        observe: Option<ObserveShape>,
        /// Number of worker threads. Default: one for each processor core. A change needs a restart.
        workers: Option<At<usize>>,
        /// The environment this gateway serves, such as `live`. Keys of another environment are refused. Default: none,
        /// keys of every environment are good.
        environment: Option<Environment>,
        /// What the program writes about itself, on standard error. A change needs a restart.
        log: Option<LogShape>,
        /// One line for each request: `off`, `stdout`, or a map. Default: `{ output: stdout, format: json }`. A change
        /// needs a restart.
        access_log: Option<OffOr<AccessLogShape>>,
        /// Proxies in front of this gateway, whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. Default: none;
        /// these headers are replaced then. Listing a network that callers can reach lets them choose their address.
        trusted_proxies: Option<Vec<Network>>,
        /// Peers that may say on whose behalf a request is made (user, groups, `isbackoffice`). Default: none; these
        /// headers are removed from everybody's requests. Whoever can connect from here can be anybody: list only other
        /// gateways.
        trusted_identity: Option<At<Vec<Network>>>,
        /// Bounds on what one caller may take. A change needs a restart.
        limits: Option<LimitsShape>,
        /// How many requests callers may make: limits, by a name that plans, endpoints and routes refer to.
        rate_limits: Option<RateLimits>,
        /// What keys and clients may be granted: lists of limits, by a name that they carry as their `plan`.
        plans: Option<Map<PlanShape>>,
        /// The plan of keys that carry none, nor their client. Default: none, such keys have the limits of no plan.
        default_plan: Option<At<Plan>>,
        /// What answers tell callers of their limits.
        rate_limit_headers: Option<RateLimitHeadersShape>,
        /// The file in which the counts of days and months outlive a restart. It is written once a second if anything was
        /// counted. Default: that of the store with `.limits` behind it. Needed if there is a limit `per: day` or `per: month`
        /// and no store. A change needs a restart.
        rate_limit_file: Option<At<String>>,
        /// How long callers may take. A change needs a restart.
        timeouts: Option<TimeoutsShape>,
        /// Where callers show their key; the first place that carries one counts. Default: headers `client-key`, `secret`
        /// (deprecated) and `x-api-key`, then `bearer`, then the cookie `mia_client_key`. An endpoint may have its own.
        credentials: Option<At<Vec<CredentialShape>>>,
        /// Beginnings of the keys this gateway knows, such as `mb_live_`. They tell a key of ours in `Authorization` from
        /// somebody else's token. Default: `kg_`.
        key_prefixes: Option<Vec<KeyPrefixShape>>,
        /// What the headers are called that tell upstreams who is calling. They are removed from every request that comes
        /// in, whether they are set or not.
        identity_headers: Option<IdentityHeadersShape>,
        /// The shape of refusals; an endpoint may have its own.
        errors: Option<ErrorsShape>,
        /// Whether a client or key that states no permissions holds none. Default: `false`, it is not limited by
        /// permissions then. An endpoint may have its own.
        require_permissions: Option<bool>,
        /// Refuse requests that did not come over TLS, as far as this gateway or a trusted proxy can tell. Default:
        /// `false`. An endpoint may have its own.
        https_only: Option<At<bool>>,
        /// The services behind this gateway, by a name that endpoints refer to.
        upstreams: Option<Map<UpstreamShape>>,
        /// Where keys are kept: a store that keygate owns, files, or both, and what is asked of keys that are issued. Their
        /// clients and those written here are in force together.
        keys: Option<KeysShape>,
        /// Lets the holder of a key ask about it, replace it and revoke it, with the key itself: `on`, `off`, or a map.
        /// Default: `off`.
        self_service: Option<SwitchOr<SelfServiceShape>>,
        /// Clients and their keys, written here. Digests only, never a key.
        clients: Option<Vec<ClientShape>>,
        /// What may be called, and by whom. Paths that no endpoint governs are answered 404. Order does not matter: the
        /// most specific path wins.
        endpoints: At<Vec<EndpointShape>>,
    }
    gone {
        "rate_limit" => "write `rate_limits`: limits by name, such as `per-key: { requests: 60, per: 1m }`",
        "listeners" => "write `listen`",
        "server" => "write `listen`",
        "routes" => "write `endpoints`; routes stand below an endpoint",
        "key_file" => "write `keys: { file: keys.yaml }`",
        "store" => "write `keys: { store: keygate.db }`",
    }
}

shape! {
    /// One address that callers connect to.
    ListenerShape {
        /// Address and port, such as `0.0.0.0:8080` or `[::]:8080`. `localhost` is `127.0.0.1`. Required.
        address: At<String>,
        /// What endpoints and metrics call it. Default: the address.
        name: Option<At<String>>,
        /// `http1`, or `h2c` for HTTP/2 without TLS beside it. Default: `http1`. With TLS both are spoken, whatever stands
        /// here.
        protocol: Option<ProtocolWord>,
        /// Speak TLS here. Default: no.
        tls: Option<TlsShape>,
        /// Requests that come in here count as made from the back office: `isBackoffice` is true in expressions,
        /// `allow_backoffice` replaces `allow`, and the peers here may name the user. Default: `false`. Never make such
        /// a listener reachable by callers.
        backoffice: Option<bool>,
    }
}

words! {
    /// What a listener without TLS speaks.
    ProtocolWord {
        /// HTTP/1.1 and 1.0.
        Http1 = "http1",
        /// HTTP/2 in clear text, and HTTP/1.1.
        H2c = "h2c",
    }
}

shape! {
    /// The certificates of a listener. Their files are watched: a renewed certificate is in force without a restart.
    TlsShape {
        /// PEM file with the certificate and its chain. Needs `key` beside it.
        certificate: Option<At<String>>,
        /// PEM file with the private key. Nobody but the owner and the group may read it.
        key: Option<At<String>>,
        /// Several certificates instead; callers get the one for the name they ask for (SNI), or the first.
        certificates: Option<At<Vec<CertificateShape>>>,
    }
    gone { "cert" => "write `certificate`" }
}

shape! {
    /// One certificate and its key.
    CertificateShape {
        /// PEM file with the certificate and its chain. Required.
        certificate: At<String>,
        /// PEM file with the private key. Nobody but the owner and the group may read it. Required.
        key: At<String>,
    }
    gone { "cert" => "write `certificate`" }
}

shape! {
    /// The listener for operators.
    AdminShape {
        /// Address and port. Default: `127.0.0.1:9090`.
        address: Option<At<String>>,
        /// Allow an address that other machines can reach without `tls`. Default: `false`. Admin tokens would be sent in the
        /// clear: put something before it that speaks TLS.
        allow_remote: Option<bool>,
        /// Speak TLS here. Default: no. With it, other machines may reach the address.
        tls: Option<TlsShape>,
        /// A file with an admin token of the role `admin`, of at least 20 characters, such as `keygate hash --generate
        /// kg_admin_` makes one. Nobody but its owner may read it. Default: none; with a store, a first token is made and
        /// printed at the first start.
        token_file: Option<At<String>>,
        /// Serve the console here, under `/console/`: the admin API for people with a browser. Default: `true`.
        console: Option<bool>,
    }
}

shape! {
    /// The address for health and metrics.
    ObserveShape {
        /// Address and port, such as `0.0.0.0:9091`. Required.
        address: At<String>,
    }
}

shape! {
    /// What the program writes about itself.
    LogShape {
        /// `error`, `warn`, `info`, `debug` or `trace`. Default: `info`.
        level: Option<LevelWord>,
        /// `text` or `json`. Default: `text`.
        format: Option<LogFormatWord>,
    }
}

words! {
    /// How much is logged.
    LevelWord {
        /// What a person should look at.
        Error = "error",
        /// And what was coped with.
        Warn = "warn",
        /// And what one wants to see on a calm day.
        Info = "info",
        /// And what helps to find something.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// How the log is written.
    LogFormatWord {
        /// For people.
        Text = "text",
        /// For programs.
        Json = "json",
    }
}

/// One line for each request. The word `stdout` is short for `{ output: stdout }`.
#[derive(Debug, Clone)]
pub(crate) enum AccessLogShape {
    Stdout,
    Map(AccessLogMap),
}

shape! {
    /// One line for each request.
    AccessLogMap {
        /// `stdout`, or the path of a file that lines are appended to. Default: `stdout`.
        output: Option<At<String>>,
        /// `json`, or `combined` as Apache and nginx write it. Default: `json`.
        format: Option<AccessFormatWord>,
    }
}

words! {
    /// How the access log is written.
    AccessFormatWord {
        /// One JSON object a line.
        Json = "json",
        /// The combined log format.
        Combined = "combined",
    }
}

impl Shape for AccessLogShape {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Text { value, .. } if value == "stdout" => Some(Self::Stdout),
            Kind::Map(_) => AccessLogMap::read(node, report).map(Self::Map),
            _ => {
                unexpected(node, "`off`, `stdout` or a map with `output` and `format`", report);
                None
            }
        }
    }
}

impl JsonSchema for AccessLogShape {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AccessLog".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "stdout" }, generator.subschema_for::<AccessLogMap>()] })
    }
}

shape! {
    /// Bounds on what one caller may take. What is beyond is refused before any other work is done.
    LimitsShape {
        /// The size of a request's line and headers together. Default: `32KiB`.
        head: Option<At<ByteSize>>,
        /// The number of header fields. Default: `100`.
        headers: Option<At<usize>>,
        /// The size of the target (path and query). Default: `8KiB`.
        target: Option<At<ByteSize>>,
        /// The size of a request's body, or `none`. Bodies are never stored, so a bound protects the upstream alone.
        /// Default: `none`. An endpoint may have its own `max_body`.
        body: Option<NoneOr<At<ByteSize>>>,
        /// Open connections in all. Default: `10000`.
        connections: Option<At<usize>>,
        /// Open connections from one address, or `none`. Default: `none`, since many callers may share an address.
        connections_per_address: Option<NoneOr<At<usize>>>,
        /// Requests at once on one HTTP/2 connection. Default: `100`.
        streams: Option<At<u32>>,
        /// Different texts that are nobody's key, from one address in a minute (of IPv6: from one /64), or `none`. Beyond
        /// that keys from there are answered 429 without being looked up, those excepted that were good from there
        /// meanwhile. Keys that keygate made count as little as those that are known and over. Default: `200`. Behind a
        /// proxy list it in `trusted_proxies`, or all callers are one address.
        rejected_keys: Option<NoneOr<At<usize>>>,
    }
    gone { "requests" => IN_RATE_LIMITS, "rate" => IN_RATE_LIMITS, "concurrent" => IN_RATE_LIMITS }
}

shape! {
    /// How long callers may take.
    TimeoutsShape {
        /// For a TLS handshake. Default: `10s`.
        tls_handshake: Option<Span>,
        /// For the line and headers of a request, from the first byte or from the start of a connection. Default: `10s`.
        head: Option<Span>,
        /// For the next request on a connection. Default: `60s`.
        idle: Option<Span>,
        /// For a connection as a whole; requests in flight are finished. Default: `1h`.
        age: Option<Span>,
        /// Between two pieces of a request's body. Default: `30s`.
        body: Option<Span>,
        /// For a caller to take the next piece of a response. Default: `30s`.
        write: Option<Span>,
        /// From the moment a request is passed on to the end of its answer, or `none`. Upgraded connections are not meant.
        /// Default: `none`, since answers may be long; the times between pieces and the least rate hold all the same.
        exchange: Option<NoneOr<Span>>,
        /// For requests in flight when the program is told to stop. WebSockets are sent a close frame when half of it is
        /// over, and cut at the end. Default: `30s`.
        drain: Option<Span>,
    }
}

/// A place where callers show their key: the word `bearer`, or a map with `header` or `cookie`.
#[derive(Debug, Clone)]
pub(crate) enum CredentialShape {
    /// `Authorization: Bearer`.
    Bearer(super::tree::Position),
    Map(CredentialMap),
}

shape! {
    /// A place where callers show their key.
    CredentialMap {
        /// A header whose whole value is the key.
        header: Option<At<Header>>,
        /// A cookie whose value is the key. It counts only where no header carries one.
        cookie: Option<At<String>>,
        /// The place still works, its use is counted and logged. Default: `false`.
        deprecated: Option<At<bool>>,
    }
}

impl Shape for CredentialShape {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Text { value, .. } if value.eq_ignore_ascii_case("bearer") => Some(Self::Bearer(node.at)),
            Kind::Map(_) => CredentialMap::read(node, report).map(Self::Map),
            Kind::Text { value, .. } => {
                let hint = if value == "query" {
                    "a key in a query ends up in logs and histories; it is not offered".to_owned()
                } else {
                    format!("write `bearer`, `{{ header: {value} }}` or `{{ cookie: {value} }}`")
                };
                report.error(node.at, "expected `bearer` or a map").hint(hint);
                None
            }
            _ => {
                unexpected(node, "`bearer`, or a map with `header` or `cookie`", report);
                None
            }
        }
    }
}

impl JsonSchema for CredentialShape {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Credential".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "bearer" }, generator.subschema_for::<CredentialMap>()] })
    }
}

shape! {
    /// How keys of one kind begin.
    KeyPrefixShape {
        /// The beginning, such as `mb_live_`. Required.
        prefix: At<String>,
        /// The type of the keys that begin so, when new ones are made. Default: `secret`.
        r#type: Option<KeyTypeWord>,
        /// The environment of the keys that begin so, when new ones are made. Default: none.
        environment: Option<Environment>,
    }
}

shape! {
    /// Names of the headers that tell upstreams who is calling. `null` switches one off; it is removed from requests all
    /// the same.
    IdentityHeadersShape {
        /// The client's type. Default: `client-type`.
        client_type: Option<Nullable<Header>>,
        /// The client's id. Default: `x-client-id`.
        client_id: Option<Nullable<Header>>,
        /// The key's id. Default: `x-client-key-id`.
        client_key_id: Option<Nullable<Header>>,
        /// The client's tenant. Default: `x-client-tenant`.
        tenant: Option<Nullable<Header>>,
        /// The key's environment. Default: `x-client-environment`.
        environment: Option<Nullable<Header>>,
        /// What client and key were granted, joined by commas. Default: `x-client-permissions`.
        permissions: Option<Nullable<Header>>,
        /// The client's groups, joined by commas. Default: `x-client-groups`.
        groups: Option<Nullable<Header>>,
        /// The user's id, if a trusted peer named one. Default: `miauserid`.
        user_id: Option<Nullable<Header>>,
        /// The user's groups, joined by commas. Default: `miausergroups`.
        user_groups: Option<Nullable<Header>>,
        /// The user's properties, a JSON object. Default: `miauserproperties`.
        user_properties: Option<Nullable<Header>>,
        /// `1` for requests from the back office, absent otherwise. Default: `isbackoffice`.
        backoffice: Option<Nullable<Header>>,
        /// More headers that upstreams believe and callers must not be able to send. Default: none.
        reserved: Option<Vec<Header>>,
    }
}

shape! {
    /// Where keys are kept.
    KeysShape {
        /// The file of the store that keygate owns, such as `keygate.db` or `sqlite:keygate.db`. It is made if it is not
        /// there, and must be on a local disk. Keys are made, changed and revoked there with `keygate keys` and over the
        /// admin API. Default: none, keys stand in files alone. A change needs a restart.
        store: Option<At<String>>,
        /// A file: `.yaml` or `.yml` with `clients:` at its top, or `.jsonl` with one key a line, for very many of them.
        file: Option<At<String>>,
        /// Several files.
        files: Option<At<Vec<At<String>>>>,
        /// A file with 32 random bytes, raw, in hex or in base64, that `blake3-keyed` digests are made with. Nobody but the
        /// owner and the group may read it. Needed if there are such digests. With it, keys that are made are kept as such.
        pepper_file: Option<At<String>>,
        /// What is asked of keys when they are made or changed in the store.
        policy: Option<KeyPolicyShape>,
        /// Who is told when keys change.
        webhook: Option<WebhookShape>,
    }
    gone {
        "database" => "write `store`",
        "pepper" => "write `pepper_file` and put the pepper into a file of its own",
    }
}

shape! {
    /// What is asked of keys when they are made or changed in the store. Keys that were made before stay as they are.
    KeyPolicyShape {
        /// Every key has an end. Default: `false`.
        require_expiry: Option<bool>,
        /// No key ends later than so long after it is made or changed; a key that states no end gets this one. Default: no
        /// bound.
        max_key_age: Option<At<Span>>,
        /// So many keys a tenant may have, and as many those without a tenant together. Default: no bound.
        max_keys: Option<At<usize>>,
        /// Types of keys that are kept as they are, so that they can be shown again: `[publishable]`, or none. Secret keys
        /// never are. Default: none.
        keep_visible: Option<At<Vec<KeyTypeWord>>>,
        /// Keys that nobody has used for so long are switched off. Default: never.
        disable_unused_after: Option<At<Span>>,
        /// So long before its end the webhook is told of a key. Default: `[30d, 7d, 1d]`.
        notify_before_expiry: Option<Vec<Span>>,
    }
    gone {
        "require_permissions" => "write `require_permissions` at the top: it also asks keys that are made for permissions",
        "max_age" => "write `max_key_age`",
    }
}

shape! {
    /// Who is told when keys are made, rotated, switched off, revoked or about to end. Each message is a POST with a JSON
    /// body, signed as the Standard Webhooks specification says, and sent again until it is taken, for a day.
    WebhookShape {
        /// Where to: `https://..`, or `http://` to this machine alone. Required.
        url: At<String>,
        /// A file with the secret that messages are signed with: at least 24 characters, or `whsec_` and base64. Nobody but
        /// its owner may read it. Required.
        secret_file: At<String>,
        /// PEM file with the authorities whose certificates are trusted. Default: the system's.
        ca: Option<At<String>>,
    }
}

shape! {
    /// What the holder of a key may do with the key itself.
    SelfServiceShape {
        /// The path below which it is answered: `<path>/whoami`, `<path>/rotate`, `<path>/revoke`. Default: `/-`.
        path: Option<At<String>>,
        /// What is offered: some of `whoami`, `rotate` and `revoke`. Default: all. Publishable keys may ask `whoami` alone.
        actions: Option<At<Vec<SelfServiceWord>>>,
        /// How long an old secret may stay good at most when a holder rotates. Default: `7d`.
        max_grace: Option<At<Span>>,
    }
}

words! {
    /// What the holder of a key may do.
    SelfServiceWord {
        /// Ask what the key is.
        Whoami = "whoami",
        /// Get another secret for it.
        Rotate = "rotate",
        /// Take it out of force.
        Revoke = "revoke",
    }
}

/// `on`, `off`, or a map. `on` is short for a map that says nothing.
#[derive(Debug, Clone)]
pub(crate) enum SwitchOr<T> {
    Off,
    On,
    Value(T),
}

impl<T: Shape> Shape for SwitchOr<T> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Text { value, .. } if value == "off" => Some(Self::Off),
            Kind::Text { value, .. } if value == "on" => Some(Self::On),
            Kind::Bool(is_on) => Some(if *is_on { Self::On } else { Self::Off }),
            Kind::Map(_) => T::read(node, report).map(Self::Value),
            _ => {
                unexpected(node, "`on`, `off` or a map", report);
                None
            }
        }
    }
}

impl<T: JsonSchema> JsonSchema for SwitchOr<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("SwitchOr{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "enum": ["on", "off"] }, generator.subschema_for::<T>()] })
    }
}
