//! The house rules, as a test. Every failure says where, which rule, and what to do.

#![cfg(test)]

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use source::{Source, repository};

/// Who may import whom: the picture in `docs/architecture.md`. A name that is missing on the
/// right is a wall, not an oversight; `secret` stands only where bytes have to pass.
#[rustfmt::skip]
const IMPORTS: &[(&str, &[&str])] = &[
    ("main",      &["cli"]),
    ("cli",       &["demo", "drive", "journal", "world", "provider", "store", "platform",
                    "child", "given", "trust", "engine", "inventory", "seal"]),
    ("fuzz",      &[]),
    ("given",     &["provider", "store", "engine", "inventory", "secret"]),
    ("demo",      &[]),
    ("drive",     &["journal", "world", "vault", "engine", "inventory", "seal", "secret"]),
    ("journal",   &["engine", "inventory", "seal", "secret"]),
    ("world",     &["provider", "store", "platform", "child", "trust", "vault", "engine", "inventory",
                    "seal", "secret"]),
    ("vault",     &["engine", "secret"]),
    ("provider",  &["engine", "inventory", "secret"]),
    ("store",     &["child", "engine", "inventory", "secret"]),
    ("platform",  &["child", "engine", "inventory", "seal", "secret"]),
    ("child",     &["engine"]),
    ("trust",     &["inventory"]),
    ("seal",      &["secret"]),
    ("secret",    &[]),
    ("engine",    &["inventory"]),
    ("inventory", &[]),
];

/// Modules without clock, disk, network, environment, randomness and bytes ...
const PURE: &[&str] = &["engine", "inventory"];

/// ... which means without these. `clippy.toml` bans the same by method.
#[rustfmt::skip]
const IMPURE: &[&str] = &[
    "async_trait", "futures", "libc", "rand", "reqwest", "rusqlite", "rustix", "secrecy",
    "tempfile", "tokio", "std::env", "std::fs", "std::net::TcpListener",
    "std::net::TcpStream", "std::net::ToSocketAddrs", "std::net::UdpSocket", "std::os",
    "std::process", "std::thread", "std::time::Instant", "std::time::SystemTime",
];

/// Native drivers and stores never import each other.
#[rustfmt::skip]
const SIBLINGS: &[(&str, &[&str])] = &[
    ("provider", &["aws_iam", "github", "oauth", "redis", "session"]),
    ("store",    &["aws_sm", "cmd", "env", "file", "keyring", "vault"]),
];

/// Every function outside tests that sees the bytes of a secret; one entry for each call.
#[rustfmt::skip]
const EXPOSE: &[(&str, &[&str])] = &[
    ("src/journal/data_key.rs",         &["open"]),
    ("src/journal/escrow.rs",           &["hand_over"]),
    ("src/journal/key.rs",              &["write_once"]),
    ("src/journal/sealed.rs",           &["open", "seal"]),
    ("src/provider/aws_iam/session.rs", &["from_parts"]),
    ("src/provider/github/repository.rs", &["public"]),
    ("src/provider/github/session.rs",  &["text"]),
    ("src/provider/http/list.rs",       &["row"]),
    ("src/provider/http/login.rs",      &["key"]),
    ("src/provider/http/mod.rs",        &["another", "another", "another", "text_of"]),
    ("src/provider/http/read.rs",       &["echoes"]),
    ("src/provider/http/scene.rs",      &["claim", "find", "part"]),
    ("src/provider/oauth/client.rs",    &["text"]),
    ("src/provider/oauth/echo.rs",      &["needle"]),
    ("src/provider/redis.rs",           &["digest", "enter", "handle", "probe_node"]),
    ("src/provider/session/cookie.rs",  &["header", "print", "shows", "shows"]),
    ("src/provider/session/sign.rs",    &["text"]),
    ("src/provider/session/site.rs",    &["submit"]),
    ("src/provider/session/store.rs",   &["names", "password"]),
    ("src/seal.rs",                     &["make_key", "new", "seal"]),
    ("src/secret.rs",                   &["duplicate", "expose", "is_empty", "of", "of", "of",
                                          "same", "same"]),
    ("src/store/command.rs",            &["fold", "set"]),
    ("src/store/content.rs",            &["set", "set", "set"]),
    ("src/store/mod.rs",                &["text"]),
    ("src/store/part.rs",               &["get", "set", "set", "set", "set", "set"]),
    ("src/store/scan.rs",               &["digest"]),
    ("src/world.rs",                    &["publish"]),
];

