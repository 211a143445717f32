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

/// Every provider and every command has its place there.
#[test]
fn the_readme_names_every_provider_and_every_command() {
    let readme = include_str!("../README.md");
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/providers")).unwrap() {
        let id = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(readme.contains(&format!("`{id}`")), "{id}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_rotate")).arg("-h").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let named = commands.lines().filter(|line| !line.starts_with("   "));
    let named: Vec<&str> = named.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(named.len() > 10, "{named:?}");
    for command in named {
        assert!(readme.contains(command), "{command}");
    }
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
