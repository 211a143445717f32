//! Where new ones go: every place of a credential, each by itself, and all else as it was.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::lab::OpenAiKey;
use crate::openai::{PROJECT, bench, credential, provider};
use crate::role::{ENV, ROLE};

#[test]
fn twenty_in_one_env_file_are_all_there() {
    let bench = bench();
    bench.fake.revoke(&bench.old.secret);
    let names: Vec<String> = (0..20).map(|number| format!("KEY_{number}")).collect();
    let olds: Vec<OpenAiKey> =
        names.iter().map(|name| bench.fake.service_account_key(PROJECT, name)).collect();
    let mut env = String::from("# Settings of the mail agent\nLOG_LEVEL=info\n\n");
    for (name, old) in names.iter().zip(&olds) {
        env.push_str(&format!("{name}={} # of {name}\n\n", old.secret));
    }
    env.push_str("# the end\nexport LAST='one'\n");
    bench.host.put(ENV, &env);
    let entries: String =
        names.iter().map(|name| credential(name, "service-account-key", name)).collect();
    bench.host.inventory(&format!("{ROLE}{entries}{}", provider(&bench.fake.base())));

    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.table());
    for old in &olds {
        assert!(!bench.fake.is_alive(&old.secret));
    }
    // Everything but the values is as it was, and every value is a live one of its own.
    let after = bench.host.read(ENV);
    let mut expected = env;
    let mut placed = Vec::new();
    for (name, old) in names.iter().zip(&olds) {
        let line = after.lines().find(|line| line.starts_with(&format!("{name}="))).unwrap();
        let value = line[name.len() + 1..].split(' ').next().unwrap().to_owned();
        assert!(bench.fake.is_alive(&value), "{name}");
        expected = expected.replace(&old.secret, &value);
        placed.push(value);
    }
    assert_eq!(after, expected);
    placed.sort();
    placed.dedup();
    assert_eq!(placed.len(), 20);
    assert_eq!(bench.fake.listed().len(), 21, "the admin, and twenty new ones");
}

/// A second place is no file any more: the first has the new one, which stays under seal until
/// somebody has mended the second.
#[test]
fn a_place_that_cannot_be_written_keeps_it_from_no_other() {
    let bench = bench();
    let entry = credential("model", "service-account-key", "OPENAI_API_KEY");
    let entry = format!("{entry}deliver  = [\"file:DIR/gone/openai.key\"]\n");
    bench.host.inventory(&format!("{ROLE}{entry}{}", provider(&bench.fake.base())));
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new escrowed
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
      not in file:~/gone/openai.key: its place cannot be written (not-found)
      todo: deliver the new mail-agent/model to file:~/gone/openai.key: its place cannot be written (not-found); mend the place, then: rotate restore --role ROLE --because TEXT; null
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&bench.placed()));
    assert_eq!(bench.listed(), ["admin", "rotate-"]);
    let placed = std::fs::metadata(bench.host.path(ENV)).unwrap().modified().unwrap();

    std::fs::create_dir(bench.host.path("gone")).unwrap();
    let restored = bench.host.rotate(&["restore", "--role", "mail-agent", "--because", "mended"]);
    insta::assert_snapshot!(restored.table(), @r"
    restore exit 0
    mail-agent/model: dead, revoke accepted, control null, made-up null; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
      in file:~/gone/openai.key (in-use)
    ");
    assert!(bench.fake.is_alive(&bench.placed()));
    assert_eq!(bench.host.read("gone/openai.key").trim(), bench.placed());
    let now = std::fs::metadata(bench.host.path(ENV)).unwrap().modified().unwrap();
    assert_eq!(now, placed, "only what was missing is written");
}

/// Others can lay the link that is the first place: nothing is written through it until that is
/// mended, and the second place has it at once.
#[test]
fn a_first_place_that_cannot_be_written_holds_back_no_second() {
    let bench = bench();
    let open = bench.host.path("open");
    let mode = |mode| std::fs::set_permissions(&open, Permissions::from_mode(mode)).unwrap();
    std::fs::create_dir(&open).unwrap();
    symlink(bench.host.path(ENV), open.join("agent.env")).unwrap();
    mode(0o777);
    let entry = credential("model", "service-account-key", "OPENAI_API_KEY");
    let entry = entry.replace("DIR/agent.env", "DIR/open/agent.env");
    let entry = format!("{entry}deliver  = [\"file:DIR/openai.key\"]\n");
    bench.host.inventory(&format!("{ROLE}{entry}{}", provider(&bench.fake.base())));
    let outcome = bench.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new escrowed
      in file:~/openai.key (in-use)
      not in dotenv:~/open/agent.env#OPENAI_API_KEY: others may change it or listen to it, so it is not used (link-of-others)
      todo: deliver the new mail-agent/model to dotenv:~/open/agent.env#OPENAI_API_KEY: others may change it or listen to it, so it is not used (link-of-others); mend the place, then: rotate restore --role ROLE --because TEXT; null
    ");
    let new = bench.host.read("openai.key");
    assert!(bench.fake.is_alive(new.trim()));
    assert_eq!(bench.placed(), bench.old.secret);

    mode(0o700);
    let restored = bench.host.rotate(&["restore", "--role", "mail-agent", "--because", "mended"]);
    insta::assert_snapshot!(restored.table(), @r"
    restore exit 0
    mail-agent/model: dead, revoke accepted, control null, made-up null; new delivered
      in dotenv:~/open/agent.env#OPENAI_API_KEY (in-use)
      in file:~/openai.key (in-use)
    ");
    assert_eq!(bench.placed(), new.trim());
    assert_eq!(bench.host.read("openai.key"), new);
}

/// The burned role only uses what another one owns: the owner runs on, and gets the new one at
/// once.
#[test]
fn an_owner_that_is_not_contained_gets_the_new_one_at_once() {
    let bench = bench();
    let entry = credential("model", "service-account-key", "OPENAI_API_KEY");
    let other = "[role.other-agent]\nuses = [\"mail-agent/model\"]\n";
    bench.host.inventory(&format!("{ROLE}{entry}{other}{}", provider(&bench.fake.base())));
    let outcome = bench.host.rotate(&["--role", "other-agent"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/model: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#OPENAI_API_KEY (in-use)
    ");
    assert!(!bench.fake.is_alive(&bench.old.secret) && bench.fake.is_alive(&bench.placed()));
}
