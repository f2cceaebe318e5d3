//! One process takes another's place without a connection lost.
//!
//! A gateway that runs offers its listening sockets to its successor: a process of the same user on this machine, started
//! with `--take-over`. The sockets themselves are handed over, not only their addresses: what queues on a socket would be
//! reset if it were closed. When the successor serves it says so; then, and not before, the one that ran stops accepting,
//! finishes what is in flight and ends. If the successor fails instead, nothing has changed.
//!
//! They meet on a local socket in the abstract namespace, named after a data listener's address: it needs no file, leaves
//! none behind, and belongs to the same network namespace as the listener. Both ask the kernel who the other is.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{self as unix, UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg, sockopt,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::server::{Inherited, InheritedSocket};

/// What this version says and understands.
const VERSION: u32 = 1;
/// How many sockets travel in one message; the kernel takes 253.
const AT_ONCE: usize = 64;
/// The longest list of sockets, in bytes.
const LONGEST_LIST: usize = 1 << 20;
/// How long either side waits for the other to speak.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a successor may take until it serves: it may have a million keys to load.
const START_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How often it is tried to offer the sockets while the predecessor still does.
const OFFER_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked whether the sockets are offered, where somebody listens.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const READY: &[u8] = b"ready\n";

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A listener for callers.
    Data,
    /// The listener for operators.
    Admin,
    /// The listener for metrics and health.
    Observe,
    /// The local socket of the store, by its path.
    Local,
}

/// A socket that is offered.
#[derive(Debug)]
pub struct Offered {
    /// What it is for.
    pub role: Role,
    /// The name of its listener.
    pub listener: Arc<str>,
    /// Its address, or its path.
    pub address: String,
    /// The socket, a handle of its own.
    pub socket: OwnedFd,
}

/// What was received.
#[derive(Debug)]
pub struct Taken {
    /// Listeners for callers.
    pub data: Inherited,
    /// The listeners for operators, by what they are for.
    pub operators: Vec<(Role, InheritedSocket)>,
    /// The local socket of a store, and where it lies.
    pub local: Option<(UnixListener, String)>,
    /// The one whose place is taken, who waits to hear that we serve.
    pub predecessor: Predecessor,
}

/// The process whose place is taken.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

/// Why no place could be taken.
#[derive(Debug, Error)]
pub enum TakeOverError {
    /// The one who answers is not of this user.
    #[error("a process of another user answers for {0}; nothing is taken from it")]
    Stranger(SocketAddr),
    /// It speaks another language.
    #[error("the gateway that runs is of a version that cannot hand over to this one")]
    Version,
    /// What it sent is not what it announced.
    #[error("what the gateway that runs has sent is incomplete")]
    Incomplete,
    /// The conversation broke off.
    #[error("the gateway that runs did not hand over")]
    Io(#[from] io::Error),
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    version: u32,
    sockets: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    role: Role,
    listener: String,
    address: String,
}

/// The name under which two processes meet.
fn meeting_place(address: SocketAddr) -> io::Result<unix::SocketAddr> {
    unix::SocketAddr::from_abstract_name(format!("keygate/take-over/{address}"))
}

/// Whether the other end is a process of this user, or of root.
fn is_one_of_us(stream: &UnixStream) -> io::Result<bool> {
    let other = sockopt::socket_peercred(stream)?.uid;
    Ok(other == rustix::process::geteuid() || other.is_root())
}

/// Takes the sockets of the gateway that listens at one of these addresses; `None` if there is none, or it offers nothing.
///
/// # Errors
/// There is one, and it did not hand over.
pub fn take(addresses: &[SocketAddr]) -> Result<Option<Taken>, TakeOverError> {
    let addresses = || addresses.iter().copied().filter(|address| address.port() != 0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        for address in addresses() {
            let Ok(stream) = UnixStream::connect_addr(&meeting_place(address)?) else { continue };
            if !is_one_of_us(&stream)? {
                return Err(TakeOverError::Stranger(address));
            }
            return receive(stream).map(Some);
        }
        // One that has itself just taken a place offers its own in a moment.
        if addresses().all(is_free) || Instant::now() > deadline {
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Whether nobody listens there.
fn is_free(address: SocketAddr) -> bool {
    !TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn receive(mut stream: UnixStream) -> Result<Taken, TakeOverError> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let list: List = serde_json::from_slice(&line(&mut stream)?).map_err(|_| TakeOverError::Version)?;
    if list.version != VERSION {
        return Err(TakeOverError::Version);
    }
    let mut sockets: Vec<OwnedFd> = Vec::with_capacity(list.sockets.len());
    while sockets.len() < list.sockets.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let message = recvmsg(&stream, &mut bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC).map_err(io::Error::from)?;
        if message.bytes == 0 {
            return Err(TakeOverError::Incomplete);
        }
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                sockets.extend(rights);
            }
        }
    }
    if sockets.len() != list.sockets.len() {
        return Err(TakeOverError::Incomplete);
    }
    let mut taken =
        Taken { data: Inherited::default(), operators: Vec::new(), local: None, predecessor: Predecessor(stream) };
    for (entry, socket) in list.sockets.into_iter().zip(sockets) {
        if entry.role == Role::Local {
            taken.local = Some((UnixListener::from(socket), entry.address));
            continue;
        }
        let socket = TcpListener::from(socket);
        let address = socket.local_addr()?;
        let inherited = InheritedSocket { listener: Some(entry.listener.into()), address, socket };
        match entry.role {
            Role::Data => taken.data.push(inherited),
            role => taken.operators.push((role, inherited)),
        }
    }
    Ok(taken)
}

/// The first line, byte by byte: what follows it comes with sockets and must be read as such.
fn line(stream: &mut UnixStream) -> Result<Vec<u8>, TakeOverError> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LONGEST_LIST {
        if stream.read(&mut byte)? == 0 {
            return Err(TakeOverError::Incomplete);
        }
        if byte[0] == b'\n' {
            return Ok(line);
        }
        line.push(byte[0]);
    }
    Err(TakeOverError::Incomplete)
}

