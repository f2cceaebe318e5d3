//! `/v1/keys`: making, finding, changing, rotating and revoking keys.

use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Context;
use super::body::{Answer, IfMatch, Json, Path, Query, Versioned, blocking};
use super::idempotency::{IdempotencyKey, Turn, begin};
use super::problem::Problem;
use super::shape::{
    CreateKey, CreatedKey, DailyUsage, EditKey, FoundKey, Key, KeyPage, LookupRequest, LookupResult, RevokedKey,
    RotateKey, Usage, UsageDay, key,
};
use crate::client::ClientId;
use crate::credential::Secret;
use crate::keys::Timestamp;
use crate::management::{Actor, Asked, Fault, Refused, day_of, now};
use crate::store::{KeyFilter, KeyOrder};

/// Which keys, in which order.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListKeys {
    /// How many; 50 if nothing is said.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<usize>,
    /// `next_cursor` of the part before.
    pub cursor: Option<String>,
    /// By what they are ordered. Those without a value come last.
    pub sort: Option<Sort>,
    /// Backwards. Default: the newest first by `created`, forwards otherwise.
    pub descending: Option<bool>,
    /// Words, each of which begins a word of the key's name, description, id, last four characters, or of its client.
    #[param(max_length = 200)]
    pub q: Option<String>,
    /// The id of their client.
    pub client: Option<String>,
    /// The type of their client.
    pub client_type: Option<String>,
    /// The tenant of their client.
    pub tenant: Option<String>,
    /// Where they are good.
    pub environment: Option<String>,
    /// Where they may be kept.
    pub r#type: Option<key::KeyKind>,
    /// What they are good for. Revoked keys are shown only if they are asked for.
    pub status: Option<key::Status>,
    /// Where they stand.
    pub source: Option<key::Source>,
    /// `true`: those that were never used.
    pub never_used: Option<bool>,
    /// Those that were not used for so many days; those that were never used, if they are that old.
    #[param(minimum = 0, maximum = 36500)]
    pub unused_for_days: Option<u32>,
    /// Those that end within so many days.
    #[param(minimum = 0, maximum = 36500)]
    pub expires_within_days: Option<u32>,
    /// Those whose newest secret is older than so many days.
    #[param(minimum = 0, maximum = 36500)]
    pub secret_older_than_days: Option<u32>,
    /// `true`: those that may do whatever their client's type may, since neither they nor their client state permissions.
    pub unrestricted: Option<bool>,
    /// `true`: those that are being rotated.
    pub rotating: Option<bool>,
    /// Show what each key was used for in so many days, today included.
    #[param(minimum = 1, maximum = 90)]
    pub usage_days: Option<u16>,
}

/// By what a list of keys is ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    /// When they were made.
    #[default]
    Created,
    /// Their names.
    Name,
    /// When they end.
    ExpiresAt,
    /// When they were last used.
    LastUsedAt,
}

impl ListKeys {
    /// The filter; the parts that are wrong are reported.
    pub(super) fn filter(&self, now: Timestamp) -> Result<KeyFilter, Problem> {
        let days = |days: u32| i64::from(days) * 86_400_000;
        let ago = |count: u32| Timestamp::from_millis(now.as_millis() - days(count));
        let client = match self.client.as_deref().map(ClientId::parse) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(why)) => {
                return Err(Problem::unreadable("/client".to_owned(), "parameter_invalid", why.to_string()));
            }
        };
        let too_many = [self.unused_for_days, self.expires_within_days, self.secret_older_than_days];
        if too_many.into_iter().flatten().any(|days| days > 36_500) {
            let detail = "a number of days is 36500 at most".to_owned();
            return Err(Problem::unreadable(String::new(), "parameter_invalid", detail));
        }
        check_part(self.limit, self.q.as_deref())?;
        Ok(KeyFilter {
            words: self.q.iter().flat_map(|text| text.split_whitespace()).take(10).map(str::to_owned).collect(),
            client,
            client_type: self.client_type.clone(),
            tenant: self.tenant.clone(),
            environment: self.environment.clone(),
            key_type: self.r#type.map(Into::into),
            status: self.status.map(Into::into),
            origin: self.source.map(Into::into),
            never_used: self.never_used.unwrap_or(false),
            unused_since: self.unused_for_days.map(ago),
            expires_before: self.expires_within_days.map(|count| Timestamp::from_millis(now.as_millis() + days(count))),
            secret_older_than: self.secret_older_than_days.map(ago),
            unrestricted: self.unrestricted.unwrap_or(false),
            rotating: self.rotating.unwrap_or(false),
        })
    }

    pub(super) fn order(&self) -> (KeyOrder, bool) {
        let (order, descending) = match self.sort.unwrap_or_default() {
            Sort::Created => (KeyOrder::Created, true),
            Sort::Name => (KeyOrder::Name, false),
            Sort::ExpiresAt => (KeyOrder::Expires, false),
            Sort::LastUsedAt => (KeyOrder::LastUsed, true),
        };
        (order, self.descending.unwrap_or(descending))
    }
}

