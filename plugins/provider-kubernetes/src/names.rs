//! What things are called, and whose they are.

use std::collections::BTreeMap;

use basb_cloud_kit::{Alphabet, Owner, TagStyle, name};
use basb_plugin::{Failure, ServiceRef};
use serde_json::{Map, Value, json};

use crate::api::Object;

/// How Kubernetes wants labels named.
const LABELS: TagStyle = TagStyle::Slash;
/// A Service's name is a DNS label, and a pod's name is the Deployment's and sixteen characters more.
const LONGEST: usize = 47;

/// The manager of everything that we write but what [`SCALER`] does.
pub const MANAGER: &str = "basb-host";
/// The manager of the number of instances, which is ours alone: it is taken from whoever has set it.
pub const SCALER: &str = "basb-host-scale";
/// The header that a revision alone is asked by, where it has no host of its own.
pub const HEADER: &str = "x-basb-revision";
/// The annotation with the number of instances that the host asked for, which shares of traffic stay within.
pub const INSTANCES: &str = "basb-host/instances";
/// The annotation with the shares that were asked for, in hundredths of a percent.
pub const WEIGHTS: &str = "basb-host/weights";
/// The annotation with the numbers of instances that make these shares as nearly as they can.
pub const COUNTS: &str = "basb-host/counts";
/// What a Service selects that leads nowhere.
pub const NOBODY: &str = "none";

/// What everything of a revision is called.
pub fn of_revision(service: &ServiceRef, revision: &str) -> String {
    name(&[&service.deployment, &service.environment, &service.service, revision], Alphabet::Label, LONGEST)
}

/// What users' Service and route are called.
pub fn of_service(service: &ServiceRef) -> String {
    name(&[&service.deployment, &service.environment, &service.service], Alphabet::Label, LONGEST)
}

/// The key of one of our labels.
pub fn label(name: &str) -> String {
    LABELS.key(name)
}

/// The labels of a thing: ours, and those that tools of the field go by.
pub fn labels(owner: &Owner) -> Value {
    let mut all = Map::new();
    for (key, value) in owner.tags(LABELS) {
        all.insert(key, value.into());
    }
    all.insert("app.kubernetes.io/name".into(), json!(owner.service.service));
    all.insert("app.kubernetes.io/instance".into(), json!(of_service(&owner.service)));
    all.insert("app.kubernetes.io/part-of".into(), json!(owner.service.deployment));
    all.insert("app.kubernetes.io/managed-by".into(), json!("basb-host"));
    if let Some(revision) = &owner.revision {
        all.insert("app.kubernetes.io/version".into(), json!(revision));
    }
    Value::Object(all)
}

/// What selects the pods of a service, or those of one revision of it.
pub fn selector(service: &ServiceRef, revision: Option<&str>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        (label("deployment"), service.deployment.clone()),
        (label("environment"), service.environment.clone()),
        (label("service"), service.service.clone()),
    ]);
    all.extend(revision.map(|revision| (label("revision"), revision.to_owned())));
    all
}

/// A selector as it stands in a query. What others made has no such label.
pub fn query(selector: &BTreeMap<String, String>) -> String {
    let mut pairs: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.push(format!("{}=basb-host", label("managed-by")));
    pairs.join(",")
}

/// Whose a thing is.
pub fn owner_of(object: &Object) -> Option<Owner> {
    let labels = &object.metadata.labels;
    Owner::from_tags(LABELS, labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// Whether a thing has no label that is not as this owner's are: it may lack some of them.
pub fn lacks_only(object: &Object, owner: &Owner) -> bool {
    let labels = &object.metadata.labels;
    let as_ours = |(key, value): (String, String)| labels.get(&key).is_none_or(|there| *there == value);
    let has_revision = labels.contains_key(&label("revision"));
    owner.tags(LABELS).into_iter().all(as_ours) && has_revision == owner.revision.is_some()
}

/// Whether a label is one of those that say whose a thing is.
pub fn is_of_owner(key: &str, owner: &Owner) -> bool {
    owner.tags(LABELS).iter().any(|(known, _)| known == key)
}

/// The thing, if it is what we would have made under its name.
///
/// # Errors
/// [`basb_plugin::FailureCode::Conflict`] where it is another's.
pub fn ours(kind: &str, object: Option<Object>, owner: &Owner) -> Result<Option<Object>, Failure> {
    let Some(object) = object else { return Ok(None) };
    if owner_of(&object).as_ref() == Some(owner) {
        return Ok(Some(object));
    }
    Err(Failure::conflict(format!(
        "there is a {kind} {} that is not ours (it has not the label {}=basb-host with deployment, environment, service and \
         revision): it is left alone; rename it, or use another namespace",
        object.metadata.name,
        label("managed-by")
    )))
}
