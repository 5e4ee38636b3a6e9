//! What differs between two entries: first of all whether the plugin can do more than before.

use crate::entry::LockEntry;
use basb_core::Digest;
use basb_inspect::Kind;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

/// Which way a difference goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It can do more, or somebody else answers for it.
    Widens,
    /// It is another one.
    Changes,
    /// It can do less.
    Narrows,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which way it goes.
    pub direction: Direction,
    /// What differs.
    #[serde(flatten)]
    pub what: What,
}

/// What differs; `from` is what was agreed to, `to` is what is there now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// Nobody has agreed to this plugin yet.
    NewPlugin {
        /// Its source.
        source: String,
        /// The digest of its bytes.
        digest: Digest,
    },
    /// The bytes of the plugin.
    Bytes {
        /// Their digest.
        from: Digest,
        /// Their digest.
        to: Digest,
    },
    /// The version in the manifest went up.
    Upgrade {
        /// The version.
        from: String,
        /// The version.
        to: String,
    },
    /// The version in the manifest went down: mended faults may be back.
    Downgrade {
        /// The version.
        from: String,
        /// The version.
        to: String,
    },
    /// The source in the deployment file.
    Source {
        /// The source.
        from: String,
        /// The source.
        to: String,
    },
    /// The name in the manifest.
    Plugin {
        /// The name.
        from: String,
        /// The name.
        to: String,
    },
    /// What it is.
    Kind {
        /// The kind.
        from: Kind,
        /// The kind.
        to: Kind,
    },
    /// The publisher in the manifest.
    Publisher {
        /// The publisher.
        from: String,
        /// The publisher.
        to: String,
    },
    /// Whose signature was checked; none for no signature.
    SignedBy {
        /// The publisher.
        from: Option<String>,
        /// The publisher.
        to: Option<String>,
    },
    /// The key that it was checked with.
    Key {
        /// The key.
        from: Option<String>,
        /// The key.
        to: Option<String>,
    },
    /// A function that it did not import before.
    ImportAdded {
        /// The function.
        import: String,
    },
    /// A function that it imported before.
    ImportRemoved {
        /// The function.
        import: String,
    },
    /// A capability that it did not ask for before.
    RequestAdded {
        /// The capability.
        capability: String,
    },
    /// A capability that it asked for before.
    RequestRemoved {
        /// The capability.
        capability: String,
    },
    /// Something that was not granted before.
    GrantAdded {
        /// The grant.
        grant: String,
    },
    /// Something that was granted before.
    GrantRemoved {
        /// The grant.
        grant: String,
    },
    /// A credential, or a place where one may be used, that it did not have before.
    CredentialAdded {
        /// The credential.
        credential: String,
    },
    /// A credential that it had before.
    CredentialRemoved {
        /// The credential.
        credential: String,
    },
    /// An interface package that it did not use before.
    WitAdded {
        /// The package.
        package: String,
    },
    /// An interface package that it used before.
    WitRemoved {
        /// The package.
        package: String,
    },
}

impl Difference {
    /// Nobody has agreed to this plugin yet: everything about it is new.
    #[must_use]
    pub fn new_plugin(entry: &LockEntry) -> Vec<Self> {
        let added = |found: &mut Vec<What>, now: &BTreeSet<String>, what: fn(String) -> What| {
            found.extend(now.iter().cloned().map(what));
        };
        let mut found = vec![What::NewPlugin { source: entry.source.clone(), digest: entry.digest.clone() }];
        added(&mut found, &entry.granted, |grant| What::GrantAdded { grant });
        added(&mut found, &entry.credentials, |credential| What::CredentialAdded { credential });
        added(&mut found, &entry.imports, |import| What::ImportAdded { import });
        found.into_iter().map(Self::from).collect()
    }
}

impl From<What> for Difference {
    fn from(what: What) -> Self {
        let direction = match &what {
            What::NewPlugin { .. }
            | What::Downgrade { .. }
            | What::Publisher { .. }
            | What::SignedBy { .. }
            | What::Key { .. }
            | What::ImportAdded { .. }
            | What::RequestAdded { .. }
            | What::GrantAdded { .. }
            | What::CredentialAdded { .. } => Direction::Widens,
            What::Bytes { .. }
            | What::Upgrade { .. }
            | What::Source { .. }
            | What::Plugin { .. }
            | What::Kind { .. }
            | What::WitAdded { .. }
            | What::WitRemoved { .. } => Direction::Changes,
            What::ImportRemoved { .. }
            | What::RequestRemoved { .. }
            | What::GrantRemoved { .. }
            | What::CredentialRemoved { .. } => Direction::Narrows,
        };
        Self { direction, what }
    }
}

