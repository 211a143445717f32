//! What every place must keep to: what was written is read, and a refusal is one each time.

use zeroize::Zeroizing;

use crate::engine::call::{Reason, Why};
use crate::inventory::{Part, SecretRef};
use crate::secret::Secret;
use crate::store::{Edit, edited, get};

pub(super) fn at(scheme: &str, fragment: Option<&str>, part: Option<Part>) -> SecretRef {
    let fragment = fragment.map(str::to_owned);
    SecretRef { scheme: scheme.to_owned(), path: "/any".to_owned(), fragment, part }
}

/// The content with the value put in, where it takes one: read back, and put in again for nothing.
pub(super) fn put(content: &[u8], to: &SecretRef, new: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let before = get(content, to);
    let held = before.as_ref().ok().and_then(Option::as_ref).filter(|held| !held.is_empty());
    let is_new = held.is_some_and(|held| held.expose() == new);
    if held.is_some() && !is_new {
        let why = edited(content, &[edit(to, Some(b"what nobody put there"), new)]).err();
        let other = held.is_some_and(|held| held.expose() != b"what nobody put there");
        assert!(!other || why.is_some_and(|why| why.reason == Reason::PlaceChanged));
    }
    match edited(content, &[edit(to, held.map(Secret::expose), new)]) {
        Ok(Some(all)) => {
            assert!(before.is_ok(), "what cannot be read for certain was written over");
            assert_eq!(read(&all, to).as_deref(), Ok(new), "another value is read");
            let again = edited(&all, &[edit(to, None, new)]);
            assert!(matches!(again, Ok(None)), "what is there already is written again");
            Some(all)
        }
        Ok(None) => {
            assert!(is_new, "nothing was written, and the place does not hold it");
            None
        }
        Err(why) => {
            assert!(why.word.is_some(), "a refusal without a word: {why:?}");
            None
        }
    }
}

fn edit(to: &SecretRef, old: Option<&[u8]>, new: &[u8]) -> Edit {
    let old = old.map(|old| Secret::new(old.to_vec()));
    Edit { to: to.clone(), old, new: Secret::new(new.to_vec()) }
}

fn read(content: &[u8], at: &SecretRef) -> Result<Vec<u8>, Option<Why>> {
    match get(content, at) {
        Ok(Some(value)) => Ok(value.expose().to_vec()),
        Ok(None) => Err(None),
        Err(why) => Err(Some(why)),
    }
}
