import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { createChat } from "./chat";
import "./styles";
import { applyTheme } from "./theme";

applyTheme();

const chat = createChat();
chat.openAddress(location.hash);
window.addEventListener("hashchange", () => chat.openAddress(location.hash));

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App chat={chat} />
    </StrictMode>,
  );
}
