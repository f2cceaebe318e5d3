//! Callers: one thread that keeps every connection busy and never has two requests under way on one of HTTP/1.1.
//!
//! [`Load::open`] connects, [`Load::run`] asks and counts. A loop is closed: an answer lets the next request go, so the proxy
//! is always busy and its cost per request is that at full load. Keys are drawn by chance from those of the site, the same
//! ones in each run.
//!
//! Nothing is allocated once each connection has had its first answer, so that a test can count what others allocate.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustls::ClientConfig;

use super::scenario::Protocol;
use super::site::{Chance, key, path, unknown_key};
use super::wire::Wire;
use super::{During, Result, Scenario, http1, http2};

/// With no answer for so long, a load has failed.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };
const BUFFER: usize = 64 * 1024;

/// What a run was like.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Answers, all of them as expected.
    pub answers: u64,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// Connections to a proxy, and what is asked over them.
pub struct Load {
    scenario: Scenario,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    writer: Writer,
    buffer: Vec<u8>,
}

struct Connection {
    wire: Wire,
    speaks: Speaks,
}

enum Speaks {
    Http1(http1::Answers),
    Http2(http2::Session),
}

impl Speaks {
    fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1(http1::Answers::default()),
            Protocol::Http2 => Self::Http2(http2::Session::default()),
        }
    }
}

/// Writes requests, each with a key and a path drawn by chance.
struct Writer {
    chance: Chance,
    scenario: Scenario,
    paths: Vec<String>,
    /// All of a request of HTTP/1.1 but its first line and its key.
    fields: Vec<u8>,
    body: Vec<u8>,
    out: Vec<u8>,
}

impl Writer {
    fn new(scenario: Scenario) -> Self {
        let paths = match scenario.site.endpoints {
            0 => vec![scenario.path.to_owned()],
            endpoints => (0..endpoints).map(path).collect(),
        };
        let mut fields = "host: api.example.com\r\nuser-agent: side-by-side/1.0\r\naccept: */*\r\n".to_owned();
        if scenario.body > 0 {
            fields += &format!("content-type: application/json\r\ncontent-length: {}\r\n", scenario.body);
        }
        let body = vec![b'x'; scenario.body];
        Self { chance: Chance::default(), scenario, paths, fields: fields.into_bytes(), body, out: Vec::new() }
    }

    fn request(&mut self, speaks: &mut Speaks) {
        let number = self.chance.below(self.scenario.site.keys);
        let key = if self.scenario.is_unknown { unknown_key(number) } else { key(number) };
        let path = &self.paths[self.chance.below(self.paths.len())];
        match speaks {
            Speaks::Http1(_) => {
                let method = if self.body.is_empty() { "GET " } else { "POST " };
                let parts = [method.as_bytes(), path.as_bytes(), b" HTTP/1.1\r\n", &self.fields, b"x-api-key: ", &key];
                parts.iter().for_each(|part| self.out.extend_from_slice(part));
                self.out.extend_from_slice(b"\r\n\r\n");
                self.out.extend_from_slice(&self.body);
            }
            Speaks::Http2(session) => {
                session.ask(path, &[("user-agent", b"side-by-side/1.0"), ("x-api-key", &key)], &mut self.out);
            }
        }
    }
}

impl Load {
    /// Opens the connections of a scenario. With TLS, `tls` says whom to trust.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn open(scenario: Scenario, address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let mut load = Self {
            scenario,
            address,
            tls: tls.cloned(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).during("epoll")?,
            connections: Vec::with_capacity(scenario.connections),
            writer: Writer::new(scenario),
            buffer: vec![0; BUFFER],
        };
        for place in 0..scenario.connections {
            let connection = load.connect(place)?;
            load.connections.push(connection);
        }
        Ok(load)
    }

    fn connect(&self, place: usize) -> Result<Connection> {
        let wire = Wire::connect(self.address, self.tls.as_ref())?;
        epoll::add(&self.epoll, &wire, epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)
            .during("epoll")?;
        Ok(Connection { wire, speaks: Speaks::new(self.scenario.protocol) })
    }

    /// Asks so many times, and returns when all answers are there.
    ///
    /// # Errors
    /// An answer is missing, broken, or has another status than the scenario's.
    pub fn run(&mut self, requests: u64) -> Result<Outcome> {
        let started = Instant::now();
        let mut asked = 0;
        for place in 0..self.connections.len() {
            let streams = (requests - asked).min(self.scenario.streams as u64);
            self.ask(place, streams)?;
            asked += streams;
        }
        let mut answers = 0;
        let mut events = Vec::with_capacity(1024);
        while answers < requests {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&PATIENCE)) {
                Ok(0) => return Err(format!("{} of {requests} requests were not answered", requests - answers)),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(format!("waiting: {error}")),
            }
            for event in &events {
                let place = usize::try_from(event.data.u64()).expect("it was one");
                let answered = self.hear(place)?;
                answers += answered;
                let more = answered.min(requests - asked);
                if answered > 0 && self.scenario.is_fresh {
                    self.connections[place] = self.connect(place)?;
                }
                self.ask(place, more)?;
                asked += more;
            }
        }
        Ok(Outcome { answers, took: started.elapsed() })
    }

    /// Sends new requests over a connection.
    fn ask(&mut self, place: usize, requests: u64) -> Result<()> {
        let connection = &mut self.connections[place];
        for _ in 0..requests {
            self.writer.request(&mut connection.speaks);
        }
        if !self.writer.out.is_empty() {
            connection.wire.send(&self.writer.out)?;
            self.writer.out.clear();
        }
        Ok(())
    }

    /// Reads what came over a connection: how many answers were completed by it.
    fn hear(&mut self, place: usize) -> Result<u64> {
        let connection = &mut self.connections[place];
        let mut answers = 0;
        let mut unexpected = None;
        let mut answered = |status| {
            answers += 1;
            if status != self.scenario.status {
                unexpected = Some(status);
            }
        };
        loop {
            let bytes = connection.wire.receive(&mut self.buffer)?;
            if bytes == 0 {
                break;
            }
            match &mut connection.speaks {
                Speaks::Http1(reader) => reader.take(&self.buffer[..bytes])?.into_iter().for_each(&mut answered),
                Speaks::Http2(session) => session.take(&self.buffer[..bytes], &mut self.writer.out, &mut answered)?,
            }
            // In the clear, what is left makes the connection readable again; of TLS some may be left in the session.
            if self.scenario.layer == super::wire::Layer::Clear {
                break;
            }
        }
        match unexpected {
            Some(status) => Err(format!("answered {status} where {} was expected", self.scenario.status)),
            None => Ok(answers),
        }
    }
}
