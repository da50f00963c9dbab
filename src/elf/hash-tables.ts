import { DT } from "./constants.ts";
import { hasTable, type Draft } from "./draft.ts";
import { malformed } from "./problems.ts";
import { gnuHash, openGnuHash, openHash, sysvHash } from "./symbols.ts";

/** Hash tables after symbols got new names: same place, same number of buckets, same size. */

/** DT_GNU_HASH for the symbols' names in their new order, sorted by bucket already. */
export function rebuildGnuHash(draft: Draft, names: readonly string[]): void {
  const { file } = draft;
  const table = hasTable(draft, DT.GNU_HASH) ? openGnuHash(file) : undefined;
  if (table === undefined) return;
  const { buckets, firstSymbol, bloomWords, bloomShift, bucketsAt, chainsAt, offset } = table;
  if (buckets === 0 || bloomWords === 0) {
    throw malformed(
      file,
      offset,
      "GNU hash table header out of range",
      `${buckets} buckets, ${bloomWords} bloom words`,
    );
  }
  if (firstSymbol >= names.length) return;
  const bytes = new Uint8Array(chainsAt + (names.length - firstSymbol) * 4);
  const view = new DataView(bytes.buffer);
  const little = file.endian === "little";
  [buckets, firstSymbol, bloomWords, bloomShift].forEach((word, index) => view.setUint32(index * 4, word, little));
  const bloom = Array.from({ length: bloomWords }, () => 0n);
  const hashes = names.map(gnuHash);
  for (let symbol = firstSymbol; symbol < names.length; symbol++) {
    const hash = hashes[symbol]!;
    const word = Math.floor(hash / file.bits) % bloomWords;
    bloom[word]! |= (1n << BigInt(hash % file.bits)) | (1n << BigInt((hash >>> bloomShift) % file.bits));
    const bucket = hash % buckets;
    const bucketAt = bucketsAt + bucket * 4;
    if (view.getUint32(bucketAt, little) === 0) view.setUint32(bucketAt, symbol, little);
    const isLast = symbol + 1 === names.length || hashes[symbol + 1]! % buckets !== bucket;
    view.setUint32(chainsAt + (symbol - firstSymbol) * 4, isLast ? (hash | 1) >>> 0 : (hash & ~1) >>> 0, little);
  }
  bloom.forEach((word, index) => {
    if (file.bits === 64) view.setBigUint64(16 + index * 8, word, little);
    else view.setUint32(16 + index * 4, Number(word), little);
  });
  draft.overlay.write(offset, bytes);
}

/**
 * DT_HASH for symbols in a new order. `order` has the old index of the symbol at each new one, `names` its new name by its
 * old index. The table holds the symbols that it held before.
 */
export function rebuildHash(draft: Draft, order: readonly number[], names: readonly string[]): void {
  const { file } = draft;
  const table = hasTable(draft, DT.HASH) ? openHash(file) : undefined;
  if (table === undefined || table.buckets === 0) return;
  const { buckets, chains, width, offset } = table;
  const chained = new Set<number>();
  for (let bucket = 0; bucket < buckets; bucket++) {
    for (let symbol = table.word(2 + bucket); symbol !== 0; symbol = table.word(2 + buckets + symbol)) {
      if (symbol >= chains || chained.has(symbol)) throw malformed(file, offset, "hash table header out of range");
      chained.add(symbol);
    }
  }
  const words = new Uint32Array(2 + buckets + chains);
  words.set([buckets, chains]);
  // From the last on, so that each chain leads upwards, as linkers write it.
  for (let symbol = Math.min(order.length, chains) - 1; symbol > 0; symbol--) {
    const old = order[symbol]!;
    if (!chained.has(old)) continue;
    const bucket = 2 + (sysvHash(names[old]!) % buckets);
    words[2 + buckets + symbol] = words[bucket]!;
    words[bucket] = symbol;
  }
  const bytes = new Uint8Array(words.length * width);
  const view = new DataView(bytes.buffer);
  const little = file.endian === "little";
  words.forEach((word, index) => {
    if (width === 8) view.setBigUint64(index * 8, BigInt(word), little);
    else view.setUint32(index * 4, word, little);
  });
  draft.overlay.write(offset, bytes);
}
