//! What a plan may do: the host lets only reads through, and tells them by action, method and path.

use basb_plugin::provider::{Action, Provider};
use serde_json::json;

use super::cloud::Cloud;
use super::{desired, ecs_config, service};
use crate::Aws;

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
