//! A forwarder against upstreams that play scripts over real sockets.

mod answers;
mod bodies;
mod differential;
mod head;
mod servers;
mod upgrades;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::admission::CredentialUse;
use crate::client::KeyType;
use crate::credential::{Extractor, Prefixes};
use crate::identity::IdentityHeaders;
use crate::keys::Timestamp;
use crate::keys::testing::{api_key, client};
use crate::policy::{PermissionRule, Policy};
use crate::routing::{Endpoint, ErrorStyle, PathAdmissions, PathPattern, Place, Router, Rule};
use crate::snapshot::Snapshot;
use crate::upstream::{Ejection, HostRule, Upstream, UpstreamTimeouts};

/// Longer than any step of a test that works.
const DEADLINE: Duration = Duration::from_secs(5);

/// Fails a test that waits for something that does not come.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come"),
    }
}

// -- values ---------------------------------------------------------------------------------------------------------

pub(super) fn server(address: SocketAddr) -> Server {
    Server {
        authority: address.to_string().into(),
        host_value: HeaderValue::from_static("origin.internal"),
        tls: None,
        addresses: Arc::new(ArcSwap::from_pointee(vec![address])),
    }
}

pub(super) fn upstream(servers: Vec<Server>) -> Upstream {
    Upstream {
        timeouts: UpstreamTimeouts { connect: DEADLINE, response: DEADLINE, body: DEADLINE, tunnel: DEADLINE },
        idle_timeout: Duration::from_secs(60),
        max_idle: 8,
        ejection: Ejection { failures: 2, duration: Duration::from_secs(60), at_most: Duration::from_secs(60) },
        ..Upstream::new("orders", UpstreamKind::Http(servers.into()))
    }
}

pub(super) fn endpoint(upstream: Upstream) -> Endpoint {
    let policy = Policy {
        public: true,
        client_types: None,
        permissions: PermissionRule::None,
        key_types: [KeyType::Secret].into(),
        tenant: None,
        networks: Box::default(),
        https_only: false,
        require_user: false,
        allow: None,
        allow_backoffice: None,
        require_permissions: false,
    };
    Endpoint {
        name: Arc::from("orders"),
        place: Place::default(),
        hosts: Box::default(),
        pattern: PathPattern::parse("/orders").unwrap(),
        listeners: Box::default(),
        base: Rule { place: Place::default(), methods: [Method::GET].into(), policy, limits: Default::default() },
        routes: Box::default(),
        admits: PathAdmissions::default(),
        case_distinct: false,
        upstream: Arc::new(upstream),
        prefix_swap: None,
        extractor: Arc::new(Extractor::new(Extractor::default_sources(), Prefixes::default())),
        forwards_credential: false,
        passes_headers: Box::default(),
        passes_request_trailers: false,
        upgrades: [Box::from("websocket")].into(),
        cors: None,
        max_body: None,
        response_timeout: None,
        errors: ErrorStyle::default(),
    }
}

pub(super) fn permit(endpoint: Endpoint) -> Permit {
    let snapshot = Snapshot {
        self_service: None,
        generation: 1,
        content_digest: Box::default(),
        loaded_at: Timestamp::from_millis(0),
        router: Router::build(vec![endpoint]).unwrap(),
        identity: IdentityHeaders::default(),
        trusted_proxies: Box::default(),
        trusted_identity: Box::default(),
        environment: None,
        errors: ErrorStyle::default(),
        limits: Default::default(),
    };
    Permit::for_test(Arc::new(snapshot), 0)
}

/// The same for a caller with the key `key_1` of the client `ann`, of type `cms`.
pub(super) fn known(permit: Permit, credential_use: CredentialUse) -> Permit {
    permit.with_key(api_key("key_1", client("ann", "cms")), credential_use)
}

pub(super) fn peer() -> Peer {
    Peer {
        address: "198.51.100.9:4711".parse().unwrap(),
        local_address: "127.0.0.1:8080".parse().unwrap(),
        listener: Arc::from("main"),
        is_backoffice: false,
        is_tls: false,
    }
}

pub(super) fn outgoing<'a>(parts: &'a http_request::Parts, peer: &'a Peer) -> Outgoing<'a> {
    Outgoing {
        parts,
        peer,
        is_secure: false,
        request_id: b"req-1",
        host: "api.example.com",
        trusts_peer: false,
        now: Instant::now(),
    }
}

/// A request's head from `METHOD target` and its fields.
pub(super) fn parts(line: &str, fields: &[(&str, &str)]) -> http_request::Parts {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// A forwarder and all that a request needs to be sent to `address`.
pub(super) struct Sender {
    pub(super) forwarder: Forwarder,
    pub(super) permit: Permit,
}

impl Sender {
    pub(super) fn to(address: SocketAddr) -> Self {
        Self::with(permit(endpoint(upstream(vec![server(address)]))))
    }

    pub(super) fn with(permit: Permit) -> Self {
        Self { forwarder: Forwarder::new(ForwardSettings::default(), WorkerMetrics::default()), permit }
    }

    pub(super) async fn send<B>(
        &self,
        line: &str,
        fields: &[(&str, &str)],
        body: B,
    ) -> Result<Response<Body>, ForwardError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let (parts, peer) = (parts(line, fields), peer());
        soon("an answer", self.forwarder.send(&self.permit, outgoing(&parts, &peer), body, None)).await
    }

    pub(super) async fn get(&self) -> Result<Response<Body>, ForwardError> {
        self.send("GET /orders", &[], Empty::new()).await
    }

    pub(super) async fn post(&self, body: &'static str) -> Result<Response<Body>, ForwardError> {
        self.send("POST /orders", &[], Full::from(body)).await
    }
}

