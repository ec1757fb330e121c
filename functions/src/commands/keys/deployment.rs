//! The secrets of a deployment: made once, and written for each service as it reads them.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use natsfn::auth_callout::AuthKeys;
use natsfn::config::Secret;

use crate::dev::{OPERATORS, SERVICES};

/// All of them, by name. The other files are made from this one, so that they fit together even
/// after a crash halfway, and a new version adds what it needs.
const SECRETS: &str = "secrets.json";

/// The names of secrets that are no login's.
const ISSUER: &str = "auth.issuer";
const XKEY: &str = "auth.xkey";
const DATABASE: &str = "database";
const KEYCLOAK: &str = "keycloak";

/// Functions and commands that have a configuration file of their own, and whether they use the
/// database.
const CONFIGURED: [(&str, bool); 6] = [
    ("send", false),
    ("history", true),
    ("persist", true),
    ("page", false),
    ("auth", false),
    ("setup", true),
];

/// Logins of the commands that an operator runs.
const COMMANDS: [&str; 6] = [
    "setup",
    "dead",
    "kick",
    "operator",
    "auth-operator",
    "backend",
];

type Secrets = BTreeMap<String, String>;

/// Writes a folder for each service: who sees only its own folder knows only its own secrets.
pub(super) fn write(directory: &Path, database: &str) -> io::Result<()> {
    let secrets = open(directory)?;
    let database = database.replace("{password}", &secrets[DATABASE]);
    let database = format!("database.url = {database:?}\n");

    share(directory, "nats/nats.env", &nats(&secrets)?)?;
    share(directory, "postgres/password", &secrets[DATABASE])?;
    share(directory, "keycloak/password", &secrets[KEYCLOAK])?;
    for (name, uses_database) in CONFIGURED {
        let mut file = login("nats", name, &secrets);
        if uses_database {
            file += &database;
        }
        if name == "auth" {
            for key in [ISSUER, XKEY] {
                file += &format!("{key} = {:?}\n", secrets[key]);
            }
        }
        share(directory, &format!("{name}/chat.toml"), &file)?;
    }
    let commands = COMMANDS.map(|name| login(&format!("credentials.{name}"), name, &secrets));
    share(
        directory,
        "operator/chat.toml",
        &(commands.concat() + &database),
    )?;
    let password = &secrets["operator"];
    let cli = format!("export NATS_USER='operator' NATS_PASSWORD='{password}'\n");
    share(directory, "operator/nats.env", &cli)
}

/// The secrets that are kept in this directory, with those that were missing.
fn open(directory: &Path) -> io::Result<Secrets> {
    // Its files can be read by anybody who gets into it.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let file = directory.join(SECRETS);
    let mut secrets: Secrets = match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Secrets::new(),
        Err(error) => return Err(error),
    };
    if !secrets.contains_key(ISSUER) {
        let new = AuthKeys::generate();
        secrets.insert(ISSUER.to_owned(), new.issuer_seed.expose().to_owned());
        secrets.insert(XKEY.to_owned(), new.xkey_seed.expose().to_owned());
    }
    for name in SERVICES
        .into_iter()
        .chain(OPERATORS)
        .chain([DATABASE, KEYCLOAK])
    {
        if !secrets.contains_key(name) {
            secrets.insert(name.to_owned(), Secret::random()?.expose().to_owned());
        }
    }
    replace(&file, &serde_json::to_string_pretty(&secrets)?, 0o600)?;
    Ok(secrets)
}

/// What a shell that starts nats-server reads.
fn nats(secrets: &Secrets) -> io::Result<String> {
    let seed = |name: &str| secrets[name].as_str().into();
    let keys = AuthKeys::from_seeds(&seed(ISSUER), &seed(XKEY)).map_err(io::Error::other)?;
    let mut text = format!(
        "export NATS_CONF_AUTH_ISSUER='{}' NATS_CONF_AUTH_XKEY='{}'\n",
        keys.issuer(),
        keys.xkey()
    );
    for user in SERVICES.into_iter().chain(OPERATORS) {
        let name = user.to_uppercase().replace('-', "_");
        text += &format!("export NATS_CONF_PASSWORD_{name}='{}'\n", secrets[user]);
    }
    Ok(text)
}

/// The lines of a configuration file with a login.
fn login(section: &str, user: &str, secrets: &Secrets) -> String {
    let kind = if OPERATORS.contains(&user) { 'o' } else { 's' };
    let password = &secrets[user];
    format!(
        "{section}.user = {user:?}\n{section}.password = {password:?}\n\
         {section}.inbox_prefix = \"_INBOX.{kind}.{user}\"\n"
    )
}

/// Writes a file that a service of any user can read. Which services can is decided by who gets its
/// folder.
fn share(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let file = directory.join(name);
    if let Some(folder) = file.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
    }
    replace(&file, text, 0o444)
}

/// Replaces a file as a whole.
fn replace(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = file.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut options = OpenOptions::new();
    let mut opened = options.write(true).create_new(true).mode(mode).open(&new)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()?;
    fs::rename(&new, file)
}
