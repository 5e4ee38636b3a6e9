//! The rules: names that stay the same from version to version, so that a finding can be filtered, and shown to be mended.

use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does not load, or must not.
    Error,
    /// Somebody should look at it.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// Its name, which is that of SARIF's level too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// By which rule.
    pub rule: Rule,
    /// How much it matters.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Where in the deployment file, as a JSON pointer; none where a file alone was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $severity:ident, $title:literal;)*) => {
        /// A rule.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub enum Rule {
            $($(#[$doc])* #[serde(rename = $id)] $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name, which never changes.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// How much its findings matter.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }

            /// What it finds, in a sentence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }
        }
    };
}

rules! {
    /// The file is no plugin.
    UnusableFile = "unusable-file", Error, "The file cannot be read, or is no component.";
    /// It says nothing of itself.
    NoManifest = "no-manifest", Error, "The plugin carries no manifest.";
    /// It is not what it says.
    KindMismatch = "kind-mismatch", Error, "The plugin exports something else than its manifest says.";
    /// Its world has no such import.
    BeyondWorld = "beyond-world", Error, "The plugin imports what no plugin of its kind may import.";
    /// The host has no such import.
    ForeignImport = "foreign-import", Error, "The plugin imports what the host does not offer.";
    /// It uses what it does not admit to.
    UndeclaredImport = "undeclared-import", Error, "The plugin imports a capability that its manifest does not ask for.";
    /// It lacks a grant.
    NotGranted = "not-granted", Error, "The plugin imports a capability of which nothing is granted.";
    /// Its signature is not good.
    SignatureRefused = "signature-refused", Error, "A signature is demanded, and there is no good one.";
    /// It is not the one that was agreed to.
    LockDiffers = "lock-differs", Error, "The plugin, or what it may do, differs from the lock file.";
    /// The lock file is no lock file.
    LockUnreadable = "lock-unreadable", Error, "The lock file cannot be read.";
    /// Nobody agreed to it yet.
    NotLocked = "not-locked", Warning, "There is no lock file, so a replaced plugin would not be noticed.";
    /// It asks for what it does not use.
    UnusedDeclaration = "unused-declaration", Warning, "The manifest asks for a capability that is not imported.";
    /// It is granted what it does not use.
    UnusedGrant = "unused-grant", Warning, "A capability is granted that the plugin cannot use.";
    /// It is given a credential that it cannot use.
    UnusedCredential = "unused-credential", Warning, "A credential is given to a plugin that can make no request.";
    /// Many hosts.
    WideHost = "wide-host", Warning, "A grant covers every host below a domain.";
    /// Without TLS.
    PlainHttp = "plain-http", Warning, "Requests leave this machine unencrypted.";
    /// A program that runs anything.
    Interpreter = "interpreter", Warning, "A program is granted that can run any other.";
    /// A program that can be replaced.
    ProgramNotPinned = "program-not-pinned", Warning, "A program is granted without its digest.";
    /// A program with any arguments.
    AnyArguments = "any-arguments", Warning, "A program is granted with arguments of any kind.";
    /// Everything that listens there.
    SocketByPath = "socket-by-path", Warning, "A unix socket is granted whole; with a container engine behind it, that is root.";
    /// Containers that are not apart from the machine.
    ContainerPrivileges = "container-privileges", Warning, "Containers may be given what makes them root on the machine.";
    /// Mail to everybody.
    AnyRecipient = "any-recipient", Warning, "Mail to any address is granted.";
    /// Mail in the clear.
    PlainMail = "plain-mail", Warning, "Mail leaves this machine unencrypted.";
    /// Names that lead inside.
    PrivateNetwork = "private-network", Note, "A granted name may lead to private addresses.";
    /// Nobody signed it.
    Unsigned = "unsigned", Note, "The plugin is a file, and no publisher's key is pinned.";
    /// Its own HTTP client.
    BestEffortReplay = "best-effort-replay", Note, "The plugin brings its own HTTP client, so replay is best effort.";
    /// Imports of its language.
    InertBaseline = "inert-baseline", Note, "Imports of WASI that are served and reach nothing.";
}