/// What no text of the repository says, and what it says instead. Split, so that this file is
/// held to them too.
#[rustfmt::skip]
const WORDS: &[(&str, &str)] = &[
    (concat!(r"\bTO", r"DO\b"),            "do it, or open an issue"),
    (concat!(r"\bFIX", r"ME\b"),           "do it, or open an issue"),
    (concat!(r"\bXX", r"X\b"),             "do it, or open an issue"),
    (concat!(r"(?i)\bplea", r"se\b"),      "say what to do, as an imperative"),
    (concat!("pypi", r"\.org"),            "name the client, not the host of a registry"),
    (concat!("python", r"hosted\.org"),    "name the client, not the host of a registry"),
    (concat!("npm", r"js\.(com|org)"),     "name the client, not the host of a registry"),
    (concat!("crates", r"\.io"),           "name the client, not the host of a registry"),
    // A made-up home has a name of one letter.
    (concat!(r"(^|[\s'`=(]|\x22)/(ho", r"me|Us", r"ers)/[a-z]{2}"),
     "write /srv, or a relative path"),
    (concat!(r"(^|[\s'`=(]|\x22)/(ro", r"ot|wo", r"rk)/"),      "write /srv, or a relative path"),
];

/// The same for Rust alone.
#[rustfmt::skip]
const RUST_WORDS: &[(&str, &str)] = &[
    (concat!(r"#!?\[al", r"low\("),        "write #[expect(..., reason = \"...\")], or mend it"),
    (concat!("success", "fully"),          "say what was seen: words never flatter"),
];

/// Words that a name may not have: they say nothing of what is inside.
#[rustfmt::skip]
const NAMES: &[(&str, &str)] = &[
    ("util", "the noun it works on"),   ("utils", "the noun it works on"),
    ("helper", "what it does"),         ("helpers", "what they do"),
    ("manager", "what it does"),        ("common", "the noun that its users share"),
    ("misc", "one module for each noun"),
];

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 500;
const MAIN_LINES: usize = 15;
const COLUMNS: usize = 100;

#[test]
fn modules_import_along_the_table() {
    hold(sources().iter().flat_map(imports));
}

#[test]
fn drivers_and_stores_do_not_import_each_other() {
    hold(sources().iter().flat_map(siblings));
}

#[test]
fn the_pure_modules_touch_nothing() {
    hold(sources().iter().flat_map(purity));
    for module in PURE {
        let path = format!("src/{module}/mod.rs");
        let text = std::fs::read_to_string(repository().join(&path)).unwrap();
        let ban = "#![deny(clippy::disallowed_methods, clippy::disallowed_types)]";
        assert!(text.contains(ban), "{path}:1: the wall is down: write {ban}");
    }
}

#[test]
fn functions_files_and_lines_are_short() {
    hold(sources().iter().flat_map(sizes));
    hold(texts().iter().filter(|(path, _)| path.ends_with(".rs")).flat_map(columns));
}

#[test]
fn secrets_are_exposed_where_the_table_says() {
    hold(exposures(&sources()));
}

#[test]
fn nothing_outside_tests_unwraps() {
    hold(sources().iter().flat_map(unwraps));
}

#[test]
fn names_say_what_is_inside() {
    hold(sources().iter().flat_map(names));
}

