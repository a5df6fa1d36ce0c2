//! The budget under use, and against simulated servers.

use super::sim::{Run, Server, simulate};
use super::*;
use futures_util::poll;

fn rate(per_second: Option<f64>, concurrency: u32) -> Rate {
    Rate { per_second, concurrency, ..Rate::default() }
}

#[tokio::test]
async fn a_pause_holds_requests_back() {
    let limiter = Arc::new(Limiter::new(&rate(None, 4)));
    let start = clock::monotonic();
    limiter.pause(Duration::from_millis(120));
    limiter.pause(Duration::from_millis(10));
    assert_eq!(limiter.held().unwrap().why, Why::Asked);
    drop(limiter.acquire().await);
    assert!(clock::since(start) >= Duration::from_millis(120));
}

#[tokio::test]
async fn concurrency_grows_and_shrinks_under_use() {
    let limiter = Arc::new(Limiter::new(&rate(None, 3)));
    let (a, b, c) = (limiter.acquire().await, limiter.acquire().await, limiter.acquire().await);
    limiter.set(&rate(None, 1));
    drop(a);
    drop(b);
    assert!(poll!(Box::pin(limiter.acquire())).is_pending(), "one request is still under way");
    drop(c);
    let one = limiter.acquire().await;
    assert!(poll!(Box::pin(limiter.acquire())).is_pending());
    limiter.set(&rate(None, 2));
    let two = limiter.acquire().await;
    assert!(poll!(Box::pin(limiter.acquire())).is_pending());
    assert_eq!(limiter.standing().under_way, 2);
    drop((one, two));
    assert_eq!(limiter.standing().under_way, 0);
}

#[tokio::test]
async fn a_faster_rate_wakes_those_who_wait() {
    let limiter = Arc::new(Limiter::new(&rate(Some(0.001), 4)));
    drop(limiter.acquire().await);
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { drop(limiter.acquire().await) }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    limiter.set(&rate(None, 4));
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
}

#[test]
fn one_request_after_the_other_waits_for_no_pace_that_is_only_assumed() {
    let now = clock::monotonic();
    let mut pace = pace::Pace::new(now, &rate(None, 4));
    for _ in 0..100 {
        assert_eq!(pace.take(now), Ok(()), "nothing is under way");
        pace.answered(now, now, &Told::default());
    }
    assert_eq!(pace.take(now), Ok(()));
    assert_eq!(pace.take(now).unwrap_err().why, Why::Turn, "a second one at the same time is paced");
    // What an operator or a server has said counts for each.
    let mut told = pace::Pace::new(now, &rate(Some(100.0), 4));
    assert_eq!(told.take(now), Ok(()));
    told.answered(now, now, &Told::default());
    assert_eq!(told.take(now).unwrap_err().why, Why::Turn);
}

#[tokio::test]
async fn budgets_of_a_minute_and_an_hour_say_why_they_wait() {
    for (minute, hour, why) in [(Some(2), None, Why::PerMinute(2)), (Some(9), Some(2), Why::PerHour(2))] {
        let limiter = Arc::new(Limiter::new(&Rate { per_minute: minute, per_hour: hour, ..Rate::default() }));
        for _ in 0..2 {
            limiter.acquire().await.answered(&Told::default());
        }
        // The first pace, too, is a wait, but a short one.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(limiter.standing().held.unwrap().why, why);
        assert!(poll!(Box::pin(limiter.acquire())).is_pending());
    }
}

/// A run of an unconfigured source.
fn run(server: Server, retry_after: Option<u64>, latency: (u64, u64), concurrency: u32) -> Run {
    let retry_after = retry_after.map(Duration::from_secs);
    Run { server, retry_after, hints: false, latency, rate: rate(None, concurrency), seconds: 600, late: 0 }
}

