//! How a request would be decided: `explain`, over the rules and keys in force.
//!
//! A key that is pasted is shown as a caller would show it, and is nowhere kept. Where a key is named by its id, or a client
//! by its own, there is no secret to show: a secret is made up for this one question and put, for that key, into a table
//! of its own. The decision is `admit`'s in every case.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use super::Observatory;
use crate::admission::{RequestHead, requested_host};
use crate::client::{Client, Grants, KeyType};
use crate::credential::{CredentialSource, KeyDigest, KeyText, Secret};
use crate::explain::{Explanation, explain};
use crate::keys::{ApiKey, KeyId, KeyOrigin, KeyRecord, KeyTable, KeyTerms, SecretRecord, Timestamp};
use crate::routing::{CanonicalPath, Endpoint};
use crate::snapshot::Snapshot;

/// How the made-up secret begins.
const MADE_UP: &str = "kg_made_up_";

/// Whose request it is.
#[derive(Debug)]
pub enum Who<'a> {
    /// Nobody's: no key is shown.
    Nobody,
    /// Of whoever has this key.
    Secret(Secret<'a>),
    /// As this key.
    Key(ApiKey),
    /// As this client with a key that states nothing of its own.
    Client(Arc<Client>),
}

/// A request that is asked about.
#[derive(Debug)]
pub struct Question<'a> {
    /// Its method.
    pub method: Method,
    /// Its path, or a whole URL.
    pub target: &'a str,
    /// Its host, where the target names none.
    pub host: Option<&'a str>,
    /// Who asks.
    pub who: Who<'a>,
    /// The listener it comes in on; the first one if none is named.
    pub listener: Option<&'a str>,
    /// Where it comes from.
    pub address: IpAddr,
    /// It comes over TLS, whatever the listener speaks.
    pub is_secure: bool,
}

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unanswerable {
    /// The target is no path.
    #[error("this is neither a path that begins with `/` nor a URL")]
    Target,
    /// The host is none.
    #[error("the host is not well-formed, or the URL names another one")]
    Host,
    /// There is no such listener.
    #[error("there is no listener of that name")]
    Listener,
    /// What is shown as a key cannot stand in a header.
    #[error("the key holds characters that cannot stand in a header")]
    Secret,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// How a request would be decided.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Answer {
    /// Whether the request would reach the upstream.
    pub admitted: bool,
    /// `admitted`, `preflight`, or the code of the refusal.
    pub code: String,
    /// The decision in words.
    pub verdict: String,
    /// Where the rule that decided was written, such as `gateway.yaml:20`; null if none did.
    pub rule: Option<String>,
    /// The smallest change that would admit the request; null if it is admitted, or no change can be named.
    pub remedy: Option<String>,
    /// What was passed on the way, in order.
    pub steps: Vec<AnswerStep>,
}

/// One step of a decision.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AnswerStep {
    /// What was looked at.
    pub subject: String,
    /// What was found.
    pub finding: String,
}

impl From<Explanation> for Answer {
    fn from(explanation: Explanation) -> Self {
        let steps = explanation.steps.into_iter();
        Self {
            admitted: explanation.admitted,
            code: explanation.code.to_owned(),
            verdict: explanation.verdict,
            rule: explanation.rule,
            remedy: explanation.remedy,
            steps: steps.map(|step| AnswerStep { subject: step.subject.to_owned(), finding: step.finding }).collect(),
        }
    }
}

