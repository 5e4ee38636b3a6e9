//! Plugin configurations against the JSON Schema that the plugin carries.
//!
//! The schema comes from a plugin and is not trusted: it cannot make the host read a file or the network, its patterns
//! run in linear time, and what its defaults add is bounded.

use crate::suggest;
use crate::tree::shorten;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The most values that defaults may add to a configuration.
const MAX_DEFAULTS: usize = 2_000;
/// The most schemas that may be applied to one value one inside of the other.
const MAX_CHAIN: usize = 24;
/// How deep defaults are followed.
const MAX_DEPTH: usize = 64;
/// The most problems of one configuration.
const MAX_PROBLEMS: usize = 100;

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct ConfigProblem {
    /// Where in the configuration, as a JSON pointer; append it to that of the configuration for
    /// [`crate::SourceMap::diagnostic_at`]. For an unknown key it is that of the key, for a missing one that of the map.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
}

/// Checks a configuration against a plugin's schema; nothing is wrong when the list is empty.
///
/// A schema that cannot be used is a problem of the whole configuration: what cannot be checked is not taken for right.
#[must_use]
pub fn check_config(schema: &Value, config: &Value) -> Vec<ConfigProblem> {
    let validator = match compile(schema) {
        Ok(validator) => validator,
        Err(why) => {
            let message = format!("the plugin's schema for its configuration cannot be used: {why}");
            let help = Some("use another version of the plugin, or report this to its publisher".to_owned());
            return vec![ConfigProblem { pointer: String::new(), message, help }];
        }
    };
    let explainer = Explainer { schema };
    let mut problems: Vec<_> =
        validator.iter_errors(config).take(MAX_PROBLEMS).flat_map(|error| explainer.explain(&error)).collect();
    problems.sort();
    problems.dedup();
    problems
}

fn compile(schema: &Value) -> Result<Validator, String> {
    if let Some(reference) = endless(schema) {
        return Err(format!("`{reference}` refers to itself, or to too many others"));
    }
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .offline()
        .build(schema)
        .map_err(|error| shorten(&error.to_string()))
}

/// A `$ref` that comes back to itself without going into a value first, or a chain of them so long that it might as
/// well: judging anything by it would not end, or only with the stack.
fn endless(schema: &Value) -> Option<String> {
    let mut heights = HashMap::new();
    let mut rest = vec![schema];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str)
                    && height(schema, value, &mut heights, 0).is_none()
                {
                    return Some(shorten(reference));
                }
                rest.extend(members.values());
            }
            Value::Array(items) => rest.extend(items),
            _ => {}
        }
    }
    None
}

/// How many schemas at most are applied to one value by this one; nothing when they are too many.
fn height(
    root: &Value,
    schema: &Value,
    heights: &mut HashMap<*const Value, Option<usize>>,
    level: usize,
) -> Option<usize> {
    let fits = |height: &usize| level + height <= MAX_CHAIN;
    if let Some(known) = heights.get(&std::ptr::from_ref(schema)) {
        // Nothing is known of one that is still being measured: it comes back to itself.
        return known.filter(fits);
    }
    heights.insert(schema, None);
    let mut height = 1;
    for next in applied_to_the_same_value(root, schema) {
        if level >= MAX_CHAIN {
            return None;
        }
        height = height.max(1 + self::height(root, next, heights, level + 1)?);
    }
    heights.insert(schema, Some(height));
    Some(height).filter(fits)
}

fn applied_to_the_same_value<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    let mut out: Vec<&Value> = local(root, schema).into_iter().collect();
    for key in ["allOf", "anyOf", "oneOf"] {
        out.extend(schema.get(key).and_then(Value::as_array).into_iter().flatten());
    }
    out.extend(["not", "if", "then", "else"].into_iter().filter_map(|key| schema.get(key)));
    out
}

/// What a local `$ref` refers to.
fn local<'s>(root: &'s Value, schema: &Value) -> Option<&'s Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}

struct Explainer<'s> {
    schema: &'s Value,
}

