//! `rotate schema`: the contracts that other programs read, as JSON Schemas.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::args::Log;
use super::failure::Failure;
use super::run;

/// What the types say; a test holds it against them.
const REPORT: &str = include_str!("../../schema/report.schema.json");

/// Print the JSON Schema of what --format json prints
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Schema {
    /// Of what
    #[arg(value_enum, default_value_t)]
    of: Of,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// What has a schema. Inventories and provider files have none: their rules (what a provider's file
/// asks for, which kinds an admin may be) are more than a schema can say, and `--dry-run` and
/// `rotate providers check` say them with line and column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Of {
    /// The report, format 1.
    #[default]
    Report,
}

impl Schema {
    /// Runs it.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let text = match self.of {
            Of::Report => REPORT,
        };
        Ok(run::shown(text))
    }
}
