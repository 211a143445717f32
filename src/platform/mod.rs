//! What is done on the agent's host besides secrets: commands, and evidence.

mod command;
mod evidence;

pub use command::{Reloads, STOP_LIMIT};
pub use evidence::{Preservation, Saved, preserve};
