use super::*;

#[test]
fn a_place_inside_an_expression_is_found_in_each_form_of_yaml_text() {
    let text = "groups.admin && oops";
    for (source, expected) in [
        ("allow: groups.admin && oops\n", Some((1, 24))),
        ("allow: \"groups.admin && oops\"\n", Some((1, 25))),
        ("allow: 'groups.admin && oops' # oops\n", Some((1, 25))),
        ("allow: groups.admin\n  && oops\n", Some((2, 6))),
        ("allow: |\n  groups.admin && oops\n", Some((2, 19))),
        ("allow: >-\n  groups.admin\n  && oops\n", Some((3, 6))),
        ("allow: \"groups\\x2eadmin && oops\"\n", None),
        ("allow: ${RULE}\n", None),
    ] {
        let start = Position { source: 0, line: 1, column: 8 };
        let found = position_in(source, start, text, 16).map(|at| (at.line, at.column));
        assert_eq!(found, expected, "{source:?}");
    }
}

#[test]
fn the_end_of_an_expression_is_after_its_last_character() {
    let start = Position { source: 0, line: 1, column: 8 };
    let found = position_in("allow: \"a &&\"\n", start, "a &&", 4).map(|at| (at.line, at.column));
    assert_eq!(found, Some((1, 13)));
}
