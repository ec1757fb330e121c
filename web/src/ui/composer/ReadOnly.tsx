import { Eye } from "lucide-react";
import type { Realm } from "../../model/place";

/** In place of the text field, for people who may only read. */
export function ReadOnly({ realm }: { realm: Realm }) {
  return (
    <div className="composer column">
      <p className="read-only">
        <Eye size={18} aria-hidden="true" />
        {realm === "admin"
          ? "You may read here, but only admins may write."
          : "You may read here, but not write: your account has no role. An admin can give you one."}
      </p>
    </div>
  );
}
