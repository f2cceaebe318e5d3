//! Telling an upstream who is calling, in headers that nobody else can set.
//!
//! [`IdentityHeaders`] is compiled once from the configured names. For every request `forward` asks
//! [`IdentityHeaders::is_reserved`] about each header that came in and leaves the reserved ones out, then lets
//! [`IdentityHeaders::write`] append what the permit says. `admission` reads end users with
//! [`IdentityHeaders::user_from`], and only if the peer is trusted to tell of them.
//!
//! A header is absent when there is nothing to say, never empty: upstreams take an empty one for a value. Every configured
//! name is reserved, the default names stay reserved when others are configured, and so do the names that services of the
//! Mia platform believe. Reserved means in every spelling that a server may fold into that name.
//!
//! What people get wrong: to remove these headers only where a new value is set. A call without a key would then keep what
//! the caller wrote, and be whoever he likes.

mod names;
mod permissions;
mod trusted;

pub use names::IdentityNames;
pub use trusted::MalformedIdentity;

use http::HeaderName;

use crate::client::{Group, User};
use crate::credential::FoldedNames;
use crate::keys::ApiKey;
use permissions::EffectivePermissions;

/// Who is calling, as upstreams are told.
#[derive(Debug, Clone, Copy)]
pub struct Identified<'a> {
    /// The key that was shown and found good.
    pub key: Option<&'a ApiKey>,
    /// The end user a trusted peer told of.
    pub user: Option<&'a User>,
    /// The request came by a backoffice listener, or a trusted peer says so.
    pub is_backoffice: bool,
}

/// The headers that tell an upstream who is calling, and every name they must be protected under.
#[derive(Debug)]
pub struct IdentityHeaders {
    names: IdentityNames,
    lines: Lines,
    reserved: FoldedNames,
}

/// `name: ` as it goes out, for each name that is used.
#[derive(Debug)]
struct Lines {
    client_type: Option<Line>,
    client_id: Option<Line>,
    client_key_id: Option<Line>,
    client_tenant: Option<Line>,
    client_environment: Option<Line>,
    client_permissions: Option<Line>,
    client_groups: Option<Line>,
    user_id: Option<Line>,
    user_groups: Option<Line>,
    user_properties: Option<Line>,
    is_backoffice: Option<Line>,
}

#[derive(Debug)]
struct Line {
    name: HeaderName,
    start: Box<[u8]>,
}

impl Line {
    fn new(name: &Option<HeaderName>) -> Option<Self> {
        name.as_ref().map(|name| Self { name: name.clone(), start: format!("{name}: ").into_bytes().into() })
    }
}

/// What stands behind one name.
enum Value<'a> {
    Text(&'a [u8]),
    Groups(&'a [Group]),
    Permissions(EffectivePermissions<'a>),
}

impl Value<'_> {
    fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Groups(groups) => {
                for (index, group) in groups.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(group.as_str().as_bytes());
                }
            }
            Self::Permissions(permissions) => permissions.append_to(out),
        }
    }
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        Self::new(IdentityNames::default(), Vec::new())
    }
}

/// What a key may do in effect, in words; none if neither it nor its client states permissions.
#[must_use]
pub fn effective_permissions(key: &ApiKey) -> Option<Vec<String>> {
    EffectivePermissions::of(&key.client.grants, &key.grants).map(|effective| effective.words())
}

impl IdentityHeaders {
    /// Compiles the names. `extra_reserved` are removed from what callers send and never set.
    ///
    /// `config` sees to it that no two names are the same when folded, and that none is a name HTTP or keygate itself
    /// needs, such as `host` or `authorization`: every reserved name is removed from every request.
    #[must_use]
    pub fn new(names: IdentityNames, extra_reserved: Vec<HeaderName>) -> Self {
        let defaults = IdentityNames::default();
        let reserved = FoldedNames::new(
            names
                .iter()
                .chain(defaults.iter())
                .chain(&extra_reserved)
                .map(|name| name.as_str().as_bytes())
                .chain(names::ALSO_BELIEVED.iter().map(|name| name.as_bytes())),
        );
        let lines = Lines {
            client_type: Line::new(&names.client_type),
            client_id: Line::new(&names.client_id),
            client_key_id: Line::new(&names.client_key_id),
            client_tenant: Line::new(&names.client_tenant),
            client_environment: Line::new(&names.client_environment),
            client_permissions: Line::new(&names.client_permissions),
            client_groups: Line::new(&names.client_groups),
            user_id: Line::new(&names.user_id),
            user_groups: Line::new(&names.user_groups),
            user_properties: Line::new(&names.user_properties),
            is_backoffice: Line::new(&names.is_backoffice),
        };
        Self { names, lines, reserved }
    }