#[test]
fn banned_words_are_not_used() {
    hold(texts().iter().flat_map(|text| words(text, WORDS)));
    let rust = texts().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect::<Vec<_>>();
    hold(rust.iter().flat_map(|text| words(text, RUST_WORDS)));
}

#[test]
fn no_file_is_forgotten() {
    let reached: BTreeSet<String> = sources().into_iter().map(|source| source.path).collect();
    let texts = texts();
    hold(texts.iter().filter_map(|(path, _)| {
        let lost = path.starts_with("src/") && path.ends_with(".rs") && !reached.contains(path);
        lost.then(|| format!("{path}:1: no `mod` leads here: declare it, or delete it"))
    }));
    let embedding: Vec<_> = texts
        .iter()
        .filter(|(path, text)| path.starts_with("src/") && text.contains("include_str!"))
        .collect();
    hold(texts.iter().filter_map(|(path, _)| {
        let name = path.strip_prefix("providers/")?.strip_suffix(".toml")?;
        let named = [format!("providers/{name}.toml"), format!("\"{name}\"")];
        let embedded =
            embedding.iter().any(|(_, text)| named.iter().any(|name| text.contains(name)));
        (!embedded).then(|| format!("{path}:1: not in the binary: embed it, or delete it"))
    }));
}

fn imports(source: &Source) -> Vec<String> {
    let own = source.top();
    // The front door shows what is behind it.
    if own == "lib" {
        return Vec::new();
    }
    let table: BTreeMap<_, _> = IMPORTS.iter().copied().collect();
    let Some(allowed) = table.get(own) else {
        return vec![format!(
            "{}:1: module `{own}` is not in the import table: add it to IMPORTS in tests/tidy",
            source.path
        )];
    };
    let shipped = source.paths.iter().filter(|path| !path.test);
    let failures = shipped.filter_map(|path| {
        let to = path.in_crate()?.first()?.as_str();
        let place = format!("{}:{}", source.path, path.line);
        if to == own || allowed.contains(&to) {
            None
        } else if table.contains_key(to) {
            let list = allowed.join(", ");
            Some(format!(
                "{place}: `{own}` imports `{to}`, and may import {}: turn it round, or move it",
                if list.is_empty() { "nothing" } else { &list }
            ))
        } else {
            Some(format!("{place}: `{to}` is no module of the import table: name its module"))
        }
    });
    failures.collect()
}

fn siblings(source: &Source) -> Vec<String> {
    let [parent, own, ..] = source.module.as_slice() else { return Vec::new() };
    let table: BTreeMap<_, _> = SIBLINGS.iter().copied().collect();
    let Some(listed) = table.get(parent.as_str()) else { return Vec::new() };
    if !listed.contains(&own.as_str()) {
        return Vec::new();
    }
    let failures = source.paths.iter().filter(|path| !path.test).filter_map(|path| {
        let [to_parent, to, ..] = path.in_crate()? else { return None };
        let crossed = to_parent == parent && to != own && listed.contains(&to.as_str());
        crossed.then(|| {
            format!(
                "{}:{}: `{parent}::{own}` imports `{parent}::{to}`: move what they share to a \
                 module of its own",
                source.path, path.line
            )
        })
    });
    failures.collect()
}

fn purity(source: &Source) -> Vec<String> {
    if !PURE.contains(&source.top()) {
        return Vec::new();
    }
    let failures = source.paths.iter().filter(|path| !path.test).filter_map(|path| {
        let name = path.outside()?.join("::");
        let impure = IMPURE
            .iter()
            .find(|banned| name == **banned || name.starts_with(&format!("{banned}::")))?;
        Some(format!(
            "{}:{}: `{}` is pure, and `{impure}` is not: take it as an argument, or do it in the \
             world",
            source.path,
            path.line,
            source.top()
        ))
    });
    failures.collect()
}

