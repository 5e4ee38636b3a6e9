//! Expressions in templates: the Common Expression Language (<https://cel.dev>), as in an analysis' conditions.

use cel::common::ast::{EntryExpr, Expr};
use cel::objects::Key;
use cel::{Context, IdedExpr, Program, Value as CelValue};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest expression, in bytes: the parser recurses.
const LONGEST: usize = 2048;

/// The types that an expression may name, as in `type(x) == string`.
const TYPES: [&str; 11] =
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "optional_type"];

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

    /// Whether it can be read, and uses no other names than these.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, source: &str, names: &[&str]) -> Result<(), String> {
        let program = self.program(source)?;
        match unknown(program.expression(), &mut names.to_vec()) {
            None => Ok(()),
            Some(name) => {
                Err(format!("`{source}` uses `{name}`, which is no name here: there are {}", names.join(", ")))
            }
        }
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

/// The first name that an expression uses and that is not known: neither from the start, nor made by a macro such as `map`.
fn unknown<'e>(expression: &'e IdedExpr, known: &mut Vec<&'e str>) -> Option<&'e str> {
    let mut any = |all: &mut dyn Iterator<Item = &'e IdedExpr>| {
        for one in all {
            if let Some(name) = unknown(one, known) {
                return Some(name);
            }
        }
        None
    };
    match &expression.expr {
        // What begins with `@` is a macro's own, and types are names, too.
        Expr::Ident(name) => {
            let own = name.starts_with('@') || TYPES.contains(&name.as_str()) || known.contains(&name.as_str());
            (!own).then_some(name)
        }
        Expr::Call(call) => any(&mut call.target.iter().map(Box::as_ref).chain(&call.args)),
        Expr::List(list) => any(&mut list.elements.iter()),
        Expr::Select(select) => unknown(&select.operand, known),
        Expr::Map(map) => any(&mut map.entries.iter().flat_map(|entry| parts(&entry.expr))),
        Expr::Struct(made) => any(&mut made.entries.iter().flat_map(|entry| parts(&entry.expr))),
        Expr::Comprehension(of) => {
            let outside = unknown(&of.iter_range, known).or_else(|| unknown(&of.accu_init, known));
            if outside.is_some() {
                return outside;
            }
            let before = known.len();
            known.push(&of.iter_var);
            known.extend(of.iter_var2.as_deref());
            known.push(&of.accu_var);
            let inside = [&of.loop_cond, &of.loop_step, &of.result].into_iter().find_map(|one| unknown(one, known));
            known.truncate(before);
            inside
        }
        Expr::Literal(_) | Expr::Unspecified => None,
    }
}

/// The expressions of an entry.
fn parts(entry: &EntryExpr) -> impl Iterator<Item = &IdedExpr> {
    let (key, value) = match entry {
        EntryExpr::StructField(field) => (None, &field.value),
        EntryExpr::MapEntry(entry) => (Some(&entry.key), &entry.value),
    };
    key.into_iter().chain([value])
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
    fn a_name_that_nobody_declares_is_told_before_anything_is_asked_for() {
        let all = Expressions::default();
        let names = ["body", "children"];
        let good = [
            "body.replicas + 1",
            "has(body.x) && body.x.exists(l, body.x[l] != null && l != 'a')",
            "children.revision.map(r, {'id': r.id, 'n': r.all.filter(x, x > r.least).size()})",
            "type(body) == map ? [body, {body.k: 1}] : children",
        ];
        for source in good {
            assert_eq!(all.check(source, &names), Ok(()), "{source}");
        }
        let bad = [
            ("nonsense.x", "nonsense"),
            ("body.map(r, r.id) == r", "r"),
            ("body.all(b, b.id == other)", "other"),
            ("{'a': {typo: 1}}", "typo"),
            ("size([children, what])", "what"),
        ];
        for (source, name) in bad {
            let wrong = all.check(source, &names).unwrap_err();
            assert!(wrong.contains(&format!("uses `{name}`")) && wrong.contains("body, children"), "{wrong}");
        }
    }

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
        assert!(all.check("1 +", &[]).is_err());
        assert_eq!(all.holds("size(children.revision) == 2", &names), Ok(true));
    }
}
