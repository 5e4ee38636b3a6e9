//! Stable revisions, the outbox, leases, the mailbox.

use super::{entry, key, run_id, service, stable, with_run};
use crate::{
    AcquireError, Append, DELIVERIES, Fence, JournalError, NewNotification, NextAttempt, OpenCall, OpenExchange,
};
use basb_core::{Millis, PluginName, Timestamp};

#[tokio::test]
async fn a_stable_revision_comes_with_its_record_or_not_at_all() {
    let (_folder, journal, run) = with_run("r-1").await;
    assert_eq!(journal.stable(&key("capture")).await.unwrap(), None);
    journal.append(&run, Append::from(entry(1, "promoted")).stable(stable("capture", "r1", 5))).await.unwrap();
    let now = journal.stable(&key("capture")).await.unwrap().unwrap();
    assert_eq!((now.revision.as_str(), now.replicas, now.at, &now.run), ("r1", 2, Timestamp(5), &run));

    // The notification does not fit, so neither record nor revision is there.
    let note = NewNotification {
        event_key: "e".to_owned(),
        notifier: "n".to_owned(),
        payload: String::new(),
        at: Timestamp(u64::MAX),
    };
    let all = Append::from(entry(2, "promoted")).stable(stable("capture", "r2", 6)).notify(note);
    assert!(journal.append(&run, all).await.is_err());
    assert_eq!(journal.stable(&key("capture")).await.unwrap().unwrap().revision.as_str(), "r1");
    assert_eq!(journal.verify(&run).await.unwrap().seq, 1);
}

#[tokio::test]
async fn revisions_are_kept_for_undo() {
    let (_folder, journal, run) = with_run("r-1").await;
    for (at, revision) in [(1, "r1"), (2, "r2"), (3, "r1")] {
        journal.set_stable(&run, stable("capture", revision, at)).await.unwrap();
    }
    journal.set_stable(&run, stable("express", "r9", 4)).await.unwrap();
    let history = journal.revisions(&key("capture"), 10).await.unwrap();
    assert_eq!(history.iter().map(|r| r.revision.as_str()).collect::<Vec<_>>(), ["r1", "r2", "r1"]);
    assert_eq!(history[1].workload_json, "{\"revision\":\"r2\"}");
    assert_eq!(journal.revisions(&key("capture"), 1).await.unwrap().len(), 1);

    let local = PluginName::new("local").unwrap();
    let all = journal.stable_services(&service("second-brain"), &local).await.unwrap();
    let seen: Vec<_> = all.iter().map(|s| (s.service.service.as_str(), s.revision.as_str())).collect();
    assert_eq!(seen, [("capture", "r1"), ("express", "r9")]);
    // Written down again, as by a repair: it became stable when it took the other one's place.
    journal.set_stable(&run, stable("capture", "r1", 5)).await.unwrap();
    let since = journal.stable_since(&service("second-brain"), &local).await.unwrap();
    let seen: Vec<_> = since.iter().map(|s| (s.service.service.as_str(), s.revision.as_str(), s.at.0)).collect();
    assert_eq!(seen, [("capture", "r1", 3), ("express", "r9", 4)]);
    let nobody = run_id("nobody");
    assert_eq!(journal.set_stable(&nobody, stable("a", "r1", 1)).await.unwrap_err().code(), "journal/unknown-run");
}

fn note(event_key: &str, notifier: &str) -> NewNotification {
    NewNotification {
        event_key: event_key.to_owned(),
        notifier: notifier.to_owned(),
        payload: format!("{{\"key\":\"{event_key}\"}}"),
        at: Timestamp(10),
    }
}

