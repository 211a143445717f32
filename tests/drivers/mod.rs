//! Real servers on free loopback ports, and the parties that calls are made with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rotate::engine::call::{Answer, At, Fault, Liveness, Reason, Values, Verb};
use rotate::provider::{Acting, Bases, Driver, Reply, Secrets};
use rotate::secret::{Parts, Secret};
use serde_json::Value;

#[path = "../lab/port.rs"]
mod port;

pub(crate) use port::free_port;

/// moto takes 6 s to start when the machine is busy; five times that is broken.
const START: Duration = Duration::from_secs(30);

/// A server of our own, ended with the test.
pub(crate) struct Server {
    child: Child,
    pub port: u16,
    /// Kept until the server has ended.
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts `program` with arguments made from its port and folder; waits until it listens. A
    /// port can be taken between finding and using it: who ends at once is started again.
    pub(crate) fn start(program: &Path, command: impl Fn(&mut Command, u16, &Path)) -> Self {
        for _ in 0..3 {
            let dir = tempfile::tempdir().expect("a folder");
            let port = free_port();
            let mut run = Command::new(program);
            run.current_dir(dir.path()).stdin(Stdio::null());
            run.stdout(Stdio::null()).stderr(Stdio::null());
            if let Some(libraries) = libraries(program) {
                run.env("LD_LIBRARY_PATH", libraries);
            }
            command(&mut run, port, dir.path());
            let child = run.spawn().expect("the server starts");
            let mut server = Self { child, port, _dir: dir };
            if server.listens() {
                return server;
            }
        }
        panic!("{} ended at once, three times", program.display());
    }

    fn listens(&mut self) -> bool {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if TcpStream::connect(address).is_ok() {
                return true;
            }
            assert!(begun.elapsed() < START, "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a server's program is: in the folder that `tests/run` fills, or installed. A machine
/// without it skips the test and says so; where `CI=true` that is a failure.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let cache = cache();
    let mut folders =
        vec![cache.join("python/bin"), cache.join("venv/bin"), cache.join("debian/usr/bin")];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        let ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!ci, "{name} is missing: run tests/run");
        // Not `eprintln!`, which the harness keeps to itself when a test passes.
        let _ = writeln!(std::io::stderr(), "skipped: {name} is missing: run tests/run");
    }
    found
}

fn cache() -> PathBuf {
    std::env::var_os("ROTATE_TEST_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache"), PathBuf::from)
}

/// What an unpacked package needs beside it: Debian keeps one folder of libraries per machine.
fn libraries(program: &Path) -> Option<OsString> {
    let root = cache().join("debian");
    let folders = std::fs::read_dir(program.starts_with(&root).then_some(root)?.join("usr/lib"));
    std::env::join_paths(folders.ok()?.flatten().map(|folder| folder.path())).ok()
}

/// A role's credential or an admin, as the world hands it to a driver.
pub(crate) fn acting(
    kind: &str,
    vars: &[(&str, &str)],
    public: &[(&str, &str)],
    secret: &str,
) -> Acting {
    let mut parts = Parts { public: map(public), ..Parts::default() };
    if !secret.is_empty() {
        parts.secret.insert("secret".to_owned(), Secret::from(secret.to_owned()));
    }
    Acting { provider: "test".to_owned(), kind: kind.to_owned(), vars: map(vars), parts }
}

pub(crate) fn duplicate(acting: &Acting) -> Acting {
    Acting {
        provider: acting.provider.clone(),
        kind: acting.kind.clone(),
        vars: acting.vars.clone(),
        parts: acting.parts.duplicate(),
    }
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|&(name, value)| (name.to_owned(), Value::from(value))).collect()
}

pub(crate) fn parties(parties: &[(&str, &Acting)]) -> Secrets {
    parties.iter().map(|&(name, acting)| (name.to_owned(), duplicate(acting))).collect()
}

/// One step of one way: `(Verb::Revoke, 0, 1)`.
pub(crate) type Step = (Verb, u16, u16);

/// A driver at an address.
pub(crate) struct Bench<D> {
    pub driver: D,
    pub bases: Bases,
}

impl<D: Driver> Bench<D> {
    pub(crate) async fn reply(
        &self,
        step: Step,
        values: &[(&str, &str)],
        acting: &[(&str, &Acting)],
    ) -> Reply {
        let kind = acting.first().map_or("access-key", |(_, first)| first.kind.as_str());
        let (verb, way, step) = step;
        let at = At { provider: "test".to_owned(), kind: kind.to_owned(), verb, way, step };
        self.driver.call(&self.bases, &at, &map(values), &parties(acting)).await
    }

    pub(crate) async fn call(
        &self,
        step: Step,
        values: &[(&str, &str)],
        acting: &[(&str, &Acting)],
    ) -> Answer {
        self.reply(step, values, acting).await.answer
    }

    pub(crate) async fn probe(&self, it: &Acting) -> Answer {
        self.call((Verb::Probe, 0, 0), &[], &[("it", it)]).await
    }

    /// The identity that the probe was accepted as.
    pub(crate) async fn alive(&self, it: &Acting) -> String {
        match self.probe(it).await {
            Answer::Saw(Liveness::Alive(identity), _) => identity.0,
            other => panic!("not alive: {other:?}"),
        }
    }
}

pub(crate) fn bases(pairs: &[(&str, &str)]) -> Bases {
    let url = |text: &str| text.parse().expect("an address");
    pairs.iter().map(|&(name, text)| (name.to_owned(), url(text))).collect::<BTreeMap<_, _>>()
}

pub(crate) fn dead(by_name: bool) -> Answer {
    Answer::Saw(Liveness::Dead { by_name }, Values::new())
}

/// Status and word of a refusal, whatever its reason.
pub(crate) fn refusal(answer: &Answer) -> (Reason, Option<u16>, Option<&str>) {
    match answer {
        Answer::Fault(Fault::Refused(why)) => (why.reason, why.status, why.word.as_deref()),
        other => panic!("not refused: {other:?}"),
    }
}
