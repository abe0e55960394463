//! The lines of a policy file: `[section]`, `key = value`, and comments, which begin with `#` or `;`. There is no other syntax.

use crate::error::PolicyError;

use super::pattern::Pattern;

/// The end of the sentence about a line.
type Fault = String;

/// A section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Section {
    /// `[both]`.
    Both,
    /// `[server]`, for the acceptors whose name has this pattern.
    Server(Option<Pattern>),
    /// `[client]`, for the targets that have this pattern.
    Client(Option<Pattern>),
}

/// A line `key = value`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) number: u32,
    pub(super) section: Section,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

/// The longest line, in bytes.
const MAX_LINE: usize = 4096;

/// Where a section is begun, and how it is spelt, for the error's sentence.
const SECTIONS: &str = "[server], [client], [both], [server \"PATTERN\"] or [client \"PATTERN\"]";

/// The lines `key = value` of `text`, the content of the file at `path`. Lines may end with CRLF, and the text may begin with a
/// byte order mark.
///
/// # Errors
/// [`PolicyError::BadLine`] for the first line that is none of those that a policy file has.
pub(super) fn lines<'a>(path: &str, text: &'a str) -> Result<Vec<Line<'a>>, PolicyError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut section, mut lines) = (None, Vec::new());
    for (line, number) in text.lines().zip(1_u32..) {
        let bad = |fault| PolicyError::BadLine { path: path.to_owned(), line: number, fault };
        if line.len() > MAX_LINE || line.contains(|c: char| c.is_control() && c != '\t') {
            return Err(bad("it is too long, or has control characters: correct it, or remove it".to_owned()));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            section = Some(self::section(line).map_err(bad)?);
            continue;
        }
        let (key, value) = key_and_value(line).map_err(bad)?;
        let section =
            section.clone().ok_or_else(|| bad(format!("no section has begun: put one before it, {SECTIONS}")))?;
        lines.push(Line { number, section, key, value });
    }
    Ok(lines)
}

/// The section that begins with this line.
fn section(line: &str) -> Result<Section, Fault> {
    let bad = || format!("the section must be {SECTIONS}");
    let inside = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(bad)?.trim();
    let (name, quoted) = match inside.split_once([' ', '\t', '"']) {
        None => (inside, None),
        Some((name, _)) => (name, inside.strip_prefix(name).map(str::trim_start)),
    };
    let pattern = match quoted {
        None => None,
        Some(quoted) => {
            let text = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(bad)?;
            let pattern = Pattern::parse(text)
                .ok_or_else(|| format!("the pattern {} must be {}", shown(text), Pattern::FORMS))?;
            Some(pattern)
        }
    };
    match (name, pattern) {
        ("both", None) => Ok(Section::Both),
        ("server", pattern) => Ok(Section::Server(pattern)),
        ("client", pattern) => Ok(Section::Client(pattern)),
        _ => Err(bad()),
    }
}

fn key_and_value(line: &str) -> Result<(&str, &str), Fault> {
    let (key, value) =
        line.split_once('=').ok_or("the line must be KEY = VALUE, a section, or a comment that begins with #")?;
    let (key, value) = (key.trim_end(), value.trim_start());
    if value.is_empty() {
        return Err(format!("{} has no value: add one, or remove the line", shown(key)));
    }
    if value.split_ascii_whitespace().any(|word| word.starts_with(['#', ';'])) {
        return Err("a comment must be on a line of its own".to_owned());
    }
    Ok((key, value))
}

/// Text of a file as a sentence shows it.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(64).and_then(|(at, _)| text.get(..at)) {
        Some(begin) => format!("{begin}..."),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(u32, Section, String, String)>, PolicyError> {
        let lines = lines("/p", text)?;
        let owned = |line: Line<'_>| (line.number, line.section, line.key.to_owned(), line.value.to_owned());
        Ok(lines.into_iter().map(owned).collect())
    }

    fn fault(text: &str) -> (u32, String) {
        let error = read(text).unwrap_err();
        let PolicyError::BadLine { path, line, fault } = error else { panic!("{error}") };
        assert_eq!(path, "/p");
        (line, fault)
    }

    #[test]
    fn reads_sections_keys_and_values() {
        let text = "\u{feff}# comment\r\n; another\n\n [ both ]\n\ta=b c \n[server]\r\nd = e=f\r\n[client  \"*.x\"]\ng\t=\th\n[client\"*\"]\ni=j";
        let pattern = |text| Some(Pattern::parse(text).unwrap());
        let row = |number, section, key: &str, value: &str| (number, section, key.to_owned(), value.to_owned());
        assert_eq!(
            read(text).unwrap(),
            [
                row(5, Section::Both, "a", "b c"),
                row(7, Section::Server(None), "d", "e=f"),
                row(9, Section::Client(pattern("*.x")), "g", "h"),
                row(11, Section::Client(pattern("*")), "i", "j"),
            ]
        );
        for nothing in ["", "\n", "#", "[both]", "\u{feff}"] {
            assert_eq!(read(nothing), Ok(Vec::new()), "{nothing:?}");
        }
    }

    #[test]
    fn refuses_every_other_line_and_names_it() {
        for (line, words) in [
            ("lm-level 5", "must be KEY = VALUE"),
            ("lm-level =", "has no value"),
            ("lm-level = 5 # strict", "a line of its own"),
            ("lm-level = 5 ;strict", "a line of its own"),
            ("lm-level\0 = 5", "control characters"),
            ("[client", "must be [server]"),
            ("[]", "must be [server]"),
            ("[Client]", "must be [server]"),
            ("[clients]", "must be [server]"),
            ("[client HTTP/*]", "must be [server]"),
            ("[client \"a\" \"b\"]", "the pattern a\" \"b must be"),
            ("[client \"\"]", "the pattern  must be"),
            ("[both \"a\"]", "must be [server]"),
            ("[\"a\"]", "must be [server]"),
            ("[client] # x", "must be [server]"),
            ("[client \"*x\"]", "the pattern *x must be"),
        ] {
            let (number, fault) = fault(&format!("[both]\na = b\n{line}\n"));
            assert!(number == 3 && fault.contains(words), "{line}: {number}, {fault}");
        }
        assert_eq!(fault("\n\na = b").0, 3, "no section");
        assert_eq!(fault(&format!("[both]\n{} = x", "k".repeat(MAX_LINE))).0, 2);
        assert!(fault(&format!("[both]\n{} =", "k".repeat(1000))).1.len() < 150);
    }
}
