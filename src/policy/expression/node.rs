//! A checked expression as a tree: what it is worth, which names it uses, how it is written.
//!
//! The parser makes a [`Node`] of what has the right types, so nothing here can fail. A tree is in normal form: lists of
//! names are sorted and hold each once, `&&` below `&&` is one node, nothing is denied twice. It is never deeper than a
//! few hundred nodes, because the parser bounds how deep a text may nest; walking it by recursion is safe.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{Truth, Variables};

/// One condition, or several joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// `true` or `false`.
    Constant(bool),
    /// `isBackoffice`
    IsBackoffice,
    /// The client's type is one of these; the empty name stands for "no key was shown".
    ClientType(Names),
    /// One of these groups is there.
    Group(Names),
    /// One of these permissions is there.
    Permission(Names),
    /// The opposite.
    Not(Box<Node>),
    /// `&&`
    All(Vec<Node>),
    /// `||`
    Any(Vec<Node>),
    /// `==` between two conditions.
    Same(Box<(Node, Node)>),
}

/// Names in order, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names(Box<[Box<str>]>);

impl Names {
    pub(super) fn new(mut names: Vec<String>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self(names.into_iter().map(String::into_boxed_str).collect())
    }

    fn contain(&self, name: &str) -> bool {
        self.0.binary_search_by(|held| (**held).cmp(name)).is_ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// The name, if there is just one.
    fn single(&self) -> Option<&str> {
        match &*self.0 {
            [name] => Some(name),
            _ => None,
        }
    }
}

impl Node {
    pub(super) fn not(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    pub(super) fn all(nodes: Vec<Self>) -> Self {
        let parts = nodes.into_iter().flat_map(|node| match node {
            Self::All(parts) => parts,
            other => vec![other],
        });
        Self::All(parts.collect())
    }

    pub(super) fn any(nodes: Vec<Self>) -> Self {
        let parts = nodes.into_iter().flat_map(|node| match node {
            Self::Any(parts) => parts,
            other => vec![other],
        });
        Self::Any(parts.collect())
    }

    /// What the tree is worth. Allocates nothing.
    pub(super) fn truth(&self, variables: &Variables<'_>) -> Truth {
        match self {
            Self::Constant(value) => Truth::from(*value),
            Self::IsBackoffice => Truth::from(variables.is_backoffice),
            Self::ClientType(names) => match variables.client_type {
                Some(client_type) => Truth::from(names.contain(client_type.as_str())),
                None if names.contain("") => Truth::True,
                None if names.0.is_empty() => Truth::False,
                None => Truth::KeyNeeded,
            },
            Self::Group(names) => Truth::from(match names.single() {
                Some(name) => variables.groups.iter().any(|group| group.as_str() == name),
                None => variables.groups.iter().any(|group| names.contain(group.as_str())),
            }),
            Self::Permission(names) => {
                Truth::from(variables.permissions.is_some_and(|held| names.iter().any(|name| held.hold(name))))
            }
            Self::Not(inner) => inner.truth(variables).not(),
            Self::All(parts) => {
                let mut result = Truth::True;
                for part in parts {
                    match part.truth(variables) {
                        Truth::False => return Truth::False,
                        Truth::KeyNeeded => result = Truth::KeyNeeded,
                        Truth::True => {}
                    }
                }
                result
            }
            Self::Any(parts) => {
                let mut result = Truth::False;
                for part in parts {
                    match part.truth(variables) {
                        Truth::True => return Truth::True,
                        Truth::KeyNeeded => result = Truth::KeyNeeded,
                        Truth::False => {}
                    }
                }
                result
            }
            Self::Same(pair) => match (pair.0.truth(variables), pair.1.truth(variables)) {
                (Truth::KeyNeeded, _) | (_, Truth::KeyNeeded) => Truth::KeyNeeded,
                (left, right) => Truth::from(left == right),
            },
        }
    }

    /// What the tree is worth for every request, where that can be told from the constants in it.
    pub(super) fn constant(&self) -> Option<bool> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::ClientType(names) | Self::Group(names) | Self::Permission(names) => {
                names.0.is_empty().then_some(false)
            }
            Self::IsBackoffice => None,
            Self::Not(inner) => inner.constant().map(|value| !value),
            Self::All(parts) => joined(parts, false),
            Self::Any(parts) => joined(parts, true),
            Self::Same(pair) => Some(pair.0.constant()? == pair.1.constant()?),
        }
    }

