//! What a report comes to: its counts, and the exit code that is a public contract.

use super::{
    CredentialReport, EvidenceState, Mode, New, NewState, Report, RoleDetail, StopState, Summary,
    Until, Verdict,
};

/// Nothing is left for anyone.
pub const NOTHING_LEFT: u8 = 0;
/// rotate itself failed; the report says how far it came.
pub const FAILED: u8 = 1;
/// Arguments or inventory are wrong; nothing was touched. No report has it.
pub const WRONG_INPUT: u8 = 2;
/// Something is left, and nothing is known to work.
pub const SOMETHING_LEFT: u8 = 3;
/// An old credential still works.
pub const ALIVE: u8 = 4;
/// Stopped by a person; resumable.
pub const STOPPED: u8 = 130;

impl Report {
    /// Counts, lifts the facts of the roles to the top and sets the exit code: the last thing a
    /// fold does, and again whenever `as_of` moves on.
    #[must_use]
    pub fn summed(mut self) -> Self {
        if let Some(first) = self.role_details.first() {
            self.owner.clone_from(&first.owner);
            self.authorized_by.clone_from(&first.authorized_by);
            self.vendor.clone_from(&first.vendor);
            self.upstream = upstream(&self.role_details);
        }
        if let Some(worst) = self.role_details.iter().min_by_key(|role| role.stopped.state) {
            self.stopped = worst.stopped.clone();
        }
        if let Some(worst) = self.role_details.iter().min_by_key(|role| role.evidence.state) {
            self.evidence = worst.evidence.clone();
        }
        self.summary = Summary::of(&self.credentials, self.todo.len());
        self.exit_code = self.exit_code();
        self
    }

    /// The exit code, from everything else in the report. 130 for a run that a person stopped;
    /// else the highest of 4, 1, 3, 0, in that order.
    ///
    /// - 0: every old one is dead, what it minted has ended, everything is replaced or held as
    ///   planned, the agent is stopped and the evidence saved where named, nothing is unrecognised
    ///   and nothing unlisted.
    /// - 1: rotate itself failed, or its journal could not be written to the end.
    /// - 3: anything else, and nothing is known to work.
    /// - 4: an old credential still works.
    pub fn exit_code(&self) -> u8 {
        if self.stopped_early {
            STOPPED
        } else if self.credentials.iter().any(|one| one.old.verdict == Verdict::Alive) {
            ALIVE
        } else if self.failed.is_some() || self.journal_lost_at.is_some() {
            FAILED
        } else if self.leaves_something() {
            SOMETHING_LEFT
        } else {
            NOTHING_LEFT
        }
    }

    fn leaves_something(&self) -> bool {
        self.finished.is_none()
            || !self.todo.is_empty()
            || !self.unlisted.is_empty()
            || self.role_details.iter().any(role_leaves_something)
            || self.credentials.iter().any(|one| self.credential_leaves_something(one))
    }

    fn credential_leaves_something(&self, one: &CredentialReport) -> bool {
        !matches!(one.old.verdict, Verdict::Dead | Verdict::AlreadyDead)
            || one.new.leaves_something()
            || !one.todo.is_empty()
            || !one.strangers.is_empty()
            || one.orphans.iter().any(|orphan| !orphan.revoked)
            || one.residual.iter().flatten().any(|child| self.must_wait_for(child.until))
    }

    /// In a rehearsal nobody waits for what ends by itself at a known time.
    fn must_wait_for(&self, until: Until) -> bool {
        let mode = match (self.mode, &self.of) {
            (Mode::Verify, Some(origin)) => origin.mode,
            (mode, _) => mode,
        };
        match until {
            Until::At(_) => mode != Mode::Rehearse && !until.passed(self.as_of),
            Until::Unknown | Until::Forever | Until::Open => true,
        }
    }
}

impl New {
    fn leaves_something(&self) -> bool {
        match self.state {
            NewState::Delivered | NewState::Held => !self.not_delivered.is_empty(),
            NewState::NotIssued => self.planned,
            NewState::Escrowed | NewState::Unproven => true,
        }
    }
}

