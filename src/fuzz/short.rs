//! The short run: every input that is kept in `fuzz/corpus`, then mutations of them, the same ones
//! in every run. `ROTATE_FUZZ` is how many for each target, `ROTATE_FUZZ_SEED` begins elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::{TARGETS, Target};

/// Of each target: some twenty seconds for all of them in a build without optimisation.
const MUTATIONS: u64 = 2_000;

/// One input of `replay` is a whole run, made twice: it takes as long as ten others.
const OF_A_RUN: u64 = 10;

/// Longer inputs are cut: what is found behind them is found in shorter ones, sooner.
const LONGEST: usize = 16 * 1024;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

fn short(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let corpus = corpus(name);
    for (file, input) in &corpus {
        run(*target, input, || format!("fuzz/corpus/{name}/{file}"));
    }
    let (count, seed) = (number("ROTATE_FUZZ", MUTATIONS), number("ROTATE_FUZZ_SEED", 1));
    let count = if name == "replay" { count / OF_A_RUN } else { count };
    println!("{name}: {} kept inputs, {count} mutations, ROTATE_FUZZ_SEED={seed}", corpus.len());
    for n in 0..count {
        // Each has a generator of its own, so that one can be run again without the others.
        let mut random = SmallRng::seed_from_u64(seed.wrapping_mul(1 << 32).wrapping_add(n));
        let input = mutated(&corpus, &mut random);
        run(*target, &input, || {
            format!("mutation {n} of {name}, ROTATE_FUZZ_SEED={seed}: {}", input.escape_ascii())
        });
    }
}

/// Kept inputs by the names of their files.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut corpus: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            (file, std::fs::read(&path).unwrap())
        })
        .collect();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    corpus.sort();
    corpus
}

fn run(target: Target, input: &[u8], what: impl Fn() -> String) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        println!("{}", what());
        std::panic::resume_unwind(panic);
    }
}

fn mutated(corpus: &[(String, Vec<u8>)], random: &mut SmallRng) -> Vec<u8> {
    let (_, first) = corpus.choose(random).unwrap();
    let (_, other) = corpus.choose(random).unwrap();
    let mut input = first[..first.len().min(LONGEST)].to_vec();
    for _ in 0..random.random_range(1..=6) {
        let at = random.random_range(0..=input.len());
        let length = random.random_range(0..=(input.len() - at).min(40));
        match random.random_range(0..6) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => {
                input[at] = *b"\0\n\r\t \"'\\#=[]{}:,/~@.%$09aZ\xff\xc3".choose(random).unwrap();
            }
            2 => drop(input.drain(at..at + length)),
            3 => {
                let piece = input[at..at + length].to_vec();
                let to = random.random_range(0..=input.len());
                input.splice(to..to, piece);
            }
            4 if !other.is_empty() => {
                let from = random.random_range(0..other.len());
                let end = other.len().min(from + random.random_range(1..=40));
                input.splice(at..at + length, other[from..end].iter().copied());
            }
            _ => {
                let from = random.random_range(0..=other.len());
                let end = other.len().min(from + LONGEST);
                input.truncate(at);
                input.extend_from_slice(&other[from..end]);
            }
        }
    }
    input.truncate(LONGEST);
    input
}

/// Which targets there are is written in three places.
#[test]
fn every_target_has_its_binary_and_its_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no [[bin]]");
        let text = std::fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(text.contains(&format!("rotate::fuzz::{name}(data)")), "{name}.rs runs another");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    assert_eq!(std::fs::read_dir(root.join("corpus")).unwrap().count(), TARGETS.len());
}

macro_rules! short_runs {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                short(stringify!($name));
            }
        )*
    };
}

// A test each, so that they run side by side.
short_runs![
    address, cookie, dotenv, inventory, journal, json, mark, provider, reference, replay, response,
    shapes,
];
