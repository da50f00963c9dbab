import { FlixwrapError } from "../core/errors.ts";
import { openTar } from "../extension/tar.ts";
import { runCommand } from "../host/command.ts";
import { currentUser } from "../host/user.ts";
import { type Packer, type PackOptions, hasMagic } from "./packer.ts";

/** Compressors that the kernel reads (linux/fs/squashfs/Kconfig), and the levels mksquashfs takes for them. */
const compressors: Readonly<Record<string, { readonly levels?: readonly [number, number] }>> = {
  zstd: { levels: [1, 22] },
  gzip: { levels: [1, 9] },
  xz: {},
  lz4: {},
};

/** Takes the tar stream: no root and no staging copy, yet owners, modes and capabilities are kept. */
export const squashfs: Packer = {
  kind: "file",
  suffix: ".raw",
  takes: ["compression", "level", "blockSize"],
  recognise: (head) => hasMagic(head, 0, "hsqs"),
  async pack(tree, output, options, context) {
    const epoch = options.epoch ?? 0;
    // sqfstar is this very program under another name, but 4.5.1 takes no compressor options under that name.
    const tool = "mksquashfs";
    // mksquashfs 4.5.1 with -tar: -root-time 0, -root-uid 0 and -root-gid 0 are ignored, so the root folder is the
    // caller's and from now; and it would be 0777.
    const args = ["-", output, "-tar", ...compressionArgs(options), "-root-mode", "0755", "-exit-on-error", "-quiet"];
    const nodes = [...tree.nodes.values()];
    const isAllRoot = nodes.every(({ uid, gid }) => uid === 0 && gid === 0);
    // With owners to keep, an ordinary user becomes root of a namespace: then the root folder is root's, too.
    const asRoot = isAllRoot || currentUser().isRoot ? [] : ["unshare", "--map-root-user"];
    const line = [...asRoot, tool, ...args, ...(isAllRoot ? ["-all-root"] : []), "-no-progress"];
    await runCommand(
      {
        tool: line[0]!,
        package: "squashfs-tools",
        purpose: "pack squashfs images",
        args: line.slice(1),
        env: { SOURCE_DATE_EPOCH: String(epoch) },
        stdin: openTar(tree, epoch, context.signal),
      },
      context,
    );
  },
};

function compressionArgs(options: PackOptions): string[] {
  const name = options.compression ?? "zstd";
  const row = compressors[name];
  if (row === undefined)
    throw new FlixwrapError("pack-compression", {
      what: "squashfs cannot be compressed that way",
      got: name,
      wanted: Object.keys(compressors).join(", "),
    });
  const args = ["-comp", name];
  if (options.level !== undefined) {
    const { levels } = row;
    if (levels === undefined || options.level < levels[0] || options.level > levels[1])
      throw new FlixwrapError("pack-compression", {
        what: levels === undefined ? `${name} has no levels` : `not a level of ${name}`,
        got: String(options.level),
        ...(levels === undefined ? {} : { wanted: `${levels[0]} to ${levels[1]}` }),
      });
    args.push("-Xcompression-level", String(options.level));
  }
  const { blockSize } = options;
  if (blockSize !== undefined) {
    // Documentation/filesystems/squashfs.rst: 4 KiB to 1 MiB, a power of two.
    if (blockSize < 4096 || blockSize > 1 << 20 || (blockSize & (blockSize - 1)) !== 0)
      throw new FlixwrapError("pack-block-size", {
        what: "not a block size of squashfs",
        got: String(blockSize),
        wanted: "a power of two from 4096 to 1048576",
      });
    args.push("-b", String(blockSize));
  }
  return args;
}
