//! What an app of ours still has and the configuration does not name: identities, registries, secrets.
//!
//! They are the whole app's, so also of the revision that serves, which a rollback goes back to with what it had: they are
//! taken away only once nothing but the wanted revision runs. What can be somebody else's stays: what we could not have made
//! (a registry with a password, a secret with a value), and what something that runs refers to.

use serde_json::{Value, json};

use crate::apps::Apps;
use crate::settings;
use crate::template::Wanted;
use crate::view::{Standing, View};

/// What registries and secrets call the system's identity.
const SYSTEM: &str = "system";

/// What refers to settings of the app.
pub struct Users<'a> {
    templates: Vec<&'a Value>,
    is_alone: bool,
}

impl<'a> Users<'a> {
    /// Of an app that comes to a revision: `id` of the service, as `wanted`.
    pub fn of(view: &'a View, id: &str, wanted: &'a Wanted) -> Users<'a> {
        let active = view.active().filter_map(|seen| seen.revision.template());
        // What the app was last made of is checked by Azure with every change, whether it runs or not.
        let templates = active.chain(view.app.properties.template.as_ref()).chain([&wanted.template]).collect();
        Users { templates, is_alone: view.standing == Standing::Ours && view.active().all(|seen| seen.id == id) }
    }

    /// Whether what nothing refers to may go: nothing that somebody could go back to runs beside the wanted revision.
    pub fn are_alone(&self) -> bool {
        self.is_alone
    }

    /// Whether a secret or a registry (`list`) goes: it can only be ours, and nothing refers to it.
    pub fn let_go(&self, list: &str, item: &Value, registries: &[Value]) -> bool {
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        let is_ours = match list {
            "secrets" => !text("keyVaultUrl").is_empty(),
            _ => !text("identity").is_empty() && text("username").is_empty(),
        };
        let is_used = match list {
            "secrets" => {
                let name = text("name");
                let refers = |key: &str, value: &str| key.ends_with("ecretRef") && value == name;
                // A volume of secrets that lists none has all of them.
                let has_all = |key: &str, value: &str| key == "storageType" && value == "Secret";
                let registries = registries.iter().any(|registry| any_text(registry, "", &refers));
                registries || self.templates.iter().any(|of| any_text(of, "", &|k, v| refers(k, v) || has_all(k, v)))
            }
            _ => {
                let from = format!("{}/", text("server"));
                self.templates
                    .iter()
                    .any(|of| any_text(of, "", &|key, value| key == "image" && value.starts_with(&from)))
            }
        };
        self.is_alone && is_ours && !is_used
    }

    /// Whether a template names an identity, as a rule for scaling does.
    fn name_identity(&self, id: &str) -> bool {
        self.templates.iter().any(|of| names_text(of, id))
    }
}

/// The identities of an app, as they are and as they should be.
pub struct Identities {
    system: bool,
    users: Vec<String>,
}

impl Identities {
    /// As Azure has them.
    pub fn of(view: &View) -> Identities {
        let there = view.app.identity.as_ref();
        let kind = there.and_then(|there| there.get("type")).and_then(Value::as_str).unwrap_or_default();
        let users = there.and_then(|there| there.get("userAssignedIdentities")).and_then(Value::as_object);
        let users = users.into_iter().flatten().filter(|(_, value)| !value.is_null()).map(|(id, _)| id.clone());
        Identities {
            system: kind.contains("SystemAssigned"),
            users: if kind.contains("UserAssigned") { users.collect() } else { Vec::new() },
        }
    }

    /// As the configuration has them. Where it says nothing at all, nobody has said anything of the system's.
    fn wanted(apps: &Apps<'_>, there: &Identities) -> Identities {
        match &apps.config.identity {
            Some(identity) => Identities { system: identity.system, users: identity.user.clone() },
            None => Identities { system: there.system, users: Vec::new() },
        }
    }

    /// Whether a user-assigned one is among them. Azure changes the case of letters in ids.
    fn has(&self, id: &str) -> bool {
        self.users.iter().any(|of| of.eq_ignore_ascii_case(id))
    }

    fn kind(&self) -> &'static str {
        match (self.system, self.users.is_empty()) {
            (true, true) => "SystemAssigned",
            (true, false) => "SystemAssigned,UserAssigned",
            (false, false) => "UserAssigned",
            (false, true) => "None",
        }
    }
}

/// The identity of an app that is made; none where nothing is configured.
pub fn new_identity(apps: &Apps<'_>) -> Option<Value> {
    let identity = apps.config.identity.as_ref()?;
    let wanted = Identities { system: identity.system, users: identity.user.clone() };
    Some(body(&wanted, &[]))
}

