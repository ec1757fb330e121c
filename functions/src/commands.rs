//! chat's own commands: `chat user`, `chat keys`, `chat kick`.

pub(crate) mod keys;
pub(crate) mod kick;
pub(crate) mod user;

use std::io::{BufRead, stdin};

use chat::auth::kick::kick as end_all;
use chat::config::Config;
use natsfn::RunError;
use natsfn::cli::CommandContext;
use natsfn::config::Secret;

/// What a command gets.
pub(crate) type Context = CommandContext<Config>;

/// The credentials of whoever may end connections.
const KICK: &str = "kick";

fn may_kick(context: &Context) -> Result<bool, RunError> {
    let credentials = &context.config()?.runtime.credentials;
    Ok(credentials.contains_key(KICK))
}

/// Ends the connections of a person; returns how many there were.
async fn end_connections(context: &Context, uid: &str) -> Result<usize, RunError> {
    let nats = context.connect(KICK).await?;
    end_all(&nats, uid).await
}

fn connections(n: usize) -> String {
    match n {
        1 => "1 connection".to_owned(),
        n => format!("{n} connections"),
    }
}

/// The fewest characters of a new password.
const LEAST: usize = 8;

/// The most: the whole login must fit into one line of NATS.
const MOST: usize = 1_000;

/// Takes a new password from a line of stdin, or asks for it twice and shows nothing.
fn new_password(from_stdin: bool) -> Result<Secret, RunError> {
    let password = if from_stdin {
        let mut line = String::new();
        stdin().lock().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        let ask = |prompt: &str| {
            rpassword::prompt_password(prompt).map_err(|error| {
                let said = "cannot ask for a password; --password-stdin reads it from stdin";
                RunError::while_doing(said, error)
            })
        };
        let password = ask("New password: ")?;
        if ask("The same again: ")? != password {
            return Err(RunError::new("these are two different passwords"));
        }
        password
    };
    if !(LEAST..=MOST).contains(&password.chars().count()) {
        return Err(RunError::new(format!(
            "a password has {LEAST} to {MOST} characters"
        )));
    }
    Ok(password.into())
}
