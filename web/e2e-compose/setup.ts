import { up } from "./docker";
import { PAGE } from "./test";

/** Brings the system up as somebody does who has just cloned it. The suite takes it down. */
export default async function setup(): Promise<void> {
  const start = performance.now();
  await up();
  const page = await fetch(PAGE);
  if (!page.ok) throw new Error(`the page answers ${page.status}`);
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `from images and empty volumes to a page that people can use: ${seconds.toFixed(0)} s`,
  );
}
