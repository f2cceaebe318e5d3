use std::io::Write as _;

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};

use super::*;

/// A certificate that signs itself, with its key, as PEM.
pub(in crate::server) fn self_signed(names: &[&str]) -> (String, String) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let pair = rcgen::generate_simple_self_signed(names).expect("a certificate");
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

pub(in crate::server) fn certificate(names: &[&str]) -> Certificate {
    let (chain, key) = self_signed(names);
    parse(&chain, &key).expect("a good pair")
}

fn parse(chain: &str, key: &str) -> Result<Certificate, CertificateError> {
    Certificate::parse(Path::new("chain.pem"), chain.as_bytes(), Path::new("key.pem"), key.as_bytes())
}

#[test]
fn a_pair_of_files_is_read_with_its_names_and_its_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    let (chain_pem, key_pem) = self_signed(&["A.example", "*.b.example"]);
    std::fs::write(&chain, chain_pem).expect("written");
    std::fs::write(&key, key_pem).expect("written");

    let certificate = Certificate::load(&chain, &key).expect("a good pair");

    assert_eq!(certificate.names, ["a.example", "*.b.example"]);
    assert!(!certificate.is_expired(SystemTime::now()));
    assert!(certificate.is_expired(certificate.not_after + std::time::Duration::from_secs(1)));

    std::fs::remove_file(&key).expect("removed");
    let error = Certificate::load(&chain, &key).expect_err("no key");
    assert_eq!(error.file, key);
}

#[test]
fn a_pair_that_cannot_serve_is_named_with_its_fault() {
    let (chain, key) = self_signed(&["a.example"]);
    let (_, other_key) = self_signed(&["a.example"]);
    let rows = [
        (
            chain.as_str(),
            other_key.as_str(),
            "key.pem: the private key does not belong to the certificate in chain.pem",
        ),
        (key.as_str(), key.as_str(), "chain.pem: contains no certificate"),
        (chain.as_str(), chain.as_str(), "key.pem: contains no private key (PKCS#8, SEC1 or PKCS#1)"),
        ("", key.as_str(), "chain.pem: contains no certificate"),
    ];
    for (chain, key, expected) in rows {
        assert_eq!(parse(chain, key).expect_err(expected).to_string(), expected);
    }
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = parse(broken, &key).expect_err("not a certificate").to_string();
    assert!(error.starts_with("chain.pem: the first certificate is not well formed"), "{error}");
}

#[test]
fn the_name_chooses_the_certificate_and_no_name_the_first() {
    let first = certificate(&["a.example"]);
    let wild = certificate(&["*.b.example", "a.example"]);
    let resolver = CertificateResolver::new(vec![first.clone(), wild.clone()]).expect("two");
    let rows = [
        (None, &first),
        (Some("a.example"), &first),
        (Some("A.Example."), &first),
        (Some("x.b.example"), &wild),
        (Some("b.example"), &first),
        (Some("y.x.b.example"), &first),
        (Some("other.example"), &first),
        (Some("example"), &first),
    ];
    for (name, expected) in rows {
        assert!(Arc::ptr_eq(&resolver.find(name), &expected.key), "{name:?}");
    }

    resolver.replace(vec![wild.clone()]).expect("one");
    assert!(Arc::ptr_eq(&resolver.find(Some("a.example")), &wild.key));
    assert_eq!(resolver.replace(Vec::new()), Err(NoCertificates));
    assert_eq!(resolver.certificates().len(), 1);
}

// -- resumption -----------------------------------------------------------------------------------------------------

/// A client that trusts these and remembers what servers give it, of this version alone.
fn client(trusted: &[&Certificate], version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.key.cert[0].clone()).expect("a root");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(32);
    config.enable_early_data = true;
    Arc::new(config)
}

/// Shakes hands in memory, and tells how that went on both sides.
fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &'static str) -> HandshakeKind {
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a connection");
    let name = name.try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a connection");
    assert!(client.early_data().is_none(), "early data is offered to clients");
    client.writer().write_all(b"hello").expect("room");
    // Some more turns than a handshake takes, for the tickets behind it.
    for _ in 0..6 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("written");
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).expect("read");
        }
        server.process_new_packets().expect("well-formed");
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("written");
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).expect("read");
        }
        client.process_new_packets().expect("well-formed");
    }
    let kind = server.handshake_kind().expect("a handshake");
    assert_eq!(client.handshake_kind(), Some(kind));
    kind
}

#[test]
fn who_comes_back_is_known_by_a_ticket_also_under_new_certificates() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (one, renewed) = (certificate(&["a.example", "b.example"]), certificate(&["a.example", "b.example"]));
        let resolver = CertificateResolver::new(vec![one.clone()]).expect("one");
        let server = server_config(Arc::clone(&resolver), &[]).expect("a configuration");
        let client = client(&[&one, &renewed], version);
        let mut seen = vec![shake(&server, &client, "a.example")];
        for _ in 0..3 {
            seen.push(shake(&server, &client, "a.example"));
        }
        resolver.replace(vec![renewed]).expect("one");
        seen.push(shake(&server, &client, "a.example"));
        // Another name is another matter, and so is another process.
        seen.push(shake(&server, &client, "b.example"));
        let restarted = server_config(resolver, &[]).expect("a configuration");
        seen.push(shake(&restarted, &client, "a.example"));
        // The first may have one more turn, for the group of the key exchange.
        let seen = seen.iter().map(|kind| *kind == HandshakeKind::Resumed).collect::<Vec<_>>();
        assert_eq!(seen, [false, true, true, true, true, false, false], "{version:?}");
    }
}
