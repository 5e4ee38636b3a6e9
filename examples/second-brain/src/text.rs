//! Progressive summary on plain Markdown: highlighted passages, sentences, and the digest section.
//! Pure functions on a note's body.

use std::ops::Range;

const HEADING: &str = "## Digest";
const BEGIN: &str = "<!-- digest: rewritten by distill_note, write outside these two lines -->";
const END: &str = "<!-- digest end -->";

/// What became of a passage to highlight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marking {
    /// The new body, with the passage highlighted.
    Marked(String),
    /// It was highlighted before.
    Already,
    /// The note's own text does not have it on one line.
    Missing,
}

/// The passages somebody marked as `==important==` or `**bold**`, in the order of the text.
pub fn highlights(body: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (_, line) in own_lines(body) {
        let mut marked = delimited(line, "==");
        for bold in delimited(line, "**") {
            let inside = |outer: &Range<usize>| outer.start <= bold.start && bold.end <= outer.end;
            if !marked.iter().any(inside) {
                marked.push(bold);
            }
        }
        marked.sort_by_key(|range| range.start);
        for range in marked {
            let passage = plain(line.get(range).unwrap_or_default());
            if !passage.is_empty() && !found.contains(&passage) {
                found.push(passage);
            }
        }
    }
    found
}

/// The body's sentences, without headings, code, comments and marks.
pub fn sentences(body: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut sentence = String::new();
    let mut finish = |sentence: &mut String| {
        let text = plain(sentence);
        if text.chars().any(char::is_alphanumeric) {
            found.push(text);
        }
        sentence.clear();
    };
    for (_, line) in own_lines(body) {
        let line = line.trim();
        let item = ["- [ ] ", "- [x] ", "- ", "* ", "+ ", "> "].iter().find_map(|mark| line.strip_prefix(mark));
        if line.is_empty() || line.starts_with('#') || line.starts_with("<!--") || item.is_some() {
            finish(&mut sentence);
        }
        if line.starts_with('#') || line.starts_with("<!--") {
            continue;
        }
        for word in item.unwrap_or(line).split_whitespace() {
            if !sentence.is_empty() {
                sentence.push(' ');
            }
            sentence.push_str(word);
            if word.trim_end_matches(['"', ')', '*', '=']).ends_with(['.', '!', '?', '。']) {
                finish(&mut sentence);
            }
        }
    }
    finish(&mut sentence);
    found
}

/// The points of the digest section, if there is one.
pub fn digest(body: &str) -> Option<Vec<String>> {
    let range = digest_range(body)?;
    Some(body.get(range)?.lines().filter_map(|line| line.strip_prefix("- ")).map(str::to_owned).collect())
}

/// The body with its digest replaced, or put at its top. Nothing else changes.
pub fn with_digest(body: &str, points: &[String]) -> String {
    let mut list = String::new();
    for point in points {
        list.push_str("- ");
        // A point must not be able to end the section.
        list.push_str(&point.replace("<!--", "&lt;!--"));
        list.push('\n');
    }
    match digest_range(body).and_then(|range| Some((body.get(..range.start)?, body.get(range.end..)?))) {
        Some((before, after)) => format!("{before}{list}{after}"),
        None => format!("{HEADING}\n\n{BEGIN}\n{list}{END}\n\n{body}"),
    }
}

/// Highlights the first occurrence of a passage that is not highlighted yet.
pub fn mark(body: &str, passage: &str) -> Marking {
    let mut already = false;
    for (start, line) in own_lines(body) {
        let marked = delimited(line, "==");
        for (at, _) in line.match_indices(passage) {
            let end = at + passage.len();
            if marked.iter().any(|m| m.start <= at && end <= m.end) {
                already = true;
                continue;
            }
            // Marks cannot be nested or crossed.
            if marked.iter().any(|m| at < m.end + 2 && m.start < end + 2) {
                continue;
            }
            let (from, to) = (start + at, start + end);
            if let (Some(before), Some(inner), Some(after)) = (body.get(..from), body.get(from..to), body.get(to..)) {
                return Marking::Marked(format!("{before}=={inner}=={after}"));
            }
        }
    }
    if already { Marking::Already } else { Marking::Missing }
}

/// Where the digest's list is: between the two marker lines, if both are there in order.
fn digest_range(body: &str) -> Option<Range<usize>> {
    let opening = format!("{HEADING}\n\n{BEGIN}\n");
    let at = if body.starts_with(&opening) { 0 } else { body.find(&format!("\n{opening}"))? + 1 };
    let start = at + opening.len();
    let rest = body.get(start..)?;
    let length = if rest.starts_with(END) { 0 } else { rest.find(&format!("\n{END}"))? + 1 };
    Some(start..start + length)
}

