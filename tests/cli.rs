//! What a person types, what comes back, and the exit code. Every command here ends with 0 or 2 and
//! touches nothing: the home it runs in is empty before and after.

#![cfg(test)]

use std::path::Path;
use std::process::{Command, Stdio};

/// One command line and everything it printed.
fn rotate(arguments: &[&str]) -> String {
    rotate_with(arguments, &[])
}

fn rotate_with(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rotate"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("COLUMNS", "100")
        .envs(variables.iter().copied())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let touched: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(touched.is_empty(), "{touched:?}");

    let mut transcript = format!("$ rotate {}\n", arguments.join(" "));
    for (name, bytes) in [("", output.stdout), ("[stderr]\n", output.stderr)] {
        if !bytes.is_empty() {
            transcript.push_str(name);
            transcript.push_str(&String::from_utf8(bytes).unwrap());
        }
    }
    transcript.push_str(&format!("[exit {}]", output.status.code().unwrap()));
    named(&transcript, home.path())
}

fn named(text: &str, home: &Path) -> String {
    text.replace(home.to_str().unwrap(), "~")
}

#[test]
#[expect(clippy::too_many_lines, reason = "the help, whole: one line for each that it prints")]
fn help_is_the_report_of_nobody_and_ends_with_0() {
    insta::assert_snapshot!(rotate(&["-h"]), @r"
    $ rotate -h
    Revokes and reissues every credential of an AI agent role, and proves the old ones dead

    Usage: rotate [OPTIONS] <--role <ROLE>|--through <NAME>>
           rotate <COMMAND>

    Commands:
      restore      Deliver what a contain held, and let the role run again
      rehearse     Replace everything a role holds without an instant that has no working credential
      verify       Prove again: use the old credentials of a run once more
      resume       Go on with a run that was stopped or killed
      revoke       End secrets read from stdin, and prove them dead: one a line, or the lines of a .env
                   file
      done         Say that what was left to you is done; it is then proved
      report       Print the report of a run again
      runs         List every run, with its time to contain
      providers    List the providers, show what one of them can do, or check a file of your own
      escrow       List what is held under seal, or open one of them
      init         Make the state directory with its key, and an inventory to begin with
      schema       Print the JSON Schema of what --format json prints
      completions  Print the completions for a shell
      demo         Contain and restore a role of servers started here on loopback; one of them lies

    Options:
          --role <ROLE>              The role to contain; several in one run
          --through <NAME>           Contain every role with a credential that passed through this, as
                                     the inventory marks it: mcp:notion
          --with-delegates           Contain the roles that these delegate to as well, directly or by
                                     way of others
          --case <ID>                Your case number, for the report
          --session <ID>             The agent's session that started it, for the report
          --since <WHEN>             When it began: what the provider says was made since then is
                                     reported apart; 2h, or an instant
          --only <PROVIDER[/NAME]>   Only these credentials
          --revoke-only              Issue nothing
          --deliver                  Deliver the new ones in this run, once the agent is stopped and the
                                     evidence saved
          --include-unlisted         Look through the role's files first, and end what no entry names
                                     too, where its shape tells what it is
          --revoke-strangers         Revoke unrecognised credentials that came while the run was under
                                     way, and with --since those the provider dates since then; never
                                     older ones
          --max-blast <WIDTH>        Take a revocation that kills as much as this [default: project]
                                     [possible values: token, family, grant, project, client, user,
                                     account]
          --root <DIR>               Read the role's places under this directory, and deliver nothing
          --inventory <FILE>         The inventory [default: $ROTATE_INVENTORY, then
                                     rotate/inventory.toml in the configuration directory, then
                                     /etc/rotate/inventory.toml]
          --providers <DIR>          More provider files; naming one like a built-in replaces it
          --state <DIR>              Where journals and sealed secrets are kept [default: rotate in the
                                     state directory]
          --wait <DURATION>          Go on trying what cannot be reached, and waiting for what dies
                                     late, for so long: 90s, 2h
          --consent <WHEN>           Whether a person is asked for a new OAuth grant, on stderr
                                     [default: auto] [possible values: auto, ask, never]
          --dry-run                  Print the whole plan and touch nothing
          --yes                      Do not wait for Enter
          --format <FORMAT>          What stdout carries: for people, for programs, or for a ticket
                                     [default: human] [possible values: human, json, markdown]
          --log-format <LOG_FORMAT>  The log on stderr; what it holds is chosen by $ROTATE_LOG [default:
                                     text] [possible values: text, json]
      -h, --help                     Print help (see more with '--help')
      -V, --version                  Print version

    Exit codes:
        0  nothing is left for anyone
        1  rotate itself failed; the report says how far it came
        2  arguments or inventory are wrong, nothing was touched
        3  something is left, nothing is known to work
        4  an old credential still works
      130  stopped; `rotate resume` goes on
    [exit 0]
    ");
}

#[test]
fn version() {
    let wanted = concat!("$ rotate --version\nrotate ", env!("CARGO_PKG_VERSION"), "\n[exit 0]");
    assert_eq!(rotate(&["--version"]), wanted);
}

#[test]
fn every_command_has_help() {
    for command in [
        "restore",
        "rehearse",
        "verify",
        "resume",
        "done",
        "report",
        "runs",
        "providers",
        "escrow",
        "init",
        "schema",
        "completions",
        "man",
        "demo",
    ] {
        let transcript = rotate(&[command, "--help"]);
        assert!(transcript.contains(&format!("Usage: rotate {command}")), "{transcript}");
        assert!(transcript.ends_with("[exit 0]"), "{transcript}");
    }
}

#[test]
fn nothing_said_is_answered_with_help_on_stderr() {
    let transcript = rotate(&[]);
    assert!(transcript.starts_with("$ rotate \n[stderr]\nRevokes and reissues"), "{transcript}");
    assert!(transcript.ends_with("[exit 2]"), "{transcript}");
}

/// The only command line here that gets past its arguments: a machine with an inventory of its own
/// must not be touched by its tests.
#[test]
fn no_inventory() {
    insta::assert_snapshot!(rotate(&["--role", "mail-agent", "--dry-run"]), @r#"
    $ rotate --role mail-agent --dry-run
    [stderr]
    error: no inventory: looked for ~/.config/rotate/inventory.toml and /etc/rotate/inventory.toml
    hint: name one: --inventory FILE, or ROTATE_INVENTORY
    [exit 2]
    "#);
}

#[test]
fn no_home_to_keep_a_run_in() {
    insta::assert_snapshot!(rotate_with(&["report"], &[("HOME", "")]), @r#"
    $ rotate report
    [stderr]
    error: no state directory: neither XDG_STATE_HOME nor HOME is set
    hint: name one: --state DIR
    [exit 2]
    "#);
}

#[test]
fn a_log_filter_that_is_none() {
    let log = [("ROTATE_LOG", "rotate=loud=very")];
    insta::assert_snapshot!(rotate_with(&["--role", "mail-agent"], &log), @r#"
    $ rotate --role mail-agent
    [stderr]
    error: ROTATE_LOG is no filter
    hint: write a level, or targets with levels: rotate=debug
    [exit 2]
    "#);
}

#[test]
fn a_rehearsal_without_a_role() {
    insta::assert_snapshot!(rotate(&["rehearse"]), @r#"
    $ rotate rehearse
    [stderr]
    error: the following required arguments were not provided:
      --role <ROLE>

    Usage: rotate rehearse --role <ROLE>

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn a_restore_without_a_reason() {
    insta::assert_snapshot!(rotate(&["restore", "--role", "mail-agent"]), @r#"
    $ rotate restore --role mail-agent
    [stderr]
    error: the following required arguments were not provided:
      --because <TEXT>

    Usage: rotate restore --role <ROLE> --because <TEXT>

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn a_reason_that_says_nothing() {
    insta::assert_snapshot!(rotate(&["restore", "--role", "mail-agent", "--because", " "]), @r#"
    $ rotate restore --role mail-agent --because  
    [stderr]
    error: invalid value ' ' for '--because <TEXT>': it says nothing

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn done_without_a_credential() {
    insta::assert_snapshot!(rotate(&["done", "7f3a"]), @r#"
    $ rotate done 7f3a
    [stderr]
    error: the following required arguments were not provided:
      <CREDENTIAL>

    Usage: rotate done <RUN> <CREDENTIAL>

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn revoke_only_has_nothing_to_deliver() {
    insta::assert_snapshot!(rotate(&["--role", "mail-agent", "--revoke-only", "--deliver"]), @r#"
    $ rotate --role mail-agent --revoke-only --deliver
    [stderr]
    error: the argument '--revoke-only' cannot be used with '--deliver'

    Usage: rotate --revoke-only <--role <ROLE>|--through <NAME>>

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn a_mounted_image_is_never_delivered_to() {
    insta::assert_snapshot!(rotate(&["--role", "mail-agent", "--root", "/mnt", "--deliver"]), @r#"
    $ rotate --role mail-agent --root /mnt --deliver
    [stderr]
    error: the argument '--root <DIR>' cannot be used with '--deliver'

    Usage: rotate --root <DIR> <--role <ROLE>|--through <NAME>>

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn a_time_that_is_none() {
    insta::assert_snapshot!(rotate(&["--role", "mail-agent", "--since", "yesterday"]), @r#"
    $ rotate --role mail-agent --since yesterday
    [stderr]
    error: invalid value 'yesterday' for '--since <WHEN>': write an instant such as 2026-11-22T09:00:00Z, or how long ago: 2h

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn a_wait_without_a_unit() {
    insta::assert_snapshot!(rotate(&["--role", "mail-agent", "--wait", "90"]), @r#"
    $ rotate --role mail-agent --wait 90
    [stderr]
    error: invalid value '90' for '--wait <DURATION>': write numbers with units: ms, s, m, h, d, such as 90s or 1h30m

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn a_width_that_no_provider_file_has() {
    insta::assert_snapshot!(rotate(&["--role", "mail-agent", "--max-blast", "planet"]), @r#"
    $ rotate --role mail-agent --max-blast planet
    [stderr]
    error: invalid value 'planet' for '--max-blast <WIDTH>'
      [possible values: token, family, grant, project, client, user, account]

      tip: a similar value exists: 'grant'

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn only_half_a_name() {
    insta::assert_snapshot!(rotate(&["--role", "mail-agent", "--only", "slack/"]), @r#"
    $ rotate --role mail-agent --only slack/
    [stderr]
    error: invalid value 'slack/' for '--only <PROVIDER[/NAME]>': write PROVIDER or PROVIDER/NAME

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn a_resume_takes_what_its_journal_does_not_hold_and_no_more() {
    insta::assert_snapshot!(rotate(&["resume", "--role", "mail-agent"]), @r#"
    $ rotate resume --role mail-agent
    [stderr]
    error: unexpected argument '--role' found

      tip: to pass '--role' as a value, use '-- --role'

    Usage: rotate resume [OPTIONS] [RUN]

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn a_command_and_a_contain_at_once() {
    insta::assert_snapshot!(rotate(&["--role", "mail-agent", "verify"]), @r#"
    $ rotate --role mail-agent verify
    [stderr]
    error: the subcommand 'verify' cannot be used with '--role <ROLE>'

    Usage: rotate [OPTIONS] <--role <ROLE>|--through <NAME>>
           rotate <COMMAND>

    For more information, try '--help'.
    [exit 2]
    "#);
}

#[test]
fn a_command_that_is_almost_one() {
    insta::assert_snapshot!(rotate(&["verfy"]), @r#"
    $ rotate verfy
    [stderr]
    error: unrecognized subcommand '...'

      tip: a similar subcommand exists: 'verify'

    Usage: rotate [OPTIONS] <--role <ROLE>|--through <NAME>>
           rotate <COMMAND>

    For more information, try '--help'.
    [exit 2]
    "#);
}

/// Nobody should paste a secret here; whoever does must not find it in a build log as well.
#[test]
fn what_may_be_a_pasted_secret_is_not_repeated() {
    let secret = "sk-canary-4f9a";
    let option = format!("--token={secret}");
    for arguments in [
        vec![secret],
        vec!["--", secret],
        vec!["--role", "mail-agent", secret],
        vec!["verify", "7f3a", secret],
        vec!["--role", "mail-agent", &option],
        vec!["rehearse", "--role", "mail-agent", "--secret", secret],
    ] {
        let transcript = rotate(&arguments);
        let (_, printed) = transcript.split_once('\n').unwrap();
        assert!(!printed.contains("canary"), "{transcript}");
        assert!(printed.ends_with("[exit 2]"), "{transcript}");
    }
}

/// An option that takes a few words, a duration or an instant repeats the slip, and no secret.
#[test]
fn a_secret_in_the_place_of_an_option_s_value_is_not_repeated() {
    let secret = format!("acme_{}", "canary4f".repeat(4));
    let dry = format!("--dry-run={secret}");
    let mut all = vec![
        vec!["schema", &secret],
        vec!["completions", &secret],
        vec!["--role", "mail-agent", &dry],
    ];
    for option in ["--since", "--wait", "--format", "--consent", "--max-blast"] {
        all.push(vec!["--role", "mail-agent", option, &secret]);
    }
    for arguments in all {
        let transcript = rotate(&arguments);
        let (_, printed) = transcript.split_once('\n').unwrap();
        assert!(!printed.contains("canary"), "{transcript}");
        assert!(printed.contains("'...'") && printed.ends_with("[exit 2]"), "{transcript}");
    }
    let slip = rotate(&["--role", "mail-agent", "--wait", "90"]);
    assert!(slip.contains("'90'"), "{slip}");
}
