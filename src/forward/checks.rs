//! Asks servers whether they are well, where the configuration says so.
//!
//! [`Checks::run`] goes over the upstreams it is told of and asks each address in its interval: a GET on a connection of its
//! own, in the protocol and over the TLS of requests, answered with 2xx or 3xx. So many bad answers in a row take an address out, so many
//! good ones bring it back; requests pass by those that are out ([`Checks::is_down`]), unless all are. An address that was
//! never asked is well.
//!
//! One task for the whole process, beside the workers. What is known of an address is kept over reloads as long as it is
//! asked in the same way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Uri};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::error::{BadResponse, ForwardError};
use super::http2;
use super::response::{read_head, take_head};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{HealthCheck, HostRule, Protocol, Server, Upstream};

/// How often it is looked who is to be asked.
const TICK: Duration = Duration::from_millis(100);
/// The largest head of an answer.
const MAX_HEAD: usize = 16 * 1024;
/// Who asks.
const USER_AGENT: &str = "keygate-health-check";

/// An address of an upstream.
type Asked = (Arc<str>, SocketAddr);

/// Who does not answer checks. Shared by all workers.
#[derive(Debug, Default)]
pub struct Checks {
    down: ArcSwap<HashSet<Asked>>,
}

/// What is known of an address.
#[derive(Debug)]
struct Known {
    check: HealthCheck,
    due: Instant,
    is_asked: bool,
    /// Answers in a row that speak against what is held of it.
    against: u32,
    is_down: bool,
}

/// Whom to ask, and how.
struct Question {
    asked: Asked,
    upstream: Arc<Upstream>,
    server: usize,
    timeout: Duration,
    check: HealthCheck,
}

/// Why an address is not well.
#[derive(Debug, thiserror::Error)]
enum Unwell {
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Answer(#[from] BadResponse),
    #[error("it answered {0}")]
    Status(http::StatusCode),
    #[error("it did not answer in time")]
    TimedOut,
}

impl Checks {
    /// Whether requests should pass by this address.
    pub(super) fn is_down(&self, upstream: &Upstream, address: SocketAddr) -> bool {
        if upstream.health_check.is_none() {
            return false;
        }
        let down = self.down.load();
        !down.is_empty() && down.contains(&(Arc::clone(&upstream.name), address))
    }

    /// Asks the servers of what `in_force` gives, for as long as it runs. No connection to one of the `off_limits` is used.
    pub async fn run(
        self: Arc<Self>,
        in_force: impl Fn() -> Vec<Arc<Upstream>>,
        off_limits: Arc<[SocketAddr]>,
        metrics: Metrics,
    ) {
        let mut known: HashMap<Asked, Known> = HashMap::new();
        let mut answers: JoinSet<(Asked, Result<(), Unwell>)> = JoinSet::new();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    let upstreams = in_force();
                    for question in due(&upstreams, &mut known) {
                        let off_limits = Arc::clone(&off_limits);
                        answers.spawn(async move {
                            let outcome = timeout(question.timeout, ask(&question, &off_limits)).await;
                            (question.asked, outcome.unwrap_or(Err(Unwell::TimedOut)))
                        });
                    }
                    self.publish(&upstreams, &known, &metrics);
                }
                Some(answer) = answers.join_next() => {
                    // A check that was ended by a fault of ours says nothing of the server; it is asked again in time.
                    let Ok((asked, outcome)) = answer else { continue };
                    let Some(known) = known.get_mut(&asked) else { continue };
                    known.is_asked = false;
                    note(&asked, known, &outcome);
                }
            }
        }
    }

    /// Makes what is known count, if it has changed.
    fn publish(&self, upstreams: &[Arc<Upstream>], known: &HashMap<Asked, Known>, metrics: &Metrics) {
        let down: HashSet<Asked> =
            known.iter().filter(|(_, known)| known.is_down).map(|(place, _)| place.clone()).collect();
        if **self.down.load() != down {
            metrics.set_unhealthy(unhealthy(upstreams, &down));
            self.down.store(Arc::new(down));
        }
    }
}

/// How many addresses of each server are out, where there are any.
fn unhealthy(upstreams: &[Arc<Upstream>], down: &HashSet<Asked>) -> BTreeMap<(String, String), u64> {
    let mut counts = BTreeMap::new();
    for upstream in upstreams {
        for server in upstream.servers() {
            let addresses = server.addresses.load();
            let out = addresses.iter().filter(|address| down.contains(&(Arc::clone(&upstream.name), **address)));
            counts.insert((upstream.name.to_string(), server.authority.to_string()), out.count() as u64);
        }
    }
    counts.retain(|_, count| *count > 0);
    counts
}

