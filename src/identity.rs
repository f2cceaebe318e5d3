//! (being written)
use crate::client::{Client, User};
use crate::keys::ApiKey;
use http::HeaderName;
/// Who is calling, as upstreams are told.
#[derive(Debug, Clone, Copy)]
pub struct Identified<'a> {
    /// x
    pub key: Option<&'a ApiKey>,
    /// x
    pub user: Option<&'a User>,
    /// x
    pub is_backoffice: bool,
}
/// The headers that tell an upstream who is calling, and every name they must be protected under.
#[derive(Debug)]
pub struct IdentityHeaders {}
impl IdentityHeaders {
    /// Whether a header of this name, however spelled, must be removed from what a caller sent.
    pub fn is_reserved(&self, _name: &HeaderName) -> bool {
        false
    }
    /// Appends `name: value\r\n` for everything known of the one who calls.
    pub fn write(&self, _out: &mut Vec<u8>, _who: &Identified<'_>) {
        let _ = None::<&Client>;
    }
}
