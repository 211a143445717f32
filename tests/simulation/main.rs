//! Everything at once, and nothing may be lost or lied about: the shipped loop, engine and journal
//! in a world that misbehaves in every way that was ever seen. `examples/simulate.rs` plays more.

#![cfg(test)]

mod bugs;
mod sim;

use sim::{Lab, Scenario};

/// As many as two cores play in some minutes; `ROTATE_SEEDS` asks for more or fewer.
const SEEDS: u64 = 20_000;

/// Stories beyond those that broke once, each by a bug that was mended.
const BROKE: [u64; 15] = [
    23_686, 27_400, 34_641, 42_432, 93_399, 120_265, 151_552, 172_032, 200_740, 255_599, 303_249,
    502_954, 549_199, 634_292, 756_379,
];

fn seeds() -> u64 {
    std::env::var("ROTATE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn whatever_happens_it_neither_lies_nor_loses() {
    let (totals, broken) = sim::play(1, seeds(), 0, 1);
    println!("{}", serde_json::to_string(&totals).unwrap());
    assert!(broken.is_empty(), "{}", sim::told(&broken[0]));
    // A world in which nothing happens proves nothing.
    if seeds() >= SEEDS {
        for (what, often) in [
            ("crashes", totals.crashes),
            ("torn writes", totals.writes_torn),
            ("lost writes", totals.writes_lost),
            ("full disks", totals.disks_full),
            ("takeovers", totals.takeovers),
            ("attackers", totals.attackers),
            ("lost answers", totals.answers_lost),
            ("deaths", totals.dead),
        ] {
            assert!(often > 100, "{what}: {often}");
        }
    }
}

#[test]
fn what_broke_once_holds() {
    for seed in BROKE {
        let (_, broken) = sim::play(seed, 1, 0, 1);
        assert!(broken.is_empty(), "{}", sim::told(&broken[0]));
    }
}

#[test]
fn the_same_number_tells_the_same_story() {
    let lab = Lab::new();
    for seed in 100..130 {
        let [first, second] = [(); 2].map(|()| lab.play(&Scenario::of(seed), true).transcript);
        assert!(first.len() > 10);
        assert_eq!(first, second, "seed {seed}");
    }
}

/// What is simulated is what is shipped: the loop is called, and nothing here stands in for it.
#[test]
fn there_is_no_second_loop() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/sim");
    let mut calls_the_loop = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        calls_the_loop += text.matches("drive::drive(").count();
        calls_the_loop += text.matches("drive::resume(").count();
        // A replay of the journal believes what was written, and makes no call.
        let believes = text.contains(".handle(");
        let is_replay = path.ends_with("shadow.rs") && !text.contains(".make(");
        assert!(!believes || is_replay, "{} drives a run by itself", path.display());
        assert!(!text.contains(".append("), "{} writes a journal by itself", path.display());
    }
    assert_eq!(calls_the_loop, 2);
}
