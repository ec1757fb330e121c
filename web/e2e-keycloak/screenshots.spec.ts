import { shoot } from "../e2e/shoot";
import { test } from "./test";

// `SCREENSHOTS=1 npm run e2e:keycloak -- screenshots` renews the picture in docs/; other runs skip this file.

test("the log-in with a provider", async ({ visit }) => {
  const view = { viewport: { width: 1280, height: 800 }, colorScheme: "light" } as const;
  const { page } = await visit("bob", "", view);
  await shoot(page, "docs/sign-in.webp");
});