impl Explainer<'_> {
    /// The schema that contains the keyword that failed.
    fn around(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.schema.pointer(parent)
    }

    fn explain(&self, error: &ValidationError<'_>) -> Vec<ConfigProblem> {
        use ValidationErrorKind as Kind;
        let instance: &Value = error.instance();
        let at = error.instance_path().as_str();
        let around = self.around(error);
        let about = around.and_then(|schema| schema.get("description")).and_then(Value::as_str).map(str::to_owned);
        let found = describe(instance);
        let one = |message: String, help: Option<String>| vec![ConfigProblem { pointer: at.to_owned(), message, help }];
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let known: Vec<&str> = around
                    .and_then(|schema| schema.get("properties"))
                    .and_then(Value::as_object)
                    .map(|known| known.keys().map(String::as_str).collect())
                    .unwrap_or_default();
                let unknown = |key: &String| ConfigProblem {
                    pointer: crate::tree::join(at, key),
                    message: format!("the key `{}` is not known here", shorten(key)),
                    help: suggest::hint(key, known.iter().copied()),
                };
                unexpected.iter().map(unknown).collect()
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let about = around
                    .and_then(|schema| schema.get("properties")?.get(key)?.get("description")?.as_str())
                    .map(|about| format!("add `{key}`: {about}"));
                one(format!("the key `{key}` is missing"), about)
            }
            Kind::Type { kind } => {
                let expected = match kind {
                    TypeKind::Single(kind) => word(*kind).to_owned(),
                    TypeKind::Multiple(kinds) => kinds.iter().map(word).collect::<Vec<_>>().join(" or "),
                };
                let quotes = match (kind, instance) {
                    (TypeKind::Single(JsonType::String), Value::Number(_) | Value::Bool(_)) => {
                        Some(format!("write it in quotes: `\"{instance}\"`"))
                    }
                    (TypeKind::Single(JsonType::Integer | JsonType::Number), Value::String(text))
                        if text.parse::<f64>().is_ok() =>
                    {
                        Some(format!("write {text} without quotes"))
                    }
                    _ => about,
                };
                one(format!("this must be {expected}, found {found}"), quotes)
            }
            Kind::Enum { options } => {
                let options: Vec<String> = options.as_array().into_iter().flatten().map(plain).collect();
                let near =
                    instance.as_str().and_then(|text| suggest::nearest(text, options.iter().map(String::as_str)));
                let help = near.map(|near| format!("did you mean `{near}`?"));
                let list = suggest::list(options.iter().map(String::as_str));
                one(format!("this must be one of {list}, found {found}"), help)
            }
            Kind::Constant { expected_value } => {
                one(format!("this must be `{}`, found {found}", plain(expected_value)), about)
            }
            Kind::Minimum { limit } => one(format!("{instance} is too small; the least is {limit}"), about),
            Kind::Maximum { limit } => one(format!("{instance} is too large; the most is {limit}"), about),
            Kind::ExclusiveMinimum { limit } => one(format!("{instance} is too small; it must be over {limit}"), about),
            Kind::ExclusiveMaximum { limit } => {
                one(format!("{instance} is too large; it must be under {limit}"), about)
            }
            Kind::MultipleOf { multiple_of } => one(format!("{instance} is not a multiple of {multiple_of}"), about),
            Kind::MinItems { limit } => one(format!("this needs at least {}", some(*limit, "item")), about),
            Kind::MaxItems { limit } => one(format!("this has more than {}", some(*limit, "item")), about),
            Kind::MinLength { limit: 1 } => one("this is empty".to_owned(), about),
            Kind::MinLength { limit } => one(format!("this needs at least {}", some(*limit, "character")), about),
            Kind::MaxLength { limit } => one(format!("this has more than {}", some(*limit, "character")), about),
            Kind::MinProperties { limit } => one(format!("this needs at least {}", some(*limit, "key")), about),
            Kind::MaxProperties { limit } => one(format!("this has more than {}", some(*limit, "key")), about),
            Kind::UniqueItems => one("this has the same item twice".to_owned(), about),
            Kind::Pattern { pattern } => {
                let help = about.unwrap_or_else(|| format!("it must match `{}`", shorten(pattern)));
                one(format!("{found} does not have the right form"), Some(help))
            }
            Kind::Format { format } => one(format!("{found} is not a valid {format}"), about),
            Kind::FalseSchema => one("this key cannot be used here".to_owned(), about),
            Kind::PropertyNames { error } => {
                let name = error.instance().as_str().map(shorten).unwrap_or_default();
                one(format!("the key `{name}` does not have the right form"), about)
            }
            Kind::OneOfMultipleValid { .. } => {
                one("this fits several of the alternatives; it must be exactly one of them".to_owned(), about)
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => self
                .alternatives(error, context)
                .unwrap_or_else(|| one(format!("{found} is none of the alternatives"), about)),
            _ => one(shorten(&error.to_string()), about),
        }
    }

    /// What to say when no alternative fits: the problems of the one that was meant, if that can be told, else what all
    /// of them are.
    fn alternatives(
        &self,
        error: &ValidationError<'_>,
        context: &[Vec<ValidationError<'static>>],
    ) -> Option<Vec<ConfigProblem>> {
        let here = error.instance_path().as_str();
        // Whose type does not fit was not meant; neither was one that lacks a key, if another one does not.
        let of_type = |errors: &&Vec<ValidationError<'static>>| {
            !errors.iter().any(|error| {
                error.instance_path().as_str() == here
                    && matches!(
                        error.kind(),
                        ValidationErrorKind::Type { .. }
                            | ValidationErrorKind::Enum { .. }
                            | ValidationErrorKind::Constant { .. }
                    )
            })
        };
        let complete = |errors: &&Vec<ValidationError<'static>>| {
            !errors.iter().any(|error| {
                error.instance_path().as_str() == here && matches!(error.kind(), ValidationErrorKind::Required { .. })
            })
        };
        let fitting: Vec<_> = context.iter().filter(of_type).collect();
        let whole: Vec<_> = fitting.iter().copied().filter(complete).collect();
        for meant in [whole, fitting] {
            if let [only] = meant.as_slice() {
                return Some(only.iter().flat_map(|error| self.explain(error)).collect());
            }
        }
        let branches = self.around(error)?.get(error.kind().keyword())?.as_array()?;
        let names: Vec<String> = branches.iter().filter_map(|branch| self.name(branch)).collect();
        if names.len() != branches.len() || names.is_empty() {
            return None;
        }
        let message = format!("this must be {}, found {}", names.join(" or "), describe(error.instance()));
        // A key that none of them knows is most likely the reason.
        let known: Vec<&str> = branches.iter().flat_map(|branch| self.keys(branch)).collect();
        let unknown =
            error.instance().as_object().into_iter().flat_map(Map::keys).find(|key| !known.contains(&key.as_str()));
        let help = unknown.and_then(|key| {
            let near = suggest::nearest(key, known.iter().copied())?;
            Some(format!("`{}` is not known here; did you mean `{near}`?", shorten(key)))
        });
        Some(vec![ConfigProblem { pointer: here.to_owned(), message, help }])
    }

    fn resolve<'s>(&'s self, mut schema: &'s Value) -> &'s Value {
        for _ in 0..16 {
            match local(self.schema, schema) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    fn keys<'s>(&'s self, branch: &'s Value) -> impl Iterator<Item = &'s str> {
        let properties = self.resolve(branch).get("properties").and_then(Value::as_object);
        properties.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// An alternative in a few words.
    fn name(&self, branch: &Value) -> Option<String> {
        let branch = self.resolve(branch);
        if let Some(value) = branch.get("const") {
            return Some(format!("`{}`", plain(value)));
        }
        if let Some(options) = branch.get("enum").and_then(Value::as_array) {
            return Some(options.iter().map(|o| format!("`{}`", plain(o))).collect::<Vec<_>>().join(" or "));
        }
        let required = branch.get("required").and_then(Value::as_array).and_then(|keys| keys.first()).map(plain);
        if let Some(key) = required.or_else(|| self.keys(branch).next().map(str::to_owned)) {
            return Some(format!("a map with `{key}`"));
        }
        Some(match branch.get("type")?.as_str()? {
            "null" => "nothing".to_owned(),
            "boolean" => "`true` or `false`".to_owned(),
            "integer" => "a whole number".to_owned(),
            "number" => "a number".to_owned(),
            "string" => "a text".to_owned(),
            "array" => "a list".to_owned(),
            _ => "a map of keys".to_owned(),
        })
    }
}

fn some(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn word(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "nothing",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a text",
        JsonType::Array => "a list",
        JsonType::Object => "a map of keys",
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| shorten(&value.to_string()), shorten)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text `{}`", shorten(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map of keys".to_owned(),
    }
}

/// Puts the defaults of a plugin's schema into a configuration: into the whole, its nested maps and the items of its
/// lists. Of alternatives (`anyOf`, `oneOf`) the first one that fits is followed. What is there stays as it is.
pub fn fill_defaults(schema: &Value, config: &mut Value) {
    if endless(schema).is_none() {
        Defaults { root: schema, left: MAX_DEFAULTS, depth: 0 }.fill(schema, config);
    }
}

struct Defaults<'s> {
    root: &'s Value,
    /// How many more steps it may take: a default may have a default in it, and that one too.
    left: usize,
    depth: usize,
}