/// The lines that are the author's prose, with their offsets: no code blocks and no digest.
fn own_lines(body: &str) -> impl Iterator<Item = (usize, &str)> {
    let digest = digest_range(body).unwrap_or(0..0);
    let mut offset = 0;
    let mut fence: Option<&str> = None;
    body.split_inclusive('\n').filter_map(move |raw| {
        let at = offset;
        offset += raw.len();
        let line = raw.trim_end_matches(['\n', '\r']);
        let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => {
                fence = Some(mark);
                return None;
            }
            (Some(open), mark) => {
                if mark == Some(open) {
                    fence = None;
                }
                return None;
            }
            (None, None) => {}
        }
        (!digest.contains(&at)).then_some((at, line))
    })
}

/// The insides of `mark`-delimited passages of a line, as byte ranges.
fn delimited(line: &str, mark: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = line.get(at..).and_then(|rest| rest.find(mark)) {
        let start = at + open + mark.len();
        let Some(length) = line.get(start..).and_then(|rest| rest.find(mark)) else {
            break;
        };
        let inner = line.get(start..start + length).unwrap_or_default();
        // As in `a == b`: a mark that has space inside is not one.
        if inner.is_empty() || inner.trim() != inner {
            at = start;
        } else {
            found.push(start..start + length);
            at = start + length + mark.len();
        }
    }
    found
}

fn plain(text: &str) -> String {
    text.replace("==", "").replace("**", "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &str = "# Notes\n\nFirst ==point one== here. A second\nsentence with **bold**!\n\n\
        ```\n==code== is not text.\n```\n- item ==**both**==\nif a == b and c == d then.\n";

    #[test]
    fn highlights_are_found_in_order_and_once() {
        assert_eq!(highlights(BODY), ["point one", "bold", "both"]);
        assert_eq!(highlights("==a== ==a== ==a"), ["a"]);
        assert_eq!(highlights("==== **** ** x **"), Vec::<String>::new());
    }

    #[test]
    fn sentences_are_prose() {
        assert_eq!(
            sentences(BODY),
            ["First point one here.", "A second sentence with bold!", "item both if a  b and c  d then."]
        );
        assert_eq!(sentences("```\nx\n"), Vec::<String>::new());
    }

    #[test]
    fn the_digest_is_put_on_top_and_then_replaced() {
        let once = with_digest("Text.\n", &["a".into(), "b <!-- digest end -->".into()]);
        assert_eq!(digest(&once).unwrap().len(), 2);
        let twice = with_digest(&once, &["c".into()]);
        assert_eq!(twice, with_digest("Text.\n", &["c".into()]));
        assert_eq!(digest(&twice).unwrap(), ["c"]);
        assert_eq!(sentences(&twice), ["Text."]);
        assert_eq!(digest("Text.\n"), None);
        // Without the closing line nothing is replaced.
        let open = format!("{HEADING}\n\n{BEGIN}\nmine\n");
        assert!(with_digest(&open, &[]).ends_with(&open));
    }

    #[test]
    fn passages_are_marked_where_they_are_text() {
        let marked = |body: &str, passage: &str| match mark(body, passage) {
            Marking::Marked(body) => body,
            other => panic!("{other:?}"),
        };
        assert_eq!(marked("one two two", "two"), "one ==two== two");
        assert_eq!(marked("==two== two", "two"), "==two== ==two==");
        assert_eq!(mark("==one two==", "two"), Marking::Already);
        assert_eq!(mark("==one== two", "one== two"), Marking::Missing);
        assert_eq!(mark("```\ntwo\n```\n", "two"), Marking::Missing);
        assert_eq!(mark("a\nb", "a\nb"), Marking::Missing);
    }

    proptest! {
        #[test]
        fn a_digest_changes_nothing_else(body in "(\\PC|\n|## Digest\n|```\n){0,80}",
            points in proptest::collection::vec("[a-z <!>-]{1,20}", 0..4)) {
            let with = with_digest(&body, &points);
            prop_assert!(with.ends_with(&body));
            prop_assert_eq!(digest(&with).unwrap().len(), points.len());
            prop_assert_eq!(with_digest(&with, &points), with);
        }

        #[test]
        fn a_mark_adds_only_the_mark(body in "([ab .]|=|\n|==|```\n|\u{e4}){0,60}", passage in "[ab\u{e4}]{1,3}") {
            if let Marking::Marked(marked) = mark(&body, &passage) {
                prop_assert_eq!(marked.len(), body.len() + 4);
                prop_assert_eq!(marked.replacen(&format!("=={passage}=="), &passage, 1).replace('=', ""),
                    body.replace('=', ""));
            }
            let _ = (highlights(&body), sentences(&body));
        }
    }
}
