//! Passes an admitted request on to its upstream, and the answer back.
//!
//! [`Forwarder::send`] takes a [`Permit`] and what the caller sent, and gives the answer, whose body streams while the caller
//! reads it. Each worker has a forwarder of its own, with its own connections; requests do their work in their own task.
//!
//! What goes out is HTTP/1.1 in the form of [`request`]; what comes back is read strictly ([`response`], [`chunked`]).
//! Upstreams that are configured for it are spoken to over HTTP/2 ([`http2`]), by the same rules. One
//! request of a caller is one request to an upstream. It is sent a second time only when the first cannot have been taken:
//! no connection was made, or a connection kept from before turned out to be closed and the request is a safe one. A
//! connection in any doubt is closed, an answer that was cut is an error to the one who reads it, never a shorter answer.
//!
//! Deliberately absent: any decision about the caller, caching, and a proxy's `Via`.

mod balance;
mod checks;
mod chunked;
mod connection;
mod error;
mod exchange;
mod field;
mod head;
mod http2;
mod open;
mod request;
mod response;
mod sending;
mod transport;
mod upgrade;
mod websocket;
pub mod whole;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode, request as http_request};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

pub use checks::Checks;
pub use error::{BadResponse, ForwardError, RequestBodyError};
pub use http2::{Http2Settings, speaks_grpc};
pub use open::{OpenStreams, Registered};
pub use upgrade::Tunnels;

use crate::admission::Permit;
use crate::body::Body;
use crate::echo;
use crate::server::Peer;
use crate::telemetry::metrics::WorkerMetrics;
use crate::upstream::{Capacities, Full, Place, Protocol, Server, Upstream, UpstreamKind};
use balance::{Balance, Candidate};
use connection::Connection;
use exchange::{Exchange, ExchangeRules};
use request::{RequestPlan, trailer_rule, write_head};
use response::ResponseHead;
use sending::Sending;
use transport::{Lane, Transport};

/// The most servers that are tried for one request, as long as none can be connected to.
const MAX_SERVERS_TRIED: usize = 3;
/// How often connections that have been idle for too long are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What is fixed for all requests.
#[derive(Debug, Clone)]
pub struct ForwardSettings {
    /// The largest head of an answer, in bytes; 64 KiB by default.
    pub max_response_head: usize,
    /// Our own addresses for operators, as they are bound. No request is forwarded there, whatever an upstream's name
    /// resolves to and whatever a reload says.
    pub off_limits: Arc<[SocketAddr]>,
    /// The time from the moment a request is passed on to the end of its answer; none by default.
    pub exchange_time: Option<Duration>,
    /// How many requests each upstream is busy with.
    pub capacities: Arc<Capacities>,
    /// Which servers do not answer their checks.
    pub checks: Arc<Checks>,
    /// How HTTP/2 is spoken to servers that are to speak it.
    pub http2: Http2Settings,
}

impl Default for ForwardSettings {
    fn default() -> Self {
        Self {
            max_response_head: 64 * 1024,
            off_limits: Arc::default(),
            exchange_time: None,
            capacities: Arc::default(),
            checks: Arc::default(),
            http2: Http2Settings::default(),
        }
    }
}

/// What the caller sent, except the body, and the facts that go with it.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Method, target, version and header fields as they came.
    pub parts: &'a http_request::Parts,
    /// The connection it came on.
    pub peer: &'a Peer,
    /// The caller spoke TLS, to us or to a trusted proxy.
    pub is_secure: bool,
    /// The id under which the request is known, ours or a trusted peer's.
    pub request_id: &'a [u8],
    /// The one host the request is for.
    pub host: &'a str,
    /// What the peer says of where the request comes from is believed.
    pub trusts_peer: bool,
    /// A moment ago, so that the clock need not be read again.
    pub now: Instant,
}

/// Forwards the requests of one worker. A clone is another handle to the same.
#[derive(Clone)]
pub struct Forwarder {
    shared: Arc<Shared>,
}

struct Shared {
    settings: ForwardSettings,
    metrics: WorkerMetrics,
    transport: Transport,
    balance: Balance,
    streams: Arc<OpenStreams>,
    tunnels: Arc<Tunnels>,
}

/// Lets the other tasks of this worker that can go on do so first.
///
/// Under load, requests that have come together are all judged before the first of them leaves, and then leave one right
/// behind the other. The first wakes the server; the others find it awake, and to wake somebody is the dearest thing that
/// sending can do. A request that is alone is asked again at once.
async fn give_way() {
    let mut has_given_way = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_given_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder").field("idle_connections", &self.idle_connections()).finish_non_exhaustive()
    }
}

impl Forwarder {
    /// Without any connection yet.
    #[must_use]
    pub fn new(settings: ForwardSettings, metrics: WorkerMetrics) -> Self {
        let streams = Arc::<OpenStreams>::default();
        Self {
            shared: Arc::new(Shared {
                settings,
                metrics,
                transport: Transport::default(),
                balance: Balance::default(),
                tunnels: Arc::new(Tunnels::new(Arc::clone(&streams))),
                streams,
            }),
        }
    }