impl Predecessor {
    /// Says that we serve: it may stop.
    ///
    /// # Errors
    /// It does not hear any more. It has ended, then.
    pub fn relieve(mut self) -> io::Result<()> {
        self.0.write_all(READY)
    }
}

/// Offers sockets to a successor until one has taken them and serves. What is offered is closed when the future is dropped.
pub async fn offer(addresses: Vec<SocketAddr>, sockets: Vec<Offered>) {
    let sockets = Arc::new(sockets);
    let mut listeners = Vec::new();
    for address in addresses {
        match listen(address).await {
            Ok(listener) => listeners.push(listener),
            Err(error) => tracing::warn!(%error, %address, "no successor can take this place over"),
        }
    }
    if listeners.is_empty() {
        return std::future::pending().await;
    }
    loop {
        let stream = match accept(&listeners).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot hear a successor");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let sockets = Arc::clone(&sockets);
        match tokio::task::spawn_blocking(move || hand_over(stream, &sockets)).await {
            Ok(Ok(true)) => return,
            Ok(Ok(false)) => tracing::warn!("a process of another user asked for the listening sockets, and got none"),
            Ok(Err(error)) => tracing::warn!(%error, "a successor did not come to serve; nothing has changed"),
            Err(_) => tracing::error!("handing over ended in a panic"),
        }
    }
}

/// Listens where a successor looks, as soon as the predecessor does no longer.
async fn listen(address: SocketAddr) -> io::Result<tokio::net::UnixListener> {
    loop {
        match UnixListener::bind_addr(&meeting_place(address)?) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                return tokio::net::UnixListener::from_std(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(OFFER_EVERY).await,
            Err(error) => return Err(error),
        }
    }
}

/// The next connection on any of them.
async fn accept(listeners: &[tokio::net::UnixListener]) -> io::Result<UnixStream> {
    let accepted = std::future::poll_fn(|context| {
        for listener in listeners {
            if let std::task::Poll::Ready(accepted) = listener.poll_accept(context) {
                return std::task::Poll::Ready(accepted);
            }
        }
        std::task::Poll::Pending
    });
    let stream = accepted.await?.0.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Hands the sockets over and waits until the successor serves. False if it may not have them.
fn hand_over(mut stream: UnixStream, sockets: &[Offered]) -> io::Result<bool> {
    if !is_one_of_us(&stream)? {
        return Ok(false);
    }
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(START_PATIENCE))?;
    let list = List {
        version: VERSION,
        sockets: sockets
            .iter()
            .map(|offered| Entry {
                role: offered.role,
                listener: offered.listener.to_string(),
                address: offered.address.clone(),
            })
            .collect(),
    };
    let mut line = serde_json::to_vec(&list).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    for sockets in sockets.chunks(AT_ONCE) {
        let rights: Vec<BorrowedFd<'_>> = sockets.iter().map(|offered| offered.socket.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&rights));
        sendmsg(&stream, &[IoSlice::new(b"+")], &mut ancillary, SendFlags::NOSIGNAL)?;
    }
    let mut answer = [0; READY.len()];
    stream.read_exact(&mut answer)?;
    if answer == READY { Ok(true) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(role: Role, listener: &str, socket: &TcpListener) -> Offered {
        Offered {
            role,
            listener: listener.into(),
            address: socket.local_addr().expect("bound").to_string(),
            socket: socket.try_clone().expect("a handle").into(),
        }
    }

    /// More sockets than fit into a message; one that fails to start in between changes nothing.
    #[tokio::test]
    async fn a_successor_gets_every_socket_and_the_predecessor_stays_until_it_serves() {
        let sockets: Vec<TcpListener> =
            (0..AT_ONCE * 2 + 3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let address = sockets[0].local_addr().expect("bound");
        let mut all: Vec<Offered> = sockets.iter().map(|socket| offered(Role::Data, "public", socket)).collect();
        all[1].role = Role::Admin;
        let offering = tokio::spawn(offer(vec![address], all));
        let taking = move || loop {
            match take(&[SocketAddr::from(([127, 0, 0, 1], 0)), address]) {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                other => return other,
            }
        };
        let failing =
            tokio::task::spawn_blocking(taking).await.expect("no panic").expect("handed over").expect("found");
        drop(failing);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!offering.is_finished(), "one that does not come to serve relieves nobody");

        let taken = tokio::task::spawn_blocking(taking).await.expect("no panic").expect("handed over").expect("found");
        assert_eq!(taken.operators.len(), 1);
        assert_eq!(
            (taken.operators[0].0, taken.operators[0].1.address),
            (Role::Admin, sockets[1].local_addr().unwrap())
        );
        let mut data = taken.data;
        assert_eq!(data.take("public", address).expect("ready").len(), 1);
        assert_eq!(data.unused().len(), sockets.len() - 2);
        assert!(!offering.is_finished());
        taken.predecessor.relieve().expect("it listens");
        tokio::time::timeout(Duration::from_secs(5), offering).await.expect("in time").expect("no panic");
    }

    #[test]
    fn where_nobody_runs_nothing_is_taken() {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
        assert!(take(&[free]).expect("no trouble").is_none());
    }
}
