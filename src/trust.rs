//! Who else could have written what we are about to believe.
//!
//! An inventory names commands, hosts and places, a provider file names hosts: both are code. Here
//! is decided whether anyone but root or the caller may write them, and where an inventory is
//! looked for.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

#[cfg(unix)]
mod unix;

/// Whether a file may name commands, hosts and places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Only root and the caller can have written it.
    Trusted,
    /// This system does not tell who may write: for the caller to say.
    Untold,
    /// Everything that speaks against it.
    Refused(Vec<Distrust>),
}

/// One reason not to believe a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// What it is about: the file, a directory above it, or a link on the way.
    pub path: PathBuf,
    /// Why.
    pub reason: Reason,
}

/// Why a path is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its owner, neither root nor the caller, can change it at any time.
    Owner {
        /// User id.
        uid: u32,
    },
    /// Group or all may write it.
    Writable {
        /// User id of its owner.
        uid: u32,
        /// Permission bits.
        mode: u32,
    },
    /// It lies in the home of an agent's platform, which the agent can write.
    InsideHome {
        /// The role whose home it is, as the inventory names it.
        home: PathBuf,
    },
    /// A symbolic link that somebody else could have set.
    Link {
        /// User id of its owner.
        uid: u32,
        /// Where it leads.
        to: PathBuf,
    },
    /// It cannot be looked at.
    Unreadable(std::io::ErrorKind),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Owner { uid } => write!(f, "{path} belongs to user {uid}"),
            Reason::Writable { uid, mode } => {
                let who = match (mode & 0o020 != 0, mode & 0o002 != 0) {
                    (_, true) => "everyone",
                    _ => "its group",
                };
                write!(f, "{path} (user {uid}, mode {mode:04o}) can be written by {who}")
            }
            Reason::InsideHome { home } => {
                write!(f, "{path} lies in {}, which the agent can write", home.display())
            }
            Reason::Link { uid, to } => {
                write!(f, "{path} is a link to {} that user {uid} could have set", to.display())
            }
            Reason::Unreadable(kind) => write!(f, "{path} cannot be looked at: {kind}"),
        }
    }
}

impl Distrust {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let path = self.path.display();
        match &self.reason {
            Reason::Owner { .. } => format!("chown it to yourself or root: chown \"$USER\" {path}"),
            Reason::Writable { .. } => format!("take the right away: chmod go-w {path}"),
            Reason::InsideHome { .. } => {
                "keep it where no agent can write, such as ~/.config/rotate or /etc/rotate"
                    .to_owned()
            }
            Reason::Link { to, .. } => {
                format!("name the file itself, if it is the one you mean: {}", to.display())
            }
            Reason::Unreadable(_) => "check that it exists and that you may read it".to_owned(),
        }
    }
}

/// Whether only root and the caller can have written a file (or a directory: for `--providers` see
/// [`of_folder`]), or set where its path leads. `homes` are those of the inventory's platforms.
///
/// A sticky directory is safe above an entry of the caller's own: others cannot move that away.
pub fn of(path: &Path, homes: &[&Path]) -> Trust {
    judge(path, homes, unix::caller())
}

/// [`of`] for a directory and every file right in it.
pub fn of_folder(folder: &Path, homes: &[&Path]) -> Trust {
    let mut trust = of(folder, homes);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return refused(trust, folder, Reason::Unreadable(error.kind())),
    };
    for entry in entries {
        match entry {
            Ok(entry) => trust = worse(trust, of(&entry.path(), homes)),
            Err(error) => trust = refused(trust, folder, Reason::Unreadable(error.kind())),
        }
    }
    trust
}

/// The first symbolic link on the way to a place that somebody other than root or the caller could
/// have set. What does not exist yet is no link.
///
/// The directories of an agent's place are the agent's own: that they can be written is no
/// surprise. That a path leads out of them is one.
pub fn link_on_the_way(path: &Path) -> Option<Distrust> {
    unix::link_on_the_way(path, unix::caller())
}

/// No inventory was named, and none was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no inventory: looked for {}", listed(.looked))]
pub struct NoInventory {
    /// Where it was looked for.
    pub looked: Vec<PathBuf>,
}

impl NoInventory {
    /// An imperative for whoever has none.
    pub const HINT: &str =
        "write one there (inventory.example.toml shows how), or name it with --inventory";
}

