//! Arguments that several commands share. No argument takes a secret: secrets are named by the
//! inventory and read from their places.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde::Deserialize as _;
use serde::de::value::{Error as ValueError, StringDeserializer};

use super::when;
use crate::engine::capability::Radius;

/// Where a run reads from and keeps its state.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Places {
    /// The inventory [default: $ROTATE_INVENTORY, then rotate/inventory.toml in the configuration
    /// directory, then /etc/rotate/inventory.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) inventory: Option<PathBuf>,
    /// More provider files; naming one like a built-in replaces it
    #[arg(long, value_name = "DIR")]
    pub(crate) providers: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) state: State,
}

/// Where runs are kept.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct State {
    /// Where journals and sealed secrets are kept [default: rotate in the state directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// How the result is written.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Output {
    /// What stdout carries: for people, for programs, or for a ticket
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// How the log is written.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Log {
    /// The log on stderr; what it holds is chosen by $ROTATE_LOG
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
}

/// How far a run goes without a person.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Go on trying what cannot be reached, and waiting for what dies late, for so long: 90s, 2h
    #[arg(long, value_name = "DURATION", value_parser = when::duration)]
    pub(crate) wait: Option<Duration>,
}

/// Who consents to a new OAuth grant.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Person {
    /// Whether a person is asked for a new OAuth grant, on stderr
    ///
    /// The page and the code stand beside everything else, which goes on meanwhile; with
    /// `--log-format json` as one object on a line. By default nobody is asked where neither stdin
    /// nor stderr is a terminal, as in a schedule: such a grant is then issued by hand. No browser
    /// is started
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) consent: When,
}

/// When a person is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// Where somebody is at the terminal.
    #[default]
    Auto,
    /// Always: whoever reads stderr passes it on.
    Ask,
    /// Never: a new grant is issued by hand.
    Never,
}

/// What happens before anything is touched.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Start {
    /// Print the whole plan and touch nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not wait for Enter
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `--only PROVIDER[/NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Only {
    /// The provider's id in the inventory.
    pub(crate) provider: String,
    /// The credential's name; every one of that provider where none is given.
    pub(crate) name: Option<String>,
}

/// The forms of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs: rotate schema prints the report's form.
    Json,
    /// For a ticket: no word of a provider can break out of it.
    Markdown,
}

/// The forms of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (provider, name) = match text.split_once('/') {
            Some((provider, name)) => (provider, Some(name)),
            None => (text, None),
        };
        let named = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
        if !named(provider) || !name.is_none_or(named) {
            return Err("write PROVIDER or PROVIDER/NAME".to_owned());
        }
        Ok(Self { provider: provider.to_owned(), name: name.map(str::to_owned) })
    }
}

/// Reads a role's name. Messages repeat it, so it may hold nothing that moves a cursor.
pub(crate) fn role(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("a role has a name, as the inventory writes it".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads a text that says something.
pub(crate) fn said(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("it says nothing".to_owned()) } else { Ok(text.to_owned()) }
}

/// Reads a width of the blast radius, in the words of a provider file.
pub(crate) fn radius() -> impl TypedValueParser<Value = Radius> {
    PossibleValuesParser::new(Radius::ALL.map(Radius::word))
        .try_map(|word: String| Radius::deserialize(StringDeserializer::<ValueError>::new(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_a_provider_and_perhaps_a_credential() {
        let only = |text: &str| text.parse::<Only>();
        assert_eq!(only("slack"), Ok(Only { provider: "slack".into(), name: None }));
        let named = Only { provider: "slack".into(), name: Some("bot".into()) };
        assert_eq!(only("slack/bot"), Ok(named));
        for text in ["", "/", "slack/", "/bot", "slack bot"] {
            assert!(only(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_role_has_a_name() {
        assert_eq!(role("mail-agent"), Ok("mail-agent".to_owned()));
        for text in ["", " ", "mail\n", "x\u{1b}[2J"] {
            assert!(role(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_width_of_a_provider_file_can_be_named() {
        let command = clap::Command::new("rotate").arg(clap::Arg::new("b").value_parser(radius()));
        for word in ["token", "family", "grant", "project", "client", "user", "account"] {
            let found = command.clone().try_get_matches_from(["rotate", "--", word]);
            let found = found.map(|all| all.get_one::<Radius>("b").copied());
            let written = serde_json::to_value(found.unwrap().unwrap()).unwrap();
            assert_eq!(written, word);
        }
        assert!(command.try_get_matches_from(["rotate", "--", "planet"]).is_err());
    }
}
