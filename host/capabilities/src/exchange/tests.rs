use super::*;
use crate::scope::Caller;
use crate::{Grants, Options};
use futures_util::future::BoxFuture;
use serde_json::json;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A disk that keeps what is written ahead, and can be made to fail.
#[derive(Debug, Default)]
struct Disk {
    pages: Mutex<Vec<(u64, Exchange)>>,
    full: std::sync::atomic::AtomicBool,
}

impl WriteAhead for Disk {
    fn write(&self, page: Page) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            if self.full.load(std::sync::atomic::Ordering::SeqCst) {
                return Err("the disk is full".to_owned());
            }
            let mut pages = self.pages.lock().unwrap();
            for (number, exchange) in page.exchanges {
                pages.retain(|(known, _)| *known != number);
                pages.push((number, exchange));
            }
            Ok(())
        })
    }
}

impl Disk {
    fn exchanges(&self) -> Vec<Exchange> {
        let mut pages = self.pages.lock().unwrap().clone();
        pages.sort_by_key(|(number, _)| *number);
        pages.into_iter().map(|(_, exchange)| exchange).collect()
    }
}

/// A folder that a call may write to.
struct Lab {
    folder: tempfile::TempDir,
    capabilities: Capabilities,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { capabilities: Capabilities::new(Options::new(folder.path())), folder }
    }

    fn scope(&self) -> CallScope {
        let caller = Caller { plugin: "files".into(), digest: Arc::new(Digest::of(b"")), call: "notify" };
        let grants = json!({"files": [{"folder": "notes", "path": self.folder.path(), "access": "read-write"}]});
        CallScope::new(caller, Arc::new(Grants::parse(&grants).unwrap()), Instant::now() + Duration::from_secs(60))
    }

    fn call(&self, taping: Taping) -> Exchanges {
        Exchanges::taped(self.scope(), self.capabilities.clone(), "[1]".to_owned(), taping).unwrap()
    }

    fn written(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn at(path: &str) -> Path {
    Path { folder: "notes".to_owned(), path: path.to_owned() }
}

fn write(path: &str) -> Write {
    let expect = files::Expectation::Anything;
    Write { folder: "notes".to_owned(), path: path.to_owned(), contents: vec![0xff, 1], expect }
}

/// What a plugin may do: a read, a line, two changes, a read of what was written.
async fn plugin(call: &Exchanges) -> Result<Vec<String>, Stop> {
    let mut said = vec![format!("{:?}", call.list_files(at("")).await?.map(|entries| entries.len()))];
    call.log(LogLevel::Info, "about to write")?;
    said.push(format!("{:?}", call.write_file(write("a")).await?));
    said.push(format!("{:?}", call.write_file(write("b")).await?));
    said.push(format!("{:?}", call.read_file(at("b")).await?));
    said.push(format!("{:?}", call.read_file(at("missing")).await?.is_err()));
    Ok(said)
}

#[tokio::test]
async fn what_was_recorded_is_played_without_a_door() {
    let lab = Lab::new();
    let live = lab.call(Taping::Record { ahead: None });
    let first = plugin(&live).await.unwrap();
    let recorded = live.recorded().unwrap();
    assert_eq!((recorded.exchanges.len(), recorded.cut, &recorded.divergence), (6, false, &None));
    assert!(recorded.exchanges[1].is_log());
    assert!(recorded.exchanges[3].ask.contains(r#""contents":{"base64":"/wE="}"#), "{:?}", recorded.exchanges[3]);
    let elsewhere = Lab::new();
    for matching in [Matching::Exact, Matching::Compare, Matching::BestEffort] {
        let played = elsewhere.call(Taping::Play { exchanges: recorded.exchanges.clone(), matching });
        assert_eq!(plugin(&played).await.unwrap(), first);
        assert_eq!(played.recorded().unwrap().divergence, None);
    }
    assert!(elsewhere.written().is_empty());
}

#[tokio::test]
async fn a_change_is_durable_before_it_happens_and_its_answer_before_it_is_seen() {
    let lab = Lab::new();
    let disk = Arc::new(Disk::default());
    let call = lab.call(Taping::Record { ahead: Some(disk.clone()) });
    call.list_files(at("")).await.unwrap().unwrap();
    assert!(disk.exchanges().is_empty(), "reads wait");
    call.write_file(write("a")).await.unwrap().unwrap();
    let durable = disk.exchanges();
    assert_eq!(durable.len(), 2);
    assert!(durable.iter().all(|exchange| exchange.answer.is_some()));
    // What cannot be written down does not happen, and nothing does after it.
    disk.full.store(true, std::sync::atomic::Ordering::SeqCst);
    let stop = call.write_file(write("b")).await.unwrap_err();
    assert!(matches!(&stop, Stop::NotDurable(why) if why.contains("full")), "{stop}");
    disk.full.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(call.write_file(write("c")).await.unwrap_err(), stop);
    assert_eq!(lab.written(), ["a"]);
}

#[tokio::test]
async fn a_call_that_was_cut_off_anywhere_goes_on_where_it_was() {
    let whole = Lab::new();
    let disk = Arc::new(Disk::default());
    let live = whole.call(Taping::Record { ahead: Some(disk.clone()) });
    let first = plugin(&live).await.unwrap();
    let tape = live.recorded().unwrap().exchanges;
    for known in 0..=tape.len() {
        for doubt in [false, true] {
            let mut exchanges = tape[..known].to_vec();
            if let Some(last) = exchanges.last_mut().filter(|_| doubt) {
                last.answer = None;
            }
            let lab = Lab::new();
            // What the tape says was done is done.
            for (name, number) in [("a", 3), ("b", 4)] {
                if known >= number {
                    std::fs::write(lab.folder.path().join(name), [0xff, 1]).unwrap();
                }
            }
            let again = Arc::new(Disk::default());
            let call = lab.call(Taping::Resume {
                args: "[1]".to_owned(),
                exchanges,
                matching: Matching::Exact,
                ahead: Some(again.clone()),
            });
            let said = plugin(&call).await.unwrap();
            assert_eq!(said[1..], first[1..], "{known} {doubt}");
            assert_eq!(lab.written(), ["a", "b"], "{known} {doubt}");
            let recorded = call.recorded().unwrap();
            assert_eq!((recorded.exchanges.len(), recorded.divergence), (6, None), "{known} {doubt}");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_another_one_is_told_at_the_exact_exchange() {
    let lab = Lab::new();
    let live = lab.call(Taping::Record { ahead: None });
    plugin(&live).await.unwrap();
    let tape = live.recorded().unwrap().exchanges;
    for changed in 0..tape.len() {
        let mut exchanges = tape.clone();
        exchanges[changed].ask = exchanges[changed].ask.replacen("\"", "\"x", 1);
        let fresh = Lab::new();
        for resumed in [false, true] {
            let exchanges = exchanges.clone();
            let taping = if resumed {
                Taping::Resume { args: "[1]".to_owned(), exchanges, matching: Matching::Exact, ahead: None }
            } else {
                Taping::Play { exchanges, matching: Matching::Exact }
            };
            let stop = plugin(&fresh.call(taping)).await.unwrap_err();
            let Stop::Diverged(divergence) = stop else { panic!("{stop}") };
            assert_eq!(divergence.exchange, changed as u64 + 1);
            assert_eq!(divergence.actual.as_deref(), Some(tape[changed].ask.as_str()));
            assert!(divergence.expected.is_some());
        }
        assert!(fresh.written().is_empty());
    }
    let other = Exchanges::taped(
        lab.scope(),
        lab.capabilities.clone(),
        "[2]".to_owned(),
        Taping::Resume { args: "[1]".to_owned(), exchanges: tape, matching: Matching::Exact, ahead: None },
    );
    assert!(matches!(other, Err(Stop::Diverged(d)) if d.class == Class::OtherArguments && d.exchange == 0));
}

#[tokio::test]
async fn another_version_is_compared_and_its_first_difference_has_a_class() {
    let lab = Lab::new();
    let live = lab.call(Taping::Record { ahead: None });
    plugin(&live).await.unwrap();
    let tape = live.recorded().unwrap().exchanges;
    let play = || lab.call(Taping::Play { exchanges: tape.clone(), matching: Matching::Compare });
    let class = |call: &Exchanges| call.recorded().unwrap().divergence.map(|d| (d.class, d.exchange));

    let call = play();
    call.list_files(at("")).await.unwrap().unwrap();
    assert_eq!(class(&call), Some((Class::Missing, 3)));

    let call = play();
    call.write_file(write("a")).await.unwrap().unwrap();
    call.list_files(at("")).await.unwrap().unwrap();
    call.write_file(write("b")).await.unwrap().unwrap();
    call.read_file(at("b")).await.unwrap().unwrap();
    assert!(call.read_file(at("missing")).await.unwrap().is_err());
    assert_eq!(class(&call), Some((Class::Reordered, 1)));

    let call = play();
    assert!(call.read_file(at("c")).await.is_err());
    assert!(call.list_files(at("")).await.is_err(), "nothing is answered any more");
    assert_eq!(class(&call), Some((Class::ExtraRead, 1)));

    let call = play();
    call.write_file(write("b")).await.unwrap().unwrap();
    assert!(call.remove_file(at("a")).await.is_err());
    assert_eq!(class(&call), Some((Class::ExtraWrite, 1)));
}

#[tokio::test]
async fn a_tape_that_ends_in_a_question_ends_the_call_there() {
    let lab = Lab::new();
    let exchanges = vec![Exchange { ask: serde_json::to_string(&Ask::FilesList(at(""))).unwrap(), answer: None }];
    let call = lab.call(Taping::Play { exchanges, matching: Matching::Exact });
    assert_eq!(plugin(&call).await, Err(Stop::CutOff));
    let recorded = call.recorded().unwrap();
    assert!(recorded.cut_off && recorded.divergence.is_none());
}

#[test]
fn what_is_not_known_to_read_counts_as_a_change() {
    let request = |method: &str, url: &str| http::Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout: None,
    };
    let get = || request("GET", "https://a.example/?page=2");
    assert!(Ask::Http(get()).reads() && Ask::HttpMany(vec![get(), request("HEAD", "https://a.example/")]).reads());
    for changes in [request("POST", "https://a.example/"), request("GET", "https://a.example/?Action=DeleteUser")] {
        assert!(!Ask::HttpMany(vec![get(), changes.clone()]).reads());
        assert!(!Ask::Http(changes).reads());
    }
}
