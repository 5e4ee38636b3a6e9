//! A message as it goes over the wire (RFC 5321, RFC 5322).
//!
//! Stops a second message, a command or a header from being smuggled in: no line end passes where none belongs, and bare
//! line ends in the text become CR LF.

use super::Message;

/// Whether an address can stand in a command: a plain `local@domain`.
pub(super) fn is_address(text: &str) -> Result<(), String> {
    let plain = text.len() <= 254
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>()[]\\,;:\"".contains(&b))
        && text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if plain { Ok(()) } else { Err(format!("`{}` is not a plain mail address", crate::printable(text, 100))) }
}

/// The message as it goes over the wire: headers, text, dots doubled, the final dot.
///
/// # Errors
/// A sentence that says what cannot be sent.
pub(super) fn wire_format(message: &Message, date: &str) -> Result<Vec<u8>, String> {
    let mut out = String::new();
    let mut header = |name: &str, value: &str| {
        let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !token || value.chars().any(char::is_control) || value.len() > 900 {
            return Err(format!(
                "the header `{}` cannot be sent: no control characters, at most 900 bytes",
                crate::printable(name, 60)
            ));
        }
        out.push_str(&format!("{name}: {}\r\n", encoded(value)));
        Ok(())
    };
    header("From", &message.from)?;
    header("To", &message.to.join(", "))?;
    header("Subject", &message.subject)?;
    header("Date", date)?;
    for (name, value) in &message.headers {
        const OURS: [&str; 10] = [
            "from",
            "sender",
            "to",
            "cc",
            "bcc",
            "subject",
            "date",
            "mime-version",
            "content-type",
            "content-transfer-encoding",
        ];
        if OURS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!("the header `{}` is set by the host; leave it out", crate::printable(name, 60)));
        }
        header(name, value)?;
    }
    out.push_str(
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    );
    // In base64 no line of the text can be too long, begin with a dot, or hold a bare line end.
    let text = message.text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
    for line in base64(text.as_bytes()).as_bytes().chunks(76) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push_str("\r\n");
    }
    // Headers cannot begin with a dot either, so doubling is a second lock.
    let stuffed: String = out
        .split_inclusive("\r\n")
        .map(|line| if line.starts_with('.') { format!(".{line}") } else { line.to_owned() })
        .collect();
    Ok(format!("{stuffed}.\r\n").into_bytes())
}

/// A header value as ASCII (RFC 2047).
fn encoded(value: &str) -> String {
    if value.is_ascii() {
        return value.to_owned();
    }
    let mut words = Vec::new();
    let mut chunk = String::new();
    for c in value.chars() {
        if chunk.len() + c.len_utf8() > 42 {
            words.push(format!("=?utf-8?B?{}?=", base64(chunk.as_bytes())));
            chunk.clear();
        }
        chunk.push(c);
    }
    words.push(format!("=?utf-8?B?{}?=", base64(chunk.as_bytes())));
    words.join("\r\n ")
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for i in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * i)) as usize & 63).copied().unwrap_or(b'A');
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// Now, as RFC 5322 writes it.
pub(super) fn date_now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let days = since.as_secs() / 86_400;
    // RFC 5322 wants its own form; civil-from-days is Howard Hinnant's algorithm.
    let (z, secs) = (days + 719_468, since.as_secs() % 86_400);
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let name = usize::try_from(month).ok().and_then(|m| MONTHS.get(m - 1)).copied().unwrap_or("Jan");
    format!("{day} {name} {year} {:02}:{:02}:{:02} +0000", secs / 3600, secs / 60 % 60, secs % 60)
}
