import { CircleAlert } from "lucide-react";
import { type FormEvent, useEffect, useRef } from "react";
import type { ChatActions, LoginFailure, SessionView } from "../store/view";

type Props = {
  chat: ChatActions;
  session: Extract<SessionView, { state: "logged-out" | "logging-in" }>;
};

/** The log-in form, and why the last attempt failed. */
export function Login({ chat, session }: Props) {
  const name = useRef<HTMLInputElement>(null);
  const password = useRef<HTMLInputElement>(null);
  const isBusy = session.state === "logging-in";
  const failure = session.state === "logged-out" ? session.failure : null;

  useEffect(() => {
    document.title = "Log in · Chat";
    name.current?.focus();
  }, []);

  useEffect(() => {
    if (failure?.kind === "wrong-password") password.current?.select();
  }, [failure]);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!isBusy) chat.logIn(name.current?.value.trim() ?? "", password.current?.value ?? "");
  };

  return (
    <main className="login">
      <form className="login-card" onSubmit={submit}>
        <header>
          <img src="/icon.svg" alt="" width="44" height="44" />
          <h1>Log in to Chat</h1>
          <p>Rooms where no message is lost.</p>
        </header>
        {failure && <Problem failure={failure} />}
        <div className="field">
          <label htmlFor="user">User name</label>
          <input
            id="user"
            ref={name}
            autoComplete="username"
            autoCapitalize="none"
            spellCheck={false}
            required
          />
        </div>
        <div className="field">
          <label htmlFor="password">Password</label>
          <input
            id="password"
            ref={password}
            type="password"
            autoComplete="current-password"
            required
          />
        </div>
        <button type="submit" className="button" data-kind="primary" disabled={isBusy}>
          {isBusy && <span className="spinner" aria-hidden="true" />}
          Log in
        </button>
      </form>
    </main>
  );
}

function Problem({ failure }: { failure: LoginFailure }) {
  return (
    <div className="problem" role="alert" data-kind={failure.kind}>
      <CircleAlert size={18} aria-hidden="true" />
      <p>{failure.said}</p>
    </div>
  );
}
