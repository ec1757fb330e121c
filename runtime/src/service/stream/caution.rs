//! Changes that `setup` never makes to a stream by itself, because messages would be lost or refused:
//! removing a subject, shortening a limit, lowering the replicas.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};

use crate::function::template::covers;

/// Takes such changes out of `wanted`.
pub(super) fn keep(live: &Config, wanted: &mut Config) {
    wanted.subjects = all_subjects(&live.subjects, &wanted.subjects);
    wanted.max_bytes = longer(live.max_bytes, wanted.max_bytes);
    wanted.max_messages = longer(live.max_messages, wanted.max_messages);
    wanted.max_messages_per_subject = longer(
        live.max_messages_per_subject,
        wanted.max_messages_per_subject,
    );
    wanted.max_message_size = longer(live.max_message_size, wanted.max_message_size);
    if wanted.max_age > Duration::ZERO {
        let never = live.max_age.is_zero();
        wanted.max_age = if never {
            live.max_age
        } else {
            live.max_age.max(wanted.max_age)
        };
    }
    wanted.duplicate_window = live.duplicate_window.max(wanted.duplicate_window);
    wanted.num_replicas = live.num_replicas.max(wanted.num_replicas);
    if live.retention == RetentionPolicy::Limits {
        wanted.retention = RetentionPolicy::Limits;
    }
    if live.discard == DiscardPolicy::New {
        wanted.discard = DiscardPolicy::New;
    }
}

/// The larger of two limits; 0 and less mean no limit.
fn longer<N: Ord + Default>(live: N, wanted: N) -> N {
    if live <= N::default() {
        live
    } else if wanted <= N::default() {
        wanted
    } else {
        live.max(wanted)
    }
}

/// The subjects of both, without those that another one covers.
fn all_subjects(live: &[String], wanted: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for subject in live.iter().chain(wanted) {
        if all.iter().any(|other| covers(other, subject)) {
            continue;
        }
        all.retain(|other| !covers(subject, other));
        all.push(subject.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(live: Config, wanted: Config) -> Config {
        let mut kept = wanted;
        keep(&live, &mut kept);
        kept
    }

    #[test]
    fn no_limit_becomes_shorter_and_every_limit_may_become_longer() {
        let with = |max_bytes, max_age, num_replicas| Config {
            max_bytes,
            max_age: Duration::from_secs(max_age),
            num_replicas,
            ..Config::default()
        };
        let (small, large) = (with(10, 5, 1), with(20, 9, 3));
        let none = with(-1, 0, 3);
        assert_eq!(kept(large.clone(), small.clone()), large);
        assert_eq!(kept(small.clone(), large.clone()), large);
        assert_eq!(kept(none.clone(), small.clone()), none);
        assert_eq!(kept(small, none.clone()), none);
    }

    #[test]
    fn subjects_are_added_and_none_is_removed() {
        let subjects = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let together =
            |live: &[&str], wanted: &[&str]| all_subjects(&subjects(live), &subjects(wanted));
        assert_eq!(together(&["a.*"], &["b.*"]), ["a.*", "b.*"]);
        assert_eq!(together(&["a.*", "a.b.c"], &["a.>"]), ["a.>"]);
        assert_eq!(together(&["a.>"], &["a.*"]), ["a.>"]);
    }

    #[test]
    fn a_stream_that_loses_nothing_does_not_learn_to_discard() {
        let discarding = Config {
            discard: DiscardPolicy::Old,
            retention: RetentionPolicy::Interest,
            ..Config::default()
        };
        let safe = Config {
            discard: DiscardPolicy::New,
            retention: RetentionPolicy::Limits,
            ..Config::default()
        };
        assert_eq!(kept(safe.clone(), discarding.clone()), safe);
        assert_eq!(kept(discarding, safe.clone()), safe);
    }
}
