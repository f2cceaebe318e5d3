//! Random expressions, against a naive evaluator that shares nothing with the real one.

use proptest::prelude::*;

use super::*;

/// An expression as a person thinks of it.
#[derive(Debug, Clone)]
enum Naive {
    Constant(bool),
    Backoffice,
    ClientType { name: String, equal: bool },
    ClientTypeIn(Vec<String>),
    Group(Vec<String>),
    Permission(Vec<String>),
    Not(Box<Naive>),
    And(Vec<Naive>),
    Or(Vec<Naive>),
    Equal { left: Box<Naive>, right: Box<Naive>, equal: bool },
}

impl Naive {
    /// `None` for "there is no key to tell".
    fn evaluate(&self, caller: &Caller) -> Option<bool> {
        let has_group = |name: &String| caller.groups.iter().any(|group| group.as_str() == name);
        let has_permission = |name: &String| match &caller.grants {
            Grants::Listed(held) => held.iter().any(|permission| permission.as_str() == name),
            _ => false,
        };
        match self {
            Self::Constant(value) => Some(*value),
            Self::Backoffice => Some(caller.is_backoffice),
            Self::ClientType { name, equal } => {
                let is_it = match &caller.client_type {
                    Some(client_type) => client_type.as_str() == name,
                    None if name.is_empty() => true,
                    None => return None,
                };
                Some(is_it == *equal)
            }
            Self::ClientTypeIn(names) => {
                let one = |name: &String| Self::ClientType { name: name.clone(), equal: true };
                Self::Or(names.iter().map(one).collect()).evaluate(caller)
            }
            Self::Group(names) => Some(names.iter().any(has_group)),
            Self::Permission(names) => Some(names.iter().any(has_permission)),
            Self::Not(inner) => inner.evaluate(caller).map(|value| !value),
            Self::And(parts) => {
                let values: Vec<_> = parts.iter().map(|part| part.evaluate(caller)).collect();
                if values.contains(&Some(false)) {
                    Some(false)
                } else if values.contains(&None) {
                    None
                } else {
                    Some(true)
                }
            }
            Self::Or(parts) => {
                let values: Vec<_> = parts.iter().map(|part| part.evaluate(caller)).collect();
                if values.contains(&Some(true)) {
                    Some(true)
                } else if values.contains(&None) {
                    None
                } else {
                    Some(false)
                }
            }
            Self::Equal { left, right, equal } => Some((left.evaluate(caller)? == right.evaluate(caller)?) == *equal),
        }
    }

    /// Writes it down, choosing among spellings, blanks and needless parentheses.
    fn spell(&self, choices: &mut Choices) -> String {
        let text = match self {
            Self::Constant(value) => choices.of(&[&value.to_string(), if *value { "1" } else { "0" }]),
            Self::Backoffice => "isBackoffice".to_string(),
            Self::ClientType { name, equal } => {
                let sign = if *equal { choices.of(&["==", "==="]) } else { choices.of(&["!=", "!=="]) };
                let (name, sign) = (choices.quote(name), choices.blanks(&sign));
                if choices.next().is_multiple_of(4) {
                    format!("{name}{sign}clientType")
                } else {
                    format!("clientType{sign}{name}")
                }
            }
            Self::ClientTypeIn(names) => format!("clientType in {}", choices.list(names)),
            Self::Group(names) => choices.membership("groups", names),
            Self::Permission(names) => choices.membership("permissions", names),
            Self::Not(inner) => format!("!({})", inner.spell(choices)),
            Self::And(parts) => choices.join(parts, "&&"),
            Self::Or(parts) => choices.join(parts, "||"),
            Self::Equal { left, right, equal } => {
                let sign = if *equal { choices.of(&["==", "==="]) } else { choices.of(&["!=", "!=="]) };
                format!("({}){}({})", left.spell(choices), choices.blanks(&sign), right.spell(choices))
            }
        };
        if choices.next().is_multiple_of(8) { format!("({text})") } else { text }
    }
}

/// A source of small decisions.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn of(&mut self, texts: &[&str]) -> String {
        let index = usize::try_from(self.next()).unwrap() % texts.len();
        texts[index].to_string()
    }

    fn blanks(&mut self, sign: &str) -> String {
        let (before, after) = (self.of(&["", " ", "\n"]), self.of(&["", "  ", "\t", "// why\n"]));
        format!("{before}{sign}{after}")
    }

    fn quote(&mut self, name: &str) -> String {
        let quote = self.of(&["\"", "'"]);
        format!("{quote}{}{quote}", name.replace('\\', "\\\\").replace(&quote, &format!("\\{quote}")))
    }

    fn list(&mut self, names: &[String]) -> String {
        let quoted: Vec<_> = names.iter().map(|name| self.quote(name)).collect();
        format!("[{}]", quoted.join(&self.of(&[",", ", "])))
    }

    fn membership(&mut self, set: &str, names: &[String]) -> String {
        match names {
            [name] => match self.next() % 3 {
                0 => format!("{} in {set}", self.quote(name)),
                1 if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) => {
                    format!("{set}.{name}")
                }
                _ => format!("{set}[{}]", self.quote(name)),
            },
            names => format!("{} in {set}", self.list(names)),
        }
    }

    fn join(&mut self, parts: &[Naive], sign: &str) -> String {
        let spelled: Vec<_> = parts.iter().map(|part| format!("({})", part.spell(self))).collect();
        spelled.join(&self.blanks(sign))
    }
}

