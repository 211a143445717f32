//! Tokens are told apart, looked at by use, and ended by their value.

use futures::future::join_all;
use rotate::engine::call::{Answer, Fault, Liveness};
use rotate::provider::catalog::Catalog;
use serde_json::json;

use crate::bench::{
    ALONE, AS_ITSELF, Bench, DEAD, TOGETHER, acting, alive, made_up, named, refused,
};
use crate::lab::{FakeGithub, Prefix};

const KINDS: [(&str, Prefix); 5] = [
    ("classic-token", Prefix::Ghp),
    ("fine-grained-token", Prefix::GithubPat),
    ("oauth-token", Prefix::Gho),
    ("app-user-token", Prefix::Ghu),
    ("app-refresh-token", Prefix::Ghr),
];

#[tokio::test]
async fn fake_tokens_are_told_apart_by_shape_and_checksum() {
    let fake = FakeGithub::start().await;
    let catalog = Catalog::builtin().unwrap();
    for (kind, prefix) in KINDS.into_iter().chain([("installation-token", Prefix::Ghs)]) {
        let token = fake.token(prefix, 1);
        assert_eq!(catalog.identify(&token), [("github", kind)]);
        if prefix == Prefix::Ghs {
            continue;
        }
        // One character of what is summed up, and the prefix of another kind.
        for at in [12, 20] {
            let mut mistyped = token.clone();
            let other = if token.as_bytes()[at] == b'z' { "y" } else { "z" };
            mistyped.replace_range(at..=at, other);
            assert_eq!(catalog.identify(&mistyped), [], "{prefix:?} {at}");
        }
    }
    assert_eq!(catalog.identify(&format!("ghs_{}", "a".repeat(36))).len(), 1, "until April 2026");
}

#[tokio::test]
async fn fake_what_is_made_up_carries_a_right_checksum_and_looks_dead() {
    let bench = Bench::start().await;
    for (kind, prefix) in KINDS.into_iter().take(4) {
        let real = bench.fake.token(prefix, 7);
        let forged = made_up(kind, &real);
        assert!(forged != real && forged.len() == real.len());
        assert_eq!(bench.probe(kind, &real).await, alive(7), "{kind}");
        assert_eq!(bench.probe(kind, &forged).await, DEAD, "{kind}");
    }
    assert_eq!(bench.fake.malformed(), Vec::<String>::new());
    assert_eq!(bench.outside(), Vec::<String>::new());
}

#[tokio::test]
async fn fake_each_kind_is_ended_by_its_value_and_refused_from_then_on() {
    let bench = Bench::start().await;
    for (kind, prefix) in KINDS {
        let (old, other) = (bench.fake.token(prefix, 1), bench.fake.token(prefix, 1));
        let way = if kind.ends_with("user-token") || kind == "oauth-token" { 3 } else { ALONE };
        assert_eq!(bench.revoke(kind, way, &old).await, Answer::Done, "{kind}");
        assert!(!bench.fake.is_alive(&old) && bench.fake.is_alive(&other), "{kind}");
    }
    let never = made_up("classic-token", "ghp_");
    let answer = bench.revoke("classic-token", ALONE, &never).await;
    assert_eq!(answer, Answer::Done, "202 says nothing of whether it ever lived");
    assert_eq!(bench.outside(), Vec::<String>::new());
}

#[tokio::test]
async fn fake_202_is_a_promise() {
    let bench = Bench::start().await;
    let old = bench.fake.token(Prefix::Ghp, 1);
    bench.fake.lies();
    assert_eq!(bench.revoke("classic-token", TOGETHER, &old).await, Answer::Done);
    assert_eq!(bench.probe("classic-token", &old).await, alive(1));
}

/// Calls of batches, each of at most 1,000, all at once.
async fn end_all(bench: &Bench, tokens: &[String]) -> Vec<Answer> {
    let batches = tokens.chunks(1_000).zip(1..);
    let calls = batches.flat_map(|(few, id)| {
        few.iter().map(move |token| {
            let values = json!({ "batch": { "id": id, "size": few.len() } });
            let parties = named([("old", acting("classic-token", token))]);
            bench.revoke_with("classic-token", TOGETHER, values, parties)
        })
    });
    join_all(calls).await
}

#[tokio::test]
async fn fake_two_thousand_five_hundred_tokens_need_three_requests() {
    let bench = Bench::start().await;
    let tokens: Vec<String> = (0..2_500).map(|_| bench.fake.token(Prefix::Ghp, 1)).collect();
    let answers = end_all(&bench, &tokens).await;
    assert!(answers.iter().all(|answer| *answer == Answer::Done));
    let mut sizes: Vec<usize> = bench.fake.revocations().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [500, 1_000, 1_000]);
    assert!(tokens.iter().all(|token| !bench.fake.is_alive(token)));
    assert_eq!(bench.outside(), Vec::<String>::new());
}

#[tokio::test]
async fn fake_one_that_never_comes_holds_up_the_others_for_a_moment_only() {
    let bench = Bench::start().await;
    let old = bench.fake.token(Prefix::Ghp, 1);
    let values = json!({ "batch": { "id": 1, "size": 400 } });
    let parties = named([("old", acting("classic-token", &old))]);
    let answer = bench.revoke_with("classic-token", TOGETHER, values, parties).await;
    assert_eq!(answer, Answer::Done);
    assert!(!bench.fake.is_alive(&old));
}

#[tokio::test]
async fn fake_beyond_the_hour_s_requests_each_of_a_batch_is_told_how_long_to_wait() {
    let bench = Bench::start().await;
    for _ in 0..60 {
        let old = bench.fake.token(Prefix::Ghp, 1);
        assert_eq!(bench.revoke("classic-token", ALONE, &old).await, Answer::Done);
    }
    let late: Vec<String> = (0..3).map(|_| bench.fake.token(Prefix::Ghp, 1)).collect();
    for answer in end_all(&bench, &late).await {
        assert!(matches!(answer, Answer::Fault(Fault::Throttled(Some(_)))), "{answer:?}");
    }
    assert!(late.iter().all(|token| bench.fake.is_alive(token)));
}

#[tokio::test]
async fn fake_an_enterprise_server_wants_the_token_to_sign_its_own_end() {
    let bench = Bench::at(FakeGithub::enterprise().await);
    let old = bench.fake.token(Prefix::GithubPat, 9);
    assert_eq!(bench.probe("fine-grained-token", &old).await, alive(9));
    for way in [TOGETHER, ALONE] {
        let answer = bench.revoke("fine-grained-token", way, &old).await;
        assert_eq!(refused(&answer).1, Some(401));
    }
    assert_eq!(bench.revoke("fine-grained-token", AS_ITSELF, &old).await, Answer::Done);
    assert_eq!(bench.probe("fine-grained-token", &old).await, DEAD);
    assert!(bench.fake.seen().iter().all(|seen| seen.request.contains(" /api/v3/")));
    assert_eq!(bench.outside(), Vec::<String>::new());

    let cloud = Bench::start().await;
    let old = cloud.fake.token(Prefix::GithubPat, 9);
    let answer = cloud.revoke("fine-grained-token", AS_ITSELF, &old).await;
    assert_eq!(refused(&answer).1, Some(403), "GitHub.com refuses whoever signs");
    assert!(matches!(cloud.probe("fine-grained-token", &old).await, Liveness::Alive(_)));
}
