//! Fast enough to be no one's bottleneck: commits, and listings over many tasks.

use super::*;
use crate::ledger::rows::TaskFilter;
use crate::model::task::TaskState;
use std::time::Duration;

#[tokio::test]
async fn a_commit_takes_little_time() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    let start = clock::monotonic();
    for n in 0..200 {
        commit(&ledger, &task, &segment(n, n..n + 1)).await.unwrap();
    }
    let each = clock::since(start) / 200;
    println!("{each:?} per commit");
    assert!(each < Duration::from_millis(50), "{each:?} per commit");
}

#[tokio::test]
async fn readers_do_not_wait_for_the_writer() {
    let (_dir, ledger) = fresh();
    let (task, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let busy = ledger.write(move |_| {
        let _ = held.recv();
        Ok(())
    });
    let reads = async {
        for _ in 0..10 {
            assert!(ledger.task(&task).await.unwrap().is_some());
        }
        drop(hold);
    };
    let (written, ()) = tokio::join!(busy, reads);
    written.unwrap();
}

#[tokio::test]
async fn listings_stay_fast_among_a_hundred_thousand_tasks() {
    let (_dir, ledger) = fresh();
    ledger
        .write(|tx| {
            tx.execute_batch(
                "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 100000)
                 INSERT INTO tasks (id, export, key, state, queue_pos, created_at, format, actor, params, config)
                 SELECT printf('t%06d', i), 'e' || (i % 50), 'k' || i,
                        CASE WHEN i % 1000 = 7 THEN 'failed' ELSE 'succeeded' END,
                        i, i, 'csv', 'daemon', '{}', printf('%2000s', '') FROM c;",
            )?;
            Ok(())
        })
        .await
        .unwrap();
    let filters = [
        TaskFilter { limit: 50, ..TaskFilter::default() },
        TaskFilter { export: Some("e7".into()), limit: 50, ..TaskFilter::default() },
        TaskFilter { states: vec![TaskState::Failed, TaskState::Paused], limit: 50, ..TaskFilter::default() },
        TaskFilter { export: Some("e7".into()), states: vec![TaskState::Failed], limit: 50 },
    ];
    for filter in filters {
        let _warm = ledger.tasks(&filter).await.unwrap();
        let start = clock::monotonic();
        let found = ledger.tasks(&filter).await.unwrap();
        let took = clock::since(start);
        println!("{took:?} for {} tasks", found.len());
        assert_eq!(found.len(), 50);
        assert!(found.is_sorted_by(|a, b| a.id.as_str() > b.id.as_str()));
        assert!(took < Duration::from_millis(100), "{took:?} for {filter:?}");
    }
    let (task, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    let start = clock::monotonic();
    let head = ledger.queue_head(None, clock::now(), 1000).await.unwrap();
    assert!(head.due.iter().any(|due| due.id == task));
    println!("{:?} for the head of the queue", clock::since(start));
    assert!(!ledger.is_newer(STREAM, "t000007", &TaskId::known("t000003")).await.unwrap());
    println!("{:?} with what is published", clock::since(start));
    assert!(clock::since(start) < Duration::from_millis(300));
    let start = clock::monotonic();
    assert!(ledger.recover().await.unwrap().is_empty());
    println!("{:?} to recover", clock::since(start));
    assert!(clock::since(start) < Duration::from_millis(100));
}
