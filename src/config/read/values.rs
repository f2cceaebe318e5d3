//! The kinds of values that can stand in a field: texts with a grammar of their own, words from a closed list, numbers,
//! durations, sizes.
//!
//! A text implements [`FromText`] and says what it is called and how to mend it; `words!` makes an enum of words, and
//! `word_or_value!` a value that a word may stand in for. Each tells the JSON schema the same that it tells a reader of a
//! report.
//!
//! A rule is read with care: an unquoted expression that begins with `!` is a tag to YAML and would come out as an empty
//! text, which is an open door nobody meant to leave open. [`ExpressionText`] refuses it.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Shape, unexpected};
use crate::client::{ClientId, ClientType, Environment, Group, InvalidWord, Permission, Plan, Tenant, parse_network};
use crate::config::problem::{Report, did_you_mean, mask, quote};
use crate::config::tree::{Kind, Node};
use crate::keys::{InvalidTimestamp, KeyId, Timestamp};

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
    Plan => "a plan";
    KeyId => "a key id";
}

text_schema! {
    ClientType => "client type", "Visible ASCII characters without blanks and commas.", "cms";
    ClientId => "client id", "Visible ASCII characters without blanks and commas.", "shop";
    Tenant => "tenant", "Visible ASCII characters without blanks and commas.", "acme";
    Environment => "environment", "Visible ASCII characters without blanks and commas.", "live";
    Group => "group", "Visible ASCII characters without blanks and commas.", "admin";
    Plan => "plan", "Visible ASCII characters without blanks and commas.", "free";
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
        parse_network(text).map(Self)
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
        text.parse().map(Self).map_err(|why: InvalidTimestamp| why.to_string())
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
                    .hint(format!("put the whole expression in quotes: \"!{}\"", mask(tag)));
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
