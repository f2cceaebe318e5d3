//! The service behind the proxies: a thread that answers at once and costs next to nothing.
//!
//! `/echo` answers with the head that came, `/64k` with 64 KiB, everything else with 100 bytes. Bodies are read and dropped.
//! Once its connections are open it allocates nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{Timespec, epoll};

use super::http1::field;
use super::{During, Result, cores};

/// Room for a request.
const BUFFER: usize = 64 * 1024;
/// How often the thread looks whether it is to end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// What stands for the listening socket among the connections.
const LISTENER: u64 = u64::MAX;

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts on a free port, on a core if one is named.
    ///
    /// # Errors
    /// The system gives no socket or thread.
    pub fn start(core: Option<usize>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("the upstream's socket")?;
        listener.set_nonblocking(true).during("the upstream's socket")?;
        let address = listener.local_addr().during("the upstream's address")?;
        let ends = Arc::new(AtomicBool::new(false));
        let serving = Serving::new(listener, Arc::clone(&ends))?;
        let work = move || {
            if let Err(error) = core.map_or(Ok(()), cores::stay_on).and_then(|()| serving.run()) {
                eprintln!("the upstream ended: {error}");
            }
        };
        let thread = thread::Builder::new().name("upstream".to_owned()).spawn(work).during("the upstream's thread")?;
        Ok(Self { address, ends, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Connection {
    socket: TcpStream,
    buffer: Box<[u8; BUFFER]>,
    filled: usize,
    /// Bytes of an answer that the socket did not take yet.
    unsent: Vec<u8>,
    is_waiting_to_write: bool,
}

struct Serving {
    listener: TcpListener,
    ends: Arc<AtomicBool>,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    small: Vec<u8>,
    large: Vec<u8>,
}

impl Serving {
    fn new(listener: TcpListener, ends: Arc<AtomicBool>) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).during("epoll")?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN).during("epoll")?;
        let answer = |bytes: usize| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n");
            [head.into_bytes(), vec![b'x'; bytes]].concat()
        };
        Ok(Self { listener, ends, epoll, connections: Vec::new(), small: answer(100), large: answer(64 * 1024) })
    }

    fn run(mut self) -> Result<()> {
        let mut events = Vec::with_capacity(1024);
        while !self.ends.load(Ordering::Relaxed) {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&LOOK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(format!("waiting: {error}")),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    number => self.serve(usize::try_from(number).expect("it was one")),
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("accepting: {error}")),
            };
            socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true)).during("a socket")?;
            let place = self.connections.iter().position(Option::is_none).unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)
                .during("epoll")?;
            let buffer = vec![0; BUFFER].into_boxed_slice().try_into().expect("it has this length");
            self.connections[place] =
                Some(Connection { socket, buffer, filled: 0, unsent: Vec::new(), is_waiting_to_write: false });
        }
    }

    /// Reads, answers, and lets go of a connection that is over.
    fn serve(&mut self, place: usize) {
        let Some(connection) = self.connections[place].as_mut() else { return };
        let served = connection
            .flush()
            .and_then(|()| connection.read())
            .and_then(|()| connection.answer(&self.small, &self.large));
        let wanted = match served {
            // Closing takes it out of the epoll set.
            Err(_) => return self.connections[place] = None,
            Ok(()) => !connection.unsent.is_empty(),
        };
        if wanted != connection.is_waiting_to_write {
            connection.is_waiting_to_write = wanted;
            let flags = if wanted { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            let _ = epoll::modify(&self.epoll, &connection.socket, epoll::EventData::new_u64(place as u64), flags);
        }
    }
}

impl Connection {
    /// Takes what is there, unless the answer before is still on its way.
    fn read(&mut self) -> std::io::Result<()> {
        if !self.unsent.is_empty() {
            return Ok(());
        }
        match self.socket.read(&mut self.buffer[self.filled..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                self.filled += bytes;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn answer(&mut self, small: &[u8], large: &[u8]) -> std::io::Result<()> {
        while self.unsent.is_empty() {
            let arrived = &self.buffer[..self.filled];
            let Some(head) = memchr::memmem::find(arrived, b"\r\n\r\n").map(|end| end + 4) else { return Ok(()) };
            let body = field(&arrived[..head], b"content-length")
                .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok())
                .unwrap_or(0);
            if arrived.len() < head + body {
                return Ok(());
            }
            let path = arrived.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            let echo;
            let answer = match path {
                b"/64k" => large,
                b"/echo" => {
                    let first =
                        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {head}\r\n\r\n");
                    echo = [first.as_bytes(), &arrived[..head]].concat();
                    &echo
                }
                _ => small,
            };
            let sent = match self.socket.write(answer) {
                Ok(sent) => sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.unsent.extend_from_slice(&answer[sent..]);
            self.buffer.copy_within(head + body..self.filled, 0);
            self.filled -= head + body;
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        match self.socket.write(&self.unsent) {
            Ok(sent) => {
                self.unsent.drain(..sent);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}
