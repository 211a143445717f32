//! Credential rotation and revocation for the day an AI agent goes wrong.
//!
//! From an inventory of every credential granted to each agent role, a run revokes and reissues
//! them all at once, holds or delivers the new ones, **proves the old ones dead by using them**,
//! and reports. The whole of it is one straight line:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use rotate::{drive::{Nobody, drive}, engine::plan::{Options, Plan}, inventory::Inventory};
//! # use rotate::{journal::{Header, Journal, State}, provider::catalog::Resolved, world::World};
//! # async fn line(text: &str, resolved: &Resolved, state: &State, header: &Header,
//! #               world: &dyn World, options: &Options)
//! #               -> Result<(), Box<dyn std::error::Error>> {
//! # let role = "mail-agent".to_owned();
//! # let (_tell, told) = tokio::sync::mpsc::unbounded_channel();
//! let inventory = Inventory::parse(text)?;
//! let plan = Plan::contain(&inventory, &resolved.capabilities, &[role], options)?;
//! let journal = Journal::create(state, header, &[])?;
//! let driven = drive(plan, journal, world, told, &Nobody).await?;
//! let report = driven.run.report().summed();
//! # drop(report);
//! # Ok(()) }
//! ```
//!
//! [`inventory`] and [`engine`] are pure: text and events in, types and calls out. [`drive`] is the
//! only loop and the only reader of the run's clock; it writes every event to the [`journal`]
//! before it believes it. [`world`] makes one call at a time, to a [`provider`], a [`store`] or the
//! [`platform`]. `docs/architecture.md` has the picture.

pub mod child;
#[doc(hidden)] // the binary's alone
pub mod cli;
pub mod demo;
pub mod drive;
pub mod engine;
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
