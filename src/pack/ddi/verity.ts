import { createHash } from "node:crypto";

/** Data and hash blocks; what systemd-repart and veritysetup use. */
export const BLOCK = 4096;
const DIGEST = 32;
const PER_BLOCK = BLOCK / DIGEST;

/** A hash tree over data, and the hash that stands for all of it. */
export interface HashTree {
  /** Superblock and levels: the content of a verity partition. */
  readonly bytes: Uint8Array;
  /** 32 bytes. */
  readonly rootHash: Uint8Array;
}

/** Takes the data block by block; {@link HashTree} comes at the end. */
export interface HashTreeBuilder {
  /** Any number of bytes; blocks are cut here. */
  update(bytes: Uint8Array): void;
  /** The data's length must be a multiple of {@link BLOCK}. */
  finish(): HashTree;
}

/**
 * Builds a dm-verity tree (linux Documentation/admin-guide/device-mapper/verity.rst, hash type 1, sha256; superblock
 * of cryptsetup's "DMVerity on-disk format"). Only one digest per block is held in memory.
 */
export function openHashTree(salt: Uint8Array, uuid: Uint8Array): HashTreeBuilder {
  const digest = (block: Uint8Array): Uint8Array => createHash("sha256").update(salt).update(block).digest();
  const digests: Uint8Array[] = [];
  let rest: Uint8Array = new Uint8Array(0);
  return {
    update(bytes) {
      const all = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
      const whole = all.length - (all.length % BLOCK);
      for (let at = 0; at < whole; at += BLOCK) digests.push(digest(all.subarray(at, at + BLOCK)));
      rest = all.subarray(whole);
    },
    finish() {
      if (rest.length > 0 || digests.length === 0) throw new RangeError("verity data must be whole blocks");
      const levels: Buffer[] = [];
      let below: readonly Uint8Array[] = digests;
      while (below.length > 1) {
        const level = Buffer.alloc(Math.ceil(below.length / PER_BLOCK) * BLOCK);
        below.forEach((hash, at) => level.set(hash, at * DIGEST));
        // The level nearest to the root comes first.
        levels.unshift(level);
        below = Array.from({ length: level.length / BLOCK }, (_, at) =>
          digest(level.subarray(at * BLOCK, (at + 1) * BLOCK)),
        );
      }
      const head = superblock(digests.length, salt, uuid);
      return { bytes: Buffer.concat([head, ...levels]), rootHash: below[0]! };
    },
  };
}

function superblock(blocks: number, salt: Uint8Array, uuid: Uint8Array): Buffer {
  const head = Buffer.alloc(BLOCK);
  head.write("verity\0\0", 0, "latin1");
  head.writeUInt32LE(1, 8);
  head.writeUInt32LE(1, 12);
  head.set(uuid.subarray(0, 16), 16);
  head.write("sha256", 32, "latin1");
  head.writeUInt32LE(BLOCK, 64);
  head.writeUInt32LE(BLOCK, 68);
  head.writeBigUInt64LE(BigInt(blocks), 72);
  head.writeUInt16LE(salt.length, 80);
  head.set(salt, 88);
  return head;
}
