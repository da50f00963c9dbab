import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  branchOf,
  compareVersions,
  isPrerelease,
  nearestVersions,
  sortVersions,
} from "../../../src/recipes/version-order.ts";

describe("compareVersions", () => {
  // Oldest first; each is older than all that follow.
  it.each([
    ["1.9.0", "1.10.0", "2.0.0-alpha.1", "2.0.0-beta.2", "2.0.0-rc.1", "2.0.0-rc.10", "2.0.0", "2.0.0-r1", "2.0.1"],
    // The reference's semver_lower took 3.0-rc1 for newer than 3.0.
    ["3.0-dev1", "3.0-rc1", "3.0", "3.0.1"],
    ["v1.31.9+k3s1", "v1.32.2+k3s1", "v1.32.2+k3s2", "v1.32.2+k3s10", "v1.32.10+k3s1"],
    ["4.8-pre1", "4.8", "4.10"],
    ["20240101", "99999999999999999999999"],
  ])("orders %j", (...ordered) => {
    expect(sortVersions([...ordered].sort())).toEqual([...ordered].reverse());
  });

  it.each([
    ["v1.2", "1.2"],
    ["1.02", "1.2"],
  ])("takes %s and %s for the same", (a, b) => expect(compareVersions(a, b)).toBe(0));

  it("is an order", () => {
    const version = fc.stringMatching(/^v?[0-9]{1,3}(\.[0-9]{1,2}){0,3}(-(rc|alpha|p)[0-9]?)?(\+k3s[0-9])?$/);
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a))).toBe(0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0)
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
    );
  });
});

it.each([
  ["v1.32.2+k3s1", "minor", "1.32"],
  ["3.21.0", "major", "3"],
  ["7", "minor", "7"],
] as const)("the %s branch of %s", (version, level, branch) => expect(branchOf(version, level)).toBe(branch));

it.each([
  ["1.0-rc1", true],
  ["1.0-beta.2", true],
  ["1.0-r0", false],
  ["1.32.2+rke2r1", false],
])("%s is a pre-release: %s", (version, expected) => expect(isPrerelease(version)).toBe(expected));

it.each([
  ["24.0.99", ["24.0.9", "24.0.8", "27.0.0"]],
  ["23.1", ["23.0.1", "27.0.0", "24.0.9"]],
])("suggests for %s", (unknown, nearest) => {
  expect(nearestVersions(unknown, ["24.0.8", "23.0.1", "27.0.0", "24.0.9", "20.10.1"])).toEqual(nearest);
});
