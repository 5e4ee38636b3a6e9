//! What a container may be: the body of `POST /containers/create`, key by key.
//!
//! Stops a container from being given anything of the machine that the grant does not name. What is not in the lists below is
//! refused, so a key that a later engine invents is refused too.

use super::json::{self, Json};
use crate::grants::{Access, ContainersGrant, Privilege};
use std::net::IpAddr;

/// Keys of the body that concern nothing but the inside of the container.
const INSIDE: [&str; 14] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Hostname",
    "Labels",
    "OpenStdin",
    "StopSignal",
    "StopTimeout",
    "Tty",
    "User",
    "WorkingDir",
    "AttachStdout",
];

/// Keys of `HostConfig` that only take something away from it, or bound it.
const BOUNDS: [&str; 15] = [
    "CapDrop",
    "CpuPeriod",
    "CpuQuota",
    "CpuShares",
    "CpusetCpus",
    "Init",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "NanoCpus",
    "PidsLimit",
    "ReadonlyRootfs",
    "ShmSize",
    "RestartPolicy",
];

/// Whether the grant covers the container that this body describes.
///
/// # Errors
/// Why not.
pub(super) fn check(grant: &ContainersGrant, body: &[u8]) -> Result<(), String> {
    let body = json::read(body).map_err(|why| format!("its body cannot be read beyond doubt: {why}"))?;
    let mut has_image = false;
    for (key, value) in members("the body", &body)? {
        match (key, value) {
            (_, Json::Null) => {}
            ("Image", Json::Text(name)) => {
                super::image(&grant.images, name)?;
                has_image = true;
            }
            ("HostConfig", host) => {
                for (key, value) in members("HostConfig", host)? {
                    if *value != Json::Null {
                        host_config(grant, key, value)?;
                    }
                }
            }
            (key, _) if INSIDE.contains(&key) => {}
            (key, _) => return Err(unknown(key)),
        }
    }
    if has_image { Ok(()) } else { Err("its body names no image".to_owned()) }
}

fn host_config(grant: &ContainersGrant, key: &str, value: &Json) -> Result<(), String> {
    match (key, value) {
        ("NetworkMode", Json::Text(mode)) => match mode.as_str() {
            "" | "default" | "bridge" | "none" => Ok(()),
            "host" => allowed(grant, Privilege::HostNetwork, "the machine's network"),
            other => Err(format!("it wants the network `{}`", crate::printable(other, 100))),
        },
        ("PidMode", Json::Text(mode)) => match mode.as_str() {
            "" | "private" => Ok(()),
            "host" => allowed(grant, Privilege::HostPid, "the machine's processes"),
            other => Err(format!("it wants the processes of `{}`", crate::printable(other, 100))),
        },
        ("Privileged", Json::Bool(false)) => Ok(()),
        ("Privileged", Json::Bool(true)) => allowed(grant, Privilege::Privileged, "all privileges"),
        ("CapAdd", Json::List(names)) => names.iter().try_for_each(|name| match name {
            Json::Text(name) if grant.capabilities.contains(name.strip_prefix("CAP_").unwrap_or(name)) => Ok(()),
            other => Err(not_in("the capability", other, "capabilities")),
        }),
        ("Devices", Json::List(devices)) => devices.iter().try_for_each(|device| one_device(grant, device)),
        ("Mounts", Json::List(mounts)) => mounts.iter().try_for_each(|mount| one_mount(grant, mount)),
        ("PortBindings", ports) => {
            for (_, bindings) in members("PortBindings", ports)? {
                let Json::List(bindings) = bindings else { return Err(unknown("PortBindings")) };
                bindings.iter().try_for_each(published)?;
            }
            Ok(())
        }
        ("SecurityOpt", Json::List(options)) => options.iter().try_for_each(|option| match option {
            Json::Text(text) if matches!(text.as_str(), "no-new-privileges" | "no-new-privileges:true") => Ok(()),
            _ => Err("it turns a protection off (`SecurityOpt`)".to_owned()),
        }),
        ("Ulimits", Json::List(limits)) => limits.iter().try_for_each(one_limit),
        ("LogConfig", log) => {
            for (key, value) in members("LogConfig", log)? {
                match (key, value) {
                    ("Type", Json::Text(kind)) if matches!(kind.as_str(), "json-file" | "local" | "none") => {}
                    ("Config", Json::Map(options))
                        if options.iter().all(|(name, _)| matches!(name.as_str(), "max-size" | "max-file")) => {}
                    _ => return Err("it would send the container's output elsewhere (`LogConfig`)".to_owned()),
                }
            }
            Ok(())
        }
        (key, _) if BOUNDS.contains(&key) => Ok(()),
        (key, _) => Err(unknown(&format!("HostConfig.{key}"))),
    }
}

