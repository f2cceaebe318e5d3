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
