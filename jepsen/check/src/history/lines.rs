//! Histories as text, a JSON object a line, which Elle and its like read too:
//!
//! ```text
//! {"type":"invoke","process":0,"f":"txn","time":17,"value":[["append",1,7],["r",2,null]]}
//! {"type":"ok",    "process":0,"f":"txn","time":29,"value":[["append",1,7],["r",2,[5,6]]]}
//! ```
//!
//! `type` is `invoke`, `ok`, `fail` or `info`. Lines whose process is `nemesis` tell of faults and are passed over; so
//! are other fields, such as Elle's `index`. All else is refused: what is not understood is not checked.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Builder, Event, History, Kind, Malformed, Micro, Outcome};

/// The process that does harm, and nothing else.
const NEMESIS: &str = "nemesis";

/// The only function of these histories.
const TRANSACTION: &str = "txn";

impl History {
    /// Reads a history.
    ///
    /// # Errors
    /// A line is not of the form, or breaks the contract.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let mut builder = Builder::new();
        for (line, text) in (1..).zip(text.lines()) {
            match Event::read(text).map_err(|what| Malformed { line, what })? {
                Some(event) => builder.push(event)?,
                None => builder.skip(),
            }
        }
        builder.finish()
    }

    /// The history as text. It is that which was read, but for lines that were passed over.
    #[must_use]
    pub fn write(&self) -> String {
        let mut text = String::new();
        for (_, event) in self.events() {
            writeln!(text, "{}", event.write()).expect("strings take all that is written");
        }
        text
    }
}

impl Event {
    /// Reads a line; `None` if it tells of a fault.
    ///
    /// # Errors
    /// What was expected, and what was found.
    pub fn read(line: &str) -> Result<Option<Self>, String> {
        let line: Value = serde_json::from_str(line).map_err(|error| format!("expected a JSON object: {error}"))?;
        if !line.is_object() {
            return Err(format!("expected a JSON object, found {line}"));
        }
        if line["process"] == NEMESIS {
            return Ok(None);
        }
        if line["f"] != TRANSACTION {
            return Err(format!("expected \"f\" to be \"{TRANSACTION}\", found {}", line["f"]));
        }
        let process = line["process"].as_u64().and_then(|process| u32::try_from(process).ok());
        let steps = line["value"].as_array().ok_or_else(|| expected("\"value\" to be an array", &line["value"]))?;
        Ok(Some(Self {
            kind: kind(&line["type"])?,
            process: process.ok_or_else(|| expected("\"process\" to be a number of 32 bits", &line["process"]))?,
            time_ns: line["time"].as_u64().ok_or_else(|| expected("\"time\" in nanoseconds", &line["time"]))?,
            micros: steps.iter().map(micro).collect::<Result<_, _>>()?,
        }))
    }

    /// The event as a line, without its end.
    #[must_use]
    pub fn write(&self) -> String {
        let kind = match self.kind {
            Kind::Invoke => "invoke",
            Kind::Answer(Outcome::Ok) => "ok",
            Kind::Answer(Outcome::Fail) => "fail",
            Kind::Answer(Outcome::Info) => "info",
        };
        let value: Vec<Value> = self.micros.iter().map(Micro::to_json).collect();
        json!({"type": kind, "process": self.process, "f": TRANSACTION, "time": self.time_ns, "value": value})
            .to_string()
    }
}

impl Micro {
    /// The step as it stands in a line.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Append { key, value } => json!(["append", key, value]),
            Self::Read { key, list } => json!(["r", key, list]),
        }
    }
}

fn kind(found: &Value) -> Result<Kind, String> {
    match found.as_str() {
        Some("invoke") => Ok(Kind::Invoke),
        Some("ok") => Ok(Kind::Answer(Outcome::Ok)),
        Some("fail") => Ok(Kind::Answer(Outcome::Fail)),
        Some("info") => Ok(Kind::Answer(Outcome::Info)),
        _ => Err(expected("\"type\" to be invoke, ok, fail or info", found)),
    }
}

