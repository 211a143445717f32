//! What the line costs: `cargo bench`, and `cargo bench -- --write` for `docs/performance.md`.
//!
//! No test: nothing fails where a machine is slow. Every ratio is of two figures of one run, taken
//! in turn; medians throughout. `--small` divides every size by a hundred, to see that it works.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot go on has nothing to say"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rotate::engine::report::{CredentialReport, Report, Revoke};
use rotate::provider::Clients;
use tokio::runtime::Runtime;

use page::Page;
use server::Server;

mod bare;
mod line;
mod page;
mod server;

/// Runs of each kind, taken in turn.
const ROUNDS: usize = 3;

/// Starts of the binary: each takes some ten milliseconds.
const STARTS: usize = 21;

/// The longest that one size of (d) may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, count, base] = arguments.as_slice()
        && mode == "--child"
    {
        return child(count.parse().expect("a number"), base);
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let small = if has("--small") { 100 } else { 1 };
    let all = !["--throughput", "--start", "--limits", "--memory"].iter().any(|one| has(one));
    let mut page = Page { load: load(), ..Page::default() };
    if all || has("--start") {
        start(&mut page);
    }
    if all || has("--limits") {
        limits(&mut page);
    }
    if all || has("--throughput") {
        throughput(10_000 / small, &mut page);
    }
    if all || has("--memory") {
        for count in [1_000, 10_000, 100_000] {
            memory(count / small, &mut page);
        }
    }
    let text = page.text();
    say(&text);
    if has("--write") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
        std::fs::write(path, text).expect("docs/performance.md");
    }
}

/// (a) Against a bare loop of the same requests by the same clients.
fn throughput(count: usize, page: &mut Page) {
    let server = Server::start(40, Duration::from_millis(20));
    let runtime = Runtime::new().expect("threads");
    let (mut ours, mut bare, mut asked) = (Vec::new(), Vec::new(), (0, 0));
    let mut dead = Vec::new();
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir().expect("a folder");
        let text = line::inventory(count, &server.bases, "", |number| place(&folder, number));
        server.forget();
        let clients = Arc::new(Clients::new().expect("clients"));
        let (begun, spent) = (Instant::now(), cpu());
        let (report, _) =
            runtime.block_on(line::contain(&text, &folder.path().join("state"), &clients));
        ours.push(begun.elapsed());
        let ours_cpu = cpu() - spent;
        asked.0 = server.asked();
        dead.push(all_revoked(&report, count));

        server.forget();
        let clients = Arc::new(Clients::new().expect("clients"));
        let (begun, spent) = (Instant::now(), cpu());
        runtime.block_on(bare::run(count, &server.bases, &clients));
        bare.push(begun.elapsed());
        let bare_cpu = cpu() - spent;
        asked.1 = server.asked();
        say(&format!(
            "round {round}: ours {:?} (CPU {ours_cpu:.2} s), bare {:?} (CPU {bare_cpu:.2} s), \
             {asked:?}, {} dead\n",
            ours[round], bare[round], dead[round]
        ));
    }
    assert_eq!(asked.1, bare::REQUESTS * count as u64);
    page.throughput = Some(page::Throughput {
        count,
        dead: dead.into_iter().min().unwrap_or(0),
        ours: median(&mut ours),
        bare: median(&mut bare),
        asked,
    });
}

/// A file of its own for each key.
fn place(folder: &tempfile::TempDir, number: usize) -> String {
    let path = folder.path().join(format!("{number}.key"));
    std::fs::write(&path, line::old_key(number)).expect("a file");
    format!("file:{}", path.display())
}

/// (b) From the start of the process to the first revocation on the wire.
fn start(page: &mut Page) {
    let server = Server::start(1, Duration::ZERO);
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("a folder");
    let text = line::inventory(20, &server.bases, "", |number| place(&folder, number));
    let admin = root.join("admin.key");
    std::fs::write(&admin, line::ADMIN).expect("a file");
    let text = text.replace("x-bench:admin", &format!("file:{}", admin.display()));
    let providers = root.join("providers");
    std::fs::create_dir(&providers).expect("a folder");
    std::fs::write(providers.join("measured.toml"), include_str!("measured.toml")).expect("a file");
    let inventory = root.join("inventory.toml");
    std::fs::write(&inventory, text).expect("a file");
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..STARTS {
        let state = root.join(format!("state-{round}"));
        // The first makes the state directory and its keys, the second finds them.
        for taken in &mut taken {
            server.forget();
            let begun = Instant::now();
            run_binary(&inventory, &providers, &state);
            let first = server.revocations().into_iter().min().expect("a revocation");
            taken.push(first.duration_since(begun));
        }
    }
    let [mut fresh, mut known] = taken;
    let slowest = known.iter().max().copied().unwrap_or_default();
    page.start =
        Some(page::Start { fresh: median(&mut fresh), known: median(&mut known), slowest });
}

