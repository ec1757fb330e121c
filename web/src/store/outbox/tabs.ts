/** The other tabs of this browser in which the same person chats. */
export interface Tabs<News> {
  /** Does the work while no other tab does such work. */
  exclusively(work: () => Promise<void>): Promise<void>;
  tell(news: News): void;
  close(): void;
}

/** Web Locks and a BroadcastChannel, both under one name. */
export function browserTabs<News>(name: string, heard: (news: News) => void): Tabs<News> {
  const channel = openChannel(name);
  let isOpen = true;
  if (channel) channel.onmessage = ({ data }: MessageEvent<News>) => heard(data);
  return {
    async exclusively(work) {
      // A page that was not loaded securely has no locks. Two tabs may send the same message then;
      // its id is the same, so the log still takes it once.
      if (!navigator.locks) return work();
      let isBegun = false;
      const begin = () => {
        isBegun = true;
        return work();
      };
      try {
        await navigator.locks.request(name, begin);
      } catch (error) {
        // Where the page may keep nothing it gets no locks either.
        if (isBegun) throw error;
        await work();
      }
    },
    // What was in flight when somebody logged out may still be answered.
    tell: (news) => isOpen && channel?.postMessage(news),
    close: () => {
      isOpen = false;
      channel?.close();
    },
  };
}

/** None in a browser that lets the page have no part in others: then each tab is alone. */
function openChannel(name: string): BroadcastChannel | null {
  try {
    return new BroadcastChannel(name);
  } catch {
    return null;
  }
}
