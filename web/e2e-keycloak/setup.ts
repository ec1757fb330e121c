import { Keycloak } from "./keycloak";

/** Starts the Keycloak that all tests share which do not stop it. Its tokens live a minute. */
export default async function setup(): Promise<() => Promise<void>> {
  const keycloak = await Keycloak.start();
  await keycloak.setTokenLife(60);
  process.env["KEYCLOAK_SHARED"] = keycloak.realm;
  return () => keycloak.stop();
}
