//! A planted secret is nowhere: not in the journal, the state folder, the terminal, the JSON stream, the log, the vault or a
//! notification other than the one it is meant for. And a secret that is missing is found before anything is changed.

use basb_e2e::{FileOptions, Lab, swap};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

const HOOK: &str = "hook-9f/Zq\"7~plänted+4711";
const TOKEN: &str = "token-Kx81%plantedAAbb==xyz";

/// A server that writes down what it gets, and sends all of it back in every form that it can think of.
struct Echo {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&log);
                std::thread::spawn(move || serve(stream, &log));
            }
        });
        Self { port, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let all = format!("{head}\n{}", String::from_utf8_lossy(&body));
    log.lock().unwrap().push(all.clone());
    let forms: Vec<String> = [HOOK, TOKEN].iter().flat_map(|secret| forms(secret)).collect();
    let echo = format!("{all}\n{}", forms.join("\n"));
    // The failure's text comes back through the plugin into errors and events.
    let answer = format!("HTTP/1.1 400 Bad\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{echo}", echo.len());
    let _ = (&stream).write_all(answer.as_bytes());
}

/// A secret in the forms in which it may turn up.
fn forms(secret: &str) -> Vec<String> {
    let percent: String = secret.bytes().map(|b| format!("%{b:02X}")).collect();
    let some: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
    let json = serde_json::to_string(secret).unwrap();
    vec![
        secret.to_owned(),
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        percent,
        some,
        hex,
        json.trim_matches('"').to_owned(),
    ]
}

fn file(lab: &Lab, echo: u16) -> String {
    let text = FileOptions::default().text(lab.port(), lab.second_port());
    let secrets = format!(
        "secrets:
  hook: {{ store: env, key: PLANTED_HOOK }}
  token: {{ store: env, key: PLANTED_TOKEN }}

credentials:
  hook:
    to: [{{ host: 127.0.0.1, scheme: http, port: {echo} }}]
    placeholder: hook
  api:
    to: [{{ host: 127.0.0.1, scheme: http, port: {port} }}]
    bearer: token

plugins:
  webhook:
    source: builtin:notifier-webhook
    grants:
      http:
        - {{ host: 127.0.0.1, scheme: http, port: {echo}, methods: [POST], path: /** }}
    credentials: [hook]
",
        port = lab.port()
    );
    let text = swap(&text, "plugins:\n", &secrets);
    let text = swap(&text, "path: /healthz }\n  obsidian:", "path: /healthz }\n    credentials: [api]\n  obsidian:");
    format!(
        "{text}  hook:\n    plugin: webhook\n    config: {{ url: \"http://127.0.0.1:{echo}/hook/${{secret.hook}}\" }}\n"
    )
}

fn search(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            search(&entry.path(), found);
        } else if kind.is_file() {
            look(&std::fs::read(entry.path()).unwrap(), &entry.path().display().to_string(), found);
        }
    }
}

fn look(bytes: &[u8], place: &str, found: &mut Vec<String>) {
    for form in [HOOK, TOKEN].iter().flat_map(|secret| forms(secret)) {
        if bytes.windows(form.len()).any(|window| window == form.as_bytes()) {
            found.push(format!("{form} in {place}"));
        }
    }
}

#[test]
fn a_planted_secret_is_nowhere() {
    let lab = Lab::new();
    let echo = Echo::start();
    lab.write_text(&file(&lab, echo.port));
    let with_secrets = |args: &[&str]| {
        let mut command = lab.command(args);
        command.env("PLANTED_HOOK", HOOK).env("PLANTED_TOKEN", TOKEN);
        basb_e2e::Following::start(command).end()
    };
    let mut found = Vec::new();
    for (args, code) in [
        (vec!["plan"], 2),
        (vec!["-vvv", "--json", "run", "--set", "release=1"], 0),
        (vec!["-vvv", "run", "--set", "release=3"], 3),
        (vec!["history"], 0),
        (vec!["show"], 0),
        (vec!["--json", "show"], 0),
        (vec!["--json", "status"], 0),
        (vec!["validate"], 0),
    ] {
        let out = with_secrets(&args).exits(code);
        look(out.stdout.as_bytes(), &format!("stdout of {args:?}"), &mut found);
        look(out.stderr.as_bytes(), &format!("stderr of {args:?}"), &mut found);
    }
    // It did go where it is meant to go, or the test would show nothing.
    let seen = echo.seen();
    assert!(seen.len() > 5, "{seen:?}");
    assert!(seen.iter().all(|request| request.starts_with("POST /hook/hook-9f/Zq%227~pl%C3%A4nted+4711 ")), "{seen:?}");
    assert!(seen.iter().all(|request| !request.contains(TOKEN)), "a secret went where it is not bound to: {seen:?}");
    search(lab.root(), &mut found);
    assert_eq!(found, Vec::<String>::new());
    // What each plugin did is told with the names of the credentials.
    let run = lab.history()[0].0.clone();
    let audit = lab.host(&["audit", "run", &run]).exits(0);
    assert!(audit.stdout.contains("hook") && audit.stdout.contains("POST"), "{}", audit.stdout);
}

#[test]
fn a_missing_secret_is_found_before_anything_is_changed() {
    let lab = Lab::new();
    let echo = Echo::start();
    lab.write_text(&file(&lab, echo.port));
    let mut command = lab.command(&["run"]);
    command.env("PLANTED_HOOK", HOOK).env_remove("PLANTED_TOKEN");
    let out = basb_e2e::Following::start(command).end().exits(1);
    assert!(out.stderr.contains("secret/missing") && out.stderr.contains("PLANTED_TOKEN"), "{}", out.stderr);
    assert!(!out.stderr.contains(HOOK));
    lab.untouched();
    assert_eq!(echo.seen(), Vec::<String>::new());
}
