//! Finding processes that an agent before us started: by the token in their environment.

use std::fs;

use super::process;

/// The variable that carries the token.
pub(crate) const TOKEN: &str = "BASB_INSTANCE";

/// Living processes whose environment carries exactly this token, with their start times. Children inherit it.
pub(crate) fn with_token(token: &str) -> Vec<(u32, u64)> {
    scan(|found| found == token).into_iter().map(|(pid, start, _)| (pid, start)).collect()
}

/// The oldest group leader that carries a token: the process that was started with it, not a descendant.
pub(crate) fn leader_with_token(token: &str) -> Option<(u32, u64)> {
    with_token(token).into_iter().filter(|(pid, _)| process::leads_group(*pid)).min_by_key(|(_, start)| *start)
}

/// Living processes whose token starts with a prefix: process id, start time, token.
pub(crate) fn with_prefix(prefix: &str) -> Vec<(u32, u64, String)> {
    scan(|found| found.starts_with(prefix))
}

fn scan(wanted: impl Fn(&str) -> bool) -> Vec<(u32, u64, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| {
            // Other users' processes cannot be read, and are not ours.
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let token = token_in(&environment).filter(|token| wanted(token))?.to_owned();
            Some((pid, process::start_time(pid)?, token))
        })
        .collect()
}

fn token_in(environment: &[u8]) -> Option<&str> {
    environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok())
        .find_map(|entry| entry.strip_prefix(TOKEN)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_between_other_variables() {
        assert_eq!(token_in(b"A=1\0XBASB_INSTANCE=no\0BASB_INSTANCE=abc.1\0B=2\0"), Some("abc.1"));
        assert_eq!(token_in(b"BASB_INSTANCE_X=abc\0"), None);
    }
}
