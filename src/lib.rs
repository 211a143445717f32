//! rotate
pub mod engine;
pub mod inventory;
pub mod provider;
pub mod seal;
pub mod secret;
pub mod store;
pub mod trust;
