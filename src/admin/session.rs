//! `/v1/session`: signing in to the console with an admin token, and out again.

use std::time::{Duration, Instant};

use axum::extract::{Extension, FromRequest as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{HeaderValue, ORIGIN, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Caller, Means, OverTls, actor_of, network_of};
use super::body::{Answer, Json, blocking};
use super::problem::Problem;
use super::sessions::{MAX_AGE, Session, TimeLeft, digest_of};
use super::shape::time;
use super::{Context, browser};
use crate::credential::{Secret, find_cookie};
use crate::keys::Timestamp;
use crate::management::{Actor, HeldToken, Via, now};

/// The cookie over TLS: the prefix has the browser see to it that nobody else can set it.
const SECURE_COOKIE: &str = "__Host-keygate_session";
/// The cookie in the clear, on the machine itself.
const COOKIE: &str = "keygate_session";

/// Somebody who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// An admin token.
    #[schema(max_length = 512)]
    token: String,
}

/// A session of the console.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct SessionState {
    /// How the audit log names you, such as `token:ops`.
    pub actor: String,
    /// What you may do: `viewer`, `developer` or `admin`.
    pub role: String,
    /// The name of the admin token that began it.
    pub token_name: String,
    /// Whether changes can be made: there is a store that lasts.
    pub can_write: bool,
    /// When it began.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it ends in any case: after twelve hours, or with its token.
    #[schema(format = DateTime)]
    pub ends_at: String,
    /// When it ends if nobody does anything.
    #[schema(format = DateTime)]
    pub idle_ends_at: String,
    /// How many seconds are left until then.
    pub idle_seconds_left: u64,
}

impl SessionState {
    fn of(context: &Context, held: &HeldToken, left: TimeLeft) -> Self {
        let now = now();
        let after = |time: Duration| {
            Timestamp::from_millis(now.as_millis().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
        };
        let with_token = |end: Timestamp| held.expires_at().map_or(end, |of_token| end.min(of_token));
        let age = i64::try_from(left.age.as_millis()).unwrap_or(i64::MAX);
        Self {
            actor: format!("token:{}", held.name),
            role: held.role.to_string(),
            token_name: held.name.clone(),
            can_write: context.management.can_write(),
            started_at: time(Timestamp::from_millis(now.as_millis().saturating_sub(age))),
            ends_at: time(with_token(after(left.at_most))),
            idle_ends_at: time(with_token(after(left.idle))),
            idle_seconds_left: left.idle.as_secs(),
        }
    }
}

/// Sessions that were ended.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct EndedSessions {
    /// How many.
    pub ended: usize,
}

/// The id of the session that a request shows.
pub(super) fn shown_in(headers: &HeaderMap, is_tls: bool) -> Result<Option<&[u8]>, Problem> {
    find_cookie(headers, if is_tls { SECURE_COOKIE } else { COOKIE }).map_err(|_| {
        let detail = "two different sessions are shown: remove the cookies of this address and sign in again";
        Problem::new(StatusCode::UNAUTHORIZED, "session_ambiguous", detail)
    })
}

