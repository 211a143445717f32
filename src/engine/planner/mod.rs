//! Inventory and capabilities to a plan. Pure, and the same answer for the same input.

mod entries;
mod facts;
mod groups;
mod phases;
mod rehearsal;
mod roles;

use std::collections::{BTreeMap, BTreeSet};

use super::call::{RoleIndex, Subject, Values, Verb};
use super::capability::{Capabilities, KindCapability, ProviderCapability};
use super::plan::{
    Acting, Earlier, Options, Phase, Plan, PlanError, Planned, PlannedActor, PlannedInventory,
    PlannedKind, PlannedRole,
};
use super::report::{Mode, Origin};
use super::search::Search;
use crate::inventory::{Credential, Inventory, Reload, Role, VarValue};
use entries::Entry;
use phases::phases;

impl Plan {
    /// Names of the roles that a run would be of: those named, those that something of
    /// `options.through` passed through and, with `options.with_delegates`, those they delegated
    /// to, directly or by way of others.
    ///
    /// # Errors
    /// [`PlanError::UnknownRole`], [`PlanError::NothingThrough`].
    pub fn roles_of(
        inventory: &Inventory,
        named: &[String],
        options: &Options,
    ) -> Result<Vec<String>, PlanError> {
        let chosen = roles::chosen(inventory, named, options)?;
        Ok(chosen.into_iter().map(|one| one.role.name.clone()).collect())
    }

    /// Kill first, then issue; the new ones are held unless `deliver` says otherwise.
    ///
    /// # Errors
    /// [`PlanError::UnknownRole`], [`PlanError::NothingThrough`], [`PlanError::NothingLeft`].
    pub fn contain(
        inventory: &Inventory,
        capabilities: &Capabilities,
        roles: &[String],
        options: &Options,
    ) -> Result<Self, PlanError> {
        let mode = if options.revoke_only { Mode::RevokeOnly } else { Mode::Contain };
        let mut plan = Planner::new(mode, inventory, capabilities, roles, options)?.plan()?;
        if !options.deliver {
            plan.withhold_from_contained();
        }
        Ok(plan)
    }

    /// Never an instant without a working credential.
    ///
    /// # Errors
    /// As [`Plan::contain`], and [`PlanError::NotRehearsable`].
    pub fn rehearse(
        inventory: &Inventory,
        capabilities: &Capabilities,
        roles: &[String],
        options: &Options,
    ) -> Result<Self, PlanError> {
        let plan = Planner::new(Mode::Rehearse, inventory, capabilities, roles, options)?.plan()?;
        plan.refuse_unsafe_rehearsal(inventory, options)?;
        Ok(plan)
    }

    /// Delivers what an earlier contain held; `options.earlier` says what that is.
    ///
    /// # Errors
    /// As [`Plan::contain`], and [`PlanError::NothingHeld`].
    pub fn restore(
        inventory: &Inventory,
        capabilities: &Capabilities,
        roles: &[String],
        options: &Options,
    ) -> Result<Self, PlanError> {
        let plan = Planner::new(Mode::Restore, inventory, capabilities, roles, options)?.plan()?;
        if plan.credentials.is_empty() {
            return Err(PlanError::NothingHeld { role: roles.join(", ") });
        }
        Ok(plan)
    }

    /// Proves what `earlier` could not, with what it knew.
    pub fn verify(earlier: &Self, facts: &BTreeMap<String, Earlier>, options: &Options) -> Self {
        let mut plan = earlier.clone();
        plan.mode = Mode::Verify;
        // A verify of a verify looks at what the run beneath it left.
        plan.of = earlier
            .of
            .clone()
            .filter(|_| earlier.mode == Mode::Verify)
            .or_else(|| Some(Origin { run: earlier.run.clone(), mode: earlier.mode }));
        plan.run.clone_from(&options.run);
        plan.label = format!("rotate-{}-{}", options.installation, options.run);
        plan.wait_ms = options.wait_ms;
        plan.elsewhere.clear();
        for role in &mut plan.roles {
            role.stop = None;
            role.evidence.clear();
        }
        for planned in &mut plan.credentials {
            planned.earlier = facts.get(&planned.id).cloned();
            let open = planned
                .earlier
                .as_ref()
                .and_then(|earlier| earlier.old.as_ref())
                .is_some_and(|old| !old.secrets.is_empty());
            let learns = plan
                .kinds
                .get(planned.kind as usize)
                .is_some_and(|kind| !kind.can.ways(Verb::Learn).is_empty());
            planned.phases = match (open, learns) {
                (false, _) => Vec::new(),
                (true, false) => vec![Phase::ProveNew, Phase::ProveOld],
                (true, true) => vec![Phase::Baseline, Phase::ProveNew, Phase::ProveOld],
            };
            planned.serves.clear();
            planned.leader = None;
            // Nothing is written, and what lies in its places is said to.
            planned.deliver = planned.earlier.as_ref().is_some_and(|earlier| earlier.delivered);
        }
        plan
    }
}

