import { FlixwrapError } from "../core/errors.ts";

/** `--mirror FROM=TO`. */
export interface Mirror {
  readonly from: string;
  readonly to: string;
}

/** `FROM=TO`, FROM an address prefix or `*`. */
export function parseMirror(text: string): Mirror {
  const at = text.indexOf("=", text.startsWith("*") ? 0 : text.indexOf("://") + 3);
  const [from, to] = [text.slice(0, at), text.slice(at + 1)];
  if (at > 0 && (from === "*" || /^https?:\/\/./.test(from)) && /^https?:\/\/./.test(to)) return { from, to };
  throw new FlixwrapError("usage", {
    what: "cannot read the mirror",
    got: text,
    wanted: "FROM=TO, two addresses, or *=TO",
  });
}

/** Where an address is really fetched from: the longest matching prefix replaced; `*` gives TO/HOST/PATH. */
export function mirrorAddress(address: string, mirrors: readonly Mirror[]): string {
  const [best] = mirrors.filter((one) => address.startsWith(one.from)).sort((a, b) => b.from.length - a.from.length);
  if (best !== undefined) return best.to + address.slice(best.from.length);
  const any = mirrors.find((one) => one.from === "*");
  return any === undefined ? address : `${any.to.replace(/\/$/, "")}/${address.replace(/^https?:\/\//, "")}`;
}
