//! Progress while waiting: bars on a terminal, a line every few seconds elsewhere. Always on stderr.

use crate::human;
use crate::out::{Colour, Out, complain};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use saas_export_api::{TaskState, TaskSummary, size};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two lines about a task where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often a spinner turns between two answers of the daemon.
const SPIN: Duration = Duration::from_millis(120);

/// The progress of some tasks.
pub struct Live {
    out: Out,
    bars: MultiProgress,
    tasks: HashMap<String, Shown>,
}

/// What is on the screen about a task.
struct Shown {
    bar: ProgressBar,
    last_line: Option<(Instant, TaskState)>,
}

impl Live {
    /// Shows nothing yet.
    pub fn new(out: Out) -> Self {
        Self { out, bars: MultiProgress::new(), tasks: HashMap::new() }
    }

    /// Shows how far a task is now.
    pub fn update(&mut self, task: &TaskSummary) {
        if self.out.quiet || self.out.json {
            return;
        }
        let live = self.out.live;
        let bars = &self.bars;
        let shown = self.tasks.entry(task.id.clone()).or_insert_with(|| Shown {
            bar: if live { new_bar(bars, task) } else { ProgressBar::hidden() },
            last_line: None,
        });
        if live {
            draw(&shown.bar, task);
            return;
        }
        let now = Instant::now();
        let due = shown.last_line.is_none_or(|(at, state)| state != task.state || now - at >= LINE_EVERY);
        if due {
            shown.last_line = Some((now, task.state));
            complain(&line(task));
        }
    }

    /// Takes a task off the screen.
    pub fn remove(&mut self, id: &str) {
        if let Some(shown) = self.tasks.remove(id) {
            shown.bar.finish_and_clear();
        }
    }

    /// A message between the bars.
    pub fn say(&self, text: &str) {
        if self.out.live {
            // A terminal that is gone is no reason to stop waiting.
            let _ = self.bars.println(text);
        } else {
            self.out.say(text);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        for shown in self.tasks.values() {
            shown.bar.finish_and_clear();
        }
    }
}

fn new_bar(bars: &MultiProgress, task: &TaskSummary) -> ProgressBar {
    let bar = bars.add(ProgressBar::new_spinner());
    bar.set_prefix(format!("{} {}", human::clean(&task.export), human::clean(&task.id)));
    bar.enable_steady_tick(SPIN);
    bar
}

fn draw(bar: &ProgressBar, task: &TaskSummary) {
    let template = match task.progress.total {
        Some(total) if total > 0 => {
            bar.set_length(total);
            bar.set_position(task.progress.records.min(total));
            "{spinner} {prefix} [{bar:24}] {wide_msg}"
        }
        _ => "{spinner} {prefix} {wide_msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(message(task));
}

/// What a bar says beside itself.
fn message(task: &TaskSummary) -> String {
    let why = human::why(task);
    let state = match task.state {
        TaskState::Processing => human::progress(&task.progress),
        other => other.word().to_owned(),
    };
    if why.is_empty() { state } else { format!("{state}; {why}") }
}

/// A line about a task for a log.
fn line(task: &TaskSummary) -> String {
    format!("{} {} {}: {}", human::clean(&task.export), human::clean(&task.id), task.state.word(), message(task))
}

/// How a task ended, in one line: `succeeded: 1,000,000 records read, 48.0 MB written, in 4m 10s`.
pub fn ending(task: &TaskSummary, colours: bool) -> String {
    let state = Colour::of_state(task.state).paint(task.state.word(), colours);
    let took = human::seconds_between(task.started_at.as_deref(), task.ended_at.as_deref());
    let took = took.map(|seconds| format!(", in {}", human::duration(seconds))).unwrap_or_default();
    let sums = format!("{} read, {} written", human::many(task.progress.records, "record"), size(task.progress.bytes));
    let why = if task.reason.is_empty() { String::new() } else { format!(" ({})", human::clean(&task.reason)) };
    format!("{} {} {state}: {sums}{took}{why}", human::clean(&task.export), human::clean(&task.id))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use saas_export_api::{Progress, Waiting};

    pub fn sample(state: TaskState) -> TaskSummary {
        TaskSummary {
            id: "20261121T024501Z-9f86d081".into(),
            export: "shop".into(),
            params: Default::default(),
            format: "csv".into(),
            state,
            reason: String::new(),
            error_class: None,
            waiting: None,
            attempt: 1,
            actor: "uid 0 (root)".into(),
            extracted: false,
            created_at: "2026-11-21T02:45:01Z".into(),
            started_at: Some("2026-11-21T02:45:02Z".into()),
            ended_at: Some("2026-11-21T02:49:12Z".into()),
            retry_at: None,
            progress: Progress { records: 1_000_000, bytes: 48_000_000, ..Progress::default() },
            destinations: Vec::new(),
        }
    }

    #[test]
    fn an_end_says_what_came_of_it() {
        assert_eq!(
            ending(&sample(TaskState::Succeeded), false),
            "shop 20261121T024501Z-9f86d081 succeeded: 1,000,000 records read, 48.0 MB written, in 4m 10s"
        );
    }

    #[test]
    fn a_waiting_task_says_why() {
        let waiting = Some(Waiting { reason: "disk full".into(), until: None });
        let task = TaskSummary { waiting, ..sample(TaskState::Processing) };
        assert_eq!(message(&task), "1,000,000 records, 48.0 MB; waits: disk full");
        assert_eq!(message(&sample(TaskState::Paused)), "paused");
    }
}
