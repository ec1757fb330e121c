/** The whole page: the log-in, or the rooms. */
export function App() {
  return <h1>Chat</h1>;
}
