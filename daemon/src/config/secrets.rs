//! The values of auth.env, filled into `${NAME}` at the moment of use.

use super::authenv;
use super::keys;
use super::problem::{Mistake, Problems, did_you_mean};
use super::settings::Config;
use super::texts;
use super::units::{SecretText, shown};
use crate::base::error::{Classify, ErrorClass};
use crate::base::secret::{Resolve, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where auth.env is when nothing else says so.
pub const DEFAULT_PATH: &str = "/etc/export/auth.env";
/// Values shorter than this are not masked: they stand by chance in too many texts.
const MASKED_FROM: usize = 4;
/// Encoded forms shorter than this are not masked, for the same reason.
const ENCODED_FROM: usize = 8;

/// The values of auth.env.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    values: BTreeMap<String, Secret>,
    /// The file they come from, for hints.
    origin: PathBuf,
    /// Whether systemd handed it over at the start: then `origin` is a copy that nobody may write.
    handed_over: bool,
}

/// A `${…}` that cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownSecret {
    /// No such name in auth.env.
    #[error("fill ${{{name}}}: {name:?} is not in auth.env")]
    NotThere {
        /// The name.
        name: String,
    },
    /// The text is no text with `${NAME}` in it.
    #[error("read a text with ${{NAME}}: {0}")]
    Malformed(&'static str),
}

impl Classify for UnknownSecret {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }
}

