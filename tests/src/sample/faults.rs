//! Faults on request: which answer goes wrong, and how; every decision follows from counts and the seed.

use super::data::Shape;
use super::rng::{fraction, mix};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 429 with `Retry-After: <seconds>`.
    Throttle,
    /// 429 with `Retry-After: <HTTP-date>`, `seconds` from now.
    ThrottleDate,
    /// The status `status` (500 unless given) with a JSON error.
    Status,
    /// 200 with half of the body, then a TCP reset.
    Reset,
    /// Nothing for `ms` (for ever unless given), then the answer.
    Stall,
    /// Half of the body, then nothing for `ms` (for ever unless given), then the rest.
    StallBody,
    /// A complete HTTP answer whose JSON ends in the middle.
    TruncatedJson,
    /// A complete HTTP answer with an HTML page and status 200.
    Html,
    /// The next cursor is the one that was asked for.
    RepeatedCursor,
    /// The first page again, whatever page was asked for.
    SamePage,
    /// The total is at most `after`. Of the records nothing is missing.
    CappedTotal,
    /// The status `status` (404 unless given) for a page behind the last one, instead of an empty page.
    BehindEnd,
    /// A byte in a text that is not UTF-8.
    InvalidUtf8,
    /// Another id in the middle of the page; `Content-Digest`, where there is one, is that of the true page.
    Damaged,
    /// The first records of the page are a number, a text, null and a list.
    NonObject,
    /// A redirect (307) of the same path and query to the origin `to`.
    Redirect,
    /// Records at position `after` and behind have a new field. Concerns every page, whatever the trigger.
    LateField,
    /// Records at position `after` and behind have a text where a number was. Concerns every page.
    TypeChange,
    /// At most `per_second` answers in a second.
    Rate,
    /// 429 for what comes above `per_second` and a saved-up `burst` (a second's worth unless given); or, where `ms` is given,
    /// above its part of each window of so many milliseconds. With `seconds` it says Retry-After, with `tells` how much of
    /// the window is left.
    Limit,
    /// 200 with an object that has `ok: false` and `error: "not now"`, and no records; with `ms`, `retry_after_ms` is that.
    ErrorBody,
    /// A wait of 0 to `ms`, by the seed and the page, so that pages asked for at the same time change places.
    Delay,
}

/// A rule: a kind, and when it applies. Requests are counted per rule, from 1, among those whose path holds `path`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// Only requests whose path contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Only these requests. Without `at`, `every` and `probability` the rule applies to every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<u64>,
    /// Only each n-th request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Only this part of the requests, 0 to 1, by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Position of the first record concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// What Retry-After says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// How long, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Answers per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Answers that may be saved up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<f64>,
    /// Whether answers tell of the window.
    #[serde(default)]
    pub tells: bool,
    /// HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Origin, e.g. `http://127.0.0.1:9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Fault {
    /// A fault of every request, to be narrowed by the methods below.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            path: None,
            at: Vec::new(),
            every: None,
            probability: None,
            after: None,
            seconds: None,
            ms: None,
            per_second: None,
            burst: None,
            tells: false,
            status: None,
            to: None,
        }
    }

    /// Only these requests, counted from 1.
    #[must_use]
    pub fn at(mut self, requests: &[u64]) -> Self {
        self.at = requests.to_vec();
        self
    }

    /// Only each n-th request.
    #[must_use]
    pub fn every(mut self, n: u64) -> Self {
        self.every = Some(n);
        self
    }

    /// Only this part of the requests.
    #[must_use]
    pub fn probability(mut self, part: f64) -> Self {
        self.probability = Some(part);
        self
    }

    /// Only paths that contain `path`.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Position of the first record concerned.
    #[must_use]
    pub fn after(mut self, position: u64) -> Self {
        self.after = Some(position);
        self
    }

    /// What Retry-After says.
    #[must_use]
    pub fn seconds(mut self, seconds: u64) -> Self {
        self.seconds = Some(seconds);
        self
    }

    /// How long, in milliseconds.
    #[must_use]
    pub fn ms(mut self, ms: u64) -> Self {
        self.ms = Some(ms);
        self
    }

    /// A limit of answers per second.
    pub fn rate(per_second: f64) -> Self {
        Self { per_second: Some(per_second), ..Self::new(Kind::Rate) }
    }

    /// A limit that refuses: so many a second, and so many saved up.
    pub fn bucket(per_second: f64, burst: f64) -> Self {
        Self { per_second: Some(per_second), burst: Some(burst), ..Self::new(Kind::Limit) }
    }

    /// A limit that refuses what comes above so many a second in each window, and tells what is left of it.
    pub fn window(per_second: f64, ms: u64) -> Self {
        Self { per_second: Some(per_second), ms: Some(ms), tells: true, ..Self::new(Kind::Limit) }
    }

    /// A failing status.
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::new(Kind::Status) }
    }

    /// A redirect to another origin.
    pub fn redirect(to: &str) -> Self {
        Self { to: Some(to.to_owned()), ..Self::new(Kind::Redirect) }
    }
}

