//! A host with a broken agent on it: places, an inventory, a state directory, and the binary.

use std::fs;
use std::io::{BufRead, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::outcome::Outcome;

/// Every wait of these tests lasts less, even with every server starting beside it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of its own for each test; `DIR` stands for it in what is written into it.
pub(crate) struct Host {
    folder: TempDir,
    root: PathBuf,
}

impl Host {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A link on the way to a place is refused, and some systems' temporary folder is one.
        let root = folder.path().canonicalize().unwrap();
        Self { folder, root }
    }

    /// Writes a file that is its owner's alone.
    pub(crate) fn put(&self, file: &str, text: &str) {
        let path = self.path(file);
        // With its slash: one random token in ten thousand has the letters alone.
        let text = text.replace("DIR/", &format!("{}/", self.root.display()));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the inventory.
    pub(crate) fn inventory(&self, text: &str) {
        self.put("inventory.toml", text);
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// The value of a key of a `.env` file.
    pub(crate) fn value(&self, file: &str, key: &str) -> String {
        let text = self.read(file);
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key} in {file}")).to_owned()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    /// Runs `rotate ARGUMENTS` to its end and reads the report that it printed.
    pub(crate) fn rotate(&self, arguments: &[&str]) -> Outcome {
        self.start(arguments).end()
    }

    /// Starts `rotate ARGUMENTS`, its report as JSON.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, &[])
    }

    /// The same with further variables in its environment.
    pub(crate) fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        self.run(command)
    }

    /// What `rotate ARGUMENTS` is run by.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rotate"));
        command.args(arguments);
        command.args(["--format", "json", "--state"]).arg(self.path("state"));
        // Those that need the inventory find it by its variable.
        command.env_clear().env("HOME", self.folder.path()).env("NO_PROXY", "127.0.0.1");
        command.env("PATH", "/usr/bin:/bin");
        command.env("ROTATE_INVENTORY", self.path("inventory.toml"));
        command
    }

    /// Runs a command of this host.
    pub(crate) fn run(&self, mut command: Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (say, said) = channel();
        let stderr = child.stderr.take().unwrap();
        let stdout = child.stdout.take().unwrap();
        Running {
            telling: Some(std::thread::spawn(move || tell(BufReader::new(stderr), &say))),
            printing: Some(std::thread::spawn(move || {
                let (mut stdout, mut text) = (stdout, String::new());
                stdout.read_to_string(&mut text).map(|_| text).unwrap_or_default()
            })),
            child,
            said,
            heard: Vec::new(),
            root: self.root.clone(),
        }
    }
}

fn tell(stderr: impl BufRead, say: &Sender<String>) {
    for line in stderr.lines().map_while(Result::ok) {
        let _ = say.send(line);
    }
}

/// `rotate`, running. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    said: Receiver<String>,
    heard: Vec<String>,
    telling: Option<JoinHandle<()>>,
    printing: Option<JoinHandle<String>>,
    root: PathBuf,
}

impl Running {
    /// Waits until stderr has said a line that contains `text`, and gives the line.
    pub(crate) fn hear(&mut self, text: &str) -> String {
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("not said: {text}\n{}", self.transcript()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended, and never said {text}\n{}", self.transcript())
                }
            }
        }
    }

    /// The same of what may have been said before something that was waited for.
    pub(crate) fn has_said(&mut self, text: &str) {
        if !self.heard.iter().any(|line| line.contains(text)) {
            self.hear(text);
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it at once, in the middle of whatever it does.
    pub(crate) fn kill(mut self) {
        assert!(!self.is_over(), "it ended before\n{}", self.transcript());
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Outcome {
        self.telling.take().unwrap().join().unwrap();
        let stdout = self.printing.take().unwrap().join().unwrap();
        let code = self.child.wait().unwrap().code();
        self.heard.extend(self.said.try_iter());
        let root = self.root.to_str().unwrap();
        Outcome {
            code,
            report: serde_json::from_str(&stdout).unwrap_or(Value::Null),
            stderr: self.heard.join("\n").replace(root, "~"),
            root: root.to_owned(),
        }
    }

    fn transcript(&self) -> String {
        self.heard.join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who may read and write it.
pub(crate) fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
