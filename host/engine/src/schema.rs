//! The JSON Schema of the deployment file, with what the parts of it that belong to others look like.

use serde::Serialize;
use serde_json::{Map, Value};

/// The schema of the deployment file, with grants, secret stores, secrets and credentials: for editors.
#[must_use]
pub fn deployment_schema() -> Value {
    let mut schema = basb_spec::schema();
    put(&mut schema, "/$defs/PluginFile/properties/grants", "grants", basb_capabilities::grants_schema());
    put(&mut schema, "/properties/secretStores", "secretStores", basb_secrets::stores_schema());
    put(&mut schema, "/properties/secrets", "secrets", basb_secrets::secrets_schema());
    put(&mut schema, "/properties/credentials", "credentials", basb_credentials::credentials_schema());
    schema
}

/// Puts the schema of a part in its place. Its definitions get names of their own, so that none can be mistaken for another
/// part's.
fn put(schema: &mut Value, pointer: &str, prefix: &str, part: impl Serialize) {
    let text = serde_json::to_string(&part).unwrap_or_default();
    let text = text.replace("#/$defs/", &format!("#/$defs/{prefix}."));
    let Ok(mut part) = serde_json::from_str::<Map<String, Value>>(&text) else { return };
    let definitions = part.remove("$defs");
    for known in ["$schema", "title", "description"] {
        part.remove(known);
    }
    let Some(place) = schema.pointer_mut(pointer).and_then(Value::as_object_mut) else { return };
    place.extend(part);
    if let (Some(all), Some(Value::Object(definitions))) =
        (schema.pointer_mut("/$defs").and_then(Value::as_object_mut), definitions)
    {
        all.extend(definitions.into_iter().map(|(name, definition)| (format!("{prefix}.{name}"), definition)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_others_is_part_of_it() {
        let schema = deployment_schema();
        let text = schema.to_string();
        assert!(schema.pointer("/$defs/PluginFile/properties/grants/properties/http").is_some(), "{text}");
        assert!(schema.pointer("/properties/credentials/additionalProperties").is_some(), "{text}");
        assert!(schema.pointer("/properties/secrets/additionalProperties").is_some(), "{text}");
        for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(schema.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }
}
