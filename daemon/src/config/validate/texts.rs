//! `${NAME}` and `{{ … }}` where they belong, and nowhere else.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::{secrets, template, texts};

impl Check<'_> {
    pub(super) fn texts(&mut self) {
        for text in texts::all(self.config).into_iter().filter(|text| !texts::in_json_schema(&text.path)) {
            if text.secret {
                if let Err(why) = secrets::parts(&text.text) {
                    self.wrong(Mistake::value(&text.path, why).hint("write $${ for a plain ${"));
                }
            } else if text.text.contains("${") {
                let mistake = Mistake::value(&text.path, "\"${\" stands for secrets, and this is no secret field");
                self.wrong(
                    mistake.hint("secrets go into auth, headers, query and body; elsewhere use {{ param.NAME }}"),
                );
            }
            if !is_template(&text.path) && template::looks_like_one(&text.text) {
                let mistake = Mistake::value(&text.path, "this is no template, so {{ … }} is not filled here");
                self.wrong(mistake.hint("templates are path, headers, query and body of a stream"));
            }
        }
    }
}

/// `sources.NAME.rest.streams.NAME.{path, headers, query, body}` and what is below, and `notify.NAME.email.{subject, body}`.
fn is_template(path: &KeyPath) -> bool {
    if path.key_at(0) == Some("notify") {
        return path.key_at(2) == Some("email") && matches!(path.key_at(3), Some("subject" | "body"));
    }
    let stream =
        path.key_at(0) == Some("sources") && path.key_at(2) == Some("rest") && path.key_at(3) == Some("streams");
    stream && matches!(path.key_at(5), Some("path" | "headers" | "query" | "body"))
}
