//! The walk of one request, from its head to the end of its answer.
//!
//! [`Gateway`] is what `server` serves: it takes a request, asks `admission`, hands the request and its permit to
//! `forward`, or says no in the form the operator chose; and it writes down what happened, once, when the response has
//! ended or was cut.
//!
//! Rules and keys are read in one synchronous block before anything waits. A request finishes under the rules that
//! admitted it, and no lock and no map reference lives across an `.await`.

mod cors;
mod fault_log;
mod grpc;
mod guesses;
mod holder;
mod limiting;
mod record;
mod request_id;
mod response;
mod usage;
mod wall_clock;
mod withdrawal;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;

use crate::admission::{Admitted, Gate, Permit, Preflight, Refused, Rejection, RequestHead, admit, requested_host};
use crate::body::Body;
use crate::forward::{ForwardError, Forwarder, Outgoing};
use crate::keys::{KeyTable, Timestamp};
use crate::limit::{Exceeded, Taken};
use crate::server::peer::{ForwardedBy, client_address};
use crate::server::{Handler, Peer, RequestBody, Violation};
use crate::snapshot::{CurrentSnapshot, Snapshot};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::WorkerMetrics;
use crate::upstream::{Protocol, UpstreamKind};

pub use fault_log::FaultLog;
pub use guesses::Guesses;
use guesses::{Debt, SpentGate};
pub use holder::Holders;
pub use limiting::Limiting;
use record::{CountedBody, Record, RecordedBody};
use request_id::{RequestId, RequestIds};
use response::Refusal;
pub use usage::KeyUsage;
use wall_clock::WallClock;
pub use withdrawal::cut_withdrawn;

/// How long a request waits before it looks whether rules and keys are of one piece again.
const JOINT_CHANGE_PAUSE: Duration = Duration::from_millis(1);

/// What all workers share and only read while requests are served.
#[derive(Debug)]
pub struct Shared {
    /// The rules in force.
    pub snapshot: Arc<CurrentSnapshot>,
    /// The keys in force.
    pub keys: Arc<KeyTable>,
    /// Where finished requests are written down.
    pub access_log: AccessLog,
    /// Client types already told that they use a deprecated credential source.
    pub deprecations: Deprecations,
    /// Failures of upstreams that were logged.
    pub faults: FaultLog,
    /// Answers holders of keys that ask about them.
    pub holders: Holders,
    /// How many keys that are not good an address may show.
    pub guesses: Guesses,
    /// How many requests callers have made.
    pub limits: Arc<Limiting>,
}

/// Remembers which client types were seen using a deprecated credential source, so that each is logged once.
#[derive(Debug, Default)]
pub struct Deprecations(Mutex<HashSet<Box<str>>>);

impl Deprecations {
    fn note(&self, source: &str, client_type: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(format!("{source} {client_type}").into()) {
            tracing::warn!(
                credential.source = source,
                client.type_ = client_type,
                "clients of this type show their key in a deprecated place"
            );
        }
    }
}

/// Serves requests on one worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    worker: Arc<Worker>,
}

#[derive(Debug)]
struct Worker {
    shared: Arc<Shared>,
    forwarder: Forwarder,
    metrics: WorkerMetrics,
    request_ids: RequestIds,
    wall_clock: WallClock,
    usage: Arc<KeyUsage>,
}

/// Why a request has no answer from its upstream.
enum Failure {
    Refused(Box<Refused>),
    Upstream(ForwardError),
    /// Why a holder's wish was not carried out.
    Told(Box<Refusal>),
    /// A limit was reached.
    Limited(Box<Exceeded>),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(Box::new(refused))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Told(Box::new(refusal))
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Refused::from(rejection).into()
    }
}

impl Gateway {
    /// A gateway for one worker, with upstream connections of its own.
    #[must_use]
    pub fn new(shared: Arc<Shared>, forwarder: Forwarder, metrics: WorkerMetrics, usage: Arc<KeyUsage>) -> Self {
        let (request_ids, wall_clock) = (RequestIds::new(), WallClock::new());
        Self { worker: Arc::new(Worker { shared, forwarder, metrics, request_ids, wall_clock, usage }) }
    }

