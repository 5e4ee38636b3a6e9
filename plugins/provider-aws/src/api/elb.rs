//! Elastic Load Balancing, version 2: the Query protocol.

use std::time::Duration;

use basb_cloud_kit::{Class, Client, IfFound, Page, Refused, pages};
use basb_plugin::Failure;
use basb_plugin::http::Request;

use super::Aws;
use super::query::Form;
use super::xml::{self, Element};

const VERSION: &str = "2015-12-01";
/// So many ARNs one `DescribeTags` may name (ELB API reference).
const TAGS_AT_ONCE: usize = 20;
/// The largest weight of a target group in a rule.
pub const MOST_WEIGHT: u16 = 999;

/// Elastic Load Balancing.
#[derive(Clone, Copy)]
pub struct ElbApi<'a> {
    client: Client<'a>,
    endpoint: &'a str,
}

/// A rule of a listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub arn: String,
    /// `default` for the default rule.
    pub priority: String,
    pub conditions: Vec<Condition>,
    /// Target groups and weights, where it forwards.
    pub targets: Vec<(String, u64)>,
    /// The kind of the action that ends it, such as `forward`.
    pub action: String,
    /// What it does besides, and what one plain action in its place would lose: actions before it by their kind, such as
    /// `authenticate-oidc`, and stickiness.
    pub beside: Vec<String>,
    pub tags: Vec<(String, String)>,
}

impl Rule {
    /// Whether one plain action can take the place of what this rule does.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Conflict`] where a login or stickiness would be lost by it.
    pub fn can_be_replaced(&self) -> Result<(), Failure> {
        if self.beside.is_empty() {
            return Ok(());
        }
        let beside = self.beside.join(", ");
        Err(Failure::conflict(format!(
            "the listener rule {} has more than one plain action: {beside}; basb-host writes a plain forward action, and \
             what is beside it would be lost, such as a login that users have to pass: take it out of the rule, or give the \
             service a rule of its own without it (`services.NAME.rule`, or `hosts` and `paths`)",
            self.arn
        ))
        .never_retry())
    }
}

/// When a rule applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    pub field: String,
    /// The name of the header, for `http-header`.
    pub header: Option<String>,
    pub values: Vec<String>,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleAction {
    /// Shares requests out.
    Forward(Vec<(String, u16)>),
    /// Answers 503: nobody has traffic.
    Nobody,
}

/// A target group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroup {
    pub arn: String,
    pub name: String,
    pub vpc: String,
    pub protocol: String,
    pub port: String,
    pub target_type: String,
    pub health_path: String,
    pub health_codes: String,
    /// Seconds between two checks.
    pub health_interval: String,
    /// Seconds that an answer to one may take; empty where the counterpart does not tell.
    pub health_timeout: String,
    pub healthy_threshold: String,
    pub unhealthy_threshold: String,
    pub load_balancers: Vec<String>,
}

/// What a target group should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedGroup {
    pub name: String,
    pub vpc: String,
    pub port: u16,
    pub target_type: String,
    pub health_path: String,
    pub health_codes: String,
    /// Seconds between two checks.
    pub health_interval: u32,
    /// Seconds that an answer to one may take: fewer than there are between two.
    pub health_timeout: u32,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    pub tags: Vec<(String, String)>,
}

/// How a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub id: String,
    pub state: String,
    pub description: Option<String>,
}