/// The cookie with this value, kept for so long. `is_https` is what the browser sees: something before us may speak TLS.
fn cookie(value: &str, is_tls: bool, is_https: bool, kept: Duration) -> HeaderValue {
    // In the clear it goes to the API alone: cookies know no ports, and another service of the machine need not get it.
    let (name, place) = match (is_tls, is_https) {
        (true, _) => (SECURE_COOKIE, "Path=/; Secure"),
        (false, true) => (COOKIE, "Path=/v1; Secure"),
        (false, false) => (COOKIE, "Path=/v1"),
    };
    let text = format!("{name}={value}; {place}; HttpOnly; SameSite=Strict; Max-Age={}", kept.as_secs());
    let mut value = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Sign in
///
/// With an admin token: the answer sets a cookie that stands for it, until somebody signs out, for half an hour without a
/// request, and for twelve hours at most. It is good from the same network, together with the header
/// `X-Keygate-Console: 1` (or `background`, which does not count as activity) and a browser's word that the request comes
/// from the console's own pages (`Sec-Fetch-Site: same-origin`, or an `Origin` that is ours). Wrong tokens are counted, by
/// address and in all; 429 says for how long nothing is heard.
#[utoipa::path(
    post, path = "/v1/session", tag = "session", request_body = SignIn, security(()),
    params(("X-Keygate-Console" = String, Header, description = "`1`")),
    responses((status = 201, body = SessionState, headers(("Set-Cookie" = String, description = "The session"))))
)]
pub(super) async fn sign_in(State(context): State<Context>, mut request: Request) -> Result<Response, Problem> {
    let caller = request.extensions_mut().remove::<Caller>();
    let is_tls = request.extensions().get::<OverTls>().is_some();
    let address = match caller {
        Some(Caller::Network(address)) => address,
        Some(Caller::Local(_)) => {
            let detail = "over the local socket everybody is believed as they are: there is nothing to sign in to";
            return Err(Problem::new(StatusCode::CONFLICT, "session_not_needed", detail));
        }
        None => return Err(Problem::internal()),
    };
    browser::check(request.method(), request.headers(), is_tls)?;
    let is_https = request.headers().get(ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let former = shown_in(request.headers(), is_tls).ok().flatten().map(digest_of);
    let Json { value: SignIn { token }, .. } = Json::<SignIn>::from_request(request, &context).await?;
    let token = Secret::owned(token.into_bytes());
    let held = match super::auth::judge(&context, &token, address, true) {
        Ok(held) => held,
        Err(problem) => {
            let is_throttled = problem.status == StatusCode::TOO_MANY_REQUESTS.as_u16();
            context.metrics.admin_sign_in(if is_throttled { "throttled" } else { "refused" });
            return Err(problem);
        }
    };
    let actor = actor_of(&held, Via::Console, address);
    let id = context.sessions.begin(held.clone(), network_of(address), Instant::now())?;
    let digest = digest_of(id.expose());
    let (management, token) = (context.management.clone(), held.clone());
    let noted = blocking(move || management.note_session(&actor, "session.started", Some(&token), None)).await;
    if let Err(problem) = noted {
        // What cannot be written down does not begin.
        context.sessions.end(&digest);
        return Err(problem);
    }
    if let Some(former) = former {
        context.sessions.end(&former);
    }
    context.metrics.admin_sign_in("accepted");
    context.count_sessions();
    let left = TimeLeft { age: Duration::ZERO, at_most: MAX_AGE, idle: super::sessions::MAX_IDLE };
    let mut response = Answer(StatusCode::CREATED, SessionState::of(&context, &held, left)).into_response();
    let text = zeroize::Zeroizing::new(String::from_utf8_lossy(id.expose()).into_owned());
    response.headers_mut().insert(SET_COOKIE, cookie(&text, is_tls, is_https, MAX_AGE));
    Ok(response)
}

/// Show my session
///
/// 404 for whoever shows a token, or comes by the local socket: `/v1/whoami` tells them who they are.
#[utoipa::path(get, path = "/v1/session", tag = "session", responses((status = 200, body = SessionState)))]
pub(super) async fn show_session(
    State(context): State<Context>,
    Extension(means): Extension<Means>,
) -> Result<Answer<SessionState>, Problem> {
    let (session, _) = means.session()?;
    let left = session.time_left(Instant::now());
    Ok(Answer(StatusCode::OK, SessionState::of(&context, &session.held, left)))
}

/// Sign out
///
/// The session ends at once, and its cookie is taken back.
#[utoipa::path(
    delete, path = "/v1/session", tag = "session", responses((status = 204, description = "It is over"))
)]
pub(super) async fn sign_out(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Extension(means): Extension<Means>,
    is_tls: Option<Extension<OverTls>>,
) -> Result<Response, Problem> {
    let (session, digest) = means.session()?;
    context.sessions.end(digest);
    context.count_sessions();
    let (management, held) = (context.management.clone(), session.held.clone());
    // It is over, whether or not that can be written down.
    if let Err(problem) = blocking(move || management.note_session(&actor, "session.ended", Some(&held), None)).await {
        tracing::warn!(code = problem.code, "the end of a session could not be written down");
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(SET_COOKIE, cookie("", is_tls.is_some(), false, Duration::ZERO));
    Ok(response)
}

/// Sign out everywhere
///
/// Ends all sessions of the token that is shown, or that began the session; over the local socket those of all tokens.
#[utoipa::path(delete, path = "/v1/sessions", tag = "session", responses((status = 200, body = EndedSessions)))]
pub(super) async fn sign_out_everywhere(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Extension(means): Extension<Means>,
    is_tls: Option<Extension<OverTls>>,
) -> Result<Response, Problem> {
    let held = match means {
        Means::Local => None,
        Means::Token(held) => Some(held),
        Means::Session(session, _) => Some(session.held),
    };
    let ended = context.sessions.end_all(held.as_ref());
    context.count_sessions();
    let note = Some(format!("{ended} sessions"));
    let management = context.management.clone();
    let noted = blocking(move || management.note_session(&actor, "session.all_ended", held.as_ref(), note)).await;
    if let Err(problem) = noted {
        tracing::warn!(code = problem.code, "the end of sessions could not be written down");
    }
    let mut response = Answer(StatusCode::OK, EndedSessions { ended }).into_response();
    response.headers_mut().insert(SET_COOKIE, cookie("", is_tls.is_some(), false, Duration::ZERO));
    Ok(response)
}

impl Means {
    fn session(&self) -> Result<(&Session, &super::sessions::SessionDigest), Problem> {
        match self {
            Self::Session(session, digest) => Ok((session, digest)),
            Self::Local | Self::Token(_) => {
                let detail = "this request comes by no session: `/v1/whoami` says who you are";
                Err(Problem::new(StatusCode::NOT_FOUND, "session_not_found", detail))
            }
        }
    }
}
