//! What the command found, for a person or as JSON: both are made of the same rows.

use core::{fmt, time::Duration};
use std::time::SystemTime;

use gss_ntlm::host::FileTime;

use serde_json::{Map, Value as Json};

/// The end of the year 9999, before which a time can be written.
const LAST: Duration = Duration::from_secs(253_402_300_800);

/// A FILETIME as the standard library has it; `None` for one that people do not write.
pub(crate) fn system_time(time: FileTime) -> Option<SystemTime> {
    let since = time.since(FileTime::from_unix(0, 0)).filter(|since| *since < LAST)?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Something that was found, and its parts.
pub(crate) struct Report {
    kind: String,
    /// Its length in bytes, where that means something.
    len: Option<usize>,
    rows: Vec<(&'static str, Value)>,
}

/// What a row has.
pub(crate) enum Value {
    Text(String),
    List(Vec<String>),
    Part(Report),
}

impl Report {
    pub(crate) fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), len: None, rows: Vec::new() }
    }

    pub(crate) fn of_bytes(kind: impl Into<String>, bytes: &[u8]) -> Self {
        Self { len: Some(bytes.len()), ..Self::new(kind) }
    }

    /// Leaves out the length, which is not known.
    pub(crate) const fn forget_length(&mut self) {
        self.len = None;
    }

    /// Adds a row with text, which must not contain what was not escaped.
    pub(crate) fn text(&mut self, label: &'static str, text: impl fmt::Display) {
        self.rows.push((label, Value::Text(text.to_string())));
    }

    pub(crate) fn list(&mut self, label: &'static str, list: Vec<String>) {
        self.rows.push((label, Value::List(list)));
    }

    pub(crate) fn part(&mut self, label: &'static str, part: Self) {
        self.rows.push((label, Value::Part(part)));
    }

    /// The same as JSON: `type` and `length`, and the labels as keys, with `_` for a blank. Where a label comes twice, its value
    /// is an array.
    pub(crate) fn to_json(&self) -> Json {
        let mut object = Map::new();
        object.insert("type".to_owned(), Json::from(self.kind.as_str()));
        if let Some(len) = self.len {
            object.insert("length".to_owned(), Json::from(len));
        }
        for (label, value) in &self.rows {
            let value = match value {
                Value::Text(text) => Json::from(text.as_str()),
                Value::List(list) => Json::from(list.as_slice()),
                Value::Part(part) => part.to_json(),
            };
            let key = label.replace(' ', "_");
            match object.remove(&key) {
                None => object.insert(key, value),
                Some(Json::Array(mut values)) => {
                    values.push(value);
                    object.insert(key, Json::Array(values))
                }
                Some(first) => object.insert(key, Json::Array(vec![first, value])),
            };
        }
        Json::Object(object)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self.len {
            Some(len) => writeln!(f, "{}, {len} bytes", self.kind)?,
            None => writeln!(f, "{}", self.kind)?,
        }
        let indent = depth.saturating_mul(2).saturating_add(2);
        let width = self.rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        for (label, value) in &self.rows {
            match value {
                Value::Text(text) => writeln!(f, "{:indent$}{label:width$}  {text}", "")?,
                Value::List(list) => {
                    let list = if list.is_empty() { "none".to_owned() } else { list.join(" ") };
                    writeln!(f, "{:indent$}{label:width$}  {list}", "")?;
                }
                Value::Part(part) => {
                    write!(f, "{:indent$}{label:width$}  ", "")?;
                    part.write(f, depth.saturating_add(1))?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}
