/**
 * Stands in for `@nats-io/nkeys` in the built page. nats-core signs a server's challenge with it,
 * for logins by key; nobody logs in to a page so, and its cryptography is a tenth of the script.
 */
export const fromSeed = undefined;
