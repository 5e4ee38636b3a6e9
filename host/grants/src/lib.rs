//! The words of a grant: the capabilities there are, patterns for hosts, paths and text, and what an operator grants to
//! one plugin, read from the deployment file.
//!
//! **Must never** do I/O, decide about a request (that is `basb-capabilities`), or accept a word that it does not know.

mod action;
mod capability;
mod containers;
mod grants;
mod parse;
mod pattern;
mod query;
mod schema;
mod show;

pub use action::ActionPattern;
pub use capability::Capability;
pub use containers::{BindGrant, ContainersGrant, Privilege};
pub use grants::{
    Access, Effect, FolderGrant, GrantProblem, Grants, HttpGrant, HttpTarget, MailTls, ProgramGrant, ReadRule,
    Resolves, Scheme, ServerGrant, TcpGrant,
};
pub use pattern::{HostPattern, PathPattern, PatternError, TextPattern};
pub use query::QueryParameter;
pub use schema::grants_schema;
pub use show::{grant_lines, printable, printable_list, yaml_value};
