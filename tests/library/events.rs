//! A run as a stream.

use futures::StreamExt as _;
use rotate::drive::watch;
use rotate::engine::progress::{Happened, Of, Outcome, Progress, Step};
use serde_json::json;

use crate::issuer::Issuer;
use crate::line::Line;

async fn watched(line: &Line) -> Vec<Progress> {
    let (watcher, events) = watch();
    let (driven, seen) = tokio::join!(line.contain(watcher), events.collect::<Vec<_>>());
    drop(driven);
    seen
}

#[tokio::test]
async fn the_stream_tells_every_step_in_order_and_ends_with_the_run() {
    let (issuer, base) = Issuer::start().await;
    let line = Line::with_keys(&issuer, &base, 1);
    let seen = watched(&line).await;
    assert_eq!(seen[0].what, Happened::Began);
    let of_the_key: Vec<(Step, String)> = seen
        .iter()
        .filter_map(|progress| match &progress.what {
            Happened::Answered { of: Of::Credential(id), step, outcome } => {
                assert_eq!(id, "mail-agent/k0");
                let json = serde_json::to_value(outcome).unwrap();
                let word = json.as_object().and_then(|it| it.keys().next().cloned());
                Some((*step, word.unwrap_or_else(|| json.as_str().unwrap().to_owned())))
            }
            _ => None,
        })
        .collect();
    let place = |step, word: &str| {
        let found = of_the_key.iter().position(|(at, came)| *at == step && came == word);
        found.unwrap_or_else(|| panic!("{step:?} {word} in {of_the_key:?}"))
    };
    let in_order = [
        place(Step::Read, "held"),
        place(Step::UseOld, "accepted"),
        place(Step::Revoke, "done"),
        place(Step::Issue, "issued"),
        place(Step::UseNew, "accepted"),
        place(Step::UseOld, "refused"),
    ];
    assert!(in_order.is_sorted(), "{of_the_key:?}");
    assert!(seen.is_sorted_by_key(|progress| progress.elapsed_ms));
}

#[tokio::test]
async fn the_stream_holds_no_secret() {
    let (issuer, base) = Issuer::start().await;
    let line = Line::with_keys(&issuer, &base, 2);
    let text = serde_json::to_string(&watched(&line).await).unwrap();
    assert!(text.contains("mail-agent/k1"));
    // Every secret of that server begins so, and no name does.
    assert!(!text.contains("acme_0") && !text.contains("acmeadm_"), "{text}");
}

#[tokio::test]
async fn who_stops_reading_stops_nothing() {
    let (issuer, base) = Issuer::start().await;
    let line = Line::with_keys(&issuer, &base, 1);
    let (watcher, events) = watch();
    drop(events);
    let report = line.contain(watcher).await.close().unwrap();
    assert_eq!(report.summary.dead, 1);
}

/// What other programs read: nothing of it changes its name.
#[test]
fn the_words_of_the_stream_stay() {
    assert_eq!(json!(Happened::TakenUp), json!("taken-up"));
    assert_eq!(json!(Step::UseMadeUp), json!("use-made-up"));
    assert_eq!(json!(Step::SaveEvidence), json!("save-evidence"));
    let answered = Happened::Answered {
        of: Of::Credential("mail-agent/k0".to_owned()),
        step: Step::Revoke,
        outcome: Outcome::Throttled { wait_ms: Some(1_000) },
    };
    let written = json!({ "answered": {
        "of": { "credential": "mail-agent/k0" },
        "step": "revoke",
        "outcome": { "throttled": { "wait_ms": 1000 } },
    } });
    assert_eq!(json!(answered), written);
}
