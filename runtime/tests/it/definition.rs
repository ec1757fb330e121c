//! What a service may be: every mistake is refused at build, before anything starts.

use std::time::Duration;

use async_nats::jetstream::stream::{PersistenceMode, Source};
use natsfn::{Batch, Consumer, Endpoint, Path, RateLimit, Service, Stream};

async fn nothing() {}
async fn path(_: Path<String>) {}
async fn batch(_: Batch<String>) {}

const GOOD_NAMES: [&str; 4] = ["a", "A-z_09", "-", "_"];
const BAD_NAMES: [&str; 9] = ["", "a.b", "a b", "a*", ">", "é", "a\n", "a/b", "$a"];

/// The mistakes in a definition.
fn mistakes<S: Clone + Send + Sync + 'static>(service: Service<S>) -> Vec<String> {
    match service.build() {
        Ok(_) => Vec::new(),
        Err(error) => {
            assert_eq!(error.exit_code(), 2);
            error.lines().to_vec()
        }
    }
}

#[test]
fn a_service_name_is_of_letters_digits_underscores_and_dashes() {
    for name in GOOD_NAMES {
        assert!(mistakes(Service::new(name, "1.0.0")).is_empty(), "{name:?}");
    }
    for name in BAD_NAMES {
        let mistakes = mistakes(Service::new(name, "1.0.0"));
        assert!(mistakes[0].contains(&format!("{name:?}")), "{mistakes:?}");
    }
}

#[test]
fn a_version_is_a_full_semver() {
    for version in ["1.0.0", "0.0.0", "1.2.3-rc.1", "1.2.3+build.5", "1.2.3-a+b"] {
        assert!(
            mistakes(Service::new("a", version)).is_empty(),
            "{version:?}"
        );
    }
    for version in [
        "", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0.0", "1.0.x", " 1.0.0",
    ] {
        let mistakes = mistakes(Service::new("a", version));
        assert!(
            mistakes[0].contains(&format!("{version:?}")),
            "{mistakes:?}"
        );
    }
}

#[test]
fn an_endpoint_name_is_of_letters_digits_underscores_and_dashes() {
    let service =
        |name: &str| Service::new("a", "1.0.0").endpoint(Endpoint::new(name, "s"), nothing);
    for name in GOOD_NAMES {
        assert!(mistakes(service(name)).is_empty(), "{name:?}");
    }
    for name in BAD_NAMES {
        let mistakes = mistakes(service(name));
        assert!(mistakes[0].contains(&format!("{name:?}")), "{mistakes:?}");
    }
}

#[test]
fn a_subject_has_no_space_and_no_empty_token() {
    let service =
        |subject: &str| Service::new("a", "1.0.0").endpoint(Endpoint::new("e", subject), nothing);
    for subject in ["a", "a.b", "a.*", "*.a", "a.>", ">", "a.{b}", "$a"] {
        assert!(mistakes(service(subject)).is_empty(), "{subject:?}");
    }
    for subject in [
        "", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nb", "a.>.b", "a{b}", "{}",
    ] {
        let mistakes = mistakes(service(subject));
        assert!(
            mistakes[0].contains(&format!("{subject:?}")),
            "{mistakes:?}"
        );
    }
}

