//! The JSON Schema of the deployment file, with what the parts of it that belong to others look like.

use serde_json::{Map, Value};

/// The schema of the deployment file, grants included: for editors.
#[must_use]
pub fn deployment_schema() -> Value {
    let mut schema = basb_spec::schema();
    // Definitions of the grants get names of their own, so that none can be mistaken for one of the file's.
    let grants = serde_json::to_string(&basb_capabilities::grants_schema()).unwrap_or_default();
    let grants = grants.replace("#/$defs/", "#/$defs/grants.");
    let Ok(mut grants) = serde_json::from_str::<Map<String, Value>>(&grants) else { return schema };
    let definitions = grants.remove("$defs");
    grants.remove("$schema");
    let place = schema.pointer_mut("/$defs/PluginFile/properties/grants");
    let Some(place) = place.and_then(Value::as_object_mut) else { return schema };
    for (key, value) in grants {
        place.entry(key).or_insert(value);
    }
    if let (Some(all), Some(Value::Object(definitions))) =
        (schema.pointer_mut("/$defs").and_then(Value::as_object_mut), definitions)
    {
        all.extend(definitions.into_iter().map(|(name, definition)| (format!("grants.{name}"), definition)));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_part_of_it() {
        let schema = deployment_schema();
        let text = schema.to_string();
        assert!(schema.pointer("/$defs/PluginFile/properties/grants/properties/http").is_some(), "{text}");
        for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(schema.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }
}
