//! Where the command line meets the library: the places a command reads from and writes to, and
//! the straight line that it sends its errand along.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{Only, Output, Person, Places, State};
use super::consent::Manner;
use super::failure::Failure;
use crate::engine::capability::Radius;
use crate::engine::report::{Mode, Stamp};

/// What a person asks of a new run.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// The plan.
    pub(crate) mode: Mode,
    /// Roles, in the order they were named; all of them, once the inventory was read.
    pub(crate) roles: Vec<String>,
    /// `--through`.
    pub(crate) through: Vec<String>,
    /// `--with-delegates`.
    pub(crate) with_delegates: bool,
    /// `--case`.
    pub(crate) case: Option<String>,
    /// `--session`.
    pub(crate) session: Option<String>,
    /// `--because`: restore always has one.
    pub(crate) because: Option<String>,
    /// `--since`.
    pub(crate) since: Option<Stamp>,
    /// `--only`; everything where it is empty.
    pub(crate) only: Vec<Only>,
    /// `--deliver`.
    pub(crate) deliver: bool,
    /// `--include-unlisted`.
    pub(crate) include_unlisted: bool,
    /// `--revoke-strangers`.
    pub(crate) revoke_strangers: bool,
    /// `--max-blast`.
    pub(crate) max_blast: Option<Radius>,
    /// `--wait`.
    pub(crate) wait: Option<Duration>,
    /// `--root`.
    pub(crate) root: Option<PathBuf>,
    /// The run's id, where its locks name it already.
    pub(crate) run: Option<String>,
}

/// What a command sends along the line.
#[derive(Clone, Debug)]
pub(crate) enum Errand {
    /// Prove an earlier run again; the last one where none is named.
    Verify {
        /// Its id.
        run: Option<String>,
        /// `--wait`.
        wait: Option<Duration>,
    },
    /// Go on with a run; the last open one where none is named.
    Resume {
        /// Its id.
        run: Option<String>,
        /// `--wait`.
        wait: Option<Duration>,
    },
    /// A person has done what was left to them.
    Done {
        /// The run that left it.
        run: String,
        /// `ROLE/NAME`.
        credential: String,
    },
}

/// The places of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// Inventories to look for, in order. The first that exists is read; one that was named must.
    pub(crate) inventories: Vec<PathBuf>,
    /// The inventory was named, by `--inventory` or `$ROTATE_INVENTORY`.
    pub(crate) inventory_named: bool,
    /// Where journals and sealed secrets are kept.
    pub(crate) state: PathBuf,
    /// More provider files.
    pub(crate) providers: Option<PathBuf>,
    /// Who consents to new grants.
    pub(crate) manner: Manner,
}

impl Intent {
    /// A run of this plan, all else unsaid.
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            roles: Vec::new(),
            through: Vec::new(),
            with_delegates: false,
            case: None,
            session: None,
            because: None,
            since: None,
            only: Vec::new(),
            deliver: false,
            include_unlisted: false,
            revoke_strangers: false,
            max_blast: None,
            wait: None,
            root: None,
            run: None,
        }
    }
}

impl Session {
    /// Finds the places of a command that plans. Nothing is read or made.
    ///
    /// # Errors
    /// No state directory can be told.
    pub(crate) fn open(places: &Places) -> Result<Self, Failure> {
        Self::find(places, |name| env::var_os(name))
    }

    /// Finds the places of a command that only needs runs.
    ///
    /// # Errors
    /// No state directory can be told.
    pub(crate) fn of_state(state: &State) -> Result<Self, Failure> {
        Self::open(&Places { state: state.clone(), ..Places::default() })
    }

