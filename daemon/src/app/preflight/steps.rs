//! The steps of a check as they are made: each within its time, told in order.

use crate::base::clock;
use saas_export_api::{Preflight, PreflightStep, StepResult};
use std::time::{Duration, Instant};

/// The longest that one step may take.
pub const LONGEST: Duration = Duration::from_secs(30);

/// What a step found.
#[derive(Clone, Debug)]
pub struct Found {
    result: StepResult,
    message: String,
    hint: Option<String>,
}

impl Found {
    /// As it should be.
    pub fn ok(message: impl Into<String>) -> Self {
        Self { result: StepResult::Ok, message: message.into(), hint: None }
    }

    /// It works, but `hint` says what to look at.
    pub fn warn(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { result: StepResult::Warn, ..Self::fail(message, hint) }
    }

    /// An export would fail here; `hint` says what to do, if it is not empty.
    pub fn fail(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint: String = hint.into();
        Self { result: StepResult::Fail, message: message.into(), hint: (!hint.is_empty()).then_some(hint) }
    }

    /// Not tried.
    pub fn skip(why: impl Into<String>) -> Self {
        Self { result: StepResult::Skip, ..Self::ok(why) }
    }
}

/// The steps so far.
pub struct Steps {
    made: Vec<PreflightStep>,
    until: Instant,
}

impl Steps {
    /// Nothing yet; all of it may take `whole`.
    pub fn new(whole: Duration) -> Self {
        Self { made: Vec::new(), until: clock::monotonic() + whole }
    }

    /// Time that the next step has.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(clock::monotonic()).min(LONGEST)
    }

    /// Makes a step. What it gives is there for the next one, unless it failed, had no time, or took too long.
    pub async fn make<T>(
        &mut self,
        subject: &str,
        name: &'static str,
        work: impl Future<Output = Result<(Found, T), Found>>,
    ) -> Option<T> {
        let left = self.left();
        if left.is_zero() {
            self.skip(subject, name, "the time of the check is over");
            return None;
        }
        let start = clock::monotonic();
        let (found, value) = match tokio::time::timeout(left, work).await {
            Ok(Ok((found, value))) => (found, Some(value)),
            Ok(Err(found)) => (found, None),
            Err(_) => (Found::fail(format!("no answer within {} s", left.as_secs()), ""), None),
        };
        self.push(subject, name, clock::since(start), found);
        value
    }

    /// Adds a step that took no time.
    pub fn tell(&mut self, subject: &str, name: &'static str, found: Found) {
        self.push(subject, name, Duration::ZERO, found);
    }

    /// Adds a step that was not tried.
    pub fn skip(&mut self, subject: &str, name: &'static str, why: &str) {
        self.tell(subject, name, Found::skip(why));
    }

    /// Adds a step that took `time`.
    pub fn push(&mut self, subject: &str, name: &'static str, time: Duration, found: Found) {
        self.made.push(PreflightStep {
            subject: subject.to_owned(),
            name: name.to_owned(),
            result: found.result,
            ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            message: found.message,
            hint: found.hint,
        });
    }

    /// Whether a step of this name was told of this subject.
    pub fn told(&self, subject: &str, name: &str) -> bool {
        self.made.iter().any(|step| step.subject == subject && step.name == name)
    }

    /// Everything, in order.
    pub fn report(self, exports: Vec<String>) -> Preflight {
        let ok = self.made.iter().all(|step| step.result != StepResult::Fail);
        Preflight { ok, exports, steps: self.made }
    }
}
