//! The fold over the events: what the run knows, as a report and as facts for a later run.

use std::collections::BTreeMap;

use super::call::{Reason, Row, Subject, Time, Verb, Wall, Why};
use super::capability::{ByHand, KindCapability, Lifetime};
use super::credential::{ControlKind, Issued, Machine, NotSafe, Side, Try, text};
use super::plan::{Acting, Earlier, KnownSide, Phase, Plan, Planned, PlannedKind};
use super::proof::Proof as ProofRun;
use super::report::{
    CredentialReport, Delivered, Evidence as SavedEvidence, EvidenceState, IdentityChange,
    InventoryFacts, MadeUp, Mode, New, NewState, NotDelivered, Old, Origin, Orphan, Proof,
    ProofSource, ProviderFacts, Report, Residual, Revoke, RoleDetail, Stamp, StopState, Stopped,
    Stranger, StrangerClass, Timings, Todo, Until, Verdict,
};
use super::run::Run;
use super::scene::RoleState;
use super::verdict::{Before, Control, Evidence, Now, Sight, Unproven, verdict};

impl Run {
    /// What became of everything, as far as the events tell.
    pub fn report(&self) -> Report {
        let plan = &self.plan;
        let mut report = Report {
            run: plan.run.clone(),
            mode: plan.mode,
            of: self.origin(),
            roles: plan.roles.iter().map(|role| role.name.clone()).collect(),
            case: plan.case.clone(),
            session: plan.session.clone(),
            inventory: InventoryFacts {
                sha256: plan.inventory.sha256.clone(),
                changed: plan.inventory.changed.clone(),
            },
            started: Stamp(self.started.unwrap_or_default()),
            finished: self.closed_at.map(Stamp),
            as_of: Stamp(self.wall),
            stopped_early: self.stopping,
            journal_lost_at: self.journal_lost.map(Stamp),
            role_details: self.role_details(),
            timings: self.timings(),
            credentials: self.credentials(),
            todo: self.todo(),
            providers: plan.providers.iter().map(provider_facts).collect(),
            warnings: self.warnings(),
            ..Report::default()
        };
        report.credentials.extend(plan.left_out.iter().map(left_out));
        report.summed()
    }

    /// What a later run may build on, by credential id. Secrets are named as this run named them.
    pub fn facts(&self) -> BTreeMap<String, Earlier> {
        let mut facts = BTreeMap::new();
        for (subject, planned, machine) in self.each() {
            let kind = self.plan.kind(planned.kind);
            let (said, why) = kind.map_or((Verdict::Unproven, String::new()), |kind| {
                self.verdict_of(subject, planned, kind, machine)
            });
            let open = !matches!(said, Verdict::Dead | Verdict::AlreadyDead);
            let mut old = known(&machine.old);
            if !open {
                old.secrets.clear();
            }
            let accepted = machine.before == Some(Before::Accepted);
            facts.insert(
                planned.id.clone(),
                Earlier {
                    run: self.plan.run.clone(),
                    old: Some(old),
                    new: machine.has_new().then(|| known(&machine.new)),
                    accepted_as: accepted.then(|| machine.identity.clone().unwrap_or_default()),
                    last_accepted: machine.last_accepted,
                    revoked_at: machine.revoked.map(|(_, wall)| wall),
                    revoke: Some(machine.revoke),
                    delivered: planned.deliver && machine.deliver == Try::Done,
                    sight: Some(self.sight(planned.kind)),
                    verdict: Some((said, why)),
                },
            );
        }
        facts
    }

    fn each(&self) -> impl Iterator<Item = (Subject, &Planned, &Machine)> {
        let both = self.plan.credentials.iter().zip(&self.machines);
        (0..).zip(both).map(|(number, (planned, machine))| (Subject(number), planned, machine))
    }