    /// The names in use.
    #[must_use]
    pub fn names(&self) -> &IdentityNames {
        &self.names
    }

    /// Whether a header of this name, however spelled, must be removed from what a caller sent. Cheap for ordinary names.
    #[must_use]
    pub fn is_reserved(&self, name: &HeaderName) -> bool {
        self.reserved.contains(name)
    }

    /// The same for a name that is not a [`HeaderName`], such as a word of a `Connection` field.
    #[must_use]
    pub fn is_reserved_name(&self, name: &[u8]) -> bool {
        self.reserved.contains_bytes(name)
    }

    /// Appends `name: value\r\n` for everything known of the one who calls.
    pub fn write(&self, out: &mut Vec<u8>, who: &Identified<'_>) {
        self.each(who, |line, value| {
            out.extend_from_slice(&line.start);
            value.append_to(out);
            out.extend_from_slice(b"\r\n");
        });
    }

    /// Hands over name and value of the same headers, where they are not written to a socket.
    pub fn for_each(&self, who: &Identified<'_>, mut take: impl FnMut(&HeaderName, &[u8])) {
        let mut text = Vec::new();
        self.each(who, |line, value| {
            text.clear();
            value.append_to(&mut text);
            take(&line.name, &text);
        });
    }

    fn each(&self, who: &Identified<'_>, mut put: impl FnMut(&Line, Value<'_>)) {
        let lines = &self.lines;
        let mut say = |line: &Option<Line>, value: Option<Value<'_>>| {
            if let (Some(line), Some(value)) = (line, value) {
                put(line, value);
            }
        };
        // The words of a client and a key are safe to send by construction. An end user's texts are plain strings, so
        // each is looked at again: one line break here would let a user write headers.
        if let Some(key) = who.key {
            let client = &*key.client;
            say(&lines.client_type, Some(Value::Text(client.client_type.as_str().as_bytes())));
            say(&lines.client_id, Some(Value::Text(client.id.as_str().as_bytes())));
            say(&lines.client_key_id, Some(Value::Text(key.id.as_bytes())));
            say(&lines.client_tenant, client.tenant.as_ref().map(|tenant| Value::Text(tenant.as_str().as_bytes())));
            say(&lines.client_environment, key.environment.as_ref().map(|name| Value::Text(name.as_str().as_bytes())));
            if lines.client_permissions.is_some() {
                let effective = EffectivePermissions::of(&client.grants, &key.grants);
                say(&lines.client_permissions, effective.map(Value::Permissions));
            }
            say(&lines.client_groups, groups(&client.groups));
        }
        if let Some(user) = who.user {
            say(&lines.user_id, safe(&user.id));
            say(&lines.user_groups, groups(&user.groups));
            say(&lines.user_properties, user.properties.as_deref().and_then(safe));
        }
        // Never `0`: the upstreams this header is for take any value for true.
        say(&lines.is_backoffice, who.is_backoffice.then_some(Value::Text(b"1")));
    }
}

fn groups(groups: &[Group]) -> Option<Value<'_>> {
    (!groups.is_empty()).then_some(Value::Groups(groups))
}

/// A text that can be the whole value of a header; without it, an upstream knows less of the user, never something wrong.
fn safe(text: &str) -> Option<Value<'_>> {
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(Value::Text(text.as_bytes()))
}

#[cfg(test)]
mod tests;
