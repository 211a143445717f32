use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::server::{Server, connect};
use super::{cache, missing};

/// MariaDB with an empty database `site` and the user `site`, who may do everything in it.
pub(crate) struct Mariadb {
    /// `mysql://127.0.0.1:PORT/site`, without user and password.
    pub(crate) address: String,
    _server: Server,
    _folder: TempDir,
}

impl Mariadb {
    /// The password of `site`.
    pub(crate) const PASSWORD: &str = "made-up-password-of-the-lab";

    /// Its address with user and password, as applications write it.
    pub(crate) fn signed(&self) -> String {
        self.address.replace("://", &format!("://site:{}@", Self::PASSWORD))
    }

    /// A connection of the test's own.
    pub(crate) async fn connect(&self) -> mysql_async::Conn {
        mysql_async::Conn::from_url(self.signed()).await.unwrap()
    }
}

/// Starts it.
pub(crate) fn mariadb() -> Option<Mariadb> {
    let Some((base, libraries)) = installation() else {
        missing("mariadbd");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run = |program: PathBuf| {
        let mut command = Command::new(program);
        if let Some(libraries) = &libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        // At its start it removes from there what another one is using.
        command.env("TMPDIR", folder.path());
        command.current_dir(folder.path()).stdin(Stdio::null());
        command
    };
    // What `mariadb-install-db` does, which needs programs of the client's package besides.
    fs::create_dir(&data).unwrap();
    let tables = folder.path().join("tables.sql");
    fs::write(&tables, system_tables(&base)).unwrap();
    let made = run(base.join("sbin/mariadbd"))
        .args(["--no-defaults", "--bootstrap"])
        .args(as_root())
        .arg(format!("--basedir={}", base.display()))
        .arg(format!("--datadir={}", data.display()))
        .stdin(fs::File::open(&tables).unwrap())
        .output()
        .unwrap();
    assert!(made.status.success(), "bootstrap: {}", String::from_utf8_lossy(&made.stderr));
    let start = folder.path().join("start.sql");
    fs::write(
        &start,
        format!(
            "CREATE DATABASE site CHARACTER SET utf8mb4;\n\
             CREATE USER site@127.0.0.1 IDENTIFIED BY '{0}';\n\
             CREATE USER site@localhost IDENTIFIED BY '{0}';\n\
             GRANT ALL ON site.* TO site@127.0.0.1;\nGRANT ALL ON site.* TO site@localhost;\n",
            Mariadb::PASSWORD
        ),
    )
    .unwrap();
    let server = Server::start(
        "mariadbd",
        |port| {
            let mut command = run(base.join("sbin/mariadbd"));
            command.arg("--no-defaults").args(as_root());
            command.arg(format!("--basedir={}", base.display()));
            command.arg(format!("--datadir={}", data.display()));
            command.arg(format!("--socket={}", folder.path().join("s").display()));
            command.arg(format!("--init-file={}", start.display()));
            command.args(["--bind-address=127.0.0.1", &format!("--port={port}")]);
            command
        },
        |port| connect(port).is_ok(),
    );
    let address = format!("mysql://127.0.0.1:{}/site", server.port);
    Some(Mariadb { address, _server: server, _folder: folder })
}

fn as_root() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

/// The server's own tables. In a bootstrap a statement ends with its line.
fn system_tables(base: &Path) -> String {
    let mut script = "CREATE DATABASE mysql;\nUSE mysql;\nSET @skip_auth_anonymous=1;\n\
                      SET @auth_root_socket=NULL;\n"
        .to_owned();
    for part in ["mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data"] {
        let path = base.join("share/mysql").join(part).with_extension("sql");
        script.push_str(&fs::read_to_string(path).unwrap());
    }
    script
}

/// Where it lies, and where its libraries do if they came with it.
fn installation() -> Option<(PathBuf, Option<OsString>)> {
    if Path::new("/usr/sbin/mariadbd").is_file() {
        return Some(("/usr".into(), None));
    }
    let unpacked = cache().join("debian/usr");
    if !unpacked.join("sbin/mariadbd").is_file() {
        return None;
    }
    // A machine that had all its libraries got none.
    let folders = fs::read_dir(unpacked.join("lib")).into_iter().flatten().flatten();
    let libraries: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
    let libraries = (!libraries.is_empty()).then(|| std::env::join_paths(libraries).unwrap());
    Some((unpacked, libraries))
}
