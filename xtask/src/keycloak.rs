//! Keycloak with the realm of `keycloak/chat-realm.json`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::toolbox::KEYCLOAK;
use crate::{Result, companion, workspace};

/// How long Keycloak may take to listen. The first start compiles its configuration and creates its database.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// Starts Keycloak for `chat dev`, and returns chat's configuration for it. Port 0 is any.
///
/// # Errors
/// The port is in use, or Keycloak does not start.
pub(crate) fn begin(port: &str) -> Result<[(&'static str, String); 3]> {
    let number: u16 = port
        .parse()
        .map_err(|_| format!("--keycloak={port} is not a port"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number))
        .map_err(|error| format!("Keycloak cannot have port {port} of this machine: {error}"))?;
    let port = listener.local_addr()?.port();
    let program = KEYCLOAK.provide()?;
    let home = home("keycloak-dev", &program)?;
    let mut keycloak = Command::new(program);
    keycloak
        .arg(format!("-Dkc.home.dir={}", home.display()))
        .args(["start-dev", "--import-realm", "--http-host=127.0.0.1"])
        .arg(format!("--http-port={port}"))
        .env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin")
        .env("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin");
    drop(listener);
    eprintln!("starting Keycloak, which takes half a minute or more ...");
    companion::begin("Keycloak", &keycloak, port, START_TIMEOUT)?;
    eprintln!(
        "Keycloak: http://localhost:{port}/admin (admin/admin); alice/alice123, bob/bob123, charlie/charlie123"
    );
    Ok([
        (
            "CHAT_AUTH__OIDC__ISSUER",
            format!("http://localhost:{port}/realms/chat"),
        ),
        ("CHAT_AUTH__OIDC__CLIENT", "chat-web".to_owned()),
        ("CHAT_AUTH__OIDC__NAME", "Keycloak".to_owned()),
    ])
}

/// A home for Keycloak: its programs, our realm, and a database that lasts until either changes.
pub(crate) fn home(name: &str, program: &Path) -> Result<PathBuf> {
    let package = program.canonicalize()?;
    let package = package.parent().and_then(Path::parent).unwrap_or(&package);
    let realm = fs::read(workspace::root().join("keycloak/chat-realm.json"))?;
    let home = workspace::target(name);
    let import = home.join("data/import/chat-realm.json");
    let is_same_realm = fs::read(&import).is_ok_and(|imported| imported == realm);
    if is_same_realm && fs::read_link(home.join("lib")).is_ok_and(|lib| lib == package.join("lib"))
    {
        return Ok(home);
    }
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(home.join("data/import"))?;
    for part in ["conf", "lib", "providers", "themes"] {
        symlink(package.join(part), home.join(part))?;
    }
    fs::write(import, realm)?;
    Ok(home)
}
