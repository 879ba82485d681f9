/** The bytes of an opened frame: a Buffer, whose native slices make strings without a view in between. */
export interface FrameBytes extends Buffer {
  utf8Slice(start: number, end: number): string
  latin1Slice(start: number, end: number): string
}

/** The same memory, shared or not, as a Buffer of exactly `length` bytes. */
export function frameBytes(bytes: Uint8Array, offset: number, length: number): FrameBytes {
  return Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset + offset, length) as FrameBytes
}

/** A copy in memory of its own. */
export function ownedCopy(bytes: Uint8Array, start: number, end: number): FrameBytes {
  const copy = Buffer.allocUnsafeSlow(end - start)
  copy.set(bytes.subarray(start, end))
  return copy as FrameBytes
}
