//! From the tree of a file to the values a person meant, with everything that is wrong on the way.
//!
//! A type that can stand in the file implements [`Shape`]; the macros `shape!`, `words!` and the trait [`FromText`] do it
//! for maps with named fields, for words from a closed list and for texts with a grammar of their own. The shapes
//! themselves stand in [`document`](super::document).
//!
//! Reading does not stop at the first mistake: a value that cannot be read is reported and left out, and the map it
//! belonged to is marked `is_broken`, so that later checks do not draw conclusions from its absence. A field that no shape
//! knows is an error, as is a field that stands twice or has no value: a rule that was misspelled must never be a rule
//! that is missing.

mod values;

pub(crate) use values::*;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::problem::{Report, did_you_mean, quote};
use super::tree::{Key, Kind, Node, Position};

/// A value that can stand in a file.
pub(crate) trait Shape: Sized {
    /// Reads it; `None` if it cannot be read, which has been reported then.
    fn read(node: &Node, report: &mut Report) -> Option<Self>;
}

/// A field of a map: required, or optional if it is an `Option`.
pub(crate) trait Field: Sized {
    /// Reads it, or says that it is missing from the map that begins at `map`.
    fn read_field(node: Option<&Node>, name: &str, map: Position, report: &mut Report) -> Option<Self>;
}

impl<T: Shape> Field for T {
    fn read_field(node: Option<&Node>, name: &str, map: Position, report: &mut Report) -> Option<Self> {
        match node {
            Some(node) => T::read(node, report),
            None => {
                report.error(map, format!("the field `{name}` is missing"));
                None
            }
        }
    }
}

impl<T: Shape> Field for Option<T> {
    fn read_field(node: Option<&Node>, _: &str, _: Position, report: &mut Report) -> Option<Self> {
        Some(node.and_then(|node| T::read(node, report)))
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub at: Position,
    pub value: T,
}

impl<T: Shape> Shape for At<T> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        Some(Self { at: node.at, value: T::read(node, report)? })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::List(items) => Some(items.iter().filter_map(|item| T::read(item, report)).collect()),
            _ => {
                let hint = matches!(node.kind, Kind::Text { .. } | Kind::Number(_))
                    .then(|| "write `[..]` around it".to_owned());
                unexpected(node, "a list", report).maybe_hint(hint);
                None
            }
        }
    }
}

/// Values by a name that the operator chose. An entry that cannot be read keeps its name.
#[derive(Debug, Clone)]
pub(crate) struct Map<T>(pub Vec<(At<String>, Option<T>)>);

impl<T: Shape> Shape for Map<T> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            unexpected(node, "a map", report);
            return None;
        };
        refuse_twice(entries, report);
        let read = |(key, value): &(Key, Node)| (At { at: key.at, value: key.text.clone() }, T::read(value, report));
        Some(Self(entries.iter().map(read).collect()))
    }
}

impl<T: JsonSchema> JsonSchema for Map<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}

/// Reports keys that stand more than once.
pub(crate) fn refuse_twice(entries: &[(Key, Node)], report: &mut Report) {
    let mut first_places = std::collections::HashMap::with_capacity(entries.len());
    for (key, _) in entries {
        if let Some(first) = first_places.insert(&key.text, key.at) {
            let first = report.name(first);
            report
                .error(key.at, format!("{} stands twice in this map", quote(&key.text)))
                .hint(format!("first at {first}"));
        }
    }
}

/// Reports a value of the wrong kind.
pub(crate) fn unexpected<'r>(node: &Node, expected: &str, report: &'r mut Report) -> &'r mut super::problem::Problem {
    let hint = match &node.kind {
        Kind::Unusable => return report.discard(),
        Kind::Number(_) if expected.starts_with("a duration") => Some("add a unit, such as `10s`"),
        Kind::Tagged(_) => Some("put quotes around a text that begins with `!`"),
        Kind::Null => Some("leave the line out, or give it a value"),
        Kind::Bool(_) | Kind::Number(_) | Kind::OtherNumber(_)
            if !expected.starts_with("a whole")
                && !expected.starts_with("a list")
                && !expected.starts_with("a map") =>
        {
            Some("put quotes around it")
        }
        _ => None,
    };
    let found = node.describe();
    report.error(node.at, format!("expected {expected}, found {found}")).maybe_hint(hint.map(str::to_owned))
}

/// The fields of a map while a shape takes them.
pub(crate) struct Fields<'n> {
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// Opens a map and reports every field that `known` does not name; `gone` says what to write instead of fields that
    /// are not understood, or not any more.
    pub fn open(node: &'n Node, known: &[&str], gone: &[(&str, &str)], report: &mut Report) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            unexpected(node, "a map", report);
            return None;
        };
        refuse_twice(entries, report);
        for (key, _) in entries {
            if known.iter().any(|name| unraw(name) == key.text) {
                continue;
            }
            if let Some((name, advice)) = gone.iter().find(|(name, _)| *name == key.text) {
                report.error(key.at, format!("`{name}` is not understood here")).hint(*advice);
                continue;
            }
            if key.text == "<<" {
                report
                    .error(key.at, "merge keys are not understood")
                    .hint("repeat the fields, or use an alias for a whole value");
                continue;
            }
            let names: Vec<&str> = known.iter().map(|name| unraw(name)).collect();
            let hint = did_you_mean(&key.text, names.iter().copied()).unwrap_or_else(|| match names.len() {
                0..=12 => format!("the fields here are {}", list_of(&names)),
                _ => "all fields are explained in docs/CONFIGURATION.md".to_owned(),
            });
            report.error(key.at, format!("unknown field {}", quote(&key.text))).hint(hint);
        }
        Some(Self { entries })
    }

    /// A field's value.
    pub fn get(&self, name: &str) -> Option<&'n Node> {
        let name = unraw(name);
        self.entries.iter().find(|(key, _)| key.text == name).map(|(_, value)| value)
    }
}

fn unraw(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// `` `a`, `b`, `c` ``.
pub(crate) fn list_of<T: AsRef<str>>(words: &[T]) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Makes a struct that is read from a map with these fields and no others. Beside them it has `at`, the place of the
/// map, and `is_broken`, which says that something in it could not be read.
macro_rules! shape {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$field_meta:meta])* $field:ident : $type:ty ),* $(,)? }
        $( gone { $( $gone:literal => $advice:expr ),* $(,)? } )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields, extend("x-order" = [$( stringify!($field) ),*]))]
        #[allow(dead_code, reason = "notes for people are read and checked, and then nobody asks for them")]
        pub(crate) struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
            /// Where the map begins.
            #[schemars(skip)]
            pub at: $crate::config::tree::Position,
            /// Something in it could not be read: nothing follows from a field that is absent.
            #[schemars(skip)]
            pub is_broken: bool,
        }

        impl $crate::config::read::Shape for $name {
            fn read(
                node: &$crate::config::tree::Node,
                report: &mut $crate::config::problem::Report,
            ) -> Option<Self> {
                let errors = report.errors();
                let known = &[$( stringify!($field) ),*];
                let gone: &[(&str, &str)] = &[$( $( ($gone, $advice) ),* )?];
                let fields = $crate::config::read::Fields::open(node, known, gone, report)?;
                $(
                    let $field = <$type as $crate::config::read::Field>::read_field(
                        fields.get(stringify!($field)), stringify!($field), node.at, report,
                    );
                )*
                Some(Self { $( $field: $field?, )* at: node.at, is_broken: report.errors() > errors })
            }
        }
    };
}
pub(crate) use shape;

#[cfg(test)]
mod tests;
