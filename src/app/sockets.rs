//! Where the sockets come from that this process listens on, and who gets them after it.
//!
//! [`Inheritance`] is what was open before: a predecessor's, or the service manager's. What is not in it is bound. [`offered`]
//! is what a successor gets, see [`take_over`].

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use listenfd::ListenFd;

use super::take_over::{self, Offered, Predecessor, Role, Taken};
use super::{Before, StartError};
use crate::admin::{self, LocalSocket};
use crate::config::Settings;
use crate::server::{Inherited, InheritedSocket};

/// The sockets that a successor gets, each a handle of its own.
pub(super) fn offered(
    of_callers: Vec<(Arc<str>, SocketAddr, TcpListener)>,
    admin: &Option<TcpListener>,
    observe: &Option<TcpListener>,
    local: Option<&LocalSocket>,
) -> io::Result<Vec<Offered>> {
    let offer = |role, listener, address: SocketAddr, socket: TcpListener| Offered {
        role,
        listener,
        address: address.to_string(),
        socket: socket.into(),
    };
    let mut offered: Vec<Offered> =
        of_callers.into_iter().map(|(name, address, socket)| offer(Role::Data, name, address, socket)).collect();
    for (role, socket) in [(Role::Admin, admin), (Role::Observe, observe)] {
        if let Some(socket) = socket {
            offered.push(offer(role, Arc::default(), socket.local_addr()?, socket.try_clone()?));
        }
    }
    if let Some(local) = local {
        let address = local.path().display().to_string();
        offered.push(Offered {
            role: Role::Local,
            listener: Arc::default(),
            address,
            socket: local.handle()?.0.into(),
        });
    }
    Ok(offered)
}

/// Sockets that were open before this process.
#[derive(Default)]
pub(super) struct Inheritance {
    pub(super) data: Inherited,
    pub(super) operators: Vec<(Role, InheritedSocket)>,
    pub(super) local: Option<(UnixListener, String)>,
    pub(super) predecessor: Option<Predecessor>,
}

impl Inheritance {
    pub(super) fn new(before: Before, settings: &Settings) -> Result<Self, StartError> {
        let addresses: Vec<SocketAddr> = settings.listeners.iter().map(|listener| listener.address).collect();
        let taken = if before == Before::Gateway { take_over::take(&addresses)? } else { None };
        let mut inheritance = match taken {
            Some(Taken { data, operators, local, predecessor }) => {
                Self { data, operators, local, predecessor: Some(predecessor) }
            }
            None => Self::default(),
        };
        let mut from_manager = ListenFd::from_env();
        for index in 0..from_manager.len() {
            let socket = from_manager.take_tcp_listener(index).map_err(StartError::system("socket by LISTEN_FDS"))?;
            let Some(socket) = socket else { continue };
            let address = socket.local_addr().map_err(StartError::system("socket by LISTEN_FDS"))?;
            inheritance.data.push(InheritedSocket { listener: None, address, socket });
        }
        Ok(inheritance)
    }

    /// A socket of somebody else's configuration is closed; whoever connects there must hear of it.
    pub(super) fn report_unused(&self) {
        for address in self.data.unused() {
            tracing::warn!(%address, "a socket was given for an address that no listener has; it is closed");
        }
    }
}

/// The socket of a store, for the command line: the one of the predecessor, or a new one. Without one the command line
/// writes the store itself.
pub(super) fn local_socket(store: &Path, inherited: Option<(UnixListener, String)>) -> Option<LocalSocket> {
    if let Some((listener, path)) = inherited
        && path == admin::path_of(store).display().to_string()
    {
        match LocalSocket::inherit(listener, store) {
            Ok(socket) => return Some(socket),
            Err(error) => tracing::warn!(%error, "the local socket cannot be taken over"),
        }
    }
    match LocalSocket::bind(store) {
        Ok(Ok(socket)) => return Some(socket),
        Ok(Err(served)) => tracing::info!("no local socket: {served}; what is changed there is seen here too"),
        Err(error) => {
            tracing::warn!(%error, store = %store.display(), "no local socket: the command line writes the store itself");
        }
    }
    None
}

pub(super) fn bind_operators(
    role: Role,
    address: SocketAddr,
    inheritance: &mut Inheritance,
) -> Result<TcpListener, StartError> {
    let what = if role == Role::Admin { "admin" } else { "observe" };
    let failed = |source| StartError::Admin { what, address, source };
    let is_for = |(of, inherited): &(Role, InheritedSocket)| {
        inherited.address == address || (*of == role && address.port() == 0 && inherited.address.ip() == address.ip())
    };
    let socket = match inheritance.operators.iter().position(is_for) {
        Some(index) => inheritance.operators.swap_remove(index).1.socket,
        // From the service manager, which does not say what it is for.
        None => match inheritance.data.take(what, address).map_err(failed)?.pop() {
            Some(socket) => socket,
            None => TcpListener::bind(address).map_err(failed)?,
        },
    };
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}
