//! `docs/performance.md`, as the benchmark writes it.

use std::fmt::Write as _;
use std::time::Duration;

/// All that was measured.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) throughput: Option<Throughput>,
    pub(crate) start: Option<Start>,
    pub(crate) limits: Option<Limits>,
    pub(crate) memory: Vec<Memory>,
    /// Sizes that took too long.
    pub(crate) too_long: Vec<usize>,
    /// What else the machine did before, as the mean number of its runnable threads.
    pub(crate) load: Option<f64>,
}

pub(crate) struct Throughput {
    pub(crate) count: usize,
    /// Old ones that were proved dead, in the worst round.
    pub(crate) dead: usize,
    pub(crate) ours: Duration,
    pub(crate) bare: Duration,
    /// Requests, ours and the bare loop's.
    pub(crate) asked: (u64, u64),
}

pub(crate) struct Start {
    pub(crate) fresh: Duration,
    pub(crate) known: Duration,
    pub(crate) slowest: Duration,
}

pub(crate) struct Limits {
    pub(crate) count: usize,
    pub(crate) rate: usize,
    pub(crate) last: Duration,
    pub(crate) last_bound: Duration,
    pub(crate) whole: Duration,
    pub(crate) whole_bound: Duration,
}

pub(crate) struct Memory {
    pub(crate) count: usize,
    pub(crate) kib_each: f64,
    pub(crate) peak_mib: f64,
    pub(crate) commits: u64,
    pub(crate) took: Duration,
}

const HEAD: &str = "\
# Performance

<!-- This page is made by `cargo bench -- --write` (benches/line). -->

What the line costs, against servers on loopback in the same process, on threads of their own.
Every ratio is of two figures of one run, taken in turn; figures are medians. They are of one
machine on one day: run `cargo bench` for yours. A benchmark is no test, and nothing fails where a
machine is slow.

";

impl Page {
    pub(crate) fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let _ = write!(text, "Measured on {cores} cores, {}", std::env::consts::ARCH);
        match self.load {
            Some(load) if load >= 0.5 => {
                let _ = write!(
                    text,
                    ", beside other work: a load of {load:.1} before it began. Times say little \
                     then, nor do ratios of times say what they would on a quiet machine.\n\n"
                );
            }
            _ => text += ".\n\n",
        }
        text += "| what | measured | against | ratio | aim |\n|---|---|---|---|---|\n";
        self.rows(&mut text);
        if !self.memory.is_empty() {
            text += "\n| credentials | peak memory | above the idle process, each | each further \
                     one | durable writes | took |\n|---|---|---|---|---|---|\n";
            let mut smaller: Option<&Memory> = None;
            for one in &self.memory {
                let Memory { count, kib_each, peak_mib, commits, took } = one;
                let further = smaller.map_or_else(String::new, |smaller| {
                    let kib = (peak_mib - smaller.peak_mib) * 1024.0;
                    format!("{:.1} KiB", kib / (count - smaller.count) as f64)
                });
                let _ = writeln!(
                    text,
                    "| {count} | {peak_mib:.0} MiB | {kib_each:.1} KiB (aim: 32) | {further} | \
                     {commits} | {:.1} s |",
                    took.as_secs_f64()
                );
                smaller = Some(one);
            }
            for count in &self.too_long {
                let _ = writeln!(text, "| {count} | not measured: it took too long | | | | |");
            }
        }
        text + NOTES
    }

    fn rows(&self, text: &mut String) {
        if let Some(Throughput { count, dead, ours, bare, asked }) = &self.throughput {
            let _ = writeln!(
                text,
                "| (a) {count} credentials over 40 providers, answers of 20 ms, no limits | {} \
                 ({} requests, {dead} proved dead) | a bare loop: {} ({} requests) | {} | 1.30 |",
                seconds(*ours),
                asked.0,
                seconds(*bare),
                asked.1,
                ratio(*ours, *bare)
            );
        }
        if let Some(Start { fresh, known, slowest }) = &self.start {
            let ms = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
            let _ = writeln!(
                text,
                "| (b) process start to the first revocation on the wire, 20 credentials | {} \
                 (slowest: {}; first run on a machine: {}) | | | 50 ms |",
                ms(known),
                ms(slowest),
                ms(fresh)
            );
        }
        if let Some(limits) = &self.limits {
            let Limits { count, rate, .. } = limits;
            for (what, taken, bound) in [
                ("time to the last revocation", limits.last, limits.last_bound),
                ("makespan", limits.whole, limits.whole_bound),
            ] {
                let _ = writeln!(
                    text,
                    "| (c) {count} credentials at one provider that bears {rate} a second: {what} \
                     | {} | arithmetic: {} | {} | 1.10 |",
                    seconds(taken),
                    seconds(bound),
                    ratio(taken, bound)
                );
            }
        }
    }
}

const NOTES: &str = "
- (a) is the whole line, from the inventory's text to the report in a closed journal: every key is
  read from a file of its own, every event written and fsynced before it is believed, every old and
  new key sealed. The bare loop sends the same requests by the same two clients, 512 at once, and
  does nothing else.
  What waits in line for its look for longer than Baseline allows (2 s, and a millisecond for each
  credential beyond 512) is revoked unseen, and its death is then not proved.
- (b) is the binary; its servers answer at once. It reads the inventory, opens the journal, writes
  the plan, reads every key and looks at the old one first.
- (d), the second table, is a process of its own for each size. In it are, whatever the size, the
  pages of the program that a run touches (13 MiB) and the buffers of up to 1,024 connections (32 KiB
  each, as hyper makes them over HTTP/1): together more than 32 KiB for each of a thousand. What each
  further credential costs stands beside it. A durable write is one fsync of the journal's log; every
  thousand pages of the log, two more take it into the file. What takes more than two minutes is
  ended, and stands here as not measured.
";

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn ratio(one: Duration, other: Duration) -> String {
    format!("{:.2}", one.as_secs_f64() / other.as_secs_f64())
}
