//! Where in a request a key stands, by the rules of one endpoint.
//!
//! [`Extractor::extract`] is called once for each request that has found its endpoint. It gives the one [`Credential`] to
//! judge, or none, and says what else stands in `Authorization`; or it says why what was shown cannot be judged.
//!
//! - Headers of their own come first. Several of them, or one several times, are fine as long as all say the same.
//! - `Authorization: Bearer` is next. Where another place carries the key, `Authorization` is not read as the credential
//!   but reported as [`OtherAuthorization`]: it is an end user's token, or a second key of ours, and only the key table
//!   can tell.
//! - A cookie counts only if no header carries a key: browsers keep sending stale ones. Next to a Bearer that does not look
//!   like a key of ours the cookie is the credential, and the Bearer is reported.
//!
//! The order of the sources decides only which of two equal headers is named as the place. Only an exact text in one of
//! these places is a key: the query, the body, trailers and other spellings of a header's name are never looked at.
//!
//! What people get wrong: to take the first of two values. The upstream may take the last. Two that differ are refused.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName};
use memchr::{memchr2_iter, memchr3_iter};

use super::{Challenges, CredentialSource, FoldedNames, MAX_SECRET_BYTES, Secret, find_cookie};

/// A secret and where it was found.
#[derive(Debug)]
pub struct Credential<'a> {
    /// Never printed.
    pub secret: Secret<'a>,
    /// Index into [`Extractor::sources`].
    pub source: usize,
    /// A Bearer that does not look like one of our keys: if it is not known either, it is somebody else's token, and no
    /// credential of ours was shown. Such a secret may be longer than [`MAX_SECRET_BYTES`]; no table knows one that is.
    pub may_be_foreign: bool,
}

/// What stands in `Authorization` when another place carries the key, or when keys are not taken from there.
#[derive(Debug)]
pub enum OtherAuthorization<'a> {
    /// Nothing, or nothing that can be a key of ours.
    None,
    /// A Bearer text that might be a key of ours.
    Bearer {
        /// The text after the scheme.
        secret: Secret<'a>,
        /// It looks like one.
        has_our_prefix: bool,
    },
}

/// What was found in a request.
#[derive(Debug)]
pub struct Extracted<'a> {
    /// The credential to judge, if any was shown.
    pub credential: Option<Credential<'a>>,
    /// What else stands in `Authorization`; `None` where that is the credential itself.
    pub authorization: OtherAuthorization<'a>,
}

/// Why what was shown cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedCredential {
    /// Two places, or one twice, with different keys (400).
    Ambiguous,
    /// Bytes that no key has: outside ASCII, or a blank in the middle (400).
    NotAscii,
    /// One of our keys in `Authorization`, but not as `Bearer` (400).
    NotBearer,
    /// A place is there and empty (401).
    Empty,
    /// Longer than a key can be (401).
    TooLong,
}

/// Prefixes of keys this gateway issues or accepts, longest first: `codeqr_pk_` before `codeqr_`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefixes(Box<[Box<str>]>);

impl Prefixes {
    /// Takes the prefixes in any order. An empty one is left out: it would make every text a key of ours.
    #[must_use]
    pub fn new(prefixes: Vec<String>) -> Self {
        let mut prefixes: Vec<Box<str>> =
            prefixes.into_iter().filter(|prefix| !prefix.is_empty()).map(String::into_boxed_str).collect();
        prefixes.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        prefixes.dedup();
        Self(prefixes.into())
    }

    /// The longest prefix that stands in front of this text.
    #[must_use]
    pub fn in_front_of(&self, text: &[u8]) -> Option<&str> {
        self.0.iter().map(|prefix| &**prefix).find(|prefix| text.starts_with(prefix.as_bytes()))
    }

    /// Whether a prefix stands in front of this text or of a word in it: `codeqr_..`, `Token codeqr_..`,
    /// `token="codeqr_.."`. That is what a key looks like that was sent by a slightly wrong recipe; passed on as somebody
    /// else's token it would end in a stranger's log.
    fn occur_in(&self, text: &[u8]) -> bool {
        let word_ends = memchr3_iter(b' ', b'\t', b'=', text)
            .chain(memchr3_iter(b'"', b'\'', b':', text))
            .chain(memchr2_iter(b',', b';', text));
        self.in_front_of(text).is_some()
            || word_ends.map(|at| &text[at + 1..]).any(|rest| self.in_front_of(rest).is_some())
    }
}

/// Ordered places to look for a key.
#[derive(Debug)]
pub struct Extractor {
    sources: Box<[CredentialSource]>,
    prefixes: Prefixes,
    /// The same sources by kind, each with its index.
    headers: Box<[(usize, HeaderName)]>,
    bearer: Option<usize>,
    cookies: Box<[(usize, Box<str>)]>,
    /// One bit for each length that the name of such a header, `Authorization` or `Cookie` has.
    lengths: u64,
    stripped: FoldedNames,
    stripped_cookies: Box<[Box<str>]>,
    challenges: Challenges,
}

