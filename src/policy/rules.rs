//! The rules of policy files, and how they and the environment make a policy.
//!
//! The policy files of the system set the floor. An additional file of the user may only tighten. The environment may tighten what
//! a file sets, and set what no file sets.

use core::fmt;

use crate::{
    error::{PolicyError, Result},
    name::Name,
};

use super::{
    Policy, UserFile,
    key::{KEYS, Key, Sections},
    pattern::{Pattern, Subject},
    syntax::{self, Section, shown},
};

/// The rules of one policy file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// A line that sets a key.
#[derive(PartialEq, Eq)]
struct Rule {
    section: Section,
    /// The key's place in [`KEYS`].
    key: usize,
    value: String,
    path: String,
    line: u32,
}

/// The policy files of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyFiles {
    /// Those of the system; later ones win over earlier ones.
    pub system: Vec<&'static Rules>,
    /// The additional one, which may only tighten.
    pub additional: Option<&'static Rules>,
}

/// Whom a policy is for.
#[derive(Debug, Clone, Copy)]
pub enum Whom<'a> {
    /// An initiator whose target is not known yet: it acquires a credential.
    Initiator,
    /// An initiator that authenticates to this target.
    InitiatorTo(Option<&'a Name>),
    /// An acceptor of this name; `None` if its application asked for none.
    Acceptor(Option<&'a Name>),
}

/// A part of a policy, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its key in a policy file.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What set it: a line of a file, or a variable; `None` for the default.
    pub by: Option<String>,
}

/// The lines of policy files that made a policy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// One for each of [`KEYS`].
    set: [Option<&'static Rule>; KEYS.len()],
    another_uses_lm: bool,
}

impl Rules {
    /// The rules in `text`, the content of the file at `path`.
    ///
    /// # Errors
    /// [`PolicyError::BadLine`]: a typing mistake must not switch a check off.
    pub fn parse(path: &str, text: &str) -> Result<Self> {
        let mut rules = Vec::<Rule>::new();
        for syntax::Line { number: line, section, key: name, value } in syntax::lines(path, text)? {
            let bad = |fault| PolicyError::BadLine { path: path.to_owned(), line, fault };
            let kind = Sections::of(&section);
            let Some((key, row)) = keys().find(|(_, row)| row.name == name && row.sections.contains(kind)) else {
                let known: Vec<_> = KEYS.iter().filter(|row| row.sections.contains(kind)).map(|row| row.name).collect();
                return Err(bad(format!("{} is no key of this section: use {}", shown(name), known.join(", "))).into());
            };
            if !(row.set)(&mut Policy::default(), value) {
                return Err(bad(format!("{name} must be {}", row.allowed)).into());
            }
            if let Some(first) = rules.iter().find(|rule| rule.key == key && rule.section == section) {
                return Err(bad(format!("line {} sets {name} already: remove one of them", first.line)).into());
            }
            rules.push(Rule { section, key, value: value.to_owned(), path: path.to_owned(), line });
        }
        Ok(Self(rules))
    }

    /// The rules in `text`, the content of a file that may not be UTF-8.
    ///
    /// # Errors
    /// As [`Rules::parse`].
    pub fn parse_bytes(path: &str, text: &[u8]) -> Result<Self> {
        match str::from_utf8(text) {
            Ok(text) => Self::parse(path, text),
            Err(error) => {
                let before = text.get(..error.valid_up_to()).unwrap_or_default();
                let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
                let fault = "it is not UTF-8: save the file as UTF-8".to_owned();
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                Err(PolicyError::BadLine { path: path.to_owned(), line, fault }.into())
            }
        }
    }

    /// Those that are for `subject` in its role, from general to specific.
    fn of(&'static self, whom: Whom<'_>, subject: &Subject) -> Vec<(Rank, &'static Rule)> {
        self.0.iter().filter_map(|rule| Some((rule.rank(whom, subject)?, rule))).collect()
    }
}

