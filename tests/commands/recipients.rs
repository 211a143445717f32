//! Who opens what is sealed: this installation, recipients with age and ssh keys, and nobody else.
//! And what is said when the key is gone, another one's, or comes back from a backup.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use age::secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::host::{Host, Ran};

/// A key pair: what is configured, and the file that opens.
struct Pair {
    public: String,
    private: PathBuf,
}

fn age_pair(host: &Host, name: &str) -> Pair {
    let key = age::x25519::Identity::generate();
    let text = format!("# of {name}\n{}\n", key.to_string().expose_secret());
    host.put(name, &text);
    Pair { public: key.to_public().to_string(), private: host.path(name) }
}

/// None where no OpenSSH is here; with `CI=true` that is a failure.
fn ssh_pair(host: &Host, name: &str, options: &[&str]) -> Option<Pair> {
    let private = host.path(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-C", &format!("{name}@desk"), "-f"]).arg(&private).args(options);
    if !options.contains(&"-N") {
        keygen.args(["-N", ""]);
    }
    match keygen.stdin(Stdio::null()).status() {
        Ok(status) => assert!(status.success(), "{options:?}"),
        Err(_) => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no ssh-keygen");
            eprintln!("skipped: ssh-keygen is missing");
            return None;
        }
    }
    let public = fs::read_to_string(private.with_extension("pub")).unwrap();
    Some(Pair { public, private })
}

