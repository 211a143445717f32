//! The line under measurement, as a program of somebody else goes along it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rotate::child::Environment;
use rotate::drive::{Nobody, clock, drive, wall};
use rotate::engine::call::{PlaceState, Reason, Why};
use rotate::engine::plan::Plan;
use rotate::engine::report::Report;
use rotate::inventory::{Inventory, SecretRef};
use rotate::journal::{Header, Journal, State};
use rotate::provider::Clients;
use rotate::provider::catalog::Catalog;
use rotate::secret::Secret;
use rotate::store::{Edit, SecretStore, Stores};
use rotate::world::{Commands, LiveWorld};
use tokio::sync::mpsc::unbounded_channel;

pub(crate) const ADMIN: &str = "acmeadm_00000000000000000000000000000000";

/// The old key of that number.
pub(crate) fn old_key(number: usize) -> String {
    format!("acme_1{number:031}")
}

/// An inventory of so many keys, spread over these addresses. `place` says where each lies.
pub(crate) fn inventory(
    count: usize,
    bases: &[String],
    more: &str,
    place: impl Fn(usize) -> String,
) -> String {
    let mut text = String::from("[role.mail-agent]\nowner = \"support@example.com\"\n");
    for number in 0..count {
        let provider = number % bases.len();
        let _ = write!(
            text,
            "[[role.mail-agent.credential]]\nname = \"k{number}\"\nprovider = \"p{provider}\"\n\
             kind = \"api-key\"\nsecret = \"{}\"\nreload = \"none\"\nadmin = \"a{provider}\"\n",
            place(number)
        );
    }
    for (number, base) in bases.iter().enumerate() {
        let _ = write!(
            text,
            "[admin.a{number}]\nprovider = \"p{number}\"\nkind = \"admin-key\"\n\
             secret = \"x-bench:admin\"\n[provider.p{number}]\nfile = \"measured\"\n\
             base = \"{base}\"\n{more}"
        );
    }
    text
}

/// Goes along the whole line: text, plan, journal, run, report. The journal is a real one, in
/// `folder`; the second figure is how many writes it made durable.
pub(crate) async fn contain(text: &str, folder: &Path, clients: &Arc<Clients>) -> (Report, u64) {
    let mut catalog = Catalog::default();
    catalog.add(include_str!("measured.toml"), "measured.toml").expect("a provider file");
    let mut inventory = Inventory::parse(text).expect("an inventory");
    let providers = catalog.resolve(&inventory.providers, clients, clock());
    providers.check(&mut inventory, text);
    assert_eq!(inventory.problems, []);
    let stores = Stores::new(None, Arc::new(|_: &str| Vec::new()));
    let stores = stores.with("x-bench", Arc::new(Numbered));
    let state = State::open(folder).expect("a state directory");
    let roles = ["mail-agent".to_owned()];
    let options = state.options(&roles);
    let plan = Plan::contain(&inventory, &providers.capabilities, &roles, &options);
    let plan = plan.expect("a plan");
    drop(inventory);
    let header = Header::of(&plan, wall()).expect("a header");
    let journal = Journal::create(&state, &header, &[]).expect("a journal");
    drop(header);
    let world = LiveWorld::new(
        &plan,
        providers,
        stores,
        state.keys(),
        Commands::Allowed(Environment::default()),
    );
    let told = unbounded_channel().1;
    let driven = drive(plan, journal, &world, told, Nobody).await.expect("a run");
    let report = driven.close().expect("a report");
    (report, state.commits())
}

/// A store that knows the key of every number, and keeps nothing.
struct Numbered;

#[async_trait]
impl SecretStore for Numbered {
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why> {
        match from.path.parse() {
            Ok(number) => Ok(Secret::from(old_key(number))),
            Err(_) => Ok(Secret::from(ADMIN.to_owned())),
        }
    }

    async fn check(&self, _edits: &[Edit]) -> Result<(), Why> {
        Err(Reason::Unwritable.into())
    }

    async fn write(&self, _edits: Vec<Edit>) -> Result<PlaceState, Why> {
        Err(Reason::Unwritable.into())
    }
}
