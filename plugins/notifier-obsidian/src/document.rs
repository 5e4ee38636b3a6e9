//! Editing the log: a pure function from what is there to what should be there.
//!
//! A line of ours ends with a comment that Obsidian hides: `%% basb:KEY.RANK.SUM %%`. KEY tells which event it is for,
//! RANK (the event's time) which of two is newer, and SUM whether a person changed the line since: such a line is
//! theirs, and stays as it is.

/// The parts of the log that lines go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Goals,
    Deployments,
    Testing,
    Health,
    Alerts,
    Description,
    ActionsTaken,
    References,
}

/// The sections of a log with their subsections, in order.
const OUTLINE: &[(&str, &[&str])] = &[
    ("Today's DevOps Goals", &[]),
    ("Completed Work", &["Deployments", "Basic Service Testing"]),
    ("Monitoring Status", &["System Health", "Alerts Overview"]),
    ("Issues Encountered", &["Description", "Actions Taken"]),
    ("Tomorrow's Plan", &[]),
    ("References", &[]),
];

impl Section {
    /// The titles of the section, and of the subsection if it is one.
    fn titles(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Goals => ("Today's DevOps Goals", None),
            Self::Deployments => ("Completed Work", Some("Deployments")),
            Self::Testing => ("Completed Work", Some("Basic Service Testing")),
            Self::Health => ("Monitoring Status", Some("System Health")),
            Self::Alerts => ("Monitoring Status", Some("Alerts Overview")),
            Self::Description => ("Issues Encountered", Some("Description")),
            Self::ActionsTaken => ("Issues Encountered", Some("Actions Taken")),
            Self::References => ("References", None),
        }
    }
}

/// What happens to a line that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is added.
    Add,
    /// It is left out: only one that is there is brought up to date.
    Leave,
}

/// A line of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    section: Section,
    key: String,
    rank: u64,
    text: String,
    pub(crate) missing: Missing,
}

impl Line {
    /// A line in a section. Line breaks and comment signs in the text are taken out.
    pub(crate) fn new(section: Section, key: &str, rank: u64, text: &str) -> Self {
        let plain: String =
            text.split(|c: char| c.is_control()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
        let mut text = plain.trim_end().to_owned();
        while text.contains("%%") {
            text = text.replace("%%", "% %");
        }
        let text = text.trim_end_matches('%').trim_end().to_owned();
        Self { section, key: key.chars().map(safe).collect(), rank, text, missing: Missing::Add }
    }

    fn written(&self) -> String {
        format!("{} %% basb:{}.{}.{:08x} %%", self.text, self.key, self.rank, sum(&self.text))
    }
}

/// A marked line of a log, taken apart.
struct Marked<'a> {
    text: &'a str,
    key: &'a str,
    rank: u64,
    sum: u32,
    /// What a person wrote after the mark.
    rest: &'a str,
}

impl<'a> Marked<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (text, mark) = line.split_once(" %% basb:")?;
        let (mark, rest) = mark.split_once(" %%")?;
        let mut parts = mark.split('.');
        let (key, rank, sum) =
            (parts.next()?, parts.next()?.parse().ok()?, u32::from_str_radix(parts.next()?, 16).ok()?);
        if parts.next().is_some() { None } else { Some(Self { text, key, rank, sum, rest }) }
    }

    fn untouched(&self) -> bool {
        sum(self.text) == self.sum
    }
}

