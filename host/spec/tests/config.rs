//! Plugin configurations against the schema of a plugin.

use basb_spec::{Choice, ConfigProblem, check_config, fill_defaults, parse};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;

fn canary() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["steps"],
        "properties": {
            "steps": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/step" },
                       "description": "what is done, in this order" },
            "maxSurge": { "type": "integer", "minimum": 0, "default": 1 },
            "mode": { "enum": ["fast", "careful"], "default": "careful" },
            "limits": { "$ref": "#/$defs/limits", "default": {} },
            "header": { "type": "string", "pattern": "^x-", "description": "a header that begins with `x-`" },
            "anything": {}
        },
        "$defs": {
            "limits": { "type": "object", "additionalProperties": false,
                        "properties": { "cpu": { "type": "integer", "default": 2 }, "memory": { "type": "string" } } },
            "step": { "oneOf": [
                { "type": "object", "required": ["setWeight"], "additionalProperties": false,
                  "properties": { "setWeight": { "type": "integer", "minimum": 0, "maximum": 100 } } },
                { "type": "object", "required": ["pause"], "additionalProperties": false,
                  "properties": { "pause": { "type": "object", "additionalProperties": false, "properties": {
                      "duration": { "type": "string" },
                      "onTimeout": { "enum": ["abort", "continue"], "default": "abort" } } } } }
            ] }
        }
    })
}

fn problems(config: &Value) -> Vec<(String, String, Option<String>)> {
    check_config(&canary(), config)
        .into_iter()
        .map(|ConfigProblem { pointer, message, help }| (pointer, message, help))
        .collect()
}

fn one(pointer: &str, message: &str, help: Option<&str>) -> Vec<(String, String, Option<String>)> {
    vec![(pointer.to_owned(), message.to_owned(), help.map(str::to_owned))]
}

#[test]
fn problems_say_what_where_and_what_to_do() {
    let with = |key: &str, value: Value| json!({ "steps": [{ "setWeight": 5 }], key: value });
    for (config, expected) in [
        (json!({}), one("", "the key `steps` is missing", Some("add `steps`: what is done, in this order"))),
        (
            with("maxsurge", json!(1)),
            one("/maxsurge", "the key `maxsurge` is not known here", Some("did you mean `maxSurge`?")),
        ),
        (
            with("maxSurge", json!("2")),
            one("/maxSurge", "this must be a whole number, found the text `2`", Some("write 2 without quotes")),
        ),
        (with("maxSurge", json!(-1)), one("/maxSurge", "-1 is too small; the least is 0", None)),
        (
            with("mode", json!("carefull")),
            one(
                "/mode",
                "this must be one of `fast`, `careful`, found the text `carefull`",
                Some("did you mean `careful`?"),
            ),
        ),
        (
            with("header", json!("y")),
            one("/header", "the text `y` does not have the right form", Some("a header that begins with `x-`")),
        ),
        (
            with("header", json!(5)),
            one("/header", "this must be a text, found the number 5", Some("write it in quotes: `\"5\"`")),
        ),
        (
            with("limits", json!({ "cpus": 1 })),
            one("/limits/cpus", "the key `cpus` is not known here", Some("did you mean `cpu`?")),
        ),
        (json!({ "steps": [] }), one("/steps", "this needs at least 1 item", Some("what is done, in this order"))),
        (
            json!({ "steps": [{ "setWeight": 500 }] }),
            one("/steps/0/setWeight", "500 is too large; the most is 100", None),
        ),
        (
            json!({ "steps": [{ "setWeight": 5, "for": 1 }] }),
            one("/steps/0/for", "the key `for` is not known here", Some("known here: `setWeight`")),
        ),
        (
            json!({ "steps": [{ "setweight": 5 }] }),
            one(
                "/steps/0",
                "this must be a map with `setWeight` or a map with `pause`, found a map of keys",
                Some("`setweight` is not known here; did you mean `setWeight`?"),
            ),
        ),
        (
            json!({ "steps": [7] }),
            one("/steps/0", "this must be a map with `setWeight` or a map with `pause`, found the number 7", None),
        ),
        (
            json!({ "steps": [{ "pause": { "onTimeout": "stop" } }] }),
            one("/steps/0/pause/onTimeout", "this must be one of `abort`, `continue`, found the text `stop`", None),
        ),
        (with("anything", json!([1, { "a": null }])), vec![]),
    ] {
        assert_eq!(problems(&config), expected, "{config}");
    }
}

#[test]
fn all_problems_are_told() {
    let config = json!({ "steps": [{ "setWeight": 500 }, 7], "maxSurge": "x", "foo": 1 });
    let pointers: Vec<_> = problems(&config).into_iter().map(|problem| problem.0).collect();
    assert_eq!(pointers, ["/foo", "/maxSurge", "/steps/0/setWeight", "/steps/1"]);
}

