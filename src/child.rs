//! Commands of the inventory: an argv, no shell, no secret in it and none in the environment.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::engine::call::{Fault, Reason, Why};

/// What a command inherits: this process's environment without the variables that hold secrets. A
/// child shows its environment to everybody who may look at it, and hands it on to its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    withheld: BTreeSet<String>,
}

impl Environment {
    /// All but these variables, which the inventory says hold what is none of a command's
    /// business, and whatever is named `ROTATE_...`, which is for this process alone.
    pub fn without(names: impl IntoIterator<Item = String>) -> Self {
        Self { withheld: names.into_iter().collect() }
    }

    fn command(&self, argv: &[String]) -> Result<Command, Fault> {
        let Some((program, arguments)) = argv.split_first() else {
            return Err(failed("no-command"));
        };
        let mut command = Command::new(program);
        command.args(arguments).process_group(0).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let listed = name.to_str().is_some_and(|name| self.withheld.contains(name));
            if listed || name.as_encoded_bytes().starts_with(b"ROTATE_") {
                command.env_remove(name);
            }
        }
        Ok(command)
    }
}

/// Runs a command in a process group of its own, so that neither Ctrl-C at our terminal ends it
/// half-way nor its children outlive a time-out. What it prints is thrown away: it could hold
/// secrets.
///
/// # Errors
/// [`Fault::Refused`] with [`Reason::CommandFailed`] if it cannot be started or ends with anything
/// but 0; [`Fault::Unknown`] if it was killed after `limit`.
pub async fn run(argv: &[String], environment: &Environment, limit: Duration) -> Result<(), Fault> {
    let mut child = start(environment.command(argv)?)?;
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(ended) => judge(ended),
        Err(_) => {
            end(&child);
            let _ = child.wait().await;
            Err(Fault::Unknown(Reason::Timeout.into()))
        }
    }
}

/// As [`run`], with bytes on its stdin and at most `most` bytes of its stdout taken. Whoever stops
/// waiting ends it, and all it started.
///
/// # Errors
/// As [`run`]; [`Fault::Refused`] with `too-large` if it printed more.
pub async fn converse(
    argv: &[String],
    environment: &Environment,
    stdin: &[u8],
    most: usize,
    limit: Duration,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut command = environment.command(argv)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut watched = Watched(start(command)?);
    let child = &mut watched.0;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let feed = async {
        if let Some(mut input) = input {
            // Who closes his stdin unread has what he needs; his exit code tells.
            let _ = input.write_all(stdin).await;
        }
    };
    let listen = async {
        // Room from the start: a buffer that grows leaves copies behind.
        let mut said = Zeroizing::new(Vec::with_capacity(most.saturating_add(READ_AHEAD)));
        if let Some(output) = output {
            let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
            let _ = output.take(bound).read_to_end(&mut said).await;
        }
        said
    };
    let whole = async {
        let ((), said) = tokio::join!(feed, listen);
        (said, child.wait().await)
    };
    let Ok((said, ended)) = tokio::time::timeout(limit, whole).await else {
        return Err(Fault::Unknown(Reason::Timeout.into()));
    };
    // One that prints more finds its stdout closed, and may die of that.
    if said.len() > most {
        return Err(failed("too-large"));
    }
    judge(ended).map(|()| said)
}

/// What a reader wants free in its buffer before it believes that the end has come.
const READ_AHEAD: usize = 64;

/// A child that ends, with all it started, when nobody waits for it any more.
struct Watched(Child);

impl Drop for Watched {
    fn drop(&mut self) {
        end(&self.0);
    }
}

fn start(mut command: Command) -> Result<Child, Fault> {
    command.spawn().map_err(|error| failed(unstarted(error.kind())))
}

fn judge(ended: std::io::Result<ExitStatus>) -> Result<(), Fault> {
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(match status.code() {
            Some(code) => Fault::Refused(command(format!("exit-{code}"))),
            None => failed("killed"),
        }),
        Err(_) => Err(Fault::Unknown(Reason::CommandFailed.into())),
    }
}

