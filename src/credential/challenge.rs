//! How a refused caller is told where a key is to be shown: the values of `WWW-Authenticate` (RFC 9110 section 11.6.1).
//!
//! Callers without a good key are many, so the values are written once for each set of sources and then only handed out.

use http::HeaderValue;

use super::CredentialSource;

/// What a challenge says of the request (RFC 6750 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// Nothing was shown: no error is named.
    Plain,
    /// What was shown cannot be read, or be read in one way.
    InvalidRequest,
    /// What was shown is not good.
    InvalidToken,
    /// What was shown is good, and not for this.
    InsufficientScope,
}

impl Challenge {
    const ALL: [Self; 4] = [Self::Plain, Self::InvalidRequest, Self::InvalidToken, Self::InsufficientScope];

    fn error(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::InvalidRequest => ", error=\"invalid_request\"",
            Self::InvalidToken => ", error=\"invalid_token\"",
            Self::InsufficientScope => ", error=\"insufficient_scope\"",
        }
    }
}

/// The challenges of one set of sources.
#[derive(Debug)]
pub struct Challenges([Box<[HeaderValue]>; Challenge::ALL.len()]);

impl Challenges {
    /// One challenge for each way to show a key that is really taken. No scheme is registered for keys in a header of their
    /// own; `ApiKey` is the one in use. Without any source, and where only cookies are taken, `Bearer` is the scheme that
    /// clients understand.
    #[must_use]
    pub fn new(sources: &[CredentialSource]) -> Self {
        let headers = sources.iter().filter_map(|source| match source {
            CredentialSource::Header { name, deprecated: false } => Some(name.as_str()),
            _ => None,
        });
        // The name that most clients know, or else the first.
        let header = headers.clone().find(|name| *name == "x-api-key").or_else(|| headers.clone().next());
        let has_bearer = header.is_none() || sources.contains(&CredentialSource::Bearer);
        Self(Challenge::ALL.map(|challenge| {
            let bearer = has_bearer.then(|| "Bearer realm=\"keygate\"".to_owned());
            let header = header.map(|name| format!("ApiKey realm=\"keygate\", header=\"{name}\""));
            let texts = bearer.into_iter().chain(header).map(|text| text + challenge.error());
            texts.filter_map(|text| HeaderValue::try_from(text).ok()).collect()
        }))
    }

    /// The values to send, each as a field of its own.
    #[must_use]
    pub fn of(&self, challenge: Challenge) -> &[HeaderValue] {
        &self.0[challenge as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_show_a_key_is_named_and_no_other() {
        let header =
            |name, deprecated| CredentialSource::Header { name: http::HeaderName::from_static(name), deprecated };
        let cookie = || CredentialSource::Cookie { name: "key".into() };
        const BEARER: &str = "Bearer realm=\"keygate\"";
        let rows: &[(&[CredentialSource], Challenge, &[&str])] = &[
            (&[], Challenge::Plain, &[BEARER]),
            (&[cookie()], Challenge::InvalidToken, &["Bearer realm=\"keygate\", error=\"invalid_token\""]),
            (&[CredentialSource::Bearer, cookie()], Challenge::Plain, &[BEARER]),
            (&[header("secret", true)], Challenge::Plain, &[BEARER]),
            (&[header("client-key", false)], Challenge::Plain, &["ApiKey realm=\"keygate\", header=\"client-key\""]),
            (
                &[header("client-key", false), header("x-api-key", false), CredentialSource::Bearer],
                Challenge::InsufficientScope,
                &[
                    "Bearer realm=\"keygate\", error=\"insufficient_scope\"",
                    "ApiKey realm=\"keygate\", header=\"x-api-key\", error=\"insufficient_scope\"",
                ],
            ),
            (&[], Challenge::InvalidRequest, &["Bearer realm=\"keygate\", error=\"invalid_request\""]),
        ];
        for (sources, challenge, expected) in rows {
            assert_eq!(Challenges::new(sources).of(*challenge), *expected, "{sources:?} {challenge:?}");
        }
    }
}
