//! What operators and their machines ask keygate about itself: is it alive, is it ready, what does it count.
//!
//! `app` makes an [`Ops`] for the admin address (loopback by default) and, where one is configured, another for the observe
//! address, which a kubelet and Prometheus may reach, and gives each to [`serve`] with a listener of its own. Nothing here is
//! on the path of a request.
//!
//! | path | admin | observe | |
//! |---|---|---|---|
//! | `GET /livez`, `/healthz` | yes | yes | 200 as long as the process answers |
//! | `GET /readyz` | yes | yes | 200, or 503 while nothing is loaded or a drain has begun; `?verbose` lists the checks |
//! | `GET /metrics` | yes | yes | Prometheus text |
//! | `GET /` | yes | yes | this table, in short; a browser is sent to the console |
//! | `GET /console/..` | yes | no | the console, see [`crate::console`], unless it is switched off |
//! | `POST /reload` | yes | no | reads the configuration again and says how that went |
//! | `/v1/..`, `/openapi.json` | yes | no | the admin API, see [`crate::admin`] |
//!
//! What a stranger may read is less than what an operator may: the problem text of a failed reload, which can quote the
//! configuration, is shown on the admin address only.
//!
//! Loopback is no protection against a browser on the same machine: any web page can send requests there, and with a
//! DNS name of its own that resolves to 127.0.0.1 it can read the answers. `ops/guard.rs` says what is done
//! about it.

mod guard;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::admin::{AdminApi, Caller, OverTls, Reload};
use crate::console;
use crate::telemetry::health::{Health, ReloadOutcome, Status};
use crate::telemetry::metrics::Metrics;

pub use guard::{INTENT_HEADER, Refused};

/// Connections at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 128;
/// Connections at a time from one address that is not our own machine; more are closed, so that one neighbour cannot keep the
/// kubelet out.
const MAX_FROM_ONE_ADDRESS: usize = 32;
/// How often the log says that connections cannot be accepted.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);
/// The time a caller has for the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for a whole connection, a reload included.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// The same on the admin address, where a million keys may come in or go out.
const ADMIN_CONNECTION_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How long a browser may go on asking over one connection.
const KEPT_OPEN: Duration = Duration::from_secs(60);
/// The time for answers under way when the listener is closed.
const CLOSING_TIME: Duration = Duration::from_secs(2);
/// The largest head, and the most header fields in it.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// The type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const JSON_TYPE: &str = "application/json";
const PROBLEM_TYPE: &str = "application/problem+json";

type Answer = Response<Body>;

#[derive(Clone)]
struct Changes {
    /// Starts a reload. It runs to its end even if nobody waits for it, and has told [`Health`] when it is over.
    reload: Reload,
    api: AdminApi,
    has_console: bool,
}

/// The answers of one address. A clone gives the same.
#[derive(Clone)]
pub struct Ops {
    metrics: Metrics,
    health: Health,
    /// On the admin address, what changes something.
    admin: Option<Changes>,
    reload_is_running: Arc<AtomicBool>,
    /// Rendering takes a core for some milliseconds: one at a time.
    rendering: Arc<Semaphore>,
}

impl Ops {
    /// The answers of the admin address.
    #[must_use]
    pub fn admin(metrics: Metrics, health: Health, reload: Reload, api: AdminApi, has_console: bool) -> Self {
        Self { admin: Some(Changes { reload, api, has_console }), ..Self::observe(metrics, health) }
    }

    /// The answers of the observe address: metrics and health, nothing that changes anything.
    #[must_use]
    pub fn observe(metrics: Metrics, health: Health) -> Self {
        Self { metrics, health, admin: None, reload_is_running: Arc::default(), rendering: Arc::new(Semaphore::new(1)) }
    }

    fn is_admin(&self) -> bool {
        self.admin.is_some()
    }

    async fn answer(&self, request: Request<Incoming>, listener: SocketAddr, peer: IpAddr, is_tls: bool) -> Answer {
        let Some(admin) = &self.admin else { return once(self.own_answer(request, listener).await) };
        let path = request.uri().path();
        let is_of_console = admin.has_console && request.headers().contains_key(console::HEADER);
        let mut answer = match guard::check_host(&request, listener) {
            Err(refused) => refusal(&refused),
            Ok(()) if admin.has_console && (path == "/console" || path.starts_with(console::PLACE)) => {
                return console::answer(request.method(), path, request.headers()).map(Body::from);
            }
            Ok(()) if admin.has_console && path == "/" && is_browser(&request) => {
                return console::moved().map(Body::from);
            }
            Ok(()) if path == "/openapi.json" || path == "/v1" || path.starts_with("/v1/") => {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(Caller::Network(peer));
                if is_tls {
                    request.extensions_mut().insert(OverTls);
                }
                admin.api.answer(request).await
            }
            Ok(()) => self.own_answer(request, listener).await,
        };
        console::secure_api(answer.headers_mut());
        if is_of_console { answer } else { once(answer) }
    }

