//! GitHub's tokens, at a fake that keeps state: ended by their value, several in one request; no
//! call makes another, so the next one is a person's to make.

use std::time::Duration;

use crate::bench::Host;
use crate::hosted::Hosted;
use crate::lab::{FakeGithub, Prefix};
use crate::role::{PROOF, ROLE};

/// The fake bears more dead tokens an hour than GitHub does.
pub(crate) fn provider(fake: &FakeGithub) -> String {
    let base = fake.base();
    format!(
        r#"
[provider.github]
base   = "{base}"
proof  = {PROOF}
limits = {{ refused = "6000/h" }}

[role.monitor]
[[role.monitor.credential]]
name     = "github"
provider = "github"
kind     = "classic-token"
secret   = "file:DIR/monitor.token"
reload   = "none"
"#
    )
}

/// An entry of the role, kept under `key` of its `.env`, with a live token to compare with.
pub(crate) fn credential(name: &str, kind: &str, key: &str) -> String {
    format!(
        r#"
[[role.mail-agent.credential]]
name     = "{name}"
provider = "github"
kind     = "{kind}"
secret   = "dotenv:DIR/agent.env#{key}"
reload   = "none"
control  = "monitor/github"
"#
    )
}

/// A role with one classic token.
fn bench(fake: Hosted<FakeGithub>) -> (Hosted<FakeGithub>, Host, String) {
    let (host, old) = (Host::new(), fake.token(Prefix::Ghp, 7));
    host.put("agent.env", &format!("GITHUB_TOKEN={old}\n"));
    host.put("monitor.token", &fake.token(Prefix::Ghp, 8));
    let entry = credential("code", "classic-token", "GITHUB_TOKEN");
    host.inventory(&format!("{ROLE}{entry}{}", provider(&fake)));
    assert!(fake.is_alive(&old) && !fake.is_alive("ghp_made-up"));
    (fake, host, old)
}

fn outside(fake: &FakeGithub) -> Vec<String> {
    fake.seen().into_iter().filter_map(|seen| seen.outside).collect()
}

#[test]
fn fake_a_token_is_ended_by_its_value_and_a_person_makes_the_next() {
    let (fake, host, old) = bench(Hosted::start(FakeGithub::start()));
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/code: dead, revoke accepted, control monitor/github, made-up refused; new not-issued
      new: not issued: nothing here can do that
      todo: issue a new mail-agent/code; Generate new token (classic) named [label], with the scopes of the old one; authorize it for single sign-on where the organization asks; https://github.com/settings/tokens
    ");
    assert!(!fake.is_alive(&old));
    assert_eq!(fake.revocations(), [[old]], "once, and nothing beside it");
    assert_eq!((outside(&fake), fake.malformed()), (vec![], vec![]));
}

#[test]
fn fake_a_token_that_dies_late_is_waited_for() {
    let (fake, host, old) = bench(Hosted::start(FakeGithub::start()));
    fake.dies_after(Duration::from_secs(2));
    let mut run = host.start(&["--role", "mail-agent", "--revoke-only"]);
    run.hear("revoke  accepted");
    run.hear("use the old one  accepted");
    let outcome = run.end();
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 0
    mail-agent/code: dead, revoke accepted, control monitor/github, made-up refused; new not-issued
    ");
    assert!(!fake.is_alive(&old));
    assert!(outcome.report["timings"]["last_dead_ms"].as_u64() > Some(3_000), "2 s, and held 1 s");
}

