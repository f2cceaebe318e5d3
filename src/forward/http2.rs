//! HTTP/2 to upstreams: the way of a request to a server that is configured to speak it.
//!
//! [`Forwarder::send_http2`] is what [`Forwarder::send`] becomes for such an upstream. The request is the same, written by
//! the same code ([`head`]); it becomes one stream of a connection that many exchanges share ([`connection`], [`lane`]). The
//! stream is served in the request's own task ([`exchange`], [`sending`]), the connection by one that it has for itself.
//!
//! A request is sent a second time only if no connection was made, if the server says that it has not looked at it (a stream
//! that was refused, or that a farewell excludes), or if it is a safe one without a body and the connection, kept from
//! before, turned out to be broken. Nothing that was taken from the caller is ever sent twice.
//!
//! Deliberately absent: falling back to HTTP/1.1, server push, and upgrades. Whoever asks for a WebSocket is told that there
//! is none here.

mod answer;
mod connection;
mod exchange;
mod head;
mod lane;
mod sending;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::balance::Candidate;
use super::error::{ForwardError, RequestBodyError};
use super::request::{RequestPlan, trailer_rule, write_head};
use super::{Forwarder, MAX_SERVERS_TRIED, Outgoing};
use crate::admission::Permit;
use crate::body::Body;
use crate::upstream::{Server, ServerTls};
use answer::read_answer;
use connection::Http2Connection;
use exchange::{Http2Exchange, Http2Rules};
#[cfg(test)]
pub(super) use head::Http2Head;
pub(super) use lane::Http2Lane;
use lane::StreamPlace;
use sending::{Http2Sending, has_body};

/// How often a request is sent again at most.
const MAX_REPEATS: u32 = 3;

/// How HTTP/2 is spoken to servers.
#[derive(Debug, Clone)]
pub struct Http2Settings {
    /// Streams at once on one connection, if the server takes as many; 100 by default.
    pub streams: usize,
    /// Streams of one connection in all its life. Their numbers end at 2^30; then there is a new connection.
    pub streams_in_life: u32,
    /// Connections of one worker to one server at most; 32 by default.
    pub connections: usize,
    /// What a server may send of one answer before the caller has read it, in bytes; 256 KiB by default.
    pub stream_window: u32,
    /// The largest head of an answer, in bytes; 64 KiB by default.
    pub max_response_head: u32,
    /// When nothing has come for so long and streams wait, the server is pinged; 20 seconds by default.
    pub ping_after: Duration,
    /// How long the server may take to answer a ping; 10 seconds by default.
    pub pong_within: Duration,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            streams: 100,
            streams_in_life: 1_000_000_000,
            connections: 32,
            stream_window: 256 * 1024,
            max_response_head: 64 * 1024,
            ping_after: Duration::from_secs(20),
            pong_within: Duration::from_secs(10),
        }
    }
}

impl Http2Settings {
    /// As large as the windows of all streams together: one that is not read takes nothing from the others.
    fn connection_window(&self) -> u32 {
        let streams = u32::try_from(self.streams).unwrap_or(u32::MAX);
        self.stream_window.saturating_mul(streams).min((1 << 31) - 1)
    }
}

/// A stream to use for one exchange.
struct Reached<'u> {
    candidate: Candidate<'u>,
    stream: StreamPlace,
    is_reused: bool,
}

