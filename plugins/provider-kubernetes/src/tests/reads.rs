//! What a plan may do: the host lets only reads through, and dry runs where the grant says that they are reads.

use basb_plugin::provider::Provider;
use serde_json::json;

use super::cluster::Model;
use super::{config, deploy, desired, done, gateway, service, share};
use crate::Kubernetes;

#[test]
fn plan_read_and_instances_change_nothing() {
    for config in [config(json!({})), gateway(json!({})), gateway(json!({"conflicts": "take"}))] {
        let model = Model::new();
        let cx = model.host().provider_context();
        Kubernetes::plan(&cx, &config, &desired("r1", 2)).unwrap();
        assert_eq!(model.changes(), [""; 0]);
        done(deploy(&model, &config, "r1", 2));
        done(share(&model, &config, &[("r1", 100.0)]));
        assert_ne!(model.changes(), [""; 0]);
        let image = json!({"spec": {"template": {"spec": {"containers": []}}}});
        model.meddle("kubectl", "deployments", "shop-prod-web-r1", &image);
        let before = model.object("deployments", "shop-prod-web-r1");
        Kubernetes::plan(&cx, &config, &desired("r1", 3)).unwrap();
        Kubernetes::read(&cx, &config, &service()).unwrap();
        Kubernetes::instances(&cx, &config, &service(), "r1").unwrap();
        assert_eq!(model.changes(), [""; 0]);
        assert_eq!(model.object("deployments", "shop-prod-web-r1"), before);
    }
}
