//! What recipients are told: the variables of templates, which are the fields of webhooks, and how a template is filled.

use super::problem::did_you_mean;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;

/// The longest subject, in bytes; what is longer is cut.
pub const MAX_SUBJECT: usize = 300;
/// The longest text of a mail, in bytes; what is longer is cut.
pub const MAX_BODY: usize = 256 * 1024;
/// The longest template, in bytes.
pub const MAX_TEMPLATE: usize = 64 * 1024;

/// The subject where none is configured.
pub const SUBJECT: &str = "[saas-export] {{ export }} {{ headline }}";

/// The text where none is configured.
pub const BODY: &str = "\
Export {{ export }} {{ headline }}.

{% if state == 'failed' %}
Why:      it failed to {{ reason }}{% if error_class %} [{{ error_class }}]{% endif %}


{% endif %}
Task:     {{ task }}
Ended:    {{ ended_at }}{% if took %}, after {{ took }}{% endif %}

Records:  {{ records }}{% if rejected %}, and {{ rejected }} rejected{% endif %}

Size:     {{ size }} in {{ file_count }} files ({{ format }})
{% if previous_task %}
Before:   {{ previous_task }} {{ previous_state }} at {{ previous_ended_at }}
{% endif %}
{% for stream in streams if stream.error %}
Stream {{ stream.name }}: {{ stream.error }}
{% endfor %}
{% if links_until %}

Whoever has one of these links can read the file, until {{ links_until }}:
{% elif files %}

Files:
{% endif %}
{% for file in files %}
{{ file.stream }}/{{ file.name }} ({{ file.size }})
  {{ file.url or file.path }}
{% endfor %}
{% if more_files %}
and {{ more_files }} more: exportctl files {{ task }}
{% endif %}
{% if note %}

{{ note }}
{% endif %}

exportctl {% if state == 'failed' %}show{% else %}get{% endif %} {{ task }}{% if state == 'failed' %} tells more{% else %} -o DIR downloads the files{% endif %}.
";

/// What is told. Names are stable: releases add fields, and neither rename nor remove one. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Message {
    /// `success`, `failure`, `first_failure`, `recovery` or `test`.
    pub event: String,
    /// The event in words, to follow the export's name.
    pub headline: String,
    /// Name of the export.
    pub export: String,
    /// Id of the task.
    pub task: String,
    /// `succeeded` or `failed`.
    pub state: String,
    /// Why, for a person; of a failed task a fragment that fits after "failed to".
    pub reason: String,
    /// Class of the error that ended it.
    pub error_class: Option<String>,
    /// Attempts in a row without progress.
    pub attempt: u32,
    /// Who asked for the task.
    pub actor: String,
    /// Parameters of the run.
    pub params: BTreeMap<String, String>,
    /// Word of the format.
    pub format: String,
    /// When the task was created.
    pub created_at: String,
    /// When it first got a slot.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: String,
    /// From its first slot to its end, for a person.
    pub took: Option<String>,
    /// The same in seconds.
    pub seconds: Option<u64>,
    /// Records read.
    pub records_read: u64,
    /// Records in files.
    pub records: u64,
    /// Records in the quarantine.
    pub rejected: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// The same, for a person.
    pub size: String,
    /// Its files, counted.
    pub file_count: u64,
    /// Its streams.
    pub streams: Vec<StreamWords>,
    /// Names of the destinations.
    pub destinations: Vec<String>,
    /// The first of its files, once they are published.
    pub files: Vec<FileWords>,
    /// Files beyond those.
    pub more_files: u64,
    /// Until when the links of the files count; none where there are no links.
    pub links_until: Option<String>,
    /// What else is to be said, e.g. why there are no links.
    pub note: Option<String>,
    /// The task of the export that ended before; the same one if it was tried again.
    pub previous_task: Option<String>,
    /// How that ended.
    pub previous_state: Option<String>,
    /// When.
    pub previous_ended_at: Option<String>,
    /// Name of the recipient in the configuration.
    pub recipient: String,
}

/// A stream of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StreamWords {
    /// Its name.
    pub name: String,
    /// Records read.
    pub records_read: u64,
    /// Records in files.
    pub records: u64,
    /// Records in the quarantine.
    pub rejected: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// The same, for a person.
    pub size: String,
    /// Its files, counted.
    pub file_count: u64,
    /// The error that ended it.
    pub error: Option<String>,
}

/// A published file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FileWords {
    /// Name of its stream.
    pub stream: String,
    /// Its name.
    pub name: String,
    /// Name of the destination.
    pub destination: String,
    /// Records in it.
    pub records: u64,
    /// Its bytes.
    pub bytes: u64,
    /// The same, for a person.
    pub size: String,
    /// SHA-256 of it, lower-case hex.
    pub sha256: String,
    /// Where it lies: a path or a URL that is no secret.
    pub path: String,
    /// A link by which anybody can read it for a while.
    pub url: Option<String>,
}

