//! What a verify saw later of what a run has left.

use super::super::plan::{Earlier, Left};
use super::super::report::{CredentialReport, NewState, Todo, Verdict};
use super::todo::{TO_END, TO_ISSUE};

impl Earlier {
    /// Takes what a verify saw of the old one later. What saw nothing leaves what was known.
    pub(crate) fn see_again(&mut self, later: Self) {
        let print = |of: &Self| of.old.as_ref().map(|old| old.fingerprint.clone());
        if speak_of_others(print(self).as_deref(), print(&later).as_deref()) {
            return;
        }
        let said = |of: &Self| of.verdict.as_ref().is_some_and(|(it, _)| *it != Verdict::Unproven);
        if said(self) && !said(&later) {
            return;
        }
        // Its bytes were forgotten with its death.
        if let (Some(old), Some(seen)) = (&mut self.old, &later.old)
            && seen.secrets.is_empty()
        {
            old.secrets.clear();
        }
        self.accepted_as = later.accepted_as;
        self.last_accepted = later.last_accepted;
        self.revoked_at = later.revoked_at;
        self.revoke = later.revoke;
        self.done_by_hand = later.done_by_hand;
        self.half_revoked = later.half_revoked;
        self.verdict = later.verdict;
    }
}

impl CredentialReport {
    /// Takes what a verify saw of the old one later, and what is left to do about that. What saw
    /// nothing leaves what was known.
    pub(crate) fn see_again(&mut self, later: &Self) {
        let said = |of: &Self| of.old.verdict != Verdict::Unproven;
        let prints = (self.old.fingerprint.as_deref(), later.old.fingerprint.as_deref());
        if said(self) && !said(later) || speak_of_others(prints.0, prints.1) {
            return;
        }
        self.old = later.old.clone();
        self.todo.retain(|todo| !ends(todo));
        self.todo.splice(0..0, later.todo.iter().filter(|todo| ends(todo)).cloned());
    }

    /// The new one of a verify: what that cannot look at stays as the run beneath left it. `used`
    /// says whether it was accepted when it was used, if it was.
    pub(super) fn go_on_from(&mut self, left: &Left, used: Option<bool>) {
        let now = std::mem::replace(&mut self.new, left.new.clone());
        match used {
            Some(false) => self.new.state = NewState::Unproven,
            Some(true) if self.new.state == NewState::Unproven => self.new.state = now.state,
            _ => {}
        }
        self.new.identity = self.new.identity.take().or(now.identity);
    }

    /// What is left to do, from what this report says itself and what the run beneath had left.
    pub(super) fn goes_on_to_do(&mut self, left: &Left, used: Option<bool>) {
        let looked_at =
            |todo: &&Todo| ends(todo) || used.is_some() && todo.what.starts_with(TO_ISSUE);
        let own = self.todo.iter().filter(looked_at);
        let todo = own.chain(left.todo.iter().filter(|todo| !looked_at(todo)));
        self.todo = todo.cloned().collect();
    }
}

fn ends(todo: &Todo) -> bool {
    TO_END.iter().any(|words| todo.what.starts_with(words))
}

/// Whether two fingerprints are those of two different values. A restore repeats what several runs
/// said, and a verify of one of them may be about another old one of the same name.
fn speak_of_others(one: Option<&str>, other: Option<&str>) -> bool {
    let known = |print: Option<&'_ str>| print.is_some_and(|print| !print.is_empty());
    known(one) && known(other) && one != other
}
