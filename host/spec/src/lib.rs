//! The deployment file: parse, validate, place every problem, JSON Schema.
//!
//! [`load`] turns a YAML file into a [`basb_core::model::Deployment`] in one environment, or tells everything that is
//! wrong with it at once: code, line, column, excerpt, what to do next. A [`SourceMap`] leads from a JSON pointer back to
//! the line, so that what a plugin says about its configuration is told in the same way.
//!
//! **Must never** guess: an unknown key, a number where a text is meant, a name that refers to nothing, a duration
//! without unit are errors. **Must never** run anything, touch the network, or read a file but the one that it was given.

mod build;
mod check;
mod config;
mod diagnostic;
mod environment;
mod load;
mod read;
mod schema;
mod shape;
mod source;
mod source_map;
mod suggest;
mod tree;
mod vars;
mod yaml;

pub use config::{ConfigProblem, check_config, fill_defaults};
pub use diagnostic::{Diagnostic, Diagnostics, MAX_DIAGNOSTICS, Severity};
pub use load::{Choice, LoadOptions, Loaded, MAX_FILE, load, parse};
pub use schema::schema;
pub use source::{Location, Source, Span};
pub use source_map::SourceMap;
pub use vars::placeholder;
