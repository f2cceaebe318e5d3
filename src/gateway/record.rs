//! What happened to one request: filled on the walk, counted and printed once.
//!
//! A [`Record`] begins with the request and travels with the response's body, because a request is over when its last
//! byte has been sent, or when the caller has gone. Dropping a [`RecordedBody`] before its end is how a cut response
//! shows.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::withdrawal::Withdrawal;
use super::{Seen, Worker};
use crate::admission::{Admitted, Permit, Preflight, Refused};
use crate::body::{Body, BodyError};
use crate::forward::{ForwardError, RequestBodyError};
use crate::keys::{ApiKey, TableEntry};
use crate::limit::Standing;
use crate::routing::{Endpoint, RuleRef};
use crate::server::{Peer, RequestBody};
use crate::snapshot::Snapshot;
use crate::telemetry::access_log::{AccessLog, AccessRecord};
use crate::telemetry::metrics::RequestSample;

/// How a request came out, as far as it is known.
#[derive(Debug)]
enum Outcome {
    /// Nothing is decided yet.
    Open,
    /// Admitted to an endpoint.
    Admitted(Permit),
    /// A CORS preflight for a rule.
    Preflight(RuleRef),
    /// Refused by us.
    Refused(Box<Refused>),
}

/// The record of one request while it is being walked.
#[derive(Debug)]
pub(super) struct Record {
    /// One count of this worker's own, in place of the counts of what it holds and shares with the others.
    worker: Arc<Worker>,
    started: Instant,
    /// When the decision was made, and the upstream asked if that was it.
    decided: Instant,
    /// When the head had arrived, for people.
    at: SystemTime,
    outcome: Outcome,
    /// Code of a refusal or of an upstream's fault.
    code: Option<&'static str>,
    /// Time until the upstream's head, if it was asked.
    upstream: Option<Duration>,
    /// How the limits stand that were asked.
    pub(super) standings: Vec<Standing>,
    /// Bytes of the request's body, counted only if somebody will read the number.
    received: Option<Arc<AtomicU64>>,
}

impl Record {
    pub(super) fn begin(worker: &Arc<Worker>, started: Instant, at: SystemTime) -> Self {
        Self {
            worker: Arc::clone(worker),
            started,
            decided: started,
            at,
            outcome: Outcome::Open,
            code: None,
            upstream: None,
            standings: Vec::new(),
            received: worker.shared.access_log.is_on().then(Arc::default),
        }
    }

    /// When the head had arrived.
    pub(super) fn at(&self) -> SystemTime {
        self.at
    }

    /// The same, for measuring.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// When it was decided.
    pub(super) fn decided_at(&self) -> Instant {
        self.decided
    }

    /// Counts the decision, which has just been made.
    pub(super) fn decided(&mut self, admitted: &Result<Admitted, Refused>) {
        self.decided = Instant::now();
        let (outcome, reason) = match admitted {
            Ok(Admitted::Forward(permit)) if permit.key().is_some() => ("admitted", "ok"),
            Ok(Admitted::Forward(_)) => ("admitted", "anonymous"),
            Ok(Admitted::Preflight(_)) => ("admitted", "preflight"),
            Err(refused) => ("refused", refused.rejection.code()),
        };
        self.worker.metrics.decision(outcome, reason, self.decided.saturating_duration_since(self.started));
    }

    /// Keeps the permit for the rest of the walk.
    pub(super) fn admitted(&mut self, permit: Permit) -> &Permit {
        self.outcome = Outcome::Admitted(permit);
        match &self.outcome {
            Outcome::Admitted(permit) => permit,
            _ => unreachable!("it was set on the line above"),
        }
    }

    pub(super) fn preflight(&mut self, preflight: &Preflight) {
        self.outcome = Outcome::Preflight(preflight.rule());
    }

    /// A refusal of ours. One that comes after admission keeps the permit: the log names the endpoint and the client.
    pub(super) fn refused(&mut self, refused: Box<Refused>, code: &'static str) {
        self.code = Some(code);
        if !matches!(self.outcome, Outcome::Admitted(_)) {
            self.outcome = Outcome::Refused(refused);
        }
    }

