//! `chat keys`: fresh keys for a deployment.

mod deployment;

use std::path::PathBuf;

use natsfn::RunError;
use natsfn::auth_callout::AuthKeys;
use natsfn::cli::clap;

use super::Context;

/// Make the keys by which nats-server and `auth` know each other, or all secrets of a deployment
#[derive(clap::Args)]
pub(crate) struct Keys {
    /// Write every secret here, in a folder for each service; those that are here stay as they are
    directory: Option<PathBuf>,
    /// The database's address; {password} stands for the password
    #[arg(
        long,
        value_name = "URL",
        requires = "directory",
        default_value = "postgres://chat:{password}@postgres:5432/chat"
    )]
    database: String,
}

pub(crate) async fn keys(arguments: Keys, context: Context) -> Result<(), RunError> {
    if let Some(directory) = arguments.directory {
        return deployment::write(&directory, &arguments.database).map_err(|error| {
            let doing = format!("the secrets in {} cannot be kept", directory.display());
            RunError::while_doing(doing, error)
        });
    }
    let new = AuthKeys::generate();
    context.say("# The environment of nats-server; these two are public:");
    context.say(format_args!("NATS_CONF_AUTH_ISSUER={}", new.issuer));
    context.say(format_args!("NATS_CONF_AUTH_XKEY={}", new.xkey));
    context.say("");
    context.say("# The environment of `chat serve auth` alone; whoever has these lets in anybody:");
    context.say(format_args!(
        "CHAT_AUTH__ISSUER={}",
        new.issuer_seed.expose()
    ));
    context.say(format_args!("CHAT_AUTH__XKEY={}", new.xkey_seed.expose()));
    Ok(())
}