    /// Takes a request from its head to its answer.
    ///
    /// A block instead of an `async fn`, which would keep its arguments twice: the future is moved several times for each
    /// request.
    pub fn handle(
        &self,
        request: Request<RequestBody>,
        peer: &Arc<Peer>,
    ) -> impl Future<Output = Response<RecordedBody>> + Send {
        let started = Instant::now();
        let at = self.worker.wall_clock.at(started);
        let (mut parts, body) = request.into_parts();
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let mut view = self.view(&parts, peer, at);
        let mut record = Record::begin(&self.worker, started, at);

        async move {
            let outcome = self.walk(&parts, body, upgrade, peer, &mut view, &mut record).await;
            let View { snapshot, seen, .. } = view;
            let mut is_told_in_grpc = false;
            let mut response = match outcome {
                Ok(response) => response,
                Err(failure) => {
                    is_told_in_grpc = grpc::is_grpc_call(&parts);
                    self.answer_failure(failure, &snapshot, &seen, &mut record, is_told_in_grpc)
                }
            };
            if let Some(endpoint) = record.endpoint(&snapshot)
                && let Some(cors) = &endpoint.cors
            {
                cors::allow(cors, &parts.headers, response.headers_mut());
            }
            if !record.standings.is_empty() {
                let now = self.worker.shared.limits.moment(record.started(), record.at());
                snapshot.limits.headers.write(&snapshot.limits, &record.standings, now, response.headers_mut());
            }
            if let Some(value) = seen.request_id.value() {
                response.headers_mut().insert(request_id::HEADER, value);
            }
            let mut response = record.answered(response, parts, seen, snapshot);
            if is_told_in_grpc {
                *response.status_mut() = StatusCode::OK;
            }
            response
        }
    }