impl<'a> ElbApi<'a> {
    /// Elastic Load Balancing behind this endpoint.
    pub fn new(client: Client<'a>, endpoint: &'a str) -> ElbApi<'a> {
        ElbApi { client, endpoint }
    }

    fn call<T>(&self, action: &str, form: Form, read: impl Fn(Element<'_, '_>) -> T) -> Result<T, Refused> {
        let doing = format!("ELB {action}");
        let request = Request::post(self.endpoint)
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(form.into_body());
        let response = self.client.send::<Aws>(&doing, request)?;
        xml::result(&response.text(), action, read).map_err(|why| self.client.not_readable(&doing, &response, &why))
    }

    /// The rules of a listener with their tags.
    pub fn rules(&self, listener: &str) -> Result<Vec<Rule>, Failure> {
        self.described_rules(|form| form.set("ListenerArn", listener))
    }

    /// A rule by its ARN with its tags, if it is there.
    pub fn rule(&self, arn: &str) -> Result<Option<Rule>, Failure> {
        Ok(self.described_rules(|form| form.list("RuleArns", &[arn]))?.into_iter().next())
    }

    fn described_rules(&self, which: impl Fn(&mut Form)) -> Result<Vec<Rule>, Failure> {
        let mut rules = pages("DescribeRules", |marker| {
            let mut form = Form::new("DescribeRules", VERSION);
            which(&mut form);
            form.set_some("Marker", marker);
            let read = |result: Element<'_, '_>| Page {
                items: result.members("Rules", rule),
                next: result.text("NextMarker"),
            };
            Ok(self.call("DescribeRules", form, read)?)
        })?;
        let arns: Vec<String> =
            rules.iter().filter(|rule| rule.priority != "default").map(|rule| rule.arn.clone()).collect();
        for some in arns.chunks(TAGS_AT_ONCE) {
            let mut form = Form::new("DescribeTags", VERSION);
            form.list("ResourceArns", some);
            let described = self.call("DescribeTags", form, |result| {
                result.members("TagDescriptions", |of| {
                    (of.text("ResourceArn").unwrap_or_default(), of.members("Tags", tag))
                })
            });
            // A rule of the list is gone: the list was of a moment ago.
            let described = described.if_found()?.ok_or_else(|| {
                Failure::conflict("ELB DescribeRules lists a rule that ELB DescribeTags does not know any more")
                    .retry_after(crate::A_MOMENT)
            })?;
            for (arn, tags) in described {
                if let Some(rule) = rules.iter_mut().find(|rule| rule.arn == arn) {
                    rule.tags = tags;
                }
            }
        }
        Ok(rules)
    }

    /// Makes a rule.
    pub fn create_rule(
        &self,
        listener: &str,
        priority: u32,
        conditions: &[Condition],
        action: &RuleAction,
        tags: &[(String, String)],
    ) -> Result<Rule, Failure> {
        let mut form = Form::new("CreateRule", VERSION);
        form.set("ListenerArn", listener);
        form.set("Priority", priority.to_string());
        set_conditions(&mut form, conditions);
        set_action(&mut form, action);
        form.tags(tags);
        let made = self.call("CreateRule", form, |result| result.members("Rules", rule).into_iter().next())?;
        made.map(|rule| Rule { tags: tags.to_vec(), ..rule }).ok_or_else(|| unnamed("CreateRule", "rule"))
    }

    /// Changes what a rule does, and when where conditions are given. Its actions are one list for AWS, written as a whole.
    ///
    /// # Errors
    /// What AWS says, and as [`Rule::can_be_replaced`].
    pub fn modify_rule(
        &self,
        rule: &Rule,
        conditions: Option<&[Condition]>,
        action: &RuleAction,
    ) -> Result<(), Failure> {
        rule.can_be_replaced()?;
        let mut form = Form::new("ModifyRule", VERSION);
        form.set("RuleArn", &rule.arn);
        if let Some(conditions) = conditions {
            set_conditions(&mut form, conditions);
        }
        set_action(&mut form, action);
        Ok(self.call("ModifyRule", form, |_| ())?)
    }

    /// Changes when a rule applies, and nothing else of it: what is left out of `ModifyRule` stays as it is.
    pub fn modify_conditions(&self, arn: &str, conditions: &[Condition]) -> Result<(), Failure> {
        let mut form = Form::new("ModifyRule", VERSION);
        form.set("RuleArn", arn);
        set_conditions(&mut form, conditions);
        Ok(self.call("ModifyRule", form, |_| ())?)
    }

    /// Removes a rule; one that is not there is removed.
    pub fn delete_rule(&self, arn: &str) -> Result<(), Failure> {
        let mut form = Form::new("DeleteRule", VERSION);
        form.set("RuleArn", arn);
        self.call("DeleteRule", form, |_| ()).if_found().map(drop)
    }

    /// A target group by its name, if it is there.
    pub fn group(&self, name: &str) -> Result<Option<TargetGroup>, Failure> {
        Ok(self.described_groups("Names", name)?.into_iter().find(|group| group.name == name))
    }

    /// The load balancers that use a target group, by their ARNs.
    pub fn load_balancers_of(&self, group: &str) -> Result<Vec<String>, Failure> {
        let found = self.described_groups("TargetGroupArns", group)?.into_iter().find(|there| there.arn == group);
        Ok(found.map(|there| there.load_balancers).unwrap_or_default())
    }

    fn described_groups(&self, by: &str, value: &str) -> Result<Vec<TargetGroup>, Failure> {
        let mut form = Form::new("DescribeTargetGroups", VERSION);
        form.list(by, &[value]);
        let found =
            self.call("DescribeTargetGroups", form, |result| result.members("TargetGroups", group)).if_found()?;
        Ok(found.unwrap_or_default())
    }

    /// The listeners of a load balancer, by their ARNs; none where it is not there.
    pub fn listeners(&self, load_balancer: &str) -> Result<Vec<String>, Failure> {
        pages("DescribeListeners", |marker| {
            let mut form = Form::new("DescribeListeners", VERSION);
            form.set("LoadBalancerArn", load_balancer);
            form.set_some("Marker", marker);
            let read = |result: Element<'_, '_>| Page {
                items: result.members("Listeners", |of| of.text("ListenerArn").unwrap_or_default()),
                next: result.text("NextMarker"),
            };
            let page = self.call("DescribeListeners", form, read).if_found()?;
            Ok(page.unwrap_or(Page { items: Vec::new(), next: None }))
        })
    }

    /// Makes a target group.
    pub fn create_group(&self, wanted: &WantedGroup) -> Result<TargetGroup, Failure> {
        let mut form = Form::new("CreateTargetGroup", VERSION);
        form.set("Name", &wanted.name);
        form.set("Protocol", "HTTP");
        form.set("Port", wanted.port.to_string());
        form.set("VpcId", &wanted.vpc);
        form.set("TargetType", &wanted.target_type);
        form.set("HealthCheckEnabled", "true");
        form.set("HealthCheckProtocol", "HTTP");
        set_check(&mut form, wanted);
        form.tags(&wanted.tags);
        let made =
            self.call("CreateTargetGroup", form, |result| result.members("TargetGroups", group).into_iter().next())?;
        made.ok_or_else(|| unnamed("CreateTargetGroup", "target group"))
    }

    /// Changes how the targets of a group are checked.
    pub fn modify_group(&self, arn: &str, wanted: &WantedGroup) -> Result<(), Failure> {
        let mut form = Form::new("ModifyTargetGroup", VERSION);
        form.set("TargetGroupArn", arn);
        set_check(&mut form, wanted);
        Ok(self.call("ModifyTargetGroup", form, |_| ())?)
    }

    /// How long a target of a group may finish its requests, in seconds.
    pub fn drain_seconds(&self, arn: &str) -> Result<Option<u64>, Failure> {
        let mut form = Form::new("DescribeTargetGroupAttributes", VERSION);
        form.set("TargetGroupArn", arn);
        let attributes =
            self.call("DescribeTargetGroupAttributes", form, |result| result.members("Attributes", tag))?;
        let found = attributes.into_iter().find(|(key, _)| key == DRAIN);
        Ok(found.and_then(|(_, value)| value.parse().ok()))
    }

    /// Sets how long a target of a group may finish its requests.
    pub fn set_drain_seconds(&self, arn: &str, seconds: u64) -> Result<(), Failure> {
        let mut form = Form::new("ModifyTargetGroupAttributes", VERSION);
        form.set("TargetGroupArn", arn);
        form.set("Attributes.member.1.Key", DRAIN);
        form.set("Attributes.member.1.Value", seconds.to_string());
        Ok(self.call("ModifyTargetGroupAttributes", form, |_| ())?)
    }

    /// Removes a target group; one that is not there is removed.
    pub fn delete_group(&self, arn: &str) -> Result<(), Refused> {
        let mut form = Form::new("DeleteTargetGroup", VERSION);
        form.set("TargetGroupArn", arn);
        match self.call("DeleteTargetGroup", form, |_| ()) {
            Err(refused) if refused.class() == Some(Class::NotFound) => Ok(()),
            answer => answer,
        }
    }

    /// How the targets of a group are.
    pub fn health(&self, arn: &str) -> Result<Vec<Target>, Failure> {
        let mut form = Form::new("DescribeTargetHealth", VERSION);
        form.set("TargetGroupArn", arn);
        Ok(self.call("DescribeTargetHealth", form, |result| {
            result.members("TargetHealthDescriptions", |of| {
                let health = of.child("TargetHealth");
                let said = |name| health.and_then(|health| health.text(name));
                Target {
                    id: of.child("Target").and_then(|target| target.text("Id")).unwrap_or_default(),
                    state: said("State").unwrap_or_default(),
                    description: said("Description").or_else(|| said("Reason")),
                }
            })
        })?)
    }
}