fn run_binary(inventory: &Path, providers: &Path, state: &PathBuf) {
    let output = Command::new(
        std::env::var("BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_rotate").to_owned()),
    )
    .args(["--role", "mail-agent", "--yes", "--format", "json", "--inventory"])
    .arg(inventory)
    .arg("--providers")
    .arg(providers)
    .arg("--state")
    .arg(state)
    .env_clear()
    .env("PATH", "/usr/bin:/bin")
    .stdin(Stdio::null())
    .output();
    let output = output.expect("the binary runs");
    // 3: the inventory names nobody who could be asked to do this or that.
    let done = matches!(output.status.code(), Some(0 | 3));
    assert!(done, "{}", String::from_utf8_lossy(&output.stderr));
}

/// (c) With limits, against what arithmetic allows.
fn limits(page: &mut Page) {
    const COUNT: usize = 300;
    const RATE: usize = 30;
    let server = Server::start(1, Duration::from_millis(20));
    let more = format!(
        "limits = {{ calls = \"{RATE}/s\", revoke = \"{RATE}/s\", \
                        refused = \"{RATE}/s\", in_flight = 512 }}\n"
    );
    let text = line::inventory(COUNT, &server.bases, &more, |number| format!("x-bench:{number}"));
    let runtime = Runtime::new().expect("threads");
    let (mut whole, mut last) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        server.forget();
        let folder = tempfile::tempdir().expect("a folder");
        let clients = Arc::new(Clients::new().expect("clients"));
        let begun = Instant::now();
        let state = folder.path().join("state");
        let (report, _) = runtime.block_on(line::contain(&text, &state, &clients));
        whole.push(begun.elapsed());
        all_revoked(&report, COUNT);
        let latest = server.revocations().into_iter().max().expect("a revocation");
        last.push(latest.duration_since(begun));
    }
    // So many go in the first second, so many in each that follows.
    let seconds = |calls: usize| Duration::from_secs((calls.div_ceil(RATE) - 1) as u64);
    page.limits = Some(page::Limits {
        count: COUNT,
        rate: RATE,
        last: median(&mut last),
        last_bound: seconds(COUNT),
        whole: median(&mut whole),
        // Each old one is refused once, and a made-up one.
        whole_bound: seconds(COUNT + 1),
    });
}

/// (d) Memory and durable writes, in a process of its own.
fn memory(count: usize, page: &mut Page) {
    let server = Server::start(40, Duration::ZERO);
    let mut child = Command::new(std::env::current_exe().expect("a program"))
        .args(["--child", &count.to_string(), &server.bases.join(",")])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("a child");
    let begun = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().expect("a child");
            child.wait().expect("its end");
            page.too_long.push(count);
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = child.wait_with_output().expect("a child");
    let text = String::from_utf8(output.stdout).expect("text");
    let figures: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [before_kib, peak_kib, commits, ms] = figures.as_slice() else {
        panic!("the child said {text:?}");
    };
    say(&format!("{count}: {before_kib} to {peak_kib} KiB, {commits} writes, {ms} ms\n"));
    page.memory.push(page::Memory {
        count,
        kib_each: peak_kib.saturating_sub(*before_kib) as f64 / count as f64,
        peak_mib: *peak_kib as f64 / 1024.0,
        commits: *commits,
        took: Duration::from_millis(*ms),
    });
}

fn child(count: usize, bases: &str) {
    let bases: Vec<String> = bases.split(',').map(str::to_owned).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let clients = Arc::new(Clients::new().expect("clients"));
    let runtime = Runtime::new().expect("threads");
    let before = kib("VmRSS");
    let begun = Instant::now();
    let commits = {
        let text = line::inventory(count, &bases, "", |number| format!("x-bench:{number}"));
        let state = folder.path().join("state");
        let (report, commits) = runtime.block_on(line::contain(&text, &state, &clients));
        all_revoked(&report, count);
        commits
    };
    let peak = kib("VmHWM");
    let ms = begun.elapsed().as_millis();
    say(&format!("{before} {peak} {commits} {ms}\n"));
}

/// Runnable threads of the whole machine, the mean of the last minute.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Seconds of processor time that this process has taken, the servers' threads among them: two runs
/// can be told apart by it on a busy machine too.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // From proc(5): user and system time, in hundredths, behind the name in parentheses.
    let ticks = stat.rsplit(')').next().unwrap_or_default().split(' ').skip(12).take(2);
    ticks.filter_map(|word| word.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// A line of this process's status, KiB.
fn kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// A figure of a run that left its work undone would be none. How many of the old ones were also
/// proved dead; the others were not looked at before they were revoked, which does not wait long
/// for that.
fn all_revoked(report: &Report, count: usize) -> usize {
    let accepted = |one: &&CredentialReport| one.old.revoke == Revoke::Accepted;
    assert_eq!(report.credentials.iter().filter(accepted).count(), count, "not all are revoked");
    report.summary.dead as usize
}

fn median(all: &mut [Duration]) -> Duration {
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
