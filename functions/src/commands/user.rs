//! `chat user`: who the local users are.

use std::path::PathBuf;

use chat::auth::password;
use chat::auth::person::is_local_name;
use chat::auth::users::file::{self, NAME_RULE, RoleName, Table};
use natsfn::RunError;
use natsfn::cli::clap;

use super::{Context, connections, end_connections, may_kick, new_password};
use crate::dev::{OPERATORS, SERVICES};

/// Add, list, change and remove local users
///
/// A change counts at the next login. Where credentials.kick are configured, remove, passwd and roles
/// also end the user's connections.
#[derive(clap::Args)]
pub(crate) struct User {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Add a user
    Add {
        /// The name to log in with
        name: String,
        /// The name that others see
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// user may write, admin may also read and write in admin rooms; without a role: only read
        #[arg(long = "role", value_name = "ROLE", value_parser = role)]
        roles: Vec<RoleName>,
        /// Read the password from stdin
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove a user
    Remove {
        /// The user
        name: String,
    },
    /// List the users
    List,
    /// Change a user's password
    Passwd {
        /// The user
        name: String,
        /// Read the password from stdin
        #[arg(long)]
        password_stdin: bool,
    },
    /// Change what a user may do
    Roles {
        /// The user
        name: String,
        /// The new roles, admin or user; none: only read
        #[arg(value_name = "ROLE", value_parser = role)]
        roles: Vec<RoleName>,
    },
}

fn role(text: &str) -> Result<RoleName, String> {
    match text {
        "user" => Ok(RoleName::User),
        "admin" => Ok(RoleName::Admin),
        _ => Err("a role is user or admin".to_owned()),
    }
}

pub(crate) async fn user(arguments: User, context: Context) -> Result<(), RunError> {
    match arguments.action {
        Action::Add {
            name,
            display_name,
            roles,
            password_stdin,
        } => {
            let path = path(&context)?;
            check_name(&name)?;
            let password = hashed(password_stdin)?;
            change(path, |table| {
                if table.contains_key(&name) {
                    return Err(format!("there is a user {name} already"));
                }
                let user = file::User {
                    name: display_name,
                    roles,
                    password,
                    since: None,
                };
                table.insert(name.clone(), user);
                Ok(())
            })?;
            context.say(format_args!("{name} is added"));
            Ok(())
        }
        Action::Remove { name } => {
            change(path(&context)?, |table| {
                table.remove(&name).ok_or_else(|| unknown(&name))
            })?;
            ended(&context, &name, "is removed").await
        }
        Action::List => {
            let table = file::read(&path(&context)?).map_err(RunError::new)?;
            for (name, user) in table {
                let roles: Vec<&str> = user.roles.iter().map(|role| spelled(*role)).collect();
                let shown = user.name.unwrap_or_default();
                let line = format!("{name:<32} {:<12} {shown}", roles.join(","));
                context.say(line.trim_end());
            }
            Ok(())
        }
        Action::Passwd {
            name,
            password_stdin,
        } => {
            let path = path(&context)?;
            let table = file::read(&path).map_err(RunError::new)?;
            if !table.contains_key(&name) {
                return Err(RunError::new(unknown(&name)));
            }
            let password = hashed(password_stdin)?;
            change(path, |table| {
                table.get_mut(&name).ok_or_else(|| unknown(&name))?.password = password;
                Ok(())
            })?;
            ended(&context, &name, "has a new password").await
        }
        Action::Roles { name, roles } => {
            change(path(&context)?, |table| {
                table.get_mut(&name).ok_or_else(|| unknown(&name))?.roles = roles;
                Ok(())
            })?;
            ended(&context, &name, "has new roles").await
        }
    }
}

/// What was done is said, and the connections that knew it otherwise end.
async fn ended(context: &Context, name: &str, done: &str) -> Result<(), RunError> {
    if !may_kick(context)? {
        context.say(format_args!(
            "{name} {done}; open connections go on as they are, since there are no credentials.kick"
        ));
        return Ok(());
    }
    let ended = end_connections(context, name).await.map_err(|error| {
        RunError::while_doing(
            format!("{name} {done}, but open connections may go on as they are"),
            error,
        )
    })?;
    context.say(format_args!("{name} {done}; {} ended", connections(ended)));
    Ok(())
}

fn path(context: &Context) -> Result<PathBuf, RunError> {
    let users = context.config()?.own.auth.users.clone();
    users.ok_or_else(|| {
        let said = "auth.users: is missing; it names the file of users, such as users.json \
            (a key of the file, or variable CHAT_AUTH__USERS)";
        RunError::misuse([said.to_owned()])
    })
}

fn change<T>(
    path: PathBuf,
    change: impl FnOnce(&mut Table) -> Result<T, String>,
) -> Result<T, RunError> {
    file::change(&path, change).map_err(RunError::new)
}

fn check_name(name: &str) -> Result<(), RunError> {
    if !is_local_name(name) {
        let said = format!("{name:?} is no user name; {NAME_RULE}");
        return Err(RunError::misuse([said]));
    }
    if SERVICES.contains(&name) || OPERATORS.contains(&name) {
        let said = format!("{name} is a login of nats.conf, so no person can be called so");
        return Err(RunError::misuse([said]));
    }
    Ok(())
}

fn hashed(password_stdin: bool) -> Result<String, RunError> {
    password::hash(&new_password(password_stdin)?).map_err(RunError::new)
}

fn unknown(name: &str) -> String {
    format!("there is no user {name}; `chat user list` lists them")
}

fn spelled(role: RoleName) -> &'static str {
    match role {
        RoleName::User => "user",
        RoleName::Admin => "admin",
    }
}