/// Where the inventory is: `--inventory`, `$ROTATE_INVENTORY`, `$XDG_CONFIG_HOME/rotate` (or
/// `~/.config/rotate`), `/etc/rotate`. Never the working directory: that may be the agent's.
///
/// `env` is the environment. What is named is not tried here: if it cannot be read, reading it
/// says so.
///
/// # Errors
/// [`NoInventory`] with the places that were tried.
pub fn find(
    named: Option<&Path>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, NoInventory> {
    let given = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = named.map(Path::to_path_buf).or_else(|| given("ROTATE_INVENTORY")) {
        return Ok(path);
    }
    // The XDG specification: a relative path is invalid and to be ignored.
    let xdg = given("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let config = xdg.or_else(|| {
        given("HOME").filter(|home| home.is_absolute()).map(|home| home.join(".config"))
    });
    let folders = config.into_iter().chain([PathBuf::from("/etc")]);
    let looked: Vec<PathBuf> =
        folders.map(|folder| folder.join("rotate").join("inventory.toml")).collect();
    // A broken or forbidden one counts as found: passing it over in silence would use another.
    let found = looked.iter().find(|path| path.symlink_metadata().is_ok_and(|_| true));
    found.cloned().ok_or(NoInventory { looked })
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn judge(path: &Path, homes: &[&Path], caller: Option<u32>) -> Trust {
    let mut reasons = inside_homes(path, homes);
    let told = match caller {
        Some(caller) => {
            reasons.extend(unix::writable_by_others(path, caller));
            true
        }
        None => false,
    };
    match (reasons.is_empty(), told) {
        (false, _) => Trust::Refused(reasons),
        (true, true) => Trust::Trusted,
        (true, false) => Trust::Untold,
    }
}

fn inside_homes(path: &Path, homes: &[&Path]) -> Vec<Distrust> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let target = real(path);
    let around =
        homes.iter().filter(|home| target.starts_with(real(home)) || path.starts_with(home));
    around
        .map(|home| Distrust {
            path: path.to_path_buf(),
            reason: Reason::InsideHome { home: home.to_path_buf() },
        })
        .collect()
}

fn refused(trust: Trust, path: &Path, reason: Reason) -> Trust {
    worse(trust, Trust::Refused(vec![Distrust { path: path.to_path_buf(), reason }]))
}

fn worse(one: Trust, other: Trust) -> Trust {
    match (one, other) {
        (Trust::Refused(mut reasons), Trust::Refused(more)) => {
            reasons.extend(more.into_iter().filter(|it| !reasons.contains(it)).collect::<Vec<_>>());
            Trust::Refused(reasons)
        }
        (Trust::Refused(reasons), _) | (_, Trust::Refused(reasons)) => Trust::Refused(reasons),
        (Trust::Untold, _) | (_, Trust::Untold) => Trust::Untold,
        (Trust::Trusted, Trust::Trusted) => Trust::Trusted,
    }
}

#[cfg(not(unix))]
mod unix {
    use std::path::Path;

    use super::Distrust;

    /// Access lists are not read here: nobody's word counts, and the trust is untold.
    pub(super) fn caller() -> Option<u32> {
        None
    }

    pub(super) fn writable_by_others(_path: &Path, _caller: u32) -> Vec<Distrust> {
        Vec::new()
    }

