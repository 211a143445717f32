//! Inventories to plans, for one made-up provider whose kinds show one peculiarity each.

use rotate::engine::capability::{Capabilities, KindCapability};
use rotate::engine::check::check;
use rotate::engine::plan::{Options, Plan, PlanError};
use rotate::inventory::Inventory;
use rotate::provider::catalog::Catalog;

/// The admin that every inventory of these tests has.
const ROOT: &str = "\n[admin.root]\nprovider = \"lab\"\nkind = \"root\"\nsecret = \"env:ROOT\"\n";

pub(crate) struct Bench {
    pub(crate) inventory: Inventory,
    pub(crate) capabilities: Capabilities,
    pub(crate) options: Options,
}

impl Bench {
    /// An inventory as it is written, and the admin `root`.
    pub(crate) fn of(text: &str) -> Self {
        let text = format!("{text}{ROOT}");
        let mut catalog = Catalog::builtin().unwrap();
        catalog.add(include_str!("lab.toml"), "lab.toml").unwrap();
        let mut inventory = Inventory::parse(&text).unwrap();
        let (capabilities, problems) = catalog.capabilities(&inventory.providers);
        assert_eq!(problems, []);
        check(&mut inventory, &capabilities, &text);
        let options =
            Options { run: "r1".to_owned(), installation: "lab".to_owned(), ..Options::default() };
        Self { inventory, capabilities, options }
    }

    /// A role `mail` with one credential of each of these kinds, named `a`, `b`, `c` and so on.
    pub(crate) fn with(kinds: &[&str]) -> Self {
        let mut text = String::from("[role.mail]\n");
        for (kind, name) in kinds.iter().zip('a'..) {
            text += &entry("mail", &name.to_string(), kind, "");
        }
        let bench = Self::of(&text);
        assert_eq!(bench.inventory.problems, []);
        bench
    }

    /// Changes what a kind of the lab can do.
    pub(crate) fn can(mut self, kind: &str, change: impl FnOnce(&mut KindCapability)) -> Self {
        let lab = self.capabilities.providers.get_mut("lab").unwrap();
        change(lab.kinds.get_mut(kind).unwrap());
        self
    }

    pub(crate) fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    pub(crate) fn contain(&self) -> Plan {
        Plan::contain(&self.inventory, &self.capabilities, &self.roles(), &self.options).unwrap()
    }

    pub(crate) fn contain_with(&self, deliver: bool) -> Plan {
        let options = Options { deliver, ..self.options.clone() };
        Plan::contain(&self.inventory, &self.capabilities, &self.roles(), &options).unwrap()
    }

    pub(crate) fn rehearse(&self) -> Result<Plan, PlanError> {
        Plan::rehearse(&self.inventory, &self.capabilities, &self.roles(), &self.options)
    }

    pub(crate) fn restore(&self) -> Result<Plan, PlanError> {
        Plan::restore(&self.inventory, &self.capabilities, &self.roles(), &self.options)
    }

    fn roles(&self) -> Vec<String> {
        vec!["mail".to_owned()]
    }
}

/// One credential as an inventory writes it; `more` are further lines.
pub(crate) fn entry(role: &str, name: &str, kind: &str, more: &str) -> String {
    let admin = match kind {
        "token" | "rolling" => "",
        _ if more.contains("admin =") => "",
        _ => "admin = \"root\"\n",
    };
    format!(
        "[[role.{role}.credential]]\nname = \"{name}\"\nprovider = \"lab\"\nkind = \"{kind}\"\n\
         secret = \"dotenv:/srv/{role}/.env#{}\"\nreload = \"none\"\n{admin}{more}\n",
        name.to_uppercase()
    )
}
