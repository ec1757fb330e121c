import { Hash, Lock } from "lucide-react";
import type { Realm } from "../../model/place";

/** The sign before a room's name: `#` for chat rooms, a lock for admin rooms. */
export function Sign({ realm, size = 16 }: { realm: Realm; size?: number }) {
  const Icon = realm === "admin" ? Lock : Hash;
  return <Icon size={size} aria-hidden="true" />;
}
