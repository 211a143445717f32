//! What the README shows is what the demonstration prints.

#![cfg(test)]

use std::process::Command;

/// `rotate demo`, and the report of its contain as it stands in the README: the same but for names
/// that are made anew each time. `ROTATE_WRITE_DOCS=1` writes it there.
#[test]
fn the_report_in_the_readme_is_what_the_demo_printed() {
    let out = Command::new(env!("CARGO_BIN_EXE_rotate")).arg("demo").output().unwrap();
    let (text, said) =
        (String::from_utf8(out.stdout).unwrap(), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{text}{said}");
    let (contain, _) = text.split_once("\n\nrestore of ").unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once("```text\n").unwrap();
    let (shown, after) = rest.split_once("\n```").unwrap();
    if std::env::var_os("ROTATE_WRITE_DOCS").is_some() {
        let text = format!("{before}```text\n{}\n```{after}", contain.trim_end());
        std::fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(redacted(shown), redacted(contain), "write it with ROTATE_WRITE_DOCS=1");
}

/// It says what is built in, and nothing else.
#[test]
fn the_readme_names_every_built_in_provider() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("Built in are ").unwrap();
    let (named, _) = rest.split_once(';').unwrap();
    let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
    let built_in = rotate::provider::catalog::BUILTIN.iter().map(|(id, _)| *id);
    assert_eq!(named, built_in.collect::<Vec<_>>());
}

/// Without what differs from run to run: digits, hexadecimal names, the folder, the padding.
fn redacted(text: &str) -> String {
    let made = regex::Regex::new(concat!(
        r"/\S*rotate-demo-\w+|#[0-9a-f]{12}|key_\w{12}|\d{8}-\d{6}-\w{4}|[0-9a-f]{64}",
        r"|[+-]\d\d:\d\d|\d+(\.\d+)?( ms| s)\b|\d+"
    ))
    .unwrap();
    let lines = text.trim_end().lines().map(|line| {
        let line = made.replace_all(line, "_");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}
