//! What `dev` prints once it runs.

use super::Plan;
use super::files::Files;
use super::listener::Listener;
use crate::cli::say;
use crate::config::RuntimeConfig;
use crate::config::address::without_password;
use crate::server::Server;

/// Says what runs, where it is, and what to paste.
pub(super) fn announce(
    words: &str,
    config: &RuntimeConfig,
    server: &Server,
    plan: &Plan,
    files: &Files,
) {
    say(words);
    let found = server.addresses();
    let listener = plan.listener.as_ref();
    let lines = [
        (
            listener.map_or("", |listener| &listener.task),
            listener.map(Listener::url),
        ),
        ("NATS", Some(found.nats.clone())),
        ("WebSocket", found.websocket.clone()),
        ("monitoring", found.monitor.clone()),
        ("database", config.database_url().map(without_password)),
        ("log of NATS", Some(server.log().display().to_string())),
        ("addresses", Some(files.addresses().display().to_string())),
        (
            "configuration",
            Some(files.configuration().display().to_string()),
        ),
    ];
    for (what, value) in lines {
        if let Some(value) = value {
            say(format_args!("  {what:<14}{value}"));
        }
    }
    say("To try it:");
    for command in plan.commands(&found.nats) {
        say(format_args!("  {command}"));
    }
    for note in &plan.notes {
        say(note);
    }
    say("Ctrl-C stops it.");
}
