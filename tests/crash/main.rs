//! Crashes, full disks, cut journals and long waits, with the real binary against real servers.

#![cfg(test)]

#[path = "../lab/mod.rs"]
mod lab;

#[expect(dead_code, reason = "not every question is asked here")]
#[path = "../rotate/bench.rs"]
mod bench;
mod cell;
mod database;
mod disk;
mod docs;
mod gate;
#[path = "../rotate/hosted.rs"]
mod hosted;
mod journal;
mod kept;
mod matrix;
#[path = "../rotate/outcome.rs"]
mod outcome;
#[path = "../rotate/sigv4.rs"]
mod sigv4;
mod site;
mod waits;
