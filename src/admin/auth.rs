//! Who asks: a token over the network, or this machine's own command line.
//!
//! Tokens are compared by their digests, each in constant time. Whoever shows too many wrong ones from one address is not
//! heard for a while, right ones included: a guess then costs time, not only luck. A token that was good from that address
//! before stays heard, or a neighbour could lock an operator out; and so does the local socket.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};

use super::problem::Problem;
use super::sessions::{Session, SessionDigest, digest_of};
use super::{Context, browser, session};
use crate::credential::Secret;
use crate::management::{Actor, HeldToken, Role, Via, now};

/// Wrong tokens that one address may show in [`WINDOW`].
const MAX_FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered. When there are more, nobody who is not among them is heard until some are forgotten.
const MAX_ADDRESSES: usize = 10_000;
/// Wrong tokens that may be used to sign in in [`WINDOW`], from everywhere together.
const MAX_SIGN_IN_FAILURES: u32 = 300;
/// How often it is written down that a token was used.
const NOTE_USE_EVERY: Duration = Duration::from_secs(60);

/// Where a request to the admin API comes from; put among its extensions by whoever accepted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Through the local socket, or within this process: whoever could open that may do everything. The name is for the
    /// audit log.
    Local(String),
    /// Over the network.
    Network(IpAddr),
}

/// It came over TLS; put among the extensions of a request by whoever accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverTls;

/// By what somebody is known.
#[derive(Debug, Clone)]
pub(super) enum Means {
    /// By having opened the local socket.
    Local,
    /// By an admin token.
    Token(HeldToken),
    /// By a session of the console.
    Session(Session, SessionDigest),
}

/// Lets nobody through without a good token or a session, and says who it is.
pub(super) async fn authenticate(State(context): State<Context>, mut request: Request, next: Next) -> Response {
    let caller = request.extensions_mut().remove::<Caller>();
    let outcome = match caller {
        Some(Caller::Local(name)) => {
            let actor =
                Actor { name: format!("local:{name}"), role: Role::Admin, via: Via::CommandLine, address: None };
            Ok((actor, Means::Local))
        }
        // A token that is shown counts, whatever cookies a browser sends besides.
        Some(Caller::Network(address)) if request.headers().contains_key(AUTHORIZATION) => {
            by_token(&context, &request, address)
        }
        Some(Caller::Network(address)) => by_session(&context, &request, address),
        None => Err(Problem::internal()),
    };
    match outcome {
        Ok((actor, means)) => {
            if context.management.do_files_wait() {
                let management = context.management.clone();
                let _ = tokio::task::spawn_blocking(move || management.copy_waiting_files()).await;
            }
            request.extensions_mut().insert(actor);
            request.extensions_mut().insert(means);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// What every answer of the API has in common.
pub(super) async fn answered(State(context): State<Context>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    context.metrics.admin_request(response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// How the audit log calls whoever has this token.
pub(super) fn actor_of(held: &HeldToken, via: Via, address: IpAddr) -> Actor {
    Actor {
        name: format!("token:{}", held.name),
        role: held.role,
        via,
        address: Some(address.to_canonical().to_string()),
    }
}

fn by_token(context: &Context, request: &Request, address: IpAddr) -> Result<(Actor, Means), Problem> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let (value, has_more) = (values.next(), values.next().is_some());
    let token = value.filter(|_| !has_more).and_then(|value| bearer(value.as_bytes()));
    let held = judge(context, &Secret::borrowed(token.unwrap_or_default()), address, false)?;
    Ok((actor_of(&held, Via::Api, address), Means::Token(held)))
}

fn by_session(context: &Context, request: &Request, address: IpAddr) -> Result<(Actor, Means), Problem> {
    let is_tls = request.extensions().get::<OverTls>().is_some();
    let Some(id) = session::shown_in(request.headers(), is_tls)? else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "token_missing",
            "show an admin token: `Authorization: Bearer <token>`; `keygate admin-token create` makes one",
        ));
    };
    // Before the session is looked for: a request that another page made must not even keep it alive.
    let activity = browser::check(request.method(), request.headers(), is_tls)?;
    let digest = digest_of(id);
    let is_active = activity == browser::Activity::Person;
    let session = context.sessions.find(&digest, network_of(address), is_active, Instant::now());
    let session = session.filter(|session| {
        let is_good = context.management.holds(&session.held, now());
        if !is_good {
            context.sessions.end(&digest);
        }
        is_good
    });
    let Some(session) = session else {
        context.count_sessions();
        let detail = "this session is over: sign in again";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "session_over", detail));
    };
    note_use(context, &session.held);
    Ok((actor_of(&session.held, Via::Console, address), Means::Session(session, digest)))
}

/// Whose token this is, if it is a good one and its address is heard. Wrong ones cost what right ones cost.
pub(super) fn judge(
    context: &Context,
    token: &Secret<'_>,
    address: IpAddr,
    is_sign_in: bool,
) -> Result<HeldToken, Problem> {
    let held = context.management.authenticate(token, now());
    let is_known = held.as_ref().is_some_and(|held| context.throttle.knows(address, &held.name));
    let of_address = context.throttle.blocked_for(address, Instant::now());
    let of_all = if is_sign_in { context.throttle.sign_in_blocked_for(Instant::now()) } else { None };
    if let Some(seconds) = of_address.or(of_all).filter(|_| !is_known) {
        return Err(Problem {
            retry_after_seconds: Some(seconds),
            ..Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_failures",
                "too many wrong admin tokens came from this address: wait, or use the command line on the machine itself",
            )
        });
    }
    let Some(held) = held else {
        context.throttle.note_failure(address, Instant::now());
        if is_sign_in {
            context.throttle.note_sign_in_failure(Instant::now());
        }
        context.metrics.admin_token_refused();
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "token_rejected",
            "this is no admin token that is good; those of API keys are none",
        ));
    };
    if !is_known {
        context.throttle.note_success(address, &held.name);
    }
    note_use(context, &held);
    Ok(held)
}