fn micro(found: &Value) -> Result<Micro, String> {
    let wrong = || expected("[\"append\", KEY, VALUE] or [\"r\", KEY, null or LIST], of integers,", found);
    let [name, key, argument] = found.as_array().ok_or_else(wrong)?.as_slice() else { return Err(wrong()) };
    let key = key.as_i64().ok_or_else(wrong)?;
    match (name.as_str(), argument) {
        (Some("append"), value) => Ok(Micro::Append { key, value: value.as_i64().ok_or_else(wrong)? }),
        (Some("r"), Value::Null) => Ok(Micro::Read { key, list: None }),
        (Some("r"), Value::Array(list)) => {
            let list = list.iter().map(Value::as_i64).collect::<Option<_>>();
            Ok(Micro::Read { key, list: Some(list.ok_or_else(wrong)?) })
        }
        _ => Err(wrong()),
    }
}

fn expected(what: &str, found: &Value) -> String {
    format!("expected {what}, found {found}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = r#"{"f":"txn","process":3,"time":17,"type":"invoke","value":[["append",1,-7],["r",2,null]]}"#;
    const ANSWER: &str = r#"{"f":"txn","process":3,"time":29,"type":"ok","value":[["append",1,-7],["r",2,[5,6]]]}"#;

    #[test]
    fn lines_are_read_and_written() {
        let steps = |list| vec![Micro::Append { key: 1, value: -7 }, Micro::Read { key: 2, list }];
        let call = Event { kind: Kind::Invoke, process: 3, time_ns: 17, micros: steps(None) };
        let answer =
            Event { kind: Kind::Answer(Outcome::Ok), process: 3, time_ns: 29, micros: steps(Some(vec![5, 6])) };
        for (line, event) in [(CALL, call), (ANSWER, answer)] {
            assert_eq!(event.write(), line);
            assert_eq!(Event::read(line), Ok(Some(event)));
        }
        let text = format!("{CALL}\n{ANSWER}\n");
        assert_eq!(History::read(&text).unwrap().write(), text);
    }

    #[test]
    fn faults_and_fields_of_others_are_passed_over() {
        let fault = r#"{"type":"info","process":"nemesis","f":"kill","time":1,"value":"n1"}"#;
        assert_eq!(Event::read(fault), Ok(None));
        let more = CALL.replace("{\"f\"", "{\"index\":0,\"error\":null,\"f\"");
        assert_eq!(Event::read(&more), Event::read(CALL));
        let text = format!("{fault}\n{CALL}\n{fault}\n{ANSWER}");
        assert_eq!(History::read(&text).unwrap().operations()[0].answered.line, 4);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        let wrong = [
            ("{\"f\"", "\"f\"", "expected a JSON object: "),
            (CALL, "[]", "expected a JSON object, found []"),
            (CALL, "", "expected a JSON object: "),
            ("txn", "read", "expected \"f\" to be \"txn\", found \"read\""),
            ("invoke", "call", "expected \"type\" to be invoke, ok, fail or info, found \"call\""),
            ("\"process\":3", "\"process\":-3", "expected \"process\" to be a number of 32 bits, found -3"),
            ("\"time\"", "\"at\"", "expected \"time\" in nanoseconds, found null"),
            ("\"value\"", "\"values\"", "expected \"value\" to be an array, found null"),
            ("append", "w", "expected [\"append\", KEY, VALUE] or"),
            ("-7", "[]", "expected [\"append\", KEY, VALUE] or"),
            ("2,null", "2,7", "expected [\"append\", KEY, VALUE] or"),
            ("2,null", "2,[7.5]", "expected [\"append\", KEY, VALUE] or"),
            ("2,null", "2", "expected [\"append\", KEY, VALUE] or"),
        ];
        for (from, to, start) in wrong {
            let text = format!("{CALL}\n{ANSWER}\n{}\n", CALL.replacen(from, to, 1));
            let error = History::read(&text).unwrap_err();
            assert_eq!(error.line, 3, "{error}");
            assert!(error.what.starts_with(start), "expected {start:?}, found {error}");
        }
    }
}