#[test]
fn a_queue_group_is_not_empty_and_has_no_space() {
    for group in ["", "a b", "a\n"] {
        let of_service = Service::new("a", "1.0.0").queue_group(group);
        assert_eq!(mistakes(of_service).len(), 1, "{group:?}");
        let endpoint = Endpoint::new("e", "s").queue_group(group);
        let of_endpoint = Service::new("a", "1.0.0").endpoint(endpoint, nothing);
        assert_eq!(mistakes(of_endpoint).len(), 1, "{group:?}");
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let service = Service::new("a b", "1.0")
        .endpoint(Endpoint::new("c d", "e"), nothing)
        .endpoint(Endpoint::new("f", "g..h"), nothing)
        .endpoint(Endpoint::new("i", "no.name"), path)
        .consumer(
            Consumer::new("j", Stream::new("K L", ["m"])).max_batch(0),
            batch,
        );
    let mistakes = mistakes(service);
    for part in ["a b", "1.0", "c d", "g..h", "no.name", "K L", "max_batch"] {
        assert!(
            mistakes.iter().any(|line| line.contains(part)),
            "{part:?} in {mistakes:#?}"
        );
    }
}

#[test]
fn a_stream_of_ones_own_may_not_capture_a_function() {
    let service = Service::new("a", "1.0.0")
        .stream(Stream::new("ALL", ["shop.>"]))
        .endpoint(Endpoint::new("price", "shop.price.{sku}"), nothing);
    let mistakes = mistakes(service);
    assert!(
        mistakes[0].contains("ALL") && mistakes[0].contains("PubAck"),
        "{mistakes:?}"
    );
}

#[test]
fn two_stream_functions_may_not_share_a_consumer() {
    let consumer = || Consumer::new("store", Stream::new("S", ["s"]));
    let service = Service::new("a", "1.0.0")
        .consumer(consumer(), batch)
        .consumer(consumer(), batch);
    assert_eq!(mistakes(service).len(), 1, "it is told once");

    let service = Service::new("a", "1.0.0")
        .consumer(consumer(), batch)
        .consumer(
            Consumer::new("bill", Stream::new("S", ["s"])).durable("a-store"),
            batch,
        );
    let mistakes = mistakes(service);
    assert!(
        mistakes.len() == 1 && mistakes[0].contains("a-store") && mistakes[0].contains("bill"),
        "{mistakes:?}"
    );
}

#[test]
fn an_endpoint_and_a_stream_function_may_not_share_a_name() {
    let service = Service::new("a", "1.0.0")
        .endpoint(Endpoint::new("store", "s.store"), nothing)
        .consumer(Consumer::new("store", Stream::new("S", ["s"])), batch);
    let mistakes = mistakes(service);
    assert!(
        mistakes.len() == 1 && mistakes[0].contains("an endpoint and a stream function"),
        "{mistakes:?}"
    );
}

#[test]
fn a_durable_name_is_one_that_the_server_takes() {
    for name in ["", "a.b", "a b", "a*", ">", "a/b", "a\\b"] {
        let consumer = Consumer::new("store", Stream::new("S", ["s"])).durable(name);
        let mistakes = mistakes(Service::new("a", "1.0.0").consumer(consumer, batch));
        assert!(mistakes[0].contains(&format!("{name:?}")), "{mistakes:?}");
    }
}

#[test]
fn a_batch_does_not_go_with_an_extractor_of_single_messages() {
    async fn both(_: Batch<String>, _: natsfn::Subject) {}
    let stream = Stream::new("S", ["s"]);
    let service = Service::new("a", "1.0.0").consumer(Consumer::new("store", stream), both);
    assert!(mistakes(service)[0].contains("only one of them"));
}

#[test]
fn only_functions_that_exist_can_be_named() {
    let service = || {
        Service::new("a", "1.0.0")
            .endpoint("b", nothing)
            .endpoint("c", nothing)
    };
    let served = service().build().unwrap().only(&["c".into()]).unwrap();
    assert_eq!(served.function_names().collect::<Vec<_>>(), ["c"]);
    let error = service()
        .build()
        .unwrap()
        .only(&["x".into()])
        .err()
        .unwrap();
    assert!(error.lines()[0].contains("b, c"), "{error}");
}

#[test]
fn a_path_takes_as_many_values_as_the_subject_has_names() {
    async fn two(_: Path<(String, u8)>) {}
    let endpoint =
        |subject: &str| Service::new("a", "1.0.0").endpoint(Endpoint::new("e", subject), two);
    let consumer = |consumer| Service::new("a", "1.0.0").consumer(consumer, two);
    let stream = || Stream::new("S", ["s.{a}.{b}"]);
    assert!(mistakes(endpoint("s.{a}.{b}")).is_empty());
    assert!(mistakes(consumer(Consumer::new("c", stream()))).is_empty());
    for wrong in [
        mistakes(endpoint("s.{a}")),
        mistakes(endpoint("s.{a}.{b}.{c}")),
        mistakes(consumer(Consumer::new("c", stream()).filter(["s.{a}.x"]))),
        mistakes(consumer(Consumer::new("c", Stream::new("S", ["s.>"])))),
        mistakes(consumer(Consumer::new(
            "c",
            Stream::new("S", ["s.{a}.{b}", "t.{a}"]),
        ))),
    ] {
        assert!(
            wrong.len() == 1 && wrong[0].contains("takes 2 values"),
            "{wrong:?}"
        );
    }
    let nameless = mistakes(consumer(Consumer::new("c", Stream::existing("S"))));
    assert!(nameless[0].contains(".template("), "{nameless:?}");
}

#[test]
fn a_filter_that_no_subject_of_the_stream_fits_is_a_mistake() {
    let filtered = |stream: Stream, filter: &str| {
        let consumer = Consumer::new("c", stream).filter([filter]);
        mistakes(Service::new("a", "1.0.0").consumer(consumer, batch))
    };
    let stream = || Stream::new("S", ["orders.{id}", "bills.>"]);
    for right in [
        "orders.*",
        "orders.{id}",
        "*.7",
        ">",
        "bills.eu.{id}",
        "bills.>",
    ] {
        assert!(filtered(stream(), right).is_empty(), "{right}");
    }
    for wrong in ["order.*", "orders", "orders.{id}.paid", "bills"] {
        let mistakes = filtered(stream(), wrong);
        assert!(mistakes[0].contains("orders.{id}, bills.>"), "{mistakes:?}");
    }
    // What these hold somebody else decides.
    assert!(filtered(Stream::existing("S"), "order.*").is_empty());
    let sourced = stream().configure(|config| config.sources = Some(Vec::new()));
    assert!(filtered(sourced, "order.*").is_empty());
}

#[test]
fn a_stream_is_described_in_one_way() {
    let two = |one, other| {
        Service::new("a", "1.0.0")
            .stream(other)
            .consumer(Consumer::new("c", one), batch)
    };
    let stream = |subject: &str| Stream::new("S", [subject]);
    assert!(mistakes(two(stream("s.{a}"), stream("s.*"))).is_empty());
    for other in [
        stream("t"),
        stream("s.{a}").max_bytes(1),
        Stream::existing("S"),
    ] {
        let mistakes = mistakes(two(stream("s.{a}"), other));
        assert!(mistakes[0].contains("described twice"), "{mistakes:?}");
    }
}

#[test]
fn nothing_in_flight_at_all_is_a_mistake_for_endpoints_too() {
    let endpoint = Endpoint::new("e", "s").max_in_flight(0);
    let mistakes = mistakes(Service::new("a", "1.0.0").endpoint(endpoint, nothing));
    assert!(mistakes[0].contains("max_in_flight"), "{mistakes:?}");
}

#[test]
fn appends_are_gathered_only_where_a_refused_batch_is_stored_once_and_its_headers_reach_no_stream()
{
    let of = |streams: Vec<Stream>| {
        let service = Service::new("a", "1.0.0");
        mistakes(streams.into_iter().fold(service, Service::stream))
    };
    let log = || Stream::new("LOG", ["log.{x}"]).atomic_appends();
    let other = |subject: &str| Stream::new("OTHER", [subject]);
    let seconds = Duration::from_secs;
    assert!(of(vec![log().duplicate_window(seconds(5))]).is_empty());
    let bad = [
        log().duplicate_window(seconds(4)),
        log()
            .may_discard()
            .configure(|it| it.persist_mode = Some(PersistenceMode::Async)),
        log().configure(|it| it.mirror = Some(Source::default())),
    ];
    for stream in bad {
        let mistakes = of(vec![stream]);
        assert!(
            mistakes.iter().any(|it| it.contains("atomic_appends")),
            "{mistakes:?}"
        );
    }

    let live = |to: &str| log().republish(">", to);
    for (to, subject) in [
        ("live.>", "live.log.*"),
        ("live.{{wildcard(1)}}", "live.a.b"),
        ("$1.live", "b.live"),
    ] {
        let mistakes = of(vec![live(to), other(subject)]);
        assert!(
            mistakes.iter().any(|it| it.contains("OTHER")),
            "{to} {subject}: {mistakes:?}"
        );
    }
    assert!(of(vec![live("live.>"), other("other.>")]).is_empty());
    let plain = Stream::new("LOG", ["log.{x}"]).republish(">", "live.>");
    assert!(of(vec![plain, other("live.>")]).is_empty());

    let existing = || Stream::existing("X").template("x.{y}");
    let mistakes = of(vec![existing(), existing().atomic_appends()]);
    assert!(mistakes[0].contains("described twice"), "{mistakes:?}");
}

#[test]
fn numbers_and_times_with_which_nothing_would_run_are_mistakes() {
    let endpoint =
        |endpoint: Endpoint| mistakes(Service::new("a", "1.0.0").endpoint(endpoint, nothing));
    let of_batches = || Consumer::new("c", Stream::new("S", ["s"]));
    let consumer = |consumer| mistakes(Service::new("a", "1.0.0").consumer(consumer, batch));
    let single = |consumer| mistakes(Service::new("a", "1.0.0").consumer(consumer, nothing));
    let limit =
        |per_second| endpoint(Endpoint::new("e", "e").rate_limit(RateLimit::new(per_second, 1)));
    let (zero, longest) = (Duration::ZERO, Duration::MAX);
    for (wrong, what) in [
        (endpoint(Endpoint::new("e", "e").deadline(zero)), "deadline"),
        (consumer(of_batches().deadline(zero)), "deadline"),
        (consumer(of_batches().ack_wait(zero)), "ack_wait"),
        (consumer(of_batches().ack_wait(longest)), "ack_wait"),
        (consumer(of_batches().max_batch(usize::MAX)), "max_batch"),
        (
            consumer(of_batches().max_batch(1000).max_in_flight(1000)),
            "max_in_flight",
        ),
        (
            single(of_batches().max_in_flight(usize::MAX)),
            "max_in_flight",
        ),
        (limit(0.0), "RateLimit::new(0, ..)"),
        (limit(f64::NAN), "RateLimit::new(NaN, ..)"),
    ] {
        assert!(
            wrong.len() == 1 && wrong[0].contains(what),
            "{what}: {wrong:?}"
        );
    }
    let all = of_batches()
        .deadline(longest)
        .instances(usize::MAX)
        .max_batch(1000)
        .max_in_flight(99);
    assert!(consumer(all).is_empty());
    assert!(endpoint(Endpoint::new("e", "e").deadline(longest)).is_empty());
    assert!(limit(f64::INFINITY).is_empty());
}
