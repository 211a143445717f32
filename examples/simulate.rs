//! Plays stories in virtual time against the engine, the loop and the journal of this crate.
//!
//! ```text
//! cargo run --release --example simulate -- --from 1 --seeds 20000
//! ```
//!
//! One JSON line of totals at the end. Of the first story in which something did not hold, the
//! smallest relative is told; exit code 1 if there was one.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints")]
#![expect(clippy::expect_used, reason = "a test bench")]

use std::process::ExitCode;

use clap::Parser;

#[path = "../tests/simulation/sim/mod.rs"]
mod sim;

use sim::{Lab, Scenario};

#[derive(Parser)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Stop after so many stories in which something did not hold.
    #[arg(long, default_value_t = 1)]
    violations: usize,
    /// Threads; as many as there are cores if 0.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Tell the first story, whatever comes of it, and no other.
    #[arg(long)]
    tell: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.tell {
        let scenario = Scenario::of(args.from);
        let ending = Lab::new().play(&scenario, true);
        eprintln!("{scenario:#?}\n{}", ending.transcript.join("\n"));
        eprintln!("{}", ending.violation.as_deref().unwrap_or("everything held"));
        return ExitCode::SUCCESS;
    }
    let (totals, broken) = sim::play(args.from, args.seeds, args.threads, args.violations);
    for story in &broken {
        eprintln!("seed {}: {}", story.seed, story.violation);
    }
    if let Some(first) = broken.first() {
        eprintln!("{}", sim::told(first));
    }
    println!("{}", serde_json::to_string(&totals).expect("totals are JSON"));
    ExitCode::from(u8::from(!broken.is_empty()))
}
