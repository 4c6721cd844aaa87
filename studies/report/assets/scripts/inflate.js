"use strict";
// Unpacks DEFLATE (RFC 1951) out of gzip (RFC 1952) in one go. The browser's own DecompressionStream answers later, and
// a page that is about to be printed cannot wait.
{
  const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
  const LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163];
  LENGTHS.push(195, 227, 258);
  const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
  const DISTANCES = [1, 2, 3, 4];
  const DISTANCE_BITS = [0, 0, 0, 0];
  for (let bits = 1; bits < 14; bits += 1) {
    for (const half of [2, 3]) {
      DISTANCES.push((half << bits) + 1);
      DISTANCE_BITS.push(bits);
    }
  }
  const LONGEST = 15; // bits of a code
  const HEADER = 10; // bytes of gzip before the data, if it has neither name nor comment
  const FAULT = "the data are cut or changed";

  /** A table from the next 15 bits to a symbol and the length of its code: symbol * 16 + length. */
  function tableOf(lengths) {
    const counts = new Uint16Array(LONGEST + 1);
    for (const length of lengths) counts[length] += 1;
    counts[0] = 0;
    const next = new Uint16Array(LONGEST + 2);
    for (let bits = 1; bits <= LONGEST; bits += 1) next[bits + 1] = (next[bits] + counts[bits]) << 1;
    const table = new Uint16Array(1 << LONGEST);
    lengths.forEach((length, symbol) => {
      if (!length) return;
      let code = next[length]++;
      let turned = 0; // codes come with their first bit lowest
      for (let bit = 0; bit < length; bit += 1, code >>= 1) turned = (turned << 1) | (code & 1);
      for (let at = turned; at < table.length; at += 1 << length) table[at] = (symbol << 4) | length;
    });
    return table;
  }

  const repeated = (...runs) => runs.flatMap(([count, length]) => Array(count).fill(length));
  let fixed = null;
  const fixedTables = () =>
    (fixed ??= [tableOf(repeated([144, 8], [112, 9], [24, 7], [8, 8])), tableOf(repeated([30, 5]))]);

  attnflow.inflate = (packed) => {
    if (packed.length < HEADER + 8 || packed[0] !== 0x1f || packed[1] !== 0x8b || packed[3]) throw new Error(FAULT);
    const size = new DataView(packed.buffer, packed.byteOffset).getUint32(packed.length - 4, true);
    const out = new Uint8Array(size);
    let [from, to, held, count] = [HEADER, 0, 0, 0];

    function need(bits) {
      while (count < bits) {
        held |= (from < packed.length ? packed[from] : 0) << count;
        from += 1;
        count += 8;
      }
      if (from > packed.length + 2) throw new Error(FAULT);
    }
    function take(bits) {
      need(bits);
      const value = held & ((1 << bits) - 1);
      held >>>= bits;
      count -= bits;
      return value;
    }
    function symbol(table) {
      need(LONGEST);
      const found = table[held & 0x7fff];
      if (!found) throw new Error(FAULT);
      held >>>= found & 15;
      count -= found & 15;
      return found >> 4;
    }
    function dynamicTables() {
      const [literals, distances, codes] = [take(5) + 257, take(5) + 1, take(4) + 4];
      const lengths = Array(19).fill(0);
      for (let i = 0; i < codes; i += 1) lengths[ORDER[i]] = take(3);
      const table = tableOf(lengths);
      const found = [];
      while (found.length < literals + distances) {
        const code = symbol(table);
        if (code < 16) found.push(code);
        else if (code === 16) found.push(...Array(3 + take(2)).fill(found.at(-1)));
        else found.push(...Array(code === 17 ? 3 + take(3) : 11 + take(7)).fill(0));
      }
      return [tableOf(found.slice(0, literals)), tableOf(found.slice(literals))];
    }
    function stored() {
      from -= count >> 3; // whole bytes that were read ahead
      held = count = 0;
      const length = packed[from] | (packed[from + 1] << 8);
      from += 4;
      if (from + length > packed.length || to + length > size) throw new Error(FAULT);
      out.set(packed.subarray(from, from + length), to);
      from += length;
      to += length;
    }
    function coded([literals, distances]) {
      for (;;) {
        const code = symbol(literals);
        if (code < 256) {
          if (to >= size) throw new Error(FAULT);
          out[to] = code;
          to += 1;
        } else if (code === 256) return;
        else {
          const length = LENGTHS[code - 257] + take(LENGTH_BITS[code - 257]);
          const far = symbol(distances);
          const distance = DISTANCES[far] + take(DISTANCE_BITS[far]);
          if (distance > to || to + length > size) throw new Error(FAULT);
          if (distance >= length) out.copyWithin(to, to - distance, to - distance + length);
          else for (let i = 0; i < length; i += 1) out[to + i] = out[to + i - distance];
          to += length;
        }
      }
    }
    for (let last = 0; !last; ) {
      last = take(1);
      const kind = take(2);
      if (kind === 3) throw new Error(FAULT);
      if (kind === 0) stored();
      else coded(kind === 1 ? fixedTables() : dynamicTables());
    }
    if (to !== size) throw new Error(FAULT);
    return out;
  };
}
