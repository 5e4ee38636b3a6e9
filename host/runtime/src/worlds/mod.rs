//! The functions of each world, as typed calls.
//!
//! A handle such as [`Probe`] is a [`Plugin`] of which it is known that it implements that world; it is made by
//! [`Plugin::probe`] and its like.

mod generator;
mod judge;
mod notifier;
mod probe;
mod provider;
mod strategy;

pub use generator::Generator;
pub use judge::Judge;
pub use notifier::Notifier;
pub use probe::Probe;
pub use provider::Provider;
pub use strategy::Strategy;

use crate::call::{CallOptions, CallTape, Called, Function, Output, Params};
use crate::error::{CallError, Failure};
use crate::host::State;
use crate::wasi::Moment;
use crate::wit::types::CallContext;
use crate::{CallReport, Kind, Plugin};
use basb_core::Timestamp;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Instance, Lift};

/// A plugin is used as what it is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plugin `{plugin}` is a {kind}, not a {wanted}")]
pub struct NotA {
    /// The plugin's name.
    pub plugin: String,
    /// What it is.
    pub kind: Kind,
    /// What was wanted.
    pub wanted: Kind,
}

/// A call that was made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// What ended it, if it did not come to its end.
    pub failure: Option<Failure>,
    /// What it asked for, its result, and how it differs from the tape that was played.
    pub tape: CallTape,
}

impl Replayed {
    /// `ok`, or the code of what ended it.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.failure.as_ref().map_or("ok", Failure::code)
    }
}

/// Why a call cannot be made again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The plugin has no such function (`tape/no-such-function`).
    #[error("a {kind} has no function `{function}`")]
    NoSuchFunction {
        /// What the plugin is.
        kind: Kind,
        /// The function on the tape.
        function: String,
    },
    /// Its arguments are others (`tape/other-arguments`).
    #[error("the arguments on the tape are not those of `{function}`: {why}")]
    Arguments {
        /// The function on the tape.
        function: String,
        /// In which way.
        why: String,
    },
}

impl ReplayError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchFunction { .. } => "tape/no-such-function",
            Self::Arguments { .. } => "tape/other-arguments",
        }
    }
}

/// The functions of a world, in the order in which its module refers to them.
pub(crate) fn functions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Provider => &provider::FUNCTIONS,
        Kind::Strategy => &strategy::FUNCTIONS,
        Kind::Judge => &judge::FUNCTIONS,
        Kind::Probe => &probe::FUNCTIONS,
        Kind::Notifier => &notifier::FUNCTIONS,
        Kind::Generator => &generator::FUNCTIONS,
    }
}

/// Whether an instance's functions have the types of its world.
pub(crate) fn check(
    kind: Kind,
    instance: &Instance,
    store: &mut Store<State>,
    functions: &[Function],
) -> wasmtime::Result<()> {
    match kind {
        Kind::Provider => provider::check(instance, store, functions),
        Kind::Strategy => strategy::check(instance, store, functions),
        Kind::Judge => judge::check(instance, store, functions),
        Kind::Probe => probe::check(instance, store, functions),
        Kind::Notifier => notifier::check(instance, store, functions),
        Kind::Generator => generator::check(instance, store, functions),
    }
}

/// Whether a function gets at nothing outside, whatever is granted: a description is asked for before there is a run that
/// could be told of it, and what is pure by its world stays pure.
pub(crate) fn is_sealed(kind: Kind, function: &str) -> bool {
    function == "describe" || kind.may_import().is_empty()
}

/// The context of a call: its time, its deadline, the plugin's configuration.
#[must_use]
pub fn context(now: Timestamp, options: &CallOptions, config: impl Into<String>) -> CallContext {
    let allowed = u64::try_from(options.deadline.as_millis()).unwrap_or(u64::MAX);
    CallContext { now: now.0, deadline: now.0.saturating_add(allowed), config: config.into(), extras: Vec::new() }
}

impl Plugin {
    async fn invoke<P: Params, R: Output>(
        &self,
        function: usize,
        options: &CallOptions,
        call: (Moment, Option<String>),
        params: P,
    ) -> Result<Called<R>, CallError>
    where
        (R,): ComponentNamedList + Lift,
    {
        match self.function(function) {
            Some(function) => self.call(function, options, call, params).await,
            // The list was filled from `functions` when the plugin was loaded.
            None => Err(CallError {
                failure: Failure::Host("the plugin has no such function".to_owned()),
                plugin: self.shared_name(),
                digest: self.shared_digest(),
                call: "?",
                report: Box::new(CallReport::default()),
            }),
        }
    }

