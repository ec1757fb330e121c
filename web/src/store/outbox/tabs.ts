/** The other tabs of this browser with the same person. */
export interface Tabs<News> {
  /** Runs the work while no other tab runs it. */
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
      // Insecure contexts have no locks. Then two tabs may send the same message; its id is the
      // same, so the log still takes it once.
      if (!navigator.locks) return work();
      let isBegun = false;
      const begin = () => {
        isBegun = true;
        return work();
      };
      try {
        await navigator.locks.request(name, begin);
      } catch (error) {
        // A page without site data gets no locks either.
        if (isBegun) throw error;
        await work();
      }
    },
    // A request in flight at logout may still be answered.
    tell: (news) => isOpen && channel?.postMessage(news),
    close: () => {
      isOpen = false;
      channel?.close();
    },
  };
}

/** Null if the browser isolates the page's tabs from each other. */
function openChannel(name: string): BroadcastChannel | null {
  try {
    return new BroadcastChannel(name);
  } catch {
    return null;
  }
}
