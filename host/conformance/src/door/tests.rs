use super::*;
use crate::script::Scripted;
use serde_json::json;

const SCRIPT: &str = r#"
counterpart: 1
name: one thing
resources:
  thing: { path: "/things/{thing}", create: { by: put }, update: { by: put } }
routes:
  - { method: POST, path: /rpc, body: { ok: true } }
"#;

fn door() -> Door {
    let script = Scripted::new(serde_saphyr::from_str(SCRIPT).unwrap()).unwrap();
    let door = Door::new(Arc::new(script), Clock::default());
    door.arm(None, 100);
    door
}

fn ask(door: &Door, method: &str, path: &str, body: &str) -> Result<u16, HttpError> {
    let url = Url::parse(&format!("https://cloud.example{path}")).unwrap();
    let sent = Sent { method: method.to_owned(), url, headers: Vec::new(), body: body.as_bytes().to_vec() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(door.pass(&sent)).map(|answer| answer.status)
}

#[test]
fn a_stale_read_that_shows_nothing_old_did_not_happen() {
    let door = door();
    ask(&door, "PUT", "/things/a", r#"{"n":1}"#).unwrap();
    ask(&door, "GET", "/things/a", "").unwrap();
    ask(&door, "PUT", "/things/b", "{}").unwrap();
    // The last change was another thing's: what was there of this one before it is there still.
    door.arm(Some((0, Fault::StaleRead)), 100);
    assert_eq!(ask(&door, "GET", "/things/a", "").unwrap(), 200);
    assert!(!door.was_hit());
    door.arm(Some((0, Fault::StaleRead)), 100);
    assert_eq!(ask(&door, "GET", "/things/b", "").unwrap(), 404);
    assert!(door.was_hit());
    assert_eq!(door.faults(), 0, "an old answer is one that may be believed");
}

#[test]
fn what_lasts_goes_on_until_it_is_healed_and_one_call_may_ask_three_times() {
    for (fault, answer) in [(Fault::UnavailableLasting, Some(503)), (Fault::ResetLasting, None)] {
        let door = door();
        door.arm(Some((0, fault)), 100);
        for _call in 0..5 {
            door.begin();
            for _ in 0..3 {
                assert_eq!(ask(&door, "PUT", "/things/a", "{}").ok(), answer, "{fault}");
            }
        }
        assert_eq!((door.violations(), door.faults()), (Vec::new(), 15), "{fault}");
        assert_eq!(ask(&door, "PUT", "/things/a", "{}").ok(), answer);
        assert!(door.violations()[0].contains("more than 3 times in one call"), "{:?}", door.violations());
        door.heal();
        assert_eq!(ask(&door, "PUT", "/things/a", "{}").ok(), Some(201), "{fault}: nothing had an effect before");
    }
}

#[test]
fn what_is_refused_for_good_may_be_asked_for_three_times_in_all() {
    let door = door();
    door.arm(Some((0, Fault::Refused)), 100);
    for call in 0..4 {
        door.begin();
        assert_eq!(door.violations().len(), 0, "{call}");
        assert_eq!(ask(&door, "GET", "/things/a", "").ok(), Some(403));
    }
    assert_eq!(door.violations().len(), 1);
}

#[test]
fn only_the_same_thing_asked_for_again_and_answered_makes_it_good() {
    let rpc = |method: &str, id: u32| json!({ "id": id, "method": method }).to_string();
    let door = door();
    door.arm(Some((0, Fault::ServerError)), 100);
    assert_eq!(ask(&door, "POST", "/rpc", &rpc("hello", 1)).unwrap(), 500);
    assert_eq!(ask(&door, "POST", "/rpc", &rpc("list", 2)).unwrap(), 200);
    assert!(!door.was_made_good(), "the same address, and another question");
    assert_eq!(ask(&door, "POST", "/rpc", &rpc("hello", 3)).unwrap(), 200);
    assert!(door.was_made_good());
}

#[test]
fn what_is_asked_for_aside_is_not_counted_and_meets_no_fault() {
    let door = door();
    door.arm(Some((1, Fault::ThrottledRetryAfter)), 100);
    ask(&door, "GET", "/things/a", "").unwrap();
    assert_eq!(ask(&door, "GET", "/things/a", "").unwrap(), 429);
    let aside = door.set_aside();
    assert_eq!(ask(&door, "GET", "/things/a", "").unwrap(), 404);
    door.put_back(aside);
    assert_eq!((door.seen().len(), door.violations().len(), door.was_hit()), (2, 0, true));
    assert!(!door.was_made_good());
    ask(&door, "GET", "/things/a", "").unwrap();
    assert_eq!(door.violations().len(), 1, "it is still to be waited for");
}
