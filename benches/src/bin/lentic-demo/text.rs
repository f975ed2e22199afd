//! How figures and answers are shown.

use std::time::Duration;

/// A count with commas: `27,004`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The number of things that are in memory.
pub(crate) fn count_of<T>(things: &[T]) -> String {
    count(things.len() as u64)
}

/// A span with a unit that suits it: `340 ms`, `1.24 s`.
pub(crate) fn span(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        format!("{} ms", span.as_millis())
    } else {
        format!("{:.2} s", span.as_secs_f64())
    }
}

/// Begins a part of the story.
pub(crate) fn heading(text: &str) {
    println!("\n{text}\n");
}

/// Says something, as a paragraph of lines that fit a terminal.
pub(crate) fn say(text: &str) {
    const WIDTH: usize = 100;
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            println!("  {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    println!("  {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(span(Duration::from_micros(12_345)), "12 ms");
        assert_eq!(span(Duration::from_millis(1_239)), "1.24 s");
    }
}