const DRAIN: &str = "deregistration_delay.timeout_seconds";

fn set_conditions(form: &mut Form, conditions: &[Condition]) {
    for (index, condition) in conditions.iter().enumerate() {
        let at = format!("Conditions.member.{}", index + 1);
        form.set(&format!("{at}.Field"), &condition.field);
        let config = match condition.field.as_str() {
            "host-header" => "HostHeaderConfig",
            "http-header" => "HttpHeaderConfig",
            _ => "PathPatternConfig",
        };
        form.set_some(&format!("{at}.{config}.HttpHeaderName"), condition.header.as_ref());
        form.list(&format!("{at}.{config}.Values"), &condition.values);
    }
}

fn set_check(form: &mut Form, wanted: &WantedGroup) {
    form.set("HealthCheckPath", &wanted.health_path);
    form.set("Matcher.HttpCode", &wanted.health_codes);
    form.set("HealthCheckIntervalSeconds", wanted.health_interval.to_string());
    form.set("HealthCheckTimeoutSeconds", wanted.health_timeout.to_string());
    form.set("HealthyThresholdCount", wanted.healthy_threshold.to_string());
    form.set("UnhealthyThresholdCount", wanted.unhealthy_threshold.to_string());
}

/// An answer that does not say what was made: whether it was is in doubt, and another attempt finds it.
fn unnamed(call: &str, what: &str) -> Failure {
    Failure::timed_out(format!("ELB {call}: the answer names no {what}")).retry_after(Duration::from_secs(1))
}

