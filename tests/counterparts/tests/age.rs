//! age files, as the age tools make them.

use basb_counterparts::SecretsOf;
use basb_counterparts::age_tool::{self, Form};
use serde_json::{Value, json};
use std::path::Path;

const YAML: &str = "# secrets of the second brain\n\
    slack: \"https://hooks.slack.example/T0/B0/cAnArY\"\n\
    db:\n  user: app\n  password: \"cAnArY-db\"\n\
    number: 0123\n\
    yes: yes\n\
    empty: \"\"\n\
    block: |\n  line one cAnArY\n  line two cAnArY\n";

fn names() -> Value {
    json!({
        "slack": {"store": "file", "key": "slack"},
        "db": {"store": "file", "key": "db", "field": "password"},
        "db-all": {"store": "file", "key": "db"},
        "number": {"store": "file", "key": "number"},
        "empty": {"store": "file", "key": "empty"},
        "block": {"store": "file", "key": "block"},
        "typo": {"store": "file", "key": "slak"},
        "all": {"store": "file", "key": "."},
    })
}

fn with_identity(file: &str, identity: &str) -> Value {
    json!({"file": {"age": {"file": file, "identity": {"file": identity}}}})
}

async fn read_all(secrets: &SecretsOf) {
    assert_eq!(secrets.text("slack").await.unwrap(), "https://hooks.slack.example/T0/B0/cAnArY");
    assert_eq!(secrets.text("db").await.unwrap(), "cAnArY-db");
    assert_eq!(secrets.text("db-all").await.unwrap(), r#"{"user":"app","password":"cAnArY-db"}"#);
    assert_eq!(secrets.text("block").await.unwrap(), "line one cAnArY\nline two cAnArY\n");
    assert_eq!(secrets.text("all").await.unwrap(), YAML);
}

#[tokio::test]
async fn files_for_identities_are_read_binary_and_armored() {
    let Some(age) = age_tool::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (mine, other) = (age.identity(&at("key.txt")), age.identity(&at("other.txt")));
    for (file, form) in [("binary.age", Form::Binary), ("armored.age", Form::Armored)] {
        age.encrypt(YAML, &[&other, &mine], form, &at(file));
        read_all(&SecretsOf::new(&with_identity(file, "key.txt"), &names(), &[], folder.path())).await;
    }
    // The identity in a variable, and from the home folder.
    let key = std::fs::read_to_string(at("key.txt")).unwrap();
    let store = json!({"file": {"age": {"file": "binary.age", "identity": {"env": "AGE_KEY"}}}});
    let secrets = SecretsOf::new(&store, &names(), &[("AGE_KEY", &key)], folder.path());
    read_all(&secrets).await;
    let line = key.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    assert_eq!(secrets.redactor.find(line.as_bytes()).unwrap().as_str(), "store-file");
    assert!(secrets.redactor.find(mine.as_bytes()).is_none(), "the recipient is public");
    let home = [("HOME", folder.path().to_str().unwrap())];
    read_all(&SecretsOf::new(&with_identity("binary.age", "~/key.txt"), &names(), &home, folder.path())).await;
}

#[tokio::test]
async fn files_with_a_passphrase_are_read() {
    let Some(age) = age_tool::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    age.encrypt_with_passphrase(YAML, "cAnArY horse battery", &folder.path().join("p.age"));
    let store = json!({"file": {"age": {"file": "p.age", "passphrase": {"env": "PASSPHRASE"}}}});
    let secrets = SecretsOf::new(&store, &names(), &[("PASSPHRASE", "cAnArY horse battery")], folder.path());
    read_all(&secrets).await;
    let wrong = SecretsOf::new(&store, &names(), &[("PASSPHRASE", "cAnArY wrong")], folder.path());
    expect(&wrong, "slack", "secret/store-credentials", "passphrase is wrong").await;
    let unset = SecretsOf::new(&store, &names(), &[], folder.path());
    expect(&unset, "slack", "secret/store-credentials", "PASSPHRASE is not set").await;
    let _ = age.identity(&folder.path().join("key.txt"));
    let identity = SecretsOf::new(&with_identity("p.age", "key.txt"), &names(), &[], folder.path());
    expect(&identity, "slack", "secret/store-credentials", "passphrase: {env: NAME}").await;
}

async fn expect(secrets: &SecretsOf, name: &str, code: &str, text: &str) {
    let (found, said) = secrets.error(name).await;
    assert!(found == code && said.contains(text), "{name}: {said}");
    assert!(!said.contains("cAnArY") && !said.contains("AGE-SECRET-KEY-1Q"), "{said}");
}

#[tokio::test]
async fn what_is_wrong_is_said_without_any_content() {
    let Some(age) = age_tool::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let recipient = age.identity(&at("key.txt"));
    let other = age.identity(&at("other.txt"));
    let encrypt = |content: &str, file: &str| age.encrypt(content, &[&recipient], Form::Binary, &at(file));
    encrypt(YAML, "good.age");
    let good = SecretsOf::new(&with_identity("good.age", "key.txt"), &names(), &[], folder.path());
    expect(&good, "typo", "secret/missing", "did you mean `slack`").await;
    expect(&good, "number", "secret/field", "in quotes").await;
    expect(&good, "empty", "secret/empty", "is empty").await;

    age.encrypt(YAML, &[&other], Form::Binary, &at("others.age"));
    encrypt("cAnArY", "text.age");
    encrypt("a: [cAnArY\n b: {", "broken.age");
    encrypt("a: cAnArY\na: cAnArY", "twice.age");
    encrypt("- cAnArY", "list.age");
    encrypt(&format!("a: {}", "cAnArY".repeat(200_000)), "long.age");
    let mut changed = std::fs::read(at("good.age")).unwrap();
    let last = changed.len() - 3;
    changed[last] ^= 1;
    std::fs::write(at("changed.age"), &changed).unwrap();
    std::fs::write(at("cut.age"), &std::fs::read(at("good.age")).unwrap()[..last - 20]).unwrap();
    std::fs::write(at("plain.age"), YAML).unwrap();
    std::fs::write(at("empty.age"), "").unwrap();
    std::fs::create_dir(at("folder.age")).unwrap();
    for (file, code, text) in [
        ("others.age", "secret/store-credentials", "encrypted for somebody else"),
        ("text.age", "secret/store-failed", "not a mapping"),
        ("broken.age", "secret/store-failed", "see its line"),
        ("twice.age", "secret/store-failed", "not a mapping"),
        ("list.age", "secret/store-failed", "not a mapping"),
        ("long.age", "secret/store-unavailable", "longer than"),
        ("changed.age", "secret/store-failed", "damaged"),
        ("cut.age", "secret/store-failed", "damaged"),
        ("plain.age", "secret/store-failed", "not an age file"),
        ("empty.age", "secret/store-failed", "not an age file"),
        ("missing.age", "secret/store-unavailable", "missing.age"),
        ("folder.age", "secret/store-unavailable", "not a file"),
    ] {
        let secrets = SecretsOf::new(&with_identity(file, "key.txt"), &names(), &[], folder.path());
        expect(&secrets, "slack", code, text).await;
    }
    std::fs::write(at("bad-key.txt"), "AGE-SECRET-KEY-1QcAnArY\n").unwrap();
    std::fs::write(at("no-key.txt"), "# nothing\n").unwrap();
    for (identity, text) in [("bad-key.txt", "line 1"), ("no-key.txt", "none in it"), ("nowhere.txt", "nowhere.txt")] {
        let secrets = SecretsOf::new(&with_identity("good.age", identity), &names(), &[], folder.path());
        expect(&secrets, "slack", "secret/store-credentials", text).await;
    }
}

#[tokio::test]
async fn a_file_that_costs_too_much_to_open_is_refused() {
    // scrypt with N = 2^30: 1 TiB of work. Made by hand, since no tool would.
    let header = "age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\n\
                  AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend([0; 64]);
    std::fs::write(folder.path().join("bomb.age"), bytes).unwrap();
    let store = json!({"file": {"age": {"file": "bomb.age", "passphrase": {"env": "PASSPHRASE"}}}});
    let secrets = SecretsOf::new(&store, &names(), &[("PASSPHRASE", "cAnArY horse battery")], Path::new(folder.path()));
    expect(&secrets, "slack", "secret/store-failed", "too much work").await;
}
