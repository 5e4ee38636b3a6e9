//! Lists that come in pages.

use basb_plugin::Failure;

/// A page: what is on it, and where the next one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to ask the next page with; none, or empty, for the last one.
    pub next: Option<String>,
}

/// So many pages are asked for. Whatever is longer is no list of one deployment's things.
pub const MOST_PAGES: usize = 200;

/// Everything on all pages.
///
/// # Errors
/// What a page failed with; and where a list does not end, or names a page that was there already. Half a list is never
/// taken for a whole one: a thing that is overlooked is made twice.
pub fn pages<T>(what: &str, mut page: impl FnMut(Option<&str>) -> Result<Page<T>, Failure>) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    loop {
        let mut got = page(seen.last().map(String::as_str))?;
        all.append(&mut got.items);
        let Some(next) = got.next.filter(|next| !next.is_empty()) else { return Ok(all) };
        if seen.contains(&next) {
            return Err(Failure::other(format!(
                "{what}: the list goes in a circle: a page names one that was before it"
            )));
        }
        if seen.len() + 1 >= MOST_PAGES {
            return Err(Failure::other(format!("{what}: the list does not end within {MOST_PAGES} pages")));
        }
        seen.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(items: &[u8], next: Option<&str>) -> Result<Page<u8>, Failure> {
        Ok(Page { items: items.to_vec(), next: next.map(str::to_owned) })
    }

    #[test]
    fn every_page_is_read_once() {
        let all = pages("things", |token| match token {
            None => page(&[1, 2], Some("b")),
            Some("b") => page(&[], Some("c")),
            Some("c") => page(&[3], Some("")),
            other => panic!("{other:?}"),
        });
        assert_eq!(all.unwrap(), [1, 2, 3]);
    }

    #[test]
    fn a_list_that_does_not_end_is_an_error_and_so_is_half_a_list() {
        let circle = pages("things", |token| page(&[1], Some(if token == Some("b") { "c" } else { "b" })));
        assert!(circle.unwrap_err().message.contains("things: the list goes in a circle"));
        let mut number = 0;
        let endless = pages("things", |_| {
            number += 1;
            page(&[1], Some(&number.to_string()))
        });
        assert!(endless.unwrap_err().message.contains("within 200 pages"));
        assert_eq!(number, MOST_PAGES);
        let broken =
            pages("things", |token| if token.is_none() { page(&[1], Some("b")) } else { Err(Failure::other("no")) });
        assert_eq!(broken.unwrap_err().message, "no");
    }
}
