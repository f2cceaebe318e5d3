//! `keygate healthcheck`: asks a running gateway whether it is ready; for containers without a shell.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::{UNREACHABLE, fail, print_line};
use crate::config;

#[derive(Debug, clap::Args)]
pub(super) struct HealthcheckArguments {
    /// Where health is answered; else the observe or the admin address of the configuration, else 127.0.0.1:9090
    #[arg(long, value_name = "HOST:PORT", env = "KEYGATE_HEALTH_ADDRESS")]
    address: Option<String>,
    /// The configuration to take the address from
    #[arg(short, long, value_name = "FILE", env = "KEYGATE_CONFIG", default_value = "gateway.yaml")]
    config: std::path::PathBuf,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

pub(super) fn healthcheck(arguments: &HealthcheckArguments) -> u8 {
    let address = arguments.address.clone().or_else(|| configured(&arguments.config));
    let address = address.unwrap_or_else(|| "127.0.0.1:9090".to_owned());
    match ask(&address, Duration::from_secs(arguments.timeout)) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => print_line("ready"),
        Ok(answer) => {
            let reason = answer.split("\r\n\r\n").nth(1).unwrap_or("no answer").trim().to_owned();
            fail(&format!("not ready: {reason}"))
        }
        Err(error) => {
            fail(&format!("no gateway answers at {address}: {error}"));
            UNREACHABLE
        }
    }
}

/// The address in a configuration, if there is one that can be read. Only what can be reached from here: an unspecified
/// address is asked on the loopback.
fn configured(path: &Path) -> Option<String> {
    let settings = config::settings_of(&super::source_of(path)).ok()?;
    let mut address = settings.observe.or(settings.admin.filter(|admin| !admin.is_tls).map(|admin| admin.address))?;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    Some(address.to_string())
}

fn ask(address: &str, patience: Duration) -> std::io::Result<String> {
    let found: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    let first = found.first().ok_or_else(|| std::io::Error::other("the name has no address"))?;
    let mut stream = TcpStream::connect_timeout(first, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
