//! The built binary on a hostile day: providers that misbehave, inventories that are wrong, disks
//! that are full. It may not lie, leak, hang or lose.

#![cfg(test)]

#[expect(dead_code, reason = "what other test binaries need of it")]
mod acme;
mod bench;
mod command_place;
mod commands;
mod impostor;
mod inventory;
mod network;
mod place;
mod provider;
mod revoke;
mod state;
mod trust;
mod unlisted;
