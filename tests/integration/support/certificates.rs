//! Certificates for tests, and callers over TLS that say which one they were shown.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Caller;
use super::wait::DEADLINE;

/// A self-signed certificate with its key.
pub struct Certificate {
    /// PEM text of the certificate.
    pub certificate: String,
    /// PEM text of the private key.
    pub key: String,
    /// The certificate as bytes.
    pub der: CertificateDer<'static>,
}

impl Certificate {
    /// For these names.
    pub fn of(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("names of a certificate");
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), der: made.cert.der().clone() }
    }
}

impl Certificate {
    /// What a server shakes hands with that shows it and agrees to these protocols.
    pub fn acceptor(&self, protocols: &[&str]) -> tokio_rustls::TlsAcceptor {
        use rustls::pki_types::pem::PemObject as _;

        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks the usual versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .expect("a good pair");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A client's settings that trust these certificates and offer these protocols.
pub fn client_config(trusted: &[&Certificate], alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.der.clone()).expect("a certificate that can be trusted");
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider speaks the usual versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// What a handshake led to.
pub struct Handshake {
    /// The connection, ready to talk.
    pub caller: Caller,
    /// The certificate that was shown.
    pub shown: CertificateDer<'static>,
    /// The protocol that was agreed on.
    pub protocol: Option<String>,
    /// The server knew the client from before.
    pub is_resumed: bool,
}

/// Shakes hands for a name.
///
/// # Errors
/// Why the handshake failed.
pub fn connect(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> std::io::Result<Handshake> {
    let name = ServerName::try_from(name.to_string()).expect("a server name");
    let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    let shown = connection.peer_certificates().and_then(<[_]>::first).cloned().expect("a server shows one");
    let protocol = connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    let is_resumed = connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let caller = Caller::over(Box::new(StreamOwned::new(connection, stream)));
    Ok(Handshake { caller, shown: shown.into_owned(), protocol, is_resumed })
}

mod tests {
    use super::*;

    #[test]
    fn certificates_are_pem_text_and_differ() {
        let (one, two) = (Certificate::of(&["a.test"]), Certificate::of(&["a.test"]));
        assert!(one.certificate.starts_with("-----BEGIN CERTIFICATE-----"), "{}", one.certificate);
        assert!(one.key.contains("PRIVATE KEY"));
        assert_ne!(one.der, two.der);
    }
}
