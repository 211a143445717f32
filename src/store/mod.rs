//! Secret stores: where secrets live and new ones go.
//!
//! [`Stores`] knows one [`SecretStore`] per scheme. What lives in files (`file:`, `dotenv:`,
//! `json:`, `line:`) is one store, so that one file has one writer whatever the scheme.
//!
//! A [`Why`] of a store carries a closed word of its own next to the reason: `relative-path`,
//! `not-regular`, `too-large`, `no-such-key`, `permission-denied` and the like. Never a path,
//! never a value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;

use crate::engine::call::{Fault, PlaceState, Reason, Why};
use crate::inventory::{Inventory, Problem, SecretRef, VarValue};
use crate::secret::Secret;

mod atomic;
mod command;
mod content;
mod cookie;
mod dotenv;
mod env;
mod file;
mod given;
mod inventory;
mod json;
mod line;
mod part;
mod path;
mod scan;

pub use command::CommandStore;
#[cfg(any(test, fuzzing))]
pub(crate) use content::{edited, get};
#[cfg(any(test, fuzzing))]
pub(crate) use dotenv::keys;
pub use file::FileStore;
pub(crate) use given::GivenStore;
pub use inventory::InventoryStore;
pub use line::Shapes;
pub(crate) use scan::{Identify, Sought, scan};

/// One change: the place, what it may hold now, and what it shall hold.
pub struct Edit {
    /// The place.
    pub to: SecretRef,
    /// What it is known to hold; empty for nothing; none where nobody looked. A place that holds
    /// neither this nor the new one is left alone. An empty or absent place is always written.
    pub old: Option<Secret>,
    /// What it holds afterwards.
    pub new: Secret,
}

impl Edit {
    /// A second copy, made on purpose.
    pub fn duplicate(&self) -> Self {
        Self {
            to: self.to.clone(),
            old: self.old.as_ref().map(Secret::duplicate),
            new: self.new.duplicate(),
        }
    }

    /// The edit that takes this one back; none where nobody knows what was there.
    fn back(&self) -> Option<Self> {
        let old = self.old.as_ref().filter(|old| !old.is_empty())?;
        Some(Self { to: self.to.clone(), old: Some(self.new.duplicate()), new: old.duplicate() })
    }
}

/// A place that secrets are kept in, by scheme.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// Reads one value.
    ///
    /// # Errors
    /// [`Reason::Unreadable`]; [`Reason::Empty`] if there is nothing in it.
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why>;

    /// Whether [`SecretStore::write`] would take these edits now. Changes nothing.
    ///
    /// # Errors
    /// What `write` would say.
    async fn check(&self, edits: &[Edit]) -> Result<(), Why>;

    /// Writes all values of one place (one file, one entry) in one edit, atomically, all else kept
    /// byte for byte; reads them back and compares. All edits name the same place.
    ///
    /// # Errors
    /// [`Reason::PlaceChanged`] and nothing is written; [`Reason::Unwritable`];
    /// [`Reason::ReadOnly`] from a store that only reads.
    async fn write(&self, edits: Vec<Edit>) -> Result<PlaceState, Why>;

    /// Whether the store itself handles the part behind `::`, within its one edit. Where it does
    /// not, it never sees one: the registry reads the whole, changes the part and writes the whole.
    fn edits_parts(&self) -> bool {
        false
    }
}

/// The stores of one run, by scheme.
pub struct Stores {
    by_scheme: BTreeMap<String, Arc<dyn SecretStore>>,
    /// Those that read this very host where the others look at another one's disk.
    here: BTreeMap<String, Arc<dyn SecretStore>>,
}

impl Stores {
    /// `env:`, `file:`, `dotenv:`, `json:` and `line:`. With a root, paths begin there and nothing
    /// is written: it is the disk of a suspect host, looked at from a clean one. What stands under
    /// `[admin]` is the responder's own and is read without it. `shapes` finds the values that
    /// `line:` means.
    pub fn new(root: Option<PathBuf>, shapes: Shapes) -> Self {
        let rooted = root.is_some();
        let here: Arc<dyn SecretStore> = Arc::new(FileStore::new(None, Arc::clone(&shapes)));
        let file: Arc<dyn SecretStore> = Arc::new(FileStore::new(root, shapes));
        let mut stores = Self { by_scheme: BTreeMap::new(), here: BTreeMap::new() }
            .with("env", Arc::new(env::EnvStore));
        for scheme in ["file", "dotenv", "json", "line"] {
            stores = stores.with(scheme, Arc::clone(&file));
            if rooted {
                stores = stores.with_here(scheme, Arc::clone(&here));
            }
        }
        stores
    }