/// What the rules make of one request.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The fault of the answer, if any; the first rule that applies wins.
    pub fault: Option<Fault>,
    /// How long the answer has to wait.
    pub wait: Duration,
    /// What the answer tells of the window: its limit, what is left, and seconds until its end.
    pub window: Option<(u64, u64, u64)>,
}

struct Rule {
    fault: Fault,
    count: u64,
    next_slot: Option<Instant>,
    /// What is left of a limit, and since when.
    left: Option<(f64, Instant)>,
}

/// The rules in force.
pub struct Rules {
    seed: u64,
    rules: Vec<Rule>,
}

impl Rules {
    /// No faults.
    pub fn new(seed: u64) -> Self {
        Self { seed, rules: Vec::new() }
    }

    /// Replaces every rule.
    pub fn set(&mut self, faults: Vec<Fault>) {
        self.rules = faults.into_iter().map(|fault| Rule { fault, count: 0, next_slot: None, left: None }).collect();
    }

    /// The shape of the data set under the rules.
    pub fn shape(&self) -> Shape {
        let after = |kind| self.rules.iter().find(|r| r.fault.kind == kind).map(|r| r.fault.after.unwrap_or(0));
        Shape { late_field: after(Kind::LateField), type_change: after(Kind::TypeChange) }
    }

    /// Counts a request and says what happens to it. `page` is the page's first record.
    pub fn judge(&mut self, path: &str, page: u64, now: Instant) -> Verdict {
        let mut verdict = Verdict::default();
        for (index, rule) in self.rules.iter_mut().enumerate() {
            if rule.fault.path.as_ref().is_some_and(|part| !path.contains(part.as_str())) {
                continue;
            }
            rule.count += 1;
            let applies = rule.applies(mix(self.seed, rule.count, 1000 + index as u64));
            match rule.fault.kind {
                Kind::LateField | Kind::TypeChange => {}
                Kind::Rate if applies => verdict.wait += rule.take_slot(now),
                Kind::Limit if applies => {
                    let (accepts, window) = rule.take_left(now);
                    verdict.window = Some(window).filter(|_| rule.fault.tells);
                    if !accepts && verdict.fault.is_none() {
                        verdict.fault = Some(rule.fault.clone());
                    }
                }
                Kind::Delay if applies => {
                    let ms = rule.fault.ms.unwrap_or(10);
                    verdict.wait += Duration::from_millis(mix(self.seed, page, 2000 + index as u64) % (ms + 1));
                }
                _ if applies && verdict.fault.is_none() => verdict.fault = Some(rule.fault.clone()),
                _ => {}
            }
        }
        verdict
    }
}

impl Rule {
    fn applies(&self, bits: u64) -> bool {
        let fault = &self.fault;
        let always = fault.at.is_empty() && fault.every.is_none() && fault.probability.is_none();
        always
            || fault.at.contains(&self.count)
            || fault.every.is_some_and(|n| n > 0 && self.count.is_multiple_of(n))
            || fault.probability.is_some_and(|part| fraction(bits) < part)
    }