    /// Calls back for every node that holds no other, in the order of the text.
    pub(super) fn for_each_atom<'n>(&'n self, call: &mut dyn FnMut(&'n Node)) {
        match self {
            Self::Not(inner) => inner.for_each_atom(call),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.for_each_atom(call)),
            Self::Same(pair) => {
                pair.0.for_each_atom(call);
                pair.1.for_each_atom(call);
            }
            atom => call(atom),
        }
    }

    fn binding(&self) -> Binding {
        match self {
            Self::Any(_) => Binding::Or,
            Self::All(_) => Binding::And,
            Self::Same(_) | Self::ClientType(_) => Binding::Comparison,
            Self::Group(names) | Self::Permission(names) if names.single().is_none() => Binding::Comparison,
            Self::Not(inner) if inner.unequal().is_some() => Binding::Comparison,
            Self::Not(_) => Binding::Not,
            Self::Constant(_) | Self::IsBackoffice | Self::Group(_) | Self::Permission(_) => Binding::Operand,
        }
    }

    /// Both sides of a comparison by `==`, whose opposite is written `!=`.
    fn unequal(&self) -> Option<(Side<'_>, Side<'_>)> {
        match self {
            Self::Same(pair) => Some((Side::Node(&pair.0), Side::Node(&pair.1))),
            Self::ClientType(names) => names.single().map(|name| (Side::Variable("clientType"), Side::Name(name))),
            _ => None,
        }
    }

    /// Writes the node, in parentheses if what stands around it binds tighter.
    fn write(&self, f: &mut Formatter<'_>, around: Binding) -> fmt::Result {
        if self.binding() < around {
            f.write_char('(')?;
            self.write(f, Binding::Or)?;
            return f.write_char(')');
        }
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::IsBackoffice => f.write_str("isBackoffice"),
            Self::ClientType(names) => match names.single() {
                Some(name) => write!(f, "clientType == {}", Quoted(name)),
                None => write!(f, "clientType in {names}"),
            },
            Self::Group(names) => write_membership(f, "groups", names),
            Self::Permission(names) => write_membership(f, "permissions", names),
            Self::Not(inner) => match inner.unequal() {
                Some((left, right)) => {
                    left.write(f)?;
                    f.write_str(" != ")?;
                    right.write(f)
                }
                None => {
                    f.write_char('!')?;
                    inner.write(f, Binding::Not)
                }
            },
            Self::All(parts) => write_joined(f, parts, " && ", Binding::Comparison),
            Self::Any(parts) => write_joined(f, parts, " || ", Binding::And),
            Self::Same(pair) => {
                pair.0.write(f, Binding::Not)?;
                f.write_str(" == ")?;
                pair.1.write(f, Binding::Not)
            }
        }
    }
}

/// The constant value of joined conditions of which one that is worth `decisive` decides.
fn joined(parts: &[Node], decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for part in parts {
        match part.constant() {
            Some(value) if value == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

/// How tightly a construct holds together, loosest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Comparison,
    Not,
    Operand,
}

/// One side of `!=`.
enum Side<'n> {
    Variable(&'static str),
    Name(&'n str),
    Node(&'n Node),
}

impl Side<'_> {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::Name(name) => Quoted(name).fmt(f),
            Self::Node(node) => node.write(f, Binding::Not),
        }
    }
}

fn write_joined(f: &mut Formatter<'_>, parts: &[Node], sign: &str, around: Binding) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(sign)?;
        }
        part.write(f, around)?;
    }
    Ok(())
}

fn write_membership(f: &mut Formatter<'_>, set: &str, names: &Names) -> fmt::Result {
    match names.single() {
        Some(name) if name.split('.').all(is_segment) => write!(f, "{set}.{name}"),
        Some(name) => write!(f, "{set}[{}]", Quoted(name)),
        None => write!(f, "{names} in {set}"),
    }
}

/// Whether a name may stand after a dot without quotes.
fn is_segment(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A text as it is written in an expression, with quotes.
pub(super) struct Quoted<'t>(pub(super) &'t str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}

impl Display for Names {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (index, name) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            Quoted(name).fmt(f)?;
        }
        f.write_char(']')
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write(f, Binding::Or)
    }
}
