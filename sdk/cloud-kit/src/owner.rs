//! Whose a thing is: what every thing that a provider makes carries as tags or labels.

use basb_plugin::ServiceRef;

/// Deployment, environment, service and revision that a thing belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Owner {
    /// The service.
    pub service: ServiceRef,
    /// The revision; none for what all revisions share.
    pub revision: Option<String>,
}

/// How a counterpart wants its tags named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagStyle {
    /// `basb-host:service`: AWS, Azure, Docker.
    Colon,
    /// `basb-host_service`: Google Cloud, whose labels are `a-z`, `0-9`, `_` and `-`.
    Underscore,
    /// `basb-host/service`: Kubernetes, whose label keys have a prefix.
    Slash,
}

impl TagStyle {
    /// The key of a tag in this style.
    pub fn key(self, name: &str) -> String {
        let between = match self {
            TagStyle::Colon => ':',
            TagStyle::Underscore => '_',
            TagStyle::Slash => '/',
        };
        format!("basb-host{between}{name}")
    }
}

/// Whose tags they are, besides being ours: another program's things never match.
const MANAGED: (&str, &str) = ("managed-by", "basb-host");

impl Owner {
    /// Of what all revisions of a service share.
    pub fn of_service(service: &ServiceRef) -> Owner {
        Owner { service: service.clone(), revision: None }
    }

    /// Of what belongs to one revision.
    pub fn of_revision(service: &ServiceRef, revision: &str) -> Owner {
        Owner { service: service.clone(), revision: Some(revision.to_owned()) }
    }

    /// The tags, in a fixed order.
    pub fn tags(&self, style: TagStyle) -> Vec<(String, String)> {
        let mut tags = vec![
            (style.key(MANAGED.0), MANAGED.1.to_owned()),
            (style.key("deployment"), self.service.deployment.clone()),
            (style.key("environment"), self.service.environment.clone()),
            (style.key("service"), self.service.service.clone()),
        ];
        tags.extend(self.revision.clone().map(|revision| (style.key("revision"), revision)));
        tags
    }

    /// Whose a thing with these tags is; `None` where it is not ours.
    pub fn from_tags<'a>(style: TagStyle, tags: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Owner> {
        let tags: Vec<(&str, &str)> = tags.collect();
        let value = |name: &str| {
            let key = style.key(name);
            tags.iter().find(|(known, _)| *known == key).map(|(_, value)| (*value).to_owned())
        };
        if value(MANAGED.0)? != MANAGED.1 {
            return None;
        }
        let service = ServiceRef {
            deployment: value("deployment")?,
            environment: value("environment")?,
            service: value("service")?,
        };
        Some(Owner { service, revision: value("revision") })
    }

    /// Whether it is of this service.
    pub fn is_of(&self, service: &ServiceRef) -> bool {
        self.service == *service
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceRef {
        ServiceRef { deployment: "shop".into(), environment: "prod".into(), service: name.into() }
    }

    #[test]
    fn tags_come_back_as_whose_they_were() {
        for style in [TagStyle::Colon, TagStyle::Underscore, TagStyle::Slash] {
            for owner in [Owner::of_revision(&service("web"), "r1"), Owner::of_service(&service("web"))] {
                let tags = owner.tags(style);
                let read = Owner::from_tags(style, tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
                assert!(read.as_ref().is_some_and(|read| read.is_of(&service("web"))));
                assert_eq!(read, Some(owner));
            }
        }
    }

    #[test]
    fn another_programs_things_are_not_ours() {
        let mut tags = Owner::of_service(&service("web")).tags(TagStyle::Colon);
        let read = |tags: &[(String, String)]| {
            Owner::from_tags(TagStyle::Colon, tags.iter().map(|(key, value)| (key.as_str(), value.as_str())))
        };
        assert!(!read(&tags).unwrap().is_of(&service("api")));
        tags[0].1 = "terraform".into();
        assert_eq!(read(&tags), None);
        assert_eq!(read(&tags[1..]), None);
    }
}
