//! YAML text as a tree in which every key and every scalar knows where it stands.
//!
//! [`parse`] is called once for each YAML file. It is the only function of the project that knows the YAML library; what
//! it returns is judged by [`read`](mod@super::read), which can therefore report everything that is wrong with a file at
//! once, each with line and column.
//!
//! The tree keeps what other readers of YAML lose: a key that stands twice (both are there), a `!tag` (never taken for
//! text), a value that is missing. It is bounded: a small file whose aliases unfold to a huge one is refused.
//!
//! The library tells positions in errors only. So each scalar is read by a visitor that keeps the value aside and then
//! fails on purpose; the failure comes back stamped with the place. Containers have no failure of their own: their place
//! is their first key or item.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// A place in one of the files of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub(crate) struct Position {
    /// Index into the sources of the load.
    pub source: u16,
    /// From 1; 0 where it is not known.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

/// One value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub at: Position,
    pub kind: Kind,
}

/// What a value is, as YAML sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    Bool(bool),
    /// A whole number from 0 up.
    Number(u64),
    /// A negative or fractional number, as printed.
    OtherNumber(String),
    Text {
        value: String,
        /// A `${VARIABLE}` was filled in: the text may stand for a number or a truth value.
        is_filled: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// `!name` and whatever followed it.
    Tagged(String),
    /// What could not be made sense of, and has been reported.
    Unusable,
}

/// A key of a map with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub at: Position,
    pub text: String,
}

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotYaml {
    pub at: Position,
    pub message: String,
    pub hint: Option<&'static str>,
}

impl Node {
    /// Calls `with` for this node and everything below it.
    pub fn walk(&self, with: &mut dyn FnMut(&Node)) {
        with(self);
        match &self.kind {
            Kind::List(items) => items.iter().for_each(|item| item.walk(with)),
            Kind::Map(entries) => entries.iter().for_each(|(_, value)| value.walk(with)),
            _ => {}
        }
    }

    /// What kind of value it is, for people.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a truth value",
            Kind::Number(_) | Kind::OtherNumber(_) => "a number",
            Kind::Text { .. } => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Tagged(_) => "a YAML tag",
            Kind::Unusable => "nothing usable",
        }
    }
}

/// The most nodes of one tree, aliases unfolded.
const MAX_NODES: usize = 500_000;
/// The most bytes of text in one tree, aliases unfolded.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// Reads YAML text; an empty text is a null.
///
/// # Errors
/// The first place where the text is not YAML; the library cannot go on from there.
pub(crate) fn parse(text: &str, source: u16) -> Result<Node, NotYaml> {
    let budget = Budget { source, nodes: Cell::new(MAX_NODES), bytes: Cell::new(MAX_TEXT_BYTES) };
    Grow { budget: &budget }.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| {
        let location = error.location();
        let place = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let at = location.map_or(Position { source, line: 0, column: 0 }, |location| Position {
            source,
            line: place(location.line()),
            column: place(location.column()),
        });
        let text = error.to_string();
        let message = text.split(" at line ").next().unwrap_or(&text);
        let (message, hint) = explain(message);
        NotYaml { at, message, hint }
    })
}