    /// Takes a store for a scheme, in place of what stood there.
    #[must_use]
    pub fn with(mut self, scheme: &str, store: Arc<dyn SecretStore>) -> Self {
        self.by_scheme.insert(scheme.to_owned(), store);
        self.here.remove(scheme);
        self
    }

    /// Takes a store for what `[admin]` names with a scheme.
    #[must_use]
    pub(crate) fn with_here(mut self, scheme: &str, store: Arc<dyn SecretStore>) -> Self {
        self.here.insert(scheme.to_owned(), store);
        self
    }

    /// Reads a value that the inventory calls public: a var.
    ///
    /// # Errors
    /// As [`Stores::read`]; [`Reason::Unreadable`] if it is no text.
    pub async fn read_public(&self, from: &SecretRef) -> Result<String, Why> {
        text(&self.read(from).await?)
    }

    /// Puts the values of vars that are references in their place: they are public, and a plan
    /// holds them as values. One that cannot be read stays as it is, and the plan says so.
    pub async fn read_vars(&self, inventory: &mut Inventory) {
        let roles = inventory.roles.values_mut().flat_map(|role| &mut role.credentials);
        let roles = roles.map(|credential| (false, credential));
        let admins = inventory.admins.values_mut().map(|credential| (true, credential));
        for (here, credential) in roles.chain(admins) {
            for value in credential.vars.values_mut() {
                let VarValue::Reference(reference) = value else { continue };
                let read = match here {
                    true => self.read_here(reference).await,
                    false => self.read(reference).await,
                };
                if let Ok(read) = read.and_then(|read| text(&read)) {
                    *value = VarValue::Literal(read.into());
                }
            }
        }
    }

    /// Adds a problem for each credential that names a place which no store here serves. It is
    /// told while somebody can still change it, and not when a run finds out.
    pub(crate) fn name_missing(&self, inventory: &mut Inventory) {
        let mut problems = Vec::new();
        for (role, credential) in inventory.credentials() {
            let secret = credential.secret.values().map(|place| ("secret", place));
            let deliver = credential.deliver.iter().flat_map(BTreeMap::values);
            let places = secret.chain(deliver.map(|place| ("deliver", place)));
            for (key, place) in places.filter(|(_, place)| self.store(place).is_err()) {
                let span = credential.spans.get(key).unwrap_or(&credential.span).clone();
                let message = format!("nothing here reads or writes `{}:`", place.scheme);
                let hint = "let a command reach it: [cmd.NAME], and cmd:NAME in its place";
                let problem = Problem::at(span, message).of(role, Some(&credential.name));
                problems.push(problem.hint(hint.to_owned()));
            }
        }
        inventory.problems.append(&mut problems);
    }

    /// Reads one value.
    ///
    /// # Errors
    /// [`Reason::Unsupported`] for an unknown scheme, else what the store says.
    pub async fn read(&self, from: &SecretRef) -> Result<Secret, Why> {
        self.read_from(self.store(from)?, from).await
    }

    /// Reads one value of the responder's own: on this host, whatever disk the others lie on.
    ///
    /// # Errors
    /// As [`Stores::read`].
    pub(crate) async fn read_here(&self, from: &SecretRef) -> Result<Secret, Why> {
        match self.here.get(&from.scheme) {
            Some(store) => self.read_from(store, from).await,
            None => self.read(from).await,
        }
    }

    async fn read_from(
        &self,
        store: &Arc<dyn SecretStore>,
        from: &SecretRef,
    ) -> Result<Secret, Why> {
        let value = match &from.part {
            Some(part) if !store.edits_parts() => {
                part::get(&store.read(&whole(from)).await?, part)?
                    .ok_or_else(|| because(Reason::Empty, "no-such-part"))?
            }
            _ => store.read(from).await?,
        };
        if value.is_empty() { Err(Reason::Empty.into()) } else { Ok(value) }
    }

