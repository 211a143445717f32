//! A second reader of JSON, as plain as can be: it knows where a token ends, and nothing else.

/// The tokens of a text, blanks among them; together they are the text.
fn tokens(text: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(first) = text.get(at) {
        let rest = &text[at..];
        let length = match first {
            _ if rest.starts_with(b"\xef\xbb\xbf") => 3,
            b'"' => string(rest),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ if is_blank(first) => rest.iter().take_while(|byte| is_blank(byte)).count(),
            _ => rest.iter().take_while(|byte| !ends_word(byte)).count(),
        };
        all.push(&rest[..length]);
        at += length;
    }
    all
}

fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn is_blank(byte: &u8) -> bool {
    b" \t\r\n".contains(byte)
}

fn ends_word(byte: &u8) -> bool {
    is_blank(byte) || b"\"{}[],:".contains(byte)
}

/// Holds that one string token was put in the place of another or of `null`, or one member was
/// added, and that every other byte stayed.
pub(super) fn assert_one_string_changed(before: &[u8], after: &[u8]) {
    let (old, new) = (tokens(before), tokens(after));
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[same..], &new[same..]);
    let same = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - same], &new[..new.len() - same]);
    let is_string = |token: &&&[u8]| token.starts_with(b"\"");
    if let ([was], [is]) = (old, new) {
        assert!(is.starts_with(b"\""), "something else than a string was written");
        assert!(was.starts_with(b"\"") || was == b"null", "something else was written over");
        return;
    }
    // The tokens of a new member, from wherever the two texts part.
    assert!(old.is_empty(), "more than one token has changed");
    assert_eq!(new.iter().filter(is_string).count(), 2, "more than one member was added");
    assert_eq!(new.iter().filter(|token| **token == b":").count(), 1);
    let others = new.iter().filter(|token| !is_string(token) && **token != b":");
    assert!(others.clone().all(|token| *token == b"," || is_blank(&token[0])));
    assert!(others.filter(|token| **token == b",").count() <= 1);
}
