//! Shapes: regular expressions that a credential's value matches, and values made up from them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use rand::Rng;
use rand::seq::IndexedRandom;
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};
use zeroize::Zeroizing;

use super::checksum::Checksum;
use super::predicate::Pattern;

/// How much longer than its minimum an open repetition is drawn: long enough that a made-up value
/// is nobody's, short enough for a header.
const OPEN_REPETITION: u32 = 24;

/// The longest value that must be drawn, in characters: servers take headers of 8 KiB and less.
const LONGEST: u64 = 8 * 1024;

/// How often optional pieces are drawn in one value: repetitions within repetitions would else
/// fill the memory.
const OPTIONAL: u32 = 4 * 1024;

/// What stands for one character in JSON, in a URL or on a terminal, and ends with a letter or a
/// digit that belongs to no value behind it. An escaped `%` is an escape, too.
const ESCAPE: &str = concat!(
    r"\\[abefnrtv0]|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}",
    r"|%(?:25)*[0-9A-Fa-f]{2}|\[[0-9;]*m"
);

/// A checked, anchored regular expression.
#[derive(Debug)]
pub(crate) struct Shape {
    pattern: Pattern,
    hir: Hir,
    within: OnceLock<Option<regex::Regex>>,
    checksum: Option<Checksum>,
}

impl Shape {
    /// A shape as written: it must be anchored at both ends.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn anchored(text: &str) -> Result<Self, String> {
        let shape = Self::new(text)?;
        let properties = shape.hir.properties();
        if properties.look_set_prefix().contains(Look::Start)
            && properties.look_set_suffix().contains(Look::End)
        {
            return Ok(shape);
        }
        Err("it is not anchored: write '^...$'".into())
    }

    /// A `like`: anchored here, whatever is written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn whole(text: &str) -> Result<Self, String> {
        Self::new(text)?;
        Self::new(&format!("^(?:{text})$"))
    }

    fn new(text: &str) -> Result<Self, String> {
        let pattern = Pattern::new(text)?;
        let hir = regex_syntax::parse(text).map_err(|error| error.to_string())?;
        if least(&hir) > LONGEST {
            return Err("its values are longer than a header can be".into());
        }
        Ok(Self { pattern, hir, within: OnceLock::new(), checksum: None })
    }

    /// The same, of values that also carry a checksum.
    ///
    /// # Errors
    /// Where the shape leaves no room for one.
    pub(crate) fn with_checksum(self, checksum: Checksum) -> Result<Self, String> {
        let shape = Self { checksum: Some(checksum), ..self };
        let sample = shape.sample(&BTreeMap::new(), &mut rand::rng());
        match shape.matches(&sample) {
            true => Ok(shape),
            false => Err("the shape does not allow the characters of this checksum".into()),
        }
    }

    pub(crate) fn text(&self) -> &str {
        self.pattern.text()
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        self.pattern.matches(value) && self.has_checksum(value)
    }

    /// Where values of this shape stand in a text: none begins or ends within a word, and none has
    /// a wrong checksum.
    pub(crate) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let within = self.within.get_or_init(|| {
            let bare = unanchored(&self.hir).to_string();
            // What a key is made of: a shape that ends in the middle of it is another's.
            let edge = "[^A-Za-z0-9_-]";
            regex::Regex::new(&format!("(?:^|{edge}|{ESCAPE})({bare})(?:$|{edge})")).ok()
        });
        let mut found = Vec::new();
        let Some(within) = within else { return found };
        let mut at = 0;
        // What stands between two values may be one character for both.
        while let Some(value) = within.captures_at(text, at).and_then(|all| all.get(1)) {
            if value.is_empty() {
                break;
            }
            at = value.end();
            let value = value.start()..value.start() + self.without_stop(value.as_str()).len();
            if text.get(value.clone()).is_some_and(|it| self.has_checksum(it)) {
                found.push(value);
            }
        }
        found
    }

    /// A value without the full stops of the sentence that it ends, where it has the shape without
    /// them. `-` and `_` stay: no sentence ends with one, and one random value in thirty does.
    fn without_stop<'v>(&self, value: &'v str) -> &'v str {
        let bare = value.trim_end_matches('.');
        if bare.len() < value.len() && self.matches(bare) { bare } else { value }
    }

    fn has_checksum(&self, value: &str) -> bool {
        self.checksum.is_none_or(|checksum| checksum.holds(value))
    }

    /// Names of its groups.
    pub(crate) fn groups(&self) -> Vec<String> {
        let mut names = Vec::new();
        groups(&self.hir, &mut names);
        names
    }

    /// What each named group holds.
    pub(crate) fn split<'v>(&self, value: &'v str) -> BTreeMap<String, &'v str> {
        let Some(regex) = self.pattern.regex() else { return BTreeMap::new() };
        let Some(captures) = regex.captures(value) else { return BTreeMap::new() };
        let held = |name: &str| Some((name.to_owned(), captures.name(name)?.as_str()));
        regex.capture_names().flatten().filter_map(held).collect()
    }

    /// A value of this shape; groups named in `keep` hold what stands there.
    pub(crate) fn sample(
        &self,
        keep: &BTreeMap<String, &str>,
        random: &mut impl Rng,
    ) -> Zeroizing<String> {
        let mut value = Zeroizing::new(String::with_capacity(256));
        let mut left = OPTIONAL;
        draw(&self.hir, keep, random, &mut value, &mut left);
        self.checksum.and_then(|checksum| checksum.corrected(&value)).unwrap_or(value)
    }
}

