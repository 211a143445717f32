//! Three roles at one Acme: `mail` delegates to `calendar`, `calendar` to `rooms`; what `mail` and
//! `rooms` hold passed through `mcp:notion`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::acme::{Acme, Key};

pub(crate) struct Host {
    folder: TempDir,
    pub(crate) acme: Acme,
    /// The keys of `mail`, `calendar` and `rooms`.
    pub(crate) keys: [Key; 3],
}

/// One command line and everything it printed.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

const INVENTORY: &str = r#"
[role.mail]
owner        = "support@example.com"
delegates_to = ["calendar"]
uses         = ["rooms/booking"]

[[role.mail.credential]]
name     = "inbox"
provider = "acme"
kind     = "api-key"
secret   = "dotenv:DIR/mail.env#KEY"
admin    = "acme-admin"
reload   = "none"
through  = ["mcp:notion"]

[role.calendar]
owner        = "support@example.com"
delegates_to = ["rooms"]

[[role.calendar.credential]]
name     = "events"
provider = "acme"
kind     = "api-key"
secret   = "dotenv:DIR/calendar.env#KEY"
admin    = "acme-admin"
reload   = "none"

[role.rooms]
owner        = "facilities@example.com"
delegates_to = ["mail"]

[[role.rooms.credential]]
name     = "booking"
provider = "acme"
kind     = "api-key"
secret   = "dotenv:DIR/rooms.env#KEY"
admin    = "acme-admin"
reload   = "none"
through  = ["mcp:notion"]

[provider.acme]
base  = "ACME"
proof = { refusals = 2, hold = "200ms", give_up = "3s" }

[admin.acme-admin]
provider = "acme"
kind     = "admin-key"
secret   = "file:DIR/admin.key"
"#;

impl Host {
    pub(crate) fn new() -> Self {
        let acme = Acme::start();
        let keys = ["mail", "calendar", "rooms"].map(|name| acme.seed(name));
        let host = Self { folder: tempfile::tempdir().unwrap(), acme, keys };
        for (name, key) in ["mail", "calendar", "rooms"].into_iter().zip(&host.keys) {
            host.put(&format!("{name}.env"), &format!("KEY={}\n", key.secret));
        }
        host.put("admin.key", host.acme.admin());
        host.put("inventory.toml", INVENTORY);
        host
    }

    /// Writes a file that is its owner's alone; `DIR` and `ACME` are put in.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let text = text.replace("DIR/", &format!("{}/", self.root().display()));
        let path = self.path(name);
        fs::write(&path, text.replace("\"ACME\"", &format!("{:?}", self.acme.base))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// The value that lies in a role's place now.
    pub(crate) fn placed(&self, role: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("{role}.env"))).unwrap();
        text.trim().trim_start_matches("KEY=").to_owned()
    }

    /// Whether each of the three old keys is accepted.
    pub(crate) fn alive(&self) -> [bool; 3] {
        self.keys.each_ref().map(|key| self.acme.is_alive(&key.secret))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rotate"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.root())
            .env("TZ", "UTC")
            .env("COLUMNS", "100")
            .env("NO_PROXY", "127.0.0.1")
            .env("PATH", "/usr/bin:/bin")
            .env("ROTATE_INVENTORY", self.path("inventory.toml"))
            .env("XDG_STATE_HOME", self.path("state"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// The journal's own file.
    pub(crate) fn journal(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path("state/rotate/journal.sqlite")).unwrap()
    }

    pub(crate) fn rotate(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.start(arguments))
    }

    /// Runs it and reads the report that it printed, whose code must be the command's.
    pub(crate) fn report(&self, arguments: &[&str]) -> Value {
        let ran = self.rotate(&[arguments, &["--format", "json"]].concat());
        let report = ran.json();
        assert_eq!(report["exit_code"], ran.code, "{}", ran.stdout);
        report
    }

    /// A text without what differs from run to run.
    pub(crate) fn redacted(&self, text: &str) -> String {
        let text = text.replace(self.root().to_str().unwrap(), "DIR");
        let rules = [
            (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
            (r"\d{8}-\d{6}-[a-z0-9]{4}", "RUN"),
            (r"key_[A-Za-z0-9]{10}", "KEY"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+00:00)?", "TIME"),
            (r"sha256:[0-9a-f]{64}", "sha256:HASH"),
            (r"\b[0-9a-f]{12}\b", "FINGERPRINT"),
            // A ticket has what takes a second or more in a code span.
            (r"`\d+\.\d` s\b|\b\d+(\.\d)? m?s\b", "N s"),
        ];
        rules.iter().fold(text, |text, (pattern, name)| {
            regex::Regex::new(pattern).unwrap().replace_all(&text, *name).into_owned()
        })
    }
}

impl Ran {
    pub(crate) fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|_| panic!("no JSON\n{}\n{}", self.stdout, self.stderr))
    }

    /// Everything it printed, and its code.
    pub(crate) fn transcript(&self, host: &Host) -> String {
        let text = format!("{}{}[exit {}]", self.stdout, self.stderr, self.code);
        host.redacted(&text)
    }
}

/// The texts under a key of every element.
pub(crate) fn each<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|one| one[key].as_str().unwrap_or("-")).collect()
}

pub(crate) fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
