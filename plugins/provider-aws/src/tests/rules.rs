//! Listener rules that do more than lead requests on, and rules of ours whose hosts or paths changed.

use std::collections::BTreeMap;

use basb_plugin::provider::{Action, Progress, Provider};
use basb_plugin::{Failure, FailureCode, Retry, Weight};
use serde_json::json;

use super::cloud::Cloud;
use super::{desired, ecs_config, service};
use crate::{Aws, Config};

const THEIRS: &str = "arn:rule/theirs";
const LOGIN: &[(&str, &str)] = &[("Actions.member.1.Type", "authenticate-oidc"), ("Actions.member.2.Type", "forward")];
const COOKIE: (&str, &str) = ("Actions.member.1.ForwardConfig.TargetGroupStickinessConfig.Enabled", "true");

fn theirs(native: bool) -> Config {
    let native = if native { json!({"native": {"role": "arn:role"}}) } else { json!({}) };
    let mut config = ecs_config(native);
    config.services.get_mut("web").unwrap().rule = Some(THEIRS.into());
    config
}

/// A rule of others with these actions, of which the last leads to a group of theirs.
fn with_rule(actions: &[(&str, &str)]) -> Cloud {
    let cloud = Cloud::new();
    let rule: BTreeMap<String, String> = [("Priority", "7")]
        .iter()
        .chain(actions)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    cloud.0.borrow_mut().rules.insert(THEIRS.into(), rule);
    cloud
}

fn plan(cloud: &Cloud, config: &Config, revision: &str) -> Result<basb_plugin::provider::ServicePlan, Failure> {
    Aws::plan(&cloud.host().provider_context(), config, &desired(revision, 2))
}

fn apply(cloud: &Cloud, config: &Config, revision: &str) -> Result<Progress, Failure> {
    let action = Action::Deploy(Box::new(desired(revision, 2)));
    Aws::apply(&cloud.host().provider_context(), config, revision, &action, None)
}

fn traffic(cloud: &Cloud, config: &Config, weights: &[(&str, u16)]) -> Result<Progress, Failure> {
    let weights: Vec<_> =
        weights.iter().map(|(name, weight)| ((*name).to_owned(), Weight::from_hundredths(*weight))).collect();
    Aws::traffic(&cloud.host().provider_context(), config, "k", &service(), &weights, None)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, lost: &str) {
    let failure = result.unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Conflict, Retry::Never), "{failure:?}");
    for part in [THEIRS, lost, "would be lost", "take it out of the rule"] {
        assert!(failure.message.contains(part), "{part}: {failure:?}");
    }
}

/// One plain action in the place of all of them would let everybody in without a login.
#[test]
fn a_rule_with_a_login_or_stickiness_is_not_taken_over() {
    let sticky: Vec<_> = [("Actions.member.1.Type", "forward"), COOKIE].into();
    for (actions, lost) in [(LOGIN, "authenticate-oidc"), (&sticky, "stickiness of its target groups")] {
        for native in [false, true] {
            let (cloud, config) = (with_rule(actions), theirs(native));
            refused(plan(&cloud, &config, "r1"), lost);
            let before = cloud.0.borrow().rules[THEIRS].clone();
            if native {
                refused(apply(&cloud, &config, "r1"), lost);
            } else {
                apply(&cloud, &config, "r1").unwrap();
                refused(traffic(&cloud, &config, &[("r1", 10_000)]), lost);
                refused(traffic(&cloud, &config, &[]), lost);
            }
            assert_eq!(cloud.0.borrow().rules[THEIRS], before);
        }
    }
}

