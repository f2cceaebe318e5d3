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
mod clients;
mod exports;
mod idempotency;
mod imports;
mod keys;
mod limits;
mod openapi;
mod problem;
mod shape;
mod socket;
mod system;
mod tokens;

pub use auth::Caller;
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
use crate::telemetry::health::ReloadOutcome;
use crate::telemetry::metrics::Metrics;

use auth::Throttle;
use idempotency::Answers;

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
}

impl std::fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminApi").finish_non_exhaustive()
    }
}

impl AdminApi {
    /// Over this management, where no gateway runs.
    #[must_use]
    pub fn new(management: Management, metrics: Metrics) -> Self {
        Self::over(management, None, None, metrics)
    }

    /// The same in a running gateway, which can be told to reload and knows what is left of limits.
    #[must_use]
    pub fn of_gateway(
        management: Management,
        reload: Reload,
        limits: Option<Arc<dyn LimitsInForce>>,
        metrics: Metrics,
    ) -> Self {
        Self::over(management, Some(reload), limits, metrics)
    }

    fn over(
        management: Management,
        reload: Option<Reload>,
        limits: Option<Arc<dyn LimitsInForce>>,
        metrics: Metrics,
    ) -> Self {
        let (throttle, answers) = (Throttle::default(), Answers::default());
        let shared = Shared { management, reload, limits, metrics, throttle, answers };
        Self { router: openapi::router(Context(Arc::new(shared))) }
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
