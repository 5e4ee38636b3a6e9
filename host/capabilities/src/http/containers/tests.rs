//! What a hostile plugin that knows the engine's source would send.

use super::super::action::Action;
use super::super::policy::{Refusal, Route, Wanted, decide};
use super::super::url::parse;
use crate::{Grants, Mode};
use ::http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value, json};

fn grants(more: Value) -> Grants {
    let mut containers = json!({"names": ["brain-*"], "images": ["brain:*", "registry.example/*"]});
    containers.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Grants::parse(&json!({"http": [{"socket": "docker", "at": "/run/docker.sock", "containers": containers}]})).unwrap()
}

fn ask_with(more: Value, mode: Mode, method: &str, path: &str, body: &str) -> Result<Route, Refusal> {
    let url = format!("http://docker.socket.internal{path}");
    let Ok(destination) = parse(&url) else { return Err(Refusal::NotGranted) };
    let action = Action::of(&method.parse().unwrap(), &destination.url, &HeaderMap::new(), body.as_bytes());
    let wanted = Wanted { method, destination: &destination, action: &action, body: body.as_bytes() };
    decide(&grants(more).http, None, mode, &wanted)
}

fn ask(method: &str, path: &str, body: &str) -> Result<Route, Refusal> {
    ask_with(json!({}), Mode::Normal, method, path, body)
}

const CREATE: &str = "/v1.41/containers/create?name=brain-1";

fn create_with(more: Value, body: &Value) -> Result<Route, Refusal> {
    ask_with(more, Mode::Normal, "POST", CREATE, &body.to_string())
}

fn host_config(host: Value) -> Value {
    json!({"Image": "brain:1", "HostConfig": host})
}

const LIST: &str = "/v1.41/containers/json?all=true&filters=%7B%22label%22%3A%5B%22basb-host%3Aservice%3Da%22%5D%7D";

#[test]
fn what_the_provider_needs_passes() {
    let whole = json!({
        "Image": "brain:1", "Cmd": ["brain", "--port", "8080"], "Env": ["A=1"], "Labels": {"basb-host:service": "a"},
        "User": "1000", "WorkingDir": "/srv", "StopTimeout": 5, "ExposedPorts": {"8080/tcp": {}},
        "Healthcheck": {"Test": ["NONE"]}, "Entrypoint": null,
        "HostConfig": {
            "NetworkMode": "none", "Memory": 1000, "NanoCpus": 5, "PidsLimit": 100, "ReadonlyRootfs": true,
            "CapDrop": ["ALL"], "CapAdd": [], "SecurityOpt": ["no-new-privileges"], "Privileged": false, "PidMode": "",
            "RestartPolicy": {"Name": "unless-stopped"}, "Init": true, "Mounts": [{"Type": "tmpfs", "Target": "/tmp"}],
            "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "15001"}]},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 1024}],
        },
    });
    let route = Route::Socket { name: "docker".to_owned(), at: Some("/run/docker.sock".into()) };
    assert_eq!(create_with(json!({}), &whole), Ok(route.clone()));
    for (method, path) in [
        ("GET", "/_ping"),
        ("HEAD", "/_ping"),
        ("GET", "/version"),
        ("GET", LIST),
        ("GET", "/v1.41/containers/brain-1/json"),
        ("GET", "/v1.41/containers/brain-1/logs?stdout=1&stderr=1&tail=20"),
        ("POST", "/v1.44/containers/brain-1/start"),
        ("POST", "/v1.41/containers/brain-1/stop?t=5"),
        ("DELETE", "/v1.41/containers/brain-1?force=true&v=true"),
        ("GET", "/v1.41/images/brain:1/json"),
        ("GET", "/v1.41/images/registry.example/team/brain@sha256:abc/json"),
    ] {
        assert_eq!(ask(method, path, ""), Ok(route.clone()), "{method} {path}");
    }
}

