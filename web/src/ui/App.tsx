import { Provider as Hints } from "@radix-ui/react-tooltip";
import type { ChatActions } from "../store/view";
import { Login } from "./Login";
import { Shell } from "./Shell";
import { useView } from "./useView";

/** The whole page: the login form, or the rooms. */
export function App({ chat }: { chat: ChatActions }) {
  const view = useView(chat);
  switch (view.session.state) {
    case "starting":
      return null;
    case "logged-in":
      return (
        <Hints delayDuration={400}>
          <Shell chat={chat} view={view} me={view.session.me} />
        </Hints>
      );
    default:
      return <Login chat={chat} session={view.session} ways={view.ways} />;
  }
}