fn some_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "test-crud", "orders.read", "orders:read", "it's", "\"q\"", "back\\slash"])
        .prop_map(String::from)
}

fn some_naive() -> impl Strategy<Value = Naive> {
    let names = || prop::collection::vec(some_name(), 1..4);
    let client_type = || prop_oneof![4 => some_name(), 1 => Just(String::new())];
    let leaf = prop_oneof![
        any::<bool>().prop_map(Naive::Constant),
        Just(Naive::Backoffice),
        (client_type(), any::<bool>()).prop_map(|(name, equal)| Naive::ClientType { name, equal }),
        prop::collection::vec(client_type(), 0..4).prop_map(Naive::ClientTypeIn),
        names().prop_map(Naive::Group),
        names().prop_map(Naive::Permission),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| Naive::Not(Box::new(part))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Naive::And),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Naive::Or),
            (inner.clone(), inner, any::<bool>()).prop_map(|(left, right, equal)| Naive::Equal {
                left: Box::new(left),
                right: Box::new(right),
                equal
            }),
        ]
    })
}

fn some_caller() -> impl Strategy<Value = Caller> {
    let groups = prop::collection::vec(some_name().prop_map(|name| Group::parse(&name).unwrap()), 0..4);
    let permissions = prop::collection::vec(some_name(), 0..4)
        .prop_map(|names| names.iter().filter_map(|name| Permission::parse(name).ok()).collect::<Vec<_>>());
    let client_type = prop::option::of(some_name().prop_map(|name| ClientType::parse(&name).unwrap()));
    let grants = prop_oneof![Just(Grants::Unrestricted), permissions.prop_map(Grants::listed)];
    (client_type, groups, grants, any::<bool>()).prop_map(|(client_type, groups, grants, is_backoffice)| Caller {
        client_type,
        groups,
        grants,
        is_backoffice,
    })
}

/// Texts made of what the language is made of.
fn some_soup() -> impl Strategy<Value = String> {
    let pieces = vec![
        "clientType",
        "groups",
        "permissions",
        "isBackoffice",
        "true",
        "false",
        "in",
        "0",
        "1",
        "and",
        "not",
        "foo",
        ".a",
        "[\"a\"]",
        "[",
        "]",
        "(",
        ")",
        "!",
        "!=",
        "==",
        "===",
        "&&",
        "||",
        "&",
        "|",
        "=",
        ",",
        ".",
        ";",
        "'a'",
        "\"a:b\"",
        "\"",
        "'",
        "\\",
        "//",
        "\n",
        " ",
        "\u{201c}",
        "\u{e9}",
        "2",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..14).prop_map(|pieces| pieces.concat())
}

/// What holds for any text at all.
fn check_any_text(text: &str) -> Result<(), TestCaseError> {
    match Expression::parse(text) {
        Ok(expression) => {
            let displayed = expression.to_string();
            prop_assert_eq!(Expression::parse(&displayed), Ok(expression.clone()), "{}", displayed);
        }
        Err(error) => {
            prop_assert!(error.span.start <= error.span.end);
            prop_assert!(text.get(error.span.clone()).is_some(), "{:?} in {:?}", error, text);
            prop_assert!(!error.message.is_empty());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn an_expression_is_worth_what_a_naive_reader_thinks(naive in some_naive(), seed in any::<u64>(), caller in some_caller()) {
        let text = naive.spell(&mut Choices(seed));
        let expression = Expression::parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error:?}")))?;
        let expected = naive.evaluate(&caller).map_or(Truth::KeyNeeded, Truth::from);
        prop_assert_eq!(expression.truth(&caller.variables()), expected, "{}", text);
        if let Some(constant) = expression.is_constant() {
            prop_assert_eq!(expected, Truth::from(constant), "{}", text);
        }
    }

    #[test]
    fn the_spelling_does_not_matter_and_the_display_reads_back(naive in some_naive(), one in any::<u64>(), other in any::<u64>()) {
        let expression = Expression::parse(&naive.spell(&mut Choices(one))).unwrap();
        prop_assert_eq!(&Expression::parse(&naive.spell(&mut Choices(other))).unwrap(), &expression);
        let displayed = expression.to_string();
        prop_assert_eq!(Expression::parse(&displayed), Ok(expression.clone()), "{}", displayed);
    }

    #[test]
    fn with_a_key_every_expression_is_decided(naive in some_naive(), seed in any::<u64>(), mut caller in some_caller()) {
        caller.client_type = Some(ClientType::parse("a").unwrap());
        let expression = Expression::parse(&naive.spell(&mut Choices(seed))).unwrap();
        prop_assert_ne!(expression.truth(&caller.variables()), Truth::KeyNeeded);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        check_any_text(&text)?;
    }

    #[test]
    fn any_mixture_of_tokens_is_read_or_refused(text in some_soup()) {
        check_any_text(&text)?;
    }
}
