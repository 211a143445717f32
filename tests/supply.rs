//! What `deny.toml` bans by name is not in `Cargo.lock`.

#![cfg(test)]

use std::path::Path;

use toml::{Table, Value};

fn read(name: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// Name and version as numbers.
fn locked() -> Vec<(String, Vec<u64>)> {
    let lock = read("Cargo.lock");
    let packages = lock["package"].as_array().unwrap();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap().to_owned();
    packages.iter().map(|one| (text(one, "name"), numbers(&text(one, "version")))).collect()
}

fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

/// `NAME` bans every version, `NAME:<VERSION` the older ones.
fn is_banned(rule: &str, (name, version): &(String, Vec<u64>)) -> bool {
    match rule.split_once(":<") {
        Some((banned, below)) => name == banned && *version < numbers(below),
        None => name == rule,
    }
}

#[test]
fn nothing_that_is_banned_is_in_the_lock_file() {
    let deny = read("deny.toml");
    let rules = deny["bans"]["deny"].as_array().unwrap();
    assert!(rules.len() >= 7);
    let locked = locked();
    assert!(locked.iter().any(|(name, _)| name == "rustls"));
    for rule in rules {
        let wrappers = rule.get("wrappers").map(names).unwrap_or_default();
        let rule = rule["crate"].as_str().unwrap();
        let found: Vec<_> = locked.iter().filter(|one| is_banned(rule, one)).collect();
        match wrappers.as_slice() {
            [] => assert!(found.is_empty(), "{rule} is banned: {found:?}"),
            // Then it is in use, and by nothing else.
            _ => assert_eq!(users(rule), wrappers, "{rule} is for them alone"),
        }
    }
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The packages that name it among their dependencies.
fn users(crate_name: &str) -> Vec<String> {
    let lock = read("Cargo.lock");
    let packages = lock["package"].as_array().unwrap().iter();
    let uses = |package: &&Value| {
        let all = package.get("dependencies").map(names).unwrap_or_default();
        all.iter().any(|one| one.split(' ').next() == Some(crate_name))
    };
    packages.filter(uses).map(|package| package["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_ban_is_seen() {
    let one = |name: &str, version| (name.to_owned(), numbers(version));
    assert!(is_banned("openssl", &one("openssl", "0.10.72")));
    assert!(!is_banned("openssl", &one("openssl-probe", "0.2.0")));
    assert!(is_banned("hyper:<1", &one("hyper", "0.14.32")));
    assert!(!is_banned("hyper:<1", &one("hyper", "1.12.0")));
    assert!(is_banned("rustls:<0.23", &one("rustls", "0.21.12")));
    assert!(!is_banned("rustls:<0.23", &one("rustls", "0.23.46")));
}
