//! What is done on the agent's host besides secrets: commands, and evidence.

mod command;
mod evidence;

pub(crate) use command::{Reloads, STOP_LIMIT};
pub(crate) use evidence::{Preservation, preserve};