struct Planner<'a> {
    mode: Mode,
    inventory: &'a Inventory,
    capabilities: &'a Capabilities,
    options: &'a Options,
    /// Every credential of every role, by `ROLE/NAME`.
    by_id: BTreeMap<String, (&'a Role, &'a Credential)>,
    roles: Vec<&'a Role>,
    /// Why each is of the run; none where it was named.
    because: Vec<Option<String>>,
    role_numbers: BTreeMap<&'a str, RoleIndex>,
    kinds: Vec<PlannedKind>,
    kind_numbers: BTreeMap<(String, String), u32>,
    actors: Vec<PlannedActor>,
    actor_numbers: BTreeMap<String, u32>,
}

impl<'a> Planner<'a> {
    fn new(
        mode: Mode,
        inventory: &'a Inventory,
        capabilities: &'a Capabilities,
        roles: &[String],
        options: &'a Options,
    ) -> Result<Self, PlanError> {
        let found = roles::chosen(inventory, roles, options)?;
        let all = inventory.roles.values().flat_map(|role| {
            let id = move |one: &Credential| format!("{}/{}", role.name, one.name);
            role.credentials.iter().map(move |one| (id(one), (role, one)))
        });
        let numbers = (0..).map(RoleIndex);
        Ok(Self {
            by_id: all.collect(),
            mode,
            inventory,
            capabilities,
            options,
            role_numbers: found.iter().map(|one| one.role.name.as_str()).zip(numbers).collect(),
            because: found.iter().map(|one| one.because.clone()).collect(),
            roles: found.iter().map(|one| one.role).collect(),
            kinds: Vec::new(),
            kind_numbers: BTreeMap::new(),
            actors: Vec::new(),
            actor_numbers: BTreeMap::new(),
        })
    }

    fn plan(mut self) -> Result<Plan, PlanError> {
        let (entries, left_out) = self.entries();
        if !self.options.only.is_empty() && entries.is_empty() && left_out.is_empty() {
            let only = self.options.only.join(", ");
            let roles = self.roles.iter().map(|role| role.name.as_str());
            let roles = roles.collect::<Vec<_>>().join(", ");
            return Err(PlanError::NothingLeft { roles, only });
        }
        let subjects: BTreeMap<String, Subject> = (0..)
            .zip(&entries)
            .map(|(number, entry)| (entry.id.clone(), Subject(number)))
            .collect();
        let mut credentials = Vec::with_capacity(entries.len());
        for entry in &entries {
            if let Some(planned) = self.planned(entry, &subjects) {
                credentials.push(planned);
            }
        }
        if self.mode != Mode::Restore {
            self.group(&entries, &mut credentials);
            self.order_admins(&mut credentials);
        }
        let planned_roles = self.planned_roles();
        let mut upstream: Vec<String> =
            planned_roles.iter().flat_map(|role| role.upstream.clone()).collect();
        upstream.sort();
        upstream.dedup();
        let mut plan = Plan {
            mode: self.mode,
            run: self.options.run.clone(),
            label: format!("rotate-{}-{}", self.options.installation, self.options.run),
            of: None,
            case: self.options.case.clone(),
            session: self.options.session.clone(),
            since: self.options.since,
            wait_ms: self.options.wait_ms,
            inventory: PlannedInventory {
                sha256: self.inventory.sha256.clone(),
                changed: self.options.changed.clone(),
            },
            roles: planned_roles,
            upstream,
            downstream: roles::downstream(self.inventory, &self.roles),
            elsewhere: Vec::new(),
            revoke_strangers: self.options.revoke_strangers,
            hosts: self.hosts(),
            providers: self.providers(),
            known_handles: self.known_handles(),
            named_elsewhere: Vec::new(),
            warnings: self.warnings(&credentials),
            kinds: self.kinds,
            actors: self.actors,
            credentials,
            left_out,
        };
        plan.named_elsewhere = facts::named_elsewhere(self.inventory, &plan);
        Ok(plan)
    }

    fn planned_roles(&self) -> Vec<PlannedRole> {
        let of_run: BTreeSet<&str> = self.roles.iter().map(|role| role.name.as_str()).collect();
        let contains = self.mode.contains();
        let both = self.roles.iter().zip(&self.because);
        both.map(|(role, because)| PlannedRole {
            name: role.name.clone(),
            because: because.clone(),
            owner: role.owner.clone(),
            authorized_by: role.authorized_by.clone(),
            vendor: role.vendor.clone(),
            stop: role.stop.clone().filter(|_| contains),
            evidence: if contains { role.evidence.clone() } else { Vec::new() },
            search: contains.then(|| Search::of(self.inventory, role)),
            upstream: roles::upstream(self.inventory, role, &of_run),
        })
        .collect()
    }

