//! Key files: made on first use, by exactly one of the processes that start at once.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rand::TryRngCore as _;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::state::StateError;
use crate::secret::Secret;

/// Keys that are being made are named so; one that a crash left behind was never used.
pub(super) const UNFINISHED: &str = ".unfinished-key-";

/// No key file is longer: an age identity has 74 characters.
const LONGEST: u64 = 4096;

/// Reads the key, making it first where there is none. An existing file is never replaced: it
/// opens everything that was ever sealed here.
pub(super) fn read_or_make(
    dir: &Path,
    name: &str,
    make: impl FnOnce() -> Result<Secret, StateError>,
) -> Result<Secret, StateError> {
    let path = dir.join(name);
    let unusable = |source| StateError::Unusable { path: path.clone(), source };
    if !path.try_exists().map_err(unusable)? {
        write_once(dir, &path, &make()?).map_err(unusable)?;
    }
    let file = File::options()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(unusable)?;
    let about = file.metadata().map_err(unusable)?;
    if about.mode() & 0o077 != 0 {
        return Err(StateError::OpenToOthers { path });
    }
    if about.len() == 0 || about.len() > LONGEST {
        return Err(StateError::BadKey { path });
    }
    // One byte more than the file has: it is read without growing, and growing leaves copies.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    file.take(LONGEST).read_to_end(&mut bytes).map_err(unusable)?;
    Ok(Secret::new(bytes.to_vec()))
}

/// 32 bytes from the operating system.
pub(super) fn random() -> Result<Secret, StateError> {
    let mut bytes = vec![0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|_| StateError::NoRandomness)?;
    Ok(Secret::new(bytes))
}

fn write_once(dir: &Path, path: &Path, key: &Secret) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir)?;
    file.write_all(key.expose())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => File::open(dir)?.sync_all(),
        // Another process was first: its key is the key.
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(failed.error),
    }
}