/// What somebody has added since is kept as well, also where a revision is retired; nothing is refused where nothing would
/// be changed.
#[test]
fn what_was_added_to_a_rule_later_is_not_lost_either() {
    let (cloud, config) = (with_rule(&[("Actions.member.1.Type", "forward")]), theirs(false));
    apply(&cloud, &config, "r1").unwrap();
    apply(&cloud, &config, "r2").unwrap();
    traffic(&cloud, &config, &[("r1", 10_000)]).unwrap();
    cloud.0.borrow_mut().rules.get_mut(THEIRS).unwrap().insert(COOKIE.0.into(), COOKIE.1.into());
    assert_eq!(plan(&cloud, &config, "r1").unwrap().actions, []);
    refused(plan(&cloud, &config, "r2"), "stickiness");
    refused(traffic(&cloud, &config, &[("r2", 10_000)]), "stickiness");

    // A group that the rule names with weight 0 has to be taken out of it before it can go.
    let at = "Actions.member.1.ForwardConfig.TargetGroups.member.2";
    let group = cloud.0.borrow().groups[&crate::names::of_group(&service(), "r2")].clone();
    let more = [(format!("{at}.TargetGroupArn"), group), (format!("{at}.Weight"), "0".to_owned())];
    cloud.0.borrow_mut().rules.get_mut(THEIRS).unwrap().extend(more);
    cloud.0.borrow_mut().running.insert(crate::names::of_revision(&service(), "r2"), 0);
    refused(Aws::retire(&cloud.host().provider_context(), &config, "k", &service(), "r2", None), "stickiness");
}

/// A rule that ECS shifts by is ECS's to change.
#[test]
fn a_rule_that_ecs_has_already_is_left_to_it() {
    let (cloud, config) = (with_rule(&[("Actions.member.1.Type", "fixed-response")]), theirs(true));
    apply(&cloud, &config, "r1").unwrap();
    cloud.0.borrow_mut().rules.get_mut(THEIRS).unwrap().insert(COOKIE.0.into(), COOKIE.1.into());
    plan(&cloud, &config, "r2").unwrap();
}

/// Hosts that are for `web` with another configuration, where the rule is ours.
fn with_hosts(native: bool, hosts: &[&str], paths: &[&str]) -> Config {
    let mut config = ecs_config(if native { json!({"native": {"role": "arn:role"}}) } else { json!({}) });
    let web = config.services.get_mut("web").unwrap();
    web.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    web.paths = paths.iter().map(|path| (*path).to_owned()).collect();
    config
}

/// The rule for users: when it applies, and where it leads.
fn users_rule(cloud: &Cloud) -> (Vec<String>, Vec<String>) {
    let state = cloud.0.borrow();
    let of_all = |rule: &&BTreeMap<String, String>| rule.values().all(|value| value != "basb-host:revision");
    let rule = state.rules.values().find(of_all).unwrap();
    let values = |list: &str, end: &str| {
        let of = |(key, _): &(&String, &String)| key.starts_with(list) && key.contains(end);
        rule.iter().filter(of).map(|(_, value)| value.clone()).collect()
    };
    (values("Conditions", "Values"), values("Actions", "TargetGroupArn"))
}

#[test]
fn other_hosts_and_paths_are_planned_and_come_with_the_next_shift() {
    let cloud = Cloud::new();
    let before = with_hosts(false, &["web.example"], &[]);
    apply(&cloud, &before, "r1").unwrap();
    traffic(&cloud, &before, &[("r1", 10_000)]).unwrap();
    let after = with_hosts(false, &["www.example", "web.example"], &["/api/*"]);
    let seen = plan(&cloud, &after, "r1").unwrap();
    let [change] = &seen.actions.last().unwrap().changes[..] else { panic!("{seen:?}") };
    assert_eq!(
        (change.path.as_str(), change.before.as_deref(), change.after.as_deref()),
        (
            "rule.conditions",
            Some("host-header web.example"),
            Some("host-header www.example or web.example, path-pattern /api/*")
        )
    );
    assert!(seen.actions.last().unwrap().summary.contains("which requests the listener rule"), "{seen:?}");
    let (_, leads) = users_rule(&cloud);
    traffic(&cloud, &after, &[("r1", 10_000)]).unwrap();
    assert_eq!(users_rule(&cloud), (vec!["www.example".into(), "web.example".into(), "/api/*".into()], leads));
    // In another order they are the same.
    let turned = with_hosts(false, &["web.example", "www.example"], &["/api/*"]);
    assert!(
        plan(&cloud, &turned, "r1").unwrap().actions.iter().all(|action| !action.summary.contains("which requests"))
    );
}