    fn origin(&self) -> Option<Origin> {
        let earlier = self.plan.credentials.iter().find_map(|planned| planned.earlier.as_ref())?;
        matches!(self.plan.mode, Mode::Verify | Mode::Restore)
            .then(|| Origin { run: earlier.run.clone(), mode: Mode::Contain })
    }

    fn role_details(&self) -> Vec<RoleDetail> {
        let both = self.plan.roles.iter().zip(&self.roles);
        both.map(|(role, state)| RoleDetail {
            role: role.name.clone(),
            owner: role.owner.clone(),
            authorized_by: role.authorized_by.clone(),
            vendor: role.vendor.clone(),
            upstream: self.plan.upstream.clone(),
            stopped: stopped(role.stop.is_some(), state),
            evidence: evidence(!role.evidence.is_empty(), state),
        })
        .collect()
    }

    fn timings(&self) -> Timings {
        let revoked = self.machines.iter().filter_map(|machine| machine.revoked);
        let times: Vec<u64> = revoked.map(|(Time(at), _)| at).collect();
        let dead = self.each().filter_map(|(subject, planned, machine)| {
            let kind = self.plan.kind(planned.kind)?;
            let (said, _) = self.verdict_of(subject, planned, kind, machine);
            (said == Verdict::Dead).then_some(machine.proved_at?.0)
        });
        Timings {
            first_revoke_ms: times.iter().copied().min(),
            last_revoke_ms: times.iter().copied().max(),
            last_dead_ms: dead.max(),
        }
    }

    fn todo(&self) -> Vec<Todo> {
        let mut todo = Vec::new();
        for role in &self.plan.downstream {
            if self.plan.mode.contains() {
                todo.push(Todo {
                    what: format!("{role} stays alive: this role delegated to it"),
                    at: None,
                    action: format!("contain it too: rotate --role {role}"),
                });
            }
        }
        for role in &self.role_details() {
            if role.stopped.state == StopState::Failed {
                todo.push(Todo {
                    what: format!("the agent of {} was not stopped", role.role),
                    at: None,
                    action: "stop it by hand, then look whether it still runs".to_owned(),
                });
            }
            if role.evidence.state == EvidenceState::Failed {
                todo.push(Todo {
                    what: format!("the evidence of {} was not saved", role.role),
                    at: None,
                    action: "copy it by hand before anything on that host changes".to_owned(),
                });
            }
        }
        todo
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.plan.warnings.clone();
        if self.resumed > 0 {
            let times = self.resumed;
            warnings.push(format!("this run was interrupted and taken up again ({times} times)"));
        }
        warnings
    }

    fn credentials(&self) -> Vec<CredentialReport> {
        let each = self.each().filter_map(|(subject, planned, machine)| {
            let kind = self.plan.kind(planned.kind)?;
            Some(self.credential(subject, planned, kind, machine))
        });
        each.collect()
    }

    fn credential(
        &self,
        subject: Subject,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
    ) -> CredentialReport {
        let (said, why) = self.verdict_of(subject, planned, kind, machine);
        let ended = matches!(said, Verdict::Dead | Verdict::AlreadyDead);
        let mut one = CredentialReport {
            id: planned.id.clone(),
            provider: kind.provider.clone(),
            kind: kind.kind.clone(),
            class: Some(kind.can.class),
            old: self.old(planned, kind, machine, said, why),
            new: self.new_one(planned, kind, machine),
            collateral: planned.collateral.clone(),
            strangers: self.strangers(subject),
            orphans: machine
                .orphans
                .iter()
                .map(|orphan| Orphan {
                    handle: orphan.handle.clone(),
                    label: orphan.label.clone(),
                    revoked: orphan.revoked,
                })
                .collect(),
            residual: residual(kind, machine, self.plan.mode),
            todo: Vec::new(),
        };
        one.todo = self.todo_of(subject, planned, kind, machine, &one, ended);
        one
    }