impl Extractor {
    /// Looks in these places. `config` sees to it that no header of its own is called `Authorization` or `Cookie`: what
    /// ordinarily stands there is not a key, and each such request would be refused.
    #[must_use]
    pub fn new(sources: Vec<CredentialSource>, prefixes: Prefixes) -> Self {
        let (mut headers, mut bearer, mut cookies) = (Vec::new(), None, Vec::new());
        for (index, source) in sources.iter().enumerate() {
            match source {
                CredentialSource::Header { name, .. } => headers.push((index, name.clone())),
                CredentialSource::Bearer => bearer = bearer.or(Some(index)),
                CredentialSource::Cookie { name } => cookies.push((index, name.clone())),
            }
        }
        let stripped = FoldedNames::new(headers.iter().map(|(_, name)| name.as_str().as_bytes()));
        let stripped_cookies = cookies.iter().map(|(_, name)| name.clone()).collect();
        let names = headers.iter().map(|(_, name)| name).chain([&AUTHORIZATION, &COOKIE]);
        let lengths = names.fold(0, |lengths, name| lengths | length_bit(name));
        Self {
            challenges: Challenges::new(&sources),
            sources: sources.into(),
            prefixes,
            headers: headers.into(),
            bearer,
            cookies: cookies.into(),
            lengths,
            stripped,
            stripped_cookies,
        }
    }

    /// Keeps what stands in other places from the upstream as well, though it is not read as a key here: an endpoint with
    /// a list of its own must not be handed the keys that callers show everywhere else.
    #[must_use]
    pub fn also_stripping(mut self, others: &[CredentialSource]) -> Self {
        let mut headers: Vec<&HeaderName> = self.headers.iter().map(|(_, name)| name).collect();
        let mut cookies: Vec<Box<str>> = self.stripped_cookies.into_vec();
        for source in others {
            match source {
                CredentialSource::Header { name, .. } => headers.push(name),
                CredentialSource::Cookie { name } if !cookies.contains(name) => cookies.push(name.clone()),
                CredentialSource::Cookie { .. } | CredentialSource::Bearer => {}
            }
        }
        self.stripped = FoldedNames::new(headers.into_iter().map(|name| name.as_str().as_bytes()));
        self.stripped_cookies = cookies.into();
        self
    }

    /// Where callers of the systems that keygate stands in for put their keys: the headers `client-key`, `secret`
    /// (deprecated) and `x-api-key`, `Authorization: Bearer`, the cookie `mia_client_key`.
    #[must_use]
    pub fn default_sources() -> Vec<CredentialSource> {
        let header = |name, deprecated| CredentialSource::Header { name: HeaderName::from_static(name), deprecated };
        vec![
            header("client-key", false),
            header("secret", true),
            header("x-api-key", false),
            CredentialSource::Bearer,
            CredentialSource::Cookie { name: "mia_client_key".into() },
        ]
    }

    /// The places, in order of precedence.
    #[must_use]
    pub fn sources(&self) -> &[CredentialSource] {
        &self.sources
    }

    /// How a refused caller is told of them.
    #[must_use]
    pub fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// Whether a header carries the key by itself and ends here. Spellings that an upstream may fold into such a name
    /// (`X_Api_Key`) are never read as a key, but they end here as well.
    #[must_use]
    pub fn strips(&self, name: &HeaderName) -> bool {
        self.stripped.contains(name)
    }

    /// Cookies that carry the key and end here.
    pub fn cookie_names(&self) -> impl Iterator<Item = &str> {
        self.stripped_cookies.iter().map(|name| &**name)
    }