/// The change of an app's identity; none where it is as it should be. `settings` are registries and secrets as they will be:
/// what one of them is read with stays.
pub fn identity_change(apps: &Apps<'_>, view: &View, users: &Users<'_>, settings: &[Value]) -> Option<Value> {
    let there = Identities::of(view);
    let wanted = Identities::wanted(apps, &there);
    let (gone, kept) = surplus(&there, &wanted, users, settings);
    let is_missing = wanted.users.iter().any(|id| !there.has(id));
    let as_there = |id: &String| there.users.iter().find(|of| of.eq_ignore_ascii_case(id)).unwrap_or(id).clone();
    let after = Identities {
        system: wanted.system || keeps_system(&there, users, settings),
        users: wanted.users.iter().map(as_there).chain(kept).collect(),
    };
    let is_same = !is_missing && gone.is_empty() && after.kind() == there.kind();
    (!is_same).then(|| body(&after, &gone))
}

/// Whether the system's identity stays, wanted or not.
fn keeps_system(there: &Identities, users: &Users<'_>, settings: &[Value]) -> bool {
    there.system && (!users.are_alone() || is_read_with(settings, SYSTEM))
}

/// User-assigned ones that are not wanted: what goes, and what stays.
fn surplus(
    there: &Identities,
    wanted: &Identities,
    users: &Users<'_>,
    settings: &[Value],
) -> (Vec<String>, Vec<String>) {
    let surplus = there.users.iter().filter(|id| !wanted.has(id)).cloned();
    surplus.partition(|id| users.are_alone() && !is_read_with(settings, id) && !users.name_identity(id))
}

/// Merged into what is there: `null` takes one away. Without any left the type alone says so.
fn body(after: &Identities, gone: &[String]) -> Value {
    let mut value = json!({"type": after.kind()});
    if let Some(fields) = value.as_object_mut().filter(|_| !after.users.is_empty()) {
        let named = after.users.iter().map(|id| (id.clone(), json!({})));
        let all = named.chain(gone.iter().map(|id| (id.clone(), Value::Null))).collect();
        fields.insert("userAssignedIdentities".into(), Value::Object(all));
    }
    value
}

/// What the app has, the configuration does not name, and a deployment does not take away; in words.
pub fn staying(apps: &Apps<'_>, view: &View, users: &Users<'_>, lists: &[(&str, Vec<Value>)]) -> Vec<String> {
    if view.standing != Standing::Ours {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (list, items) in lists {
        let (what, key) = if *list == "secrets" { ("secret", "name") } else { ("registry", "server") };
        let wanted = settings::wanted_list(apps, list);
        let is_wanted = |item: &Value| wanted.iter().any(|of| of.get(key) == item.get(key));
        let names = items.iter().filter(|item| !is_wanted(item)).filter_map(|item| item.get(key)?.as_str());
        all.extend(names.map(|name| format!("the {what} {name}")));
    }
    let settings: Vec<Value> = lists.iter().flat_map(|(_, items)| items.clone()).collect();
    let there = Identities::of(view);
    let wanted = Identities::wanted(apps, &there);
    all.extend(surplus(&there, &wanted, users, &settings).1.iter().map(|id| format!("the identity {id}")));
    if !wanted.system && keeps_system(&there, users, &settings) {
        all.push("the system's identity".to_owned());
    }
    all
}

/// The user-assigned identities that a change takes away, whether it names them or its type says so.
pub fn taken_away(view: &View, change: &Value) -> Vec<String> {
    let there = Identities::of(view).users;
    let has_users = change.get("type").and_then(Value::as_str).is_some_and(|kind| kind.contains("UserAssigned"));
    let is_null =
        |id: &String| change.pointer("/userAssignedIdentities").and_then(|all| all.get(id)) == Some(&Value::Null);
    there.into_iter().filter(|id| !has_users || is_null(id)).collect()
}

/// Whether a registry or a secret is read with an identity.
fn is_read_with(settings: &[Value], id: &str) -> bool {
    let identity =
        |of: &Value| of.get("identity").and_then(Value::as_str).is_some_and(|of| of.eq_ignore_ascii_case(id));
    settings.iter().any(identity)
}

fn names_text(value: &Value, text: &str) -> bool {
    any_text(value, "", &|_, there| there.eq_ignore_ascii_case(text))
}

/// Whether any text somewhere in a document is one of those, by the name that it has there.
fn any_text(value: &Value, key: &str, is: &dyn Fn(&str, &str) -> bool) -> bool {
    match value {
        Value::String(text) => is(key, text),
        Value::Array(items) => items.iter().any(|item| any_text(item, key, is)),
        Value::Object(fields) => fields.iter().any(|(name, value)| any_text(value, name, is)),
        _ => false,
    }
}