impl Observatory {
    /// Decides a request and tells how. Nothing is counted, logged or sent.
    ///
    /// # Errors
    /// The question cannot be asked of a gateway.
    pub fn explain(&self, question: &Question<'_>) -> Result<Answer, Unanswerable> {
        let snapshot = self.0.seen.snapshot.load();
        let target: Uri = question.target.parse().map_err(|_| Unanswerable::Target)?;
        if !target.path().starts_with('/') {
            return Err(Unanswerable::Target);
        }
        let mut headers = HeaderMap::new();
        if let Some(host) = question.host {
            headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| Unanswerable::Host)?);
        }
        let host = requested_host(&target, &headers).map_err(|_| Unanswerable::Host)?.1.into_owned();
        let mut listeners = self.0.seen.settings.listeners.iter();
        let listener = match question.listener {
            None => listeners.next(),
            Some(name) => listeners.find(|listener| *listener.name == *name),
        };
        let listener = listener.ok_or(Unanswerable::Listener)?;

        let endpoint = CanonicalPath::parse(target.path())
            .ok()
            .and_then(|path| snapshot.router.find(&listener.name, &host, &path, &question.method).ok())
            .map(|rule| &*snapshot.router.endpoints()[rule.endpoint]);
        let own_table = KeyTable::new();
        let mut keys: &KeyTable = &self.0.seen.keys;
        match &question.who {
            Who::Nobody => {}
            Who::Secret(secret) => show(&mut headers, endpoint, secret)?,
            Who::Key(key) => {
                let secret = KeyText::generate(MADE_UP).map_err(|_| Unanswerable::NoRandomness)?;
                own_table.extend(&[record(key.clone(), &secret)]);
                keys = &own_table;
                show(&mut headers, endpoint, &secret)?;
            }
            Who::Client(client) => {
                let secret = KeyText::generate(MADE_UP).map_err(|_| Unanswerable::NoRandomness)?;
                own_table.extend(&[record(any_key_of(client, &snapshot), &secret)]);
                keys = &own_table;
                show(&mut headers, endpoint, &secret)?;
            }
        }
        let head = RequestHead {
            method: &question.method,
            path: target.path(),
            host: &host,
            headers: &headers,
            listener: &listener.name,
            is_backoffice: listener.is_backoffice,
            peer_address: question.address,
            client_address: question.address,
            is_secure: question.is_secure || listener.is_tls,
            gate: None,
        };
        Ok(explain(&head, &snapshot, keys, Timestamp::from(SystemTime::now())).into())
    }
}

fn record(key: ApiKey, secret: &Secret<'_>) -> KeyRecord {
    let secrets = vec![SecretRecord::new(KeyDigest::blake3(secret))];
    KeyRecord { name: key.id.as_str().into(), description: None, key, secrets }
}

/// A secret key of a client that states nothing of its own.
fn any_key_of(client: &Arc<Client>, snapshot: &Snapshot) -> ApiKey {
    ApiKey {
        id: KeyId::parse("any_key").expect("it is a word"),
        not_before: None,
        expires_at: None,
        terms: Arc::new(KeyTerms {
            client: Arc::clone(client),
            key_type: KeyType::Secret,
            environment: snapshot.environment.clone(),
            active: true,
            grants: Grants::Unrestricted,
            networks: Box::default(),
            origins: Box::default(),
            plan: None,
            origin: KeyOrigin::Store,
        }),
    }
}

/// Shows a secret in the first place where the endpoint takes one; as Bearer if there is no endpoint.
fn show(headers: &mut HeaderMap, endpoint: Option<&Endpoint>, secret: &Secret<'_>) -> Result<(), Unanswerable> {
    let source = endpoint.and_then(|endpoint| endpoint.extractor.sources().first());
    let in_front = |before: &[u8]| {
        let bytes = zeroize::Zeroizing::new([before, secret.expose()].concat());
        let mut value = HeaderValue::from_bytes(&bytes).map_err(|_| Unanswerable::Secret)?;
        value.set_sensitive(true);
        Ok(value)
    };
    match source {
        Some(CredentialSource::Header { name, .. }) => headers.insert(name.clone(), in_front(b"")?),
        Some(CredentialSource::Cookie { name }) => headers.insert(COOKIE, in_front(format!("{name}=").as_bytes())?),
        Some(CredentialSource::Bearer) | None => headers.insert(AUTHORIZATION, in_front(b"Bearer ")?),
    };
    Ok(())
}
