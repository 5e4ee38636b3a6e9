//! What a denial says: who asked for what in which call, and the exact lines that would allow it.
//!
//! Stops a plugin from writing the operator's file by proxy: everything in these texts that came from a plugin is
//! quoted as YAML and has its control characters escaped, so that no name can smuggle a second grant into the lines
//! that an operator is told to paste, or repaint the terminal that they are shown on.

use crate::network::Place;
use crate::network::address::AddressClass;
use crate::{CallScope, grant_lines, printable};

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