    async fn own_answer(&self, request: Request<Incoming>, listener: SocketAddr) -> Answer {
        let path = request.uri().path();
        let allowed = match path {
            "/" | "/livez" | "/healthz" | "/readyz" | "/metrics" => "GET, HEAD",
            "/reload" if self.is_admin() => "POST",
            _ => {
                return problem(
                    StatusCode::NOT_FOUND,
                    "not_found",
                    "there is nothing at this path; GET / lists what there is",
                );
            }
        };
        if !allowed.split(", ").any(|method| request.method().as_str() == method) {
            let mut answer =
                problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has another method");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
        if request.method() == Method::POST {
            return self.reload(&request, listener).await;
        }
        let is_verbose = request.uri().query().is_some_and(|query| query.split('&').any(|name| name == "verbose"));
        match path {
            "/livez" | "/healthz" if is_verbose => {
                text(StatusCode::OK, "[+]process ok\nlivez check passed\n".to_owned())
            }
            "/livez" | "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => {
                let status = self.health.status();
                let code = if status.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                if is_verbose {
                    text(code, checks(&status))
                } else {
                    answer(code, JSON_TYPE, format!("{}\n", readiness(&status, self.is_admin())))
                }
            }
            "/metrics" => self.render().await,
            _ => text(StatusCode::OK, self.index()),
        }
    }

    async fn render(&self) -> Answer {
        let rendered = async {
            let _one = self.rendering.acquire().await.ok()?;
            let metrics = self.metrics.clone();
            tokio::task::spawn_blocking(move || metrics.render()).await.ok()
        };
        match rendered.await {
            Some(text) => answer(StatusCode::OK, METRICS_TYPE, text),
            None => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the metrics could not be rendered"),
        }
    }

    async fn reload(&self, request: &Request<Incoming>, listener: SocketAddr) -> Answer {
        if let Err(refused) = guard::check_intent(request, listener) {
            return refusal(&refused);
        }
        if !request.body().is_end_stream() {
            return problem(StatusCode::BAD_REQUEST, "body_not_wanted", "a reload takes no body");
        }
        let Some(Changes { reload, .. }) = &self.admin else { return refusal(&Refused::NotLoopback) };
        if self.reload_is_running.swap(true, Ordering::AcqRel) {
            return problem(StatusCode::CONFLICT, "reload_running", "a reload is under way; ask again when it is over");
        }
        // On a task of its own: a caller that leaves must not leave a reload half done, nor the flag set.
        let running = Running(Arc::clone(&self.reload_is_running));
        let reloading = reload();
        let outcome = tokio::spawn(async move {
            let _running = running;
            reloading.await
        });
        match outcome.await {
            Ok(outcome) => {
                let generation = self.health.status().generation;
                let mut report = json!({ "outcome": outcome.as_str(), "generation": generation });
                let mut code = StatusCode::OK;
                if let ReloadOutcome::Rejected { problem } = &outcome {
                    code = StatusCode::UNPROCESSABLE_ENTITY;
                    report["problem"] = Value::from(&**problem);
                }
                answer(code, JSON_TYPE, format!("{report}\n"))
            }
            Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the reload did not come to an end"),
        }
    }

    fn index(&self) -> String {
        let mut index = format!(
            "keygate {}\n\nGET  /livez    is the process alive\nGET  /readyz   can it judge requests (?verbose lists the checks)\n\
             GET  /metrics  for Prometheus\n",
            env!("CARGO_PKG_VERSION")
        );
        if self.is_admin() {
            writeln!(
                index,
                "POST /reload   read the configuration again; needs the header {INTENT_HEADER}: reload\n\
                 /v1/..         manage keys and clients, with an admin token; GET /openapi.json says how"
            )
            .expect("a String takes all that is written");
        }
        if self.admin.as_ref().is_some_and(|admin| admin.has_console) {
            index.push_str("GET  /console/ the same for people with a browser\n");
        }
        index
    }
}

/// The last answer of its connection.
fn once(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Whether somebody wants to see a page.
fn is_browser<B>(request: &Request<B>) -> bool {
    let wants_page = |field: &HeaderValue| field.to_str().is_ok_and(|text| text.contains("text/html"));
    matches!(*request.method(), Method::GET | Method::HEAD) && request.headers().get_all(ACCEPT).iter().any(wants_page)
}

/// Clears the flag also when the reload panics.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn readiness(status: &Status, with_problem: bool) -> Value {
    let last_reload = status.last_reload.as_ref().map(|last| {
        let mut shown = json!({ "outcome": last.outcome.as_str(), "at": rfc_3339(last.at) });
        if let (true, ReloadOutcome::Rejected { problem }) = (with_problem, &last.outcome) {
            shown["problem"] = Value::from(&**problem);
        }
        shown
    });
    json!({
        "ready": status.is_ready(),
        "generation": status.generation,
        "content_digest": &*status.content_digest,
        "loaded_at": status.loaded_at.map(rfc_3339),
        "keys_loaded": status.keys_loaded,
        "draining": status.draining,
        "last_reload": last_reload,
    })
}

