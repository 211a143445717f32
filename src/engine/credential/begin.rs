//! What is known of a credential before the run.

use super::{Issued, Machine, Side, Try};
use crate::engine::call::{Reason, Time};
use crate::engine::plan::{KnownSide, Phase, Planned};
use crate::engine::report::Mode;
use crate::engine::verdict::Before;

impl Machine {
    /// A machine at its beginning, with what an earlier run knew where this one goes on from it.
    pub(in crate::engine) fn begin(planned: &Planned, mode: Mode) -> Self {
        let missing = u32::try_from(planned.lost_before.len()).unwrap_or(u32::MAX);
        let mut machine = Self { missing, ..Self::default() };
        machine.old.handle.clone_from(&planned.handle);
        let goes_on = matches!(mode, Mode::Restore | Mode::Verify);
        // What an earlier run left is in no place: its journal had it.
        if let Some(old) = planned.leftover().filter(|_| mode.contains()) {
            let earlier = planned.earlier.as_ref();
            machine.old = side(old);
            machine.read = Try::Done;
            machine.known = earlier.is_some_and(|earlier| earlier.accepted_as.is_some());
            return machine;
        }
        let Some(earlier) = planned.earlier.as_ref().filter(|_| goes_on) else { return machine };
        machine.look = Try::Done;
        machine.find = Try::Done;
        if let Some(old) = &earlier.old {
            machine.old = side(old);
            machine.old.handle = machine.old.handle.or_else(|| planned.handle.clone());
        }
        if mode == Mode::Verify {
            let held = !machine.old.secrets.is_empty();
            machine.read = if held { Try::Done } else { Try::Failed(Reason::Unreadable.into()) };
        } else {
            // Its places are read again: somebody may have been at work there.
            machine.old.secrets.clear();
        }
        if let Some(who) = &earlier.accepted_as {
            machine.before = Some(Before::Accepted);
            machine.identity = Some(who.clone()).filter(|who| !who.0.is_empty());
        }
        machine.last_accepted = earlier.last_accepted;
        machine.revoke = earlier.revoke.unwrap_or_default();
        machine.done_by_hand = earlier.done_by_hand;
        machine.half_revoked.clone_from(&earlier.half_revoked);
        machine.revoked = earlier.revoked_at.map(|wall| (Time(0), wall));
        if let Some(new) = earlier.new.as_ref().filter(|new| !new.secrets.is_empty()) {
            machine.new = side(new);
            machine.issued = Issued::Yes;
            machine.deliver = if earlier.delivered { Try::Done } else { Try::Todo };
            machine.placed.clone_from(&earlier.placed);
            // What this run does not use stays accepted.
            if mode == Mode::Verify && !planned.phases.contains(&Phase::ProveNew) {
                machine.new_identity.clone_from(&earlier.new_accepted_as);
            }
        }
        machine
    }
}

fn side(known: &KnownSide) -> Side {
    Side {
        fingerprint: known.fingerprint.clone(),
        handle: known.handle.clone(),
        public: known.public.clone(),
        secrets: known.secrets.clone(),
    }
}