/// FNV-1a. A box that was ticked by hand does not make the line another one.
fn sum(text: &str) -> u32 {
    let unticked = text.replacen("- [x]", "- [ ]", 1);
    unticked.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// What the log should be. `before` is what is there, if anything is.
pub(crate) fn edit(before: Option<&str>, date: &str, tags: &[String], lines: &[Line]) -> String {
    let mut log = match before {
        Some(text) if !text.trim().is_empty() => Log::read(text),
        _ => Log::read(&template(date, tags)),
    };
    for (title, subsections) in OUTLINE {
        log.ensure(title, subsections);
    }
    for line in lines {
        log.put(line);
    }
    log.lines.concat()
}

fn template(date: &str, tags: &[String]) -> String {
    let mut text = format!("---\ndate: {date}\ntags:\n");
    for tag in tags {
        text.push_str(&format!("  - {tag}\n"));
    }
    text.push_str("---\n");
    for (title, subsections) in OUTLINE {
        text.push_str(&format!("\n## {title}\n"));
        for subsection in *subsections {
            text.push_str(&format!("\n### {subsection}\n"));
        }
    }
    text
}

/// A log as its lines, each with its own line break.
struct Log {
    lines: Vec<String>,
    newline: &'static str,
}

/// A heading.
struct Heading {
    at: usize,
    level: usize,
    title: String,
}

impl Log {
    fn read(text: &str) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        Self { lines: text.split_inclusive('\n').map(str::to_owned).collect(), newline }
    }

    /// The headings, without those in front matter and in code.
    fn headings(&self) -> Vec<Heading> {
        let bare = |at: usize| self.lines.get(at).map_or("", |line| line.trim_end());
        let mut found = Vec::new();
        let mut at = 0;
        if bare(0) == "---" {
            let end = (1..self.lines.len()).find(|at| bare(*at) == "---");
            at = end.map_or(0, |end| end + 1);
        }
        while at < self.lines.len() {
            let line = bare(at).trim_start_matches(' ');
            if let Some(fence) = ["```", "~~~"].into_iter().find(|fence| line.starts_with(fence)) {
                // Code that is never closed is not taken for code: everything after it would be out of reach.
                let end = (at + 1..self.lines.len()).find(|at| bare(*at).trim_start_matches(' ').starts_with(fence));
                at = end.map_or(at, |end| end);
            } else {
                let level = line.bytes().take_while(|b| *b == b'#').count();
                let text = line.get(level..).filter(|text| (1..=6).contains(&level) && text.starts_with([' ', '\t']));
                if let Some(text) = text {
                    let title = text.trim().trim_end_matches('#').trim_end().to_owned();
                    found.push(Heading { at, level, title });
                }
            }
            at += 1;
        }
        found
    }

    /// From a section's heading to the next one that is no part of it. Titles are compared as they are, apostrophes apart.
    fn section(&self, title: &str) -> Option<(usize, usize, usize)> {
        let headings = self.headings();
        let index = headings.iter().position(|heading| same(&heading.title, title))?;
        let own = headings.get(index)?;
        let end = headings.iter().skip(index + 1).find(|next| next.level <= own.level);
        Some((own.at, end.map_or(self.lines.len(), |next| next.at), own.level))
    }

    fn subsection(&self, title: &str, within: (usize, usize, usize)) -> Option<usize> {
        let (start, end, level) = within;
        let inside = |heading: &Heading| heading.at > start && heading.at < end && heading.level > level;
        self.headings().into_iter().find(|heading| inside(heading) && same(&heading.title, title)).map(|found| found.at)
    }

    /// Adds a section or a subsection that is missing, before the one that should follow it.
    fn ensure(&mut self, title: &str, subsections: &[&str]) {
        if self.section(title).is_none() {
            let later = OUTLINE.iter().map(|(title, _)| *title).skip_while(|known| *known != title).skip(1);
            let before = later.filter_map(|next| self.section(next)).map(|(start, ..)| start).min();
            self.add_heading(before.unwrap_or(self.lines.len()), &format!("## {title}"));
        }
        for subsection in subsections {
            let Some(within) = self.section(title) else { continue };
            if self.subsection(subsection, within).is_none() {
                let later = subsections.iter().skip_while(|known| *known != subsection).skip(1);
                let before = later.filter_map(|next| self.subsection(next, within)).min();
                let hashes = "#".repeat((within.2 + 1).min(6));
                self.add_heading(before.unwrap_or(within.1), &format!("{hashes} {subsection}"));
            }
        }
    }

    fn add_heading(&mut self, at: usize, heading: &str) {
        let blank = |line: Option<&String>| line.is_none_or(|line| line.trim().is_empty());
        self.close_line(at);
        let mut new = Vec::new();
        if at > 0 && !blank(self.lines.get(at - 1)) {
            new.push(self.newline.to_owned());
        }
        new.push(format!("{heading}{}", self.newline));
        if !blank(self.lines.get(at)) {
            new.push(self.newline.to_owned());
        }
        self.lines.splice(at..at, new);
    }

    /// Makes sure that the line before this place ends with a line break.
    fn close_line(&mut self, at: usize) {
        let newline = self.newline;
        let before = at.checked_sub(1).and_then(|before| self.lines.get_mut(before));
        if let Some(line) = before.filter(|line| !line.ends_with('\n')) {
            line.push_str(newline);
        }
    }

    /// Brings the line up to date, or adds it.
    fn put(&mut self, line: &Line) {
        let mut theirs = None;
        for at in 0..self.lines.len() {
            let Some(there) = self.lines.get(at) else { break };
            let ending = if there.ends_with("\r\n") {
                "\r\n"
            } else if there.ends_with('\n') {
                "\n"
            } else {
                ""
            };
            let Some(marked) = Marked::parse(there.trim_end_matches(['\r', '\n'])).filter(|m| m.key == line.key) else {
                continue;
            };
            if marked.rank > line.rank
                || marked.sum == sum(&line.text) && marked.text.contains("[x]") >= line.text.contains("[x]")
            {
                return;
            }
            if marked.untouched() {
                let now = format!("{}{}{ending}", line.written(), marked.rest);
                if let Some(place) = self.lines.get_mut(at) {
                    *place = now;
                }
                return;
            }
            theirs = Some(at);
        }
        if line.missing == Missing::Leave {
            return;
        }
        let at = match theirs {
            // A person made our line theirs: what is new goes below it.
            Some(at) => at + 1,
            None => match self.end_of(line.section) {
                Some(at) => at,
                None => return,
            },
        };
        self.close_line(at);
        let mut new = Vec::new();
        // A list does not stick to its heading.
        let after_heading = at > 0 && self.headings().iter().any(|heading| heading.at == at - 1);
        if after_heading {
            new.push(self.newline.to_owned());
        }
        new.push(format!("{}{}", line.written(), self.newline));
        let next = self.headings().iter().any(|heading| heading.at == at);
        if next {
            new.push(self.newline.to_owned());
        }
        self.lines.splice(at..at, new);
    }

    /// Where a section's own lines end: after its last line that is not blank, before any heading.
    fn end_of(&self, section: Section) -> Option<usize> {
        let (title, subsection) = section.titles();
        let within = self.section(title)?;
        let heading = match subsection {
            Some(subsection) => self.subsection(subsection, within)?,
            None => within.0,
        };
        let next = self.headings().into_iter().map(|next| next.at).find(|at| *at > heading).unwrap_or(self.lines.len());
        let filled = |at: &usize| self.lines.get(*at).is_some_and(|line| !line.trim().is_empty());
        (heading..next).rev().find(filled).map(|last| last + 1)
    }
}

