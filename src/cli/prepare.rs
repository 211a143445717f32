//! From an intent to a plan: the inventory read and judged, the providers at their addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::args::Only;
use super::failure::Failure;
use super::locking;
use super::pasted::veiled;
use super::progress::Watch;
use super::session::{Intent, Session};
use super::terminal::{self, Look};
use super::unlisted::{self, Looked};
use super::when;
use crate::child::Environment;
use crate::drive::{self, History};
use crate::engine::in_words;
use crate::engine::plan::{Options, Plan, PlanError};
use crate::engine::report::Mode;
use crate::inventory::{self, Inventory, ProviderAt, StoreCommand, Summary};
use crate::journal::{self, State};
use crate::provider::catalog::{Catalog, FolderError, Resolved};
use crate::provider::oauth::{Consent, Oauth};
use crate::provider::{Clients, SharedClients};
use crate::store::{CommandStore, InventoryStore, Shapes, Stores};
use crate::trust::{self, Trust};
use crate::world::Commands;

/// What a resume needs beside the plan, kept in the journal's header.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Context {
    /// The inventory.
    pub(crate) inventory: PathBuf,
    /// More provider files.
    pub(crate) providers: Option<PathBuf>,
    /// Where the role's places begin.
    pub(crate) root: Option<PathBuf>,
    /// Provider files at other addresses.
    pub(crate) at: BTreeMap<String, ProviderAt>,
    /// The inventory's commands may be run.
    pub(crate) trusted: bool,
    /// What the inventory listed, for the next run to compare with.
    pub(crate) summary: Summary,
    /// Places that its commands read and write.
    #[serde(default)]
    pub(crate) commands: BTreeMap<String, StoreCommand>,
    /// Variables that its commands do not inherit.
    #[serde(default)]
    pub(crate) variables: BTreeSet<String>,
    /// Why a contained role may run again.
    pub(crate) because: Option<String>,
}

/// A plan, and all that is needed to carry it out.
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) context: Context,
    pub(crate) history: History,
    /// What no entry names, where somebody looked before the run.
    pub(crate) looked: Vec<Looked>,
    /// Said before anything is touched.
    pub(crate) warnings: Vec<String>,
}

/// Reads the inventory and makes the plan. Nothing is touched.
pub(crate) async fn prepare(
    session: &Session,
    intent: &Intent,
    state: &State,
    strict: bool,
) -> Result<Prepared, Failure> {
    let path = session.inventory()?.to_path_buf();
    let text = read_inventory(&path)?;
    let mut inventory = Inventory::parse(&text).map_err(|problems| {
        Failure::input(inventory::render(&problems.0, &shown(&path), &text, false))
            .hint("mend the file; nothing was touched")
    })?;
    let trusted = judge(&path, &text, &mut inventory);
    // Planned for, and asked only by the run itself.
    let person = session.manner.person(&Watch::new(&Look::of_stderr()), None);
    let resolved = resolve(session.providers.as_deref(), &inventory.providers, person)?;
    let variables = inventory.variables();
    let places = Places::of(&intent.root, &inventory.commands, &variables, &resolved);
    let stores = places.stores(&text);
    stores.name_missing(&mut inventory);
    resolved.check(&mut inventory, &text);
    let warnings = tell_problems(&inventory, intent, &path, &text, strict)?;
    let named = &intent.roles;
    let intent = &with_all_roles(&inventory, intent, resolved.catalog())?;
    // Vars may be references; they are public, and a plan holds them as values.
    stores.read_vars(&mut inventory).await;

    let (looked, taken) =
        unlisted::before(&mut inventory, intent, strict, &places, &resolved, state).await;
    let hosts = |id: &str| {
        let known = resolved.capabilities.providers.get(id);
        known.map(|provider| provider.hosts.clone()).unwrap_or_default()
    };
    let summary = Summary::new(&inventory, intent.roles.iter().map(String::as_str), hosts);
    let history = History::of(state, intent.mode, &intent.roles);
    if intent.mode == Mode::Restore {
        refuse_unrestorable(state, &history, &intent.roles)?;
    }
    let before = listed_before(&history);
    let changed = before.map(|before| inventory::changes(&before, &summary)).unwrap_or_default();
    let options = options(intent, state, &history, changed);
    let make = match intent.mode {
        Mode::Contain | Mode::RevokeOnly => Plan::contain,
        Mode::Rehearse => Plan::rehearse,
        Mode::Restore | Mode::Verify => Plan::restore,
    };
    let mut plan = make(&inventory, &resolved.capabilities, named, &options)
        .map_err(|error| no_plan_with(&error, &history, resolved.catalog()))?;
    unlisted::without_successors(&mut plan, taken);
    history.taken_into(&mut plan);
    if intent.mode == Mode::Rehearse {
        refuse_unwritable(&plan, &stores).await?;
    }
    let context = Context {
        inventory: path,
        providers: session.providers.clone(),
        root: intent.root.clone(),
        at: inventory.providers.clone(),
        trusted,
        summary,
        commands: inventory.commands,
        variables,
        because: intent.because.clone(),
    };
    Ok(Prepared { plan, context, history, looked, warnings })
}