fn set_action(form: &mut Form, action: &RuleAction) {
    match action {
        RuleAction::Forward(targets) => {
            form.set("Actions.member.1.Type", "forward");
            for (index, (arn, weight)) in targets.iter().enumerate() {
                let at = format!("Actions.member.1.ForwardConfig.TargetGroups.member.{}", index + 1);
                form.set(&format!("{at}.TargetGroupArn"), arn);
                form.set(&format!("{at}.Weight"), weight.to_string());
            }
        }
        RuleAction::Nobody => {
            form.set("Actions.member.1.Type", "fixed-response");
            form.set("Actions.member.1.FixedResponseConfig.StatusCode", "503");
            form.set("Actions.member.1.FixedResponseConfig.ContentType", "text/plain");
            form.set("Actions.member.1.FixedResponseConfig.MessageBody", "no revision of this service has traffic");
        }
    }
}

fn tag(element: Element<'_, '_>) -> (String, String) {
    (element.text("Key").unwrap_or_default(), element.text("Value").unwrap_or_default())
}

fn rule(element: Element<'_, '_>) -> Rule {
    let actions = element.members("Actions", |action| {
        let config = action.child("ForwardConfig");
        let mut targets = config.map_or_else(Vec::new, |config| {
            config.members("TargetGroups", |of| {
                let weight = of.text("Weight").and_then(|text| text.parse().ok()).unwrap_or(1);
                (of.text("TargetGroupArn").unwrap_or_default(), weight)
            })
        });
        if targets.is_empty()
            && let Some(arn) = action.text("TargetGroupArn")
        {
            targets.push((arn, 1));
        }
        let sticky = config.and_then(|config| config.child("TargetGroupStickinessConfig")?.text("Enabled"));
        (action.text("Type").unwrap_or_default(), targets, sticky.as_deref() == Some("true"))
    });
    // The list has its own order; the one action that ends a rule is told by its kind.
    let ends = |kind: &str| matches!(kind, "forward" | "redirect" | "fixed-response");
    let last = actions.iter().rposition(|(kind, ..)| ends(kind)).or(actions.len().checked_sub(1));
    let (mut action, mut targets, mut beside) = (String::new(), Vec::new(), Vec::new());
    for (index, (kind, to, sticky)) in actions.into_iter().enumerate() {
        if sticky {
            beside.push("stickiness of its target groups".to_owned());
        }
        if Some(index) == last {
            (action, targets) = (kind, to);
        } else {
            beside.push(kind);
        }
    }
    Rule {
        arn: element.text("RuleArn").unwrap_or_default(),
        priority: element.text("Priority").unwrap_or_default(),
        conditions: element.members("Conditions", condition),
        targets,
        action,
        beside,
        tags: Vec::new(),
    }
}

fn condition(element: Element<'_, '_>) -> Condition {
    let config =
        ["HostHeaderConfig", "PathPatternConfig", "HttpHeaderConfig"].into_iter().find_map(|name| element.child(name));
    let values = config.map(|config| config.texts("Values")).filter(|values| !values.is_empty());
    Condition {
        field: element.text("Field").unwrap_or_default(),
        header: config.and_then(|config| config.text("HttpHeaderName")),
        values: values.unwrap_or_else(|| element.texts("Values")),
    }
}

fn group(element: Element<'_, '_>) -> TargetGroup {
    let text = |name| element.text(name).unwrap_or_default();
    TargetGroup {
        arn: text("TargetGroupArn"),
        name: text("TargetGroupName"),
        vpc: text("VpcId"),
        protocol: text("Protocol"),
        port: text("Port"),
        target_type: text("TargetType"),
        health_path: text("HealthCheckPath"),
        health_codes: element.child("Matcher").and_then(|matcher| matcher.text("HttpCode")).unwrap_or_default(),
        health_interval: text("HealthCheckIntervalSeconds"),
        health_timeout: text("HealthCheckTimeoutSeconds"),
        healthy_threshold: text("HealthyThresholdCount"),
        unhealthy_threshold: text("UnhealthyThresholdCount"),
        load_balancers: element.texts("LoadBalancerArns"),
    }
}