#[test]
fn ecss_own_rule_gets_other_hosts_and_keeps_its_weights() {
    let cloud = Cloud::new();
    apply(&cloud, &with_hosts(true, &["web.example"], &[]), "r1").unwrap();
    cloud.0.borrow_mut().deployment.as_mut().unwrap()["status"] = "SUCCESSFUL".into();
    let after = with_hosts(true, &["www.example"], &[]);
    let seen = plan(&cloud, &after, "r2").unwrap();
    assert!(seen.actions[0].summary.contains("which requests the listener rule"), "{seen:?}");
    // ECS has shifted all of it to the other side.
    let at = "Actions.member.1.ForwardConfig.TargetGroups.member";
    for rule in cloud.0.borrow_mut().rules.values_mut() {
        rule.insert(format!("{at}.1.Weight"), "0".into());
        rule.insert(format!("{at}.2.Weight"), "100".into());
    }
    apply(&cloud, &after, "r2").unwrap();
    assert_eq!(users_rule(&cloud).0, ["www.example"]);
    for rule in cloud.0.borrow().rules.values() {
        let weights = (rule[&format!("{at}.1.Weight")].as_str(), rule[&format!("{at}.2.Weight")].as_str());
        assert_eq!(weights, ("0", "100"), "they are ECS's");
    }
}

/// What a rule of others applies to is theirs to say.
#[test]
fn the_conditions_of_a_rule_of_others_are_left_alone() {
    let (cloud, mut config) = (with_rule(&[("Actions.member.1.Type", "forward")]), theirs(false));
    cloud.0.borrow_mut().rules.get_mut(THEIRS).unwrap().extend([
        ("Conditions.member.1.Field".into(), "host-header".into()),
        ("Conditions.member.1.HostHeaderConfig.Values.member.1".into(), "theirs.example".into()),
    ]);
    config.services.get_mut("web").unwrap().hosts = vec!["ours.example".into()];
    apply(&cloud, &config, "r1").unwrap();
    traffic(&cloud, &config, &[("r1", 10_000)]).unwrap();
    assert_eq!(
        cloud.0.borrow().rules[THEIRS]["Conditions.member.1.HostHeaderConfig.Values.member.1"],
        "theirs.example"
    );
    assert_eq!(plan(&cloud, &config, "r1").unwrap().actions, []);
}

/// Puts a rule with the conditions of `web` at the listener, with or without tags.
fn put_rule(cloud: &Cloud, priority: &str, tags: &[(&str, &str)]) {
    let mut rule: BTreeMap<String, String> = [
        ("Priority", priority),
        ("Actions.member.1.Type", "forward"),
        ("Conditions.member.1.Field", "host-header"),
        ("Conditions.member.1.HostHeaderConfig.Values.member.1", "web.example"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    for (index, (key, value)) in tags.iter().enumerate() {
        rule.insert(format!("Tags.member.{}.Key", index + 1), (*key).to_owned());
        rule.insert(format!("Tags.member.{}.Value", index + 1), (*value).to_owned());
    }
    cloud.0.borrow_mut().rules.insert(THEIRS.into(), rule);
}

#[track_caller]
fn comes_first<T: std::fmt::Debug>(result: Result<T, Failure>, priority: &str) {
    let failure = result.unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Conflict, Retry::Never), "{failure:?}");
    for part in [THEIRS, &format!("(priority {priority})"), "`services.web.rule`", "host-header web.example"] {
        assert!(failure.message.contains(part), "{part}: {failure:?}");
    }
}

