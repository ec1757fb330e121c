import { Hash, Lock } from "lucide-react";
import type { Realm } from "../../model/place";

/** `#` for everybody's rooms, a lock for the admins'. */
export function Sign({ realm, size = 16 }: { realm: Realm; size?: number }) {
  const Icon = realm === "admin" ? Lock : Hash;
  return <Icon size={size} aria-hidden="true" />;
}
