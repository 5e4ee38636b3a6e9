//! A probe for `wasm32-wasip2` that looks for a way out through Rust's standard library: the configuration names what it
//! looks at, as a JSON string such as `"env"`.

#![expect(missing_docs, unsafe_code, reason = "generated bindings")]
#![expect(clippy::panic, clippy::print_stdout, clippy::print_stderr, reason = "it is what the tests look at")]

wit_bindgen::generate!({ world: "probe-plugin", path: "../../../wit/host/0.1.0", generate_all });

use basb::host::types::{CallContext, Verdict};
use exports::basb::host::probe::{Guest, Info, Measurement, Target};
use std::hash::{BuildHasher as _, RandomState};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"wasi-std","version":"0.1.0","kind":"probe",
"publisher":"basb-host","wit":"0.1","capabilities":[],"configSchema":{"type":"string"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn look(what: &str) -> String {
    match what {
        "env" => format!(
            "{:?} {:?} {:?}",
            std::env::vars().collect::<Vec<_>>(),
            std::env::args().collect::<Vec<_>>(),
            std::env::current_dir().map_err(|e| e.kind())
        ),
        "time" => {
            let (start, wall) = (Instant::now(), since_epoch());
            format!("{} {} {}", wall.as_millis(), start.elapsed().as_micros(), since_epoch() > wall)
        }
        "dice" => format!("{:x} {:x}", RandomState::new().hash_one(1), wasip2::random::random::get_random_u64()),
        "files" => format!(
            "{:?} {:?} {:?} {:?}",
            std::fs::read_dir("/").map(|_| ()).map_err(|e| e.kind()),
            std::fs::read("/etc/passwd").map(|_| ()).map_err(|e| e.kind()),
            std::fs::write("x", "x").map_err(|e| e.kind()),
            wasip2::filesystem::preopens::get_directories().len()
        ),
        "net" => format!(
            "{:?} {:?} {:?} {:?}",
            TcpStream::connect("127.0.0.1:9").map(|_| ()).map_err(|e| e.kind()),
            TcpListener::bind("127.0.0.1:0").map(|_| ()).map_err(|e| e.kind()),
            UdpSocket::bind("127.0.0.1:0").map(|_| ()).map_err(|e| e.kind()),
            ("localhost", 80).to_socket_addrs().map(|_| ()).is_err(),
        ),
        net if net.starts_with("net ") => {
            let ports: Vec<u16> = net.split(' ').filter_map(|port| port.parse().ok()).collect();
            let [connections, datagrams] = ports[..] else { return "two ports are needed".to_owned() };
            let send = |socket: UdpSocket| socket.send_to(b"out", ("127.0.0.1", datagrams)).map(|_| ());
            format!(
                "{:?} {:?} {:?} {:?} {:?} {:?}",
                TcpStream::connect(("127.0.0.1", connections)).map(|_| ()).map_err(|e| e.kind()),
                TcpStream::connect(("::ffff:127.0.0.1", connections)).map(|_| ()).map_err(|e| e.kind()),
                TcpListener::bind("0.0.0.0:0").map(|_| ()).map_err(|e| e.kind()),
                UdpSocket::bind("127.0.0.1:0").and_then(send).map_err(|e| e.kind()),
                UdpSocket::bind("0.0.0.0:0").and_then(send).map_err(|e| e.kind()),
                ("localhost", connections).to_socket_addrs().map(|_| ()).map_err(|e| e.kind()),
            )
        }
        "stdin" => {
            let mut text = String::new();
            format!("{:?} {text:?}", std::io::stdin().read_to_string(&mut text).map_err(|e| e.kind()))
        }
        "print" => {
            println!("one\u{1b}[2J line");
            eprint!("and half a line");
            "printed".to_owned()
        }
        "flood" => loop {
            println!("{}", "x".repeat(1000));
        },
        "one-long-line" => loop {
            print!("{}", "x".repeat(1000));
        },
        "panic" => panic!("the sky fell"),
        "exit" => std::process::exit(7),
        "sleep" => {
            let start = Instant::now();
            std::thread::sleep(Duration::from_millis(20));
            (start.elapsed() >= Duration::from_millis(20)).to_string()
        }
        "sleep-for-ever" => {
            std::thread::sleep(Duration::from_secs(1_000_000));
            "awake".to_owned()
        }
        "handles" => {
            for _ in 0..1_000_000 {
                std::mem::forget(wasip2::cli::stdout::get_stdout());
            }
            "done".to_owned()
        }
        "pollables" => {
            for _ in 0..1_000_000 {
                std::mem::forget(wasip2::clocks::monotonic_clock::subscribe_duration(1 << 60));
            }
            "done".to_owned()
        }
        "much-randomness" => wasip2::random::random::get_random_bytes(1 << 40).len().to_string(),
        // What a stream says of its own end must not be a backtrace of the host.
        "words" => {
            let stdin = wasip2::cli::stdin::get_stdin();
            format!(
                "{:?}",
                stdin.blocking_read(1).map_err(|error| match error {
                    wasip2::io::streams::StreamError::LastOperationFailed(error) => error.to_debug_string(),
                    wasip2::io::streams::StreamError::Closed => "closed".to_owned(),
                })
            )
        }
        other => panic!("nothing to look at: {other}"),
    }
}

struct WasiStd;

impl Guest for WasiStd {
    fn describe() -> Info {
        Info { values: Vec::new(), extras: Vec::new() }
    }

    fn check(cx: CallContext, _: Target) -> Measurement {
        let summary = look(cx.config.trim_matches('"'));
        Measurement { verdict: Verdict::Pass, summary, values: Vec::new(), facts: Vec::new() }
    }
}

export!(WasiStd);