    /// Whether new values could be written to these places now. Changes nothing.
    ///
    /// # Errors
    /// The first place that would not take one, and what its store says.
    pub async fn writable<'a>(
        &self,
        places: impl IntoIterator<Item = &'a SecretRef>,
    ) -> Result<(), (&'a SecretRef, Why)> {
        for to in places {
            let edit = Edit { to: to.clone(), old: None, new: Secret::from("new".to_owned()) };
            self.check(&[edit]).await.map_err(|why| (to, why))?;
        }
        Ok(())
    }

    /// Writes one credential as a whole or not at all: every place is checked before the first is
    /// written, all values of one place go in one edit, and if a later place fails all the same,
    /// those already written are given back what they held. A place that is only ever read is
    /// done where it holds the new value already. The states come in the order of the edits.
    ///
    /// # Errors
    /// [`Fault::Refused`] and nothing is changed; [`Fault::Unknown`] if something was written and
    /// could not be taken back.
    pub async fn deliver(&self, edits: Vec<Edit>) -> Result<Vec<PlaceState>, Fault> {
        let count = edits.len();
        let mut groups: BTreeMap<(usize, String), (Vec<usize>, Vec<Edit>)> = BTreeMap::new();
        for (index, edit) in edits.into_iter().enumerate() {
            let key = self.place(&edit.to).map_err(Fault::Refused)?;
            let group = groups.entry(key).or_default();
            group.0.push(index);
            group.1.push(edit);
        }
        let mut states = vec![PlaceState::ReadBack; count];
        let mut open = Vec::new();
        for (indices, edits) in groups.into_values() {
            match self.check(&edits).await {
                Ok(()) => open.push((indices, edits)),
                Err(why) if why.reason == Reason::ReadOnly && self.hold(&edits).await => {}
                Err(why) => return Err(Fault::Refused(why)),
            }
        }
        let mut back = Vec::new();
        for (indices, edits) in open {
            let undo: Option<Vec<Edit>> = edits.iter().map(Edit::back).collect();
            match self.write(edits).await {
                Ok(state) => {
                    for index in indices {
                        if let Some(slot) = states.get_mut(index) {
                            *slot = state;
                        }
                    }
                    back.push(undo);
                }
                Err(why) => return Err(self.take_back(back, why).await),
            }
        }
        Ok(states)
    }

    /// Writes sets of places, each as a whole or not at all ([`Stores::deliver`]), so that none is
    /// kept back by another. Sets that share a place go into one edit of it; where that cannot be
    /// done, each is written by itself. `limit` is for each; what takes longer is
    /// [`Fault::Unknown`]. The results come in the order of the sets.
    pub async fn deliver_each(
        &self,
        sets: Vec<Vec<Edit>>,
        limit: Duration,
    ) -> Vec<Result<Vec<PlaceState>, Fault>> {
        let mut units: Vec<Unit> = Vec::new();
        for (index, set) in sets.into_iter().enumerate() {
            let places = set.iter().filter_map(|edit| self.place(&edit.to).ok()).collect();
            let mut unit = Unit { places, sets: vec![(index, set)] };
            for other in std::mem::take(&mut units) {
                if unit.places.is_disjoint(&other.places) {
                    units.push(other);
                } else {
                    unit.places.extend(other.places);
                    unit.sets.extend(other.sets);
                }
            }
            units.push(unit);
        }
        let units = units.into_iter().map(|unit| self.deliver_unit(unit.sets, limit));
        let mut results: Vec<_> = join_all(units).await.into_iter().flatten().collect();
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Sets that share a place: together, else each by itself.
    async fn deliver_unit(
        &self,
        sets: Vec<(usize, Vec<Edit>)>,
        limit: Duration,
    ) -> Vec<(usize, Result<Vec<PlaceState>, Fault>)> {
        let in_time = async |edits| {
            let written = tokio::time::timeout(limit, self.deliver(edits)).await;
            written.unwrap_or_else(|_| Err(Fault::Unknown(Reason::Timeout.into())))
        };
        if sets.len() > 1 {
            let all = sets.iter().flat_map(|(_, edits)| edits).map(Edit::duplicate).collect();
            match in_time(all).await {
                Ok(states) => {
                    let mut states = states.into_iter();
                    let of = |(index, edits): (usize, Vec<Edit>)| {
                        (index, Ok(states.by_ref().take(edits.len()).collect()))
                    };
                    return sets.into_iter().map(of).collect();
                }
                Err(Fault::Refused(_)) => {}
                Err(fault) => {
                    return sets.iter().map(|(index, _)| (*index, Err(fault.clone()))).collect();
                }
            }
        }
        let mut results = Vec::with_capacity(sets.len());
        for (index, edits) in sets {
            results.push((index, in_time(edits).await));
        }
        results
    }

    async fn take_back(&self, back: Vec<Option<Vec<Edit>>>, why: Why) -> Fault {
        let mut whole = true;
        for edits in back {
            whole &= match edits {
                Some(edits) => self.write(edits).await.is_ok(),
                None => false,
            };
        }
        if whole { Fault::Refused(why) } else { Fault::Unknown(why) }
    }

    async fn check(&self, edits: &[Edit]) -> Result<(), Why> {
        let Some(first) = edits.first() else { return Ok(()) };
        let store = self.store(&first.to)?;
        if store.edits_parts() || edits.iter().all(|edit| edit.to.part.is_none()) {
            return store.check(edits).await;
        }
        let edits = part::fold(store.as_ref(), edits).await?;
        store.check(&edits).await
    }

    /// Whether every place holds its new value: where nothing can be written, a person puts it.
    async fn hold(&self, edits: &[Edit]) -> bool {
        for edit in edits {
            if !self.read(&edit.to).await.is_ok_and(|now| now.same(&edit.new)) {
                return false;
            }
        }
        true
    }

    async fn write(&self, edits: Vec<Edit>) -> Result<PlaceState, Why> {
        let Some(first) = edits.first() else { return Ok(PlaceState::ReadBack) };
        let store = self.store(&first.to)?;
        if store.edits_parts() || edits.iter().all(|edit| edit.to.part.is_none()) {
            return store.write(edits).await;
        }
        store.write(part::fold(store.as_ref(), &edits).await?).await
    }

    fn store(&self, of: &SecretRef) -> Result<&Arc<dyn SecretStore>, Why> {
        self.by_scheme.get(&of.scheme).ok_or_else(|| because(Reason::Unsupported, "no-such-store"))
    }

    /// Two references with the same place are written in one edit.
    fn place(&self, of: &SecretRef) -> Result<(usize, String), Why> {
        // The address of the store tells `json:` and `dotenv:` of one file as one place.
        let store = Arc::as_ptr(self.store(of)?).cast::<()>().addr();
        Ok((store, of.path.clone()))
    }
}

