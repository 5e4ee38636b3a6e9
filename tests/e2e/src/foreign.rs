//! MCP servers that other people wrote, installed once into `<target>/foreign`.
//!
//! Where they cannot be installed (no Python, no npm, no network) the reason is told past the test harness, which keeps
//! what passing tests print to itself.

use crate::program;
use std::fs::{File, create_dir_all, remove_dir_all, write};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The port comes from the environment, as it does for every instance.
const LEGACY_SERVER: &str = r#"
import os
from mcp.server.fastmcp import FastMCP

server = FastMCP("foreign", host="127.0.0.1", port=int(os.environ["PORT"]))

@server.tool()
def shout(text: str) -> str:
    """Says it louder."""
    return text.upper()

server.run(transport="streamable-http")
"#;

const MODERN_SERVER: &str = r#"
import os
from mcp.server.mcpserver import MCPServer

server = MCPServer("foreign")

@server.tool()
def shout(text: str) -> str:
    """Says it louder."""
    return text.upper()

server.run(transport="streamable-http", host="127.0.0.1", port=int(os.environ["PORT"]))
"#;

/// Prints the names of a server's tools, and what a call of one came to: `client.py URL TOOL ARGUMENTS`.
const CLIENT: &str = r#"
import asyncio, json, sys
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

async def main(url, tool, arguments):
    async with streamablehttp_client(url) as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            tools = await session.list_tools()
            result = await session.call_tool(tool, json.loads(arguments))
            print(json.dumps({
                "tools": [t.name for t in tools.tools],
                "failed": bool(result.isError),
                "text": "".join(getattr(c, "text", "") for c in result.content),
            }))

asyncio.run(main(*sys.argv[1:]))
"#;

/// The server listens on all interfaces and has no option for it.
const LOOPBACK: &str = r#"
const net = require("net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  if (typeof args[0] === "object" && args[0] !== null) args[0] = { ...args[0], host: "127.0.0.1" };
  else if (typeof args[1] === "string") args[1] = "127.0.0.1";
  else args.splice(1, 0, "127.0.0.1");
  return listen.apply(this, args);
};
"#;

/// The folder of one installation, made once; none, and the reason told, when that is not possible.
fn installed(name: &str, install: impl Fn(&Path) -> Result<(), String>) -> Option<PathBuf> {
    let target = program("basb-host").ancestors().nth(2).unwrap().to_owned();
    let folder = target.join("foreign").join(name);
    create_dir_all(folder.parent().unwrap()).unwrap();
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let mark = folder.join("installed");
    if mark.exists() {
        return Some(folder);
    }
    let _ = remove_dir_all(&folder);
    create_dir_all(&folder).unwrap();
    match install(&folder) {
        Ok(()) => {
            write(mark, "").unwrap();
            Some(folder)
        }
        Err(why) => {
            let line = format!("\n### SKIPPED: {name} cannot be installed, so it is not tested: {why}\n\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            None
        }
    }
}

fn execute(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let out = command.output().map_err(|e| format!("{shown}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let last: Vec<&str> = text.lines().rev().take(3).collect();
    Err(format!("{shown}: {}: {}", out.status, last.into_iter().rev().collect::<Vec<_>>().join(" | ")))
}

fn python_sdk(name: &str, version: &str, server: &'static str) -> Option<PathBuf> {
    installed(name, |folder| {
        let venv = folder.join("venv");
        execute(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let pip = ["install", "--quiet", "--disable-pip-version-check", version];
        execute(Command::new(venv.join("bin/pip")).args(pip))?;
        write(folder.join("server.py"), server).unwrap();
        write(folder.join("client.py"), CLIENT).unwrap();
        Ok(())
    })
}

/// A server's command, as it stands in a deployment file.
pub type ServerCommand = Vec<String>;

fn python_command(folder: &Path) -> ServerCommand {
    [folder.join("venv/bin/python"), folder.join("server.py")].map(|p| p.to_str().unwrap().to_owned()).to_vec()
}

/// A server on version 1 of the official Python SDK: the protocol with a handshake and sessions.
#[must_use]
pub fn python_legacy() -> Option<ServerCommand> {
    python_sdk("python-sdk-1", "mcp>=1.30,<2", LEGACY_SERVER).map(|folder| python_command(&folder))
}

/// A server on version 2 of the official Python SDK.
#[must_use]
pub fn python_modern() -> Option<ServerCommand> {
    python_sdk("python-sdk-2", "mcp>=2.3,<3", MODERN_SERVER).map(|folder| python_command(&folder))
}

/// The reference server that has a bit of everything, on the official TypeScript SDK.
#[must_use]
pub fn everything() -> Option<ServerCommand> {
    let folder = installed("server-everything", |folder| {
        let npm = ["install", "--no-audit", "--no-fund", "--silent", "--prefix"];
        let package = "@modelcontextprotocol/server-everything@2026.8.31";
        execute(Command::new("npm").args(npm).arg(folder).arg(package))?;
        write(folder.join("loopback.cjs"), LOOPBACK).unwrap();
        Ok(())
    })?;
    let path = |p: &str| folder.join(p).to_str().unwrap().to_owned();
    let main = path("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    Some(vec!["node".to_owned(), "-r".to_owned(), path("loopback.cjs"), main, "streamableHttp".to_owned()])
}

/// What the official Python client sees of a server, and of a call of one of its tools.
///
/// # Panics
/// When the client fails.
#[must_use]
pub fn client(url: &str, tool: &str, arguments: &str) -> Option<serde_json::Value> {
    let folder = python_sdk("python-sdk-1", "mcp>=1.30,<2", LEGACY_SERVER)?;
    let mut command = Command::new(folder.join("venv/bin/python"));
    let out = command.arg(folder.join("client.py")).args([url, tool, arguments]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(serde_json::from_slice(&out.stdout).unwrap())
}
