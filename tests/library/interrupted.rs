//! Dropping the future is a crash: resumable, nothing else.

use rotate::drive::Nobody;
use rotate::engine::report::{NewState, Report, Verdict};

use crate::issuer::Issuer;
use crate::line::Line;

fn outcome(report: &Report) -> Vec<(String, Verdict, NewState)> {
    let each = report.credentials.iter();
    each.map(|one| (one.id.clone(), one.old.verdict, one.new.state)).collect()
}

#[tokio::test]
async fn a_dropped_run_is_taken_up_and_ends_the_same() {
    let (issuer, base) = Issuer::start().await;
    let undisturbed = Line::with_keys(&issuer, &base, 4).contain(Nobody).await.close().unwrap();

    let (issuer, base) = Issuer::start().await;
    let line = Line::with_keys(&issuer, &base, 4);
    issuer.hold(true);
    // Dropped while its first revocations are done and none is answered.
    tokio::select! {
        _ = line.contain(Nobody) => panic!("it ended although no revocation was answered"),
        () = issuer.revoking.notified() => {}
    }
    assert!(issuer.alive() < 4);
    issuer.hold(false);
    let resumed = line.resume().await.close().unwrap();
    assert_eq!(outcome(&resumed), outcome(&undisturbed));
    for number in 0..4 {
        assert!(!issuer.is_alive(&format!("acme_{number:032}")));
    }
    // One new key for each, and no orphan.
    assert_eq!(issuer.alive(), 4);
    assert_eq!(issuer.heard("POST /v1/keys"), 4);
}

#[tokio::test]
async fn a_closed_run_cannot_be_written_any_more() {
    let (issuer, base) = Issuer::start().await;
    let line = Line::with_keys(&issuer, &base, 1);
    let report = line.contain(Nobody).await.close().unwrap();
    let state = line.state();
    let run = state.runs().unwrap().remove(0);
    assert!(run.closed.is_some());
    let kept: Report = serde_json::from_str(&state.report_of(&run.run).unwrap().unwrap()).unwrap();
    assert_eq!(kept, report);
    let (mut journal, ..) = rotate::journal::Journal::open(&state, &run.run).unwrap();
    let error = journal.append(&[], &[]).unwrap_err();
    assert_eq!(error.to_string(), format!("run {} is closed", run.run));
}