/// Obsidian and people set typographic apostrophes.
fn same(found: &str, title: &str) -> bool {
    found.replace('\u{2019}', "'") == title
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(section: Section, key: &str, rank: u64, text: &str) -> Line {
        Line::new(section, key, rank, text)
    }

    fn put(before: Option<&str>, lines: &[Line]) -> String {
        edit(before, "2026-01-02", &["devops".to_owned()], lines)
    }

    #[test]
    fn a_new_log_has_front_matter_and_all_sections() {
        let expected = "---\ndate: 2026-01-02\ntags:\n  - devops\n---\n\n## Today's DevOps Goals\n\n## Completed Work\n\n\
            ### Deployments\n\n- one %% basb:k.1.";
        let text = put(None, &[line(Section::Deployments, "k", 1, "- one")]);
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("## Tomorrow's Plan\n\n## References\n"), "{text}");
        let titles: Vec<_> = Log::read(&text).headings().into_iter().map(|h| (h.level, h.title)).collect();
        let expected: Vec<_> = OUTLINE
            .iter()
            .flat_map(|(title, subs)| [(2, *title)].into_iter().chain(subs.iter().map(|sub| (3, *sub))))
            .map(|(level, title)| (level, title.to_owned()))
            .collect();
        assert_eq!(titles, expected);
    }

    #[test]
    fn the_same_event_is_updated_and_not_repeated() {
        let one = put(None, &[line(Section::Testing, "k", 1, "- first"), line(Section::Testing, "l", 1, "- other")]);
        let two = put(Some(&one), &[line(Section::Testing, "k", 2, "- second")]);
        assert!(two.contains("- second %% basb:k.2") && !two.contains("- first"), "{two}");
        assert!(two.find("second") < two.find("other"), "it stays where it was");
        assert_eq!(put(Some(&two), &[line(Section::Testing, "k", 1, "- first")]), two, "what is older comes too late");
        // What somebody wrote after the mark stays.
        let noted = two.replace(" %%\n- other", " %% seen by Ann\n- other");
        let three = put(Some(&noted), &[line(Section::Testing, "k", 3, "- third")]);
        assert!(three.contains("- third %% basb:k.3") && three.contains(" %% seen by Ann\n"), "{three}");
    }

    #[test]
    fn a_line_that_a_person_changed_is_theirs() {
        let one = put(None, &[line(Section::Alerts, "k", 1, "- first")]);
        let theirs = one.replace("- first", "- first, checked by Ann");
        assert_eq!(put(Some(&theirs), &[line(Section::Alerts, "k", 1, "- first")]), theirs, "told already");
        let two = put(Some(&theirs), &[line(Section::Alerts, "k", 2, "- second")]);
        assert!(two.find("checked by Ann") < two.find("- second"), "{two}");
        assert_eq!(put(Some(&two), &[line(Section::Alerts, "k", 2, "- second")]), two);
    }

    #[test]
    fn a_goal_is_ticked_where_it_is() {
        let one = put(None, &[line(Section::Goals, "g", 1, "- [ ] deploy")]);
        let mut done = line(Section::Goals, "g", 2, "- [x] deploy");
        done.missing = Missing::Leave;
        let two = put(Some(&one), std::slice::from_ref(&done));
        assert!(two.contains("- [x] deploy %%") && !two.contains("- [ ]"), "{two}");
        assert!(!put(None, &[done]).contains("deploy"), "what was not a goal is not made one");
        let by_hand = one.replace("[ ]", "[x]");
        assert_eq!(put(Some(&by_hand), &[line(Section::Goals, "g", 1, "- [ ] deploy")]), by_hand);
    }

    #[test]
    fn what_is_missing_is_added_in_its_place_and_what_is_there_stays() {
        let before = "# My day\r\n\r\ntext without end\r\n## Monitoring Status\r\nall fine\r\n```\r\n## References\r\n```\r\n## Tomorrow\u{2019}s Plan\r\n* rest";
        let after = put(Some(before), &[line(Section::Health, "k", 1, "- up")]);
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{after:?}");
        let order = [
            "# My day",
            "## Today's",
            "## Completed",
            "## Monitoring",
            "all fine",
            "### System Health",
            "- up",
            "### Alerts",
            "## Issues",
            "Plan\r\n* rest\r\n",
        ];
        let places: Vec<_> =
            order.iter().map(|part| after.find(part).unwrap_or_else(|| panic!("{part}: {after}"))).collect();
        assert!(places.is_sorted(), "{places:?}\n{after}");
        assert_eq!(after.matches("## References").count(), 2, "the one in the code is no heading");
    }

    #[test]
    fn code_without_an_end_does_not_multiply_sections() {
        let once = put(Some("```\nforgotten"), &[line(Section::Goals, "k", 1, "- x")]);
        assert_eq!(put(Some(&once), &[line(Section::Goals, "k", 1, "- x")]), once);
        assert_eq!(once.matches("## References").count(), 1);
    }

    #[test]
    fn a_text_cannot_break_out_of_its_line() {
        let text = put(None, &[line(Section::Health, "a b.c", 1, "- one\n## two %% basb:x.1.0 %% three %%%")]);
        assert!(text.contains("- one ## two % % basb:x.1.0 % % three"), "{text}");
        assert_eq!(text.matches(" %% basb:a_b_c.1.").count(), 1);
    }

    fn section() -> impl Strategy<Value = Section> {
        prop::sample::select(vec![
            Section::Goals,
            Section::Deployments,
            Section::Testing,
            Section::Health,
            Section::Alerts,
            Section::Description,
            Section::ActionsTaken,
            Section::References,
        ])
    }

    fn human() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[ -~äß🧠]{0,12}",
            1 => prop::sample::select(vec!["## Completed Work", "### Deployments", "## References", "# Description", "```", "~~~",
                "---", "## Monitoring Status  ", "- [ ] x", "- y %% basb:k.1.00000000 %%", " %% basb:", "#### Alerts Overview ##"]).prop_map(str::to_owned),
        ];
        let ending = prop::sample::select(vec!["\n", "\r\n", "\n\n"]);
        (prop::collection::vec((piece, ending), 0..16), any::<bool>()).prop_map(|(lines, cut)| {
            let text: String = lines.into_iter().map(|(line, ending)| line + ending).collect();
            if cut { text.trim_end().to_owned() } else { text }
        })
    }

    fn lines() -> impl Strategy<Value = Vec<Line>> {
        let one = (section(), "[a-d]", 0u64..4, "- [a-z%\n ]{0,8}");
        prop::collection::vec(one, 0..6).prop_map(|list| {
            list.into_iter()
                .map(|(section, key, rank, text)| Line::new(section, &format!("key-{key}"), rank, &text))
                .collect()
        })
    }

    proptest! {
        /// Whatever people write: every line of theirs is there afterwards, byte for byte, and in its order.
        #[test]
        fn what_people_write_stays(text in human(), lines in lines()) {
            let after = put(Some(&text), &lines);
            let now: Vec<&str> = after.split_inclusive('\n').collect();
            let mut rest = now.iter();
            if !text.trim().is_empty() {
                for line in text.split_inclusive('\n') {
                    let found = rest.any(|there| *there == line || (!line.ends_with('\n') && there.trim_end_matches(['\r', '\n']) == line.trim_end_matches('\r')));
                    prop_assert!(found, "{line:?} is gone\n{text:?}\n{after:?}");
                }
            }
            // And nothing is added but lines of ours, headings of the outline, and blank lines.
            let added = now.len() - if text.trim().is_empty() { 0 } else { text.split_inclusive('\n').count() };
            let ours = now.iter().filter(|line| line.contains("%% basb:key-")).count();
            prop_assert!(text.trim().is_empty() || added <= ours * 3 + 12 * 3, "{after}");
        }

        /// Delivered twice is delivered once.
        #[test]
        fn twice_is_once(text in human(), lines in lines()) {
            for line in lines {
                let lines = [line];
                let once = put(Some(&text), &lines);
                prop_assert_eq!(&put(Some(&once), &lines), &once);
            }
        }

        /// All events of a day, in any order and repeated, leave the same lines.
        #[test]
        fn order_does_not_matter_for_what_is_told(lines in lines()) {
            let mut newest: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
            for line in &lines {
                let rank = newest.entry(line.key.clone()).or_default();
                *rank = line.rank.max(*rank);
            }
            let text = put(None, &lines);
            for (key, rank) in newest {
                let marked: Vec<_> = text.lines().filter_map(Marked::parse).filter(|m| m.key == key).collect();
                prop_assert_eq!(marked.len(), 1);
                // A line that says the same thing later is not written again.
                prop_assert!(marked[0].rank <= rank);
            }
        }
    }
}
