//! What was measured, and where. The JSON file is this as it stands.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use crate::rig::syscalls::Calls;
use crate::rig::{Peer, Scenario};

/// One run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// On what.
    pub machine: Machine,
    /// The proxies, keygate first.
    pub proxies: Vec<Participant>,
    /// How often each had its turn.
    pub rounds: usize,
    /// What was found, a row for each scenario.
    pub rows: Vec<Row>,
    /// What was not measured, and why.
    pub left_out: Vec<String>,
}

/// A proxy that took part.
#[derive(Debug, Serialize)]
pub struct Participant {
    /// What it is called here.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl From<&Peer> for Participant {
    fn from(peer: &Peer) -> Self {
        Self { name: peer.name.clone(), version: peer.version.clone() }
    }
}

/// What it ran on.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Cores that could be used.
    pub cores: usize,
    /// The system's name.
    pub system: String,
    /// The kernel's version.
    pub kernel: String,
    /// The day.
    pub date: String,
}

impl Machine {
    /// This one, today.
    pub fn this() -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let word = |text: &str, start: &str, separator: char| {
            let line = text.lines().find(|line| line.starts_with(start))?;
            Some(line.split_once(separator)?.1.trim().trim_matches('"').to_owned())
        };
        let unknown = || "unknown".to_owned();
        Self {
            processor: word(&read("/proc/cpuinfo"), "model name", ':').unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            system: word(&read("/etc/os-release"), "PRETTY_NAME", '=').unwrap_or_else(unknown),
            kernel: read("/proc/sys/kernel/osrelease").split('-').next().unwrap_or_default().trim().to_owned(),
            date: jiff::Zoned::now().strftime("%Y-%m-%d").to_string(),
        }
    }
}

/// One scenario.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub scenario: &'static str,
    /// What it is.
    pub title: &'static str,
    /// Keys in force.
    pub keys: usize,
    /// What it cost each proxy that was measured in it.
    pub costs: BTreeMap<String, Cost>,
}

impl Row {
    /// Nothing measured yet.
    pub fn of(scenario: &Scenario) -> Self {
        Self { scenario: scenario.name, title: scenario.title, keys: scenario.site.keys, costs: BTreeMap::new() }
    }

    /// CPU microseconds for each request of a proxy, if they were measured.
    pub fn cpu(&self, proxy: &str) -> Option<f64> {
        Some(self.costs.get(proxy)?.cpu.as_ref()?.median)
    }
}

/// What a request costs.
#[derive(Debug, Default, Serialize)]
pub struct Cost {
    /// Microseconds on a core.
    pub cpu: Option<Spread>,
    /// Answers in a second, median of the rounds.
    pub per_second: Option<f64>,
    /// Share of the time that the proxy's core was busy. Well below one, the callers were too slow to fill it.
    pub busy: Option<f64>,
    /// User-land instructions.
    pub instructions: Option<f64>,
    /// System calls by name.
    pub calls: Option<Calls>,
    /// Until it listened, in seconds.
    pub start_seconds: Option<f64>,
    /// Memory after the last round, in MiB.
    pub memory: Option<f64>,
}

/// Figures of several rounds.
#[derive(Debug, Serialize)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (lowest, highest) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, lowest, highest })
    }
}