/// What is wrong with the size of a part, or with words.
pub(super) fn check_part(limit: Option<usize>, words: Option<&str>) -> Result<(), Problem> {
    if limit.is_some_and(|limit| !(1..=200).contains(&limit)) {
        let detail = "a part holds 1 to 200".to_owned();
        return Err(Problem::unreadable("/limit".to_owned(), "parameter_invalid", detail));
    }
    if words.is_some_and(|words| words.chars().count() > 200) {
        let detail = "words have 200 characters at most".to_owned();
        return Err(Problem::unreadable("/q".to_owned(), "parameter_invalid", detail));
    }
    Ok(())
}

/// List keys
///
/// A part at a time, searched, filtered and sorted. The secret itself is never among what is shown.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(ListKeys), responses((status = 200, body = KeyPage)))]
pub(super) async fn list_keys(
    State(context): State<Context>,
    Query(asked): Query<ListKeys>,
) -> Result<Answer<KeyPage>, Problem> {
    let at = now();
    let filter = asked.filter(at)?;
    let days = asked.usage_days;
    if days.is_some_and(|days| !(1..=90).contains(&days)) {
        let detail = "usage in a list is shown for 1 to 90 days".to_owned();
        return Err(Problem::unreadable("/usage_days".to_owned(), "parameter_invalid", detail));
    }
    let (page, usage) = blocking(move || {
        let (order, descending) = asked.order();
        let part = Asked { cursor: asked.cursor.as_deref(), limit: asked.limit.unwrap_or(50) };
        context.management.freshen_usage();
        let page = context.management.keys(&filter, order, descending, part, at)?;
        let usage = match days {
            None => Vec::new(),
            Some(days) => {
                let numbers: Vec<i64> = page.items.iter().map(|detail| detail.key.number).collect();
                context.management.usage_of(&numbers, day_of(at) - i64::from(days) + 1)?
            }
        };
        Ok((page, usage))
    })
    .await?;
    let shown = |detail: &crate::store::KeyDetail| Key {
        usage: days.map(|days| DailyUsage::of(day_of(at), days, &usage, detail.key.number)),
        ..Key::of(detail, at)
    };
    let items = page.items.iter().map(shown).collect();
    Ok(Answer(StatusCode::OK, KeyPage { items, next_cursor: page.next }))
}

/// Make a key
///
/// The answer shows the key, this once: only its digest is kept. The next request that shows it is admitted. With an
/// `Idempotency-Key` the request may be sent again: for five minutes the same answer comes back; after that, and after a
/// restart, 409 `idempotency_key_spent` names the key that was made.
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys", request_body = CreateKey,
    params(("Idempotency-Key" = Option<String>, Header, description = "One word, to send the request again safely", max_length = 255)),
    responses((status = 201, body = CreatedKey, headers(("Location" = String, description = "Where the key is"))))
)]
pub(super) async fn create_key(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    idempotency: IdempotencyKey,
    Json { value, digest }: Json<CreateKey>,
) -> Result<Response, Problem> {
    let ticket = match begin(&context, &idempotency, &actor, "create_key", digest)? {
        Turn::Go(ticket) => ticket,
        Turn::Again(answer) => return Ok(again(StatusCode::CREATED, &answer)),
    };
    let mut faults = Vec::new();
    let wanted = value.read(&mut faults).filter(|_| faults.is_empty()).ok_or_else(|| Problem::invalid(faults))?;
    let claim = ticket.claim();
    let created = blocking(move || context.management.create_key(&actor, wanted, claim)).await?;
    let created = CreatedKey::of(created, now());
    let location = format!("/v1/keys/{}", created.key.id);
    let mut response = once(StatusCode::CREATED, &created, ticket);
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, value);
    }
    Ok(response)
}

