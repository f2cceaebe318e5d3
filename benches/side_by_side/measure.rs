//! Who is measured in what, in which order.
//!
//! Scenarios that have keys and endpoints in common are measured with the same processes. In each scenario the proxies take
//! turns, so that whatever else the machine does falls on all of them alike.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

use rustls::ClientConfig;

use crate::Measure;
use crate::report::{Cost, Machine, Report, Row, Spread};
use crate::rig::instructions::{self, Counter};
use crate::rig::proxy::{Identity, Start};
use crate::rig::wire::{Layer, tls_of_callers};
use crate::rig::{Cores, Kind, Load, Peer, Proxy, Result, Scenario, Site, Upstream, cores, proof, syscalls};

/// Requests of a count of instructions or system calls.
const COUNTED: u64 = 2_400;
/// With more keys than these a peer may fail to start, and is left out.
const MANY: usize = 100_000;
/// Before a measurement, its share of requests that are not measured.
const WARMING: u64 = 6;

/// What is to be done.
pub struct Plan {
    /// The proxies, keygate first.
    pub peers: Vec<Peer>,
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
    /// How often each proxy has its turn.
    pub rounds: usize,
    /// Requests of a measurement, in percent of the scenario's.
    pub percent: u64,
    /// What is counted.
    pub measures: Vec<Measure>,
}

/// One proxy's figures in one scenario.
#[derive(Debug, Default)]
struct Rounds {
    microseconds: Vec<f64>,
    per_second: Vec<f64>,
    busy: Vec<f64>,
}

/// What all measurements of a run share.
struct Bench<'a> {
    plan: &'a Plan,
    cores: Cores,
    upstream: Upstream,
    identity: Identity,
    tls: Arc<ClientConfig>,
    report: Report,
}

impl Plan {
    /// Does all of it.
    ///
    /// # Errors
    /// The first thing that did not work. A peer that cannot start with very many keys is left out and named instead.
    pub fn run(&self) -> Result<Report> {
        let cores = Cores::of_this_machine()?;
        let machine = Machine::this();
        cores::stay_on(cores.load)?;
        let identity = Identity::new()?;
        let mut bench = Bench {
            plan: self,
            cores,
            upstream: Upstream::start(Some(cores.upstream))?,
            tls: tls_of_callers(&identity.der)?,
            identity,
            report: Report {
                machine,
                proxies: self.peers.iter().map(Into::into).collect(),
                rounds: self.rounds,
                rows: self.scenarios.iter().map(Row::of).collect(),
                left_out: Vec::new(),
            },
        };
        let mut sites: Vec<Site> = Vec::new();
        for scenario in &self.scenarios {
            if !sites.contains(&scenario.site) {
                sites.push(scenario.site);
            }
        }
        for site in sites {
            bench.measure_site(site)?;
        }
        if self.measures.contains(&Measure::Instructions) {
            bench.count_instructions()?;
        }
        progress("");
        Ok(bench.report)
    }

    fn measures(&self, measure: Measure) -> bool {
        self.measures.contains(&measure)
    }
}