    fn old(
        &self,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
        said: Verdict,
        why: String,
    ) -> Old {
        let until = match said {
            Verdict::Dying => machine
                .revoked
                .map(|(_, Wall(at))| Wall(at.saturating_add_unsigned(kind.can.proof.give_up_ms))),
            Verdict::Expires => ends_by_itself(kind, machine),
            _ => None,
        };
        Old {
            fingerprint: Some(machine.old.fingerprint.clone()).filter(|print| !print.is_empty()),
            handle: machine.old.handle.clone(),
            revoke: if machine.done_by_hand { Revoke::ByHand } else { machine.revoke },
            verdict: said,
            why,
            revoked_at: machine.revoked.map(|(_, wall)| Stamp(wall)),
            last_accepted_at: machine.last_accepted.map(Stamp),
            first_refused_at: machine.first_refused.map(Stamp),
            until: until.map(Stamp),
            proof: machine.proof.as_ref().map(|proof| self.proof(planned, kind, machine, proof)),
        }
    }

    fn proof(
        &self,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
        proof: &ProofRun,
    ) -> Proof {
        let (refusals, held_ms) = proof.extent();
        let control = match (proof.control(), machine.control) {
            (Control::Held, ControlKind::New) => Some("new".to_owned()),
            (Control::Held, ControlKind::Admin) => Some("admin".to_owned()),
            (Control::Held, ControlKind::Named) => self.control_id(planned),
            _ => None,
        };
        Proof {
            refusals,
            held_ms,
            control,
            made_up: match self.sight(planned.kind) {
                Sight::Sees => MadeUp::Refused,
                Sight::Blind => MadeUp::Accepted,
                Sight::NotAllowed | Sight::Unknown => MadeUp::NotTaken,
            },
            rule: match (&kind.can.proof.from_inventory, &kind.can.proof.assumed) {
                (true, _) => ProofSource::Inventory,
                (false, true) => ProofSource::Assumed,
                (false, false) => ProofSource::Provider,
            },
        }
    }

    /// The credential that the inventory names as control.
    fn control_id(&self, planned: &Planned) -> Option<String> {
        match planned.control? {
            Acting::Fixed(index) => self.plan.actors.get(index as usize).map(|actor| &actor.id),
            Acting::Planned(subject) => self.plan.planned(subject).map(|planned| &planned.id),
        }
        .cloned()
    }

    /// The verdict and the sentence that goes with it.
    fn verdict_of(
        &self,
        _subject: Subject,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
    ) -> (Verdict, String) {
        if !planned.phases.contains(&Phase::ProveOld) {
            let earlier = planned.earlier.as_ref().and_then(|earlier| earlier.verdict.clone());
            return earlier
                .unwrap_or((Verdict::Unproven, "this plan does not prove it".to_owned()));
        }
        if let Some(not_safe) = machine.stopped_before_revoke {
            let alive = machine.before == Some(Before::Accepted);
            let why = format!("left as it is: {}", not_safe_text(not_safe));
            return (if alive { Verdict::Alive } else { Verdict::Unproven }, why);
        }
        let only_expires = self.only_expires(kind);
        let proof = machine.proof.as_ref();
        let now = match proof.map_or(Now::Unknown, ProofRun::now) {
            // Never proved again since Baseline, and nothing has ended it.
            Now::Unknown
                if machine.first_refused.is_none()
                    && machine.before == Some(Before::Accepted)
                    && !matches!(machine.revoke, Revoke::Accepted | Revoke::Lost) =>
            {
                Now::Accepted
            }
            now => now,
        };
        let evidence = Evidence {
            before: machine.before.unwrap_or(Before::Unknown),
            now,
            control: proof.map_or(Control::None, ProofRun::control),
            sight: self.sight(planned.kind),
            revoke_accepted: machine.revoke == Revoke::Accepted,
            gave_up: machine.gave_up,
            known: machine.known,
            only_expires,
        };
        let (said, because) = verdict(&evidence);
        (said, why(said, because, kind, machine))
    }

