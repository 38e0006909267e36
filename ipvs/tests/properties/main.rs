//! What holds of any value: of any change, text and pair of tables. No kernel is needed; the laboratory (the crate
//! `ipvs-tests`) takes the same values and the same promises to real ones.

#![expect(unreachable_pub, reason = "`random` and `promises` are modules of the laboratory's library, too")]

mod config;
mod connections;
mod lines;
mod plan;
mod promises;
mod random;
mod sayable;