fn sizes(source: &Source) -> Vec<String> {
    let path = &source.path;
    let mut failures: Vec<String> = source
        .functions
        .iter()
        .filter(|function| function.lines > FUNCTION_LINES)
        .map(|function| {
            let (line, name, lines) = (function.line, &function.name, function.lines);
            format!(
                "{path}:{line}: `{name}` has {lines} lines, {FUNCTION_LINES} are the limit: \
                 split it"
            )
        })
        .collect();
    let limit = if path == "src/main.rs" { MAIN_LINES } else { FILE_LINES };
    let tests = source.text.lines().position(|line| line.trim() == "#[cfg(test)]");
    let lines = tests.unwrap_or(source.text.lines().count());
    if lines > limit && !source.test {
        failures.push(format!(
            "{path}:{limit}: {lines} lines before the tests, {limit} are the limit: split it by \
             nouns"
        ));
    }
    failures
}

fn columns((path, text): &(String, String)) -> Vec<String> {
    // rustfmt itself lets the comma of a wrapped derive stand behind the last column, and breaks no
    // literal; a transcript is as wide as what it shows, and often ends with a word in brackets.
    let literal = |line: &str| line.contains('"') || !line.ends_with([';', ',', '{', '(', '.']);
    let code = |line: &str| path.starts_with("src/") && !line.contains('"') || !literal(line);
    let columns = text.lines().map(|line| match code(line) {
        true => line.strip_suffix(',').unwrap_or(line).chars().count(),
        false => 0,
    });
    let long = columns.enumerate().filter(|(_, columns)| *columns > COLUMNS);
    long.map(|(n, columns)| {
        format!("{path}:{}: {columns} columns, {COLUMNS} are the limit: break it", n + 1)
    })
    .collect()
}

fn exposures(sources: &[Source]) -> Vec<String> {
    let listed: BTreeMap<_, _> = EXPOSE.iter().copied().collect();
    let mut failures = Vec::new();
    for source in sources {
        let expected = listed.get(source.path.as_str()).copied().unwrap_or_default();
        let mut left: Vec<&str> = expected.to_vec();
        let calls = source.calls.iter().filter(|call| {
            !call.test && (call.method == "expose" || call.method == "expose_secret")
        });
        for call in calls {
            match left.iter().position(|name| *name == call.function) {
                Some(at) => drop(left.remove(at)),
                None => failures.push(format!(
                    "{}:{}: `{}` exposes a secret: do without, or add it to EXPOSE in tests/tidy, \
                     for all to see",
                    source.path, call.line, call.function
                )),
            }
        }
        failures.extend(left.iter().map(|name| {
            format!("{}:1: `{name}` exposes nothing any more: take it out of EXPOSE", source.path)
        }));
    }
    let known: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let gone = listed.keys().filter(|path| !known.contains(*path));
    failures.extend(gone.map(|path| format!("{path}:1: no such file: take it out of EXPOSE")));
    failures
}

fn unwraps(source: &Source) -> Vec<String> {
    let calls = source.calls.iter().filter(|call| !call.test && call.method == "unwrap");
    calls
        .map(|call| {
            format!(
                "{}:{}: `{}` unwraps: return an error, or show the type that cannot fail",
                source.path, call.line, call.function
            )
        })
        .collect()
}

fn names(source: &Source) -> Vec<String> {
    let banned: BTreeMap<_, _> = NAMES.iter().copied().collect();
    let file = source.module.last().map(|name| (1, name.clone()));
    let all = source.names.iter().cloned().chain(file);
    all.flat_map(|(line, name)| {
        let bad = source::words_of(&name).into_iter().find_map(|word| banned.get(word.as_str()));
        bad.map(|instead| format!("{}:{line}: `{name}` says nothing: name {instead}", source.path))
    })
    .collect()
}

fn words((path, text): &(String, String), banned: &[(&str, &str)]) -> Vec<String> {
    let mut failures = Vec::new();
    for (pattern, instead) in banned {
        let pattern = regex::Regex::new(pattern).unwrap();
        for (n, line) in text.lines().enumerate() {
            if let Some(found) = pattern.find(line) {
                let found = found.as_str().trim();
                failures.push(format!("{path}:{}: `{found}` is banned: {instead}", n + 1));
            }
        }
    }
    failures
}

