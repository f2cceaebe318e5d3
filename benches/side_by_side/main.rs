//! keygate beside nginx and HAProxy: what a request costs each of them, on this machine, now.
//!
//! ```sh
//! cargo bench --bench side_by_side                                  # everything, some minutes
//! cargo bench --bench side_by_side -- --scenarios a,c --rounds 3    # less of it
//! cargo bench --bench side_by_side -- --page docs/PERFORMANCE.md --svg docs/images/cost.svg    # as published
//! ```
//!
//! All proxies do the same job ([`rig::peers`]), prove it before they are measured ([`rig::proof`]), have one worker on one core,
//! and take turns: round by round, each in each round. An upstream and callers that keep it busy share another core.
//! What is compared is the time a proxy's threads spend on their core for each request. Absolute figures move from run to
//! run and say little; the ratios within a run say what there is to say. Instructions and system calls are counted besides,
//! where valgrind and strace are installed: they are the same on every machine.
//!
//! What was not measured in this run is not printed. A peer that is not installed ends the run, unless it is left out by
//! name: `--peers nginx`, or `--peers none` for keygate alone.

mod chart;
mod measure;
mod report;
mod rig;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use rig::{During, Peer, Result, Scenario, scenario};

/// Around the figures in a document.
const BEGIN: &str = "<!-- figures of the bench -->\n";
const END: &str = "<!-- end of figures -->";

/// What a request costs keygate, nginx and HAProxy.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which scenarios, by name. Default: all
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    scenarios: Vec<String>,
    /// How often each proxy has its turn in each scenario
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Requests of each measurement, in percent of the usual number
    #[arg(long, default_value_t = 100, value_name = "PERCENT")]
    requests: u64,
    /// What is measured
    #[arg(long, value_delimiter = ',', value_enum, default_values = ["cpu", "instructions", "syscalls"])]
    measure: Vec<Measure>,
    /// Whom keygate is compared with; `none` for nobody
    #[arg(long, value_delimiter = ',', default_values = ["nginx", "haproxy"])]
    peers: Vec<String>,
    /// Measure this build instead of the one made for the bench; with several, each under its name
    #[arg(long, value_name = "NAME=FILE")]
    keygate: Vec<String>,
    /// Write what was measured here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw what was measured here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Put the tables into this document, between the marks for them
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// One way to count what a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Time on a core.
    Cpu,
    /// User-land instructions, by callgrind.
    Instructions,
    /// System calls, by strace.
    Syscalls,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    allow_connections()?;
    let plan = measure::Plan {
        peers: peers(arguments)?,
        scenarios: scenarios(&arguments.scenarios)?,
        rounds: arguments.rounds.max(1),
        percent: arguments.requests.max(1),
        measures: arguments.measure.clone(),
    };
    let report = plan.run()?;
    let tables = table::render(&report);
    print!("{tables}");
    if let Some(file) = &arguments.page {
        let page = std::fs::read_to_string(file).during(&file.display().to_string())?;
        let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) = parts.ok_or_else(|| format!("{} has no place for figures", file.display()))?;
        write(file, &format!("{before}{BEGIN}{tables}\n{END}{after}"))?;
    }
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&report).during("the report")?;
        write(file, &(text + "\n"))?;
    }
    if let Some(file) = &arguments.svg {
        write(file, &chart::draw(&report)?)?;
    }
    Ok(())
}

/// keygate first: the others are what it is compared with.
fn peers(arguments: &Arguments) -> Result<Vec<Peer>> {
    let mut peers = match &arguments.keygate[..] {
        [] => vec![Peer::keygate("keygate", Path::new(env!("CARGO_BIN_EXE_keygate")))?],
        builds => builds
            .iter()
            .map(|build| {
                let (name, file) = build.split_once('=').unwrap_or(("keygate", build));
                // It is started in a folder of its own.
                let file = std::path::absolute(file).during(file)?;
                Peer::keygate(name, &file)
            })
            .collect::<Result<_>>()?,
    };
    for name in &arguments.peers {
        match name.as_str() {
            "nginx" => peers.push(Peer::nginx()?),
            "haproxy" => peers.push(Peer::haproxy()?),
            "none" => {}
            other => return Err(format!("nothing is known of `{other}`; known are nginx, haproxy and none")),
        }
    }
    let names: BTreeSet<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    if names.len() == peers.len() { Ok(peers) } else { Err("two proxies have the same name".to_owned()) }
}

fn scenarios(names: &[String]) -> Result<Vec<Scenario>> {
    let known = || scenario::ALL.map(|scenario| scenario.name).join(", ");
    match names {
        [] => Ok(scenario::ALL.to_vec()),
        names => names
            .iter()
            .map(|name| {
                scenario::named(name).ok_or_else(|| format!("there is no scenario `{name}`; there are {}", known()))
            })
            .collect(),
    }
}

/// As many descriptors as the system lets this process have, for a thousand connections on both sides.
fn allow_connections() -> Result<()> {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).during("the limit of descriptors")
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).during("a folder")?;
    }
    std::fs::write(file, text).during(&file.display().to_string())
}
