//! The engine, played against a world that is a function, in a time that is an argument.

#![cfg(test)]

mod bench;
mod server;
mod sim;

mod admins;
mod batch;
mod clients;
mod contain;
mod issue;
mod later;
mod limits;
mod people;
mod plans;
mod proof;
mod property;
mod rehearse;
mod resume;
mod scale;
mod strangers;
