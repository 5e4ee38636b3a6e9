//! A model of ECS and Elastic Load Balancing, from their API references, for one cluster and one listener.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::testing::{FakeHost, Reply};
use serde_json::{Value, json};

/// What AWS has.
#[derive(Default)]
pub struct State {
    pub services: BTreeMap<String, Value>,
    pub definitions: Vec<Value>,
    /// Target groups: ARN by name.
    pub groups: BTreeMap<String, String>,
    /// How each of them checks its targets, and its port: the form that made it, by ARN.
    pub checks: BTreeMap<String, BTreeMap<String, String>>,
    /// Rules by ARN: the form that made them.
    pub rules: BTreeMap<String, BTreeMap<String, String>>,
    pub drains: BTreeMap<String, String>,
    /// The one deployment that ECS drives, if there is one.
    pub deployment: Option<Value>,
    /// How many tasks of each service run; all that there should be unless it is here.
    pub running: BTreeMap<String, u64>,
    tokens: BTreeSet<String>,
    made: u32,
    /// Failures in front of actions: taken in order.
    pub faults: Vec<Fault>,
    /// Each page of a list has so many items.
    pub page: usize,
    /// Every action.
    pub actions: Vec<String>,
}

/// A failure in front of an action, or behind its effect.
pub struct Fault {
    pub action: &'static str,
    pub kind: FaultKind,
}

pub enum FaultKind {
    /// It has no effect.
    Before(Result<Response, HttpError>),
    /// It has its effect, and the answer is lost.
    Lost,
}

/// AWS, shared with the test.
#[derive(Clone, Default)]
pub struct Cloud(pub Rc<RefCell<State>>);

type Answer = Result<Response, HttpError>;

impl Cloud {
    pub fn new() -> Cloud {
        let cloud = Cloud::default();
        cloud.0.borrow_mut().page = 2;
        cloud
    }

    pub fn host(&self) -> FakeHost {
        let cloud = self.clone();
        FakeHost::new().serve(move |request| Some(cloud.answer(request)))
    }

    pub fn fault(&self, action: &'static str, kind: FaultKind) {
        self.0.borrow_mut().faults.push(Fault { action, kind });
    }

    /// Actions since the last time, those that change something only.
    pub fn changes(&self) -> Vec<String> {
        let actions = std::mem::take(&mut self.0.borrow_mut().actions);
        actions
            .into_iter()
            .filter(|action| !["Describe", "List", "Get"].iter().any(|read| action.starts_with(read)))
            .collect()
    }

    fn answer(&self, request: &Request) -> Answer {
        let text = String::from_utf8(request.body.clone()).unwrap();
        let (action, form) = match request.header_value("x-amz-target") {
            Some(target) => {
                assert_eq!(request.header_value("content-type"), Some("application/x-amz-json-1.1"));
                (target.split('.').nth(1).unwrap().to_owned(), None)
            }
            None => {
                let form = form(&text);
                (form["Action"].clone(), Some(form))
            }
        };
        let mut state = self.0.borrow_mut();
        state.actions.push(action.clone());
        let fault = state.faults.iter().position(|fault| fault.action == action);
        let fault = fault.map(|index| state.faults.remove(index));
        if let Some(Fault { kind: FaultKind::Before(answer), .. }) = fault {
            return answer;
        }
        let answer = match form {
            Some(form) => state.elb(&action, &form),
            None => state.ecs(&action, &serde_json::from_str(&text).unwrap()),
        };
        if fault.is_some() {
            return Err(HttpError::Broken("connection reset".into()));
        }
        Ok(answer)
    }
}

fn form(text: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), decode(value)))
        .collect()
}

pub fn ecs_error(status: u16, code: &str, message: &str) -> Response {
    let mut reply = Reply::json(status, &json!({"__type": code, "message": message}));
    reply.headers.push(("x-amzn-requestid".into(), "req-1".into()));
    reply
}

pub fn elb_error(status: u16, code: &str, message: &str) -> Response {
    let text = format!(
        "<ErrorResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>req-2</RequestId></ErrorResponse>"
    );
    Reply::text(status, &text)
}

