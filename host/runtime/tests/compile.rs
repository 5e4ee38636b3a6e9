//! Compilation in a child: its limits, and what a plugin that cannot be compiled is told.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail, a measurement prints"
)]

mod common;

use basb_guest_build::{build_core, componentize};
use basb_runtime::{CompileLimits, Compiler, Kind, LoadError, Runtime, inspect};
use common::{compiler, guest, options, request};
use serde_json::json;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn load(bytes: &[u8], compiler: Compiler) -> Result<(), LoadError> {
    let runtime = Runtime::new(options().with_compiler(compiler)).unwrap();
    runtime.load_blocking(bytes, request(Kind::Strategy, json!({}))).map(|_| ())
}

fn with(change: impl FnOnce(&mut CompileLimits)) -> Compiler {
    let mut limits = CompileLimits::default();
    change(&mut limits);
    compiler().with_limits(limits)
}

/// A whole strategy and, beside it, a module with one function of very many calls: half a megabyte that takes seconds and
/// hundreds of megabytes to compile.
fn bomb() -> Vec<u8> {
    let strategy = componentize(&build_core("guest-pure-echo").unwrap()).unwrap();
    let mut calls = String::from(
        "(component (core module (func $f (param i32) (result i32) local.get 0) (func (result i32) i32.const 0 ",
    );
    calls.push_str(&"call $f ".repeat(300_000));
    calls.push_str(")))");
    let bomb = wat::parse_str(calls).unwrap();
    // A component within a component is a section with the number 4; it is compiled with the rest.
    let mut bytes = strategy;
    bytes.push(4);
    let mut length = bomb.len();
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        bytes.push(if length == 0 { low } else { low | 0x80 });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(&bomb);
    bytes
}

