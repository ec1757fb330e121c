//! nats.conf gives each user of chat exactly what is computed from the functions.

use std::collections::BTreeSet;

use chat::app::App;
use chat::chat_service;
use chat::config::Config;
use natsfn::Definition;
use natsfn::rights::{Right, Rights};

const NATS_CONF: &str = include_str!("../../../nats.conf");

fn chat() -> Definition {
    chat_service(App::new(Config::default())).build().unwrap()
}

/// What nats.conf lists under `subscribe` or `publish` of a user.
fn listed(user: &str, list: &str) -> Vec<String> {
    let lines = NATS_CONF.lines();
    let conf: Vec<&str> = lines
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let conf = conf.join("\n");
    let (_, of_user) = conf
        .split_once(&format!("user: {user}, "))
        .unwrap_or_else(|| panic!("nats.conf has no user {user}"));
    let (_, list) = of_user.split_once(&format!("{list}: [")).unwrap();
    let (list, _) = list.split_once(']').unwrap();
    // Every second part stands between quotes.
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn assert_lists(user: &str, rights: &Rights) {
    let set = |rights: &[Right]| -> BTreeSet<String> {
        rights.iter().map(|right| right.subject.clone()).collect()
    };
    for (list, computed) in [
        ("subscribe", set(&rights.subscribe)),
        ("publish", set(&rights.publish)),
    ] {
        let listed = listed(user, list);
        let once: BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!(
            once.len(),
            listed.len(),
            "{user}: {list} names a subject twice"
        );
        let missing: Vec<_> = computed.difference(&once).collect();
        let needless: Vec<_> = once.difference(&computed).collect();
        assert!(
            missing.is_empty() && needless.is_empty(),
            "nats.conf, {user}, {list}: missing {missing:#?}, needless {needless:#?}"
        );
    }
}

#[test]
fn nats_conf_gives_each_user_what_is_computed_and_nothing_else() {
    let users: [(&str, &[&str]); 5] = [
        ("send", &["send", "admin-send"]),
        ("history", &["history", "admin-history"]),
        ("persist", &["persist"]),
        ("page", &["page"]),
        ("chat", &[]),
    ];
    for (user, functions) in users {
        let functions: Vec<String> = functions.iter().map(|&name| name.into()).collect();
        let service = chat().only(&functions).unwrap();
        let inbox = format!("_INBOX.s.{user}");
        assert_lists(user, &Rights::of_functions(&service, &inbox));
    }
    assert_lists("setup", &Rights::of_setup(&chat(), "_INBOX.s.setup"));
    assert_lists("dead", &Rights::of_dead(&chat(), "_INBOX.s.dead"));
}
