//! Keys with their values, one or millions, in every format.

use lentic_client::{Row, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::json::{bytes_member, version_text};
use super::printer::{Format, Printer};
use super::table::{Align, Table};
use crate::failure::Failure;
use crate::text::{Form, Formed, Hex, Prose, Shown, Strict, rfc3339, time_of};

/// Rows that are looked at before the widths of the columns are fixed.
const ROWS_BEFORE_WIDTHS: usize = 100;
/// Bytes of rows that are held back at most for that.
const BYTES_BEFORE_WIDTHS: usize = 1 << 20;

/// How rows are shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowStyle {
    /// As what values are shown; else as text, with escapes where they are none.
    pub(crate) form: Option<Form>,
    /// Whether people see versions, times and ends too.
    pub(crate) is_long: bool,
    /// Whether values are left out.
    pub(crate) keys_only: bool,
}

/// A key, and its value if it has one.
#[derive(Clone, Debug)]
pub(crate) struct ShownRow {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Value>,
}

impl From<Row> for ShownRow {
    fn from(row: Row) -> Self {
        let Row { key, value, version, expires_unix_ms } = row;
        Self { key: key.into(), value: Some(Value { value, version, expires_unix_ms }) }
    }
}

impl ShownRow {
    /// The value alone, for people: text of several lines as it is.
    pub(crate) fn bare_value(&self, style: RowStyle) -> Result<String, Failure> {
        let formed = Formatted::new(self, style)?.formed;
        let value = self.value.as_ref().map(|value| &value.value[..]).unwrap_or_default();
        Ok(formed.map_or_else(|| Prose(value).to_string(), |formed| formed.to_string()))
    }

    /// The fields of a line for scripts, with the value as it is.
    pub(crate) fn plain(&self) -> Vec<String> {
        self.as_it_is().plain()
    }

    /// Writes the members of a JSON object, with the value as it is.
    pub(crate) fn members<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.as_it_is().members(map)
    }

    fn as_it_is(&self) -> Formatted<'_> {
        Formatted { row: self, style: RowStyle::default(), formed: None }
    }
}

impl Serialize for ShownRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_it_is().serialize(serializer)
    }
}

/// Writes rows as they come. People get columns as wide as the first rows need.
pub(crate) struct Rows<'a> {
    printer: &'a mut Printer,
    style: RowStyle,
    table: Table,
    widths: Option<Vec<usize>>,
    held_bytes: usize,
}

impl<'a> Rows<'a> {
    /// Rows to `printer`.
    pub(crate) fn new(printer: &'a mut Printer, style: RowStyle) -> Self {
        let mut columns = vec![("KEY", Align::Left)];
        if style.is_long {
            columns.extend([("VERSION", Align::Right), ("TIME", Align::Left), ("ENDS", Align::Left)]);
        }
        if !style.keys_only {
            columns.push(("VALUE", Align::Left));
        }
        Self { printer, style, table: Table::new(&columns), widths: None, held_bytes: 0 }
    }

    /// Writes a row.
    ///
    /// # Errors
    /// The value is not of the form asked for, or stdout is gone.
    pub(crate) fn push(&mut self, row: &ShownRow) -> Result<(), Failure> {
        let formed = Formatted::new(row, self.style)?;
        match self.printer.format() {
            Format::Json => self.printer.json(&formed)?,
            Format::Plain => self.printer.fields(&formed.plain())?,
            Format::Human => {
                let cells = formed.cells();
                self.held_bytes += cells.iter().map(String::len).sum::<usize>();
                self.table.push(cells);
                let is_enough = self.table.len() >= ROWS_BEFORE_WIDTHS || self.held_bytes >= BYTES_BEFORE_WIDTHS;
                if self.widths.is_some() || is_enough {
                    self.write_table()?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is held back. A table without rows is not written.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        if self.table.len() > 0 { self.write_table() } else { Ok(()) }
    }

    fn write_table(&mut self) -> Result<(), Failure> {
        if self.widths.is_none() {
            let widths = self.table.widths();
            self.printer.text(&self.table.heading(&widths))?;
            self.widths = Some(widths);
        }
        let widths = self.widths.as_deref().unwrap_or_default();
        let text = self.table.take_rows(widths);
        self.held_bytes = 0;
        self.printer.text(&text)
    }
}

/// A row as it is shown: read in its form once, for any format.
struct Formatted<'a> {
    row: &'a ShownRow,
    style: RowStyle,
    formed: Option<Formed<'a>>,
}

impl<'a> Formatted<'a> {
    fn new(row: &'a ShownRow, style: RowStyle) -> Result<Self, Failure> {
        let formed = match (&row.value, style.form) {
            (Some(value), Some(form)) if !style.keys_only => Some(form.read(&value.value).map_err(|error| {
                Failure::usage(format!("the value of key {} cannot be shown: {error}", Shown(&row.key)))
            })?),
            _ => None,
        };
        Ok(Self { row, style, formed })
    }

    /// For people: version, time and end if they are wanted.
    fn cells(&self) -> Vec<String> {
        let mut cells = vec![Shown(&self.row.key).to_string()];
        let value = self.row.value.as_ref();
        if self.style.is_long {
            cells.push(value.map(|value| value.version.to_string()).unwrap_or_default());
            cells.push(value.map(|value| time_of(value.version)).unwrap_or_default());
            cells.push(value.and_then(|value| value.expires_unix_ms).map(rfc3339).unwrap_or_default());
        }
        if !self.style.keys_only {
            cells.push(match (&self.formed, value) {
                (Some(formed), _) => formed.to_string(),
                (None, Some(value)) => Shown(&value.value).to_string(),
                (None, None) => "(no value)".to_owned(),
            });
        }
        cells
    }

    /// For scripts: key, version, end in milliseconds since 1970, value. Without a value, the last three are empty.
    fn plain(&self) -> Vec<String> {
        let value = self.row.value.as_ref();
        let mut fields = vec![Strict(&self.row.key).to_string()];
        fields.push(value.map(|value| value.version.to_string()).unwrap_or_default());
        let end = value.and_then(|value| value.expires_unix_ms);
        fields.push(end.map(|ms| ms.to_string()).unwrap_or_default());
        if !self.style.keys_only {
            fields.push(match (&self.formed, value) {
                (Some(Formed::Text(text)), _) => Strict(text.as_bytes()).to_string(),
                (Some(formed), _) => formed.to_string(),
                (None, Some(value)) => Strict(&value.value).to_string(),
                (None, None) => String::new(),
            });
        }
        fields
    }

    fn members<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        bytes_member(map, "key", &self.row.key)?;
        map.serialize_entry("found", &self.row.value.is_some())?;
        if let Some(value) = &self.row.value {
            match &self.formed {
                _ if self.style.keys_only => {}
                Some(Formed::Hex(bytes)) => map.serialize_entry("value_hex", &Hex(bytes).to_string())?,
                Some(formed) => map.serialize_entry("value", formed)?,
                None => bytes_member(map, "value", &value.value)?,
            }
            map.serialize_entry("version", &version_text(value.version))?;
            map.serialize_entry("expires", &value.expires_unix_ms.map(rfc3339))?;
        }
        Ok(())
    }
}

impl Serialize for Formatted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.members(&mut map)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes;
    use lentic_client::Version;

