//! A connection to the proxy that never waits: clear text, or TLS 1.3.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{During, Result};

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// TCP.
    Clear,
    /// TLS 1.3 on it, X25519, nothing resumed.
    Tls,
}

/// What callers know for TLS: whom to trust, and nothing of connections before.
///
/// # Errors
/// The certificate cannot be trusted.
pub fn tls_of_callers(certificate: &CertificateDer<'static>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).during("the certificate")?;
    // The same for all proxies, the oldest of which know no other.
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .during("TLS 1.3")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// One connection.
pub struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Wire {
    /// Connects; a TLS handshake goes on while reading.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let socket = TcpStream::connect(address).during("a connection")?;
        socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(true)).during("a socket")?;
        let session = |config: &Arc<ClientConfig>| {
            let name = ServerName::try_from("localhost").expect("it is a name");
            ClientConnection::new(Arc::clone(config), name).map(Box::new).during("TLS")
        };
        Ok(Self { socket, tls: tls.map(session).transpose()? })
    }

    /// Sends all of it. With TLS that is not up yet, once it is.
    ///
    /// # Errors
    /// The connection is gone, or takes no more: it is given one small request at a time, so that means the same.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.tls {
            None => self.socket.write_all(bytes).during("sending"),
            Some(tls) => {
                tls.writer().write_all(bytes).during("sending")?;
                flush(tls, &mut self.socket)
            }
        }
    }

    /// What came, or nothing if nothing did.
    ///
    /// # Errors
    /// The connection was ended, or what came is not TLS.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = match &mut self.tls {
            None => self.socket.read(buffer),
            Some(tls) => {
                match tls.read_tls(&mut self.socket) {
                    Ok(0) => return Err("the connection was ended".to_owned()),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(format!("receiving: {error}")),
                }
                tls.process_new_packets().during("TLS")?;
                flush(tls, &mut self.socket)?;
                tls.reader().read(buffer)
            }
        };
        match read {
            Ok(0) => Err("the connection was ended".to_owned()),
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(format!("receiving: {error}")),
        }
    }
}

fn flush(tls: &mut ClientConnection, socket: &mut TcpStream) -> Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket).during("sending")?;
    }
    Ok(())
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
