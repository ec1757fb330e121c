import { useEffect, useState } from "react";
import type { Entry } from "../../model/message";

/** The messages that were the oldest loaded one at some time. */
export function useHeads(entries: readonly Entry[]): ReadonlySet<string> {
  const [heads] = useState(() => new Set<string>());
  const first = entries[0]?.key;
  useEffect(() => {
    if (first !== undefined) heads.add(first);
  }, [heads, first]);
  return heads;
}