/// The same without what ties it to both ends of a text.
fn unanchored(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Look(_) => Hir::empty(),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) => hir.clone(),
        HirKind::Repetition(repetition) => {
            let sub = Box::new(unanchored(&repetition.sub));
            Hir::repetition(Repetition { sub, ..repetition.clone() })
        }
        HirKind::Capture(capture) => unanchored(&capture.sub),
        HirKind::Concat(list) => Hir::concat(list.iter().map(unanchored).collect()),
        HirKind::Alternation(list) => Hir::alternation(list.iter().map(unanchored).collect()),
    }
}

fn groups(hir: &Hir, names: &mut Vec<String>) {
    match hir.kind() {
        HirKind::Capture(capture) => {
            names.extend(capture.name.as_deref().map(str::to_owned));
            groups(&capture.sub, names);
        }
        HirKind::Repetition(repetition) => groups(&repetition.sub, names),
        HirKind::Concat(list) | HirKind::Alternation(list) => {
            list.iter().for_each(|sub| groups(sub, names));
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => {}
    }
}

/// The pieces that a value has at least, as they are drawn: empty ones count, too.
fn least(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Repetition(repetition) => {
            least(&repetition.sub).saturating_mul(u64::from(repetition.min).max(1))
        }
        HirKind::Capture(capture) => least(&capture.sub),
        HirKind::Concat(list) => list.iter().map(least).fold(0, u64::saturating_add),
        HirKind::Alternation(list) => list.iter().map(least).max().unwrap_or(0),
    }
}

/// `left` is how many optional pieces may still be drawn.
fn draw(
    hir: &Hir,
    keep: &BTreeMap<String, &str>,
    random: &mut impl Rng,
    out: &mut String,
    left: &mut u32,
) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => out.extend(one_of(class, random)),
        HirKind::Repetition(repetition) => {
            let open = repetition.min.saturating_add(OPEN_REPETITION);
            let most = repetition.max.unwrap_or(open).min(open);
            for n in 0..random.random_range(repetition.min..=most.max(repetition.min)) {
                if n >= repetition.min {
                    let Some(less) = left.checked_sub(1) else { break };
                    *left = less;
                }
                draw(&repetition.sub, keep, random, out, left);
            }
        }
        HirKind::Capture(capture) => {
            match capture.name.as_deref().and_then(|name| keep.get(name)) {
                Some(kept) => out.push_str(kept),
                None => draw(&capture.sub, keep, random, out, left),
            }
        }
        HirKind::Concat(list) => list.iter().for_each(|sub| draw(sub, keep, random, out, left)),
        HirKind::Alternation(list) => {
            if let Some(sub) = list.choose(random) {
                draw(sub, keep, random, out, left);
            }
        }
    }
}

/// One printable ASCII character of a class: `.` and `[^ ]` hold more than a header can carry.
fn one_of(class: &Class, random: &mut impl Rng) -> Option<char> {
    let fits = |c: char| match class {
        Class::Unicode(class) => class.ranges().iter().any(|r| (r.start()..=r.end()).contains(&c)),
        Class::Bytes(class) => {
            class.ranges().iter().any(|r| (r.start()..=r.end()).contains(&(c as u8)))
        }
    };
    let letters: Vec<char> = ('!'..='~').filter(|c| fits(*c)).collect();
    letters.choose(random).copied()
}

