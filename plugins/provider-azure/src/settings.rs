//! What holds for the whole app and so for all of its revisions at once: mode, ingress, registries, secrets, identity,
//! tags. It is compared and changed apart from revisions; only what differs is sent.
//!
//! Of an app that others made, only what our revisions need is changed: the mode, and registries and secrets that are
//! missing.

use basb_cloud_kit::Differences;
use basb_plugin::Failure;
use serde_json::{Map, Value, json};

use crate::apps::Apps;
use crate::names;
use crate::view::{Standing, View};

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
    if let (Some(identity), Some(fields)) = (identity(apps), body.as_object_mut()) {
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
pub fn differences(apps: &Apps<'_>, view: &View) -> Result<Differences, Failure> {
    let mut differences = Differences::new();
    let Some(change) = change(apps, view)? else { return Ok(differences) };
    for (pointer, path) in [("/tags", "tags"), ("/identity", "identity"), ("/properties", "app")] {
        if let Some(wanted) = change.pointer(pointer) {
            let there = match path {
                "tags" => view.app.tags.as_ref().map(|tags| json!(tags)),
                "identity" => view.app.identity.clone(),
                _ => Some(json!({
                    "configuration": view.app.properties.configuration,
                    "workloadProfileName": view.app.properties.workload_profile_name,
                })),
            };
            differences.json(path, there.as_ref(), wanted);
        }
    }
    Ok(differences)
}

/// The change that makes the settings as they should be; none where they are.
///
/// # Errors
/// [`basb_plugin::FailureCode::Conflict`] where secrets of others would be lost: Azure takes a list whole, and does not
/// tell what is in it.
pub fn change(apps: &Apps<'_>, view: &View) -> Result<Option<Value>, Failure> {
    let there = |pointer: &str| view.app.configuration(pointer);
    let mut configuration = Map::new();
    for (name, key) in [("registries", "server"), ("secrets", "name")] {
        let list = there(&format!("/{name}")).and_then(Value::as_array).cloned().unwrap_or_default();
        if let Some(list) = list_change(apps, view, (name, key), &list)? {
            configuration.insert(name.into(), list);
        }
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
        if tags.iter().any(|(name, value)| now.get(name) != Some(value)) {
            body.insert("tags".into(), json!(tags));
        }
        if let Some(identity) = identity(apps).filter(|wanted| !has_identity(view.app.identity.as_ref(), wanted)) {
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

fn wanted_list(apps: &Apps<'_>, name: &str) -> Vec<Value> {
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

/// The whole list with what is missing or different; none where nothing is.
fn list_change(
    apps: &Apps<'_>,
    view: &View,
    (name, key): (&str, &str),
    there: &[Value],
) -> Result<Option<Value>, Failure> {
    let wanted = wanted_list(apps, name);
    let is = |one: &Value, other: &Value| one.get(key).is_some() && one.get(key) == other.get(key);
    let missing = wanted.iter().any(|item| {
        let found = there.iter().find(|found| is(found, item));
        found.is_none_or(|found| differs(Some(found), item))
    });
    if !missing {
        return Ok(None);
    }
    let others: Vec<&Value> = match view.standing {
        Standing::Ours => Vec::new(),
        Standing::Adopted => there.iter().filter(|of| !wanted.iter().any(|item| is(of, item))).collect(),
    };
    if name == "secrets" && others.iter().any(|of| of.get("keyVaultUrl").is_none_or(Value::is_null)) {
        return Err(Failure::conflict(format!(
            "the container app {} was made by others and has secrets whose values Azure does not tell: add those of the \
             configuration to it yourself",
            apps.name
        )));
    }
    Ok(Some(others.into_iter().cloned().chain(wanted).collect()))
}

fn identity(apps: &Apps<'_>) -> Option<Value> {
    let identity = apps.config.identity.as_ref()?;
    let kind = match (identity.system, identity.user.is_empty()) {
        (true, true) => "SystemAssigned",
        (true, false) => "SystemAssigned,UserAssigned",
        (false, false) => "UserAssigned",
        (false, true) => return Some(json!({"type": "None"})),
    };
    let mut value = json!({"type": kind});
    if !identity.user.is_empty() {
        let all: Map<String, Value> = identity.user.iter().map(|id| (id.clone(), json!({}))).collect();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("userAssignedIdentities".into(), Value::Object(all));
        }
    }
    Some(value)
}

fn has_identity(there: Option<&Value>, wanted: &Value) -> bool {
    let kind = |of: &Value| of.get("type").and_then(Value::as_str).unwrap_or("None").replace(' ', "");
    let ids = |of: &Value| -> Vec<String> {
        let all = of.get("userAssignedIdentities").and_then(Value::as_object);
        all.into_iter().flatten().map(|(id, _)| id.to_ascii_lowercase()).collect()
    };
    let none = json!({});
    let there = there.unwrap_or(&none);
    kind(there) == kind(wanted) && ids(wanted).iter().all(|id| ids(there).contains(id))
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