#[test]
fn a_bomb_goes_off_in_the_child() {
    let bomb = bomb();
    assert!(bomb.len() < 1 << 20);
    let refused = |compiler| {
        let start = Instant::now();
        let error = load(&bomb, compiler).unwrap_err();
        assert_eq!(error.code(), "plugin/compile", "{error}");
        (error.to_string(), start.elapsed())
    };
    let (text, _) = refused(with(|limits| limits.memory = 256 << 20));
    assert!(text.contains("needs more than 256 MiB to compile"), "{text}");
    let (text, took) = refused(with(|limits| limits.wall = Duration::from_millis(300)));
    assert!(text.contains("took more than 0.3 s to compile"), "{text}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let (text, _) = refused(with(|limits| limits.cpu = Duration::from_secs(1)));
    assert!(text.contains("took more than 1 s to compile"), "{text}");
    let (text, _) = refused(with(|limits| limits.output = 1 << 20));
    assert!(text.contains("compiles to more than 1 MiB"), "{text}");
}

#[test]
fn a_program_that_is_no_compiler_is_named() {
    let guest = guest("guest-pure-echo");
    for (program, part) in
        [("/bin/true", "serve_if_asked"), ("/bin/false", "ended with status 1"), ("/nowhere/at/all", "No such file")]
    {
        let error = load(&guest, Compiler::at(program)).unwrap_err();
        assert_eq!(error.code(), "host/compiler", "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    // One that neither reads nor writes is ended.
    let mut silent = with(|limits| limits.wall = Duration::from_millis(300));
    silent.program = "/bin/sh".into();
    silent.args = vec!["-c".into(), "exec sleep 1000".into()];
    assert!(load(&guest, silent).unwrap_err().to_string().contains("took more than 0.3 s"));
    // One that floods is not believed.
    let mut flood = with(|limits| limits.output = 1 << 20);
    flood.program = "/bin/sh".into();
    flood.args = vec!["-c".into(), "exec cat /dev/zero".into()];
    assert!(load(&guest, flood).unwrap_err().to_string().contains("more than 1 MiB"));
    // And one that writes something else than code is found out before the code is used.
    let mut liar = compiler();
    liar.program = "/bin/sh".into();
    liar.args = vec!["-c".into(), "printf BASBCODE; head -c 100000 /dev/zero".into()];
    assert_eq!(load(&guest, liar).unwrap_err().code(), "host/load");
}

#[test]
fn what_is_not_valid_is_told_in_the_compilers_words() {
    let mut bytes = guest("guest-pure-echo").to_vec();
    // A core module whose one function leaves nothing where it says that it leaves a number.
    let module = wat::parse_str("(component (core module))").unwrap();
    assert_eq!(module[8], 1, "a core module is section 1");
    let bad: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";
    bytes.push(1);
    bytes.push(bad.len() as u8);
    bytes.extend_from_slice(bad);
    let error = load(&bytes, compiler()).unwrap_err();
    assert!(error.code() == "plugin/compile" || error.code() == "plugin/damaged", "{error}");
}

/// What the system says of a child that waits for its component.
#[test]
fn the_child_has_given_up_everything_before_it_reads() {
    let shell = "exec 9</dev/null; exec \"$0\" __basb-compile 1073741824 7 1000000 1";
    let mut child = Command::new("/bin/sh")
        .args(["-c", shell, env!("CARGO_BIN_EXE_basb-compile")])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let of = |what: &str| std::fs::read_to_string(format!("/proc/{}/{what}", child.id())).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    // The limit of open files is the last that it puts on itself.
    while !of("limits").lines().any(|line| line.starts_with("Max open files") && line.contains(" 3 ")) {
        assert!(Instant::now() < until, "{}", of("limits"));
        std::thread::sleep(Duration::from_millis(5));
    }
    let limits = of("limits");
    for (name, soft, hard) in [
        ("Max address space", "1073741824", "1073741824"),
        ("Max cpu time", "7", "8"),
        ("Max file size", "0", "0"),
        ("Max core file size", "0", "0"),
        ("Max open files", "3", "3"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let values: Vec<_> = line[name.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, [soft, hard], "{line}");
    }
    assert!(of("status").lines().any(|line| line.replace('\t', "") == "NoNewPrivs:1"), "{}", of("status"));
    let mut open: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", child.id()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    // Nobody sends anything: an empty file is no component.
    drop(child.stdin.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{said}");
}

#[tokio::test]
async fn several_compile_at_once() {
    let runtime = Runtime::new(options()).unwrap();
    let loads = (0..6).map(|_| runtime.load(guest("guest-pure-echo").to_vec(), request(Kind::Strategy, json!({}))));
    for loaded in futures_util::future::join_all(loads).await {
        loaded.unwrap();
    }
}

/// What a child costs, beside compiling in this process. Prints; run it with
/// `cargo test -p basb-runtime --test compile -- --ignored --nocapture`, and with `PLUGINS` set to a folder of components
/// for a cold start with all of them.
#[test]
#[ignore = "a measurement"]
fn the_price_of_a_child() {
    let engine = basb_runtime::engine::engine(basb_runtime::PoolSize::SMALL).unwrap();
    let folder = std::env::var_os("PLUGINS").map(std::path::PathBuf::from);
    let files = folder.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut all: Vec<(String, Vec<u8>)> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .filter(|(_, bytes)| inspect(bytes).is_ok())
        .collect();
    all.push(("guest-pure-echo".to_owned(), guest("guest-pure-echo").to_vec()));
    let runtime = Runtime::new(options()).unwrap();
    let load = |bytes: &[u8]| {
        let inspection = inspect(bytes).unwrap();
        let grants = inspection.capabilities().into_iter().filter_map(|capability| match capability.name() {
            "http" => Some(("http".to_owned(), json!([{"host": "nowhere.invalid"}]))),
            "tcp" => Some(("tcp".to_owned(), json!([{"host": "nowhere.invalid", "port": 1}]))),
            "exec" => Some(("exec".to_owned(), json!([{"program": "x", "path": "/bin/false"}]))),
            "files" => Some(("files".to_owned(), json!([{"folder": "x", "path": "/nowhere", "access": "read"}]))),
            "smtp" => Some(("smtp".to_owned(), json!([{"server": "x", "host": "nowhere.invalid", "port": 1}]))),
            _ => None,
        });
        let grants = grants.collect::<serde_json::Map<_, _>>().into();
        runtime.load_blocking(bytes, request(inspection.kind.unwrap(), grants)).unwrap()
    };
    let timed = |work: &dyn Fn()| {
        let mut times: Vec<_> = (0..5)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed()
            })
            .collect();
        times.sort();
        times[2]
    };
    let within = |bytes: &[u8]| drop(engine.precompile_component(bytes).unwrap());
    for (name, bytes) in &all {
        let (here, child) = (timed(&|| within(bytes)), timed(&|| drop(load(bytes))));
        println!(
            "{name:<40} {:>5} KB   in this process {here:>9.1?}   loaded through a child {child:>9.1?}",
            bytes.len() >> 10
        );
    }
    let here = timed(&|| all.iter().for_each(|(_, bytes)| within(bytes)));
    let one_by_one = timed(&|| all.iter().for_each(|(_, bytes)| drop(load(bytes))));
    let at_once = timed(&|| {
        std::thread::scope(|scope| {
            for (_, bytes) in &all {
                scope.spawn(|| load(bytes));
            }
        });
    });
    println!(
        "all {}: in this process {here:.1?}, children one by one {one_by_one:.1?}, at once {at_once:.1?}",
        all.len()
    );
}
