//! Places on a real disk: what is read, what is written, what is refused, and what stays.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rotate::child::Environment;
use rotate::engine::call::{Fault, PlaceState, Reason, Why};
use rotate::inventory::{CookieName, Part, SecretRef, StoreCommand};
use rotate::secret::Secret;
use rotate::store::{CommandStore, Edit, FileStore, SecretStore, Shapes, Stores};
use tempfile::TempDir;

fn at(scheme: &str, path: &Path, fragment: &str) -> SecretRef {
    SecretRef {
        scheme: scheme.into(),
        path: path.to_str().unwrap().into(),
        fragment: (!fragment.is_empty()).then(|| fragment.into()),
        part: None,
    }
}

fn part(of: SecretRef, part: Part) -> SecretRef {
    SecretRef { part: Some(part), ..of }
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

fn edit(to: &SecretRef, old: &str, new: &str) -> Edit {
    Edit { to: to.clone(), old: Some(secret(old)), new: secret(new) }
}

fn shapes() -> Shapes {
    Arc::new(|line: &str| {
        let found = line.match_indices("sk-");
        found
            .map(|(start, _)| start..line[start..].find(' ').map_or(line.len(), |n| start + n))
            .collect()
    })
}

fn stores() -> Stores {
    Stores::new(None, shapes())
}

async fn read(from: &SecretRef) -> Result<String, (Reason, String)> {
    match stores().read(from).await {
        Ok(value) => Ok(String::from_utf8(value.expose().to_vec()).unwrap()),
        Err(why) => Err((why.reason, why.word.unwrap_or_default())),
    }
}

async fn deliver(edits: Vec<Edit>) -> Result<Vec<PlaceState>, (Reason, String)> {
    match stores().deliver(edits).await {
        Ok(states) => Ok(states),
        Err(Fault::Refused(why)) => Err((why.reason, why.word.unwrap_or_default())),
        Err(other) => panic!("{other:?}"),
    }
}

fn refused<T>(reason: Reason, word: &str) -> Result<T, (Reason, String)> {
    Err((reason, word.to_owned()))
}

/// A folder that nobody else can write, and at its end nothing of ours is left in it.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let left = walkdir::WalkDir::new(self.0.path()).into_iter().flatten();
        let left: Vec<_> =
            left.filter(|e| e.file_name().to_string_lossy().contains(".rotate-")).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

#[tokio::test]
async fn every_scheme_reads_its_value() {
    let disk = Disk::new();
    let file = disk.file("file", "one line\n");
    let crlf = disk.file("crlf", "one line\r\n");
    let bare = disk.file("bare", "two\nlines\n\n");
    let env = disk.file(".env", "A=1\nURL=amqp://mail:p%40ss@mq/v\n");
    let json = disk.file("t.json", r#"{"t": {"refresh_token": "rt"}, "inner": "{\"k\": \"v\"}"}"#);
    let log = disk.file("log", "first\nkey sk-1 and sk-1 again\nsk-1 sk-2\n");
    assert_eq!(read(&at("file", &file, "")).await.unwrap(), "one line");
    assert_eq!(read(&at("file", &crlf, "")).await.unwrap(), "one line");
    assert_eq!(read(&at("file", &bare, "")).await.unwrap(), "two\nlines\n");
    assert_eq!(read(&at("dotenv", &env, "A")).await.unwrap(), "1");
    let url = at("dotenv", &env, "URL");
    assert_eq!(read(&part(url.clone(), Part::UrlPassword)).await.unwrap(), "p@ss");
    assert_eq!(read(&part(url, Part::UrlUser)).await.unwrap(), "mail");
    assert_eq!(read(&at("json", &json, "/t/refresh_token")).await.unwrap(), "rt");
    let inner = part(at("json", &json, "/inner"), Part::Json("/k".into()));
    assert_eq!(read(&inner).await.unwrap(), "v");
    assert_eq!(read(&at("line", &log, "2")).await.unwrap(), "sk-1");
    assert_eq!(read(&at("line", &log, "3")).await, refused(Reason::Unreadable, "ambiguous"));
    assert_eq!(read(&at("line", &log, "1")).await, refused(Reason::Empty, "no-known-shape"));
    assert_eq!(read(&at("line", &log, "4")).await, refused(Reason::Empty, "no-such-line"));
    assert_eq!(read(&at("line", &log, "0")).await, refused(Reason::Unreadable, "bad-reference"));
    assert!(!read(&at("env", Path::new("PATH"), "")).await.unwrap().is_empty());
    let unset = at("env", Path::new("ROTATE_TEST_IS_NOT_SET"), "");
    assert_eq!(read(&unset).await, refused(Reason::Empty, "not-set"));
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let disk = Disk::new();
    let fifo = disk.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let huge = disk.file("huge", &"x".repeat((1 << 20) + 1));
    let full = disk.file("full", &"x".repeat(1 << 20));
    let empty = disk.file("empty", "\n");
    let loops = disk.path("loop");
    symlink(&loops, &loops).unwrap();
    for (path, reason, word) in [
        (PathBuf::from("relative"), Reason::Unreadable, "relative-path"),
        (PathBuf::from("~other/x"), Reason::Unreadable, "relative-path"),
        (disk.path("none"), Reason::Unreadable, "not-found"),
        (disk.path("none/none"), Reason::Unreadable, "not-found"),
        (empty.join("x"), Reason::Unreadable, "not-a-folder"),
        (disk.path(""), Reason::Unreadable, "not-regular"),
        (fifo, Reason::Unreadable, "not-regular"),
        (PathBuf::from("/dev/zero"), Reason::Unreadable, "not-regular"),
        (huge, Reason::Unreadable, "too-large"),
        (loops, Reason::Unreadable, "too-many-links"),
        (empty, Reason::Empty, ""),
    ] {
        assert_eq!(read(&at("file", &path, "")).await, refused(reason, word), "{path:?}");
    }
    assert_eq!(read(&at("file", &full, "")).await.unwrap().len(), 1 << 20);
    assert_eq!(read(&at("cloud", &full, "")).await, refused(Reason::Unsupported, "no-such-store"));
    assert_eq!(read(&at("dotenv", &full, "K")).await, refused(Reason::Empty, "no-such-key"));
    assert_eq!(read(&at("dotenv", &full, "")).await, refused(Reason::Unreadable, "bad-reference"));
    assert_eq!(read(&at("file", &full, "x")).await, refused(Reason::Unreadable, "bad-reference"));
}

#[tokio::test]
async fn mode_owner_and_attributes_stay() {
    let disk = Disk::new();
    let path = disk.file(".env", "A=old\n");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12345), Some(23456)).unwrap();
    }
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let tagged = rustix::fs::setxattr(&path, "user.tag", b"kept", flags).is_ok();
    let before = fs::metadata(&path).unwrap();
    let done = deliver(vec![edit(&at("dotenv", &path, "A"), "old", "new")]).await.unwrap();
    assert_eq!(done, [PlaceState::ReadBack]);
    let after = fs::metadata(&path).unwrap();
    assert_eq!(disk.text(".env"), "A=new\n");
    assert_ne!(before.ino(), after.ino(), "replaced at once, not written over");
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
    if tagged {
        let mut value = vec![0; 16];
        let length = rustix::fs::getxattr(&path, "user.tag", &mut value).unwrap();
        assert_eq!(&value[..length], b"kept");
    }
}

