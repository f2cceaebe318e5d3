//! Which core does what: the proxy has one for itself, load and upstream have another.
//!
//! A process inherits the cores of the thread that starts it, so [`on`] puts a thread on a core for as long as something is
//! started from it. With three cores or more the upstream has its own; with one core there is nothing to compare.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{During, Result};

/// Who runs where.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    /// The proxy and nothing else.
    pub proxy: usize,
    /// The load generator.
    pub load: usize,
    /// The upstream.
    pub upstream: usize,
}

impl Cores {
    /// Deals out the cores that this process may use.
    ///
    /// # Errors
    /// There is one core only.
    pub fn of_this_machine() -> Result<Self> {
        let allowed = sched_getaffinity(None).during("the cores of this process")?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        match cores[..] {
            [load, proxy] => Ok(Self { proxy, load, upstream: load }),
            [load, upstream, .., proxy] => Ok(Self { proxy, load, upstream }),
            _ => Err("two cores are needed: one for the proxy, one for load and upstream".to_owned()),
        }
    }
}

/// Keeps the current thread on a core from now on.
///
/// # Errors
/// The system does not allow it.
pub fn stay_on(core: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).during("the core of a thread")
}

/// Does something on a core, and goes back to where the thread was.
///
/// # Errors
/// The system does not allow it.
pub fn on<T>(core: usize, act: impl FnOnce() -> T) -> Result<T> {
    let before = sched_getaffinity(None).during("the cores of a thread")?;
    stay_on(core)?;
    let made = act();
    sched_setaffinity(None, &before).during("the cores of a thread")?;
    Ok(made)
}