impl Summary {
    /// Counts credentials; `other_todo` is what is left for a person and belongs to none of them.
    pub fn of(credentials: &[CredentialReport], other_todo: usize) -> Self {
        let mut summary = Self { todo: count(other_todo), ..Self::default() };
        for one in credentials {
            let tally = match one.old.verdict {
                Verdict::Dead => &mut summary.dead,
                Verdict::AlreadyDead => &mut summary.already_dead,
                Verdict::Refused => &mut summary.refused,
                Verdict::Dying => &mut summary.dying,
                Verdict::Expires => &mut summary.expires,
                Verdict::Alive => &mut summary.alive,
                Verdict::Unproven => &mut summary.unproven,
            };
            *tally = tally.saturating_add(1);
            summary.todo = summary.todo.saturating_add(count(one.todo.len()));
            if matches!(one.new.state, NewState::Delivered | NewState::Held) {
                summary.replaced = summary.replaced.saturating_add(1);
            }
        }
        summary
    }
}

fn role_leaves_something(role: &RoleDetail) -> bool {
    matches!(role.stopped.state, StopState::Failed | StopState::Pending)
        || !matches!(role.evidence.state, EvidenceState::None | EvidenceState::Saved)
        || !role.evidence.gaps.is_empty()
}

fn upstream(roles: &[RoleDetail]) -> Vec<String> {
    let mut all: Vec<String> = roles.iter().flat_map(|role| role.upstream.clone()).collect();
    all.sort();
    all.dedup();
    all
}

