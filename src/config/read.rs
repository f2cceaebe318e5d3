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

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::problem::{Report, did_you_mean, quote};
use super::tree::{Key, Kind, Node, Position};
use crate::client::{ClientId, ClientType, Environment, Group, InvalidWord, Permission, Tenant};
use crate::keys::{KeyId, Timestamp};

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
            report.error(key.at, format!("`{}` stands twice in this map", key.text)).hint(format!("first at {first}"));
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

/// A text with a grammar of its own.
pub(crate) trait FromText: Sized {
    /// What it is called in reports: "a duration such as `30s`".
    const EXPECTED: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the text, without the text itself; empty if there is no more to say.
    fn from_text(text: &str) -> Result<Self, String>;

    /// How to mend it, if that can be told.
    fn hint(_text: &str) -> Option<String> {
        None
    }
}

impl<T: FromText> Shape for T {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::Text { value, is_filled } = &node.kind else {
            unexpected(node, T::EXPECTED, report);
            return None;
        };
        match T::from_text(value) {
            Ok(read) => Some(read),
            Err(why) => {
                // What comes out of the environment may be secret.
                let shown = if *is_filled { "what the variables make of it".to_owned() } else { quote(value) };
                let why = if why.is_empty() { why } else { format!(": {why}") };
                report.error(node.at, format!("{shown} is not {}{why}", T::EXPECTED)).maybe_hint(T::hint(value));
                None
            }
        }
    }
}

impl FromText for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
    }
}

/// Gives a text type its schema.
macro_rules! text_schema {
    ($($type:ty => $name:literal, $description:literal, $example:literal;)*) => {$(
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "title": $name,
                    "description": $description,
                    "examples": [$example],
                })
            }
        }
    )*};
}
pub(crate) use text_schema;

/// Reads a header-safe word of the domain.
macro_rules! word_from_text {
    ($($type:ty => $expected:literal;)*) => {$(
        impl FromText for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, String> {
                <$type>::parse(text).map_err(|why: InvalidWord| why.to_string())
            }
        }
    )*};
}

word_from_text! {
    ClientType => "a client type";
    ClientId => "a client id";
    Tenant => "a tenant";
    Environment => "an environment";
    Group => "a group";
    KeyId => "a key id";
}

text_schema! {
    ClientType => "client type", "Visible ASCII characters without blanks and commas.", "cms";
    ClientId => "client id", "Visible ASCII characters without blanks and commas.", "shop";
    Tenant => "tenant", "Visible ASCII characters without blanks and commas.", "acme";
    Environment => "environment", "Visible ASCII characters without blanks and commas.", "live";
    Group => "group", "Visible ASCII characters without blanks and commas.", "admin";
    KeyId => "key id", "Visible ASCII characters without blanks and commas.", "key_1";
    Permission => "permission", "`resource.operation` or `resource:operation`; `*` for any.", "orders.read";
    Header => "header name", "The name of a header, in any case.", "x-api-key";
    Verb => "method", "An HTTP method in capitals.", "GET";
    Network => "network", "An address, or a network in CIDR notation.", "10.0.0.0/8";
    Span => "duration", "Whole numbers with the units `ms`, `s`, `m`, `h`, `d`.", "1m30s";
    Moment => "moment", "RFC 3339 with a time zone.", "2030-01-31T00:00:00Z";
}

impl FromText for Permission {
    const EXPECTED: &'static str = "a permission";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|why| why.to_string())
    }
}

/// The name of a header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Header(pub HeaderName);

impl FromText for Header {
    const EXPECTED: &'static str = "a header name";

    fn from_text(text: &str) -> Result<Self, String> {
        HeaderName::from_str(text)
            .map(Self)
            .map_err(|_| "only letters, digits and `-` `_` `.` and a few other signs may stand in it".to_owned())
    }
}

/// An HTTP method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Verb(pub Method);

/// The methods an endpoint admits unless it says otherwise, and those that `ALL` stands for.
pub(crate) const ORDINARY_METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];

/// Methods beyond the ordinary ones that are registered with IANA for reading, writing and versioning (WebDAV and kin).
/// Anything else is most likely a slip of the pen, and a rule for a method that nobody uses guards nothing.
const OTHER_METHODS: [&str; 22] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNLINK",
    "UNLOCK",
];

impl FromText for Verb {
    const EXPECTED: &'static str = "a method";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "CONNECT" || text == "TRACE" {
            return Err("it is never passed on".to_owned());
        }
        let is_known =
            |name: &str| ORDINARY_METHODS.iter().any(|known| known.as_str() == name) || OTHER_METHODS.contains(&name);
        if is_known(text) {
            return Method::from_str(text).map(Self).map_err(|_| String::new());
        }
        Err(if is_known(&text.to_ascii_uppercase()) {
            "methods are written in capitals"
        } else {
            "there is no such method"
        }
        .to_owned())
    }

    fn hint(text: &str) -> Option<String> {
        let capitals = text.to_ascii_uppercase();
        if capitals != text && Self::from_text(&capitals).is_ok() {
            return Some(format!("write `{capitals}`"));
        }
        did_you_mean(text, ORDINARY_METHODS.iter().map(Method::as_str))
    }
}