/// A part of a text that may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// As it stands.
    Text(&'a str),
    /// The secret of this name.
    Name(&'a str),
}

/// Takes a text apart: `${NAME}` anywhere, `$${` for a plain `${`. The error says what is wrong, never with the text.
pub fn parts(text: &str) -> Result<Vec<Part<'_>>, &'static str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, tail) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            parts.extend([Part::Text(before), Part::Text("${")]);
            rest = tail.get(2..).unwrap_or_default();
            continue;
        }
        let inside = tail.get(2..).unwrap_or_default();
        let (name, after) = inside.split_once('}').ok_or("\"${\" without \"}\"")?;
        if !authenv::is_name(name) {
            return Err("between \"${\" and \"}\" stands a name: letters, digits and \"_\", not starting with a digit");
        }
        parts.extend([Part::Text(before), Part::Name(name)]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

/// The names that a text asks for; none where it is malformed.
pub fn names(text: &str) -> Vec<&str> {
    let names = parts(text).unwrap_or_default().into_iter();
    names.filter_map(|part| if let Part::Name(name) = part { Some(name) } else { None }).collect()
}

impl Secrets {
    /// Secrets from pairs of name and value.
    pub fn new(values: BTreeMap<String, Secret>, origin: &Path) -> Self {
        Self { values, origin: origin.to_owned(), handed_over: false }
    }

    /// Reads auth.env: the file that is named, else the one in `$CREDENTIALS_DIRECTORY`, else [`DEFAULT_PATH`]. Only the
    /// last may be missing: then there are no secrets. Inside the credentials directory, modes are systemd's business.
    pub fn load(explicit: Option<&Path>, credentials: Option<&Path>) -> Result<Self, Problems> {
        // A link that leads nowhere and a directory that cannot be entered are mistakes to tell, not a missing file.
        let missing = |path: &Path| {
            std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        let inside = credentials.map(|dir| dir.join("auth.env")).filter(|path| !missing(path));
        let path = match (explicit, inside) {
            (Some(path), _) => path.to_owned(),
            (None, Some(path)) => path,
            (None, None) => PathBuf::from(DEFAULT_PATH),
        };
        if explicit.is_none() && missing(&path) {
            return Ok(Self::new(BTreeMap::new(), &path));
        }
        let trusted = credentials.is_some_and(|dir| path.parent() == Some(dir));
        let text = authenv::read(&path, trusted)?;
        let values = authenv::parse(&text, &path.display().to_string())?;
        Ok(Self { handed_over: trusted, ..Self::new(values, &path) })
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// What is different in `new`, a line each; names, never values.
    pub fn changed(&self, new: &Self) -> Vec<String> {
        let gone = self.values.keys().filter(|name| !new.values.contains_key(*name));
        let gone = gone.map(|name| format!("{name} removed"));
        let other = new.values.iter().filter_map(|(name, value)| match self.values.get(name) {
            None => Some(format!("{name} added")),
            Some(old) if old != value => Some(format!("{name} changed")),
            Some(_) => None,
        });
        gone.chain(other).collect()
    }

    /// Fills a text of the configuration.
    pub fn resolve(&self, text: &SecretText) -> Result<Secret, UnknownSecret> {
        self.fill(&text.0)
    }

    /// Fills a text; the error names what is missing, never a value.
    pub fn resolve_text(&self, text: &str) -> Result<Secret, String> {
        self.fill(text).map_err(|error| error.to_string())
    }

    fn fill(&self, text: &str) -> Result<Secret, UnknownSecret> {
        let mut filled = String::new();
        for part in parts(text).map_err(UnknownSecret::Malformed)? {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Name(name) => filled.push_str(self.get(name)?.expose()),
            }
        }
        Ok(Secret::new(filled))
    }

    fn get(&self, name: &str) -> Result<&Secret, UnknownSecret> {
        self.values.get(name).ok_or_else(|| UnknownSecret::NotThere { name: name.to_owned() })
    }
}

impl Resolve for Secrets {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        self.resolve_text(text)
    }
}

/// The forms in which a value may show up; none for one that is too short to be told from chance.
pub fn needles(value: &str) -> Vec<String> {
    if value.len() < MASKED_FROM {
        return Vec::new();
    }
    let mut forms = vec![value.to_owned()];
    forms.push(url::form_urlencoded::byte_serialize(value.as_bytes()).collect());
    let json = serde_json::Value::from(value).to_string();
    forms.push(json.get(1..json.len() - 1).unwrap_or_default().to_owned());
    for before in 0..3 {
        // Base64 of a longer text holds one of three forms of the value, by the number of bytes before it; the digits at
        // both ends depend on the neighbours and are left out.
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value.as_bytes());
        let (start, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let form = engine.encode(&bytes).get(start..end).unwrap_or_default().to_owned();
            if form.len() >= ENCODED_FROM.min(value.len()) {
                forms.push(form);
            }
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Checks every `${NAME}` of a configuration against the secrets there are.
pub(super) fn check(config: &Config, secrets: &Secrets) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for text in texts::all(config).into_iter().filter(|text| text.secret) {
        let lines = texts::is_pem(&text.path);
        mistakes.extend(keys::check(&text.path, &text.text, secrets));
        for name in names(&text.text) {
            mistakes.extend(
                secrets.check(name, lines).map(|(message, hint)| Mistake::value(&text.path, message).hint(hint)),
            );
        }
    }
    mistakes
}

impl Secrets {
    /// What is wrong with a name, and what to do. `lines` says whether the value may have line ends.
    fn check(&self, name: &str, lines: bool) -> Option<(String, String)> {
        // The copy that systemd made is made again at each start, and only then.
        let (file, then) = match self.handed_over {
            true => (Path::new(DEFAULT_PATH), ", then systemctl restart saas-export-daemon"),
            false => (self.origin.as_path(), ""),
        };
        let file = file.display();
        match self.values.get(name) {
            None => Some((
                format!("{} is not in auth.env", shown(name)),
                match did_you_mean(name, self.names()) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => format!("add the line {name}=… to {file}{then}"),
                },
            )),
            Some(value) if value.expose().is_empty() => {
                Some((format!("{} is empty in auth.env", shown(name)), format!("give it a value in {file}{then}")))
            }
            Some(value) if !lines && value.expose().contains(|c: char| c.is_control()) => Some((
                format!("{} holds a line end or another control character", shown(name)),
                format!("a request cannot carry it: correct it in {file}{then}"),
            )),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
