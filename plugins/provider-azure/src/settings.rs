//! What holds for the whole app and so for all of its revisions at once: mode, ingress, registries, secrets, identity,
//! tags. It is compared and changed apart from revisions; only what differs is sent.
//!
//! Of an app that others made, only what our revisions need is changed: the mode, and registries and secrets that are
//! missing. Of one of ours, what is configured no more goes as `surplus` says.

use basb_cloud_kit::Differences;
use basb_plugin::Failure;
use serde_json::{Map, Value, json};

use crate::apps::Apps;
use crate::names;
use crate::surplus::{self, Users};
use crate::view::{Standing, View};

/// The lists of an app's configuration, and what tells what is in them apart.
const LISTS: [(&str, &str); 2] = [("registries", "server"), ("secrets", "name")];

/// How requests come in, without who gets them.
pub fn ingress(apps: &Apps<'_>) -> Value {
    let ingress = &apps.config.ingress;
    json!({
        "external": apps.written.external.unwrap_or(ingress.external),
        "targetPort": apps.written.target_port.unwrap_or(ingress.target_port),
        "transport": ingress.transport.word(),
        "allowInsecure": ingress.allow_insecure,
    })
}

/// The body that makes the app, with its first revision and nobody led to it: requests come with the first share.
pub fn create(apps: &Apps<'_>, template: &Value) -> Value {
    let config = apps.config;
    let mut properties = json!({
        "environmentId": config.environment_id(),
        "configuration": configuration(apps),
        "template": template,
    });
    if let (Some(profile), Some(fields)) = (&config.workload_profile, properties.as_object_mut()) {
        fields.insert("workloadProfileName".into(), profile.clone().into());
    }
    let mut body = json!({
        "location": config.location,
        "tags": names::tags(config, apps.service),
        "properties": properties,
    });
    if let (Some(identity), Some(fields)) = (surplus::new_identity(apps), body.as_object_mut()) {
        fields.insert("identity".into(), identity);
    }
    body
}

/// Refuses an app that cannot be made into what is configured.
///
/// # Errors
/// [`basb_plugin::FailureCode::Conflict`].
pub fn check(apps: &Apps<'_>, view: &View) -> Result<(), Failure> {
    let conflict = |what: &str, there: &str, wanted: &str| {
        Err(Failure::conflict(format!(
            "the container app {} is in the {what} {there}, which cannot be changed, and the configuration says {wanted}",
            apps.name
        )))
    };
    let properties = &view.app.properties;
    let environment = properties.environment_id.as_ref().or(properties.managed_environment_id.as_ref());
    let wanted = apps.config.environment_id();
    if let Some(there) = environment.filter(|there| !there.eq_ignore_ascii_case(&wanted)) {
        return conflict("environment", there, &wanted);
    }
    let plain = |text: &str| text.replace(' ', "").to_ascii_lowercase();
    let location = view.app.location.as_ref();
    if let Some(there) = location.filter(|there| plain(there) != plain(&apps.config.location)) {
        return conflict("location", there, &apps.config.location);
    }
    let port = view.app.configuration("/ingress/targetPort").and_then(Value::as_u64);
    let own = apps.written.target_port.unwrap_or(apps.config.ingress.target_port);
    if let (Standing::Adopted, Some(there)) = (view.standing, port.filter(|port| *port != u64::from(own) && *port != 0))
    {
        return Err(Failure::conflict(format!(
            "the container app {} was made by others and leads to port {there}, and a revision of ours would listen on \
             {own}: write `targetPort: {there}` for the service",
            apps.name
        )));
    }
    Ok(())
}

/// Every setting that differs from what is there.
///
/// # Errors
/// As [`change`].
pub fn differences(apps: &Apps<'_>, view: &View, users: &Users<'_>) -> Result<Differences, Failure> {
    let mut differences = Differences::new();
    let Some(change) = change(apps, view, users)? else { return Ok(differences) };
    if let Some(tags) = change.get("tags") {
        let there = view.app.tags.as_ref().map(|tags| json!(tags));
        for (name, before) in surplus_tags(apps, view) {
            differences.value(&format!("tags.{name}"), Some(before), None);
        }
        differences.json("tags", there.as_ref(), &without_nulls(tags));
    }
    if let Some(identity) = change.get("identity") {
        for id in surplus::taken_away(view, identity) {
            differences.value("identity.userAssignedIdentities", Some(id), None);
        }
        differences.json("identity", view.app.identity.as_ref(), &without_nulls(identity));
    }
    if let Some(wanted) = change.get("properties") {
        let mut configuration = view.app.properties.configuration.clone().unwrap_or_default();
        // What goes from a list is told by its name; the rest of the list is compared as it would be without it.
        for (name, key) in LISTS {
            let Some(after) = wanted.pointer(&format!("/configuration/{name}")).and_then(Value::as_array) else {
                continue;
            };
            let Some(there) = configuration.get_mut(name).and_then(Value::as_array_mut) else { continue };
            let stays = |item: &Value| after.iter().any(|of| of.get(key) == item.get(key));
            for gone in there.iter().filter(|item| !stays(item)).filter_map(|item| item.get(key)?.as_str()) {
                differences.value(&format!("app.configuration.{name}"), Some(gone.to_owned()), None);
            }
            there.retain(stays);
        }
        let there = json!({
            "configuration": configuration,
            "workloadProfileName": view.app.properties.workload_profile_name,
        });
        differences.json("app", Some(&there), wanted);
    }
    Ok(differences)
}

