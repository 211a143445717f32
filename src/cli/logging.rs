//! The log on stderr, for whoever looks into rotate itself. `ROTATE_LOG` chooses what it holds, as
//! in `ROTATE_LOG=rotate=debug`; by default, warnings.

use std::env;
use std::io;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::args::LogFormat;
use super::failure::Failure;

/// The variable that chooses what the log holds.
const VARIABLE: &str = "ROTATE_LOG";

/// What it holds unless told otherwise. That a certificate was refused is told by the call that met
/// it, once, and not again by the verifier, which writes an error for every connection.
const DEFAULT: &str = "warn,rustls_platform_verifier=off";

/// Starts the log.
///
/// # Errors
/// `ROTATE_LOG` is no filter.
pub(crate) fn start(format: LogFormat) -> Result<(), Failure> {
    let wanted = env::var(VARIABLE).unwrap_or_default();
    let wanted = if wanted.trim().is_empty() { DEFAULT } else { &wanted };
    // The parser's own error would repeat the text.
    let filter = EnvFilter::try_new(wanted).map_err(|_| {
        Failure::input(format!("{VARIABLE} is no filter"))
            .hint("write a level, or targets with levels: rotate=debug")
    })?;
    let filter = filter.and(filter_fn(allowed));
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry();
    // A host that has set up its own log before calling us keeps it.
    let _ = match format {
        LogFormat::Text => registry.with(layer.with_ansi(false).with_filter(filter)).try_init(),
        LogFormat::Json => registry.with(layer.json().with_filter(filter)).try_init(),
    };
    Ok(())
}

fn allowed(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= cap(metadata.target())
}

/// Below these levels the transports write headers, frames and bodies down, and secrets are in
/// them: no filter opens that.
fn cap(target: &str) -> Level {
    let root = target.split("::").next().unwrap_or(target);
    if root == "rotate" {
        Level::TRACE
    } else if root.starts_with("aws_") || root == "log" {
        Level::WARN
    } else {
        Level::INFO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_stay_quiet_whatever_the_filter_says() {
        for target in ["hyper::proto", "hyper_util", "h2::codec", "rustls", "reqwest", "redis"] {
            assert_eq!(cap(target), Level::INFO, "{target}");
        }
        for target in ["aws_config::profile", "aws_smithy_runtime", "log"] {
            assert_eq!(cap(target), Level::WARN, "{target}");
        }
        assert_eq!(cap("rotate::drive"), Level::TRACE);
        assert_eq!(cap("rotated"), Level::INFO);
    }
}