fn init(host: &Host, recipients: &[&Pair]) {
    for pair in recipients {
        let ran = host.rotate(&["init", "--recipient", &pair.public]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
}

/// Contains `calendar`; what was issued is held. Gives the run.
fn contained(host: &Host) -> String {
    let report = host.report(&["--role", "calendar"]);
    assert_eq!(state_of(&report), "held", "{report:#}");
    report["run"].as_str().unwrap().to_owned()
}

fn state_of(report: &Value) -> &str {
    report["credentials"][0]["new"]["state"].as_str().unwrap_or("-")
}

fn key(host: &Host) -> PathBuf {
    host.path("state/rotate/key")
}

fn open(host: &Host, run: &str, with: &[&Path]) -> Ran {
    let mut arguments = vec!["escrow", "open", run, "calendar/events"];
    for path in with {
        arguments.extend(["--identity", path.to_str().unwrap()]);
    }
    host.rotate(&arguments)
}

fn every_pair(host: &Host) -> Option<[Pair; 4]> {
    Some([
        age_pair(host, "age.key"),
        ssh_pair(host, "id_ed25519", &["-t", "ed25519"])?,
        ssh_pair(host, "id_rsa", &["-t", "rsa", "-b", "2048"])?,
        // The form of before OpenSSH 7.8, which many files still have.
        ssh_pair(host, "id_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"])?,
    ])
}

#[test]
fn each_recipient_opens_it_alone_where_the_key_is_lost() {
    let host = Host::new();
    let Some(pairs) = every_pair(&host) else { return };
    init(&host, &pairs.each_ref());
    let run = contained(&host);
    let secret = open(&host, &run, &[]).stdout;
    assert!(host.acme.is_alive(&secret));
    fs::remove_file(key(&host)).unwrap();
    insta::assert_snapshot!(open(&host, &run, &[]).transcript(&host), @r#"
    error: run RUN: the sealed secret 8 does not open with any key at hand
    hint: bring `key` of the state directory back from a backup, or use a recipient's: rotate escrow reseal --identity FILE
    [exit 1]
    "#);
    for pair in &pairs {
        let opened = open(&host, &run, &[&pair.private]);
        assert_eq!((opened.code, opened.stdout), (0, secret.clone()), "{}", opened.stderr);
    }
    // The first line of the book was written by the installation itself.
    let list = host.rotate(&["escrow", "list", "--format", "json"]).json();
    assert_eq!(list[0]["opened"], 1 + pairs.len());
}

#[test]
fn a_key_that_it_was_not_sealed_to_opens_nothing() {
    let host = Host::new();
    let (ada, eve) = (age_pair(&host, "ada.key"), age_pair(&host, "eve.key"));
    init(&host, &[&ada]);
    let run = contained(&host);
    fs::remove_file(key(&host)).unwrap();
    insta::assert_snapshot!(open(&host, &run, &[&eve.private]).transcript(&host), @r#"
    error: run RUN: the sealed secret 8 does not open with any key at hand
    hint: bring `key` of the state directory back from a backup, or use a recipient's: rotate escrow reseal --identity FILE
    [exit 1]
    "#);
    let both = open(&host, &run, &[&eve.private, &ada.private]);
    assert_eq!((both.code, both.stderr.as_str()), (0, ""));
}

#[test]
fn what_is_no_private_key_is_told_by_its_kind() {
    let host = Host::new();
    let ada = age_pair(&host, "ada.key");
    init(&host, &[&ada]);
    let run = contained(&host);
    let told = |name: &str, text: &str| {
        host.put(name, text);
        open(&host, &run, &[&host.path(name)]).transcript(&host)
    };
    insta::assert_snapshot!(told("public", &ada.public), @r#"
    error: DIR/public holds a public key
    hint: name the private half: --identity FILE
    [exit 2]
    "#);
    insta::assert_snapshot!(told("empty", "# nothing\n"), @r#"
    error: DIR/empty holds no private key
    hint: name a file of age-keygen, or an ssh-ed25519 or ssh-rsa key: --identity FILE
    [exit 2]
    "#);
    insta::assert_snapshot!(told("other", "canary-4f9a\n"), @r#"
    error: DIR/other holds no private key
    hint: name a file of age-keygen, or an ssh-ed25519 or ssh-rsa key: --identity FILE
    [exit 2]
    "#);
    insta::assert_snapshot!(told("encrypted", "age-encryption.org/v1\n-> scrypt\n"), @r#"
    error: DIR/encrypted is itself encrypted
    hint: open it first: --identity <(age --decrypt DIR/encrypted)
    [exit 2]
    "#);
    insta::assert_snapshot!(told("plugin", "AGE-PLUGIN-YUBIKEY-1QQ\n"), @r#"
    error: DIR/plugin needs a plugin of age
    hint: no plugin is run here: name the key of another recipient
    [exit 2]
    "#);
    let none = open(&host, &run, &[&host.path("none")]).transcript(&host);
    insta::assert_snapshot!(none, @r#"
    error: DIR/none cannot be read: No such file or directory (os error 2)
    hint: name a file that you can read: --identity FILE
    [exit 2]
    "#);
    let Some(signs) = ssh_pair(&host, "id_ecdsa", &["-t", "ecdsa"]) else { return };
    insta::assert_snapshot!(open(&host, &run, &[&signs.private]).transcript(&host), @r#"
    error: DIR/id_ecdsa holds an ssh key of a type that opens nothing
    hint: name a file of age-keygen, or an ssh-ed25519 or ssh-rsa key: --identity FILE
    [exit 2]
    "#);
    let list = host.rotate(&["escrow", "list", "--format", "json"]).json();
    assert_eq!(list[0]["opened"], 0, "what was not opened is not written down");
}

/// Without a terminal nobody is asked; on one, the passphrase is typed and not shown.
#[test]
fn an_ssh_key_with_a_passphrase() {
    let host = Host::new();
    let Some(pair) = ssh_pair(&host, "id", &["-t", "ed25519", "-N", "tr0ub4dor"]) else { return };
    init(&host, &[&pair]);
    let run = contained(&host);
    let secret = open(&host, &run, &[]).stdout;
    fs::remove_file(key(&host)).unwrap();
    // A session of its own has no terminal.
    let mut alone = Command::new("setsid");
    alone.arg("--wait").arg(env!("CARGO_BIN_EXE_rotate"));
    let line = host.command(&["escrow", "open", &run, "calendar/events", "-i"]);
    alone.args(line.get_args()).arg(&pair.private);
    alone.env_clear().envs(line.get_envs().filter_map(|(name, value)| Some((name, value?))));
    alone.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = Ran::of(alone.spawn().unwrap());
    insta::assert_snapshot!(ran.transcript(&host), @r#"
    error: DIR/id is protected by a passphrase, and no terminal is there to ask for it
    hint: run it on a terminal
    [exit 2]
    "#);

    for (typed, opens) in [("tr0ub4dor", true), ("correct horse", false)] {
        let out = host.path(if opens { "opened" } else { "never" });
        let shown = typed_on_a_terminal(&host, &run, &pair, &out, typed);
        assert!(!shown.contains(typed), "{shown}");
        match opens {
            true => assert_eq!(fs::read_to_string(&out).unwrap(), secret, "{shown}"),
            false => {
                assert!(shown.contains("id does not open with this passphrase"), "{shown}");
                assert!(!out.exists());
            }
        }
    }
}

/// Everything that the terminal showed.
fn typed_on_a_terminal(host: &Host, run: &str, pair: &Pair, out: &Path, typed: &str) -> String {
    let line = host.command(&[]);
    let command = format!(
        "{} escrow open {run} calendar/events -i {} --to {}",
        env!("CARGO_BIN_EXE_rotate"),
        pair.private.display(),
        out.display()
    );
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    script.env_clear().envs(line.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut shown, mut byte) = (Vec::new(), [0]);
    while !shown.ends_with(b": ") && stdout.read(&mut byte).unwrap() == 1 {
        shown.push(byte[0]);
    }
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{typed}\n").as_bytes()).unwrap();
    stdout.read_to_end(&mut shown).unwrap();
    drop(stdin);
    child.wait().unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}

/// The key is gone with its disk, the journal came back from a backup: one recipient, one command,
/// and every other command goes on.
#[test]
fn sealed_again_with_a_recipients_key() {
    let host = Host::new();
    let (ada, ben) = (age_pair(&host, "ada.key"), age_pair(&host, "ben.key"));
    init(&host, &[&ada]);
    contained(&host);
    fs::remove_file(key(&host)).unwrap();
    let restore = ["restore", "--role", "calendar", "--because", "mended"];
    insta::assert_snapshot!(host.rotate(&restore).transcript(&host), @r#"
    warning: 1 sealed secret does not open with the key of this installation: bring `key` back from a backup, or use a recipient's: rotate escrow reseal --identity FILE
    restore      calendar
    owner        support@example.com
    credentials  1
    hosts        127.0.0.1:PORT (named by the inventory)
    collateral   none
    warning: mail can hand it new credentials
    warning: mail stays alive: it was delegated to
    warning: rooms stays alive: it was delegated to
    error: run RUN: the sealed secret 8 does not open with any key at hand
    hint: bring `key` of the state directory back from a backup, or use a recipient's: rotate escrow reseal --identity FILE
    [exit 1]
    "#);
    let reseal = |with: &Pair| {
        host.rotate(&["escrow", "reseal", "--identity", with.private.to_str().unwrap()])
    };
    insta::assert_snapshot!(reseal(&ben).transcript(&host), @r#"
    0 sealed again, to this installation's key and one recipient
    error: 1 not opened by any key at hand
    hint: name the key of another recipient: --identity FILE, or bring the installation's own back from a backup
    [exit 1]
    "#);
    insta::assert_snapshot!(reseal(&ada).transcript(&host), @r#"
    1 sealed again, to this installation's key and one recipient
    [exit 0]
    "#);
    let report = host.report(&restore);
    assert_eq!((state_of(&report), &report["exit_code"]), ("delivered", &0.into()));
    assert!(host.acme.is_alive(&host.placed("calendar")));
    let again = host.rotate(&["escrow", "list"]);
    assert_eq!(
        (again.stdout.as_str(), again.stderr.as_str()),
        ("nothing is held under seal\n", "")
    );
}

/// A recipient that left opens nothing any more, one that came opens what was sealed before.
#[test]
fn sealed_again_for_other_recipients() {
    let host = Host::new();
    let (ada, ben) = (age_pair(&host, "ada.key"), age_pair(&host, "ben.key"));
    init(&host, &[&ada]);
    let run = contained(&host);
    host.put("state/rotate/recipients", &format!("{}\n", ben.public));
    let reseal = host.rotate(&["escrow", "reseal"]);
    insta::assert_snapshot!(reseal.transcript(&host), @r#"
    1 sealed again, to this installation's key and one recipient
    [exit 0]
    "#);
    fs::remove_file(key(&host)).unwrap();
    assert_eq!(open(&host, &run, &[&ada.private]).code, 1);
    assert_eq!(open(&host, &run, &[&ben.private]).code, 0);
}

/// The kill waits for no key: a contain begins its own journal, and issues and holds as ever.
#[test]
fn a_contain_goes_on_where_nothing_of_before_opens() {
    let host = Host::new();
    let first = contained(&host);
    fs::remove_file(key(&host)).unwrap();
    let ran = host.rotate(&["--role", "calendar", "--format", "json"]);
    let report = ran.json();
    assert!(ran.stderr.contains("warning: 1 sealed secret does not open"), "{}", ran.stderr);
    assert_eq!(state_of(&report), "held", "{}\n{report:#}", ran.stderr);
    assert!(host.rotate(&["runs"]).stdout.contains(report["run"].as_str().unwrap()), "kept");
    let second = report["run"].as_str().unwrap();
    assert_eq!((open(&host, &first, &[]).code, open(&host, second, &[]).code), (1, 0));
}

/// A key of another installation is found out at once, and the right one is as good as ever.
#[test]
fn the_key_of_another_installation() {
    let (host, other) = (Host::new(), Host::new());
    let (run, _) = (contained(&host), contained(&other));
    let mine = fs::read(key(&host)).unwrap();
    fs::copy(key(&other), key(&host)).unwrap();
    insta::assert_snapshot!(host.rotate(&["escrow", "list"]).stderr, @r#"
    warning: 1 sealed secret does not open with the key of this installation: bring `key` back from a backup, or use a recipient's: rotate escrow reseal --identity FILE
    "#);
    assert_eq!(open(&host, &run, &[]).code, 1);
    fs::write(key(&host), mine).unwrap();
    let opened = open(&host, &run, &[]);
    assert_eq!((opened.code, opened.stderr.as_str()), (0, ""));
    assert!(host.acme.is_alive(&opened.stdout));
    fs::write(key(&host), "canary\n").unwrap();
    insta::assert_snapshot!(open(&host, &run, &[]).transcript(&host), @r#"
    error: the installation key is not an age identity
    hint: restore `key` in the state directory from a backup; where there is none, move it away, then: rotate escrow reseal --identity FILE
    [exit 1]
    "#);
}

/// A state directory that comes back from a backup knows what it knew then; what was issued since
/// is at the provider, and a contain finds it there.
#[test]
fn a_state_directory_from_a_backup() {
    let host = Host::new();
    host.report(&["--role", "calendar"]);
    let copy = |from: &str, to: &str| {
        let status = Command::new("cp").arg("-a").arg(host.path(from)).arg(host.path(to)).status();
        assert!(status.unwrap().success());
    };
    copy("state", "backup");
    let lost = contained(&host);
    fs::remove_dir_all(host.path("state")).unwrap();
    copy("backup", "state");
    assert_eq!(open(&host, &lost, &[]).code, 2);
    let report = host.report(&["--role", "calendar"]);
    assert_eq!((state_of(&report), &report["exit_code"]), ("held", &3.into()));
    let strangers = report["credentials"][0]["strangers"].as_array().unwrap();
    let ours = |one: &&Value| one["label"].as_str().unwrap_or("").contains(&lost[9..]);
    let found: Vec<_> = strangers.iter().filter(ours).collect();
    assert_eq!(found.len(), 1, "{report:#}");
    assert_eq!(found[0]["state"], "untouched", "a person decides");
}
