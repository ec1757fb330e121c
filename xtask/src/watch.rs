//! Vite beside `chat dev`: serves the page from its sources and shows each change at once.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use crate::Result;
use crate::node::Node;

/// Starts Vite, which waits for the addresses that `chat dev` with these arguments writes. Vite ends with this
/// process, which will become `chat dev`.
pub(crate) fn begin(node: &Node, arguments: &[OsString]) -> Result<()> {
    let addresses = std::path::absolute(data(arguments).join("dev.json"))?;
    let mut vite = node.package("vite/bin/vite.js");
    // Ctrl-C reaches chat only. Vite ends with the thread that starts it: the main thread, which becomes chat.
    vite.process_group(0)
        .env("CHAT_DEV", addresses)
        .spawn()
        .map_err(|error| format!("setpriv does not run (Debian: util-linux): {error}"))?;
    Ok(())
}

/// The data directory that the arguments name, as `chat dev` reads them.
fn data(arguments: &[OsString]) -> PathBuf {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        if text == "--data"
            && let Some(directory) = rest.next()
        {
            return directory.into();
        }
        if let Some(directory) = text.strip_prefix("--data=") {
            return directory.into();
        }
    }
    ".chat".into()
}

#[cfg(test)]
mod tests {
    use super::data;

    #[test]
    fn data_directory_is_the_one_that_chat_takes() {
        for (arguments, expected) in [
            (&[][..], ".chat"),
            (&["--port", "0", "--data", "x"], "x"),
            (&["--data=y/z"], "y/z"),
        ] {
            let arguments: Vec<_> = arguments.iter().map(Into::into).collect();
            assert_eq!(data(&arguments).to_str(), Some(expected));
        }
    }
}
