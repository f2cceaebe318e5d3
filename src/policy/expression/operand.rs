//! One side of an operator: what kind of value it is, and what it can be joined with.
//!
//! The parser makes an [`Operand`] of everything it reads. Where a condition is needed it calls [`Operand::boolean`], at
//! a comparison [`Operand::compare`]. These two hold all type rules of the language; what does not fit is an error, so a
//! tree that exists can always be evaluated.
//!
//! A comparison of two fixed texts has the right types and is refused all the same: `"clientType" != "partner"`, with the
//! name in quotes by mistake, would hold for everybody.

use std::ops::Range;

use super::error::ExpressionError;
use super::node::{Names, Node, Quoted};

/// What stands on one side of an operator.
pub(super) struct Operand {
    pub(super) value: Value,
    pub(super) span: Range<usize>,
}

pub(super) enum Value {
    /// True or false.
    Condition(Node),
    /// A text in quotes.
    Text(String),
    /// Texts in brackets.
    List(Vec<String>),
    /// `clientType`
    ClientType,
    /// `groups` or `permissions`, as a whole.
    Set(Set),
}

#[derive(Clone, Copy)]
pub(super) enum Set {
    Groups,
    Permissions,
}

impl Set {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Permissions => "permissions",
        }
    }

    /// The condition that one of these names is in the set.
    pub(super) fn member(self, names: Vec<String>, span: &Range<usize>) -> Result<Node, ExpressionError> {
        if names.iter().any(String::is_empty) {
            return Err(ExpressionError::new(span.clone(), "an empty name is never a member")
                .hint(format!("write a name: `{}[\"name\"]`", self.name())));
        }
        let names = Names::new(names);
        Ok(match self {
            Self::Groups => Node::Group(names),
            Self::Permissions => Node::Permission(names),
        })
    }
}

impl Value {
    /// What it is, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Condition(_) => "a condition".into(),
            Self::Text(text) => format!("the text {}", Quoted(text)),
            Self::List(_) => "a list".into(),
            Self::ClientType => "`clientType`".into(),
            Self::Set(set) => format!("`{}`", set.name()),
        }
    }
}

impl Operand {
    /// The condition that it must be.
    pub(super) fn boolean(self) -> Result<Node, ExpressionError> {
        let message = match &self.value {
            Value::Condition(_) => String::new(),
            other => format!("{} is neither true nor false", other.describe()),
        };
        let hint = match self.value {
            Value::Condition(node) => return Ok(node),
            Value::Text(text) => {
                let text = Quoted(&text);
                format!(
                    "write `clientType == {text}`, `{text} in groups` or `{text} in permissions`, for each name again"
                )
            }
            Value::List(names) => format!("write `{} in groups` or `.. in permissions`", Names::new(names)),
            Value::ClientType => "compare it: `clientType == \"name\"`".into(),
            Value::Set(set) => format!("ask for a member: `{0}.name` or `\"name\" in {0}`", set.name()),
        };
        Err(ExpressionError::new(self.span, message).hint(hint))
    }

    /// The condition that a comparison with another operand is, `span` being where both stand.
    pub(super) fn compare(
        self,
        comparison: Comparison,
        right: Self,
        span: &Range<usize>,
    ) -> Result<Node, ExpressionError> {
        use Comparison::{Equal, In, NotEqual};
        use Value::{ClientType, Condition, List, Set, Text};

        let equality = |node: Node| if comparison == NotEqual { node.not() } else { node };
        match (self.value, comparison, right.value) {
            (ClientType, Equal | NotEqual, Text(name)) | (Text(name), Equal | NotEqual, ClientType) => {
                Ok(equality(Node::ClientType(Names::new(vec![name]))))
            }
            (Condition(left), Equal | NotEqual, Condition(right)) => Ok(equality(Node::Same(Box::new((left, right))))),
            (ClientType, In, List(names)) => Ok(Node::ClientType(Names::new(names))),
            (Text(name), In, Set(set)) => set.member(vec![name], &self.span),
            (List(names), In, Set(set)) => set.member(names, &self.span),
            (left, comparison, right) => {
                let (message, hint) = mismatch(left, comparison, right);
                Err(ExpressionError::new(span.clone(), message).hint(hint))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    In,
}

impl Comparison {
    fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::In => "in",
        }
    }
}

/// What to say about two values that no comparison joins, and what was probably meant.
fn mismatch(left: Value, comparison: Comparison, right: Value) -> (String, String) {
    use Comparison::{Equal, In, NotEqual};
    use Value::{ClientType, Condition, List, Set, Text};

    let sign = comparison.sign();
    match (left, comparison, right) {
        (Text(left), Equal | NotEqual, Text(right)) => (
            "two texts in quotes are compared, which is the same for every request".into(),
            match (&*left, &*right) {
                ("clientType", name) | (name, "clientType") => {
                    format!("a variable stands without quotes: `clientType {sign} {}`", Quoted(name))
                }
                (_, name) => format!("write `clientType {sign} {}`", Quoted(name)),
            },
        ),
        (Text(name), In, List(names)) => (
            "a text in quotes is looked for in a list, which is the same for every request".into(),
            match &*name {
                "clientType" => format!("a variable stands without quotes: `clientType in {}`", Names::new(names)),
                _ => format!("write `clientType in {0}` or `{0} in groups`", Names::new(names)),
            },
        ),
        (ClientType, Equal, List(names)) => {
            ("a client type is compared with a list".into(), format!("write `clientType in {}`", Names::new(names)))
        }
        (ClientType, NotEqual, List(names)) => {
            ("a client type is compared with a list".into(), format!("write `!(clientType in {})`", Names::new(names)))
        }
        (ClientType, In, Text(name)) | (Text(name), In, ClientType) => {
            ("`in` needs a list or a set on its right".into(), format!("write `clientType == {}`", Quoted(&name)))
        }
        (ClientType, _, ClientType) => (
            "`clientType` is compared with itself".into(),
            "compare it with a name in quotes: `clientType == \"name\"`".into(),
        ),
        (ClientType, In, Set(set)) => (
            format!("a client type is no member of `{}`", set.name()),
            format!("write a name in quotes: `\"name\" in {}`", set.name()),
        ),
        (Set(set), Equal, Text(name)) | (Text(name), Equal, Set(set)) => (
            format!("`{}` is a set and cannot equal one name", set.name()),
            format!("write `{} in {}`", Quoted(&name), set.name()),
        ),
        (Set(set), NotEqual, Text(name)) | (Text(name), NotEqual, Set(set)) => (
            format!("`{}` is a set and cannot equal one name", set.name()),
            format!("write `!({} in {})`", Quoted(&name), set.name()),
        ),
        (Set(set), In, List(names)) => {
            ("the set stands on the right of `in`".into(), format!("write `{} in {}`", Names::new(names), set.name()))
        }
        (Condition(_), Equal | NotEqual, Text(text)) | (Text(text), Equal | NotEqual, Condition(_))
            if matches!(&*text, "true" | "false") =>
        {
            ("a condition is compared with a text".into(), format!("write `{text}` without quotes"))
        }
        (left, comparison, right) => (
            format!("{} and {} cannot be joined by `{sign}`", left.describe(), right.describe()),
            match comparison {
                In => "`in` looks for a name in quotes, or one of a list, in `groups` or `permissions`",
                Equal | NotEqual => {
                    "`clientType` is compared with a name in quotes, and a condition with another condition"
                }
            }
            .into(),
        ),
    }
}
