//! The shape of endpoints and the routes below them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::client::{ClientType, Permission};
use crate::config::document::{CredentialShape, KeyTypeWord, LimitShape, RATE_LIMITS};
use crate::config::problem::Report;
use crate::config::read::{
    AnyOr, At, ByteSize, ExpressionText, FromText as _, Header, Network, NoneOr, Shape, Span, Verb, refuse_twice,
    shape, unexpected, words,
};
use crate::config::tree::{Kind, Node, Position};

const STRIP_PREFIX: &str = "write `rewrite: /` to put the root in place of the endpoint's path";
const NO_API_KEY_FLAG: &str = "write `api_key: required`, or `public: true` if callers need none";

shape! {
    /// A path, who may call what is at and below it, and where it leads.
    ///
    /// Some rule must be written: one of `public`, `api_key`, `client_types`, `permissions`, `key_types`, `tenant`,
    /// `require_user` and `allow`. All that are written must hold. Unless `public: true` is written, a good key is needed.
    EndpointShape {
        /// Unique; what logs, metrics and refusals call it. Required.
        name: At<String>,
        /// The path. It governs itself and everything below it: `/orders` governs `/orders/7`, never `/orders-old`. `:name`
        /// stands for one segment. Required.
        path: At<String>,
        /// The host it is for; `*.example.com` for any host below. Default: any host.
        host: Option<At<String>>,
        /// Several hosts.
        hosts: Option<At<Vec<At<String>>>>,
        /// Names of the listeners it can be reached on. Default: all.
        listeners: Option<At<Vec<At<String>>>>,
        /// The upstream it leads to. Default: the only one there is.
        upstream: Option<At<String>>,
        /// Callers need no key. A key that is shown must be good all the same. Default: `false`.
        public: Option<At<bool>>,
        /// `required`: any good key will do. This is what happens without `public`; it is written where no other rule is.
        api_key: Option<At<ApiKeyWord>>,
        /// The client must be of one of these types, or `any`. Default: `any`.
        client_types: Option<At<AnyOr<Vec<At<ClientType>>>>>,
        /// What the client must have been granted. A list: all of these, for every method. A map from methods to lists: all
        /// of these for the method, and no other method is admitted. `none` or an empty list: nothing. Default: `none`.
        permissions: Option<At<NoneOr<RequiredShape>>>,
        /// Methods that are admitted; `HEAD` comes with `GET`. Default: those of `permissions` if it is a map, or else
        /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD` and `OPTIONS`.
        methods: Option<At<Vec<At<Verb>>>>,
        /// Types of key that are good here: `secret`, `publishable` or both. Default: `[secret]`; both where `public: true`
        /// is written.
        key_types: Option<At<Vec<KeyTypeWord>>>,
        /// Where the request says which tenant it is about; it must be the client's. `none` for no such rule. Default:
        /// `none`.
        tenant: Option<At<NoneOr<TenantShape>>>,
        /// Networks requests must come from. Default: any. An empty list is an error.
        networks: Option<At<Vec<Network>>>,
        /// Refuse requests that did not come over TLS. Default: that of the whole configuration.
        https_only: Option<At<bool>>,
        /// A trusted peer must have named a user, besides the key. Default: `false`.
        require_user: Option<At<bool>>,
        /// Whether a client or key that states no permissions holds none here. Default: that of the whole configuration.
        require_permissions: Option<bool>,
        /// An expression that must be true, in quotes. Naming `clientType` in it implies that a key is needed. Default:
        /// none.
        allow: Option<At<ExpressionText>>,
        /// The expression on listeners marked `backoffice: true`. Default: that of `allow`.
        allow_backoffice: Option<At<ExpressionText>>,
        /// Where callers show their key. Default: as for the whole configuration.
        credentials: Option<At<Vec<CredentialShape>>>,
        /// Leave the key in the request when it is passed on. Default: `false`, the upstream never sees it.
        forward_credential: Option<bool>,
        /// What the upstream sees in place of the endpoint's path: with `path: /orders` and `rewrite: /v2`, `/orders/7`
        /// becomes `/v2/7`; `rewrite: /` takes the path away. Default: the path stays as it is.
        rewrite: Option<At<String>>,
        /// Constructs in a path that are refused unless they stand here, because two readers may take them differently:
        /// `encoded_slash` (`%2F`), `semicolon` (`;`), `encoded_unreserved` (`%61`). They are forwarded as they came.
        /// Default: none.
        admit: Option<Vec<ConstructWord>>,
        /// `distinct`: paths that differ only by the case of letters are different things to the upstream. Default: a path
        /// that escapes a more specific endpoint only by its case is refused.
        case: Option<CaseWord>,
        /// Headers such as `X-HTTP-Method-Override` or `X-Original-URL` that may pass to the upstream although they can
        /// change what it does. Default: none.
        pass_headers: Option<Vec<Header>>,
        /// Pass the trailers of requests on. Default: `false`.
        request_trailers: Option<bool>,
        /// Protocols a connection may be upgraded to. Default: `[websocket]`; `[]` for none.
        upgrades: Option<Vec<At<String>>>,
        /// Answer browsers that ask from pages of other origins. Default: no.
        cors: Option<CorsShape>,
        /// Limits that hold here beside those of the caller's plan and those written `everywhere: true`: names of limits, or
        /// limits, which are for the endpoint unless they say otherwise. Default: none.
        rate_limits: Option<At<NoneOr<Vec<LimitShape>>>>,
        /// What a request takes out of each limit that counts requests. `0`: nothing. Default: `1`.
        cost: Option<At<u32>>,
        /// The size of a request's body, or `none`. Default: `limits.body`.
        max_body: Option<NoneOr<ByteSize>>,
        /// How long to wait for the head of a response. Default: that of the upstream.
        response_timeout: Option<Span>,
        /// The shape of refusals. Default: as for the whole configuration.
        errors: Option<ErrorsShape>,
        /// What it is for; nothing reads it.
        description: Option<String>,
        /// Words to find it by; nothing reads them.
        tags: Option<Vec<String>>,
        /// Other rules for single paths below it.
        routes: Option<Vec<RouteShape>>,
    }
    gone {
        "limits" => RATE_LIMITS,
        "rate_limit" => RATE_LIMITS,
        "strip_prefix" => STRIP_PREFIX,
        "base_path" => "write `path`",
        "acl" => "write `allow`",
        "secreted" => NO_API_KEY_FLAG,
        "api_key_required" => NO_API_KEY_FLAG,
        "scopes" => "write `permissions`",
        "policy" => "write its fields beside `path`",
        "timeout" => "write `response_timeout`",
    }
}

shape! {
    /// Other rules for one path below an endpoint. Each field that is not written is inherited from the endpoint.
    RouteShape {
        /// A method or `ALL`, then the path, such as `DELETE /orders/:id`. A path without `/` in front is below the
        /// endpoint's: `DELETE :id`. It governs exactly this path, with or without a `/` at its end, and nothing below. A
        /// route for `GET` governs `HEAD` too. Required.
        r#match: At<String>,
        /// As for the endpoint. Rules on who may call that the endpoint states must be taken back where they stand in the
        /// way: `client_types: any`, `permissions: none`, `tenant: none`, `require_user: false`.
        public: Option<At<bool>>,
        /// As for the endpoint.
        api_key: Option<At<ApiKeyWord>>,
        /// As for the endpoint.
        client_types: Option<At<AnyOr<Vec<At<ClientType>>>>>,
        /// As for the endpoint.
        permissions: Option<At<NoneOr<RequiredShape>>>,
        /// As for the endpoint.
        key_types: Option<At<Vec<KeyTypeWord>>>,
        /// As for the endpoint.
        tenant: Option<At<NoneOr<TenantShape>>>,
        /// As for the endpoint.
        networks: Option<At<Vec<Network>>>,
        /// As for the endpoint.
        https_only: Option<At<bool>>,
        /// As for the endpoint.
        require_user: Option<At<bool>>,
        /// As for the endpoint.
        require_permissions: Option<bool>,
        /// As for the endpoint.
        allow: Option<At<ExpressionText>>,
        /// As for the endpoint.
        allow_backoffice: Option<At<ExpressionText>>,
        /// Limits that hold here in place of the endpoint's, or `none`. Those that are written here are for the route unless
        /// they say otherwise.
        rate_limits: Option<At<NoneOr<Vec<LimitShape>>>>,
        /// As for the endpoint.
        cost: Option<At<u32>>,
        /// What it is for; nothing reads it.
        description: Option<String>,
    }
    gone {
        "limits" => RATE_LIMITS,
        "rate_limit" => RATE_LIMITS,
        "path" => "write method and path as `match: GET /path`",
        "method" => "write method and path as `match: GET /path`",
        "acl" => "write `allow`",
        "secreted" => NO_API_KEY_FLAG,
        "upstream" => "a route leads where its endpoint leads; write another endpoint",
    }
}

words! {
    /// That a key is needed.
    ApiKeyWord {
        /// Any good key will do.
        Required = "required",
    }
}

words! {
    /// A construct in a path.
    ConstructWord {
        /// `%2F`
        EncodedSlash = "encoded_slash",
        /// `;`
        Semicolon = "semicolon",
        /// `%61`
        EncodedUnreserved = "encoded_unreserved",
    }
}

words! {
    /// What letter case means in a path.
    CaseWord {
        /// Paths that differ by case are different.
        Distinct = "distinct",
    }
}

/// Permissions an endpoint asks for.
#[derive(Debug, Clone)]
pub(crate) enum RequiredShape {
    All(Vec<At<Permission>>),
    ByMethod(Vec<(At<Verb>, Vec<At<Permission>>)>),
}

impl Shape for RequiredShape {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::List(_) => Vec::read(node, report).map(Self::All),
            Kind::Map(entries) => {
                refuse_twice(entries, report);
                let mut by_method = Vec::new();
                let errors = report.errors();
                for (key, value) in entries {
                    let verb = match Verb::from_text(&key.text) {
                        Ok(verb) => Some(At { at: key.at, value: verb }),
                        Err(why) => {
                            let message =
                                format!("{} is not a method: {why}", crate::config::problem::quote(&key.text));
                            let hint = Verb::hint(&key.text)
                                .or_else(|| (key.text == "ALL").then(|| "write a list in place of the map".to_owned()));
                            report.error(key.at, message).maybe_hint(hint);
                            None
                        }
                    };
                    if let (Some(verb), Some(permissions)) = (verb, Vec::read(value, report)) {
                        by_method.push((verb, permissions));
                    }
                }
                // Half a map would admit less than was meant, and the message would be about something else.
                (report.errors() == errors).then_some(Self::ByMethod(by_method))
            }
            _ => {
                unexpected(node, "`none`, a list of permissions, or a map from methods to such lists", report);
                None
            }
        }
    }
}

impl JsonSchema for RequiredShape {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Required".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let list = generator.subschema_for::<Vec<Permission>>();
        json_schema!({ "anyOf": [list, { "type": "object", "additionalProperties": list }] })
    }
}

shape! {
    /// Where a request says which tenant it is about: exactly one of these.
    TenantShape {
        /// The name of a `:segment` of the path.
        path: Option<At<String>>,
        /// A header.
        header: Option<At<Header>>,
        /// The first label of the host name.
        host_label: Option<At<bool>>,
    }
}

shape! {
    /// Answers to browsers that ask from pages of other origins (Fetch standard, section 3.2).
    CorsShape {
        /// Origins that may ask, such as `https://shop.example`, or `any`. Required.
        origins: At<AnyOr<Vec<At<String>>>>,
        /// Methods they may use. Default: those of the endpoint.
        methods: Option<Vec<Verb>>,
        /// Headers they may send. Default: those they ask for.
        headers: Option<Vec<Header>>,
        /// Response headers that scripts may read. Default: none beyond the ordinary.
        expose: Option<Vec<Header>>,
        /// Whether cookies may be sent along; not with `origins: any`. Default: `false`.
        credentials: Option<At<bool>>,
        /// How long a browser may remember. Default: `10m`.
        max_age: Option<Span>,
    }
}

