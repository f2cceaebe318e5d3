//! Listening sockets: bound before anything is served, one set for each worker, accepted from without ever spinning.
//!
//! `app` calls [`bind_all`] once and gives each worker its [`WorkerListeners`]; [`serve`](super::serve) accepts from
//! them. Workers share a port by `SO_REUSEPORT`, so the kernel spreads connections and no worker touches another's.
//!
//! Sockets that were open before this process are used before any is bound ([`Inherited`]).
//!
//! A port that somebody else listens on is an error, although `SO_REUSEPORT` would quietly share it: a second gateway
//! started by mistake would take half of the connections.
//!
//! When there is no place left, whoever comes is taken nevertheless if a connection can be ended that has been silent
//! for a while: a crowd that takes up places and asks nothing must not keep those out who ask.
//!
//! When the process is out of file descriptors, `accept` fails at once, again and again. The loop then waits before it
//! asks again, or it would burn the core that could free some.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::task::{AbortHandle, JoinSet};

use super::connection::{Accepted, Worker, run};
use super::handler::Handler;
use super::inherited::{Inherited, share_out};
use super::limits::{Live, NoPlace, Owner, Place};
use super::state::ConnectionState;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 4096;
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often the log says that connections cannot be accepted.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);
/// How long a connection must have been silent to be ended for another. A client that has just come, or has just had an
/// answer, is about to ask.
const SILENCE: Duration = Duration::from_secs(1);
/// How many connections are looked at to find the most silent one.
const CANDIDATES: usize = 64;

/// What a listener without TLS speaks. With TLS the client chooses by ALPN between HTTP/2 and HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1 only.
    #[default]
    Http1,
    /// HTTP/1 and HTTP/2 with prior knowledge, told apart by the first bytes. Never by `Upgrade: h2c`.
    H2c,
}

/// One listener as configured.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// Its name in logs, metrics and [`Peer`](super::Peer).
    pub name: Arc<str>,
    /// Where it listens. Port 0 takes a free port, the same for all workers.
    pub addresses: Vec<SocketAddr>,
    /// What it speaks when it has no TLS.
    pub protocol: Protocol,
    /// TLS, see [`tls`](super::tls).
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The listener is meant for the back office.
    pub is_backoffice: bool,
}

/// What a connection knows of its listener.
#[derive(Debug)]
pub(super) struct ListenerInfo {
    pub(super) name: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) is_backoffice: bool,
}

/// The listening sockets of one worker.
#[derive(Debug)]
pub struct WorkerListeners(pub(super) Vec<BoundListener>);

#[derive(Debug)]
pub(super) struct BoundListener {
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) info: Arc<ListenerInfo>,
}

impl WorkerListeners {
    /// The names and addresses that were bound, in the order of the settings; port 0 has become a real port.
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let mut addresses: Vec<_> =
            self.0.iter().map(|listener| (Arc::clone(&listener.info.name), listener.address)).collect();
        // There may be several sockets for one.
        addresses.dedup();
        addresses
    }

    /// Another handle to each socket, with the name of its listener and its address.
    ///
    /// # Errors
    /// The system gives no descriptor.
    pub fn handles(&self) -> io::Result<Vec<(Arc<str>, SocketAddr, TcpListener)>> {
        let handle =
            |bound: &BoundListener| Ok((Arc::clone(&bound.info.name), bound.address, bound.socket.try_clone()?));
        self.0.iter().map(handle).collect()
    }
}

