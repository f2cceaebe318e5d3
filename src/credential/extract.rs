//! (being written)
use http::HeaderMap;
use super::{CredentialSource, Secret};
/// A secret and where it was found.
#[derive(Debug)]
pub struct Credential<'a> { /// Never printed.
    pub secret: Secret<'a>, /// Index into [`Extractor::sources`].
    pub source: usize }
/// What stands in `Authorization` when another place carries the key, or when it is not one of our keys by its look.
#[derive(Debug)]
pub enum OtherAuthorization<'a> { /// No `Authorization`, or one that cannot hold a key of ours (not Bearer).
    None, /// A Bearer text that might be a key of ours; `has_our_prefix` says it looks like one.
    Bearer { /// The text after the scheme.
        secret: Secret<'a>, /// One of the configured key prefixes stands in front.
        has_our_prefix: bool } }
/// What was found in a request.
#[derive(Debug)]
pub struct Extracted<'a> { /// The credential to judge, if any was shown.
    pub credential: Option<Credential<'a>>, /// For D2 and D4.
    pub authorization: OtherAuthorization<'a> }
/// Why what was shown cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedCredential { /// Two places, or one twice, with different keys (400).
    Ambiguous, /// Bytes that no key has: not ASCII (400).
    NotAscii, /// One of our keys in `Authorization` without `Bearer` (400).
    NotBearer, /// A place is there and empty (401).
    Empty, /// Longer than a key can be (401).
    TooLong }
/// Prefixes of keys this gateway issues or accepts, longest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefixes(Box<[Box<str>]>);
/// Ordered places to look for a key.
#[derive(Debug)]
pub struct Extractor { sources: Box<[CredentialSource]>, prefixes: Prefixes }
impl Extractor {
    /// The places, in order of precedence.
    pub fn sources(&self) -> &[CredentialSource] { &self.sources }
    /// Looks.
    pub fn extract<'h>(&self, _headers: &'h HeaderMap) -> Result<Extracted<'h>, MalformedCredential> { let _ = &self.prefixes; Ok(Extracted { credential: None, authorization: OtherAuthorization::None }) }
}
