//! From a scenario to an inventory, and to the providers as they are.

use std::fmt::Write as _;
use std::sync::LazyLock;

use rotate::engine::call::At;
use rotate::engine::capability::{Capabilities, Rate, StepCapability};
use rotate::engine::check::check;
use rotate::engine::plan::{Options, Plan, PlanError};
use rotate::engine::report::Mode;
use rotate::inventory::Inventory;
use rotate::provider::catalog::Catalog;

use super::scenario::{Entry, Manners, Scenario};
use super::site::{By, Site};

pub(crate) const ROLE: &str = "mail";

/// The file that the contained role's places are in.
pub(crate) const ITS_FILE: &str = "/srv/mail/.env";

/// The lab's file at three addresses, and nothing else.
pub(crate) static CAPABILITIES: LazyLock<Capabilities> = LazyLock::new(|| {
    let mut catalog = Catalog::builtin().expect("the built-in files are right");
    catalog.add(include_str!("../../engine/lab.toml"), "lab.toml").expect("so is the lab's");
    let inventory = Inventory::parse(&providers()).expect("three addresses");
    let (mut capabilities, problems) = catalog.capabilities(&inventory.providers);
    assert!(problems.is_empty(), "{problems:?}");
    capabilities.providers.retain(|id, _| inventory.providers.contains_key(id));
    capabilities
});

fn providers() -> String {
    (0..3)
        .map(|n| format!("[provider.p{n}]\nfile = \"lab\"\nbase = \"https://p{n}.example/v1\"\n"))
        .collect()
}

/// Which of the sites a provider of the run is.
pub(crate) fn site_of(provider: &str) -> usize {
    provider.strip_prefix('p').and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

/// The step of a provider's file that a request is.
pub(crate) fn step(at: &At) -> Option<&'static StepCapability> {
    let kind = CAPABILITIES.providers.get(&at.provider)?.kinds.get(&at.kind)?;
    kind.verbs.get(&at.verb)?.get(usize::from(at.way))?.steps.get(usize::from(at.step))
}

pub(crate) struct Bench {
    pub(crate) inventory: Inventory,
    pub(crate) capabilities: Capabilities,
}

impl Bench {
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let text = inventory(scenario);
        let mut inventory = Inventory::parse(&text).expect("an inventory that is right");
        let mut capabilities = CAPABILITIES.clone();
        for (provider, manners) in capabilities.providers.values_mut().zip(&scenario.sites) {
            provider.limits.in_flight = manners.in_flight;
            provider.limits.revoke = manners.revokes.map(|count| Rate { count, per_ms: 2_000 });
        }
        check(&mut inventory, &capabilities, &text);
        assert!(inventory.problems.is_empty(), "{:?}\n{text}", inventory.problems);
        Self { inventory, capabilities }
    }

    pub(crate) fn plan(&self, mode: Mode, options: &Options) -> Result<Plan, PlanError> {
        let make = match mode {
            Mode::Rehearse => Plan::rehearse,
            Mode::Restore => Plan::restore,
            _ => Plan::contain,
        };
        make(&self.inventory, &self.capabilities, &[ROLE.to_owned()], options)
    }
}

fn inventory(scenario: &Scenario) -> String {
    let mut text = String::from("[role.mail]\nstop = [\"true\"]\n");
    let shared: Vec<String> = (0..)
        .zip(&scenario.credentials)
        .filter(|(_, entry)| entry.shared)
        .map(|(number, _)| format!("\"desk/{}\"", name(number)))
        .collect();
    if !shared.is_empty() {
        let _ = writeln!(text, "uses = [{}]", shared.join(", "));
    }
    if scenario.burned_admin {
        text += &entry("mail", "boss", "p0", "root", "admin = \"root0\"\n");
    }
    for (number, one) in scenario.credentials.iter().enumerate() {
        let role = if one.shared { "desk" } else { ROLE };
        let provider = format!("p{}", one.site);
        let by = if scenario.burned_admin && one.site == 0 && number % 2 == 0 && !one.shared {
            "mail/boss".to_owned()
        } else {
            format!("root{}", one.site)
        };
        let mut more = match one.kind {
            "token" | "rolling" => String::new(),
            _ => format!("admin = \"{by}\"\n"),
        };
        if let Some(team) = team(one) {
            let _ = writeln!(more, "vars = {{ team = \"{team}\" }}");
        }
        if one.shared {
            // The contained role has a copy, which nobody may give the new one.
            let _ = writeln!(more, "deliver = [\"dotenv:{ITS_FILE}#{}\"]", name(number));
        }
        text += &entry(role, &name(number), &provider, one.kind, &more);
    }
    for site in 0..scenario.sites.len() {
        let _ = writeln!(
            text,
            "[admin.root{site}]\nprovider = \"p{site}\"\nkind = \"root\"\nsecret = \"env:ROOT{site}\""
        );
    }
    text + &providers()
}

fn entry(role: &str, name: &str, provider: &str, kind: &str, more: &str) -> String {
    format!(
        "[[role.{role}.credential]]\nname = \"{name}\"\nprovider = \"{provider}\"\n\
         kind = \"{kind}\"\nsecret = \"dotenv:/srv/{role}/.env#{name}\"\nreload = \"none\"\n{more}\n"
    )
}

fn name(number: usize) -> String {
    format!("c{number}")
}

/// What dies together.
fn team(entry: &Entry) -> Option<String> {
    matches!(entry.kind, "team-key" | "grant").then(|| format!("{}s{}", entry.kind, entry.site))
}

/// The providers before anything happens, and what lies in each place.
pub(crate) fn sites(scenario: &Scenario) -> (Vec<Site>, Vec<(String, String)>) {
    let mut sites: Vec<Site> = scenario
        .sites
        .iter()
        .enumerate()
        .map(|(number, manners)| Site::new(number, manners.clone()))
        .collect();
    let mut places = Vec::new();
    let then = || (0, "2026-10-01T00:00:00Z".to_owned());
    let mut put = |site: &mut Site, at: &[String], kind: &str, owner: &str| {
        let secret = site.make(kind, owner, By::Before, None, then(), None).secret.clone();
        if matches!(kind, "parent" | "password") {
            site.sessions.insert(secret.clone());
        }
        places.extend(at.iter().map(|place| (place.clone(), secret.clone())));
    };
    for (number, site) in sites.iter_mut().enumerate() {
        put(site, &[format!("env:ROOT{number}")], "root", &format!("root{number}"));
    }
    if scenario.burned_admin {
        put(&mut sites[0], &[format!("dotenv:{ITS_FILE}#boss")], "root", "boss");
    }
    for (number, one) in scenario.credentials.iter().enumerate() {
        let role = if one.shared { "desk" } else { ROLE };
        let owner = team(one).unwrap_or_else(|| name(number));
        let mut at = vec![format!("dotenv:/srv/{role}/.env#{}", name(number))];
        if one.shared {
            at.push(format!("dotenv:{ITS_FILE}#{}", name(number)));
        }
        put(&mut sites[one.site], &at, one.kind, &owner);
    }
    (sites, places)
}

impl Manners {
    /// All faults stop; what this provider is stays.
    pub(crate) fn calm_down(&mut self) {
        *self = Self {
            lies: self.lies,
            blind: self.blind,
            reuses_handles: self.reuses_handles,
            lag: self.lag,
            flaps: self.flaps,
            in_flight: self.in_flight,
            revokes: self.revokes,
            ..Self::CALM
        };
    }
}
