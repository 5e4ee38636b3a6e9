//! Amazon ECS: JSON 1.1, told by `X-Amz-Target`.

use std::collections::BTreeMap;

use basb_cloud_kit::{Client, IfFound, Page, Refused, pages};
use basb_plugin::Failure;
use basb_plugin::http::Request;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Aws, null_as_default};

const TARGET: &str = "AmazonEC2ContainerServiceV20141113";
/// So many things one request may name (ECS API reference).
const SERVICES_AT_ONCE: usize = 10;
const TASKS_AT_ONCE: usize = 100;
const DEFINITIONS_AT_ONCE: usize = 10;
/// So many task definitions of a family one call removes, each with some requests of its own. A revision has one of them, or a
/// few where it came and went.
const MOST_REMOVED: usize = 30;

/// ECS in one cluster.
#[derive(Clone, Copy)]
pub struct EcsApi<'a> {
    client: Client<'a>,
    endpoint: &'a str,
    cluster: &'a str,
}

/// A service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EcsService {
    pub service_arn: String,
    pub service_name: String,
    pub status: String,
    #[serde(deserialize_with = "null_as_default")]
    pub desired_count: u32,
    #[serde(deserialize_with = "null_as_default")]
    pub running_count: u32,
    #[serde(deserialize_with = "null_as_default")]
    pub pending_count: u32,
    pub task_definition: String,
    #[serde(deserialize_with = "null_as_default")]
    pub load_balancers: Vec<EcsLoadBalancer>,
    #[serde(deserialize_with = "null_as_default")]
    pub deployments: Vec<EcsDeployment>,
    #[serde(deserialize_with = "null_as_default")]
    pub events: Vec<EcsEvent>,
    #[serde(deserialize_with = "null_as_default")]
    pub tags: Vec<EcsTag>,
    pub deployment_configuration: Value,
    pub launch_type: Option<String>,
    pub network_configuration: Value,
    /// None, or an empty list, where it has a launch type.
    pub capacity_provider_strategy: Option<Vec<CapacityShare>>,
    pub health_check_grace_period_seconds: Option<u64>,
}

/// A share of a service's tasks on a capacity provider.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CapacityShare {
    pub capacity_provider: String,
    #[serde(deserialize_with = "null_as_default")]
    pub weight: u32,
    #[serde(deserialize_with = "null_as_default")]
    pub base: u32,
}

/// Where a service registers its tasks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EcsLoadBalancer {
    pub target_group_arn: Option<String>,
    pub advanced_configuration: Option<Advanced>,
}

/// The other side of a blue/green pair.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Advanced {
    pub alternate_target_group_arn: Option<String>,
    pub production_listener_rule: Option<String>,
}

/// A rolling deployment within a service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EcsDeployment {
    pub status: String,
    pub rollout_state: Option<String>,
    pub rollout_state_reason: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub failed_tasks: u32,
}

/// Something that happened to a service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EcsEvent {
    #[serde(deserialize_with = "null_as_default")]
    pub message: String,
}

/// A tag.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct EcsTag {
    pub key: String,
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
}

/// A task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EcsTask {
    pub task_arn: String,
    pub last_status: String,
    #[serde(deserialize_with = "null_as_default")]
    pub health_status: String,
    pub task_definition_arn: String,
    pub stopped_reason: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub containers: Vec<EcsContainer>,
}

/// A container of a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EcsContainer {
    pub name: String,
    pub last_status: String,
    pub exit_code: Option<i64>,
    pub reason: Option<String>,
}

/// A task definition as it is registered.
#[derive(Debug, Clone)]
pub struct TaskDefinition {
    pub arn: String,
    pub content: Value,
    pub tags: Vec<EcsTag>,
}

/// What became of the task definitions of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// They are deleted, or will be once nothing runs by them any more.
    Deleted,
    /// More are there than one call removes.
    SomeLeft,
    /// They are deregistered only: the counterpart does not know how to delete them.
    DeregisteredOnly,
}

/// A deployment that ECS drives itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceDeployment {
    pub service_deployment_arn: String,
    pub status: String,
    pub status_reason: Option<String>,
    pub lifecycle_stage: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub source_service_revisions: Vec<RevisionSummary>,
    pub target_service_revision: Option<RevisionSummary>,
    #[serde(deserialize_with = "null_as_default")]
    pub lifecycle_hook_details: Vec<HookDetail>,
    pub rollback: Option<Rollback>,
}

