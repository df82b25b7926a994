//! Numbers as a reader wants them: aligned, with units, rounded once.

/// A true minus, as wide as the plus.
const MINUS: char = '\u{2212}';

/// Keeps a number and its unit on one line.
const JOINT: char = '\u{a0}';

/// What stands in a table where there is nothing to say.
pub(super) const NOTHING: &str = "\u{2013}";

/// `value` with `digits` decimals and a true minus.
pub(super) fn fixed(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    let rounded = format!("{:.digits$}", value.abs());
    let zero = rounded.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if value < 0.0 && !zero {
        format!("{MINUS}{rounded}")
    } else {
        rounded
    }
}

/// `value` with `digits` decimals and its sign.
pub(super) fn signed(value: f64, digits: usize) -> String {
    let text = fixed(value, digits);
    if value.is_finite() && !text.starts_with(MINUS) {
        format!("+{text}")
    } else {
        text
    }
}

/// A difference of shares in percentage points, with its sign.
pub(super) fn signed_points(share: f64) -> String {
    signed(share * 100.0, 2)
}

/// A share in percent, without the sign.
pub(super) fn percent(share: f64) -> String {
    fixed(share * 100.0, 2)
}

/// A mean and, if there is one, the deviation around it.
pub(super) fn spread(mean: f64, deviation: Option<f64>, digits: usize) -> String {
    match deviation {
        Some(deviation) => format!(
            "{} ±{JOINT}{}",
            fixed(mean, digits),
            fixed(deviation, digits)
        ),
        None => fixed(mean, digits),
    }
}

/// A whole number in groups of three.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with three significant digits and a decimal prefix: `40.8 M`.
pub(super) fn scaled(value: u64) -> String {
    if value < 10_000 {
        return grouped(value);
    }
    prefixed(value as f64, &["", "k", "M", "G", "T", "P", "E"])
}

/// A file's size: `1.09 MB`, with 1 MB = 10^6 bytes.
pub(super) fn bytes(value: u64) -> String {
    if value < 1000 {
        return format!("{value}{JOINT}B");
    }
    prefixed(value as f64, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Milliseconds with three significant digits.
pub(super) fn milliseconds(value: f64) -> String {
    significant(value)
}

/// Seconds of training, as short as they can be read.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds <= 0.0 {
        return NOTHING.to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{}{JOINT}s", significant(seconds)),
        60..3600 => format!("{}{JOINT}min {:02}{JOINT}s", whole / 60, whole % 60),
        _ => format!(
            "{}{JOINT}h {:02}{JOINT}min",
            whole / 3600,
            whole % 3600 / 60
        ),
    }
}

/// How many times smaller or faster than the teacher: `12.3×`.
pub(super) fn ratio(teacher: f64, student: f64) -> Option<String> {
    let ratio = teacher / student;
    (ratio.is_finite() && ratio > 0.0).then(|| format!("{}×", significant(ratio)))
}

/// `1 seed`, `3 seeds`.
pub(super) fn count_of(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count as u64))
}

/// The text with its first letter in upper case.
pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// At most `limit` characters, the last one an ellipsis where text was left off.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars()
        .take(limit.saturating_sub(1))
        .chain(['\u{2026}'])
        .collect()
}

/// Text for HTML and SVG, in elements and in quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Control characters are not allowed in XML, not even as references.
            letter if letter.is_control() && !matches!(letter, '\n' | '\t') => {
                safe.push('\u{fffd}');
            }
            letter => safe.push(letter),
        }
    }
    safe
}

/// Text for a Markdown paragraph or table cell.
pub(super) fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => safe.extend(['\\', letter]),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

fn significant(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    fixed(value, digits)
}

fn prefixed(mut value: f64, prefixes: &[&str]) -> String {
    let mut step = 0;
    while value >= 999.5 && step + 1 < prefixes.len() {
        value /= 1000.0;
        step += 1;
    }
    if prefixes[step].is_empty() {
        return significant(value);
    }
    format!("{}{JOINT}{}", significant(value), prefixes[step])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(fixed(-1.234, 2), "\u{2212}1.23");
        assert_eq!(fixed(-0.001, 2), "0.00");
        assert_eq!(fixed(f64::NAN, 2), NOTHING);
        assert_eq!(signed_points(0.0123), "+1.23");
        assert_eq!(signed_points(-0.0123), "\u{2212}1.23");
        assert_eq!(spread(97.314, Some(0.4249), 2), "97.31 ±\u{a0}0.42");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(999), "999");
        assert_eq!(scaled(40_813_184), "40.8\u{a0}M");
        assert_eq!(scaled(999_999), "1.00\u{a0}M");
        assert_eq!(scaled(9_999), "9,999");
        assert_eq!(bytes(1_093_000), "1.09\u{a0}MB");
        assert_eq!(bytes(17), "17\u{a0}B");
        assert_eq!(duration(3.2), "3.20\u{a0}s");
        assert_eq!(duration(125.0), "2\u{a0}min 05\u{a0}s");
        assert_eq!(duration(7_260.0), "2\u{a0}h 01\u{a0}min");
        assert_eq!(ratio(10.0, 4.0).as_deref(), Some("2.50×"));
        assert_eq!(ratio(10.0, 0.0), None);
        assert_eq!(count_of(1, "seed"), "1 seed");
    }

    #[test]
    fn text_is_made_safe() {
        assert_eq!(
            escaped("<a href='x'>&\"\u{1}"),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{fffd}"
        );
        assert_eq!(markdown("a|b_c\n<i>"), "a\\|b\\_c &lt;i&gt;");
        assert_eq!(shortened("aeroplane", 5), "aero\u{2026}");
    }
}
