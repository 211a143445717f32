//! The library as others call it: through its public items alone.

#![cfg(test)]

mod clients;
mod events;
mod example;
mod interrupted;
mod issuer;
mod line;
mod own;
mod pointers;
mod surface;
