//! TLS for listeners: certificates from files, chosen by the name the client asks for, exchangeable while serving.
//!
//! `config` loads each pair of files with [`Certificate::load`]; `app` makes a [`CertificateResolver`] of them and a
//! rustls configuration with [`server_config`]; `reload` calls [`CertificateResolver::replace`] when files change.
//!
//! TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1, session tickets whose keys rotate, never early data: what comes in 0-RTT can
//! be sent again by anyone who saw it. A pair of files whose key does not fit is refused when it is loaded, with the
//! file's name, not at the first handshake. Client certificates are not asked for.
//!
//! A client that comes back shows its ticket and is spared the certificate and the signature, on whatever worker it arrives.
//! It can do so for as long as two changes of the ticket keys, twelve hours, also after certificates were replaced: what a
//! ticket proves is an earlier handshake, and only for the name of that one. Tickets do not outlive the process.
//!
//! A client that names no host, or one that no certificate has, gets the first certificate. It is not refused here: the
//! gateway judges the `Host` of each request, the name in the handshake only chooses the certificate.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use zeroize::Zeroizing;

/// A chain of certificates with its key, checked.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Where the chain was read from.
    pub file: PathBuf,
    /// The host names it is for, in lower case, `*.example.com` among them.
    pub names: Vec<String>,
    /// After this moment clients refuse it.
    pub not_after: SystemTime,
    key: Arc<CertifiedKey>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", file.display())]
pub struct CertificateError {
    /// The file at fault.
    pub file: PathBuf,
    fault: CertificateFault,
}

#[derive(Debug, thiserror::Error)]
enum CertificateFault {
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("is not PEM: {0}")]
    NotPem(rustls::pki_types::pem::Error),
    #[error("contains no certificate")]
    NoCertificate,
    #[error("contains no private key (PKCS#8, SEC1 or PKCS#1)")]
    NoKey,
    #[error("the first certificate is not well formed: {0}")]
    Malformed(x509_cert::der::Error),
    #[error("this kind of private key is not supported: {0}")]
    UnsupportedKey(rustls::Error),
    #[error("the private key does not belong to the certificate in {}", .0.display())]
    KeyMismatch(PathBuf),
}

impl Certificate {
    /// Reads a chain, its own certificate first, and the private key.
    ///
    /// An expired certificate is loaded all the same, see [`Certificate::is_expired`]: a gateway that does not start is
    /// worse than one that some clients refuse, and the operator is warned.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let read = |file: &Path| std::fs::read(file).map_err(CertificateFault::Unreadable);
        let at = |file: &Path| {
            let file = file.to_owned();
            move |fault| CertificateError { file, fault }
        };
        let chain_pem = read(chain).map_err(at(chain))?;
        let key_pem = Zeroizing::new(read(key).map_err(at(key))?);
        Self::parse(chain, &chain_pem, key, &key_pem)
    }

    /// The same from bytes that have been read already; the paths are for the reports.
    ///
    /// # Errors
    /// As [`Certificate::load`].
    pub fn parse(chain: &Path, chain_pem: &[u8], key: &Path, key_pem: &[u8]) -> Result<Self, CertificateError> {
        let in_chain = |fault| CertificateError { file: chain.to_owned(), fault };
        let in_key = |fault| CertificateError { file: key.to_owned(), fault };
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<_, _>>()
            .map_err(|error| in_chain(CertificateFault::NotPem(error)))?;
        let Some(own) = certificates.first() else { return Err(in_chain(CertificateFault::NoCertificate)) };
        let parsed = x509_cert::Certificate::from_der(own)
            .map_err(|error| in_chain(CertificateFault::Malformed(error)))?
            .tbs_certificate;
        let names = names(&parsed).map_err(|error| in_chain(CertificateFault::Malformed(error)))?;
        let not_after = parsed.validity.not_after.to_system_time();
        let private_key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| {
            in_key(match error {
                rustls::pki_types::pem::Error::NoItemsFound => CertificateFault::NoKey,
                error => CertificateFault::NotPem(error),
            })
        })?;
        let provider = aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(certificates, private_key, &provider).map_err(|error| {
            in_key(match error {
                rustls::Error::InconsistentKeys(_) => CertificateFault::KeyMismatch(chain.to_owned()),
                error => CertificateFault::UnsupportedKey(error),
            })
        })?;
        Ok(Self { file: chain.to_owned(), names, not_after, key: Arc::new(certified) })
    }

    /// Whether clients refuse it at this time.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.not_after < now
    }
}

/// The host names in the certificate; its common name is not looked at, as clients do not either.
fn names(certificate: &x509_cert::TbsCertificate) -> Result<Vec<String>, x509_cert::der::Error> {
    let Some((_, alternative)) = certificate.get::<SubjectAltName>()? else { return Ok(Vec::new()) };
    let names = alternative.0.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    });
    Ok(names.collect())
}

/// There was no certificate to serve with; what was in force stays so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a TLS listener needs at least one certificate")]
pub struct NoCertificates;

/// The certificates in force, by the name the client asks for.
#[derive(Debug)]
pub struct CertificateResolver(ArcSwap<Table>);

#[derive(Debug)]
struct Table {
    certificates: Vec<Certificate>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl CertificateResolver {
    /// Serves with these. Where two have the same name the earlier one is taken.
    ///
    /// # Errors
    /// When the list is empty.
    pub fn new(certificates: Vec<Certificate>) -> Result<Arc<Self>, NoCertificates> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(Table::new(certificates)?))))
    }

    /// Serves with these from the next handshake on; connections that are open keep theirs.
    ///
    /// # Errors
    /// When the list is empty; then nothing changes.
    pub fn replace(&self, certificates: Vec<Certificate>) -> Result<(), NoCertificates> {
        self.0.store(Arc::new(Table::new(certificates)?));
        Ok(())
    }

    /// The certificates in force, for reports and for the metric of their last days.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.0.load().certificates.clone()
    }

    fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let table = self.0.load();
        let found = name.and_then(|name| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            table.exact.get(&name).or_else(|| {
                // A wildcard stands for exactly one label.
                let (_, parent) = name.split_once('.')?;
                table.wildcard.get(parent)
            })
        });
        Arc::clone(found.unwrap_or(&table.first))
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.find(hello.server_name()))
    }
}

impl Table {
    fn new(certificates: Vec<Certificate>) -> Result<Self, NoCertificates> {
        let first = Arc::clone(&certificates.first().ok_or(NoCertificates)?.key);
        let mut exact = HashMap::new();
        let mut wildcard = HashMap::new();
        for certificate in &certificates {
            for name in &certificate.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_insert_with(|| Arc::clone(&certificate.key));
            }
        }
        Ok(Self { certificates, exact, wildcard, first })
    }
}

/// The protocols of a listener that callers connect to.
pub const DATA_PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// The rustls configuration of a listener that serves with these certificates and speaks these protocols (ALPN, RFC 7301).
///
/// # Errors
/// Only if the cryptographic provider cannot make ticket keys or lacks the versions.
pub fn server_config(
    resolver: Arc<CertificateResolver>,
    protocols: &[&str],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    // The provider is named here: with two compiled in and none chosen, rustls panics at the first handshake.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // Tickets hold all there is to remember, so that any worker can take up what another began, and none waits for a lock.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // Each connection brings another one: a second is for clients that open several at once and remember none before.
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
pub(super) mod tests;