fn note_use(context: &Context, held: &HeldToken) {
    if let Some(id) = &held.id
        && context.throttle.is_use_to_be_noted(id, Instant::now())
    {
        let (management, id) = (context.management.clone(), id.clone());
        // Nobody waits for it, and nothing is lost if it cannot be written.
        tokio::task::spawn_blocking(move || management.token_was_used(&id, now()));
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then(|| token.trim_ascii())
}

/// Counts wrong tokens by address.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    failures: Mutex<HashMap<IpAddr, Failures>>,
    /// Where which token was good.
    known: Mutex<HashSet<(IpAddr, String)>>,
    noted: Mutex<HashMap<String, Instant>>,
    /// Wrong tokens that were used to sign in, from everywhere.
    sign_ins: Mutex<Option<Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Throttle {
    /// For how many seconds an address is not heard.
    fn blocked_for(&self, address: IpAddr, at: Instant) -> Option<u64> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |failures: &Failures| at.saturating_duration_since(failures.since) >= WINDOW;
        match failures.get(&network_of(address)) {
            Some(known) if is_over(known) => {
                failures.remove(&network_of(address));
                None
            }
            Some(known) if known.count >= MAX_FAILURES => {
                let left = WINDOW.saturating_sub(at.saturating_duration_since(known.since));
                Some(left.as_secs().max(1))
            }
            Some(_) => None,
            None if failures.len() >= MAX_ADDRESSES => {
                failures.retain(|_, known| !is_over(known));
                (failures.len() >= MAX_ADDRESSES).then_some(WINDOW.as_secs())
            }
            None => None,
        }
    }

    /// For how many seconds nobody can sign in who was not known before.
    fn sign_in_blocked_for(&self, at: Instant) -> Option<u64> {
        let failures = *self.sign_ins.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failures.filter(|known| known.count >= MAX_SIGN_IN_FAILURES)?;
        let left = WINDOW.checked_sub(at.saturating_duration_since(known.since)).filter(|left| !left.is_zero())?;
        Some(left.as_secs().max(1))
    }

    fn note_sign_in_failure(&self, at: Instant) {
        let mut failures = self.sign_ins.lock().unwrap_or_else(PoisonError::into_inner);
        let current = failures.filter(|known| at.saturating_duration_since(known.since) < WINDOW);
        let Failures { since, count } = current.unwrap_or(Failures { since: at, count: 0 });
        *failures = Some(Failures { since, count: count.saturating_add(1) });
    }

    /// Whether a token of this name was good from there before.
    fn knows(&self, address: IpAddr, token: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&(network_of(address), token.to_owned()))
    }

    fn note_success(&self, address: IpAddr, token: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_ADDRESSES {
            known.clear();
        }
        known.insert((network_of(address), token.to_owned()));
    }

    fn note_failure(&self, address: IpAddr, at: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.entry(network_of(address)).or_insert(Failures { since: at, count: 0 }).count += 1;
    }

    fn is_use_to_be_noted(&self, token: &str, at: Instant) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = noted.get(token).is_none_or(|last| at.saturating_duration_since(*last) >= NOTE_USE_EVERY);
        if is_due {
            noted.insert(token.to_owned(), at);
        }
        is_due
    }
}

/// Whoever has an IPv6 address has 2 to the 64th of them.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_not_heard_after_too_many_wrong_tokens_and_others_are() {
        let throttle = Throttle::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..MAX_FAILURES {
            assert_eq!(throttle.blocked_for(one, at(0)), None);
            throttle.note_failure(one, at(0));
        }
        assert_eq!(throttle.blocked_for(one, at(1)), Some(59));
        assert_eq!(throttle.blocked_for(other, at(1)), None);
        assert_eq!(throttle.blocked_for(one, at(60)), None);
        throttle.note_failure(one, at(60));
        assert_eq!(throttle.blocked_for(one, at(60)), None);
    }

    #[test]
    fn all_addresses_of_a_network_count_as_one() {
        let throttle = Throttle::default();
        let at = Instant::now();
        for last in 0..MAX_FAILURES {
            let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, u16::try_from(last).unwrap());
            throttle.note_failure(address.into(), at);
        }
        let is_heard = |text: &str| throttle.blocked_for(text.parse().unwrap(), at).is_none();
        assert!(!is_heard("2001:db8:0:1::99") && is_heard("2001:db8:0:2::99"));
        assert_eq!(network_of("::ffff:192.0.2.1".parse().unwrap()), IpAddr::from([192, 0, 2, 1]));
    }

    #[test]
    fn memory_for_addresses_is_bounded() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for number in 0..u32::try_from(MAX_ADDRESSES).unwrap() {
            throttle.note_failure(IpAddr::from(number.to_be_bytes()), start);
        }
        let stranger = IpAddr::from([203, 0, 113, 1]);
        assert_eq!(throttle.blocked_for(stranger, start), Some(60));
        assert_eq!(throttle.blocked_for(stranger, start + WINDOW), None);
    }

    #[test]
    fn a_token_stands_behind_bearer_in_any_case() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc", Some("abc")),
            ("BEARER abc", Some("abc")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), expected.map(str::as_bytes), "{value:?}");
        }
    }
}