fn allowed(grant: &ContainersGrant, privilege: Privilege, what: &str) -> Result<(), String> {
    if grant.allow.contains(&privilege) {
        return Ok(());
    }
    Err(format!(
        "it wants {what}; to allow it, write in `containers` of its entry in `grants`: `allow: [{}]`",
        privilege.as_str()
    ))
}

/// Limits that hold only whoever has them; `rtprio` and the like would let it take the processor from others.
fn one_limit(limit: &Json) -> Result<(), String> {
    for (key, value) in members("Ulimits", limit)? {
        match (key, value) {
            ("Name", Json::Text(name))
                if matches!(name.as_str(), "core" | "cpu" | "data" | "fsize" | "nofile" | "nproc") => {}
            ("Soft" | "Hard", Json::Number) => {}
            (key, _) => return Err(unknown(&format!("Ulimits.{key}"))),
        }
    }
    Ok(())
}

fn one_device(grant: &ContainersGrant, device: &Json) -> Result<(), String> {
    let mut on_host = None;
    for (key, value) in members("Devices", device)? {
        match (key, value) {
            ("PathOnHost", Json::Text(path)) => on_host = Some(path),
            ("PathInContainer" | "CgroupPermissions", Json::Text(_)) => {}
            (key, _) => return Err(unknown(&format!("Devices.{key}"))),
        }
    }
    match on_host {
        Some(path) if grant.devices.contains(path) => Ok(()),
        Some(path) => Err(not_in("the device", &Json::Text(path.clone()), "devices")),
        None => Err(unknown("Devices")),
    }
}

fn one_mount(grant: &ContainersGrant, mount: &Json) -> Result<(), String> {
    let (mut kind, mut source, mut read_only) = ("", "", false);
    for (key, value) in members("Mounts", mount)? {
        match (key, value) {
            (_, Json::Null) => {}
            ("Type", Json::Text(text)) => kind = text,
            ("Source", Json::Text(text)) => source = text,
            ("ReadOnly", Json::Bool(only)) => read_only = *only,
            ("Target", Json::Text(_)) => {}
            ("TmpfsOptions", options) => {
                for (key, _) in members("TmpfsOptions", options)? {
                    if !matches!(key, "SizeBytes" | "Mode") {
                        return Err(unknown(&format!("Mounts.TmpfsOptions.{key}")));
                    }
                }
            }
            // `BindOptions` and `VolumeOptions` among them: a volume's driver can be told to mount a path of the machine.
            (key, _) => return Err(unknown(&format!("Mounts.{key}"))),
        }
    }
    match kind {
        "tmpfs" if source.is_empty() => Ok(()),
        "volume" if grant.volumes.contains(source) => Ok(()),
        "volume" => Err(not_in("the volume", &Json::Text(source.to_owned()), "volumes")),
        "bind" => {
            let enough = |access| read_only || access == Access::ReadWrite;
            if grant.binds.iter().any(|bind| bind.path == source && enough(bind.access)) {
                return Ok(());
            }
            let (path, access) = (crate::yaml_value(source), if read_only { "read" } else { "read-write" });
            Err(format!(
                "it wants {path} of the machine; to allow it, write in `containers` of its entry in `grants`: \
                 `binds: [{{ path: {path}, access: {access} }}]`"
            ))
        }
        other => Err(format!("it wants a mount of the kind `{}`", crate::printable(other, 60))),
    }
}

/// A port may be published on loopback only: who else may reach it is up to the proxy in front.
fn published(binding: &Json) -> Result<(), String> {
    let mut loopback = false;
    for (key, value) in members("PortBindings", binding)? {
        match (key, value) {
            ("HostIp", Json::Text(address)) => {
                loopback = address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            }
            ("HostPort", Json::Text(_)) => {}
            (key, _) => return Err(unknown(&format!("PortBindings.{key}"))),
        }
    }
    if loopback { Ok(()) } else { Err("it would be reachable from other machines: publish on 127.0.0.1".to_owned()) }
}

/// The members of an object.
fn members<'a>(what: &str, value: &'a Json) -> Result<impl Iterator<Item = (&'a str, &'a Json)> + use<'a>, String> {
    match value {
        Json::Map(members) => Ok(members.iter().map(|(key, value)| (key.as_str(), value))),
        _ => Err(format!("{what} is not an object")),
    }
}

fn unknown(key: &str) -> String {
    format!("`{}` of a container cannot be granted, in this form at least", crate::printable(key, 100))
}

fn not_in(what: &str, name: &Json, key: &str) -> String {
    let shown = match name {
        Json::Text(name) => crate::yaml_value(name),
        _ => "that is no text".to_owned(),
    };
    format!("it wants {what} {shown}; to allow it, write in `containers` of its entry in `grants`: `{key}: [{shown}]`")
}

/// Whether a key is among those that are let through whatever their value.
#[cfg(test)]
pub(super) fn tests_only_known(key: &str, in_host: bool) -> bool {
    if in_host { BOUNDS.contains(&key) } else { INSIDE.contains(&key) }
}
