//! Slack's tokens and webhooks, at a fake that keeps state: the token ends itself, no call makes
//! another, and a webhook only a person can remove.

use crate::bench::Host;
use crate::hosted::Hosted;
use crate::lab::FakeSlack;
use crate::role::{PROOF, ROLE};

fn provider(fake: &FakeSlack) -> String {
    let (api, hooks) = (fake.base(), fake.hooks());
    format!(
        r#"
[provider.slack]
base  = {{ api = "{api}", hooks = "{hooks}" }}
proof = {PROOF}
"#
    )
}

fn credential(role: &str, name: &str, kind: &str, key: &str) -> String {
    format!(
        r#"
[[role.{role}.credential]]
name     = "{name}"
provider = "slack"
kind     = "{kind}"
vars     = {{ app = "A0123456789" }}
secret   = "dotenv:DIR/{role}.env#{key}"
reload   = "none"
"#
    )
}

fn bot() -> (Hosted<FakeSlack>, Host, String) {
    let fake = Hosted::start(FakeSlack::start());
    let (host, old) = (Host::new(), fake.bot_token());
    host.put("mail-agent.env", &format!("SLACK_BOT_TOKEN={old}\n"));
    let entry = credential("mail-agent", "bot", "bot-token", "SLACK_BOT_TOKEN");
    host.inventory(&format!("{ROLE}{entry}{}", provider(&fake)));
    assert!(fake.is_alive(&old) && !fake.is_alive("xoxb-made-up"));
    (fake, host, old)
}

/// The token is refused in Slack's own words, and there is no live one to compare with: no claim
/// beyond that, and the new one is a person's to make.
#[test]
fn a_bot_token_ends_itself_and_a_person_makes_the_next() {
    let (fake, host, old) = bot();
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/bot: refused, revoke accepted, control null, made-up refused; new not-issued
      why: refused by name; no live credential was at hand to compare
      new: not issued: nothing here can do that
      todo: issue a new mail-agent/bot; Reinstall to workspace, copy the bot token, invite the bot to its channels; https://api.slack.com/apps/A0123456789/oauth
    ");
    assert!(!fake.is_alive(&old));
    assert_eq!(host.value("mail-agent.env", "SLACK_BOT_TOKEN"), old, "nothing to put there");
    let outside: Vec<_> = fake.seen().into_iter().filter_map(|seen| seen.outside).collect();
    assert!(outside.is_empty(), "outside the vendor's description: {outside:?}");
}

/// Another live token of the same kind, named in the inventory, makes the claim `dead`.
#[test]
fn a_control_that_the_inventory_names_makes_it_dead() {
    let (fake, host, old) = bot();
    let control = fake.bot_token();
    host.put("monitor.env", &format!("SLACK_BOT_TOKEN={control}\n"));
    let entry = credential("mail-agent", "bot", "bot-token", "SLACK_BOT_TOKEN");
    let other = credential("monitor", "bot", "bot-token", "SLACK_BOT_TOKEN");
    host.inventory(&format!(
        "{ROLE}{entry}control  = \"monitor/bot\"\n[role.monitor]\n{other}{}",
        provider(&fake)
    ));
    let outcome = host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 0
    mail-agent/bot: dead, revoke accepted, control monitor/bot, made-up refused; new not-issued
    ");
    assert!(!fake.is_alive(&old) && fake.is_alive(&control));
}