    /// Decides, and sends an admitted request on.
    #[expect(clippy::manual_async_fn, reason = "as for `handle`")]
    fn walk(
        &self,
        parts: &Parts,
        mut body: RequestBody,
        upgrade: Option<OnUpgrade>,
        peer: &Peer,
        view: &mut View,
        record: &mut Record,
    ) -> impl Future<Output = Result<Response<Body>, Failure>> + Send {
        async move {
            let (authority, host) = requested_host(&parts.uri, &parts.headers)?;
            let taken = self.ask_first(view, record)?;
            let asked = view.snapshot.generation;
            let admitted = loop {
                match self.decide(parts, &host, peer, view, record) {
                    Some(admitted) => break admitted?,
                    // Boxed: it is rare.
                    None => *view = Box::pin(self.view_of_one_piece(parts, peer, record.at())).await,
                }
            };
            let taken = if asked == view.snapshot.generation {
                taken
            } else {
                // Of rules that are not in force any more: counted, and not told of.
                record.standings.clear();
                None
            };
            let seen = &view.seen;
            let permit = match admitted {
                Admitted::Forward(permit) => permit,
                Admitted::Preflight(preflight) => return Ok(answer_preflight(&preflight, parts, record)),
            };
            self.note_deprecated_source(&permit);
            let (received, decided) = (record.received(), record.decided_at());
            let permit = if view.snapshot.limits.is_empty() { permit } else { self.ask_limits(permit, taken, record)? };
            let permit = record.admitted(permit);
            if let Some(most) = permit.endpoint().max_body {
                body.limit(most).map_err(|_| Rejection::BodyTooLarge)?;
            }
            if let UpstreamKind::SelfService = permit.endpoint().upstream.kind {
                // Boxed: it is rare, and the walk of every request would be as large as its.
                return Box::pin(self.worker.shared.holders.answer(permit, parts, body)).await;
            }
            if permit.endpoint().upstream.protocol == Protocol::Http2 && grpc::is_grpc_call(parts) {
                body.may_be_silent_for(permit.endpoint().upstream.timeouts.tunnel);
            }
            let outgoing = Outgoing {
                parts,
                peer,
                is_secure: seen.is_secure,
                request_id: seen.request_id.as_bytes(),
                host: authority,
                trusts_peer: seen.trusts_peer,
                now: decided.into(),
            };
            let body = CountedBody::new(body, received, &self.worker, permit.shown());
            let answer = self.worker.forwarder.send(permit, outgoing, body, upgrade).await;
            record.upstream_answered();
            let answer = answer.map_err(Failure::Upstream)?;
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                // A tunnel outlives its request. If the key was revoked while the upstream thought it over, the tunnel is
                // not among those that were cut: judge once more, now that it is.
                let now = SystemTime::now();
                let current = Box::pin(self.view_of_one_piece(parts, peer, now)).await;
                if let Err(refused) = self.judge(parts, &host, peer, &current.snapshot, &current.seen, now, None) {
                    let shared = &self.worker.shared;
                    cut_withdrawn(
                        std::slice::from_ref(self.worker.forwarder.streams()),
                        &shared.keys,
                        &shared.snapshot,
                    );
                    return Err(refused.into());
                }
            }
            Ok(answer)
        }
    }

    /// Asks the limits that need nothing but the address. How they stand is told whatever comes of the request.
    fn ask_first(&self, view: &View, record: &mut Record) -> Result<Option<Box<Taken>>, Failure> {
        let shared = &self.worker.shared;
        let limits = &view.snapshot.limits;
        if limits.first.is_empty() {
            return Ok(None);
        }
        let now = shared.limits.moment(record.started(), record.at());
        let taken = shared.limits.first(limits, view.seen.client_address, now, &self.worker.metrics);
        let taken = taken.map_err(|exceeded| Failure::Limited(Box::new(exceeded)))?;
        if let Some(taken) = &taken {
            record.standings.clone_from(&taken.standings);
        }
        Ok(taken.map(Box::new))
    }

    /// Asks the limits of a request that every rule admits.
    fn ask_limits(
        &self,
        mut permit: Permit,
        before: Option<Box<Taken>>,
        record: &mut Record,
    ) -> Result<Permit, Failure> {
        let limits = &self.worker.shared.limits;
        let now = limits.moment(record.started(), record.at());
        match limits.admitted(&mut permit, before.map(|taken| *taken), now, &self.worker.metrics) {
            Ok(standings) => {
                record.standings = standings;
                Ok(permit)
            }
            Err(failure) => {
                record.admitted(permit);
                Err(failure)
            }
        }
    }

    /// The rules in force, and the request as they see it.
    fn view(&self, parts: &Parts, peer: &Peer, at: SystemTime) -> View {
        let epoch = self.worker.shared.keys.epoch();
        let snapshot = self.worker.shared.snapshot.load();
        let seen = Seen::of(parts, peer, &snapshot, &self.worker.request_ids, at);
        View { epoch, snapshot, seen }
    }

    /// The same, once rules and keys do not change.
    async fn view_of_one_piece(&self, parts: &Parts, peer: &Peer, at: SystemTime) -> View {
        loop {
            let view = self.view(parts, peer, at);
            if view.epoch.is_multiple_of(2) {
                return view;
            }
            tokio::time::sleep(JOINT_CHANGE_PAUSE).await;
        }
    }

    /// Asks whether the request may pass, and counts the answer. `None` if rules and keys changed together meanwhile: then
    /// the answer may be of half a configuration.
    fn decide(
        &self,
        parts: &Parts,
        host: &str,
        peer: &Peer,
        view: &View,
        record: &mut Record,
    ) -> Option<Result<Admitted, Refused>> {
        let View { epoch, snapshot, seen } = view;
        let guesses = &self.worker.shared.guesses;
        let debt = guesses.debt(seen.client_address, record.started());
        let gate = SpentGate { guesses, keys: &self.worker.shared.keys, address: seen.client_address };
        let gate = matches!(debt, Debt::Spent(_)).then_some(&gate as &dyn Gate);
        let admitted = self.judge(parts, host, peer, snapshot, seen, record.at(), gate);
        if !epoch.is_multiple_of(2) || self.worker.shared.keys.epoch() != *epoch {
            return None;
        }
        record.decided(&admitted);
        self.note_usage(&admitted, snapshot, record.at());
        match &admitted {
            Ok(Admitted::Forward(permit)) if debt != Debt::None => {
                if let Some(shown) = permit.shown() {
                    guesses.remember(seen.client_address, shown.secret);
                }
            }
            Err(Refused { guess: Some(guess), .. }) => guesses.charge(seen.client_address, *guess, record.started()),
            Err(Refused { rejection: Rejection::TooManyFailures, .. }) => {
                self.worker.metrics.limit_hit("rejected_keys");
            }
            _ => {}
        }
        Some(admitted)
    }

    /// Counts what the key that was shown was used for.
    fn note_usage(&self, admitted: &Result<Admitted, Refused>, snapshot: &Snapshot, at: SystemTime) {
        let usage = &self.worker.usage;
        match admitted {
            Ok(Admitted::Forward(permit)) => {
                if let Some(shown) = permit.shown() {
                    usage.admitted(shown, &permit.endpoint().name, permit.client_address(), at);
                }
            }
            Ok(Admitted::Preflight(_)) => {}
            Err(refused) => {
                if let (Some(key), Some(rule)) = (&refused.key, refused.rule) {
                    usage.refused(&key.id, &snapshot.router.endpoints()[rule.endpoint].name);
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the pieces of one request")]
    fn judge(
        &self,
        parts: &Parts,
        host: &str,
        peer: &Peer,
        snapshot: &Arc<Snapshot>,
        seen: &Seen,
        at: SystemTime,
        gate: Option<&dyn Gate>,
    ) -> Result<Admitted, Refused> {
        let head = RequestHead {
            method: &parts.method,
            path: parts.uri.path(),
            host,
            headers: &parts.headers,
            listener: &peer.listener,
            is_backoffice: peer.is_backoffice,
            peer_address: peer.address.ip(),
            client_address: seen.client_address,
            is_secure: seen.is_secure,
            gate,
        };
        admit(&head, snapshot, &self.worker.shared.keys, Timestamp::from(at), &mut ())
    }

    /// Counts keys that stand in a place that is still read but should no longer be used.
    fn note_deprecated_source(&self, permit: &Permit) {
        if let (Some(source), Some(key)) = (permit.deprecated_source(), permit.key()) {
            let client_type = key.client.client_type.as_str();
            self.worker.metrics.deprecated_credential(source, client_type);
            self.worker.shared.deprecations.note(source, client_type);
        }
    }

    fn answer_failure(
        &self,
        failure: Failure,
        snapshot: &Snapshot,
        seen: &Seen,
        record: &mut Record,
        is_told_in_grpc: bool,
    ) -> Response<Body> {
        let mut closes = false;
        let refusal = match failure {
            Failure::Refused(refused) => {
                let refusal = Refusal::of_rejection(&refused.rejection);
                // A request whose host is no host is no better than one whose framing is broken.
                closes = refused.rejection == Rejection::HostInvalid;
                record.refused(refused, refusal.exact_code);
                refusal
            }
            Failure::Limited(exceeded) => {
                let refusal = Refusal::of_limit(&exceeded, &snapshot.limits);
                record.failed(refusal.exact_code);
                record.standings = exceeded.standings;
                refusal
            }
            Failure::Told(refusal) => {
                record.failed(refusal.exact_code);
                *refusal
            }
            Failure::Upstream(fault) => {
                let refusal = Refusal::of_upstream(&fault);
                record.failed(refusal.exact_code);
                let endpoint = record.endpoint(snapshot);
                self.worker.shared.faults.note(endpoint, &fault, seen.request_id.as_str());
                refusal
            }
        };
        let endpoint = record.endpoint(snapshot);
        let style = endpoint.map_or(snapshot.errors, |endpoint| endpoint.errors);
        let extractor = endpoint.map(|endpoint| &*endpoint.extractor);
        let mut response = match is_told_in_grpc {
            true => refusal.into_grpc_response(style),
            false => refusal.into_response(style, extractor, &seen.request_id),
        }
        .map(Body::full);
        if closes {
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        response
    }
}

impl Gateway {
    /// Answers where there is no request to answer: it never became one, or nothing is left of it.
    fn answer_by_itself(&self, refusal: Refusal, peer: &Peer) -> Response<Bytes> {
        let request_id = self.worker.request_ids.next(SystemTime::now());
        let style = self.worker.shared.snapshot.load().errors;
        let code = refusal.exact_code;
        let mut response = refusal.into_response(style, None, &request_id).map(Bytes::from);
        if let Some(value) = request_id.value() {
            response.headers_mut().insert(request_id::HEADER, value);
        }
        record::without_request(&self.worker.shared.access_log, code, &response, request_id.as_str(), peer);
        response
    }
}

impl Handler for Gateway {
    type Body = RecordedBody;

    fn handle(
        &self,
        request: Request<RequestBody>,
        peer: &Arc<Peer>,
    ) -> impl Future<Output = Response<Self::Body>> + Send {
        Self::handle(self, request, peer)
    }

    fn refuse(&self, violation: Violation, peer: &Peer) -> Response<Bytes> {
        self.answer_by_itself(Refusal::of_violation(violation), peer)
    }

    fn failed(&self, peer: &Peer) -> Response<Bytes> {
        self.answer_by_itself(Refusal::internal(), peer)
    }
}

/// What a request is judged by, and how it looks to it.
struct View {
    /// Of the keys, from before the rules were read.
    epoch: u64,
    snapshot: Arc<Snapshot>,
    seen: Seen,
}

/// What is known of a request before anything is decided, as its own log line and the upstream see it.
#[derive(Debug)]
struct Seen {
    /// `X-Forwarded-*` from this peer is believed.
    trusts_peer: bool,
    client_address: IpAddr,
    is_secure: bool,
    request_id: RequestId,
}

impl Seen {
    fn of(parts: &Parts, peer: &Peer, snapshot: &Snapshot, request_ids: &RequestIds, at: SystemTime) -> Self {
        let peer_address = peer.address.ip();
        let trusts_peer = snapshot.trusted_proxies.iter().any(|network| network.contains(&peer_address));
        if !trusts_peer {
            let request_id = request_ids.next(at);
            return Self { trusts_peer, client_address: peer_address, is_secure: peer.is_tls, request_id };
        }
        let forwarded =
            client_address(peer_address, &parts.headers, &snapshot.trusted_proxies, ForwardedBy::XForwarded);
        Self {
            trusts_peer,
            client_address: forwarded.client,
            is_secure: forwarded.is_secure.unwrap_or(peer.is_tls),
            request_id: request_id::sent(&parts.headers).unwrap_or_else(|| request_ids.next(at)),
        }
    }
}

fn answer_preflight(preflight: &Preflight, parts: &Parts, record: &mut Record) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Some(cors) = &preflight.endpoint().cors {
        cors::answer_preflight(cors, &parts.headers, response.headers_mut());
    }
    record.preflight(preflight);
    response
}