/// What is held is told by a run that is over; and what was read from the disk of another host is
/// in no place of this one.
fn refuse_unrestorable(state: &State, history: &History, roles: &[String]) -> Result<(), Failure> {
    for role in roles {
        let last = state.latest(role, &["contain", "revoke-only", "restore"]);
        if let Ok(Some(last)) = last {
            locking::refuse_open(state, &last.run)?;
        }
    }
    for (role, details) in &history.details {
        let context: Context = serde_json::from_value(details.clone()).unwrap_or_default();
        let Some(root) = context.root else { continue };
        let root = root.display();
        return Err(Failure::input(format!(
            "{role} was contained under --root {root}; its places are not on this host"
        ))
        .hint(format!(
            "put the new ones in place by hand: rotate escrow open RUN CREDENTIAL; or contain it \
             anew where its places are, and restore it there: rotate --role {role}"
        )));
    }
    Ok(())
}

/// What the inventory listed for each role at its own last run; none if no role had one.
fn listed_before(history: &History) -> Option<Summary> {
    let mut all: Option<Summary> = None;
    for (role, details) in &history.details {
        let context: Context = serde_json::from_value(details.clone()).unwrap_or_default();
        let (mut before, all) = (context.summary, all.get_or_insert_default());
        all.roles.extend(before.roles.remove_entry(role));
        for (provider, hosts) in before.hosts {
            all.hosts.entry(provider).or_default().extend(hosts);
        }
    }
    all
}

/// The same intent, of every role that it comes to.
fn with_all_roles(
    inventory: &Inventory,
    intent: &Intent,
    catalog: &Catalog,
) -> Result<Intent, Failure> {
    let options = Options {
        through: intent.through.clone(),
        with_delegates: intent.with_delegates,
        ..Options::default()
    };
    let roles = Plan::roles_of(inventory, &intent.roles, &options);
    Ok(Intent { roles: roles.map_err(|error| no_plan(&error, catalog))?, ..intent.clone() })
}

