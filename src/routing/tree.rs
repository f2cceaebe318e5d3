//! Patterns as a tree of segments, searched with a path.
//!
//! Each node stands for the patterns that share its segments. [`Tree::search`] walks down with a path, literals before
//! parameters, and gives the first thing its caller accepts on the way back up: that is the most specific pattern, by the
//! order that [`PathPattern::specificity`](super::PathPattern::specificity) has.
//!
//! A walk may have to turn back: for `/a/b/y`, `/a/b/x` promises more than `/a/:id/y` and fails. A node is entered at
//! most once all the same, and how many nodes any path at all could enter is known when the tree is built
//! ([`Tree::most_steps`]): a tree in which that number is large is refused, so no request can make the search expensive.
//!
//! The tree knows no endpoints: values are indices that its caller understands.

use std::collections::HashMap;

use super::pattern::Segment;
use super::reading::Folded;

/// How literals are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    /// Byte for byte.
    Exact,
    /// Without regard to letter case.
    Folded,
}

/// Which nodes on the way count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Every node: a pattern governs what is below it.
    Below,
    /// Only the node where the path ends.
    Exact,
}

/// A tree of patterns.
#[derive(Debug)]
pub(super) struct Tree {
    letters: Letters,
    /// The root is the first and always there.
    nodes: Vec<Node>,
    /// Some literal is not its own folded form.
    has_capitals: bool,
}

#[derive(Debug, Default)]
struct Node {
    literals: Literals,
    parameter: Option<u32>,
    values: Values,
}

/// What is found at a node; nearly always nothing or one thing, which then needs no further memory.
#[derive(Debug, Default)]
enum Values {
    #[default]
    None,
    One([usize; 1]),
    Many(Vec<usize>),
}

/// The literal segments below a node.
#[derive(Debug)]
enum Literals {
    /// Compared one by one.
    Few(Vec<(Box<[u8]>, u32)>),
    Many(HashMap<Box<[u8]>, u32>),
}

impl Tree {
    /// A tree without patterns.
    pub(super) fn new(letters: Letters) -> Self {
        Self { letters, nodes: vec![Node::default()], has_capitals: false }
    }

    /// Adds a value under a pattern and gives those that stood there before: its equals but for parameters' names.
    pub(super) fn insert<'p>(&mut self, segments: impl Iterator<Item = Segment<'p>>, value: usize) -> Vec<usize> {
        let mut at = 0;
        for segment in segments {
            let next = u32::try_from(self.nodes.len()).expect("a configuration cannot hold four billion segments");
            let child = match segment {
                Segment::Parameter(_) => *self.nodes[at].parameter.get_or_insert(next),
                Segment::Literal(text) => {
                    // A pattern's literals fit, and an encoded letter is never shorter than what it folds to. One that
                    // did not fit would keep its bytes and be found by exact spelling only.
                    let folded = Folded::new(text.as_bytes());
                    let folded = folded.as_ref().map_or(text.as_bytes(), Folded::as_bytes);
                    self.has_capitals |= folded != text.as_bytes();
                    let key = if self.letters == Letters::Folded { folded } else { text.as_bytes() };
                    self.nodes[at].literals.get_or_insert(key, next)
                }
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            at = child as usize;
        }
        let before = self.nodes[at].values.as_slice().to_vec();
        if !before.contains(&value) {
            self.nodes[at].values.push(value);
        }
        before
    }

    /// Whether some literal would be another one in lower case.
    pub(super) fn has_capitals(&self) -> bool {
        self.has_capitals
    }

    /// The most specific thing that `accept` takes, of the values along a path.
    pub(super) fn search<'t, T>(
        &'t self,
        path: &str,
        letters: Letters,
        reach: Reach,
        accept: &impl Fn(&'t [usize]) -> Option<T>,
    ) -> Option<T> {
        self.walk(0, path.as_bytes().get(1..).unwrap_or_default(), letters, reach, accept)
    }

    fn walk<'t, T>(
        &'t self,
        at: u32,
        rest: &[u8],
        letters: Letters,
        reach: Reach,
        accept: &impl Fn(&'t [usize]) -> Option<T>,
    ) -> Option<T> {
        let node = &self.nodes[at as usize];
        if !rest.is_empty() {
            let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            let (segment, below) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
            let literal = match letters {
                Letters::Exact => node.literals.get(segment),
                Letters::Folded if node.literals.is_empty() => None,
                Letters::Folded if !Folded::changes(segment) => node.literals.get(segment),
                Letters::Folded => Folded::new(segment).and_then(|folded| node.literals.get(folded.as_bytes())),
            };
            for child in [literal, node.parameter].into_iter().flatten() {
                if let Some(found) = self.walk(child, below, letters, reach, accept) {
                    return Some(found);
                }
            }
            if reach == Reach::Exact {
                return None;
            }
        }
        match &node.values {
            Values::None => None,
            values => accept(values.as_slice()),
        }
    }

    /// A number of nodes that no path can make a search exceed.
    pub(super) fn most_steps(&self) -> usize {
        // Children come after their parents, so one pass from the end sees every child first.
        let mut steps = vec![1_usize; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let literal = node.literals.children().map(|child| steps[child as usize]).max().unwrap_or(0);
            let parameter = node.parameter.map_or(0, |child| steps[child as usize]);
            steps[index] = 1_usize.saturating_add(literal).saturating_add(parameter);
        }
        steps[0]
    }

    /// Every value in the tree.
    pub(super) fn values(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().flat_map(|node| node.values.as_slice().iter().copied())
    }
}

impl Values {
    fn as_slice(&self) -> &[usize] {
        match self {
            Self::None => &[],
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }

    fn push(&mut self, value: usize) {
        match self {
            Self::None => *self = Self::One([value]),
            Self::One([one]) => *self = Self::Many(vec![*one, value]),
            Self::Many(many) => many.push(value),
        }
    }
}

/// How many literals are compared one by one before a map takes over.
const FEW: usize = 6;

impl Default for Literals {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Literals {
    fn get(&self, text: &[u8]) -> Option<u32> {
        match self {
            Self::Few(few) => few.iter().find(|(literal, _)| **literal == *text).map(|&(_, child)| child),
            Self::Many(many) => many.get(text).copied(),
        }
    }

    fn get_or_insert(&mut self, text: &[u8], new: u32) -> u32 {
        if let Some(child) = self.get(text) {
            return child;
        }
        match self {
            Self::Many(many) => {
                many.insert(text.into(), new);
            }
            Self::Few(few) if few.len() < FEW => few.push((text.into(), new)),
            Self::Few(few) => {
                let mut many: HashMap<Box<[u8]>, u32> = few.drain(..).collect();
                many.insert(text.into(), new);
                *self = Self::Many(many);
            }
        }
        new
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Few(few) if few.is_empty())
    }

    fn children(&self) -> impl Iterator<Item = u32> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        few.into_iter()
            .flatten()
            .map(|&(_, child)| child)
            .chain(many.into_iter().flat_map(|many| many.values().copied()))
    }
}

#[cfg(test)]
mod tests;
