//! `keygate healthcheck`: asks a running gateway whether it is ready; for containers without a shell.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::{UNREACHABLE, fail, print_line};

#[derive(Debug, clap::Args)]
pub(super) struct HealthcheckArguments {
    /// Where health is answered: the admin or the observe address
    #[arg(long, value_name = "HOST:PORT", env = "KEYGATE_HEALTH_ADDRESS", default_value = "127.0.0.1:9090")]
    address: String,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

pub(super) fn healthcheck(arguments: &HealthcheckArguments) -> u8 {
    match ask(&arguments.address, Duration::from_secs(arguments.timeout)) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => print_line("ready"),
        Ok(answer) => {
            let reason = answer.split("\r\n\r\n").nth(1).unwrap_or("no answer").trim().to_owned();
            fail(&format!("not ready: {reason}"))
        }
        Err(error) => {
            fail(&format!("no gateway answers at {}: {error}", arguments.address));
            UNREACHABLE
        }
    }
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