fn read_inventory(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::input(format!("the inventory {} cannot be read: {error}", path.display()))
            .hint("name one that can be: --inventory FILE")
    })?;
    inventory::decode(bytes).map_err(|it| {
        Failure::input(inventory::render(&[it.problem], &shown(path), &it.before, false))
            .hint("mend the file; nothing was touched")
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// An inventory that others may write is still a list of what to revoke; its commands are not run.
fn judge(path: &Path, text: &str, inventory: &mut Inventory) -> bool {
    let homes: Vec<PathBuf> = inventory
        .roles
        .values()
        .filter_map(|role| role.platform.as_ref()?.home.as_ref())
        .map(PathBuf::from)
        .collect();
    let homes: Vec<&Path> = homes.iter().map(PathBuf::as_path).collect();
    match trust::of(path, &homes) {
        Trust::Refused(distrusts) => {
            for distrust in &distrusts {
                terminal::say(&format!("warning: {distrust}\nhint: {}", distrust.hint()));
            }
            inventory.withhold_code(text, "others may change the inventory");
            false
        }
        _ => true,
    }
}

/// Every provider at its address, with its native drivers. Without a person, nobody is asked for
/// new grants.
pub(crate) fn resolve(
    folder: Option<&Path>,
    at: &BTreeMap<String, ProviderAt>,
    person: Option<Arc<dyn Consent>>,
) -> Result<Resolved, Failure> {
    let (catalog, clients) = catalog(folder, person)?;
    Ok(catalog.resolve(at, &clients, drive::clock()))
}

/// Every provider file, with the native drivers.
pub(crate) fn catalog(
    folder: Option<&Path>,
    person: Option<Arc<dyn Consent>>,
) -> Result<(Catalog, SharedClients), Failure> {
    let broken =
        |errors: Vec<_>| Failure::own(format!("{} built-in provider errors", errors.len()));
    let mut catalog = Catalog::builtin().map_err(broken)?;
    let clients = Clients::new().map_err(|error| Failure::own(error.to_string()))?;
    let clients = Arc::new(clients);
    catalog = catalog.with_native_drivers(&clients, &drive::clock());
    catalog = catalog.with_driver("oauth", Arc::new(Oauth::new(Arc::clone(&clients), person)));
    if let Some(folder) = folder {
        if let Trust::Refused(distrusts) = trust::of_folder(folder, &[]) {
            let all: Vec<String> = distrusts.iter().map(ToString::to_string).collect();
            let hint = distrusts.first().map(trust::Distrust::hint).unwrap_or_default();
            return Err(Failure::input(all.join("; ")).hint(hint));
        }
        catalog.add_folder(folder).map_err(|error| bad_folder(&error))?;
    }
    Ok((catalog, clients))
}

fn bad_folder(error: &FolderError) -> Failure {
    match error {
        FolderError::Wrong(errors) => {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::input(all.join("\n")).hint("mend the file; nothing was touched")
        }
        FolderError::Unreadable { .. } => {
            Failure::input(error.to_string()).hint("name a folder that can be read")
        }
    }
}

/// Problems end a rehearsal or a dry run. A contain goes on with what can be used.
fn tell_problems(
    inventory: &Inventory,
    intent: &Intent,
    path: &Path,
    text: &str,
    strict: bool,
) -> Result<Vec<String>, Failure> {
    if inventory.problems.is_empty() {
        return Ok(Vec::new());
    }
    let rendered = inventory::render(&inventory.problems, &shown(path), text, false);
    if strict || intent.mode == Mode::Rehearse {
        return Err(Failure::input(rendered).hint("mend the inventory; nothing was touched"));
    }
    Ok(inventory.problems.iter().map(|one| format!("inventory line {}: {one}", one.line)).collect())
}

/// A rehearsal touches nothing before every place has said that it would take a new value.
async fn refuse_unwritable(plan: &Plan, stores: &Stores) -> Result<(), Failure> {
    let mut refused = Vec::new();
    for planned in &plan.credentials {
        let places = planned.deliver_to.iter().flat_map(BTreeMap::values);
        if let Err((to, why)) = stores.writable(places).await {
            refused.push(format!("{}: {to}: {}", planned.id, in_words(&why)));
        }
    }
    match refused.as_slice() {
        [] => Ok(()),
        _ => Err(Failure::input(refused.join("\nerror: "))
            .hint("make each place one that can be written; nothing was touched")),
    }
}

/// What the stores of a run are made of.
pub(crate) struct Places {
    /// Where the role's places begin.
    pub(crate) root: Option<PathBuf>,
    /// Places that commands of a trusted inventory read and write.
    commands: BTreeMap<String, StoreCommand>,
    /// What those commands inherit.
    environment: Environment,
    /// Finds the values that `line:` means.
    shapes: Shapes,
}

impl Places {
    /// `variables` are those that no command inherits.
    fn of(
        root: &Option<PathBuf>,
        commands: &BTreeMap<String, StoreCommand>,
        variables: &BTreeSet<String>,
        resolved: &Resolved,
    ) -> Self {
        Self {
            root: root.clone(),
            commands: commands.clone(),
            environment: Environment::without(variables.iter().cloned()),
            shapes: Arc::new(resolved.shapes()),
        }
    }

    /// The stores; `text` is the inventory's.
    pub(crate) fn stores(&self, text: &Zeroizing<String>) -> Stores {
        let commands = |commands| Arc::new(CommandStore::new(commands, self.environment.clone()));
        let stores = Stores::new(self.root.clone(), Arc::clone(&self.shapes))
            .with("inventory", Arc::new(InventoryStore::new(text.clone())));
        match &self.root {
            None => stores.with("cmd", commands(self.commands.clone())),
            // On another host than the agent's, its commands would reach the wrong places.
            Some(_) => stores
                .with("cmd", commands(BTreeMap::new()))
                .with_here("cmd", commands(self.commands.clone())),
        }
    }
}

fn options(intent: &Intent, state: &State, history: &History, changed: Vec<String>) -> Options {
    Options {
        run: intent.run.clone().unwrap_or_else(journal::run_id),
        installation: state.installation(),
        case: intent.case.clone(),
        session: intent.session.clone(),
        since: intent.since.map(|stamp| stamp.0),
        wait_ms: intent.wait.map(when::milliseconds),
        revoke_only: intent.mode == Mode::RevokeOnly,
        deliver: intent.deliver,
        only: intent.only.iter().map(only).collect(),
        max_blast: intent.max_blast,
        through: intent.through.clone(),
        with_delegates: intent.with_delegates,
        revoke_strangers: intent.revoke_strangers,
        changed,
        contained: history.contained.clone(),
        issued_before: history.issued.clone(),
        earlier: history.facts.clone(),
    }
}

fn only(only: &Only) -> String {
    match &only.name {
        Some(name) => format!("{}/{name}", only.provider),
        None => only.provider.clone(),
    }
}

fn no_plan(error: &PlanError, catalog: &Catalog) -> Failure {
    let failure = Failure::input(veiled(&error.to_string(), catalog));
    match error {
        PlanError::UnknownRole { .. } => {
            failure.hint("write the role as the inventory does: [role.NAME]")
        }
        PlanError::NothingThrough { .. } => {
            failure.hint("write it as the inventory marks it: through = [\"mcp:notion\"]")
        }
        PlanError::NothingLeft { .. } => failure.hint("look at what there is: --dry-run"),
        PlanError::NotRehearsable { hint, .. } => failure.hint(hint.clone()),
        PlanError::NothingHeld { .. } => failure.hint("contain it first: rotate --role ROLE"),
    }
}

/// Where a run cannot be read, nobody knows what it holds.
fn no_plan_with(error: &PlanError, history: &History, catalog: &Catalog) -> Failure {
    match (error, history.unread.first_key_value()) {
        (PlanError::NothingHeld { role }, Some((run, why))) => {
            Failure::own(format!("what is held for {role} cannot be told: {why}"))
                .hint(format!("look at what it reported, then contain anew: rotate report {run}"))
        }
        _ => no_plan(error, catalog),
    }
}

impl Context {
    /// What the stores of its run are made of.
    pub(crate) fn places(&self, resolved: &Resolved) -> Places {
        Places::of(&self.root, &self.commands, &self.variables, resolved)
    }

    /// Whether the inventory's commands are run.
    pub(crate) fn commands(&self) -> Commands {
        match (&self.root, self.trusted) {
            (Some(_), _) => Commands::Elsewhere,
            (None, true) => Commands::Allowed(Environment::without(self.variables.iter().cloned())),
            (None, false) => Commands::Untrusted,
        }
    }
}