    pub(super) fn link_on_the_way(_path: &Path, _caller: Option<u32>) -> Option<Distrust> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            mode(folder.path(), 0o700);
            Self(folder)
        }

        fn folder(&self, name: &str, bits: u32) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            mode(&path, bits);
            path
        }

        fn file(&self, name: &str, bits: u32) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, "").unwrap();
            mode(&path, bits);
            path
        }
    }

    fn mode(path: &Path, bits: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
    }

    fn me() -> u32 {
        unix::caller().unwrap()
    }

    /// A user who is neither root nor the one running this test.
    fn stranger() -> u32 {
        me() + 12_345
    }

    fn reasons(trust: Trust) -> Vec<Distrust> {
        match trust {
            Trust::Refused(reasons) => reasons,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ones_own_file_below_a_sticky_directory_is_trusted() {
        let place = Place::new();
        let file = place.file("inventory.toml", 0o600);
        assert_eq!(of(&file, &[]), Trust::Trusted);
        mode(&file, 0o644);
        assert_eq!(of(&file, &[]), Trust::Trusted, "read by all, written by one");
        place.folder("tmp", 0o1777);
        let file = place.file("tmp/inventory.toml", 0o600);
        assert_eq!(of(&file, &[]), Trust::Trusted, "others cannot move it out of the way");
    }

    #[test]
    fn what_others_can_write_is_refused_with_owner_and_mode() {
        let place = Place::new();
        let file = place.file("inventory.toml", 0o664);
        let found = reasons(of(&file, &[]));
        let path = file.display();
        assert_eq!(found.len(), 1);
        let said = format!("{path} (user {}, mode 0664) can be written by its group", me());
        assert_eq!(found[0].to_string(), said);
        assert_eq!(found[0].hint(), format!("take the right away: chmod go-w {path}"));
        mode(&file, 0o602);
        assert!(reasons(of(&file, &[]))[0].to_string().ends_with("can be written by everyone"));
    }

    #[test]
    fn a_directory_above_it_counts_as_much() {
        let place = Place::new();
        let open = place.folder("open", 0o777);
        place.folder("open/mine", 0o700);
        let file = place.file("open/mine/inventory.toml", 0o600);
        let found = reasons(of(&file, &[]));
        assert_eq!(found.iter().map(|it| &it.path).collect::<Vec<_>>(), [&open]);
    }

    #[test]
    fn the_owner_of_a_file_can_write_it_whatever_its_mode() {
        let place = Place::new();
        let file = place.file("inventory.toml", 0o400);
        let owner = match me() {
            // Root's files are anyone's to believe; root can give one away.
            0 => stranger(),
            mine => mine,
        };
        std::os::unix::fs::chown(&file, Some(owner), None).unwrap();
        let reader = if me() == 0 { 0 } else { stranger() };
        let found = reasons(judge(&file, &[], Some(reader)));
        let said = format!("{} belongs to user {owner}", file.display());
        assert!(found.iter().any(|it| it.to_string() == said), "{found:?}");
    }

    #[test]
    fn inside_of_an_agents_home() {
        let place = Place::new();
        let home = place.folder("home", 0o700);
        let inside = place.file("home/inventory.toml", 0o600);
        let beside = place.file("inventory.toml", 0o600);
        assert_eq!(of(&beside, &[&home]), Trust::Trusted);
        let found = reasons(of(&inside, &[&home]));
        assert_eq!(found[0].reason, Reason::InsideHome { home: home.clone() });
        // However it is spelled, and through a link as well.
        let link = place.0.path().join("link.toml");
        symlink(&inside, &link).unwrap();
        for path in [link, home.join("../home/inventory.toml")] {
            assert!(matches!(of(&path, &[&home]), Trust::Refused(_)), "{}", path.display());
        }
    }

    #[test]
    fn where_a_link_leads_is_judged_too() {
        let place = Place::new();
        place.folder("open", 0o777);
        let file = place.file("open/inventory.toml", 0o600);
        let link = place.0.path().join("link.toml");
        symlink("open/inventory.toml", &link).unwrap();
        let found = reasons(of(&link, &[]));
        assert_eq!(found[0].path, file.parent().unwrap());
        let circle = place.0.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(matches!(reasons(of(&circle, &[]))[0].reason, Reason::Unreadable(_)));
    }

    #[test]
    fn what_is_missing_is_not_trusted() {
        let place = Place::new();
        let found = reasons(of(&place.0.path().join("missing"), &[]));
        assert_eq!(found[0].reason, Reason::Unreadable(std::io::ErrorKind::NotFound));
    }

    #[test]
    fn a_folder_is_as_good_as_its_worst_file() {
        let place = Place::new();
        let folder = place.folder("providers", 0o755);
        place.file("providers/a.toml", 0o644);
        assert_eq!(of_folder(&folder, &[]), Trust::Trusted);
        let bad = place.file("providers/b.toml", 0o666);
        let found = reasons(of_folder(&folder, &[]));
        assert_eq!(found.iter().map(|it| &it.path).collect::<Vec<_>>(), [&bad]);
    }

    #[test]
    fn links_on_the_way_to_a_place() {
        let place = Place::new();
        place.folder("real", 0o700);
        let file = place.file("real/.env", 0o600);
        assert_eq!(link_on_the_way(&file), None);
        assert_eq!(link_on_the_way(&place.0.path().join("real/new/.env")), None, "not there yet");
        let ours = place.0.path().join("ours");
        symlink("real", &ours).unwrap();
        assert_eq!(link_on_the_way(&ours.join(".env")), None, "set by the caller");
        let agents = place.folder("agents", 0o777);
        symlink(&file, agents.join(".env")).unwrap();
        let found = link_on_the_way(&agents.join(".env")).unwrap();
        assert_eq!(found.path, agents.join(".env"));
        assert_eq!(found.reason, Reason::Link { uid: me(), to: file });
    }

    #[test]
    fn an_inventory_is_found_where_it_belongs_and_nowhere_else() {
        let place = Place::new();
        let config = place.folder("config", 0o700);
        let env = |pairs: &[(&str, &Path)]| {
            let pairs: Vec<_> =
                pairs.iter().map(|(k, v)| (k.to_string(), v.as_os_str().to_owned())).collect();
            move |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, v)| v.clone())
        };
        let named = Path::new("here.toml");
        let all = [("ROTATE_INVENTORY", Path::new("there.toml")), ("XDG_CONFIG_HOME", &config)];
        assert_eq!(find(Some(named), env(&all)), Ok(named.to_path_buf()));
        assert_eq!(find(None, env(&all)), Ok(PathBuf::from("there.toml")));
        let expected = config.join("rotate/inventory.toml");
        let missing = find(None, env(&[("XDG_CONFIG_HOME", &config)])).unwrap_err();
        assert_eq!(missing.looked, [expected.clone(), "/etc/rotate/inventory.toml".into()]);
        place.folder("config/rotate", 0o700);
        place.file("config/rotate/inventory.toml", 0o600);
        assert_eq!(find(None, env(&[("XDG_CONFIG_HOME", &config)])), Ok(expected));
        let home = find(None, env(&[("HOME", &config), ("XDG_CONFIG_HOME", Path::new("rel"))]));
        assert_eq!(home.unwrap_err().looked[0], config.join(".config/rotate/inventory.toml"));
    }
}