    fn only_expires(&self, kind: &PlannedKind) -> bool {
        let can = &kind.can;
        can.lives.is_some()
            && !can.verbs.contains_key(&Verb::Revoke)
            && !can.verbs.contains_key(&Verb::Roll)
    }

    fn new_one(&self, planned: &Planned, kind: &PlannedKind, machine: &Machine) -> New {
        let mut state = machine.new_state(planned.deliver);
        if machine.has_new()
            && !kind.can.verbs.contains_key(&Verb::Probe)
            && machine.deliver == Try::Done
        {
            state = NewState::Unproven;
        }
        let not_delivered = match &machine.deliver {
            Try::Failed(why) if planned.deliver && machine.has_new() => planned
                .deliver_to
                .iter()
                .flat_map(BTreeMap::values)
                .map(|to| NotDelivered { to: to.to_string(), why: in_words(why) })
                .collect(),
            _ => Vec::new(),
        };
        let identity = match (&machine.identity, &machine.new_identity) {
            (Some(from), Some(to)) if from != to && !to.0.is_empty() => {
                Some(IdentityChange { from: from.0.clone(), to: to.0.clone() })
            }
            _ => None,
        };
        New {
            fingerprint: Some(machine.new.fingerprint.clone()).filter(|print| !print.is_empty()),
            handle: machine.new.handle.clone(),
            state,
            planned: planned.phases.iter().any(|p| matches!(p, Phase::Issue | Phase::Roll))
                && self.plan.mode != Mode::RevokeOnly
                || self.plan.mode == Mode::Restore,
            why: not_issued(machine),
            delivered: machine
                .placed
                .iter()
                .map(|place| Delivered { to: place.to.clone(), state: place.state })
                .collect(),
            not_delivered,
            identity,
        }
    }

    fn strangers(&self, subject: Subject) -> Vec<Stranger> {
        let strangers = self.lists.strangers(subject).iter();
        strangers
            .map(|stranger| Stranger {
                handle: stranger.row.handle.clone(),
                label: stranger.row.label.clone(),
                created: stranger.row.created.clone(),
                used: stranger.row.used.clone(),
                class: self.class_of(&stranger.row, stranger.minted_during_run),
            })
            .collect()
    }

    fn class_of(&self, row: &Row, minted_during_run: bool) -> StrangerClass {
        let created = row.created.as_deref().and_then(instant);
        let during = self.started.zip(created).is_some_and(|(start, made)| made >= start);
        if minted_during_run || during {
            StrangerClass::MintedDuringRun
        } else if self.plan.since.zip(created).is_some_and(|(since, made)| made >= since) {
            StrangerClass::Since
        } else {
            StrangerClass::OlderOrUndated
        }
    }

    fn todo_of(
        &self,
        subject: Subject,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
        one: &CredentialReport,
        ended: bool,
    ) -> Vec<Todo> {
        let mut todo = Vec::new();
        let by_hand = |what: String, page: &Option<ByHand>| {
            let fill = |text: &str| filled(text, &self.plan, planned, machine);
            Todo {
                what,
                at: page.as_ref().map(|page| fill(&page.at)),
                action: page
                    .as_ref()
                    .map_or_else(|| "do it by hand".to_owned(), |page| fill(&page.action)),
            }
        };
        let id = &planned.id;
        let tries =
            planned.phases.contains(&Phase::ProveOld) && machine.stopped_before_revoke.is_none();
        let revoked = matches!(machine.revoke, Revoke::Accepted);
        if tries && !ended && (!revoked || one.old.verdict == Verdict::Alive) {
            todo.push(by_hand(format!("revoke the old {id}"), &kind.can.revoke_by_hand));
        }
        if one.new.planned && one.new.state == NewState::NotIssued {
            todo.push(by_hand(format!("issue a new {id}"), &kind.can.issue_by_hand));
        }
        if let Try::Failed(why) = &machine.deliver
            && machine.has_new()
        {
            todo.push(Todo {
                what: format!("deliver the new {id}: {}", in_words(why)),
                at: None,
                action: "mend the place, then: rotate restore --role ROLE --because TEXT"
                    .to_owned(),
            });
        }
        if let Try::Failed(why) = &machine.evict {
            todo.push(Todo {
                what: format!("end what was minted from {id}: {}", in_words(why)),
                at: None,
                action: "end its sessions by hand".to_owned(),
            });
        }
        if self.lists.unread(subject) {
            todo.push(Todo {
                what: format!("look for unrecognised credentials beside {id}"),
                at: None,
                action: "the provider's list could not be read to its end: read it by hand"
                    .to_owned(),
            });
        }
        todo
    }
}

