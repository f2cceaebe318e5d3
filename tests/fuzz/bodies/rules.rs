//! Rules in words, read a second time by another method.
//!
//! [`truth`] takes a text that the program has taken, cuts it at its loosest operator outside of quotes and brackets, and
//! goes on with the parts. It makes no tree, checks nothing and is slow; what it shares with the program is the manual.

/// Who calls, as a rule sees it.
pub struct Caller {
    pub client_type: Option<&'static str>,
    pub groups: &'static [&'static str],
    /// What the client was granted, if it was limited. No wildcards: they are not seen by rules.
    pub client: Option<&'static [&'static str]>,
    /// The same of the key.
    pub key: Option<&'static [&'static str]>,
    pub is_backoffice: bool,
}

/// Callers of every kind.
pub const CALLERS: &[Caller] = &[
    Caller { client_type: None, groups: &[], client: None, key: None, is_backoffice: false },
    Caller { client_type: None, groups: &["a", "admin"], client: None, key: None, is_backoffice: true },
    Caller {
        client_type: Some("a"),
        groups: &["a"],
        client: Some(&["a.read", "b:c"]),
        key: None,
        is_backoffice: false,
    },
    Caller {
        client_type: Some("b"),
        groups: &["test-crud", "b"],
        client: None,
        key: Some(&["a.read"]),
        is_backoffice: true,
    },
    Caller {
        client_type: Some("cms"),
        groups: &["admin", "it's", "in", "true"],
        client: Some(&["a.read", "b:c", "orders.read"]),
        key: Some(&["b:c", "d.list"]),
        is_backoffice: false,
    },
];

/// What stands on one side of an operator.
enum Side {
    /// `None`: without a key it cannot be told.
    Condition(Option<bool>),
    Text(String),
    List(Vec<String>),
    ClientType,
    Groups,
    Permissions,
}

/// What a rule is worth for a caller; `None` if it takes a key to tell.
pub fn truth(text: &str, caller: &Caller) -> Option<bool> {
    let text = without_comments(text);
    let text = text.trim();
    condition(side(text.strip_suffix(';').unwrap_or(text), caller))
}

fn condition(side: Side) -> Option<bool> {
    match side {
        Side::Condition(value) => value,
        _ => panic!("a condition was taken for one that is none"),
    }
}

/// Comments as blanks. A text in quotes may hold what looks like one.
fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if let Some(end) = quoted_end(text, at) {
            out.push_str(&text[at..end]);
            while characters.peek().is_some_and(|(next, _)| *next < end) {
                characters.next();
            }
        } else if text[at..].starts_with("//") {
            while characters.peek().is_some_and(|(_, c)| !matches!(c, '\n' | '\r')) {
                characters.next();
            }
            out.push(' ');
        } else {
            out.push(c);
        }
    }
    out
}

/// Where a text in quotes ends that begins here.
fn quoted_end(text: &str, at: usize) -> Option<usize> {
    let quote = text[at..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut is_escaped = false;
    for (offset, c) in text[at + 1..].char_indices() {
        if !is_escaped && c == quote {
            return Some(at + 1 + offset + 1);
        }
        is_escaped = !is_escaped && c == '\\';
    }
    None
}

/// Places that are neither in quotes nor in brackets.
fn open_places(text: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let (mut depth, mut skip_to) = (0, 0);
    for (at, c) in text.char_indices() {
        if at < skip_to {
            continue;
        }
        if let Some(end) = quoted_end(text, at) {
            skip_to = end;
        }
        depth -= i32::from(matches!(c, ')' | ']'));
        if depth == 0 {
            places.push(at);
        }
        depth += i32::from(matches!(c, '(' | '['));
    }
    places
}

fn cut<'t>(text: &'t str, operator: &str) -> Vec<&'t str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for at in open_places(text) {
        if at >= from && text[at..].starts_with(operator) {
            parts.push(&text[from..at]);
            from = at + operator.len();
        }
    }
    parts.push(&text[from..]);
    parts
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// The comparison of a text that holds no looser operator: what stands before it, which it is, what stands behind it.
fn comparison(text: &str) -> Option<(&str, &str, &str)> {
    for at in open_places(text) {
        let rest = &text[at..];
        if let Some(sign) = ["===", "!==", "==", "!="].into_iter().find(|sign| rest.starts_with(sign)) {
            return Some((&text[..at], &sign[..2], &rest[sign.len()..]));
        }
        let before = text[..at].trim_end();
        if let Some(behind) = rest.strip_prefix("in") {
            let is_alone = !text[..at].ends_with(is_word) && !behind.starts_with(is_word);
            if is_alone && !before.is_empty() && !before.ends_with('.') {
                return Some((before, "in", behind));
            }
        }
    }
    None
}

