//! The program `chat`: natsfn's command line with chat's functions.

mod commands;
mod dev;

use natsfn::cli::App;

use commands::{keys, kick, user};

fn main() -> natsfn::Exit {
    App::new(chat::chat)
        .name("chat", env!("CARGO_PKG_VERSION"))
        .data_directory(".chat")
        .database()
        .dev(dev::plan)
        .command("user", user::user)
        .command("keys", keys::keys)
        .command("kick", kick::kick)
        .run()
}
