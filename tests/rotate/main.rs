//! The binary against real servers: what it claims is held against what the servers themselves
//! say, before and after.

#![cfg(test)]

#[path = "../lab/mod.rs"]
mod lab;

mod aws;
mod bench;
mod consent;
mod crash;
mod families;
mod fleet;
mod google;
mod hosted;
mod oauth;
mod openai;
mod outcome;
mod places;
mod redis;
mod rehearsal;
mod role;
mod signals;
mod slack;
mod whole;
