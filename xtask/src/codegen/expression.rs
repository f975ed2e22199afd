//! The value of a constant's expression: numbers, earlier names, `+`, `*`, `<<`, parentheses.
//!
//! What it does not know it refuses, so a table can be incomplete but never wrong.

/// Computes `text`, asking `names` for the value of a name.
pub(crate) fn value(text: &str, names: &dyn Fn(&str) -> Option<u128>) -> Result<u128, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, names };
    let value = parser.shift()?;
    match parser.tokens.get(parser.at) {
        None => Ok(value),
        Some(token) => Err(format!("unexpected `{token}` in `{text}`")),
    }
}

struct Parser<'a> {
    tokens: Vec<String>,
    at: usize,
    names: &'a dyn Fn(&str) -> Option<u128>,
}

impl Parser<'_> {
    /// Sums, shifted: `<<` binds weakest.
    fn shift(&mut self) -> Result<u128, String> {
        let mut value = self.sum()?;
        while self.accept("<<") {
            let by = u32::try_from(self.sum()?).map_err(|error| error.to_string())?;
            value = value.checked_shl(by).ok_or("the shift is too long")?;
        }
        Ok(value)
    }

    fn sum(&mut self) -> Result<u128, String> {
        let mut value = self.product()?;
        while self.accept("+") {
            value = value.checked_add(self.product()?).ok_or("the sum is too large")?;
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<u128, String> {
        let mut value = self.atom()?;
        while self.accept("*") {
            value = value.checked_mul(self.atom()?).ok_or("the product is too large")?;
        }
        Ok(value)
    }

    fn atom(&mut self) -> Result<u128, String> {
        if self.accept("(") {
            let value = self.shift()?;
            return if self.accept(")") { Ok(value) } else { Err("a parenthesis is not closed".to_owned()) };
        }
        let token = self.tokens.get(self.at).ok_or("the expression ends early")?;
        self.at += 1;
        let digits = token.replace('_', "");
        let number = digits.parse().ok().or_else(|| (self.names)(token));
        number.ok_or_else(|| format!("cannot compute `{token}`; write it with numbers, earlier names, + * << and ( )"))
    }

    fn accept(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|next| next == token);
        self.at += usize::from(found);
        found
    }
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let spaced =
        ["<<", "+", "*", "(", ")"].iter().fold(text.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
    let tokens: Vec<_> = spaced.split_whitespace().map(str::to_owned).collect();
    if tokens.is_empty() { Err("the expression is empty".to_owned()) } else { Ok(tokens) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_bind_as_in_rust() {
        let names = |name: &str| (name == "A").then_some(7);
        for (text, expected) in
            [("16 << 10", 16 << 10), ("A + (1 << 20)", 7 + (1 << 20)), ("1 + 1 << 2", 8), ("15 * 60 * 1_000", 900_000)]
        {
            assert_eq!(value(text, &names), Ok(expected), "{text}");
        }
        for text in ["", "B", "1 - 1", "(1", "1 1", "size_of::<u8>()"] {
            assert!(value(text, &names).is_err(), "{text}");
        }
    }
}
