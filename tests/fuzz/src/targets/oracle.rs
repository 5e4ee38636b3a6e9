//! Second, simpler readings of patterns, written from their description and not from their code.

/// Whether a host pattern, as it is shown, covers a name in lower case.
pub fn host_covers(pattern: &str, name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    let fits = |suffix: &str| {
        let suffix: Vec<&str> = suffix.split('.').collect();
        let front = labels.len().checked_sub(suffix.len())?;
        (labels[front..] == suffix[..]).then_some(front)
    };
    // A name with an empty label in front leads nowhere, but it is a name for a parser of URLs.
    if let Some(suffix) = pattern.strip_prefix("**.") {
        fits(suffix).is_some_and(|front| !labels[..front].join(".").is_empty())
    } else if let Some(suffix) = pattern.strip_prefix("*.") {
        fits(suffix) == Some(1) && !labels[0].is_empty()
    } else {
        pattern == name
    }
}

/// Whether a path pattern covers a path; nothing if it uses more than literal characters, `*`, and `**` for whole segments.
pub fn path_covers(pattern: &str, path: &str) -> Option<bool> {
    let pattern: Vec<&str> = pattern.strip_prefix('/')?.split('/').collect();
    let simple = |segment: &&str| *segment == "**" || (is_plain(segment) && !segment.contains("**"));
    if !pattern.iter().all(simple) {
        return None;
    }
    let Some(path) = path.strip_prefix('/') else { return Some(false) };
    let path: Vec<&str> = path.split('/').collect();
    Some(segments_cover(&pattern, &path))
}

fn segments_cover(pattern: &[&str], path: &[&str]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ["**"] => !path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|skip| segments_cover(rest, &path[skip..])),
        [first, rest @ ..] => path.split_first().is_some_and(|(segment, path)| {
            stars_cover(first.as_bytes(), segment.as_bytes()) && segments_cover(rest, path)
        }),
    }
}

/// Whether a text pattern covers a text; nothing if it uses more than literal characters and single `*`.
pub fn text_covers(pattern: &str, text: &str) -> Option<bool> {
    (is_plain(pattern) && !pattern.contains("**")).then(|| stars_cover(pattern.as_bytes(), text.as_bytes()))
}

fn is_plain(pattern: &str) -> bool {
    pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*/._-:=".contains(&byte))
        && pattern.bytes().filter(|byte| *byte == b'*').count() < 6
}

fn stars_cover(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| stars_cover(rest, &text[skip..])),
        Some((byte, rest)) => text.split_first().is_some_and(|(first, text)| first == byte && stars_cover(rest, text)),
    }
}

/// Whether a container engine would make a container of this that has nothing of its machine: read as Go reads JSON, where
/// letters of any case, and some that only fold to them, make the same key.
pub(crate) fn is_apart_from_the_machine(body: &[u8]) -> bool {
    use serde_json::Value;
    let fold = |key: &str| key.to_lowercase().replace('\u{17f}', "s").replace('\u{212a}', "k");
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(body) else { return true };
    let hosts = body.iter().filter(|(key, _)| fold(key) == "hostconfig").filter_map(|(_, value)| value.as_object());
    hosts.flatten().all(|(key, value)| match fold(key).as_str() {
        "privileged" => *value != Value::Bool(true),
        "networkmode" | "pidmode" | "ipcmode" | "utsmode" | "usernsmode" => value != "host",
        "mounts" => value.as_array().into_iter().flatten().all(|mount| {
            let of_kind =
                |kind: &str| mount.as_object().is_some_and(|m| m.iter().any(|(k, v)| fold(k) == "type" && v == kind));
            !of_kind("bind") && !of_kind("volume")
        }),
        "capadd" | "devices" => value.as_array().is_none_or(Vec::is_empty),
        "binds" | "volumesfrom" | "devicerequests" | "devicecgrouprules" | "runtime" | "maskedpaths" => value.is_null(),
        _ => true,
    })
}