impl Bench<'_> {
    /// All scenarios with these keys and endpoints.
    fn measure_site(&mut self, site: Site) -> Result<()> {
        if !self.plan.measures(Measure::Cpu) && !self.plan.measures(Measure::Syscalls) {
            return Ok(());
        }
        let mut proxies = Vec::new();
        for peer in &self.plan.peers {
            if site.endpoints > 0 && peer.kind != Kind::Keygate {
                continue;
            }
            progress(&format!("{} starts with {} keys", peer.name, site.keys));
            match self.start(peer, site) {
                Ok(proxy) => proxies.push(proxy),
                Err(error) if peer.kind != Kind::Keygate && site.keys > MANY => {
                    self.report.left_out.push(format!("{} with {} keys: {error}", peer.name, site.keys));
                }
                Err(error) => return Err(error),
            }
        }
        let here: Vec<Scenario> =
            self.plan.scenarios.iter().filter(|scenario| scenario.site == site).copied().collect();
        for scenario in here {
            if self.plan.measures(Measure::Cpu) {
                self.measure_time(&scenario, &proxies)?;
            }
            if self.plan.measures(Measure::Syscalls) {
                self.count_syscalls(&scenario, &proxies)?;
            }
        }
        Ok(())
    }

    fn start(&self, peer: &Peer, site: Site) -> Result<Proxy> {
        let proxy = Proxy::start(&Start {
            peer,
            site,
            identity: &self.identity,
            upstream: self.upstream.address(),
            core: Some(self.cores.proxy),
            below: &[],
        })?;
        proof::does_the_job(&proxy, &self.tls)?;
        proxy.settle()?;
        Ok(proxy)
    }

    fn open(&self, scenario: &Scenario, proxy: &Proxy) -> Result<Load> {
        let tls = (scenario.layer == Layer::Tls).then_some(&self.tls);
        Load::open(*scenario, proxy.address_for(scenario), tls).map_err(|error| name(proxy, scenario, &error))
    }

    fn measure_time(&mut self, scenario: &Scenario, proxies: &[Proxy]) -> Result<()> {
        let requests = (scenario.requests * self.plan.percent / 100).max(100);
        let mut all: BTreeMap<&str, Rounds> = BTreeMap::new();
        for round in 1..=self.plan.rounds {
            for proxy in proxies {
                progress(&format!("{} ({}), round {round}: {}", scenario.name, scenario.title, proxy.name()));
                let mut load = self.open(scenario, proxy)?;
                let mut ask = |requests| load.run(requests).map_err(|error| name(proxy, scenario, &error));
                ask(requests / WARMING)?;
                let before = proxy.busy()?;
                let outcome = ask(requests)?;
                let busy = proxy.busy()?.saturating_sub(before);
                let rounds = all.entry(proxy.name()).or_default();
                rounds.microseconds.push(busy.as_secs_f64() * 1e6 / outcome.answers as f64);
                rounds.per_second.push(outcome.answers as f64 / outcome.took.as_secs_f64());
                rounds.busy.push(busy.as_secs_f64() / outcome.took.as_secs_f64());
            }
        }
        for proxy in proxies {
            let rounds = all.remove(proxy.name()).unwrap_or_default();
            let median = |figures: &[f64]| Spread::of(figures).map(|spread| spread.median);
            let memory = proxy.memory()? as f64 / (1024.0 * 1024.0);
            let started_in = proxy.started_in().as_secs_f64();
            let cost = self.cost(scenario, proxy.name());
            cost.cpu = Spread::of(&rounds.microseconds);
            cost.per_second = median(&rounds.per_second);
            cost.busy = median(&rounds.busy);
            cost.start_seconds = Some(started_in);
            cost.memory = Some(memory);
        }
        Ok(())
    }

    fn count_syscalls(&mut self, scenario: &Scenario, proxies: &[Proxy]) -> Result<()> {
        if let Err(missing) = syscalls::available() {
            return self.leave_out(format!("system calls: {missing}"));
        }
        if !is_plain(scenario) {
            return Ok(());
        }
        for proxy in proxies {
            progress(&format!("{} ({}), system calls: {}", scenario.name, scenario.title, proxy.name()));
            let mut load = self.open(scenario, proxy)?;
            load.run(COUNTED / WARMING).map_err(|error| name(proxy, scenario, &error))?;
            let calls = syscalls::per_request(proxy, &mut load, COUNTED)?;
            self.cost(scenario, proxy.name()).calls = Some(calls);
        }
        Ok(())
    }

    fn count_instructions(&mut self) -> Result<()> {
        if let Err(missing) = instructions::available() {
            return self.leave_out(format!("instructions: {missing}"));
        }
        let scenarios: Vec<Scenario> =
            self.plan.scenarios.iter().filter(|scenario| is_plain(scenario)).copied().collect();
        for peer in self.plan.peers.iter().filter(|_| !scenarios.is_empty()) {
            progress(&format!("{} starts, to have its instructions counted", peer.name));
            let counter = Counter::start(peer, PLAIN)?;
            for scenario in &scenarios {
                progress(&format!("{} ({}), instructions: {}", scenario.name, scenario.title, peer.name));
                let counted = counter
                    .per_request(*scenario, COUNTED)
                    .map_err(|error| format!("{} in `{}`: {error}", peer.name, scenario.name))?;
                self.cost(scenario, &peer.name).instructions = Some(counted);
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, what: String) -> Result<()> {
        if !self.report.left_out.contains(&what) {
            self.report.left_out.push(what);
        }
        Ok(())
    }

    fn cost(&mut self, scenario: &Scenario, proxy: &str) -> &mut Cost {
        let row = self.report.rows.iter_mut().find(|row| row.scenario == scenario.name);
        row.expect("each scenario has a row").costs.entry(proxy.to_owned()).or_default()
    }
}

/// The site of the plain scenarios.
const PLAIN: Site = Site { keys: 1_000, endpoints: 0 };

/// Whether calls and instructions of a scenario say something that those of the others do not: more keys, endpoints and
/// connections cost memory, and a handshake is counted in time.
fn is_plain(scenario: &Scenario) -> bool {
    scenario.site == PLAIN && !scenario.is_fresh && scenario.connections <= 64
}

fn name(proxy: &Proxy, scenario: &Scenario, error: &str) -> String {
    format!("{} in `{}`: {error}", proxy.name(), scenario.name)
}

/// Says on a terminal what is being done; on anything else nothing.
fn progress(what: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        let _ = write!(terminal, "\r\x1b[2K{what}");
        let _ = terminal.flush();
    }
}
