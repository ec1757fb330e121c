/**
 * Replaces `@nats-io/nkeys` in the built page. nats-core needs it only for logins by key, which a
 * page never uses, and its cryptography is a tenth of the script.
 */
export const fromSeed = undefined;
