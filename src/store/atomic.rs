//! Reading a whole file, and replacing it at once: after a crash it holds all of the old content
//! or all of the new, with its mode, owner, ACL and extended attributes.
//!
//! What would break that is refused, and the new secret stays in escrow for a person:
//! - A folder that cannot be written. Writing in place would leave half a file after a crash, and
//!   with it the end of every other secret in it.
//! - A file with several names (hard links). Replacing one name leaves the old secret under the
//!   others; writing in place is not crash-safe.
//! - A file whose owner or attributes cannot be given to its successor: its reader would be locked
//!   out, or another let in.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, OFlags, XattrFlags};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{because, system};
use crate::engine::call::{Reason, Why};

/// The longest file that is read whole. The largest places in use (an agent's configuration with
/// its history) are some hundred KiB; 1 MiB leaves room, and keeps a wrong path (a log, a database)
/// out of memory.
pub(super) const FILE_MAX: u64 = 1 << 20;

/// Waits for another process's edit in the same folder: 100 times 50 ms. An edit takes
/// milliseconds; who holds the lock for 5 s is no writer of ours.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What a file held when it was read.
pub(super) struct Original {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// The open file and what was known of it; none if there was no file.
    file: Option<(File, Metadata)>,
}

/// Why a file was not replaced.
pub(super) enum NotReplaced {
    /// Somebody else changed it after it was read.
    Changed,
    /// It cannot be.
    Because(Why),
}

impl Original {
    /// Reads a regular file of at most [`FILE_MAX`] bytes. The path holds no link. A pipe or a
    /// device is never waited for.
    ///
    /// # Errors
    /// `reason`, with a word: `not-found`, `permission-denied`, `not-regular`, `too-large`.
    pub(super) fn read(path: &Path, reason: Reason) -> Result<Self, Why> {
        let file = open(path).map_err(|error| system(reason, &error))?;
        let known = file.metadata().map_err(|error| system(reason, &error))?;
        if !known.is_file() {
            return Err(because(reason, "not-regular"));
        }
        if known.len() > FILE_MAX {
            return Err(because(reason, "too-large"));
        }
        let bytes = read_whole(&file, known.len()).map_err(|error| system(reason, &error))?;
        match bytes {
            Some(bytes) => Ok(Self { bytes, file: Some((file, known)) }),
            None => Err(because(reason, "too-large")),
        }
    }

    /// As [`Original::read`], and nothing where there is no file.
    pub(super) fn read_or_none(path: &Path) -> Result<Self, Why> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Self { bytes: Zeroizing::default(), file: None })
            }
            _ => Self::read(path, Reason::Unwritable),
        }
    }

    /// Whether [`Original::replace`] could do its work. Changes nothing.
    ///
    /// # Errors
    /// [`Reason::Unwritable`], with a word: `hard-linked`, `owner-not-kept`, or the system's.
    pub(super) fn replaceable(&self, path: &Path) -> Result<(), Why> {
        let folder = folder(path);
        rustix::fs::accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|error| system(Reason::Unwritable, &error.into()))?;
        let Some((_, known)) = &self.file else { return Ok(()) };
        if known.nlink() > 1 {
            return Err(because(Reason::Unwritable, "hard-linked"));
        }
        let caller = rustix::process::geteuid();
        if !caller.is_root() && known.uid() != caller.as_raw() {
            return Err(because(Reason::Unwritable, "owner-not-kept"));
        }
        Ok(())
    }

    /// Replaces the file by one with this content. Durable when it returns.
    pub(super) fn replace(&self, path: &Path, content: &[u8]) -> Result<(), NotReplaced> {
        self.replaceable(path).map_err(NotReplaced::Because)?;
        let fault =
            |error: std::io::Error| NotReplaced::Because(system(Reason::Unwritable, &error));
        let mut next = Next::create(path).map_err(fault)?;
        match &self.file {
            Some((file, known)) => {
                keep(file, known, &next.file).map_err(NotReplaced::Because)?;
            }
            None => belong(folder(path), &next.file).map_err(fault)?,
        }
        next.file.write_all(content).map_err(fault)?;
        next.file.sync_all().map_err(fault)?;
        if !self.unchanged(path).map_err(fault)? {
            return Err(NotReplaced::Changed);
        }
        next.take_the_place_of(path).map_err(fault)?;
        File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(fault)
    }

    /// Whether the path still names what was read, as it was read.
    fn unchanged(&self, path: &Path) -> std::io::Result<bool> {
        let now = match fs::symlink_metadata(path) {
            Ok(now) => now,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(self.file.is_none()),
            Err(error) => return Err(error),
        };
        let stamp = |it: &Metadata| {
            (it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec())
        };
        Ok(self.file.as_ref().is_some_and(|(_, then)| stamp(then) == stamp(&now)))
    }
}

