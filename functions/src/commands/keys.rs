//! `chat keys`: fresh keys for a deployment.

use natsfn::RunError;
use natsfn::auth_callout::AuthKeys;
use natsfn::cli::clap;

use super::Context;

/// Make the keys by which nats-server and `auth` know each other
#[derive(clap::Args)]
pub(crate) struct Keys {}

pub(crate) async fn keys(_: Keys, context: Context) -> Result<(), RunError> {
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
