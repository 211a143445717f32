//! The part of a stored value that stands behind `::`; the rest is kept byte for byte.

use std::collections::BTreeMap;
use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use zeroize::Zeroizing;

use super::content::replaced;
use super::{Edit, SecretStore, because, cookie, json, whole};
use crate::engine::call::{Reason, Why};
use crate::inventory::{Part, SecretRef};
use crate::secret::Secret;

/// What RFC 3986 leaves as it is everywhere.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The part of a value; none where the value has no such part.
///
/// # Errors
/// [`Reason::Unreadable`] with `malformed`, and what the format of the part says.
pub(super) fn get(value: &Secret, part: &Part) -> Result<Option<Secret>, Why> {
    let text = value.expose();
    let span = match part {
        Part::Json(pointer) => return json::get(text, pointer),
        Part::Cookie(name) => return cookie::get(text, name),
        Part::UrlUser => Address::of(text)?.user,
        Part::UrlPassword => Address::of(text)?.password,
    };
    Ok(span.map(|span| {
        // Decoding never lengthens, so the buffer never grows and leaves no copy behind.
        let mut plain = Vec::with_capacity(span.len());
        plain.extend(percent_decode(&text[span]));
        Secret::new(plain)
    }))
}

/// The value with another part.
///
/// # Errors
/// As [`get`], and what the format of the part has no room for.
pub(super) fn set(value: &Secret, part: &Part, new: &Secret) -> Result<Secret, Why> {
    let text = value.expose();
    let address = match part {
        Part::Json(pointer) => {
            let mut changed = json::set(text, pointer, new.expose())?;
            return Ok(Secret::new(std::mem::take(&mut *changed)));
        }
        Part::Cookie(name) => {
            let mut changed = cookie::set(text, name, new.expose())?;
            return Ok(Secret::new(std::mem::take(&mut *changed)));
        }
        Part::UrlUser | Part::UrlPassword => Address::of(text)?,
    };
    // Three bytes for each are the longest escape.
    let mut token = Zeroizing::new(Vec::with_capacity(3 * new.expose().len() + 2));
    let encoded = percent_encode(new.expose(), ESCAPED);
    let (span, before, behind) = address.room(part);
    token.extend_from_slice(before);
    encoded.for_each(|piece| token.extend_from_slice(piece.as_bytes()));
    token.extend_from_slice(behind);
    let mut changed = replaced(text, span, &token);
    Ok(Secret::new(std::mem::take(&mut *changed)))
}

/// Turns edits of parts into edits of whole values, for a store that knows no parts. Between this
/// reading and the writing another writer may come: such a store compares with `old`.
///
/// # Errors
/// [`Reason::PlaceChanged`], and what the store and the parts say.
pub(super) async fn fold(store: &dyn SecretStore, edits: &[Edit]) -> Result<Vec<Edit>, Why> {
    let mut folded: BTreeMap<SecretRef, Edit> = BTreeMap::new();
    for edit in edits {
        let place = whole(&edit.to);
        let Some(part) = &edit.to.part else {
            folded.insert(place, edit.duplicate());
            continue;
        };
        if !folded.contains_key(&place) {
            let now = store.read(&place).await?;
            let (to, new) = (place.clone(), now.duplicate());
            folded.insert(place.clone(), Edit { to, old: Some(now), new });
        }
        let Some(target) = folded.get_mut(&place) else { continue };
        if let Some(now) = get(&target.new, part)?.filter(|now| !now.is_empty())
            && !now.same(&edit.new)
            && edit.old.as_ref().is_some_and(|old| !now.same(old))
        {
            return Err(Reason::PlaceChanged.into());
        }
        target.new = set(&target.new, part, &edit.new)?;
    }
    Ok(folded.into_values().collect())
}

/// Where user and password stand in `SCHEME://USER:PASSWORD@HOST`.
struct Address {
    /// Behind `://`.
    start: usize,
    user: Option<Range<usize>>,
    password: Option<Range<usize>>,
}

