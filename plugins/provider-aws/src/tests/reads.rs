//! What a plan may do: the host lets only reads through, and tells them by action, method and path.

use basb_plugin::provider::{Action, Provider};
use serde_json::json;

use super::cloud::Cloud;
use super::{desired, ecs_config, service};
use crate::Aws;
use crate::api::ecs::{EcsService, EcsTask, ServiceDeployment};

#[test]
fn plan_read_and_instances_send_reads_only() {
    for more in [
        json!({}),
        json!({"native": {"role": "arn:role"}}),
        json!({"preview": {"host": "{revision}.example", "listener": "arn:other"}}),
    ] {
        let config = ecs_config(more);
        let cloud = Cloud::new();
        let cx = cloud.host().provider_context();
        let action = Action::Deploy(Box::new(desired("r1", 2)));
        Aws::plan(&cx, &config, &desired("r1", 2)).unwrap();
        assert_eq!(cloud.changes(), [""; 0]);
        Aws::apply(&cx, &config, "k", &action, None).unwrap();
        assert_ne!(cloud.changes(), [""; 0]);
        Aws::plan(&cx, &config, &desired("r1", 3)).unwrap();
        Aws::read(&cx, &config, &service()).unwrap();
        Aws::instances(&cx, &config, &service(), "r1").unwrap();
        assert_eq!(cloud.changes(), [""; 0]);
    }
}

/// A `null` in one field is no reason to read nothing of the whole.
#[test]
fn null_of_ecs_is_what_is_not_there() {
    let null = json!({"serviceName": "web", "status": "ACTIVE", "desiredCount": 2, "runningCount": null, "tags": null,
        "loadBalancers": null, "deployments": null, "events": null, "capacityProviderStrategy": null,
        "networkConfiguration": null, "healthCheckGracePeriodSeconds": null});
    let service: EcsService = serde_json::from_value(null).unwrap();
    assert_eq!((service.service_name.as_str(), service.desired_count, service.running_count), ("web", 2, 0));
    assert!(service.load_balancers.is_empty() && service.events.is_empty());
    let task: EcsTask = serde_json::from_value(json!({"taskArn": "t", "containers": null})).unwrap();
    assert!(task.containers.is_empty());
    let null = json!({"status": "PENDING", "sourceServiceRevisions": null, "lifecycleHookDetails": null});
    let deployment: ServiceDeployment = serde_json::from_value(null).unwrap();
    assert!(deployment.source_service_revisions.is_empty() && deployment.lifecycle_hook_details.is_empty());
    // What names a thing is no field that may be missing.
    serde_json::from_value::<EcsService>(json!({"serviceName": null})).unwrap_err();
}
