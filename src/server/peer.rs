//! (being written)
use std::net::SocketAddr;
use std::sync::Arc;
/// Facts about the connection a request came on.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address at the other end of the socket.
    pub address: SocketAddr,
    /// Our own end.
    pub local_address: SocketAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The listener is marked `backoffice: true`.
    pub is_backoffice: bool,
    /// The connection is TLS.
    pub is_tls: bool,
}