#[test]
fn a_dry_run_makes_and_changes_nothing() {
    let ask = |method, path, body| ask_with(json!({}), Mode::ReadOnly, method, path, body);
    assert!(ask("GET", LIST, "").is_ok());
    assert_eq!(ask("POST", CREATE, r#"{"Image":"brain:1"}"#), Err(Refusal::NotARead));
    assert_eq!(ask("POST", "/v1.41/containers/brain-1/stop", ""), Err(Refusal::NotARead));
    assert_eq!(ask("DELETE", "/v1.41/containers/brain-1", ""), Err(Refusal::NotARead));
}

#[test]
fn no_other_operation_is_reached_by_whatever_spelling() {
    for (method, path, body) in [
        ("POST", "/v1.41/containers/brain-1/exec", r#"{"Cmd":["sh"],"Privileged":true}"#),
        ("POST", "/v1.41/exec/abc/start", "{}"),
        ("POST", "/v1.41/containers/brain-1/update", r#"{"Memory":0}"#),
        ("PUT", "/v1.41/containers/brain-1/archive?path=/", "x"),
        ("GET", "/v1.41/containers/brain-1/archive?path=/etc/shadow", ""),
        ("GET", "/v1.41/containers/brain-1/export", ""),
        ("POST", "/v1.41/containers/brain-1/rename?name=brain-2", ""),
        ("POST", "/v1.41/containers/prune", ""),
        ("POST", "/v1.41/commit?container=brain-1", ""),
        ("POST", "/v1.41/build", "x"),
        ("POST", "/v1.41/images/create?fromSrc=http://evil.example", ""),
        ("POST", "/v1.41/images/load", "x"),
        ("DELETE", "/v1.41/images/brain:1", ""),
        ("POST", "/v1.41/volumes/create", r#"{"Name":"x","DriverOpts":{"type":"none","device":"/","o":"bind"}}"#),
        ("POST", "/v1.41/networks/create", "{}"),
        ("POST", "/v1.41/plugins/pull?remote=x", "[]"),
        ("POST", "/v1.41/swarm/init", "{}"),
        ("GET", "/v1.41/secrets", ""),
        ("GET", "/v1.41/events", ""),
        ("GET", "/v1.41/info", ""),
        ("POST", "/v4.0.0/libpod/containers/create", "{}"),
        ("GET", "/v1.41/containers/brain-1/json/", ""),
        ("GET", "/V1.41/containers/brain-1/json", ""),
        ("GET", "/containers/brain-1/json", ""),
        ("POST", "/v1.41/containers/%63reate?name=brain-1", r#"{"Image":"brain:1"}"#),
        ("GET", "/v1.41/containers/brain-%31/json", ""),
        // `start` took a HostConfig before 1.24; later versions say that they ignore it.
        ("POST", "/v1.23/containers/brain-1/start", r#"{"Binds":["/:/host"]}"#),
        ("POST", "/v1.23/containers/brain-1/start", ""),
        ("POST", "/v1.41/containers/brain-1/start", r#"{"Binds":["/:/host"]}"#),
        ("POST", "/v1.9/containers/brain-1/start", ""),
        ("POST", "/v1.041/containers/brain-1/start", ""),
        ("POST", "/v1.41/containers/brain-1/start?detachKeys=x", ""),
        ("GET", "/v1.41/containers/brain-1/logs?follow=1", ""),
        ("POST", "/v1.41/containers/create?name=brain-1&name=other", r#"{"Image":"brain:1"}"#),
        ("POST", "/v1.41/containers/create?name=brain-1;name=other", r#"{"Image":"brain:1"}"#),
        ("POST", "/v1.41/containers/create?name=brain-1&platform=x", r#"{"Image":"brain:1"}"#),
    ] {
        let refused = ask(method, path, body);
        assert!(matches!(refused, Err(Refusal::NotThat(_) | Refusal::NotGranted)), "{method} {path}: {refused:?}");
    }
}

#[test]
fn containers_of_others_are_out_of_reach() {
    for name in ["postgres", "brain", "a1b2c3d4e5f6", "deadbeef", "cafe", "brain-1,postgres", "..", "-x"] {
        assert!(ask("GET", &format!("/v1.41/containers/{name}/json"), "").is_err(), "{name}");
        assert!(ask("DELETE", &format!("/v1.41/containers/{name}"), "").is_err(), "{name}");
        assert!(
            ask("POST", &format!("/v1.41/containers/create?name={name}"), r#"{"Image":"brain:1"}"#).is_err(),
            "{name}"
        );
    }
    assert!(
        ask("POST", "/v1.41/containers/create", r#"{"Image":"brain:1"}"#).is_err(),
        "a name of the engine's own making"
    );
    assert!(ask("POST", "/v1.41/containers/create?name=%2Fbrain-1", r#"{"Image":"brain:1"}"#).is_err());
    // A name of hexadecimal digits can be the beginning of an id, whatever is granted.
    let wide = |path: &str| ask_with(json!({"names": ["*"]}), Mode::Normal, "DELETE", path, "");
    assert!(wide("/v1.41/containers/a1b2").is_err());
    assert!(wide("/v1.41/containers/postgres").is_ok());
    let filters = |text: &str| {
        let encoded: String = ::url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        ask("GET", &format!("/v1.41/containers/json?filters={encoded}"), "")
    };
    assert!(filters(r#"{"label":["basb-host:service=a"]}"#).is_ok());
    for wrong in [
        "",
        "{}",
        r#"{"label":[]}"#,
        r#"{"label":["com.example"]}"#,
        r#"{"name":["basb-host:service"]}"#,
        r#"{"label":["basb-host:service=a"],"label":[]}"#,
        r#"{"Label":["basb-host:service=a"]}"#,
    ] {
        assert!(filters(wrong).is_err(), "{wrong}");
    }
    assert!(ask("GET", "/v1.41/containers/json", "").is_err());
}

#[test]
fn nothing_of_the_machine_gets_into_a_container_unless_it_is_granted() {
    let ports = |ip: Value| json!({"PortBindings": {"80/tcp": [{"HostIp": ip, "HostPort": "80"}]}});
    let mount = |source: &str, more: Value| {
        let mut mount = json!({"Type": "bind", "Source": source, "Target": "/x"});
        mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"Mounts": [mount]})
    };
    for host in [
        json!({"Privileged": true}),
        json!({"Privileged": "true"}),
        json!({"Binds": ["/:/host"]}),
        json!({"Binds": []}),
        mount("/", json!({})),
        mount("/srv/vault", json!({"ReadOnly": true})),
        json!({"Mounts": [{"Type": "volume", "Target": "/x", "VolumeOptions": {"DriverConfig": {"Options": {"device": "/", "o": "bind"}}}}]}),
        json!({"Mounts": [{"Type": "volume", "Source": "other", "Target": "/x"}]}),
        json!({"Mounts": [{"Type": "npipe", "Source": "x", "Target": "/x"}]}),
        json!({"Mounts": [{"Source": "/", "Target": "/x"}]}),
        json!({"VolumesFrom": ["postgres"]}),
        json!({"NetworkMode": "host"}),
        json!({"NetworkMode": "container:postgres"}),
        json!({"NetworkMode": "ns:/proc/1/ns/net"}),
        json!({"NetworkMode": ["host"]}),
        json!({"PidMode": "host"}),
        json!({"PidMode": "container:x"}),
        json!({"IpcMode": "host"}),
        json!({"UTSMode": "host"}),
        json!({"UsernsMode": "host"}),
        json!({"CgroupnsMode": "host"}),
        json!({"Cgroup": "x"}),
        json!({"CgroupParent": "/"}),
        json!({"CapAdd": ["SYS_ADMIN"]}),
        json!({"CapAdd": ["ALL"]}),
        json!({"CapAdd": "ALL"}),
        json!({"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/x", "CgroupPermissions": "rwm"}]}),
        json!({"Devices": [{"PathInContainer": "/x"}]}),
        json!({"DeviceCgroupRules": ["a *:* rwm"]}),
        json!({"DeviceRequests": [{"Count": -1}]}),
        json!({"SecurityOpt": ["seccomp=unconfined"]}),
        json!({"SecurityOpt": ["no-new-privileges:false"]}),
        json!({"MaskedPaths": []}),
        json!({"ReadonlyPaths": []}),
        json!({"Sysctls": {"kernel.x": "1"}}),
        json!({"Runtime": "evil"}),
        json!({"OomScoreAdj": -1000}),
        json!({"Ulimits": [{"Name": "rtprio", "Soft": 99, "Hard": 99}]}),
        json!({"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "tcp://evil.example:1"}}}),
        json!({"LogConfig": {"Type": "json-file", "Config": {"labels": "x"}}}),
        json!({"PublishAllPorts": true}),
        json!({"ExtraHosts": ["metadata:169.254.169.254"]}),
        json!({"VolumeDriver": "evil"}),
        json!({"GroupAdd": ["0"]}),
        json!({"Links": ["postgres"]}),
        json!({"ContainerIDFile": "/etc/cron.d/x"}),
        json!({"AutoRemove": true}),
        json!({"Annotations": {"io.podman": "1"}}),
        ports(json!("0.0.0.0")),
        ports(json!("")),
        ports(json!("::")),
        ports(json!("10.0.0.1")),
        ports(json!("127.0.0.1 ")),
        json!({"PortBindings": {"80/tcp": [{"HostPort": "80"}]}}),
        json!({"PortBindings": {"80/tcp": {"HostIp": "127.0.0.1"}}}),
        // Other letters for the same key, as Go's reader takes them.
        json!({"privileged": true}),
        json!({"PRIVILEGED": true}),
        json!({"bind\u{17f}": ["/:/host"]}),
        json!({"Networ\u{212a}Mode": "host"}),
        json!([]),
    ] {
        let refused = create_with(json!({}), &host_config(host.clone()));
        assert!(matches!(refused, Err(Refusal::NotThat(_))), "{host}: {refused:?}");
    }
    for body in [
        json!({"Image": "alpine"}),
        json!({"Image": "a1b2c3"}),
        json!({"Image": "brain:1 "}),
        json!({"Image": ["brain:1"]}),
        json!({"HostConfig": {}}),
        json!({"Image": "brain:1", "hostconfig": {"Privileged": true}}),
        json!({"Image": "brain:1", "ho\u{17f}tConfig": {"Privileged": true}}),
        json!({"Image": "brain:1", "Volumes": {"/x": {}}}),
        json!({"Image": "brain:1", "NetworkingConfig": {"EndpointsConfig": {"other": {}}}}),
        json!({"Image": "brain:1", "MacAddress": "x"}),
        json!({"Image": "brain:1", "OnBuild": ["x"]}),
        json!(["brain:1"]),
    ] {
        assert!(create_with(json!({}), &body).is_err(), "{body}");
    }
}

#[test]
fn what_two_readers_could_take_differently_is_refused() {
    for body in [
        r#"{"Image":"brain:1","HostConfig":{"Privileged":false,"Privileged":true}}"#,
        r#"{"Image":"brain:1","HostConfig":{},"HostConfig":{"Privileged":true}}"#,
        r#"{"Image":"brain:1","Image":"alpine"}"#,
        r#"{"Image":"brain:1"}{"Image":"alpine"}"#,
        r#"{"Image":"brain:1","HostConfig":{"Privileged":false,"Privil\u0065ged":true}}"#,
        "{\"Image\":\"brain:1\",\u{0}}",
        "",
        "null",
    ] {
        assert!(ask("POST", CREATE, body).is_err(), "{body}");
    }
    // Another way to write the same key is the same key.
    assert!(ask("POST", CREATE, r#"{"Image":"brain:1","HostConfig":{"Privil\u0065ged":true}}"#).is_err());
    assert!(ask("POST", CREATE, "{\"Image\":\"brain:1\"}").is_ok());
}

#[test]
fn each_line_of_a_grant_allows_what_it_says_and_no_more() {
    let bind = |source: &str, read_only: bool| {
        host_config(json!({"Mounts": [{"Type": "bind", "Source": source, "Target": "/x", "ReadOnly": read_only}]}))
    };
    let network = host_config(json!({"NetworkMode": "host"}));
    let text = |refused| match refused {
        Err(Refusal::NotThat(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(text(create_with(json!({}), &network)).contains("`allow: [host-network]`"));
    assert!(create_with(json!({"allow": ["host-network"]}), &network).is_ok());
    assert!(create_with(json!({"allow": ["host-network"]}), &host_config(json!({"PidMode": "host"}))).is_err());
    assert!(create_with(json!({"allow": ["host-pid"]}), &host_config(json!({"PidMode": "host"}))).is_ok());
    assert!(create_with(json!({"allow": ["privileged"]}), &host_config(json!({"Privileged": true}))).is_ok());

    let read = json!({"binds": [{"path": "/srv/vault", "access": "read"}]});
    assert!(text(create_with(json!({}), &bind("/srv/vault", false))).contains("access: read-write"));
    assert!(create_with(read.clone(), &bind("/srv/vault", true)).is_ok());
    assert!(create_with(read.clone(), &bind("/srv/vault", false)).is_err());
    let write = json!({"binds": [{"path": "/srv/vault", "access": "read-write"}]});
    for path in ["/srv/vault/link-to-root", "/srv", "/srv/vault/", "/srv/vault/..", "/srv/../srv/vault", "srv/vault"] {
        assert!(create_with(write.clone(), &bind(path, true)).is_err(), "{path}");
    }
    assert!(create_with(write, &bind("/srv/vault", false)).is_ok());
    let volume = host_config(json!({"Mounts": [{"Type": "volume", "Source": "cache", "Target": "/x"}]}));
    assert!(create_with(json!({"volumes": ["cache"]}), &volume).is_ok());
    let caps = |name: &str| host_config(json!({"CapAdd": [name]}));
    let one = json!({"capabilities": ["NET_BIND_SERVICE"]});
    assert!(
        create_with(one.clone(), &caps("NET_BIND_SERVICE")).is_ok()
            && create_with(one.clone(), &caps("CAP_NET_BIND_SERVICE")).is_ok()
    );
    assert!(create_with(one.clone(), &caps("NET_ADMIN")).is_err() && create_with(one, &caps("ALL")).is_err());
    let device = host_config(
        json!({"Devices": [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rw"}]}),
    );
    assert!(create_with(json!({"devices": ["/dev/fuse"]}), &device).is_ok());
    assert!(create_with(json!({"devices": ["/dev/kvm"]}), &device).is_err());
}

proptest! {
    /// Whatever key of whatever spelling is added to a body that passes: it passes on only if it is one of those few that
    /// are known here, letter by letter.
    #[test]
    fn an_unknown_key_is_never_let_through(key in "[A-Za-z\u{17f}\u{212a}]{1,14}", in_host in any::<bool>()) {
        let known = ["Cmd", "Env", "Tty", "User", "Init", "Memory", "Labels", "Image", "HostConfig"];
        prop_assume!(!known.contains(&key.as_str()));
        let mut body = json!({"Image": "brain:1", "HostConfig": {"Memory": 1}});
        let to = if in_host { &mut body["HostConfig"] } else { &mut body };
        to[key.as_str()] = json!({"x": [true, "/", "host"]});
        let passed = create_with(json!({}), &body).is_ok();
        let inside = super::create::tests_only_known(&key, in_host);
        prop_assert!(!passed || inside, "{}", body);
    }
}
