import { LogOut } from "lucide-react";
import { memo, useState } from "react";
import type { Me } from "../../model/me";
import { shownName } from "../../model/visible";
import type { ChatActions } from "../../store/view";
import { Avatar } from "../widgets/Avatar";
import { Hint } from "../widgets/Hint";
import { LogOutDialog } from "./LogOutDialog";
import { ThemeMenu } from "./ThemeMenu";

type Props = { chat: ChatActions; me: Me };

/** Who is logged in, and the log-out button. */
export const Account = memo(function Account({ chat, me }: Props) {
  const [leaving, setLeaving] = useState(0);

  const leave = () => {
    // Read on demand: a prop would render this again with each change of an unsent message.
    const { queued, failed } = chat.getSnapshot().unsent;
    if (queued + failed === 0) chat.logOut();
    else setLeaving(queued + failed);
  };

  return (
    <div className="me">
      <Avatar uid={me.uid} name={me.name} />
      <div className="who">
        <bdi>{shownName(me.name)}</bdi>
        <span className="role">{role(me)}</span>
      </div>
      <ThemeMenu />
      <Hint text="Log out">
        <button type="button" className="icon-button" aria-label="Log out" onClick={leave}>
          <LogOut size={18} aria-hidden="true" />
        </button>
      </Hint>
      {leaving > 0 && (
        <LogOutDialog
          unsent={leaving}
          onStay={() => setLeaving(0)}
          onLogOut={() => chat.logOut()}
        />
      )}
    </div>
  );
});

function role(me: Me): string {
  if (me.isAdmin) return "Admin";
  return me.mayWrite ? "Member" : "Reads only";
}
