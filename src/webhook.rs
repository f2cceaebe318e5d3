//! Telling somebody of changes of keys, over HTTP, signed, until it was heard.
//!
//! What is to be told stands in the store's outbox, written by the change itself and in the same transaction: nothing that
//! was done stays untold, and nothing is told that was not done. [`deliver`] takes it from there. It runs beside
//! everything else; no change and no request waits for it.
//!
//! Messages and signatures are those of Standard Webhooks (HMAC with SHA-256 over id, time and body). A message that is
//! not taken with a 2xx within a quarter of a minute is sent again, later each time, for a day. Whoever takes one twice
//! knows it by its id. Redirects are not followed, and answers are not read.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::value::RawValue;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::config;
use crate::keys::Timestamp;
use crate::management::{Management, now};
use crate::store::{Delivery, StoreError};
use crate::telemetry::metrics::Metrics;

/// How often it is looked whether something is to be told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The time for one attempt.
const PATIENCE: Duration = Duration::from_secs(15);
/// While one attempt is made, no other process makes it. So long a message waits whose process died in the middle.
const LEASE: Duration = Duration::from_secs(20);
/// The waits between attempts; the last one again and again.
const WAITS: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
];
/// What could not be told for so long is given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Who is told, and how that is proven to be us.
pub struct Receiver {
    url: Uri,
    secret: Zeroizing<Vec<u8>>,
    tls: Arc<rustls::ClientConfig>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("host", &self.url.host()).finish_non_exhaustive()
    }
}

impl Receiver {
    /// From what the configuration says. Without authorities of its own the system's are trusted.
    ///
    /// # Errors
    /// Only if the cryptographic provider lacks the versions.
    pub fn new(settings: &config::Webhook) -> Result<Self, rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        let of_system = || -> Vec<CertificateDer<'static>> { rustls_native_certs::load_native_certs().certs };
        roots.add_parsable_certificates(settings.trusted.clone().unwrap_or_else(of_system));
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { url: settings.url.clone(), secret: settings.secret.clone(), tls: Arc::new(tls) })
    }
}

