import { useEffect, useState } from "react";
import { dayStart } from "../message/clock";

/** A clock may be set, and a machine sleeps through its timers. */
const LOOK_MS = 30_000;

/** When today began: what is called "Today" is so until midnight. */
export function useToday(): number {
  const [today, setToday] = useState(() => dayStart(Date.now()));
  useEffect(() => {
    const look = () => setToday(dayStart(Date.now()));
    const timer = setInterval(look, LOOK_MS);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, []);
  return today;
}