impl State {
    fn next(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// A page of a list, told by its place in the whole.
    fn page<T: Clone>(&self, all: &[T], token: Option<&str>) -> (Vec<T>, Option<String>) {
        let from: usize = token.map_or(0, |token| token.parse().unwrap());
        let to = (from + self.page).min(all.len());
        (all[from..to].to_vec(), (to < all.len()).then(|| to.to_string()))
    }

    fn described(&self, name: &str) -> Value {
        let mut service = self.services[name].clone();
        let desired = service["desiredCount"].as_u64().unwrap();
        let running = self.running.get(name).copied().unwrap_or(desired);
        service["runningCount"] = running.into();
        service["pendingCount"] = (desired - running.min(desired)).into();
        service
    }

    fn ecs(&mut self, action: &str, body: &Value) -> Response {
        assert!(
            body["cluster"] == "main"
                || action.contains("TaskDefinition")
                || action.contains("ServiceDeployment")
                || action.contains("ServiceRevisions")
        );
        let token = body["nextToken"].as_str();
        match action {
            "ListServices" => {
                let arns: Vec<_> = self.services.keys().map(|name| format!("arn:service/main/{name}")).collect();
                let (arns, next) = self.page(&arns, token);
                Reply::json(200, &json!({"serviceArns": arns, "nextToken": next}))
            }
            "DescribeServices" => {
                let names: Vec<_> =
                    body["services"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
                assert!(names.len() <= 10);
                let found: Vec<_> = names
                    .iter()
                    .filter(|name| self.services.contains_key(*name))
                    .map(|name| self.described(name))
                    .collect();
                Reply::json(200, &json!({"services": found, "failures": []}))
            }
            "ListTaskDefinitions" => {
                let family = body["familyPrefix"].as_str().unwrap();
                let mut arns: Vec<_> = self
                    .definitions
                    .iter()
                    .filter(|definition| definition["family"] == family && definition["status"] == body["status"])
                    .map(|definition| definition["taskDefinitionArn"].clone())
                    .collect();
                if body["sort"] == "DESC" {
                    arns.reverse();
                }
                let (arns, next) = self.page(&arns, token);
                Reply::json(200, &json!({"taskDefinitionArns": arns, "nextToken": next}))
            }
            "DescribeTaskDefinition" => {
                let found = self
                    .definitions
                    .iter()
                    .find(|definition| definition["taskDefinitionArn"] == body["taskDefinition"]);
                match found {
                    Some(found) => Reply::json(200, &json!({"taskDefinition": found, "tags": found["tags"]})),
                    None => ecs_error(400, "ClientException", "Unable to describe task definition."),
                }
            }
            "RegisterTaskDefinition" => {
                let number = self.next();
                let mut definition = body.clone();
                let arn = format!("arn:task-definition/{}:{number}", body["family"].as_str().unwrap());
                definition["taskDefinitionArn"] = arn.into();
                definition["status"] = "ACTIVE".into();
                self.definitions.push(definition.clone());
                Reply::json(200, &json!({"taskDefinition": definition, "tags": definition["tags"]}))
            }
            "DeregisterTaskDefinition" => {
                for definition in &mut self.definitions {
                    if definition["taskDefinitionArn"] == body["taskDefinition"] {
                        definition["status"] = "INACTIVE".into();
                    }
                }
                Reply::json(200, &json!({}))
            }
            "DeleteTaskDefinitions" => {
                let arns = body["taskDefinitions"].as_array().unwrap();
                assert!((1..=10).contains(&arns.len()));
                let mut failures = Vec::new();
                for definition in self.definitions.iter_mut().filter(|of| arns.contains(&of["taskDefinitionArn"])) {
                    if definition["status"] == "ACTIVE" {
                        failures.push(json!({"arn": definition["taskDefinitionArn"], "reason":
                            "The specified task definition is still in ACTIVE status. Please deregister the target and try again."}));
                    } else {
                        definition["status"] = "DELETE_IN_PROGRESS".into();
                    }
                }
                Reply::json(200, &json!({"taskDefinitions": [], "failures": failures}))
            }
            "CreateService" => {
                let name = body["serviceName"].as_str().unwrap().to_owned();
                let token = body["clientToken"].as_str().unwrap().to_owned();
                assert!(token.len() <= 36, "{token}");
                if self.services.contains_key(&name) && !self.tokens.contains(&token) {
                    return ecs_error(400, "InvalidParameterException", "Creation of service was not idempotent.");
                }
                self.tokens.insert(token);
                let mut service = body.clone();
                service["status"] = "ACTIVE".into();
                service["serviceArn"] = format!("arn:service/main/{name}").into();
                self.services.insert(name.clone(), service);
                self.begin(&name, None);
                Reply::json(200, &json!({"service": self.described(&name)}))
            }
            "UpdateService" => {
                let name = body["service"].as_str().unwrap().to_owned();
                let before = self.services[&name].clone();
                for (key, value) in body.as_object().unwrap() {
                    self.services.get_mut(&name).unwrap()[key] = value.clone();
                }
                let begins = ["taskDefinition", "networkConfiguration", "capacityProviderStrategy"]
                    .iter()
                    .any(|key| body.get(*key).is_some_and(|new| *new != before[*key]));
                if begins {
                    self.begin(&name, Some(before["taskDefinition"].clone()));
                }
                Reply::json(200, &json!({"service": self.described(&name)}))
            }
            "DeleteService" => {
                let name = body["service"].as_str().unwrap();
                if self.running.get(name) == Some(&0) {
                    self.services.remove(name);
                } else {
                    let service = self.services.get_mut(name).unwrap();
                    service["status"] = "DRAINING".into();
                }
                Reply::json(200, &json!({}))
            }
            "ListTasks" => Reply::json(200, &json!({"taskArns": ["arn:task/main/t1"]})),
            "DescribeTasks" => {
                let definition = self.services.values().next().map(|service| service["taskDefinition"].clone());
                let container = json!({"name": "web", "lastStatus": "STOPPED", "exitCode": 1, "reason": "it broke"});
                let task = json!({"taskArn": "arn:task/main/t1", "lastStatus": "RUNNING", "healthStatus": "UNKNOWN",
                    "taskDefinitionArn": definition, "stoppedReason": "Essential container in task exited", "containers": [container]});
                Reply::json(200, &json!({"tasks": [task]}))
            }
            "ListServiceDeployments" => {
                let mut briefs = vec![json!({"serviceDeploymentArn": "arn:old", "createdAt": 1.0})];
                if let Some(deployment) = &self.deployment {
                    briefs.push(json!({"serviceDeploymentArn": deployment["serviceDeploymentArn"], "createdAt": 2.0}));
                } else {
                    briefs.clear();
                }
                Reply::json(200, &json!({"serviceDeployments": briefs}))
            }
            "DescribeServiceDeployments" => {
                let found: Vec<_> = self.deployment.iter().collect();
                Reply::json(200, &json!({"serviceDeployments": found}))
            }
            "DescribeServiceRevisions" => {
                let arns = body["serviceRevisionArns"].as_array().unwrap();
                // `arn:rev/NUMBER/DEFINITION`
                let definition = |arn: &Value| arn.as_str().unwrap().splitn(3, '/').nth(2).unwrap().to_owned();
                let revision = |arn: &Value| json!({"serviceRevisionArn": arn, "taskDefinition": definition(arn)});
                Reply::json(200, &json!({"serviceRevisions": arns.iter().map(revision).collect::<Vec<_>>()}))
            }
            "ContinueServiceDeployment" => {
                let deployment = self.deployment.as_mut().unwrap();
                let hook = &mut deployment["lifecycleHookDetails"][0];
                if hook["hookId"] != body["hookId"] || hook["status"] != "AWAITING_ACTION" {
                    return ecs_error(400, "InvalidParameterException", "The hook is not awaiting action.");
                }
                hook["status"] = "SUCCEEDED".into();
                if body["action"] == "ROLLBACK" {
                    self.go_back("a hook said so");
                }
                Reply::json(200, &json!({}))
            }
            "StopServiceDeployment" => {
                assert_eq!(body["stopType"], "ROLLBACK");
                self.go_back("it was stopped");
                Reply::json(200, &json!({}))
            }
            other => panic!("{other} is not modelled"),
        }
    }

    fn begin(&mut self, name: &str, before: Option<Value>) {
        if self.services[name]["deploymentConfiguration"]["strategy"].is_null() {
            return;
        }
        let number = self.next();
        // Each deployment brings a revision of its own, also of the same task definition.
        let side = |of: u32, definition: &Value, weight: f64| {
            json!({"arn": format!("arn:rev/{of}/{}", definition.as_str().unwrap()), "requestedTaskCount": 2,
                "runningTaskCount": 2, "requestedProductionTrafficWeight": weight})
        };
        let sources: Vec<_> = before.iter().map(|definition| side(0, definition, 100.0)).collect();
        self.deployment = Some(json!({
            "serviceDeploymentArn": format!("arn:deployment/{number}"),
            "status": "IN_PROGRESS", "lifecycleStage": "SCALE_UP",
            "sourceServiceRevisions": sources,
            "targetServiceRevision": side(number, &self.services[name]["taskDefinition"], 0.0),
            "lifecycleHookDetails": [],
        }));
    }

    fn go_back(&mut self, reason: &str) {
        let deployment = self.deployment.as_mut().unwrap();
        deployment["status"] = "ROLLBACK_IN_PROGRESS".into();
        deployment["rollback"] =
            json!({"reason": reason, "serviceRevisionArn": deployment["sourceServiceRevisions"][0]["arn"]});
        deployment["targetServiceRevision"]["requestedProductionTrafficWeight"] = 0.0.into();
    }

    fn elb(&mut self, action: &str, form: &BTreeMap<String, String>) -> Response {
        assert_eq!(form["Version"], "2015-12-01");
        let result = match action {
            "DescribeRules" => {
                let rules: Vec<String> = self
                    .rules
                    .iter()
                    .filter(|(arn, _)| form.get("RuleArns.member.1").is_none_or(|wanted| wanted == *arn))
                    // One that a test has put there is at every listener.
                    .filter(|(_, rule)| {
                        form.get("ListenerArn").zip(rule.get("ListenerArn")).is_none_or(|(asked, of)| asked == of)
                    })
                    .map(|(arn, rule)| rule_xml(arn, rule))
                    .collect();
                if form.contains_key("RuleArns.member.1") && rules.is_empty() {
                    return elb_error(400, "RuleNotFound", "One or more rules not found");
                }
                let (rules, next) = self.page(&rules, form.get("Marker").map(String::as_str));
                let next = next.map(|next| format!("<NextMarker>{next}</NextMarker>")).unwrap_or_default();
                format!("<Rules>{}</Rules>{next}", rules.concat())
            }
            "DescribeTags" => {
                let arns: Vec<_> =
                    form.iter().filter(|(key, _)| key.starts_with("ResourceArns")).map(|(_, arn)| arn).collect();
                assert!((1..=20).contains(&arns.len()));
                let tags = |rule: &BTreeMap<String, String>| -> String {
                    (1..9)
                        .filter_map(|index| {
                            Some((
                                rule.get(&format!("Tags.member.{index}.Key"))?,
                                rule.get(&format!("Tags.member.{index}.Value"))?,
                            ))
                        })
                        .map(|(key, value)| format!("<member><Key>{key}</Key><Value>{value}</Value></member>"))
                        .collect()
                };
                let described: Vec<_> = arns
                    .iter()
                    .map(|arn| {
                        format!(
                            "<member><ResourceArn>{arn}</ResourceArn><Tags>{}</Tags></member>",
                            tags(&self.rules[*arn])
                        )
                    })
                    .collect();
                format!("<TagDescriptions>{}</TagDescriptions>", described.concat())
            }
            "CreateRule" => {
                let is_there = |rule: &BTreeMap<String, String>| {
                    rule["Priority"] == form["Priority"]
                        && rule.get("ListenerArn").is_none_or(|arn| *arn == form["ListenerArn"])
                };
                if self.rules.values().any(is_there) {
                    return elb_error(400, "PriorityInUse", "Priority is currently in use");
                }
                let arn = format!("arn:rule/{}", self.next());
                self.rules.insert(arn.clone(), form.clone());
                format!("<Rules>{}</Rules>", rule_xml(&arn, form))
            }
            "ModifyRule" => {
                let rule = self.rules.get_mut(&form["RuleArn"]).unwrap();
                // Each of the two lists is written as a whole, and one that is left out stays.
                for list in ["Actions", "Conditions"] {
                    if form.keys().any(|key| key.starts_with(list)) {
                        rule.retain(|key, _| !key.starts_with(list));
                    }
                }
                rule.extend(
                    form.clone()
                        .into_iter()
                        .filter(|(key, _)| key.starts_with("Actions") || key.starts_with("Conditions")),
                );
                String::new()
            }
            "DeleteRule" => {
                self.rules.remove(&form["RuleArn"]);
                String::new()
            }
            "DescribeTargetGroups" => {
                let (by_name, by_arn) = (form.get("Names.member.1"), form.get("TargetGroupArns.member.1"));
                let is_asked = |(name, arn): &(&String, &String)| by_name == Some(*name) || by_arn == Some(*arn);
                match self.groups.iter().find(is_asked) {
                    Some((name, arn)) => {
                        format!("<TargetGroups>{}</TargetGroups>", group_xml(name, arn, &self.checks[arn]))
                    }
                    None => return elb_error(400, "TargetGroupNotFound", "One or more target groups not found"),
                }
            }
            "DescribeListeners" => {
                assert_eq!(form["LoadBalancerArn"], "arn:balancer");
                let all: BTreeSet<_> = self.rules.values().filter_map(|rule| rule.get("ListenerArn")).collect();
                let xml = |arn: &&String| format!("<member><ListenerArn>{arn}</ListenerArn></member>");
                let (listeners, next) =
                    self.page(&all.iter().map(xml).collect::<Vec<_>>(), form.get("Marker").map(String::as_str));
                let next = next.map(|next| format!("<NextMarker>{next}</NextMarker>")).unwrap_or_default();
                format!("<Listeners>{}</Listeners>{next}", listeners.concat())
            }
            "CreateTargetGroup" => {
                let name = &form["Name"];
                assert!(name.len() <= 32, "{name}");
                let arn = format!("arn:group/{name}/1");
                if let Some(refused) = refused_check(form) {
                    return refused;
                }
                assert!(self.groups.insert(name.clone(), arn.clone()).is_none(), "made twice: {name}");
                self.checks.insert(arn.clone(), form.clone());
                format!("<TargetGroups>{}</TargetGroups>", group_xml(name, &arn, form))
            }
            "ModifyTargetGroup" => {
                let known = ["HealthCheck", "Matcher", "HealthyThreshold", "UnhealthyThreshold"];
                let check = self.checks.get_mut(&form["TargetGroupArn"]).unwrap();
                let mut after = check.clone();
                after.extend(form.clone());
                if let Some(refused) = refused_check(&after) {
                    return refused;
                }
                for (key, value) in form {
                    if known.iter().any(|known| key.starts_with(known)) {
                        check.insert(key.clone(), value.clone());
                    }
                }
                String::new()
            }
            "DeleteTargetGroup" => {
                let arn = &form["TargetGroupArn"];
                if self.rules.values().any(|rule| rule.values().any(|value| value == arn)) {
                    return elb_error(400, "ResourceInUse", "Target group is currently in use by a listener or a rule");
                }
                self.groups.retain(|_, known| known != arn);
                String::new()
            }
            "DescribeTargetGroupAttributes" => {
                let value = self.drains.get(&form["TargetGroupArn"]).cloned().unwrap_or_else(|| "300".into());
                format!(
                    "<Attributes><member><Key>deregistration_delay.timeout_seconds</Key><Value>{value}</Value></member></Attributes>"
                )
            }
            "ModifyTargetGroupAttributes" => {
                self.drains.insert(form["TargetGroupArn"].clone(), form["Attributes.member.1.Value"].clone());
                String::new()
            }
            "DescribeTargetHealth" => {
                let target = |state: &str, n: u32| {
                    format!(
                        "<member><Target><Id>10.0.0.{n}</Id></Target><TargetHealth><State>{state}</State><Description>why</Description></TargetHealth></member>"
                    )
                };
                let all = [target("healthy", 1), target("healthy", 2), target("draining", 3)];
                let all = if self.services.is_empty() { &all[2..] } else { &all[..] };
                format!("<TargetHealthDescriptions>{}</TargetHealthDescriptions>", all.concat())
            }
            other => panic!("{other} is not modelled"),
        };
        let text = format!(
            "<{action}Response xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\"><{action}Result>{result}\
             </{action}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
        );
        Reply::text(200, &text)
    }
}

/// What ELB says to a check whose answers may take as long as the time between two.
fn refused_check(form: &BTreeMap<String, String>) -> Option<Response> {
    let seconds = |name: &str, default: u32| form.get(name).map_or(default, |text| text.parse().unwrap());
    let (interval, timeout) = (seconds("HealthCheckIntervalSeconds", 30), seconds("HealthCheckTimeoutSeconds", 5));
    assert!((5..=300).contains(&interval) && (2..=120).contains(&timeout), "{interval} {timeout}");
    let words = "Health check timeout must be smaller than the interval";
    (timeout >= interval).then(|| elb_error(400, "ValidationError", words))
}

fn group_xml(name: &str, arn: &str, form: &BTreeMap<String, String>) -> String {
    let same: String =
        ["Port", "HealthCheckPath", "HealthCheckIntervalSeconds", "HealthyThresholdCount", "UnhealthyThresholdCount"]
            .iter()
            .map(|name| format!("<{name}>{}</{name}>", form[*name]))
            .collect();
    format!(
        "<member><TargetGroupArn>{arn}</TargetGroupArn><TargetGroupName>{name}</TargetGroupName><VpcId>vpc-1</VpcId>\
         <Protocol>HTTP</Protocol><TargetType>ip</TargetType>{same}<Matcher><HttpCode>{}</HttpCode></Matcher>\
         <HealthCheckTimeoutSeconds>{}</HealthCheckTimeoutSeconds>\
         <LoadBalancerArns><member>arn:balancer</member></LoadBalancerArns></member>",
        form["Matcher.HttpCode"],
        form.get("HealthCheckTimeoutSeconds").map_or("5", String::as_str),
    )
}

fn rule_xml(arn: &str, rule: &BTreeMap<String, String>) -> String {
    let value = |key: &str| rule.get(key).cloned().unwrap_or_default();
    let action = |number: u32| {
        let at = format!("Actions.member.{number}");
        let kind = rule.get(&format!("{at}.Type"))?;
        let targets: String = (1..9)
            .filter_map(|index| {
                let at = format!("{at}.ForwardConfig.TargetGroups.member.{index}");
                let arn = rule.get(&format!("{at}.TargetGroupArn"))?;
                let weight = value(&format!("{at}.Weight"));
                Some(format!("<member><TargetGroupArn>{arn}</TargetGroupArn><Weight>{weight}</Weight></member>"))
            })
            .collect();
        // AWS tells of stickiness with each action that forwards.
        let sticky = rule.get(&format!("{at}.ForwardConfig.TargetGroupStickinessConfig.Enabled"));
        let sticky = sticky.map_or("false", String::as_str);
        let forward = format!(
            "<ForwardConfig><TargetGroups>{targets}</TargetGroups><TargetGroupStickinessConfig><Enabled>{sticky}</Enabled>\
             </TargetGroupStickinessConfig></ForwardConfig>"
        );
        let forward = if kind == "forward" { forward } else { String::new() };
        Some(format!("<member><Type>{kind}</Type><Order>{number}</Order>{forward}</member>"))
    };
    let actions: String = (1..4).filter_map(action).collect();
    let conditions: String = (1..4)
        .filter_map(|index| {
            let at = format!("Conditions.member.{index}");
            let field = rule.get(&format!("{at}.Field"))?;
            let config = match field.as_str() {
                "host-header" => "HostHeaderConfig",
                "http-header" => "HttpHeaderConfig",
                _ => "PathPatternConfig",
            };
            let header = rule.get(&format!("{at}.{config}.HttpHeaderName"));
            let header = header.map(|header| format!("<HttpHeaderName>{header}</HttpHeaderName>")).unwrap_or_default();
            let values: String = (1..6)
                .filter_map(|index| rule.get(&format!("{at}.{config}.Values.member.{index}")))
                .map(|value| format!("<member>{value}</member>"))
                .collect();
            Some(format!(
                "<member><Field>{field}</Field><{config}>{header}<Values>{values}</Values></{config}></member>"
            ))
        })
        .collect();
    format!(
        "<member><RuleArn>{arn}</RuleArn><Priority>{}</Priority><Conditions>{conditions}</Conditions><Actions>{actions}\
         </Actions></member>",
        value("Priority"),
    )
}