/// An answer as text: status, fields in order, body, trailers, and how the body ended.
pub(super) async fn text(response: Result<Response<Body>, ForwardError>) -> String {
    let response = match response {
        Ok(response) => response,
        Err(error) => return format!("{} {}", error.status().as_u16(), error.code()),
    };
    let mut text = response.status().as_u16().to_string();
    let fields = |headers: &HeaderMap| -> String {
        headers.iter().map(|(name, value)| format!(" {name}={}", String::from_utf8_lossy(value.as_bytes()))).collect()
    };
    text.push_str(&fields(response.headers()));
    text.push_str(" |");
    let mut body = response.into_body();
    while let Some(frame) = soon("a piece of the body", body.frame()).await {
        match frame {
            Ok(frame) if frame.is_data() => {
                text.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap()));
            }
            Ok(frame) => text.push_str(&format!("|{}", fields(&frame.into_trailers().unwrap()))),
            Err(error) => {
                let error = error.cause().downcast_ref::<ForwardError>().expect("it is ours");
                text.push_str(&format!("<{}>", error.code()));
                break;
            }
        }
    }
    text
}

// -- the caller's body ----------------------------------------------------------------------------------------------

/// A body that a test feeds while it is being sent.
pub(super) struct Fed(mpsc::UnboundedReceiver<Result<Frame<Bytes>, RequestBodyError>>, Option<u64>);

pub(super) struct Feeder(mpsc::UnboundedSender<Result<Frame<Bytes>, RequestBodyError>>);

pub(super) fn fed(length: Option<u64>) -> (Feeder, Fed) {
    let (feeder, fed) = mpsc::unbounded_channel();
    (Feeder(feeder), Fed(fed, length))
}

impl Feeder {
    pub(super) fn data(&self, data: impl Into<Bytes>) {
        let _ = self.0.send(Ok(Frame::data(data.into())));
    }

    pub(super) fn trailers(&self, fields: &[(&str, &str)]) {
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
        let trailers = fields.iter().map(|(n, value)| (name(n), HeaderValue::from_str(value).unwrap())).collect();
        let _ = self.0.send(Ok(Frame::trailers(trailers)));
    }

    fn fail(&self, error: RequestBodyError) {
        let _ = self.0.send(Err(error));
    }
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        self.0.poll_recv(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

// -- the upstream ---------------------------------------------------------------------------------------------------

/// An upstream whose connections a test takes one by one.
struct Origin(TcpListener);

impl Origin {
    async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self(listener), address)
    }

    async fn accept(&self) -> Conversation {
        let (stream, _) = soon("a connection", self.0.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Conversation { stream, unread: Vec::new() }
    }

    /// Plays one answer for each request, on as many connections as are opened.
    fn play(self, answers: &[&'static str]) -> tokio::task::JoinHandle<Vec<String>> {
        let mut answers: VecDeque<_> = answers.iter().copied().collect();
        tokio::spawn(async move {
            let mut heads = Vec::new();
            while !answers.is_empty() {
                let mut conversation = self.accept().await;
                while let Some(answer) = answers.pop_front() {
                    match conversation.try_head().await {
                        Some(head) => heads.push(head),
                        None => {
                            answers.push_front(answer);
                            break;
                        }
                    }
                    conversation.send(answer).await;
                }
            }
            heads
        })
    }
}

/// One connection, as the upstream sees it.
struct Conversation {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Conversation {
    /// The next head, its end included; `None` if the other side has gone.
    async fn try_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.unread, b"\r\n\r\n") {
                let head = self.unread.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if soon("a head", self.stream.read_buf(&mut self.unread)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn head(&mut self) -> String {
        self.try_head().await.expect("a head before the connection ends")
    }

    /// Exactly so many bytes.
    async fn bytes(&mut self, count: usize) -> String {
        while self.unread.len() < count {
            let read = soon("bytes", self.stream.read_buf(&mut self.unread)).await.unwrap();
            assert!(read > 0, "the connection ended after {:?}", String::from_utf8_lossy(&self.unread));
        }
        String::from_utf8(self.unread.drain(..count).collect()).unwrap()
    }

    /// All bytes until the other side closes, and whether it did so without a reset.
    async fn rest(&mut self) -> String {
        while let Ok(1..) = soon("the end", self.stream.read_buf(&mut self.unread)).await {}
        String::from_utf8(std::mem::take(&mut self.unread)).unwrap()
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon("room to write", self.stream.write_all(bytes.as_ref())).await;
    }
}

#[test]
fn sending_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let sender = Sender::to("127.0.0.1:1".parse().unwrap());
    let (parts, peer) = (parts("GET /", &[]), peer());
    is_send(&sender.forwarder.send(&sender.permit, outgoing(&parts, &peer), Empty::<Bytes>::new(), None));
}
