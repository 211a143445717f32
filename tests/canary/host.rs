//! A host full of secrets, and everything that a command writes while it runs there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::acme::{Acme, random};
use crate::issuer::{CLIENT, Issuer, odd};
use crate::lab;
use crate::search::Search;
use crate::watch::{Seen, watch};

/// Files that hold secrets because that is what they are for.
const PLACES: [&str; 8] = [
    "agent/.env",
    "agent/token.json",
    "responder/acme.key",
    "responder/aws.id",
    "responder/aws.key",
    "responder/redis.key",
    "responder/client.json",
    "inventory.toml",
];

pub(crate) struct Host {
    folder: TempDir,
    pub(crate) acme: Acme,
    issuer: Issuer,
    redis: Option<lab::Redis>,
    /// Secrets that no server here issues.
    fixed: Vec<(&'static str, String)>,
    written: Vec<(String, Vec<u8>)>,
}

impl Host {
    /// `more` is what a rehearsal would refuse.
    pub(crate) fn new(more: bool) -> Self {
        let (acme, issuer) = (Acme::start(), Issuer::start());
        let [queue, queue_admin] = ["mail", "admin"].map(random);
        let acl =
            format!("user default on >{queue_admin} ~* &* +@all\nuser mail on >{queue} ~* +@all");
        let fixed = vec![
            ("the admin key of Acme", acme.admin().to_owned()),
            ("the client secret", issuer.secret().to_owned()),
            ("the password of Redis", queue),
            ("the admin password of Redis", queue_admin),
            ("the AWS key", random("+/aA1+/2")),
            ("the admin's AWS key", random("/+bB3/+4")),
            ("a key that nobody listed", odd("sk")),
        ];
        let redis = lab::redis(&acl);
        let folder = tempfile::tempdir().unwrap();
        let host = Self { folder, acme, issuer, redis, fixed, written: Vec::new() };
        host.fill(more);
        host
    }