impl Address {
    fn of(text: &[u8]) -> Result<Self, Why> {
        let malformed = || because(Reason::Unreadable, "malformed");
        let scheme = text.windows(3).position(|three| three == b"://").ok_or_else(malformed)?;
        let start = scheme + 3;
        let rest = &text[start..];
        let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
        let Some(at) = rest[..end].iter().rposition(|byte| *byte == b'@') else {
            // An `@` behind a slash is a password with a slash in it as often as a path: nobody
            // can tell, and a guess would write into the wrong place.
            return match rest[end..].contains(&b'@') {
                true => Err(malformed()),
                false => Ok(Self { start, user: None, password: None }),
            };
        };
        let colon = rest[..at].iter().position(|byte| *byte == b':');
        Ok(Self {
            start,
            user: Some(start..start + colon.unwrap_or(at)),
            password: colon.map(|colon| start + colon + 1..start + at),
        })
    }

    /// What a part replaces, and what stands before and behind it where it was not there.
    fn room(self, part: &Part) -> (Range<usize>, &'static [u8], &'static [u8]) {
        match (part, self.user, self.password) {
            (Part::UrlPassword, _, Some(span)) | (Part::UrlUser, Some(span), _) => (span, b"", b""),
            (Part::UrlPassword, Some(user), None) => (user.end..user.end, b":", b""),
            (Part::UrlPassword, None, None) => (self.start..self.start, b":", b"@"),
            (_, None, _) => (self.start..self.start, b"", b"@"),
            (_, Some(user), _) => (user, b"", b""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, part: &Part) -> Result<Option<String>, Why> {
        let value = get(&Secret::from(text.to_owned()), part)?;
        Ok(value.map(|value| String::from_utf8(value.expose().to_vec()).unwrap()))
    }

    fn written(text: &str, part: &Part, new: &str) -> String {
        let all = set(&Secret::from(text.to_owned()), part, &Secret::from(new.to_owned()));
        String::from_utf8(all.unwrap().expose().to_vec()).unwrap()
    }

    #[test]
    fn user_and_password_of_an_address() {
        let url = "amqp://mail:p%40ss:w%2F@mq1.example.com:5671,mq2/%2Fv?x=a@b#c";
        assert_eq!(read(url, &Part::UrlUser).unwrap().unwrap(), "mail");
        assert_eq!(read(url, &Part::UrlPassword).unwrap().unwrap(), "p@ss:w/");
        assert_eq!(read("redis://:pw@h", &Part::UrlPassword).unwrap().unwrap(), "pw");
        assert_eq!(read("redis://h/0", &Part::UrlPassword).unwrap(), None);
        assert_eq!(read("redis://u@h/0", &Part::UrlPassword).unwrap(), None);
        assert!(read("no address", &Part::UrlPassword).is_err());
        assert!(read("redis://u:a/b@h", &Part::UrlPassword).is_err(), "slash in the password");
    }

    #[test]
    fn the_rest_of_an_address_stays() {
        let (url, rest) = ("amqp://mail:old@h:5671/%2Fv?x=%c3", "@h:5671/%2Fv?x=%c3");
        let password = &Part::UrlPassword;
        assert_eq!(
            written(url, password, "n/@:?#%é"),
            format!("amqp://mail:n%2F%40%3A%3F%23%25%C3%A9{rest}")
        );
        assert_eq!(written(url, &Part::UrlUser, "a b"), format!("amqp://a%20b:old{rest}"));
        assert_eq!(written("redis://h/0", password, "pw"), "redis://:pw@h/0");
        assert_eq!(written("redis://u@h/0", password, "pw"), "redis://u:pw@h/0");
        assert_eq!(written("redis://h/0", &Part::UrlUser, "u"), "redis://u@h/0");
    }

    #[test]
    fn a_member_of_a_stored_object() {
        let part = Part::Json("/auth/key".into());
        let text = "{\"auth\": {\"key\": \"old\"} }";
        assert_eq!(read(text, &part).unwrap().unwrap(), "old");
        assert_eq!(written(text, &part, "new"), "{\"auth\": {\"key\": \"new\"} }");
    }
}
