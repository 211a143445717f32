//! Bugs put in on purpose: a simulation that does not find them is itself broken.
//!
//! Each patch of the folder `bugs` says in its first line within how many seeds it is found, and in
//! its second line by which invariant. It is applied to a copy, which is built and played:
//! `ROTATE_BUGS=all cargo test --test simulation bugs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Bug {
    name: String,
    path: PathBuf,
    seeds: u64,
    invariants: Vec<String>,
}

fn bugs() -> Vec<Bug> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/bugs");
    let mut all: Vec<Bug> = fs::read_dir(dir).unwrap().map(|it| bug(it.unwrap().path())).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn bug(path: PathBuf) -> Bug {
    let text = fs::read_to_string(&path).unwrap();
    let line = |begins: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(begins));
        line.unwrap_or_else(|| panic!("{} says `{begins}`", path.display())).trim().to_owned()
    };
    Bug {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        seeds: line("seeds:").parse().unwrap(),
        invariants: line("found by:").split(", ").map(str::to_owned).collect(),
        path,
    }
}

/// A copy of what is built, where a patch can be applied. It has the same place every time: each
/// new one would leave a build of its own behind.
fn copy(name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    let of_the_build = ["Cargo.toml", "Cargo.lock", "src", "providers", "schema"];
    let of_its_targets = ["examples", "benches", "tests"];
    for part in of_the_build.into_iter().chain(of_its_targets) {
        let done = Command::new("cp").arg("-r").arg(from.join(part)).arg(&dir).status();
        assert!(done.unwrap().success(), "{part} is copied");
    }
    let _ = fs::remove_dir_all(dir.join("tests/.cache"));
    for example in ["inventory.example.toml", "README.md"] {
        let _ = fs::copy(from.join(example), dir.join(example));
    }
    dir
}

fn patch(dir: &Path, bug: &Bug, more: &[&str]) -> Output {
    let mut git = Command::new("git");
    git.arg("apply").args(more).arg(&bug.path).current_dir(dir);
    git.env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap()).output().unwrap()
}

#[test]
fn at_least_twelve_and_each_applies() {
    let bugs = bugs();
    assert!(bugs.len() >= 12, "{}", bugs.len());
    let dir = copy("applied");
    for bug in &bugs {
        let applied = patch(&dir, bug, &["--check"]);
        let said = String::from_utf8_lossy(&applied.stderr);
        assert!(applied.status.success(), "{}: {said}", bug.name);
    }
}

/// All of them where that was asked for; else the first, for each is a build of its own.
#[test]
fn each_is_found_within_its_seeds() {
    let all = std::env::var("ROTATE_BUGS").is_ok_and(|asked| asked == "all");
    let dir = copy("played");
    for bug in bugs().iter().take(if all { usize::MAX } else { 1 }) {
        assert!(patch(&dir, bug, &[]).status.success(), "{}", bug.name);
        let found = played(&dir, bug.seeds);
        let said = String::from_utf8_lossy(&found.stderr);
        let first = said.lines().find(|line| line.starts_with("seed "));
        println!("{}: {}", bug.name, first.unwrap_or("not found"));
        let by = |invariant: &String| first.is_some_and(|line| line.contains(invariant.as_str()));
        assert!(bug.invariants.iter().any(by), "{}: {said}", bug.name);
        assert!(patch(&dir, bug, &["--reverse"]).status.success(), "{}", bug.name);
    }
}

/// The copy's own simulation, built beside everything that was built before. Built quickly: it is
/// played for a few seeds.
fn played(dir: &Path, seeds: u64) -> Output {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut run = Command::new(cargo);
    run.args(["run", "--quiet", "--offline", "--config", "profile.dev.package.rotate.opt-level=0"]);
    run.args(["--example", "simulate", "--"]);
    run.args(["--from", "1", "--seeds", &seeds.to_string()]);
    run.env("CARGO_TARGET_DIR", target).current_dir(dir).output().unwrap()
}
