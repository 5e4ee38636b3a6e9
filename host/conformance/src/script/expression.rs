//! Expressions in templates: the Common Expression Language (<https://cel.dev>), as in an analysis' conditions.

use cel::objects::Key;
use cel::{Context, Program, Value as CelValue};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest expression, in bytes: the parser recurses.
const LONGEST: usize = 2048;

/// The member of a template whose value is merged into it.
const SPREAD: &str = "...";

/// Expressions, each read once.
#[derive(Default)]
pub struct Expressions {
    known: Mutex<HashMap<String, Arc<Program>>>,
}

impl std::fmt::Debug for Expressions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expressions").finish_non_exhaustive()
    }
}

/// What is behind the `= ` of a text that is an expression.
#[must_use]
pub fn is_expression(text: &str) -> Option<&str> {
    text.strip_prefix("= ")
}

/// The names that an expression may use.
#[derive(Debug, Clone, Default)]
pub struct Names(Vec<(&'static str, CelValue)>);

impl Names {
    /// One more name.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &Value) -> Self {
        self.0.push((name, to_cel(value)));
        self
    }
}

impl Expressions {
    fn program(&self, source: &str) -> Result<Arc<Program>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = known.get(source) {
            return Ok(Arc::clone(program));
        }
        if source.len() > LONGEST {
            return Err(format!("an expression has {LONGEST} bytes at the most, this one has {}", source.len()));
        }
        let program = Program::compile(source).map_err(|e| format!("`{source}` is not a CEL expression: {e}"))?;
        let program = Arc::new(program);
        known.insert(source.to_owned(), Arc::clone(&program));
        Ok(program)
    }

    /// Whether it can be read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, source: &str) -> Result<(), String> {
        self.program(source).map(drop)
    }

    /// Its value.
    ///
    /// # Errors
    /// Why it has none.
    pub fn value(&self, source: &str, names: &Names) -> Result<Value, String> {
        let program = self.program(source)?;
        let mut context = Context::default();
        for (name, value) in &names.0 {
            context.add_variable_from_value(*name, value.clone());
        }
        let value = program.execute(&context).map_err(|e| format!("`{source}`: {e}"))?;
        value.json().map_err(|e| format!("`{source}`: {e}"))
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub fn holds(&self, source: &str, names: &Names) -> Result<bool, String> {
        match self.value(source, names)? {
            Value::Bool(answer) => Ok(answer),
            other => Err(format!("`{source}` gives {other}, not true or false")),
        }
    }

    /// A template with every expression in it replaced by its value.
    ///
    /// # Errors
    /// Why one of them has none.
    pub fn fill(&self, template: &Value, names: &Names) -> Result<Value, String> {
        match template {
            Value::String(text) => match is_expression(text) {
                Some(source) => self.value(source, names),
                None => Ok(template.clone()),
            },
            Value::Array(all) => {
                all.iter().map(|one| self.fill(one, names)).collect::<Result<_, _>>().map(Value::Array)
            }
            Value::Object(all) => {
                let mut out = Map::new();
                for (name, value) in all {
                    let value = self.fill(value, names)?;
                    match (name == SPREAD, value) {
                        (true, Value::Object(more)) => out.extend(more),
                        (true, Value::Null) => {}
                        (true, other) => return Err(format!("`...` must be an object, not {other}")),
                        (false, value) => {
                            out.insert(name.clone(), value);
                        }
                    }
                }
                Ok(Value::Object(out))
            }
            other => Ok(other.clone()),
        }
    }
}

/// Whole numbers stay signed, as literals in expressions are.
fn to_cel(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => CelValue::Int(whole),
            None => CelValue::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(all) => CelValue::List(Arc::new(all.iter().map(to_cel).collect())),
        Value::Object(all) => {
            let map: HashMap<Key, CelValue> =
                all.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), to_cel(value))).collect();
            CelValue::Map(map.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_filled() {
        let names = Names::default()
            .with("body", &json!({ "replicas": 3, "weights": { "a": 10 } }))
            .with("age", &json!(2500))
            .with("children", &json!({ "revision": [{ "id": "a" }, { "id": "b" }] }));
        let all = Expressions::default();
        let template = json!({
            "...": "= body",
            "available": "= age >= 2000 ? body.replicas : 0",
            "ids": "= children.revision.map(r, {'id': r.id, 'weight': r.id in body.weights ? body.weights[r.id] : 0})",
            "text": "plain",
        });
        assert_eq!(
            all.fill(&template, &names).unwrap(),
            json!({
                "replicas": 3, "weights": { "a": 10 }, "available": 3,
                "ids": [{ "id": "a", "weight": 10 }, { "id": "b", "weight": 0 }], "text": "plain",
            })
        );
        assert!(all.fill(&json!("= nothing.at.all"), &names).is_err());
        assert!(all.check("1 +").is_err());
        assert_eq!(all.holds("size(children.revision) == 2", &names), Ok(true));
    }
}
