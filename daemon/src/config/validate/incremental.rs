//! Incremental streams: a key to tell repeated records, a start that can be read, parameters that nothing else sets.

use super::Check;
use super::requests::Fixed;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{Incremental, Method, ParamIn, Stream};
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
        self.bounds(&here, incremental);
    }

    fn bounds(&mut self, here: &KeyPath, incremental: &Incremental) {
        let kind = incremental.start.as_deref().map(|start| (start, CursorValue::parse(start).kind()));
        if let Some((start, CursorKind::Text)) = kind
            && incremental.format != "rfc3339"
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
            let message = "is a time, but `start` says that the cursor field is none";
            self.wrong(
                Mistake::key(&here.key("look_back"), message)
                    .hint("add format: epoch where it counts seconds since 1970"),
            );
        }
    }
}