/// Fills the markers of a page or an instruction with public values; what is unknown stays named.
fn filled(text: &str, plan: &Plan, planned: &Planned, machine: &Machine) -> String {
    let mut filled = text.to_owned();
    let mut fill = |name: &str, value: &str| {
        for marker in [format!("{{{{ {name} }}}}"), format!("{{{{{name}}}}}")] {
            filled = filled.replace(&marker, value);
        }
    };
    for (name, value) in planned.vars.iter().chain(&machine.taken).chain(&machine.old.public) {
        if let Some(value) = text_of(value) {
            fill(name, &value);
        }
    }
    if let Some(handle) = &machine.old.handle {
        fill("handle", handle);
    }
    fill("label", &plan.label);
    filled
}

fn text_of(value: &serde_json::Value) -> Option<String> {
    text(value)
}

fn stopped(named: bool, state: &RoleState) -> Stopped {
    let (how, why) = match &state.stop {
        _ if !named => (StopState::None, None),
        Try::Done => (StopState::Reported, None),
        Try::Failed(why) => (StopState::Failed, Some(in_words(why))),
        Try::Todo | Try::Flying => (StopState::Pending, None),
    };
    Stopped { state: how, at: state.stopped_at.map(Stamp), why }
}

fn evidence(named: bool, state: &RoleState) -> SavedEvidence {
    let how = match &state.preserve {
        _ if !named => EvidenceState::None,
        Try::Done if state.gaps.is_empty() => EvidenceState::Saved,
        Try::Done => EvidenceState::Partial,
        Try::Failed(_) => EvidenceState::Failed,
        Try::Todo | Try::Flying => EvidenceState::Pending,
    };
    SavedEvidence {
        state: how,
        archive: state.archive.as_ref().map(|(path, _)| path.clone()),
        sha256: state.archive.as_ref().map(|(_, hash)| hash.clone()),
        gaps: state.gaps.clone(),
    }
}

fn provider_facts(provider: &super::plan::PlannedProvider) -> ProviderFacts {
    ProviderFacts {
        id: provider.id.clone(),
        file: provider.file.clone(),
        sha256: provider.sha256.clone(),
        hosts: provider.hosts.clone(),
        hosts_from_inventory: provider.hosts_from_inventory,
    }
}

fn left_out(entry: &super::plan::LeftOut) -> CredentialReport {
    let why = format!("inventory line {}: {}", entry.line, entry.message);
    let todo = Todo {
        what: format!("{} was left out: {why}", entry.id),
        at: None,
        action: "mend the entry and run again, or revoke it by hand".to_owned(),
    };
    CredentialReport {
        id: entry.id.clone(),
        provider: entry.provider.clone(),
        old: Old { why, ..Old::default() },
        todo: vec![todo],
        ..CredentialReport::default()
    }
}