/// Everything that differs, what widens first. Empty only when the entries are equal.
#[must_use]
pub fn compare(locked: &LockEntry, now: &LockEntry) -> Vec<Difference> {
    // Taken apart, so that a field which is added to an entry cannot be forgotten here.
    let LockEntry {
        source,
        digest,
        plugin,
        version,
        kind,
        publisher,
        signed_by,
        key,
        wit,
        imports,
        requested,
        granted,
        credentials,
    } = locked;
    let mut found: Vec<What> = Vec::new();
    if *digest != now.digest {
        found.push(What::Bytes { from: digest.clone(), to: now.digest.clone() });
    }
    // Precedence first; versions that differ in build metadata alone are ordered too, by semver's total order.
    match version.cmp_precedence(&now.version).then_with(|| version.cmp(&now.version)) {
        Ordering::Less => found.push(What::Upgrade { from: version.to_string(), to: now.version.to_string() }),
        Ordering::Greater => found.push(What::Downgrade { from: version.to_string(), to: now.version.to_string() }),
        Ordering::Equal => {}
    }
    if *source != now.source {
        found.push(What::Source { from: source.clone(), to: now.source.clone() });
    }
    if *plugin != now.plugin {
        found.push(What::Plugin { from: plugin.to_string(), to: now.plugin.to_string() });
    }
    if *kind != now.kind {
        found.push(What::Kind { from: *kind, to: now.kind });
    }
    if *publisher != now.publisher {
        found.push(What::Publisher { from: publisher.clone(), to: now.publisher.clone() });
    }
    if *signed_by != now.signed_by {
        let shown = |name: &Option<basb_core::PluginName>| name.as_ref().map(ToString::to_string);
        found.push(What::SignedBy { from: shown(signed_by), to: shown(&now.signed_by) });
    }
    if *key != now.key {
        found.push(What::Key { from: key.clone(), to: now.key.clone() });
    }
    sets(
        &mut found,
        imports,
        &now.imports,
        |import| What::ImportAdded { import },
        |import| What::ImportRemoved { import },
    );
    let names = |all: &BTreeSet<basb_grants::Capability>| all.iter().map(|c| c.name().to_owned()).collect();
    sets(
        &mut found,
        &names(requested),
        &names(&now.requested),
        |capability| What::RequestAdded { capability },
        |capability| What::RequestRemoved { capability },
    );
    sets(&mut found, granted, &now.granted, |grant| What::GrantAdded { grant }, |grant| What::GrantRemoved { grant });
    sets(
        &mut found,
        credentials,
        &now.credentials,
        |credential| What::CredentialAdded { credential },
        |credential| What::CredentialRemoved { credential },
    );
    sets(&mut found, wit, &now.wit, |package| What::WitAdded { package }, |package| What::WitRemoved { package });
    let mut found: Vec<Difference> = found.into_iter().map(Difference::from).collect();
    found.sort_by_key(|difference| difference.direction);
    found
}

fn sets(
    found: &mut Vec<What>,
    before: &BTreeSet<String>,
    now: &BTreeSet<String>,
    added: impl Fn(String) -> What,
    removed: impl Fn(String) -> What,
) {
    found.extend(now.difference(before).cloned().map(added));
    found.extend(before.difference(now).cloned().map(removed));
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_nobody = |name: &Option<String>| name.clone().unwrap_or_else(|| "nobody".to_owned());
        let or_none = |key: &Option<String>| key.clone().unwrap_or_else(|| "none".to_owned());
        match self {
            Self::NewPlugin { source, digest } => write!(f, "it is not in the lock file: {source}, {digest}"),
            Self::Bytes { from, to } => write!(f, "other bytes: {from} before, {to} now"),
            Self::Upgrade { from, to } => write!(f, "version {from} before, {to} now"),
            Self::Downgrade { from, to } => write!(f, "an older version: {from} before, {to} now"),
            Self::Source { from, to } => write!(f, "source {from} before, {to} now"),
            Self::Plugin { from, to } => write!(f, "another plugin: {from} before, {to} now"),
            Self::Kind { from, to } => write!(f, "a {from} before, a {to} now"),
            Self::Publisher { from, to } => write!(f, "publisher {from} before, {to} now"),
            Self::SignedBy { from, to } => write!(f, "signed by {} before, by {} now", or_nobody(from), or_nobody(to)),
            Self::Key { from, to } => write!(f, "signing key {} before, {} now", or_none(from), or_none(to)),
            Self::ImportAdded { import } => write!(f, "+ imports {import}"),
            Self::ImportRemoved { import } => write!(f, "- imports {import}"),
            Self::RequestAdded { capability } => write!(f, "+ asks for {capability}"),
            Self::RequestRemoved { capability } => write!(f, "- asks for {capability}"),
            Self::GrantAdded { grant } => write!(f, "+ granted {grant}"),
            Self::GrantRemoved { grant } => write!(f, "- granted {grant}"),
            Self::CredentialAdded { credential } => write!(f, "+ credential {credential}"),
            Self::CredentialRemoved { credential } => write!(f, "- credential {credential}"),
            Self::WitAdded { package } => write!(f, "+ built for {package}"),
            Self::WitRemoved { package } => write!(f, "- built for {package}"),
        }
    }
}
