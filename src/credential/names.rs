//! Header names as an upstream may read them, whatever spelling the caller chose.
//!
//! [`FoldedNames`] is a set of header names that must not reach an upstream from outside. It is asked about every header
//! of every request, so an ordinary name costs one look into a small table.
//!
//! Two names are the same here if they are the same with upper case read as lower and every byte that is neither a letter
//! nor a digit read as `-`, byte by byte. A server that hands headers to programs as `HTTP_X_CLIENT_ID` folds
//! `X_Client_Id`, `X.Client.Id` and `X-Client-Id` into one; a gateway that protects only the spelling it writes leaves the
//! others to the caller, who then says who he is himself. Doubled or trailing separators stay what they are: no server is
//! known that folds them away, and a shorter form would begin to remove other people's headers.

use http::HeaderName;

/// A set of header names, compared as described above.
#[derive(Clone, Default)]
pub struct FoldedNames {
    /// Folded, each once, the shorter ones first.
    names: Box<[Box<[u8]>]>,
    /// For each length, as below, how many names are shorter.
    shorter: Box<[usize]>,
    /// For each length (the last place stands for all longer ones), one bit for each first byte that occurs, by its low
    /// five bits: these tell letters apart.
    first_bytes: Box<[u32]>,
}

/// Names of this length and longer share one place in the table.
const LENGTHS: usize = 48;

impl FoldedNames {
    /// Makes the set.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n [u8]>) -> Self {
        let mut folded: Vec<Box<[u8]>> =
            names.into_iter().map(|name| name.iter().copied().map(fold).collect()).collect();
        folded.sort_unstable_by(|one, other| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
        folded.dedup();
        let mut first_bytes = vec![0; LENGTHS];
        for name in &folded {
            if let Some(first) = name.first() {
                first_bytes[name.len().min(LENGTHS - 1)] |= bit(*first);
            }
        }
        let shorter = (0..LENGTHS).map(|length| folded.partition_point(|name| name.len() < length)).collect();
        Self { names: folded.into(), shorter, first_bytes: first_bytes.into() }
    }

    /// Whether the set holds this name, in whatever spelling.
    #[must_use]
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.contains_bytes(name.as_str().as_bytes())
    }

    /// The same for a name that is not (yet) a [`HeaderName`], in any case, such as a word of a `Connection` field.
    #[must_use]
    pub fn contains_bytes(&self, name: &[u8]) -> bool {
        let Some(first) = name.first() else { return false };
        let seen = self.first_bytes.get(name.len().min(LENGTHS - 1)).copied().unwrap_or(0);
        seen & bit(fold(*first)) != 0 && self.search(name)
    }

    #[inline(never)]
    fn search(&self, name: &[u8]) -> bool {
        let shorter = self.shorter.get(name.len().min(LENGTHS - 1)).copied().unwrap_or(0);
        let of_length =
            self.names.get(shorter..).unwrap_or_default().iter().take_while(|held| held.len() <= name.len());
        let mut of_length = of_length.filter(|held| held.len() == name.len());
        // Most that are held are written as they are held.
        of_length.any(|held| **held == *name || held.iter().copied().eq(name.iter().copied().map(fold)))
    }
}

impl std::fmt::Debug for FoldedNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names.iter().map(|name| String::from_utf8_lossy(name))).finish()
    }
}

/// Whether a folding server takes the one name for the other.
#[must_use]
pub fn folds_alike(one: &HeaderName, other: &HeaderName) -> bool {
    let (one, other) = (one.as_str(), other.as_str());
    one.len() == other.len() && one.bytes().map(fold).eq(other.bytes().map(fold))
}

/// One byte of a name as a folding server reads it.
fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

fn bit(folded: u8) -> u32 {
    1 << (folded & 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(names: &[&str]) -> FoldedNames {
        FoldedNames::new(names.iter().map(|name| name.as_bytes()))
    }

    #[test]
    fn every_spelling_a_server_may_fold_is_the_same_name() {
        let names = set(&["x-client-id", "acl_rows", "miauserid"]);
        for same in [
            "x-client-id",
            "X-Client-Id",
            "X_CLIENT_ID",
            "x.client-id",
            "x~client!id",
            "x client\u{7f}id",
            "ACL-Rows",
            "acl.rows",
            "MiaUserId",
        ] {
            assert!(names.contains_bytes(same.as_bytes()), "{same:?}");
        }
        for other in [
            "",
            "-",
            "x-client-ids",
            "xx-client-id",
            "x-client--id",
            "x-client-id-",
            "-x-client-id",
            "xclientid",
            "x-client-ie",
            "acl-row",
            "mia-user-id",
            "host",
        ] {
            assert!(!names.contains_bytes(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn a_name_longer_than_the_table_is_found_too() {
        let long = "x-".repeat(40);
        let names = set(&[&long]);
        assert!(names.contains_bytes("X_".repeat(40).as_bytes()));
        assert!(!names.contains_bytes("X_".repeat(41).as_bytes()));
        assert!(!names.contains_bytes("X_".repeat(23).as_bytes()));
    }

    #[test]
    fn an_empty_set_holds_nothing() {
        for names in [FoldedNames::default(), set(&[]), set(&[""])] {
            assert!(!names.contains_bytes(b"") && !names.contains_bytes(b"x") && !names.contains(&http::header::HOST));
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_folding_both_sides(held in "[a-z0-9_.~-]{1,60}", asked in "[A-Za-z0-9_.~-]{1,60}") {
            let plain = |name: &str| name.bytes().map(fold).collect::<Vec<u8>>();
            prop_assert!(set(&[&held]).contains_bytes(held.to_uppercase().replace(['_', '.', '~'], "-").as_bytes()));
            prop_assert_eq!(set(&[&held]).contains_bytes(asked.as_bytes()), plain(&held) == plain(&asked));
        }
    }
}
