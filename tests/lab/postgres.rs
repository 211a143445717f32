use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::server::{Server, connect};
use super::{cache, missing};

/// PostgreSQL with an empty database `site` and the superuser `postgres`.
pub(crate) struct Postgres {
    /// `postgresql://127.0.0.1:PORT/site`, without user and password.
    pub(crate) address: String,
    server: Server,
    _folder: TempDir,
}

impl Drop for Postgres {
    /// Told to end at once it takes its shared memory with it; killed it would not.
    fn drop(&mut self) {
        let server = rustix::process::Pid::from_child(&self.server.child);
        let _ = rustix::process::kill_process(server, rustix::process::Signal::QUIT);
        let _ = self.server.child.wait();
    }
}

impl Postgres {
    /// The password of `postgres`.
    pub(crate) const PASSWORD: &str = "made-up-password-of-the-lab";

    /// Its address with user and password, as applications write it.
    pub(crate) fn signed(&self) -> String {
        self.address.replace("://", &format!("://postgres:{}@", Self::PASSWORD))
    }

    /// A connection of the test's own.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        let connected = tokio_postgres::connect(&self.signed(), tokio_postgres::NoTls).await;
        let (client, link) = connected.unwrap();
        tokio::spawn(link);
        client
    }
}

/// Starts it. It refuses to run as root, so that there it runs as whoever `nobody` is.
pub(crate) fn postgres() -> Option<Postgres> {
    let Some(programs) = programs() else {
        missing("postgres");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (data, password) = (folder.path().join("data"), folder.path().join("password"));
    fs::write(&password, Postgres::PASSWORD).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(&data).unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        let owned = Command::new("chown").arg("nobody").arg(&data).status().unwrap();
        assert!(owned.success());
    }
    let run = |program: &str| {
        let mut command = as_nobody(root, &programs.join(program));
        // Unpacked rather than installed, its libraries and its data lie beside it.
        if let Some(libraries) = libraries(&programs) {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command.env("LC_ALL", "C").current_dir(folder.path()).stdin(Stdio::null());
        command
    };
    let made = run("initdb")
        .arg("-D")
        .arg(&data)
        .args(["-U", "postgres", "-A", "scram-sha-256", "-N", "--pwfile"])
        .arg(&password)
        .output()
        .unwrap();
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let server = Server::start(
        "postgres",
        |port| {
            let mut command = run("postgres");
            command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
            command.args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
            command
        },
        |port| connect(port).is_ok(),
    );
    let address = format!("postgresql://127.0.0.1:{}/site", server.port);
    make_database(server.port);
    Some(Postgres { address, server, _folder: folder })
}

/// It listens before it takes statements.
fn make_database(port: u16) {
    let system = format!("postgresql://postgres:{}@127.0.0.1:{port}/postgres", Postgres::PASSWORD);
    let made = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            for _ in 0..100 {
                if let Ok((client, link)) =
                    tokio_postgres::connect(&system, tokio_postgres::NoTls).await
                {
                    tokio::spawn(link);
                    client.execute("CREATE DATABASE site", &[]).await.unwrap();
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            panic!("postgres takes no statements");
        });
    });
    made.join().unwrap();
}

fn as_nobody(root: bool, program: &Path) -> Command {
    if !root {
        return Command::new(program);
    }
    // `exec`s what it is given: the child's id is the server's.
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--clear-groups", "--"]).arg(program);
    command
}

/// Where its programs lie: those of the machine, or those that `tests/run` has unpacked.
fn programs() -> Option<PathBuf> {
    let folders = [PathBuf::from("/usr/lib/postgresql"), cache().join("debian/usr/lib/postgresql")];
    let versions = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let programs = versions.flatten().map(|version| version.path().join("bin"));
    programs.into_iter().find(|programs| programs.join("initdb").is_file())
}

fn libraries(programs: &Path) -> Option<OsString> {
    let root = cache().join("debian");
    let folders = fs::read_dir(programs.starts_with(&root).then_some(root)?.join("usr/lib"));
    std::env::join_paths(folders.ok()?.flatten().map(|folder| folder.path())).ok()
}