/// An address or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(pub IpNet);

impl FromText for Network {
    const EXPECTED: &'static str = "a network";

    fn from_text(text: &str) -> Result<Self, String> {
        let network = match text.parse::<std::net::IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text
                .parse::<IpNet>()
                .map_err(|_| "write an address such as `10.1.2.3` or a network such as `10.0.0.0/8`".to_owned())?,
        };
        if network.trunc() != network {
            return Err(format!("it has bits beyond the prefix; the network is `{}`", network.trunc()));
        }
        Ok(Self(network))
    }
}

/// How long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub Duration);

impl FromText for Span {
    const EXPECTED: &'static str = "a duration";

    fn from_text(text: &str) -> Result<Self, String> {
        const MALFORMED: &str = "write whole numbers with units, such as `500ms`, `10s`, `1m30s`, `2h`, `7d`";
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| MALFORMED.to_owned())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let millis = match &rest[..letters] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(MALFORMED.to_owned()),
            };
            rest = rest[letters..].trim_start_matches(' ');
            let part = number.checked_mul(millis).ok_or("it is too long")?;
            total = total.checked_add(Duration::from_millis(part)).ok_or("it is too long")?;
        }
        match total {
            Duration::ZERO if text.is_empty() => Err(MALFORMED.to_owned()),
            Duration::ZERO => Err("it must be longer than nothing".to_owned()),
            // Ten years: longer ones overflow somebody's arithmetic and are meant by nobody.
            _ if total > Duration::from_secs(10 * 366 * 86_400) => Err("it is longer than ten years".to_owned()),
            _ => Ok(Self(total)),
        }
    }
}

/// A moment in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub Timestamp);

impl FromText for Moment {
    const EXPECTED: &'static str = "a moment";

    fn from_text(text: &str) -> Result<Self, String> {
        jiff::Timestamp::from_str(text)
            .map(|moment| Self(Timestamp::from_millis(moment.as_millisecond())))
            .map_err(|_| "write a date and a time with a time zone, such as `2030-01-31T00:00:00Z`".to_owned())
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSize(pub u64);

impl Shape for ByteSize {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        const EXPECTED: &str = "a size such as `32KiB`";
        let (text, is_filled) = match &node.kind {
            Kind::Number(bytes) => return Some(Self(*bytes)),
            Kind::Text { value, is_filled } => (value, *is_filled),
            _ => {
                unexpected(node, EXPECTED, report);
                return None;
            }
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let unit: Option<u64> = match text[digits..].trim_start_matches(' ') {
            "" | "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            "kB" | "KB" => Some(1_000),
            "MB" => Some(1_000_000),
            "GB" => Some(1_000_000_000),
            _ => None,
        };
        let size = unit.zip(text[..digits].parse::<u64>().ok()).and_then(|(unit, number)| number.checked_mul(unit));
        if size.is_none() {
            let shown = if is_filled { "what the variables make of it".to_owned() } else { quote(text) };
            report
                .error(node.at, format!("{shown} is not a size"))
                .hint("write a whole number with `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB` or `GB`");
        }
        size.map(Self)
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "title": "size",
            "description": "A number of bytes, with `KiB`, `MiB`, `GiB`, `KB`, `MB` or `GB` if need be.",
            "examples": ["32KiB"],
        })
    }
}

impl Shape for bool {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Bool(value) => return Some(*value),
            Kind::Text { value, is_filled: true } if value == "true" || value == "false" => {
                return Some(value == "true");
            }
            Kind::Text { value, is_filled } => {
                let shown = if *is_filled { "what the variables make of it".to_owned() } else { quote(value) };
                let hint = match value.to_ascii_lowercase().as_str() {
                    "true" | "false" => Some("write it without quotes, in small letters"),
                    "yes" | "on" => Some("write `true`"),
                    "no" | "off" => Some("write `false`"),
                    _ => None,
                };
                report
                    .error(node.at, format!("{shown} is neither `true` nor `false`"))
                    .maybe_hint(hint.map(str::to_owned));
            }
            _ => {
                unexpected(node, "`true` or `false`", report);
            }
        }
        None
    }
}

