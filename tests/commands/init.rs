//! `rotate init`: what it makes, and what it leaves.

use std::process::Command;

use crate::host::{Host, Ran, mode_of};

const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// With the inventory looked for where the specification says.
fn init(host: &Host, arguments: &[&str]) -> Ran {
    let mut command: Command = host.command(&[&["init"], arguments].concat());
    Ran::of(command.env_remove("ROTATE_INVENTORY").spawn().unwrap())
}

#[test]
fn a_state_directory_and_an_inventory_to_begin_with() {
    let host = Host::new();
    insta::assert_snapshot!(init(&host, &[]).transcript(&host), @r#"
    state      DIR/state/rotate
               sealed to this installation's key alone: keep a copy of `key` elsewhere, or add a recipient with --recipient
    inventory  DIR/.config/rotate/inventory.toml
               made, every line commented out

    Next:
      1. write each role's credentials into the inventory: docs/inventory.md
      2. look at the plan: rotate --role ROLE --dry-run
      3. practise it: rotate rehearse --role ROLE
    [exit 0]
    "#);
    let inventory = host.path(".config/rotate/inventory.toml");
    assert_eq!((mode_of(&inventory), mode_of(&host.path("state/rotate/key"))), (0o600, 0o600));
    assert_eq!(mode_of(&host.path("state/rotate")), 0o700);
    let key = std::fs::read(host.path("state/rotate/key")).unwrap();

    std::fs::write(&inventory, "# mine\n").unwrap();
    let again = init(&host, &["--recipient", RECIPIENT]);
    assert!(again.stdout.contains("left as it is") && again.stdout.contains("one recipient"));
    assert_eq!(std::fs::read_to_string(&inventory).unwrap(), "# mine\n");
    assert_eq!(std::fs::read(host.path("state/rotate/key")).unwrap(), key);
    init(&host, &["--recipient", RECIPIENT]);
    let recipients = std::fs::read_to_string(host.path("state/rotate/recipients")).unwrap();
    assert_eq!(recipients, format!("{RECIPIENT}\n"), "each once");
}

#[test]
fn a_recipient_that_is_none() {
    let host = Host::new();
    let told = |recipient: &str| init(&host, &["--recipient", recipient]).transcript(&host);
    insta::assert_snapshot!(told("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJTN"), @r#"
    error: recipient 1 is neither an age nor an ssh public key
    hint: give one key: age1..., ssh-ed25519 ... or ssh-rsa ...
    [exit 2]
    "#);
    insta::assert_snapshot!(told("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY"), @r#"
    error: recipient 1 is an ssh key of a type that nothing can be sealed to
    hint: give an ssh-ed25519 or ssh-rsa key, or an age key: age-keygen makes one
    [exit 2]
    "#);
    insta::assert_snapshot!(told("age1nothing"), @r#"
    error: recipient 1 is neither an age nor an ssh public key
    hint: give one key: age1..., ssh-ed25519 ... or ssh-rsa ...
    [exit 2]
    "#);
    // One that was pasted by mistake is not repeated.
    let private = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    insta::assert_snapshot!(told(private), @r#"
    error: recipient 1 is a private key
    hint: give its public half (age-keygen -y FILE, ssh-keygen -y -f FILE), and treat the private one as read
    [exit 2]
    "#);
    assert!(!host.path("state").exists());
}

#[test]
fn an_inventory_that_cannot_be_written_leaves_no_key_behind() {
    let host = Host::new();
    let inside = host.path("admin.key").join("inventory.toml");
    let ran = host.rotate(&["init", "--inventory", inside.to_str().unwrap()]);
    insta::assert_snapshot!(ran.transcript(&host), @r#"
    error: DIR/admin.key/inventory.toml cannot be made: File exists (os error 17)
    hint: name a place that can be written: --inventory FILE
    [exit 2]
    "#);
    assert!(!host.path("state").exists());
}
