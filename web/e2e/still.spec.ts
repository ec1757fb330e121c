import { expect, test } from "./test";

test("a message that arrives at once never says on its way that it waits", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  await alice.write("first");
  await alice.sees(["first"]);

  // On a busy machine some messages take longer and may show it: find one that did not.
  let heights: number[] = [];
  for (let turn = 1; heights.length === 0; turn += 1) {
    const seen = alice.page.evaluate(watchQuick, `message ${turn}`);
    await alice.write(`message ${turn}`);
    heights = await seen;
  }
  expect(heights).toHaveLength(1);
});

/** The heights of a message until shortly after it is sent; none if sending took long. */
async function watchQuick(text: string): Promise<number[]> {
  const heights = new Set<number>();
  const frame = () => new Promise<number>((done) => requestAnimationFrame(done));
  const find = () =>
    [...document.querySelectorAll("article")].find(
      (article) => article.querySelector(".text")?.textContent === text,
    );
  while (!find()) await frame();
  const start = performance.now();
  while (find()?.dataset["state"] !== "sent") {
    heights.add(find()?.getBoundingClientRect().height ?? 0);
    await frame();
  }
  const isQuick = performance.now() - start < 300;
  heights.add(find()?.getBoundingClientRect().height ?? 0);
  return isQuick && heights.size > 0 ? [...heights] : [];
}
