//! An AWS user's access key, at moto: as it is (it says 200 to "inactive" and goes on accepting
//! the key), and patched to refuse inactive keys as AWS does.

use std::time::{Duration, Instant};

use crate::bench::Host;
use crate::lab::{self, AwsKey, Moto, Wire};
use crate::role::{ENV, PROOF, ROLE};

/// What the inventory says of this server, and of who may revoke there.
pub(crate) fn provider(endpoint: &str) -> String {
    format!(
        r#"
[provider.aws]
file  = "aws-iam"
base  = "{endpoint}"
proof = {PROOF}

[admin.aws-admin]
provider = "aws"
kind     = "admin-key"
secret   = {{ access_key_id = "dotenv:DIR/aws-admin.env#ID", secret = "dotenv:DIR/aws-admin.env#SECRET" }}
"#
    )
}

pub(crate) const CREDENTIAL: &str = r#"
[[role.mail-agent.credential]]
name     = "archive"
provider = "aws"
kind     = "access-key"
vars     = { username = "mail" }
secret   = { access_key_id = "dotenv:DIR/agent.env#AWS_ACCESS_KEY_ID", secret = "dotenv:DIR/agent.env#AWS_SECRET_ACCESS_KEY" }
reload   = "none"
admin    = "aws-admin"
"#;

/// The lines of the key in the role's `.env`.
pub(crate) fn lines(key: &AwsKey) -> String {
    format!("AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}\n", key.id, key.secret)
}

/// The key in the place.
pub(crate) fn placed(host: &Host) -> AwsKey {
    let id = host.value(ENV, "AWS_ACCESS_KEY_ID");
    AwsKey { id, secret: host.value(ENV, "AWS_SECRET_ACCESS_KEY"), session: None }
}

pub(crate) fn give_admin(host: &Host, key: &AwsKey) {
    host.put("aws-admin.env", &format!("ID={}\nSECRET={}\n", key.id, key.secret));
}

fn bench(patched: bool) -> Option<(Moto, Host, AwsKey)> {
    let moto = lab::moto(patched)?;
    let (host, old) = (Host::new(), moto.user("mail"));
    host.put(ENV, &lines(&old));
    give_admin(&host, &moto.admin);
    host.inventory(&format!("{ROLE}{CREDENTIAL}{}", provider(&moto.endpoint)));
    assert!(moto.is_alive(&old));
    Some((moto, host, old))
}

/// Ids of the user's keys.
fn ids(moto: &Moto) -> Vec<String> {
    moto.keys("mail").into_iter().map(|(id, _)| id).collect()
}

/// `dead` only because it was deleted, and refused afterwards.
#[test]
fn a_server_that_ignores_inactive_has_the_key_deleted() {
    let Some((moto, host, old)) = bench(false) else { return };
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/archive: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#AWS_ACCESS_KEY_ID (in-use)
      in dotenv:~/agent.env#AWS_SECRET_ACCESS_KEY (in-use)
      minted: role sessions from AssumeRole, until a known time
    ");
    let new = placed(&host);
    assert!(!moto.is_alive(&old) && moto.is_alive(&new));
    assert_eq!(ids(&moto), [new.id]);
}

/// "Inactive" is accepted, deletion is not, and the key lives: it must not be called dead.
#[test]
fn a_key_that_cannot_be_deleted_is_alive_where_inactive_is_ignored() {
    let Some((moto, host, old)) = bench(false) else { return };
    give_admin(&host, &moto.user("rotator"));
    moto.allow("rotator", &LESS_THAN_DELETE);
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/archive: alive, revoke rejected, control null, made-up refused; new delivered
      why: still accepted; the revocation was refused: refused (403 AccessDenied)
      in dotenv:~/agent.env#AWS_ACCESS_KEY_ID (in-use)
      in dotenv:~/agent.env#AWS_SECRET_ACCESS_KEY (in-use)
      todo: revoke the old mail-agent/archive; The user who holds [handle] > Security credentials > deactivate, then delete [handle]; https://console.aws.amazon.com/iam/home#/users
    ");
    assert!(moto.is_alive(&old));
    assert_eq!(moto.keys("mail")[0], (old.id, "Inactive".to_owned()));
}

const LESS_THAN_DELETE: [&str; 6] = [
    "iam:CreateAccessKey",
    "iam:GetAccessKeyLastUsed",
    "iam:GetUser",
    "iam:ListAccessKeys",
    "iam:PutUserPolicy",
    "iam:UpdateAccessKey",
];

/// The same where the server means what it says: refused, though not deleted.
#[test]
fn a_key_that_cannot_be_deleted_is_dead_where_inactive_is_meant() {
    let Some((moto, host, old)) = bench(true) else { return };
    give_admin(&host, &moto.user("rotator"));
    moto.allow("rotator", &LESS_THAN_DELETE);
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/archive: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#AWS_ACCESS_KEY_ID (in-use)
      in dotenv:~/agent.env#AWS_SECRET_ACCESS_KEY (in-use)
      minted: role sessions from AssumeRole, until a known time
      todo: finish the revocation of mail-agent/archive, of which a step was left: refused (403 AccessDenied); The user who holds [handle] > Security credentials > deactivate, then delete [handle]; https://console.aws.amazon.com/iam/home#/users
    ");
    assert!(!moto.is_alive(&old) && moto.is_alive(&placed(&host)));
    assert_eq!(moto.keys("mail")[0], (old.id, "Inactive".to_owned()));
}