/// What outlives the revocation, and until when.
fn residual(kind: &PlannedKind, machine: &Machine, mode: Mode) -> Option<Vec<Residual>> {
    let Some((_, Wall(revoked))) = machine.revoked else {
        return None;
    };
    if matches!(mode, Mode::Restore) {
        return None;
    }
    let ends = |lifetime: &Lifetime| match lifetime {
        Lifetime::Ms(ms) => Some(Until::At(Stamp(Wall(revoked.saturating_add_unsigned(*ms))))),
        Lifetime::Open if machine.evict == Try::Done && evicts(&kind.can) => None,
        Lifetime::Open => Some(Until::Open),
        Lifetime::Forever => Some(Until::Forever),
        Lifetime::Taken(name) => Some(
            machine
                .taken
                .get(name)
                .and_then(text)
                .and_then(|end| instant(&end))
                .map_or(Until::Unknown, |wall| Until::At(Stamp(wall))),
        ),
        Lifetime::JwtExp | Lifetime::Unknown => Some(Until::Unknown),
    };
    let children: Vec<_> = kind
        .can
        .minted
        .iter()
        .filter_map(|(what, lifetime)| {
            Some(Residual { what: what.clone(), until: ends(lifetime)? })
        })
        .collect();
    (!children.is_empty()).then_some(children)
}

fn evicts(can: &KindCapability) -> bool {
    can.verbs.contains_key(&Verb::Evict)
}

fn ends_by_itself(kind: &PlannedKind, machine: &Machine) -> Option<Wall> {
    match kind.can.lives.as_ref()? {
        Lifetime::Taken(name) => instant(&machine.taken.get(name).and_then(text)?),
        _ => None,
    }
}

/// RFC 3339, or seconds or milliseconds since the epoch.
fn instant(text: &str) -> Option<Wall> {
    /// Ten digits of milliseconds would be 1970; ten digits of seconds are ours.
    const LATEST_SECONDS: i64 = 100_000_000_000;
    if let Ok(number) = text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "an instant of a list, for display")]
        let number = number as i64;
        return Some(Wall(if number < LATEST_SECONDS { number * 1_000 } else { number }));
    }
    text.parse::<Stamp>().ok().map(|stamp| stamp.0)
}

fn known(side: &Side) -> KnownSide {
    KnownSide {
        fingerprint: side.fingerprint.clone(),
        handle: side.handle.clone(),
        public: side.public.clone(),
        secrets: side.secrets.clone(),
    }
}

fn not_issued(machine: &Machine) -> Option<String> {
    match &machine.issued {
        Issued::Failed(why) => Some(format!("not issued: {}", in_words(why))),
        Issued::Lost(why) => {
            Some(format!("perhaps issued, and nothing can tell: {}", in_words(why)))
        }
        Issued::Looking => {
            Some("an answer was lost; the provider's list was not read yet".to_owned())
        }
        Issued::Yes if machine.new_identity.is_none() => Some("never seen accepted".to_owned()),
        Issued::No | Issued::Yes => None,
    }
}

fn not_safe_text(not_safe: NotSafe) -> &'static str {
    match not_safe {
        NotSafe::OldNotAlive => "it was not seen alive",
        NotSafe::NotIssued => "no new one was issued",
        NotSafe::NotProved => "the new one was not proved live",
        NotSafe::NotInPlaces => "the new one is not in its places",
        NotSafe::NotReloaded => "nothing shows that its user reads it again",
    }
}

