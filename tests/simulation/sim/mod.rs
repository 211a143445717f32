//! A world in virtual time for the engine, the loop and the journal as they are shipped.
//!
//! There is no loop here: `rotate::drive` is called, and everything outside answers it. One number
//! makes one story.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

mod asked;
mod bench;
mod end;
mod outside;
mod scenario;
mod shadow;
mod site;
mod story;
mod totals;
mod watch;

pub(crate) use scenario::Scenario;
pub(crate) use story::Lab;
pub(crate) use totals::Totals;

/// A story in which something did not hold.
pub(crate) struct Broken {
    pub(crate) seed: u64,
    /// The name of the invariant, and what was seen.
    pub(crate) violation: String,
}

/// Every seed once, on so many threads (0: as many as there are cores), until so many stories are
/// broken.
pub(crate) fn play(from: u64, seeds: u64, threads: usize, most: usize) -> (Totals, Vec<Broken>) {
    let (next, end) = (AtomicU64::new(from), from.saturating_add(seeds));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores } else { threads };
    let worker = || {
        let (lab, mut totals, mut broken) = (Lab::new(), Totals::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || broken.len() >= most {
                return (totals, broken);
            }
            let ending = lab.play(&Scenario::of(seed), false);
            broken.extend(ending.violation.map(|violation| Broken { seed, violation }));
            totals += ending.totals;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let (mut totals, mut broken) = (Totals::default(), Vec::new());
        for worker in workers {
            let (more, others) = worker.join().expect("a worker that ends");
            totals += more;
            broken.extend(others);
        }
        broken.sort_by_key(|story| story.seed);
        (totals, broken)
    })
}

/// A broken story as a person reads it: the smallest one with the same violation, as it went.
pub(crate) fn told(broken: &Broken) -> String {
    let lab = Lab::new();
    let smallest = shrunk(&lab, Scenario::of(broken.seed), name(&broken.violation));
    let ending = lab.play(&smallest, true);
    let (seed, transcript) = (broken.seed, ending.transcript.join("\n"));
    let violation = ending.violation.unwrap_or_default();
    format!("seed {seed}, shrunk: {smallest:#?}\n{transcript}\nseed {seed}: {violation}")
}

/// The smallest story with the same violation, by name. Each step takes something out.
fn shrunk(lab: &Lab, scenario: Scenario, invariant: &str) -> Scenario {
    let same = |smaller: &Scenario| {
        let violation = lab.play(smaller, false).violation;
        violation.is_some_and(|seen| name(&seen) == invariant)
    };
    let mut smallest = scenario;
    while let Some(smaller) = smallest.smaller().into_iter().find(same) {
        smallest = smaller;
    }
    smallest
}

/// The name of the invariant in what was seen.
fn name(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}
