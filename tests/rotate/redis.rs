//! A Redis user's password, at a real server.

use crate::bench::{Host, mode_of};
use crate::lab::{self, Redis, Value};
use crate::role::{ENV, PROOF, ROLE};

pub(crate) const ACL: &str = "user default on >admin ~* &* +@all\nuser mail on >old ~* &* +@all";

/// What the inventory says of this server, and of who may set passwords there.
pub(crate) fn provider(redis: &Redis) -> String {
    format!(
        r#"
[provider.redis]
base  = "{}"
proof = {PROOF}

[admin.redis-admin]
provider = "redis"
kind     = "admin-password"
vars     = {{ username = "default" }}
secret   = "file:DIR/redis-admin.key"
"#,
        redis.address
    )
}

pub(crate) const CREDENTIAL: &str = r#"
[[role.mail-agent.credential]]
name     = "cache"
provider = "redis"
kind     = "password"
vars     = { username = "mail" }
secret   = "dotenv:DIR/agent.env#REDIS_URL::url.password"
reload   = "none"
admin    = "redis-admin"
"#;

pub(crate) const BEFORE: &str =
    "# Settings\nREDIS_URL=redis://mail:old@127.0.0.1:1/0 # the cache\nLOG=info\n";

fn bench(acl: &str) -> Option<(Redis, Host)> {
    let redis = lab::redis(acl)?;
    let host = Host::new();
    host.put(ENV, BEFORE);
    host.put("redis-admin.key", "admin");
    host.inventory(&format!("{ROLE}{CREDENTIAL}{}", provider(&redis)));
    assert!(redis.is_alive("mail", "old"));
    Some((redis, host))
}

/// The password in the place.
pub(crate) fn placed(host: &Host) -> String {
    let url = host.value(ENV, "REDIS_URL");
    let (_, rest) = url.split_once("redis://mail:").unwrap();
    rest.split_once('@').unwrap().0.to_owned()
}

/// How many passwords the user has.
pub(crate) fn passwords(redis: &Redis) -> usize {
    let mut admin = redis.connect("default", "admin").unwrap();
    let Ok(Value::List(user)) = admin.ask(&["ACL", "GETUSER", "mail"]) else { panic!("no user") };
    let at = user.iter().position(|word| *word == Value::Text("passwords".into())).unwrap();
    let Value::List(passwords) = &user[at + 1] else { panic!("no passwords") };
    passwords.len()
}

#[test]
fn contain_delivers_and_ends_what_was_open() {
    let Some((redis, host)) = bench(ACL) else { return };
    let mut open = redis.connect("mail", "old").unwrap();
    assert!(!redis.is_alive("mail", "made up"));

    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    ");
    let new = placed(&host);
    assert!(!redis.is_alive("mail", "old") && redis.is_alive("mail", &new));
    assert!(open.ask(&["PING"]).is_err(), "a connection of the old one is open");
    assert_eq!(passwords(&redis), 1);
    // All else in the place is as it was, and a restart of the server changes nothing.
    assert_eq!(host.read(ENV), BEFORE.replace(":old@", &format!(":{new}@")));
    assert_eq!(mode_of(&host.path(ENV)), 0o600);
    let mut admin = redis.connect("default", "admin").unwrap();
    admin.ask(&["ACL", "LOAD"]).unwrap();
    assert!(!redis.is_alive("mail", "old") && redis.is_alive("mail", &new));
}

