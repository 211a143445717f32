//! Credential rotation and revocation for the day an AI agent goes wrong.
//!
//! From an inventory of every credential granted to each agent role, a run revokes and reissues
//! them all at once, holds or delivers the new ones, **proves the old ones dead by using them**,
//! and reports. The whole of it is one straight line:
//!
//! ```no_run
//! # use std::path::Path;
//! # use rotate::{drive::{Nobody, drive, wall}, engine::plan::Plan, inventory::Inventory};
//! # use rotate::{journal::{Header, Journal, State}, provider::catalog::Resolved, store::Stores};
//! # use rotate::world::{Commands, LiveWorld};
//! # async fn line(text: &str, role: String, dir: &Path, providers: Resolved, stores: Stores)
//! #               -> Result<(), Box<dyn std::error::Error>> {
//! # let (roles, state) = ([role], State::open(dir)?);
//! # let (_tell, told) = tokio::sync::mpsc::unbounded_channel();
//! let inventory = Inventory::parse(text)?;
//! let plan = Plan::contain(&inventory, &providers.capabilities, &roles, &state.options(&roles))?;
//! let journal = Journal::create(&state, &Header::of(&plan, wall())?, &[])?;
//! # let world = LiveWorld::new(&plan, providers, stores, state.keys(), Commands::Untrusted);
//! let driven = drive(plan, journal, &world, told, Nobody).await?;
//! let report = driven.close()?;
//! # drop(report);
//! # Ok(()) }
//! ```
//!
//! `examples/contain.rs` is a whole program, and says what the command does beyond these lines.
//!
//! [`inventory`] and [`engine`] are pure: text and events in, types and calls out. [`drive`] is the
//! only loop and the only reader of the run's clock; it writes every event to the [`journal`]
//! before it believes it. [`world`] makes one call at a time, to a [`provider`], a [`store`] or the
//! agent's host. `docs/architecture.md` has the picture.

pub mod child;
#[doc(hidden)] // the binary's alone
pub mod cli;
pub mod demo;
pub mod drive;
pub mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod given;
pub mod inventory;
pub mod journal;
mod platform;
pub mod provider;
pub mod seal;
pub mod secret;
pub mod store;
pub mod trust;
pub mod vault;
pub mod world;
