//! Builds the programs of Kubernetes that `provider-kubernetes` is tested against, from Debian's source package: no registry
//! has them as binaries. It takes 10 to 30 minutes the first time and 3 GB, so it is done when it is asked for, and kept.
//! Scheduler and kubelet are only for the long run, and two or three of the minutes: they share most of their code with the
//! others.
//!
//! Nothing of the system is changed but that packages are installed: the source index and the downloads have folders of their
//! own.

use crate::apt;
use crate::shell::{self, Done, say};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What it is built with; etcd, and what makes certificates for the tests.
const PACKAGES: [&str; 10] = [
    "golang-1.19-go",
    "dpkg-dev",
    "golang-github-modern-go-reflect2-dev",
    "xz-utils",
    "patch",
    "gcc",
    "libc6-dev",
    "etcd-server",
    "openssl",
    "python3",
];
/// The folder of Debian's Go.
const GO: &str = "/usr/lib/go-1.19/bin";
/// What is built.
const PROGRAMS: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"];
/// What holds a pod's place for a kubelet, in C.
const PAUSE: &str = "pause";
/// What the system has to have besides.
const OTHERS: [&str; 3] = ["etcd", "openssl", "python3"];
/// What marks a package or a type that is described.
const TAG: &str = r"^\s*//\s*\+k8s:openapi-gen=";
/// Where Debian keeps the library that the vendored one is replaced by: with that one and this Go, the API server ends with a
/// segmentation fault at the first custom resource.
const REFLECT2: &str = "/usr/share/gocode/src/github.com/modern-go/reflect2";

/// Builds what is missing.
pub fn run() -> Done {
    if missing().is_empty() {
        say("the programs of Kubernetes are here");
        return Ok(());
    }
    let folder = folder().ok_or("HOME is not set, so there is no folder to build in")?;
    let by_hand = format!("Kubernetes: install as root (Debian 12): apt-get install {}", PACKAGES.join(" "));
    apt::install(&by_hand, &PACKAGES)?;
    let work = folder.join("build");
    for inner in ["lists/partial", "sources", "cache/archives/partial", "gopath/src/k8s.io"] {
        fs::create_dir_all(work.join(inner)).map_err(|e| format!("{}: {e}", work.display()))?;
    }
    let tree = work.join("gopath/src/k8s.io/kubernetes");
    if !tree.is_dir() {
        source(&work, &tree)?;
    }
    let vendored = tree.join("vendor/github.com/modern-go/reflect2");
    if !vendored.join(".replaced").exists() {
        shell::run(Command::new("rm").arg("-rf").arg(&vendored))?;
        shell::run(Command::new("cp").arg("-r").arg(REFLECT2).arg(&vendored))?;
        fs::write(vendored.join(".replaced"), "").map_err(|e| format!("{}: {e}", vendored.display()))?;
    }
    openapi(&work, &tree)?;
    let mut programs = PROGRAMS.to_vec();
    if !apt::is_on_path("kubectl") {
        programs.push("kubectl");
    }
    for program in programs {
        if !folder.join("bin").join(program).is_file() {
            let out = folder.join("bin").join(program);
            shell::run(
                go(&work, &tree).arg("build").arg("-o").arg(out).arg(format!("k8s.io/kubernetes/cmd/{program}")),
            )?;
        }
    }
    let pause = folder.join("bin").join(PAUSE);
    if !pause.is_file() {
        // Without a library: its image has nothing else in it.
        let source = tree.join("build/pause/linux/pause.c");
        shell::run(Command::new("cc").args(["-Os", "-static", "-o"]).arg(&pause).arg(source))?;
    }
    Ok(())
}

/// What is not there, so that tests against it only say so.
pub fn missing() -> Vec<&'static str> {
    let built = |name: &str| folder().is_some_and(|folder| folder.join("bin").join(name).is_file());
    let absent = PROGRAMS.into_iter().chain([PAUSE, "kubectl"]).filter(|name| !built(name) && !apt::is_on_path(name));
    absent.chain(OTHERS.into_iter().filter(|name| !apt::is_on_path(name))).collect()
}

