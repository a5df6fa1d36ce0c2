//! Incremental streams: a key to tell repeated records, a start that can be read, parameters that nothing else sets.

use super::Check;
use super::requests::Fixed;
use crate::config::cursor::CursorFormat;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{Incremental, Method, ParamIn, Stream};
use crate::config::template::references;
use crate::config::times::TimeFormat;
use crate::config::units::shown;
use crate::model::mark::{CursorKind, CursorValue};
use crate::model::schema::RESCUED;

impl Check<'_> {
    pub(super) fn incremental(&mut self, path: &KeyPath, stream: &Stream, fixed: &Fixed<'_>) {
        let Some(incremental) = &stream.incremental else { return };
        let here = path.key("incremental");
        if stream.primary_key.is_empty() {
            let message = "needs a primary_key: without one a record that comes again cannot be told from a new one";
            self.wrong(Mistake::key(&here, message).hint("add primary_key: [id]"));
        }
        let field = &incremental.cursor_field;
        if field.split('.').any(str::is_empty) || field == RESCUED {
            self.wrong(Mistake::value(&here.key("cursor_field"), "is not the name of a field"));
        }
        for (key, param) in [("param", &incremental.param), ("end_param", &incremental.end_param)] {
            let Some(param) = param else { continue };
            match incremental.place {
                ParamIn::Query => self.query_param(&here.key(key), param, fixed),
                ParamIn::Body if stream.method == Method::Get => {
                    let mistake = Mistake::key(&here.key("in"), "puts the parameter into the body, and a GET has none");
                    self.wrong(mistake.hint("write method: POST, or in: query"));
                }
                ParamIn::Body => self.body_param(&here.key(key), param, stream.body.as_ref()),
            }
        }
        match CursorFormat::compile(incremental) {
            Err((key, why)) => self.wrong(Mistake::value(&here.key(key), why)),
            Ok(cursor) => self.bounds(&here, incremental, &cursor),
        }
        self.upper_bound(&here, stream, incremental);
    }

    fn bounds(&mut self, here: &KeyPath, incremental: &Incremental, cursor: &CursorFormat) {
        let start = incremental.start.as_deref().map(|start| (start, cursor.bound(start).kind()));
        if let (Some((start, kind)), Some(wanted)) = (start, cursor.kind())
            && kind != wanted
        {
            self.wrong(Mistake::value(&here.key("start"), format!("{} is not what cursor_format says", shown(start))));
            return;
        }
        let kind = start.or_else(|| cursor.kind().map(|kind| ("", kind)));
        if let Some((start, CursorKind::Text)) = kind
            && incremental.format != "rfc3339"
            && incremental.start.is_some()
        {
            let mistake = Mistake::value(&here.key("start"), format!("{} is not a time", shown(start)));
            self.wrong(mistake.hint("write e.g. 2024-01-01T00:00:00Z"));
        }
        let format = TimeFormat::parse(&incremental.format);
        if let Err(why) = &format {
            self.wrong(Mistake::value(&here.key("format"), why));
        }
        let timeless = matches!(kind, Some((_, CursorKind::Number | CursorKind::Text)))
            && format.is_ok_and(|format| format.unit().is_none());
        if incremental.look_back.is_some() && timeless {
            let (says, hint) = match incremental.cursor_format {
                None => ("start", "add format: epoch where it counts seconds since 1970"),
                Some(_) => ("cursor_format", "write there how its times are written, e.g. epoch"),
            };
            let message = format!("is a time, but `{says}` says that the cursor field is none");
            self.wrong(Mistake::key(&here.key("look_back"), message).hint(hint));
        }
    }

    /// The upper bound of most tasks is the time of their creation, which is nothing to an API that counts something else.
    fn upper_bound(&mut self, here: &KeyPath, stream: &Stream, incremental: &Incremental) {
        let number =
            incremental.start.as_deref().is_some_and(|start| CursorValue::parse(start).kind() == CursorKind::Number);
        let says_time = incremental.cursor_format.as_deref().is_some_and(|format| format != "number")
            || TimeFormat::parse(&incremental.format).is_ok_and(|format| format.unit().is_some());
        if !number || says_time {
            return;
        }
        let path = match &incremental.end_param {
            Some(_) => here.key("end_param"),
            None if asks_for_end(stream) => here.key("start"),
            None => return,
        };
        let message = "the upper bound is the time of the task, but `start` says that the cursor field is a number";
        self.wrong(
            Mistake::key(&path, message).hint("add format: epoch or epoch_ms where it counts time; else leave it out"),
        );
    }
}

/// Whether a template of the stream asks for the upper bound.
fn asks_for_end(stream: &Stream) -> bool {
    let texts = super::templates::texts(&KeyPath::top(), stream);
    texts
        .into_iter()
        .filter_map(|(_, text)| references(&text).ok())
        .flatten()
        .any(|reference| reference.root == "incremental" && reference.name == "end")
}
