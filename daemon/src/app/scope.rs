//! Checks what of an export a request wants against what the export has.

use super::engine::streams_of;
use crate::base::ids::Name;
use crate::config::cursor::CursorFormat;
use crate::config::problem::did_you_mean;
use crate::config::settings::{Config, Export, Incremental, Source};
use crate::model::mark::CursorKind;
use crate::queue::handle::{Refusal, Scope};

/// The streams that a task of this scope reads, in the export's order. A back-fill reads the incremental ones.
pub fn streams(export: &Export, config: &Config, scope: &Scope) -> Result<Vec<Name>, Refusal> {
    let all = streams_of(export, config);
    for stream in &scope.streams {
        if !all.iter().any(|name| name.as_str() == stream) {
            let names: Vec<_> = all.iter().map(Name::as_str).collect();
            let meant = did_you_mean(stream, names.iter().copied()).map(|meant| format!(" (did you mean {meant}?)"));
            let known = names.join(", ");
            let message = format!("the export has no stream {stream:?}{}: it has {known}", meant.unwrap_or_default());
            return Err(Refusal::NotFound(message));
        }
    }
    let wanted = |name: &Name| scope.streams.is_empty() || scope.streams.iter().any(|stream| stream == name.as_str());
    let chosen: Vec<Name> = all.into_iter().filter(wanted).collect();
    if !scope.back_fill() {
        return Ok(chosen);
    }
    check_scope(scope)?;
    let Some(Source::Rest(rest)) = config.sources.get(&export.source) else { return Ok(chosen) };
    let plain = chosen.iter().find(|name| rest.streams.get(*name).is_some_and(|stream| stream.incremental.is_none()));
    match plain {
        Some(plain) => Err(Refusal::Invalid(format!(
            "stream {plain} is not incremental, so that --from and --to mean nothing to it: name the others with --stream"
        ))),
        None => {
            let followed = chosen.iter().filter_map(|name| rest.streams.get(name)?.incremental.as_ref());
            followed.into_iter().try_for_each(|settings| check_bounds(scope, settings))?;
            Ok(chosen)
        }
    }
}

fn check_scope(scope: &Scope) -> Result<(), Refusal> {
    let invalid = |why: &str| Err(Refusal::Invalid(why.to_owned()));
    if scope.full {
        return invalid("--full reads everything: it does not go with --from and --to");
    }
    if scope.from.as_deref() == Some("") || scope.to.as_deref() == Some("") {
        return invalid("--from and --to need a value, e.g. 2026-01-01");
    }
    Ok(())
}

/// The bounds as one of the streams reads them.
fn check_bounds(scope: &Scope, settings: &Incremental) -> Result<(), Refusal> {
    let invalid = |why: &str| Err(Refusal::Invalid(why.to_owned()));
    let format = CursorFormat::compile(settings).unwrap_or_default();
    let bound = |text: &Option<String>| text.as_deref().map(|text| format.bound(text));
    // What the records hold is known where the configuration says where to start; a number may count time.
    let start = bound(&settings.start).map(|start| start.kind());
    let kind = format.kind().or(start).filter(|kind| *kind != CursorKind::Text);
    for (flag, text) in [("--from", &scope.from), ("--to", &scope.to)] {
        let text = text.as_deref().unwrap_or_default();
        if kind.is_some() && !text.is_empty() && format.bound(text).kind() == CursorKind::Text {
            let what = if kind == Some(CursorKind::Number) {
                "number (write e.g. 17)"
            } else {
                "time (write e.g. 2026-01-01T00:00:00Z)"
            };
            return invalid(&format!("{flag} {text:?} is no {what}, as {} holds", settings.cursor_field));
        }
    }
    match bound(&scope.from).zip(bound(&scope.to)) {
        Some((from, to)) if from.kind() != to.kind() => invalid("--from and --to are of different kinds"),
        Some((from, to)) if from > to => invalid("--from lies after --to"),
        _ => Ok(()),
    }
}