/// One side of such a deployment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RevisionSummary {
    pub arn: String,
    #[serde(deserialize_with = "null_as_default")]
    pub requested_task_count: u32,
    #[serde(deserialize_with = "null_as_default")]
    pub running_task_count: u32,
    pub requested_production_traffic_weight: Option<f64>,
}

/// A hook that ran or runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HookDetail {
    pub hook_id: String,
    pub target_type: String,
    pub status: String,
}

/// What a deployment went back to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollback {
    pub reason: Option<String>,
    pub service_revision_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described<T> {
    #[serde(alias = "services", alias = "tasks", alias = "serviceDeployments", alias = "serviceRevisions")]
    items: Vec<T>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ListPage {
    #[serde(alias = "serviceArns", alias = "taskArns", alias = "taskDefinitionArns")]
    #[serde(deserialize_with = "null_as_default")]
    arns: Vec<String>,
    next_token: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct DeploymentsPage {
    #[serde(deserialize_with = "null_as_default")]
    service_deployments: Vec<Brief>,
    next_token: Option<String>,
}

/// The short form of a deployment.
#[derive(Deserialize, Default, Clone)]
#[serde(rename_all = "camelCase", default)]
pub struct Brief {
    pub service_deployment_arn: String,
    pub created_at: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskDefinitionAnswer {
    task_definition: Value,
    #[serde(default, deserialize_with = "null_as_default")]
    tags: Vec<EcsTag>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DeletedAnswer {
    #[serde(deserialize_with = "null_as_default")]
    failures: Vec<NotDeleted>,
}

/// Why something was not deleted, in ECS's words.
#[derive(Deserialize, Default)]
#[serde(default)]
struct NotDeleted {
    arn: String,
    #[serde(deserialize_with = "null_as_default")]
    reason: String,
    detail: Option<String>,
}

#[derive(Deserialize)]
struct ServiceAnswer {
    service: EcsService,
}

impl<'a> EcsApi<'a> {
    /// ECS behind this endpoint, in this cluster.
    pub fn new(client: Client<'a>, endpoint: &'a str, cluster: &'a str) -> EcsApi<'a> {
        EcsApi { client, endpoint, cluster }
    }

    /// The requests' client.
    pub fn client(&self) -> Client<'a> {
        self.client
    }

    fn call<T: DeserializeOwned>(&self, action: &str, body: &Value) -> Result<T, Refused> {
        let request = Request::post(self.endpoint)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("{TARGET}.{action}"))
            .body(body.to_string());
        self.client.json::<Aws, T>(&format!("ECS {action}"), request)
    }

    fn list(&self, action: &str, body: &Value) -> Result<Vec<String>, Failure> {
        pages(action, |token| {
            let mut body = body.clone();
            if let (Some(token), Some(fields)) = (token, body.as_object_mut()) {
                fields.insert("nextToken".into(), token.into());
            }
            let page: ListPage = self.call(action, &body)?;
            Ok(Page { items: page.arns, next: page.next_token })
        })
    }

    /// The names of the cluster's services that begin so.
    pub fn service_names(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let arns = self.list("ListServices", &json!({"cluster": self.cluster, "maxResults": 100}))?;
        let names = arns.iter().filter_map(|arn| arn.rsplit('/').next()).filter(|name| name.starts_with(prefix));
        Ok(names.map(str::to_owned).collect())
    }

    /// The services of these names that are there; those that were deleted and are only remembered are left out.
    pub fn services(&self, names: &[String]) -> Result<Vec<EcsService>, Failure> {
        let mut all = Vec::new();
        for some in names.chunks(SERVICES_AT_ONCE) {
            let body = json!({"cluster": self.cluster, "services": some, "include": ["TAGS"]});
            let found: Described<EcsService> = self.call("DescribeServices", &body)?;
            all.extend(found.items.into_iter().filter(|service| service.status != "INACTIVE"));
        }
        Ok(all)
    }

    /// The service of this name, if it is there.
    pub fn service(&self, name: &str) -> Result<Option<EcsService>, Failure> {
        Ok(self.services(&[name.to_owned()])?.into_iter().next())
    }

    /// The newest task definition of a family that can be used, if there is one.
    pub fn task_definition(&self, family: &str) -> Result<Option<TaskDefinition>, Failure> {
        let body = json!({"familyPrefix": family, "status": "ACTIVE", "sort": "DESC", "maxResults": 1});
        let page: ListPage = self.call("ListTaskDefinitions", &body)?;
        // The prefix is a whole name for AWS; emulators take it for one.
        let ours = |arn: &&String| family_of(arn) == Some(family);
        let Some(arn) = page.arns.iter().find(ours) else { return Ok(None) };
        self.described(arn)
    }

    /// A task definition by its ARN, if it is there.
    pub fn described(&self, arn: &str) -> Result<Option<TaskDefinition>, Failure> {
        let body = json!({"taskDefinition": arn, "include": ["TAGS"]});
        let answer: Result<TaskDefinitionAnswer, Refused> = self.call("DescribeTaskDefinition", &body);
        // ECS has no code of its own for a task definition that was deleted.
        let is_gone =
            |refused: &Refused| refused.code() == "ClientException" && refused.message().contains("Unable to describe");
        let found = match answer {
            Err(refused) if is_gone(&refused) => None,
            answer => answer.if_found()?,
        };
        Ok(found.map(|answer| {
            let arn = answer.task_definition.get("taskDefinitionArn").and_then(Value::as_str).unwrap_or(arn);
            TaskDefinition { arn: arn.to_owned(), content: answer.task_definition, tags: answer.tags }
        }))
    }

    /// Registers a task definition; its ARN.
    pub fn register(&self, definition: &Value) -> Result<String, Failure> {
        let answer: TaskDefinitionAnswer = self.call("RegisterTaskDefinition", definition)?;
        let arn = answer.task_definition.get("taskDefinitionArn").and_then(Value::as_str);
        arn.map(str::to_owned).ok_or_else(|| Failure::other("ECS RegisterTaskDefinition: the answer names no ARN"))
    }

    fn family(&self, family: &str, status: &str) -> Result<Vec<String>, Failure> {
        let body = json!({"familyPrefix": family, "status": status, "maxResults": 100});
        let mut arns = self.list("ListTaskDefinitions", &body)?;
        arns.retain(|arn| family_of(arn) == Some(family));
        Ok(arns)
    }

    /// Deregisters every task definition of a family, and deletes those of them that are `ours`, with those that a call
    /// before this one has left deregistered: until they are deleted, everybody who may describe them reads their
    /// environment.
    ///
    /// # Errors
    /// What AWS says, also of a single one of them.
    pub fn remove_definitions(&self, family: &str, ours: impl Fn(&TaskDefinition) -> bool) -> Result<Removed, Failure> {
        let mut arns = self.family(family, "ACTIVE")?;
        for arn in &arns {
            let _: Option<Value> = self.call("DeregisterTaskDefinition", &json!({"taskDefinition": arn})).if_found()?;
        }
        // What has just been deregistered may not be in this list yet.
        arns.extend(self.family(family, "INACTIVE")?);
        arns.sort();
        arns.dedup();
        let mut whole = Vec::new();
        for arn in arns {
            if whole.len() == MOST_REMOVED {
                self.delete_definitions(&whole)?;
                return Ok(Removed::SomeLeft);
            }
            if self.described(&arn)?.is_some_and(|there| ours(&there)) {
                whole.push(arn);
            }
        }
        self.delete_definitions(&whole)
    }

    fn delete_definitions(&self, arns: &[String]) -> Result<Removed, Failure> {
        for some in arns.chunks(DEFINITIONS_AT_ONCE) {
            let answer: DeletedAnswer = match self.call("DeleteTaskDefinitions", &json!({"taskDefinitions": some})) {
                Ok(answer) => answer,
                // Not AWS: ECS has had this since 2023.
                Err(refused) if is_unknown(refused.code()) => return Ok(Removed::DeregisteredOnly),
                Err(refused) => return Err(refused.into()),
            };
            for NotDeleted { arn, reason, detail } in answer.failures {
                let said = detail.map_or_else(|| reason.clone(), |detail| format!("{reason}: {detail}"));
                let failure = Failure::other(format!("ECS DeleteTaskDefinitions: {arn} is not deleted: {said}"));
                match said.to_ascii_uppercase() {
                    gone if ["NOT EXIST", "NOT_FOUND", "MISSING"].iter().any(|word| gone.contains(word)) => {}
                    // That it was deregistered has not come round yet.
                    active if active.contains("STILL IN ACTIVE") => return Err(failure.retry_after(crate::A_MOMENT)),
                    _ => return Err(failure),
                }
            }
        }
        Ok(Removed::Deleted)
    }

    /// Makes a service.
    pub fn create_service(&self, mut body: Value, key: &str) -> Result<EcsService, Refused> {
        if let Some(fields) = body.as_object_mut() {
            fields.insert("cluster".into(), self.cluster.into());
            fields.insert("clientToken".into(), token(key).into());
        }
        Ok(self.call::<ServiceAnswer>("CreateService", &body)?.service)
    }

    /// Changes a service.
    pub fn update_service(&self, name: &str, mut change: Value) -> Result<EcsService, Refused> {
        if let Some(fields) = change.as_object_mut() {
            fields.insert("cluster".into(), self.cluster.into());
            fields.insert("service".into(), name.into());
        }
        Ok(self.call::<ServiceAnswer>("UpdateService", &change)?.service)
    }

    /// Removes a service and stops its tasks.
    pub fn delete_service(&self, name: &str) -> Result<(), Failure> {
        let body = json!({"cluster": self.cluster, "service": name, "force": true});
        self.call::<Value>("DeleteService", &body).if_found().map(drop)
    }

    /// The tasks of a service in this state (`RUNNING` or `STOPPED`).
    pub fn tasks(&self, service: &str, desired_status: &str) -> Result<Vec<EcsTask>, Failure> {
        let body = json!({"cluster": self.cluster, "serviceName": service, "desiredStatus": desired_status, "maxResults": 100});
        let arns = self.list("ListTasks", &body)?;
        let mut all = Vec::new();
        for some in arns.chunks(TASKS_AT_ONCE) {
            let found: Described<EcsTask> =
                self.call("DescribeTasks", &json!({"cluster": self.cluster, "tasks": some}))?;
            all.extend(found.items);
        }
        Ok(all)
    }

    /// The newest of the deployments of a service that ECS drives itself, if there ever was one.
    pub fn last_deployment(&self, service: &str) -> Result<Option<ServiceDeployment>, Failure> {
        let briefs = pages("ListServiceDeployments", |token| {
            let mut body = json!({"cluster": self.cluster, "service": service, "maxResults": 100});
            if let (Some(token), Some(fields)) = (token, body.as_object_mut()) {
                fields.insert("nextToken".into(), token.into());
            }
            // It was described just before: that was of a moment ago, or it has ended meanwhile.
            let page: Option<DeploymentsPage> = self.call("ListServiceDeployments", &body).if_found()?;
            let page = page.ok_or_else(|| {
                let message = format!("ECS ListServiceDeployments: there is no service {service} any more");
                Failure::conflict(message).retry_after(crate::A_MOMENT)
            })?;
            Ok(Page { items: page.service_deployments, next: page.next_token })
        })?;
        let newest = briefs.iter().max_by(|one, other| one.created_at.total_cmp(&other.created_at));
        match newest {
            Some(brief) => self.deployment(&brief.service_deployment_arn),
            None => Ok(None),
        }
    }

    /// A deployment by its ARN.
    pub fn deployment(&self, arn: &str) -> Result<Option<ServiceDeployment>, Failure> {
        let body = json!({"serviceDeploymentArns": [arn]});
        let found: Option<Described<ServiceDeployment>> = self.call("DescribeServiceDeployments", &body).if_found()?;
        Ok(found.and_then(|found| found.items.into_iter().next()))
    }

    /// What each service revision runs: its ARN, and the ARN of its task definition.
    pub fn revision_definitions(&self, arns: &[String]) -> Result<BTreeMap<String, String>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Revision {
            service_revision_arn: String,
            task_definition: String,
        }
        if arns.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found: Described<Revision> =
            self.call("DescribeServiceRevisions", &json!({"serviceRevisionArns": arns}))?;
        Ok(found.items.into_iter().map(|revision| (revision.service_revision_arn, revision.task_definition)).collect())
    }

    /// Answers a hook that pauses a deployment.
    pub fn answer_hook(&self, deployment: &str, hook: &str, action: &str) -> Result<(), Refused> {
        let body = json!({"serviceDeploymentArn": deployment, "hookId": hook, "action": action});
        self.call::<Value>("ContinueServiceDeployment", &body).map(drop)
    }

    /// Stops a deployment and has ECS go back.
    pub fn roll_back(&self, deployment: &str) -> Result<(), Refused> {
        let body = json!({"serviceDeploymentArn": deployment, "stopType": "ROLLBACK"});
        self.call::<Value>("StopServiceDeployment", &body).map(drop)
    }
}

/// Whether a code says that there is no such action.
fn is_unknown(code: &str) -> bool {
    matches!(code, "UnknownOperationException" | "UnknownOperation" | "InvalidAction")
}

/// `…:task-definition/FAMILY:7` is of `FAMILY`.
pub fn family_of(arn: &str) -> Option<&str> {
    arn.rsplit('/').next()?.rsplit_once(':').map(|(family, _)| family)
}

/// A key in the 36 characters that a client token may have.
fn token(key: &str) -> String {
    basb_cloud_kit::digest(key.as_bytes()).chars().skip("sha256:".len()).take(32).collect()
}
