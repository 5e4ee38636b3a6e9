//! What a denial says: who asked for what in which call, and the exact lines that would allow it.
//!
//! Stops a plugin from writing the operator's file by proxy: everything in these texts that came from a plugin is
//! quoted as YAML and has its control characters escaped, so that no name can smuggle a second grant into the lines
//! that an operator is told to paste, or repaint the terminal that they are shown on.

use crate::network::Place;
use crate::network::address::AddressClass;
use crate::{CallScope, Limits, Mode, grant_lines, printable, yaml_value};
use basb_credentials::{CredentialError, CredentialName};

/// Who asks, in front of every denial.
pub(crate) fn who(scope: &CallScope) -> String {
    format!("plugin `{}` ({}) in `{}`", scope.caller.plugin, scope.caller.digest.short(), scope.caller.call)
}

/// The whole text of a denial that lines in the deployment file would lift.
pub(crate) fn not_granted(scope: &CallScope, wanted: &str, lines: &str) -> String {
    format!(
        "{} asked for {}, which its grants do not cover; to allow it, write in the deployment file:\n{}",
        who(scope),
        printable(wanted, 400),
        grant_lines(&scope.caller.plugin, lines)
    )
}

/// The whole text of a denial for another reason.
pub(crate) fn refused(scope: &CallScope, wanted: &str, why: &str) -> String {
    format!("{} asked for {}, which is refused: {why}", who(scope), printable(wanted, 400))
}

/// The whole text of a denial in a call that may reach nothing at all, if this is one.
pub(crate) fn sealed(scope: &CallScope, wanted: &str) -> Option<String> {
    (scope.mode == Mode::Sealed).then(|| {
        refused(
            scope,
            wanted,
            "a plugin may reach nothing while it is started or asked what it is: there is no run yet that could be told of it",
        )
    })
}

/// What a host call is told that is one too many.
pub(crate) fn too_many(scope: &CallScope, limits: &Limits) -> String {
    format!("{} has made {} host calls, which is the limit of one call", who(scope), limits.host_calls)
}

/// What a request is told that is one too many.
pub(crate) fn requests_used_up(scope: &CallScope, limits: &Limits) -> String {
    format!("{} has made {} requests, which is the limit", who(scope), limits.requests)
}

/// The whole text of a denial because a plugin passes on the placeholder of a secret that no credential of its own puts in.
pub(crate) fn secret_not_given(scope: &CallScope, wanted: &str, secret: &str) -> String {
    let plugin = yaml_value(&scope.caller.plugin);
    format!(
        "{} asked for {}, which its grants cover, but which holds the secret `{secret}`, and none of its credentials puts that \
         in here; to allow it, write in the deployment file the name of the credential that does:\nplugins:\n  {plugin}:\n    \
         credentials: [{secret}]",
        who(scope),
        printable(wanted, 400)
    )
}

/// What a plugin is told when a credential cannot be used for something that its grants cover.
pub(crate) fn credential(scope: &CallScope, error: &CredentialError, wanted: &str) -> String {
    // The credentials do not know who asks.
    let help = error.help.replace("\n  PLUGIN:\n", &format!("\n  {}:\n", yaml_value(&scope.caller.plugin)));
    let CredentialError { code, message, .. } = error;
    let wanted = printable(wanted, 400);
    format!("{} asked for {wanted}, which its grants cover, but {message}; {help} ({code})", who(scope))
}

/// The whole text of a denial because a plugin was not given a credential that its grant names.
pub(crate) fn credential_not_given(scope: &CallScope, wanted: &str, name: &CredentialName) -> String {
    format!(
        "{} asked for {}, which its grants cover, but the credential `{name}` was not given to it; to allow it, write in the \
         deployment file:\nplugins:\n  {}:\n    credentials: [{name}]",
        who(scope),
        printable(wanted, 400),
        yaml_value(&scope.caller.plugin)
    )
}

/// The whole text of a denial because of a placeholder where none is replaced.
pub(crate) fn misplaced_secret(scope: &CallScope, wanted: &str) -> String {
    refused(scope, wanted, "it holds the placeholder of a secret; secrets are put into HTTP requests only")
}

/// The whole text of a denial because a granted name leads to an address that it may not lead to.
pub(crate) fn forbidden_address(
    scope: &CallScope,
    wanted: &str,
    found: &str,
    class: AddressClass,
    place: &Place,
) -> String {
    let next = match class {
        AddressClass::Private => "if that is meant, add `resolves: private` to its entry in `grants`".to_owned(),
        AddressClass::Loopback | AddressClass::LinkLocal => {
            format!(
                "if that is meant, grant the address itself, or `localhost`, instead of `{}`",
                printable(&place.host.to_string(), 100)
            )
        }
        AddressClass::Public => "`localhost` must lead to this machine".to_owned(),
        AddressClass::Metadata | AddressClass::Unusable => "there is no way to grant it".to_owned(),
    };
    refused(scope, wanted, &format!("{found}; {next}"))
}