impl Message {
    /// A message about nothing, for a test of a recipient and for a check of templates.
    pub fn sample(state: &str) -> Self {
        let text = str::to_owned;
        let stream = StreamWords { name: text("orders"), error: Some(text("reach the source")), ..Default::default() };
        let file = FileWords { stream: text("orders"), name: text("part-0-000000.csv"), ..Default::default() };
        let at = text("2026-01-01T00:00:00Z");
        Self {
            event: text("test"),
            headline: text("is only a test of notifications"),
            export: text("example"),
            task: text("20260101T000000Z-00000000"),
            state: text(state),
            reason: text("nothing happened"),
            error_class: (state == "failed").then(|| text("transient")),
            attempt: 1,
            actor: text("nobody"),
            params: BTreeMap::from([(text("region"), text("eu"))]),
            format: text("csv"),
            created_at: at.clone(),
            started_at: Some(at.clone()),
            ended_at: at,
            took: Some(text("0s")),
            seconds: Some(0),
            size: text("0 B"),
            streams: vec![stream],
            destinations: vec![text("lake")],
            files: vec![file],
            ..Self::default()
        }
    }
}

/// Fills a template; what is longer than `most` bytes is cut. The error says why it cannot be filled.
pub fn fill(template: &str, message: &Message, most: usize) -> Result<String, String> {
    let environment = environment();
    let template = environment.template_from_str(template).map_err(|error| told(&error))?;
    let mut out = Bounded { text: Vec::new(), most };
    match template.render_captured_to(message, &mut out) {
        Ok(_) => {}
        Err(_) if out.text.len() == most => {}
        Err(error) => return Err(told(&error)),
    }
    // A cut may have gone through a character.
    Ok(String::from_utf8_lossy(&out.text).trim_end_matches('\u{fffd}').to_owned())
}

/// What is wrong with a template, and what to do about it.
pub fn check(template: &str) -> Result<(), (String, Option<String>)> {
    if template.len() > MAX_TEMPLATE {
        return Err((format!("is longer than {MAX_TEMPLATE} bytes"), None));
    }
    let environment = environment();
    let parsed = environment.template_from_str(template).map_err(|error| (told(&error), None))?;
    let known = fields();
    let mut unknown: Vec<String> = parsed.undeclared_variables(false).into_iter().collect();
    unknown.retain(|name| !known.contains(name));
    unknown.sort();
    if let Some(name) = unknown.first() {
        let hint = match did_you_mean(name, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("there are {}", known.join(", ")),
        };
        return Err((format!("there is no variable {name:?}"), Some(hint)));
    }
    for state in ["succeeded", "failed"] {
        fill(template, &Message::sample(state), MAX_BODY).map_err(|why| (why, None))?;
    }
    Ok(())
}

fn fields() -> Vec<String> {
    match serde_json::to_value(Message::default()) {
        Ok(serde_json::Value::Object(fields)) => fields.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment
}

/// The error in one line, without the source that some of its forms repeat.
fn told(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(" (line {line} of the template)")).unwrap_or_default();
    match error.detail() {
        Some(detail) => format!("{}: {detail}{line}", error.kind()),
        None => format!("{}{line}", error.kind()),
    }
}

/// Takes so many bytes, and then ends the rendering.
struct Bounded {
    text: Vec<u8>,
    most: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.most - self.text.len();
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.text.extend_from_slice(taken);
        if taken.is_empty() && !bytes.is_empty() { Err(io::ErrorKind::WriteZero.into()) } else { Ok(taken.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_texts_are_templates() {
        for template in [SUBJECT, BODY] {
            assert_eq!(check(template), Ok(()));
        }
        let failed = fill(BODY, &Message { export: "shop".into(), ..Message::sample("failed") }, MAX_BODY).unwrap();
        assert!(failed.starts_with("Export shop is only a test of notifications.\n\nWhy:      it failed to nothing happened [transient]\n\nTask:     2026"), "{failed}");
        let sample = Message::sample("succeeded");
        let file = FileWords { url: Some("https://store.example/x".into()), ..sample.files[0].clone() };
        let sent = Message { files: vec![file], links_until: Some("then".into()), more_files: 3, ..sample };
        let text = fill(BODY, &sent, MAX_BODY).unwrap();
        assert!(
            text.contains("until then:\norders/part-0-000000.csv ()\n  https://store.example/x\nand 3 more: "),
            "{text}"
        );
        assert!(!text.contains("Why:"), "{text}");
    }

    #[test]
    fn mistakes_are_told_with_what_was_meant() {
        let (why, hint) = check("{{ exprot }}").unwrap_err();
        assert_eq!(
            (why.as_str(), hint.as_deref()),
            ("there is no variable \"exprot\"", Some("did you mean \"export\"?"))
        );
        let (why, _) = check("one\n{% for file in files %}{{ file.nmae }}{% endfor %}").unwrap_err();
        assert!(why.starts_with("undefined value") && why.ends_with("(line 2 of the template)"), "{why}");
        assert!(check("{% if x").is_err() && check("{{ export | upper }}").is_err());
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        let message = Message { export: "é".repeat(50), ..Message::sample("failed") };
        assert_eq!(fill("{{ export }}", &message, 9).unwrap(), "éééé");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(template in "([a-z{}%. ]|export|\\{\\{|\\}\\}|\\{%){0,30}", most in 0..40_usize) {
            let _ = check(&template);
            if let Ok(text) = fill(&template, &Message::sample("failed"), most) {
                prop_assert!(text.len() <= most);
            }
        }
    }
}
