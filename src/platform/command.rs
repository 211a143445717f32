//! Commands of the inventory: an argv, no shell, no secret.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::Mutex as Turn;

use crate::engine::call::{Fault, Reason, Why};

/// How long a `stop` may take. An agent that drains its work takes minutes (OpenClaw's own limit
/// is 315 s), in which it goes on acting: containment asks for a command that is done in seconds.
pub const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How long a `reload` may take. A service that restarts to read its secrets again takes seconds;
/// other credentials wait behind it.
const RELOAD_LIMIT: Duration = Duration::from_secs(30);

/// Runs a command with this process's environment, in a process group of its own, so that neither
/// Ctrl-C at our terminal ends it half-way nor its children outlive a time-out. What it prints is
/// thrown away: it could hold secrets.
///
/// # Errors
/// [`Fault::Refused`] with [`Reason::CommandFailed`] if it cannot be started or ends with anything
/// but 0; [`Fault::Unknown`] if it was killed after `limit`.
pub async fn run(argv: &[String], limit: Duration) -> Result<(), Fault> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(failed("no-command"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| failed(unstarted(error.kind())))?;
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(match status.code() {
            Some(code) => Fault::Refused(command(format!("exit-{code}"))),
            None => failed("killed"),
        }),
        Ok(Err(_)) => Err(Fault::Unknown(Reason::CommandFailed.into())),
        Err(_) => {
            end(&mut child).await;
            Err(Fault::Unknown(Reason::Timeout.into()))
        }
    }
}

async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait().await;
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

/// Reloads: whoever asks is served by a run of his command that began after he asked, and as many
/// as wait for the same command are served by the same run.
#[derive(Default)]
pub struct Reloads(Mutex<BTreeMap<Vec<String>, Arc<Reload>>>);

#[derive(Default)]
struct Reload {
    /// How many have asked.
    asked: Mutex<u64>,
    /// Whose turn it is to run it, and what came of it last.
    last: Turn<Last>,
}

struct Last {
    /// Of those who asked, how many this run served.
    served: u64,
    result: Result<(), Fault>,
}

impl Default for Last {
    fn default() -> Self {
        Self { served: 0, result: Ok(()) }
    }
}

impl Reloads {
    /// Makes sure that the command has run since now.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn run(&self, argv: &[String]) -> Result<(), Fault> {
        let reload = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(argv.to_vec()).or_default())
        };
        let mine = reload.ask();
        let mut last = reload.last.lock().await;
        if last.served < mine {
            let served = reload.asked();
            let result = run(argv, RELOAD_LIMIT).await;
            *last = Last { served, result };
        }
        last.result.clone()
    }
}

impl Reload {
    fn ask(&self) -> u64 {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked += 1;
        *asked
    }

    fn asked(&self) -> u64 {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).into()
    }

    async fn fault(argv: &[String]) -> String {
        match run(argv, STOP_LIMIT).await {
            Err(Fault::Refused(why)) if why.reason == Reason::CommandFailed => why.word.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn only_exit_0_is_done() {
        assert_eq!(run(&shell("exit 0"), STOP_LIMIT).await, Ok(()));
        assert_eq!(fault(&shell("exit 3")).await, "exit-3");
        assert_eq!(fault(&shell("kill -9 $$")).await, "killed");
        assert_eq!(fault(&["/none/such".to_owned()]).await, "not-found");
        assert_eq!(fault(&["/etc".to_owned()]).await, "permission-denied");
        assert_eq!(fault(&[]).await, "no-command");
    }

    #[tokio::test]
    async fn arguments_are_no_shell_text_and_nothing_stands_on_stdin() {
        assert_eq!(
            run(&["test", "$(id)", "=", "$(id)"].map(str::to_owned), STOP_LIMIT).await,
            Ok(())
        );
        assert_eq!(run(&shell("! read line"), STOP_LIMIT).await, Ok(()));
    }

    #[tokio::test]
    async fn after_the_limit_nothing_of_it_runs_on() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let (kind, mode) = (rustix::fs::FileType::Fifo, 0o600.into());
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        // The pipe ends when the grandchild, which alone writes to it, is gone.
        let reader = pipe.clone();
        let ended = tokio::task::spawn_blocking(move || fs::read(reader).unwrap());
        let argv = shell(&format!("sleep 60 > {} & wait", pipe.display()));
        // Long enough for a shell to start on a loaded machine.
        let result = run(&argv, Duration::from_secs(2)).await;
        assert_eq!(result, Err(Fault::Unknown(Reason::Timeout.into())));
        let gone = tokio::time::timeout(Duration::from_secs(20), ended).await;
        assert!(gone.is_ok(), "the grandchild runs on");
    }

    #[tokio::test]
    async fn who_asks_together_is_served_together_and_never_by_an_earlier_run() {
        let dir = tempfile::tempdir().unwrap();
        let (written, seen) = (dir.path().join("written"), dir.path().join("seen"));
        fs::write(&written, "").unwrap();
        let copy =
            format!("cat {} >> {seen}; echo >> {seen}", written.display(), seen = seen.display());
        let (argv, reloads) = (shell(&copy), Reloads::default());
        let one = async |n: u32| {
            // Appended, for a run under way may be reading.
            let mut file = fs::OpenOptions::new().append(true).open(&written).unwrap();
            std::io::Write::write_all(&mut file, format!("<{n}>").as_bytes()).unwrap();
            reloads.run(&argv).await.unwrap();
            // A run that began after this one's writing has seen it.
            assert!(fs::read_to_string(&seen).unwrap().contains(&format!("<{n}>")));
        };
        futures::future::join_all((0..20).map(one)).await;
        let runs = fs::read_to_string(&seen).unwrap().lines().count();
        assert!((1..=2).contains(&runs), "{runs} runs");
        one(20).await;
        assert_eq!(fs::read_to_string(&seen).unwrap().lines().count(), runs + 1);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_who_waited_for_it() {
        let reloads = Reloads::default();
        let argv = shell("exit 1");
        let (a, b) = futures::join!(reloads.run(&argv), reloads.run(&argv));
        assert!(a.is_err() && b.is_err());
        assert_eq!(reloads.run(&shell("exit 0")).await, Ok(()));
    }
}
