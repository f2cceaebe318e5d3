//! Rules in words.

use keygate::client::{ClientType, EffectiveGrants, Grants, Group, Permission};
use keygate::policy::expression::{Expression, MAX_BYTES, Truth, Variables};

use super::choices::Choices;
use super::rules::{CALLERS, Caller, truth};

/// An expression that is taken is worth what a second reader finds it worth, for callers of every kind, and prints in a form
/// that is worth the same.
pub fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Expression::parse(text) {
        Ok(expression) => {
            is_worth_the_same(&expression, text);
            let printed = expression.to_string();
            // `1` is displayed as `true`, and may be too long then.
            if printed.len() <= MAX_BYTES {
                let again = Expression::parse(&printed).expect("what is printed can be read");
                assert_eq!(again, expression, "{printed:?} is not {text:?}");
                is_worth_the_same(&again, text);
            }
        }
        Err(error) => {
            assert!(error.span.start <= error.span.end && error.span.end <= text.len());
            assert!(text.is_char_boundary(error.span.start) && text.is_char_boundary(error.span.end));
        }
    }
}

/// A rule made of decisions: always well-formed, so it is taken, and worth what a second reader finds.
pub fn choices(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut text = String::new();
    any(&mut choices, 5, &mut text);
    let expression = Expression::parse(&text).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
    is_worth_the_same(&expression, &text);
    let again = Expression::parse(&expression.to_string()).expect("what is printed can be read");
    assert_eq!(again, expression);
}

fn is_worth_the_same(expression: &Expression, text: &str) {
    for (number, caller) in CALLERS.iter().enumerate() {
        let found = with_variables(caller, |variables| {
            let found = expression.truth(variables);
            assert_eq!(expression.evaluate(variables), found == Truth::True);
            if let Some(constant) = expression.is_constant() {
                assert_eq!(found, Truth::from(constant), "{text:?} is constant for some");
            }
            found
        });
        let expected = match truth(text, caller) {
            Some(value) => Truth::from(value),
            None => Truth::KeyNeeded,
        };
        assert_eq!(found, expected, "{text:?} for caller {number}");
        // What no key was shown for is never true where a type is named and nothing else is.
        assert!(found != Truth::KeyNeeded || caller.client_type.is_none() && expression.names_client_type());
    }
}

fn with_variables<T>(caller: &Caller, take: impl FnOnce(&Variables<'_>) -> T) -> T {
    let client_type = caller.client_type.map(|name| ClientType::parse(name).expect("a word"));
    let groups: Vec<Group> = caller.groups.iter().map(|name| Group::parse(name).expect("a word")).collect();
    let grants = |held: Option<&[&str]>| match held {
        None => Grants::Unrestricted,
        Some(held) => Grants::listed(held.iter().map(|name| Permission::parse(name).expect("a right")).collect()),
    };
    let (client, key) = (grants(caller.client), grants(caller.key));
    take(&Variables {
        client_type: client_type.as_ref(),
        groups: &groups,
        permissions: client_type.as_ref().map(|_| EffectiveGrants { client: &client, key: &key }),
        is_backoffice: caller.is_backoffice,
    })
}

const NAMES: [&str; 8] = ["a", "b", "admin", "test-crud", "in", "true", "cms", "x"];
const RIGHTS: [&str; 5] = ["a.read", "b:c", "orders.read", "d.list", "a"];
const BLANKS: [&str; 6] = ["", " ", "\n", "\t ", " // why\n", "\r\n"];

// One function for each level of the grammar, with as few parentheses as it allows: they would hide what binds tighter.

fn any(choices: &mut Choices<'_>, depth: usize, out: &mut String) {
    all(choices, depth, out);
    while choices.once_in(3) {
        sign("||", choices, out);
        all(choices, depth, out);
    }
}

fn all(choices: &mut Choices<'_>, depth: usize, out: &mut String) {
    compared(choices, depth, out);
    while choices.once_in(3) {
        sign("&&", choices, out);
        compared(choices, depth, out);
    }
}

fn compared(choices: &mut Choices<'_>, depth: usize, out: &mut String) {
    match choices.below(6) {
        0 => {
            let equal = choices.of(&["==", "===", "!=", "!=="]);
            let name = quoted(choices.of(&NAMES), choices);
            let (left, right) = if choices.once_in(3) { (&*name, "clientType") } else { ("clientType", &*name) };
            out.push_str(left);
            sign(equal, choices, out);
            out.push_str(right);
        }
        1 => {
            let names = list(&NAMES, choices);
            out.push_str("clientType");
            sign(" in ", choices, out);
            out.push_str(&names);
        }
        2 => {
            let (set, names): (_, &[&str]) =
                if choices.once_in(2) { ("groups", &NAMES) } else { ("permissions", &RIGHTS) };
            let left = if choices.once_in(2) { list(names, choices) } else { quoted(choices.of(names), choices) };
            out.push_str(&left);
            sign(" in ", choices, out);
            out.push_str(set);
        }
        3 => {
            let equal = choices.of(&["==", "===", "!=", "!=="]);
            denied(choices, depth, out);
            sign(equal, choices, out);
            denied(choices, depth, out);
        }
        _ => denied(choices, depth, out),
    }
}

fn denied(choices: &mut Choices<'_>, depth: usize, out: &mut String) {
    for _ in 0..choices.below(4).saturating_sub(1) {
        sign("!", choices, out);
    }
    match choices.below(7) {
        0 if depth > 0 => {
            out.push('(');
            any(choices, depth - 1, out);
            out.push(')');
        }
        1 => out.push_str(choices.of(&["true", "false", "1", "0"])),
        2 => out.push_str("isBackoffice"),
        3 => {
            out.push_str("groups");
            sign(".", choices, out);
            out.push_str(choices.of(&NAMES));
        }
        4 => {
            let name = quoted(choices.of(&RIGHTS), choices);
            out.push_str("permissions[");
            sign(&name, choices, out);
            out.push(']');
        }
        5 => out.push_str(choices.of(&["permissions.a.read", "permissions.orders['read']", "permissions['d'].list"])),
        _ => out.push_str("groups.admin"),
    }
}

fn sign(sign: &str, choices: &mut Choices<'_>, out: &mut String) {
    out.push_str(choices.of(&BLANKS));
    out.push_str(sign);
    out.push_str(choices.of(&BLANKS));
}

fn quoted(name: &str, choices: &mut Choices<'_>) -> String {
    let quote = choices.of(&["'", "\""]);
    format!("{quote}{name}{quote}")
}

fn list(names: &[&str], choices: &mut Choices<'_>) -> String {
    let chosen: Vec<_> = (0..=choices.below(3)).map(|_| choices.of(names)).collect();
    let chosen: Vec<_> = chosen.into_iter().map(|name| quoted(name, choices)).collect();
    format!("[{}]", chosen.join(choices.of(&[",", ", ", " ,\n"])))
}
