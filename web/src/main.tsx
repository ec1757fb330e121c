import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { createChat } from "./store/chat";
import { App } from "./ui/App";
import "./ui/styles";
import { applyTheme } from "./store/storage/theme";

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
