//! `/v1/admin-tokens`: who may use the admin API.

use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Context;
use super::body::{Answer, Json, Path, blocking};
use super::problem::Problem;
use super::shape::{moment, time};
use crate::management::{self, Actor};
use crate::store;

/// An admin token, without its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct AdminToken {
    /// Stable public id.
    pub id: String,
    /// What people call it; the audit log names it so.
    pub name: String,
    /// What it may do: `viewer` looks, `developer` manages keys and clients, `admin` manages admin tokens too.
    pub role: String,
    /// What may be shown of it.
    pub masked: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// Refused from this moment on.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it was last used, a minute behind.
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
}

impl AdminToken {
    fn of(token: &store::AdminToken) -> Self {
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            role: token.role.clone(),
            masked: token.mask.clone(),
            created_at: time(token.created_at),
            created_by: token.created_by.clone(),
            expires_at: token.expires_at.map(time),
            last_used_at: token.last_used_at.map(time),
        }
    }
}

/// Admin tokens.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct AdminTokenList {
    /// All of them.
    pub items: Vec<AdminToken>,
}

/// An admin token to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateAdminToken {
    /// What people call it; unique.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Refused from this moment on. Default: never.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// What somebody may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Look.
    Viewer,
    /// Manage keys and clients.
    Developer,
    /// Manage admin tokens.
    Admin,
}

impl From<Role> for management::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Developer => Self::Developer,
            Role::Admin => Self::Admin,
        }
    }
}

/// An admin token that was made. Its text is shown this once.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct CreatedAdminToken {
    /// The token.
    pub admin_token: AdminToken,
    /// Its text. It is not kept, and cannot be shown again.
    pub secret: String,
}

/// List admin tokens
#[utoipa::path(
    get, path = "/v1/admin-tokens", tag = "admin tokens", responses((status = 200, body = AdminTokenList))
)]
pub(super) async fn list_admin_tokens(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
) -> Result<Answer<AdminTokenList>, Problem> {
    let tokens = blocking(move || context.management.admin_tokens(&actor)).await?;
    Ok(Answer(StatusCode::OK, AdminTokenList { items: tokens.iter().map(AdminToken::of).collect() }))
}

/// Make an admin token
#[utoipa::path(
    post, path = "/v1/admin-tokens", tag = "admin tokens", request_body = CreateAdminToken,
    responses((status = 201, body = CreatedAdminToken))
)]
pub(super) async fn create_admin_token(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Json { value, .. }: Json<CreateAdminToken>,
) -> Result<Answer<CreatedAdminToken>, Problem> {
    let mut faults = Vec::new();
    let expires_at = moment(value.expires_at.as_deref(), "/expires_at", &mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let wanted = management::CreateToken { name: value.name, role: value.role.into(), expires_at };
    let created = blocking(move || context.management.create_token(&actor, wanted)).await?;
    let secret = String::from_utf8_lossy(created.secret.expose()).into_owned();
    let answer = CreatedAdminToken { admin_token: AdminToken::of(&created.token), secret };
    Ok(Answer(StatusCode::CREATED, answer))
}

/// Revoke an admin token
///
/// The next request that shows it is refused.
#[utoipa::path(
    delete, path = "/v1/admin-tokens/{id}", tag = "admin tokens",
    params(("id" = String, Path, description = "The token's id")),
    responses((status = 204, description = "It is gone"))
)]
pub(super) async fn revoke_admin_token(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    blocking(move || context.management.remove_token(&actor, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
