/** The uid that chat gives a person of a provider; `sub` is the provider's own id of them. */
export async function uidOf(sub: string): Promise<string> {
  if (/^[A-Za-z0-9_][A-Za-z0-9_-]{0,59}$/.test(sub)) return `o-${sub}`;
  // The second `-` tells a hash: nobody's id may look like the hash of another's.
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(sub));
  const text = btoa(String.fromCharCode(...new Uint8Array(hash)));
  return `o--${text.replaceAll("+", "-").replaceAll("/", "_").replace("=", "")}`;
}
