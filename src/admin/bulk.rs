//! `/v1/disable`: many keys at once.

use axum::extract::{Extension, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Context;
use super::body::{Answer, Json, blocking};
use super::problem::Problem;
use crate::management::{Actor, Fault};

/// Most keys at a time.
const MAX_KEYS: usize = 200;

/// Keys to be switched off.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DisableKeys {
    /// Their ids.
    #[schema(min_items = 1, max_items = 200)]
    pub ids: Vec<String>,
    /// Why, for the audit log and whoever looks at the keys.
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// What became of keys that were to be switched off.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct DisabledKeys {
    /// How many were switched off now.
    pub disabled: usize,
    /// How many were off before.
    pub unchanged: usize,
    /// How many could not be switched off.
    pub refused: usize,
    /// What became of each, in the order in which they were named.
    pub results: Vec<DisabledKey>,
}

/// What became of a key that was to be switched off.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct DisabledKey {
    /// Its id.
    pub id: String,
    /// `disabled`, `unchanged`, or the code of the problem.
    pub outcome: String,
    /// What the problem is.
    pub detail: Option<String>,
}

/// Switch many keys off
///
/// In one step: either all that can be switched off are, or, if the store fails, none. Each gets an audit record of its own. A
/// key that cannot be switched off (it is not there, or stands in a file) is told of and keeps none of the others on.
#[utoipa::path(
    post, path = "/v1/disable", tag = "keys", request_body = DisableKeys, responses((status = 200, body = DisabledKeys))
)]
pub(super) async fn disable_keys(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Json { value, .. }: Json<DisableKeys>,
) -> Result<Answer<DisabledKeys>, Problem> {
    if value.ids.is_empty() || value.ids.len() > MAX_KEYS {
        let detail = format!("name 1 to {MAX_KEYS} keys at a time");
        return Err(Problem::invalid(vec![Fault::new("/ids", "list_length", detail)]));
    }
    let (ids, outcomes) = blocking(move || {
        let outcomes = context.management.disable_keys(&actor, &value.ids, value.reason.as_deref())?;
        Ok((value.ids, outcomes))
    })
    .await?;
    let mut answer = DisabledKeys { disabled: 0, unchanged: 0, refused: 0, results: Vec::with_capacity(ids.len()) };
    for (id, outcome) in ids.into_iter().zip(outcomes) {
        let (outcome, detail) = match outcome {
            Ok(true) => {
                answer.disabled += 1;
                ("disabled".to_owned(), None)
            }
            Ok(false) => {
                answer.unchanged += 1;
                ("unchanged".to_owned(), None)
            }
            Err(refused) => {
                answer.refused += 1;
                let problem = Problem::from(refused);
                (problem.code, Some(problem.detail))
            }
        };
        answer.results.push(DisabledKey { id, outcome, detail });
    }
    Ok(Answer(StatusCode::OK, answer))
}