/// All that is in a file which was so long a moment ago; none if it is longer than may be.
fn read_whole(mut file: &File, length: u64) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    // Room from the start, for a buffer that grows leaves copies behind; and no more than it takes,
    // for all of it is wiped. One that has grown meanwhile is read again.
    for most in [length + 1, FILE_MAX + 1] {
        let room = usize::try_from(most).unwrap_or(usize::MAX);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.rewind()?;
        file.take(most).read_to_end(&mut bytes)?;
        if bytes.len() < room {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Opens a file for reading, no link in its place and without waiting for a pipe.
pub(super) fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Gives a new file the owner, mode, ACL and extended attributes of its predecessor, or refuses.
fn keep(from: &File, known: &Metadata, to: &File) -> Result<(), Why> {
    let owner = || because(Reason::Unwritable, "owner-not-kept");
    let attributes = || because(Reason::Unwritable, "attributes-not-kept");
    let made = to.metadata().map_err(|_| owner())?;
    if (made.uid(), made.gid()) != (known.uid(), known.gid()) {
        fchown(to, Some(known.uid()), Some(known.gid())).map_err(|_| owner())?;
    }
    to.set_permissions(Permissions::from_mode(known.mode() & 0o7777)).map_err(|_| attributes())?;
    copy_attributes(from, to).map_err(|_| attributes())?;
    let made = to.metadata().map_err(|_| attributes())?;
    if made.mode() != known.mode() {
        return Err(attributes());
    }
    if (made.uid(), made.gid()) != (known.uid(), known.gid()) {
        return Err(owner());
    }
    Ok(())
}

/// On Linux, POSIX ACLs and security labels are extended attributes too. A file system that has
/// none has nothing to lose.
fn copy_attributes(from: &File, to: &File) -> rustix::io::Result<()> {
    let names = match attribute_names(from) {
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        names => names?,
    };
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let value = attribute(from, name)?;
        // A label that the folder already gave to the new file needs no right to set it.
        if attribute(to, name).is_ok_and(|given| given == value) {
            continue;
        }
        rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty())?;
    }
    Ok(())
}

/// The kernel's own bound on a list of names and on a value (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const ATTRIBUTE_MAX: usize = 1 << 16;

fn attribute_names(of: &File) -> rustix::io::Result<Vec<u8>> {
    let mut names = vec![0; ATTRIBUTE_MAX];
    let length = rustix::fs::flistxattr(of, &mut names)?;
    names.truncate(length);
    Ok(names)
}

fn attribute(of: &File, name: &[u8]) -> rustix::io::Result<Vec<u8>> {
    let mut value = vec![0; ATTRIBUTE_MAX];
    let length = rustix::fs::fgetxattr(of, name, &mut value)?;
    value.truncate(length);
    Ok(value)
}

/// A file that was not there belongs to the owner of its folder, who will want to read it; only
/// root can give it away.
fn belong(folder: &Path, file: &File) -> std::io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(folder)?;
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// The file that will take the place of another; removed if it does not.
struct Next {
    path: Option<PathBuf>,
    file: File,
}

impl Next {
    fn create(place: &Path) -> std::io::Result<Self> {
        let name = format!("{}{:016x}.tmp", stem(place), rand::random::<u64>());
        let path = folder(place).join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path: Some(path), file })
    }

    fn take_the_place_of(mut self, place: &Path) -> std::io::Result<()> {
        if let Some(path) = &self.path {
            fs::rename(path, place)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// How the names of all files begin that were to take the place of this one. A hash, so that a
/// long name stays within the file system's bound.
fn stem(place: &Path) -> String {
    let name = place.file_name().unwrap_or_default().as_encoded_bytes();
    let hash: String =
        Sha256::digest(name).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!(".rotate-{hash}-")
}

/// Keeps other processes of ours out of a folder while one of its files is edited. It is the
/// folder's own lock, so nothing is left behind, and it dies with the process.
pub(super) struct FolderLock(#[expect(dead_code, reason = "held, not read")] Option<File>);

impl FolderLock {
    /// Waits up to 5 s, then goes on without: where the file system has no locks, or somebody else
    /// holds this one, only the stamp taken at reading guards against another writer.
    pub(super) fn take(place: &Path) -> Self {
        let Ok(folder) = File::open(folder(place)) else { return Self(None) };
        for _ in 0..LOCK_TRIES {
            match folder.try_lock() {
                Ok(()) => {
                    sweep(place);
                    return Self(Some(folder));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(_)) => break,
            }
        }
        Self(None)
    }
}

/// Removes what a process that was killed between writing and renaming has left behind. Only
/// under the lock: without it, it could be another's work in progress.
fn sweep(place: &Path) {
    let stem = stem(place);
    let Ok(entries) = fs::read_dir(folder(place)) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(stem.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_somebody_changed_after_it_was_read_is_not_replaced() {
        let disk = tempfile::tempdir().unwrap();
        let path = disk.path().join("file");
        let changed =
            |then: &Original| matches!(then.replace(&path, b"x"), Err(NotReplaced::Changed));
        fs::write(&path, "one").unwrap();
        let then = Original::read_or_none(&path).ok().unwrap();
        fs::write(&path, "longer").unwrap();
        assert!(changed(&then), "written");
        let then = Original::read_or_none(&path).ok().unwrap();
        fs::write(disk.path().join("other"), "longer").unwrap();
        fs::rename(disk.path().join("other"), &path).unwrap();
        assert!(changed(&then), "replaced");
        let then = Original::read_or_none(&path).ok().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(changed(&then), "removed");
        let then = Original::read_or_none(&path).ok().unwrap();
        fs::write(&path, "made").unwrap();
        assert!(changed(&then), "made");
        assert_eq!(fs::read_to_string(&path).unwrap(), "made");
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1, "left behind");
        let then = Original::read_or_none(&path).ok().unwrap();
        assert!(then.replace(&path, b"x").is_ok());
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
    }
}
