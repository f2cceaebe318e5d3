//! What the console shows of the gateway that runs: traffic, rules, access, settings, and decisions explained.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::State;
use http::{Method, StatusCode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Context;
use super::body::{Answer, Json, Query, blocking};
use super::problem::Problem;
use crate::credential::Secret;
use crate::management::Fault;
use crate::observatory::{
    self, AccessMatrix, EndpointList, Observatory, Overview, PermissionList, Question, SeenSettings, Unanswerable, Who,
};

impl Context {
    fn observatory(&self) -> Result<Observatory, Problem> {
        self.observatory.clone().ok_or_else(|| {
            let detail = "no gateway runs here: ask the one that does";
            Problem::new(StatusCode::CONFLICT, "not_running", detail)
        })
    }
}

/// Which part of the past.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OverviewParameters {
    /// Only samples behind the one of this number; all that are kept if nothing is said.
    pub after: Option<u64>,
}

/// Show how the gateway does
///
/// Traffic by verdict since the start and in the last minutes, what it calls, its configuration, its keys; and a sample of
/// the traffic for each five seconds of the last quarter of an hour. To follow it, ask again every five seconds with the
/// number of the last sample as `after`. A gateway that has just started has no samples.
#[utoipa::path(
    get, path = "/v1/overview", tag = "gateway", params(OverviewParameters), responses((status = 200, body = Overview))
)]
pub(super) async fn show_overview(
    State(context): State<Context>,
    Query(asked): Query<OverviewParameters>,
) -> Result<Answer<Overview>, Problem> {
    let observatory = context.observatory()?;
    let overview = blocking(move || Ok(observatory.overview(asked.after))).await?;
    Ok(Answer(StatusCode::OK, overview))
}

/// List the rules in force
///
/// Each with the file and the line where it was written.
#[utoipa::path(get, path = "/v1/endpoints", tag = "gateway", responses((status = 200, body = EndpointList)))]
pub(super) async fn list_endpoints(State(context): State<Context>) -> Result<Answer<EndpointList>, Problem> {
    let observatory = context.observatory()?;
    Ok(Answer(StatusCode::OK, blocking(move || Ok(observatory.endpoints())).await?))
}

/// Show who can reach what
///
/// Each endpoint, and each route below it, by the types of client that rules name or that clients have. What is told holds
/// for good keys; `POST /v1/explain` tells of one request.
#[utoipa::path(get, path = "/v1/access", tag = "gateway", responses((status = 200, body = AccessMatrix)))]
pub(super) async fn show_access(State(context): State<Context>) -> Result<Answer<AccessMatrix>, Problem> {
    let observatory = context.observatory()?;
    let matrix = blocking(move || Ok(observatory.access(&context.management.client_types()?))).await?;
    Ok(Answer(StatusCode::OK, matrix))
}

/// List permissions
///
/// Those that the rules in force name, by what they are about, with the endpoints that ask for them.
#[utoipa::path(get, path = "/v1/permissions", tag = "gateway", responses((status = 200, body = PermissionList)))]
pub(super) async fn list_permissions(State(context): State<Context>) -> Result<Answer<PermissionList>, Problem> {
    let observatory = context.observatory()?;
    Ok(Answer(StatusCode::OK, blocking(move || Ok(observatory.permissions())).await?))
}

/// Show the settings
///
/// The configuration as it was understood, without its secrets; what needs a restart as it was at the start.
#[utoipa::path(get, path = "/v1/settings", tag = "gateway", responses((status = 200, body = SeenSettings)))]
pub(super) async fn show_settings(State(context): State<Context>) -> Result<Answer<SeenSettings>, Problem> {
    Ok(Answer(StatusCode::OK, context.observatory()?.settings()))
}

/// A request that is asked about: with one of `key`, `key_id` and `client`, or without a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Explain {
    /// Its method.
    #[schema(example = "GET")]
    method: String,
    /// Its path, or a whole URL.
    #[schema(example = "/orders/17", max_length = 8192)]
    path: String,
    /// Its host, if the path is no URL.
    #[schema(max_length = 255)]
    host: Option<String>,
    /// The key itself. It is turned into a digest at once, and neither kept nor logged.
    #[schema(max_length = 8192)]
    key: Option<String>,
    /// As the key of this id, whatever its secret.
    key_id: Option<String>,
    /// As the client of this id, with a secret key that states nothing of its own.
    client: Option<String>,
    /// The listener it comes in on. Default: the first one.
    listener: Option<String>,
    /// The address it comes from. Default: `127.0.0.1`.
    address: Option<String>,
    /// It comes over HTTPS, whatever the listener speaks. Default: as the listener does.
    #[serde(default)]
    https: bool,
}

/// Explain a decision
///
/// How a request would be decided by the rules and keys in force, step by step, and the smallest change that would admit it.
/// Nothing is sent, counted or logged.
#[utoipa::path(
    post, path = "/v1/explain", tag = "gateway", request_body = Explain,
    responses((status = 200, body = observatory::Answer))
)]
pub(super) async fn explain(
    State(context): State<Context>,
    Json { value, .. }: Json<Explain>,
) -> Result<Answer<observatory::Answer>, Problem> {
    let observatory = context.observatory()?;
    let answer = blocking(move || Ok(decide(&context, &observatory, value))).await??;
    Ok(Answer(StatusCode::OK, answer))
}

fn decide(context: &Context, observatory: &Observatory, asked: Explain) -> Result<observatory::Answer, Problem> {
    let fault = |pointer: &str, code: &'static str, detail: &str| {
        Problem::invalid(vec![Fault::new(pointer, code, detail.to_owned())])
    };
    let who = match (asked.key, asked.key_id, asked.client) {
        (None, None, None) => Who::Nobody,
        (Some(text), None, None) => Who::Secret(Secret::owned(text.into_bytes())),
        (None, Some(id), None) => match context.management.key_in_force(&id)? {
            Some(key) => Who::Key(key),
            None => {
                let detail = "this key is in force no more: requests with it are refused everywhere";
                return Err(Problem::new(StatusCode::CONFLICT, "key_not_in_force", detail));
            }
        },
        (None, None, Some(id)) => Who::Client(context.management.client(&id)?.client),
        _ => return Err(fault("/key", "field_conflict", "name one of `key`, `key_id` and `client`")),
    };
    let method: Method = asked
        .method
        .parse()
        .map_err(|_| fault("/method", "word_invalid", "this is no method of HTTP, such as `GET`"))?;
    let address = match asked.address.as_deref().map(str::parse) {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(Ok(address)) => address,
        Some(Err(_)) => return Err(fault("/address", "word_invalid", "write an IP address, such as `192.0.2.1`")),
    };
    let question = Question {
        method,
        target: &asked.path,
        host: asked.host.as_deref().filter(|host| !host.is_empty()),
        who,
        listener: asked.listener.as_deref(),
        address,
        is_secure: asked.https,
    };
    observatory.explain(&question).map_err(|why| match why {
        Unanswerable::Target => fault("/path", "word_invalid", &why.to_string()),
        Unanswerable::Host => fault("/host", "word_invalid", &why.to_string()),
        Unanswerable::Listener => fault("/listener", "word_invalid", &why.to_string()),
        Unanswerable::Secret => fault("/key", "word_invalid", &why.to_string()),
        Unanswerable::NoRandomness => Problem::internal(),
    })
}