/// Says in plain words what the YAML library says in its own.
fn explain(message: &str) -> (String, Option<&'static str>) {
    const QUOTE: Option<&str> = Some(
        "put quotes around all of a text that begins with one of `! & * @ { [ | > % \"` or a backtick, or that contains `: `",
    );
    let known: &[(&str, &str, Option<&'static str>)] = &[
        ("mapping values are not allowed", "a `: ` is not allowed here", QUOTE),
        ("cannot start any token", "no text may begin with this character", QUOTE),
        ("did not find expected key", "a field and `: ` are expected here", QUOTE),
        ("unknown anchor", "`*` refers to an anchor that is not there", QUOTE),
        ("did not find expected alphabetic or numeric character", "`*` and `&` must be followed by a name", QUOTE),
        ("while parsing a tag", "`!` begins a YAML tag that is not complete", QUOTE),
        ("while scanning a tag", "`!` begins a YAML tag that is not complete", QUOTE),
        ("tab character", "a tab stands where only blanks may", Some("indent with blanks")),
        ("more than one document", "there is a second YAML document", Some("keep one; remove the line `---`")),
        ("unfolds to more", "the document unfolds to more than this program reads", None),
        ("a key of a map must be", "a key of a map must be a plain text", QUOTE),
        ("repetition limit", "aliases unfold to too much", None),
        ("recursion limit", "values are nested too deep", None),
        ("control characters are not allowed", "there is a control character", None),
    ];
    for (theirs, ours, hint) in known {
        if message.contains(theirs) {
            return ((*ours).to_owned(), *hint);
        }
    }
    (message.to_owned(), Some("look for a missing quote, bracket or blank, here or on the line before"))
}

struct Budget {
    source: u16,
    nodes: Cell<usize>,
    bytes: Cell<usize>,
}

impl Budget {
    fn spend<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let too_large = || E::custom("the document unfolds to more than this program reads");
        self.nodes.set(self.nodes.get().checked_sub(1).ok_or_else(too_large)?);
        self.bytes.set(self.bytes.get().checked_sub(bytes).ok_or_else(too_large)?);
        Ok(())
    }

    /// Reads the place from the end of a message of the library, which leaves it out for the very first character.
    fn position(&self, message: &str) -> Position {
        let numbers = message.rsplit_once(" at line ").and_then(|(_, end)| {
            let (line, column) = end.split_once(" column ")?;
            Some((line.parse().ok()?, column.parse().ok()?))
        });
        let (line, column) = numbers.unwrap_or((1, 1));
        Position { source: self.source, line, column }
    }
}

/// Grows one node.
#[derive(Clone, Copy)]
struct Grow<'b> {
    budget: &'b Budget,
}

impl<'de> DeserializeSeed<'de> for Grow<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let scalar = RefCell::new(None);
        match deserializer.deserialize_any(Look { budget: self.budget, scalar: &scalar }) {
            Ok(kind) => {
                let at = match &kind {
                    Kind::List(items) => items.first().map(|item| item.at),
                    Kind::Map(entries) => entries.first().map(|(key, _)| key.at),
                    _ => None,
                };
                Ok(Node { at: at.unwrap_or(Position { source: self.budget.source, line: 0, column: 0 }), kind })
            }
            Err(error) => match scalar.take() {
                Some(kind) => Ok(Node { at: self.budget.position(&error.to_string()), kind }),
                None => Err(error),
            },
        }
    }
}

/// Looks at one value: containers come back as such, scalars are put aside and reported as a failure that has a place.
struct Look<'b> {
    budget: &'b Budget,
    scalar: &'b RefCell<Option<Kind>>,
}