/// Whom to ask now. Addresses that are no longer to be asked are forgotten.
fn due(upstreams: &[Arc<Upstream>], known: &mut HashMap<Asked, Known>) -> Vec<Question> {
    let now = Instant::now();
    let mut questions = Vec::new();
    let mut wanted = HashSet::new();
    for upstream in upstreams {
        let Some(check) = &upstream.health_check else { continue };
        for (index, server) in upstream.servers().iter().enumerate() {
            for &address in server.addresses.load().iter() {
                let asked = (Arc::clone(&upstream.name), address);
                if !wanted.insert(asked.clone()) {
                    continue;
                }
                let fresh = || Known { check: check.clone(), due: now, is_asked: false, against: 0, is_down: false };
                let entry = known.entry(asked.clone()).or_insert_with(fresh);
                if entry.check != *check {
                    *entry = fresh();
                }
                if entry.is_asked || entry.due > now {
                    continue;
                }
                (entry.is_asked, entry.due) = (true, now + check.interval);
                questions.push(Question {
                    asked,
                    check: check.clone(),
                    timeout: check.timeout,
                    upstream: Arc::clone(upstream),
                    server: index,
                });
            }
        }
    }
    known.retain(|place, _| wanted.contains(place));
    questions
}

/// Whom a check says it is for: what requests would say; where they say what callers say, the server's own.
fn host<'a>(upstream: &'a Upstream, server: &'a Server) -> &'a HeaderValue {
    match &upstream.host {
        HostRule::Fixed(host) => host,
        HostRule::Preserve | HostRule::Server => &server.host_value,
    }
}

/// What is sent over HTTP/1.1.
fn request(host: &HeaderValue, check: &HealthCheck) -> Vec<u8> {
    let mut request = Vec::with_capacity(128);
    for part in [
        b"GET ",
        check.target.as_bytes(),
        b" HTTP/1.1\r\nhost: ",
        host.as_bytes(),
        b"\r\nuser-agent: ",
        USER_AGENT.as_bytes(),
        b"\r\nconnection: close\r\n\r\n",
    ] {
        request.extend_from_slice(part);
    }
    request
}

/// What is sent over HTTP/2.
fn http2_request(host: &HeaderValue, check: &HealthCheck, is_secure: bool) -> Result<Request<()>, Unwell> {
    let scheme = if is_secure { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(host.as_bytes()).path_and_query(&*check.target).build();
    let request = uri.and_then(|uri| Request::get(uri).header(http::header::USER_AGENT, USER_AGENT).body(()));
    request.map_err(|error| Unwell::Io(std::io::Error::other(error)))
}

/// Asks one address.
async fn ask(question: &Question, off_limits: &[SocketAddr]) -> Result<(), Unwell> {
    let (address, check, upstream) = (question.asked.1, &question.check, &question.upstream);
    let server = &upstream.servers()[question.server];
    let (tls, host) = (server.tls.as_ref(), host(upstream, server));
    let status = match upstream.protocol {
        Protocol::Http1 => {
            let mut connection = Connection::open(address, tls, question.timeout, off_limits).await?;
            connection.stream.write_all(&request(host, check)).await?;
            connection.stream.flush().await?;
            let head = read(&mut connection).await?;
            read_head(&head, &Method::GET)?.status
        }
        Protocol::Http2 => {
            let request = http2_request(host, check, tls.is_some())?;
            http2::ask(address, tls, question.timeout, off_limits, request).await?
        }
    };
    if status.is_success() || status.is_redirection() { Ok(()) } else { Err(Unwell::Status(status)) }
}

/// The head of the answer, after those that only announce it.
async fn read(connection: &mut Connection) -> Result<Bytes, Unwell> {
    let (mut scanned, mut interim) = (0, 0);
    loop {
        let input: &mut BytesMut = &mut connection.input;
        if let Some(head) = take_head(input, &mut scanned, MAX_HEAD)? {
            let status = read_head(&head, &Method::GET)?.status;
            if !status.is_informational() || interim == 4 {
                return Ok(head);
            }
            interim += 1;
            continue;
        }
        if std::future::poll_fn(|context| connection.poll_fill(0, context)).await? == 0 {
            return Err(ForwardError::Closed(None).into());
        }
    }
}

/// Takes an answer into account, and says so if it turns the balance.
fn note((upstream, address): &Asked, known: &mut Known, outcome: &Result<(), Unwell>) {
    if outcome.is_ok() != known.is_down {
        known.against = 0;
        return;
    }
    known.against += 1;
    let needed = if known.is_down { known.check.healthy } else { known.check.unhealthy };
    if known.against < needed {
        return;
    }
    (known.against, known.is_down) = (0, !known.is_down);
    match outcome {
        Ok(()) => tracing::info!(upstream.name = &**upstream, %address, "a server answers its checks again"),
        Err(why) => {
            tracing::warn!(upstream.name = &**upstream, %address, error = %why, "a server fails its checks and is left alone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_answers_in_a_row_to_change_what_is_held_of_a_server() {
        let check = HealthCheck { target: "/".into(), interval: TICK, timeout: TICK, healthy: 2, unhealthy: 3 };
        let mut known = Known { check, due: Instant::now(), is_asked: false, against: 0, is_down: false };
        let place = (Arc::from("api"), "10.0.0.1:80".parse().unwrap());
        // One character for each answer, good or bad; then whether it is out.
        for (index, (answers, is_down)) in
            [("bb", false), ("gbb", false), ("b", true), ("g", true), ("bg", true), ("g", false), ("bbb", true)]
                .into_iter()
                .enumerate()
        {
            for answer in answers.chars() {
                note(&place, &mut known, &if answer == 'g' { Ok(()) } else { Err(Unwell::TimedOut) });
            }
            assert_eq!(known.is_down, is_down, "row {index}: {answers}");
        }
    }
}