    /// Where the bytes of the request's body are counted, if anybody will read the number.
    pub(super) fn received(&self) -> Option<Arc<AtomicU64>> {
        self.received.clone()
    }

    /// The upstream has answered, or will not.
    pub(super) fn upstream_answered(&mut self) {
        self.upstream = Some(self.decided.elapsed());
    }

    /// An upstream's fault.
    pub(super) fn failed(&mut self, code: &'static str) {
        self.code = Some(code);
    }

    /// When all of the answer was there: now, unless it was made in one piece a moment ago and leaves as it is.
    fn ended(&self, is_one_piece: bool) -> Instant {
        match (&self.outcome, self.upstream) {
            (_, Some(upstream)) if is_one_piece => self.decided + upstream,
            // What is refused before there is anything to decide has no such moment.
            (Outcome::Refused(_), None) if is_one_piece && self.decided > self.started => self.decided,
            _ => Instant::now(),
        }
    }

    /// The endpoint that governs the request, if one was found.
    pub(super) fn endpoint<'s>(&'s self, snapshot: &'s Snapshot) -> Option<&'s Endpoint> {
        match &self.outcome {
            Outcome::Admitted(permit) => Some(permit.endpoint()),
            Outcome::Preflight(rule) => Some(&snapshot.router.endpoints()[rule.endpoint]),
            Outcome::Refused(refused) => refused.rule.map(|rule| &*snapshot.router.endpoints()[rule.endpoint]),
            Outcome::Open => None,
        }
    }

    fn rule_place<'s>(&'s self, snapshot: &'s Snapshot) -> Option<&'s crate::routing::Place> {
        match &self.outcome {
            Outcome::Admitted(permit) => Some(&permit.rule().place),
            Outcome::Preflight(rule) => Some(&snapshot.router.rule(*rule).place),
            Outcome::Refused(refused) => refused.rule.map(|rule| &snapshot.router.rule(rule).place),
            Outcome::Open => None,
        }
    }

    /// The key that was shown, if it is known.
    pub(super) fn key(&self) -> Option<&ApiKey> {
        match &self.outcome {
            Outcome::Admitted(permit) => permit.key(),
            Outcome::Refused(refused) => refused.key.as_ref(),
            Outcome::Preflight(_) | Outcome::Open => None,
        }
    }

    /// The key of a request that was admitted, with the secret that was shown.
    fn shown(&self) -> Option<&TableEntry> {
        match &self.outcome {
            Outcome::Admitted(permit) => permit.shown(),
            Outcome::Refused(_) | Outcome::Preflight(_) | Outcome::Open => None,
        }
    }

    fn credential_source<'s>(&'s self, snapshot: &'s Snapshot) -> Option<&'s str> {
        let (endpoint, source) = match &self.outcome {
            Outcome::Admitted(permit) => return permit.credential_source(),
            Outcome::Refused(refused) => (self.endpoint(snapshot)?, refused.source?),
            Outcome::Preflight(_) | Outcome::Open => return None,
        };
        endpoint.extractor.sources().get(source).map(crate::credential::CredentialSource::label)
    }

    /// Ties the record to the response's body: it is printed when that ends.
    pub(super) fn answered(
        self,
        response: Response<Body>,
        parts: Parts,
        seen: Seen,
        snapshot: Arc<Snapshot>,
    ) -> Response<RecordedBody> {
        let status = response.status();
        // On HTTP/2 it may have to wait for the window.
        let is_one_piece =
            parts.version != http::Version::HTTP_2 && matches!(response.body(), Body::Empty | Body::Full(_));
        let writes_log = self.worker.shared.access_log.is_on();
        let ending = Box::new(Ending {
            method: parts.method.clone(),
            details: writes_log.then(|| Box::new(Details { parts, seen })),
            record: self,
            snapshot,
            status,
            is_one_piece,
            bytes: 0,
            withdrawal: Withdrawal::default(),
        });
        response.map(|body| RecordedBody { body, ending: Some(ending) })
    }
}

