//! The text of a new key, and what may be shown of one.
//!
//! ```text
//! mb_live_ 8mUYx0V6d2bLqkT3rJ5nWgC1eAzHs9QfP 0aX4Zk
//! prefix   33 random characters, 196 bits    checksum of all before it
//! ```
//!
//! [`KeyText::generate`] makes one for `keys create` and `rotate`; it is shown once and then only its digest exists.
//! [`KeyText::checksum_is_right`] lets a scanner of files or a careful caller tell a key from noise, and a typing mistake
//! from an unknown key, without asking anybody. It is no proof of anything: anyone can make a text with a good checksum, so
//! admission never looks at it, and imported keys have none.
//!
//! Letters and digits only after the prefix, so that a double click selects the whole and no shell or address needs to
//! quote it.

use thiserror::Error;
use zeroize::Zeroizing;

use super::Secret;

/// The digits of base 62, in the order of their values.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random characters in a key: 33 times log2(62) is 196.5 bits.
const RANDOM_CHARACTERS: usize = 33;

/// Characters of the checksum: 62 to the 6th exceeds 2 to the 32nd.
const CHECKSUM_CHARACTERS: usize = 6;

/// The machine has no randomness to give, so no key can be made.
#[derive(Debug, Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness(#[from] getrandom::Error);

/// How the text of a key is made.
#[derive(Debug, Clone, Copy)]
pub struct KeyText;

impl KeyText {
    /// Makes the text of a new key.
    ///
    /// # Errors
    /// When the operating system has no random bytes; there is no second best to fall back on.
    pub fn generate(prefix: &str) -> Result<Secret<'static>, NoRandomness> {
        // The capacity is exact: a buffer that grows would leave unwiped pieces of the key behind.
        let mut text = Vec::with_capacity(prefix.len() + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS);
        text.extend_from_slice(prefix.as_bytes());
        let mut random = Zeroizing::new([0; 64]);
        while text.len() < prefix.len() + RANDOM_CHARACTERS {
            getrandom::fill(&mut *random)?;
            let missing = prefix.len() + RANDOM_CHARACTERS - text.len();
            text.extend(random.iter().filter_map(|byte| digit_of(*byte)).take(missing));
        }
        let checksum = checksum(&text);
        text.extend_from_slice(&checksum);
        Ok(Secret::owned(text))
    }

    /// Makes so many letters and digits that nobody can guess, for ids.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn random(length: usize) -> Result<String, NoRandomness> {
        let mut text = String::with_capacity(length);
        let mut random = [0; 64];
        while text.len() < length {
            getrandom::fill(&mut random)?;
            text.extend(random.iter().filter_map(|byte| digit_of(*byte)).take(length - text.len()).map(char::from));
        }
        Ok(text)
    }

    /// A number in seven digits of base 62, so that later ones come later in the alphabet, for ids.
    #[must_use]
    pub fn ordered(number: u64) -> String {
        let mut rest = number;
        let mut digits = [0; 7];
        for digit in digits.iter_mut().rev() {
            *digit = ALPHABET[usize::try_from(rest % 62).unwrap_or(0)];
            rest /= 62;
        }
        digits.into_iter().map(char::from).collect()
    }

    /// Whether a text is a key as made here, with this prefix and unharmed.
    #[must_use]
    pub fn checksum_is_right(text: &[u8], prefix: &str) -> bool {
        let Some((body, stated)) = text.split_last_chunk::<CHECKSUM_CHARACTERS>() else { return false };
        body.strip_prefix(prefix.as_bytes())
            .is_some_and(|random| random.len() >= RANDOM_CHARACTERS && random.iter().all(u8::is_ascii_alphanumeric))
            && *stated == checksum(body)
    }

    /// Whether a text is a key as made here, with whatever prefix.
    #[must_use]
    pub fn is_whole(text: &[u8]) -> bool {
        let prefix = text.len().saturating_sub(RANDOM_CHARACTERS + CHECKSUM_CHARACTERS);
        std::str::from_utf8(&text[..prefix]).is_ok_and(|prefix| Self::checksum_is_right(text, prefix))
    }

    /// What may be shown of a key: `mb_live_…a1B2`.
    ///
    /// The prefix is what stands up to the last `_`. Where that or the last four characters would leave fewer than twenty
    /// hidden, as in short imported keys, they are hidden too.
    #[must_use]
    pub fn mask(text: &str) -> String {
        const HIDDEN_AT_LEAST: usize = 20;
        const LONGEST_PREFIX: usize = 24;
        let is_shown = |prefix: &usize| *prefix <= LONGEST_PREFIX && text.len() - prefix >= HIDDEN_AT_LEAST + 4;
        let prefix = text.rfind('_').map(|at| at + 1).filter(is_shown).unwrap_or(0);
        let is_long = text.is_ascii() && text.len() - prefix >= HIDDEN_AT_LEAST + 4;
        let end = if is_long { &text[text.len() - 4..] } else { "" };
        format!("{}…{end}", &text[..prefix])
    }
}

