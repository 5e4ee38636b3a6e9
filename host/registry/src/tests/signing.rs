//! Signatures: whatever keeps one from being checked refuses the plugin, with a text of its own.

use super::{inspection, name};
use crate::{Publishers, SignatureError, SignatureFile, SignedBy, verify};
use basb_inspect::Manifest;
use minisign::KeyPair;
use std::io::Cursor;
use std::process::Command;

const BYTES: &[u8] = b"\0asm the plugin";
const SOURCE: &str = "plugins/probe.wasm";

fn keys() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

fn pinned(keys: &KeyPair) -> Publishers {
    Publishers::parse(&[(name("acme"), keys.pk.to_base64())].into()).unwrap()
}

fn sign(keys: &KeyPair, bytes: &[u8]) -> String {
    minisign::sign(Some(&keys.pk), &keys.sk, Cursor::new(bytes), Some("file:probe.wasm"), None).unwrap().into_string()
}

fn manifest() -> Manifest {
    inspection().manifest.unwrap()
}

fn judge(publishers: &Publishers, signature: &str) -> Result<Option<SignedBy>, SignatureError> {
    let signature = SignatureFile::Text(signature.to_owned());
    verify(publishers, Some(&name("acme")), SOURCE, BYTES, &signature, Some(&manifest()))
}

#[test]
fn a_good_signature_names_its_signer() {
    let keys = keys();
    let signed = judge(&pinned(&keys), &sign(&keys, BYTES)).unwrap().unwrap();
    assert_eq!((signed.publisher, signed.key), (name("acme"), keys.pk.to_base64()));
    assert_eq!(signed.comment, "file:probe.wasm");
    assert_eq!(signed.key_id.len(), 16);
}

#[test]
fn other_bytes_another_key_and_an_altered_comment_each_have_their_text() {
    let (ours, theirs) = (keys(), keys());
    let publishers = pinned(&ours);
    let acme = name("acme");
    assert_eq!(judge(&publishers, &sign(&ours, b"another file")), Err(SignatureError::OtherBytes(acme.clone())));
    let other = judge(&publishers, &sign(&theirs, BYTES)).unwrap_err();
    assert!(matches!(&other, SignatureError::OtherKey { found, pinned, .. } if found != pinned), "{other}");

    let good = sign(&ours, BYTES);
    let comment = good.replacen("file:probe.wasm", "file:other.wasm", 1);
    assert_eq!(judge(&publishers, &comment), Err(SignatureError::Forged(acme.clone())));

    // Signed by another key, with the key id of ours written over its own: the id is not what is trusted.
    let ours_lines: Vec<&str> = good.lines().collect();
    let forged = sign(&theirs, BYTES);
    let mut lines: Vec<String> = forged.lines().map(str::to_owned).collect();
    let decode = |text: &str| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
    let mut raw = decode(&lines[1]);
    raw[2..10].copy_from_slice(&decode(ours_lines[1])[2..10]);
    lines[1] = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, raw);
    assert_eq!(judge(&publishers, &lines.join("\n")), Err(SignatureError::Forged(acme)));
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let keys = keys();
    let publishers = pinned(&keys);
    let good = sign(&keys, BYTES);
    for damaged in [
        String::new(),
        "\n\n\n\n".to_owned(),
        good.lines().take(2).collect::<Vec<_>>().join("\n"),
        good.replacen("trusted comment: file", "trusted: file", 1),
        good.replacen("trusted comment: ", "", 2),
        format!("{good}\nmore"),
        good.replacen("RU", "R!", 1),
        good.lines().rev().collect::<Vec<_>>().join("\n"),
    ] {
        assert_eq!(judge(&publishers, &damaged), Err(SignatureError::Malformed), "{damaged}");
    }
    // Another algorithm: the legacy one (`Ed`, over the file itself) and one that there is not.
    let lines: Vec<&str> = good.lines().collect();
    for (algorithm, error) in [(b"Ed", SignatureError::Legacy), (b"XX", SignatureError::UnknownKind)] {
        let engine = base64::engine::general_purpose::STANDARD;
        let mut raw = base64::Engine::decode(&engine, lines[1]).unwrap();
        raw[..2].copy_from_slice(algorithm);
        let text = good.replacen(lines[1], &base64::Engine::encode(&engine, raw), 1);
        assert_eq!(judge(&publishers, &text), Err(error));
    }
    let with = |signature, demanded: Option<&str>, source| {
        verify(&publishers, demanded.map(name).as_ref(), source, BYTES, &signature, Some(&manifest()))
    };
    let text = || SignatureFile::Text(good.clone());
    let missing = Err(SignatureError::Missing(format!("{SOURCE}.minisig")));
    assert_eq!(with(SignatureFile::Missing, Some("acme"), SOURCE), missing);
    assert!(matches!(
        with(SignatureFile::Unreadable("denied".into()), Some("acme"), SOURCE),
        Err(SignatureError::Unreadable(_))
    ));
    assert_eq!(with(text(), None, SOURCE), Err(SignatureError::NoPublisher));
    assert_eq!(with(text(), Some("other"), SOURCE), Err(SignatureError::UnknownPublisher(name("other"))));
    assert_eq!(with(text(), Some("acme"), "builtin:probe-http"), Err(SignatureError::Builtin));
    assert_eq!(with(SignatureFile::Missing, None, "builtin:probe-http"), Ok(None));
}

