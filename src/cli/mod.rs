//! The command line: parse, dispatch, exit code. stdout carries the report alone.

use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};

use args::Log;
use failure::Failure;

mod args;
mod beginning;
mod completions;
mod consent;
mod contain;
mod demo;
mod done;
mod ending;
mod escrow;
mod exit;
mod failure;
mod human;
mod init;
mod line;
mod locking;
mod logging;
mod man;
mod markdown;
mod outline;
mod pasted;
mod prepare;
mod progress;
pub(crate) mod provider_page;
mod providers;
mod rehearse;
mod report;
mod restore;
mod resume;
mod revoke;
mod run;
mod runs;
mod schema;
mod session;
mod signals;
mod table;
mod telling;
mod terminal;
mod unlisted;
mod verify;
mod when;
mod words;

/// What is still on its way when a command has ended (an abandoned read of a dead mount) gets this
/// long: enough for buffers to be wiped, not enough for a person to wonder.
const LAST_CALLS: Duration = Duration::from_millis(500);

/// Revokes and reissues every credential of an AI agent role, and proves the old ones dead
#[derive(Parser, Debug)]
#[command(
    name = "rotate",
    version,
    after_help = exit::HELP,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    contain: contain::Contain,
}

#[derive(Subcommand, Debug)]
enum Command {
    Restore(restore::Restore),
    Rehearse(rehearse::Rehearse),
    Verify(verify::Verify),
    Resume(resume::Resume),
    Revoke(revoke::Revoke),
    Done(done::Done),
    Report(report::Report),
    Runs(runs::Runs),
    Providers(providers::Providers),
    Escrow(escrow::Escrow),
    Init(init::Init),
    Schema(schema::Schema),
    Completions(completions::Completions),
    #[command(hide = true)]
    Man(man::Man),
    Demo(demo::Demo),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    harden();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(error),
    };
    match start(cli) {
        Ok(code) => code,
        Err(failure) => {
            terminal::say(&failure.to_string());
            ExitCode::from(failure.code())
        }
    }
}

/// No core dumps, no tracing by others of the same user. Debug builds stay open to debuggers.
fn harden() {
    if cfg!(debug_assertions) {
        return;
    }
    if secmem_proc::harden_process().is_err() {
        terminal::say("warning: this process cannot be kept from core dumps and tracing");
    }
}

fn start(cli: Cli) -> Result<ExitCode, Failure> {
    logging::start(cli.log().log_format)?;
    // Fails only where a host of the library has chosen one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::own(format!("no threads to run on: {error}")))?;
    let ended = runtime.block_on(dispatch(cli));
    runtime.shutdown_timeout(LAST_CALLS);
    ended
}

async fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    signals::outlive_full_disks();
    match cli.command {
        None => cli.contain.run().await,
        Some(Command::Restore(it)) => it.run().await,
        Some(Command::Rehearse(it)) => it.run().await,
        Some(Command::Verify(it)) => it.run().await,
        Some(Command::Resume(it)) => it.run().await,
        Some(Command::Revoke(it)) => it.run().await,
        Some(Command::Done(it)) => it.run().await,
        Some(Command::Report(it)) => it.run().await,
        Some(Command::Runs(it)) => it.run(),
        Some(Command::Providers(it)) => it.run(),
        Some(Command::Escrow(it)) => it.run(),
        Some(Command::Init(it)) => it.run(),
        Some(Command::Schema(it)) => it.run(),
        Some(Command::Completions(it)) => it.run(),
        Some(Command::Man(it)) => it.run(),
        Some(Command::Demo(it)) => it.run().await,
    }
}

impl Cli {
    fn log(&self) -> Log {
        match &self.command {
            None => self.contain.output.log,
            Some(Command::Restore(it)) => it.output.log,
            Some(Command::Rehearse(it)) => it.output.log,
            Some(Command::Verify(it)) => it.output.log,
            Some(Command::Resume(it)) => it.output.log,
            Some(Command::Revoke(it)) => it.output.log,
            Some(Command::Done(it)) => it.output.log,
            Some(Command::Report(it)) => it.output.log,
            Some(Command::Runs(it)) => it.output.log,
            Some(Command::Providers(it)) => it.output().log,
            Some(Command::Escrow(it)) => it.log(),
            Some(Command::Init(it)) => it.log,
            Some(Command::Schema(it)) => it.log,
            Some(Command::Completions(it)) => it.log,
            Some(Command::Man(it)) => it.log,
            Some(Command::Demo(it)) => it.output.log,
        }
    }
}

/// Prints help where it was asked for; otherwise says what is wrong with the arguments.
fn refuse(mut error: clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(text)) = error.get(ContextKind::InvalidArg)
        && text.starts_with('-')
        && !is_flag(text)
    {
        // Clap repeats it in its hints too.
        terminal::say("error: an argument that rotate does not know\nhint: look at rotate --help");
        return ExitCode::from(exit::WRONG_INPUT);
    }
    for kind in [ContextKind::InvalidSubcommand, ContextKind::InvalidArg] {
        if let Some(ContextValue::String(text)) = error.get(kind)
            && may_be_secret(text)
        {
            error.insert(kind, ContextValue::String(pasted::VEIL.to_owned()));
        }
    }
    if let Some(ContextValue::String(text)) = error.get(ContextKind::InvalidValue)
        && pasted::is_suspect(text)
    {
        let veil = ContextValue::String(pasted::VEIL.to_owned());
        error.insert(ContextKind::InvalidValue, veil);
    }
    // A closed stdout or stderr has nobody to tell.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { exit::WRONG_INPUT } else { exit::NOTHING_LEFT })
}

/// Whether it could be a flag with a slip in it: `--since`, not `--sk-proj-Ab12`.
fn is_flag(text: &str) -> bool {
    // The longest flag has 18 characters.
    let word = text.trim_start_matches('-');
    word.len() <= 20 && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

/// What stands where no word of ours belongs may be a secret pasted by mistake.
fn may_be_secret(text: &str) -> bool {
    let ours = |name: &str| Cli::command().find_subcommand(name).is_some();
    !(text.starts_with('-') || text.starts_with('<') || ours(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
