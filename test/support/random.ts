/** Numbers below a bound, the same ones for the same seed: xorshift32. */
export type Random = (below: number) => number;

export function generator(state: number): Random {
  let next = state | 1;
  return (below) => {
    next ^= next << 13;
    next ^= next >>> 17;
    next ^= next << 5;
    return (next >>> 0) % below;
  };
}
