//! The OAuth client that acts, where it is rotated in the same run.
//!
//! A client that registers anew is another client (RFC 7591): what was granted to the one does not
//! belong to the other, which may neither end it (RFC 7009 section 2.1) nor see whether it lives
//! (RFC 7662 section 2.2). So the old one acts for the old, as long as it is there, and its
//! successor for the new.

use super::call::{Party, Reason, Subject, Verb, Why};
use super::credential::{Machine, NotSafe, Try};
use super::plan::{Acting, Phase, Plan, Planned};
use super::report::Mode;
use super::scene::{Ready, Scene, party};

/// What a call is about, as far as the client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// What was granted to the old client.
    Old,
    /// What its successor is granted.
    New,
}

impl From<Verb> for Whose {
    fn from(verb: Verb) -> Self {
        if verb == Verb::Issue { Self::New } else { Self::Old }
    }
}

impl Plan {
    /// Whether this run gives it another id: one that is a part of it comes anew with the issue.
    pub(super) fn gets_another_id(&self, subject: Subject) -> bool {
        self.planned(subject).is_some_and(|planned| {
            let kind = self.kind(planned.kind);
            planned.phases.contains(&Phase::Issue)
                && kind.is_some_and(|kind| kind.can.handle_part().is_some())
        })
    }

    /// The client of the run that gets another id, if that is the client of this one.
    pub(super) fn replaced_client(&self, planned: &Planned) -> Option<Subject> {
        match planned.client {
            Some(Acting::Planned(client)) if self.gets_another_id(client) => Some(client),
            _ => None,
        }
    }
}

impl Scene<'_> {
    /// The client, if its bytes are at hand.
    pub(super) fn client(&self, whose: Whose) -> Result<Party, Ready> {
        let missing = || Ready::Never(Why::from(Reason::MissingValue));
        match (self.planned.client.ok_or_else(missing)?, whose) {
            (Acting::Planned(client), Whose::Old) if self.is_another(client) => {
                self.old_of_run(client)
            }
            (Acting::Planned(client), Whose::New) if self.plan.gets_another_id(client) => {
                self.successor(client)
            }
            (acting, _) => self.acting(acting),
        }
    }

    /// Whether its successor is another client: in this run, or in the one that this one verifies.
    fn is_another(&self, client: Subject) -> bool {
        self.plan.gets_another_id(client)
            || self.one_of_run(client).is_ok_and(|(_, machine, kind)| {
                let ids = (&machine.old.handle, &machine.new.handle);
                kind.can.handle_part().is_some()
                    && matches!(ids, (Some(old), Some(new)) if old != new)
            })
    }

    /// What a client is granted that is about to be revoked dies with it, so its successor is
    /// waited for. One that stays is its own.
    fn successor(&self, client: Subject) -> Result<Party, Ready> {
        let (planned, machine, kind) = self.one_of_run(client)?;
        if machine.new_identity.is_some() {
            Ok(party(kind, &planned.vars, &machine.new))
        } else if machine.new_may_be_proved(&planned.phases) {
            Err(Ready::Later)
        } else if machine.stopped_before_revoke.is_some() {
            self.old_of_run(client)
        } else {
            Err(Ready::Never(Reason::ActorRefused.into()))
        }
    }

    /// A rehearsal switches a client that gets another id and what is granted to it together: of
    /// two clients neither takes the tokens of the other. So nothing new is written before all of
    /// it is proved, then the grants, whose new access tokens serve by themselves meanwhile, then
    /// the client; and nothing old is ended before all of it is in its places.
    ///
    /// Whether the others are so far that this one may be written.
    ///
    /// # Errors
    /// One of them could not be replaced, so none is.
    pub(super) fn may_be_written(&self) -> Result<bool, NotSafe> {
        let is_client = self.plan.gets_another_id(self.subject);
        self.switched(
            |machine, written| {
                if is_client { written } else { machine.new_identity.is_some() }
            },
        )
    }

    /// Whether all of them are written.
    ///
    /// # Errors
    /// As for [`Scene::may_be_written`].
    pub(super) fn is_switched(&self) -> Result<bool, NotSafe> {
        self.switched(|machine, written| written && machine.stopped_before_revoke.is_none())
    }

    /// Whether this holds of all others that are switched with this one.
    fn switched(&self, holds: impl Fn(&Machine, bool) -> bool) -> Result<bool, NotSafe> {
        let mut all = true;
        for subject in self.switched_with() {
            let Ok((planned, machine, _)) = self.one_of_run(subject) else { continue };
            let deliver = planned.phases.iter().position(|phase| *phase == Phase::Deliver);
            let beyond = deliver.is_some_and(|at| usize::from(machine.at) > at);
            let written = beyond && machine.deliver == Try::Done;
            let holds = holds(machine, written);
            if beyond && !(written && holds) {
                return Err(NotSafe::GroupNotReplaced);
            }
            all &= holds;
        }
        Ok(all)
    }

    /// The replaced client of this one, or this one itself, with all that is granted to it, but
    /// for this one. A client without a successor stays what it is, and so does what it granted.
    fn switched_with(&self) -> impl Iterator<Item = Subject> {
        let own = self.plan.gets_another_id(self.subject).then_some(self.subject);
        let client = own.or_else(|| self.plan.replaced_client(self.planned));
        let client = client.filter(|client| {
            let machine = self.machines.get(client.0 as usize);
            let stays =
                |it: &Machine| it.stopped_before_revoke.is_some() && it.new_identity.is_none();
            self.plan.mode == Mode::Rehearse && !machine.is_none_or(stays)
        });
        let serves = client.and_then(|client| self.plan.planned(client)).map(|it| &it.serves);
        let granted = serves.into_iter().flatten().copied().filter(move |served| {
            let planned = self.plan.planned(*served);
            planned.and_then(|planned| self.plan.replaced_client(planned)) == client
        });
        client.into_iter().chain(granted).filter(|one| *one != self.subject)
    }
}
