import { useEffect, useState } from "react";
import { dayStart } from "../message/clock";

/** Checked regularly: the clock may be changed, and timers stop while the machine sleeps. */
const LOOK_MS = 30_000;

/** The start of today, updated at midnight. */
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