/// No plan comes near `u32::MAX` entries; one that did would be reported as that many.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::call::Wall;
    use crate::engine::report::{
        Evidence, Origin, Orphan, Residual, Stamp, Stopped, Stranger, StrangerClass, Todo, Unlisted,
    };

    /// A finished run of one role with one credential, and nothing left.
    fn done(mode: Mode) -> Report {
        let mut one = CredentialReport { id: "mail/openai".to_owned(), ..Default::default() };
        one.old.verdict = Verdict::Dead;
        one.new.state = NewState::Held;
        Report {
            mode,
            finished: Some(Stamp(Wall(1000))),
            as_of: Stamp(Wall(1000)),
            role_details: vec![RoleDetail { role: "mail".to_owned(), ..Default::default() }],
            credentials: vec![one],
            ..Default::default()
        }
    }

    /// The exit code of a contain after one change.
    fn after(change: impl FnOnce(&mut Report)) -> u8 {
        after_in(Mode::Contain, change)
    }

    fn after_in(mode: Mode, change: impl FnOnce(&mut Report)) -> u8 {
        let mut report = done(mode);
        change(&mut report);
        report.summed().exit_code
    }

    fn verdict(report: &mut Report, verdict: Verdict) {
        report.credentials[0].old.verdict = verdict;
    }

    fn child(report: &mut Report, until: Until) {
        report.credentials[0].residual =
            Some(vec![Residual { what: "session tokens".to_owned(), until }]);
    }

    fn todo() -> Todo {
        Todo { what: "revoke".to_owned(), at: None, action: "Delete the key".to_owned() }
    }

    #[test]
    fn nothing_left_is_0_in_every_mode() {
        for mode in [Mode::Contain, Mode::RevokeOnly, Mode::Restore, Mode::Rehearse, Mode::Verify] {
            assert_eq!(after_in(mode, |_| ()), 0, "{mode:?}");
        }
    }

    #[test]
    fn every_verdict_has_its_code() {
        for (word, code) in [
            (Verdict::Dead, 0),
            (Verdict::AlreadyDead, 0),
            (Verdict::Refused, 3),
            (Verdict::Dying, 3),
            (Verdict::Expires, 3),
            (Verdict::Unproven, 3),
            (Verdict::Alive, 4),
        ] {
            assert_eq!(after(|report| verdict(report, word)), code, "{word:?}");
        }
    }

    #[test]
    fn the_highest_of_4_1_3_0_wins_in_that_order() {
        let fail = |report: &mut Report| report.failed = Some("disk full".to_owned());
        assert_eq!(after(fail), 1);
        assert_eq!(after(|report| (fail(report), verdict(report, Verdict::Dying)).1), 1);
        assert_eq!(after(|report| (fail(report), verdict(report, Verdict::Alive)).1), 4);
        assert_eq!(after(|report| report.todo.push(todo())), 3);
    }

    #[test]
    fn a_run_that_a_person_stopped_is_130_whatever_it_saw() {
        assert_eq!(after(|report| report.stopped_early = true), 130);
        let both = |report: &mut Report| {
            report.stopped_early = true;
            verdict(report, Verdict::Alive);
        };
        assert_eq!(after(both), 130);
    }

    #[test]
    fn a_journal_that_was_lost_is_1() {
        assert_eq!(after(|report| report.journal_lost_at = Some(Stamp(Wall(500)))), 1);
    }

    #[test]
    fn an_open_run_is_3() {
        assert_eq!(after(|report| report.finished = None), 3);
    }

    #[test]
    fn each_thing_left_for_a_person_is_3() {
        assert_eq!(after(|report| report.credentials[0].todo.push(todo())), 3);
        let unlisted = Unlisted {
            place: "dotenv:/srv/mail/.env#OTHER".to_owned(),
            provider: None,
            kind: None,
            fingerprint: "f00d".to_owned(),
        };
        assert_eq!(after(|report| report.unlisted.push(unlisted)), 3);
        let stranger = Stranger {
            handle: "key_x".to_owned(),
            label: None,
            created: None,
            used: None,
            class: StrangerClass::OlderOrUndated,
        };
        assert_eq!(after(|report| report.credentials[0].strangers.push(stranger)), 3);
    }

    #[test]
    fn what_is_only_said_changes_nothing() {
        let say = |report: &mut Report| {
            report.warnings.push("one recipient only".to_owned());
            report.other_keys.push("dotenv:/srv/mail/.env#LOG_LEVEL".to_owned());
            report.credentials[0].collateral.push("every token of the project".to_owned());
        };
        assert_eq!(after(say), 0);
    }

    #[test]
    fn an_orphan_counts_until_it_is_revoked() {
        let orphan = |revoked| Orphan { handle: "key_o".to_owned(), label: None, revoked };
        assert_eq!(after(|report| report.credentials[0].orphans.push(orphan(true))), 0);
        assert_eq!(after(|report| report.credentials[0].orphans.push(orphan(false))), 3);
    }

    #[test]
    fn a_successor_is_owed_only_where_the_plan_issues_one() {
        let with = |state, planned| {
            after(|report| {
                report.credentials[0].new.state = state;
                report.credentials[0].new.planned = planned;
            })
        };
        assert_eq!(with(NewState::Delivered, true), 0);
        assert_eq!(with(NewState::Held, true), 0);
        assert_eq!(with(NewState::Held, false), 0);
        assert_eq!(with(NewState::NotIssued, false), 0);
        assert_eq!(with(NewState::NotIssued, true), 3);
        assert_eq!(with(NewState::Escrowed, true), 3);
        assert_eq!(with(NewState::Unproven, true), 3);
    }

    #[test]
    fn an_agent_that_should_be_ended_must_be() {
        for (state, code) in [
            (StopState::None, 0),
            (StopState::Reported, 0),
            (StopState::Verified, 0),
            (StopState::Pending, 3),
            (StopState::Failed, 3),
        ] {
            let stop = |report: &mut Report| {
                report.role_details[0].stopped = Stopped { state, at: None, why: None };
            };
            assert_eq!(after(stop), code, "{state:?}");
        }
    }

    #[test]
    fn evidence_that_is_named_must_be_saved_whole() {
        for (state, code) in [
            (EvidenceState::None, 0),
            (EvidenceState::Saved, 0),
            (EvidenceState::Partial, 3),
            (EvidenceState::Pending, 3),
            (EvidenceState::Failed, 3),
        ] {
            let save = |report: &mut Report| report.role_details[0].evidence.state = state;
            assert_eq!(after(save), code, "{state:?}");
        }
        let gap = |report: &mut Report| {
            report.role_details[0].evidence = Evidence {
                state: EvidenceState::Saved,
                gaps: vec!["/srv/mail/logs/today.log".to_owned()],
                ..Default::default()
            };
        };
        assert_eq!(after(gap), 3);
    }

    #[test]
    fn a_contain_waits_for_what_was_minted_and_a_rehearsal_only_for_what_has_no_end() {
        let passed = Until::At(Stamp(Wall(1000)));
        let coming = Until::At(Stamp(Wall(1001)));
        for mode in [Mode::Contain, Mode::RevokeOnly, Mode::Verify] {
            assert_eq!(after_in(mode, |report| child(report, passed)), 0, "{mode:?}");
            assert_eq!(after_in(mode, |report| child(report, coming)), 3, "{mode:?}");
        }
        assert_eq!(after_in(Mode::Rehearse, |report| child(report, coming)), 0);
        for until in [Until::Unknown, Until::Forever, Until::Open] {
            assert_eq!(after_in(Mode::Contain, |report| child(report, until)), 3, "{until}");
            assert_eq!(after_in(Mode::Rehearse, |report| child(report, until)), 3, "{until}");
        }
    }

    #[test]
    fn a_verify_judges_lifetimes_as_the_run_that_it_verifies() {
        let of = |mode| {
            after_in(Mode::Verify, |report| {
                child(report, Until::At(Stamp(Wall(1001))));
                report.of = Some(Origin { run: "earlier".to_owned(), mode });
            })
        };
        assert_eq!(of(Mode::Rehearse), 0);
        assert_eq!(of(Mode::Contain), 3);
    }

    #[test]
    fn time_passing_can_end_what_was_left() {
        let mut report = done(Mode::Contain);
        child(&mut report, Until::At(Stamp(Wall(5000))));
        assert_eq!(report.exit_code(), 3);
        report.as_of = Stamp(Wall(5000));
        assert_eq!(report.exit_code(), 0);
    }

    #[test]
    fn the_top_never_tells_anything_better_than_the_worst_role() {
        let stopped = |state| Stopped { state, at: None, why: None };
        let mut report = done(Mode::Contain);
        report.role_details = vec![
            RoleDetail {
                owner: Some("first@example.com".to_owned()),
                stopped: stopped(StopState::Verified),
                upstream: vec!["planner".to_owned()],
                ..Default::default()
            },
            RoleDetail {
                owner: Some("second@example.com".to_owned()),
                stopped: stopped(StopState::Failed),
                upstream: vec!["planner".to_owned(), "broker".to_owned()],
                ..Default::default()
            },
        ];
        let report = report.summed();
        assert_eq!(report.owner.as_deref(), Some("first@example.com"));
        assert_eq!(report.stopped.state, StopState::Failed);
        assert_eq!(report.upstream, ["broker", "planner"]);
    }

    #[test]
    fn the_summary_counts_every_credential_once_and_every_todo() {
        let mut report = done(Mode::Contain);
        let mut second = report.credentials[0].clone();
        second.old.verdict = Verdict::AlreadyDead;
        second.new.state = NewState::Escrowed;
        second.todo = vec![todo(), todo()];
        report.credentials.push(second);
        report.todo.push(todo());
        let summary = report.summed().summary;
        let expected =
            Summary { dead: 1, already_dead: 1, replaced: 1, todo: 3, ..Default::default() };
        assert_eq!(summary, expected);
    }

    #[test]
    fn a_report_of_nothing_never_looks_finished() {
        assert_eq!(Report::default().summed().exit_code, 3);
        let mut blank = done(Mode::Contain);
        blank.credentials = vec![CredentialReport::default()];
        assert_eq!(blank.summed().exit_code, 3);
    }
}
