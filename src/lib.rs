//! rotate
#[cfg_attr(not(test), expect(dead_code, reason = "the demo subcommand starts it"))]
mod demo;
pub mod engine;
pub mod inventory;
pub mod provider;
pub mod seal;
pub mod secret;
pub mod store;
