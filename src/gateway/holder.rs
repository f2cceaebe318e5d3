//! What the holder of a key may do with the key itself: ask what it is, replace it, revoke it.
//!
//! The key that is shown is the proof, and it was admitted like for any endpoint. Nothing is forwarded. What changes the key
//! asks for more than a good key: one in a header, since a browser sends cookies along with requests that other pages make;
//! and the newest secret, since an old one in its last days may have been replaced because somebody else has it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::response::Refusal;
use super::{Failure, Rejection};
use crate::admission::Permit;
use crate::body::Body;
use crate::credential::CredentialSource;
use crate::forward::ForwardError;
use crate::identity::effective_permissions;
use crate::keys::{KeyOrigin, TableEntry, Timestamp};
use crate::management::{Actor, Management, Refused, Role, RotateKey, USUAL_GRACE, Unmet, Via};
use crate::server::RequestBody;
use crate::snapshot::SelfService;

/// Requests of holders that are answered at once; others wait for their turn.
const AT_ONCE: usize = 4;

/// Answers holders of keys.
#[derive(Debug)]
pub struct Holders {
    management: Management,
    turns: Arc<Semaphore>,
}

/// How a holder wants the key to be rotated.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rotation {
    grace_seconds: Option<u64>,
    pending: bool,
}

impl Holders {
    /// Over this management.
    #[must_use]
    pub fn new(management: Management) -> Self {
        Self { management, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Answers an admitted request.
    pub(super) async fn answer(
        &self,
        permit: &Permit,
        parts: &Parts,
        body: RequestBody,
    ) -> Result<Response<Body>, Failure> {
        let offered = permit.snapshot().self_service.as_ref();
        let (Some(offered), Some(shown)) = (offered, permit.shown()) else {
            return Err(Rejection::EndpointNotFound.into());
        };
        let path = permit.changed_path().unwrap_or(parts.uri.path());
        let action = path.strip_prefix(&*offered.prefix).and_then(|rest| rest.strip_prefix('/'));
        // The rule of each admits its method alone, and the one of the whole path admits reading below it.
        match (action, &parts.method) {
            (Some("whoami"), &Method::GET | &Method::HEAD) if offered.whoami => self.tell(shown).await,
            (Some("rotate"), &Method::POST) if offered.rotate => {
                let actor = changer(permit, shown)?;
                let wanted = wanted(body, offered).await?;
                self.rotate(actor, shown, wanted).await
            }
            (Some("revoke"), &Method::POST) if offered.revoke => {
                let actor = changer(permit, shown)?;
                self.revoke(actor, shown).await
            }
            _ => Err(Rejection::EndpointNotFound.into()),
        }
    }

    /// What the key is, from the table; its name from the store, if it is there already.
    async fn tell(&self, shown: &TableEntry) -> Result<Response<Body>, Failure> {
        let id = shown.key.id.to_string();
        let name = match self.blocking(move |management| management.key(&id)).await? {
            Ok(detail) => Some(detail.key.name),
            Err(Refused::NotFound { .. }) => None,
            Err(refused) => return Err(Failure::from(Refusal::of_management(&refused))),
        };
        let key = &shown.key;
        let permissions = effective_permissions(key).map_or_else(|| json!("all"), Value::from);
        let moment = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        answer(&json!({
            "id": key.id.as_str(),
            "name": name,
            "type": key.key_type.as_str(),
            "client": { "id": key.client.id.as_str(), "name": &*key.client.name, "type": key.client.client_type.as_str() },
            "tenant": key.client.tenant.as_ref().map(|tenant| tenant.as_str()),
            "environment": key.environment.as_ref().map(|environment| environment.as_str()),
            "permissions": permissions,
            "expires_at": moment(key.expires_at),
            "secret": { "superseded": is_superseded(shown), "valid_until": moment(shown.valid_until) },
        }))
    }

    async fn rotate(&self, actor: Actor, shown: &TableEntry, wanted: RotateKey) -> Result<Response<Body>, Failure> {
        let id = shown.key.id.to_string();
        let (grace, is_pending) = (wanted.grace, wanted.is_pending);
        let created = self.blocking(move |management| management.rotate_key(&actor, &id, wanted, None)).await?;
        let created = created.map_err(|refused| Failure::from(Refusal::of_management(&refused)))?;
        let secret = created.secret.as_ref().map(|secret| String::from_utf8_lossy(secret.expose()).into_owned());
        let ends = created.detail.secrets.iter().skip(1).filter_map(|secret| secret.valid_until).max();
        answer(&json!({
            "id": created.detail.key.id.as_str(),
            "secret": secret,
            "old_secret": {
                "valid_until": ends.map(|end| end.to_string()),
                "grace_seconds": grace.as_secs(),
                "grace_begins": if is_pending { "first_use" } else { "now" },
            },
        }))
    }

    async fn revoke(&self, actor: Actor, shown: &TableEntry) -> Result<Response<Body>, Failure> {
        let id = shown.key.id.to_string();
        let reason = Some("by its holder".to_owned());
        let revoked = self.blocking(move |management| management.revoke_key(&actor, &id, reason, Unmet(None))).await?;
        let revoked = revoked.map_err(|refused| Failure::from(Refusal::of_management(&refused)))?;
        answer(&json!({ "id": revoked.detail.key.id.as_str(), "revoked": true }))
    }

    /// Does what blocks where no other request waits for it.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Management) -> Result<T, Refused> + Send + 'static,
    ) -> Result<Result<T, Refused>, Failure> {
        let management = self.management.clone();
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        // A holder that leaves has its turn to the end: what is begun is done.
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work(&management);
            drop(turn);
            outcome
        });
        done.await.map_err(|_| Failure::from(Refusal::internal()))
    }
}

