use std::collections::BTreeSet;

use super::*;
use crate::config::RuntimeConfig;
use crate::service::Service;
use crate::service::consumer::Consumer;
use crate::service::stream::Stream;

fn job() -> Job {
    let orders = Stream::new("ORDERS", ["orders.*"]);
    let till = Service::new("till", "1.0.0")
        .endpoint("shop", async || {})
        .endpoint("a-b", async || {})
        .consumer(Consumer::new("dead", orders.clone()), async || {});
    let shop = Service::new("shop", "1.0.0")
        .endpoint("setup", async || {})
        .endpoint("till-dead", async || {})
        .endpoint("a_b", async || {})
        .endpoint("A-B", async || {})
        .consumer(Consumer::new("store", orders), async || {})
        .beside(till);
    let config = RuntimeConfig::default();
    Job {
        program: Program::new(shop.build().unwrap(), &config),
        config,
        name: "shop".to_owned(),
        board: Default::default(),
    }
}

fn names(arguments: &[&str], user: Option<&str>) -> Vec<String> {
    let arguments = Arguments {
        functions: arguments.iter().map(|it| (*it).to_owned()).collect(),
        user: user.map(str::to_owned),
        json: false,
    };
    let sections = sections(job(), &arguments).unwrap();
    let users = sections.into_iter().flat_map(|section| section.users);
    users.map(|user| user.name).collect()
}

#[test]
fn no_two_users_have_one_name_or_one_password() {
    let every = names(&[], None);

    let expected = [
        "shop-setup",
        "shop-till-dead",
        "a_b",
        "shop-A-B",
        "store",
        "shop-all",
        "setup",
        "dead",
    ];
    assert_eq!(every[..8], expected);
    assert_eq!(
        every[8..],
        [
            "shop",
            "till-a-b",
            "dead-2",
            "till",
            "till-setup",
            "till-dead"
        ]
    );
    let passwords: BTreeSet<String> = every.iter().map(|name| variable(name)).collect();
    assert_eq!(passwords.len(), every.len());
}

#[test]
fn user_has_the_same_name_where_only_some_functions_are_asked_for() {
    assert_eq!(names(&["setup"], None), ["shop-setup"]);
    assert_eq!(
        names(&["setup", "A-B", "dead"], None),
        ["shop-all", "dead-2"]
    );
    assert_eq!(names(&["store"], Some("setup")), ["setup"]);
    assert_eq!(names(&["store", "dead"], Some("all")), ["all", "till-all"]);
}