/// How specific a rule is: [both], the role's section, then its patterns.
type Rank = (u8, Option<&'static Pattern>);

impl Rule {
    /// How specific it is for `whom`; `None` if it is for others.
    fn rank(&'static self, whom: Whom<'_>, subject: &Subject) -> Option<Rank> {
        match (&self.section, whom) {
            (Section::Both, _) => Some((0, None)),
            (Section::Server(None), Whom::Acceptor(_)) => Some((1, None)),
            (Section::Client(None), Whom::Initiator | Whom::InitiatorTo(_)) => Some((1, None)),
            (Section::Server(Some(pattern)), Whom::Acceptor(Some(_)))
            | (Section::Client(Some(pattern)), Whom::InitiatorTo(_))
                if pattern.matches(subject) =>
            {
                Some((2, Some(pattern)))
            }
            _ => None,
        }
    }

    fn row(&self) -> Option<&'static Key> {
        KEYS.get(self.key)
    }

    /// Sets its key.
    fn apply(&'static self, policy: &mut Policy) {
        if let (Some(row), Some(line)) = (self.row(), policy.lines.set.get_mut(self.key)) {
            *line = Some(self);
            (row.set)(policy, &self.value);
        }
    }
}

/// Where it stands.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of {}", self.line, self.path)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.set.iter().flatten()).finish()
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self { set: [None; KEYS.len()], another_uses_lm: false }
    }
}

impl Lines {
    fn of(&self, name: &str) -> Option<&'static Rule> {
        self.set.iter().copied().flatten().find(|rule| rule.row().is_some_and(|row| row.name == name))
    }

    pub(super) fn user_file(&self) -> Option<UserFile> {
        let rule = self.of("user-file")?;
        Some(UserFile { path: &rule.value, is_for_client: matches!(rule.section, Section::Client(_)) })
    }

    pub(super) const fn another_uses_lm(&self) -> bool {
        self.another_uses_lm
    }

    /// What set the key of that name, which is not at its default: a line of a file, else its variable.
    pub(super) fn setter_of(&self, name: &str) -> String {
        let variable =
            || KEYS.iter().find(|row| row.name == name).and_then(|row| row.variable).unwrap_or_default().to_owned();
        self.of(name).map_or_else(variable, ToString::to_string)
    }
}

impl Policy {
    /// The parts that count for clients, or for servers. `is_set` says of a variable whether the environment has it.
    #[must_use]
    pub fn settings(&self, whom: Whom<'_>, is_set: impl Fn(&'static str) -> bool) -> Vec<Setting> {
        let role = match whom {
            Whom::Acceptor(_) => Sections::BOTH.union(Sections::SERVER),
            Whom::Initiator | Whom::InitiatorTo(_) => Sections::BOTH.union(Sections::CLIENT),
        };
        let of_role = keys().filter(|(_, row)| row.sections.intersects(role));
        of_role
            .map(|(_, row)| {
                let line = self.lines.of(row.name).map(ToString::to_string);
                let by = line.or_else(|| row.variable.filter(|variable| is_set(variable)).map(str::to_owned));
                Setting { key: row.name, value: (row.get)(self), by }
            })
            .collect()
    }
}

