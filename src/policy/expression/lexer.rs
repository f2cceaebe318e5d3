//! From the text of an expression to its words and signs.
//!
//! [`tokens`] reads the whole text once, from left to right, and gives every token with the bytes it came from. It knows
//! no grammar: `in`, `true` and `false` are names here, because `groups.in` is a fine group.
//!
//! A comment may not hold a sign such as `&&`. YAML joins the lines of a folded block, and a comment on one line would
//! then swallow the conditions on the next ones without a word, leaving a rule more open than it was written.

use std::ops::Range;

use super::error::ExpressionError;

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind<'t> {
    /// A letter or `_`, then letters, digits, `_` and `-`.
    Name(&'t str),
    /// What stands between quotes, with escapes resolved.
    Text(String),
    /// `1` or `0`.
    Digit(bool),
    /// `&&`
    And,
    /// `||`
    Or,
    /// `!`
    Not,
    /// `==` or `===`
    Equal,
    /// `!=` or `!==`
    NotEqual,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    ListOpen,
    /// `]`
    ListClose,
    /// `,`
    Comma,
    /// `.`
    Dot,
    /// `;`
    Semicolon,
    /// Where the text ends; always the last token, and nowhere else.
    End,
}

/// A word or sign, and the bytes of the text it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind<'t>,
    pub(super) span: Range<usize>,
}

/// Cuts a text into tokens; the last is always [`Kind::End`].
///
/// # Errors
/// The first character that cannot be part of a token.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ExpressionError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let start = lexer.at;
        let kind = lexer.token()?;
        let is_end = kind == Kind::End;
        tokens.push(Token { kind, span: start..lexer.at });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    /// Byte offset of what has not been read yet; always on a character boundary.
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Takes a sign if it is the next thing.
    fn take(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    /// Takes the characters that satisfy a test.
    fn take_while(&mut self, test: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !test(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn skip_blanks(&mut self) -> Result<(), ExpressionError> {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            let start = self.at;
            if !self.take("//") {
                return Ok(());
            }
            let comment = self.take_while(|c| !matches!(c, '\n' | '\r'));
            if let Some(sign) = ["&&", "||", "==", "!="].into_iter().find(|sign| comment.contains(sign)) {
                return Err(ExpressionError::new(start..self.at, format!("a comment may not contain `{sign}`")).hint(
                    "in a folded YAML block (`>`) a comment takes in the lines after it; write the block with `|`",
                ));
            }
        }
    }

    fn token(&mut self) -> Result<Kind<'t>, ExpressionError> {
        // The longest sign comes first.
        const SIGNS: [(&str, Kind<'static>); 14] = [
            ("===", Kind::Equal),
            ("==", Kind::Equal),
            ("!==", Kind::NotEqual),
            ("!=", Kind::NotEqual),
            ("&&", Kind::And),
            ("||", Kind::Or),
            ("!", Kind::Not),
            ("(", Kind::Open),
            (")", Kind::Close),
            ("[", Kind::ListOpen),
            ("]", Kind::ListClose),
            (",", Kind::Comma),
            (".", Kind::Dot),
            (";", Kind::Semicolon),
        ];
        for (sign, kind) in SIGNS {
            if self.take(sign) {
                return Ok(kind);
            }
        }
        match self.rest().chars().next() {
            None => Ok(Kind::End),
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => Ok(Kind::Name(self.take_while(is_name_character))),
            Some(c) if c.is_ascii_digit() => self.digit(),
            Some(c) => Err(self.stray(c)),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Kind<'t>, ExpressionError> {
        let start = self.at;
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = characters.next() {
            let here = start + offset;
            match c {
                c if c == quote => {
                    self.at = here + quote.len_utf8();
                    return Ok(Kind::Text(text));
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\'' | '\\'))) => text.push(escaped),
                    Some((next, other)) => {
                        let end = start + next + other.len_utf8();
                        return Err(ExpressionError::new(
                            here..end,
                            "a backslash stands only before a quote or a backslash",
                        )
                        .hint("write `\\\\` for a backslash"));
                    }
                    None => break,
                },
                c if c.is_control() => {
                    return Err(ExpressionError::new(
                        here..here + c.len_utf8(),
                        format!("a text in quotes contains {c:?}"),
                    ));
                }
                c => text.push(c),
            }
        }
        Err(ExpressionError::new(start..self.text.len(), "a text in quotes does not end")
            .hint(format!("close it with {quote}")))
    }

    fn digit(&mut self) -> Result<Kind<'t>, ExpressionError> {
        let start = self.at;
        let follows_dot = self.text[..start].trim_end().ends_with('.');
        let word = self.take_while(is_name_character);
        match word {
            "0" if !follows_dot => Ok(Kind::Digit(false)),
            "1" if !follows_dot => Ok(Kind::Digit(true)),
            _ if follows_dot => {
                Err(ExpressionError::new(start..self.at, "a name after `.` may not begin with a digit")
                    .hint(format!("write it in brackets and quotes: `[\"{word}\"]`")))
            }
            _ => Err(ExpressionError::new(start..self.at, format!("`{word}` is not a value here"))
                .hint("the only numbers are `1` for true and `0` for false; names stand in quotes")),
        }
    }

    fn stray(&self, c: char) -> ExpressionError {
        let error = ExpressionError::new(self.at..self.at + c.len_utf8(), format!("unexpected character {c:?}"));
        match c {
            '&' => error.hint("write `&&`"),
            '|' => error.hint("write `||`"),
            '=' => error.hint("write `==` to compare"),
            '\u{201c}'..='\u{201f}' | '\u{2018}'..='\u{201b}' | '\u{ab}' | '\u{bb}' | '`' | '\u{b4}' => {
                error.hint("write straight quotes, `\"` or `'`")
            }
            ':' => error.hint("a name with `:` stands in brackets and quotes: `permissions[\"orders:read\"]`"),
            '#' => error.hint("a comment begins with `//`"),
            '/' | '*' => error.hint("a comment begins with `//`, and a name with other signs stands in quotes"),
            '<' | '>' | '+' | '-' | '?' | '%' | '~' | '^' => {
                error.hint("the operators are `==`, `!=`, `in`, `!`, `&&` and `||`")
            }
            c if c.is_whitespace() || c.is_control() || !c.is_ascii() && !c.is_alphanumeric() => {
                error.hint("it may have come in by copy and paste; delete it or type a plain blank")
            }
            c if c.is_alphabetic() => {
                error.hint("names outside quotes are plain letters; write others as `groups[\"..\"]`")
            }
            _ => error,
        }
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}
