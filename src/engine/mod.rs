//! The engine: events in, calls out, time is an argument.
//!
//! No clock, no disk, no network, no randomness, no secret, no async. `clippy.toml` bans them with
//! a reason each, and this module denies the ban.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod call;
pub mod capability;
pub mod check;
