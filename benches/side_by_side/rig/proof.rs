//! Whether a proxy does the job at all. One that does not is not measured.
//!
//! A request to the echo shows what comes through: with a good key the caller's identity and neither the key nor an identity
//! that the caller chose; without one, nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::site::{key, unknown_key};
use super::wire::Wire;
use super::{Proxy, Result, Site, http1, http2};

const PATIENCE: Duration = Duration::from_secs(20);

/// # Errors
/// What the proxy lets through, or does not.
pub fn does_the_job(proxy: &Proxy, tls: &Arc<ClientConfig>) -> Result<()> {
    let forged: [(&str, &[u8]); 3] =
        [("x-client-id", b"forged"), ("X-Client-Id", b"forged"), ("x-client-type", b"forged")];
    // Over HTTP/2 names are in small letters.
    let forged_in_small: Vec<(&str, &[u8])> = forged.iter().filter(|(name, _)| !name.contains('X')).copied().collect();
    let good = key(0);
    let with = |key: &'static str, value: &[u8], forged: &[(&'static str, &[u8])]| -> Vec<(String, Vec<u8>)> {
        let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
        std::iter::once(owned((key, value))).chain(forged.iter().copied().map(owned)).collect()
    };
    let ways = [
        ("HTTP/1.1", http1_echo(proxy, None, &with("x-api-key", &good, &forged))?),
        ("HTTP/1.1 over TLS", http1_echo(proxy, Some(tls), &with("x-api-key", &good, &forged))?),
        ("HTTP/2", http2_echo(proxy, &with("x-api-key", &good, &forged_in_small))?),
    ];
    for (way, answer) in &ways {
        judge(answer).map_err(|why| format!("{} over {way}: {why}", proxy.name()))?;
    }
    let unknown = unknown_key(0);
    let mut nearly = good;
    nearly[good.len() - 1] ^= 1;
    for (what, fields) in [
        ("without a key", Vec::new()),
        ("with an unknown key", with("x-api-key", &unknown, &[])),
        ("with nearly a key", with("x-api-key", &nearly, &[])),
        ("with nothing but a forged identity", with("x-client-id", b"client-0000", &[])),
    ] {
        let (status, _) = http1_echo(proxy, None, &fields)?;
        if status != 401 {
            return Err(format!("{} answers {status} {what}", proxy.name()));
        }
    }
    Ok(())
}

/// Whether what came through is what should.
fn judge((status, body): &(u16, Vec<u8>)) -> Result<()> {
    if *status != 200 {
        return Err(format!("a good key is answered {status}"));
    }
    if memchr::memmem::find(body, &key(0)).is_some() {
        return Err("the key is passed on".to_owned());
    }
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    for (name, expected) in [("x-client-id", Site::client(0)), ("x-client-type", Site::client_type(0).to_owned())] {
        let values: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(there, _)| *there == name)
            .map(|(_, value)| value.trim())
            .collect();
        if values != [expected.as_str()] {
            return Err(format!("`{name}` is passed on as {values:?} where `{expected}` was expected"));
        }
    }
    Ok(())
}

fn http1_echo(proxy: &Proxy, tls: Option<&Arc<ClientConfig>>, fields: &[(String, Vec<u8>)]) -> Result<(u16, Vec<u8>)> {
    let mut request = b"GET /echo HTTP/1.1\r\nhost: api.example.com\r\n".to_vec();
    for (name, value) in fields {
        request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    let address = if tls.is_some() { proxy.ports().tls() } else { proxy.ports().clear() };
    let mut wire = Wire::connect(address, tls)?;
    wire.send(&request)?;
    let mut answers = http1::Answers::keeping();
    let status = until(&mut wire, |bytes, _| answers.take(bytes))?;
    Ok((status, answers.body().to_vec()))
}

fn http2_echo(proxy: &Proxy, fields: &[(String, Vec<u8>)]) -> Result<(u16, Vec<u8>)> {
    let mut session = http2::Session::keeping();
    let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let mut request = Vec::new();
    session.ask("/echo", &fields, &mut request);
    let mut wire = Wire::connect(proxy.ports().http2(), None)?;
    wire.send(&request)?;
    let status = until(&mut wire, |bytes, out| {
        let mut whole = None;
        session.take(bytes, out, |status| whole = Some(status))?;
        Ok(whole)
    })?;
    Ok((status, session.body().to_vec()))
}

/// Reads until an answer is whole.
fn until(wire: &mut Wire, mut take: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Option<u16>>) -> Result<u16> {
    let started = Instant::now();
    let (mut buffer, mut out) = (vec![0; 16 * 1024], Vec::new());
    while started.elapsed() < PATIENCE {
        let bytes = wire.receive(&mut buffer)?;
        if bytes == 0 {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let status = take(&buffer[..bytes], &mut out)?;
        wire.send(&out)?;
        out.clear();
        if let Some(status) = status {
            return Ok(status);
        }
    }
    Err("no answer".to_owned())
}
