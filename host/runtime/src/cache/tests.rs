use super::*;
use crate::Import;
use crate::PoolSize;
use std::os::unix::fs::symlink;

/// The smallest component: a header.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

struct Fixture {
    folder: tempfile::TempDir,
    engine: Engine,
    id: EngineId,
    digest: Digest,
}

impl Fixture {
    fn new() -> Self {
        let engine = crate::engine::engine(PoolSize::instances(1)).unwrap();
        let id = EngineId::of(&engine);
        Self { folder: tempfile::tempdir().unwrap(), engine, id, digest: Digest::of(COMPONENT) }
    }

    fn open(&self) -> CacheFolder {
        CacheFolder::open(self.folder.path().join("code")).unwrap()
    }

    fn fill(&self) -> (CacheFolder, PathBuf) {
        let cache = self.open();
        let code = self.engine.precompile_component(COMPONENT).unwrap();
        cache.put(&self.id, &self.digest, &inspection(), &code);
        let file = cache.file(&self.digest, &self.id);
        (cache, file)
    }

    fn hit(&self, cache: &CacheFolder) -> Option<Inspection> {
        cache.get(&self.engine, &self.id, &self.digest).map(|entry| entry.inspection)
    }
}

fn inspection() -> Inspection {
    let import = Import { name: "basb:host/log@0.1.0".to_owned(), functions: vec!["write".to_owned()] };
    Inspection { size: 8, imports: vec![import], exports: Vec::new(), kind: None, manifest: None }
}

#[test]
fn what_was_written_is_found_by_the_next_host() {
    let fixture = Fixture::new();
    let (cache, file) = fixture.fill();
    assert_eq!(fixture.hit(&cache), Some(inspection()));
    assert_eq!(fixture.hit(&fixture.open()), Some(inspection()));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(cache.path()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(cache.path().join("key")).unwrap().mode() & 0o777, 0o600);
    let left: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_damaged_entry_is_never_used() {
    let fixture = Fixture::new();
    let (cache, file) = fixture.fill();
    let whole = fs::read(&file).unwrap();
    // Every byte of the end, and some of the code.
    let end = whole.len() - (MAGIC.len() + NONCE_LEN + TAG + 71 + ID + 4 + 20);
    let places = (0..end).step_by(997).chain(end..whole.len());
    for place in places {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        fs::write(&file, &flipped).unwrap();
        assert_eq!(fixture.hit(&cache), None, "byte {place}");
        assert!(!file.exists(), "a damaged entry is removed");
    }
    for length in
        [0, 1, MAGIC.len(), MAGIC.len() + NONCE_LEN + TAG, MAGIC.len() + NONCE_LEN + TAG + 71 + ID, whole.len() - 1]
    {
        fs::write(&file, &whole[..length]).unwrap();
        assert_eq!(fixture.hit(&cache), None, "{length} bytes");
    }
    fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
    assert_eq!(fixture.hit(&cache), None);
    fs::write(&file, [b"x", &whole[..]].concat()).unwrap();
    assert_eq!(fixture.hit(&cache), None);
    fs::write(&file, &whole).unwrap();
    assert_eq!(fixture.hit(&cache), Some(inspection()), "the whole one is fine again");
}

#[test]
fn an_entry_of_somebody_else_is_never_used() {
    let fixture = Fixture::new();
    let (cache, file) = fixture.fill();
    let whole = fs::read(&file).unwrap();
    // Under another key.
    fs::remove_file(cache.path().join("key")).unwrap();
    let rekeyed = fixture.open();
    assert_ne!(rekeyed.key, cache.key);
    assert_eq!(fixture.hit(&rekeyed), None);
    // Under the right key, but renamed to stand for another plugin, or for another engine.
    fs::write(&file, &whole).unwrap();
    let other = Digest::of(b"other");
    fs::copy(&file, cache.file(&other, &fixture.id)).unwrap();
    assert!(cache.get(&fixture.engine, &fixture.id, &other).is_none());
    let newer = EngineId([7; 32]);
    fs::copy(&file, cache.file(&fixture.digest, &newer)).unwrap();
    assert!(cache.get(&fixture.engine, &newer, &fixture.digest).is_none());
    assert_eq!(fixture.hit(&cache), Some(inspection()));
}

#[test]
fn a_key_that_others_could_read_is_replaced() {
    let fixture = Fixture::new();
    let (cache, _) = fixture.fill();
    fs::set_permissions(cache.path().join("key"), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(cache.path(), Permissions::from_mode(0o755)).unwrap();
    let again = fixture.open();
    assert_ne!(again.key, cache.key);
    assert_eq!(fs::metadata(again.path()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fixture.hit(&again), None);
}

#[test]
fn a_short_key_is_replaced_and_a_folder_that_is_a_file_is_an_error() {
    let fixture = Fixture::new();
    let (cache, _) = fixture.fill();
    fs::write(cache.path().join("key"), "short").unwrap();
    assert_eq!(fixture.hit(&fixture.open()), None);
    let file = fixture.folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(CacheFolder::open(&file).unwrap_err().to_string().contains("cannot be used"));
    let dangling = fixture.folder.path().join("dangling");
    symlink("/nowhere/at/all", &dangling).unwrap();
    assert!(CacheFolder::open(&dangling).is_err());
}

#[test]
fn pools_of_all_sizes_share_their_code() {
    let small = EngineId::of(&crate::engine::engine(PoolSize::instances(1)).unwrap());
    let large = EngineId::of(&crate::engine::engine(PoolSize::instances(1000)).unwrap());
    assert_eq!(small, large);
    // What the child makes is for all of them.
    for threads in [1, 4] {
        assert_eq!(EngineId::of(&crate::engine::compiling(threads).unwrap()), small);
    }
}
