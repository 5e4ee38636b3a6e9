//! Listener rules: the one that users' requests go by, and the one of each revision alone.

use basb_cloud_kit::{Differences, Owner};
use basb_plugin::Failure;
use basb_plugin::provider::{ActionKind, PlannedAction};

use super::Fleet;
use crate::api::elb::{Condition, Rule, RuleAction};
use crate::config::Preview;
use crate::names::{self, owner_of_pairs};

/// The header that a revision alone is asked by, where it has no host of its own.
pub const HEADER: &str = "x-basb-revision";
/// What stands for a revision in the rule of a listener that leads to whatever was deployed last.
pub const CANDIDATE: &str = "candidate";

/// Whether the listener for previews leads to what is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadsThere {
    /// It does.
    Yes,
    /// It does not, or there is none.
    No,
}

impl LeadsThere {
    /// Whether two target groups are the same.
    pub fn of(candidate: Option<&str>, group: Option<&str>) -> LeadsThere {
        if candidate.is_some() && candidate == group { LeadsThere::Yes } else { LeadsThere::No }
    }
}

/// So many values the conditions of one rule may have (ELB quotas).
const MOST_VALUES: usize = 5;

impl Fleet<'_> {
    /// The listener with the rules of each revision alone.
    pub fn preview_listener(&self) -> &str {
        match &self.ecs.preview {
            Some(Preview { host: Some(_), listener: Some(listener), .. }) => listener,
            _ => &self.ecs.listener,
        }
    }

    /// The listener whose rule for this service leads to what was deployed last, where previews are by listener.
    pub fn candidate_listener(&self) -> Option<&str> {
        let preview = self.ecs.preview.as_ref().filter(|preview| preview.host.is_none())?;
        preview.listener.as_deref()
    }

    fn filled(&self, pattern: &str, revision: &str) -> String {
        pattern
            .replace("{revision}", revision)
            .replace("{service}", &self.service.service)
            .replace("{environment}", &self.service.environment)
            .replace("{deployment}", &self.service.deployment)
    }

    /// Where a revision alone is reached: by its host, or by the listener for previews where that leads to it.
    pub fn preview_url(&self, revision: &str, leads_there: LeadsThere) -> Option<String> {
        let preview = self.ecs.preview.as_ref()?;
        let written = self.written.preview_url.as_ref().or(preview.url.as_ref()).cloned();
        let url = match &preview.host {
            Some(host) => written.unwrap_or_else(|| format!("https://{host}")),
            None => written.filter(|_| leads_there == LeadsThere::Yes)?,
        };
        Some(self.filled(&url, revision))
    }

    /// The target group that the listener for previews leads to.
    ///
    /// # Errors
    /// What AWS says.
    pub fn candidate_group(&self) -> Result<Option<String>, Failure> {
        let Some(listener) = self.candidate_listener() else { return Ok(None) };
        let rules = self.elb.rules(listener)?;
        let rule = rule_of(&rules, &Owner::of_revision(self.service, CANDIDATE));
        Ok(rule.and_then(|rule| rule.targets.first()).map(|(group, _)| group.clone()))
    }

    /// Makes the listener for previews lead to this target group.
    ///
    /// # Errors
    /// What AWS says.
    pub fn bind_candidate(&self, group: &str) -> Result<(), Failure> {
        let Some(listener) = self.candidate_listener() else { return Ok(()) };
        let rules = self.elb.rules(listener)?;
        let wanted = self.conditions()?;
        let action = RuleAction::Forward(vec![(group.to_owned(), 1)]);
        let owner = Owner::of_revision(self.service, CANDIDATE);
        match rule_of(&rules, &owner) {
            Some(rule) if leads_to(rule, group) && same_conditions(&rule.conditions, &wanted) => Ok(()),
            Some(rule) => self.elb.modify_rule(rule, Some(&wanted), &action),
            None => {
                let priority = free_priority(&rules, self.ecs.priorities.services)?;
                let tags = owner.tags(names::TAGS);
                Ok(self.elb.create_rule(listener, priority, &wanted, &action, &tags).map(drop)?)
            }
        }
    }

    /// Takes the rule for previews away where it leads to this target group.
    ///
    /// # Errors
    /// What AWS says.
    pub fn unbind_candidate(&self, group: &str) -> Result<(), Failure> {
        let Some(listener) = self.candidate_listener() else { return Ok(()) };
        let rules = self.elb.rules(listener)?;
        match rule_of(&rules, &Owner::of_revision(self.service, CANDIDATE)) {
            Some(rule) if rule.targets.iter().any(|(arn, _)| arn == group) => self.elb.delete_rule(&rule.arn),
            _ => Ok(()),
        }
    }

    /// When users' requests are for this service.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] where nothing tells, or more than a rule can hold.
    pub fn conditions(&self) -> Result<Vec<Condition>, Failure> {
        let at = format!("/services/{}", self.service.service);
        let (hosts, paths) = (&self.written.hosts, &self.written.paths);
        if hosts.is_empty() && paths.is_empty() {
            return Err(Failure::invalid(format!(
                "nothing says which requests are for {}: write `hosts` or `paths` below `services.{}`, or the `rule` that \
                 leads to it",
                self.service.service, self.service.service
            ))
            .at(at));
        }
        // One more for the revision's own rule.
        if hosts.len() + paths.len() >= MOST_VALUES {
            return Err(Failure::invalid(format!(
                "a rule holds {MOST_VALUES} values, and one is ours: name {} hosts and paths at the most",
                MOST_VALUES - 1
            ))
            .at(at));
        }
        Ok([condition("host-header", hosts), condition("path-pattern", paths)].into_iter().flatten().collect())
    }

    /// When users' requests are for this service, where the rule for them is ours and says something else.
    ///
    /// # Errors
    /// As [`Fleet::conditions`].
    pub fn other_conditions(&self, rule: &Rule) -> Result<Option<Vec<Condition>>, Failure> {
        if self.written.rule.is_some() {
            return Ok(None);
        }
        Ok(Some(self.conditions()?).filter(|wanted| !same_conditions(&rule.conditions, wanted)))
    }

    /// What a plan says of that.
    ///
    /// # Errors
    /// As [`Fleet::conditions`].
    pub fn planned_conditions(&self, rule: &Rule) -> Result<Option<PlannedAction>, Failure> {
        let Some(wanted) = self.other_conditions(rule)? else { return Ok(None) };
        let mut differences = Differences::new();
        differences.value("rule.conditions", Some(shown(&rule.conditions)), Some(shown(&wanted)));
        Ok(Some(PlannedAction {
            kind: ActionKind::Update,
            summary: format!("which requests the listener rule {} leads to {}", rule.arn, self.service.service),
            changes: differences.into_changes(),
            irreversible: None,
        }))
    }

    /// When requests are for one revision.
    ///
    /// # Errors
    /// As [`Fleet::conditions`].
    pub fn revision_conditions(&self, revision: &str) -> Result<Vec<Condition>, Failure> {
        if let Some(Preview { host: Some(host), .. }) = &self.ecs.preview {
            let host = vec![self.filled(host, revision)];
            return Ok([condition("host-header", &host), condition("path-pattern", &self.written.paths)]
                .into_iter()
                .flatten()
                .collect());
        }
        // Where the rule for users is another's, its conditions are not known; the service's name tells apart then.
        let mut conditions = if self.written.rule.is_some() { Vec::new() } else { self.conditions()? };
        let value = format!("{}.{revision}", self.service.service);
        conditions.push(Condition { field: "http-header".into(), header: Some(HEADER.into()), values: vec![value] });
        Ok(conditions)
    }

    /// The rule that users' requests go by.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::NotFound`] where the rule that the configuration names is not there.
    pub fn production_rule(&self, rules: &[Rule]) -> Result<Option<Rule>, Failure> {
        if let Some(arn) = &self.written.rule {
            let found = self.elb.rule(arn)?.ok_or_else(|| {
                Failure::not_found(format!("there is no listener rule `{arn}`"))
                    .at(format!("/services/{}/rule", self.service.service))
            })?;
            return Ok(Some(found));
        }
        let ours = |rule: &&Rule| {
            owner_of_pairs(&rule.tags).is_some_and(|owner| owner.is_of(self.service) && owner.revision.is_none())
        };
        Ok(rules.iter().find(ours).cloned())
    }

    /// Makes the rule that users' requests go by, which is not there yet.
    ///
    /// # Errors
    /// What AWS says, and as [`Fleet::check_first`].
    pub fn create_production_rule(&self, rules: &[Rule], action: &RuleAction) -> Result<Rule, Failure> {
        self.check_first(rules, None)?;
        let priority = free_priority(rules, self.ecs.priorities.services)?;
        let tags = Owner::of_service(self.service).tags(names::TAGS);
        self.elb.create_rule(&self.ecs.listener, priority, &self.conditions()?, action, &tags)
    }

    /// Makes sure that users' requests come to the rule for them: the one that is there, or the one that would be made.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Conflict`] where a rule that is not ours takes all of them before: everything would seem
    /// done, and no user would ever be led to any revision.
    pub fn check_first(&self, rules: &[Rule], ours: Option<&Rule>) -> Result<(), Failure> {
        // What a rule that the configuration names applies to is for others to say.
        if self.written.rule.is_some() {
            return Ok(());
        }
        let priority = match ours.and_then(|rule| rule.priority.parse().ok()) {
            Some(priority) => priority,
            None => free_priority(rules, self.ecs.priorities.services)?,
        };
        let wanted = self.conditions()?;
        let takes_all = |rule: &&Rule| {
            rule.priority.parse::<u32>().is_ok_and(|of| of < priority)
                && same_conditions(&rule.conditions, &wanted)
                && !owner_of_pairs(&rule.tags).is_some_and(|owner| owner.is_of(self.service))
        };
        let Some(first) = rules.iter().find(takes_all) else { return Ok(()) };
        let service = &self.service.service;
        Err(Failure::conflict(format!(
            "the listener rule {} (priority {}) has the conditions of {service} ({}) and is not ours, by its tags: it comes \
             before ours (priority {priority}), so no request would ever reach a revision of {service}; write its ARN as \
             `services.{service}.rule` to have it lead to them, or remove it, or give it a greater priority number",
            first.arn,
            first.priority,
            shown(&wanted)
        ))
        .at(format!("/services/{service}")))
    }

    /// Makes the rule of a revision alone be there and lead to this target group.
    ///
    /// # Errors
    /// What AWS says.
    pub fn bind(&self, rules: &[Rule], revision: &str, group: &str) -> Result<(), Failure> {
        let wanted = self.revision_conditions(revision)?;
        let action = RuleAction::Forward(vec![(group.to_owned(), 1)]);
        let owner = Owner::of_revision(self.service, revision);
        match rule_of(rules, &owner) {
            Some(rule) if leads_to(rule, group) && same_conditions(&rule.conditions, &wanted) => Ok(()),
            Some(rule) => self.elb.modify_rule(rule, Some(&wanted), &action),
            None => {
                let listener = self.preview_listener();
                let priority = free_priority(rules, self.ecs.priorities.revisions)?;
                let tags = owner.tags(names::TAGS);
                Ok(self.elb.create_rule(listener, priority, &wanted, &action, &tags).map(drop)?)
            }
        }
    }
}