impl Defaults<'_> {
    fn fill(&mut self, schema: &Value, value: &mut Value) {
        let Some(left) = self.left.checked_sub(1).filter(|_| self.depth < MAX_DEPTH) else { return };
        self.left = left;
        self.depth += 1;
        self.fill_one(schema, value);
        self.depth -= 1;
    }

    fn fill_one(&mut self, schema: &Value, value: &mut Value) {
        if let Some(target) = local(self.root, schema) {
            self.fill(target, value);
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.fill(part, value);
        }
        for key in ["anyOf", "oneOf"] {
            let branches = schema.get(key).and_then(Value::as_array).into_iter().flatten();
            if let Some(branch) = branches.into_iter().find(|branch| self.fits(branch, value)) {
                self.fill(branch, value);
            }
        }
        match value {
            Value::Object(members) => {
                let properties = schema.get("properties").and_then(Value::as_object);
                for (name, property) in properties.into_iter().flatten() {
                    if !members.contains_key(name)
                        && let Some(default) = self.default_of(property)
                    {
                        members.insert(name.clone(), default);
                    }
                    if let Some(member) = members.get_mut(name) {
                        self.fill(property, member);
                    }
                }
                if let Some(rest) = schema.get("additionalProperties").filter(|rest| rest.is_object()) {
                    let named = |name: &str| properties.is_some_and(|properties| properties.contains_key(name));
                    for (_, member) in members.iter_mut().filter(|(name, _)| !named(name)) {
                        self.fill(rest, member);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(item) = schema.get("items") {
                    items.iter_mut().for_each(|value| self.fill(item, value));
                }
            }
            _ => {}
        }
    }

    /// A property's default, its own before that of what it refers to.
    fn default_of(&self, property: &Value) -> Option<Value> {
        let mut schema = property;
        for _ in 0..16 {
            if let Some(default) = schema.get("default") {
                return (!default.is_null()).then(|| default.clone());
            }
            schema = local(self.root, schema)?;
        }
        None
    }

    fn fits(&self, branch: &Value, value: &Value) -> bool {
        let mut whole = branch.clone();
        if let Value::Object(whole) = &mut whole {
            for key in ["$defs", "definitions"] {
                if let Some(definitions) = self.root.get(key) {
                    whole.insert(key.to_owned(), definitions.clone());
                }
            }
        }
        compile(&whole).is_ok_and(|validator| validator.is_valid(value))
    }
}