impl Look<'_> {
    fn keep<E: Error>(self, kind: Kind) -> Result<Kind, E> {
        let bytes = match &kind {
            Kind::Text { value, .. } | Kind::OtherNumber(value) | Kind::Tagged(value) => value.len(),
            _ => 0,
        };
        self.budget.spend(bytes)?;
        self.scalar.replace(Some(kind));
        Err(E::custom("here"))
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Kind, E> {
        self.keep(Kind::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Kind, E> {
        self.keep(Kind::Number(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Kind, E> {
        self.keep(u64::try_from(value).map_or_else(|_| Kind::OtherNumber(value.to_string()), Kind::Number))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Kind, E> {
        self.keep(Kind::OtherNumber(value.to_string()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Kind, E> {
        self.keep(Kind::OtherNumber(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Kind, E> {
        self.keep(Kind::OtherNumber(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Kind, E> {
        self.keep(Kind::Text { value: value.to_owned(), is_filled: false })
    }

    fn visit_unit<E: Error>(self) -> Result<Kind, E> {
        self.keep(Kind::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Kind, E> {
        self.keep(Kind::Null)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Kind, A::Error> {
        let (tag, content) = access.variant::<String>()?;
        // The content must be consumed, or the parser would stand at it for ever.
        content.newtype_variant::<IgnoredAny>()?;
        self.keep(Kind::Tagged(tag))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Kind, A::Error> {
        self.budget.spend(0)?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Grow { budget: self.budget })? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Kind, A::Error> {
        self.budget.spend(0)?;
        let mut entries = Vec::new();
        while let Some(key) = access.next_key_seed(Grow { budget: self.budget })? {
            let text = match key.kind {
                Kind::Text { value, .. } | Kind::OtherNumber(value) => value,
                Kind::Number(value) => value.to_string(),
                Kind::Bool(value) => value.to_string(),
                Kind::Null | Kind::Tagged(_) | Kind::List(_) | Kind::Map(_) | Kind::Unusable => {
                    return Err(A::Error::custom("a key of a map must be a plain text"));
                }
            };
            let mut value = access.next_value_seed(Grow { budget: self.budget })?;
            if value.at.line == 0 {
                value.at = key.at;
            }
            entries.push((Key { at: key.at, text }, value));
        }
        Ok(Kind::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line a node: place, kind and text.
    fn outline(node: &Node) -> Vec<String> {
        let mut lines = Vec::new();
        node.walk(&mut |node| {
            let Position { line, column, .. } = node.at;
            let what = match &node.kind {
                Kind::Null => "null".to_owned(),
                Kind::Bool(value) => value.to_string(),
                Kind::Number(value) => value.to_string(),
                Kind::OtherNumber(value) => format!("other {value}"),
                Kind::Text { value, .. } => format!("{value:?}"),
                Kind::List(items) => format!("list of {}", items.len()),
                Kind::Map(entries) => {
                    let keys: Vec<_> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
                    format!("map of {}", keys.join(" "))
                }
                Kind::Tagged(tag) => format!("tag {tag}"),
                Kind::Unusable => "unusable".to_owned(),
            };
            lines.push(format!("{line}:{column} {what}"));
        });
        lines
    }

    #[test]
    fn everything_has_its_place() {
        let text = "a: 1\nb:\n  - x: \"\u{e9}\"\n    y: -2\n  - [true, ~, 1.5]\nb: |\n  two\n  lines\nempty: {}\nt: !x [1, {a: b}]\nu: !groups.y\nlast: 'z'\n";
        let node = parse(text, 0).expect("yaml");
        assert_eq!(
            outline(&node),
            [
                "1:1 map of a b b empty t u last",
                "1:4 1",
                "3:5 list of 2",
                "3:5 map of x y",
                "3:8 \"\u{e9}\"",
                "4:8 other -2",
                "5:6 list of 3",
                "5:6 true",
                "5:12 null",
                "5:15 other 1.5",
                "6:4 \"two\\nlines\\n\"",
                "9:1 map of ",
                "10:4 tag x",
                "11:4 tag groups.y",
                "12:7 \"z\"",
            ]
        );
    }

    #[test]
    fn aliases_are_unfolded_and_bounded() {
        let node = parse("a: &x {k: v}\nb: *x\n", 0).expect("yaml");
        assert_eq!(outline(&node)[3..], ["1:8 map of k", "1:11 \"v\""]);

        let long = format!("a: &x \"{}\"\nb: [{}]\n", "y".repeat(100_000), ["*x"; 200].join(", "));
        let error = parse(&long, 0).expect_err("too much");
        assert_eq!(error.message, "the document unfolds to more than this program reads");
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_a_place() {
        for (text, line, column, message) in [
            ("allow: a: b", 1, 9, "a `: ` is not allowed here"),
            ("x: 1\nallow: *y", 2, 8, "`*` refers to an anchor that is not there"),
            ("allow: @y", 1, 8, "no text may begin with this character"),
            ("allow: `y`", 1, 8, "no text may begin with this character"),
            ("a: [1, 2", 2, 1, "did not find expected ',' or ']'"),
            ("a: 1\n---\nb: 2", 0, 0, "there is a second YAML document"),
            ("a:\n\t- b", 2, 1, "no text may begin with this character"),
            ("[a]: b", 1, 1, "a key of a map must be a plain text"),
        ] {
            let error = parse(text, 0).expect_err(text);
            assert_eq!((error.at.line, error.at.column, error.message.as_str()), (line, column, message), "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let error = parse(&"[".repeat(10_000), 0).expect_err("too deep");
        assert!(
            error.message.contains("nested too deep") || error.message.contains("did not find"),
            "{}",
            error.message
        );
    }
}
