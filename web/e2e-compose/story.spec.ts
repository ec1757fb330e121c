import { compose, sql } from "./docker";
import { expect, test } from "./test";

const JAEGER = "http://localhost:16686";

interface Span {
  readonly spanID: string;
  readonly operationName: string;
  readonly references: readonly { readonly spanID: string }[];
}

test("people sign in at Keycloak, write in two rooms, and find everything again", async ({
  signIn,
}) => {
  const alice = await signIn("alice", "first");
  const bob = await signIn("bob", "first");
  await alice.write("hello bob");
  await expect(bob.message("hello bob")).toBeVisible();
  await bob.write("hello alice");
  await expect(alice.message("hello alice")).toBeVisible();

  await alice.open("second");
  await alice.write("elsewhere");
  await alice.sees(["elsewhere"]);

  await alice.page.reload();
  await expect(alice.message("elsewhere")).toHaveAttribute("data-state", "sent");
  await alice.open("first");
  await alice.sees(["hello bob", "hello alice"]);
  await bob.open("second");
  await bob.sees(["elsewhere"]);

  const rooms = "select room, count(*) from messages where room in ('first', 'second') group by 1";
  await expect.poll(() => sql(`${rooms} order by 1`)).toBe("first|2\nsecond|1");
});

test("a message is one trace, from the page to the INSERT", async ({ signIn }) => {
  const alice = await signIn("alice", "traced");
  const exported = alice.page.waitForRequest(
    (request) => /v1\/traces$/.test(request.url()) && /send_message/.test(request.postData() ?? ""),
  );
  await alice.write("traced");
  const spans = JSON.parse((await exported).postData() ?? "{}")
    .resourceSpans.flatMap(({ scopeSpans }: { scopeSpans: { spans: unknown[] }[] }) => scopeSpans)
    .flatMap(({ spans }: { spans: unknown[] }) => spans) as { name: string; traceId: string }[];
  const id = spans.find(({ name }) => name === "send_message")?.traceId;

  const trace = async () => {
    const answer = await fetch(`${JAEGER}/api/traces/${id}`);
    const { data } = (await answer.json()) as { data: { spans: Span[] }[] | null };
    return data?.[0]?.spans ?? [];
  };
  await expect
    .poll(async () => wayTo("INSERT messages", await trace()))
    .toEqual([
      "send_message",
      "send chat.send.{room}",
      "process chat.send.{room}",
      "publish chat.{room}",
      "process_batch chat.{room}",
      "INSERT messages",
    ]);
});

test("the nats command line shows what runs, and chat's shows the dead letters", async () => {
  const services = await compose("run", "--rm", "--no-TTY", "cli", "micro", "ls");
  // An id for each of `send`, `persist`, `history` and `page`; `auth` is in an account of its own.
  expect(services.match(/ \w{22} /g)).toHaveLength(4);
  const stats = await compose("run", "--rm", "--no-TTY", "cli", "micro", "stats", "chat");
  for (const name of ["send", "admin-send", "history", "admin-history", "persist"]) {
    expect(stats).toContain(name);
  }
  expect(await compose("run", "--rm", "--no-TTY", "operator", "dead", "list")).toBe("");
});

/** The names of the spans from the root to the one of this name. */
function wayTo(name: string, spans: readonly Span[]): string[] {
  const way: string[] = [];
  let span = spans.find(({ operationName }) => operationName === name);
  while (span) {
    way.unshift(span.operationName);
    const parent = span.references[0]?.spanID;
    span = spans.find(({ spanID }) => spanID === parent);
  }
  return way;
}