    /// Looks for the key.
    ///
    /// # Errors
    /// Why what was shown cannot be judged. A request is refused then, on open endpoints too.
    pub fn extract<'h>(&self, headers: &'h HeaderMap) -> Result<Extracted<'h>, MalformedCredential> {
        let found = self.look(headers);
        let dedicated = found.dedicated.get()?;
        let bearer = self.bearer(found.authorization)?;
        if let Some((source, text)) = dedicated {
            return Ok(Extracted { credential: Some(exact(text, source)?), authorization: bearer.as_other() });
        }
        // A Bearer that looks like a key of ours is one, and a cookie next to it is stale.
        if let (Some(source), Bearer::Ours(text)) = (self.bearer, &bearer) {
            return Ok(Extracted { credential: Some(exact(text, source)?), authorization: OtherAuthorization::None });
        }
        if found.has_cookies
            && let Some((source, text)) = self.cookie(headers)?
        {
            return Ok(Extracted { credential: Some(exact(text, source)?), authorization: bearer.as_other() });
        }
        let credential = match (self.bearer, &bearer) {
            (Some(source), Bearer::Other(text)) => {
                check_bytes(text)?;
                Some(Credential { secret: Secret::borrowed(text), source, may_be_foreign: true })
            }
            _ => None,
        };
        let authorization = if credential.is_some() { OtherAuthorization::None } else { bearer.as_other() };
        Ok(Extracted { credential, authorization })
    }

    /// What stands where keys stand: to pass over the fields once is quicker than to ask for each place.
    fn look<'h>(&self, headers: &'h HeaderMap) -> Found<'h> {
        let mut found = Found::default();
        for (name, value) in headers.iter().filter(|(name, _)| self.lengths & length_bit(name) != 0) {
            if let Some((source, _)) = self.headers.iter().find(|(_, place)| place == name) {
                found.dedicated.add(*source, value.as_bytes().trim_ascii());
            } else if name == AUTHORIZATION {
                found.authorization.add(0, value.as_bytes().trim_ascii());
            } else if name == COOKIE {
                found.has_cookies = true;
            }
        }
        found
    }

    fn cookie<'h>(&self, headers: &'h HeaderMap) -> Result<Option<(usize, &'h [u8])>, MalformedCredential> {
        let mut found = OneValue::default();
        for (source, name) in &self.cookies {
            if let Some(value) = find_cookie(headers, name)? {
                found.add(*source, value);
            }
        }
        found.get()
    }

    /// Reads `Authorization` (RFC 9110 section 11.4, RFC 6750 section 2.1). There is at most one in an honest request;
    /// copies are let through, two that differ are somebody hoping that we read the one and the upstream the other.
    fn bearer<'h>(&self, authorization: OneValue<'h>) -> Result<Bearer<'h>, MalformedCredential> {
        let Some((_, value)) = authorization.get()? else { return Ok(Bearer::None) };
        let blank = value.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
        let (scheme, text) = value.split_at(blank);
        if !scheme.eq_ignore_ascii_case(b"bearer") && !value.is_empty() {
            return if self.prefixes.occur_in(value) { Err(MalformedCredential::NotBearer) } else { Ok(Bearer::None) };
        }
        let text = text.trim_ascii();
        if self.prefixes.occur_in(text) {
            check_bytes(text)?;
            check_length(text)?;
            return Ok(Bearer::Ours(text));
        }
        Ok(Bearer::Other(text))
    }
}

/// What stands in the places where keys stand.
#[derive(Default)]
struct Found<'h> {
    dedicated: OneValue<'h>,
    authorization: OneValue<'h>,
    has_cookies: bool,
}

/// A bit for the length of a name; all long ones share one.
fn length_bit(name: &HeaderName) -> u64 {
    1 << name.as_str().len().min(63)
}

/// What stands in `Authorization`.
enum Bearer<'h> {
    /// Nothing, or another scheme.
    None,
    /// A text that looks like a key of ours.
    Ours(&'h [u8]),
    /// Any other text; unchecked.
    Other(&'h [u8]),
}

impl<'h> Bearer<'h> {
    /// The same when another place carries the key. A text that cannot be a key is none of our business then.
    fn as_other(&self) -> OtherAuthorization<'h> {
        match *self {
            Self::Ours(text) => OtherAuthorization::Bearer { secret: Secret::borrowed(text), has_our_prefix: true },
            Self::Other(text) if check_bytes(text).and_then(|()| check_length(text)).is_ok() => {
                OtherAuthorization::Bearer { secret: Secret::borrowed(text), has_our_prefix: false }
            }
            Self::Other(_) | Self::None => OtherAuthorization::None,
        }
    }
}

/// Several values that must not differ, with the first source of them.
#[derive(Default)]
struct OneValue<'h> {
    first: Option<(usize, &'h [u8])>,
    differs: bool,
}

impl<'h> OneValue<'h> {
    fn add(&mut self, source: usize, value: &'h [u8]) {
        match &mut self.first {
            None => self.first = Some((source, value)),
            Some((first, earlier)) if *earlier == value => *first = source.min(*first),
            Some(_) => self.differs = true,
        }
    }

    fn get(&self) -> Result<Option<(usize, &'h [u8])>, MalformedCredential> {
        if self.differs { Err(MalformedCredential::Ambiguous) } else { Ok(self.first) }
    }
}

/// A text that can only be meant as a key of ours.
fn exact(text: &[u8], source: usize) -> Result<Credential<'_>, MalformedCredential> {
    check_bytes(text)?;
    check_length(text)?;
    Ok(Credential { secret: Secret::borrowed(text), source, may_be_foreign: false })
}

fn check_bytes(text: &[u8]) -> Result<(), MalformedCredential> {
    if text.is_empty() {
        Err(MalformedCredential::Empty)
    } else if text.iter().fold(true, |good, byte| good & byte.is_ascii_graphic()) {
        // Without an early way out the loop is done many bytes at a time, and tokens are long.
        Ok(())
    } else {
        Err(MalformedCredential::NotAscii)
    }
}

fn check_length(text: &[u8]) -> Result<(), MalformedCredential> {
    if text.len() > MAX_SECRET_BYTES { Err(MalformedCredential::TooLong) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
