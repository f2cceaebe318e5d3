use super::*;
use crate::routing::testing::pattern;

fn tree(patterns: &[&str]) -> Tree {
    let mut tree = Tree::new(Letters::Exact);
    for (index, text) in patterns.iter().enumerate() {
        assert_eq!(tree.insert(pattern(text).segments(), index), Vec::<usize>::new(), "{text}");
    }
    tree
}

#[test]
fn the_most_specific_pattern_is_found_after_turning_back() {
    let patterns = ["/a/:x/c", "/a/b/:y/z", "/:t", "/a/b/d"];
    let tree = tree(&patterns);
    for (path, reach, found) in [
        ("/a/b/c", Reach::Below, Some("/a/:x/c")),
        ("/a/b/q/z", Reach::Below, Some("/a/b/:y/z")),
        ("/a/b/q/w", Reach::Below, Some("/:t")),
        ("/a/b/d/e", Reach::Below, Some("/a/b/d")),
        ("/a/b/d/e", Reach::Exact, None),
        ("/a/b/d/", Reach::Exact, Some("/a/b/d")),
        ("/a/b", Reach::Exact, None),
        ("/b", Reach::Exact, Some("/:t")),
        ("/", Reach::Below, None),
    ] {
        let index = tree.search(path, Letters::Exact, reach, &|values| values.first().copied());
        assert_eq!(index.map(|index| patterns[index]), found, "{path}");
    }
}

#[test]
fn what_is_not_accepted_is_passed_over() {
    let tree = tree(&["/a/b", "/a/:x"]);
    let found =
        tree.search("/a/b", Letters::Exact, Reach::Exact, &|values| values.iter().copied().find(|&index| index == 1));
    assert_eq!(found, Some(1));
}

#[test]
fn many_literals_are_found_like_few() {
    let texts: Vec<String> = (0..100).map(|index| format!("/a/n{index}/x")).collect();
    let tree = tree(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    for (index, text) in texts.iter().enumerate() {
        assert_eq!(tree.search(text, Letters::Exact, Reach::Below, &|values| values.first().copied()), Some(index));
    }
    assert_eq!(tree.search("/a/n100/x", Letters::Exact, Reach::Below, &|values| values.first().copied()), None);
    assert_eq!(tree.most_steps(), 4);
}

#[test]
fn equal_patterns_meet() {
    let mut tree = tree(&["/a/:x"]);
    assert_eq!(tree.insert(pattern("/a/:other").segments(), 7), [0]);
    assert_eq!(tree.insert(pattern("/a/:other").segments(), 8), [0, 7]);
    assert_eq!(tree.values().collect::<Vec<_>>(), [0, 7, 8]);
}

/// The steps of a real search, counted by what it asks of its caller, never pass the number given.
#[test]
fn most_steps_bounds_every_search() {
    // All mixtures of a literal and a parameter on five segments, none of which matches.
    let mut texts = Vec::new();
    for mixture in 0..32_u32 {
        let segment = |at: u32| if mixture >> at & 1 == 0 { "/a".to_owned() } else { format!("/:p{at}") };
        texts.push((0..5).map(segment).collect::<String>());
    }
    let tree = tree(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(tree.most_steps(), 63);
    let asked = std::cell::Cell::new(0);
    let none: Option<()> = tree.search("/a/a/a/a/a/a", Letters::Exact, Reach::Below, &|_| {
        asked.set(asked.get() + 1);
        None
    });
    assert_eq!((none, asked.get()), (None, 32));
}
