import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { interrupted } from "../core/errors.ts";
import { openTar } from "../extension/tar.ts";
import { type Packer, hasMagic } from "./packer.ts";

/** The tree as it goes to mksquashfs: for other tools, and for `importctl import-tar`. */
export const tar: Packer = {
  kind: "file",
  suffix: ".tar",
  takes: [],
  recognise: (head) => hasMagic(head, 257, "ustar"),
  async pack(tree, output, options, context) {
    const { signal } = context;
    try {
      await pipeline(openTar(tree, options.epoch ?? 0, signal), createWriteStream(output, { flags: "wx" }), { signal });
    } catch (error) {
      throw signal.aborted ? interrupted(error) : error;
    }
  },
};
