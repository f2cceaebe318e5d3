//! Listening sockets that were open before this process: what their queues hold is not lost when a process ends.
//!
//! They come from the service manager, or from the process whose place this one takes. [`bind_all`](super::bind_all) looks
//! here first. A socket is known by the address it is bound to; one that the system chose a port for, by the name of its
//! listener as well.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// Sockets that no listener has been found for yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<InheritedSocket>);

/// One listening socket.
#[derive(Debug)]
pub struct InheritedSocket {
    /// The listener it belonged to, if that is known.
    pub listener: Option<Arc<str>>,
    /// Where it listens.
    pub address: SocketAddr,
    /// The socket; it need not be ready for a runtime.
    pub socket: TcpListener,
}

impl Inherited {
    /// Adds a socket.
    pub fn push(&mut self, socket: InheritedSocket) {
        self.0.push(socket);
    }

    /// The sockets for a listener that is to listen at `asked`: several if several were bound there.
    ///
    /// # Errors
    /// One of them cannot be made ready.
    pub fn take(&mut self, listener: &str, asked: SocketAddr) -> io::Result<Vec<TcpListener>> {
        let is_for = |inherited: &InheritedSocket| {
            inherited.address == asked
                || (asked.port() == 0
                    && inherited.address.ip() == asked.ip()
                    && inherited.listener.as_deref() == Some(listener))
        };
        let (found, rest) = std::mem::take(&mut self.0).into_iter().partition(is_for);
        self.0 = rest;
        let found: Vec<InheritedSocket> = found;
        found
            .into_iter()
            .map(|InheritedSocket { socket, .. }| {
                socket.set_nonblocking(true)?;
                socket2::SockRef::from(&socket).set_tcp_nodelay(true)?;
                Ok(socket)
            })
            .collect()
    }

    /// Where the sockets listen that nobody took.
    #[must_use]
    pub fn unused(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = self.0.iter().map(|inherited| inherited.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

/// Gives each of so many workers its sockets: every socket to somebody, and where there are too few, the same one to
/// several.
pub(super) fn share_out(sockets: Vec<TcpListener>, workers: usize) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut shares: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for worker in sockets.len()..workers {
        shares[worker].push(sockets[worker % sockets.len()].try_clone()?);
    }
    for (index, socket) in sockets.into_iter().enumerate() {
        shares[index % workers].push(socket);
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").expect("a free port")
    }

    #[test]
    fn a_socket_is_found_by_its_address_or_by_its_name_if_the_port_was_free_to_choose() {
        for (name, asked, is_found) in [
            ("public", "its own", true),
            ("other", "its own", true),
            ("public", "127.0.0.1:0", true),
            ("other", "127.0.0.1:0", false),
            ("public", "127.0.0.2:0", false),
            ("public", "127.0.0.1:1", false),
        ] {
            let socket = socket();
            let address = socket.local_addr().expect("bound");
            let mut inherited = Inherited::default();
            inherited.push(InheritedSocket { listener: Some("public".into()), address, socket });
            let asked = asked.parse().unwrap_or(address);
            assert_eq!(inherited.take(name, asked).expect("ready").len(), usize::from(is_found), "{name} {asked}");
            assert_eq!(inherited.unused().is_empty(), is_found, "{name} {asked}");
        }
    }

    #[test]
    fn nobody_is_without_a_socket_and_no_socket_without_somebody() {
        for (sockets, workers) in [(1, 1), (1, 3), (2, 3), (3, 3), (5, 2), (4, 1)] {
            let shares = share_out((0..sockets).map(|_| socket()).collect(), workers).expect("shared");
            assert_eq!(shares.len(), workers);
            assert!(shares.iter().all(|share| !share.is_empty()), "{sockets} {workers}");
            let mut all: Vec<SocketAddr> = shares.iter().flatten().map(|it| it.local_addr().expect("bound")).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), sockets, "{sockets} {workers}");
        }
    }
}
