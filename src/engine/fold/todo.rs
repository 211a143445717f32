//! What is left for a person.

use std::iter;

use super::super::call::{Reason, Subject, Verb};
use super::super::capability::{ByHand, Order};
use super::super::credential::{Issued, Machine, SETTLE_MS, Try, text};
use super::super::plan::{Elsewhere, Phase, Plan, Planned, PlannedKind};
use super::super::report::{
    CredentialReport, EvidenceState, Mode, NewState, Revoke, StopState, Todo, Verdict,
};
use super::super::run::Run;
use super::super::scene::lists_labels;
use super::credential::{half_revoked, not_delivered};
use super::words::{Listed, in_words};

/// What a person is asked to do about an old one begins with one of these.
pub(super) const TO_END: [&str; 2] = ["revoke the old", "finish the revocation of"];

/// And about a new one with this.
pub(super) const TO_ISSUE: &str = "issue a new";

impl Run {
    /// What belongs to no one credential.
    pub(super) fn todo(&self) -> Vec<Todo> {
        let mut todo = Vec::new();
        for role in &self.plan.downstream {
            if self.plan.mode.contains() {
                todo.push(Todo {
                    what: format!("{role} stays alive: work and credentials were delegated to it"),
                    at: None,
                    action: format!("contain it too: rotate --role {role}"),
                });
            }
        }
        for (role, state) in self.plan.roles.iter().zip(&self.roles) {
            if let Try::Failed(why) = &state.scan {
                todo.push(Todo {
                    what: format!(
                        "the files of {} were not looked through: {}",
                        role.name,
                        in_words(why)
                    ),
                    at: None,
                    action: "look yourself for what the inventory does not list".to_owned(),
                });
            }
        }
        for Elsewhere { role, run } in &self.plan.elsewhere {
            todo.push(Todo {
                what: format!("{role} is contained by run {run}, not by this one"),
                at: None,
                action: format!("look at its report: rotate report {run}"),
            });
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

    /// How a person ends an old one, from the first failure on: whoever has the page open need not
    /// wait for the end of the run.
    pub(crate) fn ended_by_hand(&self, subject: Subject) -> Option<ByHand> {
        let planned = self.plan.planned(subject)?;
        let kind = self.plan.kind(planned.kind)?;
        let machine = self.machines.get(subject.0 as usize)?;
        let asked_again = machine.finds.count + machine.look_failures.count;
        let tried = machine.phase(&planned.phases) == Some(Phase::Revoke);
        let failed = (tried && machine.steps.failures + asked_again > 0)
            || matches!(machine.revoke, Revoke::Rejected | Revoke::ByHand);
        let page = kind.can.revoke_by_hand.as_ref().filter(|_| failed && !machine.done_by_hand)?;
        Some(self.filled_page(page, planned, machine))
    }

    /// A page for this credential, its markers filled.
    fn filled_page(&self, page: &ByHand, planned: &Planned, machine: &Machine) -> ByHand {
        let fill = |text: &str| filled(text, &self.plan, planned, machine);
        ByHand { at: fill(&page.at), action: fill(&page.action) }
    }

    /// Where a person ends it.
    fn revoked_at(&self, planned: &Planned, machine: &Machine) -> Option<String> {
        let page = self.plan.kind(planned.kind)?.can.revoke_by_hand.as_ref()?;
        Some(self.filled_page(page, planned, machine).at)
    }

    /// What is left of one credential.
    pub(super) fn todo_of(
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
            let page = page.as_ref().map(|page| self.filled_page(page, planned, machine));
            let (at, action) = page.map(|page| (page.at, page.action)).unzip();
            Todo { what, at, action: action.unwrap_or_else(|| "do it by hand".to_owned()) }
        };
        let id = &planned.id;
        if self.is_to_end(machine)
            && let Some(what) = to_revoke(planned, kind, machine, (ended, one.old.verdict))
        {
            todo.push(by_hand(what, &kind.can.revoke_by_hand));
        }
        if one.new.planned
            && let Some(what) = to_issue(id, machine, one.new.state)
        {
            todo.push(by_hand(what, &kind.can.issue_by_hand));
        }
        todo.extend(self.to_deliver(planned, machine));
        todo.extend(not_evicted(id, machine));
        todo.extend(self.spent_before(planned, machine));
        // A list read to its end since, with nothing of ours in it, says that it was not made.
        let settled = machine.lost_at.map(|at| at.plus(SETTLE_MS));
        let labels = lists_labels(kind);
        if settled.is_none_or(|since| !self.lists.accounts_for(subject, since, labels)) {
            todo.extend(self.lost(subject, planned, kind, machine));
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

    /// Whether this run, or the one it goes on from, was to end the old one. A rehearsal that did
    /// not come so far has left it to those who use it.
    fn is_to_end(&self, machine: &Machine) -> bool {
        let rehearsed = self.plan.of.as_ref().is_some_and(|of| of.mode == Mode::Rehearse);
        !(rehearsed && machine.revoke == Revoke::None)
    }

    /// Places that the new one did not get to, each by name. What was made under another plan is
    /// delivered by a restore; a rehearsal is rehearsed again, unless it has rolled: then nothing
    /// but this new one lives on.
    fn to_deliver(&self, planned: &Planned, machine: &Machine) -> Vec<Todo> {
        let id = &planned.id;
        let action = |reason| match self.plan.mode {
            Mode::Rehearse if machine.rolled => {
                format!("write it there before the old one ends: rotate escrow open RUN {id}")
            }
            Mode::Rehearse => "mend the place, then: rotate rehearse --role ROLE".to_owned(),
            _ if reason == Reason::ReadOnly => format!(
                "put it there by hand (rotate escrow open RUN {id}), then: rotate restore --role \
                 ROLE --because TEXT"
            ),
            _ => "mend the place, then: rotate restore --role ROLE --because TEXT".to_owned(),
        };
        let left = not_delivered(planned, machine).into_iter();
        let todo = left.map(|(places, why)| {
            let to = if places.is_empty() {
                String::new()
            } else {
                format!(" to {}", places.join(" and "))
            };
            Todo {
                what: format!("deliver the new {id}{to}: {}", in_words(why)),
                at: None,
                action: action(why.reason),
            }
        });
        todo.collect()
    }

    /// A roll that found its token spent: perhaps by a thief, who holds the next of its family.
    fn spent_before(&self, planned: &Planned, machine: &Machine) -> Option<Todo> {
        let kind = self.plan.kind(planned.kind)?;
        let Issued::Failed(why) = &machine.issued else { return None };
        let spent = match why.reason {
            Reason::SomebodyElse => true,
            // Of our own finding: the look before the roll saw it refused.
            Reason::ActorRefused => why.status.is_none(),
            _ => false,
        };
        (kind.can.order == Order::Roll && spent).then(|| Todo {
            what: format!("find out who spent {}: it was refused before it was rolled", planned.id),
            at: self.revoked_at(planned, machine),
            action: "it had expired, or somebody used it first and held what came of it: look \
                     for others made from it or by the same consent, and end them there"
                .to_owned(),
        })
    }

    /// An issue whose answer was lost, and of which nothing was seen since: perhaps it lives.
    fn lost(
        &self,
        subject: Subject,
        planned: &Planned,
        kind: &PlannedKind,
        machine: &Machine,
    ) -> Option<Todo> {
        let made = machine.lost_issues();
        (made > 0).then(|| {
            let id = &planned.id;
            let labels = self.plan.labels(iter::once(planned)).join(" or ");
            if kind.asks_a_person() {
                return Todo {
                    what: format!("tokens of a new {id} may have been lost ({made} lost answers)"),
                    at: self.revoked_at(planned, machine),
                    action: "nobody holds them; if they must end now, end the consent there and \
                             consent anew"
                        .to_owned(),
                };
            }
            let whose = match self.listed(subject, kind, machine) {
                Listed::PerhapsUnrecognised => "one of the unrecognised",
                _ => "a credential",
            };
            Todo {
                what: format!("a new {id} may have been made and lost ({made} lost answers)"),
                at: None,
                action: format!("look for {whose} whose name begins with {labels}, delete it"),
            }
        })
    }
}

/// What a person has to end.
fn to_revoke(
    planned: &Planned,
    kind: &PlannedKind,
    machine: &Machine,
    (ended, said): (bool, Verdict),
) -> Option<String> {
    let id = &planned.id;
    if machine.stopped_before_revoke.is_some() {
        return None;
    }
    if !ended && (machine.revoke != Revoke::Accepted || said == Verdict::Alive) {
        let wider = wider_way(planned, kind, machine).unwrap_or_default();
        return Some(format!("{} {id}{wider}", TO_END[0]));
    }
    let why = in_words(&half_revoked(planned, machine)?);
    Some(format!("{} {id}, of which a step was left: {why}", TO_END[1]))
}

/// What a person has to make.
fn to_issue(id: &str, machine: &Machine, state: NewState) -> Option<String> {
    match state {
        NewState::NotIssued => Some(format!("{TO_ISSUE} {id}")),
        // What a lost answer leaves open may be good; what is refused is of no use to anybody.
        NewState::Unproven if matches!(machine.new_used, Some((_, false))) => {
            Some(format!("{TO_ISSUE} {id}: what was issued is refused"))
        }
        _ => None,
    }
}

/// The option that would have allowed a way of revoking it that ends more than it.
fn wider_way(planned: &Planned, kind: &PlannedKind, machine: &Machine) -> Option<String> {
    let ways = kind.can.ways(Verb::Revoke);
    let left_out = planned.ways_left_out.iter().filter_map(|way| ways.get(usize::from(*way)));
    let kills = left_out.map(|way| kind.can.blast_of(way).kills).min()?;
    let sent = matches!(machine.revoke, Revoke::Accepted | Revoke::Lost);
    (!sent).then(|| {
        format!(
            ", or end everything of its {kills}: run again with --max-blast {kills}",
            kills = kills.word()
        )
    })
}

fn not_evicted(id: &str, machine: &Machine) -> Option<Todo> {
    let Try::Failed(why) = &machine.evict else { return None };
    Some(Todo {
        what: format!("end what was minted from {id}: {}", in_words(why)),
        at: None,
        action: "end its sessions by hand".to_owned(),
    })
}

/// Fills the markers of a page or an instruction with public values; what is unknown stays named.
fn filled(page: &str, plan: &Plan, planned: &Planned, machine: &Machine) -> String {
    let mut filled = page.to_owned();
    let mut fill = |name: &str, value: &str| {
        for marker in ["{{ NAME }}", "{{NAME}}", "{{ NAME? }}"] {
            filled = filled.replace(&marker.replace("NAME", name), value);
        }
    };
    for (name, value) in planned.vars.iter().chain(&machine.taken).chain(&machine.old.public) {
        if let Some(value) = text(value) {
            fill(name, &value);
        }
    }
    if let Some(handle) = &machine.old.handle {
        fill("handle", handle);
    }
    fill("label", &plan.label);
    let host = plan
        .kind(planned.kind)
        .and_then(|kind| plan.providers.iter().find(|provider| provider.id == kind.provider))
        .and_then(|provider| provider.hosts.first());
    if let Some(host) = host {
        // Plain http goes to loopback alone.
        let loopback = ["127.", "localhost", "[::1]"].iter().any(|it| host.starts_with(it));
        fill("base", &format!("{}://{host}", if loopback { "http" } else { "https" }));
    }
    // What nobody knows is left for a person to see, in words.
    filled.replace("{{ ", "(").replace("? }}", " }}").replace(" }}", ", not known here)")
}
