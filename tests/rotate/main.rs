//! The binary against real servers: what it claims is held against what the servers themselves
//! say, before and after.

#![cfg(test)]

#[path = "../lab/mod.rs"]
mod lab;

mod anthropic;
mod aws;
mod bench;
mod cloudflare;
mod consent;
mod crash;
mod families;
mod fleet;
mod github;
mod gitlab;
mod google;
mod hammer;
mod hosted;
mod npm;
mod oauth;
mod openai;
mod openrouter;
mod outcome;
mod places;
mod redis;
mod rehearsal;
mod role;
mod session;
mod signals;
mod sigv4;
mod slack;
mod ten;
mod whole;
mod wordpress;