    fn capability(&self, of: &Credential) -> Option<(&'a ProviderCapability, &'a KindCapability)> {
        let provider = self.capabilities.providers.get(&of.provider)?;
        Some((provider, provider.kinds.get(of.kind.as_deref()?)?))
    }

    fn kind(&mut self, of: &Credential) -> Option<u32> {
        let (provider, can) = self.capability(of)?;
        let name = of.kind.clone()?;
        let next = u32::try_from(self.kinds.len()).ok()?;
        let number = *self.kind_numbers.entry((of.provider.clone(), name.clone())).or_insert(next);
        if number == next {
            self.kinds.push(PlannedKind {
                provider: of.provider.clone(),
                kind: name,
                can: can.clone(),
                limits: provider.limits.clone(),
            });
        }
        Some(number)
    }

    fn actor(&mut self, name: &str, subjects: &BTreeMap<String, Subject>) -> Option<Acting> {
        if let Some(subject) = subjects.get(name) {
            return Some(Acting::Planned(*subject));
        }
        if let Some(number) = self.actor_numbers.get(name) {
            return Some(Acting::Fixed(*number));
        }
        let inventory = self.inventory;
        let credential = match inventory.admins.get(name) {
            Some(admin) => admin,
            None => self.by_id.get(name)?.1,
        };
        let number = u32::try_from(self.actors.len()).ok()?;
        let actor = PlannedActor {
            id: if name.contains('/') { name.to_owned() } else { format!("admin.{name}") },
            kind: self.kind(credential)?,
            vars: self.vars(credential),
            places: credential.secret.clone(),
            handle: credential.handle.clone(),
        };
        self.actors.push(actor);
        self.actor_numbers.insert(name.to_owned(), number);
        Some(Acting::Fixed(number))
    }

    fn vars(&self, credential: &Credential) -> Values {
        let mut vars = Values::new();
        if let Some((provider, _)) = self.capability(credential) {
            for (name, var) in &provider.vars {
                if let Some(default) = &var.default {
                    vars.insert(name.clone(), default.clone());
                }
            }
        }
        for (name, value) in &credential.vars {
            if let VarValue::Literal(value) = value {
                vars.insert(name.clone(), value.clone());
            }
        }
        vars
    }

    fn planned(
        &mut self,
        entry: &Entry<'_>,
        subjects: &BTreeMap<String, Subject>,
    ) -> Option<Planned> {
        let Entry { id, owner, credential } = entry;
        let kind = self.kind(credential)?;
        let can = self.capability(credential)?.1;
        let mut admins = BTreeMap::new();
        for (name, admin) in &credential.admin {
            if let Some(acting) = self.actor(admin, subjects) {
                admins.insert(name.clone(), acting);
            }
        }
        let client = credential.client.as_deref().and_then(|name| self.actor(name, subjects));
        let control = credential.control.as_deref().and_then(|name| self.actor(name, subjects));
        let of_run = self.role_numbers.get(owner.name.as_str()).copied();
        let earlier = self.options.earlier.get(id).cloned();
        let mut deliver_to = Vec::with_capacity(1 + credential.deliver.len());
        if !credential.secret.is_empty() {
            deliver_to.push(credential.secret.clone());
        }
        deliver_to.extend(credential.deliver.iter().cloned());
        let reload = match &credential.reload {
            Reload::Command(argv) => argv.clone(),
            Reload::Unsaid | Reload::ReadOnUse => Vec::new(),
        };
        Some(Planned {
            lost_before: Vec::new(),
            id: id.clone(),
            role: of_run,
            kind,
            vars: self.vars(credential),
            handle: credential.handle.clone(),
            places: credential.secret.clone(),
            deliver_to,
            withheld: Vec::new(),
            reload,
            read_on_use: credential.reload == Reload::ReadOnUse,
            scopes: credential.scopes.clone(),
            ttl_ms: credential.ttl_ms,
            admins,
            client,
            control,
            phases: phases(self.mode, can, earlier.as_ref()),
            leader: None,
            serves: Vec::new(),
            deliver: self.delivers(owner, of_run.is_some()),
            ways_left_out: self.too_wide(can),
            collateral: Vec::new(),
            segment: credential.segment.clone().unwrap_or_else(|| "local".to_owned()),
            left_of: None,
            earlier,
        })
    }

    /// Never to a role outside the run that is out of service; in contain, to the run's own roles
    /// only where the responder says so.
    fn delivers(&self, owner: &Role, of_run: bool) -> bool {
        let out_of_service = owner.contained.is_some()
            || owner.disabled.is_some()
            || self.options.contained.contains(&owner.name);
        match self.mode {
            Mode::Contain if of_run => self.options.deliver,
            Mode::Restore | Mode::Rehearse if of_run => true,
            Mode::Contain | Mode::Restore | Mode::Rehearse => !out_of_service,
            Mode::RevokeOnly | Mode::Verify => false,
        }
    }
}