fn condition(field: &str, values: &[String]) -> Option<Condition> {
    (!values.is_empty()).then(|| Condition { field: field.into(), header: None, values: values.to_vec() })
}

/// The rule that belongs to exactly this.
pub fn rule_of<'r>(rules: &'r [Rule], owner: &Owner) -> Option<&'r Rule> {
    rules.iter().find(|rule| {
        owner_of_pairs(&rule.tags).is_some_and(|of| of.is_of(&owner.service) && of.revision == owner.revision)
    })
}

/// Whether a rule leads to this target group and nowhere else.
pub fn leads_to(rule: &Rule, group: &str) -> bool {
    matches!(rule.targets.as_slice(), [(arn, weight)] if arn == group && *weight > 0)
}

/// Conditions in one line.
pub fn shown(conditions: &[Condition]) -> String {
    let each: Vec<String> = conditions
        .iter()
        .map(|of| format!("{} {}", of.header.as_ref().unwrap_or(&of.field), of.values.join(" or ")))
        .collect();
    each.join(", ")
}

/// Whether conditions are the same, in whatever order.
pub fn same_conditions(one: &[Condition], other: &[Condition]) -> bool {
    let sorted = |conditions: &[Condition]| {
        let mut all: Vec<Condition> = conditions
            .iter()
            .cloned()
            .map(|mut condition| {
                condition.values.sort();
                condition.header = condition.header.map(|header| header.to_ascii_lowercase());
                condition
            })
            .collect();
        all.sort();
        all
    };
    sorted(one) == sorted(other)
}

/// The first priority from `from` that no rule has. Two that choose at the same moment choose the same one: AWS refuses
/// the second, which chooses again.
///
/// # Errors
/// Where all are taken.
pub fn free_priority(rules: &[Rule], from: u32) -> Result<u32, Failure> {
    let taken: Vec<u32> = rules.iter().filter_map(|rule| rule.priority.parse().ok()).collect();
    let free = (from.max(1)..=50_000).find(|priority| !taken.contains(priority));
    free.ok_or_else(|| {
        Failure::other(format!("no priority from {from} on is free at the listener")).at("/ecs/priorities")
    })
}
