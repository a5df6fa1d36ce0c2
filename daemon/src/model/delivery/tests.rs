//! When a destination is tried again and when it is left, one rule at a time.

use super::*;
use crate::base::clock;

const SECOND: Duration = Duration::from_secs(1);

fn failure(began: Instant) -> Failure {
    Failure { began, mends_itself: true, asked: None }
}

#[test]
fn what_fails_together_counts_once() {
    let (mut patience, began) = (Patience::default(), clock::monotonic());
    let now = began + SECOND;
    assert_eq!(patience.failed(failure(began), now, |_| SECOND), Some(SECOND));
    let beside = patience.failed(failure(began), now, |_| SECOND);
    assert_eq!(beside, None, "it was under way when the first one failed");
    assert_eq!((patience.in_a_row(), patience.wait(now)), (1, Some(SECOND)));
    let now = now + SECOND;
    assert_eq!(patience.wait(now), None);
    let refused = Failure { mends_itself: false, ..failure(now) };
    assert_eq!(patience.failed(refused, now + SECOND, |_| SECOND), Some(BY_OPERATOR));
    assert_eq!(patience.in_a_row(), 2);
    assert!(patience.worked());
    assert!(!patience.worked());
    assert_eq!((patience.in_a_row(), patience.wait(now)), (0, None));
}

#[test]
fn what_a_destination_asks_for_is_waited_and_has_a_bound() {
    let (mut patience, now) = (Patience::default(), clock::monotonic());
    let asks = |asked| Failure { asked: Some(asked), ..failure(now) };
    let minute = patience.failed(asks(60 * SECOND), now, |asked| asked.unwrap());
    assert_eq!(minute, Some(60 * SECOND));
    patience.worked();
    assert_eq!(patience.failed(asks(90_000 * SECOND), now, |asked| asked.unwrap()), Some(LONGEST_ASKED));
}

#[test]
fn a_run_is_put_aside_when_nobody_gets_anywhere() {
    let crew = Crew::default();
    let (hangs, refuses, done) = (crew.join(), crew.join(), crew.join());
    drop(done);
    assert!(!refuses.lose(), "the other one may still get somewhere");
    refuses.regain();
    refuses.regain();
    assert!(!hangs.lose());
    assert!(refuses.lose() && refuses.lose());
}
