//! The progress of the one task, on stderr.

use crate::base::clock;
use crate::model::progress::Progress;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use saas_export_api::plural;
use std::io::IsTerminal as _;
use std::time::Duration;

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A bar on a terminal, a line now and then elsewhere; gone when dropped.
pub struct Bar {
    bar: Option<ProgressBar>,
    said: std::time::Instant,
}

impl Bar {
    /// Shows nothing yet.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, said: clock::monotonic() }
    }

    /// Shows how far the task is.
    pub fn show(&mut self, progress: &Progress) {
        let mut text = format!(
            "{} {}, {} read, {} written, {:.0} records/s",
            HumanCount(progress.records),
            plural(progress.records, "record"),
            HumanBytes(progress.source_bytes),
            HumanBytes(progress.bytes),
            progress.rate
        );
        if let Some(total) = progress.total.filter(|total| *total > 0) {
            text = format!("{:.0} % {text}", progress.records as f64 * 100.0 / total as f64);
        }
        if let Some(waiting) = &progress.waiting {
            text = format!("waiting: {}", waiting.reason);
        }
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None if clock::since(self.said) >= LINE_EVERY => {
                self.said = clock::monotonic();
                eprintln!("{text}");
            }
            None => {}
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
