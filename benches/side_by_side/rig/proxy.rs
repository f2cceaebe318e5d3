//! A proxy that runs, and what it has cost so far.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use super::peers::Ports;
use super::scenario::Protocol;
use super::wire::Layer;
use super::{During, Peer, Result, Scenario, Site, cores, put};

/// Time to start, with a million keys or below an instrument.
const START: Duration = Duration::from_secs(180);
/// Looks in a row, a fifth of a second apart, between which it must have done next to nothing.
const QUIET: usize = 4;
/// Time to end by itself.
const END: Duration = Duration::from_secs(10);

/// The certificate of all proxies, P-256, and its key.
pub struct Identity {
    certificate: String,
    key: String,
    /// The certificate, for those who are to trust it.
    pub der: CertificateDer<'static>,
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// The TLS library refuses.
    pub fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).during("a certificate")?;
        Ok(Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), der: made.cert.der().clone() })
    }

    /// Puts `certificate.pem`, `key.pem` and, with both in it, `both.pem` into a folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let both = self.key.clone() + &self.certificate;
        for (name, text) in [("certificate.pem", &self.certificate), ("key.pem", &self.key), ("both.pem", &both)] {
            put(folder, name, text)?;
        }
        Ok(())
    }
}

/// Ends when it is dropped.
pub struct Proxy {
    name: String,
    child: Child,
    ports: Ports,
    folder: TempDir,
    started_in: Duration,
}

/// What is started, and how.
pub struct Start<'a> {
    /// Which program.
    pub peer: &'a Peer,
    /// Keys and endpoints.
    pub site: Site,
    /// Who it shows itself as.
    pub identity: &'a Identity,
    /// Where it passes requests on to.
    pub upstream: SocketAddr,
    /// Its core.
    pub core: Option<usize>,
    /// What stands before its own command: an instrument.
    pub below: &'a [String],
}

impl Proxy {
    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// It does not, with what it said.
    pub fn start(start: &Start) -> Result<Self> {
        let folder = tempfile::tempdir().during("a folder")?;
        start.identity.write(folder.path())?;
        let ports = Ports::free()?;
        start.peer.configure(folder.path(), start.site, ports, start.upstream)?;
        let words = [start.below, &start.peer.command()].concat();
        let output = File::create(folder.path().join("output")).during("a file for what it says")?;
        let errors = output.try_clone().during("a file for what it says")?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(folder.path()).stdin(Stdio::null()).stdout(output).stderr(errors);
        let began = Instant::now();
        let mut spawn = || command.spawn();
        let child = match start.core {
            Some(core) => cores::on(core, spawn)?,
            None => spawn(),
        };
        let child = child.during(&words[0])?;
        let mut proxy = Self { name: start.peer.name.clone(), child, ports, folder, started_in: Duration::ZERO };
        proxy.wait(began)?;
        proxy.started_in = began.elapsed();
        Ok(proxy)
    }

    fn wait(&mut self, began: Instant) -> Result<()> {
        while [self.ports.clear(), self.ports.http2(), self.ports.tls()].iter().any(|a| TcpStream::connect(a).is_err())
        {
            let is_gone = self.child.try_wait().during("a process")?.is_some();
            if is_gone || began.elapsed() > START {
                return Err(format!("{} did not start: {}", self.name, self.output().trim()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Where it listens for requests of a scenario.
    pub fn address_for(&self, scenario: &Scenario) -> SocketAddr {
        match (scenario.protocol, scenario.layer) {
            (Protocol::Http2, _) => self.ports.http2(),
            (Protocol::Http1, Layer::Clear) => self.ports.clear(),
            (Protocol::Http1, Layer::Tls) => self.ports.tls(),
        }
    }

    /// How long it took until it listened.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The folder it runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it said on its terminal.
    pub fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// Its process and all processes below it.
    pub fn processes(&self) -> Vec<u32> {
        let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|process: u32| {
                let line = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
                // The name stands in brackets and may hold any; the parent is the second word after it.
                let parent = line.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
                Some((process, parent))
            })
            .collect();
        let mut found = vec![self.child.id()];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
            next += 1;
        }
        found
    }

    /// Threads that serve requests: keygate's have a name, and of the others all do.
    pub fn threads(&self) -> Vec<u32> {
        let tasks = self.processes().into_iter().flat_map(|process| fs::read_dir(format!("/proc/{process}/task")));
        let all: Vec<(u32, bool)> = tasks
            .flatten()
            .flatten()
            .filter_map(|task| {
                let name = fs::read_to_string(task.path().join("comm")).ok()?;
                Some((task.file_name().to_str()?.parse().ok()?, name.starts_with("worker-")))
            })
            .collect();
        let has_workers = all.iter().any(|(_, is_worker)| *is_worker);
        all.into_iter().filter(|(_, is_worker)| *is_worker || !has_workers).map(|(thread, _)| thread).collect()
    }

    /// Time that all its threads have spent on a core.
    ///
    /// # Errors
    /// The kernel does not count it.
    pub fn busy(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for process in self.processes() {
            for task in fs::read_dir(format!("/proc/{process}/task")).during("a process")?.flatten() {
                let line = fs::read_to_string(task.path().join("schedstat")).during("schedstat of a thread")?;
                let first = line.split_whitespace().next().unwrap_or_default();
                nanoseconds += first.parse::<u64>().during("schedstat of a thread")?;
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Waits until it has done what it does after a start, such as putting very many keys in order.
    ///
    /// # Errors
    /// The kernel does not count, or it stays busy.
    pub fn settle(&self) -> Result<()> {
        let began = Instant::now();
        let mut before = self.busy()?;
        let mut quiet = 0;
        while began.elapsed() < START {
            thread::sleep(Duration::from_millis(200));
            let now = self.busy()?;
            quiet = if now.saturating_sub(before) < Duration::from_millis(5) { quiet + 1 } else { 0 };
            if quiet == QUIET {
                return Ok(());
            }
            before = now;
        }
        Err(format!("{} stays busy after its start", self.name))
    }

    /// Memory that it has for itself, in bytes.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn memory(&self) -> Result<u64> {
        let mut kibibytes = 0;
        for process in self.processes() {
            let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).during("memory of a process")?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
            let number = line.trim().trim_end_matches("kB").trim();
            kibibytes += number.parse::<u64>().during("memory of a process")?;
        }
        Ok(kibibytes * 1024)
    }

    /// Ends it as an operator would, and waits for it.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn end(&mut self) -> Result<()> {
        if self.child.try_wait().during("a process")?.is_some() {
            return Ok(());
        }
        let asked = Pid::from_child(&self.child);
        kill_process(asked, Signal::TERM).during("a signal")?;
        let began = Instant::now();
        while began.elapsed() < END {
            if self.child.try_wait().during("a process")?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        for process in self.processes() {
            if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
                let _ = kill_process(process, Signal::KILL);
            }
        }
        let _ = self.child.wait();
        Err(format!("{} did not end within {} s", self.name, END.as_secs()))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