/// GitHub's 202 says that a value was taken, and nothing of what became of it.
#[test]
fn fake_a_promise_that_is_not_kept_is_alive() {
    let (fake, host, old) = bench(Hosted::start(FakeGithub::start()));
    fake.lies();
    let outcome = host.rotate(&["--role", "mail-agent"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/code: alive, revoke accepted, control null, made-up refused; new not-issued
      why: still accepted; the provider accepted the revocation
      new: not issued: nothing here can do that
      todo: revoke the old mail-agent/code; Delete the old token; https://github.com/settings/tokens
      todo: issue a new mail-agent/code; Generate new token (classic) named [label], with the scopes of the old one; authorize it for single sign-on where the organization asks; https://github.com/settings/tokens
    ");
    assert!(fake.is_alive(&old));
    assert!(fake.revocations().contains(&vec![old]));
}

#[test]
fn fake_a_probe_that_accepts_what_nobody_made_is_blind() {
    let (fake, host, old) = bench(Hosted::start(FakeGithub::start()));
    fake.accepts_made_up_ones();
    let outcome = host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 3
    mail-agent/code: unproven, revoke accepted, control monitor/github, made-up accepted; new not-issued
      why: the probe is blind: it accepts a made-up credential; the provider accepted the revocation
    ");
    assert!(!fake.is_alive(&old));
}

/// Its own server, below its own path, where a token signs its own end.
#[test]
fn fake_an_enterprise_server_by_its_base() {
    let (fake, host, old) = bench(Hosted::start(FakeGithub::enterprise()));
    let outcome = host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 0
    mail-agent/code: dead, revoke accepted, control monitor/github, made-up refused; new not-issued
    ");
    assert!(!fake.is_alive(&old));
    assert!(fake.seen().iter().all(|seen| seen.request.contains(" /api/v3/")));
    assert_eq!(outside(&fake), Vec::<String>::new());
}

#[test]
fn fake_every_kind_of_a_role_at_once() {
    let fake = Hosted::start(FakeGithub::start());
    let host = Host::new();
    let app = fake.client();
    let old = [
        ("ONE", fake.token(Prefix::Ghp, 7)),
        ("TWO", fake.token(Prefix::Ghp, 7)),
        ("FINE", fake.token(Prefix::GithubPat, 7)),
        ("APP", fake.granted(Prefix::Gho, 7, &app.0)),
        ("USER", fake.token(Prefix::Ghu, 7)),
        ("NEXT", fake.token(Prefix::Ghr, 7)),
        ("BOT", fake.token(Prefix::Ghs, 7)),
    ];
    let beside = fake.granted(Prefix::Gho, 7, &app.0);
    let lines = old.iter().map(|(key, value)| format!("{key}={value}\n"));
    host.put("agent.env", &lines.collect::<String>());
    host.put("monitor.token", &fake.token(Prefix::Ghp, 8));
    host.put("app.secret", &app.1);
    host.put("app.id", &app.0);
    let entries = [
        credential("one", "classic-token", "ONE"),
        credential("two", "classic-token", "TWO"),
        credential("fine", "fine-grained-token", "FINE"),
        credential("app", "oauth-token", "APP") + "client   = \"github-app\"\n",
        credential("user", "app-user-token", "USER"),
        credential("next", "app-refresh-token", "NEXT"),
        credential("bot", "installation-token", "BOT").replace("control", "# control"),
    ];
    let client = r#"
[admin.github-app]
provider = "github"
kind     = "oauth-client"
secret   = { client_id = "file:DIR/app.id", secret = "file:DIR/app.secret" }
"#;
    host.inventory(&format!("{ROLE}{}{}{client}", entries.concat(), provider(&fake)));
    let outcome = host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 3
    mail-agent/one: dead, revoke accepted, control monitor/github, made-up refused; new not-issued
    mail-agent/two: dead, revoke accepted, control monitor/github, made-up refused; new not-issued
    mail-agent/fine: dead, revoke accepted, control monitor/github, made-up refused; new not-issued
    mail-agent/app: dead, revoke accepted, control monitor/github, made-up refused; new not-issued
    mail-agent/user: dead, revoke accepted, control monitor/github, made-up refused; new not-issued
    mail-agent/next: unproven, revoke accepted, control null, made-up null; new not-issued
      why: not probed: nothing here can do that; the provider accepted the revocation
    mail-agent/bot: refused, revoke accepted, control null, made-up refused; new not-issued
      why: refused by name; no live credential was at hand to compare
    ");
    for (key, value) in &old {
        assert!(!fake.is_alive(value), "{key}");
    }
    assert!(!fake.is_alive(&beside), "the grant went, not the token alone");
    let values: usize = fake.revocations().iter().map(Vec::len).sum();
    assert_eq!(values, 5, "by value: two classic, one fine-grained, one user's and its next");
    assert_eq!((outside(&fake), fake.malformed()), (vec![], vec![]));
}

/// GitHub lists and deletes it, and no HTTP call uses it: its end is not proved.
#[test]
fn fake_a_deploy_key_is_deleted_by_the_row_that_its_file_tells() {
    let fake = Hosted::start(FakeGithub::start());
    let host = Host::new();
    let public = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    fake.deploy_key("octo/mail", "mail", &format!("ssh-ed25519 {public}"));
    fake.deploy_key("octo/mail", "backup", "ssh-ed25519 AAAAbackup");
    host.put("deploy.key", &key_file(public));
    host.put("owner.token", &fake.token(Prefix::Ghp, 1));
    let entry = r#"
[[role.mail-agent.credential]]
name     = "deploy"
provider = "github"
kind     = "deploy-key"
vars     = { repository = "octo/mail" }
secret   = "file:DIR/deploy.key"
reload   = "none"
admin    = "github-owner"

[admin.github-owner]
provider = "github"
kind     = "classic-token"
secret   = "file:DIR/owner.token"
"#;
    host.put("monitor.token", &fake.token(Prefix::Ghp, 8));
    host.inventory(&format!("{ROLE}{entry}{}", provider(&fake)));
    let outcome = host.rotate(&["--role", "mail-agent"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/deploy: unproven, revoke accepted, control null, made-up null; new not-issued
      why: not probed: nothing here can do that; the provider accepted the revocation
      new: not issued: nothing here can do that
      stranger backup: older-or-undated
      todo: issue a new mail-agent/deploy; ssh-keygen -t ed25519 -N '' -C [label]; add the public half, with write access only if the old one had it; put the private half into its place; https://github.com/octo/mail/settings/keys/new
    ");
    assert_eq!(fake.deploy_keys(), ["backup"]);
    assert_eq!(outside(&fake), Vec::<String>::new());
}

/// A file in OpenSSH's form with this public half, and nothing that could sign.
fn key_file(public: &str) -> String {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    let string =
        |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let public = BASE64_STANDARD.decode(public).unwrap();
    let blob = [
        b"openssh-key-v1\0".to_vec(),
        string(b"none"),
        string(b"none"),
        string(b""),
        1u32.to_be_bytes().to_vec(),
        string(&public),
        string(b"made up"),
    ];
    let lines = BASE64_STANDARD.encode(blob.concat());
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}\n-----END OPENSSH PRIVATE KEY-----\n")
}