/// Answers with a secret, and keeps the answer sealed for whoever does not hear it.
fn once(status: StatusCode, created: &CreatedKey, ticket: super::idempotency::Ticket) -> Response {
    let bytes = zeroize::Zeroizing::new(serde_json::to_vec(created).unwrap_or_default());
    ticket.answered(&bytes);
    json(status, bytes.to_vec())
}

fn again(status: StatusCode, answer: &[u8]) -> Response {
    let mut response = json(status, answer.to_vec());
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}

fn json(status: StatusCode, bytes: Vec<u8>) -> Response {
    let mut response = (status, bytes).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Show a key
#[utoipa::path(
    get, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, body = Key, headers(("ETag" = String, description = "The key's version"))))
)]
pub(super) async fn show_key(
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Result<Versioned<Key>, Problem> {
    let detail = blocking(move || {
        context.management.freshen_usage();
        context.management.key(&id)
    })
    .await?;
    Ok(Versioned(detail.key.version, Key::of(&detail, now())))
}

/// Change a key
///
/// Everything but its secret and its client. `If-Match` refuses the change with 412 if somebody else made one meanwhile.
#[utoipa::path(
    patch, path = "/v1/keys/{id}", tag = "keys", request_body = EditKey,
    params(
        ("id" = String, Path, description = "The key's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version that was read")
    ),
    responses((status = 200, body = Key, headers(("ETag" = String, description = "The key's version"))))
)]
pub(super) async fn edit_key(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    IfMatch(unmet): IfMatch,
    Json { value, .. }: Json<EditKey>,
) -> Result<Versioned<Key>, Problem> {
    let mut faults = Vec::new();
    let edit = value.read(&mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let (detail, _) = blocking(move || context.management.edit_key(&actor, &id, edit, unmet)).await?;
    Ok(Versioned(detail.key.version, Key::of(&detail, now())))
}

/// Why something is done.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reason {
    /// For the audit log and whoever looks at the key.
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// Why something is done, as a parameter.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonParameter {
    /// For the audit log.
    #[param(max_length = 200)]
    pub reason: Option<String>,
}

/// Revoke a key for good
///
/// The next request that shows it is refused, and what it has open (WebSockets, event streams, downloads) is cut before
/// the answer comes. A machine owner goes with its last key.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys",
    params(
        ("id" = String, Path, description = "The key's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version that was read"),
        ReasonParameter
    ),
    responses((status = 200, body = RevokedKey))
)]
pub(super) async fn revoke_key(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    IfMatch(unmet): IfMatch,
    Query(asked): Query<ReasonParameter>,
) -> Result<Answer<RevokedKey>, Problem> {
    let revoked = blocking(move || context.management.revoke_key(&actor, &id, asked.reason, unmet)).await?;
    let answer = RevokedKey {
        key: Key::of(&revoked.detail, now()),
        client_removed: revoked.client_went,
        warnings: super::shape::Warning::all(revoked.warnings),
    };
    Ok(Answer(StatusCode::OK, answer))
}

/// Switch a key off
#[utoipa::path(
    post, path = "/v1/keys/{id}/disable", tag = "keys", request_body = Reason,
    params(("id" = String, Path, description = "The key's id")), responses((status = 200, body = Key))
)]
pub(super) async fn disable_key(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    Json { value, .. }: Json<Reason>,
) -> Result<Versioned<Key>, Problem> {
    let detail = blocking(move || context.management.disable_key(&actor, &id, value.reason)).await?;
    Ok(Versioned(detail.key.version, Key::of(&detail, now())))
}

/// Switch a key on again
#[utoipa::path(
    post, path = "/v1/keys/{id}/enable", tag = "keys",
    params(("id" = String, Path, description = "The key's id")), responses((status = 200, body = Key))
)]
pub(super) async fn enable_key(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Versioned<Key>, Problem> {
    let detail = blocking(move || context.management.enable_key(&actor, &id)).await?;
    Ok(Versioned(detail.key.version, Key::of(&detail, now())))
}

/// Give a key another secret
///
/// The key keeps its id, its rights, its usage. The old secret stays good for `grace_seconds`; with `pending` that time
/// begins with the first use of the new one. The answer shows the new secret, this once.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotate", tag = "keys", request_body = RotateKey,
    params(
        ("id" = String, Path, description = "The key's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "One word, to send the request again safely", max_length = 255)
    ),
    responses((status = 200, body = CreatedKey))
)]
pub(super) async fn rotate_key(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    idempotency: IdempotencyKey,
    Json { value, digest }: Json<RotateKey>,
) -> Result<Response, Problem> {
    let ticket = match begin(&context, &idempotency, &actor, &format!("rotate_key {id}"), digest)? {
        Turn::Go(ticket) => ticket,
        Turn::Again(answer) => return Ok(again(StatusCode::OK, &answer)),
    };
    let mut faults = Vec::new();
    let wanted = value.read(&mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let claim = ticket.claim();
    let created = blocking(move || context.management.rotate_key(&actor, &id, wanted, claim)).await?;
    Ok(once(StatusCode::OK, &CreatedKey::of(created, now()), ticket))
}

/// Whether something is to be done though it may cut somebody off.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Force {
    /// `true`: do it although somebody may be cut off.
    pub force: bool,
}