#[test]
fn a_schema_that_cannot_be_used_is_never_a_pass() {
    for schema in [
        json!({ "type": "banana" }),
        json!({ "$ref": "#/$defs/none" }),
        json!({ "$ref": "https://example.com/schema.json" }),
        json!({ "$ref": "file:///etc/passwd" }),
        json!({ "$ref": "#" }),
        json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "allOf": [{ "$ref": "#/$defs/a" }] } }, "$ref": "#/$defs/a" }),
        json!({ "pattern": "(" }),
        json!({ "pattern": "(a)\\1" }),
        json!(7),
    ] {
        let problems = check_config(&schema, &json!({ "a": "b" }));
        assert_eq!(problems.len(), 1, "{schema}: {problems:?}");
        assert!(problems[0].message.contains("cannot be used"), "{schema}: {problems:?}");
    }
}

#[test]
fn a_schema_that_refers_to_itself_inside_of_a_value_is_fine() {
    let chain: serde_json::Map<_, _> =
        (0..200).map(|i| (format!("d{i}"), json!({ "$ref": format!("#/$defs/d{}", i + 1) }))).collect();
    assert_eq!(check_config(&json!({ "$defs": chain, "$ref": "#/$defs/d0" }), &json!(1)).len(), 1);
    let tree = json!({ "$defs": { "node": { "type": "object", "properties": {
        "children": { "type": "array", "items": { "$ref": "#/$defs/node" } }, "size": { "type": "integer", "default": 1 }
    } } }, "$ref": "#/$defs/node" });
    let mut config = json!({ "children": [{ "children": [{}] }] });
    assert_eq!(check_config(&tree, &config), vec![]);
    fill_defaults(&tree, &mut config);
    assert_eq!(config, json!({ "children": [{ "children": [{ "size": 1 }], "size": 1 }], "size": 1 }));
    let wrong = check_config(&tree, &json!({ "children": [{ "children": [{ "size": "x" }] }] }));
    assert_eq!(wrong[0].pointer, "/children/0/children/0/size");
}

#[test]
fn defaults_are_filled_in_but_never_over_what_is_there() {
    let mut config = json!({ "steps": [{ "setWeight": 5 }, { "pause": {} }], "mode": "fast" });
    fill_defaults(&canary(), &mut config);
    let expected = json!({ "steps": [{ "setWeight": 5 }, { "pause": { "onTimeout": "abort" } }], "mode": "fast",
        "maxSurge": 1, "limits": { "cpu": 2 } });
    assert_eq!(config, expected);
    assert_eq!(problems(&config), vec![]);
}

#[test]
fn a_default_that_breeds_defaults_ends() {
    let schema = json!({ "properties": { "a": { "$ref": "#", "default": {} }, "b": { "$ref": "#", "default": {} } } });
    let mut config = json!({});
    fill_defaults(&schema, &mut config);
    assert!(config.to_string().len() < 100_000);
}

/// What a plugin says about its configuration is shown at the line of the file.
#[test]
fn a_problem_of_a_plugin_has_a_line() {
    let text = include_str!("good/full.yaml");
    let loaded = parse(text, "full.yaml", Path::new("/"), Choice::default()).unwrap();
    let base = "/strategies/careful/config";
    let at = loaded.source.diagnostic_at(&format!("{base}/steps/2/setWeight"), "config/x", "no", None);
    let place = at.location.unwrap();
    assert_eq!((place.line, place.column), (64, 22));
    assert_eq!(&text[place.span.start..place.span.end], "50");
    // What is not in the file is shown at what encloses it.
    let at = loaded.source.diagnostic_at(&format!("{base}/maxSurge"), "config/x", "no", None);
    let place = at.location.unwrap();
    assert_eq!(&text[place.span.start..place.span.end], "config");
    let json = serde_json::to_value(&at).unwrap();
    assert_eq!(json["pointer"], "/strategies/careful/config/maxSurge");
    // An override leads to the override.
    let at = loaded.source.locate("/services/capture/replicas");
    assert_eq!((at.line, &text[at.span.start..at.span.end]), (27, "3"));
    // Another environment is there as it is written.
    let at = loaded.source.locate("/environments/docker/provider/config/network");
    assert_eq!(&text[at.span.start..at.span.end], "\"net-${release}\"");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5i32..500).prop_map(Value::from),
        "(fast|careful|abort|x-y|[a-z]{0,4})".prop_map(Value::from),
    ];
    let key = "(steps|setWeight|pause|onTimeout|maxSurge|mode|limits|cpu|header|[a-z]{1,3})";
    leaf.prop_recursive(4, 30, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn checking_agrees_with_the_validator_and_defaults_keep_it(mut config in value()) {
        let valid = jsonschema::is_valid(&canary(), &config);
        let before = check_config(&canary(), &config);
        prop_assert_eq!(valid, before.is_empty(), "{:?}", before);
        fill_defaults(&canary(), &mut config);
        if valid {
            prop_assert_eq!(check_config(&canary(), &config), vec![]);
        }
        let once = config.clone();
        fill_defaults(&canary(), &mut config);
        prop_assert_eq!(once, config);
    }
}
