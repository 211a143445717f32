//! A reference as it stands in an inventory.

use crate::inventory::{SecretRef, leak, literal};

/// What is read is written alike, and what may be a secret is never repeated.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let said = match text.parse::<SecretRef>() {
        Ok(reference) => {
            assert_eq!(reference.to_string(), text, "it is written otherwise");
            let json = serde_json::to_string(&reference).unwrap();
            assert_eq!(serde_json::from_str::<SecretRef>(&json).unwrap(), reference);
            let pieces = [Some(reference.scheme.as_str()), Some(reference.path.as_str())];
            let pieces = pieces.into_iter().chain([reference.fragment.as_deref()]).flatten();
            assert!(pieces.clone().all(|piece| !piece.chars().any(char::is_control)));
            assert!(!reference.path.is_empty() && reference.fragment.as_deref() != Some(""));
            // What a reference of this very text would read.
            drop(literal(text, &reference));
            assert!(reference.vet().is_err() || SecretRef::is_meant(text));
            reference.vet().err()
        }
        Err(error) => Some(error),
    };
    if let Some(error) = said {
        let said = format!("{error} {}", error.hint);
        assert!(!error.message.is_empty() && !error.hint.is_empty());
        assert!(!leak::is_bare(text) || !said.contains(text), "a secret is repeated");
        for found in leak::scan(text) {
            let secret = text.get(found.span).unwrap();
            // A shorter one is a word of any sentence by chance.
            assert!(secret.len() < 9 || !said.contains(secret), "a secret is repeated");
        }
    }
}
