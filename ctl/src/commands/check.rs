//! `check`: what the daemon found on the way of its exports, a line for each step.

use crate::args::Check;
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::{Colour, Out};
use hyper::Method;
use saas_export_api::{Preflight, StepResult};
use serde_json::Value;

/// Asks for a check, prints it, and ends with 1 if a step failed.
pub async fn check(args: Check, client: &Client, out: Out) -> Result<Exit, Failure> {
    let path = match &args.export {
        None => "/v1/check".to_owned(),
        Some(export) => {
            let params: Vec<String> =
                args.params.iter().map(|(name, value)| format!("param.{}={}", encode(name), encode(value))).collect();
            let query = if params.is_empty() { String::new() } else { format!("?{}", params.join("&")) };
            format!("/v1/exports/{}/check{query}", encode(export))
        }
    };
    let document: Value = client.patient(Method::GET, &path, None).await.map_err(|failure| match failure.exit {
        Exit::Unreachable => failure.hint("without a running daemon: saas-export-daemon check"),
        _ => failure,
    })?;
    let report: Preflight = super::typed(document.clone())?;
    if out.json {
        out.document(&document)?;
    } else {
        out.data(&lines(&report, out.colours))?;
        let count = |result| report.steps.iter().filter(|step| step.result == result).count();
        out.say(&match (count(StepResult::Fail), count(StepResult::Warn)) {
            (0, 0) => "everything works".to_owned(),
            (0, warnings) => format!("everything works; warnings: {warnings}"),
            (failed, _) => format!("failed: {failed}"),
        });
    }
    Ok(if report.ok { Exit::Ok } else { Exit::Failed })
}

/// A line for each step below its subject, with what to do under those that are not as they should be.
fn lines(report: &Preflight, colours: bool) -> String {
    let mut text = String::new();
    let mut subject = "";
    for step in &report.steps {
        if step.subject != subject {
            subject = &step.subject;
            text.push_str(&format!("{}\n", human::clean(subject)));
        }
        let colour = match step.result {
            StepResult::Ok => Colour::Green,
            StepResult::Warn => Colour::Yellow,
            StepResult::Fail => Colour::Red,
            StepResult::Skip => Colour::Dim,
        };
        let word = colour.paint(&format!("{:<4}", step.result.word()), colours);
        let (name, message) = (human::clean(&step.name), human::clean(&step.message));
        text.push_str(&format!("  {word}  {name:<16}  {:>6} ms  {message}\n", step.ms));
        if let Some(hint) = &step.hint {
            text.push_str(&format!("        {}\n", human::clean(hint)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use saas_export_api::PreflightStep;

    #[test]
    fn subjects_are_told_once_and_hints_below_their_step() {
        let step = |subject: &str, name: &str, result, hint: Option<&str>| PreflightStep {
            subject: subject.into(),
            name: name.into(),
            result,
            ms: 12,
            message: format!("{name} said"),
            hint: hint.map(str::to_owned),
        };
        let steps = vec![
            step("source shop", "dns", StepResult::Ok, None),
            step("source shop", "tcp", StepResult::Fail, Some("open the port")),
            step("stream shop/orders", "first_page", StepResult::Skip, None),
        ];
        let report = Preflight { ok: false, exports: vec!["shop".into()], steps };
        let expected = "source shop\n  ok    dns                   12 ms  dns said\n  fail  tcp                   12 ms  \
                        tcp said\n        open the port\nstream shop/orders\n  skip  first_page            12 ms  \
                        first_page said\n";
        assert_eq!(lines(&report, false), expected);
    }
}