impl Forwarder {
    /// Sends an admitted request to an upstream that speaks HTTP/2, and waits for the head of the answer.
    #[expect(clippy::manual_async_fn, reason = "as for `send`")]
    pub(super) fn send_http2<B>(
        &self,
        permit: &Permit,
        outgoing: &Outgoing<'_>,
        plan: &RequestPlan<'_>,
        servers: &[Server],
        mut body: B,
    ) -> impl Future<Output = Result<Response<Body>, ForwardError>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<RequestBodyError>,
    {
        async move {
            if plan.upgrade.is_some() {
                return Err(ForwardError::NoUpgrade);
            }
            let shared = &*self.shared;
            let upstream = &permit.endpoint().upstream;
            let mut place = self.enter(upstream).await?;
            let until = shared.settings.exchange_time.map(|time| Instant::now() + time);
            let (mut repeats, mut again) = (0, None);
            loop {
                let Reached { candidate, stream, is_reused } = self.reach_http2(permit, servers, again.take()).await?;
                let request = self.http2_request(permit, outgoing, plan, candidate)?;
                let (response, outgoing_stream) = match stream.connection.open_stream(request, has_body(plan.framing)) {
                    Ok(opened) => opened,
                    Err(error) => {
                        // Nothing was sent: the server has said goodbye, or stream numbers have come to their end.
                        stream.retire_connection();
                        if !is_reused {
                            repeats += 1;
                        }
                        if repeats > MAX_REPEATS {
                            return Err(answer::fault(error, false));
                        }
                        again = Some(candidate);
                        continue;
                    }
                };
                let sending = Http2Sending::new(body, outgoing_stream, plan.framing, trailer_rule(permit));
                let rules = Http2Rules {
                    shared: self.shared.clone(),
                    upstream: upstream.clone(),
                    method: outgoing.parts.method.clone(),
                    response: permit.endpoint().response_timeout.unwrap_or(upstream.timeouts.response),
                    // Streams of gRPC are conversations, which may be silent for as long as an upgraded connection.
                    body: match speaks_grpc(&outgoing.parts.headers) {
                        true => upstream.timeouts.tunnel,
                        false => upstream.timeouts.body,
                    },
                    until,
                    place: place.take(),
                    is_reused: is_reused && stream.connection.is_used(),
                    stream,
                };
                let mut exchange = Http2Exchange::new(sending, response, rules);
                let outcome = poll_fn(|context| exchange.poll_head(context)).await;
                match outcome {
                    Ok(answer) => {
                        shared.balance.answered(upstream, candidate, &shared.metrics);
                        return Ok(exchange.into_response(answer));
                    }
                    Err(error) => {
                        let may_repeat = exchange.may_repeat() && repeats < MAX_REPEATS;
                        let is_over = exchange.is_connection_over();
                        let (unsent, rules) = exchange.into_parts();
                        if is_over {
                            rules.stream.retire_connection();
                        }
                        if may_repeat {
                            shared.metrics.upstream_retry(&upstream.name);
                            repeats += 1;
                            (body, place) = (unsent, rules.place);
                            again = Some(candidate);
                            continue;
                        }
                        if error.counts_against_server() {
                            shared.balance.failed(upstream, candidate, Instant::now(), &shared.metrics);
                        }
                        return Err(error);
                    }
                }
            }
        }
    }

    /// A stream to the next server that can be reached, or, once more, to the one that was just asked.
    async fn reach_http2<'u>(
        &self,
        permit: &Permit,
        servers: &'u [Server],
        mut again: Option<Candidate<'u>>,
    ) -> Result<Reached<'u>, ForwardError> {
        let shared = &*self.shared;
        let upstream = &permit.endpoint().upstream;
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut failure = ForwardError::NoServer;
        while tried.len() < MAX_SERVERS_TRIED {
            let picked = again.take().or_else(|| shared.pick(upstream, servers, &tried, Instant::now()));
            let Some(candidate) = picked else { break };
            let lane = shared.transport.http2_lane(candidate.address, candidate.server.tls.as_ref());
            let settings = &shared.settings;
            match lane.stream(upstream, &settings.off_limits, &settings.http2).await {
                Ok((stream, is_reused)) => {
                    shared.metrics.upstream_connection(&upstream.name, is_reused);
                    return Ok(Reached { candidate, stream, is_reused });
                }
                Err(ForwardError::Busy) => {
                    shared.metrics.limit_hit("upstream_streams");
                    return Err(ForwardError::Busy);
                }
                Err(error) => {
                    shared.balance.failed(upstream, candidate, Instant::now(), &shared.metrics);
                    tried.push(candidate.address);
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    fn http2_request(
        &self,
        permit: &Permit,
        outgoing: &Outgoing<'_>,
        plan: &RequestPlan<'_>,
        candidate: Candidate<'_>,
    ) -> Result<Request<()>, ForwardError> {
        let mut head = head::Http2Head::new(candidate.server.tls.is_some());
        write_head(&mut head, permit, outgoing, plan, Some(&candidate.server.host_value));
        head.into_request()
            .ok_or_else(|| ForwardError::ConnectFailed(std::io::Error::other("the request cannot be said in HTTP/2")))
    }
}

/// Whether a request is one of gRPC, by its content type: `application/grpc`, whatever encoding it names. That of gRPC-Web
/// is another protocol.
#[must_use]
pub fn speaks_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    kind.is_some_and(|rest| matches!(rest, [] | [b'+' | b';' | b' ', ..]))
}

/// Asks a server once, on a connection of its own; gives the status of its answer.
pub(super) async fn ask(
    address: SocketAddr,
    tls: Option<&ServerTls>,
    limit: Duration,
    off_limits: &[SocketAddr],
    request: Request<()>,
) -> Result<StatusCode, ForwardError> {
    let settings = Http2Settings::default();
    let connection = Http2Connection::open(address, tls, limit, off_limits, &settings, Weak::new()).await?;
    let opened = connection.open_stream(request, false);
    let (response, _) = opened.map_err(|error| answer::fault(error, false))?;
    let response = response.await.map_err(|error| answer::fault(error, false))?;
    connection.retire();
    Ok(read_answer(response, &Method::GET)?.status)
}

#[cfg(test)]
mod tests;
