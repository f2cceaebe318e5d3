//! An upstream that speaks HTTP/2, in clear text or over TLS, and keeps the fields of every request as they came.
//!
//! What it does is said by the last segment of the path: it plays the parts of a gRPC service that are hard to carry
//! (conversations, trailers, a call that is cancelled from either side, an answer without end).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::caller::Fields;
use super::certificates::Certificate;
use super::wait;

/// A request as it came, pseudo-fields first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `:method`, `:scheme`, `:authority` and `:path`.
    pub target: (String, String, String, String),
    /// The fields in their order.
    pub fields: Fields,
    /// Counts connections from 0.
    pub connection: usize,
}

impl Seen {
    /// The value of a field that stands once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert!(values.next().is_none(), "{name} stands more than once in {:?}", self.fields);
        first
    }
}

/// The upstream, on a thread of its own.
pub struct Http2Origin {
    address: SocketAddr,
    state: Arc<State>,
    _runtime: Runtime,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    /// How streams that wait for it were reset.
    resets: Mutex<Vec<u32>>,
    connections: AtomicUsize,
    sent: AtomicU64,
    is_sick: AtomicBool,
}

impl Http2Origin {
    /// In clear text.
    pub fn start() -> Self {
        Self::with(None, &["h2"])
    }

    /// Over TLS, agreeing to these protocols.
    pub fn over_tls(certificate: &Certificate, protocols: &[&str]) -> Self {
        Self::with(Some(certificate), protocols)
    }

    fn with(certificate: Option<&Certificate>, protocols: &[&str]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::<State>::default();
        let acceptor = certificate.map(|certificate| certificate.acceptor(protocols));
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (Arc::clone(&shared), acceptor.clone());
                let number = state.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, number, state).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, number, state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, state, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL in clear text.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes what has come and forgets it.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.seen.lock().expect("no panic holds it"))
    }

    /// The one request that has come since the last look.
    pub fn take_one(&self) -> Seen {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "one request was expected: {all:#?}");
        all.remove(0)
    }

    /// Waits for the next stream that was reset while it waited, and says by which code.
    pub fn wait_for_reset(&self) -> u32 {
        wait::until("a reset at the upstream", || self.state.resets.lock().expect("no panic holds it").pop())
    }

    /// Number of connections ever accepted.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Bytes of answers that the other side has taken, or left room for.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Whether it says 503 to checks.
    pub fn is_sick(&self, is_sick: bool) {
        self.state.is_sick.store(is_sick, Ordering::SeqCst);
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, number: usize, state: Arc<State>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let uri = request.uri();
        let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
        let target = (
            request.method().to_string(),
            text(uri.scheme_str()),
            text(uri.authority().map(http::uri::Authority::as_str)),
            text(uri.path_and_query().map(http::uri::PathAndQuery::as_str)),
        );
        let value = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let fields = request.headers().iter().map(|(name, field)| (name.to_string(), value(field))).collect();
        state.seen.lock().expect("no panic holds it").push(Seen { target, fields, connection: number });
        tokio::spawn(play(request, respond, Arc::clone(&state)));
    }
}

/// Plays one call. Whoever leaves in the middle of it ends it.
async fn play(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, state: Arc<State>) -> Option<()> {
    let part = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let mut body = request.into_body();
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    match part.as_str() {
        "healthz" => {
            if state.is_sick.load(Ordering::SeqCst) {
                *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            }
            respond.send_response(response, true).ok()?;
        }
        // Trailers-only.
        "Refuse" => {
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
            response.headers_mut().insert("grpc-message", HeaderValue::from_static("no such thing"));
            respond.send_response(response, true).ok()?;
        }
        // Sends each piece back as soon as it is there.
        "Chat" | "Echo" => {
            let mut stream = respond.send_response(response, false).ok()?;
            while let Some(piece) = body.data().await {
                let piece = piece.ok()?;
                body.flow_control().release_capacity(piece.len()).ok()?;
                send(&mut stream, piece, &state).await?;
            }
            let mut trailers = body.trailers().await.ok()?.unwrap_or_default();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            stream.send_trailers(trailers).ok()?;
        }
        // Begins to answer, and is interested only in how the caller ends it.
        "Wait" => {
            let mut stream = respond.send_response(response, false).ok()?;
            stream.send_data(Bytes::from_static(b"first"), false).ok()?;
            let reason = std::future::poll_fn(|context| stream.poll_reset(context)).await.ok()?;
            state.resets.lock().expect("no panic holds it").push(reason.into());
        }
        // The same before the answer.
        "Think" => {
            let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await.ok()?;
            state.resets.lock().expect("no panic holds it").push(reason.into());
        }
        "Abort" => {
            let mut stream = respond.send_response(response, false).ok()?;
            stream.send_data(Bytes::from_static(b"first"), false).ok()?;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            stream.send_reset(Reason::CANCEL);
        }
        // A gibibyte.
        "Large" => {
            let mut stream = respond.send_response(response, false).ok()?;
            let piece = Bytes::from(vec![b'm'; 1 << 20]);
            for _ in 0..1024 {
                send(&mut stream, piece.clone(), &state).await?;
            }
            end(stream);
        }
        // Reads everything and tells how much it was.
        _ => {
            let mut received = 0;
            while let Some(piece) = body.data().await {
                let piece = piece.ok()?;
                received += piece.len();
                body.flow_control().release_capacity(piece.len()).ok()?;
            }
            let mut stream = respond.send_response(response, false).ok()?;
            stream.send_data(Bytes::from(format!("received {received}")), false).ok()?;
            end(stream);
        }
    }
    Some(())
}

fn end(mut stream: SendStream<Bytes>) {
    let _ = stream.send_trailers(HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]));
}

/// Sends as fast as the other side's window allows.
async fn send(stream: &mut SendStream<Bytes>, mut piece: Bytes, state: &State) -> Option<()> {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await?.ok()?;
        let part = piece.split_to(room.min(piece.len()));
        state.sent.fetch_add(part.len() as u64, Ordering::SeqCst);
        stream.send_data(part, false).ok()?;
    }
    Some(())
}