    /// Whether this request is within the limit, and the window after it.
    fn take_left(&mut self, now: Instant) -> (bool, (u64, u64, u64)) {
        let rate = self.fault.per_second.unwrap_or(1.0);
        let (most, window) = match self.fault.ms.map(Duration::from_millis) {
            Some(window) => ((rate * window.as_secs_f64()).floor(), Some(window)),
            None => (self.fault.burst.unwrap_or(rate).max(1.0), None),
        };
        let (mut left, mut since) = self.left.unwrap_or((most, now));
        match window {
            Some(window) => {
                while since + window <= now {
                    (left, since) = (most, since + window);
                }
            }
            None => (left, since) = ((left + (now - since).as_secs_f64() * rate).min(most), now),
        }
        let accepts = left >= 1.0;
        left -= f64::from(u8::from(accepts));
        self.left = Some((left, since));
        let end = window.map_or(0, |window| (since + window - now).as_millis().div_ceil(1000));
        (accepts, (most as u64, left as u64, end as u64))
    }

    /// The wait until this rule's next free place.
    fn take_slot(&mut self, now: Instant) -> Duration {
        let distance = Duration::from_secs_f64(1.0 / self.fault.per_second.unwrap_or(1.0).max(0.001));
        let slot = self.next_slot.map_or(now, |slot| slot.max(now));
        self.next_slot = Some(slot + distance);
        slot - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(fault: Fault, requests: u64) -> Vec<u64> {
        let mut rules = Rules::new(1);
        rules.set(vec![fault]);
        (1..=requests).filter(|_| rules.judge("/v2/orders", 0, Instant::now()).fault.is_some()).collect()
    }

    #[test]
    fn triggers() {
        assert_eq!(judged(Fault::new(Kind::Reset).at(&[2, 5]), 10), [2, 5]);
        assert_eq!(judged(Fault::new(Kind::Reset).every(4), 10), [4, 8]);
        assert_eq!(judged(Fault::new(Kind::Reset), 2), [1, 2]);
        assert_eq!(judged(Fault::new(Kind::Reset).path("/other"), 5), [0; 0]);
        let by_chance = judged(Fault::new(Kind::Reset).probability(0.3), 1000);
        assert!((200..400).contains(&by_chance.len()), "{}", by_chance.len());
        assert_eq!(by_chance, judged(Fault::new(Kind::Reset).probability(0.3), 1000), "chance follows from the seed");
    }

    #[test]
    fn a_rate_spaces_answers_out() {
        let mut rules = Rules::new(1);
        rules.set(vec![Fault::rate(10.0)]);
        let now = Instant::now();
        let waits: Vec<_> = (0..3).map(|_| rules.judge("/", 0, now).wait.as_millis()).collect();
        assert_eq!(waits, [0, 100, 200]);
    }

    #[test]
    fn limits_refuse_what_is_above_them() {
        let start = Instant::now();
        let accepted = |fault: Fault, every_ms: u64, count: u64| {
            let mut rules = Rules::new(1);
            rules.set(vec![fault]);
            let judge = |n: u64| rules.judge("/", 0, start + Duration::from_millis(n * every_ms)).fault.is_none();
            (0..count).map(judge).filter(|accepted| *accepted).count()
        };
        assert_eq!(accepted(Fault::bucket(10.0, 5.0), 0, 50), 5, "what is saved up");
        assert_eq!(accepted(Fault::bucket(10.0, 5.0), 50, 100), 5 + 49, "and ten a second of twenty");
        assert_eq!(accepted(Fault::window(10.0, 2000), 10, 300), 40, "twenty in each of two windows");
        let mut rules = Rules::new(1);
        rules.set(vec![Fault::window(10.0, 2000)]);
        assert_eq!(rules.judge("/", 0, start).window, Some((20, 19, 2)));
        assert_eq!(rules.judge("/", 0, start + Duration::from_millis(1500)).window, Some((20, 18, 1)));
    }

    #[test]
    fn rules_come_as_json_and_typing_errors_are_told() {
        let faults: Vec<Fault> = serde_json::from_str(r#"[{"kind":"throttle_date","seconds":1,"every":3}]"#).unwrap();
        assert_eq!(faults[0].kind, Kind::ThrottleDate);
        assert!(serde_json::from_str::<Fault>(r#"{"kind":"reset","evry":3}"#).is_err());
    }
}
