//! The straight line, as a program of somebody else goes along it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rotate::child::Environment;
use rotate::drive::{Driven, Nobody, Observer, clock, drive, resume, wall};
use rotate::engine::call::Told;
use rotate::engine::plan::Plan;
use rotate::engine::run::Run;
use rotate::inventory::Inventory;
use rotate::journal::{Header, Journal, State};
use rotate::provider::Clients;
use rotate::provider::catalog::{Catalog, Resolved};
use rotate::store::Stores;
use rotate::world::{Commands, LiveWorld};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::issuer::Issuer;

pub(crate) const ROLE: &str = "mail-agent";

/// What a program brings to the line.
pub(crate) struct Line {
    folder: TempDir,
    pub(crate) catalog: Catalog,
    pub(crate) clients: Arc<Clients>,
    pub(crate) text: String,
    own_stores: Vec<(&'static str, Arc<dyn rotate::store::SecretStore>)>,
}

impl Line {
    /// A role without credentials, and a folder of its own.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            catalog: Catalog::builtin().unwrap(),
            clients: Arc::new(Clients::new().unwrap()),
            text: format!("[role.{ROLE}]\n"),
            own_stores: Vec::new(),
        }
    }

    /// So many keys of an Acme server.
    pub(crate) fn with_keys(issuer: &Issuer, base: &str, count: u32) -> Self {
        let mut line = Self::new();
        for number in 0..count {
            let place = line.put(&format!("{number}.key"), &issuer.key(number));
            line.text += &credential(&format!("k{number}"), &place);
        }
        line.text += &acme(base, &line.put("admin.key", issuer.admin()));
        line
    }

    /// Writes a file; its reference.
    pub(crate) fn put(&self, name: &str, text: &str) -> String {
        let path = self.folder().join(name);
        std::fs::write(&path, text).unwrap();
        format!("file:{}", path.display())
    }

    pub(crate) fn with_store(
        mut self,
        scheme: &'static str,
        store: Arc<dyn rotate::store::SecretStore>,
    ) -> Self {
        self.own_stores.push((scheme, store));
        self
    }

    pub(crate) fn state(&self) -> State {
        State::open(&self.folder().join("state")).unwrap()
    }

    /// Plans a contain, begins its journal, and carries it through.
    pub(crate) async fn contain(&self, observer: impl Observer) -> Driven {
        let (state, roles) = (self.state(), [ROLE.to_owned()]);
        let (inventory, providers, stores) = self.read().await;
        assert_eq!(inventory.problems, [], "{}", self.text);
        let options = state.options(&roles);
        let plan = Plan::contain(&inventory, &providers.capabilities, &roles, &options).unwrap();
        let header = Header::of(&plan, wall()).unwrap();
        let journal = Journal::create(&state, &header, &[]).unwrap();
        let world = LiveWorld::new(&plan, providers, stores, state.keys(), allowed());
        drive(plan, journal, &world, nobody_speaks(), observer).await.unwrap()
    }

    /// Takes up the last run where its journal ends.
    pub(crate) async fn resume(&self) -> Driven {
        let state = self.state();
        let last = state.runs().unwrap().remove(0);
        assert_eq!(last.closed, None);
        let (journal, header, events) = Journal::open(&state, &last.run).unwrap();
        let (_, providers, stores) = self.read().await;
        assert!(header.is_resumable_with(&providers.capabilities));
        let plan = header.plan().unwrap();
        let world = LiveWorld::new(&plan, providers, stores, state.keys(), allowed());
        let run = Run::new(plan);
        resume(run, events, journal, &world, nobody_speaks(), Nobody).await.unwrap()
    }

    async fn read(&self) -> (Inventory, Resolved, Stores) {
        let mut inventory = Inventory::parse(&self.text).unwrap();
        let catalog = self.catalog.clone().with_native_drivers(&self.clients, &clock());
        let providers = catalog.resolve(&inventory.providers, &self.clients, clock());
        providers.check(&mut inventory, &self.text);
        let mut stores = Stores::new(None, Arc::new(|_: &str| Vec::new()));
        for (scheme, store) in &self.own_stores {
            stores = stores.with(scheme, Arc::clone(store));
        }
        stores.read_vars(&mut inventory).await;
        (inventory, providers, stores)
    }

    fn folder(&self) -> PathBuf {
        // A link on the way to a place is refused, and some systems' temporary folder is one.
        Path::canonicalize(self.folder.path()).unwrap()
    }
}

/// An entry of the role.
pub(crate) fn credential(name: &str, place: &str) -> String {
    format!(
        "[[role.{ROLE}.credential]]\nname = \"{name}\"\nprovider = \"acme\"\nkind = \"api-key\"\n\
         secret = \"{place}\"\nreload = \"none\"\nadmin = \"acme-admin\"\n"
    )
}

/// The server and its admin. What is revoked there dies at once.
pub(crate) fn acme(base: &str, admin: &str) -> String {
    format!(
        "[admin.acme-admin]\nprovider = \"acme\"\nkind = \"admin-key\"\nsecret = \"{admin}\"\n\
         [provider.acme]\nbase = \"{base}\"\n\
         proof = {{ refusals = 2, hold = \"10ms\", give_up = \"4s\" }}\n"
    )
}

pub(crate) fn nobody_speaks() -> UnboundedReceiver<Told> {
    unbounded_channel().1
}

fn allowed() -> Commands {
    Commands::Allowed(Environment::default())
}
