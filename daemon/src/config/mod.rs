//! The configuration: what an operator writes, checked as a whole before anything uses it.
//!
//! ```text
//! text ─load─▶ value ─walk─▶ value without mistakes ─serde─▶ Config ─validate─▶ Config
//!        │             │                                          │
//!        positions     structural mistakes                        mistakes in the meaning
//!        └─────────────┴──────────────────── all told at once, each with its place ──────┘
//! ```

pub mod authenv;
pub mod cursor;
pub mod diff;
pub mod effective;
pub mod json_schema;
pub mod keys;
pub mod load;
pub mod message;
pub mod param;
pub mod path;
pub mod positions;
pub mod problem;
pub mod reference;
pub mod schema;
pub mod secrets;
pub mod settings;
pub mod shift;
pub mod template;
mod texts;
pub mod times;
pub mod transform;
pub mod units;
pub mod validate;
pub mod walk;

pub use problem::{Problem, Problems};
pub use secrets::Secrets;
pub use settings::Config;

use crate::base::fsio;
use path::KeyPath;
use positions::Positions;
use problem::Mistake;
use std::path::Path;

/// Reads and checks a file, and the JSON Schemas in the files that it names. All mistakes are told at once; with `secrets`, so is each `${NAME}` that they cannot fill, also
/// where something else is wrong with the file.
pub fn load(path: &Path, secrets: Option<&Secrets>) -> Result<Config, Problems> {
    let file = path.display().to_string();
    let bytes = fsio::read_limited(path, load::MAX_BYTES as u64)
        .map_err(|error| Problem::of_file(&file, format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        Problem::of_line(&file, line, "is not UTF-8")
    })?;
    let mut config = read(&text, &file, secrets)?;
    let mistakes = json_schema::read_files(&mut config);
    match Problems::collect(placed(&file, &load::document(&text, &file)?.positions, mistakes)) {
        Some(problems) => Err(problems),
        None => Ok(config),
    }
}

/// Reads and checks a text; `file` is its name in the problems.
pub fn parse(text: &str, file: &str) -> Result<Config, Problems> {
    read(text, file, None)
}

fn read(text: &str, file: &str, secrets: Option<&Secrets>) -> Result<Config, Problems> {
    let document = load::document(text, file)?;
    let mut problems = document.problems;
    let walked = walk::walk(&document.value);
    let mut mistakes = walked.mistakes;
    let config = match serde_json::from_value::<Config>(walked.value) {
        Ok(config) => {
            let mut found = validate::validate(&config);
            found.extend(secrets.map(|secrets| secrets::check(&config, secrets)).unwrap_or_default());
            mistakes.extend(found.into_iter().filter(|mistake| !mistake.follows(&walked.replaced)));
            Some(config)
        }
        Err(error) => {
            // The walk knows the types as well as serde; this is for the day on which it does not.
            if mistakes.is_empty() {
                mistakes.push(Mistake::key(&KeyPath::top(), error.to_string()));
            }
            None
        }
    };
    // Where something stands that YAML should not hold, what else is wrong with it is no news.
    let told: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    let placed = placed(file, &document.positions, mistakes).into_iter();
    problems.extend(placed.filter(|problem| !told.contains(&(problem.line, problem.column))));
    match (Problems::collect(problems), config) {
        (None, Some(config)) => Ok(config),
        (Some(problems), _) => Err(problems),
        (None, None) => Err(Problem::of_file(file, "cannot be read").into()),
    }
}

/// Gives mistakes their places in a file.
fn placed(file: &str, positions: &Positions, mistakes: Vec<Mistake>) -> Vec<Problem> {
    let place = |mistake: Mistake| {
        let mark = positions.find(&mistake.path, mistake.on);
        Problem {
            file: file.to_owned(),
            line: mark.line,
            column: mark.column,
            path: mistake.path.to_string(),
            message: mistake.message,
            hint: mistake.hint,
        }
    };
    mistakes.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests;