/// Whether a secret has been replaced and is in its last days.
fn is_superseded(shown: &TableEntry) -> bool {
    shown.valid_until.is_some()
}

/// Who changes a key, if what was shown is proof enough.
fn changer(permit: &Permit, shown: &TableEntry) -> Result<Actor, Failure> {
    if matches!(permit.shown_in(), Some(CredentialSource::Cookie { .. })) {
        return Err(Failure::from(Refusal::of_holder(
            "cookie_not_accepted",
            "A key cannot be changed with the key in a cookie: any web page could ask for that. Send it in a header.",
        )));
    }
    if is_superseded(shown) {
        return Err(Failure::from(Refusal::of_holder(
            "secret_superseded",
            "This key has been replaced. Use the new one to change it, or ask its issuer.",
        )));
    }
    if shown.key.origin == KeyOrigin::File {
        // The store need not be asked, which may not have been told of it yet.
        let refused = Refused::key_of_file(shown.key.id.as_str());
        return Err(Failure::from(Refusal::of_management(&refused)));
    }
    Ok(Actor {
        name: format!("key:{}", shown.key.id),
        role: Role::Developer,
        via: Via::Key,
        address: Some(permit.client_address().to_string()),
    })
}

/// Reads how the key is to be rotated; nothing said means a day for the old secret, or what is allowed.
async fn wanted(body: RequestBody, offered: &SelfService) -> Result<RotateKey, Failure> {
    let bytes = body.collect().await.map_err(|error| Failure::Upstream(ForwardError::RequestBody(error.into())))?;
    let bytes = bytes.to_bytes();
    let asked = if bytes.is_empty() { Ok(Rotation::default()) } else { serde_json::from_slice(&bytes) };
    let asked = asked.map_err(|_| {
        Failure::from(Refusal::malformed_for_holder(
            "Send nothing, or JSON such as {\"grace_seconds\": 3600, \"pending\": false}.",
        ))
    })?;
    let grace = asked.grace_seconds.map_or(USUAL_GRACE.min(offered.max_grace), Duration::from_secs);
    if grace > offered.max_grace {
        return Err(Failure::from(Refusal::malformed_for_holder(format!(
            "The old key may stay good for {} seconds at most.",
            offered.max_grace.as_secs()
        ))));
    }
    Ok(RotateKey { grace, is_pending: asked.pending, secret: None, expires_at: None })
}

fn answer(value: &Value) -> Result<Response<Body>, Failure> {
    let body = Body::json(value).map_err(|_| Failure::from(Refusal::internal()))?;
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
