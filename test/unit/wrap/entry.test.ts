import { describe, expect, test } from "vitest";
import { FlixwrapError } from "../../../src/core/errors.ts";
import { parseEntry, parsePrefix } from "../../../src/wrap/entry.ts";

describe("entries", () => {
  test.each([
    ["/usr/bin/b3sum", "/usr/bin/b3sum", "/usr/bin/b3sum"],
    ["/bin/tool:/usr/bin/tool", "/bin/tool", "/usr/bin/tool"],
    ["/opt/vendor/x", "/opt/vendor/x", "/opt/vendor/x"],
    ["/usr//share/./nginx/", "/usr/share/nginx", "/usr/share/nginx"],
    // A real folder usr/sbin would hide the host's link (systemd#42746).
    ["/usr/sbin/nginx", "/usr/sbin/nginx", "/usr/bin/nginx"],
    ["/usr/local/sbin/x", "/usr/local/sbin/x", "/usr/local/bin/x"],
    ["/usr/sbin", "/usr/sbin", "/usr/bin"],
    ["/usr/share/sbin/x", "/usr/share/sbin/x", "/usr/share/sbin/x"],
    ["/usr/share/a\\:b", "/usr/share/a:b", "/usr/share/a:b"],
  ])("%s takes %s to %s", (text, source, target) => {
    expect(parseEntry(text)).toMatchObject({ source, target });
  });

  test("a moved target is told", () => {
    expect(parseEntry("/usr/sbin/nginx").movedFrom).toBe("/usr/sbin/nginx");
    expect(parseEntry("/usr/bin/nginx").movedFrom).toBeUndefined();
  });

  test.each([
    ["/bin/tool", "wrap-target-outside", "/bin/tool:/usr/bin/tool"],
    ["/traefik", "wrap-target-outside", "write /traefik:/usr/bin/traefik"],
    ["/data", "wrap-target-outside", "/data:/usr/share/data"],
    ["/etc/nginx", "wrap-target-outside", "/etc/nginx:/usr/share/nginx"],
    ["/usr/bin/x:/etc/x", "wrap-target-outside", "/usr and /opt"],
    ["/usr/bin/../../etc/x", "wrap-target-outside", "/usr and /opt"],
    ["/usr", "wrap-target-outside", "/usr and /opt"],
    ["tool", "wrap-entry-malformed", "absolute"],
    ["/a:b", "wrap-entry-malformed", "absolute"],
    ["/a:/usr/b:/c", "wrap-entry-malformed", "absolute"],
    ["", "wrap-entry-malformed", "absolute"],
  ])("%s is refused (%s) and the message has %s", (text, code, part) => {
    const error = catchError(() => parseEntry(text));
    expect(error.code).toBe(code);
    expect(error.message).toContain(part);
  });
});

describe("prefixes", () => {
  test.each(["/usr/lib/flixwrap", "/usr/local", "/opt", "/opt/x"])("%s is fine", (text) => {
    expect(parsePrefix(text)).toBe(text);
  });
  test.each(["usr/local", "/", "/usr", "/var/lib", "/usr/../etc"])("%s is refused", (text) => {
    expect(catchError(() => parsePrefix(text)).code).toBe("wrap-target-outside");
  });
});

function catchError(action: () => unknown): FlixwrapError {
  try {
    action();
  } catch (error) {
    if (error instanceof FlixwrapError) return error;
    throw error;
  }
  throw new Error("no error was thrown");
}