#[test]
fn a_contained_role_gets_its_new_one_when_it_is_restored_and_not_before() {
    let Some((redis, host)) = bench(ACL) else { return };
    let inventory = host.read("inventory.toml");
    let held = host.rotate(&["--role", "mail-agent"]);
    insta::assert_snapshot!(held.table(), @r"
    contain exit 0
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new held
    ");
    assert!(!redis.is_alive("mail", "old"));
    assert_eq!((host.read(ENV).as_str(), passwords(&redis)), (BEFORE, 1));
    assert!(host.read("inventory.toml").contains("contained = {"));

    let refused = host.rotate(&["rehearse", "--role", "mail-agent"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("the role is contained or disabled"), "{}", refused.stderr);
    assert_eq!((host.read(ENV).as_str(), passwords(&redis)), (BEFORE, 1));

    let restored = host.rotate(&["restore", "--role", "mail-agent", "--because", "mended"]);
    insta::assert_snapshot!(restored.table(), @r"
    restore exit 0
    mail-agent/cache: dead, revoke accepted, control null, made-up null; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    ");
    assert!(redis.is_alive("mail", &placed(&host)));
    assert_eq!(host.read("inventory.toml"), inventory, "the mark is gone, and nothing else");

    let rehearsed = host.rotate(&["rehearse", "--role", "mail-agent"]);
    insta::assert_snapshot!(rehearsed.table(), @r"
    rehearse exit 0
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    ");
    assert!(redis.is_alive("mail", &placed(&host)));
    assert_eq!(passwords(&redis), 1);
}

#[test]
fn revoke_only_leaves_the_user_without_a_password_and_restore_makes_one() {
    let Some((redis, host)) = bench(ACL) else { return };
    let revoked = host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(revoked.table(), @r"
    revoke-only exit 0
    mail-agent/cache: dead, revoke accepted, control admin, made-up refused; new not-issued
    ");
    assert_eq!((host.read(ENV).as_str(), passwords(&redis)), (BEFORE, 0));

    let restored = host.rotate(&["restore", "--role", "mail-agent", "--because", "mended"]);
    insta::assert_snapshot!(restored.table(), @r"
    restore exit 0
    mail-agent/cache: dead, revoke accepted, control null, made-up null; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    ");
    assert!(redis.is_alive("mail", &placed(&host)) && !redis.is_alive("mail", "old"));
    assert_eq!(passwords(&redis), 1);
}

/// Redis takes any password for such a user: who can tell a revoked one?
#[test]
fn a_user_without_a_password_is_taken_for_alive() {
    let acl = "user default on >admin ~* &* +@all\nuser mail on nopass ~* &* +@all";
    let Some((redis, host)) = bench(acl) else { return };
    assert!(redis.is_alive("mail", "made up"));
    let outcome = host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 4
    mail-agent/cache: alive, revoke accepted, control null, made-up accepted; new not-issued
      why: still accepted; the provider accepted the revocation
      stranger null: older-or-undated
      todo: revoke the old mail-agent/cache; ACL SETUSER mail without the old password, ACL SAVE, CLIENT KILL USER mail; redis-cli on every node
    ");
}

/// Somebody who may look and may not set: nothing is revoked, and a person is told what to do.
#[test]
fn an_admin_without_the_right_leaves_it_alive() {
    let acl = "user default on >root ~* &* +@all\nuser mail on >old ~* &* +@all -@dangerous -@admin\n\
               user looker on >admin ~* &* +@all -acl|setuser";
    let Some((redis, host)) = bench(acl) else { return };
    let text = host.read("inventory.toml").replace("\"default\"", "\"looker\"");
    host.inventory(&text);
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/cache: alive, revoke rejected, control null, made-up refused; new not-issued
      why: still accepted; the revocation was refused: refused (NOPERM)
      new: not issued: refused (NOPERM)
      todo: revoke the old mail-agent/cache; ACL SETUSER mail without the old password, ACL SAVE, CLIENT KILL USER mail; redis-cli on every node
      todo: issue a new mail-agent/cache; ACL SETUSER mail with a new password, then ACL SAVE; redis-cli on every node
    ");
    assert!(redis.is_alive("mail", "old"));
    assert_eq!(host.read(ENV), BEFORE);
}

#[test]
fn a_rehearsal_replaces_it() {
    let Some((redis, host)) = bench(ACL) else { return };
    let mut open = redis.connect("mail", "old").unwrap();
    let outcome = host.rotate(&["rehearse", "--role", "mail-agent"]);
    insta::assert_snapshot!(outcome.table(), @r"
    rehearse exit 0
    mail-agent/cache: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#REDIS_URL::url.password (in-use)
    ");
    assert!(!redis.is_alive("mail", "old") && redis.is_alive("mail", &placed(&host)));
    assert!(open.ask(&["PING"]).is_err());
    assert_eq!(passwords(&redis), 1);
}
