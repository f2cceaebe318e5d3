//! `/v1/clients` and `/v1/owners`: who keys belong to.

use axum::extract::{Extension, State};
use http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Context;
use super::body::{Answer, IfMatch, Json, Path, Query, Versioned, blocking};
use super::keys::{Reason, ReasonParameter, check_part};
use super::problem::Problem;
use super::shape::{
    Client, ClientPage, CreateClient, DeletedClient, EditClient, OwnerList, OwnerSummary, RemovedOwner,
};
use crate::client::OwnerKind;
use crate::management::{Actor, Asked};
use crate::store::ClientFilter;

/// Which clients.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListClients {
    /// How many; 50 if nothing is said.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<usize>,
    /// `next_cursor` of the part before.
    pub cursor: Option<String>,
    /// Words that stand in their ids or names.
    #[param(max_length = 200)]
    pub q: Option<String>,
    /// Their type.
    pub client_type: Option<String>,
    /// Their tenant.
    pub tenant: Option<String>,
}

/// List clients
#[utoipa::path(
    get, path = "/v1/clients", tag = "clients", params(ListClients), responses((status = 200, body = ClientPage))
)]
pub(super) async fn list_clients(
    State(context): State<Context>,
    Query(asked): Query<ListClients>,
) -> Result<Answer<ClientPage>, Problem> {
    check_part(asked.limit, asked.q.as_deref())?;
    let page = blocking(move || {
        let filter = ClientFilter {
            words: asked.q.iter().flat_map(|text| text.split_whitespace()).take(10).map(str::to_owned).collect(),
            client_type: asked.client_type,
            tenant: asked.tenant,
            owner: None,
        };
        let part = Asked { cursor: asked.cursor.as_deref(), limit: asked.limit.unwrap_or(50) };
        context.management.clients(&filter, part)
    })
    .await?;
    let items = page.items.iter().map(|row| Client::of(row, Vec::new())).collect();
    Ok(Answer(StatusCode::OK, ClientPage { items, next_cursor: page.next }))
}

/// Make a client
#[utoipa::path(
    post, path = "/v1/clients", tag = "clients", request_body = CreateClient, responses((status = 201, body = Client))
)]
pub(super) async fn create_client(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Json { value, .. }: Json<CreateClient>,
) -> Result<Answer<Client>, Problem> {
    let mut faults = Vec::new();
    let wanted = value.read("", &mut faults).filter(|_| faults.is_empty()).ok_or_else(|| Problem::invalid(faults))?;
    let (row, warnings) = blocking(move || context.management.create_client(&actor, wanted)).await?;
    Ok(Answer(StatusCode::CREATED, Client::of(&row, warnings)))
}

/// Show a client
#[utoipa::path(
    get, path = "/v1/clients/{id}", tag = "clients", params(("id" = String, Path, description = "The client's id")),
    responses((status = 200, body = Client, headers(("ETag" = String, description = "The client's version"))))
)]
pub(super) async fn show_client(
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Result<Versioned<Client>, Problem> {
    let row = blocking(move || context.management.client(&id)).await?;
    Ok(Versioned(row.version, Client::of(&row, Vec::new())))
}

/// Change a client
///
/// Everything but its id. All its keys follow at once. `If-Match` refuses the change with 412 if somebody else made one
/// meanwhile.
#[utoipa::path(
    patch, path = "/v1/clients/{id}", tag = "clients", request_body = EditClient,
    params(
        ("id" = String, Path, description = "The client's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version that was read")
    ),
    responses((status = 200, body = Client, headers(("ETag" = String, description = "The client's version"))))
)]
pub(super) async fn edit_client(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    IfMatch(unmet): IfMatch,
    Json { value, .. }: Json<EditClient>,
) -> Result<Versioned<Client>, Problem> {
    let mut faults = Vec::new();
    let edit = value.read(&mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let (row, warnings) = blocking(move || context.management.edit_client(&actor, &id, edit, unmet)).await?;
    Ok(Versioned(row.version, Client::of(&row, warnings)))
}

/// Remove a client and revoke its keys
#[utoipa::path(
    delete, path = "/v1/clients/{id}", tag = "clients",
    params(
        ("id" = String, Path, description = "The client's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version that was read"),
        ReasonParameter
    ),
    responses((status = 200, body = DeletedClient))
)]
pub(super) async fn delete_client(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    IfMatch(unmet): IfMatch,
    Query(asked): Query<ReasonParameter>,
) -> Result<Answer<DeletedClient>, Problem> {
    let name = id.clone();
    let keys_revoked = blocking(move || context.management.delete_client(&actor, &id, asked.reason, unmet)).await?;
    Ok(Answer(StatusCode::OK, DeletedClient { id: name, keys_revoked }))
}

