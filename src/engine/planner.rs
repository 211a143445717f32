//! Inventory and capabilities to a plan. Pure, and the same answer for the same input.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{RoleIndex, Subject, Values, Verb};
use super::capability::{
    Capabilities, KindCapability, Order, Part, PartType, ProviderCapability, Radius,
};
use super::plan::{
    Acting, Earlier, LeftOut, Options, Phase, Plan, PlanError, Planned, PlannedActor, PlannedHost,
    PlannedInventory, PlannedKind, PlannedProvider, PlannedRole,
};
use super::report::Mode;
use crate::inventory::{Credential, Inventory, Reload, Role, VarValue};

/// Beyond this, a method of revocation is left out unless the responder says otherwise.
const MAX_BLAST: Radius = Radius::Project;

impl Plan {
    /// Kill first, then issue; the new ones are held unless `deliver` says otherwise.
    ///
    /// # Errors
    /// [`PlanError::UnknownRole`], [`PlanError::NothingLeft`].
    pub fn contain(
        inventory: &Inventory,
        capabilities: &Capabilities,
        roles: &[String],
        options: &Options,
    ) -> Result<Self, PlanError> {
        let mode = if options.revoke_only { Mode::RevokeOnly } else { Mode::Contain };
        Planner::new(mode, inventory, capabilities, roles, options)?.plan()
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
        plan.run.clone_from(&options.run);
        plan.label = format!("rotate-{}-{}", options.installation, options.run);
        plan.wait_ms = options.wait_ms;
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
            planned.phases = if open { vec![Phase::ProveNew, Phase::ProveOld] } else { Vec::new() };
            planned.leader = None;
            planned.deliver = false;
        }
        plan
    }

    fn refuse_unsafe_rehearsal(
        &self,
        inventory: &Inventory,
        options: &Options,
    ) -> Result<(), PlanError> {
        let refuse = |credential: &str, because: &str, hint: &str| {
            Err(PlanError::NotRehearsable {
                credential: credential.to_owned(),
                because: because.to_owned(),
                hint: hint.to_owned(),
            })
        };
        for role in &self.roles {
            let marked = inventory
                .roles
                .get(&role.name)
                .is_some_and(|role| role.contained.is_some() || role.disabled.is_some());
            if marked || options.contained.contains(&role.name) {
                let hint = "restore it first: rotate restore --role ROLE --because TEXT";
                return refuse(&role.name, "the role is contained or disabled", hint);
            }
        }
        for planned in &self.credentials {
            if planned.reload.is_empty() && !planned.read_on_use {
                let hint = "give reload = [\"command\", ...], or reload = \"none\" if it is read on \
                            each use";
                return refuse(&planned.id, "nothing says when its user reads it again", hint);
            }
            let kind = self.kind(planned.kind).map(|kind| &kind.can);
            let has = |verb| kind.is_some_and(|can| can.verbs.contains_key(&verb));
            if !has(Verb::Probe) || !(has(Verb::Issue) || has(Verb::Roll)) {
                let hint = "leave it out with --only, or rotate it by hand";
                return refuse(&planned.id, "its kind cannot be issued and proved here", hint);
            }
            if !planned.collateral.is_empty() {
                let because =
                    format!("its revocation also kills {}", planned.collateral.join(", "));
                return refuse(&planned.id, &because, "name those roles too, or use --only");
            }
        }
        Ok(())
    }
}

struct Planner<'a> {
    mode: Mode,
    inventory: &'a Inventory,
    capabilities: &'a Capabilities,
    options: &'a Options,
    roles: Vec<&'a Role>,
    kinds: Vec<PlannedKind>,
    kind_numbers: BTreeMap<(String, String), u32>,
    actors: Vec<PlannedActor>,
    actor_numbers: BTreeMap<String, u32>,
}

/// One credential to be planned: its id, the role that owns it, its entry.
struct Entry<'a> {
    id: String,
    owner: &'a Role,
    credential: &'a Credential,
}

