/** A busy room may never be still. */
const MOST_FRAMES = 20;

/** Calls `done` once heights and position are unchanged for two frames: rows are measured late. */
export function whenStill(box: Element, done: () => void): () => void {
  let before = "";
  let same = 0;
  let frames = 0;
  const look = () => {
    const now = `${box.scrollTop} ${box.scrollHeight} ${box.clientHeight}`;
    same = now === before ? same + 1 : 0;
    before = now;
    frames += 1;
    if (same < 2 && frames < MOST_FRAMES) request = requestAnimationFrame(look);
    else done();
  };
  let request = requestAnimationFrame(look);
  return () => cancelAnimationFrame(request);
}