/// The promise: at least 95 % of what is allowed is used, and less than 1 % is refused.
#[test]
fn an_unknown_limit_is_found_and_used() {
    for burst in [10.0, 50.0, 500.0] {
        // A second of silence is five bursts of the smallest: that the server itself throws away.
        for retry_after in [None, Some(1)].into_iter().filter(|wait| wait.is_none() || burst > 10.0) {
            for (latency, concurrency) in [((1, 3), 4), ((20, 60), 16), ((100, 300), 16)] {
                let run = run(Server::Bucket(50.0, burst), retry_after, latency, concurrency);
                let result = simulate(&run);
                let (used, refused) = (result.used(50.0, 600), result.refused_part());
                let at = format!("burst {burst}, Retry-After {retry_after:?}, latency {latency:?}, {concurrency}");
                assert!(used >= 0.95, "{at}: used {used:.3}");
                assert!(refused < 0.01, "{at}: refused {refused:.4}");
                assert!(result.refused_early <= 40, "{at}: {} in the first seconds", result.refused_early);
            }
        }
    }
}

#[test]
fn the_first_minute_is_good_enough_too() {
    for retry_after in [None, Some(1)] {
        let run = Run { seconds: 60, ..run(Server::Bucket(50.0, 50.0), retry_after, (1, 3), 4) };
        let result = simulate(&run);
        assert!(result.used(50.0, 60) >= 0.95 && result.refused_part() < 0.01, "{result:?}");
    }
}

#[test]
fn a_busy_machine_does_not_mistake_its_lateness_for_a_limit() {
    let run = Run { late: 80, seconds: 300, ..run(Server::Bucket(50.0, 50.0), None, (20, 60), 16) };
    let result = simulate(&run);
    assert!(result.used(50.0, 300) >= 0.9 && result.refused_part() < 0.01, "{result:?}");
}

#[test]
fn other_limits_are_found_too() {
    for (server, per_second, least) in [
        (Server::Fixed(50, 1000), 50.0, 0.90),
        (Server::Bucket(1000.0, 100.0), 1000.0, 0.95),
        (Server::Bucket(2.0, 40.0), 2.0, 0.95),
        (Server::Bucket(0.5, 1.0), 0.5, 0.65),
        // One of a thousand is refused whatever the rate is.
        (Server::Moody(1000), 50.0, 0.95),
    ] {
        let result = simulate(&run(server, None, (1, 3), 4));
        let used = result.used(per_second, 600);
        assert!(used >= least, "{server:?}: used {used:.3}");
        // Slow ones are refused more often for what they answer, but never often in time.
        assert!(result.refused < 120, "{server:?}: {} refused", result.refused);
    }
}

#[test]
fn told_windows_are_used_up_without_any_refusal() {
    let windows = [(50, 1_000, 0.95), (500, 10_000, 0.95), (100, 60_000, 0.95), (5_000, 600_000, 0.95)];
    for (limit, ms, least) in windows {
        for (latency, concurrency) in [((1, 3), 4), ((20, 60), 16)] {
            let told = Run { hints: true, ..run(Server::Fixed(limit, ms), None, latency, concurrency) };
            let result = simulate(&told);
            let used = result.used(f64::from(limit) * 1000.0 / ms as f64, 600);
            assert!(used >= least, "{limit} in {ms} ms: used {used:.3}");
            assert_eq!(result.refused, 0, "{limit} in {ms} ms");
        }
    }
}

#[test]
fn an_open_server_is_asked_as_fast_as_it_answers() {
    let open = Run { seconds: 10, ..run(Server::Open, None, (1, 3), 4) };
    let result = simulate(&open);
    assert!(result.accepted > 18_000, "{result:?}, of 20,000 with no limit at all");
}

#[test]
fn a_configured_budget_is_never_exceeded() {
    for (rate, most) in [
        (rate(Some(20.0), 16), 20.0 * 600.0),
        (Rate { per_minute: Some(100), ..rate(None, 16) }, 100.0 * 10.0),
        (Rate { per_hour: Some(500), ..rate(None, 16) }, 500.0),
    ] {
        let run = Run { rate: rate.clone(), ..run(Server::Open, None, (1, 3), 16) };
        let result = simulate(&run);
        assert!(result.accepted as f64 <= most + 1.0, "{rate:?}: {}", result.accepted);
        assert!(result.accepted as f64 >= most * 0.95, "{rate:?}: {}", result.accepted);
    }
}
