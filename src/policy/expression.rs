//! Rules in words: `clientType == "cms" && (groups.admin || permissions["orders:write"])`.
//!
//! `config` calls [`Expression::parse`] with the text of a rule; a [`Policy`](super::Policy) asks
//! [`Expression::truth`] once for each request. The language:
//!
//! | written | true if |
//! |---|---|
//! | `clientType == "a"`, `===`, `!=`, `!==` | the key's client is (not) of this type, exactly |
//! | `clientType in ["a", "b"]` | it is of one of these |
//! | `groups.a`, `groups["a"]`, `"a" in groups` | the group is there, exactly |
//! | `["a", "b"] in groups` | one of the groups is there |
//! | `permissions.a.b`, `permissions["a:b"]`, `"a:b" in permissions` | the permission of exactly this name is there |
//! | `isBackoffice` | the request came in by the back office |
//! | `true`, `false`, `1`, `0` | always, never |
//! | `!x`, `x && y`, `x \|\| y`, `x == y`, `( )` | as everywhere; `!` binds tightest, then comparisons, `&&`, `\|\|` |
//!
//! Texts stand in double or single quotes, comments begin with `//`, and one `;` at the end does no harm. Everything is
//! checked when the text is read: types, names, size and depth. What could be read can be evaluated for every request, in
//! bounded time and without allocation. Nothing here knows of headers, paths or the clock.
//!
//! A client type can be judged only where a key was shown. Without one, a comparison with a *named* client type is
//! neither true nor false but [`Truth::KeyNeeded`], and so is what hangs on it. `clientType != "partner"` is therefore not
//! a way in for callers without a key. `clientType == ""` names no type: it is true for callers without a key.

mod error;
mod lexer;
mod node;
mod operand;
mod parser;

pub use error::ExpressionError;

use std::collections::HashSet;
use std::fmt;

use crate::client::{ClientType, EffectiveGrants, Group};
use node::{Names, Node};

/// The longest expression, in bytes.
pub const MAX_BYTES: usize = 8 * 1024;

/// How deep parentheses and `!` may nest.
pub const MAX_DEPTH: usize = 64;

/// A rule in words that was read and found good.
///
/// Two that differ only in spelling, such as `groups.a` and `"a" in groups`, are equal. Displayed, it is a text of one
/// line that reads back as an equal expression (if it stays within [`MAX_BYTES`]: `1` is displayed as `true`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    root: Node,
    names_client_type: bool,
}

/// What an expression may ask about one request.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    /// The type of the client whose key was shown; `None` without a key.
    pub client_type: Option<&'a ClientType>,
    /// The end user's groups if a trusted peer names one, else the client's.
    pub groups: &'a [Group],
    /// What the client and its key were granted; `None` without a key.
    pub permissions: Option<EffectiveGrants<'a>>,
    /// The request came in by the back office.
    pub is_backoffice: bool,
}

/// What a condition is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It names a client type, and without a key there is none to compare. To be refused like [`Truth::False`].
    KeyNeeded,
}

impl Truth {
    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::KeyNeeded => Self::KeyNeeded,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// One of the conditions an expression is made of, and what it is worth for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The condition, as [`Expression`] displays it.
    pub condition: String,
    /// What it is worth.
    pub truth: Truth,
}

impl Expression {
    /// Reads a rule. Any text may be passed; the time it takes grows with its length only.
    ///
    /// ```
    /// use keygate::policy::expression::Expression;
    ///
    /// let rule = Expression::parse("clientType === 'cms' && 'admin' in groups")?;
    /// assert_eq!(rule.to_string(), r#"clientType == "cms" && groups.admin"#);
    ///
    /// let error = Expression::parse("!clientType == 'cms'").unwrap_err();
    /// assert_eq!(error.span, 0..11);
    /// assert_eq!(error.message, "`!` cannot deny `clientType`");
    /// assert_eq!(error.hint.as_deref(), Some(r#"write `clientType != "cms"` or `!(clientType == "cms")`"#));
    /// # Ok::<(), keygate::policy::expression::ExpressionError>(())
    /// ```
    ///
    /// # Errors
    /// The first thing about the text that keeps it from being a rule.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let root = parser::parse(text)?;
        let mut names_client_type = false;
        root.for_each_atom(&mut |atom| {
            if let Node::ClientType(names) = atom {
                names_client_type |= names.iter().any(|name| !name.is_empty());
            }
        });
        Ok(Self { root, names_client_type })
    }

    /// Whether the rule holds.
    #[must_use]
    pub fn evaluate(&self, variables: &Variables<'_>) -> bool {
        self.truth(variables) == Truth::True
    }

    /// What the rule is worth: whether it holds, and if not, whether that could be told without a key.
    #[must_use]
    pub fn truth(&self, variables: &Variables<'_>) -> Truth {
        self.root.truth(variables)
    }

    /// Whether a client type is named anywhere in the rule, which closes it to callers who show nothing.
    ///
    /// `clientType == ""` and `clientType != ""` ask whether a key was shown at all and name no type.
    #[must_use]
    pub fn names_client_type(&self) -> bool {
        self.names_client_type
    }

    /// What the rule is worth for everybody, if the constants in it decide: such a rule is often a slip.
    #[must_use]
    pub fn is_constant(&self) -> Option<bool> {
        self.root.constant()
    }

    /// The client types that are named, in order, each once.
    #[must_use]
    pub fn client_types(&self) -> Vec<&str> {
        self.names(|atom| if let Node::ClientType(names) = atom { Some(names) } else { None })
    }

    /// The groups that are named, in order, each once.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        self.names(|atom| if let Node::Group(names) = atom { Some(names) } else { None })
    }

    /// The permissions that are named, in order, each once. A name need not be a
    /// [`Permission`](crate::client::Permission): `permissions.api` is well-formed and never true.
    #[must_use]
    pub fn permissions(&self) -> Vec<&str> {
        self.names(|atom| if let Node::Permission(names) = atom { Some(names) } else { None })
    }

    /// Every condition that hangs on the request, in the order of the text and each once, with what it is worth: for
    /// telling a person why a rule does not hold.
    #[must_use]
    pub fn explain(&self, variables: &Variables<'_>) -> Vec<Finding> {
        let mut seen = HashSet::new();
        let mut findings = Vec::new();
        self.root.for_each_atom(&mut |atom| {
            let condition = atom.to_string();
            if !matches!(atom, Node::Constant(_)) && seen.insert(condition.clone()) {
                findings.push(Finding { condition, truth: atom.truth(variables) });
            }
        });
        findings
    }

    fn names<'e>(&'e self, of: impl Fn(&'e Node) -> Option<&'e Names>) -> Vec<&'e str> {
        let mut found = Vec::new();
        self.root.for_each_atom(&mut |atom| found.extend(of(atom).into_iter().flat_map(Names::iter)));
        found.retain(|name| !name.is_empty());
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

#[cfg(test)]
mod tests;
