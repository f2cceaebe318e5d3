//! What a new TLS connection costs the server: with a client that has been here before and one that has not, with and
//! without a key exchange that quantum computers do not break. In memory, without a socket, both sides counted.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use keygate::server::tls::{Certificate, CertificateResolver, DATA_PROTOCOLS, server_config};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection};

const NAME: &str = "bench.example";

fn server() -> (Arc<ServerConfig>, RootCertStore) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let path = Path::new("bench.pem");
    let certificate = Certificate::parse(path, chain.as_bytes(), path, key.as_bytes()).expect("a good pair");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let resolver = CertificateResolver::new(vec![certificate]).expect("one");
    (server_config(resolver, &DATA_PROTOCOLS).expect("a configuration"), roots)
}

fn client(roots: RootCertStore, group: &'static dyn SupportedKxGroup, remembers: bool) -> Arc<ClientConfig> {
    let provider = CryptoProvider { kx_groups: vec![group], ..aws_lc_rs::default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = if remembers { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
    Arc::new(config)
}

/// One handshake with the tickets behind it; the time that the server took of it.
fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, wire: &mut Vec<u8>) -> (Duration, HandshakeKind) {
    let mut spent = Duration::ZERO;
    let begun = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a connection");
    spent += begun.elapsed();
    let name = NAME.try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a connection");
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        wire.clear();
        while client.wants_write() {
            client.write_tls(wire).expect("written");
        }
        let begun = Instant::now();
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).expect("read");
        }
        server.process_new_packets().expect("well-formed");
        wire.clear();
        while server.wants_write() {
            server.write_tls(wire).expect("written");
        }
        spent += begun.elapsed();
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).expect("read");
        }
        client.process_new_packets().expect("well-formed");
    }
    (spent, server.handshake_kind().expect("a handshake"))
}

fn handshake(c: &mut Criterion) {
    let (server, roots) = server();
    let mut group = c.benchmark_group("server side of a handshake");
    for (case, exchange, remembers) in [
        ("full, X25519MLKEM768", aws_lc_rs::kx_group::X25519MLKEM768, false),
        ("full, X25519", aws_lc_rs::kx_group::X25519, false),
        ("resumed, X25519MLKEM768", aws_lc_rs::kx_group::X25519MLKEM768, true),
        ("resumed, X25519", aws_lc_rs::kx_group::X25519, true),
    ] {
        let client = client(roots.clone(), exchange, remembers);
        let mut wire = Vec::new();
        shake(&server, &client, &mut wire);
        let (_, kind) = shake(&server, &client, &mut wire);
        assert_eq!(kind == HandshakeKind::Resumed, remembers, "{case}: {kind:?}");
        group.bench_function(case, |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| black_box(shake(&server, &client, &mut wire)).0).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, handshake);
criterion_main!(benches);