fn why(said: Verdict, because: Option<Unproven>, kind: &PlannedKind, machine: &Machine) -> String {
    let not_revoked = || match (machine.revoke, &machine.revoke_why) {
        (Revoke::Accepted, _) if machine.done_by_hand => "a person says it is revoked".to_owned(),
        (Revoke::Accepted, _) => "the provider accepted the revocation".to_owned(),
        (Revoke::Rejected, Some(why)) => format!("the revocation was refused: {}", in_words(why)),
        (Revoke::Rejected, None) => "the revocation was refused".to_owned(),
        (Revoke::Lost, _) => "the answer to the revocation was lost".to_owned(),
        (Revoke::NotSent, Some(why)) => format!("the revocation was not sent: {}", in_words(why)),
        (Revoke::NotSent, None) => "the revocation was not sent".to_owned(),
        (Revoke::ByHand, _) => "only a person can revoke it".to_owned(),
        (Revoke::None, _) => "nothing was revoked".to_owned(),
    };
    let said_so = match said {
        Verdict::Dead => {
            "accepted before, refused between two acceptances of a live one".to_owned()
        }
        Verdict::AlreadyDead => {
            "refused from the start, and known to be this provider's".to_owned()
        }
        Verdict::Refused => "refused by name; no live credential was at hand to compare".to_owned(),
        Verdict::Dying => "the revocation was accepted, and it still answers".to_owned(),
        Verdict::Expires => "it cannot be recalled and ends by itself".to_owned(),
        Verdict::Alive => format!("still accepted; {}", not_revoked()),
        Verdict::Unproven => unproven_text(because, machine, &not_revoked()),
    };
    if kind.can.proof.assumed && said == Verdict::Dead {
        format!("{said_so} (how long this provider flaps is not known; our figure)")
    } else {
        said_so
    }
}

fn unproven_text(because: Option<Unproven>, machine: &Machine, revoked: &str) -> String {
    let what = match because {
        Some(Unproven::NeverSeenAlive) => "refused, but never seen alive here",
        Some(Unproven::BlindProbe) => "the probe is blind: it accepts a made-up credential",
        Some(Unproven::SightUnknown) => "the probe did not clearly refuse a made-up credential",
        Some(Unproven::ControlNotHeld) => "refused, but no live credential was accepted around it",
        Some(Unproven::NotByName) => "refused, but not in this provider's own words",
        Some(Unproven::NotHeldLongEnough) => "refused, but not for long enough yet",
        Some(Unproven::NoAnswer) | None => match (&machine.read, &machine.look) {
            (Try::Failed(why), _) => {
                return format!("its value was not read: {}; {revoked}", in_words(why));
            }
            (_, Try::Failed(why)) if machine.proof.is_none() => {
                return format!("not probed: {}; {revoked}", in_words(why));
            }
            _ => "no clear answer",
        },
    };
    format!("{what}; {revoked}")
}

/// A reason in plain words, with the status and the provider's own word where there were any.
pub fn in_words(why: &Why) -> String {
    let words = match why.reason {
        Reason::Dns => "its host name does not resolve",
        Reason::Connect => "no connection to its host",
        Reason::Tls => "no secure connection to its host",
        Reason::Timeout => "no answer in time",
        Reason::Reset => "the connection broke",
        Reason::Crashed => "rotate was interrupted",
        Reason::TooLong => "the answer was too long to be read",
        Reason::Unexpected => "the answer was not what the provider file describes",
        Reason::Redirect => "the answer was a redirect, and none is followed",
        Reason::LeftBase => "the address would have left the provider's hosts",
        Reason::MissingValue => "a value it needs is not known",
        Reason::Refused => "refused",
        Reason::ActorRefused => "the acting credential was refused",
        Reason::SomebodyElse => "somebody else was there first",
        Reason::NoClass => "the answer fits no class of the probe, or more than one",
        Reason::Echo => "the answer would have written a live secret down",
        Reason::Unreadable => "its place cannot be read",
        Reason::Empty => "its place is empty",
        Reason::Unwritable => "its place cannot be written",
        Reason::PlaceChanged => "its place holds neither the old nor the new one",
        Reason::CommandFailed => "the command failed",
        Reason::Untrusted => "others may change the inventory, so nothing it names is run",
        Reason::Unsupported => "nothing here can do that",
    };
    match (why.status, &why.word) {
        (Some(status), Some(word)) => format!("{words} ({status} {word})"),
        (Some(status), None) => format!("{words} ({status})"),
        (None, Some(word)) => format!("{words} ({word})"),
        (None, None) => words.to_owned(),
    }
}