/// Switch a client off: all its keys are refused
#[utoipa::path(
    post, path = "/v1/clients/{id}/disable", tag = "clients", request_body = Reason,
    params(("id" = String, Path, description = "The client's id")), responses((status = 200, body = Client))
)]
pub(super) async fn disable_client(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    Json { value, .. }: Json<Reason>,
) -> Result<Versioned<Client>, Problem> {
    let row = blocking(move || context.management.switch_client(&actor, &id, false, value.reason)).await?;
    Ok(Versioned(row.version, Client::of(&row, Vec::new())))
}

/// Switch a client on again
#[utoipa::path(
    post, path = "/v1/clients/{id}/enable", tag = "clients",
    params(("id" = String, Path, description = "The client's id")), responses((status = 200, body = Client))
)]
pub(super) async fn enable_client(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Versioned<Client>, Problem> {
    let row = blocking(move || context.management.switch_client(&actor, &id, true, None)).await?;
    Ok(Versioned(row.version, Client::of(&row, Vec::new())))
}

/// List owners
///
/// Who answers for clients, and how much that is.
#[utoipa::path(get, path = "/v1/owners", tag = "clients", responses((status = 200, body = OwnerList)))]
pub(super) async fn list_owners(State(context): State<Context>) -> Result<Answer<OwnerList>, Problem> {
    let owners = blocking(move || context.management.owners()).await?;
    let items = owners.into_iter().map(|(kind, id, clients, keys)| OwnerSummary { kind, id, clients, keys }).collect();
    Ok(Answer(StatusCode::OK, OwnerList { items }))
}

/// Whether an owner is a person or a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OwnerWord {
    /// A person.
    User,
    /// A program.
    Machine,
}

/// What becomes of an owner's keys.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveOwnerParameters {
    /// Of a person's keys: `disable`, or `revoke`, which removes the clients too. What a machine owned is always removed.
    pub keys: Option<OwnersKeys>,
}

/// What becomes of an owner's keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OwnersKeys {
    /// They are switched off.
    #[default]
    Disable,
    /// They are revoked.
    Revoke,
}

/// Remove an owner
///
/// A machine's clients and keys go with it. A person's keys are switched off, or revoked if that is asked for.
#[utoipa::path(
    delete, path = "/v1/owners/{kind}/{id}", tag = "clients",
    params(
        ("kind" = OwnerWord, Path, description = "Person or program"),
        ("id" = String, Path, description = "The owner's id"),
        RemoveOwnerParameters
    ),
    responses((status = 200, body = RemovedOwner))
)]
pub(super) async fn remove_owner(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path((kind, id)): Path<(String, String)>,
    Query(asked): Query<RemoveOwnerParameters>,
) -> Result<Answer<RemovedOwner>, Problem> {
    let kind = match kind.as_str() {
        "user" => OwnerKind::User,
        "machine" => OwnerKind::Machine,
        _ => {
            return Err(Problem::new(StatusCode::NOT_FOUND, "owner_not_found", "owners are `user` or `machine`"));
        }
    };
    let revokes = asked.keys.unwrap_or_default() == OwnersKeys::Revoke;
    let removal = blocking(move || context.management.remove_owner(&actor, kind, &id, revokes)).await?;
    Ok(Answer(
        StatusCode::OK,
        RemovedOwner {
            clients_removed: removal.clients_removed,
            keys_revoked: removal.keys_revoked,
            keys_disabled: removal.keys_disabled,
        },
    ))
}
