//! What things are called, and whose they are.

use basb_cloud_kit::{Alphabet, Owner, TagStyle, name};
use basb_plugin::ServiceRef;

use crate::api::ecs::EcsTag;

/// How AWS wants tags named.
pub const TAGS: TagStyle = TagStyle::Colon;

/// What everything of a revision on ECS is called: service and family of task definitions.
pub fn of_revision(service: &ServiceRef, revision: &str) -> String {
    name(&[&service.deployment, &service.environment, &service.service, revision], Alphabet::Label, 255)
}

/// What the names of all revisions of a service begin with. Another service's may too: the tags tell.
pub fn prefix(service: &ServiceRef) -> String {
    let (one, other) = (of_revision(service, "0"), of_revision(service, "1"));
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one).collect()
}

/// What a service with one name for all revisions is called.
pub fn of_service(service: &ServiceRef, longest: usize) -> String {
    name(&[&service.deployment, &service.environment, &service.service], Alphabet::Label, longest)
}

/// What the target group of a revision, or of one side of a pair, is called.
pub fn of_group(service: &ServiceRef, revision: &str) -> String {
    name(&[&service.deployment, &service.environment, &service.service, revision], Alphabet::Label, 32)
}

/// The tags as ECS has them.
pub fn ecs_tags(owner: &Owner) -> Vec<EcsTag> {
    owner.tags(TAGS).into_iter().map(|(key, value)| EcsTag { key, value }).collect()
}

/// Whose a thing with these tags is.
pub fn owner_of(tags: &[EcsTag]) -> Option<Owner> {
    Owner::from_tags(TAGS, tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str())))
}

/// Whose a thing with these pairs is.
pub fn owner_of_pairs(tags: &[(String, String)]) -> Option<Owner> {
    Owner::from_tags(TAGS, tags.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_every_revision_begins_as_its_service_says() {
        for part in ["web", "2nd-brain", "a--b", "second-brain"] {
            let service = ServiceRef { deployment: part.into(), environment: "aws".into(), service: part.into() };
            let prefix = prefix(&service);
            assert!(prefix.ends_with('-'), "{prefix}");
            for revision in ["r0a1b2c3d4e5f", "0", "1"] {
                let name = of_revision(&service, revision);
                assert!(name.starts_with(&prefix), "{name} {prefix}");
            }
        }
    }
}
