//! The configuration: what an operator writes, checked as a whole before anything uses it.
//!
//! ```text
//! text ─load─▶ value ─walk─▶ value without mistakes ─serde─▶ Config ─validate─▶ Config
//!        │             │                                          │
//!        positions     structural mistakes                        mistakes in the meaning
//!        └─────────────┴──────────────────── all told at once, each with its place ──────┘
//! ```

pub mod authenv;
pub mod diff;
pub mod effective;
pub mod load;
pub mod path;
pub mod positions;
pub mod problem;
pub mod reference;
pub mod schema;
pub mod secrets;
pub mod settings;
pub mod template;
mod texts;
pub mod units;
pub mod validate;
pub mod walk;

pub use problem::{Problem, Problems};
pub use secrets::{Secrets, check_secrets};
pub use settings::Config;

use crate::base::fsio;
use path::KeyPath;
use positions::Positions;
use problem::Mistake;
use std::path::Path;

/// A configuration with the places of its keys, for what is checked later.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file, as it was named.
    pub file: String,
    /// Where everything stands in it.
    pub positions: Positions,
}

/// Reads and checks a file. All mistakes are told at once.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let file = path.display().to_string();
    let bytes = fsio::read_limited(path, load::MAX_BYTES as u64)
        .map_err(|error| Problem::of_file(&file, format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        Problem::of_line(&file, line, "is not UTF-8")
    })?;
    read(&text, &file)
}

/// Reads and checks a text; `file` is its name in the problems.
pub fn parse(text: &str, file: &str) -> Result<Config, Problems> {
    read(text, file).map(|loaded| loaded.config)
}

fn read(text: &str, file: &str) -> Result<Loaded, Problems> {
    let document = load::document(text, file)?;
    let mut problems = document.problems;
    let walked = walk::walk(&document.value);
    let mut mistakes = walked.mistakes;
    let config = match serde_json::from_value::<Config>(walked.value) {
        Ok(config) => {
            let news = |mistake: &Mistake| !walked.replaced.iter().any(|path| mistake.path.within(path));
            mistakes.extend(validate::validate(&config).into_iter().filter(news));
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
        (None, Some(config)) => Ok(Loaded { config, file: file.to_owned(), positions: document.positions }),
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