/// Finish a rotation early
///
/// The old secrets end now. While nobody has used the new one that is refused with 409 `rotation_unused`, unless `force`
/// is set.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotation/finish", tag = "keys", request_body = Force,
    params(("id" = String, Path, description = "The key's id")), responses((status = 200, body = Key))
)]
pub(super) async fn finish_rotation(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    Json { value, .. }: Json<Force>,
) -> Result<Versioned<Key>, Problem> {
    let detail = blocking(move || context.management.finish_rotation(&actor, &id, value.force)).await?;
    Ok(Versioned(detail.key.version, Key::of(&detail, now())))
}

/// Take a rotation back
///
/// The newest secret goes, the one before it is good again. Where the new one is in use that is refused with 409
/// `rotation_used`, unless `force` is set.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotation/undo", tag = "keys", request_body = Force,
    params(("id" = String, Path, description = "The key's id")), responses((status = 200, body = Key))
)]
pub(super) async fn undo_rotation(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    Json { value, .. }: Json<Force>,
) -> Result<Versioned<Key>, Problem> {
    let detail = blocking(move || context.management.undo_rotation(&actor, &id, value.force)).await?;
    Ok(Versioned(detail.key.version, Key::of(&detail, now())))
}

/// How far back.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageParameters {
    /// How many days, today included; 30 if nothing is said.
    #[param(minimum = 1, maximum = 400)]
    pub days: Option<u16>,
}

/// What a key was used for
///
/// Requests by day and endpoint, a second or two behind.
#[utoipa::path(
    get, path = "/v1/keys/{id}/usage", tag = "keys",
    params(("id" = String, Path, description = "The key's id"), UsageParameters),
    responses((status = 200, body = Usage))
)]
pub(super) async fn show_usage(
    State(context): State<Context>,
    Path(id): Path<String>,
    Query(asked): Query<UsageParameters>,
) -> Result<Answer<Usage>, Problem> {
    let days = asked.days.unwrap_or(30);
    if !(1..=400).contains(&days) {
        let detail = "usage is kept for 400 days".to_owned();
        return Err(Problem::unreadable("/days".to_owned(), "parameter_invalid", detail));
    }
    let since = day_of(now()) - i64::from(days) + 1;
    let rows = blocking(move || {
        context.management.freshen_usage();
        context.management.usage(&id, since)
    })
    .await?;
    Ok(Answer(StatusCode::OK, Usage { items: rows.into_iter().map(UsageDay::of).collect() }))
}

/// Find keys by pasting them
///
/// What is sent is turned into digests at once, and neither kept nor logged.
#[utoipa::path(
    post, path = "/v1/lookup", tag = "keys", request_body = LookupRequest,
    responses((status = 200, body = LookupResult))
)]
pub(super) async fn lookup_keys(
    State(context): State<Context>,
    Json { value, .. }: Json<LookupRequest>,
) -> Result<Answer<LookupResult>, Problem> {
    if value.secrets.is_empty() || value.secrets.len() > 100 {
        let detail = "ask for 1 to 100 keys at a time";
        return Err(Problem::invalid(vec![Fault::new("/secrets", "list_length", detail)]));
    }
    let found = blocking(move || {
        let at = now();
        let mut found = Vec::new();
        for (index, text) in value.secrets.into_iter().enumerate() {
            if let Some(detail) = context.management.find_key(&Secret::owned(text.into_bytes()))? {
                found.push(FoundKey { index, key: Key::of(&detail, at) });
            }
        }
        Ok::<_, Refused>(found)
    })
    .await?;
    Ok(Answer(StatusCode::OK, LookupResult { found }))
}