/// Reads whole numbers.
macro_rules! whole_number {
    ($($type:ty),*) => {$(
        impl Shape for $type {
            fn read(node: &Node, report: &mut Report) -> Option<Self> {
                let number = match &node.kind {
                    Kind::Number(value) => Some(*value),
                    Kind::Text { value, is_filled: true } => value.parse().ok(),
                    Kind::OtherNumber(value) => {
                        report.error(node.at, format!("`{value}` is not a whole number from 0 up"));
                        return None;
                    }
                    _ => None,
                };
                let Some(number) = number else {
                    unexpected(node, "a whole number", report);
                    return None;
                };
                let fitting = <$type>::try_from(number).ok();
                if fitting.is_none() {
                    report.error(node.at, format!("{number} is more than {}", <$type>::MAX));
                }
                fitting
            }
        }
    )*};
}
whole_number!(u16, u32, usize);

/// Makes an enum of words of which one must be written.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $( $(#[$variant_meta])* $variant, )* }

        impl $crate::config::read::FromText for $name {
            const EXPECTED: &'static str = concat!("among", $( " `", $word, "`" ),*);

            fn from_text(text: &str) -> Result<Self, String> {
                match text {
                    $( $word => Ok(Self::$variant), )*
                    _ => Err(String::new()),
                }
            }

            fn hint(text: &str) -> Option<String> {
                $crate::config::problem::did_you_mean(text, [$( $word ),*])
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "enum": [$( $word ),*] })
            }
        }
    };
}
pub(crate) use words;

/// Makes an enum of one word that stands for an absence, and a value that stands for itself.
macro_rules! word_or_value {
    ($(#[$meta:meta])* $name:ident, $absent:ident = $word:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub(crate) enum $name<T> {
            #[doc = concat!("The word `", $word, "`.")]
            $absent,
            /// Anything else.
            Value(T),
        }

        impl<T: Shape> Shape for $name<T> {
            fn read(node: &Node, report: &mut Report) -> Option<Self> {
                match &node.kind {
                    Kind::Text { value, .. } if value == $word => Some(Self::$absent),
                    _ => T::read(node, report).map(Self::Value),
                }
            }
        }

        impl<T: JsonSchema> JsonSchema for $name<T> {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                format!("{}Or{}", $word, T::schema_name()).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                json_schema!({ "anyOf": [{ "const": $word }, generator.subschema_for::<T>()] })
            }
        }

        impl<T> $name<T> {
            /// The value, if it is not the word.
            #[allow(dead_code, reason = "one macro, three types, not all of them ask")]
            pub fn value(self) -> Option<T> {
                match self {
                    Self::$absent => None,
                    Self::Value(value) => Some(value),
                }
            }
        }
    };
}

word_or_value!(
    /// A value that can be switched off.
    OffOr, Off = "off"
);
word_or_value!(
    /// A value that can be absent on purpose.
    NoneOr, None = "none"
);
word_or_value!(
    /// A choice that can be left open.
    AnyOr, Any = "any"
);

/// A value for which a written `null` has a meaning: no.
#[derive(Debug, Clone)]
pub(crate) struct Nullable<T>(pub Option<T>);

impl<T: Shape> Shape for Nullable<T> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match node.kind {
            Kind::Null => Some(Self(None)),
            _ => T::read(node, report).map(|value| Self(Some(value))),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Nullable<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Nullable{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<T>(), { "type": "null" }] })
    }
}

/// An expression as it was written: a text, and nothing that YAML takes for something else.
///
/// `allow: !groups.x` without quotes is a YAML tag with nothing behind it, not a text. Other readers make an empty text
/// of it, and an honest rule becomes no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpressionText(pub String);

impl Shape for ExpressionText {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Text { value, .. } if !value.trim().is_empty() => return Some(Self(value.clone())),
            Kind::Text { .. } => {
                report
                    .error(node.at, "the expression is empty")
                    .hint("write `\"true\"` if nothing is to be asked, or leave the field out");
            }
            Kind::Tagged(tag) => {
                report
                    .error(node.at, "an expression that begins with `!` must be quoted: YAML takes it for a tag")
                    .hint(format!("put the whole expression in quotes: \"!{tag}\""));
            }
            Kind::Unusable => {}
            Kind::Null => {
                report.error(node.at, "the expression is empty").hint("leave the line out, or quote the expression");
            }
            Kind::Bool(_) | Kind::Number(_) | Kind::OtherNumber(_) => {
                report
                    .error(node.at, format!("expected an expression, found {}", node.describe()))
                    .hint("an expression is a text: put quotes around it, such as \"true\"");
            }
            Kind::List(_) | Kind::Map(_) => {
                report
                    .error(node.at, format!("expected an expression, found {}", node.describe()))
                    .hint("an expression is a text: put quotes around all of it");
            }
        }
        None
    }
}

text_schema! {
    ExpressionText => "expression", "Over `clientType`, `groups`, `permissions` and `isBackoffice`; always in quotes.",
        "groups.admin && clientType === 'backoffice'";
}

#[cfg(test)]
mod tests;