/// Sets of places that stand in the same files, and where each stands in the delivery.
struct Unit {
    places: BTreeSet<(usize, String)>,
    sets: Vec<(usize, Vec<Edit>)>,
}

/// A value that may be written down.
fn text(value: &Secret) -> Result<String, Why> {
    let text = std::str::from_utf8(value.expose()).map_err(|_| Reason::Unreadable)?;
    Ok(text.to_owned())
}

/// The reference without the part behind `::`.
fn whole(of: &SecretRef) -> SecretRef {
    SecretRef { part: None, ..of.clone() }
}

/// A reason, and the store's own word for it.
fn because(reason: Reason, word: &'static str) -> Why {
    Why { reason, status: None, word: Some(word.to_owned()) }
}

/// A reason, and the closed word for what the system said.
fn system(reason: Reason, error: &std::io::Error) -> Why {
    use std::io::ErrorKind;
    let word = match error.kind() {
        ErrorKind::NotFound => "not-found",
        ErrorKind::PermissionDenied => "permission-denied",
        ErrorKind::ReadOnlyFilesystem => "read-only-disk",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "disk-full",
        ErrorKind::NotADirectory => "not-a-folder",
        ErrorKind::ResourceBusy => "busy",
        _ => "io-error",
    };
    because(reason, word)
}
