//! User-land instructions for each request, counted by callgrind: the same on every machine.
//!
//! The proxy runs on callgrind's processor, which writes its count when it is told to, and begins again. So a start and the
//! opening of connections are not in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::peers::find;
use super::proxy::{Identity, Start};
use super::wire::{Layer, tls_of_callers};
use super::{During, Load, Peer, Proxy, Result, Scenario, Site, Upstream};

/// Requests before anything is counted.
const WARMING: u64 = 500;
/// How often it is counted, each time for a small part of the requests, so that what happens once a second misses some.
const WINDOWS: u64 = 12;
/// Connections at once: a slow processor needs no more to be busy.
const CONNECTIONS: usize = 16;

/// Whether it can be counted here.
///
/// # Errors
/// What to install.
pub fn available() -> Result<()> {
    match find("callgrind_control").and(find("valgrind")) {
        Some(_) => Ok(()),
        None => Err("there is no valgrind here; on Debian and Ubuntu: apt-get install valgrind".to_owned()),
    }
}

/// A proxy on callgrind's processor.
pub struct Counter {
    proxy: Proxy,
    identity: Identity,
    /// Ends after the proxy.
    _upstream: Upstream,
}

impl Counter {
    /// Starts it, which takes some seconds.
    ///
    /// # Errors
    /// valgrind is missing, or the proxy does not start.
    pub fn start(peer: &Peer, site: Site) -> Result<Self> {
        available()?;
        let upstream = Upstream::start(None)?;
        let identity = Identity::new()?;
        let below = ["valgrind", "--tool=callgrind", "--callgrind-out-file=counted.%p", "--trace-children=yes", "-q"];
        let proxy = Proxy::start(&Start {
            peer,
            site,
            identity: &identity,
            upstream: upstream.address(),
            core: None,
            below: &below.map(str::to_owned),
        })?;
        proxy.settle()?;
        Ok(Self { proxy, identity, _upstream: upstream })
    }

    /// Instructions for each request of so many: the lowest of several counts, over connections that are open. What is done
    /// once a second, however many requests there were, is in some counts and not in the lowest.
    ///
    /// # Errors
    /// The proxy answers other than it should, or is not counted.
    pub fn per_request(&self, scenario: Scenario, requests: u64) -> Result<f64> {
        let scenario = Scenario { connections: scenario.connections.min(CONNECTIONS), ..scenario };
        let tls = (scenario.layer == Layer::Tls).then(|| tls_of_callers(&self.identity.der)).transpose()?;
        let mut load = Load::open(scenario, self.proxy.address_for(&scenario), tls.as_ref())?;
        load.run(WARMING)?;
        dump(&self.proxy)?;
        let mut lowest = u64::MAX;
        for _ in 0..WINDOWS {
            load.run(requests / WINDOWS)?;
            lowest = lowest.min(dump(&self.proxy)?);
        }
        Ok(lowest as f64 / (requests / WINDOWS) as f64)
    }
}

/// What all processes have counted since the last time.
fn dump(proxy: &Proxy) -> Result<u64> {
    for process in proxy.processes() {
        let mut command = Command::new("callgrind_control");
        let output = command.arg("--dump").arg(process.to_string()).output().during("callgrind_control")?;
        if !output.status.success() {
            return Err(format!("callgrind_control: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    take(proxy.folder())
}

/// Adds up the files that were written, and takes them away.
fn take(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    let mut files = 0;
    for file in fs::read_dir(folder).during("the folder of a proxy")?.flatten() {
        // `counted.PROCESS.NUMBER` is a dump; `counted.PROCESS` is written at the end.
        if file.file_name().to_string_lossy().matches('.').count() != 2
            || !file.file_name().to_string_lossy().starts_with("counted.")
        {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(file.path()).during("what callgrind wrote")?).into_owned();
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
        sum += total.unwrap_or_default().trim().parse::<u64>().during("what callgrind counted")?;
        files += 1;
        fs::remove_file(file.path()).during("what callgrind wrote")?;
    }
    if files == 0 { Err("callgrind wrote nothing".to_owned()) } else { Ok(sum) }
}