fn without_nulls(change: &Value) -> Value {
    let Value::Object(fields) = change else { return change.clone() };
    let fields = fields.iter().filter(|(_, value)| !value.is_null());
    Value::Object(fields.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
}

/// What an app of ours keeps although the configuration does not name it, in words: it may be somebody else's, or is used.
///
/// # Errors
/// As [`change`].
pub fn staying(apps: &Apps<'_>, view: &View, users: &Users<'_>) -> Result<Vec<String>, Failure> {
    let lists = lists(apps, view, users)?;
    let after: Vec<(&str, Vec<Value>)> = lists.into_iter().map(|list| (list.name, list.after)).collect();
    Ok(surplus::staying(apps, view, users, &after))
}

/// The tags that are named like ours and are not wanted.
fn surplus_tags(apps: &Apps<'_>, view: &View) -> Vec<(String, String)> {
    let wanted = names::tags(apps.config, apps.service);
    let there = view.app.tags.clone().unwrap_or_default().into_iter();
    there.filter(|(name, _)| names::is_own_tag(name) && !wanted.contains_key(name)).collect()
}

/// The change that makes the settings as they should be; none where they are.
///
/// # Errors
/// [`basb_plugin::FailureCode::Conflict`] where secrets of others would be lost: Azure takes a list whole, and does not
/// tell what is in it.
pub fn change(apps: &Apps<'_>, view: &View, users: &Users<'_>) -> Result<Option<Value>, Failure> {
    let there = |pointer: &str| view.app.configuration(pointer);
    let mut configuration = Map::new();
    let lists = lists(apps, view, users)?;
    for list in lists.iter().filter(|list| list.differs) {
        configuration.insert(list.name.into(), list.after.clone().into());
    }
    let mut body = Map::new();
    if view.standing == Standing::Ours {
        let inactive = json!(apps.config.max_inactive_revisions);
        if there("/maxInactiveRevisions") != Some(&inactive) {
            configuration.insert("maxInactiveRevisions".into(), inactive);
        }
        if let Some(now) = view.app.ingress() {
            let wanted = ingress(apps);
            let fields = wanted.as_object().into_iter().flatten();
            let differ: Map<String, Value> = fields
                .filter(|(name, value)| differs(now.get(name.as_str()), value))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            if !differ.is_empty() {
                configuration.insert("ingress".into(), Value::Object(differ));
            }
        }
        let tags = names::tags(apps.config, apps.service);
        let now = view.app.tags.clone().unwrap_or_default();
        let surplus = surplus_tags(apps, view);
        if !surplus.is_empty() || tags.iter().any(|(name, value)| now.get(name) != Some(value)) {
            let gone = surplus.into_iter().map(|(name, _)| (name, Value::Null));
            let tags: Map<String, Value> =
                tags.into_iter().map(|(name, value)| (name, value.into())).chain(gone).collect();
            body.insert("tags".into(), Value::Object(tags));
        }
        let read: Vec<Value> = lists.into_iter().flat_map(|list| list.after).collect();
        if let Some(identity) = surplus::identity_change(apps, view, users, &read) {
            body.insert("identity".into(), identity);
        }
    }
    let mut properties = Map::new();
    if !configuration.is_empty() {
        properties.insert("configuration".into(), Value::Object(configuration));
    }
    let profile = apps.config.workload_profile.as_ref().filter(|_| view.standing == Standing::Ours);
    if let Some(profile) = profile.filter(|profile| view.app.properties.workload_profile_name.as_ref() != Some(profile))
    {
        properties.insert("workloadProfileName".into(), profile.clone().into());
    }
    if !properties.is_empty() {
        body.insert("properties".into(), Value::Object(properties));
    }
    Ok((!body.is_empty()).then(|| with_location(apps, view, Value::Object(body))))
}

/// A change with the location, which is a required part of every body.
pub fn with_location(apps: &Apps<'_>, view: &View, change: Value) -> Value {
    let mut body = Map::new();
    let location = view.app.location.clone().unwrap_or_else(|| apps.config.location.clone());
    body.insert("location".into(), location.into());
    if let Value::Object(fields) = change {
        body.extend(fields);
    }
    Value::Object(body)
}

fn configuration(apps: &Apps<'_>) -> Value {
    let mut configuration = json!({
        "activeRevisionsMode": "Multiple",
        "maxInactiveRevisions": apps.config.max_inactive_revisions,
    });
    for name in ["registries", "secrets"] {
        let list = wanted_list(apps, name);
        if let Some(fields) = configuration.as_object_mut().filter(|_| !list.is_empty()) {
            fields.insert(name.to_owned(), list.into());
        }
    }
    configuration
}

/// A list as the configuration has it.
pub fn wanted_list(apps: &Apps<'_>, name: &str) -> Vec<Value> {
    let config = apps.config;
    match name {
        "registries" => {
            config.registries.iter().map(|of| json!({"server": of.server, "identity": of.identity})).collect()
        }
        _ => config
            .secrets
            .iter()
            .map(|of| json!({"name": of.name, "keyVaultUrl": of.key_vault_url, "identity": of.identity}))
            .collect(),
    }
}

/// A list of the app, which Azure takes whole.
struct List {
    name: &'static str,
    /// As it should be.
    after: Vec<Value>,
    differs: bool,
}

/// The lists with what is missing or different, and without what goes. Registries come first: they refer to secrets.
fn lists(apps: &Apps<'_>, view: &View, users: &Users<'_>) -> Result<Vec<List>, Failure> {
    let mut lists: Vec<List> = Vec::new();
    for (name, key) in LISTS {
        let there = view.app.configuration(&format!("/{name}")).and_then(Value::as_array).cloned().unwrap_or_default();
        let registries: Vec<Value> = lists.iter().flat_map(|list| list.after.clone()).collect();
        lists.push(list(apps, users, (name, key), there, &registries)?);
    }
    Ok(lists)
}

fn list(
    apps: &Apps<'_>,
    users: &Users<'_>,
    (name, key): (&'static str, &str),
    there: Vec<Value>,
    registries: &[Value],
) -> Result<List, Failure> {
    let wanted = wanted_list(apps, name);
    let is = |one: &Value, other: &Value| one.get(key).is_some() && one.get(key) == other.get(key);
    let is_missing = wanted.iter().any(|item| {
        let found = there.iter().find(|found| is(found, item));
        found.is_none_or(|found| differs(Some(found), item))
    });
    let others = there.iter().filter(|of| !wanted.iter().any(|item| is(of, item)));
    let (gone, kept): (Vec<&Value>, Vec<&Value>) = others.partition(|of| users.let_go(name, of, registries));
    // A list is sent whole, and what Azure does not tell cannot be sent: it would be lost.
    let has_url = |of: &&Value| of.get("keyVaultUrl").and_then(Value::as_str).is_some_and(|url| !url.is_empty());
    let is_told = name != "secrets" || kept.iter().all(has_url);
    if is_missing && !is_told {
        return Err(Failure::conflict(format!(
            "the container app {} was given secrets by others whose values Azure does not tell, and a list of secrets is sent \
             whole: add those of the configuration to it yourself",
            apps.name
        )));
    }
    if !is_missing && (gone.is_empty() || !is_told) {
        return Ok(List { name, after: there, differs: false });
    }
    let stays = there.iter().filter(|of| !gone.iter().any(|gone| is(gone, of)));
    let as_wanted = stays.map(|of| wanted.iter().find(|item| is(item, of)).unwrap_or(of).clone());
    let new = wanted.iter().filter(|item| !there.iter().any(|of| is(of, item))).cloned();
    let after = as_wanted.chain(new).collect();
    Ok(List { name, after, differs: true })
}

/// Whether what is there lacks anything of what is wanted. Azure writes some words in capitals.
fn differs(there: Option<&Value>, wanted: &Value) -> bool {
    let Some(there) = there else { return true };
    match (there, wanted) {
        (Value::String(there), Value::String(wanted)) => !there.eq_ignore_ascii_case(wanted),
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().any(|(name, value)| differs(there.get(name), value))
        }
        _ => there != wanted,
    }
}
