//! Operands of merges, as the operators want them and as they are written.

use lentic_client::{MergeOperator, decode_set, encode_set};

use super::bytes::Syntax;

/// The bytes of the operand that `words` write for `operator`: an integer, a float, bytes, or the members of a set.
pub(crate) fn operand(operator: MergeOperator, words: &[String], syntax: Syntax) -> Result<Vec<u8>, String> {
    if operator == MergeOperator::SetUnion {
        let members: Vec<Vec<u8>> = words.iter().map(|word| bytes(word, syntax)).collect::<Result<_, _>>()?;
        return Ok(encode_set(members.iter().map(Vec::as_slice)).to_vec());
    }
    let [word] = words else {
        return Err(format!("{operator} takes one operand, found {}; give one, or merge them one by one", words.len()));
    };
    match operator {
        MergeOperator::AddI64 | MergeOperator::MinI64 | MergeOperator::MaxI64 => {
            let number = word.parse::<i64>().map_err(|_| not_a(operator, "an integer from -2^63 to 2^63 - 1", word))?;
            Ok(number.to_be_bytes().to_vec())
        }
        MergeOperator::AddF64 | MergeOperator::MinF64 | MergeOperator::MaxF64 => {
            let number =
                word.parse::<f64>().map_err(|_| not_a(operator, "a number such as 0.5, 1e9, inf or nan", word))?;
            Ok(number.to_be_bytes().to_vec())
        }
        MergeOperator::Append | MergeOperator::MinBytes | MergeOperator::MaxBytes | MergeOperator::SetUnion => {
            bytes(word, syntax)
        }
    }
}

/// The words that write an operand, as [`operand`] reads them.
pub(crate) fn operand_words(operator: MergeOperator, operand: &[u8]) -> Vec<Vec<u8>> {
    let eight = || <[u8; 8]>::try_from(operand).ok();
    let number = match operator {
        MergeOperator::AddI64 | MergeOperator::MinI64 | MergeOperator::MaxI64 => {
            eight().map(|bytes| i64::from_be_bytes(bytes).to_string())
        }
        MergeOperator::AddF64 | MergeOperator::MinF64 | MergeOperator::MaxF64 => {
            eight().map(|bytes| f64::from_be_bytes(bytes).to_string())
        }
        MergeOperator::SetUnion => {
            let members = decode_set(operand).unwrap_or_default();
            return members.into_iter().map(<[u8]>::to_vec).collect();
        }
        MergeOperator::Append | MergeOperator::MinBytes | MergeOperator::MaxBytes => None,
    };
    vec![number.map_or_else(|| operand.to_vec(), String::into_bytes)]
}

fn bytes(word: &str, syntax: Syntax) -> Result<Vec<u8>, String> {
    syntax.parse(word).map_err(|error| format!("operand {word:?}: {error}"))
}

fn not_a(operator: MergeOperator, expected: &str, found: &str) -> String {
    format!("{operator} expects {expected}, found {found:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Form, Strict};

    fn parse(operator: &str, words: &[&str]) -> Result<Vec<u8>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        operand(MergeOperator::from_name(operator).unwrap(), &words, Syntax::Escaped)
    }

    #[test]
    fn every_operator_has_its_operands() {
        for (operator, _) in MergeOperator::ALL {
            let (words, form, shown): (&[&str], _, _) = match operator {
                MergeOperator::AddI64 | MergeOperator::MinI64 | MergeOperator::MaxI64 => (&["-5"], Form::I64, "-5"),
                MergeOperator::AddF64 | MergeOperator::MinF64 | MergeOperator::MaxF64 => (&["-0.5"], Form::F64, "-0.5"),
                MergeOperator::SetUnion => (&["b", "a\\x00", "b"], Form::Set, "{a\\x00, b}"),
                MergeOperator::Append | MergeOperator::MinBytes | MergeOperator::MaxBytes => {
                    (&["\\x61b"], Form::Text, "ab")
                }
            };
            let bytes = parse(operator.name(), words).unwrap();
            assert_eq!(form.read(&bytes).unwrap().to_string(), shown, "{operator}");
            let again = operand_words(operator, &bytes).iter().map(|word| Strict(word).to_string()).collect::<Vec<_>>();
            assert_eq!(operand(operator, &again, Syntax::Escaped).unwrap(), bytes, "{operator}");
        }
        assert_eq!(parse("add-i64", &["5"]).unwrap(), [0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(parse("add-f64", &["0.5"]).unwrap(), [0x3f, 0xe0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse("set-union", &["b", "a"]).unwrap(), b"\x01a\x01b");
        assert_eq!(parse("max-f64", &["nan"]).unwrap(), f64::NAN.to_be_bytes());
    }

    #[test]
    fn what_is_no_operand_is_refused() {
        let refused = parse("add-i64", &["0.5"]).unwrap_err();
        assert_eq!(refused, "add-i64 expects an integer from -2^63 to 2^63 - 1, found \"0.5\"");
        assert!(parse("add-i64", &["9223372036854775808"]).is_err());
        assert!(parse("min-f64", &["one"]).unwrap_err().starts_with("min-f64 expects a number"));
        assert!(parse("append", &["a", "b"]).unwrap_err().starts_with("append takes one operand, found 2"));
        assert!(parse("append", &["\\q"]).unwrap_err().starts_with("operand \"\\\\q\": expected \\xNN"));
    }
}