#[tokio::test]
async fn a_notification_waits_until_it_is_delivered_and_is_put_in_once() {
    let (_folder, journal, _) = with_run("r-1").await;
    journal.enqueue(vec![note("e1", "log"), note("e1", "hook"), note("e1", "log")]).await.unwrap();
    journal.attempt_failed(None, "e1", "log", "refused", NextAttempt::At(Timestamp(99))).await.unwrap();
    let waiting = journal.pending(10).await.unwrap();
    assert_eq!(waiting.len(), 2);
    assert_eq!((waiting[0].attempts, waiting[0].last_error.as_deref()), (1, Some("refused")));
    assert_eq!((waiting[0].due_at, waiting[1].due_at), (Timestamp(99), Timestamp(10)));

    journal.delivered(None, "e1", "log", Timestamp(100)).await.unwrap();
    journal.delivered(None, "e1", "log", Timestamp(101)).await.unwrap();
    journal.enqueue(vec![note("e1", "log")]).await.unwrap();
    assert_eq!(journal.pending(10).await.unwrap().len(), 1, "what was delivered does not come back");

    journal.attempt_failed(None, "e1", "hook", "gone", NextAttempt::Never).await.unwrap();
    assert_eq!(journal.pending(10).await.unwrap(), []);
    let unknown = journal.delivered(None, "e2", "log", Timestamp(1)).await.unwrap_err();
    assert_eq!(unknown.code(), "journal/unknown-notification");
}

const TTL: Millis = Millis(100);

#[tokio::test]
async fn a_lease_has_one_holder_and_its_token_rises() {
    let (_folder, journal, run) = with_run("r-1").await;
    let first = journal.acquire("l", "a", TTL, Timestamp(1000)).await.unwrap();
    assert_eq!((first.fencing_token, first.expires), (1, Timestamp(1100)));
    for owner in ["a", "b"] {
        match journal.acquire("l", owner, TTL, Timestamp(1099)).await.unwrap_err() {
            AcquireError::Held(held) => {
                assert_eq!((held.owner.as_str(), held.since, held.expires), ("a", Timestamp(1000), Timestamp(1100)));
            }
            AcquireError::Journal(other) => panic!("{other}"),
        }
    }
    let first = journal.renew(&first, TTL, Timestamp(1050)).await.unwrap();
    assert_eq!(first.expires, Timestamp(1150));
    journal.append(&run, Append::from(entry(1, "x")).fenced(first.fence())).await.unwrap();

    // Expired by somebody's clock: that alone gives it to nobody. Renewed since it was looked at: neither.
    let seen = journal.holder("l").await.unwrap().unwrap();
    assert!(
        matches!(journal.acquire("l", "b", TTL, Timestamp(9_000_000)).await, Err(AcquireError::Held(held)) if held == seen)
    );
    let first = journal.renew(&first, TTL, Timestamp(1051)).await.unwrap();
    assert!(journal.take_over("l", &seen, "b", TTL, Timestamp(1151)).await.is_err());

    // Silent since it was looked at, taken over: the first holder cannot write, renew or release any more.
    let seen = journal.holder("l").await.unwrap().unwrap();
    let second = journal.take_over("l", &seen, "b", TTL, Timestamp(1151)).await.unwrap();
    assert!(journal.take_over("l", &seen, "c", TTL, Timestamp(1151)).await.is_err(), "by one of two only");
    assert_eq!(second.fencing_token, 2);
    let stale = JournalError::StaleToken { lease: "l".to_owned(), given: 1 };
    assert_eq!(journal.append(&run, Append::from(entry(2, "x")).fenced(first.fence())).await.unwrap_err(), stale);
    assert_eq!(journal.renew(&first, TTL, Timestamp(1160)).await.unwrap_err(), stale);
    assert_eq!(journal.release(&first.fence()).await.unwrap_err(), stale);
    journal.append(&run, Append::from(entry(2, "x")).fenced(second.fence())).await.unwrap();

    // Released: its own token is worth nothing, and is never given out again.
    journal.release(&second.fence()).await.unwrap();
    assert_eq!(journal.holder("l").await.unwrap(), None);
    assert!(journal.append(&run, Append::from(entry(3, "x")).fenced(second.fence())).await.is_err());
    assert_eq!(journal.acquire("l", "c", TTL, Timestamp(1151)).await.unwrap().fencing_token, 3);
    assert_eq!(journal.verify(&run).await.unwrap().seq, 2);
}