#[tokio::test]
async fn a_read_only_file_stays_read_only_and_an_absent_one_is_made_for_its_owner_alone() {
    let disk = Disk::new();
    let path = disk.file("key", "old");
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    deliver(vec![edit(&at("file", &path, ""), "old", "new")]).await.unwrap();
    assert_eq!(disk.text("key"), "new");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
    let made = disk.path("made");
    deliver(vec![edit(&at("file", &made, ""), "old", "new")]).await.unwrap();
    assert_eq!(disk.text("made"), "new");
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o7777, 0o600);
    let nowhere = at("file", &disk.path("none/made"), "");
    assert_eq!(
        deliver(vec![edit(&nowhere, "", "new")]).await,
        refused(Reason::Unwritable, "not-found")
    );
}

#[tokio::test]
async fn a_link_is_written_through() {
    let disk = Disk::new();
    fs::create_dir(disk.path("shared")).unwrap();
    let real = disk.file("shared/.env", "A=old\n");
    let link = disk.path(".env");
    symlink("shared/../shared/.env", &link).unwrap();
    deliver(vec![edit(&at("dotenv", &link, "A"), "old", "new")]).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(real).unwrap(), "A=new\n");
}

#[tokio::test]
async fn a_link_that_others_can_lay_is_not_written_through() {
    let disk = Disk::new();
    let real = disk.file("real", "old");
    fs::create_dir(disk.path("open")).unwrap();
    let link = disk.path("open/link");
    symlink(&real, &link).unwrap();
    fs::set_permissions(disk.path("open"), Permissions::from_mode(0o777)).unwrap();
    let to = at("file", &link, "");
    assert_eq!(
        deliver(vec![edit(&to, "old", "new")]).await,
        refused(Reason::Untrusted, "link-of-others")
    );
    assert_eq!(read(&to).await.unwrap(), "old");
    // In a sticky folder nobody can replace a link of ours.
    fs::set_permissions(disk.path("open"), Permissions::from_mode(0o1777)).unwrap();
    deliver(vec![edit(&to, "old", "new")]).await.unwrap();
    assert_eq!(disk.text("real"), "new");
}

