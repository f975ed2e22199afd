//! Counts, bytes and rates for people.

/// A count with its thousands apart: `1,234,567`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in the unit that leaves a number from 1 to 1,024: `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let power = bytes.ilog2() / 10;
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power as usize - 1])
}

/// How many a second, of `count` in `seconds`: `1,234`, or `0.25` of what is rare.
pub(crate) fn rate(count_in_all: u64, seconds: f64) -> String {
    let rate = per_second(count_in_all, seconds);
    if rate >= 10.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is no more than a count")]
        return count(rate.round() as u64);
    }
    format!("{rate:.2}")
}

/// How many a second, of `count` in `seconds`; 0 when no time has passed.
pub(crate) fn per_second(count: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    let count = count as f64;
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        let counts = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        let amounts = [0, 1_023, 1_024, 1_536 << 10, u64::MAX].map(bytes);
        assert_eq!(amounts, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "15.9 EiB"]);
        assert_eq!([rate(5, 2.0), rate(30_001, 2.0), rate(5, 0.0)], ["2.50", "15,001", "0.00"]);
    }
}
