// @vitest-environment happy-dom
import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import { Marks } from "./Marks";

afterEach(cleanup);

test("a gap after a failure says that messages may be missing, without a Retry", () => {
  render(<Marks marks={[{ kind: "gap", state: "failed" }]} />);
  expect(screen.getByText("Messages may be missing here.")).toBeTruthy();
  expect(screen.queryByRole("button")).toBeNull();
});