/// A value of the same length and character classes, for secrets whose shape nobody wrote down.
pub(crate) fn alike(value: &[u8], random: &mut impl Rng) -> Zeroizing<Vec<u8>> {
    let hex = value.iter().all(u8::is_ascii_hexdigit);
    let upper = value.iter().any(u8::is_ascii_uppercase);
    let mut draw = |byte: u8| match byte {
        _ if hex && upper => pick(b"0123456789ABCDEF", random),
        _ if hex => pick(b"0123456789abcdef", random),
        b'0'..=b'9' => pick(b"0123456789", random),
        b'a'..=b'z' => pick(b"abcdefghijklmnopqrstuvwxyz", random),
        b'A'..=b'Z' => pick(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", random),
        // Beyond ASCII: what replaces it must still be text.
        0x80.. => pick(b"abcdefghijklmnopqrstuvwxyz", random),
        other => other,
    };
    Zeroizing::new(value.iter().map(|byte| draw(*byte)).collect())
}

/// `length` characters of `alphabet`, each equally likely.
pub(crate) fn choose(length: usize, alphabet: &str, random: &mut impl Rng) -> Zeroizing<String> {
    let letters: Vec<char> = alphabet.chars().collect();
    let mut value = Zeroizing::new(String::with_capacity(length.saturating_mul(4)));
    value.extend((0..length).filter_map(|_| letters.choose(random).copied()));
    value
}

fn pick(letters: &[u8], random: &mut impl Rng) -> u8 {
    letters.choose(random).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_wrong_checksum_is_neither_identified_nor_found() {
        let shape = Shape::anchored("^made_[A-Za-z0-9]{12}$").unwrap();
        let shape = shape.with_checksum(Checksum::Crc32Base62).unwrap();
        let good = shape.sample(&BTreeMap::new(), &mut rand::rng());
        let mut bad = good.to_string();
        bad.replace_range(5..6, if good.as_bytes()[5] == b'a' { "b" } else { "a" });
        assert!(shape.matches(&good) && !shape.matches(&bad));
        let text = format!("K={bad}\nL={}\n", *good);
        let found: Vec<&str> = shape.find(&text).into_iter().map(|span| &text[span]).collect();
        assert_eq!(found, [good.as_str()]);
        let narrow = Shape::anchored("^made_[a-z]{12}$").unwrap();
        assert!(narrow.with_checksum(Checksum::Sha256Base32).is_err(), "upper case is needed");
    }

    #[test]
    fn no_shape_draws_more_than_fits_into_a_header_or_goes_on_without_end() {
        for text in ["^a{9000}$", "^(a?){4000000000}$", "^((a{99}){99}){99}$"] {
            assert!(Shape::anchored(text).is_err(), "{text}");
        }
        for text in ["^a{8000}$", "^a{0,4000000000}$", "^((((((((a*)*)*)*)*)*)*)*)*b$"] {
            let value = Shape::anchored(text).unwrap().sample(&BTreeMap::new(), &mut rand::rng());
            assert!(value.len() <= 16 * 1024, "{text}: {}", value.len());
        }
    }

    #[test]
    fn the_full_stop_of_a_sentence_is_no_part_of_a_value() {
        let shape = Shape::anchored("^tok-[a-z0-9_.-]{4,12}$").unwrap();
        let found = |text: &str| -> Vec<String> {
            shape.find(text).into_iter().map(|span| text[span].to_owned()).collect()
        };
        assert_eq!(found("It was tok-abc1."), ["tok-abc1"]);
        assert_eq!(found("It was tok-abc1... And tok-a.b2."), ["tok-abc1", "tok-a.b2"]);
        assert_eq!(found("tok-abc- tok-abc_"), ["tok-abc-", "tok-abc_"]);
        assert_eq!(found("tok-abc."), ["tok-abc."], "it is too short without");
    }

    #[test]
    fn values_are_found_in_a_text_whole_and_never_within_a_word() {
        let shape = Shape::anchored("^(acme_[a-z0-9]{4,6}|acme_[a-z0-9]{4}-x)$").unwrap();
        let found = |text: &str| -> Vec<String> {
            shape.find(text).into_iter().map(|span| text[span].to_owned()).collect()
        };
        assert_eq!(found("acme_ab12"), ["acme_ab12"]);
        assert_eq!(found("K=\"acme_ab12\"\nL='acme_cd34' # é"), ["acme_ab12", "acme_cd34"]);
        assert_eq!(found("acme_ab12 acme_cd34,acme_ef56"), ["acme_ab12", "acme_cd34", "acme_ef56"]);
        assert_eq!(found("?key=acme_ab12&x=1"), ["acme_ab12"]);
        assert_eq!(found("éacme_ab12é"), ["acme_ab12"]);
        assert_eq!(found("(acme_ab12-x)"), ["acme_ab12-x"], "the longer one of the two");
        for escape in ["\\n", "\\t", "\\u000a", "\\\\n", "\\x0A", "%20", "%250a", "\\u001b[1;31m"] {
            let text = format!("a{escape}acme_ab12{escape}acme_cd34{escape}");
            assert_eq!(found(&text), ["acme_ab12", "acme_cd34"], "{text}");
        }
        for text in [
            "",
            "xacme_ab12",
            "nacme_ab12",
            "\\nxacme_ab12",
            "acme_ab12_",
            "acme_ab12345678",
            "-acme_ab12",
            "acme_a",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
