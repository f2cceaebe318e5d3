//! From tokens to a tree, with every type checked on the way.
//!
//! One function for each level of the grammar, loosest first: `or`, `and`, `comparison`, `unary`, `operand`. Each gives an
//! [`Operand`], which knows what kind of value it is and with which others it can be joined.
//!
//! Nesting is counted, so that no text makes this recursion, or one over the tree it gives, deeper than the stack.
//! Chains of `&&` and `||` are loops. A chain of `!` nests like parentheses do, though it does not look like it.
//!
//! A good part of the code is about the errors: a rule that is refused must say what its author probably meant.

use std::ops::Range;

use super::error::{ExpressionError, NAMES, did_you_mean};
use super::lexer::{Kind, Token, tokens};
use super::node::{Node, Quoted};
use super::operand::{Comparison, Operand, Set, Value};
use super::{MAX_BYTES, MAX_DEPTH};

/// Reads a whole text.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn parse(text: &str) -> Result<Node, ExpressionError> {
    if text.len() > MAX_BYTES {
        let allowed = (0..=MAX_BYTES).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        let message = format!("an expression is longer than {MAX_BYTES} bytes");
        return Err(ExpressionError::new(allowed..text.len(), message)
            .hint("give the clients a group or a permission in common and ask for that"));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    if *parser.peek() == Kind::End {
        return Err(ExpressionError::new(0..text.len(), "the expression is empty").hint(
            "leave it out if there is no such rule; in YAML put quotes around an expression that begins with `!` or `#`",
        ));
    }
    let whole = parser.or()?;
    if *parser.peek() == Kind::Semicolon {
        parser.advance();
        if *parser.peek() != Kind::End {
            let span = parser.here();
            return Err(ExpressionError::new(span, "nothing may follow the `;`")
                .hint("an expression is one condition; join several by `&&` or `||`"));
        }
    }
    if *parser.peek() != Kind::End {
        return Err(parser.misplaced(&whole));
    }
    whole.boolean()
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    /// Index of the next token; the last one is never passed.
    at: usize,
    /// How many parentheses and `!` are open.
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> &Kind<'t> {
        &self.tokens[self.at].kind
    }

    /// The kind of the token after the next one.
    fn peek_second(&self) -> &Kind<'t> {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    fn here(&self) -> Range<usize> {
        self.tokens[self.at].span.clone()
    }

    /// Takes the next token; the end is never taken.
    fn advance(&mut self) -> Token<'t> {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// Goes one level down, for as long as `inside` reads.
    fn nested<T>(
        &mut self,
        opened: &Range<usize>,
        inside: impl FnOnce(&mut Self) -> Result<T, ExpressionError>,
    ) -> Result<T, ExpressionError> {
        if self.depth == MAX_DEPTH {
            return Err(ExpressionError::new(opened.clone(), format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    fn or(&mut self) -> Result<Operand, ExpressionError> {
        self.joined(&Kind::Or, Self::and, Node::any)
    }

    fn and(&mut self) -> Result<Operand, ExpressionError> {
        self.joined(&Kind::And, Self::comparison, Node::all)
    }

    /// Operands with one sign between them.
    fn joined(
        &mut self,
        sign: &Kind<'_>,
        operand: fn(&mut Self) -> Result<Operand, ExpressionError>,
        join: fn(Vec<Node>) -> Node,
    ) -> Result<Operand, ExpressionError> {
        let first = operand(self)?;
        if self.peek() != sign {
            return Ok(first);
        }
        let mut span = first.span.clone();
        let mut parts = vec![first.boolean()?];
        while self.peek() == sign {
            self.advance();
            let next = operand(self)?;
            span.end = next.span.end;
            parts.push(next.boolean()?);
        }
        Ok(Operand { value: Value::Condition(join(parts)), span })
    }

    fn comparison(&mut self) -> Result<Operand, ExpressionError> {
        let left = self.unary()?;
        let Some(comparison) = self.comparison_sign() else { return Ok(left) };
        self.advance();
        let right = self.unary()?;
        if self.comparison_sign().is_some() {
            return Err(ExpressionError::new(self.here(), "comparisons cannot be chained")
                .hint("join two comparisons by `&&` or `||`, or put one in parentheses"));
        }
        let span = left.span.start..right.span.end;
        let node = left.compare(comparison, right, &span)?;
        Ok(Operand { value: Value::Condition(node), span })
    }

    fn comparison_sign(&self) -> Option<Comparison> {
        match self.peek() {
            Kind::Equal => Some(Comparison::Equal),
            Kind::NotEqual => Some(Comparison::NotEqual),
            Kind::Name("in") => Some(Comparison::In),
            _ => None,
        }
    }

    fn unary(&mut self) -> Result<Operand, ExpressionError> {
        if *self.peek() != Kind::Not {
            return self.operand();
        }
        let sign = self.advance().span;
        let denied = self.nested(&sign, Self::unary)?;
        let span = sign.start..denied.span.end;
        if matches!(denied.value, Value::Condition(_)) {
            return denied.boolean().map(|node| Operand { value: Value::Condition(node.not()), span });
        }
        let hint = match (&denied.value, self.peek(), self.peek_second()) {
            (Value::ClientType, Kind::Equal, Kind::Text(name)) => {
                let name = Quoted(name);
                format!("write `clientType != {name}` or `!(clientType == {name})`")
            }
            (Value::Text(name), Kind::Name("in"), Kind::Name(set)) => format!("write `!({} in {set})`", Quoted(name)),
            (Value::List(_), Kind::Name("in"), Kind::Name(set)) => format!("write `!([..] in {set})`"),
            (Value::Set(set), ..) => format!("ask for a member: `!{}.name`", set.name()),
            _ => "put the comparison behind it in parentheses: `!( .. )`".into(),
        };
        Err(ExpressionError::new(span, format!("`!` cannot deny {}", denied.value.describe())).hint(hint))
    }

    fn operand(&mut self) -> Result<Operand, ExpressionError> {
        let span = self.here();
        let value = match self.peek() {
            Kind::Name(name) => {
                let name = *name;
                return self.named(name);
            }
            Kind::Open => return self.parenthesised(),
            Kind::ListOpen => return self.list(),
            Kind::Digit(value) => Value::Condition(Node::Constant(*value)),
            Kind::Text(text) => Value::Text(text.clone()),
            _ => return Err(self.missing_operand()),
        };
        self.advance();
        Ok(Operand { value, span })
    }

    fn parenthesised(&mut self) -> Result<Operand, ExpressionError> {
        let open = self.advance().span;
        let inside = self.nested(&open, Self::or)?;
        match self.peek() {
            Kind::Close => {
                let close = self.advance().span;
                Ok(Operand { span: open.start..close.end, ..inside })
            }
            Kind::End => Err(ExpressionError::new(open, "this parenthesis is never closed").hint("a `)` is missing")),
            _ => Err(self.misplaced(&inside)),
        }
    }

    fn list(&mut self) -> Result<Operand, ExpressionError> {
        let open = self.advance().span;
        let mut names = Vec::new();
        loop {
            let token = self.advance();
            match token.kind {
                Kind::ListClose => {
                    return Ok(Operand { value: Value::List(names), span: open.start..token.span.end });
                }
                Kind::Text(name) => names.push(name),
                Kind::End => {
                    return Err(ExpressionError::new(open, "this list is never closed").hint("a `]` is missing"));
                }
                Kind::Name(name) => {
                    return Err(ExpressionError::new(token.span, "a list holds texts in quotes only")
                        .hint(format!("write {}", Quoted(name))));
                }
                _ => return Err(ExpressionError::new(token.span, "a list holds texts in quotes only")),
            }
            match self.peek() {
                Kind::Comma => {
                    self.advance();
                }
                Kind::ListClose | Kind::End => {}
                _ => return Err(ExpressionError::new(self.here(), "the names of a list are separated by `,`")),
            }
        }
    }

    /// A word, with the members that are asked for after it.
    fn named(&mut self, name: &str) -> Result<Operand, ExpressionError> {
        let mut span = self.advance().span;
        let value = match name {
            "true" => Value::Condition(Node::Constant(true)),
            "false" => Value::Condition(Node::Constant(false)),
            "isBackoffice" => Value::Condition(Node::IsBackoffice),
            "clientType" => Value::ClientType,
            "groups" => Value::Set(Set::Groups),
            "permissions" => Value::Set(Set::Permissions),
            unknown => return Err(self.unknown(unknown, span)),
        };
        let Some((member, end)) = self.members()? else { return Ok(Operand { value, span }) };
        span.end = end;
        let Value::Set(set) = value else {
            return Err(ExpressionError::new(span, format!("`{name}` has no members")).hint(match value {
                Value::ClientType => format!("write `clientType == {}`", Quoted(&member)),
                _ => format!("write `{name}` alone"),
            }));
        };
        let node = set.member(vec![member], &span)?;
        Ok(Operand { value: Value::Condition(node), span })
    }

    /// `.a["b"].c` after a name, joined by dots, and where it ends.
    fn members(&mut self) -> Result<Option<(String, usize)>, ExpressionError> {
        let mut members: Option<(String, usize)> = None;
        loop {
            let (member, end) = match self.peek() {
                Kind::Dot => {
                    self.advance();
                    match self.peek() {
                        Kind::Name(name) => (String::from(*name), self.advance().span.end),
                        _ => {
                            return Err(ExpressionError::new(self.here(), "a name is missing after `.`")
                                .hint("write a name that does not begin with a letter as `groups[\"name\"]`"));
                        }
                    }
                }
                Kind::ListOpen => {
                    let open = self.advance().span;
                    let token = self.advance();
                    let Kind::Text(text) = token.kind else {
                        return Err(ExpressionError::new(token.span, "a name in brackets stands in quotes")
                            .hint("write `groups[\"name\"]`"));
                    };
                    if *self.peek() != Kind::ListClose {
                        return Err(ExpressionError::new(open, "this bracket is not closed after the name")
                            .hint("brackets hold one name; for several write `[\"a\", \"b\"] in groups`"));
                    }
                    (text, self.advance().span.end)
                }
                _ => return Ok(members),
            };
            members = Some(match members {
                None => (member, end),
                Some((before, _)) => (before + "." + &member, end),
            });
        }
    }

    fn unknown(&self, name: &str, span: Range<usize>) -> ExpressionError {
        let error = ExpressionError::new(span, format!("unknown name `{name}`"));
        match name {
            "not" | "NOT" => error.hint("write `!` to deny a condition"),
            "and" | "AND" => error.hint("write `&&`"),
            "or" | "OR" => error.hint("write `||`"),
            _ => match (did_you_mean(name), self.peek()) {
                (Some(known), _) => error.hint(format!("did you mean `{known}`?")),
                (None, Kind::Name("in")) => error.hint(format!("a name stands in quotes: {}", Quoted(name))),
                (None, _) => error.hint(format!("the names are {NAMES}; everything else stands in quotes")),
            },
        }
    }

    /// The error for a token that stands where a condition should begin.
    fn missing_operand(&self) -> ExpressionError {
        let error = |message: &str| ExpressionError::new(self.here(), message);
        match self.peek() {
            Kind::End => error("the expression ends where a condition or a value should follow"),
            Kind::Close => error("a condition is missing before this parenthesis"),
            Kind::And | Kind::Or => error("a condition is missing before this operator"),
            Kind::Equal | Kind::NotEqual => error("a value is missing before this comparison"),
            Kind::Semicolon => error("a condition is missing before `;`"),
            _ => error("a condition or a value should stand here"),
        }
    }

    /// The error for a token that stands where an operator or the end should be.
    fn misplaced(&self, before: &Operand) -> ExpressionError {
        let error = |message: &str| ExpressionError::new(self.here(), message);
        match self.peek() {
            Kind::Name("and" | "AND") => error("`and` is not an operator").hint("write `&&`"),
            Kind::Name("or" | "OR") => error("`or` is not an operator").hint("write `||`"),
            Kind::Name("not" | "NOT") | Kind::Not => {
                error("`!` stands before a condition only").hint("write `!(\"name\" in groups)`")
            }
            Kind::Name("contains" | "includes" | "has") => {
                error("there is no such operator").hint("write `\"name\" in groups`")
            }
            Kind::Close => error("no parenthesis was opened for this one").hint("remove it, or add a `(`"),
            Kind::Open => error("there are no functions").hint("write `\"name\" in groups` or `groups.name`"),
            Kind::Semicolon => error("`;` stands at the end only"),
            Kind::Dot | Kind::ListOpen if matches!(before.value, Value::Condition(_)) => {
                error("a condition has no members")
            }
            _ => error("an operator is missing before this").hint("join conditions by `&&` or `||`"),
        }
    }
}
