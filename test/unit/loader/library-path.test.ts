import { expect, it } from "vitest";
import { libraryPathOf } from "../../../src/loader/library-path.ts";

it.each([
  [[], []],
  [
    ["PATH=/bin", "LD_LIBRARY_PATH=/a:/b"],
    ["/a", "/b"],
  ],
  [["LD_LIBRARY_PATH=/a;/b::rel:."], ["/a", "/b"]],
  [["LD_LIBRARY_PATH=/a", "LD_LIBRARY_PATH="], []],
])("LD_LIBRARY_PATH among %j", (environment, folders) => {
  expect(libraryPathOf(environment)).toEqual(folders);
});
