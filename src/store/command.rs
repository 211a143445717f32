//! `cmd:NAME`: what commands of the inventory read and write.
//!
//! ```toml
//! [cmd.mail-key]
//! get = ["pass", "show", "agents/mail"]
//! set = ["pass", "insert", "--force", "--multiline", "agents/mail"]
//! ```
//!
//! `get` prints the value, one line end behind it being the command's own, and nothing where there
//! is none; `set` takes it on stdin, byte for byte. Both end with 0. No argument and no variable
//! ever holds the value. Who may write the inventory chooses what runs, so it has to be trusted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex as Turn;

use super::{Edit, SecretStore, because};
use crate::child::{Environment, converse};
use crate::engine::call::{Fault, PlaceState, Reason, Why};
use crate::inventory::{SecretRef, StoreCommand};
use crate::secret::Secret;

/// How long a `get` may take: a client that logs in and asks a server is done in 2 or 3 s, and
/// whoever reads a place gives up after 10.
const GET_LIMIT: Duration = Duration::from_secs(8);

/// How long a `set` may take. Looking first, writing and reading back are 28 s together, within
/// the half minute that a delivery has.
const SET_LIMIT: Duration = Duration::from_secs(12);

/// The longest value. Private keys with their chain are some 20 KiB.
const VALUE_MAX: usize = 1 << 16;

/// Commands, by name.
pub struct CommandStore {
    commands: BTreeMap<String, StoreCommand>,
    environment: Environment,
    /// One writer for each.
    turns: Mutex<BTreeMap<String, Arc<Turn<()>>>>,
}

impl CommandStore {
    /// Commands of a trusted inventory, and what they inherit.
    pub fn new(commands: BTreeMap<String, StoreCommand>, environment: Environment) -> Self {
        Self { commands, environment, turns: Mutex::default() }
    }

    fn command(&self, of: &SecretRef) -> Result<&StoreCommand, Why> {
        let known = self.commands.get(&of.path);
        known.ok_or_else(|| because(Reason::Unsupported, "no-such-command"))
    }

    /// What is there now; nothing is an empty value.
    async fn get(&self, command: &StoreCommand) -> Result<Secret, Why> {
        let said = converse(&command.get, &self.environment, b"", VALUE_MAX, GET_LIMIT).await;
        let mut said = said.map_err(why)?;
        if said.last() == Some(&b'\n') {
            said.pop();
        }
        if said.last() == Some(&b'\r') {
            said.pop();
        }
        Ok(Secret::new(std::mem::take(&mut *said)))
    }

    /// What these edits come to; none where it is there already.
    async fn fold<'a>(
        &self,
        command: &StoreCommand,
        edits: &'a [Edit],
    ) -> Result<Option<&'a Secret>, Why> {
        if command.set.is_none() {
            return Err(Reason::ReadOnly.into());
        }
        let Some(last) = edits.last() else { return Ok(None) };
        let new = last.new.expose();
        if new.is_empty() || new.len() > VALUE_MAX || new.ends_with(b"\n") || new.ends_with(b"\r") {
            return Err(because(Reason::Unwritable, "not-representable"));
        }
        let now = self.get(command).await?;
        if now.same(&last.new) {
            return Ok(None);
        }
        let others = |edit: &Edit| edit.old.as_ref().is_some_and(|old| !now.same(old));
        if !now.is_empty() && edits.iter().any(others) {
            return Err(Reason::PlaceChanged.into());
        }
        Ok(Some(&last.new))
    }

    async fn set(&self, command: &StoreCommand, new: &Secret) -> Result<PlaceState, Why> {
        let argv = command.set.as_deref().unwrap_or_default();
        let done = converse(argv, &self.environment, new.expose(), VALUE_MAX, SET_LIMIT)
            .await
            .map_err(why);
        // One that was ended late, or failed at its last line, may have written all the same.
        match (done, self.get(command).await) {
            (_, Ok(now)) if now.same(new) => Ok(PlaceState::ReadBack),
            (Err(why), _) => Err(why),
            (Ok(_), Ok(_)) => Err(Reason::PlaceChanged.into()),
            (Ok(_), Err(_)) => Ok(PlaceState::Written),
        }
    }

    fn turn(&self, name: &str) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(name.to_owned()).or_default())
    }
}

fn why(fault: Fault) -> Why {
    match fault {
        Fault::Refused(why) | Fault::Unknown(why) => why,
        Fault::NotSent(_) | Fault::Throttled { .. } => Reason::CommandFailed.into(),
    }
}

#[async_trait]
impl SecretStore for CommandStore {
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why> {
        self.get(self.command(from)?).await
    }

    async fn check(&self, edits: &[Edit]) -> Result<(), Why> {
        let Some(first) = edits.first() else { return Ok(()) };
        self.fold(self.command(&first.to)?, edits).await.map(drop)
    }

    async fn write(&self, edits: Vec<Edit>) -> Result<PlaceState, Why> {
        let Some(first) = edits.first() else { return Ok(PlaceState::ReadBack) };
        let command = self.command(&first.to)?;
        let turn = self.turn(&first.to.path);
        let _mine = turn.lock().await;
        match self.fold(command, &edits).await? {
            Some(new) => self.set(command, new).await,
            None => Ok(PlaceState::ReadBack),
        }
    }
}
