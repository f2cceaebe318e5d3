//! What a request may do, in words for the upstream: the client's grants cut by the key's.
//!
//! Nothing is said where neither states permissions, for there is no limit to tell of. The preset `read_only` is told in
//! wildcards, so that an upstream that understands `*.read` needs no second rule. Where nothing is left, the word `none`
//! is sent: it is no permission, and to be silent would read as no limit.

use crate::client::{Grants, Permission};

/// The preset `read_only` in the spellings of both kinds of permission.
const READ_ONLY: [Right<'static>; 6] = [
    Right { resource: "*", separator: b'.', operation: "read" },
    Right { resource: "*", separator: b'.', operation: "list" },
    Right { resource: "*", separator: b'.', operation: "get" },
    Right { resource: "*", separator: b':', operation: "read" },
    Right { resource: "*", separator: b':', operation: "list" },
    Right { resource: "*", separator: b':', operation: "get" },
];

/// Effective permissions, ready to be written.
pub(super) enum EffectivePermissions<'a> {
    /// One side states them, the other sets no limit.
    OneSide(&'a Grants),
    /// What both cover.
    Common(Vec<Right<'a>>),
}

/// One permission, or the part of it that another leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Right<'a> {
    resource: &'a str,
    separator: u8,
    operation: &'a str,
}

impl<'a> Right<'a> {
    fn of(permission: &'a Permission) -> Self {
        let (resource, operation) = (permission.resource(), permission.operation());
        let separator = permission.as_str().as_bytes()[resource.len()];
        Self { resource, separator, operation }
    }

    /// What both cover, if anything.
    fn common(self, other: Self) -> Option<Self> {
        let narrower = |a: &'a str, b: &'a str| match (a, b) {
            (same, "*") | ("*", same) => Some(same),
            (a, b) => (a == b).then_some(a),
        };
        let resource = narrower(self.resource, other.resource)?;
        let operation = match (self.separator, self.operation, other.operation) {
            // In the dotted spelling to write includes to read.
            (b'.', "write", "read") | (b'.', "read", "write") => Some("read"),
            (_, one, another) => narrower(one, another),
        }?;
        (self.separator == other.separator).then_some(Self { resource, separator: self.separator, operation })
    }
}

impl<'a> EffectivePermissions<'a> {
    /// Cuts one by the other; `None` if neither sets a limit.
    pub(super) fn of(client: &'a Grants, key: &'a Grants) -> Option<Self> {
        match (client, key) {
            (Grants::Unrestricted, Grants::Unrestricted) => None,
            (Grants::Unrestricted, held) | (held, Grants::Unrestricted) => Some(Self::OneSide(held)),
            (one, other) => {
                let mut common = Vec::new();
                for right in rights(one) {
                    for right in rights(other).filter_map(|other| right.common(other)) {
                        if !common.contains(&right) {
                            common.push(right);
                        }
                    }
                }
                Some(Self::Common(common))
            }
        }
    }

    /// Each in words.
    pub(super) fn words(&self) -> Vec<String> {
        let mut text = Vec::new();
        self.append_to(&mut text);
        match text.as_slice() {
            b"none" => Vec::new(),
            text => String::from_utf8_lossy(text).split(',').map(str::to_owned).collect(),
        }
    }

    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let before = out.len();
        let mut append = |right: Right<'_>| {
            if out.len() > before {
                out.push(b',');
            }
            out.extend_from_slice(right.resource.as_bytes());
            out.push(right.separator);
            out.extend_from_slice(right.operation.as_bytes());
        };
        match self {
            Self::OneSide(held) => rights(held).for_each(&mut append),
            Self::Common(rights) => rights.iter().copied().for_each(&mut append),
        }
        if out.len() == before {
            out.extend_from_slice(b"none");
        }
    }
}

/// Stated grants as a list of rights.
fn rights(grants: &Grants) -> impl Iterator<Item = Right<'_>> {
    let (preset, listed): (&[Right<'_>], &[Permission]) = match grants {
        // No list can say it: whoever asks has dealt with it before.
        Grants::Unrestricted => (&[], &[]),
        Grants::ReadOnly => (&READ_ONLY, &[]),
        Grants::Listed(held) => (&[], held),
    };
    preset.iter().copied().chain(listed.iter().map(Right::of))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grants(text: &str) -> Grants {
        match text {
            "unrestricted" => Grants::Unrestricted,
            "read_only" => Grants::ReadOnly,
            "" => Grants::Listed(Box::default()),
            list => Grants::Listed(list.split(',').map(|one| Permission::parse(one).unwrap()).collect()),
        }
    }

    fn told(client: &str, key: &str) -> Option<String> {
        let (client, key) = (grants(client), grants(key));
        EffectivePermissions::of(&client, &key).map(|effective| {
            let mut out = b"x: ".to_vec();
            effective.append_to(&mut out);
            String::from_utf8(out[3..].to_vec()).unwrap()
        })
    }

    #[test]
    fn the_upstream_is_told_what_client_and_key_have_in_common() {
        const READS: &str = "*.read,*.list,*.get,*:read,*:list,*:get";
        for (client, key, expected) in [
            ("unrestricted", "unrestricted", None),
            ("a.read,b.write", "unrestricted", Some("a.read,b.write")),
            ("unrestricted", "a.read,b.write", Some("a.read,b.write")),
            ("unrestricted", "", Some("none")),
            ("", "unrestricted", Some("none")),
            ("", "a.read", Some("none")),
            ("a.read", "b.read", Some("none")),
            ("a.read", "a:read", Some("none")),
            ("a.read,b.write", "b.write,c.read", Some("b.write")),
            ("a.*", "*.read", Some("a.read")),
            ("*.*", "a.read,b:list", Some("a.read")),
            ("a.write", "a.read", Some("a.read")),
            ("a:write", "a:read", Some("none")),
            ("a.*,a.read", "a.read,*.read", Some("a.read")),
            ("table:data:*", "table:data:read", Some("table:data:read")),
            ("read_only", "unrestricted", Some(READS)),
            ("read_only", "read_only", Some(READS)),
            ("read_only", "a.write,b.read,c.purge", Some("a.read,b.read")),
            ("a:*", "read_only", Some("a:read,a:list,a:get")),
        ] {
            assert_eq!(told(client, key).as_deref(), expected, "{client:?} cut by {key:?}");
        }
    }

    proptest! {
        /// What is told covers exactly what `Grants::cover` says on both sides.
        #[test]
        fn nothing_is_told_that_is_not_granted_and_nothing_is_left_out(
            client in "(read_only|([ab*][.:](read|write|list|[*])(,[ab*][.:](read|write|list|[*])){0,3}))",
            key in "(read_only|([ab*][.:](read|write|list|[*])(,[ab*][.:](read|write|list|[*])){0,3}))",
        ) {
            let told = told(&client, &key).unwrap();
            let told = if told == "none" { grants("") } else { grants(&told) };
            for resource in ["a", "b", "c"] {
                for operation in ["read", "write", "list", "get", "purge"] {
                    for separator in [".", ":"] {
                        let required = Permission::parse(&format!("{resource}{separator}{operation}")).unwrap();
                        let both = grants(&client).cover(&required) && grants(&key).cover(&required);
                        prop_assert_eq!(told.cover(&required), both, "{}", required);
                    }
                }
            }
        }
    }
}
