//! `chat kick`: ends a person's connections.

use natsfn::RunError;
use natsfn::cli::clap;

use super::{Context, connections, end_connections, may_kick};

/// End the connections of a person now
///
/// Whoever may still log in can come back: remove a local user, or disable the account at its
/// provider, before.
#[derive(clap::Args)]
pub(crate) struct Kick {
    /// A local user's name, or o-<sub> of somebody of a provider
    uid: String,
}

pub(crate) async fn kick(arguments: Kick, context: Context) -> Result<(), RunError> {
    if !may_kick(&context)? {
        let said = "credentials.kick: is missing; it is the login of the user kick of nats.conf";
        return Err(RunError::misuse([said.to_owned()]));
    }
    let ended = end_connections(&context, &arguments.uid).await?;
    context.say(format_args!("{} ended", connections(ended)));
    Ok(())
}