#[tokio::test]
async fn who_lost_the_lease_notes_nothing_of_deliveries() {
    let (_folder, journal, run) = with_run("r-1").await;
    journal.enqueue(vec![note("e1", "log"), note("e2", "log")]).await.unwrap();
    let first = journal.acquire("l", "a", TTL, Timestamp(1000)).await.unwrap().fence();
    journal.delivered(Some(&first), "e1", "log", Timestamp(1001)).await.unwrap();
    let seen = journal.holder("l").await.unwrap().unwrap();
    let second = journal.take_over("l", &seen, "b", TTL, Timestamp(1200)).await.unwrap().fence();
    let delivery = &journal.pending(9).await.unwrap()[0];
    let exchanges = vec![OpenExchange { number: 1, ask: "{}".to_owned(), answer: None }];
    let call = OpenCall { key: delivery.call_key(), at: Timestamp(1201), head: "{}".to_owned(), exchanges };
    journal.write_ahead(&run, Some(second.clone()), call).await.unwrap();

    // Woken up: the new holder is in the middle of that very delivery, and its call stays open.
    let stale = JournalError::StaleToken { lease: "l".to_owned(), given: 1 };
    assert_eq!(journal.delivered(Some(&first), "e2", "log", Timestamp(1202)).await.unwrap_err(), stale);
    let failed = journal.attempt_failed(Some(&first), "e2", "log", "timeout", NextAttempt::Never).await;
    assert_eq!(failed.unwrap_err(), stale);
    let left = journal.pending(9).await.unwrap();
    assert_eq!((left.len(), &left[0]), (1, delivery));
    assert_eq!(journal.open_calls(DELIVERIES).await.unwrap().len(), 1);
    journal.delivered(Some(&second), "e2", "log", Timestamp(1203)).await.unwrap();
    assert_eq!(journal.pending(9).await.unwrap(), []);
    assert_eq!(journal.open_calls(DELIVERIES).await.unwrap(), []);
}

#[tokio::test]
async fn an_unknown_lease_guards_nothing() {
    let (_folder, journal, run) = with_run("r-1").await;
    let fence = Fence { lease: "never".to_owned(), token: 0 };
    assert!(journal.append(&run, Append::from(entry(1, "x")).fenced(fence)).await.is_err());
}

#[tokio::test]
async fn requests_wait_until_their_records_are_written_with_them() {
    let (_folder, journal, run) = with_run("r-1").await;
    assert_eq!(journal.requests(&run, 0).await.unwrap(), []);
    let pause = journal.request(&run, Timestamp(1), "pause", "{}").await.unwrap();
    let abort = journal.request(&run, Timestamp(2), "abort", "{\"why\":\"x\"}").await.unwrap();
    let waiting = async |after| {
        let found = journal.requests(&run, after).await.unwrap();
        found.into_iter().map(|r| (r.ordinal, r.verb)).collect::<Vec<_>>()
    };
    let both = vec![(pause, "pause".to_owned()), (abort, "abort".to_owned())];
    assert_eq!(waiting(0).await, both);
    assert_eq!(waiting(0).await, both, "looking takes nothing out");
    assert_eq!(waiting(pause).await, both[1..]);

    // Both or neither: what is not written leaves the request where it is.
    let recorded = |takes: &[u64]| Append { takes: takes.to_vec(), ..Append::from(entry(3, "request")) };
    let never = Fence { lease: "never".to_owned(), token: 0 };
    journal.append(&run, recorded(&[pause]).fenced(never)).await.unwrap_err();
    assert_eq!(waiting(0).await, both);
    journal.append(&run, recorded(&[pause])).await.unwrap();
    assert_eq!(waiting(0).await, both[1..]);
    // Nothing is recorded twice, and nothing beside it is written.
    let taken = journal.append(&run, recorded(&[abort, pause])).await.unwrap_err();
    assert_eq!(taken, JournalError::RequestTaken { ordinal: pause });
    assert_eq!(waiting(0).await, both[1..]);
    assert_eq!(journal.entries(&run, 1).await.unwrap().len(), 1);

    journal.drop_requests(vec![pause, abort]).await.unwrap();
    assert_eq!(waiting(0).await, []);
    let unknown = journal.request(&run_id("nobody"), Timestamp(1), "abort", "{}").await.unwrap_err();
    assert_eq!(unknown.code(), "journal/unknown-run");
}