impl PolicyFiles {
    /// The prefixes of the environment variables for [`PolicyFiles::policy`].
    pub const VARIABLES: [&str; 2] = ["GSS_NTLM_", "LM_COMPAT_LEVEL="];
    /// The environment variables that set something.
    pub fn known_variables() -> impl Iterator<Item = &'static str> {
        KEYS.iter().filter_map(|row| row.variable).chain([Self::ADDITIONAL])
    }

    /// The environment variable that names the additional file.
    pub const ADDITIONAL: &str = "GSS_NTLM_CONFIG";

    /// The policy for `whom` that these files and environment variables make. A variable is a name and a value; an empty value
    /// counts as unset.
    ///
    /// # Errors
    /// A typing mistake must not switch a check off: [`PolicyError::BadSwitch`] or [`PolicyError::BadLmLevel`] for a value that
    /// is not allowed, [`PolicyError::UnknownSwitch`] for an unknown name. [`PolicyError::Loosens`] for what would loosen the
    /// policy of a file.
    pub fn policy(&self, whom: Whom<'_>, variables: impl IntoIterator<Item = (String, String)>) -> Result<Policy> {
        let mut policy = Policy::default();
        if self.rules().next().is_some() {
            self.apply_to(&mut policy, whom)?;
        }
        let floor = policy;
        for (name, value) in variables.into_iter().filter(|(_, value)| !value.is_empty()) {
            if name == Self::ADDITIONAL {
                continue;
            }
            let Some((key, row)) = keys().find(|(_, row)| row.variable == Some(&*name)) else {
                let known = Self::known_variables().collect::<Vec<_>>().join(", ");
                return Err(PolicyError::UnknownSwitch { variable: name, known }.into());
            };
            if !(row.set)(&mut policy, value.trim()) {
                return Err(row.bad_variable());
            }
            if let Some(line) = floor.lines.set.get(key).copied().flatten()
                && !(row.keeps)(&floor, &policy)
            {
                return Err(row.loosened(name, value, line.to_string()));
            }
            let is_changed = !row.is_same(&floor, &policy);
            if let Some(line) = policy.lines.set.get_mut(key).filter(|_| is_changed) {
                *line = None;
            }
            if row.variable == Some("LM_COMPAT_LEVEL") {
                policy.lines.another_uses_lm = false;
            }
        }
        Ok(policy)
    }

    /// All rules.
    fn rules(&self) -> impl Iterator<Item = &'static Rule> {
        self.system.iter().copied().chain(self.additional).flat_map(|rules| &rules.0)
    }

    /// Applies what the files say.
    fn apply_to(&self, policy: &mut Policy, whom: Whom<'_>) -> Result<()> {
        // To prepare a name takes longer than all the rest.
        let has_patterns =
            self.rules().any(|rule| matches!(rule.section, Section::Client(Some(_)) | Section::Server(Some(_))));
        let subject = match whom {
            Whom::InitiatorTo(name) | Whom::Acceptor(name) if has_patterns => Subject::new(name),
            Whom::Initiator | Whom::InitiatorTo(_) | Whom::Acceptor(_) => Subject::new(None),
        };
        let mut rules: Vec<_> = self.system.iter().flat_map(|rules| rules.of(whom, &subject)).collect();
        // Stable: of two rules that are as specific, the later one wins.
        rules.sort_by_key(|(rank, _)| *rank);
        for (_, rule) in rules {
            rule.apply(policy);
        }
        policy.lines.another_uses_lm = matches!(whom, Whom::Initiator) && self.has_client_that_uses_lm();
        let Some(additional) = self.additional else { return Ok(()) };
        let mut rules = additional.of(whom, &subject);
        rules.sort_by_key(|(rank, _)| *rank);
        let floor = *policy;
        for (_, rule) in rules {
            rule.apply(policy);
        }
        for (key, row) in keys() {
            let line = |policy: &Policy| policy.lines.set.get(key).copied().flatten();
            if let Some(rule) = line(policy)
                && !(row.keeps)(&floor, policy)
            {
                let by = line(&floor).map_or_else(|| "the default".to_owned(), ToString::to_string);
                return Err(row.loosened(format!("{} in {rule}", row.name), rule.value.clone(), by));
            }
        }
        Ok(())
    }

    /// Whether some section of initiators has a level that uses LM.
    fn has_client_that_uses_lm(&self) -> bool {
        self.system.iter().flat_map(|rules| &rules.0).any(|rule| {
            let mut policy = Policy::default();
            rule.row().is_some_and(|row| row.name == "lm-level" && (row.set)(&mut policy, &rule.value))
                && matches!(rule.section, Section::Client(_))
                && policy.lm_level.uses_lm()
        })
    }
}

impl Key {
    fn bad_variable(&self) -> crate::error::Error {
        match self.variable {
            Some("LM_COMPAT_LEVEL") => PolicyError::BadLmLevel.into(),
            variable => {
                PolicyError::BadSwitch { variable: variable.unwrap_or_default(), allowed: self.allowed.to_string() }
                    .into()
            }
        }
    }

    fn loosened(&self, setting: String, value: String, by: String) -> crate::error::Error {
        PolicyError::Loosens { setting, value, key: self.name, by }.into()
    }

    /// Whether both policies have the same value here.
    fn is_same(&self, one: &Policy, other: &Policy) -> bool {
        (self.keeps)(one, other) && (self.keeps)(other, one)
    }
}

fn keys() -> impl Iterator<Item = (usize, &'static Key)> {
    KEYS.iter().enumerate()
}
