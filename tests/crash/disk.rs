//! Disks that are full or read-only, for real: a file system of a few kilobytes, a limit on what a
//! process may write, a mount that takes nothing. The kill waits for none of them.

use std::process::Command;
use std::sync::Arc;

use crate::bench::Host;
use crate::cell::{CONTAIN, end_of, taken_up};
use crate::gate::Crossing;
use crate::lab::missing;
use crate::outcome::Outcome;
use crate::site::{Role, Site, redis};

/// Runs `rotate CONTAIN` as `"$@"` of a shell, with folders of the host for its capital words.
fn behind(host: &Host, script: &str) -> Outcome {
    let command = host.command(&CONTAIN);
    let [root, state] = ["", "state"].map(|name| host.path(name).display().to_string());
    let script = script.replace("STATE", &state).replace("ROOT", root.trim_end_matches('/'));
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg("sh").arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    host.run(shell).end()
}

/// The same with mounts of its own; none where the machine does not allow them.
fn mounted(host: &Host, script: &str) -> Option<Outcome> {
    let root = rustix::process::geteuid().is_root();
    let alone = if root { "unshare --mount" } else { "unshare --user --map-root-user --mount" };
    let mut may = Command::new("sh");
    may.arg("-c").arg(format!("{alone} mount -t tmpfs tmpfs /mnt"));
    may.stderr(std::process::Stdio::null());
    if !may.status().is_ok_and(|status| status.success()) {
        missing("a mount of one's own");
        return None;
    }
    host.put("mounted.sh", script);
    Some(behind(host, &format!("exec {alone} sh ROOT/mounted.sh \"$@\"")))
}

fn bench() -> Option<(Box<dyn Site>, Arc<Crossing>)> {
    let crossing = Arc::default();
    Some((redis(&crossing)?, crossing))
}

/// The old one is dead whatever the disk said, and what is said to be new is.
fn has_killed(site: &dyn Site, role: &Role, outcome: &Outcome, where_: &str) {
    let end = end_of(site, role, outcome);
    assert!(!end.old_alive, "{where_}: {end:#?}\n{}", outcome.stderr);
    let delivered = end.table.contains("new delivered");
    assert_eq!(end.placed_alive, delivered, "{where_}: {end:#?}\n{}", outcome.stderr);
}

/// With room again, every end is the same: one credential, and it lies in its place.
fn has_ended(site: &dyn Site, role: &Role, where_: &str) {
    let mut outcome = taken_up(role);
    if site.placed(role) == role.old {
        outcome = role.host.rotate(&CONTAIN);
    }
    let end = end_of(site, role, &outcome);
    let well = !end.old_alive && end.placed_alive && end.live == Some(1);
    assert!(well, "{where_}: {end:#?}\n{}", outcome.stderr);
}

/// 512-byte blocks: from nothing at all to enough.
#[test]
fn a_limit_on_what_may_be_written() {
    let Some((site, crossing)) = bench() else { return };
    crossing.begin(None);
    let mut enough = false;
    for (cell, blocks) in (0..640).step_by(64).enumerate() {
        let role = site.role(cell);
        let outcome = behind(&role.host, &format!("ulimit -f {blocks}; exec \"$@\""));
        let place = format!("{blocks} blocks");
        has_killed(site.as_ref(), &role, &outcome, &place);
        enough = outcome.code == Some(0);
        assert!(enough || outcome.code == Some(1), "{place}: {}", outcome.table());
        has_ended(site.as_ref(), &role, &place);
    }
    assert!(enough, "the last had room enough");
}

/// A file system of its own that is full for the journal, and then is not.
#[test]
fn a_small_file_system() {
    let Some((site, crossing)) = bench() else { return };
    crossing.begin(None);
    let mut seen = Vec::new();
    for (cell, kilobytes) in [48, 96, 160, 224, 320, 4096].into_iter().enumerate() {
        let role = site.role(cell);
        role.host.put("state.txt", "");
        std::fs::create_dir(role.host.path("state")).unwrap();
        // What came of it is kept when the file system goes.
        let script = format!(
            "mount -t tmpfs -o mode=0700,size={kilobytes}k tmpfs DIR/state\n\
             \"$@\"; code=$?\n\
             mount -o remount,size=64m DIR/state\n\
             cp -a DIR/state DIR/kept; exit $code\n"
        );
        let Some(outcome) = mounted(&role.host, &script) else { return };
        let place = format!("{kilobytes} KiB");
        has_killed(site.as_ref(), &role, &outcome, &place);
        seen.push(outcome.code);
        std::fs::remove_dir(role.host.path("state")).unwrap();
        std::fs::rename(role.host.path("kept"), role.host.path("state")).unwrap();
        has_ended(site.as_ref(), &role, &place);
    }
    assert_eq!((seen.first(), seen.last()), (Some(&Some(1)), Some(&Some(0))), "{seen:?}");
}

/// Nothing can be written into the state directory: revoked, nothing issued, and said.
#[test]
fn a_state_directory_that_is_read_only() {
    let Some((site, crossing)) = bench() else { return };
    crossing.begin(None);
    let role = site.role(0);
    std::fs::create_dir(role.host.path("state")).unwrap();
    let script =
        "mount --bind DIR/state DIR/state && mount -o remount,ro,bind DIR/state\nexec \"$@\"\n";
    let Some(outcome) = mounted(&role.host, script) else { return };
    has_killed(site.as_ref(), &role, &outcome, "read-only");
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.table().contains("new not-issued"), "{}", outcome.table());
    assert!(outcome.stderr.contains("warning: no journal can be kept"), "{}", outcome.stderr);
    has_ended(site.as_ref(), &role, "read-only");
}

/// The place cannot be written: the new one stays under seal, and goes there once it can be.
#[test]
fn a_place_that_is_read_only() {
    let Some((site, crossing)) = bench() else { return };
    crossing.begin(None);
    let role = site.role(0);
    std::fs::create_dir(role.host.path("state")).unwrap();
    let script = "mount --bind DIR/ DIR/ && cd / && mount --bind DIR/state DIR/state\n\
                  mount -o remount,ro,bind DIR/\nexec \"$@\"\n";
    let Some(outcome) = mounted(&role.host, script) else { return };
    has_killed(site.as_ref(), &role, &outcome, "read-only");
    assert_eq!(outcome.code, Some(3), "{}\n{}", outcome.table(), outcome.stderr);
    assert!(outcome.table().contains("new escrowed"), "{}", outcome.table());
    let because = ["restore", "--role", "mail-agent", "--because", "it can be written again"];
    let restored = role.host.rotate(&because);
    let end = end_of(site.as_ref(), &role, &restored);
    assert!(end.placed_alive && end.live == Some(1), "{end:#?}\n{}", restored.stderr);
    assert_eq!(restored.code, Some(0), "{}", restored.table());
}
