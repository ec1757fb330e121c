//! `chat serve FUNCTION...` as a process beside a world's server and database, to be killed.

use std::process::{Output, Stdio};

use tokio::process::{Child, Command};

use crate::world::World;

/// The command with the configuration of that world and nothing else of our environment.
pub(crate) fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(CHAT);
    command.args(arguments);
    equip(world, command)
}

/// `chat serve persist` to which a limit of a file's size is an error and no signal.
pub(crate) fn persist_that_sizes_do_not_end(world: &World) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" serve persist", CHAT]);
    equip(world, command)
}

/// The program.
pub(crate) const CHAT: &str = env!("CARGO_BIN_EXE_chat");

fn equip(world: &World, mut command: Command) -> Command {
    command
        .current_dir(world.server.data())
        .env_remove("NATS_URL")
        .env_remove("NATS_CREDS")
        .env_remove("DATABASE_URL")
        .env("CHAT_NATS__URL", world.server.url())
        .env("CHAT_NATS__USER", "chat")
        .env("CHAT_NATS__PASSWORD", "chat")
        .env("CHAT_NATS__INBOX_PREFIX", "_INBOX.s.chat")
        .env("CHAT_DATABASE__URL", &world.database.url)
        .env("CHAT_PAGE__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Starts `chat serve FUNCTION...`.
pub(crate) fn serve(world: &World, functions: &[&str]) -> Child {
    command(world, &[&["serve"], functions].concat())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs a command that must end by itself.
pub(crate) async fn run(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    crate::wait::within(command.output()).await.unwrap()
}
