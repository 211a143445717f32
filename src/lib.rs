//! rotate
pub mod cli;
pub mod demo;
pub mod drive;
pub mod engine;
pub mod inventory;
pub mod journal;
pub mod platform;
pub mod provider;
pub mod seal;
pub mod secret;
pub mod store;
pub mod trust;
pub mod vault;
pub mod world;
