//! What concerns the gateway as a whole: who asks, how many keys there are, its configuration.

use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Context;
use super::body::{Answer, blocking};
use super::problem::Problem;
use super::shape::time;
use crate::management::{Actor, Role, now};
use crate::telemetry::health::ReloadOutcome;

/// Who asks.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Identity {
    /// How the audit log names you, such as `token:ops`.
    pub actor: String,
    /// What you may do: `viewer`, `developer` or `admin`.
    pub role: String,
    /// Whether changes can be made: there is a store that lasts.
    pub can_write: bool,
}

/// Say who I am
#[utoipa::path(get, path = "/v1/whoami", tag = "gateway", responses((status = 200, body = Identity)))]
pub(super) async fn show_identity(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
) -> Answer<Identity> {
    let can_write = context.management.can_write();
    Answer(StatusCode::OK, Identity { actor: actor.name, role: actor.role.to_string(), can_write })
}

/// Keys by what they are good for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Summary {
    /// Good.
    pub active: i64,
    /// Switched off, themselves or by their client.
    pub disabled: i64,
    /// Over.
    pub expired: i64,
    /// To come.
    pub not_yet_valid: i64,
    /// Good, and over within a day.
    pub expiring_within_1_day: i64,
    /// Good, and over within a week.
    pub expiring_within_7_days: i64,
    /// Good, and over within thirty days.
    pub expiring_within_30_days: i64,
    /// When the next good key is over.
    #[schema(format = DateTime)]
    pub next_expiry: Option<String>,
}

/// Count keys
#[utoipa::path(get, path = "/v1/summary", tag = "gateway", responses((status = 200, body = Summary)))]
pub(super) async fn show_summary(State(context): State<Context>) -> Result<Answer<Summary>, Problem> {
    let counts = blocking(move || context.management.counts(now())).await?;
    let [day, week, month] = counts.expiring;
    let summary = Summary {
        active: counts.active,
        disabled: counts.disabled,
        expired: counts.expired,
        not_yet_valid: counts.not_yet_valid,
        expiring_within_1_day: day,
        expiring_within_7_days: week,
        expiring_within_30_days: month,
        next_expiry: counts.next_expiry.map(time),
    };
    Ok(Answer(StatusCode::OK, summary))
}

/// How a reload ended.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ReloadReport {
    /// `applied`, or `unchanged` if the files say what is in force already.
    pub outcome: String,
}

/// Read the configuration again
///
/// A configuration that cannot be taken is refused with 422 `configuration_rejected` and its problems; the one before it
/// stays in force.
#[utoipa::path(post, path = "/v1/reload", tag = "gateway", responses((status = 200, body = ReloadReport)))]
pub(super) async fn reload(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
) -> Result<Response, Problem> {
    actor.require(Role::Admin)?;
    let Some(reload) = &context.reload else {
        let detail = "no gateway runs here: its configuration is read when it starts";
        return Err(Problem::new(StatusCode::CONFLICT, "not_running", detail));
    };
    // On a task of its own: a caller that leaves must not leave a reload half done.
    match tokio::spawn(reload()).await {
        Ok(ReloadOutcome::Rejected { problem }) => {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "configuration_rejected", &*problem))
        }
        Ok(outcome) => {
            Ok(Answer(StatusCode::OK, ReloadReport { outcome: outcome.as_str().to_owned() }).into_response())
        }
        Err(_) => Err(Problem::internal()),
    }
}
