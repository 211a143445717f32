//! Everything in one inventory and one run.

use crate::consent::agree;
use crate::fleet::{Fleet, Truth};
use crate::hammer::hammer;
use crate::lab;
use crate::outcome::Outcome;
use crate::role::ENV;
use crate::ten::{Held, Ten};

/// A run that asks a person who consents to the grant, on the page of the code, at once.
fn consenting(ten: &Ten, arguments: &[&str]) -> Outcome {
    let mut run = ten.host.start(&[arguments, &["--consent", "ask"]].concat());
    run.hear("consent wanted: mail-agent/drive");
    agree(run.hear("  or  ").split_whitespace().last().unwrap());
    run.end()
}

/// All dead. Nine are replaced. What keeps it from 0: GitHub has no call that makes a token, so
/// the next one is a person's to make; and what AWS, Slack and the OAuth server let outlive a
/// revocation has not ended: somebody must wait for it, and the report says for what.
#[test]
fn ten_credentials_are_contained_in_one_line_and_every_server_agrees() {
    let Some(ten) = Ten::new() else { return };
    let env = ten.host.read(ENV);
    let outcome = consenting(&ten, &["--role", "mail-agent", "--deliver", "--case", "INC-7"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/archive: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#AWS_ACCESS_KEY_ID (in-use)
      in dotenv:~/agent.env#AWS_SECRET_ACCESS_KEY (in-use)
      minted: role sessions from AssumeRole, until a known time
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    mail-agent/chat: dead, revoke accepted, control new, made-up refused; new delivered
      in json:~/chat.json#/refresh (in-use)
      in json:~/chat.json#/access (in-use)
      minted: older access tokens of the install, until a known time
    mail-agent/code: dead, revoke accepted, control monitor/github, made-up refused; new not-issued
      new: not issued: nothing here can do that
      todo: issue a new mail-agent/code; Generate new token (classic) named [label], with the scopes of the old one; authorize it for single sign-on where the organization asks; https://github.com/settings/tokens
    mail-agent/calendar: dead, revoke accepted, control new, made-up refused; new delivered
      in json:~/calendar.json#/access (in-use)
      in json:~/calendar.json#/refresh (in-use)
      minted: access tokens handed out before, until unknown
    mail-agent/drive: dead, revoke accepted, control new, made-up refused; new delivered
      in json:~/drive.json#/access (in-use)
      in json:~/drive.json#/refresh (in-use)
      minted: access tokens that resource servers check by signature alone, until unknown
    mail-agent/desk: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#DESK_SESSION (in-use)
    mail-agent/shop: dead, revoke accepted, control new, made-up refused; new delivered
      in file:~/shop.cookie (in-use)
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    mail-agent/packages: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#NPM_TOKEN (in-use)
    ");
    let report = &outcome.report;
    assert_eq!(
        (&report["summary"]["dead"], &report["summary"]["replaced"]),
        (&10.into(), &9.into())
    );
    assert_eq!(report["stopped"]["state"], "reported");
    assert_eq!(report["evidence"]["state"], "saved");
    assert_eq!(report["case"], "INC-7");
    ten.agrees(&outcome);
    ten.nothing_is_left_over();
    ten.only_values_have_changed(&env);
    ten.families_agree();
}

/// The same, practised. GitHub's token cannot be replaced by a call, so it is left out by name,
/// and lives. What keeps it from 0 is what the OAuth server minted: nobody says how long it lives.
#[test]
fn ten_credentials_are_rehearsed_and_no_client_is_ever_without_one_that_works() {
    let Some(ten) = Ten::new() else { return };
    let env = ten.host.read(ENV);
    let (outcome, seen) = hammer(&ten, || {
        let refused = ten.host.rotate(&["rehearse", "--role", "mail-agent"]);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains("mail-agent/code cannot be rehearsed"));
        let all = ["aws", "openai", "slack", "oauth", "desk", "shop", "redis", "npm"];
        let only = all.iter().flat_map(|provider| ["--only", provider]);
        let line: Vec<&str> =
            ["rehearse", "--role", "mail-agent"].into_iter().chain(only).collect();
        consenting(&ten, &line)
    });
    insta::assert_snapshot!(outcome.table(), @r"
    rehearse exit 3
    mail-agent/archive: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#AWS_ACCESS_KEY_ID (in-use)
      in dotenv:~/agent.env#AWS_SECRET_ACCESS_KEY (in-use)
      minted: role sessions from AssumeRole, until a known time
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    mail-agent/chat: dead, revoke accepted, control new, made-up refused; new delivered
      in json:~/chat.json#/refresh (in-use)
      in json:~/chat.json#/access (in-use)
      minted: older access tokens of the install, until a known time
    mail-agent/calendar: dead, revoke accepted, control new, made-up refused; new delivered
      in json:~/calendar.json#/access (in-use)
      in json:~/calendar.json#/refresh (in-use)
      minted: access tokens handed out before, until unknown
    mail-agent/drive: dead, revoke accepted, control new, made-up refused; new delivered
      in json:~/drive.json#/access (in-use)
      in json:~/drive.json#/refresh (in-use)
      minted: access tokens that resource servers check by signature alone, until unknown
    mail-agent/desk: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#DESK_SESSION (in-use)
    mail-agent/shop: dead, revoke accepted, control new, made-up refused; new delivered
      in file:~/shop.cookie (in-use)
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    mail-agent/packages: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#NPM_TOKEN (in-use)
    ");
    for (held, seen) in &seen {
        assert_eq!(seen.without, 0, "{held:?}: {seen:?}");
        assert!(seen.old > 10, "{held:?}: {seen:?}");
        // What is left out stays, and the access token before a roll lives on: `minted`.
        assert!(seen.new > 10 || *held == Held::Code, "{held:?}: {seen:?}");
        let ends = !matches!(held, Held::Code | Held::Calendar);
        assert_eq!(seen.replaced > 0, ends, "{held:?}: {seen:?}");
    }
    let uses: usize = seen.values().map(|seen| seen.old + seen.new).sum();
    assert!(uses > 1_000, "used {uses} times");
    ten.agrees(&outcome);
    ten.nothing_is_left_over();
    ten.only_values_have_changed(&env);
}

/// The same client, and a contain: it kills first and holds the new ones, and the client is
/// without. Where one server lies, the client goes on, and the report says so.
#[test]
fn a_contain_leaves_the_same_client_without_and_tells_the_one_that_lies() {
    let Some(ten) = Ten::new() else { return };
    ten.servers.openai.lies();
    let (outcome, seen) =
        hammer(&ten, || ten.host.rotate(&["--role", "mail-agent", "--consent", "never"]));
    let credentials = outcome.report["credentials"].as_array().unwrap();
    let alive = credentials.iter().filter(|one| one["old"]["verdict"] == "alive");
    assert_eq!(alive.map(|one| &one["id"]).collect::<Vec<_>>(), ["mail-agent/model"]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.table());
    ten.agrees(&outcome);
    for (held, seen) in &seen {
        // Of the rolled grant it is the refresh token that is dead.
        let goes_on = matches!(held, Held::Model | Held::Calendar);
        assert_eq!(seen.without == 0, goes_on, "{held:?}: {seen:?}");
        assert!(seen.old > 0 && seen.new == 0, "{held:?}: {seen:?}");
    }
}

/// One that lies makes it 4, and keeps no other from being dead and replaced.
#[test]
fn one_that_lies_spoils_its_own_verdict_alone() {
    let Some(fleet) = Fleet::new() else { return };
    fleet.openai.lies();
    let outcome = fleet.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    mail-agent/model: alive, revoke accepted, control null, made-up refused; new delivered
      why: still accepted; the provider accepted the revocation
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
      todo: revoke the old mail-agent/model; Project proj_1 > Members > delete the service account; https://platform.openai.com/settings/organization/projects
    ");
    assert_eq!(fleet.truth(), Truth { old_alive: 1, replaced: 2, passwords: 1, keys: 2 });
}

/// A server that never answers delays no other, and is told by name.
#[test]
fn one_that_never_answers_delays_no_other() {
    let Some(fleet) = Fleet::new() else { return };
    fleet.openai.misbehave("", lab::Manners::Silence);
    let mut run = fleet.host.start(&["--role", "mail-agent", "--wait", "4s"]);
    run.hear("mail-agent/cache  revoke  accepted");
    let outcome = run.end();
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new held
    mail-agent/model: unproven, revoke not-sent, control null, made-up null; new not-issued
      why: not probed: no answer in time; the revocation was not sent
      todo: revoke the old mail-agent/model; Project proj_1 > Members > delete the service account; https://platform.openai.com/settings/organization/projects
      todo: issue a new mail-agent/model; Project proj_1 > API keys > new service account named [label]; https://platform.openai.com/settings/organization/projects
    ");
    let revoked = outcome.report["timings"]["first_revoke_ms"].as_u64().unwrap();
    assert!(revoked < 2_000, "revoked after {revoked} ms");
    let truth = Truth { old_alive: 1, replaced: 0, passwords: 1, keys: 2 };
    assert_eq!(fleet.truth(), truth);
}

/// 429 is no verdict: it waits as long as it is told to, and goes on.
#[test]
fn one_that_says_later_is_asked_later() {
    let Some(fleet) = Fleet::new() else { return };
    fleet.openai.misbehave("DELETE ", lab::Manners::Throttled { retry_after: Some(1) });
    let mut run = fleet.host.start(&["--role", "mail-agent", "--deliver"]);
    run.hear("mail-agent/model  revoke  told to wait");
    fleet.openai.behave();
    let outcome = run.end();
    assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.table(), outcome.stderr);
    assert_eq!(fleet.truth(), Truth { old_alive: 0, replaced: 2, passwords: 1, keys: 2 });
}
