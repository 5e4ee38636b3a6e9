//! The agent's API for providers whose services stand behind its weighted proxy: `provider-local`, whose processes it starts,
//! and `provider-docker`, whose containers it only sends requests to.
//!
//! Everything that changes something is a `PUT` or a `DELETE` of a whole, so repeating it has no further effect.
//!
//! What it must **never** do: change anything where a caller only looks, or remove a revision that has traffic.

mod api;
mod client;
mod listen;

pub use api::{
    ErrorBody, ErrorDetail, External, InstancePhase, InstanceState, LastExit, Limits, PutRevision, PutService, Ready,
    RevisionState, ServiceState, Workload,
};
pub use client::{Agent, Gone, check_segment};
pub use listen::{listen_to_set, service_action};
