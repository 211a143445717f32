//! Owners, modes and links, as Unix has them.

use std::collections::VecDeque;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::{Distrust, Reason};

/// The user whose word counts besides root's.
pub(super) fn caller() -> Option<u32> {
    Some(rustix::process::geteuid().as_raw())
}

pub(super) fn writable_by_others(path: &Path, caller: u32) -> Vec<Distrust> {
    let mut reasons = Vec::new();
    let walked = walk(path, |step| {
        // A way that turns back passes a directory twice.
        let distrust = step.distrust();
        if !step.is_safe_from_others(caller) && !reasons.contains(&distrust) {
            reasons.push(distrust);
        }
    });
    if let Err((path, error)) = walked {
        reasons.push(Distrust { path, reason: Reason::Unreadable(error.kind()) });
    }
    reasons
}

pub(super) fn link_on_the_way(path: &Path, caller: Option<u32>) -> Option<Distrust> {
    let caller = caller?;
    let mut found = None;
    let mut others_write = false;
    let walked = walk(path, |step| {
        if let Some(to) = step.link {
            let set_by_others = !is_ours(step.metadata.uid(), caller) || others_write;
            if set_by_others && found.is_none() {
                let reason = Reason::Link { uid: step.metadata.uid(), to: to.to_path_buf() };
                found = Some(Distrust { path: step.path.to_path_buf(), reason });
            }
        } else {
            others_write = !step.is_safe_from_others(caller);
        }
    });
    // What cannot be looked at has no link that could be followed either.
    drop(walked);
    found
}

/// One entry of the way to a file: a directory, a link, or the file.
struct Step<'a> {
    path: &'a Path,
    metadata: &'a Metadata,
    /// Where it leads, if it is a link.
    link: Option<&'a Path>,
    /// User id of the owner of the next entry on the way, which a sticky directory guards.
    next: Option<u32>,
}

impl Step<'_> {
    /// Whether only root and the caller can change what the way leads to from here.
    fn is_safe_from_others(&self, caller: u32) -> bool {
        if !is_ours(self.metadata.uid(), caller) {
            return false;
        }
        let guarded = self.metadata.mode() & 0o1000 != 0
            && self.metadata.is_dir()
            && self.next.is_some_and(|next| is_ours(next, caller));
        // A link's own mode says nothing; its directory decides.
        self.link.is_some() || self.metadata.mode() & 0o022 == 0 || guarded
    }

    fn distrust(&self) -> Distrust {
        let (uid, mode) = (self.metadata.uid(), self.metadata.mode() & 0o7777);
        let reason = match self.link {
            Some(to) => Reason::Link { uid, to: to.to_path_buf() },
            None if self.metadata.mode() & 0o022 == 0 => Reason::Owner { uid },
            None => Reason::Writable { uid, mode },
        };
        Distrust { path: self.path.to_path_buf(), reason }
    }
}

fn is_ours(uid: u32, caller: u32) -> bool {
    uid == 0 || uid == caller
}

/// Visits every entry on the way to `path`, in the order the system follows them: each
/// directory before what is in it, each link before where it leads.
fn walk(path: &Path, mut visit: impl FnMut(Step<'_>)) -> Result<(), (PathBuf, io::Error)> {
    let absolute = std::path::absolute(path).map_err(|error| (path.to_path_buf(), error))?;
    let mut ahead: VecDeque<PathBuf> = pieces(&absolute).collect();
    let mut here = PathBuf::new();
    let mut links = 0;
    let mut at = look(Path::new("/"))?;
    ahead.pop_front();
    here.push("/");
    while let Some(piece) = ahead.pop_front() {
        if piece == Path::new("..") {
            here.pop();
            at = look(&here)?;
            continue;
        }
        let next = here.join(&piece);
        let entry = look(&next)?;
        visit(Step { path: &here, metadata: &at, link: None, next: Some(entry.uid()) });
        if !entry.is_symlink() {
            (here, at) = (next, entry);
            continue;
        }
        links += 1;
        // Forty, as in Linux: more is a circle.
        if links > 40 {
            return Err((next, io::Error::from(io::ErrorKind::InvalidInput)));
        }
        let to = std::fs::read_link(&next).map_err(|error| (next.clone(), error))?;
        visit(Step { path: &next, metadata: &entry, link: Some(&to), next: None });
        if to.is_absolute() {
            here = PathBuf::from("/");
            at = look(&here)?;
        }
        for piece in pieces(&to)
            .filter(|piece| piece != Path::new("/"))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            ahead.push_front(piece);
        }
    }
    visit(Step { path: &here, metadata: &at, link: None, next: None });
    Ok(())
}

fn look(path: &Path) -> Result<Metadata, (PathBuf, io::Error)> {
    path.symlink_metadata().map_err(|error| (path.to_path_buf(), error))
}

fn pieces(path: &Path) -> impl Iterator<Item = PathBuf> {
    path.components()
        .filter(|piece| *piece != Component::CurDir)
        .map(|piece| PathBuf::from(piece.as_os_str()))
}
