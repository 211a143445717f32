//! The engine: events in, calls out, time is an argument.
//!
//! No clock, no disk, no network, no randomness, no secret, no async. The only mutator is
//! [`run::Run::handle`]; after it, [`run::Run::poll`] is drained. Whatever happens is an event that
//! was written down before it is believed, so the same events always make the same calls: that is
//! how a run is resumed, reported and simulated. `clippy.toml` bans clocks, files, sockets,
//! environment, threads and unordered maps with a reason each, and this module denies the ban.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod ask;
pub mod batch;
pub mod call;
pub mod capability;
pub mod check;
mod client;
mod credential;
mod fold;
pub mod leftover;
mod orphan;
pub(crate) mod outline;
mod pairs;
pub mod plan;
mod planner;
pub mod progress;
mod proof;
mod queue;
pub mod report;
pub mod run;
mod scene;
pub mod search;
mod stranger;
mod sweep;
pub mod verdict;
mod window;

pub use fold::in_words;
