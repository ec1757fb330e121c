import { useEffect, useState } from "react";

/** How long it still waits; hidden from screen readers, which would read out each second. */
export function Countdown({ until }: { until: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.ceil((until - now) / 1000);
  if (seconds <= 0) return null;
  return (
    <span className="countdown" aria-hidden="true">
      {" "}
      Next try in {seconds} s.
    </span>
  );
}
