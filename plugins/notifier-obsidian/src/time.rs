//! Dates and times of day. The plugin has no clock: an event says when it happened.

use serde::Deserialize;

/// An offset from UTC in minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Offset(i64);

impl TryFrom<String> for Offset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no offset from UTC such as `+02:00`");
        if text == "Z" {
            return Ok(Self(0));
        }
        let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(rest), _) => (1, rest),
            (_, Some(rest)) => (-1, rest),
            _ => return Err(wrong()),
        };
        let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str, most: i64| {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<i64>().ok().filter(|n| digits && *n <= most).ok_or_else(wrong)
        };
        Ok(Self(sign * (number(hours, 18)? * 60 + number(minutes, 59)?)))
    }
}

/// A point in time as the log's readers say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Local {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
}

impl Local {
    /// From milliseconds since the Unix epoch.
    pub(crate) fn of(millis: u64, offset: Offset) -> Self {
        let minutes = i64::try_from(millis / 60_000).unwrap_or(0) + offset.0;
        let (days, minute) = (minutes.div_euclid(1440), minutes.rem_euclid(1440));
        // Days to a date in the Gregorian calendar: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day, hour: minute / 60, minute: minute % 60 }
    }

    /// `2026-01-02`.
    pub(crate) fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `15:04`.
    pub(crate) fn time(&self) -> String {
        format!("{:02}:{:02}", self.hour, self.minute)
    }

    /// Puts the date into a path.
    pub(crate) fn fill(&self, pattern: &str) -> String {
        pattern
            .replace("{date}", &self.date())
            .replace("{year}", &format!("{:04}", self.year))
            .replace("{month}", &format!("{:02}", self.month))
            .replace("{day}", &format!("{:02}", self.day))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(text: &str) -> Offset {
        Offset::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn dates_are_right() {
        let said = |millis, zone: &str| {
            let local = Local::of(millis, offset(zone));
            format!("{} {}", local.date(), local.time())
        };
        assert_eq!(said(0, "Z"), "1970-01-01 00:00");
        assert_eq!(said(0, "-00:01"), "1969-12-31 23:59");
        assert_eq!(said(951_782_399_000, "Z"), "2000-02-28 23:59");
        assert_eq!(said(951_782_400_000, "Z"), "2000-02-29 00:00");
        assert_eq!(said(1_767_323_045_000, "Z"), "2026-01-02 03:04");
        assert_eq!(said(1_767_323_045_000, "-05:30"), "2026-01-01 21:34");
        assert_eq!(said(1_798_761_600_000, "+00:00"), "2027-01-01 00:00");
        assert_eq!(Local::of(0, offset("Z")).fill("{year}/{month}/{day} {date}.md"), "1970/01/01 1970-01-01.md");
    }

    #[test]
    fn offsets_are_strict() {
        for wrong in ["", "2", "+2:00", "+02", "02:00", "+19:00", "+01:60", "+-1:00"] {
            assert!(Offset::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