fn side(text: &str, caller: &Caller) -> Side {
    let text = text.trim();
    let any = cut(text, "||");
    if any.len() > 1 {
        let values: Vec<_> = any.into_iter().map(|part| condition(side(part, caller))).collect();
        return Side::Condition(if values.contains(&Some(true)) {
            Some(true)
        } else {
            (!values.contains(&None)).then_some(false)
        });
    }
    let all = cut(text, "&&");
    if all.len() > 1 {
        let values: Vec<_> = all.into_iter().map(|part| condition(side(part, caller))).collect();
        return Side::Condition(if values.contains(&Some(false)) {
            Some(false)
        } else {
            (!values.contains(&None)).then_some(true)
        });
    }
    if let Some((left, sign, right)) = comparison(text) {
        let value = compare(side(left, caller), sign == "in", side(right, caller), caller);
        return Side::Condition(if sign == "!=" { value.map(|value| !value) } else { value });
    }
    if let Some(denied) = text.strip_prefix('!') {
        return Side::Condition(condition(side(denied, caller)).map(|value| !value));
    }
    if let Some(inside) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return side(inside, caller);
    }
    if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let names = cut(inside, ",").into_iter().map(str::trim).filter(|name| !name.is_empty());
        return Side::List(names.map(unquoted).collect());
    }
    if text.starts_with(['"', '\'']) {
        return Side::Text(unquoted(text));
    }
    word(text, caller)
}

fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let mut is_escaped = false;
    for c in text[1..text.len() - 1].chars() {
        if !is_escaped && c == '\\' {
            is_escaped = true;
        } else {
            is_escaped = false;
            out.push(c);
        }
    }
    out
}

/// A word, and the members that are asked for behind it.
fn word(text: &str, caller: &Caller) -> Side {
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut members = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('.') {
            let after = after.trim_start();
            let end = after.find(|c| !is_word(c)).unwrap_or(after.len());
            members.push(after[..end].to_owned());
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix('[') {
            let after = after.trim_start();
            let end = quoted_end(after, 0).expect("a name in brackets stands in quotes");
            members.push(unquoted(&after[..end]));
            rest = after[end..].trim_start().strip_prefix(']').expect("a bracket is closed");
        } else {
            assert!(rest.is_empty(), "{rest:?} was taken behind {name:?}");
            break;
        }
    }
    let member = (!members.is_empty()).then(|| members.join("."));
    match (name, member) {
        ("true" | "1", None) => Side::Condition(Some(true)),
        ("false" | "0", None) => Side::Condition(Some(false)),
        ("isBackoffice", None) => Side::Condition(Some(caller.is_backoffice)),
        ("clientType", None) => Side::ClientType,
        ("groups", None) => Side::Groups,
        ("permissions", None) => Side::Permissions,
        ("groups", Some(member)) => Side::Condition(Some(is_in_group(&member, caller))),
        ("permissions", Some(member)) => Side::Condition(Some(holds(&member, caller))),
        _ => panic!("{text:?} was taken"),
    }
}

fn compare(left: Side, is_in: bool, right: Side, caller: &Caller) -> Option<bool> {
    match (left, is_in, right) {
        (Side::Condition(left), false, Side::Condition(right)) => Some(left? == right?),
        (Side::ClientType, false, Side::Text(name)) | (Side::Text(name), false, Side::ClientType) => {
            is_of_type(&[name], caller)
        }
        (Side::ClientType, true, Side::List(names)) => is_of_type(&names, caller),
        (Side::Text(name), true, Side::Groups) => Some(is_in_group(&name, caller)),
        (Side::Text(name), true, Side::Permissions) => Some(holds(&name, caller)),
        (Side::List(names), true, Side::Groups) => Some(names.iter().any(|name| is_in_group(name, caller))),
        (Side::List(names), true, Side::Permissions) => Some(names.iter().any(|name| holds(name, caller))),
        _ => panic!("two things were compared that cannot be"),
    }
}

/// Without a key only the empty name can be told to be the caller's type.
fn is_of_type(names: &[String], caller: &Caller) -> Option<bool> {
    match caller.client_type {
        Some(client_type) => Some(names.iter().any(|name| name == client_type)),
        None if names.is_empty() => Some(false),
        None => names.iter().any(String::is_empty).then_some(true),
    }
}

fn is_in_group(name: &str, caller: &Caller) -> bool {
    caller.groups.contains(&name)
}

/// A right is seen if one side lists it and the other does not cut it away.
fn holds(name: &str, caller: &Caller) -> bool {
    if caller.client_type.is_none() {
        return false;
    }
    let lists = |side: Option<&[&str]>| side.is_some_and(|held| held.contains(&name));
    let allows = |side: Option<&[&str]>| side.is_none_or(|held| held.contains(&name));
    (lists(caller.client) && allows(caller.key)) || (lists(caller.key) && allows(caller.client))
}