    fn fill(&self, more: bool) {
        let [admin, _, queue, queue_admin, cloud, cloud_admin, unlisted] =
            self.fixed.iter().map(|(_, it)| it.as_str()).collect::<Vec<_>>()[..]
        else {
            unreachable!()
        };
        let (mail, feed) = (self.acme.seed("mail").secret, self.acme.seed("feed").secret);
        let env = [
            format!("MAIL={mail}"),
            format!("FEED=https://mail:{feed}@feed.example.com/x"),
            "AWS_ID=AKIAIOSFODNN7EXAMPLE".to_owned(),
            format!("AWS_SECRET='{cloud}'"),
            format!("REDIS=redis://mail:{queue}@127.0.0.1/0"),
            format!("OTHER='{unlisted}'\n"),
        ];
        self.write("agent/.env", &env.join("\n"));
        let token = json!({ "access_token": self.issuer.seed(), "type": "Bearer" });
        self.write("agent/token.json", &token.to_string());
        self.write("responder/acme.key", admin);
        self.write("responder/aws.id", "AKIAI44QH8DHBEXAMPLE");
        self.write("responder/aws.key", cloud_admin);
        self.write("responder/redis.key", queue_admin);
        let client = json!({ "client_id": CLIENT, "client_secret": self.issuer.secret() });
        self.write("responder/client.json", &client.to_string());
        fs::create_dir(self.path("tmp")).unwrap();

        let mut text = include_str!("inventory.toml").to_owned();
        if let Some(redis) = &self.redis {
            text.push_str(
                &include_str!("redis.toml").replace("REDIS\"", &format!("{}\"", redis.address)),
            );
        }
        if more {
            let written = self.acme.seed("written").secret;
            text.push_str(&include_str!("more.toml").replace("WRITTEN", &written));
        }
        let text = text.replace("DIR/", &format!("{}/", self.folder.path().display()));
        let text = text.replace("\"ACME\"", &format!("\"{}\"", self.acme.base));
        let text = text.replace("\"OAUTH\"", &format!("\"{}\"", self.issuer.base));
        self.write("inventory.toml", &text);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Secrets as somebody pastes them, one that nobody knows among them; and a folder with the
    /// provider file of Acme at its address. Both lie elsewhere.
    pub(crate) fn handed_over(&self) -> (TempDir, fs::File) {
        let folder = tempfile::tempdir().unwrap();
        let file = include_str!("../../providers/acme.toml")
            .replace("base    = \"inventory\"", "replaces = \"acme\"\nbase = \"ADDRESS\"")
            .replace("ADDRESS", &self.acme.base)
            .replace("hold = \"2s\", give_up = \"30s\"", "hold = \"200ms\", give_up = \"1s\"");
        fs::write(folder.path().join("acme.toml"), file).unwrap();
        let [mail, feed] = ["mail", "feed"].map(|name| self.acme.seed(name).secret);
        let unknown = &self.fixed.last().unwrap().1;
        let text = format!("{mail}\nexport FEED='{feed}'\nOTHER={unknown}\n{}\n", self.fixed[0].1);
        fs::write(folder.path().join("stdin"), text).unwrap();
        let stdin = fs::File::open(folder.path().join("stdin")).unwrap();
        (folder, stdin)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs a command to its end with everything logged, and keeps all that it writes.
    pub(crate) fn rotate(&mut self, arguments: &[&str]) -> Option<i32> {
        self.rotate_until(arguments, None)
    }

    /// The same, ended with SIGKILL as soon as stderr holds this text.
    pub(crate) fn rotate_until(
        &mut self,
        arguments: &[&str],
        killed_at: Option<&str>,
    ) -> Option<i32> {
        self.fed(Stdio::null(), arguments, killed_at)
    }

    /// The same with something on stdin.
    pub(crate) fn fed(
        &mut self,
        stdin: Stdio,
        arguments: &[&str],
        killed_at: Option<&str>,
    ) -> Option<i32> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rotate"))
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.path("tmp"))
            .env("ROTATE_INVENTORY", self.path("inventory.toml"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("ROTATE_LOG", "trace")
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1")
            .current_dir(self.path("tmp"))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let name = arguments.first().copied().unwrap_or_default();
        self.watched(name, &mut child, killed_at)
    }

    /// Runs a process that shows this among its arguments until it was looked at.
    pub(crate) fn show(&mut self, argument: &str) {
        let mut child = Command::new("sh")
            .args(["-c", "read line", argument])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.watched("sh", &mut child, None);
    }

    fn watched(&mut self, name: &str, child: &mut Child, killed_at: Option<&str>) -> Option<i32> {
        let Seen { code, stdout, stderr, processes } = watch(child, killed_at);
        self.written.push((format!("{name}: stdout"), stdout));
        self.written.push((format!("{name}: stderr"), stderr));
        self.written.push((format!("{name}: argument lists and environments"), processes));
        code
    }

    /// What the commands said so far on stderr.
    pub(crate) fn stderr(&self) -> String {
        self.all("stderr")
    }

    /// What they and their children showed of themselves.
    pub(crate) fn processes(&self) -> String {
        self.all("environments")
    }

    fn all(&self, of: &str) -> String {
        let all = self.written.iter().filter(|(name, _)| name.ends_with(of));
        all.map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
    }

    /// The id of the first run.
    pub(crate) fn first_run(&self) -> String {
        let stderr = self.stderr();
        let line = stderr.lines().find_map(|line| line.strip_prefix("run ")).unwrap();
        line.split(' ').next().unwrap().to_owned()
    }

    /// Every secret in every form in every byte that was written, but where it belongs; and files
    /// that nobody named beside those.
    pub(crate) fn findings(&self) -> Vec<String> {
        let files: Vec<(String, Vec<u8>)> = self
            .files()
            .filter(|(name, _)| !PLACES.contains(&name.as_str()))
            .map(|(name, path)| (name, fs::read(path).unwrap()))
            .collect();
        let all = self.written.iter().chain(&files);
        let mut found =
            self.search().find(all.map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        let left = files.iter().map(|(name, _)| name);
        let left = left.filter(|name| !name.starts_with("state/"));
        found.extend(left.map(|name| format!("{name} is left over")));
        found
    }

    fn search(&self) -> Search {
        let mut search = Search::default();
        for (name, secret) in &self.fixed {
            search.add(name, secret);
        }
        for key in self.acme.keys() {
            search.add(&format!("the Acme key {}", key.name), &key.secret);
        }
        for token in self.issuer.tokens() {
            search.add("a token", &token);
        }
        // rotate itself made this one up: it stands in its place alone.
        let env = fs::read_to_string(self.path("agent/.env")).unwrap();
        let password = env.split("redis://mail:").nth(1).and_then(|rest| rest.split('@').next());
        search.add("the password of Redis now", password.unwrap());
        search
    }

    fn files(&self) -> impl Iterator<Item = (String, PathBuf)> {
        let folder: &Path = self.folder.path();
        let walk = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
        walk.filter(|it| it.file_type().is_file()).map(move |it| {
            let name = it.path().strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            (name, it.into_path())
        })
    }
}
