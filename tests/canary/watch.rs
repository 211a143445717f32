//! One process from its beginning to its end: what it prints, and what it and its children show
//! to everyone.

use std::fs;
use std::io::Read;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No command here takes half as long on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What was seen of a process.
pub(crate) struct Seen {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Argument lists and environments, its own and its children's, as often as it was looked.
    pub(crate) processes: Vec<u8>,
}

/// Watches until the end, and ends it with SIGKILL as soon as stderr holds this text. Its stdin ends
/// when it was looked at once.
pub(crate) fn watch(child: &mut Child, killed_at: Option<&str>) -> Seen {
    let begun = Instant::now();
    let stdout = Pipe::read(child.stdout.take().unwrap());
    let stderr = Pipe::read(child.stderr.take().unwrap());
    let mut processes = Vec::new();
    let code = loop {
        for pid in family(child.id()) {
            for file in ["cmdline", "environ"] {
                processes.extend(fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default());
            }
        }
        drop(child.stdin.take());
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        let hangs = begun.elapsed() > PATIENCE;
        if hangs || killed_at.is_some_and(|text| stderr.holds(text)) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(!hangs, "it hangs");
        thread::sleep(Duration::from_millis(5));
    };
    Seen { code, stdout: stdout.end(), stderr: stderr.end(), processes }
}

struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Pipe {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut some) {
                to.lock().unwrap().extend_from_slice(&some[..count]);
            }
        });
        Self { bytes, reader }
    }

    fn holds(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).contains(text)
    }

    fn end(self) -> Vec<u8> {
        self.reader.join().unwrap();
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}

/// A process and all below it.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        next += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    all
}