#[tokio::test]
async fn a_file_of_several_names_is_left_alone() {
    let disk = Disk::new();
    let path = disk.file("a", "old");
    fs::hard_link(&path, disk.path("b")).unwrap();
    assert_eq!(
        deliver(vec![edit(&at("file", &path, ""), "old", "new")]).await,
        refused(Reason::Unwritable, "hard-linked")
    );
    assert_eq!((disk.text("a"), disk.text("b")), ("old".into(), "old".into()));
}

#[tokio::test]
async fn a_place_is_written_only_if_it_holds_the_old_one_or_nothing() {
    let disk = Disk::new();
    let path = disk.file(".env", "CHANGED=other\nOLD=old\nNEW=new\nEMPTY=\n");
    let to = |key: &str| at("dotenv", &path, key);
    assert_eq!(
        deliver(vec![edit(&to("OLD"), "old", "new"), edit(&to("CHANGED"), "old", "new")]).await,
        refused(Reason::PlaceChanged, "")
    );
    assert_eq!(disk.text(".env"), "CHANGED=other\nOLD=old\nNEW=new\nEMPTY=\n");
    let edits = ["OLD", "NEW", "EMPTY", "ABSENT"].map(|key| edit(&to(key), "old", "new"));
    deliver(edits.into()).await.unwrap();
    assert_eq!(disk.text(".env"), "CHANGED=other\nOLD=new\nNEW=new\nEMPTY=new\nABSENT=new\n");
    // Where nobody looked before, nobody can say that it changed.
    let unknown = Edit { to: to("CHANGED"), old: None, new: secret("new") };
    deliver(vec![unknown]).await.unwrap();
    assert!(disk.text(".env").starts_with("CHANGED=new\n"));
}

