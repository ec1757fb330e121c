import type { Provider } from "../config";
import { NoConnection } from "../failure";
import type { Issuer } from "./tokens";

/** Loads the client of OpenID Connect, which a page with local users only never does. */
export async function loadIssuer(provider: Provider, redirect: string): Promise<Issuer> {
  if (!globalThis.isSecureContext) {
    const said = `Signing in with ${provider.name} needs a page that is served by HTTPS.`;
    throw new NoConnection("refused", said);
  }
  const { OidcIssuer } = await import("./issuer").catch(() => {
    throw new NoConnection("away", "The page's server does not answer.");
  });
  return new OidcIssuer(provider, redirect);
}
