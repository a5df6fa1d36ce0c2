//! The audit cannot be changed unnoticed, can be followed, and the views read well.

use super::*;
use crate::ledger::input::AuditEntry;
use crate::model::task::Waiting;

#[tokio::test]
async fn rows_cannot_be_changed_and_a_forged_chain_is_found() {
    let (_dir, ledger) = fresh();
    for action in ["reload", "reload", "drain", "start"] {
        ledger.audit(AuditEntry { action: action.into(), ..AuditEntry::default() }).await.unwrap();
    }
    assert_eq!(ledger.verify_audit().await.unwrap(), None);
    let sql = Connection::open(ledger.path()).unwrap();
    for text in ["UPDATE audit SET actor = 'x' WHERE seq = 2", "DELETE FROM audit WHERE seq = 4"] {
        assert!(sql.execute(text, []).unwrap_err().to_string().contains("append-only"));
    }
    sql.execute_batch("DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_cut").unwrap();
    let forgeries = [
        ("UPDATE audit SET actor = 'x' WHERE seq = 2", 2),
        ("UPDATE audit SET reason = 'x', hash = hash WHERE seq = 4", 4),
        ("UPDATE audit SET detail = '' WHERE seq = 3", 3),
        ("DELETE FROM audit WHERE seq = 1", 2),
        ("DELETE FROM audit WHERE seq = 3", 4),
        (
            "UPDATE audit SET seq = -1 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3;
          UPDATE audit SET seq = 3 WHERE seq = -1",
            2,
        ),
    ];
    for (forgery, found) in forgeries {
        sql.execute_batch(&format!("SAVEPOINT f; {forgery}; RELEASE f")).unwrap();
        assert_eq!(ledger.verify_audit().await.unwrap(), Some(found), "{forgery}");
        restore(&ledger, &sql).await;
    }
}

/// Puts the four rows back as they were written.
async fn restore(ledger: &Ledger, sql: &Connection) {
    sql.execute_batch("DELETE FROM audit").unwrap();
    for action in ["reload", "reload", "drain", "start"] {
        ledger.audit(AuditEntry { action: action.into(), ..AuditEntry::default() }).await.unwrap();
    }
    assert_eq!(ledger.verify_audit().await.unwrap(), None);
}

#[tokio::test]
async fn followers_see_every_row_once() {
    let (_dir, ledger) = fresh();
    let mut changes = ledger.changes();
    assert_eq!(*changes.borrow_and_update(), 0);
    let (task, _) = ledger.create_task(new_task("shop", "eu")).await.unwrap();
    changes.changed().await.unwrap();
    let seq = *changes.borrow_and_update();
    assert_eq!(ledger.audit_since(0, 100).await.unwrap().len() as i64, seq);
    event(&ledger, &task, TaskEvent::Start).await;
    changes.changed().await.unwrap();
    let rows = ledger.audit_since(seq, 100).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["start"]);
    assert_eq!(ledger.audit_since(0, 1).await.unwrap()[0].action, "created");
    let before = *changes.borrow_and_update();
    assert_eq!(*reopened(ledger).await.changes().borrow(), before, "the count goes on after a restart");
}

#[tokio::test]
async fn the_views_read_well() {
    let (_dir, ledger) = fresh();
    let task = running(&ledger, "shop").await;
    commit(&ledger, &task, &segment(0, 0..3)).await.unwrap();
    ledger.delivery_verified(&task, &segment(0, 0..3).id, "lake").await.unwrap();
    let waiting = Waiting { reason: "rate".into(), until: None };
    ledger.set_waiting(&task, Some(waiting)).await.unwrap();
    let sql = Connection::open_with_flags(ledger.path(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let line = sql
        .query_row(
            "SELECT task, export, state, waiting, streams, records_read, records_written, records_rejected, segments,
                    created_at, ended_at IS NULL FROM v_tasks",
            [],
            |row| {
                assert_eq!(row.get::<_, String>(0)?, task.as_str());
                let at: String = row.get(9)?;
                assert!(at.ends_with('Z') && at.parse::<jiff::Timestamp>().is_ok(), "{at}");
                assert!(row.get::<_, bool>(10)?);
                let texts: Vec<String> = (1..4).map(|i| row.get(i)).collect::<Result<_, _>>()?;
                let numbers: Vec<i64> = (4..9).map(|i| row.get(i)).collect::<Result<_, _>>()?;
                Ok((texts, numbers))
            },
        )
        .unwrap();
    assert_eq!(line.0, ["shop", "processing", "rate"]);
    assert_eq!(line.1, [1, 30, 29, 1, 1]);

    let mut statement = sql
        .prepare("SELECT destination, verified_at IS NULL, name, crc32c, records FROM v_segments ORDER BY destination")
        .unwrap();
    let rows: Vec<(String, bool, String, String, i64)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let name = "part-0-000000.csv".to_owned();
    let crc = "fffffff0".to_owned();
    assert_eq!(rows, [("lake".into(), false, name.clone(), crc.clone(), 29), ("offsite".into(), true, name, crc, 29)]);

    let actions: i64 =
        sql.query_row("SELECT count(*) FROM v_audit WHERE at LIKE '20%Z'", [], |row| row.get(0)).unwrap();
    assert_eq!(actions, *ledger.changes().borrow());
    assert!(sql.execute("DELETE FROM v_audit", []).is_err());
}