fn hold(failures: impl IntoIterator<Item = String>) {
    let failures: Vec<String> = failures.into_iter().collect();
    assert!(failures.is_empty(), "{} broken:\n\n{}\n", failures.len(), failures.join("\n"));
}

fn sources() -> Vec<Source> {
    source::reachable(&repository())
}

/// Every text of the repository that people wrote, by relative path.
fn texts() -> Vec<(String, String)> {
    let left_out = |name: &str| {
        name.starts_with(".git") && name != ".github"
            || name.starts_with("LICENSE")
            || ["target", ".cache", "node_modules", "Cargo.lock"].contains(&name)
    };
    let root = repository();
    let walk = walkdir::WalkDir::new(&root)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| !left_out(&entry.file_name().to_string_lossy()));
    let files = walk.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().is_file());
    files
        .filter_map(|entry| {
            // What is no text has no words.
            let text = std::fs::read_to_string(entry.path()).ok()?;
            Some((relative(entry.path(), &root), text))
        })
        .collect()
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap().to_string_lossy().into_owned()
}

/// Each rule against a text that breaks it, and one that does not.
mod rules {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::parse(path, text, false)
    }

    fn one(failures: Vec<String>) -> String {
        assert_eq!(failures.len(), 1, "{failures:#?}");
        failures.into_iter().next().unwrap()
    }

    #[test]
    fn an_import_against_the_table() {
        let bad = [
            "use crate::secret::Secret;",
            "use crate::{inventory::Role, secret};",
            "use super::super::secret::Secret as S;",
            "fn f() -> crate::secret::Secret { g() }",
            "fn f() { g::<Vec<crate::secret::Secret>>() }",
            "fn f() { assert!(crate::secret::is()) }",
            "mod inner { use super::super::super::secret::Secret; }",
        ];
        for text in bad {
            assert_eq!(
                one(imports(&source("src/engine/plan.rs", text))),
                "src/engine/plan.rs:1: `engine` imports `secret`, and may import inventory: turn \
                 it round, or move it",
                "{text}"
            );
        }
        let good = "use crate::inventory::Role;\nuse super::call;\nuse std::fmt;
            #[cfg(test)] mod tests { use crate::secret::Secret; }";
        assert_eq!(imports(&source("src/engine/plan.rs", good)), Vec::<String>::new());
        let failure = one(imports(&source("src/extra.rs", "")));
        assert!(failure.contains("`extra` is not in the import table"));
        let failure = one(imports(&source("src/cli/mod.rs", "use crate::Error;")));
        assert!(failure.contains("`Error` is no module"));
    }

    #[test]
    fn the_binary_sees_the_commands_alone() {
        assert!(imports(&source("src/main.rs", "fn main() { rotate::cli::main() }")).is_empty());
        let failure = one(imports(&source("src/main.rs", "use rotate::secret;")));
        assert!(failure.contains("`main` imports `secret`"));
    }

    #[test]
    fn a_driver_in_another_driver() {
        for path in ["src/provider/redis.rs", "src/provider/redis/link.rs"] {
            let text = "use crate::provider::{Bases, oauth::wire};";
            assert!(one(siblings(&source(path, text))).contains("`provider::oauth`"));
        }
        let text = "use super::client; use crate::provider::redis::link;";
        assert!(siblings(&source("src/provider/redis.rs", text)).is_empty());
        let text = "mod oauth; use oauth::Oauth;";
        assert!(siblings(&source("src/provider/mod.rs", text)).is_empty());
    }

    #[test]
    fn a_clock_in_a_pure_module() {
        for text in ["use std::time::{Duration, Instant};", "fn f() { std::fs::read(p); }"] {
            assert!(one(purity(&source("src/engine/run.rs", text))).contains("is pure"));
            assert!(purity(&source("src/world.rs", text)).is_empty());
        }
        assert!(purity(&source("src/engine/run.rs", "use std::time::Duration;")).is_empty());
    }

    #[test]
    fn what_is_too_long() {
        let lines = |n: usize| format!("fn f() {{\n{}}}", "g();\n".repeat(n));
        assert!(sizes(&source("src/world.rs", &lines(68))).is_empty());
        let failure = one(sizes(&source("src/world.rs", &lines(69))));
        assert_eq!(failure, "src/world.rs:1: `f` has 71 lines, 70 are the limit: split it");

        let file = |n: usize| "\n".repeat(n) + "#[cfg(test)]\nmod tests { fn f() {} }\n\n";
        assert!(sizes(&source("src/world.rs", &file(500))).is_empty());
        assert!(one(sizes(&source("src/world.rs", &file(501)))).contains("501 lines"));
        let text = |n: usize| ("src/a.rs".to_owned(), "é".repeat(n));
        assert!(columns(&text(100)).is_empty());
        assert!(one(columns(&text(101))).contains("src/a.rs:1: 101 columns"));
    }

    #[test]
    fn a_new_caller_of_expose() {
        let known = "fn write_once() { w(key.expose()) }";
        let other = "impl A { fn show(&self) { format!(\"{:?}\", self.key.expose()); } }
            #[cfg(test)] mod tests { fn t() { key.expose(); } }";
        let only = |text: &str| {
            let sources = [source("src/journal/key.rs", text)];
            let failures = exposures(&sources).into_iter();
            failures.filter(|failure| failure.contains("journal/key.rs")).collect::<Vec<_>>()
        };
        assert_eq!(only(known), Vec::<String>::new());
        assert!(one(only(&format!("{known}{other}"))).contains("`show` exposes a secret"));
        assert!(one(only("")).contains("exposes nothing any more"));
        let twice = "fn write_once() { w(key.expose()); w(key.expose()) }";
        assert!(one(only(twice)).contains("`write_once` exposes a secret"));
    }

    #[test]
    fn an_unwrap() {
        let text = "fn f() { g().unwrap(); }\n#[test] fn t() { g().unwrap(); }";
        assert!(one(unwraps(&source("src/world.rs", text))).starts_with("src/world.rs:1: `f`"));
        let text = "fn f() { g().unwrap_or(1); }";
        assert!(unwraps(&source("src/world.rs", text)).is_empty());
    }

    #[test]
    fn a_name_that_says_nothing() {
        for text in ["struct KeyManager;", "mod test_helpers {}", "fn common_part() {}"] {
            assert!(one(names(&source("src/world.rs", text))).contains("says nothing"));
        }
        assert!(one(names(&source("src/utils.rs", ""))).contains("`utils`"));
        assert!(names(&source("src/world.rs", "struct Commons; fn manage() {}")).is_empty());
    }

    #[test]
    fn a_banned_word() {
        let bad = [
            concat!("// TO", "DO: later"),
            concat!("\"Plea", "se try again\""),
            concat!("see https://py", "pi.org/simple"),
            concat!("\"/ho", "me/ada/.env\""),
            concat!("key at /ro", "ot/.ssh"),
        ];
        for line in bad {
            let text = ("docs/a.md".to_owned(), format!("fine\n{line}"));
            assert!(one(words(&text, WORDS)).starts_with("docs/a.md:2: "), "{line}");
        }
        let attribute = ("a.rs".to_owned(), concat!("#![al", "low(dead_code)]").to_owned());
        assert!(one(words(&attribute, RUST_WORDS)).contains("#[expect("));
        for line in ["todo = []", "delete = \"/Users/{{ handle }}\"", "please_d", "pleased"] {
            assert!(words(&("a".to_owned(), line.to_owned()), WORDS).is_empty(), "{line}");
        }
    }
}
