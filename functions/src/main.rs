//! The program `chat`: natsfn's command line with chat's functions.

mod dev;

use natsfn::cli::App;

fn main() -> natsfn::Exit {
    App::new(chat::chat)
        .name("chat", env!("CARGO_PKG_VERSION"))
        .data_directory(".chat")
        .database()
        .dev(dev::plan)
        .run()
}