/// Why a listener cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener \"{listener}\": {}", .source.explain(*address))]
pub struct BindError {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The address that was asked for.
    pub address: SocketAddr,
    source: BindFault,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct BindFault(#[from] io::Error);

impl BindFault {
    fn explain(&self, address: SocketAddr) -> String {
        match self.0.kind() {
            io::ErrorKind::AddrInUse => format!("{address} is in use by another process"),
            io::ErrorKind::AddrNotAvailable => format!("{address} is not an address of this machine"),
            io::ErrorKind::PermissionDenied => format!("no permission to listen on {address}"),
            _ => format!("cannot listen on {address}"),
        }
    }
}

/// Binds every address of every listener once for each worker, or takes the sockets that are inherited for it.
///
/// # Errors
/// The first address that cannot be bound; what was bound before is closed again.
pub fn bind_all(
    listeners: &[ListenerSettings],
    workers: usize,
    inherited: &mut Inherited,
) -> Result<Vec<WorkerListeners>, BindError> {
    let workers = workers.max(1);
    let mut sets: Vec<_> = (0..workers).map(|_| WorkerListeners(Vec::new())).collect();
    for settings in listeners {
        let info = Arc::new(ListenerInfo {
            name: Arc::clone(&settings.name),
            protocol: settings.protocol,
            tls: settings.tls.clone(),
            is_backoffice: settings.is_backoffice,
        });
        for &asked in &settings.addresses {
            // Beside `0.0.0.0`, `[::]` must not take the IPv4 side as well.
            let has_v4_twin = listeners.iter().flat_map(|other| &other.addresses).any(|other| {
                other.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) && other.port() == asked.port() && asked.port() != 0
            });
            let failed = |error: io::Error| BindError {
                listener: Arc::clone(&settings.name),
                address: asked,
                source: error.into(),
            };
            let bind = |address, shared| bind(address, shared, has_v4_twin).map_err(failed);
            let taken = inherited.take(&settings.name, asked).map_err(failed)?;
            if !taken.is_empty() {
                for (set, sockets) in sets.iter_mut().zip(share_out(taken, workers).map_err(failed)?) {
                    for socket in sockets {
                        let address = socket.local_addr().unwrap_or(asked);
                        set.0.push(BoundListener { socket, address, info: Arc::clone(&info) });
                    }
                }
                continue;
            }
            let mut address = asked;
            if asked.port() != 0 {
                drop(bind(address, false)?);
            }
            for set in &mut sets {
                let socket = bind(address, true)?;
                if let Ok(bound) = socket.local_addr() {
                    address = bound;
                }
                set.0.push(BoundListener { socket, address, info: Arc::clone(&info) });
            }
        }
    }
    Ok(sets)
}

/// A listening socket; one that is not `shared` only finds out whether the port is free.
fn bind(address: SocketAddr, shared: bool, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(SocketProtocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    if shared {
        // Accepted sockets inherit it, which saves a system call for each connection.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

/// Accepts until the drain begins; then gives the connections that are still open.
pub(super) async fn accept<H: Handler>(
    socket: tokio::net::TcpListener,
    listener: Arc<ListenerInfo>,
    worker: Arc<Worker<H>>,
    live: Arc<Live>,
) -> JoinSet<()> {
    let owner = Owner { listener: Arc::clone(&listener.name), metrics: worker.metrics.clone(), live };
    let mut crowd = Crowd { connections: JoinSet::new(), members: Vec::new(), next: 0, worker, listener, owner };
    let mut pause = SHORTEST_PAUSE;
    let mut warned: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            () = crowd.worker.drain.wait() => break,
            Some(_) = crowd.connections.join_next(), if !crowd.connections.is_empty() => {}
            accepted = socket.accept() => match accepted {
                Ok(accepted) => {
                    pause = SHORTEST_PAUSE;
                    crowd.admit(accepted).await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    crowd.worker.metrics.limit_hit("descriptors");
                    crowd.worker.metrics.accept_error(&crowd.listener.name);
                    if warned.is_none_or(|warned| warned.elapsed() >= BETWEEN_WARNINGS) {
                        warned = Some(Instant::now());
                        tracing::warn!(%error, listener = &*crowd.listener.name, "cannot accept connections, waiting");
                    }
                    crowd.end_the_most_silent();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            },
        }
    }
    // Connections that the kernel has completed are ours already: closing the socket would reset them.
    while let Some(Ok(accepted)) = poll_once(socket.accept()).await {
        crowd.admit(accepted).await;
    }
    crowd.connections
}

/// The connections of one listener of one worker.
struct Crowd<H> {
    connections: JoinSet<()>,
    /// Everyone in `connections`, and some who have left.
    members: Vec<(AbortHandle, Arc<ConnectionState>)>,
    /// Who is looked at next when room is made.
    next: usize,
    worker: Arc<Worker<H>>,
    listener: Arc<ListenerInfo>,
    owner: Owner,
}

impl<H: Handler> Crowd<H> {
    /// Serves a connection that was just accepted, or closes it if there is no place and none can be made.
    async fn admit(&mut self, (tcp, address): (tokio::net::TcpStream, SocketAddr)) {
        let place = match self.place(&tcp, address) {
            Ok(place) => place,
            Err(no_place) => {
                self.worker.metrics.limit_hit(no_place.code());
                if no_place == NoPlace::ForAddress || !self.end_the_most_silent() {
                    // Dropping the socket closes it.
                    return;
                }
                // The task that was told to end does so when the runtime comes to it.
                tokio::task::yield_now().await;
                // Its descriptor is free, but this socket keeps the number that it has.
                let Ok(place) = self.worker.settings.connections.take(address.ip(), self.owner.clone()) else { return };
                place
            }
        };
        let state = Arc::new(ConnectionState::new());
        let accepted =
            Accepted { tcp, address, listener: Arc::clone(&self.listener), place, state: Arc::clone(&state) };
        let handle = self.connections.spawn(run(accepted, Arc::clone(&self.worker)));
        if self.members.len() > 2 * self.connections.len() + CANDIDATES {
            self.members.retain(|(handle, _)| !handle.is_finished());
        }
        self.members.push((handle, state));
    }

    fn place(&self, tcp: &tokio::net::TcpStream, address: SocketAddr) -> Result<Place, NoPlace> {
        let settings = &self.worker.settings;
        let number = u64::try_from(tcp.as_raw_fd()).unwrap_or_default();
        if settings.descriptors.is_some_and(|first| number >= first) {
            return Err(NoPlace::Descriptors);
        }
        settings.connections.take(address.ip(), self.owner.clone())
    }

    /// Ends the connection that has been silent for longest, of as many as are looked at; `false` if none has been
    /// silent for long enough.
    fn end_the_most_silent(&mut self) -> bool {
        let mut best: Option<(Duration, usize)> = None;
        let mut looked_at = 0;
        while looked_at < CANDIDATES.min(self.members.len()) {
            if self.next >= self.members.len() {
                self.next = 0;
            }
            let (handle, state) = &self.members[self.next];
            if handle.is_finished() {
                self.members.swap_remove(self.next);
                // The member moved here may be the best so far.
                best = best.filter(|(_, place)| *place < self.members.len());
                continue;
            }
            if let Some(silence) = state.silent_for()
                && silence >= SILENCE
                && best.is_none_or(|(longest, _)| silence > longest)
            {
                best = Some((silence, self.next));
            }
            self.next += 1;
            looked_at += 1;
        }
        let Some((_, place)) = best else { return false };
        self.members.swap_remove(place).0.abort();
        true
    }
}

/// The result, if there is one right now.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Errors that belong to the connection that was about to be accepted; the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, addresses: &[SocketAddr]) -> ListenerSettings {
        ListenerSettings {
            name: name.into(),
            addresses: addresses.to_vec(),
            protocol: Protocol::Http1,
            tls: None,
            is_backoffice: false,
        }
    }

    #[test]
    fn port_zero_becomes_one_port_for_all_workers() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let sets = bind_all(&[settings("a", &[any, any])], 3, &mut Inherited::default()).expect("ports are free");
        let addresses: Vec<_> = sets.iter().map(WorkerListeners::addresses).collect();
        assert_eq!(addresses.len(), 3);
        assert!(addresses.iter().all(|set| *set == addresses[0]));
        assert_ne!(addresses[0][0].1, addresses[0][1].1);
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_even_where_it_could_be_shared() {
        let sets =
            bind_all(&[settings("a", &["127.0.0.1:0".parse().expect("an address")])], 1, &mut Inherited::default())
                .expect("free");
        let taken = sets[0].addresses()[0].1;
        let error = bind_all(&[settings("b", &[taken])], 1, &mut Inherited::default()).expect_err("taken");
        assert_eq!(error.to_string(), format!("listener \"b\": {taken} is in use by another process"));
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error =
            bind_all(&[settings("c", &["192.0.2.1:80".parse().expect("an address")])], 1, &mut Inherited::default())
                .expect_err("not ours");
        assert_eq!(error.to_string(), "listener \"c\": 192.0.2.1:80 is not an address of this machine");
    }
}
