//! A host with an agent on it: an inventory, the places it names, a state directory, and the
//! built binary.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::acme::{Acme, Key};
use crate::commands::fits_the_schema;

/// No command here takes half as long on a loaded machine; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// One host and one provider.
pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) acme: Acme,
    /// The old keys, by credential.
    pub(crate) mail: Key,
    pub(crate) search: Key,
    pub(crate) events: Key,
}

/// Two roles at one provider. `DIR`, `ACME` and the handles are put in.
pub(crate) const INVENTORY: &str = r#"
[role.mail-agent]
owner = "support@example.com"

[[role.mail-agent.credential]]
name     = "mail"
handle   = "MAIL_ID"
provider = "acme"
kind     = "api-key"
secret   = "dotenv:DIR/agent/.env#MAIL"
admin    = "acme-admin"
reload   = "none"

[[role.mail-agent.credential]]
name     = "search"
handle   = "SEARCH_ID"
provider = "acme"
kind     = "api-key"
secret   = "dotenv:DIR/agent/.env#SEARCH"
admin    = "acme-admin"
reload   = "none"

[role.calendar-agent]
owner = "support@example.com"

[[role.calendar-agent.credential]]
name     = "events"
handle   = "EVENTS_ID"
provider = "acme"
kind     = "api-key"
secret   = "dotenv:DIR/calendar/.env#EVENTS"
admin    = "acme-admin"
reload   = "none"

[provider.acme]
base  = "ACME"
proof = { refusals = 2, hold = "200ms", give_up = "1500ms" }

