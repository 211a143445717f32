//! A responder's own tool: contains one role of an inventory and prints the report as JSON.
//!
//!     cargo run --example contain                            servers of its own, on loopback
//!     cargo run --example contain -- INVENTORY ROLE STATE    a real one: everything is revoked
//!
//! The new credentials stay sealed in the journal, under STATE: `rotate restore --state STATE`
//! delivers them. What the command does beyond this program: it takes in what interrupted runs of
//! the role have left, takes the role over from a rehearsal, and marks it in the inventory.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use futures::StreamExt as _;
use rotate::child::Environment;
use rotate::demo::{self, Lab};
use rotate::drive::{clock, drive, wall, watch};
use rotate::engine::plan::Plan;
use rotate::engine::progress::Happened;
use rotate::engine::report::Report;
use rotate::inventory::{Inventory, Mark};
use rotate::journal::{Header, Holder, Journal, State};
use rotate::provider::Clients;
use rotate::provider::catalog::{Catalog, Resolved};
use rotate::store::{InventoryStore, Stores};
use rotate::trust::{self, Trust};
use rotate::world::{Commands, LiveWorld};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let report = match arguments.as_slice() {
        [inventory, role, state] => contain(inventory.as_ref(), role, state.as_ref()).await?,
        [] => {
            let lab = Lab::start().await?;
            let (inventory, state): (PathBuf, PathBuf) = (lab.inventory_path(), lab.state_dir());
            contain(&inventory, demo::ROLE, &state).await?
        }
        _ => return Err("usage: contain [INVENTORY ROLE STATE]".into()),
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
    Ok(ExitCode::from(report.exit_code))
}

/// Revokes and reissues everything that the role holds, and proves the old ones dead.
pub(crate) async fn contain(
    inventory: &Path,
    role: &str,
    state: &Path,
) -> Result<Report, Box<dyn Error>> {
    let roles = [role.to_owned()];
    // The inventory, and what its providers can do.
    let text = Zeroizing::new(std::fs::read_to_string(inventory)?);
    let (mut inventory, providers, commands) = read(inventory, &text)?;
    let stores = stores(&text);
    stores.read_vars(&mut inventory).await;
    for problem in &inventory.problems {
        writeln!(std::io::stderr(), "inventory line {}: {problem}", problem.line)?;
    }
    // The plan: a script that leaves no choice.
    let state = State::open(state)?;
    let options = state.options(&roles);
    let plan = Plan::contain(&inventory, &providers.capabilities, &roles, &options)?;
    // The journal: record 0 is the plan. One run per role at a time.
    let began = wall();
    let _locks = state.lock_all(&roles, &Holder::here(&plan.run, plan.mode.word(), began))?;
    let journal = Journal::create(&state, &Header::of(&plan, began)?, &[])?;
    for role in &roles {
        state.set_contained(role, &Mark { run: Some(plan.run.clone()), ..Mark::default() })?;
    }
    // The run, and whoever watches it.
    let world = LiveWorld::new(&plan, providers, stores, state.keys(), commands);
    let (nobody, told) = mpsc::unbounded_channel();
    drop(nobody);
    let (watcher, mut events) = watch();
    let telling = async {
        while let Some(event) = events.next().await {
            if let Happened::Answered { of, step, outcome } = &event.what {
                let (name, ms) = (of.name(), event.elapsed_ms);
                let _ = writeln!(std::io::stderr(), "{ms:>6} ms  {name}  {step:?}  {outcome:?}");
            }
        }
    };
    let (driven, ()) = tokio::join!(drive(plan, journal, &world, told, watcher), telling);
    Ok(driven?.close()?)
}

/// The inventory is code: it names commands, hosts and places. One that others may write is still
/// a list of what to revoke; its commands are not run.
fn read(path: &Path, text: &str) -> Result<(Inventory, Resolved, Commands), Box<dyn Error>> {
    let mut inventory = Inventory::parse(text)?;
    let homes = inventory.roles.values().filter_map(|role| role.platform.as_ref()?.home.as_ref());
    let homes: Vec<PathBuf> = homes.map(PathBuf::from).collect();
    let homes: Vec<&Path> = homes.iter().map(PathBuf::as_path).collect();
    let commands = match trust::of(path, &homes) {
        Trust::Refused(_) => {
            inventory.withhold_code(text, "others may change the inventory");
            Commands::Untrusted
        }
        // What a child inherits it shows to everybody who may look at it.
        _ => Commands::Allowed(Environment::without(inventory.variables())),
    };
    let clients = Arc::new(Clients::new()?);
    let catalog = Catalog::builtin().map_err(|errors| format!("{errors:?}"))?;
    let catalog = catalog.with_native_drivers(&clients, &clock());
    let providers = catalog.resolve(&inventory.providers, &clients, clock());
    providers.check(&mut inventory, text);
    Ok((inventory, providers, commands))
}

/// Files and the environment; and the inventory itself, where a secret was written into it.
fn stores(text: &Zeroizing<String>) -> Stores {
    let no_shapes = Arc::new(|_: &str| Vec::new());
    let inventory = Arc::new(InventoryStore::new(text.clone()));
    Stores::new(None, no_shapes).with("inventory", inventory)
}