    /// Makes a call again from its arguments on a tape, with what the options say of its tape.
    ///
    /// # Errors
    /// [`ReplayError`] when the plugin has no such function, or one with other arguments. A call that fails is none.
    pub async fn replay(&self, function: &str, args: &str, options: &CallOptions) -> Result<Replayed, ReplayError> {
        let called = match self.kind() {
            Kind::Provider => provider::replay(self, function, args, options).await,
            Kind::Strategy => strategy::replay(self, function, args, options).await,
            Kind::Judge => judge::replay(self, function, args, options).await,
            Kind::Probe => probe::replay(self, function, args, options).await,
            Kind::Notifier => notifier::replay(self, function, args, options).await,
            Kind::Generator => generator::replay(self, function, args, options).await,
        }?;
        let (failure, report) = match called {
            Ok(report) => (None, report),
            Err(error) => (Some(error.failure), *error.report),
        };
        Ok(Replayed { failure, tape: report.tape.map(|tape| *tape).unwrap_or_default() })
    }

    fn as_a(&self, wanted: Kind) -> Result<Self, NotA> {
        if self.kind() == wanted {
            Ok(self.clone())
        } else {
            Err(NotA { plugin: self.name().to_owned(), kind: self.kind(), wanted })
        }
    }
}

/// The handle of a world, how it is made, and its functions.
macro_rules! world {
    (
        $(#[$doc:meta])* $handle:ident, $kind:ident, $make:ident;
        $($(#[$fdoc:meta])* $name:literal $index:literal $vis:vis fn $function:ident($($arg:ident: $ty:ty),*) -> $output:ty;)*
    ) => {
        /// The functions of this world; the numbers below refer to them.
        pub(crate) const FUNCTIONS: [&str; [$($name),*].len()] = [$($name),*];

        /// Whether the functions have the types of this world.
        pub(crate) fn check(
            instance: &wasmtime::component::Instance,
            store: &mut wasmtime::Store<crate::host::State>,
            functions: &[crate::call::Function],
        ) -> wasmtime::Result<()> {
            $(
                let function = functions.get($index).ok_or_else(|| wasmtime::Error::msg(concat!("no function ", $name)))?;
                instance.get_typed_func::<($($ty,)*), ($output,)>(&mut *store, function.index)?;
            )*
            Ok(())
        }

        /// Makes a call again from its arguments as JSON.
        pub(crate) async fn replay(
            plugin: &crate::Plugin,
            function: &str,
            args: &str,
            options: &crate::CallOptions,
        ) -> Result<Result<crate::CallReport, crate::CallError>, super::ReplayError> {
            match function {
                $($name => {
                    let read: Result<($($ty,)*), _> = serde_json::from_str(args);
                    let ($($arg,)*) = read.map_err(|e| super::ReplayError::Arguments {
                        function: function.to_owned(),
                        why: e.to_string(),
                    })?;
                    let moment = plugin.moment($index, &[$(&$arg),*]);
                    let text = options.taping.as_ref().map(|_| args.to_owned());
                    let called = plugin.invoke::<_, $output>($index, options, (moment, text), ($($arg,)*)).await;
                    Ok(called.map(|called| called.report))
                })*
                _ => Err(super::ReplayError::NoSuchFunction { kind: plugin.kind(), function: function.to_owned() }),
            }
        }

        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $handle(crate::Plugin);

        impl crate::Plugin {
            /// This plugin, if it is one of that kind.
            ///
            /// # Errors
            /// [`super::NotA`] otherwise.
            pub fn $make(&self) -> Result<$handle, super::NotA> {
                self.as_a(crate::Kind::$kind).map($handle)
            }
        }

        impl $handle {
            /// The plugin.
            #[must_use]
            pub fn plugin(&self) -> &crate::Plugin {
                &self.0
            }

            $(
                $(#[$fdoc])*
                ///
                /// # Errors
                /// [`crate::CallError`] when the call does not come to its end; a failure that the plugin itself reports
                /// is part of the result.
                $vis async fn $function(
                    &self,
                    options: &crate::CallOptions,
                    $($arg: $ty),*
                ) -> Result<crate::Called<$output>, crate::CallError> {
                    let moment = self.0.moment($index, &[$(&$arg),*]);
                    // Arguments hold nothing that JSON cannot.
                    let args = options.taping.as_ref().map(|_| serde_json::to_string(&($(&$arg,)*)).unwrap_or_default());
                    self.0.invoke($index, options, (moment, args), ($($arg,)*)).await
                }
            )*
        }
    };
}
use world;
