//! rotate
pub mod cli;
pub mod engine;
pub mod inventory;
pub mod journal;
pub mod provider;
pub mod seal;
pub mod secret;
pub mod store;
