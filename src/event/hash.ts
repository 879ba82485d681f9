/**
 * The hash of a key's bytes: FNV-1a with the finish of MurmurHash3, 32 bits.
 *
 * Every bit of the result depends on every byte, so that `% partitions` is even. It is no defence against someone who
 * chooses keys to collide. The result is part of what is stored: routing must not change between versions, so neither
 * may this function.
 */

/** Hash of `bytes[start..end)`. For a key of several parts give the hash so far as `seed`. */
export function hashBytes(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  let hash = seed ^ 0x811c9dc5
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

const nothing = new Uint8Array(0)

/** The hash of a key's part that is NULL: not that of an empty text. */
export function hashNull(seed = 0): number {
  return hashBytes(nothing, 0, 0, seed ^ 0x5bd1e995)
}

/** Hash of the text's UTF-8: the same as of the bytes that a source would send for it. */
export function hashText(text: string, seed = 0): number {
  const bytes = Buffer.from(text, 'utf8')
  return hashBytes(bytes, 0, bytes.length, seed)
}
