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
        command.current_dir(folder.path()).stdin(Stdio::null());
        command
    };
    // What mariadb-install-db does, without the client's programs that it looks for.
    fs::create_dir(&data).unwrap();
    let mut tables = "CREATE DATABASE mysql;\nUSE mysql;\n".to_owned();
    for file in ["mysql_system_tables.sql", "mysql_system_tables_data.sql"] {
        tables += &fs::read_to_string(base.join("share/mysql").join(file)).unwrap();
    }
    let bootstrap = folder.path().join("bootstrap.sql");
    fs::write(&bootstrap, tables).unwrap();
    let made = run(base.join("sbin/mariadbd"))
        .args(["--no-defaults", "--bootstrap"])
        .arg(format!("--basedir={}", base.display()))
        .arg(format!("--datadir={}", data.display()))
        .args(as_root())
        .stdin(fs::File::open(bootstrap).unwrap())
        .output()
        .unwrap();
    assert!(made.status.success(), "install: {}", String::from_utf8_lossy(&made.stderr));
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

/// Where it lies, and where its libraries do if they came with it.
fn installation() -> Option<(PathBuf, Option<OsString>)> {
    if Path::new("/usr/sbin/mariadbd").is_file() {
        return Some(("/usr".into(), None));
    }
    let unpacked = cache().join("debian/usr");
    let folders = fs::read_dir(unpacked.join("lib")).ok()?.flatten().map(|entry| entry.path());
    let libraries = std::env::join_paths(folders).ok()?;
    unpacked.join("sbin/mariadbd").is_file().then_some((unpacked, Some(libraries)))
}