[admin.acme-admin]
provider = "acme"
kind     = "admin-key"
secret   = "file:DIR/responder/acme.key"
"#;

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let acme = Acme::start();
        let bench = Self {
            mail: acme.seed("mail"),
            search: acme.seed("search"),
            events: acme.seed("events"),
            folder,
            acme,
        };
        let env = format!("# ours\nMAIL={}\nSEARCH={}\n", bench.mail.secret, bench.search.secret);
        bench.write("agent/.env", &env);
        bench.write("calendar/.env", &format!("EVENTS={}\n", bench.events.secret));
        bench.write("responder/acme.key", bench.acme.admin());
        bench.inventory(INVENTORY);
        bench
    }

    /// The same with an inventory in which `from` stands as `to`.
    pub(crate) fn with(from: &str, to: &str) -> Self {
        let bench = Self::new();
        assert!(INVENTORY.contains(from), "{from}");
        bench.inventory(&INVENTORY.replace(from, to));
        bench
    }

    /// Writes the inventory, this folder and the provider's address put in.
    pub(crate) fn inventory(&self, text: &str) {
        self.write("inventory.toml", &self.filled(text));
    }

    /// A text with what stands in this bench for its capital words.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace("DIR/", &format!("{}/", self.folder().display()))
            .replace("ACME", &self.acme.base)
            .replace("MAIL_ID", &self.mail.id)
            .replace("SEARCH_ID", &self.search.id)
            .replace("EVENTS_ID", &self.events.id)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file of this folder for its owner alone.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.mode(name, 0o600);
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The value of one key of a `.env`.
    pub(crate) fn value(&self, name: &str, key: &str) -> String {
        let text = self.read(name);
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    }

    /// A command that has this folder for its home, its inventory and its state.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder())
            .env("TZ", "UTC")
            .env("COLUMNS", "100")
            .env("ROTATE_INVENTORY", self.path("inventory.toml"))
            .env("XDG_STATE_HOME", self.path("state"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs rotate to its end.
    pub(crate) fn rotate(&self, arguments: &[&str]) -> Ran {
        self.finish(arguments, self.command(env!("CARGO_BIN_EXE_rotate"), arguments))
    }

    /// Runs rotate to its end with this on stdin.
    pub(crate) fn fed(&self, stdin: &str, arguments: &[&str]) -> Ran {
        self.write("stdin", stdin);
        let mut command = self.command(env!("CARGO_BIN_EXE_rotate"), arguments);
        command.stdin(fs::File::open(self.path("stdin")).unwrap());
        let ran = self.finish(arguments, command);
        fs::remove_file(self.path("stdin")).unwrap();
        ran
    }

    /// Runs rotate behind a line of shell, which ends with `exec "$@"`.
    pub(crate) fn behind(&self, shell: &str, arguments: &[&str]) -> Ran {
        let all = [&["-c", shell, "sh", env!("CARGO_BIN_EXE_rotate")], arguments].concat();
        self.finish(arguments, self.command("sh", &all))
    }

    /// Runs rotate until stderr holds this text, and ends it with SIGKILL.
    pub(crate) fn killed_at(&self, text: &str, arguments: &[&str]) {
        let mut child = self.command(env!("CARGO_BIN_EXE_rotate"), arguments).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let seen = lines.map(Result::unwrap).any(|line| line.contains(text));
        child.kill().unwrap();
        assert!(child.wait().unwrap().code().is_none() && seen, "{text}");
    }

    fn finish(&self, arguments: &[&str], mut command: Command) -> Ran {
        let begun = Instant::now();
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (gather(child.stdout.take()), gather(child.stderr.take()));
        let (status, peak_kib) = watch(&mut child, begun);
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        let Some(status) = status else {
            panic!("rotate {} hangs\n{stdout}\n{stderr}", arguments.join(" "));
        };
        let took = begun.elapsed();
        let code = status.code();
        Ran { arguments: arguments.join(" "), code, stdout, stderr, took, peak_kib }
    }

    /// A text without this folder, ports, and what differs from run to run.
    pub(crate) fn redacted(&self, text: &str) -> String {
        let text = text.replace(self.folder().to_str().unwrap(), "DIR");
        let rules = [
            (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
            (r"rotate-[0-9a-f]+-\d{8}-\d{6}-[a-z0-9]{4}", "rotate-INSTALLATION-RUN"),
            (r"\d{8}-\d{6}-[a-z0-9]{4}", "RUN"),
            (r"key_[A-Za-z0-9]{10}", "KEY"),
            (r"\d{4}-\d\d-\d\d[T ][0-9:.]+(Z| \+00:00)", "TIME"),
            (r"pid \d+", "pid N"),
            (r"\(user \d+", "(user N"),
            (r"sha256:[0-9a-f]{64}", "sha256:HASH"),
            (r"after [0-9.]+ m?s\b", "after N ms"),
        ];
        rules.iter().fold(text, |text, (pattern, name)| {
            regex::Regex::new(pattern).unwrap().replace_all(&text, *name).into_owned()
        })
    }

    /// What the server and the places say once a run is over: what was there before, whether it
    /// lives, and what the run left behind.
    pub(crate) fn afterwards(&self) -> String {
        let state = |key: &Key| if self.acme.is_alive(&key.secret) { "lives" } else { "dead" };
        let place = |file: &str, key: &str, old: &Key| match self.value(file, key) {
            now if now == old.secret => "the old one",
            now if self.acme.is_alive(&now) => "a live new one",
            _ => "nothing that lives",
        };
        format!(
            "mail {}, its place holds {}\nsearch {}, its place holds {}\nevents {}\n{} issued live\n",
            state(&self.mail),
            place("agent/.env", "MAIL", &self.mail),
            state(&self.search),
            place("agent/.env", "SEARCH", &self.search),
            state(&self.events),
            self.acme.issued().len(),
        )
    }
}

/// One command line and what came of it.
pub(crate) struct Ran {
    arguments: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
    /// The most memory it held.
    pub(crate) peak_kib: u64,
}

impl Ran {
    /// Everything it printed.
    pub(crate) fn transcript(&self, bench: &Bench) -> String {
        let mut text = format!("$ rotate {}\n{}", self.arguments, self.stdout);
        if !self.stderr.is_empty() {
            text.push_str("[stderr]\n");
            text.push_str(&self.stderr);
        }
        bench.redacted(&format!("{text}[exit {}]", self.code.unwrap_or(-1)))
    }

    /// The report, which must be on stdout alone and agree with the exit code.
    pub(crate) fn report(&self) -> Value {
        let report: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|_| panic!("no report\n{}\n{}", self.stdout, self.stderr));
        fits_the_schema(&report);
        assert_eq!(report["exit_code"].as_i64(), self.code.map(i64::from), "{}", self.stdout);
        report
    }

    /// The report in a few lines: what was done, what is known, what is left.
    pub(crate) fn outcome(&self, bench: &Bench) -> String {
        let report = self.report();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let mut page = format!("$ rotate {}\n", self.arguments);
        for one in list(&report["credentials"]) {
            let (old, new) = (&one["old"], &one["new"]);
            let all = [&one["id"], &old["revoke"], &old["verdict"], &new["state"]].map(text);
            page.push_str(&format!("{}: revoke {}, {}, new {}\n", all[0], all[1], all[2], all[3]));
            for stranger in list(&one["strangers"]) {
                page.push_str(&format!("    stranger: {}\n", text(&stranger["label"])));
            }
            for orphan in list(&one["orphans"]) {
                page.push_str(&format!("    orphan, revoked: {}\n", orphan["revoked"]));
            }
            for todo in list(&one["todo"]) {
                page.push_str(&format!("    left: {}\n", text(&todo["what"])));
            }
        }
        for todo in list(&report["todo"]) {
            page.push_str(&format!("left: {}\n", text(&todo["what"])));
        }
        for warning in list(&report["warnings"]) {
            page.push_str(&format!("warning: {}\n", text(warning)));
        }
        if report["journal_lost_at"].is_string() {
            page.push_str("the journal is lost\n");
        }
        bench.redacted(&format!("{page}[exit {}]\n{}", self.code.unwrap_or(-1), bench.afterwards()))
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn gather(from: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    let mut from = from.unwrap();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for the end, and ends what does not come to one.
fn watch(child: &mut Child, begun: Instant) -> (Option<ExitStatus>, u64) {
    let mut peak_kib = 0;
    loop {
        peak_kib = peak_kib.max(memory(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            return (Some(status), peak_kib);
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            return (None, peak_kib);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The most memory that a process has held so far; nothing once it is gone.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
