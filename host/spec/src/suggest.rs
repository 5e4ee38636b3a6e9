//! "Did you mean": the nearest of the names that would have been right.

/// The longest name that is compared, in bytes.
const LONGEST: usize = 80;
/// The most names that are compared.
const MOST: usize = 1000;

/// The nearest name, if one is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A distance costs time by the product of both lengths; nobody misspells a name that long.
    if name.len() > LONGEST {
        return None;
    }
    let folded = fold(name);
    known
        .into_iter()
        .take(MOST)
        .filter(|candidate| *candidate != name && candidate.len() <= LONGEST)
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowed(name.len().max(candidate.len())))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What to do about a name that is not known: the nearest one, else all of them when they are few.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(near) = nearest(name, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = known.into_iter().collect();
    (!all.is_empty() && all.len() <= 16).then(|| format!("known here: {}", list(all)))
}

/// Names for a sentence.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// `depends_on`, `depends-on` and `DependsOn` are all meant as `dependsOn`.
fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

fn distance(a: &str, b: &str) -> usize {
    strsim::damerau_levenshtein(a, b)
}

fn allowed(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        6..=8 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_be_meant_is_suggested() {
        assert_eq!(nearest("depends_on", ["dependsOn", "strategy"]), Some("dependsOn"));
        assert_eq!(nearest("replcias", ["replicas", "listen"]), Some("replicas"));
        assert_eq!(nearest("zzz", ["replicas", "listen"]), None);
        assert_eq!(nearest("a", ["b"]), None);
        assert_eq!(hint("zzz", ["a", "b"]), Some("known here: `a`, `b`".to_owned()));
        assert_eq!(hint("zzz", []), None);
    }
}
