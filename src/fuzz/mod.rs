//! Fuzz targets: what must hold of any input, one function each, which panics where it does not.
//!
//! Compiled for tests and, with `--cfg fuzzing`, for the crate in `fuzz/`; a release has none of
//! it. The unit test in `short` runs the kept corpus and some thousands of mutations of it.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a target that panics has found something")]

use std::sync::{Arc, OnceLock};

use crate::engine::plan::Options;
use crate::provider::Clients;
use crate::provider::catalog::{Catalog, Resolved};
use crate::provider::http::Now;

mod address;
mod cookie;
mod dotenv;
mod inventory;
mod journal;
mod json;
mod mark;
mod place;
mod provider;
mod reference;
mod replay;
mod response;
mod shapes;
#[cfg(test)]
mod short;
mod tokens;

pub use address::address;
pub use cookie::cookie;
pub use dotenv::dotenv;
pub use inventory::inventory;
pub use journal::journal;
pub use json::json;
pub use mark::mark;
pub use provider::provider;
pub use reference::reference;
pub use replay::replay;
pub use response::response;
pub use shapes::shapes;

/// A target takes bytes and returns, or panics.
pub type Target = fn(&[u8]);

/// Every target by its name: the binary in `fuzz/` and the folder in `fuzz/corpus` are called so.
pub const TARGETS: [(&str, Target); 12] = [
    ("address", address),
    ("cookie", cookie),
    ("dotenv", dotenv),
    ("inventory", inventory),
    ("journal", journal),
    ("json", json),
    ("mark", mark),
    ("provider", provider),
    ("reference", reference),
    ("replay", replay),
    ("response", response),
    ("shapes", shapes),
];

/// The first byte says what stands between the fields; the last field holds the rest.
fn fields<const N: usize>(data: &[u8]) -> Option<[&[u8]; N]> {
    let (end, rest) = data.split_first()?;
    let fields: Vec<&[u8]> = rest.splitn(N, |byte| byte == end).collect();
    fields.try_into().ok()
}

/// A clock that stands still.
fn now() -> Now {
    Arc::new(|| 1_790_000_000_000)
}

/// Every provider of the crate, with its native drivers and no network behind them.
fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| Catalog::builtin().unwrap().with_native_drivers(&clients(), &now()))
}

fn clients() -> Arc<Clients> {
    static CLIENTS: OnceLock<Arc<Clients>> = OnceLock::new();
    Arc::clone(CLIENTS.get_or_init(|| Arc::new(Clients::new().unwrap())))
}

/// The same at the addresses of their files.
fn resolved() -> &'static Resolved {
    static RESOLVED: OnceLock<Resolved> = OnceLock::new();
    RESOLVED.get_or_init(|| catalog().resolve(&Default::default(), &clients(), now()))
}

fn options() -> Options {
    Options { run: "fuzz".to_owned(), installation: "ab12cd".to_owned(), ..Options::default() }
}
