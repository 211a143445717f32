//! From the path of a reference to the file itself, link by link.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::{because, system};
use crate::engine::call::{Reason, Why};

/// As many links as Linux follows before it says ELOOP.
const LINKS_MAX: usize = 40;

/// Where a path leads.
pub(super) struct Resolved {
    /// The file itself: no component of it is a link. It may not exist yet; its folder does.
    pub(super) real: PathBuf,
    /// Every link on the way.
    links: Vec<PathBuf>,
}

impl Resolved {
    /// Whether nobody but root and the caller can have laid the links on the way: whoever can lay
    /// one chooses the file that is overwritten.
    ///
    /// # Errors
    /// [`Reason::Untrusted`].
    pub(super) fn trusted(&self) -> Result<(), Why> {
        let caller = rustix::process::geteuid().as_raw();
        let ours = |uid: u32| uid == 0 || uid == caller;
        for link in &self.links {
            let unwritable = |error: &std::io::Error| system(Reason::Unwritable, error);
            let itself = fs::symlink_metadata(link).map_err(|error| unwritable(&error))?;
            let folder = link.parent().unwrap_or(Path::new("/"));
            let folder = fs::metadata(folder).map_err(|error| unwritable(&error))?;
            // In a sticky folder only the owner of a link can replace it.
            let held = folder.mode() & 0o022 == 0 || folder.mode() & 0o1000 != 0;
            if !(ours(itself.uid()) && ours(folder.uid()) && held) {
                return Err(because(Reason::Untrusted, "link-of-others"));
            }
        }
        Ok(())
    }
}

/// Resolves an absolute path, or one below `~`. Under a root, links lead to files under that root,
/// as they would on the host that the disk was taken from.
///
/// # Errors
/// `reason`, with a word: `relative-path`, `no-home`, `home-under-root`, `too-many-links`,
/// `not-found`, `permission-denied`.
pub(super) fn resolve(path: &str, root: Option<&Path>, reason: Reason) -> Result<Resolved, Why> {
    let path = absolute(path, root.is_some()).map_err(|word| because(reason, word))?;
    let root = root.unwrap_or(Path::new("/"));
    let mut real = root.to_owned();
    let mut links = Vec::new();
    let mut ahead = steps(&path);
    while let Some(step) = ahead.pop_front() {
        if step == ".." {
            if real != root {
                real.pop();
            }
            continue;
        }
        let here = real.join(&step);
        match fs::symlink_metadata(&here) {
            Ok(found) if found.is_symlink() => {
                if links.len() == LINKS_MAX {
                    return Err(because(reason, "too-many-links"));
                }
                let target = fs::read_link(&here).map_err(|error| system(reason, &error))?;
                links.push(here);
                if target.is_absolute() {
                    root.clone_into(&mut real);
                }
                for step in steps(&target).into_iter().rev() {
                    ahead.push_front(step);
                }
            }
            Ok(_) => real = here,
            // The file itself may be made by the one who asked; its folder may not.
            Err(error) if error.kind() == ErrorKind::NotFound && ahead.is_empty() => real = here,
            Err(error) => return Err(system(reason, &error)),
        }
    }
    Ok(Resolved { real, links })
}

fn absolute(path: &str, rooted: bool) -> Result<PathBuf, &'static str> {
    let Some(below) = path.strip_prefix('~') else {
        let path = Path::new(path);
        return if path.is_absolute() { Ok(path.to_owned()) } else { Err("relative-path") };
    };
    if rooted {
        // Whose home it was, only the other host knows.
        return Err("home-under-root");
    }
    let below = match below.strip_prefix('/') {
        Some(below) => below,
        // `~name` is another user's home, which only a shell expands.
        None => return Err("relative-path"),
    };
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    Ok(home.ok_or("no-home")?.join(below))
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}
