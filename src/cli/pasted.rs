//! What stands on the command line may be a secret that was pasted by mistake. Whoever did that
//! must not find it in a build log as well.

use crate::provider::catalog::Catalog;

/// What stands instead.
pub(super) const VEIL: &str = "...";

/// The text without any value of a known shape.
pub(super) fn veiled(text: &str, catalog: &Catalog) -> String {
    let mut veiled = text.to_owned();
    let mut found: Vec<_> = catalog.find(text).into_iter().map(|(span, ..)| span).collect();
    // From the end, so that what is left keeps its place; shapes may overlap.
    found.reverse();
    let mut end = text.len();
    for span in found {
        if span.end <= end {
            veiled.replace_range(span.clone(), VEIL);
            end = span.start;
        } else if span.start < end {
            veiled.replace_range(span.start..end, "");
            end = span.start;
        }
    }
    veiled
}

/// Whether the value of an option that takes none such is better not repeated.
pub(super) fn is_suspect(value: &str) -> bool {
    // A date with its time has 19 characters, the longest word that an option takes 9.
    const LONGEST: usize = 20;
    let is_known = |catalog: Catalog| !catalog.find(value).is_empty();
    value.chars().count() > LONGEST || Catalog::builtin().is_ok_and(is_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_known_shape_is_veiled_and_what_stands_around_it_is_not() {
        let catalog = Catalog::builtin().unwrap();
        let key = format!("acme_{}", "Ab3".repeat(11).split_at(32).0);
        let text = format!("no role {key} in the inventory, nor {key}; did you mean mail-agent?");
        let told = veiled(&text, &catalog);
        assert_eq!(told, "no role ... in the inventory, nor ...; did you mean mail-agent?");
        assert_eq!(veiled("no role mail-agnet", &catalog), "no role mail-agnet");
    }

    #[test]
    fn a_slip_is_repeated_and_what_is_longer_is_not() {
        for slip in ["yesterday", "2026-11-22 09:00:00", "jsn", "90"] {
            assert!(!is_suspect(slip), "{slip}");
        }
        assert!(is_suspect("a-long-password-of-mine"));
    }
}
