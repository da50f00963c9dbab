import { expect, test } from "vitest";
import { findProxy } from "../../../../src/oci/network/proxy.ts";

test.each([
  [{ https_proxy: "http://p:1" }, "https://a.org/", "http://p:1/"],
  [{ HTTPS_PROXY: "p:1" }, "https://a.org/", "http://p:1/"],
  [{ http_proxy: "http://p:1" }, "https://a.org/", undefined],
  [{ all_proxy: "http://p:1" }, "http://a.org/", "http://p:1/"],
  [{ https_proxy: "http://p:1", no_proxy: "b.org, .a.org" }, "https://x.a.org/", undefined],
  [{ https_proxy: "http://p:1", no_proxy: "a.org" }, "https://ba.org/", "http://p:1/"],
  [{ https_proxy: "http://p:1", NO_PROXY: "*" }, "https://a.org/", undefined],
])("%j for %s", (env, url, proxy) => expect(findProxy(new URL(url), env)?.href).toBe(proxy));

test("what cannot be used is refused, and its password is not shown", () => {
  const env = { https_proxy: "socks5://user:secret@p" };
  expect(() => findProxy(new URL("https://a.org"), env)).toThrow("not a proxy this program can use: got socks5://…@p");
});
