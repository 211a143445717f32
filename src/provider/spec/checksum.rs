//! Checksums that vendors put into their tokens, so that a scanner tells a real one from a string
//! that looks alike. A value whose checksum is wrong is not identified; a made-up one carries the
//! right one, or the server could tell it from a dead one without looking.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// How the characters of a value follow from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// The last six characters are the CRC-32 of what stands between the last `_` and them, in
    /// base 62 (`0-9A-Za-z`), zeros in front.
    Crc32Base62,
    /// The eight characters before the last eight are the first of the base 32 (RFC 4648) of the
    /// SHA-256 of everything before them.
    Sha256Base32,
}

/// As a provider file names them.
pub(crate) const CHECKSUMS: [(&str, Checksum); 2] =
    [("crc32-base62", Checksum::Crc32Base62), ("sha256-base32", Checksum::Sha256Base32)];

impl Checksum {
    /// Whether the value's own characters fit.
    pub(crate) fn holds(self, value: &str) -> bool {
        self.corrected(value).is_some_and(|right| *right == value)
    }

    /// The value with the right characters in their place; none if it is too short to hold them.
    pub(crate) fn corrected(self, value: &str) -> Option<Zeroizing<String>> {
        let (width, behind) = match self {
            Self::Crc32Base62 => (6, 0),
            Self::Sha256Base32 => (8, 8),
        };
        let end = value.len().checked_sub(behind)?;
        let head = value.get(..end.checked_sub(width)?)?;
        let tail = value.get(end..)?;
        let sum = match self {
            Self::Crc32Base62 => {
                let from = head.rfind('_').map_or(0, |at| at + 1);
                base62(crc32(head.get(from..)?.as_bytes()), width)
            }
            Self::Sha256Base32 => base32(&Sha256::digest(head), width),
        };
        let mut right = Zeroizing::new(String::with_capacity(value.len()));
        right.push_str(head);
        right.push_str(&sum);
        right.push_str(tail);
        Some(right)
    }
}

/// CRC-32 as in IEEE 802.3 and RFC 1952.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xEDB8_8320;
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 };
        }
    }
    !sum
}

/// `width` digits.
fn base62(mut number: u32, width: usize) -> String {
    let mut digits = Vec::with_capacity(width);
    for _ in 0..width {
        let digit = (number % 62) as u8;
        digits.push(match digit {
            0..10 => b'0' + digit,
            10..36 => b'A' + digit - 10,
            _ => b'a' + digit - 36,
        });
        number /= 62;
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

/// The first `width` characters.
fn base32(bytes: &[u8], width: usize) -> String {
    let letter = |at: usize| {
        let bit = |n: usize| {
            let byte = bytes.get(n / 8).copied().unwrap_or(0);
            (byte >> (7 - n % 8)) & 1
        };
        let five = (0..5).fold(0, |five, n| (five << 1) | bit(at * 5 + n));
        char::from(if five < 26 { b'A' + five } else { b'2' + five - 26 })
    };
    (0..width).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reckoned by another implementation, over made-up values.
    #[test]
    fn the_figures_of_others() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(base62(crc32(b"hello"), 6), "0zNvy2");
        assert_eq!(base32(&Sha256::digest("hello"), 8), "FTZE3OS7");
    }

    #[test]
    fn one_character_more_or_less_and_it_is_no_token() {
        let good = Checksum::Crc32Base62.corrected(&format!("ghp_{}", "a".repeat(36))).unwrap();
        assert!(Checksum::Crc32Base62.holds(&good));
        assert!(good.starts_with(&format!("ghp_{}", "a".repeat(30))) && good.len() == 40);
        for at in [4, 20, 33, 39] {
            let mut bad = good.to_string();
            let other = if bad.as_bytes()[at] == b'z' { "y" } else { "z" };
            bad.replace_range(at..=at, other);
            assert!(!Checksum::Crc32Base62.holds(&bad), "{at}");
        }
        // What stands before the last underscore is no part of it.
        assert!(Checksum::Crc32Base62.holds(&good.replace("ghp_", "npm_")));
        for short in ["", "ghp_", "a_12345", "é_123456"] {
            assert!(!Checksum::Crc32Base62.holds(short) && !Checksum::Sha256Base32.holds(short));
        }
    }

    #[test]
    fn the_longer_form_sums_up_its_prefix_as_well() {
        let drawn = format!("github_pat_{}_{}", "1".repeat(22), "b".repeat(59));
        let good = Checksum::Sha256Base32.corrected(&drawn).unwrap();
        assert!(Checksum::Sha256Base32.holds(&good) && good.len() == drawn.len());
        assert!(!Checksum::Sha256Base32.holds(&good.replacen('1', "2", 1)));
        assert!(!Checksum::Sha256Base32.holds(&drawn));
    }
}
