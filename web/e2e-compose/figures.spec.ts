import { setTimeout } from "node:timers/promises";
import { docker } from "./docker";
import { Load } from "./load";
import { test } from "./test";

const SAMPLES = 5;

test("memory and processor of each service, idle and at 200 messages a second", async ({
  signIn,
}) => {
  const { token } = await signIn("alice");
  const idle = await sample();
  const load = await Load.start(token, 200);
  await setTimeout(5_000);
  const busy = await sample();
  const proved = await load.prove();
  const lines = [...idle].map(([name, [memory, cpu]]) => {
    const [more, most] = busy.get(name) ?? [];
    return `${name.padEnd(24)} ${memory?.padStart(10)} ${cpu}  ${more?.padStart(10)} ${most}`;
  });
  console.log(`idle, and while ${proved}\n${lines.toSorted().join("\n")}`);
});

/** Memory and the part of a processor of each container, on average. */
async function sample(): Promise<Map<string, [string, string]>> {
  const sums = new Map<string, [string, number]>();
  for (let n = 0; n < SAMPLES; n += 1) {
    const format = "{{.Name}}\t{{.MemUsage}}\t{{.CPUPerc}}";
    const lines = await docker("stats", "--no-stream", "--format", format);
    for (const line of lines.split("\n")) {
      const [name = "", memory = "", cpu = ""] = line.split("\t");
      const [, sum] = sums.get(name) ?? ["", 0];
      sums.set(name, [memory.split(" ")[0] ?? "", sum + Number.parseFloat(cpu)]);
    }
  }
  return new Map(
    [...sums].map(([name, [memory, sum]]) => [name, [memory, `${(sum / SAMPLES).toFixed(1)} %`]]),
  );
}
