//! The names of upstreams, looked up again and again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::snapshot::CurrentSnapshot;

/// How often the names of upstreams are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// Looks all of them up, every now and then, for ever.
pub(super) async fn resolve_again_and_again(snapshot: Arc<CurrentSnapshot>) {
    loop {
        tokio::time::sleep(RESOLVE_EVERY).await;
        resolve_again(&snapshot).await;
    }
}

/// Looks the names of upstreams up again. A name that cannot be looked up keeps the addresses it had.
async fn resolve_again(snapshot: &CurrentSnapshot) {
    for upstream in snapshot.load().router.upstreams() {
        for server in upstream.servers() {
            if server.authority.parse::<SocketAddr>().is_ok() {
                continue;
            }
            match tokio::net::lookup_host(&*server.authority).await {
                Ok(found) => {
                    let mut addresses: Vec<SocketAddr> = found.collect();
                    addresses.sort_unstable();
                    addresses.dedup();
                    if !addresses.is_empty() && **server.addresses.load() != addresses {
                        tracing::info!(server = %server.authority, ?addresses, "the name has new addresses");
                        server.addresses.store(Arc::new(addresses));
                    }
                }
                Err(error) => {
                    tracing::warn!(server = %server.authority, %error, "the name cannot be looked up; keeping its addresses");
                }
            }
        }
    }
}
