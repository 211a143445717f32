//! `rotate init`: a state directory with its key, and an inventory to begin with.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::args::{Log, Places};
use super::escrow::keys_of;
use super::failure::Failure;
use super::line::{causes, own};
use super::run;
use super::session::Session;
use crate::journal::{self, StateError};
use crate::seal::SealError;

/// The example, which a test parses, plans and runs.
const EXAMPLE: &str = include_str!("../../inventory.example.toml");

/// Make the state directory with its key, and an inventory to begin with
///
/// Nothing that is there is written over. Not needed for a first run: minute one makes what it
/// needs.
#[derive(Args, Clone, Debug)]
pub(crate) struct Init {
    /// Somebody else whose key opens what is sealed: age1..., ssh-ed25519 ... or ssh-rsa ...;
    /// several, one each
    #[arg(long = "recipient", value_name = "KEY")]
    recipients: Vec<String>,
    #[command(flatten)]
    places: Places,
    #[command(flatten)]
    pub(crate) log: Log,
}

impl Init {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let session = Session::open(&self.places)?;
        let recipients = journal::name_recipients(&self.recipients).map_err(no_state)?;
        let inventory = session.inventories.first().ok_or_else(|| {
            Failure::input("no place for an inventory").hint("name one: --inventory FILE")
        })?;
        let (inventory, made) = match session.inventory() {
            Ok(known) if known.exists() => (known, false),
            _ => (inventory.as_path(), begin(inventory)?),
        };
        // Last: where the inventory is the mistake, no key is left behind.
        let state = journal::add_recipients(&session.state, recipients).map_err(no_state)?;
        let keys = state.seal().recipients();
        Ok(run::shown(&told(&session.state, keys, inventory, made)))
    }
}

fn no_state(error: StateError) -> Failure {
    match error {
        StateError::Seal(SealError::BadRecipient(..)) => Failure::input(causes(&error)),
        _ => own(&error),
    }
    .hint(error.hint())
}

/// Writes the starter where nothing is yet; false where something is.
fn begin(path: &Path) -> Result<bool, Failure> {
    let failed = |error: io::Error| {
        Failure::input(format!("{} cannot be made: {error}", path.display()))
            .hint("name a place that can be written: --inventory FILE")
    };
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let mut file = match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    file.write_all(starter().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(true)
}

/// The example with every line behind a `#`: it says what can be written, and holds nothing yet.
fn starter() -> String {
    let mut text =
        "# Take the `#` away from what you need, and put your own names in.\n#\n".to_owned();
    for line in EXAMPLE.lines() {
        match line.strip_prefix("#:") {
            Some(more) => text.push_str(&format!("#{more}")),
            None if line.is_empty() || line.starts_with('#') => text.push_str(line),
            None => text.push_str(&format!("# {line}")),
        }
        text.push('\n');
    }
    text
}

fn told(state: &Path, keys: usize, inventory: &Path, made: bool) -> String {
    let mut seal = format!("sealed to {}", keys_of(keys));
    if keys == 1 {
        seal.push_str(": keep a copy of `key` elsewhere, or add a recipient with --recipient");
    }
    let next =
        if made { "made, every line commented out" } else { "is there, and was left as it is" };
    format!(
        "state      {}\n           {seal}\ninventory  {}\n           {next}\n\n\
         Next:\n  \
         1. write each role's credentials into the inventory: docs/inventory.md\n  \
         2. look at the plan: rotate --role ROLE --dry-run\n  \
         3. practise it: rotate rehearse --role ROLE\n",
        state.display(),
        inventory.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;

    #[test]
    fn a_starter_holds_nothing_and_its_lines_are_the_examples() {
        let starter = starter();
        let empty = Inventory::parse(&starter).unwrap();
        assert!(empty.roles.is_empty() && empty.problems.is_empty());
        let example = Inventory::parse(EXAMPLE).unwrap();
        let again: String = starter
            .lines()
            .filter(|line| !EXAMPLE.lines().any(|known| known == *line) || line.is_empty())
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| EXAMPLE.lines().any(|known| known == *line))
            .map(|line| format!("{line}\n"))
            .collect();
        let again = Inventory::parse(&again).unwrap();
        assert_eq!(again.roles.len(), example.roles.len());
    }
}
