import { useEffect, useState } from "react";

/** The remaining seconds; hidden from screen readers, which would announce each of them. */
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