/// Everything would seem done, and users would go by the other rule.
#[test]
fn a_rule_of_others_that_takes_every_request_first_is_refused() {
    let config = with_hosts(false, &["web.example"], &[]);
    let of_another = [
        ("basb-host:managed-by", "basb-host"),
        ("basb-host:deployment", "shop"),
        ("basb-host:environment", "other"),
        ("basb-host:service", "web"),
    ];
    for tags in [&[][..], &of_another] {
        let cloud = Cloud::new();
        put_rule(&cloud, "7", tags);
        comes_first(plan(&cloud, &config, "r1"), "7");
        apply(&cloud, &config, "r1").unwrap();
        comes_first(traffic(&cloud, &config, &[("r1", 10_000)]), "7");
        assert!(!cloud.changes().contains(&"ModifyRule".to_owned()));
        assert!(traffic(&cloud, &config, &[]).is_ok(), "nobody is asked for");
        // Ours lead nowhere for users either where ECS shifts.
        let native = with_hosts(true, &["web.example"], &[]);
        comes_first(plan(&cloud, &native, "r1"), "7");
        comes_first(apply(&cloud, &native, "r1"), "7");
    }
    // Behind ours, or about something else, it takes nothing.
    let cloud = Cloud::new();
    put_rule(&cloud, "40000", &[]);
    plan(&cloud, &config, "r1").unwrap();
    apply(&cloud, &config, "r1").unwrap();
    traffic(&cloud, &config, &[("r1", 10_000)]).unwrap();
    plan(&cloud, &with_hosts(false, &["web.example"], &["/api/*"]), "r1").unwrap();
}

/// A rule of ours that has lost its tags is not found any more, and another one behind it would lead nobody anywhere.
#[test]
fn a_rule_of_ours_without_its_tags_is_refused_and_not_made_twice() {
    let (cloud, config) = (Cloud::new(), with_hosts(false, &["web.example"], &[]));
    apply(&cloud, &config, "r1").unwrap();
    traffic(&cloud, &config, &[("r1", 10_000)]).unwrap();
    let arn = {
        let mut state = cloud.0.borrow_mut();
        let of_all = |(_, rule): &(&String, &mut BTreeMap<String, String>)| {
            rule.values().all(|value| value != "basb-host:revision")
        };
        let (arn, rule) = state.rules.iter_mut().find(of_all).unwrap();
        rule.retain(|key, _| !key.starts_with("Tags"));
        arn.clone()
    };
    let refused = traffic(&cloud, &config, &[("r1", 10_000)]).unwrap_err();
    assert!(refused.message.contains(&format!("{arn} (priority 30000)")), "{refused:?}");
    assert!(refused.message.contains("ours (priority 30001)"), "{refused:?}");
    assert_eq!(cloud.0.borrow().rules.len(), 2);
}

/// Where ours is there, the plan refuses; a change of traffic may be the way back, so that only tells.
#[test]
fn a_way_back_is_not_kept_from_by_a_rule_that_came_first_later() {
    let (cloud, config) = (Cloud::new(), with_hosts(false, &["web.example"], &[]));
    apply(&cloud, &config, "r1").unwrap();
    apply(&cloud, &config, "r2").unwrap();
    traffic(&cloud, &config, &[("r1", 5_000), ("r2", 5_000)]).unwrap();
    put_rule(&cloud, "7", &[]);
    comes_first(plan(&cloud, &config, "r2"), "7");
    let host = cloud.host();
    cloud.changes();
    let all = [("r1".to_owned(), Weight::FULL)];
    Aws::traffic(&host.provider_context(), &config, "k", &service(), &all, None).unwrap();
    assert_eq!(cloud.changes(), ["ModifyRule"]);
    let [(level, line)] = &host.log_lines()[..] else { panic!("{:?}", host.log_lines()) };
    assert!(matches!(level, basb_plugin::doors::Level::Warn), "{level:?}");
    assert!(line.contains(THEIRS) && line.contains("no request would ever reach"), "{line}");
}
