//! Commands of the inventory that act on the agent's host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Turn;

use crate::child::{self, Environment};
use crate::engine::call::Fault;

/// How long a `stop` may take. An agent that drains its work takes minutes (OpenClaw's own limit
/// is 315 s), in which it goes on acting: containment asks for a command that is done in seconds.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How long a `reload` may take. A service that restarts to read its secrets again takes seconds;
/// other credentials wait behind it.
const RELOAD_LIMIT: Duration = Duration::from_secs(30);

/// Reloads: whoever asks is served by a run of his command that began after he asked, and as many
/// as wait for the same command are served by the same run.
#[derive(Default)]
pub(crate) struct Reloads {
    environment: Environment,
    all: Mutex<BTreeMap<Vec<String>, Arc<Reload>>>,
}

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
    /// Commands that inherit this.
    pub(crate) fn new(environment: Environment) -> Self {
        Self { environment, all: Mutex::default() }
    }

    /// Makes sure that the command has run since now.
    ///
    /// # Errors
    /// As [`child::run`].
    pub(crate) async fn run(&self, argv: &[String]) -> Result<(), Fault> {
        let reload = {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(argv.to_vec()).or_default())
        };
        let mine = reload.ask();
        let mut last = reload.last.lock().await;
        if last.served < mine {
            let served = reload.asked();
            let result = child::run(argv, &self.environment, RELOAD_LIMIT).await;
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
