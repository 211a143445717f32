//! The driver `session` against real sites: every claim is held against what the site itself says
//! to the cookie, and other users' sessions are held to be untouched.

#![cfg(test)]

#[path = "../lab/mod.rs"]
mod lab;

mod bench;
mod django;
mod express;
mod rails;