fn rfc_3339(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

/// One line for each check, as Kubernetes' own components write them.
fn checks(status: &Status) -> String {
    let mut lines = String::new();
    for (name, is_good) in
        [("configuration", status.generation > 0), ("keys", status.keys_loaded), ("not-draining", !status.draining)]
    {
        lines.push_str(&if is_good { format!("[+]{name} ok\n") } else { format!("[-]{name} failed\n") });
    }
    // Told, and not a reason to send traffic elsewhere: the rules before it are in force.
    if let Some(last) = &status.last_reload
        && matches!(last.outcome, ReloadOutcome::Rejected { .. })
    {
        lines.push_str("[!]last-reload rejected, the configuration before it stays in force\n");
    }
    lines.push_str(if status.is_ready() { "readyz check passed\n" } else { "readyz check failed\n" });
    lines
}

fn text(status: StatusCode, body: String) -> Answer {
    answer(status, TEXT_TYPE, body)
}

fn refusal(refused: &Refused) -> Answer {
    problem(refused.status(), refused.code(), &refused.to_string())
}

fn problem(status: StatusCode, code: &str, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "title": title, "status": status.as_u16(), "code": code, "detail": detail });
    answer(status, PROBLEM_TYPE, format!("{body}\n"))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Answers on a listener until `drain` completes, then finishes what is under way, for two seconds at most. With `tls`
/// nothing is answered in clear text.
///
/// Each connection carries one request: probes are rare, and what is closed cannot be held. A browser that shows the console
/// asks for dozens of files and may do so over one connection, for a minute and with seconds in between. While the data listeners drain
/// this one should stay, so that `/readyz` can say so; its own `drain` is for the very end.
pub async fn serve(listener: TcpListener, ops: Ops, tls: Option<TlsAcceptor>, drain: impl Future<Output = ()>) {
    let Ok(address) = listener.local_addr() else {
        tracing::error!("a listener without an address cannot be served");
        return;
    };
    let mut drain = pin!(drain);
    let mut connections = JoinSet::<IpAddr>::new();
    let mut by_address = HashMap::<IpAddr, usize>::new();
    let mut warned: Option<Instant> = None;
    let (close, closing) = watch::channel(false);
    loop {
        tokio::select! {
            biased;
            () = &mut drain => break,
            Some(ended) = connections.join_next() => if let Ok(peer) = ended {
                by_address.entry(peer).and_modify(|count| *count -= 1);
                by_address.retain(|_, count| *count > 0);
            },
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    let count = by_address.entry(peer.ip()).or_default();
                    if *count < MAX_FROM_ONE_ADDRESS || peer.ip().is_loopback() {
                        *count += 1;
                        let closing = closing.clone();
                        connections.spawn(connection(stream, peer.ip(), ops.clone(), tls.clone(), address, closing));
                    }
                }
                Err(error) => {
                    // Out of descriptors, say: trying again at once would spin.
                    if warned.is_none_or(|warned| warned.elapsed() >= BETWEEN_WARNINGS) {
                        warned = Some(Instant::now());
                        tracing::warn!(listener = %address, %error, "cannot accept a connection");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    // Nobody listening any more is as good as everybody told.
    let _ = close.send(true);
    let _ = tokio::time::timeout(CLOSING_TIME, async { while connections.join_next().await.is_some() {} }).await;
}

/// One connection; gives back whose it was.
async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    ops: Ops,
    tls: Option<TlsAcceptor>,
    listener: SocketAddr,
    closing: watch::Receiver<bool>,
) -> IpAddr {
    match tls {
        None => exchange(stream, peer, ops, listener, false, closing).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => exchange(stream, peer, ops, listener, true, closing).await,
            Ok(Err(error)) => tracing::debug!(client.address = %peer, %error, "a TLS handshake of an operator failed"),
            Err(_) => tracing::debug!(client.address = %peer, "a TLS handshake of an operator took too long"),
        },
    }
    peer
}

async fn exchange<S>(
    stream: S,
    peer: IpAddr,
    ops: Ops,
    listener: SocketAddr,
    is_tls: bool,
    mut closing: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let patience = if ops.is_admin() { ADMIN_CONNECTION_TIMEOUT } else { CONNECTION_TIMEOUT };
    let service = service_fn(|request| {
        let ops = ops.clone();
        async move { Ok::<_, Infallible>(ops.answer(request, listener, peer, is_tls).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = async {
        tokio::select! {
            served = &mut serving => return served,
            () = tokio::time::sleep(KEPT_OPEN) => {}
            _ = closing.wait_for(|is_closing| *is_closing) => {}
        }
        // What is under way is finished, and nothing more is asked.
        serving.as_mut().graceful_shutdown();
        serving.await
    };
    match tokio::time::timeout(patience, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(client.address = %peer, %error, "a connection for operators failed"),
        Err(_) => tracing::debug!(client.address = %peer, "a connection for operators took too long"),
    }
}
