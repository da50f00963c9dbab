/**
 * Expands one LZ4 block (lz4_Block_format.md of the lz4 project): sequences of a token, literals, and a match
 * that copies from what was already written.
 * @throws RangeError for input that leaves its bounds.
 */
export function expandLz4(block: Uint8Array, limit: number): Uint8Array {
  return expand(block, limit, false);
}

/** As {@link expandLz4}, but stops as soon as there are `limit` bytes: erofs cuts blocks and pads their input. */
export function expandLz4Start(block: Uint8Array, limit: number): Uint8Array {
  return expand(block, limit, true);
}

function expand(block: Uint8Array, limit: number, isPart: boolean): Uint8Array {
  const out = new Uint8Array(limit);
  let [from, to] = [0, 0];
  const readLength = (start: number): number => {
    let length = start;
    if (start !== 15) return length;
    for (let byte = 255; byte === 255;) {
      if (from >= block.length) throw new RangeError("lz4: length beyond the end");
      byte = block[from++]!;
      length += byte;
    }
    return length;
  };
  while (from < block.length) {
    const token = block[from++]!;
    const wanted = readLength(token >> 4);
    const literals = isPart ? Math.min(wanted, limit - to) : wanted;
    if (from + literals > block.length || to + literals > limit) throw new RangeError("lz4: literals beyond the end");
    out.set(block.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    // The last sequence has no match.
    if (from === block.length || (isPart && to === limit)) break;
    if (from + 2 > block.length) throw new RangeError("lz4: offset beyond the end");
    const offset = block[from]! | (block[from + 1]! << 8);
    from += 2;
    const whole = readLength(token & 15) + 4;
    const length = isPart ? Math.min(whole, limit - to) : whole;
    if (offset === 0 || offset > to || to + length > limit) throw new RangeError("lz4: match out of bounds");
    // Byte by byte: a match may overlap what it writes.
    for (const end = to + length; to < end; to++) out[to] = out[to - offset]!;
    if (isPart && to === limit) break;
  }
  return out.subarray(0, to);
}