#[test]
fn a_server_that_says_revoked_and_goes_on_is_alive() {
    let (fake, host, old) = bot();
    fake.lies();
    let outcome = host.rotate(&["--role", "mail-agent"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/bot: alive, revoke accepted, control null, made-up refused; new not-issued
      why: still accepted; the provider accepted the revocation
      new: not issued: nothing here can do that
      todo: revoke the old mail-agent/bot; Revoke all OAuth tokens; https://api.slack.com/apps/A0123456789/oauth
      todo: issue a new mail-agent/bot; Reinstall to workspace, copy the bot token, invite the bot to its channels; https://api.slack.com/apps/A0123456789/oauth
    ");
    assert!(fake.is_alive(&old));
}

/// A bot token cannot be replaced by a call, so nothing is practised on it.
#[test]
fn a_rehearsal_is_refused_before_anything_is_touched() {
    let (fake, host, old) = bot();
    let outcome = host.rotate(&["rehearse", "--role", "mail-agent"]);
    assert_eq!((outcome.code, outcome.report.is_null()), (Some(2), true));
    insta::assert_snapshot!(outcome.stderr, @r"
    error: mail-agent/bot cannot be rehearsed: its kind cannot be issued and proved here
    hint: leave it out with --only, or rotate it by hand
    ");
    assert!(fake.is_alive(&old));
    assert!(fake.seen().is_empty());
}

/// Only a person can remove a webhook. Until they have, it is `alive`, whatever is claimed.
#[test]
fn a_webhook_is_alive_until_a_person_has_removed_it() {
    let fake = Hosted::start(FakeSlack::start());
    let (host, old, control) = (Host::new(), fake.webhook(), fake.webhook());
    host.put("mail-agent.env", &format!("ALERTS={old}\n"));
    host.put("monitor.env", &format!("ALERTS={control}\n"));
    let entry = credential("mail-agent", "alerts", "webhook", "ALERTS");
    let other = credential("monitor", "alerts", "webhook", "ALERTS");
    host.inventory(&format!(
        "{ROLE}{entry}control  = \"monitor/alerts\"\n[role.monitor]\n{other}{}",
        provider(&fake)
    ));

    let outcome = host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 4
    mail-agent/alerts: alive, revoke by-hand, control null, made-up refused; new not-issued
      why: still accepted; only a person can revoke it
      todo: revoke the old mail-agent/alerts; Remove the webhook; https://api.slack.com/apps/A0123456789/incoming-webhooks
    ");
    assert!(fake.is_alive(&old));
    let page = "mail-agent/alerts: or end it by hand: Remove the webhook (https://api.slack.com/apps/A0123456789/incoming-webhooks)";
    let (_, rest) = outcome.stderr.split_once(page).expect(&outcome.stderr);
    assert!(rest.contains("use the old one"), "told once, and before the end:\n{rest}");
    let run = outcome.run();

    // Said, and not done.
    let said = host.rotate(&["done", &run, "mail-agent/alerts"]);
    insta::assert_snapshot!(said.table(), @r"
    verify exit 4
    mail-agent/alerts: alive, revoke by-hand, control null, made-up refused; new not-issued
      why: still accepted; a person says it is revoked
      todo: revoke the old mail-agent/alerts; Remove the webhook; https://api.slack.com/apps/A0123456789/incoming-webhooks
    ");

    fake.remove_webhook(&old);
    let done = host.rotate(&["done", &run, "mail-agent/alerts"]);
    insta::assert_snapshot!(done.table(), @r"
    verify exit 0
    mail-agent/alerts: dead, revoke by-hand, control monitor/alerts, made-up refused; new not-issued
    ");
    assert!(!fake.is_alive(&old) && fake.is_alive(&control));

    // The run itself now says what is known of it.
    let report = host.rotate(&["report", &run]);
    insta::assert_snapshot!(report.table(), @r"
    revoke-only exit 0
    mail-agent/alerts: dead, revoke by-hand, control monitor/alerts, made-up refused; new not-issued
    ");
}

#[test]
fn a_verify_finds_what_a_person_did_unasked() {
    let fake = Hosted::start(FakeSlack::start());
    let (host, old, control) = (Host::new(), fake.webhook(), fake.webhook());
    host.put("mail-agent.env", &format!("ALERTS={old}\n"));
    host.put("monitor.env", &format!("ALERTS={control}\n"));
    let entry = credential("mail-agent", "alerts", "webhook", "ALERTS");
    let other = credential("monitor", "alerts", "webhook", "ALERTS");
    host.inventory(&format!(
        "{ROLE}{entry}control  = \"monitor/alerts\"\n[role.monitor]\n{other}{}",
        provider(&fake)
    ));
    let run = host.rotate(&["--role", "mail-agent", "--revoke-only"]).run();
    fake.remove_webhook(&old);
    let verified = host.rotate(&["verify", &run]);
    insta::assert_snapshot!(verified.table(), @r"
    verify exit 0
    mail-agent/alerts: dead, revoke by-hand, control monitor/alerts, made-up refused; new not-issued
    ");
}
