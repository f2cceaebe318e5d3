//! Serves any [`Handler`] over HTTP/1.1 and HTTP/2, and keeps everything away from it that is not a whole, plain request.
//!
//! `app` binds listeners with [`bind_all`], then calls [`serve`] on each worker's runtime. A request goes from
//! [`listener`] (accepts, counts places) through `connection` (TLS, protocol, time) and the wire [`guard`] (framing) to
//! the handler; `exchange` keeps a panic inside one exchange. [`drain`] ends it all in order.
//!
//! It promises bounds: of bytes, of counts, of time, each with a name in [`ConnectionSettings`] and in the metrics. It
//! promises that bytes which two readers could read differently never become a request. It knows nothing of gateways:
//! no path, key, endpoint or upstream.
//!
//! hyper parses HTTP, but it is not the first to see the bytes, and it sets no timer. Whoever changes an option of its
//! builders changes a promise: look at `connection` before.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::telemetry::metrics::WorkerMetrics;

mod connection;
pub mod descriptors;
pub mod drain;
mod exchange;
mod frames;
pub mod guard;
pub mod handler;
mod inherited;
pub mod limits;
pub mod listener;
pub mod peer;
mod refusal;
pub mod request_body;
pub mod settings;
mod state;
mod stream;
pub mod timer;
pub mod tls;
pub mod violation;

pub use drain::Drain;
pub use guard::GuardLimits;
pub use handler::Handler;
pub use inherited::{Inherited, InheritedSocket};
pub use limits::ConnectionLimits;
pub use listener::{BindError, ListenerSettings, Protocol, WorkerListeners, bind_all};
pub use peer::Peer;
pub use request_body::{RequestBody, RequestBodyError};
pub use settings::{ConnectionSettings, Http2Settings};
pub use violation::Violation;

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections and tunnels that were still open when the grace period was over.
    pub cut: usize,
}

/// Serves this worker's listeners until the drain begins and what is open has ended, or the grace period is over.
///
/// Call it on the runtime whose connections it shall own. Tunnels, which the handler runs in tasks of its own, count as
/// open; those that outlast the grace period end with an error on their next read.
///
/// # Errors
/// A listening socket that the runtime does not take; nothing has been served then.
pub async fn serve<H: Handler>(
    listeners: WorkerListeners,
    handler: H,
    settings: ConnectionSettings,
    metrics: WorkerMetrics,
    drain: Drain,
) -> std::io::Result<Drained> {
    let grace = settings.grace;
    let worker = Arc::new(connection::Worker { handler, settings, metrics, drain: drain.clone() });
    let live = Arc::new(limits::Live::default());
    let mut accepting = JoinSet::new();
    for bound in listeners.0 {
        let socket = tokio::net::TcpListener::from_std(bound.socket)?;
        accepting.spawn(listener::accept(socket, bound.info, Arc::clone(&worker), Arc::clone(&live)));
    }
    // Without a listener there is still a drain to wait for.
    drain.wait().await;
    let mut connections = accepting.join_all().await;
    let ended = tokio::time::timeout(grace, async {
        live.none_left().await;
        // The last place is given back just before its task ends.
        for set in &mut connections {
            while set.join_next().await.is_some() {}
        }
    });
    tokio::select! {
        _ = ended => {}
        () = drain.wait_cut() => {}
    }
    let cut = live.count();
    if cut > 0 {
        drain.cut();
        for set in &mut connections {
            set.shutdown().await;
        }
    }
    Ok(Drained { cut })
}

#[cfg(test)]
mod tests;