impl<'a> Planner<'a> {
    fn new(
        mode: Mode,
        inventory: &'a Inventory,
        capabilities: &'a Capabilities,
        roles: &[String],
        options: &'a Options,
    ) -> Result<Self, PlanError> {
        let mut found: Vec<&Role> = Vec::new();
        for name in roles {
            let role = inventory.roles.get(name).ok_or_else(|| PlanError::UnknownRole {
                role: name.clone(),
                nearest: nearest(name, inventory.roles.keys()),
            })?;
            if found.iter().all(|known| known.name != role.name) {
                found.push(role);
            }
        }
        Ok(Self {
            mode,
            inventory,
            capabilities,
            options,
            roles: found,
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
        if self.mode == Mode::Restore {
            credentials.retain(|planned| !planned.phases.is_empty());
        } else {
            self.group(&mut credentials);
            self.order_admins(&mut credentials);
        }
        let names: BTreeSet<&str> = self.roles.iter().map(|role| role.name.as_str()).collect();
        Ok(Plan {
            mode: self.mode,
            run: self.options.run.clone(),
            label: format!("rotate-{}-{}", self.options.installation, self.options.run),
            case: self.options.case.clone(),
            session: self.options.session.clone(),
            since: self.options.since,
            wait_ms: self.options.wait_ms,
            inventory: PlannedInventory {
                sha256: self.inventory.sha256.clone(),
                changed: self.options.changed.clone(),
            },
            roles: self.roles.iter().map(|role| self.role(role)).collect(),
            upstream: self
                .inventory
                .roles
                .values()
                .filter(|role| !names.contains(role.name.as_str()))
                .filter(|role| role.delegates_to.iter().any(|to| names.contains(to.as_str())))
                .map(|role| role.name.clone())
                .collect(),
            downstream: self
                .roles
                .iter()
                .flat_map(|role| &role.delegates_to)
                .filter(|to| !names.contains(to.as_str()))
                .cloned()
                .collect(),
            hosts: self.hosts(),
            providers: self.providers(),
            known_handles: self.known_handles(),
            warnings: self.warnings(&credentials),
            kinds: self.kinds,
            actors: self.actors,
            credentials,
            left_out,
        })
    }

    fn role(&self, role: &Role) -> PlannedRole {
        let contains = self.mode.contains();
        PlannedRole {
            name: role.name.clone(),
            owner: role.owner.clone(),
            authorized_by: role.authorized_by.clone(),
            vendor: role.vendor.clone(),
            stop: role.stop.clone().filter(|_| contains),
            evidence: if contains { role.evidence.clone() } else { Vec::new() },
        }
    }

    /// Every credential that the roles hold, their own and those they use, each once.
    fn entries(&self) -> (Vec<Entry<'a>>, Vec<LeftOut>) {
        let mut broken: BTreeMap<(&str, &str), (usize, &str)> = BTreeMap::new();
        for problem in &self.inventory.problems {
            if let (Some(role), Some(credential)) = (&problem.role, &problem.credential) {
                broken.entry((role, credential)).or_insert((problem.line, &problem.message));
            }
        }
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        let mut left_out = Vec::new();
        let inventory = self.inventory;
        for role in &self.roles {
            let own = role.credentials.iter().map(|credential| (*role, credential));
            let used = role.uses.iter().filter_map(|id| find(inventory, id));
            for (owner, credential) in own.chain(used) {
                let id = format!("{}/{}", owner.name, credential.name);
                if !self.selected(credential) || !seen.insert(id.clone()) {
                    continue;
                }
                // What is wrong with it was told; what can still be ended is ended.
                if !credential.unusable && self.capability(credential).is_some() {
                    entries.push(Entry { id, owner, credential });
                    continue;
                }
                let wrong = broken.get(&(owner.name.as_str(), credential.name.as_str()));
                let (line, message) =
                    wrong.map_or((credential.line, "its provider or kind is not known"), |w| *w);
                left_out.push(LeftOut {
                    id,
                    provider: credential.provider.clone(),
                    line,
                    message: message.to_owned(),
                });
            }
            for ((owner, name), (line, message)) in &broken {
                let id = format!("{owner}/{name}");
                if *owner == role.name && seen.insert(id.clone()) {
                    let (line, message) = (*line, (*message).to_owned());
                    left_out.push(LeftOut { id, provider: String::new(), line, message });
                }
            }
        }
        (entries, left_out)
    }

    fn selected(&self, credential: &Credential) -> bool {
        let only = &self.options.only;
        only.is_empty()
            || only.iter().any(|one| match one.split_once('/') {
                None => credential.provider == *one,
                Some((provider, name)) => {
                    credential.provider == provider && credential.name == name
                }
            })
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
            None => find(inventory, name)?.1,
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
        let of_run = self.roles.iter().position(|role| role.name == owner.name);
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
            id: id.clone(),
            role: RoleIndex(u32::try_from(of_run.unwrap_or_default()).ok()?),
            kind,
            vars: self.vars(credential),
            handle: credential.handle.clone(),
            places: credential.secret.clone(),
            deliver_to,
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
            collateral: self.collateral(id, credential, can, subjects),
            segment: credential.segment.clone().unwrap_or_else(|| "local".to_owned()),
            earlier,
        })
    }

    /// In contain, only to roles that are not contained, or where the responder says so.
    fn delivers(&self, owner: &Role, of_run: bool) -> bool {
        let out_of_service = owner.contained.is_some()
            || owner.disabled.is_some()
            || self.options.contained.contains(&owner.name);
        match self.mode {
            Mode::Contain => self.options.deliver || !(of_run || out_of_service),
            Mode::Restore | Mode::Rehearse => true,
            Mode::RevokeOnly | Mode::Verify => false,
        }
    }

