//! The command line. Everything else is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    rotate::cli::main()
}
