//! Plays stories in virtual time against the engine, the loop and the journal of this crate.
//!
//! ```text
//! cargo run --release --example simulate -- --from 1 --seeds 20000
//! ```
//!
//! One JSON line of totals at the end; a story in which something did not hold is told, and its
//! smallest relative with it. Exit code 1 if there was one.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test bench")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;

#[path = "../tests/simulation/sim/mod.rs"]
mod sim;

use sim::{Lab, Scenario, Totals, name, shrunk};

#[derive(Parser)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Stop after so many stories in which something did not hold; the first of them is told.
    #[arg(long, default_value_t = 1)]
    violations: usize,
    /// Threads; as many as there are cores if 0.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Tell the first story, whatever comes of it.
    #[arg(long)]
    tell: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.tell {
        let ending = Lab::new().play(&Scenario::of(args.from), true);
        eprintln!("{:#?}\n{}", Scenario::of(args.from), ending.transcript.join("\n"));
        eprintln!("{}", ending.violation.as_deref().unwrap_or("everything held"));
        return ExitCode::SUCCESS;
    }
    let (totals, failed) = play(&args);
    if let Some(seed) = failed.first() {
        tell(*seed);
    }
    println!("{}", serde_json::to_string(&totals).expect("totals are JSON"));
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// Every seed once, on as many threads as there are cores.
fn play(args: &Args) -> (Totals, Vec<u64>) {
    let next = AtomicU64::new(args.from);
    let end = args.from.saturating_add(args.seeds);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if args.threads == 0 { cores } else { args.threads };
    let worker = || {
        let (lab, mut totals, mut failed) = (Lab::new(), Totals::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || failed.len() >= args.violations {
                return (totals, failed);
            }
            let ending = lab.play(&Scenario::of(seed), false);
            if let Some(violation) = &ending.violation {
                eprintln!("seed {seed}: {violation}");
                failed.push(seed);
            }
            totals += ending.totals;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let (mut totals, mut failed) = (Totals::default(), Vec::new());
        for worker in workers {
            let (more, others) = worker.join().expect("a worker that ends");
            totals += more;
            failed.extend(others);
        }
        (totals, failed)
    })
}

/// The smallest story with the same violation, as it went.
fn tell(seed: u64) {
    let lab = Lab::new();
    let scenario = Scenario::of(seed);
    let Some(violation) = lab.play(&scenario, false).violation else { return };
    let smallest = shrunk(&lab, scenario, name(&violation));
    let ending = lab.play(&smallest, true);
    eprintln!("seed {seed}, shrunk: {smallest:#?}\n{}", ending.transcript.join("\n"));
    eprintln!("seed {seed}: {}", ending.violation.unwrap_or_default());
}