/// The digit that a random byte stands for; none for the last eight bytes, or some digits would be likelier than others.
fn digit_of(byte: u8) -> Option<u8> {
    const FAIR: usize = 256 - 256 % ALPHABET.len();
    let byte = usize::from(byte);
    (byte < FAIR).then(|| ALPHABET[byte % ALPHABET.len()])
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_CHARACTERS] {
    let mut rest = crc32fast::hash(body) as usize;
    let mut digits = [0; CHECKSUM_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    digits
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn new(prefix: &str) -> String {
        String::from_utf8(KeyText::generate(prefix).unwrap().expose().to_vec()).unwrap()
    }

    #[test]
    fn a_whole_key_is_known_by_its_form_alone() {
        for prefix in ["kg_live_", "x", "", "a-b_"] {
            let key = new(prefix);
            assert!(KeyText::is_whole(key.as_bytes()), "{key}");
            let other = if key.ends_with('0') { "1" } else { "0" };
            let harmed = format!("{}{other}", &key[..key.len() - 1]);
            assert!(!KeyText::is_whole(harmed.as_bytes()), "{harmed}");
        }
        assert!(!KeyText::is_whole(b"") && !KeyText::is_whole(b"guess"));
    }

    #[test]
    fn a_new_key_is_prefix_random_part_and_checksum() {
        for prefix in ["", "k", "mb_live_", "codeqr_pk_"] {
            let text = new(prefix);
            let random = text.strip_prefix(prefix).unwrap();
            assert_eq!(random.len(), RANDOM_CHARACTERS + CHECKSUM_CHARACTERS);
            assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(KeyText::checksum_is_right(text.as_bytes(), prefix));
            assert!(text.len() <= super::super::MAX_SECRET_BYTES);
        }
        assert!((RANDOM_CHARACTERS as f64) * 62f64.log2() >= 192.0);
    }

    #[test]
    fn no_two_keys_are_equal_and_every_digit_occurs() {
        let keys: HashSet<String> = (0..1000).map(|_| new("kg_")).collect();
        assert_eq!(keys.len(), 1000);
        let digits: HashSet<u8> = keys.iter().flat_map(|key| key.as_bytes()[3..36].to_vec()).collect();
        assert_eq!(digits.len(), 62);
    }

    #[test]
    fn every_digit_is_as_likely_as_any_other() {
        let mut counts = std::collections::BTreeMap::new();
        for digit in (0..=255).filter_map(digit_of) {
            *counts.entry(digit).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 62);
        assert!(counts.values().all(|count| *count == 4));
    }

    #[test]
    fn the_checksum_is_the_one_that_is_documented() {
        // CRC-32 of "123456789" is 0xCBF43926.
        assert_eq!(checksum(b"123456789"), *b"3jZRME");
        assert_eq!(checksum(b""), *b"000000");
    }

    #[test]
    fn texts_that_were_not_made_here_have_no_right_checksum() {
        let good = new("codeqr_");
        let with_short_body = {
            let body = b"codeqr_abc";
            [&body[..], &checksum(body)].concat()
        };
        let with_underscore = {
            let body = b"codeqr_pk_0123456789012345678901234567890";
            [&body[..], &checksum(body)].concat()
        };
        for (text, prefix) in [
            (&b""[..], ""),
            (b"000000", ""),
            (b"codeqr_", "codeqr_"),
            (good.as_bytes(), "code"),
            (good.as_bytes(), "codeqr_pk_"),
            (&good.as_bytes()[1..], "odeqr_"),
            (&good.as_bytes()[..good.len() - 1], "codeqr_"),
            (&with_short_body, "codeqr_"),
            (&with_underscore, "codeqr_"),
        ] {
            assert!(!KeyText::checksum_is_right(text, prefix), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_mask_shows_prefix_and_last_four_of_long_keys_only() {
        for (text, mask) in [
            ("mb_live_0123456789abcdefghijKLMNOPQRSTUVWXYa1B2", "mb_live_…a1B2"),
            ("sk_0123456789012345678901234567890123456789", "sk_…6789"),
            ("0123456789012345678901234567890123456789", "…6789"),
            ("_12345678901234567890abcd", "_…abcd"),
            ("secret", "…"),
            ("a_b", "…"),
            ("my_imported_password_2024", "…2024"),
            ("0123456789012345678901234567890_ab", "…0_ab"),
            ("a_prefix_that_is_rather_long_for_one_0123456789012345678901234567890", "…7890"),
            ("", "…"),
            ("_", "…"),
            ("p_äöüäöüäöüäöüäöüäöüäöü", "p_…"),
        ] {
            assert_eq!(KeyText::mask(text), mask, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn one_changed_character_or_two_swapped_are_noticed(at in 0usize..47, other in 0usize..62) {
            let good = new("mb_live_").into_bytes();
            let (mut changed, mut swapped) = (good.clone(), good.clone());
            changed[at] = ALPHABET[other];
            swapped.swap(at, (at + 1).min(46));
            for harmed in [changed, swapped] {
                prop_assert_eq!(KeyText::checksum_is_right(&harmed, "mb_live_"), harmed == good);
            }
        }

        #[test]
        fn a_mask_never_shows_more_than_the_prefix_and_four(text in "[a-z_]{0,80}") {
            let mask = KeyText::mask(&text);
            prop_assert!(mask.chars().count() <= 24 + 1 + 4);
            prop_assert!(mask == "…" || text.len() + 1 - mask.chars().count() >= 20);
        }
    }
}
