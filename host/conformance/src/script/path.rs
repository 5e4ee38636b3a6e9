//! Paths with placeholders, such as `/v1/services/{service}:stop`.

use std::collections::BTreeMap;

/// A path with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathPattern(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// A value between two fixed texts.
    Value {
        name: String,
        before: String,
        after: String,
    },
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or_else(|| format!("the path `{text}` must begin with `/`"))?;
        let segment = |text: &str| match text.split_once('{') {
            None if text.contains('}') => Err(format!("`{text}`: a `}}` without its `{{`")),
            None => Ok(Segment::Literal(text.to_owned())),
            Some((before, rest)) => match rest.split_once('}') {
                Some((name, after)) if !name.is_empty() && !after.contains('{') => {
                    Ok(Segment::Value { name: name.to_owned(), before: before.to_owned(), after: after.to_owned() })
                }
                _ => Err(format!("`{text}`: one placeholder such as `{{id}}` for each segment")),
            },
        };
        rest.split('/').map(segment).collect::<Result<_, _>>().map(Self)
    }

    /// The values of its placeholders, if a path fits.
    pub(super) fn fits(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        if parts.len() != self.0.len() {
            return None;
        }
        let mut values = BTreeMap::new();
        for (segment, part) in self.0.iter().zip(parts) {
            match segment {
                Segment::Literal(text) if text == part => {}
                Segment::Literal(_) => return None,
                Segment::Value { name, before, after } => {
                    let value = part.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                    // `{id}` alone is not `ID:verb`: that is somebody else's.
                    if value.is_empty() || (after.is_empty() && value.contains(':')) {
                        return None;
                    }
                    values.insert(name.clone(), value.to_owned());
                }
            }
        }
        Some(values)
    }

    /// The same without its last segment: where such things are listed.
    pub(super) fn collection(&self) -> Self {
        let mut segments = self.0.clone();
        segments.pop();
        Self(segments)
    }

    /// The name of the last placeholder; none where the last segment is fixed.
    pub(super) fn id_name(&self) -> Option<&str> {
        match self.0.last() {
            Some(Segment::Value { name, .. }) => Some(name),
            _ => None,
        }
    }

    /// The path with these values.
    pub(super) fn with(&self, values: &BTreeMap<String, String>) -> String {
        let mut text = String::new();
        for segment in &self.0 {
            text.push('/');
            match segment {
                Segment::Literal(literal) => text.push_str(literal),
                Segment::Value { name, before, after } => {
                    text.push_str(before);
                    text.push_str(values.get(name).map_or("?", String::as_str));
                    text.push_str(after);
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let path = PathPattern::parse("/v1/services/{service}/revisions/{id}").unwrap();
        let values = path.fits("/v1/services/s/revisions/r1").unwrap();
        assert_eq!((values["service"].as_str(), values["id"].as_str()), ("s", "r1"));
        assert_eq!(path.with(&values), "/v1/services/s/revisions/r1");
        assert_eq!(path.id_name(), Some("id"));
        assert!(path.collection().fits("/v1/services/s/revisions").is_some());
        for other in ["/v1/services/s/revisions", "/v1/services/s/revisions/r1/x", "/v1/services//revisions/r1"] {
            assert_eq!(path.fits(other), None, "{other}");
        }
        let verb = PathPattern::parse("/v1/{name}:cancel").unwrap();
        assert_eq!(verb.fits("/v1/op-1:cancel").unwrap()["name"], "op-1");
        assert_eq!(verb.fits("/v1/op-1"), None);
        assert_eq!(PathPattern::parse("/v1/{name}").unwrap().fits("/v1/op-1:cancel"), None);
        for wrong in ["v1", "/{a}{b}", "/a}", "/{}"] {
            assert!(PathPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