/// Prints the line of something that never became a request, or of which nothing is left. What it said of itself is not
/// repeated.
pub(super) fn without_request(
    access_log: &AccessLog,
    code: &'static str,
    response: &Response<Bytes>,
    request_id: &str,
    peer: &Peer,
) {
    if !access_log.is_on() {
        return;
    }
    access_log.record(&AccessRecord {
        time: SystemTime::now(),
        request_id,
        trace_id: None,
        client_address: peer.address.ip(),
        method: "",
        host: b"",
        path: b"",
        protocol: "HTTP/1.1",
        status: response.status().as_u16(),
        code: Some(code),
        endpoint: None,
        rule_place: None,
        client_id: None,
        client_type: None,
        key_id: None,
        credential_source: None,
        upstream: None,
        server: None,
        duration: Duration::ZERO,
        upstream_duration: None,
        bytes_in: 0,
        bytes_out: response.body().len() as u64,
        user_agent: None,
        referer: None,
    });
}

/// What the access log needs besides; not kept if nobody will print it.
#[derive(Debug)]
struct Details {
    parts: Parts,
    seen: Seen,
}

/// A record that waits for its response to end.
#[derive(Debug)]
struct Ending {
    record: Record,
    details: Option<Box<Details>>,
    snapshot: Arc<Snapshot>,
    method: Method,
    status: StatusCode,
    /// All of the body is there, and leaves in this turn.
    is_one_piece: bool,
    bytes: u64,
    withdrawal: Withdrawal,
}

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The caller got all of it.
    Whole,
    /// It broke off, and not by the caller's doing.
    Cut,
    /// The caller did not wait for it.
    CallerLeft,
}

impl Ending {
    /// The body broke off: says why, in the log of faults and in this request's line.
    fn upstream_failed(&mut self, error: &BodyError) {
        let Some(fault) = error.cause().downcast_ref::<ForwardError>() else { return };
        self.record.code = Some(fault.code());
        let request_id = self.details.as_ref().map_or("", |details| details.seen.request_id.as_str());
        self.record.worker.shared.faults.note(self.record.endpoint(&self.snapshot), fault, request_id);
    }

    /// Counts and prints.
    fn finish(&self, end: End) {
        let ended = self.record.ended(self.is_one_piece && end == End::Whole);
        let duration = ended.saturating_duration_since(self.record.started);
        let endpoint = self.record.endpoint(&self.snapshot);
        let key = self.record.key();
        let client_type = key.map_or("", |key| key.client.client_type.as_str());
        let upstream = endpoint.map(|endpoint| &endpoint.upstream.name).zip(self.record.upstream);
        if end == End::CallerLeft {
            self.record.worker.metrics.downstream_closed(endpoint.map_or("", |endpoint| &endpoint.name));
        }
        self.record.worker.metrics.request(&RequestSample {
            endpoint: endpoint.map(|endpoint| &endpoint.name),
            method: known_method(&self.method),
            status: self.status.as_u16(),
            client_type,
            duration,
            upstream,
        });
        let Some(details) = &self.details else { return };
        let bytes = |name: &str| details.parts.headers.get(name).map(header::HeaderValue::as_bytes);
        let rule_place = self.record.rule_place(&self.snapshot).map(ToString::to_string);
        let uri = &details.parts.uri;
        let host = details.parts.headers.get(header::HOST).map(header::HeaderValue::as_bytes);
        let host = host.or_else(|| uri.authority().map(|authority| authority.as_str().as_bytes()));
        self.record.worker.shared.access_log.record(&AccessRecord {
            time: self.record.at,
            request_id: details.seen.request_id.as_str(),
            trace_id: bytes("traceparent").and_then(trace_id),
            client_address: details.seen.client_address,
            method: details.parts.method.as_str(),
            host: host.unwrap_or_default(),
            path: uri.path().as_bytes(),
            protocol: protocol(details.parts.version),
            status: if end == End::CallerLeft { CALLER_LEFT } else { self.status.as_u16() },
            code: self.record.code,
            endpoint: endpoint.map(|endpoint| &*endpoint.name),
            rule_place: rule_place.as_deref(),
            client_id: key.map(|key| key.client.id.as_str()),
            client_type: key.map(|key| key.client.client_type.as_str()),
            key_id: key.map(|key| key.id.as_str()),
            credential_source: self.record.credential_source(&self.snapshot),
            upstream: upstream.map(|(name, _)| &**name),
            server: None,
            duration,
            upstream_duration: upstream.map(|(_, duration)| duration),
            bytes_in: self.record.received.as_ref().map_or(0, |received| received.load(Ordering::Relaxed)),
            bytes_out: self.bytes,
            user_agent: bytes("user-agent"),
            referer: bytes("referer"),
        });
    }
}

