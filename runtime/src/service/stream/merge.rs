//! What `setup` wants an existing stream to be.

use async_nats::jetstream::stream::{Config, DiscardPolicy};

use super::{DEAD_LETTERS, DUPLICATE_WINDOW, Stream};

impl Stream {
    /// What this definition speaks of is taken from it, what it is silent on stays as an operator
    /// set it, unless that would lose messages. A bucket or an object store that names no limit has none.
    pub(super) fn merge(&self, mut live: Config, limit: Option<i32>) -> Config {
        let want = &self.config;
        let names_all = self.store.is_some();
        live.subjects.clone_from(&want.subjects);
        // Limits that made dead letters go away by themselves are no limits that somebody needs.
        if self.name() == DEAD_LETTERS && live.discard == DiscardPolicy::Old {
            live.max_bytes = want.max_bytes;
            live.max_messages = want.max_messages;
        }
        live.retention = want.retention;
        live.discard = want.discard;
        if want.max_bytes > 0 || names_all {
            live.max_bytes = want.max_bytes;
        }
        if want.max_messages > 0 || names_all {
            live.max_messages = want.max_messages;
        }
        if !self.may_discard || want.max_messages_per_subject > 0 || names_all {
            live.max_messages_per_subject = want.max_messages_per_subject;
        }
        if !self.may_discard || !want.max_age.is_zero() || names_all {
            live.max_age = want.max_age;
        }
        if !self.may_discard || want.allow_rollup {
            live.allow_rollup = want.allow_rollup;
        }
        if !self.may_discard || want.no_ack {
            live.no_ack = want.no_ack;
        }
        if want.max_message_size != 0 {
            live.max_message_size = want.max_message_size;
        } else if names_all {
            live.max_message_size = -1;
        }
        if let Some(limit) = limit
            && (live.max_message_size <= 0 || live.max_message_size > limit)
        {
            live.max_message_size = limit;
        }
        if want.duplicate_window != DUPLICATE_WINDOW {
            live.duplicate_window = want.duplicate_window;
        } else if self.store.is_none() {
            live.duplicate_window = live.duplicate_window.max(DUPLICATE_WINDOW);
        }
        if want.republish.is_some() {
            live.republish.clone_from(&want.republish);
        }
        live.allow_direct |= want.allow_direct;
        live.allow_atomic_publish |= want.allow_atomic_publish;
        live.deny_delete |= want.deny_delete;
        if want.num_replicas > 0 {
            live.num_replicas = want.num_replicas;
        }
        live
    }

    /// What a bucket or an object store is to be, before anything of the one that is there is taken over: only what
    /// has no effect on what it holds is.
    pub(super) fn whole(&self, live: &Config) -> Config {
        let mut whole = self.config.clone();
        if whole.max_message_size == 0 {
            whole.max_message_size = -1;
        }
        if whole.num_replicas == 0 {
            whole.num_replicas = live.num_replicas;
        }
        if whole.duplicate_window == DUPLICATE_WINDOW {
            whole.duplicate_window = live.duplicate_window;
        }
        whole.description.clone_from(&live.description);
        whole.metadata.clone_from(&live.metadata);
        whole.placement = whole.placement.or_else(|| live.placement.clone());
        whole.compression = whole.compression.or_else(|| live.compression.clone());
        let limits = live.consumer_limits.clone();
        whole.consumer_limits = whole.consumer_limits.or(limits);
        whole.persist_mode = whole.persist_mode.or(live.persist_mode);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_limit_stays_only_where_a_dead_letter_can_hold_its_messages() {
        let stream = Stream::new("S", ["a"]);
        let limit = stream.message_limit(1 << 20);
        assert_eq!(limit, Some((1 << 20) - 8192));
        let merged = |live: i32| {
            let live = Config {
                max_message_size: live,
                ..Config::default()
            };
            stream.merge(live, limit).max_message_size
        };
        for unset_or_larger in [-1, 0, 1 << 20] {
            assert_eq!(merged(unset_or_larger), (1 << 20) - 8192);
        }
        assert_eq!(merged(1000), 1000);
        assert_eq!(stream.message_limit(8192), Some(4096));
        assert_eq!(Stream::dead_letters().message_limit(1 << 20), None);
        assert_eq!(stream.max_message_size(7).message_limit(1 << 20), None);
    }
}