/// A user has two keys at most: revoking first makes room for the new one.
#[test]
fn a_user_with_two_keys_is_contained_and_not_rehearsed() {
    let Some((moto, host, old)) = bench(true) else { return };
    let other = moto.key("mail");
    let env = host.read(ENV);

    let rehearsed = host.rotate(&["rehearse", "--role", "mail-agent"]);
    insta::assert_snapshot!(rehearsed.table(), @r"
    rehearse exit 4
    mail-agent/archive: alive, revoke none, control null, made-up null; new not-issued
      why: left as it is: no new one was issued
      new: not issued: refused (409 LimitExceeded)
      stranger null: older-or-undated
      todo: issue a new mail-agent/archive; The user > Security credentials > Create access key; https://console.aws.amazon.com/iam/home#/users
    ");
    assert!(moto.is_alive(&old) && moto.is_alive(&other));
    assert_eq!((host.read(ENV), ids(&moto).len()), (env, 2));

    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/archive: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#AWS_ACCESS_KEY_ID (in-use)
      in dotenv:~/agent.env#AWS_SECRET_ACCESS_KEY (in-use)
      minted: role sessions from AssumeRole, until a known time
      stranger null: older-or-undated
    ");
    let new = placed(&host);
    assert!(!moto.is_alive(&old) && moto.is_alive(&new));
    assert!(moto.is_alive(&other), "nobody's key but the role's is touched");
    assert_eq!(ids(&moto), [other.id, new.id]);
}

/// Held, then delivered; then practised, without an instant that has no working key.
#[test]
fn held_restored_and_rehearsed() {
    let Some((moto, host, old)) = bench(true) else { return };
    let env = host.read(ENV);
    let held = host.rotate(&["--role", "mail-agent"]);
    insta::assert_snapshot!(held.table(), @r"
    contain exit 3
    mail-agent/archive: dead, revoke accepted, control new, made-up refused; new held
      minted: role sessions from AssumeRole, until a known time
    ");
    assert!(!moto.is_alive(&old));
    assert_eq!((host.read(ENV), ids(&moto).len()), (env, 1));

    let restored = host.rotate(&["restore", "--role", "mail-agent", "--because", "mended"]);
    insta::assert_snapshot!(restored.table(), @r"
    restore exit 0
    mail-agent/archive: dead, revoke accepted, control null, made-up null; new delivered
      in dotenv:~/agent.env#AWS_ACCESS_KEY_ID (in-use)
      in dotenv:~/agent.env#AWS_SECRET_ACCESS_KEY (in-use)
    ");
    let second = placed(&host);
    assert!(moto.is_alive(&second));

    let rehearsed = host.rotate(&["rehearse", "--role", "mail-agent"]);
    insta::assert_snapshot!(rehearsed.table(), @r"
    rehearse exit 0
    mail-agent/archive: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#AWS_ACCESS_KEY_ID (in-use)
      in dotenv:~/agent.env#AWS_SECRET_ACCESS_KEY (in-use)
      minted: role sessions from AssumeRole, until a known time
    ");
    let third = placed(&host);
    assert!(!moto.is_alive(&second) && moto.is_alive(&third));
    assert_eq!(ids(&moto), [third.id]);
}

/// AWS keys have no label. The run was killed when AWS had made one and nobody had heard of it:
/// what is new in the list is it; it is ended, and another one is made.
#[test]
fn a_key_that_was_made_and_never_heard_of_is_found_and_deleted() {
    let Some((moto, host, old)) = bench(true) else { return };
    let wire = Wire::to(&moto.endpoint);
    host.inventory(&format!("{ROLE}{CREDENTIAL}{}", provider(&wire.endpoint)));
    wire.keep_back(Some("Action=CreateAccessKey"));
    let run = host.start(&["--role", "mail-agent", "--deliver"]);
    let begun = Instant::now();
    while !wire.has_kept_back() {
        assert!(begun.elapsed() < Duration::from_secs(30), "no key was made");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill();
    let orphan = ids(&moto);
    assert!(orphan.len() == 1 && orphan[0] != old.id, "made, and nobody has heard of it");

    wire.keep_back(None);
    let outcome = host.rotate(&["resume"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/archive: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#AWS_ACCESS_KEY_ID (in-use)
      in dotenv:~/agent.env#AWS_SECRET_ACCESS_KEY (in-use)
      minted: role sessions from AssumeRole, until a known time
      orphan, revoked true
    ");
    let new = placed(&host);
    assert!(!moto.is_alive(&old) && moto.is_alive(&new));
    assert_eq!(ids(&moto), [new.id]);
}

/// Whoever held the old key made another one while the run was under way: found in AWS's own list,
/// and deleted because that was asked for. The user's first key, which was there before, is not.
#[test]
fn a_key_that_an_attacker_made_meanwhile_is_deleted_where_that_was_asked_for() {
    let Some((moto, host, _)) = bench(true) else { return };
    // Time enough for an attacker who is slow.
    let slow = r#"{ refusals = 3, hold = "12s", give_up = "30s" }"#;
    let provider = provider(&moto.endpoint).replace(PROOF, slow);
    host.inventory(&format!("{ROLE}{CREDENTIAL}{provider}"));
    let mut run = host.start(&["--role", "mail-agent", "--deliver", "--revoke-strangers"]);
    run.hear("mail-agent/archive  revoke  accepted");
    let theirs = moto.key("mail");
    let outcome = run.end();
    let new = placed(&host);
    assert!(!moto.is_alive(&theirs) && moto.is_alive(&new), "{}", outcome.table());
    assert_eq!(ids(&moto), [new.id]);
    let stranger = &outcome.report["credentials"][0]["strangers"][0];
    assert_eq!(stranger["handle"], theirs.id);
    assert_eq!(
        (&stranger["class"], &stranger["state"]),
        (&"minted-during-run".into(), &"gone".into())
    );
    assert_eq!(outcome.code, Some(3), "somebody has to ask how it came");
}
