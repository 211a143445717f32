//! What the documents say a test holds, a test holds.

use std::path::Path;

use regex::Regex;

#[test]
fn every_claim_of_the_threat_model_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let pointer = Regex::new(r"`((?:src|tests)/[a-z_/]+\.rs)(?:::([a-z_0-9]+))?`").unwrap();
    let pointers: Vec<_> = pointer.captures_iter(&text).collect();
    assert!(pointers.len() > 30, "{} pointers", pointers.len());
    let mut lost = Vec::new();
    for pointer in pointers {
        let source = std::fs::read_to_string(root.join(&pointer[1])).unwrap_or_default();
        let named = pointer.get(2).is_none_or(|name| {
            let function = format!("fn {}(", name.as_str());
            source.contains(&function) || source.contains(&format!("mod {} {{", name.as_str()))
        });
        if source.is_empty() || !named {
            lost.push(pointer[0].to_owned());
        }
    }
    assert!(lost.is_empty(), "no such test: {lost:#?}");
}
