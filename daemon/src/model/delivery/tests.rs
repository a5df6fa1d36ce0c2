//! When a destination is tried again and when it is left, one rule at a time.

use super::*;
use crate::base::clock;

const RUNNING: Extraction = Extraction::Running;
const SECOND: Duration = Duration::from_secs(1);

fn failure(began: Instant) -> Failure {
    Failure { began, mends_itself: true, asked: None }
}

#[test]
fn what_fails_together_counts_once() {
    let (mut patience, hope, began) = (Patience::default(), Crew::default().join(), clock::monotonic());
    let now = began + SECOND;
    assert_eq!(patience.failed(failure(began), now, RUNNING, |_| SECOND), Some(SECOND));
    let beside = patience.failed(failure(began), now, RUNNING, |_| SECOND);
    assert_eq!(beside, None, "it was under way when the first one failed");
    assert_eq!((patience.in_a_row(), patience.wait(now, RUNNING)), (1, Some(SECOND)));
    let now = now + SECOND;
    assert_eq!(patience.wait(now, RUNNING), None);
    let refused = Failure { mends_itself: false, ..failure(now) };
    assert_eq!(patience.failed(refused, now + SECOND, RUNNING, |_| SECOND), Some(BY_OPERATOR));
    assert_eq!(patience.in_a_row(), 2);
    assert!(patience.worked(now, now, &hope));
    assert!(!patience.worked(now, now, &hope));
    assert_eq!((patience.in_a_row(), patience.wait(now, RUNNING)), (0, None));
}

#[test]
fn word_of_the_extraction_makes_one_try_urgent() {
    let (mut patience, now) = (Patience::default(), clock::monotonic());
    patience.failed(failure(now), now + SECOND, RUNNING, |_| 60 * SECOND);
    let now = now + 2 * SECOND;
    assert_eq!(patience.wait(now, Extraction::Ended), None);
    patience.failed(failure(now), now, Extraction::Ended, |_| 60 * SECOND);
    assert_eq!(patience.wait(now, Extraction::Ended), Some(60 * SECOND));
}

#[test]
fn what_a_destination_asks_for_is_waited_whoever_it_asked() {
    let (hope, began) = (Crew::default().join(), clock::monotonic());
    let asks = |asked| Failure { asked: Some(asked), ..failure(began) };
    let mut patience = Patience::default();
    let day = patience.failed(asks(86_400 * SECOND), began, RUNNING, Option::unwrap_or_default);
    assert_eq!(day, Some(LONGEST_ASKED), "that has a bound");

    let mut patience = Patience::default();
    patience.failed(failure(began), began + SECOND, RUNNING, |_| SECOND);
    let now = began + 3 * SECOND;
    assert_eq!(patience.failed(asks(60 * SECOND), now, RUNNING, |_| SECOND), None, "it was under way before");
    assert_eq!(patience.wait(now, RUNNING), Some(60 * SECOND));
    patience.failed(failure(now), now + SECOND, RUNNING, |_| SECOND);
    assert_eq!(patience.wait(now + SECOND, RUNNING), Some(59 * SECOND), "a shorter wait does not end it");
    assert!(!patience.worked(began, now + SECOND, &hope), "what began before says nothing of it");
    assert!(patience.worked(now + 60 * SECOND, now + 61 * SECOND, &hope));
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

#[test]
fn nobody_rests_where_nobody_gets_anywhere() {
    let (crew, began) = (Crew::default(), clock::monotonic());
    let (rests, other) = (crew.join(), crew.join());
    let mut patience = Patience::default();
    let hour = Failure { asked: Some(LONGEST_ASKED), ..failure(began) };
    patience.failed(hour, began, Extraction::Ended, Option::unwrap_or_default);
    let refused = |patience: &Patience| patience.gives_up(Extraction::Ended, false, &rests);
    assert!(!refused(&patience), "the other one may still get somewhere");
    let now = began + SECOND;
    let wait = LONGEST_ASKED - SECOND;
    assert_eq!(patience.rest(now, Extraction::Ended, &rests), Rest::Wait(wait));
    drop(other);
    assert_eq!(
        patience.rest(now, Extraction::Ended, &rests),
        Rest::Leave,
        "for an hour it would keep the other one from coming back"
    );
    assert_eq!(patience.rest(now, RUNNING, &rests), Rest::Try, "word of the extraction");
}
