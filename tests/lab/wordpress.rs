use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::mariadb::{Mariadb, mariadb};
use super::server::{Server, connect};
use super::{cache, missing, source};

/// A WordPress site of its own, its database included.
pub(crate) struct Wordpress {
    /// For the inventory: `http://127.0.0.1:PORT/wp-json`.
    pub(crate) base: String,
    /// An application password of the administrator, who is user 1.
    pub(crate) admin: String,
    /// The number of the user `mail`.
    pub(crate) user: String,
    /// An application password of `mail`, called `mail`.
    pub(crate) mail: String,
    /// Another one, called `other`.
    pub(crate) other: String,
    _server: Server,
    _database: Mariadb,
    _folder: TempDir,
}

/// What WordPress needs of PHP beyond its core, in this order.
const EXTENSIONS: [&str; 5] = ["mysqlnd", "mysqli", "tokenizer", "ctype", "iconv"];

/// Starts it.
pub(crate) fn wordpress() -> Option<Wordpress> {
    let found = ["/usr".into(), cache().join("debian/usr")].into_iter();
    let pages = found.map(|base: PathBuf| base.join("share/wordpress"));
    let Some((php, pages)) = Php::find().zip(pages.into_iter().find(|pages| pages.is_dir())) else {
        missing("WordPress");
        return None;
    };
    let database = mariadb()?;
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    // Its own path is where PHP finds the settings, so links would lead astray.
    let copied = Command::new("cp").arg("-a").arg(&pages).arg(&site).status().unwrap();
    assert!(copied.success());
    let config = site.join("wp-config.php");
    let _ = fs::remove_file(&config);
    fs::copy(source("tests/lab/wordpress/wp-config.php"), &config).unwrap();

    let host = database.address.trim_start_matches("mysql://").trim_end_matches("/site");
    let php = |arguments: &[&str]| {
        let mut command = php.command();
        command.env("LAB_DB_HOST", host).env("LAB_DB_PASSWORD", Mariadb::PASSWORD);
        command.args(arguments);
        command
    };
    let install = source("tests/lab/wordpress/install.php");
    let made = php(&[]).arg(install).arg(&site).output().unwrap();
    let made: Value = serde_json::from_slice(&made.stdout)
        .unwrap_or_else(|_| panic!("install: {}", String::from_utf8_lossy(&made.stdout)));
    let server = Server::start(
        "php",
        |port| {
            let mut command = php(&["-S", &format!("127.0.0.1:{port}"), "-t"]);
            command.arg(&site);
            command
        },
        |port| connect(port).is_ok(),
    );
    let text = |key: &str| made[key].as_str().map_or(made[key].to_string(), str::to_owned);
    Some(Wordpress {
        base: format!("http://127.0.0.1:{}/wp-json", server.port),
        admin: text("admin"),
        user: text("user"),
        mail: text("mail"),
        other: text("other"),
        _server: server,
        _database: database,
        _folder: folder,
    })
}

impl Wordpress {
    /// What it tells somebody of the application password they show.
    pub(crate) async fn introspect(&self, password: &str) -> (u16, Value) {
        self.ask("mail", password, "/introspect").await
    }

    /// Whether it accepts that application password of `mail`.
    pub(crate) async fn is_alive(&self, password: &str) -> bool {
        self.introspect(password).await.0 == 200
    }

    /// Names of the application passwords of `mail`.
    pub(crate) async fn listed(&self) -> Vec<String> {
        let (_, rows) = self.ask("admin", &self.admin, "").await;
        let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
        rows.as_array().unwrap().iter().map(name).collect()
    }

    async fn ask(&self, user: &str, password: &str, what: &str) -> (u16, Value) {
        let at = format!("{}/wp/v2/users/{}/application-passwords{what}", self.base, self.user);
        let http = rotate::provider::Clients::new().unwrap().calls().clone();
        let answer = http.get(at).basic_auth(user, Some(password)).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

/// PHP's program for the command line, its extensions, and its libraries if they came with it.
struct Php {
    program: PathBuf,
    extensions: PathBuf,
    libraries: Option<OsString>,
}

impl Php {
    fn find() -> Option<Self> {
        let unpacked = cache().join("debian/usr");
        [Path::new("/usr"), &unpacked].into_iter().find_map(|base| {
            // Debian names them by version: bin/php8.2, lib/php/20220829.
            let program = one_of(&base.join("bin"), |name| {
                name.strip_prefix("php")
                    .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
            })?;
            let extensions = one_of(&base.join("lib/php"), |name| name.starts_with("20"))?;
            let libraries = (base == unpacked).then(|| {
                let folders = fs::read_dir(base.join("lib")).into_iter().flatten().flatten();
                std::env::join_paths(folders.map(|entry| entry.path())).unwrap_or_default()
            });
            let whole = extensions.join("mysqli.so").is_file();
            whole.then_some(Self { program, extensions, libraries })
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        // No settings of this machine, and no mail.
        command.args(["-n", "-d", "sendmail_path=true", "-d", "display_errors=stderr"]);
        command.arg("-d").arg(format!("extension_dir={}", self.extensions.display()));
        for extension in EXTENSIONS {
            if self.extensions.join(format!("{extension}.so")).is_file() {
                command.arg("-d").arg(format!("extension={extension}"));
            }
        }
        command
    }
}

fn one_of(folder: &Path, fits: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let named = |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(&fits);
    entries.filter(named).map(|entry| entry.path()).max()
}