shape! {
    /// The shape of refusals.
    ErrorsShape {
        /// `problem` (RFC 9457), `envelope` (`{"error":{"code","message"}}`), `bkend` (`{"statusCode","error","message"}`) or
        /// `billabear` (`[]`). Default: `problem`.
        format: Option<FormatWord>,
        /// `generic`: every key that is not good is `credential_rejected`. `full`: the caller is told whether it is unknown,
        /// disabled or expired, which also tells those who guess. Default: `generic`.
        detail: Option<DetailWord>,
    }
}

words! {
    /// The body of refusals.
    FormatWord {
        /// RFC 9457.
        Problem = "problem",
        /// An object with `error`.
        Envelope = "envelope",
        /// As bkend does.
        Bkend = "bkend",
        /// As BillaBear does.
        Billabear = "billabear",
    }
}

words! {
    /// How much callers are told.
    DetailWord {
        /// Not why a key is not good.
        Generic = "generic",
        /// Why.
        Full = "full",
    }
}

/// The rules of an endpoint or a route, as written.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub public: Option<At<bool>>,
    pub api_key: Option<At<ApiKeyWord>>,
    pub client_types: Option<At<AnyOr<Vec<At<ClientType>>>>>,
    pub permissions: Option<At<NoneOr<RequiredShape>>>,
    pub key_types: Option<At<Vec<KeyTypeWord>>>,
    pub tenant: Option<At<NoneOr<TenantShape>>>,
    pub networks: Option<At<Vec<Network>>>,
    pub https_only: Option<At<bool>>,
    pub require_user: Option<At<bool>>,
    pub require_permissions: Option<bool>,
    pub allow: Option<At<ExpressionText>>,
    pub allow_backoffice: Option<At<ExpressionText>>,
    pub at: Position,
    pub is_broken: bool,
}

/// Takes the rules out of a shape that has them.
macro_rules! rules_of {
    ($($shape:ty),*) => {$(
        impl $shape {
            /// The fields that say who may call.
            pub fn rules(&self) -> Rules {
                Rules {
                    public: self.public.clone(),
                    api_key: self.api_key.clone(),
                    client_types: self.client_types.clone(),
                    permissions: self.permissions.clone(),
                    key_types: self.key_types.clone(),
                    tenant: self.tenant.clone(),
                    networks: self.networks.clone(),
                    https_only: self.https_only.clone(),
                    require_user: self.require_user.clone(),
                    require_permissions: self.require_permissions,
                    allow: self.allow.clone(),
                    allow_backoffice: self.allow_backoffice.clone(),
                    at: self.at,
                    is_broken: self.is_broken,
                }
            }
        }
    )*};
}
rules_of!(EndpointShape, RouteShape);
