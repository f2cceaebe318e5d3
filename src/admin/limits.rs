//! `/v1/limits`: which limits and plans there are, and what is left to a key or a client.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Context;
use super::body::{Answer, Path, blocking};
use super::problem::Problem;
use crate::client::Client;
use crate::keys::{ApiKey, Timestamp};
use crate::limit::{Limits, Measure, Moment, Policy, Standing};
use crate::management::Management;

/// What a running gateway knows of limits.
pub trait LimitsInForce: Send + Sync {
    /// Hands over the limits in force with the time by which they count.
    fn limits(&self, read: &mut dyn FnMut(&Limits, Moment));
    /// How the limits of a client stand, or of one of its keys: those that do not depend on where it is used or from where.
    fn standings(&self, client: &Client, key: Option<&ApiKey>, read: &mut dyn FnMut(&Limits, &[Standing], Moment));
}

/// Limits and plans in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct LimitList {
    /// Every limit, in the order in which they were written.
    pub items: Vec<Limit>,
    /// What keys and clients may carry.
    pub plans: Vec<PlanLimits>,
    /// The plan of keys that carry none, nor their client.
    pub default_plan: Option<String>,
}

/// A limit.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Limit {
    /// Its name.
    pub name: String,
    /// What it admits, in words: `60 in 1m`.
    pub measure: String,
    /// How many requests it admits in a window, in a day or month, or at once.
    pub limit: u64,
    /// The window in seconds; null for requests at once.
    pub window_seconds: Option<u64>,
    /// Whom it counts by itself; everybody together if empty.
    pub r#for: Vec<String>,
    /// It is asked before the key is looked up.
    pub is_first: bool,
    /// It only counts.
    pub shadow: bool,
    /// Where it was written.
    pub place: String,
}

/// A plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct PlanLimits {
    /// Its name.
    pub name: String,
    /// Names of its limits.
    pub limits: Vec<String>,
}

/// What is left.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct LimitsLeft {
    /// The plan that holds; null if none does.
    pub plan: Option<String>,
    /// By limit. Those that depend on the address or the endpoint are not among them.
    pub items: Vec<LimitLeft>,
}

/// What is left of one limit.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct LimitLeft {
    /// The limit's name.
    pub name: String,
    /// What it admits, in words.
    pub measure: String,
    /// How many requests it admits in a window, in a day or month, or at once.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// When all of it is there again.
    #[schema(format = DateTime)]
    pub resets_at: String,
    /// Whom it counts by itself.
    pub r#for: Vec<String>,
    /// It only counts.
    pub shadow: bool,
}

fn parts(policy: &Policy) -> Vec<String> {
    policy.subject.iter().map(|part| part.as_str().to_owned()).collect()
}

impl Limit {
    fn of(policy: &Policy) -> Self {
        let window_seconds = match &policy.measure {
            Measure::Concurrent { .. } => None,
            measure => measure.window().map(|window| window.as_secs().max(1)),
        };
        Self {
            name: policy.name.to_string(),
            measure: policy.measure.to_string(),
            limit: policy.measure.most(),
            window_seconds,
            r#for: parts(policy),
            is_first: policy.is_first,
            shadow: policy.is_shadow,
            place: policy.place.to_string(),
        }
    }
}

/// List limits and plans
///
/// Those of the gateway that answers; 409 `not_running` where none runs.
#[utoipa::path(get, path = "/v1/limits", tag = "limits", responses((status = 200, body = LimitList)))]
pub(super) async fn list_limits(State(context): State<Context>) -> Result<Answer<LimitList>, Problem> {
    let mut list = LimitList { items: Vec::new(), plans: Vec::new(), default_plan: None };
    in_force(&context)?.limits(&mut |limits, _| {
        list.items = limits.all.iter().map(|policy| Limit::of(policy)).collect();
        let plans = limits.plans.iter().map(|(name, policies)| PlanLimits {
            name: name.to_string(),
            limits: policies.iter().map(|policy| policy.name.to_string()).collect(),
        });
        list.plans = plans.collect();
        list.default_plan = limits.default_plan.map(|index| limits.plans[index].0.to_string());
    });
    Ok(Answer(StatusCode::OK, list))
}

/// Show what is left to a key
///
/// Of its plan and of the limits that concern everybody, as far as they do not depend on the endpoint or the address. 409
/// `not_running` where no gateway runs.
#[utoipa::path(
    get, path = "/v1/keys/{id}/limits", tag = "limits", params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, body = LimitsLeft))
)]
pub(super) async fn show_key_limits(
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Result<Answer<LimitsLeft>, Problem> {
    let management: Management = context.management.clone();
    let detail = blocking(move || management.key(&id)).await?;
    let key = detail.for_table().key;
    Ok(Answer(StatusCode::OK, left(&**in_force(&context)?, &key.client, Some(&key))))
}

/// Show what is left to a client
///
/// Of its own plan and of the limits that concern everybody, as far as they count the client as a whole. 409 `not_running` where
/// no gateway runs.
#[utoipa::path(
    get, path = "/v1/clients/{id}/limits", tag = "limits", params(("id" = String, Path, description = "The client's id")),
    responses((status = 200, body = LimitsLeft))
)]
pub(super) async fn show_client_limits(
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Result<Answer<LimitsLeft>, Problem> {
    let management: Management = context.management.clone();
    let row = blocking(move || management.client(&id)).await?;
    Ok(Answer(StatusCode::OK, left(&**in_force(&context)?, &row.client, None)))
}

fn in_force(context: &Context) -> Result<&Arc<dyn LimitsInForce>, Problem> {
    context
        .limits
        .as_ref()
        .ok_or_else(|| Problem::new(StatusCode::CONFLICT, "not_running", "no gateway runs here: nothing is counted"))
}

fn left(in_force: &dyn LimitsInForce, client: &Client, key: Option<&ApiKey>) -> LimitsLeft {
    let carried = key.and_then(|key| key.plan.as_ref()).or(client.plan.as_ref());
    let mut left = LimitsLeft { plan: carried.map(ToString::to_string), items: Vec::new() };
    in_force.standings(client, key, &mut |limits, standings, now| {
        if left.plan.is_none() {
            left.plan = limits.default_plan.map(|index| limits.plans[index].0.to_string());
        }
        let items = standings.iter().map(|standing| {
            let policy = &limits.all[standing.policy];
            let resets = i64::try_from(standing.reading.resets_in.as_millis()).unwrap_or(i64::MAX);
            LimitLeft {
                name: policy.name.to_string(),
                measure: policy.measure.to_string(),
                limit: policy.measure.most(),
                remaining: standing.reading.remaining,
                resets_at: Timestamp::from_millis(now.wall_millis.saturating_add(resets)).to_string(),
                r#for: parts(policy),
                shadow: policy.is_shadow,
            }
        });
        left.items = items.collect();
    });
    left
}
