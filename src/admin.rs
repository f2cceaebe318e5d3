//! The admin API: HTTP over `management`, for the command line, for programs, and for people with curl.
//!
//! [`AdminApi`] is made once by `app` and answers on the admin listener (with a token) and on the local socket (whoever may
//! open that is believed). The command line without a running gateway uses it too, in its own process, so that there is one
//! way to do each thing.
//!
//! Every answer is JSON; every refusal is a problem of RFC 9457 with a stable `code`. What is asked for is checked by its
//! shape ([`shape`]), by the use case, and by the store, and nothing is half done. `/openapi.json` says all of it; it is made
//! of the code, and a test compares it with the copy in `docs/`.
//!
//! Keys are shown in two answers, once: when one is made, and when one is rotated. No answer is kept by anybody on the way
//! (`Cache-Control: no-store`), and nothing that was sent is repeated in a message.

#![allow(clippy::result_large_err, reason = "a refusal is rare here, and says what it can")]

mod auth;
mod body;
mod browser;
mod bulk;
mod clients;
mod exports;
mod idempotency;
mod imports;
mod keys;
mod limits;
mod openapi;
mod problem;
mod session;
mod sessions;
mod shape;
mod socket;
mod system;
mod tokens;
mod views;

pub use auth::{Caller, OverTls};
pub use imports::{ImportFormat, read_import};
pub use limits::LimitsInForce;
pub use openapi::document;
pub(crate) use shape::ImportRow;
pub(crate) use socket::user_name;
pub use socket::{AlreadyServed, LocalSocket, path_of};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use tower::ServiceExt as _;

use crate::management::Management;
use crate::observatory::Observatory;
use crate::telemetry::health::ReloadOutcome;
use crate::telemetry::metrics::Metrics;

use auth::Throttle;
use idempotency::Answers;
use sessions::Sessions;

/// How often it is looked which sessions are over.
const HOUSEKEEPING: std::time::Duration = std::time::Duration::from_secs(15);

/// Starts a reload of the configuration.
pub type Reload = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ReloadOutcome> + Send>> + Send + Sync>;

/// What handlers work with.
#[derive(Clone)]
struct Context(Arc<Shared>);

struct Shared {
    management: Management,
    reload: Option<Reload>,
    limits: Option<Arc<dyn LimitsInForce>>,
    metrics: Metrics,
    throttle: Throttle,
    answers: Answers,
    sessions: Sessions,
    observatory: Option<Observatory>,
}

impl Context {
    /// Tells the metrics how many sessions are open.
    fn count_sessions(&self) {
        self.metrics.set_admin_sessions(self.sessions.count(std::time::Instant::now()));
    }
}

impl std::ops::Deref for Context {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The admin API. A clone is the same.
#[derive(Clone)]
pub struct AdminApi {
    router: Router,
    context: Context,
}

impl std::fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminApi").finish_non_exhaustive()
    }
}

impl AdminApi {
    /// Over this management; `reload` and the view of the gateway are what a running one offers besides.
    #[must_use]
    pub fn new(
        management: Management,
        reload: Option<Reload>,
        metrics: Metrics,
        observatory: Option<Observatory>,
    ) -> Self {
        Self::with_limits(management, reload, metrics, observatory, None)
    }

    /// The same where limits are counted.
    #[must_use]
    pub fn with_limits(
        management: Management,
        reload: Option<Reload>,
        metrics: Metrics,
        observatory: Option<Observatory>,
        limits: Option<Arc<dyn LimitsInForce>>,
    ) -> Self {
        let shared = Shared {
            management,
            reload,
            limits,
            metrics,
            throttle: Throttle::default(),
            answers: Answers::default(),
            sessions: Sessions::default(),
            observatory,
        };
        let context = Context(Arc::new(shared));
        Self { router: openapi::router(context.clone()), context }
    }

    /// Forgets sessions that are over and tells how many are open, again and again, for as long as it runs.
    pub async fn housekeeping(self) {
        let mut tick = tokio::time::interval(HOUSEKEEPING);
        loop {
            tick.tick().await;
            self.context.count_sessions();
        }
    }

    /// Answers a request. It must carry a [`Caller`] among its extensions; without one it is a stranger's.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