/// Where it is built; none without a HOME.
fn folder() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/basb-host/counterparts/kubernetes"))
}

/// Downloads the source package by an index of its own, and unpacks it.
fn source(work: &Path, tree: &Path) -> Done {
    let system = Path::new("/etc/apt/sources.list.d/debian.sources");
    let known = fs::read_to_string(system).map_err(|e| format!("{}: {e}: this needs Debian 12", system.display()))?;
    let lines: Vec<&str> =
        known.lines().map(|line| if line.starts_with("Types:") { "Types: deb-src" } else { line }).collect();
    let sources = work.join("sources");
    fs::write(sources.join("source.sources"), lines.join("\n") + "\n").map_err(|e| e.to_string())?;
    let apt = || {
        let mut command = Command::new("apt-get");
        for (option, value) in [
            ("Dir::Etc::sourcelist", Path::new("/dev/null").to_owned()),
            ("Dir::Etc::sourceparts", sources.clone()),
            ("Dir::State::lists", work.join("lists")),
            ("Dir::Cache", work.join("cache")),
        ] {
            command.arg("-o").arg(format!("{option}={}", value.display()));
        }
        command.current_dir(work);
        command
    };
    shell::run(apt().arg("update"))?;
    shell::run(apt().args(["source", "--download-only", "kubernetes"]))?;
    let entries = fs::read_dir(work).map_err(|e| format!("{}: {e}", work.display()))?;
    let description = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "dsc"))
        .ok_or("the source package has no description")?;
    shell::run(Command::new("dpkg-source").arg("-x").arg(description).arg(tree))
}

/// Makes the descriptions of all types, which the API server is compiled with and the source package does not have.
fn openapi(work: &Path, tree: &Path) -> Done {
    let made = tree.join("pkg/generated/openapi/zz_generated.openapi.go");
    if made.is_file() {
        return Ok(());
    }
    let generator = work.join("openapi-gen");
    let name = "k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen";
    shell::run(go(work, tree).arg("build").arg("-o").arg(&generator).arg(name))?;
    let mut tagged = Command::new("grep");
    tagged.args(["-rlE", "--include=*.go", "--exclude=*_test.go", "--exclude=zz_generated*", TAG]);
    let found = shell::output(tagged.args(["staging/src", "pkg", "cmd", "vendor/k8s.io"]).current_dir(tree))?;
    let mut packages: Vec<String> = found
        .lines()
        // The generators themselves, and examples.
        .filter(|file| {
            !["/generators/", "/cmd/openapi-gen", "_examples", "testdata", "testapigroup"]
                .iter()
                .any(|of| file.contains(of))
        })
        .filter_map(|file| Some(file.rsplit_once('/')?.0))
        .map(|package| match package.strip_prefix("staging/src/") {
            Some(staged) => format!("k8s.io/kubernetes/vendor/{staged}"),
            None => format!("k8s.io/kubernetes/{package}"),
        })
        .collect();
    packages.sort();
    packages.dedup();
    let mut generate = Command::new(&generator);
    generate
        .args(["-O", "zz_generated.openapi", "-h", "hack/boilerplate/boilerplate.generatego.txt", "-r", "/dev/null"])
        .args(["-p", "k8s.io/kubernetes/pkg/generated/openapi", "-i", &packages.join(",")]);
    shell::run(with_go(&mut generate, work, tree))
}

fn go(work: &Path, tree: &Path) -> Command {
    let mut command = Command::new(Path::new(GO).join("go"));
    with_go(&mut command, work, tree);
    command
}

/// Go without modules: module mode refuses the vendor folder of the package.
fn with_go<'a>(command: &'a mut Command, work: &Path, tree: &Path) -> &'a mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .current_dir(tree)
        .env("GOPATH", work.join("gopath"))
        .env("GOCACHE", work.join("gocache"))
        .env("PATH", format!("{GO}:{path}"))
        .envs([("GO111MODULE", "off"), ("GOPROXY", "off"), ("CGO_ENABLED", "0"), ("GOFLAGS", "")])
}