/// Ends the group of a child that was not waited for yet: until then its number is nobody else's.
fn end(child: &Child) {
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn failed(word: &str) -> Fault {
    Fault::Refused(command(word.to_owned()))
}

fn command(word: String) -> Why {
    Why { reason: Reason::CommandFailed, status: None, word: Some(word) }
}

fn unstarted(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not-found",
        ErrorKind::PermissionDenied => "permission-denied",
        _ => "not-started",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Long enough for a shell to start on a loaded machine.
    const LIMIT: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).into()
    }

    async fn plain(argv: &[String], limit: Duration) -> Result<(), Fault> {
        run(argv, &Environment::default(), limit).await
    }

    async fn asked(script: &str, stdin: &[u8], limit: Duration) -> Result<Vec<u8>, Fault> {
        let said = converse(&shell(script), &Environment::default(), stdin, 16, limit).await;
        said.map(|said| said.to_vec())
    }

    async fn fault(argv: &[String]) -> String {
        match plain(argv, LIMIT).await {
            Err(Fault::Refused(why)) if why.reason == Reason::CommandFailed => why.word.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn only_exit_0_is_done() {
        assert_eq!(plain(&shell("exit 0"), LIMIT).await, Ok(()));
        assert_eq!(fault(&shell("exit 3")).await, "exit-3");
        assert_eq!(fault(&shell("kill -9 $$")).await, "killed");
        assert_eq!(fault(&["/none/such".to_owned()]).await, "not-found");
        assert_eq!(fault(&["/etc".to_owned()]).await, "permission-denied");
        assert_eq!(fault(&[]).await, "no-command");
    }

    #[tokio::test]
    async fn arguments_are_no_shell_text_and_nothing_stands_on_stdin() {
        let argv = ["test", "$(id)", "=", "$(id)"].map(str::to_owned);
        assert_eq!(plain(&argv, LIMIT).await, Ok(()));
        assert_eq!(plain(&shell("! read line"), LIMIT).await, Ok(()));
    }

    #[tokio::test]
    async fn what_stands_on_stdin_is_read_and_what_is_printed_is_taken() {
        assert_eq!(asked("cat", b"a\n\nb", LIMIT).await, Ok(b"a\n\nb".to_vec()));
        assert_eq!(asked("printf x; exit 0", &[0; 1 << 20], LIMIT).await, Ok(b"x".to_vec()));
        let failed = |word: &str| Err(Fault::Refused(command(word.to_owned())));
        assert_eq!(asked("cat; exit 3", b"a", LIMIT).await, failed("exit-3"));
        assert_eq!(asked("printf 0123456789abcdef", b"", LIMIT).await.unwrap().len(), 16);
        assert_eq!(asked("printf 0123456789abcdefg", b"", LIMIT).await, failed("too-large"));
    }

    /// A pipe that ends when all who write to it are gone, and what tells so.
    fn lifeline(dir: &std::path::Path) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
        let pipe = dir.join("pipe");
        let (kind, mode) = (rustix::fs::FileType::Fifo, 0o600.into());
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        let reader = pipe.clone();
        let ended = tokio::task::spawn_blocking(move || fs::read(reader).unwrap());
        (pipe.display().to_string(), ended)
    }

    #[tokio::test]
    async fn after_the_limit_nothing_of_it_runs_on() {
        let late = Err(Fault::Unknown(Reason::Timeout.into()));
        for talks in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (pipe, ended) = lifeline(dir.path());
            let script = format!("sleep 60 > {pipe} & wait");
            let limit = Duration::from_secs(2);
            if talks {
                assert_eq!(asked(&script, b"", limit).await.map(drop), late);
            } else {
                assert_eq!(plain(&shell(&script), limit).await, late);
            }
            let gone = tokio::time::timeout(Duration::from_secs(20), ended).await;
            assert!(gone.is_ok(), "the grandchild runs on");
        }
    }

    #[tokio::test]
    async fn who_is_not_waited_for_any_more_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, ended) = lifeline(dir.path());
        let script = format!("sleep 60 > {pipe} & wait");
        let soon = tokio::time::timeout(Duration::from_secs(2), asked(&script, b"", LIMIT)).await;
        assert!(soon.is_err());
        let gone = tokio::time::timeout(Duration::from_secs(20), ended).await;
        assert!(gone.is_ok(), "it runs on");
    }

    #[tokio::test]
    async fn the_environment_is_inherited_without_what_is_withheld() {
        // `PATH` stands for a variable with a secret: a test cannot set one of its own.
        let argv = ["/usr/bin/env".to_owned()];
        for (withheld, given) in [(&[][..], true), (&["PATH".to_owned()][..], false)] {
            let environment = Environment::without(withheld.iter().cloned());
            let said = converse(&argv, &environment, b"", 1 << 20, LIMIT).await.unwrap();
            let said = String::from_utf8(said.to_vec()).unwrap();
            assert_eq!(said.lines().any(|line| line.starts_with("PATH=")), given);
            assert!(!said.lines().any(|line| line.starts_with("ROTATE_")));
        }
    }
}