#[tokio::test]
async fn a_place_that_holds_the_new_one_is_not_touched() {
    let disk = Disk::new();
    let path = disk.file(".env", "A=new\n");
    let before = fs::metadata(&path).unwrap().ino();
    let done = deliver(vec![edit(&at("dotenv", &path, "A"), "old", "new")]).await.unwrap();
    assert_eq!(done, [PlaceState::ReadBack]);
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_credentials_in_one_file_are_all_there_after_a_few_edits() {
    let disk = Disk::new();
    let lines: String =
        (0..20).map(|n| format!("# {n}\r\nexport K{n} = \"old{n}\" # why\r\n")).collect();
    let path = disk.file(".env", &lines);
    let store = Arc::new(FileStore::new(None, shapes()));
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let (store, to) = (Arc::clone(&store), at("dotenv", &path, &format!("K{n}")));
            let edits = vec![edit(&to, &format!("old{n}"), &format!("new{n}"))];
            tokio::spawn(async move { store.write(edits).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), PlaceState::ReadBack);
    }
    assert_eq!(disk.text(".env"), lines.replace("old", "new"));
    // The first begins alone; those that come while it waits for the disk go together. A loaded
    // machine may start some late, hence not exactly two.
    assert!(store.replaced() <= 10, "{} edits", store.replaced());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_that_do_not_know_each_other_lose_nothing() {
    let disk = Disk::new();
    let path = disk.file(".env", "");
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let to = at("dotenv", &path, &format!("K{n}"));
            // A registry of its own shares no queue with the others, like another process.
            tokio::spawn(async move { stores().deliver(vec![edit(&to, "", "new")]).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for n in 0..12 {
        assert_eq!(read(&at("dotenv", &path, &format!("K{n}"))).await.unwrap(), "new");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_refused_does_not_hold_up_the_others_of_its_file() {
    let disk = Disk::new();
    let path = disk.file(".env", "A=old\nB=other\nC=old\n");
    let store = Arc::new(FileStore::new(None, shapes()));
    let write = |key: &str| {
        let (store, to) = (Arc::clone(&store), at("dotenv", &path, key));
        tokio::spawn(async move { store.write(vec![edit(&to, "old", "new")]).await })
    };
    let (a, b, c) = (write("A"), write("B"), write("C"));
    assert!(a.await.unwrap().is_ok());
    assert_eq!(b.await.unwrap().unwrap_err().reason, Reason::PlaceChanged);
    assert!(c.await.unwrap().is_ok());
    assert_eq!(disk.text(".env"), "A=new\nB=other\nC=new\n");
}

#[tokio::test]
async fn parts_of_one_value_and_values_of_one_file_go_in_one_edit() {
    let disk = Disk::new();
    let path = disk.file(".env", "URL=amqp://u:p@mq:5671/v # queue\nK=old\n");
    let url = at("dotenv", &path, "URL");
    let store = FileStore::new(None, shapes());
    let edits = vec![
        edit(&part(url.clone(), Part::UrlUser), "u", "new user"),
        edit(&part(url, Part::UrlPassword), "p", "new/pass"),
        edit(&at("dotenv", &path, "K"), "old", "new"),
    ];
    store.write(edits).await.unwrap();
    assert_eq!(disk.text(".env"), "URL=amqp://new%20user:new%2Fpass@mq:5671/v # queue\nK=new\n");
    assert_eq!(store.replaced(), 1);
}

#[tokio::test]
async fn cookies_of_one_file_go_in_one_edit_and_all_else_stays() {
    let disk = Disk::new();
    let cookie = |path: &Path, name: &str| {
        let (domain, path_of) = ("app.example".into(), None);
        let name = CookieName { name: name.into(), domain, path: path_of };
        part(at("file", path, ""), Part::Cookie(name))
    };
    let jar = "# Netscape HTTP Cookie File\n\n\
        .app.example\tTRUE\t/\tTRUE\t1790000000\tsid\told\n\
        #HttpOnly_.app.example\tTRUE\t/\tTRUE\t1790000000\tremember\tr1\n";
    let state = r#"{"cookies": [
        {"name": "sid", "value": "old", "domain": ".app.example", "path": "/", "expires": 1.79e9},
        {"name": "remember", "value": "r1", "domain": ".app.example", "path": "/"}],
        "origins": []}"#;
    for (name, content) in [("cookies.txt", jar), ("state.json", state)] {
        let path = disk.file(name, content);
        assert_eq!(read(&cookie(&path, "sid")).await.unwrap(), "old");
        assert_eq!(read(&cookie(&path, "x")).await, refused(Reason::Empty, "no-such-key"));
        let store = FileStore::new(None, shapes());
        let both = vec![
            edit(&cookie(&path, "sid"), "old", "new"),
            edit(&cookie(&path, "remember"), "r1", "r2"),
        ];
        store.write(both).await.unwrap();
        assert_eq!(disk.text(name), content.replace("old", "new").replace("r1", "r2"));
        assert_eq!(store.replaced(), 1);
        let absent = edit(&cookie(&path, "x"), "", "new");
        assert_eq!(deliver(vec![absent]).await, refused(Reason::Unwritable, "no-such-cookie"));
        let others = edit(&cookie(&path, "sid"), "old", "newer");
        assert_eq!(deliver(vec![others]).await, refused(Reason::PlaceChanged, ""));
    }
}

#[tokio::test]
async fn what_the_format_cannot_hold_is_refused_before_anything_is_written() {
    let disk = Disk::new();
    let json = disk.file("t.json", r#"{"k": "old", "n": 1}"#);
    let bytes = Edit { to: at("json", &json, "/k"), old: None, new: Secret::new(vec![0xff]) };
    assert_eq!(deliver(vec![bytes]).await, refused(Reason::Unwritable, "not-text"));
    let number = edit(&at("json", &json, "/n"), "1", "new");
    assert_eq!(deliver(vec![number]).await, refused(Reason::Unreadable, "not-a-string"));
    let file = disk.file("key", "old");
    let newline = edit(&at("file", &file, ""), "old", "new\n");
    assert_eq!(deliver(vec![newline]).await, refused(Reason::Unwritable, "not-representable"));
    let line = edit(&at("line", &file, "1"), "old", "new");
    assert_eq!(deliver(vec![line]).await, refused(Reason::ReadOnly, ""));
    let env = edit(&at("env", Path::new("PATH"), ""), "old", "new");
    assert_eq!(deliver(vec![env]).await, refused(Reason::ReadOnly, ""));
    assert_eq!(disk.text("key"), "old");
    assert_eq!(disk.text("t.json"), r#"{"k": "old", "n": 1}"#);
}

/// A store of a caller: one value per path, and paths that cannot be written.
#[derive(Default)]
struct Shelf(Mutex<BTreeMap<String, String>>);

#[async_trait]
impl SecretStore for Shelf {
    async fn read(&self, from: &SecretRef) -> Result<Secret, Why> {
        assert!(from.part.is_none());
        let value = self.0.lock().unwrap().get(&from.path).cloned();
        value.map(Secret::from).ok_or(Reason::Empty.into())
    }

    async fn check(&self, _edits: &[Edit]) -> Result<(), Why> {
        Ok(())
    }

    async fn write(&self, edits: Vec<Edit>) -> Result<PlaceState, Why> {
        for edit in edits {
            if edit.to.path == "broken" {
                return Err(Reason::Unwritable.into());
            }
            let new = String::from_utf8(edit.new.expose().to_vec()).unwrap();
            self.0.lock().unwrap().insert(edit.to.path, new);
        }
        Ok(PlaceState::Written)
    }
}

#[tokio::test]
async fn a_store_of_the_caller_needs_to_know_nothing_of_parts() {
    let shelf = Arc::new(Shelf::default());
    shelf.0.lock().unwrap().insert("url".into(), "redis://u:old@h/0".into());
    let stores = stores().with("shelf", shelf.clone());
    let url = at("shelf", Path::new("url"), "");
    let user = part(url.clone(), Part::UrlUser);
    let password = part(url, Part::UrlPassword);
    assert_eq!(stores.read(&password).await.ok().unwrap().expose(), b"old");
    let edits = vec![edit(&password, "old", "new"), edit(&user, "u", "v")];
    assert_eq!(stores.deliver(edits).await.unwrap(), [PlaceState::Written; 2]);
    assert_eq!(shelf.0.lock().unwrap()["url"], "redis://v:new@h/0");
    let fault = stores.deliver(vec![edit(&password, "old", "newer")]).await.unwrap_err();
    assert_eq!(fault, Fault::Refused(Reason::PlaceChanged.into()));
}

#[tokio::test]
async fn a_credential_is_delivered_as_a_whole_or_not_at_all() {
    let disk = Disk::new();
    let (first, second) = (disk.file("first", "old"), disk.file("second", "other"));
    let (first, second) = (at("file", &first, ""), at("file", &second, ""));
    // Known beforehand: nothing is written.
    let both = vec![edit(&first, "old", "new"), edit(&second, "old", "new")];
    assert_eq!(deliver(both).await, refused(Reason::PlaceChanged, ""));
    assert_eq!(disk.text("first"), "old");
    // Known too late: what was written is taken back. A shelf has the later turn or the earlier
    // one, so both orders are tried.
    for name in ["a-shelf", "z-shelf"] {
        let stores = stores().with(name, Arc::new(Shelf::default()));
        let broken = at(name, Path::new("broken"), "");
        let edits = vec![edit(&first, "old", "new"), edit(&broken, "old", "new")];
        let fault = stores.deliver(edits).await.unwrap_err();
        assert_eq!(fault, Fault::Refused(Reason::Unwritable.into()));
        assert_eq!(disk.text("first"), "old");
    }
}

/// A store on a network mount that is gone.
struct Gone;

#[async_trait]
impl SecretStore for Gone {
    async fn read(&self, _from: &SecretRef) -> Result<Secret, Why> {
        std::future::pending().await
    }

    async fn check(&self, _edits: &[Edit]) -> Result<(), Why> {
        std::future::pending().await
    }

    async fn write(&self, _edits: Vec<Edit>) -> Result<PlaceState, Why> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_set_of_places_is_kept_back_by_no_other() {
    const LIMIT: Duration = Duration::from_millis(500);
    let disk = Disk::new();
    let env = disk.file(".env", "A=old\nB=old\nC=other\n");
    let files = Arc::new(FileStore::new(None, shapes()));
    let stores = stores().with("dotenv", files.clone()).with("gone", Arc::new(Gone));
    let set = |key| vec![edit(&at("dotenv", &env, key), "old", "new")];
    let changed = Err(Fault::Refused(Reason::PlaceChanged.into()));
    let late = Err(Fault::Unknown(Reason::Timeout.into()));
    let done = Ok(vec![PlaceState::ReadBack]);
    // One file, one edit.
    let both = stores.deliver_each(vec![set("A"), set("B")], LIMIT).await;
    assert_eq!(both, [done.clone(), done.clone()]);
    assert_eq!(files.replaced(), 1);
    // Where one of the file's sets is refused, the others are written all the same.
    disk.file(".env", "A=old\nB=new\nC=other\n");
    let gone = vec![edit(&at("gone", Path::new("key"), ""), "old", "new")];
    let unknown = vec![edit(&at("vault", Path::new("key"), ""), "old", "new")];
    let each = vec![set("C"), gone, set("A"), unknown, set("B")];
    let each = stores.deliver_each(each, LIMIT).await;
    let [c, gone, a, unknown, b] = each.try_into().unwrap();
    assert_eq!((c, gone, a, b), (changed, late, done.clone(), done));
    assert!(matches!(unknown, Err(Fault::Refused(why)) if why.reason == Reason::Unsupported));
    assert_eq!(disk.text(".env"), "A=new\nB=new\nC=other\n");
    assert_eq!(files.replaced(), 2, "what is there already is not written again");
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_not_said_to_be_undone() {
    let shelf = Arc::new(Shelf::default());
    let stores = stores().with("shelf", shelf.clone());
    let place = |path: &str| at("shelf", Path::new(path), "");
    // Nobody knows what `absent` held, and it goes first.
    let edits = vec![
        Edit { to: place("absent"), old: None, new: secret("new") },
        edit(&place("broken"), "old", "new"),
    ];
    let fault = stores.deliver(edits).await.unwrap_err();
    assert_eq!(fault, Fault::Unknown(Reason::Unwritable.into()));
    assert_eq!(shelf.0.lock().unwrap()["absent"], "new");
}

#[tokio::test]
async fn under_a_root_links_stay_inside_and_nothing_is_written() {
    let disk = Disk::new();
    fs::create_dir_all(disk.path("srv/agent")).unwrap();
    disk.file("srv/real", "inside");
    symlink("/srv/real", disk.path("srv/agent/key")).unwrap();
    symlink("../../../../../etc/passwd", disk.path("srv/agent/out")).unwrap();
    let stores = Stores::new(Some(disk.path("")), shapes());
    let key = at("file", Path::new("/srv/agent/key"), "");
    assert_eq!(stores.read(&key).await.ok().unwrap().expose(), b"inside");
    let out = stores.read(&at("file", Path::new("/srv/agent/out"), "")).await.err().unwrap();
    assert_eq!(out.word.unwrap(), "not-found");
    let home = stores.read(&at("file", Path::new("~/key"), "")).await.err().unwrap();
    assert_eq!(home.word.unwrap(), "home-under-root");
    let fault = stores.deliver(vec![edit(&key, "inside", "new")]).await.unwrap_err();
    assert!(matches!(fault, Fault::Refused(why) if why.reason == Reason::ReadOnly));
    assert_eq!(disk.text("srv/real"), "inside");
}

#[tokio::test]
async fn what_a_killed_writer_left_is_gone_after_the_next_edit() {
    let disk = Disk::new();
    let path = disk.file(".env", "A=old\n");
    // Its name is a hash of the place's, so it is learned by watching one.
    let seen = Arc::new(Mutex::new(None));
    let (dir, found) = (disk.path(""), Arc::clone(&seen));
    let watcher = std::thread::spawn(move || {
        while Arc::strong_count(&found) > 1 {
            for entry in fs::read_dir(&dir).unwrap().flatten() {
                if entry.file_name().to_string_lossy().starts_with(".rotate-") {
                    *found.lock().unwrap() = Some(entry.file_name());
                }
            }
        }
    });
    for n in 0.. {
        let (old, new) = (n.to_string(), (n + 1).to_string());
        let old = if n == 0 { "old" } else { &old };
        deliver(vec![edit(&at("dotenv", &path, "A"), old, &new)]).await.unwrap();
        if seen.lock().unwrap().is_some() {
            break;
        }
    }
    let name = seen.lock().unwrap().clone().unwrap();
    drop(seen);
    watcher.join().unwrap();
    let other = disk.file(".rotate-of-another-file.tmp", "");
    let left = disk.path(name.to_str().unwrap());
    fs::write(&left, "A=canary\n").unwrap();
    let edit = Edit { to: at("dotenv", &path, "A"), old: None, new: secret("last") };
    deliver(vec![edit]).await.unwrap();
    assert!(!left.exists());
    assert!(other.exists(), "what belongs to another file is its writer's to remove");
    fs::remove_file(other).unwrap();
}

/// The test starts itself again as a writer without end, and kills it in the middle of an edit.
#[test]
fn a_writer_that_is_killed_leaves_the_old_content_or_the_new() {
    const PLACE: &str = "ROTATE_TEST_PLACE";
    let around = "#".repeat(100_000);
    let content = |value: &str| format!("# {around}\nA={value}\n# {around}\n");
    let write = |path: &Path, new: &str| {
        let edit = Edit { to: at("dotenv", path, "A"), old: None, new: secret(new) };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(deliver(vec![edit])).unwrap();
    };
    if let Some(path) = std::env::var_os(PLACE) {
        for value in ["old", "new"].iter().cycle() {
            write(Path::new(&path), value);
        }
    }
    let disk = Disk::new();
    let path = disk.file(".env", &content("old"));
    let under_way =
        |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".rotate-");
    let mut left = 0;
    for _ in 0..20 {
        let mut writer = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_writer_that_is_killed_leaves_the_old_content_or_the_new"])
            .env(PLACE, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        while fs::metadata(&path).unwrap().ino() == before {
            assert!(writer.try_wait().unwrap().is_none(), "the writer ended by itself");
        }
        while !fs::read_dir(disk.path("")).unwrap().flatten().any(under_way) {}
        writer.kill().unwrap();
        writer.wait().unwrap();
        left += fs::read_dir(disk.path("")).unwrap().flatten().count() - 1;
        let now = disk.text(".env");
        assert!(now == content("old") || now == content("new"), "{} bytes", now.len());
    }
    assert!(left > 0, "no kill fell into an edit");
    write(&path, "last");
    assert_eq!(disk.text(".env"), content("last"));
}

/// What only an ordinary user meets. Run as root, it starts itself again as `nobody`.
#[test]
fn an_ordinary_user_is_refused_and_nothing_is_lost() {
    use std::os::unix::process::CommandExt as _;
    if rustix::process::geteuid().is_root() {
        // Copied to where `nobody` may come.
        let stage = tempfile::tempdir().unwrap();
        fs::set_permissions(stage.path(), Permissions::from_mode(0o755)).unwrap();
        let program = stage.path().join("stores");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let name = "an_ordinary_user_is_refused_and_nothing_is_lost";
        let mut again = std::process::Command::new(program);
        again.args(["--exact", name, "--nocapture"]).current_dir("/").uid(65534).gid(65534);
        let output = again.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}{output:?}");
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let disk = Disk::new();
        fs::create_dir(disk.path("locked")).unwrap();
        let path = disk.file("locked/.env", "A=old\n");
        let secret = disk.file("secret", "old");
        fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(disk.path("locked"), Permissions::from_mode(0o500)).unwrap();
        let denied = || refused::<Vec<PlaceState>>(Reason::Unwritable, "permission-denied");
        // The file could be written in place; half-way through, a crash would end the rest of it.
        assert_eq!(deliver(vec![edit(&at("dotenv", &path, "A"), "old", "new")]).await, denied());
        assert_eq!(disk.text("locked/.env"), "A=old\n");
        assert_eq!(deliver(vec![edit(&at("file", &secret, ""), "old", "new")]).await, denied());
        assert_eq!(
            read(&at("file", &secret, "")).await,
            refused(Reason::Unreadable, "permission-denied")
        );
        fs::set_permissions(disk.path("locked"), Permissions::from_mode(0o700)).unwrap();
    });
}

fn command(get: &str, set: Option<&str>) -> StoreCommand {
    let shell = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
    StoreCommand { get: shell(get), set: set.map(shell) }
}

/// A place whose commands read and write one file of the disk.
fn by_command(file: &Path, set: &str) -> Stores {
    let file = file.display().to_string();
    let get = format!("if test -e {file}; then cat {file}; echo; fi");
    let commands = [
        ("key".to_owned(), command(&get, Some(&set.replace("FILE", &file)))),
        ("read-only".to_owned(), command(&get, None)),
        ("broken".to_owned(), command("echo secret; exit 4", Some("exit 5"))),
        ("silent".to_owned(), command("true", None)),
        ("loud".to_owned(), command("head -c 70000 /dev/zero", None)),
    ];
    let store = CommandStore::new(commands.into(), Environment::default());
    stores().with("cmd", Arc::new(store))
}

#[tokio::test]
async fn a_command_reads_and_another_writes() {
    let disk = Disk::new();
    let file = disk.path("key");
    let stores = by_command(&file, "cat > FILE");
    let key = at("cmd", Path::new("key"), "");
    assert_eq!(stores.read(&key).await.err().unwrap().reason, Reason::Empty);
    let done = stores.deliver(vec![edit(&key, "", "one")]).await.unwrap();
    assert_eq!(done, [PlaceState::ReadBack]);
    assert_eq!(disk.text("key"), "one", "byte for byte");
    let done = stores.deliver(vec![edit(&key, "one", "t$o `x` \"y\"")]).await.unwrap();
    assert_eq!(done, [PlaceState::ReadBack]);
    assert_eq!(stores.read(&key).await.ok().unwrap().expose(), b"t$o `x` \"y\"");
    let fault = stores.deliver(vec![edit(&key, "one", "three")]).await.unwrap_err();
    assert_eq!(fault, Fault::Refused(Reason::PlaceChanged.into()));
    let fault = stores.deliver(vec![edit(&key, "t$o `x` \"y\"", "line\n")]).await.unwrap_err();
    assert!(
        matches!(fault, Fault::Refused(why) if why.word.as_deref() == Some("not-representable"))
    );
    disk.file("key", "{\"user\": \"u\", \"key\": \"old\"}");
    let part = part(key, Part::Json("/key".into()));
    stores.deliver(vec![edit(&part, "old", "new")]).await.unwrap();
    assert_eq!(disk.text("key"), "{\"user\": \"u\", \"key\": \"new\"}");
}

#[tokio::test]
async fn what_a_command_did_is_seen_and_not_believed() {
    let disk = Disk::new();
    let file = disk.file("key", "old");
    let key = at("cmd", Path::new("key"), "");
    let once = async |set: &str| {
        fs::write(&file, "old").unwrap();
        by_command(&file, set).deliver(vec![edit(&key, "old", "new")]).await
    };
    // It says that it did, and did not; it says that it failed, and did not.
    assert_eq!(once("cat > /dev/null").await, Err(Fault::Refused(Reason::PlaceChanged.into())));
    assert_eq!(disk.text("key"), "old");
    let failed = Why { word: Some("exit-7".into()), ..Reason::CommandFailed.into() };
    assert_eq!(once("exit 7").await, Err(Fault::Refused(failed)));
    assert_eq!(once("cat > FILE; exit 7").await, Ok(vec![PlaceState::ReadBack]));
    assert_eq!(disk.text("key"), "new");
}

#[tokio::test]
async fn what_a_command_cannot_do_says_why() {
    let disk = Disk::new();
    let stores = by_command(&disk.path("key"), "cat > FILE");
    let place = |name: &str| at("cmd", Path::new(name), "");
    for (name, reason, word) in [
        ("unknown", Reason::Unsupported, "no-such-command"),
        ("broken", Reason::CommandFailed, "exit-4"),
        ("loud", Reason::CommandFailed, "too-large"),
        ("silent", Reason::Empty, ""),
    ] {
        let why = stores.read(&place(name)).await.err().unwrap();
        assert_eq!((why.reason, why.word.unwrap_or_default()), (reason, word.to_owned()), "{name}");
    }
    for (name, reason, word) in
        [("read-only", Reason::ReadOnly, ""), ("broken", Reason::CommandFailed, "exit-4")]
    {
        let edits = vec![edit(&place(name), "", "new")];
        let Err(Fault::Refused(why)) = stores.deliver(edits).await else { panic!("{name}") };
        assert_eq!((why.reason, why.word.unwrap_or_default()), (reason, word.to_owned()), "{name}");
    }
}
