mod common;
use basb_capabilities::*;
use basb_runtime::*;
use std::time::Instant;
#[test]
fn prof() {
    let dir = std::path::PathBuf::from(std::env::var("PROF_DIR").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::open(folder.path().join("code")).unwrap();
    let rt = Runtime::new(RuntimeOptions::new(Capabilities::new(Options::new("/"))).with_cache(cache)).unwrap();
    for e in std::fs::read_dir(dir).unwrap() {
        let p = e.unwrap().path();
        if p.extension().is_none_or(|x| x != "wasm") {
            continue;
        }
        let bytes = basb_guest_build::componentize(&std::fs::read(&p).unwrap()).unwrap();
        let i = inspect(&bytes).unwrap();
        let g = serde_json::json!({"http":[{"host":"a.invalid"}],"tcp":[{"host":"a.invalid","port":1}],"exec":[{"program":"x","path":"/x"}],"files":[{"folder":"x","path":"/x","access":"read"}],"smtp":[{"server":"x","host":"a.invalid","port":1}]});
        let req = common::request(i.kind.unwrap(), g);
        let t = Instant::now();
        rt.load_blocking(&bytes, req.clone()).unwrap();
        let cold = t.elapsed();
        let mut best = std::time::Duration::MAX;
        for _ in 0..20 {
            let t = Instant::now();
            rt.load_blocking(&bytes, req.clone()).unwrap();
            best = best.min(t.elapsed());
        }
        let t = Instant::now();
        for _ in 0..10 {
            std::hint::black_box(basb_core::Digest::of(&bytes));
        }
        let sha = t.elapsed() / 10;
        let t = Instant::now();
        for _ in 0..10 {
            std::hint::black_box(inspect(&bytes).unwrap());
        }
        let ins = t.elapsed() / 10;
        println!(
            "{} wasm {} cold {:?} warm {:?} sha {:?} inspect {:?}",
            p.file_name().unwrap().display(),
            bytes.len(),
            cold,
            best,
            sha,
            ins
        );
    }
    for e in std::fs::read_dir(folder.path().join("code")).unwrap() {
        let e = e.unwrap();
        println!("{} {}", e.path().display(), e.metadata().unwrap().len());
    }
}