#[test]
fn without_pinned_keys_nothing_is_demanded_but_what_a_plugin_demands_itself() {
    let none = Publishers::default();
    assert_eq!(verify(&none, None, SOURCE, BYTES, &SignatureFile::Missing, None), Ok(None));
    let demanded = verify(&none, Some(&name("acme")), SOURCE, BYTES, &SignatureFile::Missing, None);
    assert_eq!(demanded, Err(SignatureError::UnknownPublisher(name("acme"))));
}

#[test]
fn the_manifest_must_name_who_signed() {
    let keys = keys();
    let mut manifest = manifest();
    manifest.publisher = "ac\u{202e}me".to_owned();
    let signature = SignatureFile::Text(sign(&keys, BYTES));
    let publishers = pinned(&keys);
    let error = |manifest: Option<&Manifest>| {
        verify(&publishers, Some(&name("acme")), SOURCE, BYTES, &signature, manifest).unwrap_err()
    };
    let text = error(Some(&manifest)).to_string();
    assert!(text.contains("ac\\u{202e}me"), "{text}");
    assert_eq!(error(None).code(), "signature/other-publisher");
}

#[test]
fn a_key_that_is_none_is_named() {
    let wrong = Publishers::parse(
        &[(name("a"), "RWQ=".to_owned()), (name("b"), "!".to_owned()), (name("c"), keys().pk.to_base64())].into(),
    );
    let names: Vec<_> = wrong.unwrap_err().into_iter().map(|error| error.publisher).collect();
    assert_eq!(names, [name("a"), name("b")]);
    let box_text = keys().pk.to_box().unwrap().into_string();
    assert!(Publishers::parse(&[(name("a"), box_text)].into()).is_err(), "the whole file is not the key");
}

/// Against the implementation in C by minisign's author.
#[test]
fn what_minisign_signs_is_accepted_and_what_it_signed_for_another_is_not() {
    if Command::new("minisign").arg("-v").output().is_err() {
        eprintln!("SKIPPED: minisign is not installed; install it with `apt-get install minisign`");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let done = Command::new("minisign").args(args).current_dir(folder.path()).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    std::fs::write(folder.path().join("probe.wasm"), BYTES).unwrap();
    run(&["-GW", "-p", "acme.pub", "-s", "acme.key"]);
    run(&["-Sm", "probe.wasm", "-s", "acme.key", "-t", "version 1.2.3"]);
    let public = std::fs::read_to_string(folder.path().join("acme.pub")).unwrap();
    let mut lines = public.lines();
    let (comment, key) = (lines.next().unwrap(), lines.next().unwrap());
    let publishers = Publishers::parse(&[(name("acme"), key.to_owned())].into()).unwrap();
    let SignatureFile::Text(good) = crate::read_signature(&folder.path().join("probe.wasm")) else { panic!() };
    let signed = judge(&publishers, &good).unwrap().unwrap();
    assert_eq!(signed.comment, "version 1.2.3");
    assert!(comment.ends_with(&signed.key_id), "{comment}: {}", signed.key_id);

    run(&["-Slm", "probe.wasm", "-s", "acme.key", "-x", "legacy.minisig"]);
    let legacy = std::fs::read_to_string(folder.path().join("legacy.minisig")).unwrap();
    assert_eq!(judge(&publishers, &legacy), Err(SignatureError::Legacy));
    std::fs::write(folder.path().join("other.wasm"), b"other").unwrap();
    run(&["-Sm", "other.wasm", "-s", "acme.key"]);
    let other = std::fs::read_to_string(folder.path().join("other.wasm.minisig")).unwrap();
    assert_eq!(judge(&publishers, &other), Err(SignatureError::OtherBytes(name("acme"))));

    // And the other way round: what the tests sign is what minisign accepts.
    let keys = keys();
    std::fs::write(folder.path().join("probe.wasm.minisig"), sign(&keys, BYTES)).unwrap();
    run(&["-Vm", "probe.wasm", "-P", &keys.pk.to_base64()]);
}