    /// Ways that kill more than is allowed. What a handle of its own names is the credential's own
    /// principal, however wide the word for it is.
    fn too_wide(&self, can: &KindCapability) -> Vec<u16> {
        let its_own = |name: &String| {
            let is_handle = |part: &Part| part.part_type == PartType::Handle;
            name == "handle" || can.parts.get(name).is_some_and(is_handle)
        };
        let widest = self.options.max_blast.unwrap_or(MAX_BLAST);
        let ways = can.verbs.get(&Verb::Revoke).map_or(&[][..], Vec::as_slice);
        (0..)
            .zip(ways)
            .filter(|(_, way)| {
                let blast = way.blast.as_ref().unwrap_or(&can.blast);
                blast.kills > widest && !blast.key.iter().any(its_own)
            })
            .map(|(number, _)| number)
            .collect()
    }

    /// Credentials of the inventory outside this run that die with it.
    fn collateral(
        &self,
        id: &str,
        credential: &Credential,
        can: &KindCapability,
        subjects: &BTreeMap<String, Subject>,
    ) -> Vec<String> {
        let Some(key) = self.blast_key(credential, can) else { return Vec::new() };
        let mut dies = Vec::new();
        for role in self.inventory.roles.values() {
            for other in &role.credentials {
                let other_id = format!("{}/{}", role.name, other.name);
                if other_id == id || subjects.contains_key(&other_id) {
                    continue;
                }
                let same = self
                    .capability(other)
                    .and_then(|(_, can)| self.blast_key(other, can))
                    .is_some_and(|other| other == key);
                if same {
                    dies.push(other_id);
                }
            }
        }
        dies
    }

    /// What makes two credentials one group, where that is known before the run.
    fn blast_key(&self, credential: &Credential, can: &KindCapability) -> Option<String> {
        if can.blast.kills == Radius::Token || can.blast.key.is_empty() {
            return None;
        }
        let vars = self.vars(credential);
        let mut key = format!("{}\n{:?}", credential.provider, can.blast.kills);
        for name in &can.blast.key {
            let value = match name.as_str() {
                "handle" => credential.handle.clone()?,
                name => vars.get(name)?.to_string(),
            };
            key.push('\n');
            key.push_str(&value);
        }
        Some(key)
    }

    fn group(&self, credentials: &mut [Planned]) {
        let mut leaders: BTreeMap<String, Subject> = BTreeMap::new();
        for (index, planned) in credentials.iter_mut().enumerate() {
            let Ok(number) = u32::try_from(index) else { continue };
            let Some((role, name)) = planned.id.split_once('/') else { continue };
            let credential = self
                .inventory
                .roles
                .get(role)
                .and_then(|role| role.credentials.iter().find(|one| one.name == name));
            let key = credential
                .and_then(|credential| self.blast_key(credential, self.capability(credential)?.1));
            if let Some(key) = key {
                let leader = *leaders.entry(key).or_insert(Subject(number));
                planned.leader = (leader != Subject(number)).then_some(leader);
            }
        }
    }

    /// A burned admin goes first where it can mint its successor; else it waits for its last call.
    fn order_admins(&self, credentials: &mut [Planned]) {
        let mut serves: BTreeMap<u32, Vec<Subject>> = BTreeMap::new();
        for (number, planned) in (0..).zip(credentials.iter()) {
            for acting in planned.admins.values().chain(&planned.client) {
                if let Acting::Planned(Subject(admin)) = acting
                    && *admin != number
                {
                    serves.entry(*admin).or_default().push(Subject(number));
                }
            }
        }
        for (admin, served) in serves {
            let Some(planned) = credentials.get_mut(admin as usize) else { continue };
            planned.serves = served;
            if self.mode == Mode::Contain
                && let Some(issue) = planned.phases.iter().position(|p| *p == Phase::Issue)
                && let Some(revoke) = planned.phases.iter().position(|p| *p == Phase::Revoke)
                && revoke < issue
            {
                planned.phases.retain(|p| !matches!(p, Phase::Issue | Phase::ProveNew));
                planned.phases.splice(revoke..revoke, [Phase::Issue, Phase::ProveNew]);
            }
        }
    }