/// The method as a label: the ordinary ones by name, everything else alike.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_2 => "HTTP/2.0",
        http::Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// The trace id of a W3C `traceparent`.
fn trace_id(traceparent: &[u8]) -> Option<&str> {
    let id = std::str::from_utf8(traceparent.get(3..35)?).ok()?;
    id.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(id)
}

/// The code of an answer that was cut because the key that opened it is not good any more.
const KEY_WITHDRAWN: &str = "key_withdrawn";

/// The status in the log of a response that its caller did not wait for.
const CALLER_LEFT: u16 = 499;

/// A request's body that counts its bytes and ends with the key that was shown.
///
/// Most requests have none, and what is moved from hand to hand for each of them is a pointer.
#[derive(Debug)]
pub(super) struct CountedBody(Option<Box<Counted>>);

#[derive(Debug)]
struct Counted {
    body: RequestBody,
    received: Option<Arc<AtomicU64>>,
    worker: Arc<Worker>,
    shown: Option<TableEntry>,
    withdrawal: Withdrawal,
}

impl CountedBody {
    pub(super) fn new(
        body: RequestBody,
        received: Option<Arc<AtomicU64>>,
        worker: &Arc<Worker>,
        shown: Option<&TableEntry>,
    ) -> Self {
        let has_body = !body.is_end_stream();
        Self(has_body.then(|| {
            let (worker, shown) = (Arc::clone(worker), shown.cloned());
            Box::new(Counted { body, received, worker, shown, withdrawal: Withdrawal::default() })
        }))
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Some(this) = self.0.as_deref_mut() else { return Poll::Ready(None) };
        let frame = Pin::new(&mut this.body).poll_frame(context);
        if this.withdrawal.poll(&this.worker, this.shown.as_ref(), frame.is_pending(), context).is_ready() {
            return Poll::Ready(Some(Err(RequestBodyError::KeyWithdrawn)));
        }
        let frame = ready!(frame);
        if let (Some(received), Some(Ok(frame))) = (&this.received, &frame)
            && let Some(data) = frame.data_ref()
        {
            received.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(RequestBodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|counted| counted.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |counted| counted.body.size_hint())
    }
}

/// A response's body that tells its record when it has ended.
#[derive(Debug)]
pub struct RecordedBody {
    body: Body,
    ending: Option<Box<Ending>>,
}

impl RecordedBody {
    fn finish(&mut self, end: End) {
        if let Some(ending) = self.ending.take() {
            ending.finish(end);
        }
    }
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.body).poll_frame(context);
        if let Some(ending) = &mut this.ending
            && let Ending { record, withdrawal, .. } = &mut **ending
            && withdrawal.poll(&record.worker, record.shown(), frame.is_pending(), context).is_ready()
        {
            record.code = Some(KEY_WITHDRAWN);
            this.finish(End::Cut);
            // The upstream is let go of at once.
            this.body = Body::Empty;
            return Poll::Ready(Some(Err(BodyError::new("the caller's key is not good any more"))));
        }
        let frame = ready!(frame);
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(ending)) = (frame.data_ref(), &mut self.ending) {
                    ending.bytes += data.len() as u64;
                }
            }
            Some(Err(error)) => {
                if let Some(ending) = &mut self.ending {
                    ending.upstream_failed(error);
                }
                self.finish(End::Cut);
            }
            None => self.finish(End::Whole),
        }
        if self.body.is_end_stream() {
            self.finish(End::Whole);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RecordedBody {
    /// A body that never had anything to send is complete without having been asked, and nobody asks for the
    /// body of an answer to `HEAD`; any other was cut.
    fn drop(&mut self) {
        let is_head = self.ending.as_ref().is_some_and(|ending| ending.method == Method::HEAD);
        let is_whole = is_head || self.body.is_end_stream();
        self.finish(if is_whole { End::Whole } else { End::CallerLeft });
    }
}
