import { CircleAlert, LogIn } from "lucide-react";
import { type FormEvent, type ReactNode, useEffect, useRef } from "react";
import type { ChatActions, LoginFailure, LoginWays, SessionView } from "../store/view";

type Props = {
  chat: ChatActions;
  session: Extract<SessionView, { state: "logged-out" | "logging-in" }>;
  ways: LoginWays;
};

/** The ways to log in, and why the last attempt failed. */
export function Login({ chat, session, ways }: Props) {
  const isBusy = session.state === "logging-in";
  const way = isBusy ? session.way : null;
  const failure = session.state === "logged-out" ? session.failure : null;

  useEffect(() => {
    document.title = "Log in · Chat";
  }, []);

  return (
    <main className="login">
      <div className="login-card">
        <header>
          <img src="/icon.svg" alt="" width="44" height="44" />
          <h1>Log in to Chat</h1>
          <p>Rooms where no message is lost.</p>
        </header>
        {failure && <Problem kind={failure.kind}>{failure.said}</Problem>}
        {isBusy && session.problem !== null && (
          <Problem kind="tries-again">
            {session.problem}{" "}
            <button type="button" className="link-button" onClick={() => chat.logOut()}>
              Cancel
            </button>
          </Problem>
        )}
        {!ways.local && !ways.provider && (
          <Problem kind="misconfigured">
            Nobody can log in here: the page's server is configured with neither local users
            (auth.users) nor a sign-in service (auth.oidc).
          </Problem>
        )}
        {ways.local && (
          <PasswordForm chat={chat} isBusy={isBusy} isWaiting={way === "local"} failure={failure} />
        )}
        {ways.local && ways.provider && <p className="login-or">or</p>}
        {ways.provider && (
          <button
            type="button"
            className="button"
            data-kind={ways.local ? undefined : "primary"}
            disabled={isBusy}
            onClick={() => chat.logInAtProvider()}
          >
            {way === "provider" ? <Spinner /> : <LogIn size={18} aria-hidden="true" />}
            <span>
              Sign in with <bdi>{ways.provider}</bdi>
            </span>
          </button>
        )}
      </div>
    </main>
  );
}

type FormProps = {
  chat: ChatActions;
  isBusy: boolean;
  isWaiting: boolean;
  failure: LoginFailure | null;
};

/** For local users. */
function PasswordForm({ chat, isBusy, isWaiting, failure }: FormProps) {
  const name = useRef<HTMLInputElement>(null);
  const password = useRef<HTMLInputElement>(null);

  useEffect(() => name.current?.focus(), []);

  useEffect(() => {
    if (failure?.kind === "wrong-password") password.current?.select();
  }, [failure]);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!isBusy) chat.logIn(name.current?.value.trim() ?? "", password.current?.value ?? "");
  };

  return (
    <form className="login-form" onSubmit={submit}>
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
        {isWaiting && <Spinner />}
        Log in
      </button>
    </form>
  );
}

function Problem({ kind, children }: { kind: string; children: ReactNode }) {
  return (
    <div className="problem" role="alert" data-kind={kind}>
      <CircleAlert size={18} aria-hidden="true" />
      <p>{children}</p>
    </div>
  );
}

function Spinner() {
  return <span className="spinner" aria-hidden="true" />;
}