    /// What is open for longer than a moment, to cut.
    #[must_use]
    pub fn streams(&self) -> &Arc<OpenStreams> {
        &self.shared.streams
    }

    /// The upgraded connections, to count.
    #[must_use]
    pub fn tunnels(&self) -> &Arc<Tunnels> {
        &self.shared.tunnels
    }

    /// Closes connections that have been idle for too long, every few seconds, as long as there is a forwarder. To be
    /// spawned on the worker's runtime.
    pub fn housekeeping(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let shared: Weak<Shared> = Arc::downgrade(&self.shared);
        async move {
            loop {
                tokio::time::sleep(SWEEP_INTERVAL).await;
                let Some(shared) = shared.upgrade() else { return };
                shared.sweep();
            }
        }
    }

    /// How many connections to servers are open and idle.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.shared.transport.idle_connections()
    }

    /// Sends an admitted request to the upstream of its endpoint and waits for the head of the answer.
    ///
    /// The body is not asked for anything before there is a connection to a server. `upgrade` is the handle that hyper gives
    /// for a request whose connection can be handed over.
    ///
    /// Dropping the future, or the body of the answer, closes the connection to the server.
    ///
    /// # Errors
    /// Why there is no answer; [`ForwardError::status`] is what the caller is told.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` keeps its arguments twice, and the future is moved around"
    )]
    pub fn send<B>(
        &self,
        permit: &Permit,
        outgoing: Outgoing<'_>,
        body: B,
        upgrade: Option<OnUpgrade>,
    ) -> impl Future<Output = Result<Response<Body>, ForwardError>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        async move {
            let endpoint = permit.endpoint();
            let plan = RequestPlan::new(endpoint, &outgoing, &body, upgrade.is_some());
            match &endpoint.upstream.kind {
                UpstreamKind::Echo => {
                    let mut head = Vec::new();
                    write_head(&mut head, permit, &outgoing, &plan, None);
                    // Boxed, as connecting is below: what few requests do must not make the future of every request large.
                    let answer = Box::pin(echo::answer(&head, body, echo_caller(permit)));
                    answer.await.map_err(ForwardError::RequestBody)
                }
                // Answered by the gateway, before it comes to forwarding.
                UpstreamKind::SelfService => Err(ForwardError::NoServer),
                UpstreamKind::Http(servers) => {
                    let answered = match endpoint.upstream.protocol {
                        Protocol::Http1 => self.send_http(permit, &outgoing, &plan, servers, body, upgrade).await,
                        // Boxed: it must not make the future of every request as large as its own.
                        Protocol::Http2 => Box::pin(self.send_http2(permit, &outgoing, &plan, servers, body)).await,
                    };
                    if let Err(error) = &answered
                        && error.is_upstream_fault()
                    {
                        self.shared.metrics.upstream_failure(&endpoint.upstream.name, error.kind());
                    }
                    answered
                }
            }
        }
    }

    #[expect(clippy::manual_async_fn, reason = "as for `send`")]
    fn send_http<B>(
        &self,
        permit: &Permit,
        outgoing: &Outgoing<'_>,
        plan: &RequestPlan<'_>,
        servers: &[Server],
        mut body: B,
        upgrade: Option<OnUpgrade>,
    ) -> impl Future<Output = Result<Response<Body>, ForwardError>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        async move {
            let shared = &*self.shared;
            let upstream = &permit.endpoint().upstream;
            let mut now = outgoing.now;
            let mut place = match upstream.capacity(&shared.settings.capacities) {
                None => None,
                Some(capacity) => match capacity.try_enter() {
                    Some(place) => Some(place),
                    None => {
                        // Boxed: few requests wait.
                        let place = Box::pin(self.enter(upstream)).await?;
                        now = Instant::now();
                        place
                    }
                },
            };
            let until = shared.settings.exchange_time.map(|time| now + time);
            let mut stale = None;
            loop {
                let connected = self.connect(permit, servers, stale, now).await?;
                let Connected { candidate, lane, mut connection, since } = connected;
                write_head(&mut connection.output, permit, outgoing, plan, Some(&candidate.server.host_value));
                let is_reused = connection.is_reused;
                let sending = Sending::new(body, plan.framing, trailer_rule(permit));
                let rules = ExchangeRules {
                    shared: self.shared.clone(),
                    upstream: upstream.clone(),
                    lane,
                    method: outgoing.parts.method.clone(),
                    response: permit.endpoint().response_timeout.unwrap_or(upstream.timeouts.response),
                    asked_upgrade: plan.upgrade.is_some(),
                    begun: since,
                    until,
                    place: place.take(),
                };
                give_way().await;
                let mut exchange = Exchange::new(connection, sending, rules);
                let outcome = poll_fn(|context| exchange.poll_head(context)).await;
                let is_stale = match &outcome {
                    Ok(head) => exchange.is_parting_word(head),
                    Err(ForwardError::Closed(_)) => exchange.may_repeat(),
                    Err(_) => false,
                };
                if is_stale {
                    shared.metrics.upstream_retry(&upstream.name);
                    (body, place) = exchange.into_body();
                    stale = Some(candidate);
                    now = Instant::now();
                    continue;
                }
                match outcome {
                    Ok(head) => {
                        shared.balance.answered(upstream, candidate, &shared.metrics);
                        return match upgrade {
                            Some(upgrade) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                                self.switch_protocols(permit, plan, head, exchange.into_connection(), upgrade)
                            }
                            _ => Ok(exchange.into_response(head)),
                        };
                    }
                    Err(error) => {
                        // That a kept connection was closed under a request is the way of HTTP/1.1, not a failing server.
                        if error.counts_against_server() && !(is_reused && matches!(error, ForwardError::Closed(_))) {
                            shared.balance.failed(upstream, candidate, Instant::now(), &shared.metrics);
                        }
                        return Err(error);
                    }
                }
            }
        }
    }

    /// A place at the upstream, if it has a bound, as soon as there is one.
    async fn enter(&self, upstream: &Upstream) -> Result<Option<Place>, ForwardError> {
        let Some(capacity) = upstream.capacity(&self.shared.settings.capacities) else { return Ok(None) };
        let entered = capacity.enter(upstream.concurrency).await.map_err(|Full| {
            self.shared.metrics.limit_hit("upstream_requests");
            ForwardError::Busy
        });
        entered.map(Some)
    }

    /// A connection to the next server that has one: kept from before, or new. After a kept one has turned out to be closed
    /// (`stale`), a new one to the same server.
    async fn connect<'u>(
        &self,
        permit: &Permit,
        servers: &'u [Server],
        stale: Option<Candidate<'u>>,
        mut now: Instant,
    ) -> Result<Connected<'u>, ForwardError> {
        let shared = &*self.shared;
        let upstream = &permit.endpoint().upstream;
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut failure = ForwardError::NoServer;
        let mut again = stale;
        while tried.len() < MAX_SERVERS_TRIED {
            let may_reuse = again.is_none();
            let picked = again.take().or_else(|| shared.pick(upstream, servers, &tried, now));
            let Some(candidate) = picked else { break };
            let tls = candidate.server.tls.as_ref();
            let lane = shared.transport.lane(candidate.address, tls);
            if may_reuse && let Some(connection) = lane.take(now) {
                shared.metrics.upstream_connection(&upstream.name, true);
                return Ok(Connected { candidate, lane, connection, since: now });
            }
            let (limit, off_limits) = (upstream.timeouts.connect, &shared.settings.off_limits);
            match Box::pin(Connection::open(candidate.address, tls, limit, off_limits)).await {
                Ok(connection) => {
                    shared.metrics.upstream_connection(&upstream.name, false);
                    return Ok(Connected { candidate, lane, connection, since: Instant::now() });
                }
                Err(error) => {
                    now = Instant::now();
                    shared.balance.failed(upstream, candidate, now, &shared.metrics);
                    tried.push(candidate.address);
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    /// Answers the caller with 101 and lets bytes pass both ways.
    fn switch_protocols(
        &self,
        permit: &Permit,
        plan: &RequestPlan<'_>,
        head: ResponseHead,
        connection: Option<Box<Connection>>,
        downstream: OnUpgrade,
    ) -> Result<Response<Body>, ForwardError> {
        let asked = plan.upgrade.unwrap_or_default();
        let protocol = head
            .upgrade
            .filter(|protocol| protocol.as_bytes().eq_ignore_ascii_case(asked.as_bytes()))
            .ok_or(BadResponse::UnaskedUpgrade)?;
        let connection = connection.ok_or(ForwardError::Closed(None))?;
        let idle = permit.endpoint().upstream.timeouts.tunnel;
        let lifetime = permit.key_lifetime(SystemTime::now());
        let is_websocket = asked.as_bytes().eq_ignore_ascii_case(b"websocket");
        let held = (permit.shown(), permit.places());
        self.shared.tunnels.open(downstream, connection, held, lifetime, idle, is_websocket);
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = head.headers;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, protocol);
        Ok(response)
    }
}

/// A connection to use for one exchange.
struct Connected<'u> {
    candidate: Candidate<'u>,
    lane: Arc<Lane>,
    connection: Box<Connection>,
    /// When it was there.
    since: Instant,
}

impl Shared {
    /// The server to ask, other than those that were tried.
    fn pick<'u>(
        &self,
        upstream: &Upstream,
        servers: &'u [Server],
        tried: &[SocketAddr],
        now: Instant,
    ) -> Option<Candidate<'u>> {
        let is_down = |address| self.settings.checks.is_down(upstream, address);
        self.balance.pick(upstream, servers, tried, is_down, now, &self.metrics)
    }

    fn sweep(&self) {
        let now = Instant::now();
        self.transport.sweep(now);
        self.balance.sweep(now);
    }
}

/// Who is calling, as the echo shows it.
fn echo_caller(permit: &Permit) -> Option<echo::Caller<'_>> {
    let identified = permit.identified();
    let key = identified.key?;
    Some(echo::Caller {
        client: key.client.id.as_str(),
        client_type: key.client.client_type.as_str(),
        key: key.id.as_str(),
        user: identified.user.map(|user| &*user.id),
    })
}

#[cfg(test)]
mod tests;
