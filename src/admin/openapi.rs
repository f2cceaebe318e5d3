//! Every route of the admin API, and the document that describes them, of one piece.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode, Uri};
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{answered, authenticate};
use super::problem::Problem;
use super::{Context, bulk, clients, exports, imports, keys, limits, session, system, tokens, views};

/// The frame of the document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "keygate admin API",
        description = "Issue, find, change, rotate, disable and revoke API keys.\n\nEvery answer is JSON. Every refusal is a \
            problem of RFC 9457 with a stable `code`; where parts of a request are wrong, `errors` names each by its JSON \
            pointer. Lists come in parts: ask again with `next_cursor` as `cursor`. Moments are written as RFC 3339 asks \
            for, in UTC. A change is in force when its answer comes.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "keys", description = "API keys"),
        (name = "clients", description = "Who keys belong to, and who answers for them"),
        (name = "limits", description = "How much may be asked for, and what is left"),
        (name = "audit", description = "Who changed what, and when"),
        (name = "admin tokens", description = "Who may use this API"),
        (name = "gateway", description = "The gateway itself"),
        (name = "session", description = "Signing in to the console")
    ),
    components(schemas(Problem, keys::Sort, clients::OwnerWord, clients::OwnersKeys))
)]
struct Frame;

fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::with_openapi(Frame::openapi())
        .routes(routes!(keys::list_keys, keys::create_key))
        .routes(routes!(keys::show_key, keys::edit_key, keys::revoke_key))
        .routes(routes!(keys::disable_key))
        .routes(routes!(keys::enable_key))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(keys::finish_rotation))
        .routes(routes!(keys::undo_rotation))
        .routes(routes!(keys::show_usage))
        .routes(routes!(keys::lookup_keys))
        .routes(routes!(bulk::disable_keys))
        .routes(routes!(imports::import_keys))
        .routes(routes!(exports::export_keys))
        .routes(routes!(clients::list_clients, clients::create_client))
        .routes(routes!(clients::show_client, clients::edit_client, clients::delete_client))
        .routes(routes!(clients::disable_client))
        .routes(routes!(clients::enable_client))
        .routes(routes!(clients::list_owners))
        .routes(routes!(clients::remove_owner))
        .routes(routes!(exports::list_audit))
        .routes(routes!(exports::export_audit))
        .routes(routes!(limits::list_limits))
        .routes(routes!(limits::show_key_limits))
        .routes(routes!(limits::show_client_limits))
        .routes(routes!(tokens::list_admin_tokens, tokens::create_admin_token))
        .routes(routes!(tokens::revoke_admin_token))
        .routes(routes!(system::show_identity))
        .routes(routes!(system::show_summary))
        .routes(routes!(system::reload))
        .routes(routes!(views::show_overview))
        .routes(routes!(views::list_endpoints))
        .routes(routes!(views::show_access))
        .routes(routes!(views::list_permissions))
        .routes(routes!(views::explain))
        .routes(routes!(views::show_settings))
        .routes(routes!(session::show_session, session::sign_out))
        .routes(routes!(session::sign_out_everywhere))
}

/// Where one gets in: a session is begun by whoever has none.
fn door() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(session::sign_in))
}

/// The routes, behind the check of who asks; the document is for everybody.
pub(super) fn router(context: Context) -> Router {
    let (router, _) = routes().split_for_parts();
    let (door, _) = door().split_for_parts();
    let text: bytes::Bytes = document().to_string().into();
    let shown = move || {
        let mut response = text.clone().into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        std::future::ready(response)
    };
    router
        .fallback(nothing_there)
        .method_not_allowed_fallback(another_method)
        .layer(from_fn_with_state(context.clone(), authenticate))
        .merge(door)
        .layer(from_fn_with_state(context.clone(), answered))
        .route("/openapi.json", get(shown))
        .with_state(context)
}

async fn nothing_there(uri: Uri) -> Problem {
    // A slash too many is the usual reason.
    let hint = if uri.path().ends_with('/') { "; paths end without a slash" } else { "" };
    Problem::new(
        StatusCode::NOT_FOUND,
        "path_not_found",
        format!("there is nothing at this path: see /openapi.json{hint}"),
    )
}

async fn another_method(method: Method) -> Problem {
    let detail = format!("this path does not take {method}: `Allow` names what it takes");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// The document that describes the admin API (OpenAPI 3.1).
#[must_use]
pub fn document() -> Value {
    let (_, openapi) = routes().merge(door()).split_for_parts();
    // What cannot be written as JSON would have failed to compile.
    let mut document = serde_json::to_value(openapi).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "admin_token": {
            "type": "http",
            "scheme": "bearer",
            "description": "An admin token: `keygate admin-token create` makes one. Over the local socket none is needed.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-keygate_session",
            "description": "A session of the console, begun by `POST /v1/session`; `keygate_session` where there is no TLS. Good \
                together with `X-Keygate-Console: 1` and a browser's word that the request is the console's own.",
        }
    });
    document["security"] = json!([{ "admin_token": [] }, { "session": [] }]);
    document["components"]["responses"] = json!({
        "Problem": {
            "description": "Not carried out: the problem says why, and what to do",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        }
    });
    // An export is all there is.
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, path) in paths.filter(|(path, _)| path.starts_with("/v1/export/")) {
        if let Some(parameters) = path["get"]["parameters"].as_array_mut() {
            parameters.retain(|parameter| parameter["name"] != "limit" && parameter["name"] != "cursor");
        }
    }
    let operations = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for (method, operation) in operations.filter_map(Value::as_object_mut).flatten() {
        let mut statuses = vec!["400", "401", "403", "404", "429", "503"];
        if method != "get" {
            statuses.extend(["409", "412", "422"]);
        }
        if operation.get("requestBody").is_some() {
            statuses.extend(["413", "415"]);
        }
        statuses.sort_unstable();
        for status in statuses {
            operation["responses"][status] = json!({ "$ref": "#/components/responses/Problem" });
        }
    }
    document
}
