//! System calls for each request, counted by strace.
//!
//! It slows the proxy down so much that callers always wait for it: the figures are those of full load.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::peers::find;
use super::{During, Load, Proxy, Result};

/// Time for strace to attach.
const ATTACH: Duration = Duration::from_secs(10);

/// Whether it can be counted here.
///
/// # Errors
/// What to install.
pub fn available() -> Result<()> {
    match find("strace") {
        Some(_) => Ok(()),
        None => Err("there is no strace here; on Debian and Ubuntu: apt-get install strace".to_owned()),
    }
}

/// Calls for each request, by name.
pub type Calls = BTreeMap<String, f64>;

/// Calls that a proxy makes for each of so many requests, over connections that are open already. Of keygate's threads only
/// the workers are watched: the others do something now and then, and not for a request.
///
/// # Errors
/// strace does not run, or the proxy answered other than it should.
pub fn per_request(proxy: &Proxy, load: &mut Load, requests: u64) -> Result<Calls> {
    available()?;
    let threads = proxy.threads();
    let counted = proxy.folder().join("calls");
    let mut command = Command::new("strace");
    command.args(["-c", "-U", "calls,name", "-o"]).arg(&counted);
    for thread in &threads {
        command.arg("-p").arg(thread.to_string());
    }
    let mut strace = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().during("strace")?;
    let outcome = attached(&threads).and_then(|()| load.run(requests));
    kill_process(Pid::from_child(&strace), Signal::INT).during("a signal")?;
    strace.wait().during("strace")?;
    outcome?;
    let text = fs::read_to_string(&counted).during("what strace counted")?;
    let calls: Calls = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (calls, name) = (words.next()?.parse::<u64>().ok()?, words.next()?);
            (name != "total").then(|| (name.to_owned(), calls as f64 / requests as f64))
        })
        .collect();
    if calls.is_empty() { Err(format!("strace counted nothing: {text}")) } else { Ok(calls) }
}

/// Waits until every thread is traced.
fn attached(threads: &[u32]) -> Result<()> {
    let began = Instant::now();
    let is_traced = |thread: &u32| {
        fs::read_to_string(format!("/proc/{thread}/status")).is_ok_and(|text| !text.contains("TracerPid:\t0\n"))
    };
    while began.elapsed() < ATTACH {
        if threads.iter().all(is_traced) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err("strace could not attach; may this user trace processes?".to_owned())
}

/// The calls of one purpose: a sum over their names.
pub fn sum(calls: &Calls, names: &[&str]) -> f64 {
    names.iter().filter_map(|name| calls.get(*name)).sum()
}

/// Names under which bytes are received.
pub const RECEIVING: [&str; 5] = ["recvfrom", "recvmsg", "read", "readv", "recv"];
/// Names under which bytes are sent.
pub const SENDING: [&str; 5] = ["sendto", "sendmsg", "write", "writev", "send"];
/// Names under which it is waited.
pub const WAITING: [&str; 3] = ["epoll_wait", "epoll_pwait", "epoll_pwait2"];
