//! Keys in headers.

use http::{HeaderMap, HeaderName, HeaderValue};
use keygate::credential::{
    CredentialSource, Extractor, MAX_SECRET_BYTES, MalformedCredential, OtherAuthorization, Prefixes, find_cookie,
    without_cookie,
};

const PREFIXES: [&str; 2] = ["kg_live_", "pk_"];
const HEADERS: [&str; 3] = ["client-key", "secret", "x-api-key"];

/// Headers, one a line. What is found is what the rules say, told a second time below; a key that is found is one that
/// could have been issued; and stripping leaves no cookie of ours.
pub fn credential(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n').take(64) {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    let prefixes = PREFIXES.map(str::to_owned).to_vec();
    let extractor = Extractor::new(Extractor::default_sources(), Prefixes::new(prefixes));
    let found = extractor.extract(&headers);
    let label = |source: usize| match &extractor.sources()[source] {
        CredentialSource::Cookie { .. } => "cookie",
        CredentialSource::Bearer => "bearer",
        CredentialSource::Header { .. } => "header",
    };
    let as_told = found.as_ref().map_err(|fault| *fault).map(|extracted| {
        extracted.credential.as_ref().map(|credential| (label(credential.source), credential.secret.expose().to_vec()))
    });
    assert_eq!(as_told, expected(&headers), "{headers:?}");
    if let Ok(extracted) = found {
        if let Some(credential) = &extracted.credential {
            let bytes = credential.secret.expose();
            assert!(!bytes.is_empty() && bytes.is_ascii());
            assert!(credential.may_be_foreign || bytes.len() <= MAX_SECRET_BYTES);
            assert!(!credential.may_be_foreign || label(credential.source) == "bearer");
        }
        if let OtherAuthorization::Bearer { secret, .. } = &extracted.authorization {
            assert!(headers.contains_key("authorization") && !secret.expose().is_empty());
        }
    }
    for value in headers.get_all("cookie") {
        if let Some(rest) = without_cookie(value.as_bytes(), "mia_client_key") {
            let mut left = HeaderMap::new();
            left.insert("cookie", HeaderValue::from_bytes(&rest).expect("a part of a value is a value"));
            assert!(matches!(find_cookie(&left, "mia_client_key"), Ok(None)));
        }
    }
}

type Shown = Option<(&'static str, Vec<u8>)>;

/// The rules by hand: all texts of each place in a list, and what the lists say.
fn expected(headers: &HeaderMap) -> Result<Shown, MalformedCredential> {
    let of = |name: &str| -> Vec<Vec<u8>> {
        headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii().to_vec()).collect()
    };
    let own = one(HEADERS.iter().flat_map(|name| of(name)).collect())?;
    let authorization = one(of("authorization"))?;
    let bearer = match &authorization {
        None => None,
        Some(value) => {
            let at = value.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
            let is_bearer = value[..at].eq_ignore_ascii_case(b"bearer") || value.is_empty();
            if !is_bearer && looks_like_ours(value) {
                return Err(MalformedCredential::NotBearer);
            }
            is_bearer.then(|| value[at..].trim_ascii().to_vec())
        }
    };
    let is_ours = bearer.as_ref().is_some_and(|text| looks_like_ours(text));
    if let Some(text) = bearer.as_ref().filter(|_| is_ours) {
        good(text, true)?;
    }
    if let Some(text) = own {
        good(&text, true)?;
        return Ok(Some(("header", text)));
    }
    if let Some(text) = bearer.as_ref().filter(|_| is_ours) {
        return Ok(Some(("bearer", text.clone())));
    }
    let mut cookies = Vec::new();
    for value in headers.get_all("cookie") {
        for piece in value.as_bytes().split(|&byte| byte == b';') {
            let at = piece.iter().position(|&byte| byte == b'=').unwrap_or(piece.len());
            if piece[..at].trim_ascii() == b"mia_client_key" {
                cookies.push(piece.get(at + 1..).unwrap_or_default().trim_ascii().to_vec());
            }
        }
    }
    if let Some(text) = one(cookies)? {
        good(&text, true)?;
        return Ok(Some(("cookie", text)));
    }
    if let Some(text) = bearer {
        good(&text, false)?;
        return Ok(Some(("bearer", text)));
    }
    Ok(None)
}

/// The one text of a list; two that differ are an error.
fn one(texts: Vec<Vec<u8>>) -> Result<Option<Vec<u8>>, MalformedCredential> {
    if texts.iter().any(|text| *text != texts[0]) {
        return Err(MalformedCredential::Ambiguous);
    }
    Ok(texts.into_iter().next())
}

/// Whether one of our prefixes begins it, or begins something in it behind a blank or a sign.
fn looks_like_ours(text: &[u8]) -> bool {
    (0..text.len()).any(|at| {
        let begins_word = at == 0 || b" \t=\"':,;".contains(&text[at - 1]);
        begins_word && PREFIXES.iter().any(|prefix| text[at..].starts_with(prefix.as_bytes()))
    })
}

fn good(text: &[u8], is_bounded: bool) -> Result<(), MalformedCredential> {
    if text.is_empty() {
        return Err(MalformedCredential::Empty);
    }
    if text.iter().any(|byte| !byte.is_ascii_graphic()) {
        return Err(MalformedCredential::NotAscii);
    }
    if is_bounded && text.len() > MAX_SECRET_BYTES {
        return Err(MalformedCredential::TooLong);
    }
    Ok(())
}