    /// The working directory is never looked into: the inventory is code.
    fn find(places: &Places, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let path = |name: &str| variable(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        // A relative path in an XDG variable is to be ignored, says the specification.
        let absolute = |name: &str| path(name).filter(|it| it.is_absolute());
        let under_home = |rest: &str| absolute("HOME").map(|home| home.join(rest));

        let named = places.inventory.clone().or_else(|| path("ROTATE_INVENTORY"));
        let inventory_named = named.is_some();
        let inventories = match named {
            Some(one) => vec![one],
            None => absolute("XDG_CONFIG_HOME")
                .or_else(|| under_home(".config"))
                .into_iter()
                .chain([PathBuf::from("/etc")])
                .map(|dir| dir.join("rotate/inventory.toml"))
                .collect(),
        };
        let state = places
            .state
            .state
            .clone()
            .or_else(|| absolute("XDG_STATE_HOME").map(|dir| dir.join("rotate")))
            .or_else(|| under_home(".local/state/rotate"))
            .ok_or_else(|| {
                Failure::input("no state directory: neither XDG_STATE_HOME nor HOME is set")
                    .hint("name one: --state DIR")
            })?;
        let providers = places.providers.clone();
        Ok(Self { inventories, inventory_named, state, providers, manner: Manner::default() })
    }

    /// The same, with a person to ask as the arguments say.
    pub(crate) fn asking(mut self, person: Person, output: Output) -> Self {
        self.manner = Manner::new(person.consent, output.log.log_format);
        self
    }

    /// The inventory to read.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn inventory(&self) -> Result<&Path, Failure> {
        let found = self.inventories.iter().find(|path| self.inventory_named || path.exists());
        found.map(PathBuf::as_path).ok_or_else(|| {
            let tried: Vec<_> =
                self.inventories.iter().map(|path| path.display().to_string()).collect();
            Failure::input(format!("no inventory: looked for {}", tried.join(" and ")))
                .hint("name one: --inventory FILE, or ROTATE_INVENTORY")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(places: &Places, variables: &[(&str, &str)]) -> Result<Session, Failure> {
        Session::find(places, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_inventory_is_looked_for_in_order_and_never_here() {
        let session = find(&Places::default(), &[("HOME", "/home/a")]).unwrap();
        let all = ["/home/a/.config/rotate/inventory.toml", "/etc/rotate/inventory.toml"];
        assert_eq!(session.inventories, all.map(PathBuf::from));
        assert!(!session.inventory_named);

        let xdg = [("HOME", "/home/a"), ("XDG_CONFIG_HOME", "/cfg")];
        let session = find(&Places::default(), &xdg).unwrap();
        assert_eq!(session.inventories[0], Path::new("/cfg/rotate/inventory.toml"));

        let named = [("HOME", "/home/a"), ("ROTATE_INVENTORY", "/srv/roles.toml")];
        let session = find(&Places::default(), &named).unwrap();
        assert_eq!(session.inventory(), Ok(Path::new("/srv/roles.toml")));

        let places = Places { inventory: Some("given.toml".into()), ..Places::default() };
        let session = find(&places, &named).unwrap();
        assert_eq!(session.inventory(), Ok(Path::new("given.toml")));
    }

    #[test]
    fn a_relative_or_empty_variable_is_ignored() {
        let odd = [("HOME", "/home/a"), ("XDG_CONFIG_HOME", "cfg"), ("ROTATE_INVENTORY", "")];
        let session = find(&Places::default(), &odd).unwrap();
        assert_eq!(session.inventories[0], Path::new("/home/a/.config/rotate/inventory.toml"));
        assert!(!session.inventory_named);
    }

    #[test]
    fn the_state_directory_can_be_told_or_is_asked_for() {
        let state = |variables: &[(&str, &str)]| {
            find(&Places::default(), variables).map(|session| session.state)
        };
        assert_eq!(state(&[("HOME", "/h")]), Ok("/h/.local/state/rotate".into()));
        assert_eq!(state(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), Ok("/s/rotate".into()));
        let error = state(&[]).unwrap_err();
        assert_eq!(error.code(), 2);
        let given = Places { state: State { state: Some("/mnt/usb".into()) }, ..Places::default() };
        assert_eq!(find(&given, &[]).unwrap().state, Path::new("/mnt/usb"));
    }
}