    fn hosts(&self) -> Vec<PlannedHost> {
        let used: BTreeSet<&str> = self.kinds.iter().map(|kind| kind.provider.as_str()).collect();
        let hosts = used.iter().filter_map(|id| self.capabilities.providers.get(*id));
        let hosts = hosts.flat_map(|provider| {
            let from_inventory = provider.hosts_from_inventory;
            provider
                .hosts
                .iter()
                .map(move |host| PlannedHost { host: host.clone(), from_inventory })
        });
        hosts.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn providers(&self) -> Vec<PlannedProvider> {
        let used: BTreeSet<&str> = self.kinds.iter().map(|kind| kind.provider.as_str()).collect();
        let used = used.iter().filter_map(|id| self.capabilities.providers.get(*id));
        used.map(|provider| PlannedProvider {
            id: provider.id.clone(),
            file: provider.file.clone(),
            sha256: provider.sha256.clone(),
            hosts: provider.hosts.clone(),
            hosts_from_inventory: provider.hosts_from_inventory,
        })
        .collect()
    }

    /// What the inventory names and what earlier runs issued: no strangers.
    fn known_handles(&self) -> BTreeMap<String, Vec<String>> {
        let mut known = self.options.issued_before.clone();
        let roles = self.inventory.roles.values().flat_map(|role| &role.credentials);
        for credential in roles.chain(self.inventory.admins.values()) {
            if let Some(handle) = &credential.handle {
                known.entry(credential.provider.clone()).or_default().push(handle.clone());
            }
        }
        known
    }

    fn warnings(&self, credentials: &[Planned]) -> Vec<String> {
        let mut warnings = Vec::new();
        let used: BTreeSet<u32> = credentials.iter().map(|planned| planned.kind).collect();
        for number in used {
            let Some(kind) = self.kinds.get(number as usize) else { continue };
            for warn in &kind.can.warn {
                warnings.push(format!("{}: {warn}", kind.provider));
            }
        }
        for planned in credentials {
            let can = self.kinds.get(planned.kind as usize).map(|kind| &kind.can);
            let issues_first = can.is_some_and(|can| can.order == Order::IssueFirst);
            if self.mode == Mode::RevokeOnly && issues_first {
                let id = &planned.id;
                warnings.push(format!(
                    "{id}: its revocation needs a new one first; that stays sealed and unused"
                ));
            }
        }
        warnings
    }
}

/// The script of one credential.
fn phases(mode: Mode, can: &KindCapability, earlier: Option<&Earlier>) -> Vec<Phase> {
    use Phase::{Baseline, Deliver, Evict, Finish, Issue, ProveNew, ProveOld, Revoke, Roll, Sweep};
    let rolls = can.order == Order::Roll && can.verbs.contains_key(&Verb::Roll);
    match (mode, can.order) {
        (Mode::Verify, _) => vec![ProveNew, ProveOld],
        (Mode::Restore, _) => match earlier {
            Some(earlier) if earlier.delivered => Vec::new(),
            Some(earlier) if earlier.new.is_some() => vec![ProveNew, Deliver],
            Some(_) => vec![Issue, ProveNew, Deliver],
            None => Vec::new(),
        },
        (Mode::RevokeOnly, Order::IssueFirst) => {
            vec![Baseline, Issue, Revoke, Evict, ProveNew, ProveOld, Sweep]
        }
        (Mode::RevokeOnly, Order::Roll) if rolls && !can.verbs.contains_key(&Verb::Revoke) => {
            vec![Baseline, Roll, Finish, Evict, ProveNew, ProveOld, Sweep]
        }
        (Mode::RevokeOnly, _) => vec![Baseline, Revoke, Evict, ProveOld, Sweep],
        (Mode::Contain, Order::Roll) if rolls => {
            vec![Baseline, Roll, Finish, Revoke, Evict, ProveNew, Deliver, ProveOld, Sweep]
        }
        (Mode::Contain, Order::IssueFirst) => {
            vec![Baseline, Issue, Revoke, Evict, ProveNew, Deliver, ProveOld, Sweep]
        }
        (Mode::Contain, _) => {
            vec![Baseline, Revoke, Evict, Issue, ProveNew, Deliver, ProveOld, Sweep]
        }
        (Mode::Rehearse, Order::Roll) if rolls => {
            vec![Baseline, Roll, ProveNew, Deliver, Finish, Evict, ProveOld, Sweep]
        }
        (Mode::Rehearse, Order::RevokeFirst) => {
            vec![Baseline, Revoke, Evict, Issue, ProveNew, Deliver, ProveOld, Sweep]
        }
        (Mode::Rehearse, _) => {
            vec![Baseline, Issue, ProveNew, Deliver, Revoke, Evict, ProveOld, Sweep]
        }
    }
}

/// A credential by `ROLE/NAME`.
fn find<'a>(inventory: &'a Inventory, id: &str) -> Option<(&'a Role, &'a Credential)> {
    let (role, name) = id.split_once('/')?;
    let role = inventory.roles.get(role)?;
    Some((role, role.credentials.iter().find(|credential| credential.name == name)?))
}

/// The name that was probably meant.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    /// Below this, two names have too little in common to suggest one for the other.
    const LIKENESS: f64 = 0.7;
    known
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other.clone())
}
