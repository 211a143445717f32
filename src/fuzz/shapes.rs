//! Any text in which secrets of known shape may stand: what `line:` reads, what is searched for,
//! and what `rotate revoke -` takes.

use super::{catalog, options, resolved};
use crate::given;
use crate::inventory::leak;
use crate::secret::{FingerprintKey, Secret};

/// Values are found where they stand, and a plan made of them holds none.
pub fn shapes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut end = 0;
    for leak in leak::scan(text) {
        assert!(leak.span.start >= end && !leak.span.is_empty(), "two overlap");
        assert!(text.get(leak.span.clone()).is_some(), "it ends within a character");
        end = leak.span.end;
    }
    let found = catalog().find(text);
    for (span, provider, kind) in &found {
        let value = text.get(span.clone()).unwrap();
        let known = catalog().identify(value);
        assert!(known.contains(&(*provider, *kind)), "found, and not known by itself");
    }
    let key = FingerprintKey::new(Secret::new(vec![7; 32]));
    let Ok(Some((plan, _))) = given::plan(text, resolved(), &key, &options()) else { return };
    let shown = serde_json::to_string(&plan).unwrap();
    for (span, ..) in &found {
        assert!(!shown.contains(&text[span.clone()]), "the plan holds a secret");
    }
}
