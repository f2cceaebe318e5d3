//! What is not an expression, and what its author is told.

use super::*;

#[test]
fn what_cannot_be_meant_is_refused_with_place_reason_and_hint() {
    for (text, (start, end), message, hint) in REFUSED {
        let error = Expression::parse(text).expect_err(text);
        let hint = (!hint.is_empty()).then(|| String::from(*hint));
        let expected = ExpressionError { span: *start..*end, message: String::from(*message), hint };
        assert_eq!(error, expected, "{text:?}, at fault: {:?}", &text[error.span.clone()]);
        assert_eq!(error.to_string(), *message);
    }
}

/// The text, the bytes at fault, the message and the hint, empty if there is none.
type Refused = (&'static str, (usize, usize), &'static str, &'static str);

#[rustfmt::skip]
const REFUSED: &[Refused] = &[
    // Nothing at all.
    ("", (0, 0), "the expression is empty", "leave it out if there is no such rule; in YAML put quotes around an expression that begins with `!` or `#`"),
    ("  \n", (0, 3), "the expression is empty", "leave it out if there is no such rule; in YAML put quotes around an expression that begins with `!` or `#`"),
    ("// only a comment", (0, 17), "the expression is empty", "leave it out if there is no such rule; in YAML put quotes around an expression that begins with `!` or `#`"),
    (";", (0, 1), "a condition is missing before `;`", ""),
    // `!` binds tighter than comparisons.
    ("!clientType == \"A\"", (0, 11), "`!` cannot deny `clientType`", "write `clientType != \"A\"` or `!(clientType == \"A\")`"),
    ("!clientType != 'A'", (0, 11), "`!` cannot deny `clientType`", "put the comparison behind it in parentheses: `!( .. )`"),
    ("!clientType", (0, 11), "`!` cannot deny `clientType`", "put the comparison behind it in parentheses: `!( .. )`"),
    ("!\"admin\" in groups", (0, 8), "`!` cannot deny the text \"admin\"", "write `!(\"admin\" in groups)`"),
    ("!groups", (0, 7), "`!` cannot deny `groups`", "ask for a member: `!groups.name`"),
    ("![\"a\"] in groups", (0, 6), "`!` cannot deny a list", "write `!([..] in groups)`"),
    ("!\"a\"", (0, 4), "`!` cannot deny the text \"a\"", "put the comparison behind it in parentheses: `!( .. )`"),
    // Operators of other languages.
    ("groups.a and groups.b", (9, 12), "`and` is not an operator", "write `&&`"),
    ("groups.a or groups.b", (9, 11), "`or` is not an operator", "write `||`"),
    ("not groups.a", (0, 3), "unknown name `not`", "write `!` to deny a condition"),
    ("and groups.a", (0, 3), "unknown name `and`", "write `&&`"),
    ("\"a\" not in groups", (4, 7), "`!` stands before a condition only", "write `!(\"name\" in groups)`"),
    ("groups.a AND groups.b", (9, 12), "`and` is not an operator", "write `&&`"),
    ("groups.a & groups.b", (9, 10), "unexpected character '&'", "write `&&`"),
    ("groups.a | groups.b", (9, 10), "unexpected character '|'", "write `||`"),
    ("clientType = \"A\"", (11, 12), "unexpected character '='", "write `==` to compare"),
    ("clientType ==== \"A\"", (14, 15), "unexpected character '='", "write `==` to compare"),
    ("groups.a &&& groups.b", (11, 12), "unexpected character '&'", "write `&&`"),
    // Unknown names.
    ("clienttype == \"A\"", (0, 10), "unknown name `clienttype`", "did you mean `clientType`?"),
    ("group.admin", (0, 5), "unknown name `group`", "did you mean `groups`?"),
    ("Groups.admin", (0, 6), "unknown name `Groups`", "did you mean `groups`?"),
    ("permision.a", (0, 9), "unknown name `permision`", "did you mean `permissions`?"),
    ("isbackoffice", (0, 12), "unknown name `isbackoffice`", "did you mean `isBackoffice`?"),
    ("True", (0, 4), "unknown name `True`", "did you mean `true`?"),
    ("foo", (0, 3), "unknown name `foo`", "the names are `clientType`, `groups`, `permissions` and `isBackoffice`; everything else stands in quotes"),
    ("tenant == \"a\"", (0, 6), "unknown name `tenant`", "the names are `clientType`, `groups`, `permissions` and `isBackoffice`; everything else stands in quotes"),
    ("admin in groups", (0, 5), "unknown name `admin`", "a name stands in quotes: \"admin\""),
    ("null", (0, 4), "unknown name `null`", "the names are `clientType`, `groups`, `permissions` and `isBackoffice`; everything else stands in quotes"),
    // Members of what has none.
    ("clientType.x", (0, 12), "`clientType` has no members", "write `clientType == \"x\"`"),
    ("clientType[\"x\"] || groups.a", (0, 15), "`clientType` has no members", "write `clientType == \"x\"`"),
    ("isBackoffice.x", (0, 14), "`isBackoffice` has no members", "write `isBackoffice` alone"),
    ("true.x", (0, 6), "`true` has no members", "write `true` alone"),
    ("\"a\".b", (3, 4), "an operator is missing before this", "join conditions by `&&` or `||`"),
    ("(groups.a).b", (10, 11), "a condition has no members", ""),
    // What is neither true nor false.
    ("groups", (0, 6), "`groups` is neither true nor false", "ask for a member: `groups.name` or `\"name\" in groups`"),
    ("permissions && groups.a", (0, 11), "`permissions` is neither true nor false", "ask for a member: `permissions.name` or `\"name\" in permissions`"),
    ("clientType", (0, 10), "`clientType` is neither true nor false", "compare it: `clientType == \"name\"`"),
    ("\"admin\"", (0, 7), "the text \"admin\" is neither true nor false", "write `clientType == \"admin\"`, `\"admin\" in groups` or `\"admin\" in permissions`, for each name again"),
    ("[\"admin\"]", (0, 9), "a list is neither true nor false", "write `[\"admin\"] in groups` or `.. in permissions`"),
    ("clientType == \"A\" || \"B\"", (21, 24), "the text \"B\" is neither true nor false", "write `clientType == \"B\"`, `\"B\" in groups` or `\"B\" in permissions`, for each name again"),
    ("groups.a && [\"b\"]", (12, 17), "a list is neither true nor false", "write `[\"b\"] in groups` or `.. in permissions`"),
    // Quotes of word processors.
    ("clientType == \u{201c}A\u{201d}", (14, 17), "unexpected character '\u{201c}'", "write straight quotes, `\"` or `'`"),
    ("clientType == \u{2018}A\u{2019}", (14, 17), "unexpected character '\u{2018}'", "write straight quotes, `\"` or `'`"),
    // Parentheses and brackets.
    ("(groups.a", (0, 1), "this parenthesis is never closed", "a `)` is missing"),
    ("((groups.a)", (0, 1), "this parenthesis is never closed", "a `)` is missing"),
    ("groups.a)", (8, 9), "no parenthesis was opened for this one", "remove it, or add a `(`"),
    ("groups.a || (groups.b && groups.c", (12, 13), "this parenthesis is never closed", "a `)` is missing"),
    ("()", (1, 2), "a condition is missing before this parenthesis", ""),
    ("(groups.a groups.b)", (10, 16), "an operator is missing before this", "join conditions by `&&` or `||`"),
    ("[\"a\" in groups", (5, 7), "the names of a list are separated by `,`", ""),
    ("[\"a\" \"b\"] in groups", (5, 8), "the names of a list are separated by `,`", ""),
    ("[\"a\",,\"b\"] in groups", (5, 6), "a list holds texts in quotes only", ""),
    ("[a, \"b\"] in groups", (1, 2), "a list holds texts in quotes only", "write \"a\""),
    ("[1] in groups", (1, 2), "a list holds texts in quotes only", ""),
    ("groups[\"a\" in groups", (6, 7), "this bracket is not closed after the name", "brackets hold one name; for several write `[\"a\", \"b\"] in groups`"),
    ("groups[a]", (7, 8), "a name in brackets stands in quotes", "write `groups[\"name\"]`"),
    ("groups[\"a\",\"b\"]", (6, 7), "this bracket is not closed after the name", "brackets hold one name; for several write `[\"a\", \"b\"] in groups`"),
    ("groups[]", (7, 8), "a name in brackets stands in quotes", "write `groups[\"name\"]`"),
    ("groups.", (7, 7), "a name is missing after `.`", "write a name that does not begin with a letter as `groups[\"name\"]`"),
    ("groups.\"a\"", (7, 10), "a name is missing after `.`", "write a name that does not begin with a letter as `groups[\"name\"]`"),
    ("groups.1a", (7, 9), "a name after `.` may not begin with a digit", "write it in brackets and quotes: `[\"1a\"]`"),
    ("groups.0", (7, 8), "a name after `.` may not begin with a digit", "write it in brackets and quotes: `[\"0\"]`"),
    ("groups[0]", (7, 8), "a name in brackets stands in quotes", "write `groups[\"name\"]`"),
    // Numbers.
    ("2", (0, 1), "`2` is not a value here", "the only numbers are `1` for true and `0` for false; names stand in quotes"),
    ("10", (0, 2), "`10` is not a value here", "the only numbers are `1` for true and `0` for false; names stand in quotes"),
    ("01", (0, 2), "`01` is not a value here", "the only numbers are `1` for true and `0` for false; names stand in quotes"),
    ("1.0", (2, 3), "a name after `.` may not begin with a digit", "write it in brackets and quotes: `[\"0\"]`"),
    ("0x1", (0, 3), "`0x1` is not a value here", "the only numbers are `1` for true and `0` for false; names stand in quotes"),
    ("1 == clientType", (0, 15), "a condition and `clientType` cannot be joined by `==`", "`clientType` is compared with a name in quotes, and a condition with another condition"),
    ("2 && groups.a", (0, 1), "`2` is not a value here", "the only numbers are `1` for true and `0` for false; names stand in quotes"),
    ("1a", (0, 2), "`1a` is not a value here", "the only numbers are `1` for true and `0` for false; names stand in quotes"),
    // Chains.
    ("clientType == \"a\" == \"b\"", (18, 20), "comparisons cannot be chained", "join two comparisons by `&&` or `||`, or put one in parentheses"),
    ("1 == 1 == 1", (7, 9), "comparisons cannot be chained", "join two comparisons by `&&` or `||`, or put one in parentheses"),
    ("\"a\" in groups in groups", (14, 16), "comparisons cannot be chained", "join two comparisons by `&&` or `||`, or put one in parentheses"),
    // Types that do not fit.
    ("clientType == groups.a", (0, 22), "`clientType` and a condition cannot be joined by `==`", "`clientType` is compared with a name in quotes, and a condition with another condition"),
    ("clientType == true", (0, 18), "`clientType` and a condition cannot be joined by `==`", "`clientType` is compared with a name in quotes, and a condition with another condition"),
    ("groups.a == \"true\"", (0, 18), "a condition is compared with a text", "write `true` without quotes"),
    ("groups.a != 'false'", (0, 19), "a condition is compared with a text", "write `false` without quotes"),
    ("groups.a == \"x\"", (0, 15), "a condition and the text \"x\" cannot be joined by `==`", "`clientType` is compared with a name in quotes, and a condition with another condition"),
    ("clientType == [\"A\",\"B\"]", (0, 23), "a client type is compared with a list", "write `clientType in [\"A\", \"B\"]`"),
    ("clientType != [\"A\"]", (0, 19), "a client type is compared with a list", "write `!(clientType in [\"A\"])`"),
    ("\"A\" in clientType", (0, 17), "`in` needs a list or a set on its right", "write `clientType == \"A\"`"),
    ("clientType in \"A\"", (0, 17), "`in` needs a list or a set on its right", "write `clientType == \"A\"`"),
    ("clientType in groups", (0, 20), "a client type is no member of `groups`", "write a name in quotes: `\"name\" in groups`"),
    ("clientType == clientType", (0, 24), "`clientType` is compared with itself", "compare it with a name in quotes: `clientType == \"name\"`"),
    ("\"clientType\" == \"A\"", (0, 19), "two texts in quotes are compared, which is the same for every request", "a variable stands without quotes: `clientType == \"A\"`"),
    ("\"A\" != \"B\"", (0, 10), "two texts in quotes are compared, which is the same for every request", "write `clientType != \"B\"`"),
    ("\"clientType\" in [\"A\"]", (0, 21), "a text in quotes is looked for in a list, which is the same for every request", "a variable stands without quotes: `clientType in [\"A\"]`"),
    ("\"a\" in [\"a\"]", (0, 12), "a text in quotes is looked for in a list, which is the same for every request", "write `clientType in [\"a\"]` or `[\"a\"] in groups`"),
    ("groups == \"a\"", (0, 13), "`groups` is a set and cannot equal one name", "write `\"a\" in groups`"),
    ("groups != \"a\"", (0, 13), "`groups` is a set and cannot equal one name", "write `!(\"a\" in groups)`"),
    ("\"a\" == permissions", (0, 18), "`permissions` is a set and cannot equal one name", "write `\"a\" in permissions`"),
    ("groups in [\"a\"]", (0, 15), "the set stands on the right of `in`", "write `[\"a\"] in groups`"),
    ("groups in groups", (0, 16), "`groups` and `groups` cannot be joined by `in`", "`in` looks for a name in quotes, or one of a list, in `groups` or `permissions`"),
    ("\"a\" in groups.a", (0, 15), "the text \"a\" and a condition cannot be joined by `in`", "`in` looks for a name in quotes, or one of a list, in `groups` or `permissions`"),
    ("groups.a in groups", (0, 18), "a condition and `groups` cannot be joined by `in`", "`in` looks for a name in quotes, or one of a list, in `groups` or `permissions`"),
    ("[\"a\"] == [\"a\"]", (0, 14), "a list and a list cannot be joined by `==`", "`clientType` is compared with a name in quotes, and a condition with another condition"),
    ("[\"a\"] in [\"a\"]", (0, 14), "a list and a list cannot be joined by `in`", "`in` looks for a name in quotes, or one of a list, in `groups` or `permissions`"),
    ("groups.a in [\"a\"]", (0, 17), "a condition and a list cannot be joined by `in`", "`in` looks for a name in quotes, or one of a list, in `groups` or `permissions`"),
    // Names that can never be there.
    ("\"\" in groups", (0, 2), "an empty name is never a member", "write a name: `groups[\"name\"]`"),
    ("groups[\"\"]", (0, 10), "an empty name is never a member", "write a name: `groups[\"name\"]`"),
    ("[\"a\", \"\"] in permissions", (0, 9), "an empty name is never a member", "write a name: `permissions[\"name\"]`"),
    // Missing or strange operators.
    ("groups.a groups.b", (9, 15), "an operator is missing before this", "join conditions by `&&` or `||`"),
    ("groups.a \"b\"", (9, 12), "an operator is missing before this", "join conditions by `&&` or `||`"),
    ("groups.a ! groups.b", (9, 10), "`!` stands before a condition only", "write `!(\"name\" in groups)`"),
    ("groups contains \"a\"", (7, 15), "there is no such operator", "write `\"name\" in groups`"),
    ("groups.includes(\"a\")", (15, 16), "there are no functions", "write `\"name\" in groups` or `groups.name`"),
    ("has(\"a\")", (0, 3), "unknown name `has`", "the names are `clientType`, `groups`, `permissions` and `isBackoffice`; everything else stands in quotes"),
    ("groups.a &&", (11, 11), "the expression ends where a condition or a value should follow", ""),
    ("&& groups.a", (0, 2), "a condition is missing before this operator", ""),
    ("|| groups.a", (0, 2), "a condition is missing before this operator", ""),
    ("== \"A\"", (0, 2), "a value is missing before this comparison", ""),
    ("clientType ==", (13, 13), "the expression ends where a condition or a value should follow", ""),
    ("\"a\" in", (6, 6), "the expression ends where a condition or a value should follow", ""),
    ("!", (1, 1), "the expression ends where a condition or a value should follow", ""),
    ("groups.a || ;", (12, 13), "a condition is missing before `;`", ""),
    ("groups.a;;", (9, 10), "nothing may follow the `;`", "an expression is one condition; join several by `&&` or `||`"),
    ("groups.a; groups.b", (10, 16), "nothing may follow the `;`", "an expression is one condition; join several by `&&` or `||`"),
    ("(groups.a;)", (9, 10), "`;` stands at the end only", ""),
    // Texts in quotes.
    ("\"a", (0, 2), "a text in quotes does not end", "close it with \""),
    ("'a\" in groups", (0, 13), "a text in quotes does not end", "close it with '"),
    ("\"a\\n\" in groups", (2, 4), "a backslash stands only before a quote or a backslash", "write `\\\\` for a backslash"),
    ("\"a\\", (0, 3), "a text in quotes does not end", "close it with \""),
    ("\"a\nb\" in groups", (2, 3), "a text in quotes contains '\\n'", ""),
    ("groups[\"a\0\"]", (9, 10), "a text in quotes contains '\\0'", ""),
    // Strange characters.
    ("permissions.write:orders", (17, 18), "unexpected character ':'", "a name with `:` stands in brackets and quotes: `permissions[\"orders:read\"]`"),
    ("groups.a # comment", (9, 10), "unexpected character '#'", "a comment begins with `//`"),
    ("groups.a /* x */", (9, 10), "unexpected character '/'", "a comment begins with `//`, and a name with other signs stands in quotes"),
    ("groups.a > 1", (9, 10), "unexpected character '>'", "the operators are `==`, `!=`, `in`, `!`, `&&` and `||`"),
    ("groups.a ? 1 : 0", (9, 10), "unexpected character '?'", "the operators are `==`, `!=`, `in`, `!`, `&&` and `||`"),
    ("groups.caf\u{e9}", (10, 12), "unexpected character '\u{e9}'", "names outside quotes are plain letters; write others as `groups[\"..\"]`"),
    ("groups.a\u{a0}&& groups.b", (8, 10), "unexpected character '\\u{a0}'", "it may have come in by copy and paste; delete it or type a plain blank"),
    ("\u{feff}groups.a", (0, 3), "unexpected character '\\u{feff}'", "it may have come in by copy and paste; delete it or type a plain blank"),
    ("groups.a \u{200b}", (9, 12), "unexpected character '\\u{200b}'", "it may have come in by copy and paste; delete it or type a plain blank"),
    ("\u{20ac}", (0, 3), "unexpected character '\u{20ac}'", "it may have come in by copy and paste; delete it or type a plain blank"),
    ("groups.a, groups.b", (8, 9), "an operator is missing before this", "join conditions by `&&` or `||`"),
    ("@", (0, 1), "unexpected character '@'", ""),
    ("{groups.a}", (0, 1), "unexpected character '{'", ""),
    ("`a` in groups", (0, 1), "unexpected character '`'", "write straight quotes, `\"` or `'`"),
    ("groups.a && + 1", (12, 13), "unexpected character '+'", "the operators are `==`, `!=`, `in`, `!`, `&&` and `||`"),
];