/// Why a message was not taken.
#[derive(Debug, Error)]
enum NotTaken {
    #[error("no connection: {0}")]
    Connection(#[source] std::io::Error),
    #[error("the exchange broke off: {0}")]
    Exchange(#[source] hyper::Error),
    #[error("it was answered with {0}")]
    Status(StatusCode),
    #[error("no answer in time")]
    TimedOut,
    #[error("the message cannot be written")]
    Message,
}

/// Tells whoever is in `receiver`, again and again, until the task is ended.
pub async fn deliver(management: Management, receiver: Arc<ArcSwapOption<Receiver>>, metrics: Metrics) {
    let mut told_failing = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(receiver) = receiver.load_full() else { continue };
        while let Some(delivery) = lease(management.clone(), &metrics).await {
            let outcome = match tokio::time::timeout(PATIENCE, send(&receiver, &delivery, now())).await {
                Ok(outcome) => outcome,
                Err(_) => Err(NotTaken::TimedOut),
            };
            settle(management.clone(), &delivery, outcome.is_ok(), &metrics).await;
            match &outcome {
                Ok(()) => {
                    metrics.webhook_told("delivered");
                    if std::mem::take(&mut told_failing) {
                        tracing::info!("the webhook takes messages again");
                    }
                }
                Err(error) => {
                    metrics.webhook_told("failed");
                    // Once, and not for each of a thousand messages.
                    if !std::mem::replace(&mut told_failing, true) {
                        tracing::warn!(%error, event = delivery.event, id = delivery.id, "the webhook took no message");
                    }
                }
            }
            if outcome.is_err() {
                break;
            }
        }
    }
}

/// The next message that is due; nobody else takes it for a while. None if there is none, or the store cannot be used.
async fn lease(management: Management, metrics: &Metrics) -> Option<Delivery> {
    let taken = tokio::task::spawn_blocking(move || {
        let (due, waiting) = management
            .store()
            .read(|reader| Ok::<_, StoreError>((reader.due_delivery(now())?, reader.waiting_deliveries()?)))?;
        if due.is_none() {
            return Ok((None, waiting));
        }
        let leased = management.store().write(now(), |writer| {
            // Another process may have been faster.
            let due = writer.due_delivery(writer.now())?;
            if let Some(delivery) = &due {
                writer.lease_delivery(delivery.number, later(writer.now(), LEASE))?;
            }
            Ok::<_, StoreError>(due)
        })?;
        Ok::<_, StoreError>((leased, waiting))
    });
    match taken.await {
        Ok(Ok((leased, waiting))) => {
            metrics.set_webhook_waiting(u64::try_from(waiting).unwrap_or(0));
            leased
        }
        _ => {
            metrics.store_failed("webhook");
            None
        }
    }
}

/// Writes down what came of an attempt.
async fn settle(management: Management, delivery: &Delivery, is_told: bool, metrics: &Metrics) {
    let (number, event, id) = (delivery.number, delivery.event.clone(), delivery.id.clone());
    let at = now();
    let age = at.as_millis().saturating_sub(delivery.created_at.as_millis());
    let is_given_up = !is_told && u128::try_from(age).unwrap_or(0) >= GIVEN_UP_AFTER.as_millis();
    if is_given_up {
        metrics.webhook_told("given_up");
        tracing::error!(event, id, "the webhook was never told: it took no message for a day");
    }
    let tried = usize::try_from(delivery.attempts).unwrap_or(usize::MAX);
    let again = later(at, WAITS[tried.min(WAITS.len() - 1)]);
    let written = tokio::task::spawn_blocking(move || {
        management.store().write(at, |writer| match is_told || is_given_up {
            true => writer.remove_delivery(number),
            false => writer.postpone_delivery(number, again),
        })
    });
    // If it cannot be written the message is sent once more, which its reader must expect.
    if !matches!(written.await, Ok(Ok(()))) {
        metrics.store_failed("webhook");
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

/// The body of a message: what happened, when, and to what.
fn body(delivery: &Delivery) -> Result<Vec<u8>, NotTaken> {
    #[derive(serde::Serialize)]
    struct Message<'a> {
        r#type: &'a str,
        timestamp: String,
        data: &'a RawValue,
    }
    let data = serde_json::from_str::<&RawValue>(&delivery.body).map_err(|_| NotTaken::Message)?;
    let message = Message { r#type: &delivery.event, timestamp: delivery.created_at.to_string(), data };
    serde_json::to_vec(&message).map_err(|_| NotTaken::Message)
}

/// The signature of a message, as Standard Webhooks writes it.
fn signature(secret: &[u8], id: &str, seconds: i64, body: &[u8]) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let mut context = aws_lc_rs::hmac::Context::with_key(&key);
    context.update(format!("{id}.{seconds}.").as_bytes());
    context.update(body);
    format!("v1,{}", BASE64.encode(context.sign()))
}

/// One attempt. Each has a connection of its own: there are few, and what is closed cannot go stale.
async fn send(receiver: &Receiver, delivery: &Delivery, at: Timestamp) -> Result<(), NotTaken> {
    let body = body(delivery)?;
    let seconds = at.as_millis().div_euclid(1000);
    let authority = receiver.url.authority().ok_or(NotTaken::Message)?;
    let target = receiver.url.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::post(target)
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("keygate/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", &delivery.id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signature(&receiver.secret, &delivery.id, seconds, &body))
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| NotTaken::Message)?;
    let is_secure = receiver.url.scheme_str() == Some("https");
    let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, port)).await.map_err(NotTaken::Connection)?;
    let status = if is_secure {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| NotTaken::Message)?;
        let connector = TlsConnector::from(Arc::clone(&receiver.tls));
        let stream = connector.connect(name, stream).await.map_err(NotTaken::Connection)?;
        exchange(stream, request).await
    } else {
        exchange(stream, request).await
    }
    .map_err(NotTaken::Exchange)?;
    if status.is_success() { Ok(()) } else { Err(NotTaken::Status(status)) }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = sender.send_request(request);
    tokio::select! {
        biased;
        answer = answer => answer.map(|answer| answer.status()),
        // It ends with an error, or after an answer.
        Err(error) = connection => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn messages_are_signed_as_standard_webhooks_are() {
        let secret = BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_message_says_what_happened_when_and_to_what() {
        let delivery = Delivery {
            number: 1,
            id: "evt_1".to_owned(),
            event: "key.created".to_owned(),
            body: r#"{"key":{"id":"key_1"}}"#.to_owned(),
            attempts: 0,
            created_at: Timestamp::from_millis(0),
        };
        let text = String::from_utf8(body(&delivery).unwrap()).unwrap();
        assert_eq!(text, r#"{"type":"key.created","timestamp":"1970-01-01T00:00:00Z","data":{"key":{"id":"key_1"}}}"#);
    }
}
