//! GitLab's access tokens, at a fake that keeps state: they rotate themselves, and whoever rotates
//! one that is spent ends its whole family.

use crate::bench::Host;
use crate::hosted::Hosted;
use crate::lab::{FakeGitlab, Manners};
use crate::role::{ENV, PROOF, ROLE};

const USER: u32 = 3;

struct Bench {
    fake: Hosted<FakeGitlab>,
    host: Host,
    old: String,
}

fn bench(scopes: &[&str]) -> Bench {
    let fake = Hosted::start(FakeGitlab::start());
    let old = fake.personal_token(USER, "mail", scopes);
    let host = role(&fake, &old, "kind     = \"personal-token\"\nttl      = \"30d\"\n");
    Bench { fake, host, old }
}

fn role(fake: &FakeGitlab, old: &str, kind: &str) -> Host {
    let host = Host::new();
    host.put(ENV, &format!("GITLAB_TOKEN={old}\n"));
    host.inventory(&format!(
        r#"{ROLE}
[[role.mail-agent.credential]]
name     = "code"
provider = "gitlab"
secret   = "dotenv:DIR/agent.env#GITLAB_TOKEN"
reload   = "none"
{kind}
[provider.gitlab]
base  = "{}"
proof = {PROOF}
"#,
        fake.base()
    ));
    assert!(fake.is_alive(old) && !fake.is_alive("glpat-made-up"));
    host
}

impl Bench {
    fn placed(&self) -> String {
        self.host.value(ENV, "GITLAB_TOKEN")
    }

    fn rotations(&self) -> usize {
        self.fake.seen().iter().filter(|seen| seen.request.ends_with("/rotate")).count()
    }
}

#[test]
fn contain_rotates_once_and_delivers() {
    let bench = bench(&["api"]);
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/code: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#GITLAB_TOKEN (in-use)
    ");
    assert!(!bench.fake.is_alive(&bench.old) && bench.fake.is_alive(&bench.placed()));
    assert_eq!(bench.rotations(), 1);
    // 30 days from now, and not the week that it has unasked.
    let expires = bench.fake.expires(&bench.placed()).unwrap();
    assert!(expires.len() == "2026-01-01".len() && expires != "2026-12-01", "{expires}");
    let outside: Vec<_> = bench.fake.seen().into_iter().filter_map(|it| it.outside).collect();
    assert!(outside.is_empty(), "outside the vendor's documents: {outside:?}");
}

#[test]
fn revoke_only_lets_it_end_itself() {
    let bench = bench(&["read_repository"]);
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 3
    mail-agent/code: refused, revoke accepted, control null, made-up refused; new not-issued
      why: refused by name; no live credential was at hand to compare
      todo: look for unrecognised credentials beside mail-agent/code; the provider's list could not be read to its end: read it by hand; null
    ");
    assert!(!bench.fake.is_alive(&bench.old));
    assert_eq!((bench.rotations(), bench.fake.listed().len()), (0, 0));
}

/// It may not rotate itself, so it ends itself, and a person makes the next.
#[test]
fn a_token_without_the_right_to_rotate_dies_all_the_same() {
    let bench = bench(&["read_repository"]);
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/code: refused, revoke accepted, control null, made-up refused; new not-issued
      why: refused by name; no live credential was at hand to compare
      new: not issued: refused (403 insufficient_scope)
      todo: issue a new mail-agent/code; Add token [label] with the scopes of the old one; GitLab > user settings > access tokens
      todo: look for unrecognised credentials beside mail-agent/code; the provider's list could not be read to its end: read it by hand; null
    ");
    assert!(!bench.fake.is_alive(&bench.old));
    assert_eq!(bench.placed(), bench.old, "nothing to put there");
}

/// Somebody rotated it before us. To rotate the spent one again would end what they have, and
/// theirs may be the owner's own.
#[test]
fn a_token_that_somebody_rotated_before_is_not_rotated_again() {
    let bench = bench(&["api"]);
    let theirs = bench.fake.rotate(&bench.old);
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/code: unproven, revoke accepted, control null, made-up refused; new not-issued
      why: refused, but never seen alive here; the provider accepted the revocation
      new: not issued: the acting credential was refused
      todo: issue a new mail-agent/code; Add token [label] with the scopes of the old one; GitLab > user settings > access tokens
      todo: find out who spent mail-agent/code: it was refused before it was rolled; it had expired, or somebody used it first and held what came of it: look for others made from it or by the same consent, and end them there; GitLab > user settings > access tokens
      todo: look for unrecognised credentials beside mail-agent/code; the provider's list could not be read to its end: read it by hand; null
    ");
    assert_eq!(bench.rotations(), 0);
    assert!(bench.fake.is_alive(&theirs));
}

/// It was rotated, and the new one is lost on the way. A second try would end the family, and tell
/// nobody anything: the call is made once.
#[test]
fn a_rotation_whose_answer_was_lost_is_not_made_again() {
    let bench = bench(&["api"]);
    bench.fake.misbehave("/rotate", Manners::AnswerLost);
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/code: refused, revoke accepted, control null, made-up refused; new not-issued
      why: refused by name; no live credential was at hand to compare
      new: an answer was lost; the provider's list was not read yet
      todo: issue a new mail-agent/code; Add token [label] with the scopes of the old one; GitLab > user settings > access tokens
      todo: a new mail-agent/code may have been made and lost (1 lost answers); look for a credential whose name begins with [label]-, delete it; null
      todo: look for unrecognised credentials beside mail-agent/code; the provider's list could not be read to its end: read it by hand; null
    ");
    assert_eq!(bench.rotations(), 1);
    assert!(!bench.fake.is_alive(&bench.old));
}

#[test]
fn a_server_that_rotates_and_goes_on_accepting_the_old_one() {
    let bench = bench(&["api"]);
    bench.fake.lies();
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/code: alive, revoke accepted, control null, made-up refused; new delivered
      why: still accepted; the provider accepted the revocation
      in dotenv:~/agent.env#GITLAB_TOKEN (in-use)
      todo: revoke the old mail-agent/code; Revoke the old token, and any other of its name that nobody knows; GitLab > user settings > access tokens
    ");
    assert!(bench.fake.is_alive(&bench.old) && bench.fake.is_alive(&bench.placed()));
}

#[test]
fn a_project_s_token_rotates_at_its_project() {
    let fake = Hosted::start(FakeGitlab::start());
    let old = fake.project_token("58", "deploy", &["self_rotate"]);
    let kind = "kind     = \"project-token\"\nvars     = { project = \"58\" }\n\
                admin    = \"maintainer\"\n[admin.maintainer]\nprovider = \"gitlab\"\n\
                kind     = \"personal-token\"\nsecret   = \"file:DIR/maintainer.token\"\n";
    let host = role(&fake, &old, kind);
    host.put("maintainer.token", &fake.personal_token(USER, "maintainer", &["api"]));
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/code: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#GITLAB_TOKEN (in-use)
    ");
    assert!(!fake.is_alive(&old) && fake.is_alive(&host.value(ENV, "GITLAB_TOKEN")));
    let outside: Vec<_> = fake.seen().into_iter().filter_map(|it| it.outside).collect();
    assert!(outside.is_empty(), "outside the vendor's documents: {outside:?}");
}