    fn row(key: &[u8], value: Option<&[u8]>) -> ShownRow {
        let version = Version::tick(86_400_000, 1).unwrap();
        let value = value.map(|value| Value {
            value: value.to_vec().into(),
            version,
            expires_unix_ms: key.starts_with(b"e").then_some(1_700_000_000_500),
        });
        ShownRow { key: key.to_vec(), value }
    }

    fn shown(style: RowStyle, rows: &[ShownRow]) -> [String; 3] {
        shapes(|printer| {
            let mut out = Rows::new(printer, style);
            rows.iter().try_for_each(|row| out.push(row))?;
            out.finish()
        })
    }

    #[test]
    fn rows_have_a_shape_in_each_format() {
        let rows = [row(b"a", Some(b"one")), row(b"e\xff", Some(b"\x00\t")), row(b"none", None)];
        let [human, plain, json] = shown(RowStyle::default(), &rows);
        assert_eq!(human, "KEY    VALUE\na      one\ne\\xff  \\x00\\t\nnone   (no value)\n");
        assert_eq!(
            plain,
            "a\tv362387865600256\t\tone\ne\\xff\tv362387865600256\t1700000000500\t\\x00\\t\nnone\t\t\t\n"
        );
        assert_eq!(
            json,
            "{\"key\":\"a\",\"found\":true,\"value\":\"one\",\"version\":\"362387865600256\",\"expires\":null}\n\
             {\"key_hex\":\"65ff\",\"found\":true,\"value\":\"\\u0000\\t\",\"version\":\"362387865600256\",\
             \"expires\":\"2023-11-14T22:13:20.500Z\"}\n\
             {\"key\":\"none\",\"found\":false}\n"
        );
    }

    #[test]
    fn rows_are_long_or_only_keys() {
        let rows = [row(b"e", Some(b"1"))];
        let [human, ..] = shown(RowStyle { is_long: true, ..RowStyle::default() }, &rows);
        assert_eq!(
            human,
            "KEY           VERSION  TIME                      ENDS                      VALUE\n\
             e    v362387865600256  2020-01-02T00:00:00.000Z  2023-11-14T22:13:20.500Z  1\n"
        );
        let [human, plain, json] = shown(RowStyle { keys_only: true, ..RowStyle::default() }, &rows);
        assert_eq!((&*human, &*plain), ("KEY\ne\n", "e\tv362387865600256\t1700000000500\n"));
        assert!(!json.contains("value"), "{json}");
        assert_eq!(shown(RowStyle::default(), &[])[0], "");
    }

    #[test]
    fn values_are_shown_in_the_form_asked_for() {
        let style = RowStyle { form: Some(Form::I64), ..RowStyle::default() };
        let [human, plain, json] = shown(style, &[row(b"n", Some(&(-7i64).to_be_bytes())), row(b"none", None)]);
        assert_eq!(human, "KEY   VALUE\nn     -7\nnone  (no value)\n");
        assert!(plain.starts_with("n\tv362387865600256\t\t-7\n") && json.contains("\"value\":-7,"), "{plain}{json}");
        let hex = RowStyle { form: Some(Form::Hex), ..RowStyle::default() };
        assert!(shown(hex, &[row(b"n", Some(b"\x01"))])[2].contains("\"value_hex\":\"01\""));
        let mut printer = Printer::new(Format::Json, Box::new(std::io::sink()));
        let failure = Rows::new(&mut printer, style).push(&row(b"n", Some(b"x"))).unwrap_err();
        assert!(failure.message.starts_with("the value of key n cannot be shown: expected an integer"));
    }

    #[test]
    fn columns_are_as_wide_as_the_first_rows_need() {
        let wide = |number: usize| row(format!("{number:0width$}", width = 1 + number / 100).as_bytes(), Some(b"v"));
        let [human, ..] = shown(RowStyle::default(), &(0..250).map(wide).collect::<Vec<_>>());
        let lines: Vec<&str> = human.lines().collect();
        assert_eq!(
            (lines.len(), lines[0], lines[1], lines[100], lines[250]),
            (251, "KEY  VALUE", "0    v", "99   v", "249  v")
        );
    }
}
